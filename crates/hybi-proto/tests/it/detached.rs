//! A connection whose receiving half is elsewhere.

use bytes::BufMut;
use hybi_proto::connection::State;
use hybi_proto::decoder::Shown;
use hybi_proto::message::{EventRef, Message, MessageRef};

use crate::support::hex::{NOTHING, both, frame, masked_frame, server};

#[test]
fn messages_are_sent_while_a_message_is_looked_at() {
    let mut ws = server();
    ws.conn
        .inbox()
        .put_slice(&[masked_frame(b"\x81\x01a"), masked_frame(b"\x81\x01b")].concat());
    let mut decoder = ws.conn.detach();
    while let Ok(Some(EventRef::Message(message))) = decoder.next() {
        ws.conn.send_ref(message).unwrap();
        ws.conn.send_ref(MessageRef::Text("!")).unwrap();
    }
    ws.conn.attach(decoder);
    assert_eq!(ws.sent(), "81 01 61 81 01 21 81 01 62 81 01 21");
    assert_eq!(ws.conn.messages_received(), 2);
}

#[test]
fn what_is_owed_is_paid_by_who_has_the_rest() {
    for mut ws in both() {
        let bytes = [ws.written(&"89 01 70"), ws.written(&"88 02 03 e8")].concat();
        ws.conn.inbox().put_slice(&bytes);
        let mut decoder = ws.conn.detach();
        while let Ok(Some(event)) = decoder.next() {
            ws.conn.respond(&event);
        }
        assert_eq!(ws.conn.state(), State::Closed);
        ws.conn.attach(decoder);
        assert_eq!(ws.answer(), "8a 01 70 88 02 03 e8");
        ws.is_silent();
    }
}

#[test]
fn nothing_comes_while_it_is_away() {
    let mut ws = server();
    let decoder = ws.conn.detach();
    assert_eq!((ws.conn.unread(), ws.conn.is_midway()), (0, false));
    assert_eq!(ws.frames(["81 01 61"]), NOTHING);
    ws.conn.attach(decoder);
}

#[test]
fn what_has_come_is_ignored_if_the_connection_fails_meanwhile() {
    let mut ws = server();
    ws.conn.inbox().put_slice(&masked_frame(b"\x81\x01a"));
    let decoder = ws.conn.detach();
    ws.conn.lost();
    ws.conn.attach(decoder);
    assert_eq!(ws.conn.next(), Ok(None));
    assert_eq!(ws.conn.unread(), 0);
}

#[test]
fn a_large_message_that_was_joined_is_shown_with_its_buffer() {
    let (large, small) = ("x".repeat(10_000), "y".repeat(100));
    let mut ws = server();
    let mut decoder = ws.conn.detach();
    decoder.lend(Vec::with_capacity(64 << 10));
    for text in [&large, &small] {
        let bytes = masked_frame(&frame(0x81, text.as_bytes()));
        let (a, b) = bytes.split_at(50);
        decoder.inbox().put_slice(&bytes);
        let whole = Shown::View(EventRef::Message(text.into()));
        assert_eq!(decoder.next_shown(), Ok(Some(whole.clone())));
        decoder.inbox().put_slice(a);
        assert_eq!(decoder.next_shown(), Ok(None));
        decoder.inbox().put_slice(b);
        let joined = decoder.next_shown().unwrap().unwrap();
        if text == &small {
            assert_eq!(joined, whole);
            continue;
        }
        let Shown::Joined(message) = joined else {
            panic!("{joined:?}")
        };
        assert_eq!(message, Message::from(text));
        let part = message.share(MessageRef::from(&message));
        let start = |message: &Message| message.as_bytes().as_ptr();
        assert_eq!(part.as_ref().map(start), Some(start(&message)));
    }
    assert_eq!(decoder.next_shown(), Ok(None));
    ws.conn.attach(decoder);
    assert_eq!(ws.conn.messages_received(), 4);
}
