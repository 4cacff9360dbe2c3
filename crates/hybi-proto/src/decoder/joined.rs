//! A message that is joined as it comes: it has fragments, or the read buffer ended inside of it.
//!
//! It takes payloads. Which frame may come next is the decoder's to say, which holds one of these
//! only while such a message is in progress.

use bytes::{BufMut, Bytes, buf::Limit};

use super::{finish_text, uncover};
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
const CLAIM: usize = 64 << 10;

/// A payload that misses this much or more is read straight into its own buffer.
const DIRECT: usize = 128 << 10;

/// What is copied is checked in pieces that stay in the inner cache.
const PIECE: usize = 16 << 10;

/// A part may pin so much and its own size beyond what it is.
const PAGE: usize = 4 << 10;

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
        }
    }
}

impl Joined {
    /// A frame begins whose payload is the next bytes; the first one says of which kind the message
    /// is.
    #[inline]
    pub(super) fn begin(&mut self, kind: Kind, fin: bool, mask: Option<Mask>, left: usize) {
        if self.is_vacant() {
            self.kind = kind;
        }
        self.fragments = self.fragments.saturating_add(1);
        self.step = Step::Payload { fin, mask, left };
    }

    /// Takes what is missing from the front of what has come, and says how much that was.
    #[inline]
    pub(super) fn push(&mut self, arrived: &[u8]) -> Result<usize, ProtocolError> {
        let Step::Payload {
            fin,
            mut mask,
            left,
        } = self.step
        else {
            return Ok(0);
        };
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
        self.step = match (left, fin) {
            (1.., _) => Step::Payload { fin, mask, left },
            (0, false) => Step::Header,
            (0, true) => {
                finish_text(self.kind, &mut self.utf8)?;
                Step::Whole
            }
        };
        Ok(here)
    }

    /// Where the next bytes go, while so many are missing that they need not pass through the read
    /// buffer.
    pub(super) fn inbox(&mut self) -> Option<Limit<&mut Vec<u8>>> {
        let Step::Payload { fin, left, .. } = self.step else {
            return None;
        };
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

    /// What has come and was not taken.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Makes place for the next message.
    pub(super) fn clear(&mut self) {
        self.step = Step::Header;
        pool::give(std::mem::take(&mut self.bytes));
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
