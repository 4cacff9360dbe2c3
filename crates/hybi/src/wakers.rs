//! Those who wait for one connection.
//!
//! Whoever polls the transport, it is given the same waker, so that a wake-up is never left with a
//! task that has lost interest. Of a driven connection that is the driver's own, and the driver
//! passes on what concerns the others; who writes in its stead does the same. Of others it is the
//! one made here, which wakes all who wait.

use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

use tokio::sync::{Semaphore, TryAcquireError};

use crate::sync::{Mutex, MutexGuard, PoisonError};

/// Those who wait for one connection.
#[derive(Debug)]
pub(crate) struct Wakers {
    slots: Mutex<Slots>,
    /// Who waits for room in the backlog, in the order in which they came.
    turn: Semaphore,
}

#[derive(Debug, Default)]
struct Slots {
    /// Waits for an event.
    recv: Option<Waker>,
    /// Waits for room in the backlog: who has the turn.
    send: Option<Waker>,
    /// Wait until all has left.
    flush: Vec<Waker>,
}

/// What somebody waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Interest {
    Recv,
    Send,
    Flush,
}

impl Default for Wakers {
    fn default() -> Self {
        Self {
            slots: Mutex::default(),
            turn: Semaphore::new(1),
        }
    }
}

impl Wakers {
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers who waits for what; true unless it was known.
    pub(crate) fn wait(&self, interest: Interest, waker: &Waker) -> bool {
        let mut slots = self.slots();
        let slot = match interest {
            Interest::Recv => &mut slots.recv,
            Interest::Send => &mut slots.send,
            Interest::Flush => {
                let is_new = !slots.flush.iter().any(|known| known.will_wake(waker));
                if is_new {
                    slots.flush.push(waker.clone());
                }
                return is_new;
            }
        };
        match slot {
            Some(known) if known.will_wake(waker) => false,
            slot => {
                *slot = Some(waker.clone());
                true
            }
        }
    }

    /// Forgets one who did not have to wait until all has left.
    pub(crate) fn forget_flush(&self, waker: &Waker) {
        self.slots().flush.retain(|known| !known.will_wake(waker));
    }

    /// Whether somebody has the turn to wait for room.
    pub(crate) fn is_crowded(&self) -> bool {
        self.turn.available_permits() == 0
    }

    /// The connection has ended: nobody waits for it any more.
    pub(crate) fn end(&self) {
        self.turn.close();
        self.wake_waiting();
    }

    /// Whether somebody waits for an event.
    pub(crate) fn awaits_event(&self) -> bool {
        self.slots().recv.is_some()
    }

    /// Wakes all who wait.
    pub(crate) fn wake_waiting(&self) {
        self.pass_on(true, true);
    }

    /// Wakes those who wait for an event or for room; says whether somebody waits for the other.
    pub(crate) fn pass_on(&self, event: bool, room: bool) -> bool {
        let mut woken = Slots::default();
        let left = {
            let mut slots = self.slots();
            if event {
                woken.recv = slots.recv.take();
            }
            if room {
                woken.send = slots.send.take();
                woken.flush = std::mem::take(&mut slots.flush);
            }
            slots.recv.is_some() || slots.send.is_some() || !slots.flush.is_empty()
        };
        let one = [woken.recv, woken.send];
        for waker in one.into_iter().flatten().chain(woken.flush) {
            waker.wake();
        }
        left
    }
}

/// The turn to wait for room in the backlog; the next one has it when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Wakers>);

impl Turn {
    /// Waits for it; `None` if there is none any more, since the connection has ended.
    pub(crate) async fn wait(wakers: Arc<Wakers>) -> Option<Self> {
        wakers.turn.acquire().await.ok()?.forget();
        Some(Self(wakers))
    }

    /// Takes it, if nobody has it; `None` if there is none any more.
    pub(crate) fn take(wakers: &Arc<Wakers>) -> Poll<Option<Self>> {
        match wakers.turn.try_acquire() {
            Ok(turn) => {
                turn.forget();
                Poll::Ready(Some(Self(wakers.clone())))
            }
            Err(TryAcquireError::Closed) => Poll::Ready(None),
            Err(TryAcquireError::NoPermits) => Poll::Pending,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.turn.add_permits(1);
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_waiting();
    }

    /// The socket or the timer is ready.
    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_waiting();
    }
}
