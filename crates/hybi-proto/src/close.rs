//! The payload of a close frame: a code and a reason (RFC 6455 §5.5.1).
//!
//! Decodes what a peer sent and encodes what this endpoint says. It knows no frame header and
//! no mask, and does not remember that a connection is closing: decoder, encoder and connection
//! do.

use std::{error, fmt, ops::Deref};

use bytes::Bytes;

use crate::{code::CloseCode, text::Text, utf8::InvalidUtf8};

/// The most bytes that the payload of a close frame has, as of any control frame.
pub const MAX_PAYLOAD: usize = 125;

/// The most bytes that a reason has: what the code leaves of the payload.
pub const MAX_REASON: usize = MAX_PAYLOAD - 2;

/// What a close frame says: why, as a number, and perhaps in words.
///
/// A close frame may also say nothing at all; where that can be, an `Option<Close>` stands.
///
/// ```
/// use hybi_proto::{close::Close, code::CloseCode};
///
/// let close = Close::new(CloseCode::GOING_AWAY, "back in a minute")?;
/// let mut room = [0; 125];
/// assert_eq!(Close::decode(close.encode(&mut room)), Ok(Some(close)));
/// # Ok::<(), hybi_proto::close::CloseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Close {
    /// Why. [`new`](Self::new) and [`decode`](Self::decode) let only codes pass that may be sent.
    pub code: CloseCode,
    /// The words, for a person who debugs; often empty.
    pub reason: Reason,
}

impl Close {
    /// A close with this code and reason (`""` for none).
    ///
    /// # Errors
    ///
    /// [`CloseError::Code`] for a code that may not be sent, [`CloseError::Reason`] for a reason
    /// of more than 123 bytes. A long reason is never cut.
    pub fn new(code: CloseCode, reason: impl Into<Text>) -> Result<Self, CloseError> {
        if !code.is_allowed_on_wire() {
            return Err(CloseError::Code(code));
        }
        Ok(Self {
            code,
            reason: Reason::new(reason)?,
        })
    }

    /// The meaning of a close frame's whole payload, unmasked; `None` if it is empty.
    ///
    /// # Errors
    ///
    /// A [`Fault`], whose code the peer must be told.
    pub fn decode(payload: &[u8]) -> Result<Option<Self>, Fault> {
        let (number, reason) = match payload {
            [] => return Ok(None),
            // §5.5: all control frames MUST have a payload length of 125 bytes or less.
            _ if payload.len() > MAX_PAYLOAD => return Err(Fault::Length),
            // §5.5.1: if there is a body, the first two bytes of the body MUST be a 2-byte
            // unsigned integer (in network byte order) representing a status code.
            [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
            [_] => return Err(Fault::Length),
        };
        let code = CloseCode::new(number);
        if !code.is_allowed_on_wire() {
            return Err(Fault::Code(number));
        }
        // §5.5.1: following the 2-byte integer, the body MAY contain UTF-8-encoded data.
        let reason = Text::try_from(Bytes::copy_from_slice(reason))?;
        Ok(Some(Self {
            code,
            reason: Reason(reason),
        }))
    }

    /// Writes the payload into `room` and returns the part of it that is used.
    ///
    /// The code is written as it stands.
    pub fn encode<'room>(&self, room: &'room mut [u8; MAX_PAYLOAD]) -> &'room [u8] {
        let (code, rest) = room.split_at_mut(2);
        code.copy_from_slice(&self.code.as_u16().to_be_bytes());
        let reason = self.reason.as_bytes();
        rest[..reason.len()].copy_from_slice(reason);
        &room[..2 + reason.len()]
    }
}

/// The reason of a close: a [`Text`] of at most 123 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reason(Text);

impl Reason {
    /// A reason with these words.
    ///
    /// # Errors
    ///
    /// [`CloseError::Reason`] for more than 123 bytes.
    pub fn new(reason: impl Into<Text>) -> Result<Self, CloseError> {
        let reason = reason.into();
        if reason.len() > MAX_REASON {
            Err(CloseError::Reason(reason.len()))
        } else {
            Ok(Self(reason))
        }
    }

    /// The reason as a string slice.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The reason as a text, without a copy.
    #[must_use]
    pub fn into_text(self) -> Text {
        self.0
    }
}

impl Deref for Reason {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Reason {
    fn as_ref(&self) -> &str {
        self
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq<str> for Reason {
    fn eq(&self, other: &str) -> bool {
        self.0 == *other
    }
}

impl PartialEq<&str> for Reason {
    fn eq(&self, other: &&str) -> bool {
        self.0 == **other
    }
}

impl From<Reason> for Text {
    fn from(reason: Reason) -> Self {
        reason.0
    }
}

/// Why a [`Close`] cannot be made: the caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseError {
    /// The code may not stand in a close frame (RFC 6455 §7.4).
    Code(CloseCode),
    /// The reason has so many bytes, which is more than 123 (RFC 6455 §5.5).
    Reason(usize),
}

impl fmt::Display for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(
                f,
                "close code {code} may not be sent: use 1000-1003, 1007-1014 or 3000-4999"
            ),
            Self::Reason(len) => {
                write!(
                    f,
                    "close reason of {len} bytes: shorten it to {MAX_REASON} bytes of UTF-8"
                )
            }
        }
    }
}

impl error::Error for CloseError {}

/// What is wrong with the payload of a close frame: the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// One byte, which is half a code, or more than 125.
    Length,
    /// A code that may not stand in a close frame.
    Code(u16),
    /// A reason that is not UTF-8.
    Utf8,
}

impl Fault {
    /// The code that the connection must be closed with: 1007 for [`Fault::Utf8`], else 1002.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::Utf8 => CloseCode::INVALID_DATA,
            Self::Length | Self::Code(_) => CloseCode::PROTOCOL,
        }
    }
}

impl From<InvalidUtf8> for Fault {
    fn from(_: InvalidUtf8) -> Self {
        Self::Utf8
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => f.write_str("close payload must be empty or have 2 to 125 bytes"),
            Self::Code(code) => write!(f, "close code {code} may not stand in a close frame"),
            Self::Utf8 => f.write_str("close reason is not valid UTF-8"),
        }
    }
}

impl error::Error for Fault {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_payload_says_nothing() {
        assert_eq!(Close::decode(b""), Ok(None));
    }

    #[test]
    fn half_a_code_and_more_than_a_control_frame_holds_are_refused() {
        assert_eq!(Close::decode(&[3]), Err(Fault::Length));
        let mut payload = vec![b'a'; 126];
        payload[..2].copy_from_slice(&[3, 232]);
        assert_eq!(Close::decode(&payload), Err(Fault::Length));
        assert_eq!(
            Close::decode(&payload[..125])
                .unwrap()
                .unwrap()
                .reason
                .len(),
            123
        );
    }

    #[test]
    fn a_code_that_may_not_be_sent_is_refused_before_the_reason_is_looked_at() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535_u16] {
            let [high, low] = code.to_be_bytes();
            assert_eq!(Close::decode(&[high, low, 0xff]), Err(Fault::Code(code)));
        }
        assert_eq!(Fault::Code(1005).close_code(), CloseCode::PROTOCOL);
        assert_eq!(Fault::Length.close_code(), CloseCode::PROTOCOL);
    }

    #[test]
    fn a_reason_that_is_not_utf8_is_refused_with_1007() {
        for reason in [&b"\xff"[..], b"\xc3", b"fine \xed\xa0\x80"] {
            let fault = Close::decode(&[&[3, 232], reason].concat()).unwrap_err();
            assert_eq!(
                (fault, fault.close_code()),
                (Fault::Utf8, CloseCode::INVALID_DATA)
            );
        }
    }

    #[test]
    fn a_long_reason_is_an_error_and_never_cut() {
        assert!(Close::new(CloseCode::NORMAL, "a".repeat(123)).is_ok());
        let long = Close::new(CloseCode::NORMAL, "ü".repeat(62));
        assert_eq!(long, Err(CloseError::Reason(124)));
    }

    #[test]
    fn a_code_that_may_not_be_sent_makes_no_close() {
        let refused = Close::new(CloseCode::NO_STATUS, "");
        assert_eq!(refused, Err(CloseError::Code(CloseCode::NO_STATUS)));
    }

    #[test]
    fn the_code_goes_first_and_the_high_byte_before_the_low() {
        let close = Close::new(CloseCode::GOING_AWAY, "bye").unwrap();
        assert_eq!(close.encode(&mut [0xee; MAX_PAYLOAD]), b"\x03\xe9bye");
        let silent = Close::new(CloseCode::NORMAL, "").unwrap();
        assert_eq!(silent.encode(&mut [0xee; MAX_PAYLOAD]), b"\x03\xe8");
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_again(code: u16, reason in "\\PC{0,130}") {
            if let Ok(close) = Close::new(CloseCode::new(code), reason) {
                let mut room = [0; MAX_PAYLOAD];
                prop_assert_eq!(Close::decode(close.encode(&mut room)), Ok(Some(close)));
            }
        }

        #[test]
        fn what_is_decoded_is_encoded_as_it_came(
            code in prop_oneof![1000..=1014_u16, 2999..=5000_u16],
            reason in prop_oneof![any::<Vec<u8>>(), "\\PC{0,40}".prop_map(String::into_bytes)],
        ) {
            let payload = [&code.to_be_bytes()[..], &reason].concat();
            if let Ok(Some(close)) = Close::decode(&payload) {
                let mut room = [0; MAX_PAYLOAD];
                prop_assert_eq!(close.encode(&mut room), payload);
            }
        }
    }
}
