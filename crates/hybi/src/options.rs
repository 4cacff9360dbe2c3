//! What can be chosen for a connection, on either side.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use hybi_proto::deflate::Deflate;
use hybi_proto::handshake::head;
use hybi_proto::limits::Limits;
use tokio::sync::Semaphore;

/// The bounds and habits of a connection. Every bound has a default; `None` disables it.
///
/// ```
/// use std::time::Duration;
/// let options = hybi::Options::new()
///     .max_message(1 << 20)
///     .close_timeout(Duration::from_secs(5));
/// ```
///
/// Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Options(Arc<Values>);

/// What the options say. The options of a server are those of all its connections, so that one
/// copy serves them all.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    pub(crate) limits: Limits,
    pub(crate) head: head::Limits,
    pub(crate) auto_pong: bool,
    pub(crate) handshake_timeout: Option<Duration>,
    pub(crate) close_timeout: Option<Duration>,
    pub(crate) write_timeout: Option<Duration>,
    pub(crate) message_timeout: Option<Duration>,
    pub(crate) heartbeat: Option<Heartbeat>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) busy_poll: Option<Duration>,
    /// None as long as nobody has chosen.
    deflate: Option<Option<Deflate>>,
    pub(crate) deflate_offload: Option<usize>,
    deflate_concurrency: Option<Arc<Semaphore>>,
}

/// How a dead peer is found: a ping when nothing was heard for a time, and the end of the
/// connection if nothing is heard then either. Any byte counts as heard.
///
/// ```
/// use std::time::Duration;
/// let heartbeat = hybi::Heartbeat::every(Duration::from_secs(20)).timeout(Duration::from_secs(5));
/// let options = hybi::Options::new().heartbeat(heartbeat);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    pub(crate) every: Duration,
    pub(crate) timeout: Duration,
}

impl Default for Heartbeat {
    /// A ping after 30 s of silence, and 10 s for an answer.
    fn default() -> Self {
        Self {
            every: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
        }
    }
}

impl Heartbeat {
    /// A ping after so much silence (default 30 s).
    #[must_use]
    pub fn every(silence: Duration) -> Self {
        Self {
            every: silence,
            ..Self::default()
        }
    }

    /// The time for an answer (default 10 s); after it the connection is ended, and `recv` gives
    /// [`Timeout::Heartbeat`](crate::Timeout::Heartbeat).
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = time;
        self
    }
}

/// As many pieces of messages are compressed at a time on threads of their own.
const CONCURRENCY: usize = 10;

impl Default for Values {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            head: head::Limits::default(),
            auto_pong: true,
            handshake_timeout: Some(Duration::from_secs(10)),
            close_timeout: Some(Duration::from_secs(30)),
            write_timeout: Some(Duration::from_secs(60)),
            message_timeout: Some(Duration::from_secs(60)),
            heartbeat: None,
            idle_timeout: None,
            max_lifetime: None,
            busy_poll: None,
            deflate: None,
            deflate_offload: Some(64 << 10),
            deflate_concurrency: None,
        }
    }
}

impl Values {
    /// What a client offers, or what a server agrees to.
    pub(crate) fn deflate(&self, client: bool) -> Option<Deflate> {
        self.deflate
            .unwrap_or_else(|| client.then(Deflate::default))
    }

    /// The places on the threads that compress what is long.
    pub(crate) fn deflate_places(&self) -> Arc<Semaphore> {
        static ALL: LazyLock<Arc<Semaphore>> =
            LazyLock::new(|| Arc::new(Semaphore::new(CONCURRENCY)));
        self.deflate_concurrency.as_ref().unwrap_or(&ALL).clone()
    }

    /// How often to look for silence and age, if at all: at a tenth of the shortest time, from 1
    /// ms to 1 s.
    pub(crate) fn tick(&self) -> Option<Duration> {
        let heartbeat = self
            .heartbeat
            .map(|heartbeat| heartbeat.every.min(heartbeat.timeout));
        let times = [heartbeat, self.idle_timeout, self.max_lifetime];
        let shortest = times.into_iter().flatten().min()?;
        Some((shortest / 10).clamp(Duration::from_millis(1), Duration::from_secs(1)))
    }
}

impl Options {
    pub(crate) fn get(&self) -> &Values {
        &self.0
    }

    fn with(mut self, change: impl FnOnce(&mut Values)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The largest message accepted, in bytes (default 16 MiB); a larger one closes with 1009.
    #[must_use]
    pub fn max_message(self, bytes: impl Into<Option<usize>>) -> Self {
        self.with(|values| values.limits.message = bytes.into())
    }

    /// The most fragments accepted in one message (default 1,048,576); one more closes with 1008.
    #[must_use]
    pub fn max_fragments(self, fragments: impl Into<Option<u32>>) -> Self {
        self.with(|values| values.limits.fragments = fragments.into())
    }

    /// The outgoing backlog, in bytes (default 1 MiB): while it is full `feed` answers
    /// [`SendError::Full`](crate::SendError::Full) and `send` waits. It overshoots by one message
    /// at most; 0 is taken for 1, since nothing could be sent through none.
    #[must_use]
    pub fn backlog(self, bytes: usize) -> Self {
        self.with(|values| values.limits.backlog = bytes.max(1))
    }

    /// The largest head of a request or a response, in bytes (default 16 KiB); a server answers
    /// a larger one with 431, or 414 if its target alone is too long.
    #[must_use]
    pub fn max_head(self, bytes: usize) -> Self {
        self.with(|values| values.head.bytes = bytes)
    }

    /// The most headers in a request or a response (default 100); a server answers more with 431.
    #[must_use]
    pub fn max_headers(self, headers: usize) -> Self {
        self.with(|values| values.head.headers = headers)
    }

    /// Whether pings are answered by themselves (default yes); without it the caller has to
    /// answer each [`Event::Ping`](crate::Event::Ping) with `pong`.
    #[must_use]
    pub fn auto_pong(self, on: bool) -> Self {
        self.with(|values| values.auto_pong = on)
    }

    /// The time that the opening handshake may take in all (default 10 s).
    #[must_use]
    pub fn handshake_timeout(self, time: impl Into<Option<Duration>>) -> Self {
        self.with(|values| values.handshake_timeout = time.into())
    }

    /// The time from the first close frame to the end of the connection (default 30 s); after it
    /// the connection is aborted.
    #[must_use]
    pub fn close_timeout(self, time: impl Into<Option<Duration>>) -> Self {
        self.with(|values| values.close_timeout = time.into())
    }

    /// The time without a byte taken by the peer while some wait for it (default 60 s); after it
    /// the connection is aborted.
    #[must_use]
    pub fn write_timeout(self, time: impl Into<Option<Duration>>) -> Self {
        self.with(|values| values.write_timeout = time.into())
    }

    /// The time without a byte from the peer in the middle of a message (default 60 s); after it
    /// the connection is closed with 1008.
    #[must_use]
    pub fn message_timeout(self, time: impl Into<Option<Duration>>) -> Self {
        self.with(|values| values.message_timeout = time.into())
    }

    /// How a dead peer is found (default: not at all). While a handler is so far behind that its
    /// connection is not read, the heartbeat pauses: we are deaf then, and the peer is not dead.
    #[must_use]
    pub fn heartbeat(self, heartbeat: impl Into<Option<Heartbeat>>) -> Self {
        self.with(|values| values.heartbeat = heartbeat.into())
    }

    /// The time without a byte from the peer (default none); after it the connection is ended, and
    /// `recv` gives [`Timeout::Idle`](crate::Timeout::Idle). It is how a client watches over a
    /// server that pings: any frame counts, and nothing is sent. A server may ping only who is
    /// silent; a client that sends without being answered wants a [`heartbeat`](Self::heartbeat)
    /// of its own instead. The time is kept to a tenth of itself, or a second, and pauses as the
    /// heartbeat does.
    #[must_use]
    pub fn idle_timeout(self, time: impl Into<Option<Duration>>) -> Self {
        self.with(|values| values.idle_timeout = time.into())
    }

    /// The time for which a connection may be open (default none); after it the connection is
    /// closed with 1001, whatever it is doing. It is kept to a tenth of itself, or a second.
    #[must_use]
    pub fn max_lifetime(self, time: impl Into<Option<Duration>>) -> Self {
        self.with(|values| values.max_lifetime = time.into())
    }

    /// Whether and how messages are compressed (RFC 7692), if the peer agrees. By default a client
    /// offers [`Deflate::default`], and a server declines: it would spend its time and memory on
    /// whoever asks for it. See [`WebSocket::extensions`](crate::WebSocket::extensions) for what was
    /// agreed on, and [`SendOptions`](crate::SendOptions) for a message that is not to be compressed.
    ///
    /// ```
    /// # use hybi::{Deflate, Options};
    /// let server = Options::new().deflate(Deflate::default());
    /// let client = Options::new().deflate(None);
    /// ```
    #[must_use]
    pub fn deflate(self, deflate: impl Into<Option<Deflate>>) -> Self {
        self.with(|values| values.deflate = Some(deflate.into()))
    }

    /// The most bytes of a message that are compressed in the task that sends it (default 64 KiB,
    /// about 1 ms). More are compressed on one of the runtime's threads for what blocks, so that
    /// neither the thread's other connections wait nor the heartbeat of this one; what is sent
    /// meanwhile on this connection waits behind it. `None` compresses all of it in place, as is
    /// done where there is no runtime. A runtime that ends meanwhile takes the message along, and
    /// the connection is closed with 1011.
    #[must_use]
    pub fn deflate_offload(self, bytes: impl Into<Option<usize>>) -> Self {
        self.with(|values| values.deflate_offload = bytes.into())
    }

    /// How many messages are compressed at a time on threads of their own, by all connections
    /// with these options (default 10 for all of the process); the others wait. 0 is taken for 1.
    #[must_use]
    pub fn deflate_concurrency(self, messages: usize) -> Self {
        let places = Semaphore::new(messages.clamp(1, Semaphore::MAX_PERMITS));
        self.with(|values| values.deflate_concurrency = Some(Arc::new(places)))
    }

    /// How long the driver of a connection goes on looking for more after something has come,
    /// before its thread may sleep (default not at all).
    ///
    /// A conversation of one question at a time spends most of its time on waking threads: with
    /// 50 µs here its answers come some 5 µs sooner, and the slow ones in half the time. Meanwhile
    /// the thread works at full speed for nothing, and other tasks wait behind it a little longer:
    /// it is for a few connections that are worth a core. A connection that is not driven, as those
    /// of a client, does not have it.
    #[must_use]
    pub fn busy_poll(self, time: impl Into<Option<Duration>>) -> Self {
        self.with(|values| values.busy_poll = time.into())
    }
}
