//! One frame, as a test writes and reads it.

use bytes::Bytes;
use hybi_proto::close::{self, Close};
use hybi_proto::code::CloseCode;
use hybi_proto::frame::Header;
pub use hybi_proto::frame::Opcode;
use hybi_proto::mask::Mask;
use hybi_proto::text::Text;

/// A frame (RFC 6455 §5.2), whether it breaks a rule or not.
///
/// ```
/// use hybi::test::Frame;
///
/// assert_eq!(Frame::text("Hello").encode(None), b"\x81\x05Hello");
/// assert_eq!(Frame::text("Hel").unfinished().encode(None), b"\x01\x03Hel");
/// // §5.7: a single-frame masked text message.
/// let masked = Frame::text("Hello").encode(Some([0x37, 0xfa, 0x21, 0x3d]));
/// assert_eq!(masked, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// Whether this is the last fragment of its message.
    pub fin: bool,
    /// The three reserved bits, RSV1 the highest.
    pub rsv: u8,
    /// What the frame is.
    pub opcode: Opcode,
    /// The payload, unmasked.
    pub payload: Bytes,
}

impl Frame {
    /// A final frame.
    #[must_use]
    pub fn new(opcode: Opcode, payload: impl AsRef<[u8]>) -> Self {
        Self {
            fin: true,
            rsv: 0,
            opcode,
            payload: Bytes::copy_from_slice(payload.as_ref()),
        }
    }

    /// A text message, or with [`unfinished`](Self::unfinished) its first fragment.
    #[must_use]
    pub fn text(payload: impl AsRef<[u8]>) -> Self {
        Self::new(Opcode::Text, payload)
    }

    /// A binary message, or with [`unfinished`](Self::unfinished) its first fragment.
    #[must_use]
    pub fn binary(payload: impl AsRef<[u8]>) -> Self {
        Self::new(Opcode::Binary, payload)
    }

    /// The last fragment of a message, or with [`unfinished`](Self::unfinished) one before it.
    #[must_use]
    pub fn continuation(payload: impl AsRef<[u8]>) -> Self {
        Self::new(Opcode::Continuation, payload)
    }

    /// A ping.
    #[must_use]
    pub fn ping(payload: impl AsRef<[u8]>) -> Self {
        Self::new(Opcode::Ping, payload)
    }

    /// A pong.
    #[must_use]
    pub fn pong(payload: impl AsRef<[u8]>) -> Self {
        Self::new(Opcode::Pong, payload)
    }

    /// A close frame, with any code and any reason.
    #[must_use]
    pub fn close(code: impl Into<CloseCode>, reason: &str) -> Self {
        let code = code.into().as_u16().to_be_bytes();
        Self::new(Opcode::Close, [&code, reason.as_bytes()].concat())
    }

    /// The same frame, but not the last of its message.
    #[must_use]
    pub fn unfinished(mut self) -> Self {
        self.fin = false;
        self
    }

    /// The code and the reason, if this is a close frame that holds a valid code.
    #[must_use]
    pub fn close_reason(&self) -> Option<(CloseCode, Text)> {
        if self.opcode != Opcode::Close || self.payload.len() > close::MAX_PAYLOAD {
            return None;
        }
        let close = Close::decode(&self.payload).ok()??;
        Some((close.code(), close.reason().clone()))
    }

    /// The bytes of the frame, masked with this key if there is one.
    #[must_use]
    pub fn encode(&self, key: Option<[u8; 4]>) -> Vec<u8> {
        let header = Header {
            fin: self.fin,
            rsv: self.rsv,
            opcode: self.opcode,
            mask: key.map(Mask::new),
            len: self.payload.len() as u64,
        };
        let (head, size) = header.encode();
        let mut bytes = head[..size].to_vec();
        match header.mask {
            Some(mut mask) => mask.apply_to(&self.payload, &mut bytes),
            None => bytes.extend_from_slice(&self.payload),
        }
        bytes
    }

    /// The frame at the front of `bytes`, unmasked, and how long it is; `None` if it is not
    /// wholly there, or is none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let (header, size) = Header::decode(bytes).ok()??;
        let end = size.checked_add(usize::try_from(header.len).ok()?)?;
        let mut payload = bytes.get(size..end)?.to_vec();
        if let Some(mut mask) = header.mask {
            mask.apply(&mut payload);
        }
        let frame = Self {
            fin: header.fin,
            rsv: header.rsv,
            opcode: header.opcode,
            payload: payload.into(),
        };
        Some((frame, end))
    }

    /// All the frames in `bytes`; what is behind the last whole one is left out.
    #[must_use]
    pub fn decode_all(mut bytes: &[u8]) -> Vec<Self> {
        let mut frames = Vec::new();
        while let Some((frame, end)) = Self::decode(bytes) {
            frames.push(frame);
            bytes = &bytes[end..];
        }
        frames
    }
}
