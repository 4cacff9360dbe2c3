//! What travels over a connection: messages, and the events around them.
//!
//! Each comes in two forms. The owned one can be kept; the borrowed one is a view into the read
//! buffer, valid until the connection is used again.

use bytes::Bytes;

use crate::close::Close;
use crate::text::Text;

/// Whether a message is text or binary (RFC 6455 §5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// Arbitrary bytes.
    Binary,
}

/// A whole message. Cloning one shares its payload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// UTF-8 text.
    Text(Text),
    /// Arbitrary bytes.
    Binary(Bytes),
}

impl Message {
    /// Whether this is text or binary.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Binary(_) => Kind::Binary,
        }
    }

    /// The payload.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_str().as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The payload as text, if this is a text message.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.as_str()),
            Self::Binary(_) => None,
        }
    }

    /// The payload, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The same bytes as `part`, without a copy, if it lies in the payload of this message.
    ///
    /// They keep the whole payload alive.
    ///
    /// ```
    /// use hybi_proto::message::Message;
    ///
    /// let message = Message::from("a long way");
    /// let part = &message.as_text().unwrap_or_default()[2..6];
    /// assert_eq!(message.share(part.into()), Some("long".into()));
    /// assert_eq!(message.share("long".into()), None);
    /// ```
    #[must_use]
    pub fn share(&self, part: MessageRef<'_>) -> Option<Self> {
        let whole = match self {
            Self::Text(text) => text.as_shared(),
            Self::Binary(bytes) => bytes,
        };
        let (around, within) = (whole.as_ptr_range(), part.as_bytes().as_ptr_range());
        if within.start < around.start || within.end > around.end {
            return None;
        }
        Some(match part {
            MessageRef::Text(text) => Self::Text(Text::share(whole, text)),
            MessageRef::Binary(bytes) => Self::Binary(whole.slice_ref(bytes)),
        })
    }

    /// The length of the payload in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the payload is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }
}

impl From<Text> for Message {
    fn from(text: Text) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<&String> for Message {
    fn from(text: &String) -> Self {
        Self::Text(text.as_str().into())
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

impl From<&[u8]> for Message {
    fn from(bytes: &[u8]) -> Self {
        Self::Binary(Bytes::copy_from_slice(bytes))
    }
}

impl<const N: usize> From<&[u8; N]> for Message {
    fn from(bytes: &[u8; N]) -> Self {
        bytes.as_slice().into()
    }
}

/// A whole message, seen in the read buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageRef<'a> {
    /// UTF-8 text.
    Text(&'a str),
    /// Arbitrary bytes.
    Binary(&'a [u8]),
}

impl MessageRef<'_> {
    /// Whether this is text or binary.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Binary(_) => Kind::Binary,
        }
    }

    /// The payload.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// A copy that can be kept.
    #[must_use]
    pub fn to_message(&self) -> Message {
        match *self {
            Self::Text(text) => text.into(),
            Self::Binary(bytes) => bytes.into(),
        }
    }
}

impl<'a> From<&'a Message> for MessageRef<'a> {
    fn from(message: &'a Message) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.as_str()),
            Message::Binary(bytes) => Self::Binary(bytes),
        }
    }
}

impl<'a> From<&'a str> for MessageRef<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for MessageRef<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a Text> for MessageRef<'a> {
    fn from(text: &'a Text) -> Self {
        Self::Text(text.as_str())
    }
}

impl<'a> From<&'a [u8]> for MessageRef<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Binary(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for MessageRef<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Binary(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for MessageRef<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Binary(bytes)
    }
}

impl<'a> From<&'a Bytes> for MessageRef<'a> {
    fn from(bytes: &'a Bytes) -> Self {
        Self::Binary(bytes)
    }
}

/// How one message is sent.
///
/// ```
/// # use hybi_proto::message::SendOptions;
/// let options = SendOptions::new().compress(false);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendOptions {
    pub(crate) compress: bool,
}

impl Default for SendOptions {
    fn default() -> Self {
        Self { compress: true }
    }
}

impl SendOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it may be compressed (default yes), if the peer agreed to that: no is for what is
    /// compressed already, such as images, and for secrets next to what an attacker chooses.
    #[must_use]
    pub fn compress(mut self, compress: bool) -> Self {
        self.compress = compress;
        self
    }
}

/// A part of a message, as it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Of the message.
    pub kind: Kind,
    /// Of a text, cut between two characters.
    pub bytes: Bytes,
    /// The message ends with it.
    pub last: bool,
}

/// What the peer did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A whole message.
    Message(Message),
    /// A part of a message, if they are asked for: see
    /// [`next_part`](crate::connection::Connection::next_part).
    Part(Part),
    /// A ping, at most 125 bytes; the pong is already queued unless automatic pongs are off.
    Ping(Bytes),
    /// A pong, at most 125 bytes, asked for or not.
    Pong(Bytes),
    /// A close frame, and what it said; the answer is already queued. Nothing comes after it.
    Close(Option<Close>),
}

/// What the peer did, seen in the read buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventRef<'a> {
    /// A whole message.
    Message(MessageRef<'a>),
    /// A ping, at most 125 bytes; the pong is already queued unless automatic pongs are off.
    Ping(&'a [u8]),
    /// A pong, at most 125 bytes, asked for or not.
    Pong(&'a [u8]),
    /// A close frame, and what it said; the answer is already queued. Nothing comes after it.
    Close(Option<Close>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_a_message_is_shared_with_it() {
        let whole = "grüße";
        for message in [Message::from(whole), Message::from(whole.as_bytes())] {
            let bytes = message.as_bytes();
            let text = std::str::from_utf8(bytes).unwrap();
            for part in [0..7, 0..4, 2..6, 4..7] {
                let (start, len) = (bytes[part.clone()].as_ptr(), part.len());
                for part in [
                    MessageRef::Text(&text[part.clone()]),
                    MessageRef::Binary(&bytes[part]),
                ] {
                    let shared = message.share(part).unwrap();
                    assert_eq!(MessageRef::from(&shared), part);
                    assert_eq!((shared.as_bytes().as_ptr(), shared.len()), (start, len));
                }
            }
        }
    }

    #[test]
    fn nothing_in_a_message_is_an_empty_one() {
        let message = Message::from("abc");
        let text = message.as_text().unwrap();
        for at in 0..=3 {
            assert_eq!(message.share(text[at..at].into()), Some("".into()));
        }
        let empty = Message::from("");
        assert_eq!(empty.share(MessageRef::from(&empty)), Some("".into()));
    }

    #[test]
    fn what_lies_elsewhere_is_not_shared() {
        let buffer = Bytes::copy_from_slice(b"before within behind");
        let message = Message::from(buffer.slice(7..13));
        for part in [0..6, 0..8, 6..13, 0..20, 7..14, 12..14, 14..20] {
            let part = MessageRef::Binary(&buffer[part]);
            assert_eq!(message.share(part), None, "{part:?}");
        }
        assert_eq!(message.share("within".into()), None);
        assert_eq!(message.share(b"".into()), None);
        let part = MessageRef::Binary(&buffer[7..13]);
        assert_eq!(message.share(part), Some(message.clone()));
    }
}
