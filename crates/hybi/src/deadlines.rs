//! What the peer of one connection owes, and until when; behind one timer, which exists only while
//! it owes something. No clock is read for a message.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::io::LINGER_TIME;
use crate::options::{Options, Values};

/// What a peer can owe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owed {
    /// To end the transport, after our last byte.
    End,
    /// To finish the closing handshake.
    Close,
    /// To take some of what waits for it.
    Write,
    /// The next byte of a message that it has begun.
    Message,
    /// Nothing; it is us who owe the next part of a message.
    Part,
    /// Nothing; this only runs out to look whether it is silent, and how old the connection is.
    Tick,
}

pub(crate) const ALL: [Owed; 6] = [
    Owed::End,
    Owed::Close,
    Owed::Write,
    Owed::Message,
    Owed::Part,
    Owed::Tick,
];

/// What a peer can owe although nobody reads.
pub(crate) const UNREAD: [Owed; 4] = [Owed::End, Owed::Close, Owed::Write, Owed::Part];

/// The deadlines of one connection. A peer that owes nothing costs nothing.
#[derive(Debug)]
pub(crate) struct Deadlines {
    options: Options,
    running: Option<Box<Running>>,
}

#[derive(Debug, Default)]
struct Running {
    since: [Option<Instant>; ALL.len()],
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadlines {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            options,
            running: None,
        }
    }

    pub(crate) fn options(&self) -> &Values {
        self.options.get()
    }

    /// Whether the peer owes nothing, as far as was noted.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_none()
    }

    /// Notes whether the peer owes this; its time runs from the first note.
    #[inline]
    pub(crate) fn note(&mut self, owed: Owed, is_owed: bool) {
        if is_owed || !self.is_idle() {
            self.change(owed, is_owed);
        }
    }

    #[inline(never)]
    fn change(&mut self, owed: Owed, is_owed: bool) {
        let since = &mut self.running.get_or_insert_default().since[owed as usize];
        if is_owed {
            since.get_or_insert_with(Instant::now);
        } else {
            *since = None;
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.running = None;
    }

    /// Whether a deadline is nearer than the timer, or there is no timer.
    pub(crate) fn lacks_timer(&self) -> bool {
        let Some(running) = &self.running else {
            return false;
        };
        match (&running.timer, running.next(&ALL, &self.options)) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(timer), Some((at, _))) => timer.deadline() > at,
        }
    }

    /// Waits until the time for one of these has passed.
    pub(crate) fn poll(&mut self, owed: &[Owed], waker: &Waker) -> Poll<Owed> {
        while let Some(running) = &mut self.running {
            let next = running.next(owed, &self.options);
            // Under a flood the task spends its budget, and a timer is not heard any more.
            if let Some((at, owed)) = next
                && Instant::now() >= at
            {
                return Poll::Ready(owed);
            }
            let timer = match (&mut running.timer, next) {
                (None, None) => break,
                (None, Some((at, _))) => running.timer.insert(Box::pin(sleep_until(at))),
                (Some(timer), Some((at, _))) if timer.deadline() > at => {
                    timer.as_mut().reset(at);
                    timer
                }
                // A timer that runs out too early is cheaper than one that is set again each time.
                (Some(timer), _) => timer,
            };
            ready!(timer.as_mut().poll(&mut Context::from_waker(waker)));
            running.timer = None;
        }
        if let Some(running) = &self.running
            && running.since.iter().all(Option::is_none)
        {
            self.running = None;
        }
        Poll::Pending
    }
}

impl Running {
    /// The next deadline; a time beyond all clocks is none.
    fn next(&self, owed: &[Owed], options: &Options) -> Option<(Instant, Owed)> {
        let at = |owed: Owed| {
            let time = match owed {
                Owed::End => Some(LINGER_TIME),
                Owed::Close => options.get().close_timeout,
                Owed::Write | Owed::Part => options.get().write_timeout,
                Owed::Message => options.get().message_timeout,
                Owed::Tick => options.get().tick(),
            };
            Some((self.since[owed as usize]?.checked_add(time?)?, owed))
        };
        owed.iter()
            .copied()
            .filter_map(at)
            .min_by_key(|(at, _)| *at)
    }
}
