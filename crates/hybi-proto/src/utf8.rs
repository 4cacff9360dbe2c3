//! UTF-8 checked as it arrives, in pieces cut anywhere.
//!
//! Fails at the first byte that no valid text can have there, and carries at most three bytes
//! from one piece to the next. It keeps no text: the decoder pushes the pieces of a message,
//! [`text`](crate::text) and [`close`](crate::close) what they have whole.

use std::{error, fmt};

/// The check of one text that arrives in pieces.
///
/// ```
/// use hybi_proto::utf8::Utf8;
///
/// let mut check = Utf8::default();
/// assert!(check.push(b"caf\xc3").is_ok()); // the beginning of a character
/// assert!(check.push(b"\xa9").is_ok()); // its end
/// assert!(check.finish().is_ok());
/// assert!(check.push(b"\xf4\x90").is_err()); // above U+10FFFF, whatever follows
/// ```
#[derive(Clone, Debug, Default)]
pub struct Utf8 {
    /// The first bytes of a character whose end has not arrived.
    head: [u8; 3],
    /// How many of them there are, or [`FAILED`].
    len: u8,
}

impl Utf8 {
    /// Checks the next bytes of the text.
    ///
    /// # Errors
    ///
    /// [`InvalidUtf8`] as soon as all bytes so far cannot be the beginning of a valid text,
    /// however it goes on. The error stays until [`finish`](Self::finish).
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), InvalidUtf8> {
        if self.len == 0 && is_short_ascii(bytes) {
            return Ok(());
        }
        self.push_any(bytes)
    }

    /// Ends the text, and is ready for the next one.
    ///
    /// # Errors
    ///
    /// [`InvalidUtf8`] if the text ends inside a character, or failed before.
    #[inline]
    pub fn finish(&mut self) -> Result<(), InvalidUtf8> {
        let ends_on_boundary = self.len == 0;
        *self = Self::default();
        if ends_on_boundary {
            Ok(())
        } else {
            Err(InvalidUtf8)
        }
    }

    fn push_any(&mut self, mut bytes: &[u8]) -> Result<(), InvalidUtf8> {
        while self.len != 0 {
            let Some((&byte, rest)) = bytes.split_first() else {
                return self.unless_failed();
            };
            self.step(byte)?;
            bytes = rest;
        }
        let (whole, cut) = bytes.split_at(bytes.len() - cut_character(bytes));
        if !is_utf8(whole) {
            return self.fail();
        }
        cut.iter().try_for_each(|&byte| self.step(byte))
    }

    /// Takes one byte into the carried character.
    fn step(&mut self, byte: u8) -> Result<(), InvalidUtf8> {
        let Some(carried) = self.head.get(..usize::from(self.len)) else {
            return self.fail();
        };
        if !may_follow(carried, byte) {
            return self.fail();
        }
        let have = carried.len() + 1;
        let lead = carried.first().copied().unwrap_or(byte);
        if have == width(lead) {
            self.len = 0;
        } else if let Some(place) = self.head.get_mut(have - 1) {
            *place = byte;
            self.len += 1;
        }
        Ok(())
    }

    fn unless_failed(&self) -> Result<(), InvalidUtf8> {
        if self.len == FAILED {
            Err(InvalidUtf8)
        } else {
            Ok(())
        }
    }

    #[cold]
    fn fail(&mut self) -> Result<(), InvalidUtf8> {
        self.len = FAILED;
        Err(InvalidUtf8)
    }
}

/// The bytes are not UTF-8 (RFC 3629), as the text of a message and the reason of a close must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidUtf8;

impl fmt::Display for InvalidUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text is not valid UTF-8: send other bytes as a binary message")
    }
}

impl error::Error for InvalidUtf8 {}

/// Whether the bytes are a whole valid text.
pub(crate) fn is_utf8(bytes: &[u8]) -> bool {
    if cfg!(hybi_scalar) {
        std::str::from_utf8(bytes).is_ok()
    } else {
        simdutf8::basic::from_utf8(bytes).is_ok()
    }
}

/// A length that no carried character has.
const FAILED: u8 = u8::MAX;

/// Most messages are short and ASCII: they need no more than this.
#[inline]
fn is_short_ascii(bytes: &[u8]) -> bool {
    bytes.len() <= 64 && bytes.is_ascii()
}

/// How many bytes at the end belong to a character that goes on behind it: 0 to 3.
fn cut_character(bytes: &[u8]) -> usize {
    for (before, &byte) in bytes.iter().rev().take(3).enumerate() {
        if !is_continuation(byte) {
            let have = before + 1;
            return if width(byte) > have { have } else { 0 };
        }
    }
    0
}

/// Whether the byte can stand behind these first bytes of a character (RFC 3629 §4).
fn may_follow(first: &[u8], byte: u8) -> bool {
    match first {
        [] => width(byte) != 0,
        [0xe0] => matches!(byte, 0xa0..=0xbf),
        [0xed] => matches!(byte, 0x80..=0x9f),
        [0xf0] => matches!(byte, 0x90..=0xbf),
        [0xf4] => matches!(byte, 0x80..=0x8f),
        _ => is_continuation(byte),
    }
}

/// How many bytes the character has that this byte begins; 0 if none begins so.
fn width(lead: u8) -> usize {
    match lead {
        0x00..=0x7f => 1,
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 0,
    }
}

fn is_continuation(byte: u8) -> bool {
    matches!(byte, 0x80..=0xbf)
}
