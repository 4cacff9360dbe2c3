//! The work whose instructions `scripts/instructions.sh` counts: `instructions CASE ROUNDS`.
//!
//! It takes no time and prints nothing; with no rounds it only gets ready, so that the difference
//! to some is what those take. Without arguments it prints the cases and the messages of a round.

#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::env;
use std::hint::black_box;

use bytes::BufMut;
use hybi_proto::connection::{Connection, Role};
use hybi_proto::frame::{Header, Opcode};
use hybi_proto::limits::Limits;
use hybi_proto::mask::Mask;
use hybi_proto::message::MessageRef;

/// A name, the length of a message, how many of them are read or written at once, and the work.
type Case = (&'static str, usize, usize, fn(&str, usize, u32));

const CASES: [Case; 8] = [
    ("decode-16-borrowed", 16, 64, |text, many, rounds| {
        decode(text, many, rounds, |conn| {
            matches!(conn.next(), Ok(Some(_)))
        });
    }),
    ("decode-16-owned", 16, 64, |text, many, rounds| {
        decode(text, many, rounds, |conn| {
            matches!(conn.next_owned(), Ok(Some(_)))
        });
    }),
    ("decode-65536-borrowed", 65536, 1, |text, many, rounds| {
        decode(text, many, rounds, |conn| {
            matches!(conn.next(), Ok(Some(_)))
        });
    }),
    ("decode-65536-owned", 65536, 1, |text, many, rounds| {
        decode(text, many, rounds, |conn| {
            matches!(conn.next_owned(), Ok(Some(_)))
        });
    }),
    ("encode-16-server", 16, 64, |text, many, rounds| {
        encode(Role::Server, text, many, rounds);
    }),
    ("encode-16-client", 16, 64, |text, many, rounds| {
        encode(Role::Client(key), text, many, rounds);
    }),
    ("encode-65536-server", 65536, 1, |text, many, rounds| {
        encode(Role::Server, text, many, rounds);
    }),
    ("encode-65536-client", 65536, 1, |text, many, rounds| {
        encode(Role::Client(key), text, many, rounds);
    }),
];

fn main() {
    let mut args = env::args().skip(1).filter(|arg| arg != "--bench");
    let (Some(name), Some(rounds)) = (args.next(), args.next()) else {
        for (name, _, many, _) in CASES {
            println!("{name} {many}");
        }
        return;
    };
    let case = CASES.iter().find(|case| case.0 == name);
    let (Some((_, len, many, work)), Ok(rounds)) = (case, rounds.parse()) else {
        panic!("no such case, or rounds that are no number");
    };
    let text: String = "plain words ".chars().cycle().take(*len).collect();
    work(&text, *many, rounds);
}

/// Not drawn: a key takes as long as whoever draws it, and that is not this crate.
fn key() -> [u8; 4] {
    [0x37, 0xfa, 0x21, 0x3d]
}

#[inline(always)]
fn decode(text: &str, many: usize, rounds: u32, mut next: impl FnMut(&mut Connection) -> bool) {
    let mut mask = Mask::new(key());
    let header = Header {
        fin: true,
        rsv: 0,
        opcode: Opcode::Text,
        mask: Some(mask),
        len: text.len() as u64,
    };
    let (head, size) = header.encode();
    let mut frame = head[..size].to_vec();
    mask.apply_to(text.as_bytes(), &mut frame);
    let stream = frame.repeat(many);
    let mut conn = Connection::new(Role::Server, Limits::default());
    conn.lend_inbox(Vec::with_capacity(128 << 10));
    for _ in 0..rounds {
        conn.inbox().put_slice(black_box(&stream));
        for _ in 0..many {
            assert!(next(black_box(&mut conn)));
        }
        assert_eq!(conn.unread(), 0);
    }
}

#[inline(always)]
fn encode(role: Role, text: &str, many: usize, rounds: u32) {
    let mut conn = Connection::new(role, Limits::default());
    for _ in 0..rounds {
        for _ in 0..many {
            let message = MessageRef::Text(black_box(text));
            assert!(black_box(&mut conn).send_ref(message).is_ok());
        }
        let bytes = conn.buffered();
        assert!(bytes > many * text.len());
        conn.sent(bytes);
    }
}
