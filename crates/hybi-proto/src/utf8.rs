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

    /// As [`push`](Self::push), when it was seen already whether the bytes are ASCII.
    #[inline]
    pub(crate) fn push_seen(&mut self, bytes: &[u8], ascii: bool) -> Result<(), InvalidUtf8> {
        if self.len == 0 && ascii {
            return Ok(());
        }
        self.push_any(bytes)
    }

    /// The number of bytes at the end of what was pushed that begin a character, at most three.
    #[must_use]
    pub fn carried(&self) -> usize {
        if self.len == FAILED {
            0
        } else {
            usize::from(self.len)
        }
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

/// As [`is_utf8`], for what is most likely short and ASCII.
#[inline]
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    is_short_ascii(bytes) || is_utf8(bytes)
}

/// A length that no carried character has.
const FAILED: u8 = u8::MAX;

/// Most messages are short and ASCII: they need no more than this.
#[inline]
fn is_short_ascii(bytes: &[u8]) -> bool {
    if bytes.len() > SHORT {
        return false;
    }
    let (blocks, rest) = bytes.as_chunks();
    // What is left of the blocks is not walked byte by byte: it is read as one block or two words
    // that overlap what was read before.
    let last = if let Some(block) = bytes.last_chunk() {
        u128::from_ne_bytes(*block)
    } else if let (Some(first), Some(last)) = (rest.first_chunk(), rest.last_chunk()) {
        u128::from(u64::from_ne_bytes(*first) | u64::from_ne_bytes(*last))
    } else {
        u128::from(rest.iter().fold(0, |bits, byte| bits | byte))
    };
    let bits = blocks
        .iter()
        .fold(last, |bits, block| bits | u128::from_ne_bytes(*block));
    bits & HIGH_BITS == 0
}

/// Beyond so many bytes the vector code is faster, even though it is reached by a call.
const SHORT: usize = 256;

/// The bits that no ASCII byte has.
const HIGH_BITS: u128 = u128::from_ne_bytes([0x80; 16]);

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

/// How many bytes the character has that this byte begins; 0 if it is one by itself, or begins none.
fn width(lead: u8) -> usize {
    match lead {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 0,
    }
}

fn is_continuation(byte: u8) -> bool {
    matches!(byte, 0x80..=0xbf)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the table of RFC 3629 §4 allows next, a byte at a time.
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Naive {
        Boundary,
        /// The next byte is in this range, and then so many continuation bytes follow.
        Within(u8, u8, u8),
        Invalid,
    }

    impl Naive {
        fn after(self, byte: u8) -> Self {
            match (self, byte) {
                (Self::Boundary, 0x00..=0x7f) => Self::Boundary,
                (Self::Boundary, 0xc2..=0xdf) => Self::Within(0x80, 0xbf, 0),
                (Self::Boundary, 0xe0) => Self::Within(0xa0, 0xbf, 1),
                (Self::Boundary, 0xe1..=0xec | 0xee..=0xef) => Self::Within(0x80, 0xbf, 1),
                (Self::Boundary, 0xed) => Self::Within(0x80, 0x9f, 1),
                (Self::Boundary, 0xf0) => Self::Within(0x90, 0xbf, 2),
                (Self::Boundary, 0xf1..=0xf3) => Self::Within(0x80, 0xbf, 2),
                (Self::Boundary, 0xf4) => Self::Within(0x80, 0x8f, 2),
                (Self::Within(low, high, more), _) if low <= byte && byte <= high => {
                    if more == 0 {
                        Self::Boundary
                    } else {
                        Self::Within(0x80, 0xbf, more - 1)
                    }
                }
                _ => Self::Invalid,
            }
        }

        fn all(bytes: &[u8]) -> Self {
            bytes
                .iter()
                .fold(Self::Boundary, |state, &byte| state.after(byte))
        }
    }

    /// Cuts the bytes at these places and holds every answer against both twins.
    fn agrees_when_cut(bytes: &[u8], cuts: &[usize]) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let mut check = Utf8::default();
        let mut start = 0;
        for end in cuts {
            let may_go_on = match std::str::from_utf8(&bytes[..end]) {
                Ok(_) => true,
                Err(error) => error.error_len().is_none(),
            };
            assert_eq!(Naive::all(&bytes[..end]) != Naive::Invalid, may_go_on);
            assert_eq!(
                check.push(&bytes[start..end]).is_ok(),
                may_go_on,
                "{bytes:x?} to {end}"
            );
            start = end;
        }
        let valid = Naive::all(bytes) == Naive::Boundary;
        assert_eq!(check.clone().finish().is_ok(), valid, "{bytes:x?}");
        assert_eq!(std::str::from_utf8(bytes).is_ok(), valid);
        assert_eq!(is_utf8(bytes), valid);
    }

    fn agrees_wherever_cut(bytes: &[u8]) {
        for cut in 0..=bytes.len() {
            agrees_when_cut(bytes, &[cut]);
        }
        agrees_when_cut(bytes, &(0..bytes.len()).collect::<Vec<_>>());
    }

    /// The bytes at which some rule begins or ends, and their neighbours.
    const EDGES: [u8; 28] = [
        0x00, 0x41, 0x7f, 0x80, 0x81, 0x8f, 0x90, 0x91, 0x9f, 0xa0, 0xa1, 0xbf, 0xc0, 0xc1, 0xc2,
        0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff,
    ];

    #[test]
    fn it_fails_at_the_first_byte_that_no_text_can_have_there() {
        for (good, bad) in [
            (&b""[..], 0xc0),
            (b"", 0xc1),
            (b"", 0x80),
            (b"", 0xf5),
            (b"\xe0", 0x9f),
            (b"\xed", 0xa0),
            (b"\xf0", 0x8f),
            (b"\xf4", 0x90),
            (b"\xf0\x9f\xa6", 0x41),
        ] {
            let mut check = Utf8::default();
            assert_eq!(check.push(good), Ok(()));
            assert_eq!(check.push(&[bad]), Err(InvalidUtf8), "{good:x?} {bad:x}");
            assert_eq!(
                Utf8::default().push(&[good, &[bad]].concat()),
                Err(InvalidUtf8)
            );
        }
    }

    #[test]
    fn an_error_stays_until_the_text_is_finished() {
        let mut check = Utf8::default();
        assert!(check.push(b"\xff").is_err());
        assert!(check.push(b"").is_err());
        assert!(check.push(b"fine").is_err());
        assert!(check.finish().is_err());
        assert!(check.push(b"fine").is_ok());
        assert!(check.finish().is_ok());
    }

    #[test]
    fn a_text_that_ends_inside_a_character_is_not_valid() {
        for cut in [&b"\xc3"[..], b"\xe4\xbd", b"a\xf0\x9f\xa6"] {
            let mut check = Utf8::default();
            assert!(check.push(cut).is_ok());
            assert!(check.finish().is_err());
            assert!(check.finish().is_ok());
        }
    }

    #[test]
    fn it_carries_four_bytes_of_state() {
        assert_eq!(size_of::<Utf8>(), 4);
    }

    #[test]
    fn every_character_is_accepted_cut_at_each_of_its_bytes() {
        for character in (0..=0x10_ffff).step_by(if cfg!(miri) { 997 } else { 1 }) {
            let Some(character) = char::from_u32(character) else {
                continue;
            };
            let mut room = [0; 4];
            let mut check = Utf8::default();
            for byte in character.encode_utf8(&mut room).as_bytes().chunks(1) {
                assert_eq!(check.push(byte), Ok(()));
            }
            assert_eq!(check.finish(), Ok(()));
        }
    }

    #[test]
    fn all_short_sequences_of_edge_bytes_are_judged_as_by_both_twins() {
        let edges = if cfg!(miri) { &EDGES[22..] } else { &EDGES[..] };
        for &a in edges {
            for &b in edges {
                for &c in edges {
                    agrees_wherever_cut(&[a, b, c]);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_four_edge_bytes_are_judged_as_by_both_twins(
            bytes in prop::array::uniform4(prop::sample::select(&EDGES[..])),
        ) {
            agrees_wherever_cut(&bytes);
        }

        #[test]
        fn any_bytes_cut_anywhere_are_judged_as_by_both_twins(
            bytes: Vec<u8>,
            cuts in prop::collection::vec(any::<usize>(), 0..5),
        ) {
            agrees_when_cut(&bytes, &cuts);
        }

        #[test]
        fn a_text_with_one_damaged_byte_is_judged_as_by_both_twins(
            text in "(\\PC|[a-z ]{20}){0,40}",
            place: usize,
            damage: u8,
            cuts in prop::collection::vec(any::<usize>(), 0..5),
        ) {
            agrees_when_cut(text.as_bytes(), &cuts);
            let mut bytes = text.into_bytes();
            let len = bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(place % len) {
                *byte ^= damage;
            }
            agrees_when_cut(&bytes, &cuts);
        }

        #[test]
        fn a_short_text_with_one_damaged_byte_may_be_cut_at_every_place(
            text in "\\PC{0,12}",
            place: usize,
            damage: u8,
        ) {
            let mut bytes = text.into_bytes();
            let len = bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(place % len) {
                *byte ^= damage;
            }
            agrees_wherever_cut(&bytes);
        }
    }
}
