//! The receiving half of a connection: one handle.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use hybi_proto::connection::State;
use hybi_proto::error::ProtocolError;
use hybi_proto::message::{Event, Message};
use tokio::task::coop;

use crate::error::{Error, Result};
use crate::io::{Io, Stream};
use crate::link::Link;
use crate::sender::Sender;
use crate::shared::Handle;
use crate::wakers::Interest;

/// The receiving half of a [`WebSocket`](crate::WebSocket).
///
/// On a connection that is not driven it is what keeps it alive: keep calling
/// [`recv`](Self::recv), for pings are answered, closes are seen, what is queued is written and
/// deadlines are kept while it waits.
pub struct Receiver<S: Io = Stream> {
    pub(crate) handle: Handle<S>,
}

/// How the next event is taken.
type Next<S> = fn(&mut Link<S>) -> Option<std::result::Result<Event, ProtocolError>>;

impl<S: Io> Receiver<S> {
    /// A handle to send with.
    #[must_use]
    pub fn sender(&self) -> Sender<S> {
        Sender::new(self.handle.clone())
    }

    /// Waits for the next message; `None` after a clean close.
    ///
    /// Cancel safe: a dropped call loses nothing. What is queued is written while it waits.
    ///
    /// # Errors
    ///
    /// How the connection ended, if that was not clean: once, and [`Error::Closed`] from then on.
    /// A violation by the peer is answered with the right close code before it is returned.
    pub fn recv(&mut self) -> impl Future<Output = Result<Option<Message>>> + Send {
        poll_fn(|cx| self.poll_recv(cx))
    }

    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>>> {
        let mut link = self.handle.lock();
        if let Some(received) = link.poll_plain(cx.waker()) {
            return received;
        }
        loop {
            match ready!(self.poll_locked(&mut link, cx, Link::next))? {
                Some(Event::Message(message)) => return Poll::Ready(Ok(Some(message))),
                Some(_) => {}
                None => return Poll::Ready(Ok(None)),
            }
        }
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
        poll_fn(|cx| self.poll_event(cx, Link::next)).await
    }

    /// Waits for the next event that `next` finds.
    pub(crate) fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        next: Next<S>,
    ) -> Poll<Result<Option<Event>>> {
        self.poll_locked(&mut self.handle.lock(), cx, next)
    }

    fn poll_locked(
        &self,
        link: &mut Link<S>,
        cx: &mut Context<'_>,
        next: Next<S>,
    ) -> Poll<Result<Option<Event>>> {
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
            self.poll_driven_event(link, cx, next)
        } else {
            self.poll_own_event(link, cx, next)
        }
    }

    /// Takes the next event from what the driver has read.
    fn poll_driven_event(
        &self,
        link: &mut Link<S>,
        cx: &mut Context<'_>,
        next: Next<S>,
    ) -> Poll<Result<Option<Event>>> {
        let before = (!link.driving).then(|| (link.is_ahead(), link.connection.buffered()));
        let event = match next(link) {
            Some(Ok(event)) => Poll::Ready(Ok(Some(event))),
            Some(Err(error)) => {
                // If writing has failed before, that is what is told.
                link.fail(error);
                Poll::Ready(link.verdict().map(|()| None))
            }
            None if link.connection.state() == State::Closed => {
                Poll::Ready(link.verdict().map(|()| None))
            }
            None => {
                link.wait_for_event(cx.waker());
                Poll::Pending
            }
        };
        // Whoever queued the rest has woken it: to do so again at each poll would make a task spin
        // that holds the driver, too.
        if let Some((paused, queued)) = before
            && (paused || link.connection.buffered() > queued)
        {
            link.wake_driver();
        }
        event
    }

    /// Reads until there is an event, and writes what waits meanwhile.
    fn poll_own_event(
        &self,
        link: &mut Link<S>,
        cx: &mut Context<'_>,
        next: Next<S>,
    ) -> Poll<Result<Option<Event>>> {
        loop {
            match next(link) {
                Some(Ok(event)) => {
                    link.return_inbox();
                    return Poll::Ready(Ok(Some(event)));
                }
                // The error is told when the peer was told.
                Some(Err(error)) => link.fail(error),
                None => {}
            }
            link.wakers().wait(Interest::Recv, cx.waker());
            if link.connection.state() == State::Closed {
                link.return_inbox();
                if link.poll_end().is_ready() {
                    return Poll::Ready(link.verdict().map(|()| None));
                }
            } else {
                let _ = link.poll_flush();
                if link.poll_fill(true).is_ready() {
                    continue;
                }
                link.return_buffers();
                if link.has_fault() {
                    link.lose(Error::Closed);
                    continue;
                }
            }
            ready!(link.poll_deadlines());
        }
    }
}

impl<S: Io> fmt::Debug for Receiver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("id", &self.handle.id())
            .finish_non_exhaustive()
    }
}
