//! One connection whose peer is the test: it is told bytes in hex and answers in hex.
//!
//! `events` and `sent` speak of the bytes as they are on the wire. `frames` and `answer` speak of
//! frames without masks, which serves where a rule is the same at both ends: `frames` masks what
//! a server is told, `answer` unmasks what a client said.

use std::fmt;
use std::io::IoSlice;

use bytes::BufMut;
use hybi_proto::close::Close;
use hybi_proto::close::Initiator;
use hybi_proto::connection::{Connection, Role, State};
use hybi_proto::error::{ProtocolError, SendError};
use hybi_proto::limits::Limits;
use hybi_proto::mask::Mask;
use hybi_proto::message::{Event, Message};

/// The key of RFC 6455 §5.7.
pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// An event as a test writes it: text as text, other payloads in hex.
#[derive(Clone, Debug)]
pub(crate) enum Seen<S> {
    Text(S),
    Binary(S),
    Ping(S),
    Pong(S),
    Close(u16, S),
    CloseEmpty,
    Error(ProtocolError),
}

impl PartialEq<Seen<&str>> for Seen<String> {
    fn eq(&self, other: &Seen<&str>) -> bool {
        match (self, other) {
            (Self::Text(a), Seen::Text(b))
            | (Self::Binary(a), Seen::Binary(b))
            | (Self::Ping(a), Seen::Ping(b))
            | (Self::Pong(a), Seen::Pong(b)) => a == b,
            (Self::Close(code, a), Seen::Close(number, b)) => code == number && a == b,
            (Self::CloseEmpty, Seen::CloseEmpty) => true,
            (Self::Error(a), Seen::Error(b)) => a == b,
            _ => false,
        }
    }
}

impl From<Event> for Seen<String> {
    fn from(event: Event) -> Self {
        match event {
            Event::Message(Message::Text(text)) => Self::Text(text.as_str().to_owned()),
            Event::Message(Message::Binary(payload)) => Self::Binary(hex(&payload)),
            Event::Ping(payload) => Self::Ping(hex(&payload)),
            Event::Pong(payload) => Self::Pong(hex(&payload)),
            Event::Close(None) => Self::CloseEmpty,
            Event::Close(Some(close)) => {
                Self::Close(close.code().as_u16(), close.reason().as_str().to_owned())
            }
            other => panic!("an event that no test knows: {other:?}"),
        }
    }
}

/// What a test hands in: a string of hex or the bytes themselves.
pub(crate) trait Piece {
    fn to_bytes(&self) -> Vec<u8>;
}

impl Piece for &str {
    fn to_bytes(&self) -> Vec<u8> {
        unhex(self)
    }
}

impl Piece for String {
    fn to_bytes(&self) -> Vec<u8> {
        unhex(self)
    }
}

impl Piece for Vec<u8> {
    fn to_bytes(&self) -> Vec<u8> {
        self.clone()
    }
}

/// No event at all.
pub(crate) const NOTHING: [Seen<&str>; 0] = [];

/// A connection under test.
#[derive(Debug)]
pub(crate) struct Ws {
    pub(crate) conn: Connection,
    masked: bool,
}

pub(crate) fn server() -> Ws {
    server_with(Limits::default())
}

pub(crate) fn client() -> Ws {
    client_with(Limits::default())
}

pub(crate) fn server_with(limits: Limits) -> Ws {
    Ws {
        conn: Connection::new(Role::Server, limits),
        masked: true,
    }
}

pub(crate) fn client_with(limits: Limits) -> Ws {
    Ws {
        conn: Connection::new(Role::Client(|| KEY), limits),
        masked: false,
    }
}

/// A server and a client.
pub(crate) fn both() -> [Ws; 2] {
    both_with(&Limits::default())
}

pub(crate) fn both_with(limits: &Limits) -> [Ws; 2] {
    [server_with(limits.clone()), client_with(limits.clone())]
}

impl Ws {
    /// What comes of these bytes, each piece in a read of its own.
    pub(crate) fn events<P: Piece>(
        &mut self,
        pieces: impl IntoIterator<Item = P>,
    ) -> Vec<Seen<String>> {
        let mut seen = Vec::new();
        for piece in pieces {
            let piece = piece.to_bytes();
            let mut rest = &piece[..];
            while !rest.is_empty() {
                let mut inbox = self.conn.inbox();
                let n = rest.len().min(inbox.remaining_mut());
                assert!(n > 0, "the inbox has room");
                inbox.put_slice(&rest[..n]);
                rest = &rest[n..];
                self.drain(&mut seen);
            }
        }
        seen
    }

    fn drain(&mut self, seen: &mut Vec<Seen<String>>) {
        loop {
            match self.conn.next_owned() {
                Ok(None) => return,
                Ok(Some(event)) => seen.push(event.into()),
                Err(error) => seen.push(Seen::Error(error)),
            }
        }
    }

    /// As [`events`](Self::events), for pieces that each begin a frame and have no mask yet.
    pub(crate) fn frames<P: Piece>(
        &mut self,
        pieces: impl IntoIterator<Item = P>,
    ) -> Vec<Seen<String>> {
        let written: Vec<_> = pieces
            .into_iter()
            .map(|piece| self.written(&piece))
            .collect();
        self.events(written)
    }

    pub(crate) fn is_server(&self) -> bool {
        self.masked
    }

    /// The frame as the peer writes it: masked, if this is the server.
    pub(crate) fn written(&self, frame: &impl Piece) -> Vec<u8> {
        let frame = frame.to_bytes();
        if self.masked {
            masked_frame(&frame)
        } else {
            frame
        }
    }

    /// Takes all that waits to leave.
    pub(crate) fn sent_bytes(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while !self.conn.outbox().is_empty() {
            let mut slices = [IoSlice::new(&[]); 8];
            let count = self.conn.outbox().slices(&mut slices);
            let taken = joined(&slices[..count]);
            assert!(!taken.is_empty(), "what waits is offered");
            self.conn.sent(taken.len());
            all.extend(taken);
        }
        all
    }

    /// Takes all that waits to leave.
    pub(crate) fn sent(&mut self) -> String {
        hex(&self.sent_bytes())
    }

    /// Takes all that waits to leave, without masks.
    pub(crate) fn answer(&mut self) -> String {
        let sent = self.sent_bytes();
        let mut plain = Vec::new();
        let mut rest = &sent[..];
        while let [first, second, tail @ ..] = rest {
            // Only a client masks.
            assert_eq!(second & 0x80 == 0, self.masked);
            let short = second & 0x7f;
            let extra = [0, 2, 8][usize::from(short.saturating_sub(125))];
            let (extra, tail) = tail.split_at(extra);
            let len = if extra.is_empty() {
                usize::from(short)
            } else {
                extra.iter().fold(0, |len, &b| len << 8 | usize::from(b))
            };
            plain.extend([*first, short]);
            plain.extend(extra);
            let (key, tail) = tail.split_at(if self.masked { 0 } else { 4 });
            let mut payload = tail[..len].to_vec();
            if let Some(&key) = key.first_chunk() {
                Mask::new(key).apply(&mut payload);
            }
            plain.extend(payload);
            rest = &tail[len..];
        }
        hex(&plain)
    }

    /// The end after a fault: said once, answered with one close frame, then nothing any more.
    pub(crate) fn has_failed(&mut self, error: ProtocolError) {
        let info = self
            .conn
            .close_info()
            .expect("a failed connection has ended");
        assert_eq!(info.code, error.close_code());
        assert_eq!(info.reason, "");
        assert_eq!(info.initiator, Initiator::Local);
        assert!(!info.clean);
        assert_eq!(self.conn.state(), State::Closed);
        self.is_silent();
    }

    /// Whatever comes is ignored, and nothing can be sent.
    pub(crate) fn is_silent(&mut self) {
        let info = self.conn.close_info().cloned();
        let state = self.conn.state();
        let waits = self.conn.buffered();
        assert_eq!(
            self.frames(["89 01 61", "81 01 61", "88 00", "ff ff", "02 7f"]),
            NOTHING
        );
        assert_eq!(self.conn.unread(), 0);
        assert!(!self.conn.is_midway());
        assert_eq!(self.conn.send("late".into()), Err(SendError::Closed));
        assert_eq!(self.conn.ping(b""), Err(SendError::Closed));
        assert_eq!(self.conn.pong(b""), Err(SendError::Closed));
        self.conn.close(None);
        assert_eq!(self.conn.buffered(), waits);
        assert_eq!(self.conn.state(), state);
        assert_eq!(self.conn.close_info(), info.as_ref());
    }
}

/// Both ends are told these frames, see `before`, then fail with `error` and say exactly `sent`.
pub(crate) fn refused<P: Piece + Clone + fmt::Debug>(
    pieces: &[P],
    before: &[Seen<&str>],
    error: ProtocolError,
    sent: &str,
) {
    for ws in both() {
        refused_by(ws, pieces, before, error, sent);
    }
}

/// As [`refused`], for one end.
pub(crate) fn refused_by<P: Piece + Clone + fmt::Debug>(
    mut ws: Ws,
    pieces: &[P],
    before: &[Seen<&str>],
    error: ProtocolError,
    sent: &str,
) {
    let mut expected = before.to_vec();
    expected.push(Seen::Error(error));
    let seen = ws.frames(pieces.iter().cloned());
    assert_eq!(seen, expected, "{pieces:?}");
    assert_eq!(ws.answer(), sent, "{pieces:?}");
    ws.has_failed(error);
    assert_eq!(ws.answer(), "");
}

/// A close that can be sent.
pub(crate) fn close(code: u16, reason: &str) -> Close {
    Close::new(code.into(), reason).expect("a close that can be sent")
}

/// The bytes of all slices, one behind the other.
pub(crate) fn joined(slices: &[IoSlice<'_>]) -> Vec<u8> {
    slices
        .iter()
        .flat_map(|slice| slice.iter().copied())
        .collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(" ")
}

pub(crate) fn unhex(hex: &str) -> Vec<u8> {
    hex.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).expect("two digits of hex"))
        .collect()
}

/// A frame without a mask: its first byte, the shortest length, the payload.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, payload.len() as u64);
    frame.extend(payload);
    frame
}

/// The header of a frame without a mask.
pub(crate) fn header(first: u8, len: u64) -> Vec<u8> {
    let mut header = vec![first];
    match len {
        0..126 => header.push(len as u8),
        126..0x1_0000 => {
            header.push(126);
            header.extend((len as u16).to_be_bytes());
        }
        _ => {
            header.push(127);
            header.extend(len.to_be_bytes());
        }
    }
    header
}

/// The same frame masked with [`KEY`]; its payload may be missing, its length may not.
pub(crate) fn masked_frame(frame: &[u8]) -> Vec<u8> {
    let size = match frame {
        [_, 126, ..] => 4,
        [_, 127, ..] => 10,
        _ => 2,
    };
    let Some((header, payload)) = frame.split_at_checked(size) else {
        return frame.to_vec();
    };
    let mut masked = header.to_vec();
    masked[1] |= 0x80;
    masked.extend(KEY);
    Mask::new(KEY).apply_to(payload, &mut masked);
    masked
}
