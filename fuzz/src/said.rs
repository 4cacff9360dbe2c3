//! What was sent on a WebSocket, and what its peer hears of it.

use std::collections::BTreeMap;

use hybi::Message;
use hybi::test::{Frame, Log, Opcode};
use hybi_proto::connection::Connection;
use hybi_proto::error::ProtocolError;
use hybi_proto::message::Event;

use crate::{put, take};

/// What was admitted. Each message begins with a number of its own.
#[derive(Default)]
pub struct Said {
    next: u32,
    /// In the order in which they were admitted.
    messages: Vec<Message>,
    /// Those that a policy may drop.
    loose: BTreeMap<u32, Message>,
    pings: Vec<Vec<u8>>,
    /// Some of what was admitted is given up, as by who does not finish a message.
    pub broken: bool,
    /// This end has closed, or was dropped.
    pub closed: bool,
    /// The size of the largest message.
    pub largest: usize,
}

impl Said {
    /// A number, and the bytes behind it.
    pub fn compose(&mut self, text: bool, len: usize, fill: u8) -> Message {
        let number = self.next;
        self.next += 1;
        let mut content = format!("{number} ");
        if text {
            let fill = ["x", "\u{e9}", "\u{20ac}", "\u{1f600}"][usize::from(fill) % 4];
            content.push_str(&fill.repeat(len / fill.len()));
            self.largest = self.largest.max(content.len());
            return content.into();
        }
        let mut content = content.into_bytes();
        content.resize(content.len() + len, fill);
        self.largest = self.largest.max(content.len());
        content.into()
    }

    pub fn admitted(&mut self, message: Message) {
        self.messages.push(message);
    }

    pub fn offered(&mut self, message: Message) {
        self.loose.insert(number(&message), message);
    }

    pub fn pinged(&mut self, payload: &[u8]) {
        self.pings.push(payload.to_vec());
    }
}

fn number(message: &Message) -> u32 {
    let digits = message.as_bytes().split(|byte| *byte == b' ').next();
    let digits = std::str::from_utf8(digits.unwrap_or_default());
    let number = digits.ok().and_then(|digits| digits.parse().ok());
    number.expect("each message has a number")
}

/// The peer, which hears what is written.
pub struct Ears {
    peer: Connection,
    log: Log,
    seen: usize,
    events: Vec<Result<Event, ProtocolError>>,
}

impl Ears {
    pub fn new(peer: Connection, log: Log) -> Self {
        Self {
            peer,
            log,
            seen: 0,
            events: Vec::new(),
        }
    }

    /// What was admitted has come in order and once: all of it, or the front.
    pub fn check(&mut self, said: &Said, all: bool) {
        let written = self.log.written();
        let mut rest = &written[self.seen..];
        self.seen = written.len();
        while !rest.is_empty() {
            rest = &rest[put(&mut self.peer, rest, usize::MAX)..];
            take(&mut self.peer, false, &mut self.events);
        }
        let (mut messages, mut pings) = (Vec::new(), Vec::new());
        let mut loose = said.loose.clone();
        for event in &self.events {
            match event {
                Ok(Event::Message(message)) if said.loose.contains_key(&number(message)) => {
                    let offered = loose.remove(&number(message));
                    assert_eq!(offered.as_ref(), Some(message), "it comes once");
                }
                Ok(Event::Message(message)) => messages.push(message.clone()),
                Ok(Event::Ping(payload)) => pings.push(payload.to_vec()),
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert!(
            said.messages.starts_with(&messages),
            "{:?} {messages:?}",
            said.messages
        );
        assert!(said.pings.starts_with(&pings));
        if all {
            assert_eq!(messages.len(), said.messages.len());
            assert_eq!(pings.len(), said.pings.len());
        }
    }

    /// Nothing follows a close frame; its code, if there is one.
    pub fn close(&self) -> Option<u16> {
        let written = self.log.written();
        let frames = Frame::decode_all(&written);
        let at = frames
            .iter()
            .position(|frame| frame.opcode == Opcode::Close)?;
        assert_eq!(at + 1, frames.len());
        let payload = &frames[at].payload;
        let code = payload.get(..2)?;
        Some(u16::from_be_bytes([code[0], code[1]]))
    }

    /// The payloads of the pongs that were heard.
    pub fn pongs(&self) -> impl Iterator<Item = &[u8]> {
        self.events.iter().filter_map(|event| match event {
            Ok(Event::Pong(payload)) => Some(&payload[..]),
            _ => None,
        })
    }
}
