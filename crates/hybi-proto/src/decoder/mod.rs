//! Bytes in, events out.
//!
//! The decoder owns the inbox: it unmasks in place, checks text as it arrives and hands payloads
//! out without copying. It never answers the peer; see [`connection`](crate::connection).
//!
//! A frame that lies whole in the read buffer and is a whole message is shown where it lies. All
//! other payloads are joined in a buffer of their own as they come, so that a fragment costs its
//! payload and no more, and the read buffer never has to hold the half of a message.

mod joined;
mod plain;
mod rules;

use std::ops::Range;

use bytes::{BufMut, Bytes, buf::Limit};

use crate::close::Close;
use crate::deflate::Inflater;
use crate::error::ProtocolError;
use crate::frame::{Header, Opcode, RSV1};
use crate::limits::Limits;
use crate::mask::Mask;
use crate::message::{Event, EventRef, Kind, Message, MessageRef, Part};
use crate::outbox::LINK;
use crate::text::Text;
use crate::utf8::Utf8;

use joined::{Joined, Most, Step};

/// The receiving half of a connection, without I/O.
#[derive(Debug)]
pub struct Decoder {
    /// Bytes as they came, a read buffer that is lent or one of our own.
    buffer: Vec<u8>,
    /// The first byte of `buffer` whose meaning is not stored yet.
    start: usize,
    /// The message in progress, or that was found last, unless it lies in `buffer`. It stays for
    /// the next one of that kind until there is nothing to be found.
    joined: Option<Box<Joined>>,
    /// The peer may compress.
    inflater: Option<Box<Inflater>>,
    /// Messages found so far.
    messages: u64,
    /// The most bytes of a message.
    limit: usize,
    /// The most fragments of a message, or [`UNLIMITED`].
    fragments: u32,
    /// Whether the peer masks: we are the server.
    masked: bool,
    /// What comes is of no interest: the peer broke a rule, or has closed.
    silent: bool,
    /// The message before was large, so that the next one may be: see [`FIRST`].
    after_large: bool,
}

/// What [`Decoder::next_shown`] finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown<'a> {
    /// Any event, as it is seen in the read buffer.
    View(EventRef<'a>),
    /// A large message that was not in the read buffer, at least in parts.
    Joined(Message),
}

/// An event, and where its payload lies.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    Message(Kind, Place),
    Ping(Range<usize>),
    Pong(Range<usize>),
    /// Its payload was judged.
    Close(Range<usize>),
}

#[derive(Clone, Debug)]
pub(crate) enum Place {
    Inbox(Range<usize>),
    Joined,
}

/// What becomes of a message that is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// It is seen where it lies.
    Borrowed,
    /// It is kept.
    Owned,
    /// It is taken in parts.
    Parts,
}

/// Room that is kept for reading when no buffer is lent.
const OWN: usize = 4 << 10;

/// Unmasking and checking go over a payload in pieces that stay in the cache.
const PIECE: usize = 64 << 10;

/// The longest payload that is unmasked before it is copied: beyond, one pass less pays for more
/// book-keeping.
const COPIED: usize = 8192;

/// Behind a message of so many bytes, only [`FIRST`] bytes are asked for: if the next one is large,
/// too, the rest of it can be read straight into a buffer of its own, and need not be copied.
const LARGE: usize = 512 << 10;
const FIRST: usize = 16 << 10;

/// No buffer is larger.
const MOST: usize = isize::MAX as usize;

/// So much of a compressed message is inflated before a part of it is taken.
const PART: usize = 64 << 10;

/// A number of fragments that is never too many.
const UNLIMITED: u32 = u32::MAX;

impl Door {
    /// The longest payload that is unmasked in the read buffer. A longer one that is to be kept is
    /// unmasked on its way out of it.
    #[inline(always)]
    const fn most_in_place(self) -> usize {
        match self {
            Self::Borrowed => usize::MAX,
            Self::Owned | Self::Parts => COPIED,
        }
    }
}

impl Decoder {
    /// A decoder that expects masked frames (a server's) or unmasked ones (a client's).
    pub(crate) fn new(masked: bool, limits: &Limits) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            joined: None,
            inflater: None,
            messages: 0,
            limit: limits.message.map_or(MOST, |limit| limit.min(MOST)),
            fragments: limits.fragments.unwrap_or(UNLIMITED),
            masked,
            silent: false,
            after_large: false,
        }
    }

    /// What stands in for this one while it is [detached](crate::connection::Connection::detach).
    pub(crate) fn stand_in(&self) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            joined: None,
            inflater: None,
            silent: true,
            ..*self
        }
    }

    /// The peer may compress, from now on.
    pub(crate) fn set_inflater(&mut self, inflater: Inflater) {
        self.inflater = Some(Box::new(inflater));
    }

    /// The number of messages found so far, seen or not.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Takes the next event, as a view into the read buffer; `None` asks for more bytes. What it
    /// is owed is for [`respond`](crate::connection::Connection::respond).
    ///
    /// # Errors
    ///
    /// The peer broke a rule, for [`fail`](crate::connection::Connection::fail). This is said once;
    /// whatever still comes is ignored.
    #[inline]
    #[allow(clippy::should_implement_trait)] // an iterator cannot lend, nor end and go on
    pub fn next(&mut self) -> Result<Option<EventRef<'_>>, ProtocolError> {
        if let Some((kind, at)) = self.find_plain(Door::Borrowed) {
            return Ok(Some(EventRef::Message(self.message_at(kind, at))));
        }
        let found = self.advance(Door::Borrowed)?;
        Ok(found.map(|found| self.view(found)))
    }

    /// As [`next`](Self::next), but a large message that was joined in a buffer of its own comes
    /// with that, to be [shared](Message::share) without a copy.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    #[inline]
    pub fn next_shown(&mut self) -> Result<Option<Shown<'_>>, ProtocolError> {
        if let Some((kind, at)) = self.find_plain(Door::Borrowed) {
            let message = EventRef::Message(self.message_at(kind, at));
            return Ok(Some(Shown::View(message)));
        }
        let found = self.advance(Door::Borrowed)?;
        Ok(found.map(|found| self.show(found)))
    }

    fn show(&mut self, found: Found) -> Shown<'_> {
        match (&found, &mut self.joined) {
            (Found::Message(kind, Place::Joined), Some(joined)) if joined.len() >= LINK => {
                Shown::Joined(message(*kind, joined.take()))
            }
            _ => Shown::View(self.view(found)),
        }
    }

    /// Where the next bytes from the peer go: append to it, at least one byte fits.
    ///
    /// It is the read buffer, or, deep in a large payload, the buffer of that message.
    #[inline]
    pub fn inbox(&mut self) -> Limit<&mut Vec<u8>> {
        if self.is_empty()
            && let Some(joined) = &mut self.joined
            && let Some(inbox) = joined.inbox()
        {
            return inbox;
        }
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        if self.buffer.capacity() == self.buffer.len() {
            self.buffer.drain(..self.start);
            self.start = 0;
            if self.buffer.capacity() - self.buffer.len() < OWN {
                self.buffer.reserve(OWN);
            }
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let most = if self.after_large { FIRST } else { room };
        (&mut self.buffer).limit(room.min(most))
    }

    /// The number of bytes that have come and whose meaning is not stored yet.
    #[must_use]
    #[inline]
    pub fn unread(&self) -> usize {
        self.buffer.len() - self.start
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.unread() == 0
    }

    /// Whether the peer stands in the middle of a frame or a message and owes us the rest.
    #[must_use]
    #[inline]
    pub fn is_midway(&self) -> bool {
        match &self.joined {
            _ if self.silent => false,
            Some(joined) if !joined.is_vacant() => !joined.is_whole(),
            _ => !self.is_empty(),
        }
    }

    /// Lends a read buffer; what is unread moves into it.
    #[inline]
    pub fn lend(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        if !self.is_empty() {
            buffer.extend_from_slice(&self.buffer[self.start..]);
        }
        self.start = 0;
        self.buffer = buffer;
    }

    /// Takes the read buffer away; what is unread in it is copied into one of its size.
    #[inline]
    pub fn reclaim(&mut self) -> Vec<u8> {
        let rest = if self.is_empty() {
            Vec::new()
        } else {
            self.buffer[self.start..].to_vec()
        };
        self.start = 0;
        std::mem::replace(&mut self.buffer, rest)
    }

    /// Takes no interest in anything that follows.
    #[cold]
    pub(crate) fn silence(&mut self) {
        self.silent = true;
        (self.joined, self.inflater) = (None, None);
        self.buffer.clear();
        self.start = 0;
    }

    /// Finds the next event but for the rest of a message of which parts were taken; `None` asks
    /// for more bytes.
    #[inline]
    pub(crate) fn advance(&mut self, door: Door) -> Result<Option<Found>, ProtocolError> {
        // So ends each read of whole messages.
        if self.is_at_rest() {
            return Ok(None);
        }
        self.search(door)
    }

    /// Whether there is nothing to be found: what has come was whole messages, and all were taken.
    #[inline]
    pub(crate) fn is_at_rest(&self) -> bool {
        self.is_empty() && self.joined.is_none()
    }

    #[inline(never)]
    fn search(&mut self, door: Door) -> Result<Option<Found>, ProtocolError> {
        loop {
            let found = self.step(door)?;
            match found {
                Some(Found::Message(_, Place::Joined)) if self.is_cut() => {}
                None if self.is_cut() => {
                    self.take_part()?;
                    if !self.has_more() {
                        return Ok(None);
                    }
                }
                found => return Ok(found),
            }
        }
    }

    /// Finds the next event; `None` asks for more bytes.
    pub(crate) fn step(&mut self, door: Door) -> Result<Option<Found>, ProtocolError> {
        let found = self.find(door);
        match found {
            Ok(Some(_)) => {}
            Ok(None) if self.joined.is_some() => self.rest(),
            Ok(None) => {}
            Err(_) => self.silence(),
        }
        found
    }

    /// More bytes have to come: nothing is kept for a message that has not begun.
    #[cold]
    fn rest(&mut self) {
        self.joined.take_if(|joined| joined.is_vacant());
    }

    fn find(&mut self, door: Door) -> Result<Option<Found>, ProtocolError> {
        loop {
            if self.silent {
                self.silence();
                return Ok(None);
            }
            if let Some(joined) = &mut self.joined {
                if joined.is_whole() {
                    // It was handed out.
                    joined.clear();
                }
                let arrived = &self.buffer[self.start..];
                let most = Most {
                    message: self.limit,
                    part: match door {
                        _ if joined.is_cut() => PART,
                        Door::Parts => PART,
                        Door::Borrowed | Door::Owned => usize::MAX,
                    },
                };
                self.start += joined.push(arrived, self.inflater.as_deref_mut(), most)?;
                match joined.step() {
                    Step::Header => {}
                    Step::Payload { .. } => return Ok(None),
                    Step::Whole => {
                        self.messages += 1;
                        self.after_large = joined.bytes().len() >= LARGE;
                        return Ok(Some(Found::Message(joined.kind(), Place::Joined)));
                    }
                }
            }
            let Some((header, size)) = Header::decode(&self.buffer[self.start..])? else {
                return Ok(None);
            };
            self.admit(&header)?;
            self.after_large = false;
            // `admit` has bounded the length by the limit, a usize.
            let len = header.len as usize;
            let payload = self.start + size..self.start + size + len;
            let whole = payload.end <= self.buffer.len();
            let kind = match header.opcode {
                Opcode::Text => Kind::Text,
                Opcode::Binary => Kind::Binary,
                // `admit` has seen that there is a message that it continues.
                Opcode::Continuation => Kind::Binary,
                _ if !whole => return Ok(None),
                _ => return self.control(&header, payload).map(Some),
            };
            let alone = header.fin && header.opcode != Opcode::Continuation && header.rsv == 0;
            if whole && alone && len <= door.most_in_place() {
                self.start = payload.end;
                let mut mask = header.mask;
                let mut utf8 = Utf8::default();
                let bytes = &mut self.buffer[payload.clone()];
                uncover(bytes, kind, &mut mask, &mut utf8)?;
                finish_text(kind, &mut utf8)?;
                self.messages += 1;
                return Ok(Some(Found::Message(kind, Place::Inbox(payload))));
            }
            self.start += size;
            let joined = self.joined.get_or_insert_default();
            if joined.is_vacant() {
                joined.open(kind, header.rsv == RSV1);
            }
            joined.begin(header.fin, header.mask, len);
        }
    }

    fn control(&mut self, header: &Header, at: Range<usize>) -> Result<Found, ProtocolError> {
        self.start = at.end;
        let payload = &mut self.buffer[at.clone()];
        if let Some(mut mask) = header.mask {
            mask.apply(payload);
        }
        Ok(match header.opcode {
            Opcode::Ping => Found::Ping(at),
            Opcode::Pong => Found::Pong(at),
            _ => {
                Close::decode(payload)?;
                // Nothing comes behind it.
                self.silent = true;
                Found::Close(at)
            }
        })
    }

    /// A message that was found in the read buffer.
    #[inline(always)]
    pub(crate) fn message_at(&self, kind: Kind, at: Range<usize>) -> MessageRef<'_> {
        message_ref(kind, &self.buffer[at])
    }

    /// As [`message_at`](Self::message_at), to keep.
    #[inline(always)]
    pub(crate) fn copy_at(&self, kind: Kind, at: Range<usize>) -> Message {
        message(kind, Bytes::copy_from_slice(&self.buffer[at]))
    }

    /// What was found, where it lies.
    pub(crate) fn view(&self, found: Found) -> EventRef<'_> {
        match found {
            Found::Message(kind, Place::Inbox(at)) => EventRef::Message(self.message_at(kind, at)),
            Found::Message(kind, Place::Joined) => {
                let bytes = self.joined.as_deref().map_or(&[][..], Joined::bytes);
                EventRef::Message(message_ref(kind, bytes))
            }
            Found::Ping(at) => EventRef::Ping(&self.buffer[at]),
            Found::Pong(at) => EventRef::Pong(&self.buffer[at]),
            Found::Close(at) => EventRef::Close(self.close(at)),
        }
    }

    /// Whether a part of the message in progress, or found last, was handed out before.
    #[inline]
    pub(crate) fn is_cut(&self) -> bool {
        self.joined.as_deref().is_some_and(Joined::is_cut)
    }

    /// Nobody wants the rest of the message in progress.
    pub(crate) fn skip(&mut self) {
        if let Some(joined) = &mut self.joined {
            joined.skip();
        }
    }

    /// Whether there is more of the message in progress, although no more bytes came.
    pub(crate) fn has_more(&self) -> bool {
        self.joined.as_deref().is_some_and(Joined::has_more)
    }

    #[inline]
    pub(crate) fn is_skipped(&self) -> bool {
        self.joined.as_deref().is_some_and(Joined::is_skipped)
    }

    /// Takes what has come of the message in progress, if that is something.
    ///
    /// To be called when there is no event: all that is here is unmasked and checked.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next): what is compressed may be found to be wrong only now.
    pub(crate) fn take_part(&mut self) -> Result<Option<Part>, ProtocolError> {
        let Some(joined) = &mut self.joined else {
            return Ok(None);
        };
        let most = Most {
            message: self.limit,
            part: PART,
        };
        if let Some(inflater) = &mut self.inflater
            && let Err(error) = joined.inflate_part(inflater, most)
        {
            self.silence();
            return Err(error);
        }
        Ok(joined.take_part())
    }

    /// What was found, to keep: copied out of the read buffer, or with the buffer it has.
    pub(crate) fn take(&mut self, found: Found) -> Event {
        match found {
            Found::Message(kind, Place::Inbox(at)) => Event::Message(self.copy_at(kind, at)),
            Found::Message(kind, Place::Joined) => {
                let joined = self.joined.as_mut();
                let bytes = joined.map_or_else(Bytes::new, |joined| joined.take());
                Event::Message(message(kind, bytes))
            }
            Found::Ping(at) => Event::Ping(Bytes::copy_from_slice(&self.buffer[at])),
            Found::Pong(at) => Event::Pong(Bytes::copy_from_slice(&self.buffer[at])),
            Found::Close(at) => Event::Close(self.close(at)),
        }
    }

    /// The payload of a control frame.
    pub(crate) fn control_payload(&self, at: Range<usize>) -> &[u8] {
        &self.buffer[at]
    }

    /// What a close frame says that was found to be right.
    pub(crate) fn close(&self, at: Range<usize>) -> Option<Close> {
        Close::decode(&self.buffer[at]).ok().flatten()
    }
}

/// A payload that was found, as what it is.
#[inline(always)]
fn message_ref(kind: Kind, bytes: &[u8]) -> MessageRef<'_> {
    match kind {
        // SAFETY: `find_plain` asked `is_text`, or saw only ASCII, or else `uncover` pushed every
        // byte of this payload and `finish_text` saw that it ended on a character.
        #[allow(unsafe_code)]
        Kind::Text => MessageRef::Text(unsafe { std::str::from_utf8_unchecked(bytes) }),
        Kind::Binary => MessageRef::Binary(bytes),
    }
}

/// As [`message_ref`], to keep.
#[inline(always)]
fn message(kind: Kind, bytes: Bytes) -> Message {
    match kind {
        // SAFETY: as in `message_ref`; and `take_part` cuts between two characters.
        #[allow(unsafe_code)]
        Kind::Text => Message::Text(unsafe { Text::from_utf8_unchecked(bytes) }),
        Kind::Binary => Message::Binary(bytes),
    }
}

/// Unmasks a payload and checks its text, in one pass, where it lies.
fn uncover(
    bytes: &mut [u8],
    kind: Kind,
    mask: &mut Option<Mask>,
    utf8: &mut Utf8,
) -> Result<(), ProtocolError> {
    for piece in bytes.chunks_mut(PIECE) {
        match (&mut *mask, kind) {
            (Some(mask), Kind::Text) => mask.apply_text(piece, utf8),
            (None, Kind::Text) => utf8.push(piece),
            (Some(mask), Kind::Binary) => {
                mask.apply(piece);
                Ok(())
            }
            (None, Kind::Binary) => Ok(()),
        }
        .map_err(|_| ProtocolError::InvalidUtf8)?;
    }
    Ok(())
}

/// §8.1: text that ends inside a character is not UTF-8.
#[inline]
fn finish_text(kind: Kind, utf8: &mut Utf8) -> Result<(), ProtocolError> {
    if kind == Kind::Text {
        utf8.finish().map_err(|_| ProtocolError::InvalidUtf8)?;
    }
    Ok(())
}
