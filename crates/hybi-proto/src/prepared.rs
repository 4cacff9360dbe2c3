//! A message that is framed once and sent to many.

use std::sync::Arc;

use bytes::Bytes;

use crate::frame::{Header, MAX_HEADER, Opcode};
use crate::message::{Kind, Message};
use crate::text::Text;

/// A message that is framed once, for many connections. Cloning one shares it.
///
/// A server links or copies the frame as it is; a client has to mask it for each connection
/// (RFC 6455 §5.3).
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
    /// Shares the bytes of `frame`.
    message: Message,
    /// The one unmasked frame that it is.
    frame: Bytes,
}

impl Prepared {
    /// Prepares a message.
    pub fn new(message: impl Into<Message>) -> Self {
        let message = message.into();
        let header = Header {
            fin: true,
            rsv: 0,
            opcode: Opcode::from(message.kind()),
            mask: None,
            len: message.len() as u64,
        };
        let (header, size) = header.encode();
        let mut frame = Vec::with_capacity(MAX_HEADER + message.len());
        frame.extend_from_slice(&header[..size]);
        frame.extend_from_slice(message.as_bytes());
        let frame = Bytes::from(frame);
        let shared = frame.slice(size..);
        let message = match message {
            Message::Binary(_) => Message::Binary(shared),
            Message::Text(text) => Text::try_from(shared).map_or(text.into(), Message::Text),
        };
        Self(Arc::new(Framed { message, frame }))
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

    /// The frame of an endpoint that does not mask.
    pub(crate) fn frame(&self) -> &Bytes {
        &self.0.frame
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
        assert_eq!(prepared.frame()[..], *b"\x81\x05hello");
        let payload = prepared.message().as_bytes().as_ptr();
        assert_eq!(payload, prepared.frame()[2..].as_ptr());
    }
}
