//! What can be chosen for a connection, on either side.

use std::time::Duration;

use hybi_proto::handshake::head;
use hybi_proto::limits::Limits;

/// The bounds and habits of a connection. Every bound has a default; `None` disables it.
///
/// ```
/// use std::time::Duration;
/// let options = hybi::Options::new()
///     .max_message(1 << 20)
///     .close_timeout(Duration::from_secs(5));
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) limits: Limits,
    pub(crate) head: head::Limits,
    pub(crate) auto_pong: bool,
    pub(crate) handshake_timeout: Option<Duration>,
    pub(crate) close_timeout: Option<Duration>,
    pub(crate) write_timeout: Option<Duration>,
    pub(crate) message_timeout: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            head: head::Limits::default(),
            auto_pong: true,
            handshake_timeout: Some(Duration::from_secs(10)),
            close_timeout: Some(Duration::from_secs(30)),
            write_timeout: Some(Duration::from_secs(60)),
            message_timeout: Some(Duration::from_secs(60)),
        }
    }
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The largest message accepted, in bytes (default 16 MiB); a larger one closes with 1009.
    #[must_use]
    pub fn max_message(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.limits.message = bytes.into();
        self
    }

    /// The most fragments accepted in one message (default 1,048,576); one more closes with 1008.
    #[must_use]
    pub fn max_fragments(mut self, fragments: impl Into<Option<u32>>) -> Self {
        self.limits.fragments = fragments.into();
        self
    }

    /// The outgoing backlog, in bytes (default 1 MiB): while it is full `feed` answers
    /// [`SendError::Full`](crate::SendError::Full) and `send` waits. It overshoots by one message
    /// at most.
    #[must_use]
    pub fn backlog(mut self, bytes: usize) -> Self {
        self.limits.backlog = bytes;
        self
    }

    /// The largest head of a request or a response, in bytes (default 16 KiB); a server answers
    /// a larger one with 431, or 414 if its target alone is too long.
    #[must_use]
    pub fn max_head(mut self, bytes: usize) -> Self {
        self.head.bytes = bytes;
        self
    }

    /// The most headers in a request or a response (default 100); a server answers more with 431.
    #[must_use]
    pub fn max_headers(mut self, headers: usize) -> Self {
        self.head.headers = headers;
        self
    }

    /// Whether pings are answered by themselves (default yes); without it the caller has to
    /// answer each [`Event::Ping`](crate::Event::Ping) with `pong`.
    #[must_use]
    pub fn auto_pong(mut self, on: bool) -> Self {
        self.auto_pong = on;
        self
    }

    /// The time that the opening handshake may take in all (default 10 s).
    #[must_use]
    pub fn handshake_timeout(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.handshake_timeout = time.into();
        self
    }

    /// The time from the first close frame to the end of the connection (default 30 s); after it
    /// the connection is aborted.
    #[must_use]
    pub fn close_timeout(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.close_timeout = time.into();
        self
    }

    /// The time without a byte taken by the peer while some wait for it (default 60 s); after it
    /// the connection is aborted.
    #[must_use]
    pub fn write_timeout(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.write_timeout = time.into();
        self
    }

    /// The time without a byte from the peer in the middle of a message (default 60 s); after it
    /// the connection is closed with 1008.
    #[must_use]
    pub fn message_timeout(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.message_timeout = time.into();
        self
    }
}
