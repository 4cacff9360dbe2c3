//! The driver: sees to a socket while its handler is busy elsewhere.
//!
//! It wraps the handler's future. Whenever the handler yields, it writes what the handler has
//! queued, in one go, then reads, and polls the handler again if that has brought what the
//! handler waits for. So one read leads to one write, however many messages it has brought.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hybi_proto::close::Close;
use hybi_proto::code::CloseCode;
use hybi_proto::connection::State;
use hybi_proto::text::Text;

use crate::error::{Error, Result};
use crate::io::Io;
use crate::link::Link;
use crate::shared::Shared;
use crate::socket::WebSocket;
use crate::trace::Span;

/// Runs a handler on a socket and drives the socket meanwhile.
///
/// What the handler queues is written when it yields. Pings are answered, closes are seen and
/// deadlines kept while it is busy; up to 64 KiB are read ahead for that. When it returns Ok the
/// queue is flushed and the connection closed with 1000, on an error or a panic with 1011. If it
/// has moved the socket elsewhere, the connection is driven until that is dropped.
///
/// The future ends when the handler has returned and the connection has ended. Dropping it tries
/// one write of a close frame with 1001, and aborts.
///
/// ```
/// # async fn run(ws: hybi::WebSocket) -> hybi::Result<()> {
/// hybi::drive(ws, |mut ws| async move {
///     while let Some(message) = ws.recv().await? {
///         ws.send(message).await?;
///     }
///     Ok(())
/// })
/// .await
/// # }
/// ```
///
/// # Errors
///
/// What the handler returns.
///
/// # Panics
///
/// With the handler's panic, once the connection has ended.
pub fn drive<S, F, Fut>(ws: WebSocket<S>, handler: F) -> Drive<S, Fut>
where
    S: Io,
    F: FnOnce(WebSocket<S>) -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let shared = ws.handle().shared().clone();
    let span = {
        let mut link = shared.lock();
        link.driven = true;
        link.span.clone()
    };
    let entered = span.enter();
    let (handler, outcome) = match catch_unwind(AssertUnwindSafe(|| handler(ws))) {
        Ok(handler) => (Some(Box::pin(handler)), None),
        Err(panic) => (None, Some(Outcome::Panicked(panic))),
    };
    drop(entered);
    Drive {
        handler,
        shared,
        span,
        outcome,
        told: State::Open,
        busy: None,
    }
}

/// The future of [`drive`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Drive<S: Io, Fut> {
    shared: Arc<Shared<S>>,
    span: Span,
    handler: Option<Pin<Box<Fut>>>,
    outcome: Option<Outcome>,
    /// Those who wait have been told that it is so far.
    told: State,
    /// Until then it looks again instead of waiting: see [`Options::busy_poll`].
    ///
    /// [`Options::busy_poll`]: crate::Options::busy_poll
    busy: Option<Instant>,
}

#[derive(Debug)]
enum Outcome {
    Returned(Result<()>),
    Panicked(Box<dyn Any + Send>),
}

/// A socket that always has more to read lets its neighbors have a turn after so many bytes, and
/// what the last read brings beyond that: a busy thread of the runtime looks for news of the others
/// only every 61 turns.
const TURN: u64 = 1 << 20;

/// What is left to do after a turn.
enum Turn {
    /// Poll the handler: what it waits for has come.
    Handler,
    /// Wait, or look again for so long after something has come.
    Wait(Option<Duration>),
    /// Nothing: the connection has ended.
    Ended,
}

impl<S: Io, Fut: Future<Output = Result<()>>> Future for Drive<S, Fut> {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        let span = this.span.clone();
        let _entered = span.enter();
        let mut begin = None;
        let (mut handed, idle) = this.read_first(cx, &mut begin);
        loop {
            if handed || !idle {
                this.poll_handler(cx);
            }
            match this.turn(cx, &mut begin, handed) {
                Turn::Handler => handed = true,
                Turn::Ended if this.handler.is_none() => break,
                Turn::Wait(Some(time)) => {
                    this.look_again(cx, handed, time);
                    return Poll::Pending;
                }
                Turn::Wait(None) | Turn::Ended => return Poll::Pending,
            }
        }
        match this.outcome.take() {
            Some(Outcome::Panicked(panic)) => resume_unwind(panic),
            Some(Outcome::Returned(result)) => Poll::Ready(result),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl<S: Io, Fut: Future<Output = Result<()>>> Drive<S, Fut> {
    /// Reads before it polls the handler, if that waits for an event: most often, the transport is
    /// why we were woken. Says whether something has come, and whether the handler has no other
    /// reason to be polled.
    fn read_first(&mut self, cx: &mut Context<'_>, begin: &mut Option<u64>) -> (bool, bool) {
        let mut link = self.shared.lock();
        link.driven_by(cx.waker());
        link.prepare();
        let begin = *begin.get_or_insert(link.received());
        if !link.here || link.connection.state() == State::Closed {
            return (false, false);
        }
        let deaf = link.is_ahead() || link.connection.owes_close();
        let read = !deaf && link.poll_fill(true).is_ready() && link.received() > begin;
        if read {
            link.pass_on(true, false);
        }
        (read, link.dispatched && link.here)
    }

    fn poll_handler(&mut self, cx: &mut Context<'_>) {
        let Some(handler) = &mut self.handler else {
            return;
        };
        let outcome = match catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(cx))) {
            Ok(Poll::Pending) => return,
            Ok(Poll::Ready(result)) => {
                if let Err(error) = &result {
                    self.span.handler_failed(error);
                }
                Outcome::Returned(result)
            }
            Err(panic) => Outcome::Panicked(panic),
        };
        self.outcome = Some(outcome);
        // Its drop may drop the socket, which takes the lock.
        self.handler = None;
    }

    /// Writes, reads and ends the connection, as far as it goes without waiting. `begin` is what
    /// had been read before this poll; the handler was `handed` what came in it.
    fn turn(&mut self, cx: &mut Context<'_>, begin: &mut Option<u64>, handed: bool) -> Turn {
        let mut link = self.shared.lock();
        link.driving = false;
        let mut room = false;
        let turn = loop {
            self.close_for_handler(&mut link);
            let holds = link.holds_close() && link.is_crowded();
            if link.connection.owes_close() && !holds {
                link.connection.answer();
            }
            let before = link.connection.buffered();
            let _ = link.poll_flush();
            let left = link.connection.buffered();
            room |= left < before;
            let state = link.connection.state();
            let told = std::mem::replace(&mut self.told, state);
            if state == State::Closed {
                let ended = link.poll_end().is_ready();
                let news = ended || told != state;
                if link.pass_on(news, news || room) {
                    cx.waker().wake_by_ref();
                }
                if ended {
                    break Turn::Ended;
                }
            } else {
                // Who waits for room in a connection that is closing waits in vain.
                room |= told != state;
                self.look_ahead(&mut link);
                if handed && link.has_ready() {
                    // Who waited in this task may be not the handler, but somebody beside it.
                    cx.waker().wake_by_ref();
                }
                if link.connection.state() == State::Closed || link.connection.buffered() > left {
                    continue;
                }
                let asked = link.abandoned || link.awaits_event();
                let begin = *begin.get_or_insert(link.received());
                let over = link.received() - begin >= TURN;
                // Behind a close that is to be answered comes nothing, and its end is no fault.
                let deaf = over || link.is_ahead() || link.connection.owes_close();
                let read = !deaf && link.poll_fill(asked).is_ready();
                if link.pass_on(read, room) {
                    break Turn::Handler;
                }
                room = false;
                if over {
                    if link.poll_deadlines().is_ready() {
                        continue;
                    }
                    cx.waker().wake_by_ref();
                    break Turn::Wait(None);
                }
                if read {
                    continue;
                }
                if link.has_fault() {
                    link.lose(Error::Closed);
                    continue;
                }
            }
            if link.poll_deadlines().is_pending() {
                break Turn::Wait(link.busy_poll());
            }
        };
        if matches!(turn, Turn::Handler) {
            link.prepare();
        } else {
            link.return_outbox();
            link.return_inbox();
        }
        turn
    }

    /// Keeps the thread awake for a while after something has come. The clock is the system's: a
    /// paused one would stand still while a task wakes itself.
    fn look_again(&mut self, cx: &Context<'_>, handed: bool, time: Duration) {
        let now = Instant::now();
        if handed {
            self.busy = now.checked_add(time);
        }
        self.busy.take_if(|until| now >= *until);
        if self.busy.is_some() {
            cx.waker().wake_by_ref();
        }
    }

    /// Takes note of what has come while nobody waits for it.
    fn look_ahead(&self, link: &mut Link<S>) {
        if link.abandoned {
            while link.next().is_some() {}
        } else if !link.awaits_event() {
            let waited_for = link.waited_for && link.is_crowded();
            link.decode_ahead(waited_for);
        }
    }

    /// What the end of the handler means for the connection.
    fn close_for_handler(&self, link: &mut Link<S>) {
        let code = match &self.outcome {
            Some(Outcome::Panicked(_) | Outcome::Returned(Err(_))) => CloseCode::INTERNAL,
            Some(Outcome::Returned(Ok(()))) | None if link.abandoned => CloseCode::NORMAL,
            _ => return,
        };
        if link.abandoned {
            // A writer that was forgotten does not finish any more.
            link.connection.abandon();
        }
        let close = Close::new(code, Text::default()).ok();
        link.connection.close(close.as_ref());
    }
}

impl<S: Io, Fut> Drop for Drive<S, Fut> {
    fn drop(&mut self) {
        let mut link = self.shared.lock();
        if !link.has_ended() {
            let close = Close::new(CloseCode::GOING_AWAY, Text::default()).ok();
            link.connection.close(close.as_ref());
            link.abort();
        }
        link.pass_on(true, true);
        // It would keep the memory of our task as long as there are handles.
        link.driven_by(Waker::noop());
    }
}
