//! What the targets share: a connection that is fed, in turns, and all that can be seen of it.

pub mod door;
pub mod frames;
pub mod heard;
pub mod said;

use std::cell::Cell;
use std::io::IoSlice;

use arbitrary::Arbitrary;
use bytes::BufMut;
use hybi_proto::close::CloseInfo;
use hybi_proto::connection::{Connection, Role, State};
use hybi_proto::deflate::{Deflate, Params, Strategy};
use hybi_proto::error::ProtocolError;
use hybi_proto::limits::Limits;
use hybi_proto::message::{Event, EventRef, Kind};

/// All that a peer and a caller can see of a connection.
#[derive(Debug, PartialEq)]
pub struct Trace {
    pub events: Vec<Result<Event, ProtocolError>>,
    pub sent: Vec<u8>,
    pub info: Option<CloseInfo>,
    pub state: State,
    pub midway: bool,
}

impl Trace {
    pub fn has_failed(&self) -> bool {
        self.events.iter().any(Result::is_err)
    }
}

/// One read, and what the caller does around it.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Turn {
    pub read: u16,
    pub lend: Option<u16>,
    pub reclaim: bool,
    /// Whether the events wait for the next read.
    pub wait: bool,
    pub borrowed: bool,
    pub write: u16,
}

/// An end and its limits.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct End {
    pub server: bool,
    pub message: Option<u32>,
    pub fragments: Option<u8>,
    pub deflate: Option<Deflating>,
}

/// What was agreed on, and how this end compresses.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Deflating {
    pub level: u8,
    pub mem_level: u8,
    pub strategy: u8,
    pub threshold: u8,
    pub bits: [u8; 2],
    pub alone: [bool; 2],
    /// What is longer is compressed by a job.
    pub job: Option<u16>,
}

thread_local! {
    static NEXT_KEY: Cell<u32> = const { Cell::new(0) };
}

/// A mask key, other than the last one.
pub fn key() -> [u8; 4] {
    let next = NEXT_KEY.get().wrapping_add(1);
    NEXT_KEY.set(next);
    next.wrapping_mul(0x9e37_79b9).to_be_bytes()
}

impl End {
    pub fn open(self) -> Connection {
        NEXT_KEY.set(0);
        let mut limits = Limits::default();
        limits.message = self.message.map(|limit| limit as usize);
        limits.fragments = self.fragments.map(u32::from);
        let mut conn = Connection::new(self.role(), limits);
        if let Some(deflating) = self.deflate {
            deflating.agree(&mut conn);
        }
        conn
    }

    fn role(self) -> Role {
        if self.server {
            Role::Server
        } else {
            Role::Client(key)
        }
    }
}

impl Deflating {
    fn agree(self, conn: &mut Connection) {
        let mut params = Params::default();
        params.server_max_window_bits = Some(self.bits[0] % 7 + 9);
        params.client_max_window_bits = Some(self.bits[1] % 8 + 8);
        params.server_no_context_takeover = self.alone[0];
        params.client_no_context_takeover = self.alone[1];
        conn.set_deflate(&self.deflate(), params);
        if let Some(size) = self.job {
            conn.set_job_size(size.into());
        }
    }

    /// How this end compresses.
    pub fn deflate(self) -> Deflate {
        let strategies = [
            Strategy::Default,
            Strategy::Filtered,
            Strategy::HuffmanOnly,
            Strategy::Rle,
            Strategy::Fixed,
        ];
        Deflate::new()
            .level(self.level % 10)
            .mem_level(self.mem_level % 9 + 1)
            .strategy(strategies[usize::from(self.strategy) % 5])
            .client_max_window_bits(15)
            .threshold(self.threshold.into())
    }
}

/// Feeds the stream as the turns say, over and over, each read and write so many times as large.
pub fn run(end: End, stream: &[u8], scale: usize, turns: &[Turn]) -> Trace {
    let taken = |conn: &mut Connection, turn: &Turn, events: &mut Events| {
        take(conn, turn.borrowed, events);
    };
    run_with(end, stream, scale, turns, taken)
}

/// As [`run`], but messages are taken in parts, and joined again.
pub fn run_parts(end: End, stream: &[u8], scale: usize, turns: &[Turn]) -> Trace {
    let mut parts = Vec::new();
    run_with(end, stream, scale, turns, |conn, _, events| {
        take_parts(conn, &mut parts, events);
    })
}

type Events = Vec<Result<Event, ProtocolError>>;

fn run_with(
    end: End,
    stream: &[u8],
    scale: usize,
    turns: &[Turn],
    mut taken: impl FnMut(&mut Connection, &Turn, &mut Events),
) -> Trace {
    let mut conn = end.open();
    let (mut events, mut sent) = (Vec::new(), Vec::new());
    let mut rest = stream;
    for turn in turns.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        if let Some(capacity) = turn.lend {
            conn.lend_inbox(Vec::with_capacity(capacity.into()));
        }
        rest = &rest[put(&mut conn, rest, usize::from(turn.read).max(1) * scale)..];
        if !turn.wait {
            taken(&mut conn, turn, &mut events);
        }
        write(&mut conn, usize::from(turn.write) * scale, &mut sent);
        if turn.reclaim {
            conn.reclaim_inbox();
        }
    }
    taken(&mut conn, &turns[0], &mut events);
    finish(conn, events, sent)
}

/// Feeds the stream in one piece.
pub fn run_uncut(end: End, stream: &[u8]) -> Trace {
    let mut conn = end.open();
    conn.lend_inbox(Vec::with_capacity(stream.len() + 1));
    assert_eq!(put(&mut conn, stream, stream.len()), stream.len());
    finish(conn, Vec::new(), Vec::new())
}

fn finish(
    mut conn: Connection,
    mut events: Vec<Result<Event, ProtocolError>>,
    mut sent: Vec<u8>,
) -> Trace {
    take(&mut conn, false, &mut events);
    let (info, state, midway) = (conn.close_info().cloned(), conn.state(), conn.is_midway());
    write(&mut conn, usize::MAX, &mut sent);
    Trace {
        events,
        sent,
        info,
        state,
        midway,
    }
}

/// Puts the front of `bytes` into the inbox; says how many went in.
pub fn put(conn: &mut Connection, bytes: &[u8], most: usize) -> usize {
    let mut inbox = conn.inbox();
    assert!(inbox.has_remaining_mut(), "the inbox has room");
    let n = inbox.remaining_mut().min(bytes.len()).min(most);
    inbox.put_slice(&bytes[..n]);
    n
}

/// Takes all events through one of the doors.
pub fn take(conn: &mut Connection, borrowed: bool, events: &mut Vec<Result<Event, ProtocolError>>) {
    loop {
        let event = if borrowed {
            conn.next().map(|event| event.map(owned))
        } else {
            conn.next_owned()
        };
        match event.transpose() {
            Some(event) => events.push(event),
            None => return,
        }
    }
}

/// Takes all events, messages in parts, which it joins.
pub fn take_parts(conn: &mut Connection, parts: &mut Vec<u8>, events: &mut Events) {
    while let Some(event) = conn.next_part().transpose() {
        let Ok(Event::Part(part)) = event else {
            events.push(event);
            continue;
        };
        parts.extend_from_slice(&part.bytes);
        if part.kind == Kind::Text {
            std::str::from_utf8(&part.bytes).expect("text is cut between two characters");
        }
        if part.last {
            let bytes = std::mem::take(parts);
            events.push(Ok(Event::Message(match part.kind {
                Kind::Text => String::from_utf8(bytes).expect("it was checked").into(),
                Kind::Binary => bytes.into(),
            })));
        }
    }
}

fn owned(event: EventRef<'_>) -> Event {
    match event {
        EventRef::Message(message) => Event::Message(message.to_message()),
        EventRef::Ping(payload) => Event::Ping(payload.to_vec().into()),
        EventRef::Pong(payload) => Event::Pong(payload.to_vec().into()),
        EventRef::Close(close) => Event::Close(close),
        other => panic!("an event that no target knows: {other:?}"),
    }
}

/// Takes at most so many bytes off the outbox.
pub fn write(conn: &mut Connection, mut most: usize, sent: &mut Vec<u8>) {
    while most > 0 && !conn.outbox().is_empty() {
        let mut slices = [IoSlice::new(&[]); 3];
        let count = conn.outbox().slices(&mut slices);
        let mut n = 0;
        for slice in &slices[..count] {
            let part = &slice[..slice.len().min(most)];
            sent.extend_from_slice(part);
            most -= part.len();
            n += part.len();
        }
        assert!(n > 0, "what waits is offered");
        conn.sent(n);
    }
}
