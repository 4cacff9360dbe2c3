//! What a connection takes before it is too much, and what it queues before it is full.

use hybi_proto::connection::State;
use hybi_proto::error::ProtocolError::{self, MessageTooBig, TooManyFragments};
use hybi_proto::error::SendError;
use hybi_proto::limits::Limits;
use hybi_proto::message::{Event, Message};
use hybi_proto::outbox::LINK;

use crate::support::hex::Seen::{Binary, Error, Ping, Text};
use crate::support::hex::{
    NOTHING, both, both_with, frame, header, hex, refused_by, server, server_with,
};

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

const FIVE: ProtocolError = MessageTooBig { limit: 5 };

#[test]
fn a_message_of_exactly_the_limit_is_taken() {
    for mut ws in both_with(&limits(|limits| limits.message = Some(5))) {
        assert_eq!(ws.frames(["81 05 48 65 6c 6c 6f"]), [Text("Hello")]);
        let frames = ["01 03 48 65 6c", "00 02 6c 6f", "00 00", "80 00"];
        assert_eq!(ws.frames(frames), [Text("Hello")]);
        assert_eq!(
            ws.frames(["82 05 01 02 03 04 05"]),
            [Binary("01 02 03 04 05")]
        );
    }
}

#[test]
fn one_byte_above_the_limit_is_refused_by_its_header() {
    let limits = limits(|limits| limits.message = Some(5));
    let cases: [&[&str]; 5] = [
        &["81 06"],
        &["02 06"],
        &["02 7f 00 00 00 01 00 00 00 00"],
        &["01 03 48 65 6c", "80 03"],
        &["01 05 48 65 6c 6c 6f", "00 00", "00 01"],
    ];
    for frames in cases {
        for ws in both_with(&limits) {
            refused_by(ws, frames, &[], FIVE, "88 02 03 f1");
        }
    }
    assert_eq!(FIVE.name(), "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH");
}

#[test]
fn the_limit_counts_a_message_and_not_what_stands_around_it() {
    for mut ws in both_with(&limits(|limits| limits.message = Some(5))) {
        let frames = ["01 05 48 65 6c 6c 6f", "89 06 61 61 61 61 61 61", "80 00"];
        assert_eq!(
            ws.frames(frames),
            [Ping("61 61 61 61 61 61"), Text("Hello")]
        );
        assert_eq!(ws.frames(["81 05 48 65 6c 6c 6f"]), [Text("Hello")]);
    }
}

#[test]
fn the_default_limit_is_16_mib() {
    for mut ws in both() {
        assert_eq!(ws.frames([header(0x82, 16 << 20)]), NOTHING);
        assert_eq!(ws.conn.state(), State::Open);
    }
    for ws in both() {
        let error = MessageTooBig { limit: 16 << 20 };
        refused_by(
            ws,
            &[header(0x82, (16 << 20) + 1)],
            &[],
            error,
            "88 02 03 f1",
        );
    }
}

#[test]
fn without_a_limit_the_largest_length_is_taken_and_nothing_allocated_for_it() {
    for mut ws in both_with(&limits(|limits| limits.message = None)) {
        assert_eq!(ws.frames([header(0x82, isize::MAX as u64)]), NOTHING);
        assert_eq!(ws.events([vec![0_u8; 1000]]), NOTHING);
        assert!(ws.conn.is_midway());
        assert_eq!(ws.conn.state(), State::Open);
    }
    // Over fragments the sum would not fit a Vec.
    for ws in both_with(&limits(|limits| limits.message = None)) {
        let frames = [frame(0x02, b"a"), header(0x80, isize::MAX as u64)];
        let error = MessageTooBig {
            limit: isize::MAX as usize,
        };
        refused_by(ws, &frames, &[], error, "88 02 03 f1");
    }
}

#[test]
fn a_limit_of_nothing_takes_the_empty_message() {
    for mut ws in both_with(&limits(|limits| limits.message = Some(0))) {
        assert_eq!(ws.frames(["81 00"]), [Text("")]);
        let error = MessageTooBig { limit: 0 };
        refused_by(ws, &["81 01"], &[], error, "88 02 03 f1");
    }
}

#[test]
fn exactly_the_limit_of_fragments_is_taken_and_one_more_refused() {
    let limits = limits(|limits| limits.fragments = Some(3));
    let error = TooManyFragments { limit: 3 };
    for mut ws in both_with(&limits) {
        let three = ["01 01 61", "00 01 62", "80 01 63"];
        assert_eq!(ws.frames(three), [Text("abc")]);
        assert_eq!(ws.frames(three), [Text("abc")]);
        let four = ["01 01 61", "00 01 62", "89 00", "00 00", "80 01"];
        refused_by(ws, &four, &[Ping("")], error, "8a 00 88 02 03 f0");
    }
    assert_eq!(error.name(), "WS_ERR_TOO_MANY_BUFFERED_PARTS");
}

#[test]
fn the_default_limit_of_fragments_is_1048576() {
    let mut ws = server();
    assert_eq!(ws.frames(["02 00"]), NOTHING);
    let empty = ws.written(&"00 00").repeat(1 << 15);
    for _ in 0..31 {
        assert_eq!(ws.events([empty.clone()]), NOTHING);
    }
    let rest = ws.written(&"00 00").repeat((1 << 15) - 1);
    assert_eq!(ws.events([rest]), NOTHING);
    let error = TooManyFragments { limit: 1 << 20 };
    assert_eq!(ws.frames(["80 00"]), [Error(error)]);
    ws.answer();
    ws.has_failed(error);
}

#[test]
fn without_a_limit_of_fragments_there_is_none() {
    let mut ws = server_with(limits(|limits| limits.fragments = None));
    assert_eq!(ws.frames(["02 00"]), NOTHING);
    let empty = ws.written(&"00 00").repeat(1 << 15);
    for _ in 0..40 {
        assert_eq!(ws.events([empty.clone()]), NOTHING);
    }
    assert_eq!(ws.frames(["80 01 61"]), [Binary("61")]);
}

#[test]
fn a_million_fragments_of_one_byte_cost_a_megabyte() {
    let mut ws = server();
    let fragment = ws.written(&"00 01 61");
    assert_eq!(ws.frames(["02 01 61"]), NOTHING);
    assert_eq!(ws.events([fragment.repeat(999_998)]), NOTHING);
    let mut last = &ws.written(&"80 01 61")[..];
    bytes::BufMut::put(&mut ws.conn.inbox(), &mut last);
    let Ok(Some(Event::Message(message))) = ws.conn.next_owned() else {
        panic!("a message")
    };
    assert_eq!(message.len(), 1_000_000);
    let buffer = Vec::from(message.into_bytes());
    assert!(buffer.capacity() <= 2_000_000, "{}", buffer.capacity());
}

#[test]
fn a_message_is_admitted_while_the_backlog_is_not_full() {
    for mut ws in both_with(&limits(|limits| limits.backlog = 100)) {
        assert!(!ws.conn.is_full());
        while ws.conn.buffered() < 100 {
            ws.conn.send("0123456789".into()).unwrap();
        }
        assert!(ws.conn.is_full());
        let full = ws.conn.buffered();
        assert!(full < 100 + 10 + 6, "one message above at most");
        assert_eq!(ws.conn.send("a".into()), Err(SendError::Full));
        assert_eq!(ws.conn.ping(b""), Err(SendError::Full));
        assert_eq!(ws.conn.pong(b""), Err(SendError::Full));
        assert_eq!(ws.conn.buffered(), full, "nothing of it is queued");
        ws.conn.sent(full - 99);
        assert!(!ws.conn.is_full());
        ws.conn.send(Message::from(vec![0; 5000])).unwrap();
        assert!(ws.conn.is_full());
        assert!(ws.conn.buffered() <= 99 + 5000 + 8);
    }
}

#[test]
fn a_backlog_is_full_at_exactly_its_limit() {
    for mut ws in both_with(&limits(|limits| limits.backlog = 10)) {
        // A frame of ten bytes: the header has two, or six with a key.
        let payload = vec![0; if ws.is_server() { 8 } else { 4 }];
        ws.conn.send(payload.into()).unwrap();
        assert_eq!(ws.conn.buffered(), 10);
        assert!(ws.conn.is_full());
        assert_eq!(ws.conn.send("".into()), Err(SendError::Full));
        ws.conn.sent(1);
        ws.conn.send("".into()).unwrap();
    }
}

#[test]
fn a_linked_payload_counts_against_the_backlog() {
    for mut ws in both_with(&limits(|limits| limits.backlog = LINK)) {
        ws.conn.send(Message::from(vec![0; LINK])).unwrap();
        assert_eq!(ws.conn.send("a".into()), Err(SendError::Full));
    }
}

#[test]
fn a_full_backlog_still_answers_pings() {
    for mut ws in both_with(&limits(|limits| limits.backlog = 1)) {
        ws.conn.send("a".into()).unwrap();
        assert_eq!(ws.frames(["89 01 62"]), [Ping("62")]);
        assert_eq!(
            ws.answer(),
            hex(&[frame(0x81, b"a"), frame(0x8a, b"b")].concat())
        );
    }
}
