//! The one waker that a socket sees, and those who wait behind it.
//!
//! Whoever polls the socket, it is given the same waker, so that a wake-up is never left with a
//! task that has lost interest. On a driven connection the driver sees to the socket, and passes on
//! what concerns the others; who writes in its stead does the same.

use std::sync::Arc;
use std::task::{Wake, Waker};

use tokio::sync::Semaphore;

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
    driver: Option<Waker>,
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
    Drive,
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
            Interest::Drive => &mut slots.driver,
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

    /// The turn to wait for room.
    pub(crate) fn turn(&self) -> &Semaphore {
        &self.turn
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

    /// Wakes the driver, if there is one.
    pub(crate) fn wake_driver(&self) {
        let driver = self.slots().driver.clone();
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Wakes the driver, or else all who wait.
    pub(crate) fn wake_waiting(&self) {
        let slots = {
            let mut slots = self.slots();
            if slots.driver.is_some() {
                Slots {
                    driver: slots.driver.clone(),
                    ..Slots::default()
                }
            } else {
                std::mem::take(&mut *slots)
            }
        };
        let one = [slots.driver, slots.recv, slots.send];
        for waker in one.into_iter().flatten().chain(slots.flush) {
            waker.wake();
        }
    }

    /// Wakes those who wait for an event or for room, as the driver `by` has brought it; says
    /// whether the receiver is in the driver's own task: it is not woken, for it can be polled at
    /// once.
    pub(crate) fn pass_on(&self, event: bool, room: bool, by: &Waker) -> bool {
        let mut recv = None;
        let mut send = None;
        let mut flush = Vec::new();
        {
            let mut slots = self.slots();
            if event {
                recv = slots.recv.take();
            }
            if room {
                send = slots.send.take();
                flush = std::mem::take(&mut slots.flush);
            }
        }
        for waker in send.into_iter().chain(flush) {
            waker.wake();
        }
        match recv {
            Some(receiver) if receiver.will_wake(by) => true,
            Some(receiver) => {
                receiver.wake();
                false
            }
            None => false,
        }
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
