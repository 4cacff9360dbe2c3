//! Frames, to a server.

use hybi::Options;

use super::raw::{ACCEPT, Answer, End, Head, Heard, Pace, Seen, frames, talk};
use super::raw::{
    BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, close, frame, header, masked,
};
use super::{Failures, Outcome, Victim, expect};

/// The largest message of the servers that are attacked here.
const LIMIT: usize = 100_000;

/// The bits of a first byte that nothing has negotiated.
const RSV: [u8; 3] = [0x40, 0x20, 0x10];

/// What is sent behind a good handshake, and the frames that come back.
struct Row {
    name: String,
    sent: Vec<u8>,
    pace: Pace,
    seen: Vec<Seen>,
}

fn row(name: impl Into<String>, sent: &[Vec<u8>], seen: &[Seen]) -> Row {
    Row {
        name: name.into(),
        sent: sent.concat(),
        pace: Pace::Whole,
        seen: seen.to_vec(),
    }
}

fn closed(code: u16) -> Seen {
    Seen::Close(Some(code))
}

fn text(words: impl Into<String>) -> Seen {
    Seen::Text(words.into())
}

impl Row {
    fn judge(&self, heard: &Heard) -> Outcome {
        expect("the end", heard.end, End::Eof)?;
        let answer = Answer::parse(&heard.bytes)?;
        expect(
            "the accept value",
            answer.field("sec-websocket-accept"),
            Some(ACCEPT),
        )?;
        let seen = frames(answer.rest)?;
        if seen == self.seen {
            return Ok(());
        }
        let short = |seen: &[Seen]| format!("{seen:?}").chars().take(200).collect::<String>();
        Err(format!(
            "{} came, expected {}",
            short(&seen),
            short(&self.seen)
        ))
    }
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let bye = || close(1000, b"");

    // Each violation is decided from the header: the payload is withheld.
    let mut violation = |name: &str, sent: &[Vec<u8>], code: u16| {
        let before = [frame(FIN | TEXT, "before"), frame(FIN | BINARY, [0, 1])];
        let echo = [text("before"), Seen::Binary(vec![0, 1])];
        rows.push(row(name, sent, &[closed(code)]));
        let late = format!("{name}, behind two messages");
        let sent = [&before[..], sent].concat();
        rows.push(row(late, &sent, &[&echo[..], &[closed(code)]].concat()));
    };
    violation("an unmasked text", &[b"\x81\x05hello".to_vec()], 1002);
    violation("an unmasked header", &[b"\x81\x05".to_vec()], 1002);
    violation("an unmasked ping", &[b"\x89\0".to_vec()], 1002);
    violation("an unmasked close", &[b"\x88\x02\x03\xe8".to_vec()], 1002);
    for bits in 1..8 {
        let rsv: u8 = (0..3)
            .filter(|bit| bits >> bit & 1 == 1)
            .map(|bit| RSV[bit])
            .sum();
        for opcode in [TEXT, BINARY, CLOSE, PING, PONG] {
            let name = format!("RSV {rsv:#x} on opcode {opcode:#x}");
            violation(&name, &[header(FIN | rsv | opcode, 5)], 1002);
        }
        let name = format!("RSV {rsv:#x} on a continuation");
        violation(&name, &[frame(TEXT, "a"), header(FIN | rsv, 5)], 1002);
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        violation(
            &format!("opcode {opcode:#x}"),
            &[header(FIN | opcode, 5)],
            1002,
        );
        violation(
            &format!("opcode {opcode:#x}, empty"),
            &[header(FIN | opcode, 0)],
            1002,
        );
        violation(
            &format!("opcode {opcode:#x}, fragmented"),
            &[header(opcode, 0)],
            1002,
        );
    }
    for opcode in [CLOSE, PING, PONG] {
        violation(
            &format!("control {opcode:#x}, fragmented"),
            &[header(opcode, 2)],
            1002,
        );
        for length in [126, 1000, 70_000, u64::MAX >> 1] {
            let name = format!("control {opcode:#x} of {length} bytes");
            violation(&name, &[header(FIN | opcode, length)], 1002);
        }
    }
    violation("a continuation without a start", &[header(FIN, 5)], 1002);
    violation(
        "an empty continuation without a start",
        &[header(CONTINUATION, 0)],
        1002,
    );
    violation(
        "a text inside a text",
        &[frame(TEXT, "a"), header(FIN | TEXT, 5)],
        1002,
    );
    violation(
        "a binary inside a text",
        &[frame(TEXT, "a"), header(BINARY, 5)],
        1002,
    );
    violation(
        "a text inside a binary",
        &[frame(BINARY, ""), header(TEXT, 0)],
        1002,
    );
    let top = b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    violation("a length with the top bit set", &[top], 1002);
    violation(
        "a length of all ones",
        &[[&b"\x82\xff"[..], &[0xff; 12]].concat()],
        1002,
    );
    for length in [0u16, 1, 125] {
        let sent = [&b"\x82\xfe"[..], &length.to_be_bytes(), &[0; 4]].concat();
        violation(&format!("{length} in two bytes"), &[sent], 1002);
    }
    for length in [0u64, 125, 126, 0xffff] {
        let sent = [&b"\x82\xff"[..], &length.to_be_bytes(), &[0; 4]].concat();
        violation(&format!("{length} in eight bytes"), &[sent], 1002);
    }
    violation("a close of one byte", &[frame(FIN | CLOSE, [3])], 1002);
    violation(
        "the header of a close of one byte",
        &[header(FIN | CLOSE, 1)],
        1002,
    );
    for code in [
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 9999, 65535,
    ] {
        violation(&format!("close code {code}"), &[close(code, b"")], 1002);
        violation(
            &format!("close code {code} and a reason"),
            &[close(code, b"why")],
            1002,
        );
    }

    // Sizes.
    let limit = LIMIT as u64;
    for length in [limit + 1, 1 << 20, 1 << 40, u64::MAX >> 1] {
        let name = format!("{length} bytes claimed");
        violation(&name, &[header(FIN | BINARY, length)], 1009);
        violation(
            &format!("{name} for a fragment"),
            &[header(TEXT, length)],
            1009,
        );
    }
    let whole = frame(FIN | BINARY, vec![7; LIMIT + 1]);
    violation("a message above the limit, sent whole", &[whole], 1009);
    let half = frame(BINARY, vec![7; LIMIT / 2]);
    violation(
        "two fragments above the limit",
        &[half.clone(), header(CONTINUATION, limit / 2 + 1)],
        1009,
    );
    violation(
        "one byte above the limit",
        &[
            half,
            frame(CONTINUATION, vec![7; LIMIT / 2]),
            header(FIN, 1),
        ],
        1009,
    );

    // Text.
    let invalid: [(&str, &[u8]); 9] = [
        ("a lone continuation byte", b"a\x80"),
        ("an overlong form", b"\xc0\xaf"),
        ("an overlong form of three bytes", b"\xe0\x80\xaf"),
        ("a surrogate", b"\xed\xa0\x80"),
        ("a number above 10FFFF", b"\xf4\x90\x80\x80"),
        ("FE", b"\xfe"),
        ("a lead byte twice", b"\xce\xce"),
        ("a character cut off by ASCII", b"\xe2\x82a"),
        ("Latin-1", b"caf\xe9 noir"),
    ];
    for (name, bytes) in invalid {
        violation(
            &format!("{name} in text"),
            &[frame(FIN | TEXT, bytes)],
            1007,
        );
        violation(
            &format!("{name} in the second fragment"),
            &[frame(TEXT, "ok"), frame(FIN, bytes)],
            1007,
        );
        violation(&format!("{name} in a reason"), &[close(1000, bytes)], 1007);
        // The rest of the frame never comes: it need not, to know.
        let begun = [header(FIN | TEXT, 1000), masked(bytes)].concat();
        violation(
            &format!("{name} in a frame that has not ended"),
            &[begun],
            1007,
        );
        for cut in 1..bytes.len() {
            let name = format!("{name}, cut at {cut}");
            violation(
                &name,
                &[frame(TEXT, &bytes[..cut]), frame(FIN, &bytes[cut..])],
                1007,
            );
        }
    }
    let words = "\u{3ba}\u{1f79}\u{20ac}\u{1d11e}x";
    for cut in 1..words.len() {
        let (head, tail) = words.as_bytes().split_at(cut);
        if words.is_char_boundary(cut) {
            continue;
        }
        violation(
            &format!("text that ends inside a character at {cut}"),
            &[frame(FIN | TEXT, head)],
            1007,
        );
        violation(
            &format!("a last fragment that ends inside a character at {cut}"),
            &[frame(TEXT, head), frame(FIN, "")],
            1007,
        );
        violation(
            &format!("text that begins inside a character at {cut}"),
            &[frame(FIN | TEXT, tail)],
            1007,
        );
        violation(
            &format!("a reason that ends inside a character at {cut}"),
            &[close(1000, head)],
            1007,
        );
    }

    // What is allowed, and ends with a close.
    for cut in 0..=words.len() {
        let (head, tail) = words.as_bytes().split_at(cut);
        let parts = [frame(TEXT, head), frame(FIN, tail), bye()];
        rows.push(row(
            format!("text in two fragments, cut at {cut}"),
            &parts,
            &[text(words), closed(1000)],
        ));
        let parts = [
            frame(TEXT, head),
            frame(FIN | PING, [cut as u8]),
            frame(FIN, tail),
            bye(),
        ];
        let seen = [Seen::Pong(vec![cut as u8]), text(words), closed(1000)];
        rows.push(row(
            format!("a ping between the fragments, cut at {cut}"),
            &parts,
            &seen,
        ));
    }
    let mut each = Vec::new();
    for byte in words.as_bytes().chunks(1) {
        each.push(frame(
            if each.is_empty() { TEXT } else { CONTINUATION },
            byte,
        ));
    }
    each.extend([frame(FIN, ""), bye()]);
    rows.push(row(
        "text in fragments of one byte",
        &each,
        &[text(words), closed(1000)],
    ));
    let mut bytewise = row(
        "text in segments of one byte",
        &[frame(FIN | TEXT, words), bye()],
        &[text(words), closed(1000)],
    );
    bytewise.pace = Pace::Bytes;
    rows.push(bytewise);
    let mut bytewise = row(
        "bad text in segments of one byte",
        &[frame(FIN | TEXT, b"ab\xff")],
        &[closed(1007)],
    );
    bytewise.pace = Pace::Bytes;
    rows.push(bytewise);

    // A pong leaves before the message ends: the message never does.
    let sent = [frame(TEXT, "a"), frame(FIN | PING, "here?"), header(3, 0)];
    rows.push(row(
        "a ping inside a message that fails",
        &sent,
        &[Seen::Pong(b"here?".to_vec()), closed(1002)],
    ));
    let sent = [
        frame(FIN | PONG, "unasked"),
        frame(FIN | PING, [9; 125]),
        bye(),
    ];
    rows.push(row(
        "a pong unasked, a ping of 125 bytes",
        &sent,
        &[Seen::Pong(vec![9; 125]), closed(1000)],
    ));

    for (name, sizes) in [
        ("one frame", &[LIMIT][..]),
        ("two fragments", &[LIMIT / 2, LIMIT / 2]),
        ("fragments, empty ones among them", &[0, LIMIT - 1, 0, 1, 0]),
    ] {
        let mut sent = Vec::new();
        for (i, &size) in sizes.iter().enumerate() {
            let opcode = if i == 0 { BINARY } else { CONTINUATION };
            let fin = if i + 1 == sizes.len() { FIN } else { 0 };
            sent.push(frame(fin | opcode, vec![5; size]));
        }
        sent.push(bye());
        rows.push(row(
            format!("exactly the limit in {name}"),
            &sent,
            &[Seen::Binary(vec![5; LIMIT]), closed(1000)],
        ));
    }
    let mut sent = vec![frame(BINARY, "x")];
    sent.extend(std::iter::repeat_n(frame(CONTINUATION, "x"), 65_534));
    sent.extend([frame(FIN, "x"), bye()]);
    rows.push(row(
        "65,536 fragments",
        &sent,
        &[Seen::Binary(vec![b'x'; 65_536]), closed(1000)],
    ));
    let mut sent = vec![frame(BINARY, "")];
    sent.extend(std::iter::repeat_n(frame(CONTINUATION, ""), 1 << 20));
    rows.push(row(
        "more than a million empty fragments",
        &sent,
        &[closed(1008)],
    ));

    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
        4999,
    ] {
        rows.push(row(
            format!("a close with {code}"),
            &[close(code, b"why")],
            &[closed(code)],
        ));
    }
    rows.push(row(
        "a close with the longest reason",
        &[close(1000, &[b'x'; 123])],
        &[closed(1000)],
    ));
    rows.push(row(
        "an empty close",
        &[frame(FIN | CLOSE, "")],
        &[Seen::Close(None)],
    ));
    for (name, after) in [
        ("a message", frame(FIN | TEXT, "late")),
        ("a ping", frame(FIN | PING, "late")),
        ("another close", close(1001, b"late")),
        ("an unmasked frame", b"\x81\x01x".to_vec()),
        ("noise", vec![0xff; 10_000]),
    ] {
        rows.push(row(
            format!("{name} after a close"),
            &[bye(), after.clone()],
            &[closed(1000)],
        ));
        rows.push(row(
            format!("{name} after a violation"),
            &[header(FIN | 3, 0), after],
            &[closed(1002)],
        ));
    }
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_frame_gets_its_answer() {
    let mut failures = Failures::default();
    for (kind, victim) in Victim::both(Options::new().max_message(LIMIT)).await {
        for row in rows() {
            let sent = [Head::handshake().bytes(), row.sent.clone()].concat();
            let outcome = match talk(victim.addr, &sent, row.pace).await {
                Ok(heard) => row.judge(&heard),
                Err(why) => Err(why),
            };
            failures.row(&format!("{kind}, {}", row.name), outcome);
            failures.row(
                &format!("{kind}, after {}", row.name),
                victim.serves().await,
            );
        }
    }
    failures.assert_none();
}
