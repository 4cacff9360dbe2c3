//! What becomes of messages when the peer takes its time: the policies.

use bytes::BufMut;
use hybi_proto::connection::{Connection, Role, State};
use hybi_proto::error::SendError;
use hybi_proto::limits::Limits;
use hybi_proto::message::{Event, Message};
use hybi_proto::prepared::Prepared;
use hybi_proto::queue::{Admission, Backlog, Overflow};
use proptest::prelude::*;

use crate::support::hex::{KEY, Ws, both_with, joined, server_with};

use Admission::{Displaced, Dropped, Queued};

/// Room for five messages of [`SIZE`] that are framed, and for three more that are not.
const BACKLOG: usize = 1000;
const SIZE: usize = 100;

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.backlog = BACKLOG;
    limits
}

fn numbered(number: u8) -> Message {
    vec![number; SIZE].into()
}

fn offer(ws: &mut Ws, number: u8, overflow: &Overflow) -> Admission {
    let offered = ws.conn.offer(numbered(number), overflow, false);
    offered.expect("the connection is open")
}

/// Offers messages until none is just queued any more; how many were.
fn fill(ws: &mut Ws, overflow: &Overflow) -> u8 {
    let mut queued = 0;
    while offer(ws, queued, overflow) == Queued {
        queued += 1;
    }
    queued
}

/// The numbers of the messages that leave.
fn numbers(ws: &mut Ws) -> Vec<u8> {
    let sent = ws.sent_bytes();
    let (role, mut seen) = match ws.is_server() {
        true => (Role::Client(|| KEY), Vec::new()),
        false => (Role::Server, Vec::new()),
    };
    let mut peer = Connection::new(role, Limits::default());
    peer.lend_inbox(Vec::with_capacity(sent.len()));
    peer.inbox().put_slice(&sent);
    while let Some(event) = peer.next_owned().expect("what leaves is whole") {
        if let Event::Message(message) = event {
            seen.push(message.as_bytes()[0]);
        }
    }
    seen
}

#[test]
fn who_waits_is_told_and_nothing_is_dropped() {
    for mut ws in both_with(&limits()) {
        let mut sent = 0;
        while ws.conn.offer(numbered(sent), &Overflow::Wait, false) == Ok(Queued) {
            sent += 1;
        }
        let full = ws.conn.offer(numbered(99), &Overflow::Wait, false);
        assert_eq!(full, Err(SendError::Full));
        assert_eq!(numbers(&mut ws), Vec::from_iter(0..sent));
        assert_eq!(ws.conn.dropped(), Default::default());
    }
}

#[test]
fn drop_newest_keeps_what_was_first() {
    for mut ws in both_with(&limits()) {
        let queued = fill(&mut ws, &Overflow::DropNewest);
        assert_eq!(offer(&mut ws, 99, &Overflow::DropNewest), Dropped);
        assert_eq!(numbers(&mut ws), Vec::from_iter(0..queued));
        assert_eq!(ws.conn.dropped().newest, 2);
    }
}

#[test]
fn drop_oldest_keeps_what_is_framed_and_what_was_last() {
    for mut ws in both_with(&limits()) {
        let queued = fill(&mut ws, &Overflow::DropOldest);
        for number in queued + 1..100 {
            assert_eq!(offer(&mut ws, number, &Overflow::DropOldest), Displaced);
        }
        let left = numbers(&mut ws);
        assert_eq!(left[..5], [0, 1, 2, 3, 4]);
        assert_eq!(left[5..], Vec::from_iter(100 + 5 - queued..100));
        assert_eq!(ws.conn.dropped().oldest, 100 - u64::from(queued));
    }
}

#[test]
fn what_was_not_queued_to_be_dropped_is_kept() {
    for mut ws in both_with(&limits()) {
        let queued = fill(&mut ws, &Overflow::DropNewest);
        assert_eq!(offer(&mut ws, 99, &Overflow::DropOldest), Dropped);
        let key = Overflow::Conflate("key".into());
        assert_eq!(offer(&mut ws, 98, &key), Dropped);
        assert_eq!(numbers(&mut ws), Vec::from_iter(0..queued));
        assert_eq!(ws.conn.dropped().newest, 3);
    }
}

#[test]
fn conflation_sends_the_latest_of_each_key_where_its_first_one_stood() {
    for mut ws in both_with(&limits()) {
        for number in 0..5 {
            offer(&mut ws, number, &Overflow::DropOldest);
        }
        let [a, b] = ["a", "b"].map(|key| Overflow::Conflate(key.into()));
        assert_eq!(offer(&mut ws, 10, &a), Queued);
        assert_eq!(offer(&mut ws, 20, &b), Queued);
        assert_eq!(offer(&mut ws, 21, &b), Displaced);
        assert_eq!(offer(&mut ws, 11, &a), Displaced);
        assert_eq!(offer(&mut ws, 12, &a), Displaced);
        assert_eq!(numbers(&mut ws), [0, 1, 2, 3, 4, 12, 21]);
        assert_eq!(ws.conn.dropped().conflated, 3);
        assert_eq!(ws.conn.dropped().oldest, 0);
    }
}

#[test]
fn a_conflated_message_that_grows_displaces_others_and_not_itself() {
    for mut ws in both_with(&limits()) {
        for number in 0..5 {
            offer(&mut ws, number, &Overflow::DropOldest);
        }
        let keys = ["a", "b", "c"].map(|key| Overflow::Conflate(key.into()));
        for (number, key) in (10..).zip(&keys) {
            assert_eq!(offer(&mut ws, number, key), Queued);
        }
        let longer = Message::from([20; SIZE + 1].to_vec());
        let admission = ws.conn.offer(longer, &keys[0], false);
        assert_eq!(admission, Ok(Displaced));
        assert_eq!(numbers(&mut ws), [0, 1, 2, 3, 4, 20, 12]);
        let dropped = ws.conn.dropped();
        assert_eq!((dropped.conflated, dropped.oldest), (1, 1));
    }
}

#[test]
fn conflated_messages_that_grow_stay_within_the_backlog() {
    for mut ws in both_with(&limits()) {
        for number in 0..5 {
            offer(&mut ws, number, &Overflow::DropOldest);
        }
        let keys = ["a", "b", "c", "d"].map(|key| Overflow::Conflate(key.into()));
        for size in 1..50 {
            for key in &keys {
                let message = vec![0; size * 10];
                ws.conn.offer(Message::from(message), key, false).unwrap();
                assert!(ws.conn.buffered() < BACKLOG + 500 + 200);
            }
        }
    }
}

#[test]
fn a_peer_that_is_too_slow_is_told_1013_behind_what_is_framed() {
    for mut ws in both_with(&limits()) {
        let queued = fill(&mut ws, &Overflow::Close);
        assert_eq!(ws.conn.state(), State::Closing);
        assert_eq!(ws.conn.dropped().closed, u64::from(queued) - 5 + 1);
        let again = ws.conn.offer(numbered(99), &Overflow::Close, false);
        assert_eq!(again, Err(SendError::Closed));
        let reason = "the backlog is full";
        let close = ws.answer().split_off(5 * (SIZE + 2) * 3);
        let length = format!("88 {:02x} 03 f5", reason.len() + 2);
        assert!(close.starts_with(&length), "{close}");
    }
}

#[test]
fn a_policy_does_not_take_the_room_that_somebody_waits_for() {
    let mut ws = server_with(limits());
    let queued = fill(&mut ws, &Overflow::DropOldest);
    let full = ws.conn.buffered();
    ws.conn.sent(SIZE + 2);
    let room = ws.conn.buffered();
    assert_eq!((queued, full - room), (8, 228));
    for number in 50..60 {
        let crowded = ws.conn.offer(numbered(number), &Overflow::DropOldest, true);
        assert!(matches!(crowded, Ok(Dropped | Displaced)), "{crowded:?}");
        assert!(ws.conn.buffered() <= room);
    }
    let crowded = ws.conn.offer(numbered(60), &Overflow::DropNewest, true);
    assert_eq!(crowded, Ok(Dropped));
    let waits = ws.conn.offer(numbered(61), &Overflow::Wait, true);
    assert_eq!(waits, Err(SendError::Full));
}

#[test]
fn control_frames_are_exempt_and_pass_what_is_not_framed() {
    let mut ws = server_with(limits());
    let queued = fill(&mut ws, &Overflow::DropOldest);
    assert!(ws.conn.is_full());
    ws.conn.ping(b"").unwrap();
    let bytes = ws.sent_bytes();
    assert_eq!(bytes[5 * (SIZE + 2)..][..2], [0x89, 0]);
    assert_eq!(bytes.len(), usize::from(queued) * (SIZE + 2) + 2);
}

#[test]
fn messages_that_wait_unframed_leave_before_a_close() {
    for mut ws in both_with(&limits()) {
        for number in 0..6 {
            offer(&mut ws, number, &Overflow::DropOldest);
        }
        ws.conn.close(None);
        assert_eq!(numbers(&mut ws), [0, 1, 2, 3, 4, 5]);
    }
}

#[test]
fn a_plain_message_does_not_pass_one_that_waits() {
    for mut ws in both_with(&limits()) {
        for number in 0..6 {
            offer(&mut ws, number, &Overflow::DropOldest);
        }
        ws.conn.send(numbered(6)).unwrap();
        ws.conn.send_over(numbered(7)).unwrap();
        assert_eq!(numbers(&mut ws), [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}

#[test]
fn nothing_waits_on_a_connection_that_is_lost() {
    let mut ws = server_with(limits());
    fill(&mut ws, &Overflow::DropOldest);
    ws.conn.lost();
    assert_eq!(ws.conn.buffered(), 0);
    assert_eq!(ws.sent_bytes(), []);
}

#[test]
fn a_prepared_message_leaves_as_its_message_would() {
    for size in [0, 1, 125, 126, 9000, 70_000] {
        let messages: [Message; 2] = [vec![7; size].into(), "x".repeat(size).into()];
        for message in messages {
            let twins = both_with(&Limits::default());
            for (mut ws, mut twin) in both_with(&Limits::default()).into_iter().zip(twins) {
                let prepared = Prepared::new(message.clone());
                assert_eq!(*prepared.message(), message);
                let offered = ws.conn.offer(&prepared, &Overflow::Close, false);
                assert_eq!(offered, Ok(Queued));
                twin.conn.send(message.clone()).unwrap();
                assert_eq!(ws.sent(), twin.sent());
            }
        }
    }
}

#[test]
fn a_prepared_message_that_finds_room_is_framed_at_once_and_another_is_judged_as_any() {
    let prepared = Prepared::text("to everyone");
    for mut ws in both_with(&limits()) {
        let offered = ws.conn.offer_prepared(&prepared, &Overflow::Close, false);
        assert_eq!(offered, Ok(Queued));
        assert_eq!((ws.conn.messages_sent(), ws.conn.unframed()), (1, 0));
        let crowded = ws.conn.offer_prepared(&prepared, &Overflow::Wait, true);
        assert_eq!(crowded, Err(SendError::Full));
        assert_eq!(ws.answer(), "81 0b 74 6f 20 65 76 65 72 79 6f 6e 65");
        fill(&mut ws, &Overflow::DropNewest);
        let full = ws
            .conn
            .offer_prepared(&prepared, &Overflow::DropNewest, false);
        assert_eq!(full, Ok(Dropped));
        ws.conn.close(None);
        let closed = ws
            .conn
            .offer_prepared(&prepared, &Overflow::DropNewest, false);
        assert_eq!(closed, Err(SendError::Closed));
    }
}

#[test]
fn what_is_not_framed_and_where_what_was_framed_late_ends_is_known() {
    for mut ws in both_with(&limits()) {
        let all = usize::from(fill(&mut ws, &Overflow::DropOldest));
        let framed = ws.conn.messages_sent() as usize;
        assert!((1..all).contains(&framed));
        assert_eq!((ws.conn.unframed(), ws.conn.unsent()), (all - framed, 0));
        while ws.conn.unframed() > 0 {
            ws.conn.sent(1);
        }
        let late = ws.conn.outbox().len();
        assert_eq!(ws.conn.unsent(), late);
        ws.conn.ping(b"").unwrap();
        assert_eq!(ws.conn.unsent(), late);
        ws.conn.sent(late - 1);
        assert_eq!(ws.conn.unsent(), 1);
        ws.conn.sent(1);
        assert_eq!(ws.conn.unsent(), 0);
        assert!(!ws.conn.outbox().is_empty());
    }
}

#[test]
fn the_bounds_of_a_backlog_can_change_and_what_waits_stays() {
    let mut backlog = Backlog::new(3, 1 << 20);
    assert_eq!((backlog.count(), backlog.is_empty()), (0, true));
    for number in 0..3 {
        assert_eq!(backlog.offer(numbered(number), &Overflow::Wait), Ok(Queued));
    }
    assert_eq!(
        backlog.offer(numbered(3), &Overflow::Wait),
        Err(SendError::Full)
    );
    backlog.set_bounds(4, 1 << 20);
    assert_eq!(backlog.offer(numbered(3), &Overflow::Wait), Ok(Queued));
    backlog.set_bounds(0, 0);
    assert_eq!(
        (backlog.count(), backlog.is_empty(), backlog.is_full()),
        (4, false, true)
    );
    for number in 0..4 {
        let item = backlog.pop().map(|item| item.message().clone());
        assert_eq!(item, Some(numbered(number)));
    }
    assert!(backlog.is_empty() && !backlog.is_full());
    assert_eq!(backlog.offer(numbered(4), &Overflow::Wait), Ok(Queued));
    assert!(backlog.is_full());
}

#[derive(Clone, Debug)]
enum Op {
    Send(usize),
    Offer(usize, u8, bool),
    Drain(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        2 => (1..400_usize).prop_map(Op::Send),
        5 => (1..400_usize, 0..6_u8, any::<bool>()).prop_map(|(a, b, c)| Op::Offer(a, b, c)),
        3 => (1..600_usize).prop_map(Op::Drain),
    ];
    proptest::collection::vec(op, 0..120)
}

proptest! {
    #[test]
    fn every_message_arrives_in_order_or_is_counted(ops in ops()) {
        let mut conn = Connection::new(Role::Server, limits());
        let (mut wire, mut kept, mut offered) = (Vec::new(), Vec::new(), 0_u64);
        let mut number = 0_u32;
        let mut message = |size: usize| {
            number += 1;
            let mut bytes = vec![0; 3 + size];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            (number, Message::from(bytes))
        };
        let drain = |conn: &mut Connection, n: usize, wire: &mut Vec<u8>| {
            let mut slices = [std::io::IoSlice::new(&[]); 8];
            let count = conn.outbox().slices(&mut slices);
            let mut bytes = joined(&slices[..count]);
            bytes.truncate(n);
            conn.sent(bytes.len());
            wire.extend(bytes);
        };
        for op in ops {
            match op {
                Op::Send(size) => {
                    let (number, message) = message(size);
                    if conn.send(message).is_ok() {
                        kept.push(number);
                        offered += 1;
                    }
                }
                Op::Offer(size, policy, crowded) => {
                    let (number, message) = message(size);
                    let policy = match policy {
                        0 => Overflow::Wait,
                        1 => Overflow::DropNewest,
                        2 | 3 => Overflow::DropOldest,
                        key => Overflow::Conflate(format!("{key}").into()),
                    };
                    let admission = conn.offer(message, &policy, crowded);
                    offered += u64::from(admission.is_ok());
                    if admission == Ok(Queued) && matches!(policy, Overflow::Wait | Overflow::DropNewest) {
                        kept.push(number);
                    }
                }
                Op::Drain(n) => drain(&mut conn, n, &mut wire),
            }
            prop_assert!(conn.buffered() < BACKLOG + 2 * 600);
            prop_assert_eq!(conn.buffered() == 0, conn.outbox().is_empty());
        }
        while conn.buffered() > 0 {
            drain(&mut conn, usize::MAX, &mut wire);
        }
        let mut peer = Connection::new(Role::Client(|| KEY), Limits::default());
        peer.lend_inbox(Vec::with_capacity(wire.len()));
        if !wire.is_empty() {
            peer.inbox().put_slice(&wire);
        }
        let mut arrived = Vec::new();
        while let Some(event) = peer.next_owned().unwrap() {
            let Event::Message(message) = event else { panic!("{event:?}") };
            arrived.push(u32::from_be_bytes(*message.as_bytes().first_chunk().unwrap()));
        }
        let dropped = conn.dropped();
        let dropped = dropped.newest + dropped.oldest + dropped.conflated;
        prop_assert_eq!(arrived.len() as u64 + dropped, offered);
        prop_assert_eq!(conn.messages_sent(), arrived.len() as u64);
        arrived.retain(|number| kept.contains(number));
        prop_assert_eq!(arrived, kept);
    }
}
