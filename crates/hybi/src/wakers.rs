//! The one waker that a socket sees, and those who wait behind it.
//!
//! Whoever polls the socket, it is given the same waker, so that a wake-up is never left with a
//! task that has lost interest. On a driven connection only the driver touches the socket, and
//! passes on what concerns the others.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// Those who wait for one connection.
#[derive(Debug, Default)]
pub(crate) struct Wakers(Mutex<Slots>);

#[derive(Debug, Default)]
struct Slots {
    driver: Option<Waker>,
    /// Waits for an event.
    recv: Option<Waker>,
    /// Waits for room in the backlog, or for it to be empty.
    send: Option<Waker>,
}

/// What somebody waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Interest {
    Drive,
    Recv,
    Send,
}

impl Wakers {
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers who waits for what.
    pub(crate) fn wait(&self, interest: Interest, waker: &Waker) {
        let mut slots = self.slots();
        let slot = match interest {
            Interest::Drive => &mut slots.driver,
            Interest::Recv => &mut slots.recv,
            Interest::Send => &mut slots.send,
        };
        match slot {
            Some(known) => known.clone_from(waker),
            None => *slot = Some(waker.clone()),
        }
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

    /// Wakes those who wait for an event or for room, as the driver `by` has brought it; says
    /// whether the receiver is in the driver's own task: it is not woken, for it can be polled at
    /// once.
    pub(crate) fn pass_on(&self, event: bool, room: bool, by: &Waker) -> bool {
        let (recv, send) = {
            let mut slots = self.slots();
            let recv = if event { slots.recv.take() } else { None };
            let send = if room { slots.send.take() } else { None };
            (recv, send)
        };
        if let Some(sender) = send {
            sender.wake();
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
        self.wake_by_ref();
    }

    /// The socket or the timer is ready.
    fn wake_by_ref(self: &Arc<Self>) {
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
        for waker in [slots.driver, slots.recv, slots.send].into_iter().flatten() {
            waker.wake();
        }
    }
}
