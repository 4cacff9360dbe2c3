//! Bytes in, events out.
//!
//! The decoder owns the inbox: it unmasks in place, checks text as it arrives and hands payloads
//! out without copying. It never answers the peer; see [`connection`](crate::connection).
//!
//! A frame that lies whole in the read buffer and is a whole message is shown where it lies. All
//! other payloads are joined in a buffer of their own as they come, so that a fragment costs its
//! payload and no more, and the read buffer never has to hold the half of a message.

use std::ops::Range;

use bytes::{BufMut, Bytes, buf::Limit};

use crate::close::Close;
use crate::error::ProtocolError;
use crate::frame::{Header, MAX_CONTROL, Opcode};
use crate::limits::Limits;
use crate::mask::Mask;
use crate::message::{Event, EventRef, Kind, Message, MessageRef, Part};
use crate::text;
use crate::utf8::Utf8;

/// The receiving half of a connection, without I/O.
#[derive(Debug)]
pub struct Decoder {
    /// Bytes as they came, a read buffer that is lent or one of our own.
    buffer: Vec<u8>,
    /// The first byte of `buffer` whose meaning is not stored yet.
    start: usize,
    step: Step,
    /// Whether the peer masks: we are the server.
    masked: bool,
    limits: Limits,
    /// The kind of the message in progress.
    kind: Option<Kind>,
    fragments: u32,
    /// What has come of the message in progress, unmasked and checked up to `done`.
    partial: Vec<u8>,
    done: usize,
    /// Bytes of the message in progress that were handed out before.
    taken: usize,
    /// Nobody wants the rest of it.
    skipped: bool,
    utf8: Utf8,
    /// Messages found so far.
    messages: u64,
}

/// What the next byte is.
#[derive(Debug)]
enum Step {
    /// The first of a header.
    Header,
    /// Payload of a data frame that goes to `partial`.
    Payload {
        fin: bool,
        /// Of a masked frame.
        mask: Mask,
        left: usize,
    },
    /// The message in `partial` was handed out.
    Delivered,
    /// Of no interest: the peer broke a rule, or has closed.
    Silent,
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
    Partial,
}

/// Room that is kept for reading when no buffer is lent.
const OWN: usize = 4 << 10;

/// What a message may take on the word of its header alone.
const CLAIM: usize = 64 << 10;

/// A payload that misses this much or more is read straight into its own buffer.
const DIRECT: usize = 128 << 10;

/// A part may pin so much and its own size beyond what it is.
const PAGE: usize = 4 << 10;

/// Unmasking and checking go over a payload in pieces that stay in the inner cache.
const PIECE: usize = 16 << 10;

impl Decoder {
    /// A decoder that expects masked frames (a server's) or unmasked ones (a client's).
    pub(crate) fn new(masked: bool, limits: Limits) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            step: Step::Header,
            masked,
            limits,
            kind: None,
            fragments: 0,
            partial: Vec::new(),
            done: 0,
            taken: 0,
            skipped: false,
            utf8: Utf8::default(),
            messages: 0,
        }
    }

    /// What stands in for this one while it is [detached](crate::connection::Connection::detach).
    pub(crate) fn stand_in(&self) -> Self {
        Self {
            step: Step::Silent,
            messages: self.messages,
            ..Self::new(self.masked, self.limits.clone())
        }
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
        Ok(self.advance()?.map(|found| self.view(found)))
    }

    /// Where the next bytes from the peer go: append to it, at least one byte fits.
    ///
    /// It is the read buffer, or, deep in a large payload, the buffer of that message.
    #[inline]
    pub fn inbox(&mut self) -> Limit<&mut Vec<u8>> {
        if let Step::Payload { fin, left, .. } = self.step
            && left - (self.partial.len() - self.done) >= DIRECT
            && self.is_empty()
        {
            let left = left - (self.partial.len() - self.done);
            reserve(&mut self.partial, 1, left, fin);
            let room = self.partial.capacity() - self.partial.len();
            return (&mut self.partial).limit(room.min(left));
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
        (&mut self.buffer).limit(room)
    }

    /// The number of bytes that have come and whose meaning is not stored yet.
    #[must_use]
    #[inline]
    pub fn unread(&self) -> usize {
        self.buffer.len() - self.start
    }

    fn is_empty(&self) -> bool {
        self.unread() == 0
    }

    /// Whether the peer stands in the middle of a frame or a message and owes us the rest.
    #[must_use]
    pub fn is_midway(&self) -> bool {
        match self.step {
            Step::Payload { .. } => true,
            Step::Header => self.kind.is_some() || !self.is_empty(),
            Step::Delivered | Step::Silent => false,
        }
    }

    /// Lends a read buffer; what is unread moves into it.
    pub fn lend(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        buffer.extend_from_slice(&self.buffer[self.start..]);
        self.start = 0;
        self.buffer = buffer;
    }

    /// Takes the read buffer away; what is unread in it is copied into one of its size.
    pub fn reclaim(&mut self) -> Vec<u8> {
        let rest = self.buffer[self.start..].to_vec();
        self.start = 0;
        std::mem::replace(&mut self.buffer, rest)
    }

    /// Takes no interest in anything that follows.
    pub(crate) fn silence(&mut self) {
        self.step = Step::Silent;
        self.kind = None;
        self.partial = Vec::new();
        self.buffer.clear();
        (self.start, self.done, self.taken) = (0, 0, 0);
    }

    // What is found travels in registers only where it is inlined: half the time of a small message.

    /// Finds the next event but for the rest of a message of which parts were taken; `None` asks
    /// for more bytes.
    #[inline(always)]
    pub(crate) fn advance(&mut self) -> Result<Option<Found>, ProtocolError> {
        loop {
            let found = self.step()?;
            match found {
                Some(Found::Message(..)) if self.is_cut() => {}
                None if self.is_cut() => {
                    self.take_part();
                    return Ok(None);
                }
                found => return Ok(found),
            }
        }
    }

    /// Finds the next event; `None` asks for more bytes.
    #[inline(always)]
    pub(crate) fn step(&mut self) -> Result<Option<Found>, ProtocolError> {
        let found = self.find();
        if found.is_err() {
            self.silence();
        }
        found
    }

    #[inline(always)]
    fn find(&mut self) -> Result<Option<Found>, ProtocolError> {
        loop {
            match self.step {
                Step::Header => {
                    let Some((header, size)) = Header::decode(&self.buffer[self.start..])? else {
                        return Ok(None);
                    };
                    self.admit(&header)?;
                    // `admit` has bounded the length by the limit, a usize.
                    let len = header.len as usize;
                    let payload = self.start + size..self.start + size + len;
                    let whole = payload.end <= self.buffer.len();
                    let kind = match header.opcode {
                        Opcode::Text => Kind::Text,
                        Opcode::Binary => Kind::Binary,
                        Opcode::Continuation => self.kind.unwrap_or(Kind::Binary),
                        _ if !whole => return Ok(None),
                        _ => return self.control(&header, payload).map(Some),
                    };
                    if whole && header.fin && header.opcode != Opcode::Continuation {
                        self.start = payload.end;
                        let mut mask = header.mask;
                        let bytes = &mut self.buffer[payload.clone()];
                        uncover(bytes, kind, mask.as_mut(), &mut self.utf8)?;
                        self.finish_text(kind)?;
                        self.messages += 1;
                        return Ok(Some(Found::Message(kind, Place::Inbox(payload))));
                    }
                    self.start += size;
                    self.fragments += 1;
                    self.kind = Some(kind);
                    self.step = Step::Payload {
                        fin: header.fin,
                        mask: header.mask.unwrap_or(Mask::new([0; 4])),
                        left: len,
                    };
                }
                Step::Payload {
                    fin,
                    mut mask,
                    left,
                } => {
                    let kind = self.kind.unwrap_or(Kind::Binary);
                    let missing = left - (self.partial.len() - self.done);
                    let here = missing.min(self.buffer.len() - self.start);
                    reserve(&mut self.partial, here, missing, fin);
                    let arrived = &self.buffer[self.start..self.start + here];
                    self.partial.extend_from_slice(arrived);
                    self.start += here;
                    let bytes = &mut self.partial[self.done..];
                    let left = left - bytes.len();
                    let key = self.masked.then_some(&mut mask);
                    uncover(bytes, kind, key, &mut self.utf8)?;
                    self.done = self.partial.len();
                    if left > 0 {
                        self.step = Step::Payload { fin, mask, left };
                        return Ok(None);
                    }
                    self.step = Step::Header;
                    if fin {
                        self.finish_text(kind)?;
                        self.step = Step::Delivered;
                        self.messages += 1;
                        return Ok(Some(Found::Message(kind, Place::Partial)));
                    }
                }
                Step::Delivered => {
                    self.partial = Vec::new();
                    (self.kind, self.fragments) = (None, 0);
                    (self.done, self.taken, self.skipped) = (0, 0, false);
                    self.step = Step::Header;
                }
                Step::Silent => {
                    self.silence();
                    return Ok(None);
                }
            }
        }
    }

    /// Every rule of §5.2 to §5.5 and every limit, before a byte of the payload is kept.
    #[inline]
    fn admit(&self, header: &Header) -> Result<(), ProtocolError> {
        // §5.2: RSV1, RSV2, RSV3 MUST be 0 unless an extension is negotiated.
        match header.rsv {
            0 => {}
            0b100 => return Err(ProtocolError::Rsv1),
            _ => return Err(ProtocolError::Rsv2Or3),
        }
        match (self.masked, header.mask) {
            // §5.1: the server MUST close the connection upon receiving a frame that is not masked.
            (true, None) => return Err(ProtocolError::Unmasked),
            // §5.1: a client MUST close a connection if it detects a masked frame.
            (false, Some(_)) => return Err(ProtocolError::Masked),
            _ => {}
        }
        match (header.opcode, self.kind) {
            (opcode, _) if opcode.is_control() => return admit_control(header),
            // §5.4: a fragmented message consists of a single frame with an opcode other than 0,
            // followed by zero or more frames with the opcode set to 0.
            (Opcode::Continuation, None) => return Err(ProtocolError::LoneContinuation),
            (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(ProtocolError::InterruptedMessage);
            }
            _ => {}
        }
        if let Some(limit) = self.limits.fragments
            && self.fragments >= limit
        {
            return Err(ProtocolError::TooManyFragments { limit });
        }
        let limit = self.limits.message.unwrap_or(isize::MAX as usize);
        let so_far = self.taken + self.partial.len();
        if header.len > (limit - so_far.min(limit)) as u64 {
            return Err(ProtocolError::MessageTooBig { limit });
        }
        Ok(())
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
                self.step = Step::Silent;
                Found::Close(at)
            }
        })
    }

    /// §8.1: text that ends inside a character is not UTF-8.
    fn finish_text(&mut self, kind: Kind) -> Result<(), ProtocolError> {
        if kind == Kind::Text {
            self.utf8.finish().map_err(|_| ProtocolError::InvalidUtf8)?;
        }
        Ok(())
    }

    /// What was found, where it lies.
    #[inline]
    pub(crate) fn view(&self, found: Found) -> EventRef<'_> {
        match found {
            Found::Message(kind, place) => {
                let bytes = match place {
                    Place::Inbox(at) => &self.buffer[at],
                    Place::Partial => &self.partial[..],
                };
                EventRef::Message(match kind {
                    // SAFETY: `utf8` took every byte of this payload, and `finish_text` saw that
                    // it ended on a character.
                    #[allow(unsafe_code)]
                    Kind::Text => MessageRef::Text(unsafe { std::str::from_utf8_unchecked(bytes) }),
                    Kind::Binary => MessageRef::Binary(bytes),
                })
            }
            Found::Ping(at) => EventRef::Ping(&self.buffer[at]),
            Found::Pong(at) => EventRef::Pong(&self.buffer[at]),
            Found::Close(at) => EventRef::Close(self.close(at)),
        }
    }

    /// Whether a part of the message in progress, or found last, was handed out before.
    #[inline]
    pub(crate) fn is_cut(&self) -> bool {
        self.taken > 0
    }

    /// Nobody wants the rest of the message in progress.
    pub(crate) fn skip(&mut self) {
        self.skipped = self.is_cut() && !matches!(self.step, Step::Delivered);
    }

    #[inline]
    pub(crate) fn is_skipped(&self) -> bool {
        self.skipped
    }

    /// Takes what has come of the message in progress, if that is something.
    ///
    /// To be called when there is no event: all that is here is unmasked and checked.
    pub(crate) fn take_part(&mut self) -> Option<Part> {
        let kind = self.kind?;
        // A character that has not come whole stays for the next part.
        let end = self.partial.len() - self.utf8.carried();
        if end == 0 {
            return None;
        }
        let rest = self.partial.split_off(end);
        let bytes = std::mem::replace(&mut self.partial, rest);
        self.taken += end;
        self.done = self.partial.len();
        // Room for what has not come is not handed out.
        let bytes = if bytes.capacity() > 2 * end + PAGE {
            Bytes::copy_from_slice(&bytes)
        } else {
            bytes.into()
        };
        let last = false;
        Some(Part { kind, bytes, last })
    }

    /// What was found, to keep: copied out of the read buffer, or with the buffer it has.
    #[inline]
    pub(crate) fn take(&mut self, found: Found) -> Event {
        match found {
            Found::Message(kind, place) => {
                let bytes = match place {
                    Place::Inbox(at) => Bytes::copy_from_slice(&self.buffer[at]),
                    Place::Partial => std::mem::take(&mut self.partial).into(),
                };
                Event::Message(match kind {
                    // SAFETY: as in `view`; and `take_part` cuts between two characters.
                    #[allow(unsafe_code)]
                    Kind::Text => Message::Text(unsafe { text::Text::from_utf8_unchecked(bytes) }),
                    Kind::Binary => Message::Binary(bytes),
                })
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

/// The rules of §5.5.
fn admit_control(header: &Header) -> Result<(), ProtocolError> {
    // All control frames MUST have a payload length of 125 bytes or less and MUST NOT be
    // fragmented.
    if !header.fin {
        return Err(ProtocolError::FragmentedControl);
    }
    if header.len > MAX_CONTROL as u64 {
        return Err(ProtocolError::ControlTooLong);
    }
    // §5.5.1: if there is a body, the first two bytes of the body MUST be a 2-byte integer.
    if header.opcode == Opcode::Close && header.len == 1 {
        return Err(ProtocolError::CloseTooShort);
    }
    Ok(())
}

/// Unmasks a payload and checks its text, in one pass, where it lies.
#[inline]
fn uncover(
    bytes: &mut [u8],
    kind: Kind,
    mut mask: Option<&mut Mask>,
    utf8: &mut Utf8,
) -> Result<(), ProtocolError> {
    for piece in bytes.chunks_mut(PIECE) {
        if let Some(mask) = &mut mask {
            mask.apply(piece);
        }
        if kind == Kind::Text {
            utf8.push(piece).map_err(|_| ProtocolError::InvalidUtf8)?;
        }
    }
    Ok(())
}

/// Makes room for `here` bytes of the `left` that are missing, and for as many more as have already
/// come, or [`CLAIM`]: a length that is only claimed is not allocated for.
fn reserve(partial: &mut Vec<u8>, here: usize, left: usize, fin: bool) {
    if partial.capacity() - partial.len() >= here {
        return;
    }
    let room = left.min(partial.len().max(CLAIM)).max(here);
    if fin {
        partial.reserve_exact(room);
    } else {
        // More fragments follow: grow by doubling, so that tiny ones do not copy all each time.
        partial.reserve(room);
    }
}
