//! Frames of a bad server, to a client.

use hybi::{CloseCode, Error, Message, Options, ProtocolError};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::answers::{accepted, take};
use super::raw::{
    BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, Pace, Seen, TEXT, frame, listen, next_frame, send,
};
use super::{Failures, Outcome, Victim, expect, guarded};

/// The largest message of the clients that are attacked here.
const LIMIT: usize = 100_000;

/// The message is compressed (RFC 7692 §6).
#[cfg(feature = "deflate")]
const RSV1: u8 = 0x40;

/// What a server sends behind its answer, and what its client makes of it.
struct Row {
    name: String,
    sent: Vec<u8>,
    pace: Pace,
    /// What the answer agrees on.
    extensions: &'static [&'static str],
    /// The messages that the client is given, and how it ends for it.
    given: Vec<Message>,
    ends: Ends,
    /// What the client answers before its close frame.
    answers: Vec<Seen>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    /// With this fault of the server's, which is told to it by the close code.
    Fault(ProtocolError),
    /// With this code of the server's, which is sent back.
    Closed(u16),
    /// With a close frame without a code, which is sent back.
    ClosedEmpty,
}

fn row(name: impl Into<String>, sent: &[Vec<u8>], given: &[&str], ends: Ends) -> Row {
    Row {
        name: name.into(),
        sent: sent.concat(),
        pace: Pace::Whole,
        extensions: &[],
        given: given.iter().map(|text| Message::from(*text)).collect(),
        ends,
        answers: Vec::new(),
    }
}

/// The header of a frame as a server sends it: its first byte, and the length that it claims.
fn claim(first: u8, length: u64) -> Vec<u8> {
    let mut frame = vec![first];
    match length {
        0..126 => frame.push(length as u8),
        126..0x1_0000 => {
            frame.push(126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend_from_slice(&length.to_be_bytes());
        }
    }
    frame
}

/// A frame as a server sends it.
fn plain(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    [&claim(first, payload.len() as u64)[..], payload].concat()
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    plain(FIN | CLOSE, [&code.to_be_bytes(), reason].concat())
}

fn rows() -> Vec<Row> {
    use ProtocolError as E;
    let mut rows = Vec::new();
    // Each is decided from the header: the payload is withheld.
    let mut violation = |name: &str, sent: &[Vec<u8>], error: ProtocolError| {
        let before = [plain(FIN | TEXT, "one"), plain(FIN | TEXT, "two")];
        rows.push(row(name, sent, &[], Ends::Fault(error)));
        let late = format!("{name}, behind two messages");
        let sent = [&before[..], sent].concat();
        rows.push(row(late, &sent, &["one", "two"], Ends::Fault(error)));
    };
    violation("a masked text", &[frame(FIN | TEXT, "hello")], E::Masked);
    violation("a masked ping", &[frame(FIN | PING, "")], E::Masked);
    violation("a masked close", &[frame(FIN | CLOSE, [3, 232])], E::Masked);
    violation(
        "a masked header",
        &[vec![FIN | BINARY, 0x80 | 5, 1, 2, 3, 4]],
        E::Masked,
    );
    for opcode in [TEXT, BINARY, CLOSE, PING, PONG] {
        violation(
            &format!("RSV1 on opcode {opcode:#x}"),
            &[claim(FIN | 0x40 | opcode, 5)],
            E::Rsv1,
        );
        for rsv in [0x20, 0x10, 0x30] {
            violation(
                &format!("RSV {rsv:#x} on opcode {opcode:#x}"),
                &[claim(FIN | rsv | opcode, 5)],
                E::Rsv2Or3,
            );
        }
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        let name = format!("opcode {opcode:#x}");
        violation(&name, &[claim(FIN | opcode, 5)], E::Opcode(opcode));
        let name = format!("{name}, fragmented");
        violation(&name, &[claim(opcode, 0)], E::Opcode(opcode));
    }
    for opcode in [CLOSE, PING, PONG] {
        violation(
            &format!("control {opcode:#x}, fragmented"),
            &[claim(opcode, 2)],
            E::FragmentedControl,
        );
        for length in [126, 1000, 70_000, u64::MAX >> 1] {
            let name = format!("control {opcode:#x} of {length} bytes");
            violation(&name, &[claim(FIN | opcode, length)], E::ControlTooLong);
        }
    }
    violation(
        "a continuation without a start",
        &[claim(FIN, 5)],
        E::LoneContinuation,
    );
    let begun = || plain(TEXT, "a");
    for (name, next) in [("a text", FIN | TEXT), ("a binary that begins", BINARY)] {
        violation(
            &format!("{name} inside a text"),
            &[begun(), claim(next, 5)],
            E::InterruptedMessage,
        );
    }
    let top = b"\x82\x7f\x80\0\0\0\0\0\0\0".to_vec();
    violation("a length with the top bit set", &[top], E::LengthTopBit);
    for length in [0u16, 125] {
        let sent = [&b"\x82\x7e"[..], &length.to_be_bytes()].concat();
        violation(
            &format!("{length} in two bytes"),
            &[sent],
            E::LengthNotMinimal,
        );
    }
    for length in [0u64, 126, 0xffff] {
        let sent = [&b"\x82\x7f"[..], &length.to_be_bytes()].concat();
        violation(
            &format!("{length} in eight bytes"),
            &[sent],
            E::LengthNotMinimal,
        );
    }
    violation(
        "a close of one byte",
        &[plain(FIN | CLOSE, [3])],
        E::CloseTooShort,
    );
    for code in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535,
    ] {
        let name = format!("close code {code}");
        violation(&name, &[close(code, b"why")], E::CloseCode(code));
    }

    // Sizes.
    let too_big = E::MessageTooBig { limit: LIMIT };
    let limit = LIMIT as u64;
    for length in [limit + 1, 1 << 40, u64::MAX >> 1] {
        let name = format!("{length} bytes claimed");
        violation(&name, &[claim(FIN | BINARY, length)], too_big);
        let name = format!("{name} for a fragment");
        violation(&name, &[claim(TEXT, length)], too_big);
    }
    violation(
        "two fragments above the limit",
        &[plain(BINARY, vec![7; LIMIT / 2]), claim(FIN, limit / 2 + 1)],
        too_big,
    );

    // Text.
    let invalid: [(&str, &[u8]); 5] = [
        ("a lone continuation byte", b"a\x80"),
        ("an overlong form", b"\xe0\x80\xaf"),
        ("a surrogate", b"\xed\xa0\x80"),
        ("a number above 10FFFF", b"\xf4\x90\x80\x80"),
        ("a character cut off by ASCII", b"\xe2\x82a"),
    ];
    for (name, bytes) in invalid {
        violation(
            &format!("{name} in text"),
            &[plain(FIN | TEXT, bytes)],
            E::InvalidUtf8,
        );
        violation(
            &format!("{name} in a reason"),
            &[close(1000, bytes)],
            E::InvalidUtf8,
        );
        // The rest of the frame never comes.
        let begun = [&claim(FIN | TEXT, 1000)[..], bytes].concat();
        let begun_name = format!("{name} in a frame that has not ended");
        violation(&begun_name, &[begun], E::InvalidUtf8);
        for cut in 1..bytes.len() {
            violation(
                &format!("{name}, cut at {cut}"),
                &[plain(TEXT, &bytes[..cut]), plain(FIN, &bytes[cut..])],
                E::InvalidUtf8,
            );
        }
    }
    let words = "\u{3ba}\u{1f79}\u{20ac}\u{1d11e}x";
    for cut in (1..words.len()).filter(|&cut| !words.is_char_boundary(cut)) {
        violation(
            &format!("text that ends inside a character at {cut}"),
            &[
                plain(TEXT, &words[..0]),
                plain(FIN, &words.as_bytes()[..cut]),
            ],
            E::InvalidUtf8,
        );
    }

    // What is allowed, and ends with a close.
    let bye = || close(1000, b"");
    for cut in 0..=words.len() {
        let (head, tail) = words.as_bytes().split_at(cut);
        let sent = [
            plain(TEXT, head),
            plain(FIN | PING, [cut as u8]),
            plain(FIN, tail),
            bye(),
        ];
        let mut row = row(
            format!("a ping between the fragments, cut at {cut}"),
            &sent,
            &[words],
            Ends::Closed(1000),
        );
        row.answers = vec![Seen::Pong(vec![cut as u8])];
        rows.push(row);
    }
    for pace in [Pace::Whole, Pace::Bytes] {
        let sent = [plain(FIN | TEXT, words), bye()];
        let mut whole = row("text", &sent, &[words], Ends::Closed(1000));
        whole.pace = pace;
        rows.push(whole);
        let sent = [plain(FIN | TEXT, b"ab\xff")];
        let mut bad = row("bad text", &sent, &[], Ends::Fault(E::InvalidUtf8));
        bad.pace = pace;
        rows.push(bad);
    }
    let most = "x".repeat(LIMIT);
    let (head, tail) = most.split_at(LIMIT / 3);
    let sent = [
        plain(TEXT, head),
        plain(CONTINUATION, ""),
        plain(FIN, tail),
        bye(),
    ];
    rows.push(row(
        "exactly the limit",
        &sent,
        &[&most],
        Ends::Closed(1000),
    ));
    let mut sent = vec![plain(TEXT, "x")];
    sent.extend(std::iter::repeat_n(plain(CONTINUATION, "x"), 65_534));
    sent.extend([plain(FIN, "x"), bye()]);
    let many = "x".repeat(65_536);
    rows.push(row("65,536 fragments", &sent, &[&many], Ends::Closed(1000)));
    let mut sent = vec![plain(TEXT, "")];
    sent.extend(std::iter::repeat_n(plain(CONTINUATION, ""), 1 << 20));
    let limit = E::TooManyFragments { limit: 1 << 20 };
    rows.push(row(
        "more than a million empty fragments",
        &sent,
        &[],
        Ends::Fault(limit),
    ));
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
        4999,
    ] {
        let sent = [close(code, b"why")];
        rows.push(row(
            format!("a close with {code}"),
            &sent,
            &[],
            Ends::Closed(code),
        ));
    }
    rows.push(row(
        "an empty close",
        &[plain(FIN | CLOSE, "")],
        &[],
        Ends::ClosedEmpty,
    ));
    for (name, after) in [
        ("a message", plain(FIN | TEXT, "late")),
        ("a ping", plain(FIN | PING, "late")),
        ("another close", close(1001, b"late")),
        ("a masked frame", frame(FIN | TEXT, "late")),
        ("noise", vec![0xff; 10_000]),
    ] {
        let sent = [bye(), after.clone()];
        rows.push(row(
            format!("{name} after a close"),
            &sent,
            &[],
            Ends::Closed(1000),
        ));
        let sent = [claim(FIN | 3, 0), after];
        let name = format!("{name} after a violation");
        rows.push(row(name, &sent, &[], Ends::Fault(E::Opcode(3))));
    }
    #[cfg(feature = "deflate")]
    rows.extend(compressed());
    rows
}

/// Those of a server that has agreed to compress.
#[cfg(feature = "deflate")]
fn compressed() -> Vec<Row> {
    use super::deflated::{AGAIN, FINAL_HELLO, HELLO, far_back, stored, zeros};
    use ProtocolError as E;
    let packed = |kind: u8, payload: &[u8]| plain(FIN | RSV1 | kind, payload);
    let begun = |kind: u8, payload: &[u8]| plain(RSV1 | kind, payload);
    let bye = || close(1000, b"");
    let mut rows = Vec::new();
    let mut push = |name: &str, sent: &[Vec<u8>], given: &[&str], ends| {
        rows.push(row(name, sent, given, ends));
    };
    for (name, first) in [
        ("a compressed", begun(TEXT, HELLO)),
        ("a plain", plain(TEXT, "a")),
    ] {
        push(
            &format!("RSV1 on a continuation of {name} message"),
            &[first, claim(FIN | RSV1, 5)],
            &[],
            Ends::Fault(E::Rsv1),
        );
    }
    for opcode in [CLOSE, PING, PONG] {
        let sent = [claim(FIN | RSV1 | opcode, 2)];
        push(
            &format!("RSV1 on control {opcode:#x}"),
            &sent,
            &[],
            Ends::Fault(E::Rsv1),
        );
    }
    let bomb = zeros(64 << 20);
    let too_big = Ends::Fault(E::MessageTooBig { limit: LIMIT });
    let mut unfinished = packed(BINARY, &bomb);
    unfinished.pop();
    let many: Vec<_> = std::iter::once(begun(BINARY, b""))
        .chain(bomb.chunks(100).map(|piece| plain(CONTINUATION, piece)))
        .collect();
    push(
        "a bomb in one frame",
        &[packed(BINARY, &bomb)],
        &[],
        too_big,
    );
    push("an unfinished bomb", &[unfinished], &[], too_big);
    push("an unfinished bomb in many frames", &many, &[], too_big);
    let sent = [packed(BINARY, &zeros(LIMIT + 1))];
    push("one byte above the limit", &sent, &[], too_big);
    for (name, block) in [
        ("empty stored blocks", &b"\x00\x00\x00\xff\xff"[..]),
        ("empty final blocks", b"\x03\x00"),
    ] {
        let many = block.repeat(10_000 / block.len());
        let sent: Vec<_> = std::iter::once(begun(BINARY, &many))
            .chain(std::iter::repeat_n(plain(CONTINUATION, &many), 30))
            .collect();
        push(&format!("{name} without end"), &sent, &[], too_big);
    }
    let invalid = Ends::Fault(E::InvalidDeflate);
    for (name, noise) in [
        ("a reserved type of block", &b"\x07"[..]),
        ("lengths that disagree", b"\x00\x05\x00\x00\x00a"),
        ("a reference to nothing", AGAIN),
    ] {
        push(name, &[packed(TEXT, noise)], &[], invalid);
    }
    let forgotten = [packed(TEXT, FINAL_HELLO), packed(TEXT, AGAIN)];
    push(
        "a reference to before a final block",
        &forgotten,
        &["Hello"],
        invalid,
    );
    let sent = [packed(TEXT, &[&stored(1)[..5], &[0xff, 0]].concat())];
    push("a byte of no text", &sent, &[], Ends::Fault(E::InvalidUtf8));
    let sent = [
        packed(TEXT, HELLO),
        plain(FIN | TEXT, "plain"),
        packed(TEXT, AGAIN),
        packed(TEXT, FINAL_HELLO),
        packed(TEXT, HELLO),
        bye(),
    ];
    let given = ["Hello", "plain", "Hello", "Hello", "Hello"];
    push(
        "final blocks, and plain messages between",
        &sent,
        &given,
        Ends::Closed(1000),
    );
    for row in &mut rows {
        row.extensions = &["Sec-WebSocket-Extensions: permessage-deflate"];
    }

    // What was agreed on binds the server.
    for line in [
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9",
        "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover",
    ] {
        let sent = [packed(TEXT, &stored(600)), packed(TEXT, &far_back())];
        let bell = "\u{7}".repeat(600);
        let name = format!("a reference that breaks {line}");
        let mut row = row(name, &sent, &[&bell], invalid);
        row.extensions = match line.contains("takeover") {
            true => &["Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover"],
            false => &["Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9"],
        };
        rows.push(row);
    }
    rows
}

impl Row {
    /// The client is given what it is to be given, and the server sees its close frame last.
    async fn run(&self) -> Outcome {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = async {
            let (tcp, accept) = take(&listener).await;
            let answer = accepted(self.extensions).replace("{accept}", &accept);
            let (mut read, mut write) = tcp.into_split();
            let all = [answer.as_bytes(), &self.sent].concat();
            let sent = async {
                // In the same segment as the answer.
                send(&mut write, &all, self.pace).await;
                // Who has closed ends the transport first, if it is the server.
                if !matches!(self.ends, Ends::Fault(_)) {
                    let _ = write.shutdown().await;
                }
            };
            let ((), heard) = tokio::join!(sent, listen(&mut read));
            seen(&heard.bytes)
        };
        let client = async {
            let options = Options::new().max_message(LIMIT);
            let mut ws = hybi::connect(format!("ws://{addr}"))
                .options(options)
                .await?;
            let mut given = Vec::new();
            let end = loop {
                match ws.recv().await {
                    Ok(Some(message)) => given.push(message),
                    Ok(None) => break Ok(ws.close_info().map(|info| info.code)),
                    Err(error) => break Err(error),
                }
            };
            let told_again = !matches!(ws.recv().await, Err(Error::Closed) | Ok(None));
            Ok::<_, Error>((given, end, told_again))
        };
        let (client, server) = guarded(async { tokio::join!(client, server) }).await?;
        let (given, end, told_again) = client.map_err(|error| format!("no connection: {error}"))?;
        expect("whether all is given", given == self.given, true)?;
        expect("whether the end is told again", told_again, false)?;
        let ends = match end {
            Err(Error::Protocol(error)) => Ends::Fault(error),
            Ok(Some(CloseCode::NO_STATUS)) => Ends::ClosedEmpty,
            Ok(Some(code)) => Ends::Closed(code.as_u16()),
            other => return Err(format!("it ends with {other:?}")),
        };
        expect("the end", ends, self.ends)?;
        let code = match self.ends {
            Ends::Fault(error) => Some(error.close_code().as_u16()),
            Ends::Closed(code) => Some(code),
            Ends::ClosedEmpty => None,
        };
        let answers = [&self.answers[..], &[Seen::Close(code)]].concat();
        expect("what the server sees", server?, answers)
    }
}

/// The frames of a client, all of them masked and whole.
fn seen(mut bytes: &[u8]) -> Result<Vec<Seen>, String> {
    let mut seen = Vec::new();
    while let Some((frame, rest)) = next_frame(bytes)? {
        expect("whether it is masked", frame.mask.is_some(), true)?;
        seen.push(frame.seen()?);
        bytes = rest;
    }
    expect("what is behind the last frame", bytes, &[])?;
    Ok(seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_frame_of_a_server_is_answered_and_named() {
    let honest = Victim::serve(|server| server).await;
    let mut failures = Failures::default();
    for row in rows() {
        failures.row(&row.name, row.run().await);
        failures.row(&format!("after {}", row.name), honest.serves().await);
    }
    failures.assert_none();
}

#[tokio::test]
async fn a_close_frame_from_the_server_behind_its_answer_is_answered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server = async {
        let (mut tcp, accept) = take(&listener).await;
        let answer = accepted(&[]).replace("{accept}", &accept);
        let all = [answer.as_bytes(), b"\x88\x02\x03\xe9late"].concat();
        tcp.write_all(&all).await.unwrap();
        tcp.shutdown().await.unwrap();
        listen(&mut tcp).await.bytes
    };
    let client = async {
        let mut ws = hybi::connect(format!("ws://{addr}")).await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), None);
        ws.close_info().unwrap().code
    };
    let (code, heard) = guarded(async { tokio::join!(client, server) })
        .await
        .unwrap();
    assert_eq!(code, CloseCode::GOING_AWAY);
    let (frame, _) = next_frame(&heard).unwrap().unwrap();
    assert_eq!(frame.seen().unwrap(), Seen::Close(Some(1001)));
}
