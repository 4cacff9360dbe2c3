//! What is decoded ahead of a busy receiver, so that what the peer asks in between is answered.

use std::collections::VecDeque;

use hybi_proto::error::ProtocolError;
use hybi_proto::message::{Event, Part};

use super::Link;
use crate::io::Io;

/// Events that wait for their receiver; there is at least one.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    events: VecDeque<Result<Event, ProtocolError>>,
    /// What they cost, in bytes.
    cost: usize,
}

/// What is read ahead of a busy receiver, in bytes; each event also costs what it takes to hold it.
pub(super) const AHEAD: usize = 64 << 10;
const HOLD: usize = 64;

impl Ahead {
    fn push(&mut self, event: Result<Event, ProtocolError>) {
        self.cost += cost(&event);
        self.events.push_back(event);
    }

    fn pop(&mut self) -> Option<Result<Event, ProtocolError>> {
        let event = self.events.pop_front()?;
        self.cost -= cost(&event);
        Some(event)
    }

    /// Drops the parts up to the end of their message.
    fn drop_parts(&mut self) {
        let mut over = false;
        let Self { events, cost: sum } = self;
        events.retain(|event| match event {
            Ok(Event::Part(part)) if !over => {
                over = part.last;
                *sum -= cost(event);
                false
            }
            _ => true,
        });
        events.shrink_to_fit();
    }
}

impl<S: Io> Link<S> {
    /// The next event that is here, with the error that ends the connection behind the last.
    pub(crate) fn next(&mut self) -> Option<Result<Event, ProtocolError>> {
        self.stop_reading();
        self.take(false)
    }

    /// As [`next`](Self::next), but a message in [parts](Event::Part) as they come.
    pub(crate) fn next_part(&mut self) -> Option<Result<Event, ProtocolError>> {
        let mut event = self.take(true)?;
        if let Ok(Event::Message(message)) = event {
            event = Ok(Event::Part(Part {
                kind: message.kind(),
                bytes: message.into_bytes(),
                last: true,
            }));
        }
        if let Ok(Event::Part(part)) = &event {
            self.reading = !part.last;
        }
        Some(event)
    }

    /// Forgets the rest of a message of which parts were taken.
    pub(crate) fn stop_reading(&mut self) {
        if !std::mem::take(&mut self.reading) {
            return;
        }
        if std::mem::take(&mut self.in_parts) {
            self.connection.skip();
        }
        if let Some(ahead) = &mut self.ahead {
            ahead.drop_parts();
        }
        self.ahead.take_if(|ahead| ahead.events.is_empty());
    }

    fn take(&mut self, parts: bool) -> Option<Result<Event, ProtocolError>> {
        if let Some(ahead) = &mut self.ahead
            && let Some(event) = ahead.pop()
        {
            let payload = u32::try_from(cost(&event) - HOLD).unwrap_or(u32::MAX);
            self.unasked = self.unasked.saturating_sub(payload);
            // What a burst needed is not kept.
            self.ahead.take_if(|ahead| ahead.events.is_empty());
            match &event {
                Ok(Event::Close(_)) => self.connection.answer(),
                // Its answer is not too late either.
                _ => self.grace = self.connection.owes_close(),
            }
            return Some(event);
        }
        let event = self.decode(parts);
        if event.is_none() {
            self.unasked = 0;
        }
        event
    }

    /// Decodes what is here although nobody asks for it yet, so that pings and closes are
    /// answered, up to [`AHEAD`]; a close not yet, if `hold_close`.
    pub(crate) fn decode_ahead(&mut self, hold_close: bool) {
        let owed = self.connection.owes_close();
        self.connection.hold_close(hold_close);
        while !self.is_ahead()
            && let Some(event) = self.decode(false)
        {
            self.hold(event);
        }
        self.connection.hold_close(false);
        self.grace |= self.connection.owes_close() && !owed;
    }

    /// Whether the answer to a close has to wait for who waits for room.
    pub(crate) fn holds_close(&self) -> bool {
        let several = self
            .ahead
            .as_ref()
            .is_some_and(|ahead| ahead.events.len() > 1);
        self.waited_for && (self.grace || several)
    }

    fn decode(&mut self, parts: bool) -> Option<Result<Event, ProtocolError>> {
        if self.connection.is_at_rest() {
            return None;
        }
        let event = if parts || self.in_parts {
            self.connection.next_part()
        } else {
            self.connection.next_owned()
        };
        let event = event.transpose();
        if let Some(Ok(Event::Part(part))) = &event {
            self.in_parts = !part.last;
        }
        match &event {
            Some(Err(error)) => self.span.violated(*error),
            Some(Ok(Event::Pong(payload))) => self.hear_pong(payload),
            _ => {}
        }
        event
    }

    pub(super) fn hold(&mut self, event: Result<Event, ProtocolError>) {
        self.ahead.get_or_insert_default().push(event);
    }

    /// Whether the receiver is so far behind that reading has to wait for it.
    pub(crate) fn is_ahead(&self) -> bool {
        let held = self.ahead.as_ref().map_or(0, |ahead| ahead.cost);
        held >= AHEAD || self.unasked as usize >= AHEAD || self.choked
    }

    /// Whether an event, or the error behind the last, can be taken without waiting.
    pub(crate) fn has_ready(&self) -> bool {
        self.ahead.is_some()
    }
}

/// What an event costs while it waits.
fn cost(event: &Result<Event, ProtocolError>) -> usize {
    HOLD + match event {
        Ok(Event::Message(message)) => message.len(),
        Ok(Event::Part(part)) => part.bytes.len(),
        _ => 0,
    }
}
