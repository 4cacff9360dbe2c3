//! Messages queued by a server and a client (masked, with keys as the face draws them), borrowed and
//! owned, then taken off.
//!
//! As many are queued as fit into 64 KiB; a message is at least one.

/// Where the face takes its keys from.
#[allow(dead_code)] // the nonces
#[path = "../../hybi/src/entropy.rs"]
mod entropy;
mod support;

use std::hint::black_box;
use std::io::IoSlice;

use hybi_proto::connection::{Connection, Role};
use hybi_proto::limits::Limits;
use hybi_proto::message::{Message, MessageRef};

const SIZES: [(&str, usize); 4] = [
    ("16 B", 16),
    ("125 B", 125),
    ("1 KiB", 1 << 10),
    ("64 KiB", 1 << 16),
];

const WRITE: usize = 64 << 10;

fn main() {
    support::head("encode, per write");
    support::line("a mask key, drawn", 4, || {
        black_box(entropy::mask_key());
    });
    for (side, role) in [
        ("server", Role::Server),
        ("client", Role::Client(entropy::mask_key)),
    ] {
        for (size, len) in SIZES {
            bench(&format!("{size}, {side}"), role, len);
        }
    }
}

fn bench(name: &str, role: Role, len: usize) {
    let messages = WRITE / len;
    let message = Message::from(vec![0x5a; len]);
    for owned in [false, true] {
        let mut conn = Connection::new(role, Limits::default());
        let door = if owned { "owned" } else { "borrowed" };
        support::line(
            &format!("{name}, {door}, x{messages}"),
            len * messages,
            || {
                for _ in 0..messages {
                    let sent = if owned {
                        conn.send(black_box(&message).clone())
                    } else {
                        conn.send_ref(MessageRef::Binary(black_box(message.as_bytes())))
                    };
                    assert!(sent.is_ok());
                }
                let mut slices = [IoSlice::new(&[]); 64];
                black_box(conn.outbox().slices(&mut slices));
                let all = conn.buffered();
                conn.sent(all);
            },
        );
    }
}
