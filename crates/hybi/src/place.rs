//! A place among those who wait for room, kept from poll to poll by who cannot keep a future.
//!
//! [`Sender::reserve`](crate::Sender::reserve) waits in a future of its own; what is polled by the
//! traits `Sink` and `AsyncWrite` waits here. How much room there is, is the sender's to say.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::sync::{Mutex, PoisonError};
use crate::wakers::{Turn, Wakers};

/// A place in the queue of one connection; given up when it is dropped.
pub(crate) struct Place {
    wakers: Arc<Wakers>,
    /// Behind a lock, for who has only a reference can give it up, too.
    stage: Mutex<Stage>,
}

enum Stage {
    Away,
    Waiting(Pin<Box<dyn Future<Output = Option<Turn>> + Send>>),
    Here(Turn),
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
            let turn = match stage {
                Stage::Here(_) => return Poll::Ready(true),
                Stage::Waiting(turn) => ready!(turn.as_mut().poll(cx)),
                Stage::Away => match Turn::take(&self.wakers) {
                    Poll::Ready(turn) => turn,
                    Poll::Pending => {
                        *stage = Stage::Waiting(Box::pin(Turn::wait(self.wakers.clone())));
                        continue;
                    }
                },
            };
            let has_turn = turn.is_some();
            *stage = turn.map_or(Stage::Away, Stage::Here);
            return Poll::Ready(has_turn);
        }
    }

    /// Lets the next one have it; true if it was our turn.
    pub(crate) fn give_up(&self) -> bool {
        let stage = {
            let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *stage, Stage::Away)
        };
        let Stage::Here(turn) = stage else {
            return false;
        };
        drop(turn);
        true
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}
