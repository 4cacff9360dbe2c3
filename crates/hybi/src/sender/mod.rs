//! The sending half of a connection: any number of handles, used from anywhere.

mod sending;

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use hybi_proto::close::{Close, CloseInfo};
use hybi_proto::code::CloseCode;
use hybi_proto::connection::{Connection, State};
use hybi_proto::error::SendError;
use hybi_proto::message::{Message, SendOptions};
use hybi_proto::prepared::Prepared;
use hybi_proto::queue::{Admission, Item, Overflow};
use hybi_proto::text::Text;

use crate::error::{Error, Result};
use crate::io::{Io, Stream};
use crate::link::Link;
use crate::pings::RoundTrip;
use crate::place::Place;
use crate::shared::{ConnectionId, Handle};
use crate::stats::Stats;
use crate::wakers::{Interest, Turn};

use sending::Sending;

/// The sending half of a [`WebSocket`](crate::WebSocket), cheap to clone and to share: messages of
/// many tasks interleave as whole messages.
///
/// On a driven connection a sender queues and wakes the driver; otherwise it writes by itself.
/// Holding one keeps the connection open, but somebody has to receive, or pings and closes are
/// not seen. All methods are cancel safe: a dropped call loses nothing that was queued.
pub struct Sender<S: Io = Stream> {
    handle: Handle<S>,
    /// Few have one other than `Wait`, and each handler's future holds a sender.
    overflow: Option<Box<Overflow>>,
    /// What a [`Sink`](futures_sink::Sink) keeps between its polls; most are never polled as one.
    place: Option<Box<Place>>,
}

/// The right to queue one message, given by [`Sender::reserve`]; dropped, it goes to the next who
/// waits for it. Nobody else can send while it lives, so that a task that holds one and sends by
/// another handle waits for itself.
#[must_use = "a permit that is dropped lets the next one send"]
pub struct Permit<'a, S: Io = Stream> {
    sender: &'a Sender<S>,
    _turn: Turn,
}

impl<S: Io> Permit<'_, S> {
    /// Queues the message, and writes as much as the transport takes at once. It cannot fail: if
    /// the connection has ended meanwhile, the message shares the fate of all that was queued.
    pub fn commit(self, message: impl Into<Message>) {
        // The connection has ended.
        let _ = self.queue(message.into().into());
    }

    fn queue(self, item: Item) -> Result<()> {
        let shared = self.sender.handle.shared();
        shared.queue(&mut shared.lock(), |link| link.connection.send_over(item))
    }

    /// Waits until the connection takes a part of a message, and has this done with it.
    pub(crate) async fn part<T>(
        &self,
        mut queue: impl FnMut(&mut Link<S>) -> std::result::Result<T, SendError>,
    ) -> Result<T> {
        let shared = self.sender.handle.shared();
        poll_fn(|cx| {
            let mut link = shared.lock();
            ready!(self.sender.poll_room(&mut link, cx, Connection::takes_part))?;
            Poll::Ready(shared.queue(&mut link, &mut queue))
        })
        .await
    }

    /// Does this to the connection now.
    pub(crate) fn now(
        &self,
        queue: impl FnOnce(&mut Link<S>) -> std::result::Result<(), SendError>,
    ) -> Result<()> {
        let shared = self.sender.handle.shared();
        shared.queue(&mut shared.lock(), queue)
    }
}

impl<S: Io> Sender<S> {
    pub(crate) fn new(handle: Handle<S>) -> Self {
        Self {
            handle,
            overflow: None,
            place: None,
        }
    }

    pub(crate) fn handle(&self) -> &Handle<S> {
        &self.handle
    }

    pub(crate) fn policy(&self) -> &Overflow {
        self.overflow.as_deref().unwrap_or(&Overflow::Wait)
    }

    /// What becomes of the messages of this handle and its clones when the backlog is full
    /// (default [`Overflow::Wait`]); other handles of the connection keep theirs.
    ///
    /// Under another policy than `Wait`, [`send`](Self::send) never waits, and a message that was
    /// dropped is no error: [`stats`](Self::stats) counts it.
    ///
    /// ```
    /// # fn run(ws: &hybi::WebSocket) {
    /// // A price that is late is worth nothing: each client gets the latest.
    /// let prices = ws.sender().overflow(hybi::Overflow::Conflate("price".into()));
    /// # }
    /// ```
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = (overflow != Overflow::Wait).then(|| Box::new(overflow));
        self
    }

    /// Tells this connection from all others of the process.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.handle.id()
    }

    /// Sends a message: queues the whole of it or nothing, then writes as much as the transport
    /// takes at once. Waits while the backlog is full, or somebody who came before does: first
    /// come, first served.
    ///
    /// What the transport did not take is written by the calls that follow, of any handle; to
    /// wait for that, [`flush`](Self::flush). On a driven connection the driver writes; on another
    /// one `send` also waits while a thread of its own
    /// [compresses](crate::Options::deflate_offload) what is next.
    ///
    /// Cancel safe: a dropped call has queued the whole message or nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the connection is closing; an error of the transport.
    pub fn send(&self, message: impl Into<Message>) -> impl Future<Output = Result<()>> + Send {
        Sending::new(self, message.into().into())
    }

    /// As [`send`](Self::send), with options.
    ///
    /// Cancel safe: a dropped call has queued the whole message or nothing.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_with(
        &self,
        message: impl Into<Message>,
        options: SendOptions,
    ) -> impl Future<Output = Result<()>> + Send {
        Sending::new(self, Item::new(message, options))
    }

    /// As [`send`](Self::send), for a message that many get and that was framed once.
    ///
    /// Cancel safe: a dropped call has queued the whole message or nothing.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_prepared(&self, message: &Prepared) -> impl Future<Output = Result<()>> + Send {
        Sending::new(self, message.into())
    }

    /// Waits for the right to queue one message of any size: until there is room in the backlog
    /// and all who came before have had theirs.
    ///
    /// Cancel safe: a dropped call gives up its place.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn reserve(&self) -> Result<Permit<'_, S>> {
        self.give_up_place();
        let wakers = self.handle.lock().wakers().clone();
        // The turns end with the connection.
        let Some(turn) = Turn::wait(wakers).await else {
            self.handle.lock().may_send()?;
            return Err(Error::Closed);
        };
        let has_room = |connection: &Connection| !connection.is_full();
        poll_fn(|cx| self.poll_room(&mut self.handle.lock(), cx, has_room)).await?;
        Ok(Permit {
            sender: self,
            _turn: turn,
        })
    }

    /// Waits until the connection has room. Only who has the turn waits here.
    fn poll_room(
        &self,
        link: &mut Link<S>,
        cx: &mut Context<'_>,
        has_room: fn(&Connection) -> bool,
    ) -> Poll<Result<()>> {
        loop {
            link.waited_for = false;
            link.may_send()?;
            if link.connection.state() != State::Open {
                return Poll::Ready(Err(Error::Closed));
            }
            if has_room(&link.connection) {
                link.grace = false;
                return Poll::Ready(Ok(()));
            }
            link.waited_for = true;
            link.wait(Interest::Send, cx.waker());
            if link.driven {
                return Poll::Pending;
            }
            let before = link.connection.buffered();
            let _ = link.poll_drain();
            if link.connection.buffered() == before {
                ready!(link.poll_write_deadlines());
            }
        }
    }

    /// Waits for the turn and for room, in a place that is kept until something is sent.
    pub(crate) fn poll_place(
        &mut self,
        cx: &mut Context<'_>,
        has_room: fn(&Connection) -> bool,
    ) -> Poll<Result<()>> {
        if self.overflow.is_some() {
            return Poll::Ready(self.handle.lock().may_send());
        }
        let handle = &self.handle;
        let place = self
            .place
            .get_or_insert_with(|| Box::new(Place::new(handle.lock().wakers().clone())));
        if !ready!(place.poll_turn(cx)) {
            self.handle.lock().may_send()?;
            return Poll::Ready(Err(Error::Closed));
        }
        let room = ready!(self.poll_room(&mut self.handle.lock(), cx, has_room));
        if room.is_err() {
            self.give_up_place();
        }
        Poll::Ready(room)
    }

    /// Sends a message for which [`poll_place`](Self::poll_place) has found room.
    pub(crate) fn send_ready(&mut self, message: Message) -> Result<()> {
        let shared = self.handle.shared();
        let mut link = shared.lock();
        // The next one looks for room when the lock is free.
        self.give_up_place();
        shared.queue(&mut link, |link| link.connection.send_over(message))
    }

    /// As [`feed`](Self::feed), for a message for which [`poll_place`](Self::poll_place) may have
    /// found room.
    pub(crate) fn feed_ready(&mut self, message: Message) -> Result<()> {
        let shared = self.handle.shared();
        let mut link = shared.lock();
        let has_room = self.give_up_place();
        if !has_room {
            drop(link);
            return self.feed(message);
        }
        link.may_send()?;
        link.connection.send_over(message)?;
        self.wake_driver(&link);
        Ok(())
    }

    /// Lets the next one have the place of a sink that was polled; true if it was its turn.
    pub(crate) fn give_up_place(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.give_up())
    }

    /// Queues a message and writes nothing yet, so that many leave together: with the next
    /// `send`, `flush` or `recv`; on a driven connection, when the handler yields.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] while the backlog is full or somebody waits for room in it: nothing
    /// was queued. [`Error::Closed`] once the connection is closing.
    pub fn feed(&self, message: impl Into<Message>) -> Result<()> {
        self.give_up_place();
        let shared = self.handle.shared();
        let mut link = shared.lock();
        link.may_send()?;
        let item = Item::Message(message.into());
        let admission = shared.admit(&mut link, item, self.policy())?;
        if admission == Admission::Closed {
            return Err(Error::Closed);
        }
        self.wake_driver(&link);
        Ok(())
    }

    /// What was queued for the driver is for it to write.
    fn wake_driver(&self, link: &Link<S>) {
        if link.driven && !link.driving {
            link.wake_driver();
        }
    }

    /// Waits until all that was queued is handed to the operating system.
    ///
    /// Cancel safe: a dropped call loses nothing.
    ///
    /// # Errors
    ///
    /// An error of the transport; [`Error::Closed`] if the connection has ended without a clean
    /// close, so that what was queued may not have left.
    pub async fn flush(&self) -> Result<()> {
        poll_fn(|cx| self.poll_flushed(cx)).await
    }

    pub(crate) fn poll_flushed(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut link = self.handle.lock();
        loop {
            link.may_flush()?;
            if link.driven {
                if link.has_left() {
                    return Poll::Ready(Ok(()));
                }
                // Whoever queued it has woken the driver.
                link.wait(Interest::Flush, cx.waker());
                return Poll::Pending;
            }
            let is_new = link.wakers().wait(Interest::Flush, cx.waker());
            let written = link.poll_flush().is_ready();
            // The end of a message in parts is somebody else's to bring.
            link.behind |= written && link.connection.buffered() > 0;
            if written && link.connection.buffered() == 0 {
                link.return_outbox();
                // Another call of the same task may wait behind the same waker.
                if is_new {
                    link.wakers().forget_flush(cx.waker());
                }
                return Poll::Ready(link.may_flush());
            }
            ready!(link.poll_write_deadlines());
        }
    }

    /// Sends a ping of at most 125 bytes (RFC 6455 §5.5.2), and gives a future of the round-trip
    /// time, which need not be awaited. It waits for ever unless somebody receives meanwhile, or the
    /// connection is driven. The pong is shown by `recv_event`, too.
    ///
    /// A pong answers the first ping with its payload that waits, and those before that: to tell
    /// pings apart that are on their way at once, give each a payload of its own. At most 64 wait;
    /// one more gives the oldest up.
    ///
    /// # Errors
    ///
    /// [`SendError::ControlTooLong`], and as [`feed`](Self::feed).
    pub fn ping(&self, payload: impl AsRef<[u8]>) -> Result<RoundTrip> {
        let mut link = self.handle.lock();
        self.handle
            .shared()
            .queue(&mut link, |link| link.ping(payload.as_ref()))
    }

    /// Sends a pong of at most 125 bytes that answers a ping, where
    /// [`Options::auto_pong`](crate::Options::auto_pong) is off, or that answers none (RFC 6455 §5.5.3).
    ///
    /// # Errors
    ///
    /// As [`ping`](Self::ping).
    pub fn pong(&self, payload: impl AsRef<[u8]>) -> Result<()> {
        let mut link = self.handle.lock();
        self.handle
            .shared()
            .queue(&mut link, |link| link.connection.pong(payload.as_ref()))
    }

    /// Sends a close frame behind what is queued, and nothing can be sent any more. It ends once
    /// the peer has answered, which the receiver sees: on a connection that is not driven the time for
    /// it begins to run when somebody receives. A second call changes nothing.
    ///
    /// # Errors
    ///
    /// A code that no frame may carry or a reason of more than 123 bytes: nothing is sent.
    pub fn start_close(&self, code: CloseCode, reason: impl Into<Text>) -> Result<()> {
        let close = Close::new(code, reason)?;
        self.give_up_place();
        let mut link = self.handle.lock();
        if link.connection.state() != State::Open {
            return Ok(());
        }
        self.handle.shared().queue(&mut link, |link| {
            link.connection.close(Some(&close));
            Ok::<(), Error>(())
        })
    }

    /// Ends the connection at once, without a close frame.
    pub fn abort(&self) {
        let mut link = self.handle.lock();
        link.connection.clear();
        link.lose(Error::Closed);
        if !link.driving {
            link.wake_driver();
        }
    }

    /// Where the connection stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.handle.lock().connection.state()
    }

    /// How the connection ended, once it has: the code and the reason, who began, and whether it
    /// was clean.
    #[must_use]
    pub fn close_info(&self) -> Option<CloseInfo> {
        self.handle.lock().connection.close_info().cloned()
    }

    /// What the connection has done so far: messages and bytes each way, the last round-trip
    /// time, and what was dropped.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.handle.lock().stats()
    }

    /// The number of bytes that are queued, framing included.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.handle.lock().connection.buffered()
    }
}

impl Sender<Stream> {
    /// Our own address, while the socket is open; `None` in memory.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.handle.lock().io()?.local_addr()
    }

    /// The peer's address, while the socket is open; `None` in memory.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.handle.lock().io()?.peer_addr()
    }
}

impl<S: Io> Clone for Sender<S> {
    fn clone(&self) -> Self {
        Self {
            handle: self.handle.clone(),
            overflow: self.overflow.clone(),
            place: None,
        }
    }
}

impl<S: Io> fmt::Debug for Sender<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("id", &self.id())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl<S: Io> fmt::Debug for Permit<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(self.sender).finish()
    }
}
