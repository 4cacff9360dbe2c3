//! Text that is shared: bytes without a copy, known to be UTF-8.
//!
//! It is checked once, when it is made. The decoder makes it of what it has checked as it arrived;
//! callers make it of anything that a string can be made of.

use std::{
    borrow::{Borrow, Cow},
    fmt,
    hash::{Hash, Hasher},
    ops::{Deref, RangeBounds},
};

use bytes::Bytes;

use crate::utf8::{InvalidUtf8, is_utf8};

/// A string whose clones and slices share one buffer: [`Bytes`] that are UTF-8.
///
/// It is a [`str`] wherever one is wanted, and compares and hashes as one. A slice keeps the
/// whole buffer alive; use [`to_string`](ToString::to_string) for a small piece that is kept.
///
/// ```
/// use hybi_proto::text::Text;
///
/// let text = Text::from("grüße");
/// assert_eq!(text.to_uppercase(), "GRÜSSE");
/// assert_eq!(text.slice(..4), "grü");
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text(Bytes);

impl Text {
    /// The text of a literal, which is never copied.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// The text of bytes that were checked before, without a second look.
    ///
    /// # Safety
    ///
    /// All of `bytes`, from the first to the last, must be valid UTF-8.
    #[inline]
    pub(crate) unsafe fn from_utf8_unchecked(bytes: Bytes) -> Self {
        debug_assert!(is_utf8(&bytes));
        Self(bytes)
    }

    /// The text as a string slice.
    #[inline]
    #[must_use]
    pub fn as_str(&self) -> &str {
        // SAFETY: the bytes cannot change (nothing hands out `&mut` of them, and `Bytes` are
        // immutable), and they are UTF-8 since they were made: of a string, after `is_utf8`, by a
        // caller of `from_utf8_unchecked` who promised it, by `slice` between two boundaries, or
        // by `share` of bytes that somebody sees as a string.
        unsafe { std::str::from_utf8_unchecked(&self.0) }
    }

    /// A part of the text, by bytes, that shares the buffer.
    ///
    /// # Panics
    ///
    /// As a slice of a [`str`]: when the range ends behind the text, or begins or ends inside a
    /// character.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        let part = &self.as_str()[(range.start_bound().cloned(), range.end_bound().cloned())];
        Self(self.0.slice_ref(part.as_bytes()))
    }

    /// A part of `bytes` that is known to be text, and shares them.
    ///
    /// It must lie in them, as must the part that [`Bytes::slice_ref`] takes.
    pub(crate) fn share(bytes: &Bytes, part: &str) -> Self {
        Self(bytes.slice_ref(part.as_bytes()))
    }

    pub(crate) fn as_shared(&self) -> &Bytes {
        &self.0
    }

    /// The bytes, without a copy.
    #[inline]
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl Deref for Text {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self
    }
}

// As `str`, not as `Bytes`: what borrows as `str` must hash as `str`.
impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<String> for Text {
    fn eq(&self, other: &String) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<Text> for str {
    fn eq(&self, other: &Text) -> bool {
        self == other.as_str()
    }
}

impl PartialEq<Text> for &str {
    fn eq(&self, other: &Text) -> bool {
        *self == other.as_str()
    }
}

impl PartialEq<Text> for String {
    fn eq(&self, other: &Text) -> bool {
        self == other.as_str()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Box<str>> for Text {
    fn from(text: Box<str>) -> Self {
        Self::from(String::from(text))
    }
}

impl From<Cow<'_, str>> for Text {
    fn from(text: Cow<'_, str>) -> Self {
        match text {
            Cow::Borrowed(text) => Self::from(text),
            Cow::Owned(text) => Self::from(text),
        }
    }
}

impl TryFrom<Bytes> for Text {
    type Error = InvalidUtf8;

    fn try_from(bytes: Bytes) -> Result<Self, InvalidUtf8> {
        if is_utf8(&bytes) {
            Ok(Self(bytes))
        } else {
            Err(InvalidUtf8)
        }
    }
}

impl TryFrom<Vec<u8>> for Text {
    type Error = InvalidUtf8;

    fn try_from(bytes: Vec<u8>) -> Result<Self, InvalidUtf8> {
        Self::try_from(Bytes::from(bytes))
    }
}

impl From<Text> for Bytes {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, panic::catch_unwind};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn clones_slices_and_bytes_share_one_buffer() {
        let text = Text::from(String::from("a long way"));
        let start = text.as_ptr();
        assert_eq!(text.clone().as_ptr(), start);
        assert_eq!(text.slice(2..6).as_ptr(), start.wrapping_add(2));
        assert_eq!(text.into_bytes().as_ptr(), start);

        let literal = "never copied";
        const TEXT: Text = Text::from_static("never copied");
        assert_eq!(TEXT, literal);
        assert_eq!(Text::from_static(literal).as_ptr(), literal.as_ptr());
    }

    #[test]
    fn a_slice_that_a_string_would_refuse_panics() {
        let text = Text::from("grün");
        assert_eq!(text.slice(..2), "gr");
        assert_eq!(text.slice(2..=3), "ü");
        assert_eq!(text.slice(..), "grün");
        assert_eq!(text.slice(5..), "");
        assert!(catch_unwind(|| text.slice(3..)).is_err());
        assert!(catch_unwind(|| text.slice(..3)).is_err());
        assert!(catch_unwind(|| text.slice(6..)).is_err());
        #[expect(clippy::reversed_empty_ranges)]
        let backwards = catch_unwind(|| text.slice(2..1));
        assert!(backwards.is_err());
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        assert_eq!(
            Text::try_from(Bytes::from_static(b"\xc3")),
            Err(InvalidUtf8)
        );
        assert_eq!(Text::try_from(vec![b'a', 0xff]), Err(InvalidUtf8));
        assert_eq!(Text::try_from("grün".as_bytes().to_vec()).unwrap(), "grün");
    }

    #[test]
    fn a_text_is_made_of_all_that_is_a_string() {
        let string = String::from("grün");
        for text in [
            Text::from("grün"),
            Text::from(string.clone()),
            Text::from(&string),
            Text::from(string.clone().into_boxed_str()),
            Text::from(Cow::Borrowed("grün")),
            Text::from(Cow::<str>::Owned(string.clone())),
        ] {
            assert_eq!(text, "grün");
            assert_eq!(text, *"grün");
            assert_eq!(text, string);
            assert_eq!(format!("{text} {text:?} {text:>5}"), "grün \"grün\"  grün");
            assert_eq!(String::from(text.clone()), string);
            assert_eq!(Bytes::from(text), string.as_bytes());
        }
        assert_eq!(Text::default(), "");
    }

    proptest! {
        #[test]
        fn texts_compare_order_and_hash_as_strings(a: String, b: String) {
            let (x, y) = (Text::from(&a), Text::from(&b));
            prop_assert_eq!(x == y, a == b);
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            let set = HashSet::from([x]);
            prop_assert!(set.contains(a.as_str()));
            prop_assert_eq!(set.contains(b.as_str()), a == b);
        }
    }
}
