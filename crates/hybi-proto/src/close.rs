//! The payload of a close frame: a code and a reason (RFC 6455 §5.5.1), and how a connection ended.
//!
//! Decodes what a peer sent and encodes what this endpoint says. It knows no frame header and
//! no mask, and does not remember that a connection is closing: decoder, encoder and connection
//! do.

use bytes::Bytes;

use crate::code::CloseCode;
use crate::error::{CloseError, ProtocolError};
use crate::text::Text;

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
/// # Ok::<(), hybi_proto::error::CloseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Close {
    code: CloseCode,
    reason: Text,
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
        let reason = reason.into();
        if reason.len() > MAX_REASON {
            return Err(CloseError::Reason(reason.len()));
        }
        Ok(Self { code, reason })
    }

    /// Why: a code that may stand in a frame.
    #[must_use]
    pub const fn code(&self) -> CloseCode {
        self.code
    }

    /// The words, for a person who debugs; often empty, at most 123 bytes.
    #[must_use]
    pub const fn reason(&self) -> &Text {
        &self.reason
    }

    /// The meaning of a close frame's whole payload, unmasked; `None` if it is empty.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::CloseTooShort`], [`ControlTooLong`](ProtocolError::ControlTooLong),
    /// [`CloseCode`](ProtocolError::CloseCode) or [`InvalidUtf8`](ProtocolError::InvalidUtf8).
    pub fn decode(payload: &[u8]) -> Result<Option<Self>, ProtocolError> {
        let (number, reason) = match payload {
            [] => return Ok(None),
            // §5.5: all control frames MUST have a payload length of 125 bytes or less.
            _ if payload.len() > MAX_PAYLOAD => return Err(ProtocolError::ControlTooLong),
            // §5.5.1: if there is a body, the first two bytes of the body MUST be a 2-byte
            // unsigned integer (in network byte order) representing a status code.
            [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
            [_] => return Err(ProtocolError::CloseTooShort),
        };
        let code = CloseCode::new(number);
        if !code.is_allowed_on_wire() {
            return Err(ProtocolError::CloseCode(number));
        }
        // §5.5.1: following the 2-byte integer, the body MAY contain UTF-8-encoded data.
        let reason = Text::try_from(Bytes::copy_from_slice(reason));
        let reason = reason.map_err(|_| ProtocolError::InvalidUtf8)?;
        Ok(Some(Self { code, reason }))
    }

    /// Writes the payload into `room` and returns the part of it that is used.
    #[must_use]
    pub fn encode<'room>(&self, room: &'room mut [u8; MAX_PAYLOAD]) -> &'room [u8] {
        let (code, rest) = room.split_at_mut(2);
        code.copy_from_slice(&self.code.as_u16().to_be_bytes());
        let reason = self.reason.as_str().as_bytes();
        rest[..reason.len()].copy_from_slice(reason);
        &room[..2 + reason.len()]
    }
}

/// Who began to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Initiator {
    /// This end.
    Local,
    /// The peer.
    Peer,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseInfo {
    /// The code of the peer's close frame; [`CloseCode::NO_STATUS`] if it had none,
    /// [`CloseCode::ABNORMAL`] if there was no close frame (RFC 6455 §7.1.5). After a violation
    /// by the peer, the code that answers it.
    pub code: CloseCode,
    /// The reason beside the code.
    pub reason: Text,
    /// Who began to close.
    pub initiator: Initiator,
    /// Whether both close frames have passed (§7.1.4).
    pub clean: bool,
}

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
        assert_eq!(Close::decode(&[3]), Err(ProtocolError::CloseTooShort));
        let mut payload = vec![b'a'; 126];
        payload[..2].copy_from_slice(&[3, 232]);
        assert_eq!(Close::decode(&payload), Err(ProtocolError::ControlTooLong));
        assert_eq!(
            Close::decode(&payload[..125])
                .unwrap()
                .unwrap()
                .reason()
                .len(),
            123
        );
    }

    #[test]
    fn a_code_that_may_not_be_sent_is_refused_before_the_reason_is_looked_at() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535_u16] {
            let [high, low] = code.to_be_bytes();
            assert_eq!(
                Close::decode(&[high, low, 0xff]),
                Err(ProtocolError::CloseCode(code))
            );
        }
    }

    #[test]
    fn a_reason_that_is_not_utf8_is_refused_with_1007() {
        for reason in [&b"\xff"[..], b"\xc3", b"fine \xed\xa0\x80"] {
            let fault = Close::decode(&[&[3, 232], reason].concat()).unwrap_err();
            assert_eq!(
                (fault, fault.close_code()),
                (ProtocolError::InvalidUtf8, CloseCode::INVALID_DATA)
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
