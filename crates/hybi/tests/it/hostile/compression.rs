//! Compressed messages, to a server that has agreed to take them.

use hybi::{Deflate, Options};

use super::deflated::{AGAIN, FINAL_HELLO, HELLO, far_back, stored, zeros};
use super::raw::{ACCEPT, Answer, End, Head, Pace, Seen, frames, talk};
use super::raw::{
    BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, close, frame, header, masked,
};
use super::{Failures, Outcome, Victim, expect};

/// The largest message of the servers that are attacked here.
const LIMIT: usize = 100_000;

/// The message is compressed (RFC 7692 §6).
const RSV1: u8 = 0x40;

/// What is sent behind a handshake with this offer, and the frames that come back.
struct Row {
    name: String,
    offer: String,
    sent: Vec<u8>,
    pace: Pace,
    seen: Vec<Seen>,
}

const OFFER: &str = "permessage-deflate";

fn row(name: impl Into<String>, sent: &[Vec<u8>], seen: &[Seen]) -> Row {
    Row {
        name: name.into(),
        offer: OFFER.into(),
        sent: sent.concat(),
        pace: Pace::Whole,
        seen: seen.to_vec(),
    }
}

fn closed(code: u16) -> Seen {
    Seen::Close(Some(code))
}

fn text(words: &str) -> Seen {
    Seen::Text(words.into())
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let bye = || close(1000, b"");
    let packed = |kind: u8, payload: &[u8]| frame(FIN | RSV1 | kind, payload);
    let begun = |kind: u8, payload: &[u8]| frame(RSV1 | kind, payload);

    let mut violation = |name: &str, sent: &[Vec<u8>], code: u16| {
        let before = [packed(TEXT, HELLO), packed(TEXT, HELLO)];
        let echo = [text("Hello"), text("Hello")];
        rows.push(row(name, sent, &[closed(code)]));
        let late = format!("{name}, behind two messages");
        let sent = [&before[..], sent].concat();
        rows.push(row(late, &sent, &[&echo[..], &[closed(code)]].concat()));
    };

    // RFC 7692 §6: RSV1 is for the first frame of a message.
    for (name, first) in [
        ("a compressed", begun(TEXT, HELLO)),
        ("a plain", frame(TEXT, "a")),
    ] {
        for fin in [FIN, 0] {
            let name = format!("RSV1 on a continuation of {name} message, FIN {fin:#x}");
            violation(&name, &[first.clone(), header(fin | RSV1, 5)], 1002);
        }
    }
    for opcode in [CLOSE, PING, PONG] {
        violation(
            &format!("RSV1 on control {opcode:#x}"),
            &[header(FIN | RSV1 | opcode, 2)],
            1002,
        );
    }
    for rsv in [0x20, 0x10, 0x30] {
        let name = format!("RSV1 and {rsv:#x}");
        violation(&name, &[header(FIN | RSV1 | rsv | TEXT, 5)], 1002);
    }
    violation(
        "a compressed message inside a compressed one",
        &[begun(TEXT, HELLO), header(FIN | RSV1 | TEXT, 5)],
        1002,
    );

    let noise: [(&str, &[u8]); 4] = [
        ("a reserved type of block", b"\x07"),
        ("lengths that disagree", b"\x00\x05\x00\x00\x00a"),
        (
            "a code with too many words",
            b"\x05\xe0\x81\xff\xff\xff\xff\xff",
        ),
        ("a distance that is none", b"\x02\x3f\x00\x00"),
    ];
    for (name, bytes) in noise {
        let sent = [packed(BINARY, bytes)];
        violation(&format!("{name} in binary"), &sent, 1007);
        let parts = [begun(TEXT, HELLO), frame(FIN, bytes)];
        violation(&format!("{name} in the second fragment"), &parts, 1007);
        let long = [bytes, &[0x07; 20_000]].concat();
        let parts = [header(FIN | RSV1 | BINARY, 30_000), masked(&long)];
        violation(
            &format!("{name} in a frame that has not ended"),
            &parts,
            1007,
        );
    }
    let forgotten = [packed(TEXT, FINAL_HELLO), packed(TEXT, AGAIN)];
    // Text is what it is inflated to.
    let invalid = [&stored(1)[..5], &[0xff, 0]].concat();
    violation("a byte of no text", &[packed(TEXT, &invalid)], 1007);
    let half = [&stored(1)[..5], &[0xc3, 0]].concat();
    violation(
        "text that ends inside a character",
        &[packed(TEXT, &half)],
        1007,
    );
    violation(
        "text that ends inside a character, in fragments",
        &[
            begun(TEXT, &half[..3]),
            frame(CONTINUATION, &half[3..]),
            frame(FIN, ""),
        ],
        1007,
    );

    // Sizes.
    for (name, bomb) in [
        ("bomb", zeros(64 << 20)),
        ("one byte above the limit", zeros(LIMIT + 1)),
    ] {
        let size = bomb.len().div_ceil(1000).max(2);
        let many = |fin: u8| {
            let pieces: Vec<&[u8]> = bomb.chunks(size).collect();
            let last = pieces.len() - 1;
            let frames = pieces.iter().enumerate().map(|(at, piece)| {
                let first = if at == 0 { RSV1 | BINARY } else { CONTINUATION };
                frame(if at == last { fin } else { 0 } | first, piece)
            });
            frames.collect::<Vec<_>>().concat()
        };
        violation(
            &format!("a {name} in one frame"),
            &[packed(BINARY, &bomb)],
            1009,
        );
        violation(&format!("a {name} in many"), &[many(FIN)], 1009);
        if name == "bomb" {
            let mut unfinished = packed(BINARY, &bomb);
            unfinished.pop();
            violation("an unfinished bomb in one frame", &[unfinished], 1009);
            violation("an unfinished bomb in many", &[many(0)], 1009);
        }
    }
    for length in [2 * LIMIT as u64 + 17, 1 << 40, u64::MAX >> 1] {
        let name = format!("{length} compressed bytes claimed");
        violation(&name, &[header(FIN | RSV1 | BINARY, length)], 1009);
        violation(
            &format!("{name} for a fragment"),
            &[header(RSV1 | TEXT, length)],
            1009,
        );
    }
    for (name, block) in [
        (
            "empty blocks without compression",
            &b"\x00\x00\x00\xff\xff"[..],
        ),
        ("empty blocks of fixed codes", b"\x02\x00\x00\x00\xff\xff"),
        ("empty final blocks", b"\x03\x00"),
    ] {
        let many = block.repeat(10_000 / block.len());
        let sent: Vec<_> = std::iter::once(begun(BINARY, &many))
            .chain(std::iter::repeat_n(frame(CONTINUATION, &many), 30))
            .collect();
        violation(&format!("{name} without end"), &sent, 1009);
    }

    rows.push(row(
        "a reference to nothing",
        &[packed(TEXT, AGAIN)],
        &[closed(1007)],
    ));
    rows.push(row(
        "a reference to before a final block",
        &forgotten,
        &[text("Hello"), closed(1007)],
    ));

    // What is allowed.
    let mut allowed = |name: &str, sent: &[Vec<u8>], seen: &[Seen]| {
        let sent = [sent, &[bye()]].concat();
        let seen = [seen, &[closed(1000)]].concat();
        rows.push(row(name, &sent, &seen));
        let mut bytewise = row(format!("{name}, in segments of one byte"), &sent, &seen);
        bytewise.pace = Pace::Bytes;
        if bytewise.sent.len() < 5_000 {
            rows.push(bytewise);
        }
    };
    let hello = || packed(TEXT, HELLO);
    allowed(
        "final blocks, and what follows them",
        &[
            hello(),
            packed(TEXT, FINAL_HELLO),
            packed(TEXT, &FINAL_HELLO[..7]),
            hello(),
        ],
        &[text("Hello"), text("Hello"), text("Hello"), text("Hello")],
    );
    allowed(
        "a final block in the first of three fragments",
        &[
            begun(TEXT, FINAL_HELLO),
            frame(CONTINUATION, ""),
            frame(FIN, ""),
        ],
        &[text("Hello")],
    );
    allowed(
        "plain messages between compressed ones",
        &[
            hello(),
            frame(FIN | TEXT, "Hello"),
            packed(TEXT, AGAIN),
            frame(FIN | BINARY, "x"),
        ],
        &[
            text("Hello"),
            text("Hello"),
            text("Hello"),
            Seen::Binary(b"x".to_vec()),
        ],
    );
    // Its bits go on with those of the flush that the receiver appends.
    allowed(
        "a truncated stream",
        &[packed(BINARY, &HELLO[..3]), hello()],
        &[Seen::Binary(b"Heh".to_vec()), text("Hello")],
    );
    allowed(
        "empty messages",
        &[
            packed(TEXT, b"\x00"),
            packed(TEXT, b""),
            begun(BINARY, b""),
            frame(FIN, ""),
        ],
        &[text(""), text(""), Seen::Binary(Vec::new())],
    );
    let pong = |payload: &[u8]| Seen::Pong(payload.to_vec());
    for cut in 0..=HELLO.len() {
        let (head, tail) = HELLO.split_at(cut);
        allowed(
            &format!("a ping between the fragments, cut at {cut}"),
            &[
                begun(TEXT, head),
                frame(FIN | PING, [cut as u8]),
                frame(CONTINUATION, ""),
                frame(FIN, tail),
            ],
            &[pong(&[cut as u8]), text("Hello")],
        );
    }
    let most = Seen::Binary(vec![0; LIMIT]);
    allowed(
        "exactly the limit",
        &[packed(BINARY, &zeros(LIMIT))],
        std::slice::from_ref(&most),
    );
    let pieces: Vec<_> = zeros(LIMIT)
        .chunks(1)
        .enumerate()
        .map(|(at, piece)| frame(if at == 0 { RSV1 | BINARY } else { CONTINUATION }, piece))
        .chain([frame(FIN, "")])
        .collect();
    allowed("exactly the limit in many fragments", &pieces, &[most]);
    let before = Seen::Binary(vec![7; 600]);
    let third = Seen::Binary(vec![7; 3]);
    allowed(
        "a reference into the window",
        &[packed(BINARY, &stored(600)), packed(BINARY, &far_back())],
        &[before.clone(), third],
    );

    // What was agreed on binds the client.
    for offer in [
        "permessage-deflate; client_max_window_bits=9",
        "permessage-deflate; client_no_context_takeover",
    ] {
        let sent = [packed(BINARY, &stored(600)), packed(BINARY, &far_back())];
        let seen = [before.clone(), closed(1007)];
        let mut row = row(format!("a reference that breaks {offer}"), &sent, &seen);
        row.offer = offer.into();
        rows.push(row);
    }
    for parameters in [
        "server_max_window_bits=8",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=010",
        "server_max_window_bits=+10",
        "server_max_window_bits=10x",
        "server_max_window_bits=\"010\"",
        "server_max_window_bits",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=09",
        "client_max_window_bits=0",
        "client_max_window_bits=4294967305",
        "client_max_window_bits=9; client_max_window_bits=9",
        "client_max_window_bits; client_max_window_bits",
        "server_max_window_bits=9; server_max_window_bits=10",
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "x",
        "Server_Max_Window_Bits=9; x=1",
    ] {
        let mut row = row(
            format!("what {parameters} has not agreed on"),
            &[hello()],
            &[closed(1002)],
        );
        row.offer = format!("{OFFER}; {parameters}");
        rows.push(row);
    }
    rows
}

fn judge(row: &Row, heard: &super::raw::Heard) -> Outcome {
    expect("the end", heard.end, End::Eof)?;
    let answer = Answer::parse(&heard.bytes)?;
    let accept = answer.field("sec-websocket-accept");
    expect("the accept value", accept, Some(ACCEPT))?;
    let seen = frames(answer.rest)?;
    if seen == row.seen {
        return Ok(());
    }
    let short = |seen: &[Seen]| format!("{seen:?}").chars().take(200).collect::<String>();
    Err(format!(
        "{} came, expected {}",
        short(&seen),
        short(&row.seen)
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_compressed_message_gets_its_answer() {
    // The answers are to be read as they are.
    let deflate = Deflate::default()
        .threshold(usize::MAX)
        .client_max_window_bits(15);
    let options = Options::new().max_message(LIMIT).deflate(deflate);
    let mut failures = Failures::default();
    for (kind, victim) in Victim::both(options).await {
        for row in rows() {
            let offer = format!("Sec-WebSocket-Extensions: {}", row.offer);
            let sent = [Head::handshake().with(&offer).bytes(), row.sent.clone()].concat();
            let outcome = match talk(victim.addr, &sent, row.pace).await {
                Ok(heard) => judge(&row, &heard),
                Err(why) => Err(why),
            };
            failures.row(&format!("{kind}, {}", row.name), outcome);
            let after = victim.serves().await;
            failures.row(&format!("{kind}, after {}", row.name), after);
        }
    }
    failures.assert_none();
}
