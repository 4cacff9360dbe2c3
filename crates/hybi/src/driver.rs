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
use crate::shared::{Locked, Shared};
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
    begin(ws, handler)
}

/// As [`drive`], for a handler that is not always a future: see [`Drive::poll_by`].
pub(crate) fn begin<S, F, Fut>(ws: WebSocket<S>, handler: F) -> Drive<S, Fut>
where
    S: Io,
    F: FnOnce(WebSocket<S>) -> Fut,
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
        shared,
        span,
        course: Course {
            handler,
            outcome,
            told: State::Open,
            busy: None,
        },
    }
}

/// The future of [`drive`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Drive<S: Io, Fut> {
    shared: Arc<Shared<S>>,
    span: Span,
    course: Course<Fut>,
}

/// How far a handler and what is told of it have come.
#[derive(Debug)]
struct Course<Fut> {
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
        self.get_mut().poll_by(cx, |future, shared, link, cx| {
            drop(link);
            let polled = future.poll(cx);
            (polled, shared.lock())
        })
    }
}

impl<S: Io, Fut> Drive<S, Fut> {
    /// Goes on, and polls the handler in this way: it is given the connection locked and gives it
    /// back so, with as few locks between as it needs.
    #[inline]
    pub(crate) fn poll_by(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl for<'a> Fn(
            Pin<&mut Fut>,
            &'a Shared<S>,
            Locked<'a, S>,
            &mut Context<'_>,
        ) -> (Poll<Result<()>>, Locked<'a, S>),
    ) -> Poll<Result<()>> {
        let Self {
            shared,
            span,
            course,
        } = self;
        let _entered = span.enter();
        let mut link = shared.lock();
        let begin = link.received();
        let (mut handed, idle) = read_first(&mut link, cx, begin);
        loop {
            if (handed || !idle)
                && let Some(handler) = &mut course.handler
            {
                let polled = AssertUnwindSafe(|| poll(handler.as_mut(), shared, link, cx));
                link = match catch_unwind(polled) {
                    Ok((Poll::Pending, link)) => link,
                    ended => {
                        let ended = ended.map(|(polled, _)| polled);
                        course.end(ended, span);
                        shared.lock()
                    }
                };
            }
            match course.turn(&mut link, cx, begin, handed) {
                Turn::Handler => handed = true,
                Turn::Ended if course.handler.is_none() => break,
                Turn::Wait(Some(time)) => {
                    course.look_again(cx, handed, time);
                    return Poll::Pending;
                }
                Turn::Wait(None) | Turn::Ended => return Poll::Pending,
            }
        }
        drop(link);
        match course.outcome.take() {
            Some(Outcome::Panicked(panic)) => resume_unwind(panic),
            Some(Outcome::Returned(result)) => Poll::Ready(result),
            None => Poll::Ready(Ok(())),
        }
    }
}

/// Reads before the handler is polled, if that waits for an event: most often, the transport is
/// why we were woken. Says whether something has come, and whether the handler has no other
/// reason to be polled.
#[inline(always)]
fn read_first<S: Io>(link: &mut Link<S>, cx: &Context<'_>, begin: u64) -> (bool, bool) {
    link.driven_by(cx.waker());
    link.prepare();
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

impl<Fut> Course<Fut> {
    /// The handler has returned or panicked.
    #[cold]
    fn end(&mut self, ended: std::thread::Result<Poll<Result<()>>>, span: &Span) {
        self.outcome = match ended {
            Ok(Poll::Pending) => return,
            Ok(Poll::Ready(result)) => {
                if let Err(error) = &result {
                    span.handler_failed(error);
                }
                Some(Outcome::Returned(result))
            }
            Err(panic) => Some(Outcome::Panicked(panic)),
        };
        // Its drop may drop the socket, which takes the lock.
        self.handler = None;
    }

    /// Writes, reads and ends the connection, as far as it goes without waiting. `begin` is what
    /// had been read before this poll; the handler was `handed` what came in it.
    fn turn<S: Io>(
        &mut self,
        link: &mut Link<S>,
        cx: &Context<'_>,
        begin: u64,
        handed: bool,
    ) -> Turn {
        link.driving = false;
        let mut room = false;
        let turn = loop {
            self.close_for_handler(link);
            if link.connection.owes_close() && !(link.holds_close() && link.is_crowded()) {
                link.connection.answer();
            }
            let before = (link.sent(), link.is_held());
            let _ = link.poll_flush();
            room |= (link.sent(), link.is_held()) != before || link.has_fault();
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
                let asked = link.abandoned || link.awaits_event();
                let answers = (link.abandoned || !asked) && look_ahead(link);
                if handed && link.has_ready() {
                    // Who waited in this task may be not the handler, but somebody beside it.
                    cx.waker().wake_by_ref();
                }
                if answers {
                    continue;
                }
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
            link.return_buffers();
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

    /// What the end of the handler means for the connection.
    fn close_for_handler<S: Io>(&self, link: &mut Link<S>) {
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

/// Takes note of what has come while nobody waits for it; true if that is the end, or is to be
/// answered.
fn look_ahead<S: Io>(link: &mut Link<S>) -> bool {
    let before = link.connection.buffered();
    if link.abandoned {
        while link.next().is_some() {}
    } else {
        let waited_for = link.waited_for && link.is_crowded();
        link.decode_ahead(waited_for);
    }
    link.connection.state() == State::Closed || link.connection.buffered() > before
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
