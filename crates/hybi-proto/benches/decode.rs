//! Messages read by a server (masked) and a client, seen in the read buffer and taken out of it.
//!
//! As many lie in one read as fit into 64 KiB. A larger message comes in several.

mod support;

use std::hint::black_box;

use bytes::BufMut;
use hybi_proto::connection::{Connection, Role};
use hybi_proto::frame::{Header, Opcode};
use hybi_proto::limits::Limits;
use hybi_proto::mask::Mask;

const SIZES: [(&str, usize); 5] = [
    ("16 B", 16),
    ("125 B", 125),
    ("1 KiB", 1 << 10),
    ("64 KiB", 1 << 16),
    ("1 MiB", 1 << 20),
];

const READ: usize = 64 << 10;

/// Beside the payload of one read, for its header.
const ROOM: usize = 64;

fn main() {
    support::head("decode, per read");
    for (side, masked) in [("server", true), ("client", false)] {
        for (kind, opcode) in [("text", Opcode::Text), ("binary", Opcode::Binary)] {
            for (size, len) in SIZES {
                bench(&format!("{size}, {kind}, {side}"), masked, opcode, len);
            }
        }
    }
}

fn bench(name: &str, masked: bool, opcode: Opcode, len: usize) {
    let frame = frame(masked, opcode, len);
    let messages = (READ / frame.len()).max(1);
    let stream = frame.repeat(messages);
    let role = if masked {
        Role::Server
    } else {
        Role::Client(|| [1, 2, 3, 4])
    };
    for owned in [false, true] {
        let mut conn = Connection::new(role, Limits::default());
        conn.lend_inbox(Vec::with_capacity(READ + ROOM));
        let door = if owned { "owned" } else { "borrowed" };
        support::line(
            &format!("{name}, {door}, x{messages}"),
            len * messages,
            || {
                let mut rest = black_box(&stream[..]);
                while rest.len() > READ + ROOM {
                    rest = read(&mut conn, rest);
                    assert!(matches!(conn.next(), Ok(None)));
                }
                while !rest.is_empty() {
                    rest = read(&mut conn, rest);
                }
                for _ in 0..messages {
                    if owned {
                        assert!(matches!(black_box(conn.next_owned()), Ok(Some(_))));
                    } else {
                        assert!(matches!(black_box(conn.next()), Ok(Some(_))));
                    }
                }
                assert!(matches!(conn.next(), Ok(None)));
            },
        );
    }
}

/// Brings what one read would, and gives what is left.
fn read<'a>(conn: &mut Connection, bytes: &'a [u8]) -> &'a [u8] {
    let mut inbox = conn.inbox();
    let n = inbox.remaining_mut().min(bytes.len()).min(READ + ROOM);
    inbox.put_slice(&bytes[..n]);
    &bytes[n..]
}

/// One frame of plain words, as it stands on the wire.
fn frame(masked: bool, opcode: Opcode, len: usize) -> Vec<u8> {
    let payload: Vec<u8> = b"plain words ".iter().copied().cycle().take(len).collect();
    let mask = masked.then(|| Mask::new([0x37, 0xfa, 0x21, 0x3d]));
    let header = Header {
        fin: true,
        rsv: 0,
        opcode,
        mask,
        len: len as u64,
    };
    let (bytes, size) = header.encode();
    let mut frame = bytes[..size].to_vec();
    match mask {
        Some(mut mask) => mask.apply_to(&payload, &mut frame),
        None => frame.extend(payload),
    }
    frame
}
