//! A handler that is called when something comes, instead of waiting for it: the fast lane.
//!
//! It is shown each message where it lies in the thread's read buffer, and what it sends in answer
//! to one read leaves in one write. Connection, driver and transport are those of every other
//! driven socket; only who takes the events differs.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use hybi_proto::close::CloseInfo;
use hybi_proto::code::CloseCode;
use hybi_proto::connection::{Connection, State};
use hybi_proto::decoder::Decoder;
use hybi_proto::error::{ProtocolError, SendError};
use hybi_proto::message::{Event, EventRef, Message, MessageRef};
use hybi_proto::prepared::Prepared;
use hybi_proto::queue::Overflow;
use hybi_proto::text::Text;

use crate::driver::{self, Drive};
use crate::error::{Error, Result};
use crate::io::Stream;
use crate::pings::RoundTrip;
use crate::sender::Sender;
use crate::shared::{ConnectionId, Shared};
use crate::socket::WebSocket;
use crate::wakers::Interest;

/// What is called when something comes on a connection; see
/// [`Server::serve_events`](crate::Server::serve_events).
///
/// One handler serves all connections, from several threads at once; what belongs to one of them
/// is its [`State`](Self::State). The methods are called one at a time for each connection, in the
/// order in which things have come, and must not block: while one runs, nothing else happens on
/// its thread. What takes time goes to a task of its own, with a clone of the
/// [`sender`](Peer::sender).
///
/// Who returns an error has the connection closed with 1011, whatever the error is about: that of
/// a sender of another connection, say, had better not be passed on with `?`. After that, or once
/// [`Peer::send`] has said that this connection is closed, which is no failure, no more messages are
/// shown, and [`on_close`](Self::on_close) follows when the connection has ended. Who panics has it
/// closed with 1011, too, but nothing more is called then: what must be undone in any case
/// belongs into the `Drop` of the [`State`](Self::State).
///
/// While 64 KiB are queued for a peer, or half of [`Options::backlog`](crate::Options::backlog) if
/// that is less, nothing is shown and nothing is read: neither its pings nor its close are seen
/// before it reads, and if it never does, [`Options::write_timeout`](crate::Options::write_timeout)
/// ends the connection.
///
/// ```
/// use hybi::events::{Handler, Peer};
/// use hybi::{MessageRef, Request, Result};
///
/// /// Says how many messages have come.
/// struct Count;
///
/// impl Handler for Count {
///     type State = usize;
///
///     fn on_open(&self, peer: &mut Peer<'_>, request: Request<()>) -> Result<usize> {
///         peer.send(format!("welcome to {}", request.uri()).as_str())?;
///         Ok(0)
///     }
///
///     fn on_message(&self, peer: &mut Peer<'_, usize>, _: MessageRef<'_>) -> Result<()> {
///         *peer.state += 1;
///         peer.send(&peer.state.to_string())
///     }
/// }
/// ```
pub trait Handler: Send + Sync + 'static {
    /// What is kept for each connection. It is dropped when the connection has ended, also where
    /// [`on_close`](Self::on_close) is not called: the handler has panicked, or the server's runtime
    /// ends.
    type State: Send + 'static;

    /// The opening handshake is done: it is too late to refuse it with a status, but not to
    /// [`close`](Peer::close). What is sent here is the first that leaves.
    ///
    /// # Errors
    ///
    /// Any; the connection is closed with 1011, and nothing else is called.
    fn on_open(&self, peer: &mut Peer<'_>, request: Request<()>) -> Result<Self::State>;

    /// A message has come, the whole of it. It lies in the read buffer: what is to be kept is
    /// [copied](MessageRef::to_message).
    ///
    /// # Errors
    ///
    /// Any; the connection is closed with 1011.
    fn on_message(&self, peer: &mut Peer<'_, Self::State>, message: MessageRef<'_>) -> Result<()>;

    /// A ping has come (RFC 6455 §5.5.2). It is answered already, unless
    /// [`Options::auto_pong`](crate::Options::auto_pong) is off.
    ///
    /// # Errors
    ///
    /// Any; the connection is closed with 1011.
    fn on_ping(&self, peer: &mut Peer<'_, Self::State>, payload: &[u8]) -> Result<()> {
        let _ = (peer, payload);
        Ok(())
    }

    /// A pong has come (RFC 6455 §5.5.3), asked for or not.
    ///
    /// # Errors
    ///
    /// Any; the connection is closed with 1011.
    fn on_pong(&self, peer: &mut Peer<'_, Self::State>, payload: &[u8]) -> Result<()> {
        let _ = (peer, payload);
        Ok(())
    }

    /// Less than 64 KiB are queued, or half the backlog if that is less, after it was more, or after
    /// [`Peer::send`] has met a full backlog: who has stopped for that can go on. It is called
    /// once each time, before the next message is shown.
    ///
    /// # Errors
    ///
    /// Any; the connection is closed with 1011.
    fn on_drain(&self, peer: &mut Peer<'_, Self::State>) -> Result<()> {
        let _ = peer;
        Ok(())
    }

    /// The connection ends for a fault: the peer broke a rule ([`Error::Protocol`]), the transport
    /// failed or ended without a close ([`Error::Io`]), a deadline has passed
    /// ([`Error::Timeout`]). [`on_close`](Self::on_close) follows. It is not called for what the
    /// handler itself has returned, nor after an [`abort`](Peer::abort).
    fn on_error(&self, peer: &mut Peer<'_, Self::State>, error: Error) {
        let _ = (peer, error);
    }

    /// Nothing comes any more, and nothing can be sent; what is queued still leaves. It is the last
    /// call, and there is one for each connection whose [`on_open`](Self::on_open) has returned a
    /// state.
    fn on_close(&self, peer: &mut Peer<'_, Self::State>, info: &CloseInfo) {
        let _ = (peer, info);
    }
}

/// The connection on which something has come, in the hands of a [`Handler`].
pub struct Peer<'a, T = ()> {
    sender: &'a Sender,
    /// What the handler keeps for this connection.
    pub state: &'a mut T,
    /// So much was queued that it has to leave before more is shown.
    pressed: bool,
    /// Something was refused because there was no room.
    refused: bool,
}

impl<'a, T> Peer<'a, T> {
    fn new(sender: &'a Sender, state: &'a mut T) -> Self {
        Self {
            sender,
            state,
            pressed: false,
            refused: false,
        }
    }

    /// Queues a message, the whole of it or nothing: a copy of what is borrowed. It is written,
    /// with all else that answers the same read, when the handler has seen what was read.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] while the backlog is full: [`Handler::on_drain`] tells when it is not.
    /// Half of [`Options::backlog`](crate::Options::backlog) is free when a handler is called, so
    /// that who sends no more than that in one call does not meet it unless others send on this
    /// connection, too. [`Error::Closed`] once the connection is closing; an error of the transport.
    #[inline]
    pub fn send<'m>(&mut self, message: impl Into<MessageRef<'m>>) -> Result<()> {
        let message = message.into();
        self.queue(|connection| connection.send_ref(message))
    }

    /// As [`send`](Self::send), for a message that is given away: a large one is not copied.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_owned(&mut self, message: impl Into<Message>) -> Result<()> {
        let message = message.into();
        self.queue(|connection| connection.send(message))
    }

    /// As [`send`](Self::send), for a message that many get and that was framed once.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_prepared(&mut self, message: &Prepared) -> Result<()> {
        self.queue(|connection| {
            let admission = connection.offer_prepared(message, &Overflow::Wait, false);
            admission.map(drop)
        })
    }

    #[inline]
    fn queue(
        &mut self,
        queue: impl FnOnce(&mut Connection) -> std::result::Result<(), SendError>,
    ) -> Result<()> {
        let mut link = self.sender.handle().lock();
        link.may_send()?;
        let queued = queue(&mut link.connection);
        self.refused |= queued == Err(SendError::Full);
        self.pressed |= self.refused || link.is_pressed();
        Ok(queued?)
    }

    /// Sends a ping of at most 125 bytes: see [`Sender::ping`].
    ///
    /// # Errors
    ///
    /// As [`Sender::ping`].
    pub fn ping(&mut self, payload: impl AsRef<[u8]>) -> Result<RoundTrip> {
        self.sender.ping(payload)
    }

    /// Sends a pong of at most 125 bytes: see [`Sender::pong`].
    ///
    /// # Errors
    ///
    /// As [`Sender::pong`].
    pub fn pong(&mut self, payload: impl AsRef<[u8]>) -> Result<()> {
        self.sender.pong(payload)
    }

    /// Sends a close frame behind what is queued, and nothing can be sent any more;
    /// [`Handler::on_close`] follows when the peer has answered. Messages that come before that
    /// are still shown. A second call changes nothing.
    ///
    /// # Errors
    ///
    /// A code that no frame may carry or a reason of more than 123 bytes: nothing is sent.
    pub fn close(&mut self, code: CloseCode, reason: impl Into<Text>) -> Result<()> {
        self.sender.start_close(code, reason)
    }

    /// Ends the connection at once, without a close frame. Of what has come, nothing more is
    /// shown.
    pub fn abort(&mut self) {
        self.sender.abort();
        // What is looked at is put away, and what has come to an aborted connection is dropped.
        self.pressed = true;
    }

    /// Tells this connection from all others of the process.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.sender.id()
    }

    /// The handle of this connection: all that can be asked of it, and clones to send with from
    /// other tasks, which can wait for room. Its [`stats`](Sender::stats) count the messages of a
    /// read when all of them have been shown.
    #[must_use]
    pub fn sender(&self) -> &Sender {
        self.sender
    }

    /// The subprotocol that the opening handshake has settled on.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.sender.handle().agreed()?.protocol.as_deref()
    }
}

impl<T> fmt::Debug for Peer<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("sender", &self.sender)
            .finish_non_exhaustive()
    }
}

/// Drives a connection whose events go to a handler, for connections that come otherwise than by
/// [`Server::serve_events`](crate::Server::serve_events).
///
/// The future ends when the connection has. Dropping it tries one write of a close frame with
/// 1001, and aborts; [`Handler::on_close`] is not called then.
///
/// # Errors
///
/// What the handler returns; how the connection has ended is told to the handler only.
///
/// # Panics
///
/// With the handler's panic, once the connection has ended.
pub fn drive<H: Handler>(
    ws: WebSocket,
    request: Request<()>,
    handler: Arc<H>,
) -> Drive<Stream, Dispatch<H>> {
    driver::drive(ws, |ws| Dispatch::new(ws, request, handler))
}

/// Shows a handler what comes on a driven connection: the future inside of what [`drive`] gives.
pub struct Dispatch<H: Handler> {
    sender: Sender,
    /// Until the handler was told of the connection.
    request: Option<Box<Request<()>>>,
    audience: Audience<H>,
    /// How many bytes had been read when all was shown.
    seen: u64,
}

/// A peer that takes as much as it is sent lets its neighbors have a turn when so often much was
/// queued for it and has left.
const TURN: u32 = 4;

/// Who is shown what comes.
struct Audience<H: Handler> {
    handler: Arc<H>,
    state: Option<H::State>,
    /// The handler has failed, or has heard that nothing can be sent: it is shown no more.
    failed: Option<Result<()>>,
    /// Much was queued, or something was refused for that: the handler is to hear when there is
    /// room again.
    choked: bool,
}

/// What there is to be shown.
enum Read {
    /// An event that was found before it was asked for.
    Held(std::result::Result<Event, ProtocolError>),
    /// There is room again.
    Drained,
    /// What has come, and how many bytes had been read then.
    Detached(Decoder, u64),
    /// Nothing, so far.
    Nothing,
    /// The end.
    Closed,
}

// The state is not pinned with the future.
impl<H: Handler> Unpin for Dispatch<H> {}

impl<H: Handler> Future for Dispatch<H> {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        if let Some(request) = this.request.take() {
            this.audience.open(&this.sender, *request)?;
        }
        let mut drained = 0;
        loop {
            match this.read(cx, &mut drained) {
                Read::Detached(decoder, read) => {
                    if this.audience.show_all(&this.sender, decoder) {
                        this.seen = read;
                    }
                }
                Read::Held(event) => this.audience.show_held(&this.sender, event),
                Read::Drained => {
                    this.audience.show(&this.sender, Handler::on_drain);
                }
                Read::Nothing => return Poll::Pending,
                Read::Closed => return Poll::Ready(this.audience.close(&this.sender)),
            }
        }
    }
}

impl<H: Handler> Dispatch<H> {
    pub(crate) fn new(ws: WebSocket, request: Request<()>, handler: Arc<H>) -> Self {
        let (sender, _) = ws.split();
        sender.handle().lock().dispatched = true;
        Self {
            sender,
            request: Some(Box::new(request)),
            audience: Audience {
                handler,
                state: None,
                failed: None,
                choked: false,
            },
            seen: 0,
        }
    }

    /// Finds what there is to be shown. Where much is queued, that is written first, which was
    /// done so often in this poll.
    fn read(&mut self, cx: &mut Context<'_>, drained: &mut u32) -> Read {
        let mut link = self.sender.handle().lock();
        if link.has_ready()
            && let Some(event) = link.next()
        {
            return Read::Held(event);
        }
        if link.connection.state() == State::Closed {
            return Read::Closed;
        }
        if link.is_choked() {
            self.audience.choked = true;
            *drained += 1;
            let before = link.connection.buffered();
            let _ = link.poll_flush();
            // Who is woken for nothing comes back for nothing: this task, too.
            if link.connection.buffered() < before {
                link.pass_on(false, true);
            }
        }
        let over = *drained > TURN;
        link.choked = over || link.is_choked();
        if link.choked {
            if over {
                cx.waker().wake_by_ref();
            }
            link.wait(Interest::Flush, cx.waker());
            return Read::Nothing;
        }
        if std::mem::take(&mut self.audience.choked) && link.connection.state() == State::Open {
            return Read::Drained;
        }
        if link.received() > self.seen {
            return Read::Detached(link.connection.detach(), link.received());
        }
        link.wait_for_event(cx.waker());
        Read::Nothing
    }
}

impl<H: Handler> Audience<H> {
    fn open(&mut self, sender: &Sender, request: Request<()>) -> Result<()> {
        let mut nothing = ();
        let mut peer = Peer::new(sender, &mut nothing);
        self.state = Some(self.handler.on_open(&mut peer, request)?);
        self.choked = peer.refused;
        Ok(())
    }

    /// Shows all that has come, or less if so much is queued that it has to leave first; whether
    /// it was all.
    fn show_all(&mut self, sender: &Sender, decoder: Decoder) -> bool {
        let mut detached = Detached {
            shared: sender.handle().shared(),
            decoder: Some(decoder),
        };
        while let Some(decoder) = &mut detached.decoder {
            match decoder.next() {
                Ok(Some(EventRef::Message(message))) => {
                    if self.show(sender, |handler, peer| handler.on_message(peer, message)) {
                        return false;
                    }
                }
                Ok(Some(event)) => {
                    sender.handle().lock().respond(&event);
                    if self.show_control(sender, &event) {
                        return false;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    sender.handle().lock().violate(error);
                    break;
                }
            }
        }
        true
    }

    fn show_held(&mut self, sender: &Sender, event: std::result::Result<Event, ProtocolError>) {
        match event {
            Ok(Event::Message(message)) => {
                let message = MessageRef::from(&message);
                self.show(sender, |handler, peer| handler.on_message(peer, message));
            }
            Ok(Event::Ping(payload)) => {
                self.show_control(sender, &EventRef::Ping(&payload));
            }
            Ok(Event::Pong(payload)) => {
                self.show_control(sender, &EventRef::Pong(&payload));
            }
            Ok(_) => {}
            Err(error) => sender.handle().lock().fail(error),
        }
    }

    fn show_control(&mut self, sender: &Sender, event: &EventRef<'_>) -> bool {
        match event {
            EventRef::Ping(payload) => {
                self.show(sender, |handler, peer| handler.on_ping(peer, payload))
            }
            EventRef::Pong(payload) => {
                self.show(sender, |handler, peer| handler.on_pong(peer, payload))
            }
            _ => false,
        }
    }

    /// Calls the handler, unless it has failed; true if so much is queued that it has to leave.
    #[inline]
    fn show(
        &mut self,
        sender: &Sender,
        call: impl FnOnce(&H, &mut Peer<'_, H::State>) -> Result<()>,
    ) -> bool {
        let (Some(state), None) = (&mut self.state, &self.failed) else {
            return false;
        };
        let mut peer = Peer::new(sender, state);
        let result = call(&self.handler, &mut peer);
        let pressed = peer.pressed;
        self.choked |= peer.refused;
        if let Err(error) = result {
            self.fail(sender, error);
        }
        pressed
    }

    #[cold]
    fn fail(&mut self, sender: &Sender, error: Error) {
        // To hear that nothing can be sent any more is no fault of the handler's.
        let told = matches!(error, Error::Closed) && sender.state() != State::Open;
        self.failed = Some(if told { Ok(()) } else { Err(error) });
        // The code is one that may be sent.
        let _ = sender.start_close(CloseCode::INTERNAL, Text::default());
    }

    fn close(&mut self, sender: &Sender) -> Result<()> {
        let (verdict, info) = {
            let mut link = sender.handle().lock();
            (link.verdict(), link.connection.close_info().cloned())
        };
        if let Some(state) = &mut self.state {
            let mut peer = Peer::new(sender, state);
            match verdict {
                // It was ended on this side.
                Ok(()) | Err(Error::Closed) => {}
                Err(error) => self.handler.on_error(&mut peer, error),
            }
            if let Some(info) = info {
                self.handler.on_close(&mut peer, &info);
            }
        }
        self.failed.take().unwrap_or(Ok(()))
    }
}

impl<H: Handler> Drop for Dispatch<H> {
    /// Who panics does not come back for the rest.
    fn drop(&mut self) {
        self.sender.handle().lock().choked = false;
    }
}

/// The receiving half of a connection, while a handler looks at what has come. It goes back even
/// where the handler panics.
struct Detached<'a> {
    shared: &'a Shared<Stream>,
    decoder: Option<Decoder>,
}

impl Drop for Detached<'_> {
    fn drop(&mut self) {
        if let Some(decoder) = self.decoder.take() {
            self.shared.lock().connection.attach(decoder);
        }
    }
}

impl<H: Handler> fmt::Debug for Dispatch<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatch")
            .field("sender", &self.sender)
            .finish_non_exhaustive()
    }
}
