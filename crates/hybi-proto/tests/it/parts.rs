//! Messages that leave in fragments: those of who sends in parts, and large ones by themselves.

use bytes::{BufMut, Bytes};
use hybi_proto::close::Close;
use hybi_proto::code::CloseCode;
use hybi_proto::connection::{Connection, Role, State};
use hybi_proto::error::SendError;
use hybi_proto::limits::Limits;
use hybi_proto::message::{Event, Kind, Message};
use hybi_proto::prepared::Prepared;
use hybi_proto::queue::Overflow;
use proptest::prelude::*;

use crate::support::hex::{KEY, Ws, both, both_with, client, joined, server};

const MIB: usize = 1 << 20;

/// What the peer of this connection makes of these bytes.
fn read(ws: &Ws, sent: &[u8]) -> Vec<Event> {
    let role = if ws.is_server() {
        Role::Client(|| KEY)
    } else {
        Role::Server
    };
    let mut peer = Connection::new(role, Limits::default());
    let mut events = Vec::new();
    let mut rest = sent;
    while !rest.is_empty() {
        let mut inbox = peer.inbox();
        let n = rest.len().min(inbox.remaining_mut());
        inbox.put_slice(&rest[..n]);
        rest = &rest[n..];
        while let Some(event) = peer.next_owned().expect("what leaves is right") {
            events.push(event);
        }
    }
    events
}

fn part(ws: &mut Ws, bytes: &'static [u8]) -> Result<(), SendError> {
    ws.conn.send_part(Bytes::from_static(bytes))
}

#[test]
fn the_fragments_of_rfc_6455_5_7_leave_as_they_are_written() {
    for mut ws in both() {
        ws.conn.begin(Kind::Text).unwrap();
        part(&mut ws, b"Hel").unwrap();
        assert_eq!(ws.answer(), "01 03 48 65 6c");
        part(&mut ws, b"lo").unwrap();
        assert_eq!(ws.answer(), "00 02 6c 6f");
        ws.conn.finish().unwrap();
        assert_eq!(ws.answer(), "80 00");
    }
}

#[test]
fn a_message_without_parts_is_an_empty_one() {
    for mut ws in both() {
        ws.conn.begin(Kind::Binary).unwrap();
        part(&mut ws, b"").unwrap();
        ws.conn.finish().unwrap();
        assert_eq!(ws.answer(), "82 00");
    }
}

#[test]
fn control_frames_pass_between_the_parts_and_messages_wait_for_the_last() {
    for mut ws in both() {
        ws.conn.begin(Kind::Text).unwrap();
        part(&mut ws, b"a").unwrap();
        ws.conn.send("b".into()).unwrap();
        let newest = Overflow::DropNewest;
        ws.conn.offer(Prepared::text("c"), &newest, false).unwrap();
        assert_eq!(ws.conn.begin(Kind::Text), Err(SendError::Full));
        ws.conn.ping(b"p").unwrap();
        assert_eq!(ws.answer(), "01 01 61 89 01 70");
        assert!(ws.conn.is_unfinished() && ws.conn.buffered() > 0);
        ws.conn.finish().unwrap();
        assert_eq!(ws.answer(), "80 00 81 01 62 81 01 63");
        assert_eq!(ws.conn.messages_sent(), 3);
    }
}

#[test]
fn text_may_be_cut_inside_a_character_but_not_end_there() {
    for mut ws in both() {
        ws.conn.begin(Kind::Text).unwrap();
        part(&mut ws, b"\xe2\x82").unwrap();
        assert_eq!(part(&mut ws, b"x"), Err(SendError::InvalidUtf8));
        assert_eq!(ws.conn.finish(), Err(SendError::InvalidUtf8));
        part(&mut ws, b"\xac").unwrap();
        ws.conn.finish().unwrap();
        let sent = ws.sent_bytes();
        assert_eq!(read(&ws, &sent), [Event::Message("€".into())]);
    }
}

#[test]
fn a_message_that_is_given_up_closes_with_1011_unless_nothing_of_it_has_left() {
    for mut ws in both() {
        ws.conn.abandon();
        ws.conn.begin(Kind::Text).unwrap();
        ws.conn.send("b".into()).unwrap();
        ws.conn.abandon();
        assert_eq!(ws.answer(), "81 01 62");
        ws.conn.begin(Kind::Text).unwrap();
        part(&mut ws, b"a").unwrap();
        ws.conn.abandon();
        assert!(ws.answer().starts_with("01 01 61 88 1c 03 f3"));
        assert_eq!(ws.conn.state(), State::Closing);
    }
}

#[test]
fn parts_without_a_message_are_refused() {
    let mut ws = server();
    assert_eq!(part(&mut ws, b"x"), Err(SendError::Closed));
    assert_eq!(ws.conn.finish(), Err(SendError::Closed));
    ws.conn.send(vec![0; 3 * MIB].into()).unwrap();
    assert_eq!(part(&mut ws, b"x"), Err(SendError::Closed));
    assert!(!ws.conn.is_unfinished() && !ws.conn.takes_part());
    assert_eq!(ws.conn.begin(Kind::Text), Err(SendError::Full));
}

#[test]
fn a_message_of_1_mib_is_one_frame_and_a_larger_one_is_cut() {
    for size in [MIB, MIB + 1, 5 * MIB, 5 * MIB + 77] {
        for mut ws in both() {
            let message = Message::from(vec![7; size]);
            match size % 2 {
                0 => ws.conn.send(message.clone()).unwrap(),
                _ => {
                    let prepared = Prepared::new(message.clone());
                    ws.conn
                        .offer_prepared(&prepared, &Overflow::Wait, false)
                        .unwrap();
                }
            }
            assert!(ws.conn.outbox().len() <= MIB + 14);
            assert!(ws.conn.buffered() >= size);
            let sent = ws.sent_bytes();
            let mask = if ws.is_server() { 0 } else { 4 };
            assert_eq!(
                sent.len(),
                size + size.div_ceil(MIB) * (10 + mask)
                    - match size % MIB {
                        1 => 8,
                        77 => 8,
                        _ => 0,
                    }
            );
            assert_eq!(read(&ws, &sent), [Event::Message(message)]);
        }
    }
}

#[test]
fn a_ping_waits_behind_one_fragment_of_a_large_message() {
    for mut ws in both() {
        let message = Message::from("x".repeat(4 * MIB));
        ws.conn.send(message.clone()).unwrap();
        ws.conn.ping(b"soon").unwrap_err();
        ws.frames(["89 04 73 6f 6f 6e"]);
        let sent = ws.sent_bytes();
        assert_eq!(sent[MIB + 10 + if ws.is_server() { 0 } else { 4 }], 0x8a);
        let expected = [Event::Pong("soon".into()), Event::Message(message)];
        assert_eq!(read(&ws, &sent), expected);
    }
}

#[test]
fn a_close_stands_behind_the_rest_of_a_large_message() {
    for mut ws in both() {
        let close = Close::new(CloseCode::NORMAL, "bye").unwrap();
        ws.conn.send(vec![1; 3 * MIB].into()).unwrap();
        ws.conn.send_over(Message::from("behind")).unwrap();
        ws.conn.close(Some(&close));
        assert_eq!(ws.conn.state(), State::Closing);
        assert!(ws.conn.outbox().len() < 2 * MIB);
        let sent = ws.sent_bytes();
        let events = read(&ws, &sent);
        assert_eq!(events[1], Event::Message("behind".into()));
        assert_eq!(events[2], Event::Close(Some(close)));
    }
}

#[test]
fn a_close_does_not_wait_for_a_message_that_is_not_finished() {
    for mut ws in both() {
        ws.conn.begin(Kind::Text).unwrap();
        part(&mut ws, b"a").unwrap();
        ws.conn.send("never".into()).unwrap();
        ws.conn.close(None);
        assert_eq!(ws.answer(), "01 01 61 88 00");
        assert_eq!(part(&mut ws, b"b"), Err(SendError::Closed));
        assert_eq!(ws.conn.dropped().closed, 1);
        assert_eq!(ws.conn.buffered(), 0);
    }
}

#[test]
fn a_part_finds_no_room_in_a_full_backlog() {
    let mut limits = Limits::default();
    limits.backlog = 10;
    for mut ws in both_with(&limits) {
        ws.conn.begin(Kind::Binary).unwrap();
        part(&mut ws, b"0123456789").unwrap();
        assert_eq!(part(&mut ws, b"x"), Err(SendError::Full));
        assert!(!ws.conn.takes_part());
        ws.conn.finish().unwrap();
        let sent = ws.sent_bytes();
        assert_eq!(read(&ws, &sent), [Event::Message(b"0123456789".into())]);
    }
}

#[derive(Clone, Debug)]
enum Op {
    Send(usize),
    Begin,
    Part(usize),
    Finish,
    Ping,
    Drain(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let size = prop_oneof![4 => 0..300_usize, 1 => MIB - 2..3 * MIB];
    let op = prop_oneof![
        4 => size.clone().prop_map(Op::Send),
        3 => Just(Op::Begin),
        4 => size.prop_map(Op::Part),
        3 => Just(Op::Finish),
        1 => Just(Op::Ping),
        5 => prop_oneof![1..500_usize, MIB / 2..4 * MIB].prop_map(Op::Drain),
    ];
    proptest::collection::vec(op, 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_message_arrives_whole_and_in_order(ops in ops(), is_server: bool) {
        let mut ws = if is_server { server() } else { client() };
        let (mut wire, mut expected, mut open, mut later) = (Vec::new(), Vec::new(), None, Vec::new());
        let mut fresh = 0_u8;
        let mut payload = |size: usize| {
            fresh = fresh.wrapping_add(1);
            vec![fresh; size]
        };
        for op in ops {
            match op {
                Op::Send(size) => {
                    let message = payload(size);
                    if ws.conn.send(message.clone().into()).is_ok() {
                        let waits = open.is_some();
                        if waits { &mut later } else { &mut expected }.push(message);
                    }
                }
                Op::Begin => if ws.conn.begin(Kind::Binary).is_ok() {
                    prop_assert!(open.is_none());
                    open = Some(Vec::new());
                },
                Op::Part(size) => {
                    let part = payload(size);
                    if ws.conn.send_part(part.clone().into()).is_ok() {
                        open.as_mut().unwrap().extend(part);
                    }
                }
                Op::Finish => prop_assert_eq!(ws.conn.finish().is_ok(), match open.take() {
                    None => false,
                    Some(message) => {
                        expected.push(message);
                        expected.append(&mut later);
                        true
                    }
                }),
                Op::Ping => drop(ws.conn.ping(b"")),
                Op::Drain(n) => drain(&mut ws, n, &mut wire),
            }
            let waits = ws.conn.buffered() > 0 && !ws.conn.is_unfinished();
            prop_assert_eq!(waits && ws.conn.outbox().is_empty(), false);
        }
        if let Some(message) = open {
            ws.conn.finish().unwrap();
            expected.push(message);
            expected.append(&mut later);
        }
        ws.conn.close(None);
        drain(&mut ws, usize::MAX, &mut wire);
        prop_assert_eq!(ws.conn.buffered(), 0);
        let mut events = read(&ws, &wire);
        prop_assert_eq!(events.pop(), Some(Event::Close(None)));
        events.retain(|event| *event != Event::Ping(Bytes::new()));
        let expected: Vec<_> = expected.into_iter().map(|m| Event::Message(m.into())).collect();
        prop_assert!(events == expected);
    }
}

fn drain(ws: &mut Ws, mut n: usize, wire: &mut Vec<u8>) {
    while n > 0 && !ws.conn.outbox().is_empty() {
        let mut slices = [std::io::IoSlice::new(&[]); 8];
        let count = ws.conn.outbox().slices(&mut slices);
        let mut bytes = joined(&slices[..count]);
        bytes.truncate(n);
        n -= bytes.len();
        ws.conn.sent(bytes.len());
        wire.extend(bytes);
    }
}
