//! Errors by fault: what the peer broke, and what the caller asked for that cannot be.

use std::fmt;

use crate::code::CloseCode;

/// The rule of RFC 6455, or the limit of ours, that the peer broke.
///
/// The connection answers it with a close frame that carries [`close_code`](Self::close_code)
/// and takes nothing more from the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// RSV1 is set, and no extension that was agreed on gives it a meaning (§5.2).
    Rsv1,
    /// RSV2 or RSV3 is set, and no extension that was agreed on gives it a meaning (§5.2).
    Rsv2Or3,
    /// A reserved opcode (§5.2).
    Opcode(u8),
    /// A continuation frame with no message to continue (§5.4).
    LoneContinuation,
    /// A new message before the last fragment of the one in progress (§5.4).
    InterruptedMessage,
    /// A control frame that is not final (§5.5).
    FragmentedControl,
    /// A control frame of more than 125 bytes (§5.5).
    ControlTooLong,
    /// The payload of a close frame has one byte, too few for a code (§5.5.1).
    CloseTooShort,
    /// A close code that must not appear in a frame (§7.4).
    CloseCode(u16),
    /// A frame from a client without a mask (§5.1).
    Unmasked,
    /// A frame from a server with a mask (§5.1).
    Masked,
    /// A payload length in more bytes than it needs (§5.2).
    LengthNotMinimal,
    /// A 64-bit payload length with its top bit set (§5.2).
    LengthTopBit,
    /// Text or a close reason that is not UTF-8 (§8.1).
    InvalidUtf8,
    /// A message larger than [`Limits::message`](crate::limits::Limits::message).
    MessageTooBig {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A message in more frames than [`Limits::fragments`](crate::limits::Limits::fragments).
    TooManyFragments {
        /// The limit, in frames.
        limit: u32,
    },
    /// A compressed message that is not deflate (RFC 7692 §7.2.2).
    InvalidDeflate,
    /// A message that inflates to more than [`Deflate::max_ratio`](crate::deflate::Deflate::max_ratio) allows.
    InflatesTooMuch {
        /// The limit, in bytes that one byte becomes.
        ratio: u32,
    },
    /// A message was begun, and for too long no byte of it came.
    MessageStalled,
}

impl ProtocolError {
    /// The code of the close frame that answers this fault.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::InvalidUtf8 | Self::InvalidDeflate => CloseCode::INVALID_DATA,
            Self::MessageTooBig { .. } | Self::InflatesTooMuch { .. } => CloseCode::TOO_BIG,
            Self::TooManyFragments { .. } | Self::MessageStalled => CloseCode::POLICY,
            _ => CloseCode::PROTOCOL,
        }
    }

    /// The name of this fault in Node's `ws`; where `ws` has none, one in its manner.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rsv1 => "WS_ERR_UNEXPECTED_RSV_1",
            Self::Rsv2Or3 => "WS_ERR_UNEXPECTED_RSV_2_3",
            Self::Opcode(_) | Self::LoneContinuation | Self::InterruptedMessage => {
                "WS_ERR_INVALID_OPCODE"
            }
            Self::FragmentedControl => "WS_ERR_EXPECTED_FIN",
            Self::ControlTooLong | Self::CloseTooShort => "WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH",
            Self::CloseCode(_) => "WS_ERR_INVALID_CLOSE_CODE",
            Self::Unmasked => "WS_ERR_EXPECTED_MASK",
            Self::Masked => "WS_ERR_UNEXPECTED_MASK",
            Self::LengthNotMinimal => "WS_ERR_NON_MINIMAL_PAYLOAD_LENGTH",
            Self::LengthTopBit => "WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH",
            Self::InvalidUtf8 => "WS_ERR_INVALID_UTF8",
            Self::MessageTooBig { .. } => "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH",
            Self::TooManyFragments { .. } => "WS_ERR_TOO_MANY_BUFFERED_PARTS",
            Self::InvalidDeflate => "WS_ERR_INVALID_DEFLATE",
            Self::InflatesTooMuch { .. } => "WS_ERR_UNSUPPORTED_INFLATE_RATIO",
            Self::MessageStalled => "WS_ERR_MESSAGE_STALLED",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the peer ")?;
        match self {
            Self::Rsv1 => f.write_str("set RSV1 in a frame, which nothing agreed on allows"),
            Self::Rsv2Or3 => {
                f.write_str("set RSV2 or RSV3 in a frame, which nothing agreed on allows")
            }
            Self::Opcode(code) => write!(f, "sent the reserved opcode {code:#x}"),
            Self::LoneContinuation => {
                f.write_str("sent a continuation frame with no message to continue")
            }
            Self::InterruptedMessage => {
                f.write_str("began a message before it had finished the last one")
            }
            Self::FragmentedControl => f.write_str("fragmented a control frame"),
            Self::ControlTooLong => f.write_str("sent a control frame of more than 125 bytes"),
            Self::CloseTooShort => f.write_str("sent a close frame with a payload of one byte"),
            Self::CloseCode(code) => write!(f, "closed with {code}, which no frame may carry"),
            Self::Unmasked => f.write_str("is a client and sent a frame that is not masked"),
            Self::Masked => f.write_str("is a server and sent a masked frame"),
            Self::LengthNotMinimal => f.write_str("sent a length in more bytes than it needs"),
            Self::LengthTopBit => f.write_str("sent a length with the top bit set"),
            Self::InvalidUtf8 => f.write_str("sent text that is not UTF-8"),
            Self::MessageTooBig { limit } => {
                write!(f, "sent a message above the limit of {limit} bytes")
            }
            Self::TooManyFragments { limit } => {
                write!(f, "sent a message in more than {limit} fragments")
            }
            Self::InvalidDeflate => f.write_str("sent a compressed message that is not deflate"),
            Self::InflatesTooMuch { ratio } => {
                write!(
                    f,
                    "sent a message that inflates to more than {ratio} times its size"
                )
            }
            Self::MessageStalled => f.write_str("stopped in the middle of a message"),
        }
    }
}

impl std::error::Error for ProtocolError {}

/// Why a close cannot be made: the caller's fault.
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
                    "close reason of {len} bytes: shorten it to 123 bytes of UTF-8"
                )
            }
        }
    }
}

impl std::error::Error for CloseError {}

/// Why a message, a ping, a pong or a close was not queued. Nothing of it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The backlog is full: drain the outbox, then try again.
    Full,
    /// The closing handshake has begun: nothing may follow a close frame (§5.5.1).
    Closed,
    /// The payload of a ping or a pong is longer than 125 bytes (§5.5).
    ControlTooLong,
    /// A part of a text message does not continue it as UTF-8, or it ends inside a character (§5.6).
    InvalidUtf8,
    /// A close code or reason that cannot be sent.
    Close(CloseError),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the backlog is full; flush, or wait, before sending more"),
            Self::Closed => f.write_str("the connection is closing; nothing more can be sent"),
            Self::ControlTooLong => {
                f.write_str("the payload of a ping or a pong is at most 125 bytes")
            }
            Self::InvalidUtf8 => f.write_str("the parts of a text message are not UTF-8"),
            Self::Close(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SendError {}

impl From<CloseError> for SendError {
    fn from(error: CloseError) -> Self {
        Self::Close(error)
    }
}

#[cfg(test)]
mod tests {
    use super::ProtocolError::{self, *};

    /// What follows in the table; a new variant does not compile until it has its place.
    fn after(error: ProtocolError) -> Option<ProtocolError> {
        Some(match error {
            Rsv1 => Rsv2Or3,
            Rsv2Or3 => Opcode(11),
            Opcode(_) => LoneContinuation,
            LoneContinuation => InterruptedMessage,
            InterruptedMessage => FragmentedControl,
            FragmentedControl => ControlTooLong,
            ControlTooLong => CloseTooShort,
            CloseTooShort => CloseCode(1005),
            CloseCode(_) => Unmasked,
            Unmasked => Masked,
            Masked => LengthNotMinimal,
            LengthNotMinimal => LengthTopBit,
            LengthTopBit => InvalidUtf8,
            InvalidUtf8 => MessageTooBig { limit: 5 },
            MessageTooBig { .. } => TooManyFragments { limit: 3 },
            TooManyFragments { .. } => InvalidDeflate,
            InvalidDeflate => InflatesTooMuch { ratio: 20 },
            InflatesTooMuch { .. } => MessageStalled,
            MessageStalled => return None,
        })
    }

    #[test]
    fn every_fault_has_its_close_code_and_its_name() {
        let table = [
            (1002, "WS_ERR_UNEXPECTED_RSV_1"),
            (1002, "WS_ERR_UNEXPECTED_RSV_2_3"),
            (1002, "WS_ERR_INVALID_OPCODE"),
            (1002, "WS_ERR_INVALID_OPCODE"),
            (1002, "WS_ERR_INVALID_OPCODE"),
            (1002, "WS_ERR_EXPECTED_FIN"),
            (1002, "WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH"),
            (1002, "WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH"),
            (1002, "WS_ERR_INVALID_CLOSE_CODE"),
            (1002, "WS_ERR_EXPECTED_MASK"),
            (1002, "WS_ERR_UNEXPECTED_MASK"),
            (1002, "WS_ERR_NON_MINIMAL_PAYLOAD_LENGTH"),
            (1002, "WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH"),
            (1007, "WS_ERR_INVALID_UTF8"),
            (1009, "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH"),
            (1008, "WS_ERR_TOO_MANY_BUFFERED_PARTS"),
            (1007, "WS_ERR_INVALID_DEFLATE"),
            (1009, "WS_ERR_UNSUPPORTED_INFLATE_RATIO"),
            (1008, "WS_ERR_MESSAGE_STALLED"),
        ];
        let all: Vec<_> = std::iter::successors(Some(Rsv1), |&error| after(error)).collect();
        let found: Vec<_> = all
            .iter()
            .map(|error| (error.close_code().as_u16(), error.name()))
            .collect();
        assert_eq!(found, table);
        for error in &all {
            assert!(error.close_code().is_allowed_on_wire());
            assert!(error.to_string().starts_with("the peer "));
        }
    }
}
