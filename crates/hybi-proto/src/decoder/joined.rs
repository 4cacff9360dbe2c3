//! A message that is joined as it comes: it has fragments, or the read buffer ended inside of it.
//!
//! It takes payloads. Which frame may come next is the decoder's to say, which holds one of these
//! only while such a message is in progress.

use bytes::{BufMut, Bytes, buf::Limit};

use super::{finish_text, uncover};
use crate::deflate::{self, Inflater, Inflating};
use crate::error::ProtocolError;
use crate::mask::Mask;
use crate::message::{Kind, Part};
use crate::pool;
use crate::utf8::Utf8;

/// A message that is not shown where it lies in the read buffer, or the place for one.
#[derive(Debug)]
pub(super) struct Joined {
    step: Step,
    kind: Kind,
    /// Nobody wants the rest of it.
    skipped: bool,
    fragments: u32,
    utf8: Utf8,
    /// What has come, unmasked and checked up to `done`.
    bytes: Vec<u8>,
    done: usize,
    /// Bytes that were handed out before those.
    taken: usize,
    /// It is compressed: it waits here, and comes from here into `bytes`.
    inflating: Option<Box<Inflating>>,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// The first of a header.
    Header,
    /// Payload of the message.
    Payload {
        fin: bool,
        mask: Option<Mask>,
        left: usize,
    },
    /// No longer of this message: it is whole.
    Whole,
}

/// What a message may take on the word of its header alone.
const CLAIM: usize = 65_536;

/// A payload that misses this much or more is read straight into its own buffer.
const DIRECT: usize = 128 << 10;

/// How much of a message may be inflated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    /// In all.
    pub(super) message: usize,
    /// Before it is taken.
    pub(super) part: usize,
}

/// What is copied is checked in pieces that stay in the inner cache.
const PIECE: usize = 16 << 10;

/// A part may pin so much and its own size beyond what it is.
const PAGE: usize = 4096;

impl Default for Joined {
    fn default() -> Self {
        Self {
            step: Step::Header,
            kind: Kind::Binary,
            skipped: false,
            fragments: 0,
            utf8: Utf8::default(),
            bytes: Vec::new(),
            done: 0,
            taken: 0,
            inflating: None,
        }
    }
}

impl Joined {
    /// A message of this kind begins.
    #[inline]
    pub(super) fn open(&mut self, kind: Kind, compressed: bool) {
        self.kind = kind;
        self.inflating = compressed.then(Box::default);
    }

    /// A frame begins whose payload is the next bytes.
    #[inline]
    pub(super) fn begin(&mut self, fin: bool, mask: Option<Mask>, left: usize) {
        self.fragments = self.fragments.saturating_add(1);
        self.step = Step::Payload { fin, mask, left };
    }

    /// Takes what is missing from the front of what has come, and says how much that was.
    #[inline]
    pub(super) fn push(
        &mut self,
        arrived: &[u8],
        inflater: Option<&mut Inflater>,
        most: Most,
    ) -> Result<usize, ProtocolError> {
        let Step::Payload {
            fin,
            mut mask,
            left,
        } = self.step
        else {
            return Ok(0);
        };
        if let Some(inflater) = inflater
            && self.inflating.is_some()
        {
            return self.push_packed(arrived, inflater, most);
        }
        // What was read straight into its place comes before what was not.
        let direct = &mut self.bytes[self.done..];
        let missing = left - direct.len();
        uncover(direct, self.kind, &mut mask, &mut self.utf8)?;
        let here = missing.min(arrived.len());
        let left = missing - here;
        self.reserve(here, missing, fin);
        for piece in arrived[..here].chunks(PIECE) {
            let (bytes, utf8) = (&mut self.bytes, &mut self.utf8);
            match (&mut mask, self.kind) {
                (Some(mask), Kind::Text) => mask.apply_text_to(piece, bytes, utf8),
                (None, Kind::Text) => {
                    bytes.extend_from_slice(piece);
                    utf8.push(piece)
                }
                (Some(mask), Kind::Binary) => {
                    mask.apply_to(piece, bytes);
                    Ok(())
                }
                (None, Kind::Binary) => {
                    bytes.extend_from_slice(piece);
                    Ok(())
                }
            }
            .map_err(|_| ProtocolError::InvalidUtf8)?;
        }
        self.done = self.bytes.len();
        self.go_on(fin, mask, left)?;
        Ok(here)
    }

    /// What comes next, when so many bytes of the frame are missing.
    fn go_on(&mut self, fin: bool, mask: Option<Mask>, left: usize) -> Result<(), ProtocolError> {
        self.step = match (left, fin) {
            (1.., _) => Step::Payload { fin, mask, left },
            (0, false) => Step::Header,
            (0, true) => {
                finish_text(self.kind, &mut self.utf8)?;
                Step::Whole
            }
        };
        Ok(())
    }

    /// As [`push`](Self::push), for a message that is compressed. It takes no more while a part of
    /// it is to be taken first.
    fn push_packed(
        &mut self,
        arrived: &[u8],
        inflater: &mut Inflater,
        most: Most,
    ) -> Result<usize, ProtocolError> {
        let Step::Payload {
            fin,
            mut mask,
            left,
        } = self.step
        else {
            return Ok(0);
        };
        if self.has_more() {
            self.inflate(inflater, fin && left == 0, most)?;
        }
        let here = &arrived[..left.min(arrived.len())];
        let mut rest = here;
        while let Some(inflating) = self.inflating.as_deref_mut()
            && !inflating.has_more()
            && !rest.is_empty()
        {
            // However the bytes were cut, they are inflated in the same pieces.
            let room = deflate::ENOUGH - inflating.packed.len();
            let (piece, others) = rest.split_at(room.min(rest.len()));
            match &mut mask {
                Some(mask) => mask.apply_to(piece, &mut inflating.packed),
                None => inflating.packed.extend_from_slice(piece),
            }
            if inflating.packed.len() == deflate::ENOUGH {
                self.inflate(inflater, false, most)?;
            }
            rest = others;
        }
        let used = here.len() - rest.len();
        let left = left - used;
        let goes_on = |inflating: &Inflating| !inflating.has_more() && !inflating.is_over();
        if left == 0 && fin && self.inflating.as_deref().is_some_and(goes_on) {
            self.inflate(inflater, true, most)?;
        }
        if self.has_more() {
            self.step = Step::Payload { fin, mask, left };
        } else {
            self.go_on(fin, mask, left)?;
        }
        Ok(used)
    }

    /// Whether there is more to inflate of what has come, when a part was taken.
    pub(super) fn has_more(&self) -> bool {
        self.inflating.as_deref().is_some_and(Inflating::has_more)
    }

    /// Inflates what waits for it, within the limit.
    fn inflate(
        &mut self,
        inflater: &mut Inflater,
        last: bool,
        most: Most,
    ) -> Result<(), ProtocolError> {
        let Some(inflating) = &mut self.inflating else {
            return Ok(());
        };
        let (kind, utf8) = (self.kind, &mut self.utf8);
        let (bytes, taken) = (&mut self.bytes, self.taken);
        let limit = most.message;
        inflating.run(inflater, last, |piece| {
            let room = limit - (taken + bytes.len());
            let here = &piece[..piece.len().min(room)];
            if kind == Kind::Text {
                utf8.push(here).map_err(|_| ProtocolError::InvalidUtf8)?;
            }
            if here.len() < piece.len() {
                return Err(ProtocolError::MessageTooBig { limit });
            }
            if bytes.capacity() - bytes.len() < piece.len() {
                // By doubling, but never beyond what may come.
                let double = bytes.len().min(room - piece.len());
                bytes.reserve_exact(piece.len().max(double));
            }
            bytes.extend_from_slice(piece);
            Ok(bytes.len() < most.part)
        })?;
        self.done = self.bytes.len();
        Ok(())
    }

    /// Inflates what has come, for who does not wait for the rest.
    pub(super) fn inflate_part(
        &mut self,
        inflater: &mut Inflater,
        most: Most,
    ) -> Result<(), ProtocolError> {
        let waits = |inflating: &Inflating| !inflating.packed.is_empty() && !inflating.has_more();
        if !self.is_whole() && self.inflating.as_deref().is_some_and(waits) {
            self.inflate(inflater, false, most)?;
            if self.has_more() && matches!(self.step, Step::Header) {
                // The rest of a fragment comes before the header of the next one.
                self.step = Step::Payload {
                    fin: false,
                    mask: None,
                    left: 0,
                };
            }
        }
        Ok(())
    }

    /// Where the next bytes go, while so many are missing that they need not pass through the read
    /// buffer.
    pub(super) fn inbox(&mut self) -> Option<Limit<&mut Vec<u8>>> {
        let Step::Payload { fin, left, .. } = self.step else {
            return None;
        };
        if self.inflating.is_some() {
            return None;
        }
        let missing = left - (self.bytes.len() - self.done);
        if missing < DIRECT {
            return None;
        }
        self.reserve(1, missing, fin);
        let room = self.bytes.capacity() - self.bytes.len();
        Some((&mut self.bytes).limit(room.min(missing)))
    }

    #[inline]
    pub(super) fn step(&self) -> Step {
        self.step
    }

    /// Whether no message has begun.
    #[inline]
    pub(super) fn is_vacant(&self) -> bool {
        self.fragments == 0
    }

    #[inline]
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.step, Step::Whole)
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// The fragments that have begun.
    pub(super) fn fragments(&self) -> u32 {
        self.fragments
    }

    /// The length of what has come, in bytes, taken or not.
    pub(super) fn len(&self) -> usize {
        self.taken + self.bytes.len()
    }

    /// Whether it is compressed.
    pub(super) fn is_packed(&self) -> bool {
        self.inflating.is_some()
    }

    /// The length of what has come as it came, in bytes.
    pub(super) fn came(&self) -> usize {
        let inflating = self.inflating.as_deref();
        inflating.map_or(self.len(), Inflating::came)
    }

    /// What has come and was not taken.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Makes place for the next message.
    pub(super) fn clear(&mut self) {
        self.step = Step::Header;
        pool::give(std::mem::take(&mut self.bytes));
        self.inflating = None;
        (self.fragments, self.done, self.taken, self.skipped) = (0, 0, 0, false);
    }

    /// As [`bytes`](Self::bytes), to keep.
    pub(super) fn take(&mut self) -> Bytes {
        pool::share(std::mem::take(&mut self.bytes))
    }

    /// Whether a part of it was taken.
    pub(super) fn is_cut(&self) -> bool {
        self.taken > 0
    }

    /// Nobody wants the rest, if a part was taken.
    pub(super) fn skip(&mut self) {
        self.skipped = self.is_cut() && !self.is_whole();
    }

    pub(super) fn is_skipped(&self) -> bool {
        self.skipped
    }

    /// Takes what has come, if that is something; all of it is unmasked and checked.
    pub(super) fn take_part(&mut self) -> Option<Part> {
        // A character that has not come whole stays for the next part.
        let end = self.bytes.len() - self.utf8.carried();
        if end == 0 {
            return None;
        }
        let rest = self.bytes.split_off(end);
        let bytes = std::mem::replace(&mut self.bytes, rest);
        self.taken += end;
        self.done = self.bytes.len();
        // Room for what has not come is not handed out.
        let bytes = if bytes.capacity() > 2 * end + PAGE {
            let part = Bytes::copy_from_slice(&bytes);
            pool::give(bytes);
            part
        } else {
            pool::share(bytes)
        };
        Some(Part {
            kind: self.kind,
            bytes,
            last: false,
        })
    }

    /// Makes room for `here` bytes of the `left` that are missing, and for as many more as have
    /// already come, or [`CLAIM`]: a length that is only claimed is not allocated for. Room that is
    /// there already may be taken for all of it.
    fn reserve(&mut self, here: usize, left: usize, fin: bool) {
        let bytes = &mut self.bytes;
        if bytes.capacity() - bytes.len() >= here {
            return;
        }
        let room = left.min(bytes.len().max(CLAIM)).max(here);
        // A part leaves with what has come, and not with room for all.
        let all = if self.taken == 0 { left } else { room };
        if let Some(mut found) = pool::find(bytes.len() + all) {
            found.extend_from_slice(bytes);
            pool::give(std::mem::replace(bytes, found));
        } else if fin {
            bytes.reserve_exact(room);
        } else {
            // More fragments follow: grow by doubling, so that tiny ones do not copy all each time.
            bytes.reserve(room);
        }
    }
}
