//! What waits behind a message in parts, and what its parts may take.

use bytes::{BufMut, Bytes};
use hybi_proto::close::Close;
use hybi_proto::code::CloseCode;
use hybi_proto::connection::{Connection, Role, State};
use hybi_proto::error::{ProtocolError, SendError};
use hybi_proto::limits::Limits;
use hybi_proto::message::{Event, Kind, Message};
use hybi_proto::queue::{Admission, Overflow};

use crate::support::hex::{KEY, Ws, both, both_with, frame, masked_frame};

const BACKLOG: usize = 1000;

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.backlog = BACKLOG;
    limits
}

fn begin(ws: &mut Ws, part: &'static str) {
    let part = Bytes::from_static(part.as_bytes());
    ws.conn.begin(Kind::Text).expect("nothing waits");
    ws.conn.send_part(part).expect("there is room");
}

/// Offers messages until one is not just queued; how many were.
fn fill(ws: &mut Ws, overflow: &Overflow) -> usize {
    let mut queued = 0;
    while ws.conn.offer(Message::from("x"), overflow, false) == Ok(Admission::Queued) {
        queued += 1;
        assert!(queued < BACKLOG);
    }
    queued
}

#[test]
fn what_waits_behind_a_message_takes_no_room_from_its_parts() {
    for overflow in [Overflow::DropNewest, Overflow::DropOldest] {
        for mut ws in both_with(&limits()) {
            begin(&mut ws, "a");
            ws.sent_bytes();
            let queued = fill(&mut ws, &overflow);
            assert!(queued > 3 && ws.conn.is_full() && ws.conn.takes_part());
            ws.conn.send_part(Bytes::from(vec![b'b'; BACKLOG])).unwrap();
            assert!(!ws.conn.takes_part());
            assert_eq!(ws.conn.send_part("c".into()), Err(SendError::Full));
            ws.sent_bytes();
            ws.conn.finish().unwrap();
            assert_eq!(ws.conn.buffered(), ws.conn.outbox().len());
            ws.sent_bytes();
            assert_eq!(ws.conn.messages_sent(), 1 + queued as u64);
        }
    }
}

#[test]
fn a_close_before_the_first_part_stands_behind_what_waits() {
    for mut ws in both() {
        ws.conn.begin(Kind::Text).unwrap();
        ws.conn.send("a".into()).unwrap();
        ws.conn.close(None);
        assert_eq!(ws.answer(), "81 01 61 88 00");
        assert_eq!(ws.conn.finish(), Err(SendError::Closed));
        assert_eq!(ws.conn.buffered(), 0);
    }
}

#[test]
fn a_close_before_the_first_part_waits_for_all_that_waits() {
    for mut ws in both() {
        ws.conn.begin(Kind::Text).unwrap();
        ws.conn.send(vec![7; 3 << 20].into()).unwrap();
        ws.conn.close(None);
        assert_eq!(ws.conn.state(), State::Closing);
        let sent = ws.sent_bytes();
        let close = if ws.is_server() { 2 } else { 6 };
        assert_eq!(sent[sent.len() - close], 0x88);
        assert!(sent.len() > 3 << 20);
        assert_eq!((ws.conn.buffered(), ws.conn.messages_sent()), (0, 1));
    }
}

#[test]
fn the_answer_to_a_close_and_to_a_violation_follow_the_half_of_a_message() {
    for mut ws in both() {
        begin(&mut ws, "a");
        ws.conn.send("never".into()).unwrap();
        ws.frames(["88 02 03 e8"]);
        assert_eq!(ws.answer(), "01 01 61 88 02 03 e8");
        assert_eq!(ws.conn.state(), State::Closed);
    }
    for mut ws in both() {
        begin(&mut ws, "a");
        ws.conn.fail(ProtocolError::MessageStalled);
        assert!(ws.answer().starts_with("01 01 61 88 02"));
        assert!(!ws.conn.is_unfinished());
    }
}

#[test]
fn a_slow_peer_is_told_1013_in_the_middle_of_a_message() {
    for mut ws in both_with(&limits()) {
        begin(&mut ws, "a");
        ws.sent_bytes();
        let queued = fill(&mut ws, &Overflow::Close);
        assert_eq!(ws.conn.dropped().closed, queued as u64 + 1);
        assert!(ws.answer().starts_with("88 15 03 f5"));
        assert_eq!(ws.conn.send_part("b".into()), Err(SendError::Closed));
    }
}

#[test]
fn a_lost_connection_forgets_its_message() {
    for mut ws in both() {
        begin(&mut ws, "a");
        ws.conn.send("b".into()).unwrap();
        ws.conn.lost();
        assert_eq!((ws.conn.buffered(), ws.conn.is_unfinished()), (0, false));
        assert_eq!(ws.conn.send_part("b".into()), Err(SendError::Closed));
        assert_eq!(ws.conn.finish(), Err(SendError::Closed));
        ws.conn.abandon();
        assert_eq!(ws.conn.buffered(), 0);
    }
}

#[test]
fn a_close_has_its_reason_behind_a_large_part() {
    let close = Close::new(CloseCode::NORMAL, "bye").unwrap();
    for mut ws in both() {
        ws.conn.begin(Kind::Binary).unwrap();
        ws.conn.send_part(vec![1; 5 << 20].into()).unwrap();
        ws.conn.close(Some(&close));
        assert!(ws.conn.buffered() < 2 << 20, "the rest is given up");
        assert_eq!(ws.conn.buffered(), ws.conn.outbox().len());
    }
}

/// Text in parts, cut at each place and at each two.
#[test]
fn text_may_be_cut_anywhere_and_is_read_in_whole_characters() {
    let text = "aß€🦀\u{10FFFF}z";
    let bytes = text.as_bytes();
    for first in 0..=bytes.len() {
        for second in first..=bytes.len() {
            for mut ws in both() {
                ws.conn.begin(Kind::Text).unwrap();
                for part in [&bytes[..first], &bytes[first..second], &bytes[second..]] {
                    ws.conn.send_part(Bytes::copy_from_slice(part)).unwrap();
                }
                ws.conn.finish().unwrap();
                let sent = ws.sent_bytes();
                for step in [1, 2, 3, 7, 100] {
                    assert_eq!(
                        read_parts(&ws, &sent, step),
                        text,
                        "{first} {second} {step}"
                    );
                }
            }
        }
    }
}

/// Reads one text in parts, so many bytes at a time; each part is UTF-8.
fn read_parts(ws: &Ws, sent: &[u8], step: usize) -> String {
    let role = match ws.is_server() {
        true => Role::Client(|| KEY),
        false => Role::Server,
    };
    let mut peer = Connection::new(role, Limits::default());
    let (mut text, mut over) = (String::new(), false);
    for bytes in sent.chunks(step) {
        peer.inbox().put_slice(bytes);
        while let Some(event) = peer.next_part().expect("what leaves is right") {
            let Event::Part(part) = event else {
                panic!("{event:?}");
            };
            assert!(!over);
            over = part.last;
            text.push_str(std::str::from_utf8(&part.bytes).expect("whole characters"));
        }
    }
    assert!(over);
    text
}

#[test]
fn what_is_skipped_of_a_message_is_not_part_of_the_next() {
    let mut server = Connection::new(Role::Server, Limits::default());
    server.skip();
    let frames = [
        (1, "a"),
        (0, "b"),
        (0x89, "p"),
        (0x80, "c"),
        (1, "d"),
        (0x80, "e"),
        (0x81, "f"),
    ];
    let mut seen = Vec::new();
    for (n, (first, payload)) in frames.into_iter().enumerate() {
        let bytes = masked_frame(&frame(first, payload.as_bytes()));
        server.inbox().put_slice(&bytes);
        while let Some(event) = server.next_part().unwrap() {
            match event {
                Event::Part(part) => seen.push((n, part.bytes, part.last)),
                event => assert_eq!(event, Event::Ping("p".into())),
            }
        }
        if n == 0 || n == 5 {
            server.skip();
        }
    }
    let expected = [
        (0, "a", false),
        (4, "d", false),
        (5, "e", true),
        (6, "f", true),
    ];
    assert_eq!(
        seen,
        expected.map(|(n, bytes, last)| (n, Bytes::from(bytes), last))
    );
    assert_eq!(server.messages_received(), 3);
}

#[test]
fn a_part_pins_at_most_twice_its_size_and_a_page() {
    let mut server = Connection::new(Role::Server, Limits::default());
    let stream = masked_frame(&frame(0x82, &[7; 300_000]));
    let mut rest = &stream[..];
    while !rest.is_empty() {
        let step = 10.min(rest.len()).min(server.inbox().remaining_mut());
        server.inbox().put_slice(&rest[..step]);
        rest = &rest[step..];
        while let Some(Event::Part(part)) = server.next_part().unwrap() {
            let len = part.bytes.len();
            let pinned = Vec::from(part.bytes).capacity();
            assert!(pinned <= 2 * len + 4096, "{pinned} bytes for {len}");
        }
    }
}

#[test]
fn of_a_message_of_which_no_part_was_taken_nothing_is_skipped() {
    for mut ws in both() {
        let [front, rest] = ["01 02 61 62", "80 01 63"].map(|hex| ws.written(&hex));
        ws.conn.inbox().put_slice(&front);
        assert_eq!(ws.conn.next_owned(), Ok(None));
        ws.conn.skip();
        ws.conn.inbox().put_slice(&rest);
        let Ok(Some(Event::Part(part))) = ws.conn.next_part() else {
            panic!("it is whole")
        };
        assert_eq!((&part.bytes[..], part.last), (&b"abc"[..], true));
    }
}
