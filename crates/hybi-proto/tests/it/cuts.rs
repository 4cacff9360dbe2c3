//! A stream gives the same events and the same answers however it is cut.

use std::cell::Cell;
use std::io::IoSlice;

use bytes::BufMut;
use hybi_proto::close::CloseInfo;
use hybi_proto::connection::{Connection, Role, State};
use hybi_proto::decoder::Shown;
use hybi_proto::error::ProtocolError;
use hybi_proto::limits::Limits;
use hybi_proto::message::{Event, EventRef, Kind};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::hex::{frame, joined, masked_frame};

/// All that a peer and a caller can see of a connection.
#[derive(Debug, PartialEq)]
struct Trace {
    events: Vec<Result<Event, ProtocolError>>,
    sent: Vec<u8>,
    info: Option<CloseInfo>,
    state: State,
    midway: bool,
}

/// One read, and what the caller does around it.
#[derive(Clone, Debug)]
struct Turn {
    /// Bytes that the read brings, at most.
    read: usize,
    lend: Option<usize>,
    reclaim: bool,
    /// Whether the events are taken before the next read.
    take: bool,
    way: Way,
    /// Bytes that the socket takes, at most.
    write: usize,
}

/// How the events are taken.
#[derive(Clone, Copy, Debug)]
enum Way {
    Owned,
    Borrowed,
    Detached,
    Shown,
}

impl Way {
    const ALL: [Self; 4] = [Self::Owned, Self::Borrowed, Self::Detached, Self::Shown];
}

impl Turn {
    const WHOLE: Self = Self {
        read: usize::MAX,
        lend: None,
        reclaim: false,
        take: true,
        way: Way::Owned,
        write: 0,
    };
}

thread_local! {
    static NEXT_KEY: Cell<u32> = const { Cell::new(0) };
}

fn counted_key() -> [u8; 4] {
    NEXT_KEY
        .replace(NEXT_KEY.get() + 1)
        .wrapping_mul(0x9e37_79b9)
        .to_be_bytes()
}

fn run(server: bool, limits: &Limits, stream: &[u8], turns: &[Turn], whole: bool) -> Trace {
    run_as(server, limits, stream, turns, whole, None)
}

/// As [`run`], but the messages are taken in parts and joined again.
fn run_parts(server: bool, limits: &Limits, stream: &[u8], turns: &[Turn]) -> Trace {
    run_as(server, limits, stream, turns, false, Some(Vec::new()))
}

fn run_as(
    server: bool,
    limits: &Limits,
    stream: &[u8],
    turns: &[Turn],
    whole: bool,
    mut parts: Option<Vec<u8>>,
) -> Trace {
    NEXT_KEY.set(0);
    let role = if server {
        Role::Server
    } else {
        Role::Client(counted_key)
    };
    let mut conn = Connection::new(role, limits.clone());
    let (mut events, mut sent) = (Vec::new(), Vec::new());
    if whole {
        conn.lend_inbox(Vec::with_capacity(stream.len() + 1));
    }
    let mut rest = stream;
    let mut turns = turns.iter().cycle();
    while let (false, Some(turn)) = (rest.is_empty(), turns.next()) {
        if let Some(capacity) = turn.lend {
            conn.lend_inbox(Vec::with_capacity(capacity));
        }
        let mut inbox = conn.inbox();
        let room = inbox.remaining_mut();
        assert!(room > 0, "the inbox has room");
        let n = turn.read.min(room).min(rest.len());
        inbox.put_slice(&rest[..n]);
        rest = &rest[n..];
        if turn.take || rest.is_empty() {
            match &mut parts {
                None => take(&mut conn, turn.way, &mut events),
                Some(parts) => take_parts(&mut conn, parts, &mut events),
            }
        }
        drain(&mut conn, turn.write, &mut sent);
        if turn.reclaim {
            conn.reclaim_inbox();
        }
    }
    match &mut parts {
        None => take(&mut conn, Way::Owned, &mut events),
        Some(parts) => take_parts(&mut conn, parts, &mut events),
    }
    let (info, state, midway) = (conn.close_info().cloned(), conn.state(), conn.is_midway());
    drain(&mut conn, usize::MAX, &mut sent);
    Trace {
        events,
        sent,
        info,
        state,
        midway,
    }
}

fn take(conn: &mut Connection, way: Way, events: &mut Vec<Result<Event, ProtocolError>>) {
    loop {
        let event = match way {
            Way::Owned => conn.next_owned(),
            Way::Borrowed => conn.next().map(|event| event.map(|event| owned(&event))),
            Way::Detached => next_detached(conn),
            Way::Shown => next_shown(conn),
        };
        match event.transpose() {
            Some(event) => events.push(event),
            None => return,
        }
    }
}

fn next_detached(conn: &mut Connection) -> Result<Option<Event>, ProtocolError> {
    let mut decoder = conn.detach();
    let event = decoder.next();
    match &event {
        Ok(Some(event)) => conn.respond(event),
        Ok(None) => {}
        Err(error) => conn.fail(*error),
    }
    let event = event.map(|event| event.map(|event| owned(&event)));
    conn.attach(decoder);
    event
}

fn next_shown(conn: &mut Connection) -> Result<Option<Event>, ProtocolError> {
    let mut decoder = conn.detach();
    let event = match decoder.next_shown() {
        Ok(Some(Shown::View(event))) => {
            conn.respond(&event);
            Ok(Some(owned(&event)))
        }
        Ok(Some(Shown::Joined(message))) => Ok(Some(Event::Message(message))),
        Ok(None) => Ok(None),
        Err(error) => {
            conn.fail(error);
            Err(error)
        }
    };
    conn.attach(decoder);
    event
}

fn take_parts(
    conn: &mut Connection,
    parts: &mut Vec<u8>,
    events: &mut Vec<Result<Event, ProtocolError>>,
) {
    while let Some(event) = conn.next_part().transpose() {
        let Ok(Event::Part(part)) = event else {
            events.push(event);
            continue;
        };
        if part.kind == Kind::Text {
            std::str::from_utf8(&part.bytes).expect("cut between two characters");
        }
        assert!(part.last || !part.bytes.is_empty(), "a part is something");
        parts.extend(part.bytes);
        if part.last {
            let bytes = std::mem::take(parts);
            events.push(Ok(Event::Message(match part.kind {
                Kind::Text => String::from_utf8(bytes).expect("checked").into(),
                Kind::Binary => bytes.into(),
            })));
        }
    }
}

fn owned(event: &EventRef<'_>) -> Event {
    match event {
        EventRef::Message(message) => Event::Message(message.to_message()),
        EventRef::Ping(payload) => Event::Ping(payload.to_vec().into()),
        EventRef::Pong(payload) => Event::Pong(payload.to_vec().into()),
        EventRef::Close(close) => Event::Close(close.clone()),
        other => panic!("an event that no test knows: {other:?}"),
    }
}

fn drain(conn: &mut Connection, mut write: usize, sent: &mut Vec<u8>) {
    while write > 0 && conn.buffered() > 0 {
        let mut slices = [IoSlice::new(&[]); 4];
        let count = conn.outbox().slices(&mut slices);
        let bytes = joined(&slices[..count]);
        let n = bytes.len().min(write);
        sent.extend(&bytes[..n]);
        conn.sent(n);
        write -= n;
    }
}

/// What a well-behaved peer sends.
#[derive(Clone, Debug)]
enum Sent {
    /// Fragments, each with the control frames before it.
    Message(u8, Vec<(Vec<u8>, Vec<Vec<u8>>)>),
    Control(Vec<u8>),
}

fn control() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![vec(any::<u8>(), 0..20), vec(any::<u8>(), 125)];
    (prop_oneof![Just(0x89), Just(0x8a)], payload)
        .prop_map(|(first, payload)| frame(first, &payload))
}

fn close() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(frame(0x88, b"")),
        (1000..1004_u16, "\\PC{0,20}").prop_map(|(code, reason)| {
            let payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
            frame(0x88, &payload)
        }),
    ]
}

fn payload() -> impl Strategy<Value = (u8, Vec<u8>)> {
    prop_oneof![
        "\\PC{0,60}".prop_map(|text| (1, text.into_bytes())),
        (0..3_usize).prop_map(|n| (1, "é€🦀a".repeat(40 << n).into_bytes())),
        vec(any::<u8>(), 0..200).prop_map(|bytes| (2, bytes)),
        (0..3_usize, any::<u8>()).prop_map(|(n, byte)| (2, vec![byte; 65_534 + n])),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    let fragments = vec((any::<prop::sample::Index>(), vec(control(), 0..2)), 0..4);
    let message = (payload(), fragments).prop_map(|((kind, payload), cuts)| {
        let mut parts = Vec::new();
        let mut rest = &payload[..];
        for (cut, controls) in cuts {
            let (part, tail) = rest.split_at(cut.index(rest.len() + 1));
            parts.push((part.to_vec(), controls));
            rest = tail;
        }
        parts.push((rest.to_vec(), Vec::new()));
        Sent::Message(kind, parts)
    });
    prop_oneof![4 => message, 1 => control().prop_map(Sent::Control)]
}

fn frames(sent: Vec<Sent>, close: Option<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for sent in sent {
        match sent {
            Sent::Control(frame) => frames.push(frame),
            Sent::Message(kind, parts) => {
                let last = parts.len() - 1;
                for (i, (part, controls)) in parts.into_iter().enumerate() {
                    frames.extend(controls);
                    let fin = if i == last { 0x80 } else { 0 };
                    let opcode = if i == 0 { kind } else { 0 };
                    frames.push(frame(fin | opcode, &part));
                }
            }
        }
    }
    frames.extend(close);
    frames
}

fn written(frames: &[Vec<u8>], server: bool) -> Vec<u8> {
    let mask = |frame: &Vec<u8>| {
        if server {
            masked_frame(frame)
        } else {
            frame.clone()
        }
    };
    frames.iter().flat_map(mask).collect()
}

#[derive(Clone, Debug)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Cut(prop::sample::Index),
    Remove(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<prop::sample::Index>(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, 1 << bit)),
        (any::<prop::sample::Index>(), vec(any::<u8>(), 1..20))
            .prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        any::<prop::sample::Index>().prop_map(Damage::Cut),
        any::<prop::sample::Index>().prop_map(Damage::Remove),
    ]
}

fn damaged(mut stream: Vec<u8>, damages: Vec<Damage>) -> Vec<u8> {
    for damage in damages {
        let len = stream.len();
        match damage {
            _ if len == 0 => {}
            Damage::Flip(at, bit) => stream[at.index(len)] ^= bit,
            Damage::Insert(at, bytes) => {
                let at = at.index(len);
                stream.splice(at..at, bytes);
            }
            Damage::Cut(at) => stream.truncate(at.index(len)),
            Damage::Remove(at) => {
                stream.remove(at.index(len));
            }
        }
    }
    stream
}

fn turns(read: impl Strategy<Value = usize>) -> impl Strategy<Value = Vec<Turn>> {
    let lend = prop::option::weighted(0.3, prop_oneof![0..64_usize, Just(4096), Just(65536)]);
    let way = prop::sample::select(Way::ALL.as_slice());
    let flags = (any::<bool>(), prop::bool::weighted(0.8), way);
    let write = prop_oneof![Just(0), 1..50_usize, Just(usize::MAX)];
    let turn =
        (read, lend, flags, write).prop_map(|(read, lend, (reclaim, take, way), write)| Turn {
            read,
            lend,
            reclaim,
            take,
            way,
            write,
        });
    vec(turn, 1..12)
}

fn limits() -> impl Strategy<Value = Limits> {
    let message =
        prop_oneof![3 => Just(Some(16 << 20)), 1 => (0..500_usize).prop_map(Some), 1 => Just(None)];
    let fragments =
        prop_oneof![3 => Just(Some(1 << 20)), 1 => (1..4_u32).prop_map(Some), 1 => Just(None)];
    (message, fragments).prop_map(|(message, fragments)| {
        let mut limits = Limits::default();
        limits.message = message;
        limits.fragments = fragments;
        limits
    })
}

fn check(
    server: bool,
    limits: &Limits,
    stream: &[u8],
    turns: &[Turn],
) -> Result<Trace, TestCaseError> {
    let uncut = run(server, limits, stream, &[Turn::WHOLE], true);
    for way in Way::ALL {
        let turn = Turn { way, ..Turn::WHOLE };
        prop_assert_eq!(&run(server, limits, stream, &[turn], true), &uncut);
    }
    prop_assert_eq!(&run(server, limits, stream, turns, false), &uncut);
    prop_assert_eq!(&run_parts(server, limits, stream, turns), &uncut);
    let errors = uncut.events.iter().filter(|event| event.is_err()).count();
    prop_assert!(errors <= 1, "a fault is said once");
    prop_assert!(
        errors == 0 || uncut.events.last().is_some_and(Result::is_err),
        "nothing after it"
    );
    Ok(uncut)
}

proptest! {
    #[test]
    fn a_session_is_the_same_in_any_cut(
        server: bool,
        limits in limits(),
        messages in vec(sent(), 0..6),
        close in prop::option::of(close()),
        turns in turns(prop_oneof![1..4_usize, 1..300_usize, Just(65536)]),
    ) {
        let stream = written(&frames(messages, close), server);
        check(server, &limits, &stream, &turns)?;
    }

    #[test]
    fn a_damaged_session_is_the_same_in_any_cut(
        server: bool,
        limits in limits(),
        messages in vec(sent(), 0..6),
        close in prop::option::of(close()),
        damages in vec(damage(), 1..4),
        turns in turns(prop_oneof![1..4_usize, 1..300_usize, Just(65536)]),
    ) {
        let stream = damaged(written(&frames(messages, close), server), damages);
        check(server, &limits, &stream, &turns)?;
    }

    #[test]
    fn noise_is_the_same_in_any_cut(
        server: bool,
        limits in limits(),
        stream in vec(any::<u8>(), 0..200),
        turns in turns(1..20_usize),
    ) {
        check(server, &limits, &stream, &turns)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Deep in a large payload the bytes go straight into the message.
    #[test]
    fn a_large_message_is_the_same_in_any_cut(
        server: bool,
        text: bool,
        len in (200_usize << 10)..(1 << 20),
        cut in any::<prop::sample::Index>(),
        fragmented: bool,
        damages in prop_oneof![3 => Just(vec![]), 1 => vec(damage(), 1)],
        turns in turns(prop_oneof![1000..9000_usize, Just(65536), Just(usize::MAX)]),
    ) {
        let pattern = if text { "Grüße, 你好, 🦀 and plain words. ".as_bytes() } else { b"\0\xff\x01\x80\x7f" };
        let payload: Vec<u8> = pattern.repeat(len / pattern.len());
        let first = if text { 1 } else { 2 };
        let (a, b) = payload.split_at(if fragmented { cut.index(payload.len()) } else { 0 });
        let large = if fragmented {
            vec![frame(first, a), frame(0x89, b"!"), frame(0x80, b)]
        } else {
            vec![frame(0x80 | first, &payload)]
        };
        let frames = [vec![frame(0x81, b"before")], large, vec![frame(0x81, b"after"), frame(0x88, b"")]].concat();
        let intact = damages.is_empty();
        let stream = damaged(written(&frames, server), damages);
        let trace = check(server, &Limits::default(), &stream, &turns)?;
        if intact {
            let found = trace.events.iter().any(|event| match event {
                Ok(Event::Message(message)) => message.as_bytes() == payload,
                _ => false,
            });
            prop_assert!(found);
        }
    }
}

#[test]
fn a_session_is_the_same_in_single_bytes() {
    let limits = Limits::default();
    let sessions: [&[(u8, &[u8])]; 3] = [
        &[
            (0x01, b"\xe2"),
            (0x89, b"p"),
            (0x80, b"\x82\xac"),
            (0x82, &[7; 130]),
            (0x88, b"\x03\xe8bye"),
        ],
        &[
            (0x81, &[b'a'; 126]),
            (0x02, b""),
            (0x00, b"x"),
            (0x81, b"fault"),
        ],
        &[(0x8a, b""), (0x81, b""), (0x88, b"\x03\xed")],
    ];
    for session in sessions {
        let frames: Vec<_> = session
            .iter()
            .map(|(first, payload)| frame(*first, payload))
            .collect();
        for server in [true, false] {
            let stream = written(&frames, server);
            let uncut = run(server, &limits, &stream, &[Turn::WHOLE], true);
            for way in Way::ALL {
                for reclaim in [true, false] {
                    let lend = reclaim.then_some(3);
                    let turn = Turn {
                        read: 1,
                        lend,
                        reclaim,
                        way,
                        ..Turn::WHOLE
                    };
                    let turn = [turn];
                    assert_eq!(run(server, &limits, &stream, &turn, false), uncut);
                    assert_eq!(run_parts(server, &limits, &stream, &turn), uncut);
                }
            }
            for first in 1..stream.len() {
                let cut = Turn {
                    read: first,
                    ..Turn::WHOLE
                };
                assert_eq!(
                    run(server, &limits, &stream, &[cut, Turn::WHOLE], false),
                    uncut
                );
            }
        }
    }
}

/// Takes one part of each message where it can, and goes on with whole events.
#[test]
fn the_rest_of_a_message_is_spared_to_who_goes_on_without_it() {
    let text = "Grüße, 你好, 🦀. ".repeat(1000);
    let (a, b) = text.as_bytes().split_at(5001);
    let frames = [
        frame(1, a),
        frame(0x89, b"p"),
        frame(0x80, b),
        frame(0x81, b"next"),
    ];
    let stream = frames.map(|frame| masked_frame(&frame)).concat();
    for step in [1, 7, 100, 4000] {
        let mut conn = Connection::new(Role::Server, Limits::default());
        let mut events = Vec::new();
        let mut first = None;
        for piece in stream.chunks(step) {
            let mut rest = piece;
            while !rest.is_empty() {
                let mut inbox = conn.inbox();
                let n = rest.len().min(inbox.remaining_mut());
                inbox.put_slice(&rest[..n]);
                rest = &rest[n..];
                if first.is_none() {
                    first = conn.next_part().expect("no fault");
                } else {
                    take(&mut conn, Way::Owned, &mut events);
                }
            }
        }
        assert!(matches!(first, Some(Event::Part(part)) if !part.last));
        let expected = [Event::Ping("p".into()), Event::Message("next".into())];
        assert_eq!(events, expected.map(Ok));
    }
}
