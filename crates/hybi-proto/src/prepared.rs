//! A message that is framed once and sent to many.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::deflate::{self, Config, MAX_BITS, MIN_BITS};
use crate::frame::{Header, MAX_HEADER, Opcode, RSV1};
use crate::message::{Kind, Message};
use crate::text::Text;

/// A message that is framed once, for many connections. Cloning one shares it.
///
/// A server links or copies the frame as it is; a client has to mask it for each connection
/// (RFC 6455 §5.3). Where messages are compressed, it is compressed once for each size of the
/// window, when it is first sent with that.
///
/// ```
/// use hybi_proto::prepared::Prepared;
/// let prepared = Prepared::text("to everyone");
/// assert_eq!(prepared.message(), &"to everyone".into());
/// ```
#[derive(Clone, Debug)]
pub struct Prepared(Arc<Framed>);

#[derive(Debug)]
struct Framed {
    /// Shares the bytes of `plain`.
    message: Message,
    /// The one frame that it is.
    plain: Frame,
    /// The same compressed, for each size of the window, from the smallest on.
    compressed: OnceLock<Box<[OnceLock<Frame>; SIZES]>>,
}

/// An unmasked frame.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    header: usize,
}

/// The number of sizes that a window may have.
const SIZES: usize = (MAX_BITS - MIN_BITS + 1) as usize;

impl Frame {
    fn new(kind: Kind, rsv: u8, payload: &[u8]) -> Self {
        let header = Header {
            fin: true,
            rsv,
            opcode: Opcode::from(kind),
            mask: None,
            len: payload.len() as u64,
        };
        let (header, size) = header.encode();
        let mut bytes = Vec::with_capacity(MAX_HEADER + payload.len());
        bytes.extend_from_slice(&header[..size]);
        bytes.extend_from_slice(payload);
        Self {
            bytes: bytes.into(),
            header: size,
        }
    }

    pub(crate) fn payload(&self) -> Bytes {
        self.bytes.slice(self.header..)
    }
}

impl Prepared {
    /// Prepares a message.
    pub fn new(message: impl Into<Message>) -> Self {
        let message = message.into();
        let plain = Frame::new(message.kind(), 0, message.as_bytes());
        let shared = plain.bytes.slice(plain.header..);
        let message = match message {
            Message::Binary(_) => Message::Binary(shared),
            Message::Text(text) => Text::try_from(shared).map_or(text.into(), Message::Text),
        };
        Self(Arc::new(Framed {
            message,
            plain,
            compressed: OnceLock::new(),
        }))
    }

    /// Prepares a text message.
    pub fn text(text: impl Into<Text>) -> Self {
        Self::new(text.into())
    }

    /// Prepares a binary message.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::new(bytes.into())
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.0.message
    }

    /// Whether it is text or binary.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.message().kind()
    }

    /// The frame of an endpoint that does not compress.
    pub(crate) fn frame(&self) -> &Frame {
        &self.0.plain
    }

    /// The frame for a peer with such a window, compressed by itself. It is made when it is first
    /// asked for, with the level that is asked for then.
    pub(crate) fn compressed(&self, config: Config) -> &Frame {
        self.slot(config).get_or_init(|| {
            deflate::with_room(|room| {
                deflate::alone(config, self.message().as_bytes(), room);
                Frame::new(self.kind(), RSV1, room)
            })
        })
    }

    /// Whether [`compressed`](Self::compressed) has been asked for this before.
    pub(crate) fn is_compressed(&self, config: Config) -> bool {
        self.slot(config).get().is_some()
    }

    fn slot(&self, config: Config) -> &OnceLock<Frame> {
        let slots = self.0.compressed.get_or_init(Box::default);
        let at = usize::from(config.bits().saturating_sub(MIN_BITS));
        &slots[at.min(SIZES - 1)]
    }
}

impl<T: Into<Message>> From<T> for Prepared {
    fn from(message: T) -> Self {
        Self::new(message)
    }
}

impl From<&Prepared> for Prepared {
    fn from(prepared: &Prepared) -> Self {
        prepared.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prepared_message_holds_its_payload_once() {
        let prepared = Prepared::text("hello");
        assert_eq!(prepared.frame().bytes[..], *b"\x81\x05hello");
        let payload = prepared.message().as_bytes().as_ptr();
        assert_eq!(payload, prepared.frame().payload().as_ptr());
    }
}
