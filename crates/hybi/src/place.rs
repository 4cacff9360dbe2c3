//! A place among those who wait for room, kept from poll to poll by who cannot keep a future.
//!
//! [`Sender::reserve`](crate::Sender::reserve) waits in a future of its own; what is polled by the
//! traits `Sink` and `AsyncWrite` waits here. How much room there is, is the sender's to say.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::{SemaphorePermit, TryAcquireError};

use crate::sync::{Mutex, PoisonError};
use crate::wakers::Wakers;

/// A place in the queue of one connection; given up when it is dropped.
pub(crate) struct Place {
    wakers: Arc<Wakers>,
    /// Behind a lock, for who has only a reference can give it up, too.
    stage: Mutex<Stage>,
}

enum Stage {
    Away,
    /// Resolves to whether there are turns at all.
    Waiting(Pin<Box<dyn Future<Output = bool> + Send>>),
    Turn,
}

impl Place {
    pub(crate) fn new(wakers: Arc<Wakers>) -> Self {
        Self {
            wakers,
            stage: Mutex::new(Stage::Away),
        }
    }

    /// Waits for the turn; false if there is none any more, since the connection has ended.
    pub(crate) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let stage = self.stage.get_mut().unwrap_or_else(PoisonError::into_inner);
        loop {
            let has_turn = match stage {
                Stage::Turn => return Poll::Ready(true),
                Stage::Waiting(turn) => ready!(turn.as_mut().poll(cx)),
                Stage::Away => match self.wakers.turn().try_acquire() {
                    Ok(turn) => {
                        turn.forget();
                        true
                    }
                    Err(TryAcquireError::Closed) => false,
                    Err(TryAcquireError::NoPermits) => {
                        let wakers = self.wakers.clone();
                        *stage = Stage::Waiting(Box::pin(async move {
                            let turn = wakers.turn().acquire().await;
                            turn.map(SemaphorePermit::forget).is_ok()
                        }));
                        continue;
                    }
                },
            };
            *stage = if has_turn { Stage::Turn } else { Stage::Away };
            return Poll::Ready(has_turn);
        }
    }

    /// Lets the next one have it; true if it was our turn.
    pub(crate) fn give_up(&self) -> bool {
        let stage = {
            let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *stage, Stage::Away)
        };
        let had_turn = matches!(stage, Stage::Turn);
        if had_turn {
            self.wakers.turn().add_permits(1);
        }
        had_turn
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}
