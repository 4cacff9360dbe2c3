//! A client that connects again: one session over one connection after the other.
//!
//! It has no task of its own: it connects, waits, sends and receives while it is polled. What it
//! is in the middle of lives in the session and never in a future. How long it waits is
//! [`Backoff`]'s to say, and what is worth another attempt [`Error::is_retryable`]'s.

mod servers;
mod line;
mod life;

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use hybi_proto::close::{Close, CloseInfo};
use hybi_proto::code::CloseCode;
use hybi_proto::message::{Message, SendOptions};
use hybi_proto::queue::{Admission, Backlog, Dropped, Item, Overflow};
use hybi_proto::text::Text;
use tokio::time::Sleep;

use self::line::{Leaving, Line};
use self::servers::Servers;
use crate::backoff::Backoff;
use crate::client::Connect;
use crate::error::{Error, Result};
use crate::socket::WebSocket;

/// A client's connection that is opened again when it is lost; from [`Connect::reconnect`].
///
/// ```no_run
/// # async fn run() -> hybi::Result<()> {
/// use hybi::session::Event;
/// use hybi::{Backoff, WebSocket};
///
/// async fn subscribe(mut ws: WebSocket) -> hybi::Result<WebSocket> {
///     ws.send("subscribe to news").await?;
///     Ok(ws)
/// }
///
/// let mut session = hybi::connect("ws://news.example/")
///     .reconnect(Backoff::new())
///     .fallback("ws://news.example.net/")
///     .on_connect(subscribe);
/// while let Some(event) = session.recv_event().await? {
///     match event {
///         Event::Up { url, .. } => println!("connected to {url}"),
///         Event::Down { why, retry_in, .. } => println!("{why}; again in {retry_in:?}"),
///         Event::Message(message) => println!("{message:?}"),
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// It connects when it is first polled, and does all that it does while
/// [`recv`](Self::recv), [`recv_event`](Self::recv_event), [`send`](Self::send),
/// [`flush`](Self::flush) or [`close`](Self::close) is polled. Keep receiving: only that answers
/// pings and sees that the connection is lost. A server that dies without a word is noticed with
/// [`Options::heartbeat`](crate::Options::heartbeat) or
/// [`idle_timeout`](crate::Options::idle_timeout), which are off by default.
///
/// All methods are cancel safe: a dropped call loses nothing, and what it was in the middle of (a
/// wait, an opening handshake, the hook) goes on with the next call.
///
/// # Several servers
///
/// With [`fallback`](Self::fallback) there are several URLs. They are tried in order, one right
/// after the other, and the [`Backoff`] delays the next round when all have failed. The URL that
/// worked last begins the next round. One that asked to be left alone (1012, 1013, `Retry-After`)
/// is passed over until then.
///
/// # What is sent
///
/// Messages go through a bounded queue, and wait there while the connection is away or the peer is
/// slow; see [`queue`](Self::queue) and [`overflow`](Self::overflow). They leave it one by one, as
/// the operating system takes them. A message that it has not taken whole when the connection
/// breaks is sent again on the next one, for the peer cannot have got it. A WebSocket has no
/// acknowledgements: what the operating system has taken may still be lost, and only answers of
/// the peer's own can tell.
#[must_use = "a session connects when it is polled"]
pub struct Session {
    connect: Arc<Connect>,
    servers: Servers,
    backoff: Backoff,
    hook: Option<Hook>,
    retry_if: Option<RetryIf>,
    overflow: Overflow,
    queue: Backlog,
    /// The message that leaves now, or left last.
    leaving: Option<Leaving>,
    state: State,
    /// What was seen while sending, and not told yet.
    events: VecDeque<Event>,
    /// What the messages among them cost.
    ahead: usize,
    /// Attempts since the last connection that was up for some time.
    attempts: u32,
    /// Rounds that have failed since then.
    rounds: u32,
    close_info: Option<CloseInfo>,
    /// What the connection is closed with once all has left; nothing is opened any more.
    farewell: Option<Close>,
}

/// What a session tells, in the order in which it happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A connection is open, and the hook of [`Session::on_connect`] has done its work.
    #[non_exhaustive]
    Up {
        /// Where to, as it was given, but without a user and a password.
        url: Arc<str>,
        /// Which attempt it was, from 1, since the last connection that was up for
        /// [`Backoff::reset_after`].
        attempt: u32,
    },
    /// The connection is lost, or an attempt to open one has failed.
    #[non_exhaustive]
    Down {
        /// Why.
        why: Error,
        /// When the next attempt begins, from when this was seen; nothing where another URL is tried
        /// at once.
        retry_in: Duration,
    },
    /// A message.
    Message(Message),
}

enum State {
    /// Until the next attempt, which is now if there is no wait.
    Away(Option<Pin<Box<Sleep>>>),
    /// The opening handshake and the hook.
    Opening(Opening),
    Up(Line),
    /// For good; with an error that was not told yet, if that was no clean end.
    Ended(Option<Error>),
}

type Opening = Pin<Box<dyn Future<Output = Result<WebSocket>> + Send>>;
type Hook = Arc<dyn Fn(WebSocket) -> Opening + Send + Sync>;
type RetryIf = Box<dyn Fn(&Error) -> bool + Send + Sync>;

/// The bounds of the queue.
const MESSAGES: usize = 1024;
const BYTES: usize = 1 << 20;

impl Connect {
    /// Makes it a [`Session`], which connects again when the connection is lost.
    pub fn reconnect(self, backoff: Backoff) -> Session {
        Session {
            servers: Servers::new(&self.url),
            connect: Arc::new(self),
            backoff,
            hook: None,
            retry_if: None,
            overflow: Overflow::Wait,
            queue: Backlog::new(MESSAGES, BYTES),
            leaving: None,
            state: State::Away(None),
            events: VecDeque::new(),
            ahead: 0,
            attempts: 0,
            rounds: 0,
            close_info: None,
            farewell: None,
        }
    }
}

impl Session {
    /// One more URL, tried after those before it (default none). All else (headers, credentials,
    /// subprotocols, options) is the same for all, so that they should be of one owner.
    pub fn fallback(mut self, url: impl AsRef<str>) -> Self {
        self.servers.push(url.as_ref());
        self
    }

    /// What is done with each fresh connection before anything queued is sent: to authenticate, to
    /// subscribe again (default nothing). It takes the socket and gives it back.
    ///
    /// It has as long as an opening handshake, [`Options::handshake_timeout`](crate::Options). An
    /// error fails the attempt, and whether there is another one is decided as for any error:
    /// [`Error::other`] ends the session, for instance. Messages that the hook does not receive are
    /// the session's to give.
    pub fn on_connect<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(WebSocket) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<WebSocket>> + Send + 'static,
    {
        self.hook = Some(Arc::new(move |ws| Box::pin(hook(ws))));
        self
    }

    /// Decides which errors are worth another attempt (default [`Error::is_retryable`]). A close
    /// frame comes as [`Error::ClosedWith`], whatever its code.
    ///
    /// ```
    /// # use hybi::{Backoff, Error};
    /// let session = hybi::connect("ws://127.0.0.1:9001/")
    ///     .reconnect(Backoff::new())
    ///     .retry_if(|error| match error {
    ///         Error::ClosedWith(info) if info.code.as_u16() == 4000 => true,
    ///         error => error.is_retryable(),
    ///     });
    /// ```
    pub fn retry_if(mut self, decide: impl Fn(&Error) -> bool + Send + Sync + 'static) -> Self {
        self.retry_if = Some(Box::new(decide));
        self
    }

    /// The bounds of the queue: so many messages (default 1,024), worth so many bytes (default 1
    /// MiB), each with 128 more for what it takes to hold it. The message that reaches the bytes
    /// may overshoot, and one more may be leaving. 0 is taken for 1.
    pub fn queue(mut self, messages: usize, bytes: usize) -> Self {
        self.queue.set_bounds(messages, bytes);
        self
    }

    /// What becomes of a message when the queue is full (default [`Overflow::Wait`]: `send`
    /// waits). A message that was dropped is no error: [`dropped`](Self::dropped) counts it.
    /// [`Overflow::Close`] ends the session, with 1013 if there is a connection.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Waits for the next message, over as many connections as it takes; `None` after a clean end:
    /// [`close`](Self::close), or a close of the peer's with 1000 or without a code that is not
    /// worth a retry.
    ///
    /// Cancel safe: a dropped call loses nothing, and what it was in the middle of goes on with
    /// the next one.
    ///
    /// # Errors
    ///
    /// Why the session has ended, once, and [`Error::Closed`] from then on: an error that is not
    /// worth a retry, or the one of the last attempt ([`Backoff::max_attempts`]).
    pub async fn recv(&mut self) -> Result<Option<Message>> {
        loop {
            match self.recv_event().await? {
                Some(Event::Message(message)) => return Ok(Some(message)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// Waits for the next event: as [`recv`](Self::recv), but the connection's coming and going is
    /// told, too. Of what happened while `send` or `flush` waited and nobody received, only how it
    /// stands now.
    ///
    /// Cancel safe: as [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_event(&mut self) -> Result<Option<Event>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Queues a message, and writes it if there is a connection whose transport takes it; when
    /// the queue is full, does what [`overflow`](Self::overflow) says.
    ///
    /// Cancel safe: a dropped call has queued the whole message or nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the session is closing or has ended; `recv` tells why.
    pub fn send(&mut self, message: impl Into<Message>) -> impl Future<Output = Result<()>> + Send {
        self.send_item(message.into().into())
    }

    /// As [`send`](Self::send), with options.
    ///
    /// Cancel safe: a dropped call has queued the whole message or nothing.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_with(
        &mut self,
        message: impl Into<Message>,
        options: SendOptions,
    ) -> impl Future<Output = Result<()>> + Send {
        self.send_item(Item::new(message, options))
    }

    async fn send_item(&mut self, item: Item) -> Result<()> {
        if self.overflow == Overflow::Wait {
            poll_fn(|cx| {
                loop {
                    self.may_send()?;
                    self.pump();
                    if !self.queue.is_full() {
                        return Poll::Ready(Ok::<_, Error>(()));
                    }
                    ready!(self.poll_progress(cx));
                }
            })
            .await?;
        }
        self.may_send()?;
        self.pump();
        let admission = self.queue.offer(item, &self.overflow)?;
        if admission == Admission::Closed {
            self.start_close(CloseCode::TRY_AGAIN_LATER, Text::from_static(FULL))?;
            return Err(Error::Closed);
        }
        self.pump();
        Ok(())
    }

    /// Waits until all that was queued is handed to the operating system, over as many
    /// connections as it takes.
    ///
    /// Cancel safe: a dropped call loses nothing.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn flush(&mut self) -> Result<()> {
        poll_fn(|cx| {
            loop {
                self.may_send()?;
                self.pump();
                if self.queue.is_empty() && self.leaving.is_none() {
                    return Poll::Ready(Ok(()));
                }
                ready!(self.poll_progress(cx));
            }
        })
        .await
    }

    /// Ends the session for good: as [`WebSocket::close`] behind what is queued, if there is a
    /// connection; what is queued while there is none is dropped, and to be sure that it leaves,
    /// [`flush`](Self::flush) before. Messages that still come are discarded; to receive them, use
    /// [`start_close`](Self::start_close).
    ///
    /// Cancel safe: a dropped call has begun to close or has not, and can be called again.
    ///
    /// # Errors
    ///
    /// A code that no frame may carry or a reason of more than 123 bytes: nothing is done. And how
    /// the connection ended, if that was not clean.
    pub async fn close(&mut self, code: CloseCode, reason: impl Into<Text>) -> Result<()> {
        self.start_close(code, reason)?;
        while self.recv_event().await?.is_some() {}
        Ok(())
    }

    /// Begins to [`close`](Self::close): nothing can be sent any more, and nothing is opened; call
    /// [`recv`](Self::recv) until the session has ended. A second call changes nothing.
    ///
    /// # Errors
    ///
    /// A code that no frame may carry or a reason of more than 123 bytes: nothing is done.
    pub fn start_close(&mut self, code: CloseCode, reason: impl Into<Text>) -> Result<()> {
        let close = Close::new(code, reason)?;
        self.farewell.get_or_insert(close);
        self.pump();
        Ok(())
    }

    /// Whether a connection is open.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// How the last connection ended, once one has.
    #[must_use]
    pub fn close_info(&self) -> Option<&CloseInfo> {
        self.close_info.as_ref()
    }

    /// How many messages have not left yet.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.count() + usize::from(self.leaving.is_some())
    }

    /// How many messages were dropped: by the policy, or because the session has ended.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.queue.dropped()
    }

    fn may_send(&self) -> Result<()> {
        match self.state {
            State::Ended(_) => Err(Error::Closed),
            _ if self.farewell.is_some() => Err(Error::Closed),
            _ => Ok(()),
        }
    }
}

const FULL: &str = "the queue is full";

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Away(_) => "Away",
            State::Opening(_) => "Opening",
            State::Up(_) => "Up",
            State::Ended(_) => "Ended",
        };
        f.debug_struct("Session")
            .field("servers", &self.servers)
            .field("backoff", &self.backoff)
            .field("state", &state)
            .field("queued", &self.queued())
            .finish_non_exhaustive()
    }
}
