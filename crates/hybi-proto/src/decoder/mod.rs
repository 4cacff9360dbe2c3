//! Bytes in, events out.
//!
//! The decoder owns the inbox: it unmasks in place, checks text as it arrives and hands payloads
//! out without copying. It never answers the peer; see [`connection`](crate::connection).
//!
//! A frame that lies whole in the read buffer and is a whole message is shown where it lies. All
//! other payloads are joined in a buffer of their own as they come, so that a fragment costs its
//! payload and no more, and the read buffer never has to hold the half of a message.

mod joined;

use std::ops::Range;

use bytes::{BufMut, Bytes, buf::Limit};

use crate::close::Close;
use crate::error::ProtocolError;
use crate::frame::{Header, MAX_CONTROL, Opcode};
use crate::limits::Limits;
use crate::mask::Mask;
use crate::message::{Event, EventRef, Kind, Message, MessageRef, Part};
use crate::text::Text;
use crate::utf8::{self, Utf8};

use joined::{Joined, Step};

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
}

/// Room that is kept for reading when no buffer is lent.
const OWN: usize = 4 << 10;

/// Unmasking and checking go over a payload in pieces that stay in the cache.
const PIECE: usize = 64 << 10;

/// The longest payload that is unmasked before it is copied: beyond, one pass less pays for more
/// book-keeping.
const COPIED: usize = 8 << 10;

/// Behind a message of so many bytes, only [`FIRST`] bytes are asked for: if the next one is large,
/// too, the rest of it can be read straight into a buffer of its own, and need not be copied.
const LARGE: usize = 512 << 10;
const FIRST: usize = 16 << 10;

/// A number of fragments that is never too many.
const UNLIMITED: u32 = u32::MAX;

impl Door {
    /// The longest payload that is unmasked in the read buffer. A longer one that is to be kept is
    /// unmasked on its way out of it.
    #[inline(always)]
    const fn most_in_place(self) -> usize {
        match self {
            Self::Borrowed => usize::MAX,
            Self::Owned => COPIED,
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
            messages: 0,
            limit: limits.message.unwrap_or(isize::MAX as usize),
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
            silent: true,
            ..*self
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
        if let Some((kind, at)) = self.find_plain(Door::Borrowed) {
            return Ok(Some(EventRef::Message(self.message_at(kind, at))));
        }
        let found = self.advance(Door::Borrowed)?;
        Ok(found.map(|found| self.view(found)))
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

    fn is_empty(&self) -> bool {
        self.unread() == 0
    }

    /// Whether the peer stands in the middle of a frame or a message and owes us the rest.
    #[must_use]
    pub fn is_midway(&self) -> bool {
        match &self.joined {
            _ if self.silent => false,
            Some(joined) if !joined.is_vacant() => !joined.is_whole(),
            _ => !self.is_empty(),
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
    #[cold]
    pub(crate) fn silence(&mut self) {
        self.silent = true;
        self.joined = None;
        self.buffer.clear();
        self.start = 0;
    }

    /// Finds the next event but for the rest of a message of which parts were taken; `None` asks
    /// for more bytes.
    #[inline(never)]
    pub(crate) fn advance(&mut self, door: Door) -> Result<Option<Found>, ProtocolError> {
        loop {
            let found = self.step(door)?;
            match found {
                Some(Found::Message(_, Place::Joined)) if self.is_cut() => {}
                None if self.is_cut() => {
                    self.take_part();
                    return Ok(None);
                }
                found => return Ok(found),
            }
        }
    }

    /// Finds the next message if it is one frame, here as a whole and not long: what most are. All
    /// else is left as it is for [`advance`](Self::advance), which says what is wrong with it.
    // Inlined, and asked by each door before all else: so what is found stays in registers, which is
    // half the time of a small message.
    #[inline(always)]
    pub(crate) fn find_plain(&mut self, door: Door) -> Option<(Kind, Range<usize>)> {
        let between = self.joined.as_deref().is_none_or(Joined::is_vacant);
        if self.silent || !between || self.fragments == 0 {
            return None;
        }
        let [first, second, rest @ ..] = self.buffer.get_mut(self.start..)? else {
            return None;
        };
        let kind = match *first {
            0x81 => Kind::Text,
            0x82 => Kind::Binary,
            _ => return None,
        };
        // A mask where there should be none, or none where there should be one, gives no length.
        let (len, size, rest) = match (*second ^ u8::from(self.masked) << 7, rest) {
            (len @ ..=125, rest) => (usize::from(len), 2, rest),
            (126, [a, b, rest @ ..]) => match usize::from(u16::from_be_bytes([*a, *b])) {
                ..=125 => return None,
                len => (len, 4, rest),
            },
            _ => return None,
        };
        if len > self.limit || len > door.most_in_place() {
            return None;
        }
        let (mask, size, rest) = match (self.masked, rest) {
            (false, rest) => (None, size, rest),
            (true, [a, b, c, d, rest @ ..]) => (Some(Mask::new([*a, *b, *c, *d])), size + 4, rest),
            (true, _) => return None,
        };
        let payload = rest.get_mut(..len)?;
        let ascii = mask.is_some_and(|mask| mask.uncover(payload));
        if kind == Kind::Text && !ascii && !utf8::is_text(payload) {
            cover(payload, mask);
            return None;
        }
        let start = self.start + size;
        self.start = start + len;
        self.messages += 1;
        self.after_large = false;
        Some((kind, start..start + len))
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
                self.start += joined.push(&self.buffer[self.start..])?;
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
            let alone = header.fin && header.opcode != Opcode::Continuation;
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
            self.joined
                .get_or_insert_default()
                .begin(kind, header.fin, header.mask, len);
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
        let joined = self.joined.as_deref();
        let (fragments, so_far) =
            joined.map_or((0, 0), |joined| (joined.fragments(), joined.len()));
        match (header.opcode, fragments) {
            (opcode, _) if opcode.is_control() => return admit_control(header),
            // §5.4: a fragmented message consists of a single frame with an opcode other than 0,
            // followed by zero or more frames with the opcode set to 0.
            (Opcode::Continuation, 0) => return Err(ProtocolError::LoneContinuation),
            (Opcode::Text | Opcode::Binary, 1..) => {
                return Err(ProtocolError::InterruptedMessage);
            }
            _ => {}
        }
        let limit = self.fragments;
        if limit < UNLIMITED && fragments >= limit {
            return Err(ProtocolError::TooManyFragments { limit });
        }
        let limit = self.limit;
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

    #[inline]
    pub(crate) fn is_skipped(&self) -> bool {
        self.joined.as_deref().is_some_and(Joined::is_skipped)
    }

    /// Takes what has come of the message in progress, if that is something.
    ///
    /// To be called when there is no event: all that is here is unmasked and checked.
    pub(crate) fn take_part(&mut self) -> Option<Part> {
        self.joined.as_mut()?.take_part()
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

/// Masks a payload as it was.
#[cold]
fn cover(bytes: &mut [u8], mask: Option<Mask>) {
    if let Some(mut mask) = mask {
        mask.apply(bytes);
    }
}

/// §8.1: text that ends inside a character is not UTF-8.
#[inline]
fn finish_text(kind: Kind, utf8: &mut Utf8) -> Result<(), ProtocolError> {
    if kind == Kind::Text {
        utf8.finish().map_err(|_| ProtocolError::InvalidUtf8)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// A frame as the peer should write it, or nearly so.
    fn frame(server: bool) -> impl Strategy<Value = Vec<u8>> {
        const FIRSTS: &[u8] = &[
            0x81, 0x81, 0x81, 0x82, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88, 0xc1, 0xa2,
            0x83,
        ];
        let payload = prop_oneof![
            4 => "[a-z]{0,40}".prop_map(String::into_bytes),
            2 => "[a-zü🦀]{0,20}".prop_map(String::into_bytes),
            1 => vec(any::<u8>(), 0..6),
            2 => (110..140_usize).prop_map(|len| vec![b'x'; len]),
            1 => (110..140_usize).prop_map(|len| [vec![b'x'; len], vec![0xc3]].concat()),
            u32::from(!cfg!(miri)) => (65_530..65_540_usize).prop_map(|len| vec![b'x'; len]),
        ];
        // The form of the length: the shortest, or one that may be too long.
        let form = prop_oneof![8 => Just(0_usize), 1 => Just(2), 1 => Just(8)];
        let masked = prop::bool::weighted(if server { 0.97 } else { 0.03 });
        (prop::sample::select(FIRSTS), payload, form, masked).prop_map(
            |(first, payload, form, masked)| {
                let form = match payload.len() {
                    0..126 => form,
                    126..0x1_0000 => form.max(2),
                    _ => 8,
                };
                let len = (payload.len() as u64).to_be_bytes();
                let second = match form {
                    0 => payload.len() as u8,
                    2 => 126,
                    _ => 127,
                };
                let mut frame = vec![first, second | u8::from(masked) << 7];
                frame.extend(&len[8 - form..]);
                if masked {
                    frame.extend(KEY);
                    Mask::new(KEY).apply_to(&payload, &mut frame);
                } else {
                    frame.extend(payload);
                }
                frame
            },
        )
    }

    fn limits() -> impl Strategy<Value = Limits> {
        let message = prop_oneof![4 => Just(None), 1 => (0..130_usize).prop_map(Some)];
        let fragments = prop_oneof![8 => Just(None), 1 => (0..3_u32).prop_map(Some)];
        (message, fragments).prop_map(|(message, fragments)| Limits {
            message,
            fragments,
            ..Limits::default()
        })
    }

    type Seen = Result<Option<Event>, ProtocolError>;

    /// What both ways find, and what both leave.
    fn both(
        fast: &mut Decoder,
        general: &mut Decoder,
        door: Door,
    ) -> [(Seen, u64, usize, bool); 2] {
        let seen = match fast.find_plain(door) {
            Some((kind, at)) => Ok(Some(Event::Message(fast.copy_at(kind, at)))),
            None => fast
                .advance(door)
                .map(|found| found.map(|found| fast.take(found))),
        };
        let found = general.advance(door);
        let twin = found.map(|found| found.map(|found| general.take(found)));
        [
            (seen, fast.messages(), fast.unread(), fast.is_midway()),
            (
                twin,
                general.messages(),
                general.unread(),
                general.is_midway(),
            ),
        ]
    }

    proptest! {
        #[test]
        fn the_straight_path_finds_what_the_general_one_would(
            (server, frames) in any::<bool>()
                .prop_flat_map(|server| (Just(server), vec(frame(server), 1..8))),
            limits in limits(),
            door in prop::sample::select(&[Door::Borrowed, Door::Owned][..]),
            cuts in vec(prop_oneof![1..300_usize, Just(usize::MAX)], 1..6),
            damage in prop::option::weighted(0.3, (any::<prop::sample::Index>(), 0..8_u8)),
        ) {
            let mut stream = frames.concat();
            if let Some((at, bit)) = damage {
                let at = at.index(stream.len());
                stream[at] ^= 1 << bit;
            }
            let mut fast = Decoder::new(server, &limits);
            let mut general = Decoder::new(server, &limits);
            let mut rest = &stream[..];
            for cut in cuts.iter().cycle() {
                let room = fast.inbox().remaining_mut();
                prop_assert_eq!(general.inbox().remaining_mut(), room);
                let (piece, tail) = rest.split_at(rest.len().min(*cut).min(room));
                fast.inbox().put_slice(piece);
                general.inbox().put_slice(piece);
                rest = tail;
                loop {
                    let [seen, twin] = both(&mut fast, &mut general, door);
                    prop_assert_eq!(&seen, &twin);
                    if seen.0 == Ok(None) {
                        break;
                    }
                }
                if rest.is_empty() {
                    break;
                }
            }
        }
    }
}
