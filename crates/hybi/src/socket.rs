//! A WebSocket in the hands of its user: receive, send, close.

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Uri;
use hybi_proto::close::{Close, CloseInfo};
use hybi_proto::code::CloseCode;
use hybi_proto::connection::State;
use hybi_proto::message::{Event, Message};
use hybi_proto::text::Text;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::coop;

use crate::error::{Error, Result};
use crate::io::{Io, Stream};
use crate::options::Options;
use crate::shared::{Link, Shared};
use crate::wakers::Interest;

/// A WebSocket connection, on either side.
///
/// From [`connect`](crate::connect) and [`accept`](crate::accept) it is used as it is: what it
/// does, it does while one of its methods is polled. Deadlines, too, are seen only then. In the
/// hands of a handler of [`Server::serve`](crate::Server::serve) or [`drive`](crate::drive()) it
/// is *driven*: writing, pings, closes and deadlines are seen to while the handler is busy
/// elsewhere, up to 64 KiB are read ahead, and all that a handler sends in answer to one read
/// leaves in one write.
///
/// All methods are cancel safe: a dropped call loses nothing.
///
/// Dropping an undriven socket tries one write of what is queued and a close frame with 1001,
/// and aborts. To be sure that all has arrived, [`close`](Self::close) it.
pub struct WebSocket<S: Io = Stream> {
    shared: Arc<Shared<S>>,
    agreed: Option<Box<Agreed>>,
}

/// What the opening handshake has settled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agreed {
    pub(crate) uri: Uri,
    pub(crate) protocol: Option<Box<str>>,
}

/// Which end of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Accepted the connection.
    Server,
    /// Began the connection, and masks what it sends.
    Client,
}

impl<S: Io> WebSocket<S> {
    /// A WebSocket over a stream on which the opening handshake is already done.
    ///
    /// `read_ahead` is what was read behind the handshake: the first bytes of frames, if any.
    pub fn from_stream(stream: S, role: Role, options: &Options, read_ahead: &[u8]) -> Self {
        let shared = Shared::new(stream, role == Role::Client, read_ahead, options);
        Self {
            shared,
            agreed: None,
        }
    }

    pub(crate) fn with_agreed(mut self, agreed: Agreed) -> Self {
        self.agreed = Some(Box::new(agreed));
        self
    }

    /// Holds a server's place until the transport is gone.
    pub(crate) fn with_place(self, place: Option<OwnedSemaphorePermit>) -> Self {
        self.shared.lock().place = place;
        self
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<S>> {
        &self.shared
    }

    /// Waits for the next message; `None` after a clean close.
    ///
    /// Cancel safe: a dropped call loses nothing. What is queued is written while it waits.
    ///
    /// # Errors
    ///
    /// How the connection ended, if that was not clean: once, and [`Error::Closed`] from then on.
    /// A violation by the peer is answered with the right close code before it is returned.
    pub async fn recv(&mut self) -> Result<Option<Message>> {
        poll_fn(|cx| {
            loop {
                match ready!(self.poll_event(cx))? {
                    Some(Event::Message(message)) => return Poll::Ready(Ok(Some(message))),
                    Some(_) => {}
                    None => return Poll::Ready(Ok(None)),
                }
            }
        })
        .await
    }

    /// Waits for the next event: as [`recv`](Self::recv), but pings, pongs and the close frame
    /// are shown too. `None` after a clean close.
    ///
    /// Cancel safe: a dropped call loses nothing. What is queued is written while it waits.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_event(&mut self) -> Result<Option<Event>> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>>> {
        let mut link = self.shared.lock();
        // A socket that is always ready must not starve its neighbors.
        if link.spends_budget() {
            match coop::poll_proceed(cx) {
                Poll::Ready(budget) => budget.made_progress(),
                // Under a flood there may be no other moment to look at the deadlines.
                Poll::Pending if link.driven => return Poll::Pending,
                Poll::Pending => ready!(link.poll_deadlines()),
            }
        }
        if link.driven {
            self.poll_driven_event(&mut link, cx)
        } else {
            self.poll_own_event(&mut link, cx)
        }
    }

    /// Takes the next event from what the driver has read.
    fn poll_driven_event(
        &self,
        link: &mut Link<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Event>>> {
        let paused = link.is_ahead();
        let event = match link.next() {
            Some(event) => Poll::Ready(event.map(Some).map_err(Error::Protocol)),
            None if link.connection.state() == State::Closed => {
                Poll::Ready(link.verdict().map(|()| None))
            }
            None => {
                self.shared.wakers.wait(Interest::Recv, cx.waker());
                Poll::Pending
            }
        };
        if !link.driving && (paused || link.connection.buffered() > 0) {
            self.shared.wakers.wake_driver();
        }
        event
    }

    /// Reads until there is an event, and writes what waits meanwhile.
    fn poll_own_event(
        &self,
        link: &mut Link<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Event>>> {
        loop {
            match link.next() {
                Some(Ok(event)) => {
                    link.return_inbox();
                    return Poll::Ready(Ok(Some(event)));
                }
                // The error is told when the peer was told.
                Some(Err(error)) => link.fail(error),
                None => {}
            }
            self.shared.wakers.wait(Interest::Recv, cx.waker());
            if link.connection.state() == State::Closed {
                link.return_inbox();
                if link.poll_end().is_ready() {
                    return Poll::Ready(link.verdict().map(|()| None));
                }
            } else {
                let _ = link.poll_drain();
                if link.poll_fill(true).is_ready() {
                    continue;
                }
                link.return_inbox();
                link.return_outbox();
                if link.has_fault() {
                    link.lose(Error::Closed);
                    continue;
                }
            }
            ready!(link.poll_deadlines());
        }
    }

    /// Sends a message: queues the whole of it or nothing, then writes as much as the transport
    /// takes at once. Waits while the backlog is full.
    ///
    /// What the transport did not take is written by the calls that follow; to wait for that,
    /// [`flush`](Self::flush). A driven socket writes by itself, when the handler yields.
    ///
    /// Cancel safe: a dropped call has queued the whole message or nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the connection is closing; an error of the transport.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<()> {
        let mut message = Some(message.into());
        poll_fn(|cx| {
            let mut link = self.shared.lock();
            ready!(self.poll_room(&mut link, cx))?;
            let Some(message) = message.take() else {
                return Poll::Ready(Ok(()));
            };
            Poll::Ready(self.queue(&mut link, |link| link.connection.send(message)))
        })
        .await
    }

    /// Waits until the backlog has room.
    fn poll_room(&self, link: &mut Link<S>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while link.connection.state() == State::Open && link.connection.is_full() {
            link.may_send()?;
            self.shared.wakers.wait(Interest::Send, cx.waker());
            if link.driven {
                return Poll::Pending;
            }
            let before = link.connection.buffered();
            let _ = link.poll_drain();
            if link.connection.buffered() == before {
                ready!(link.poll_deadlines());
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Queues something, and writes it unless a driver will.
    fn queue<E: Into<Error>>(
        &self,
        link: &mut Link<S>,
        queue: impl FnOnce(&mut Link<S>) -> std::result::Result<(), E>,
    ) -> Result<()> {
        link.may_send()?;
        if link.driven {
            queue(link).map_err(Into::into)?;
            if !link.driving {
                self.shared.wakers.wake_driver();
            }
            return Ok(());
        }
        link.lend_outbox();
        let queued = queue(link).map_err(Into::into);
        let _ = link.poll_drain();
        link.return_outbox();
        queued
    }

    /// Queues a message and writes nothing yet, so that many leave together: with the next
    /// `send`, `flush` or `recv`.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`](crate::SendError::Full) while the backlog is full: nothing was queued.
    /// [`Error::Closed`] once the connection is closing.
    pub fn feed(&mut self, message: impl Into<Message>) -> Result<()> {
        let message = message.into();
        let mut link = self.shared.lock();
        link.may_send()?;
        Ok(link.connection.send(message)?)
    }

    /// Waits until all that was queued is handed to the operating system.
    ///
    /// Cancel safe: a dropped call loses nothing.
    ///
    /// # Errors
    ///
    /// An error of the transport; [`Error::Closed`] if the connection has ended without a clean
    /// close, so that what was queued may not have left.
    pub async fn flush(&mut self) -> Result<()> {
        poll_fn(|cx| {
            let mut link = self.shared.lock();
            loop {
                link.may_flush()?;
                self.shared.wakers.wait(Interest::Send, cx.waker());
                if link.driven {
                    if link.connection.buffered() == 0 {
                        return Poll::Ready(Ok(()));
                    }
                    if !link.driving {
                        self.shared.wakers.wake_driver();
                    }
                    return Poll::Pending;
                }
                if link.poll_flush().is_ready() {
                    link.return_outbox();
                    return Poll::Ready(link.may_flush());
                }
                ready!(link.poll_deadlines());
            }
        })
        .await
    }

    /// Sends a ping of at most 125 bytes (RFC 6455 §5.5.2). The answer is an
    /// [`Event::Pong`] with the same payload.
    ///
    /// # Errors
    ///
    /// [`SendError::ControlTooLong`](crate::SendError::ControlTooLong), and as
    /// [`feed`](Self::feed).
    pub fn ping(&mut self, payload: impl AsRef<[u8]>) -> Result<()> {
        let mut link = self.shared.lock();
        self.queue(&mut link, |link| link.connection.ping(payload.as_ref()))
    }

    /// Sends a pong of at most 125 bytes that answers a ping, where
    /// [`Options::auto_pong`] is off, or that answers none (RFC 6455 §5.5.3).
    ///
    /// # Errors
    ///
    /// As [`ping`](Self::ping).
    pub fn pong(&mut self, payload: impl AsRef<[u8]>) -> Result<()> {
        let mut link = self.shared.lock();
        self.queue(&mut link, |link| link.connection.pong(payload.as_ref()))
    }

    /// Closes the connection: sends a close frame behind what is queued and waits until the peer
    /// has answered it and the transport has ended, under [`Options::close_timeout`]. Messages
    /// that still come are discarded; to receive them, use [`start_close`](Self::start_close).
    ///
    /// Gives how the connection ended, which the peer may have begun before.
    ///
    /// Cancel safe: a dropped call has begun to close or has not, and can be called again.
    ///
    /// # Errors
    ///
    /// A code that no frame may carry or a reason of more than 123 bytes: nothing is sent. And as
    /// [`recv`](Self::recv), if the end was not clean.
    pub async fn close(&mut self, code: CloseCode, reason: impl Into<Text>) -> Result<CloseInfo> {
        self.start_close(code, reason)?;
        while self.recv_event().await?.is_some() {}
        self.close_info().ok_or(Error::Closed)
    }

    /// Sends a close frame behind what is queued, and nothing can be sent any more; call
    /// [`recv`](Self::recv) until the connection has ended. A second call changes nothing.
    ///
    /// # Errors
    ///
    /// A code that no frame may carry or a reason of more than 123 bytes: nothing is sent.
    pub fn start_close(&mut self, code: CloseCode, reason: impl Into<Text>) -> Result<()> {
        let close = Close::new(code, reason)?;
        let mut link = self.shared.lock();
        if link.connection.state() != State::Open {
            return Ok(());
        }
        self.queue(&mut link, |link| {
            link.connection.close(Some(&close));
            Ok::<(), Error>(())
        })
    }

    /// Ends the connection at once, without a close frame.
    pub fn abort(&mut self) {
        let mut link = self.shared.lock();
        link.connection.outbox().clear();
        link.lose(Error::Closed);
        if !link.driving {
            self.shared.wakers.wake_driver();
        }
    }

    /// Where the connection stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.lock().connection.state()
    }

    /// How the connection ended, once it has: the code and the reason, who began, and whether it
    /// was clean.
    #[must_use]
    pub fn close_info(&self) -> Option<CloseInfo> {
        self.shared.lock().connection.close_info().cloned()
    }

    /// The number of bytes that are queued, framing included.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.shared.lock().connection.buffered()
    }

    /// The subprotocol that the opening handshake has settled on.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.agreed.as_ref()?.protocol.as_deref()
    }

    /// On a client the URL without fragment and credentials, on a server the request's target.
    #[must_use]
    pub fn uri(&self) -> Option<&Uri> {
        Some(&self.agreed.as_ref()?.uri)
    }
}

impl WebSocket<Stream> {
    /// Our own address, while the socket is open; `None` in memory.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.shared.lock().io()?.local_addr()
    }

    /// The peer's address, while the socket is open; `None` in memory.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.shared.lock().io()?.peer_addr()
    }
}

impl<S: Io> Drop for WebSocket<S> {
    fn drop(&mut self) {
        let mut link = self.shared.lock();
        if link.driven {
            link.abandoned = true;
            if !link.driving {
                self.shared.wakers.wake_driver();
            }
        } else if !link.has_ended() {
            let close = Close::new(CloseCode::GOING_AWAY, Text::default()).ok();
            link.connection.close(close.as_ref());
            link.abort();
        }
    }
}

impl<S: Io> fmt::Debug for WebSocket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("state", &self.state())
            .field("agreed", &self.agreed)
            .finish_non_exhaustive()
    }
}
