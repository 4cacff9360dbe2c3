//! Clients that wait for who takes them one by one.
//!
//! Each request is read, and waits once it holds, in a task of its own, which ends at the deadline
//! of the handshake whether somebody comes or not.

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::door::{Fresh, seen};
use super::{Config, Server};
use crate::error::Error;
use crate::exchange::Deadline;
use crate::incoming::Incoming;
use crate::shutdown::Phase;

/// The clients of [`Server::accept`] that nobody has taken yet.
#[derive(Debug)]
pub(super) struct Waiting {
    tasks: JoinSet<Option<Incoming>>,
    /// How to call those who are ready, in their order. Never more than there are heads, for it is
    /// emptied before another client is let in.
    ready: mpsc::UnboundedReceiver<Call>,
    is_ready: mpsc::UnboundedSender<Call>,
}

/// Calls a client in; who has gone does not hear it.
type Call = oneshot::Sender<()>;

impl Default for Waiting {
    fn default() -> Self {
        let (is_ready, ready) = mpsc::unbounded_channel();
        Self {
            tasks: JoinSet::new(),
            ready,
            is_ready,
        }
    }
}

impl Server {
    /// Waits for the next client whose request has arrived and holds. The requests of several
    /// clients are read side by side; those that do not hold are refused, and plain requests go
    /// to the fallback; routes and [`on_handshake`](Self::on_handshake) are not for these. `None`
    /// once the server was [shut down](crate::ServerHandle::shutdown).
    ///
    /// Who is ready waits for the call, within
    /// [`Options::handshake_timeout`](crate::Options::handshake_timeout), counted from when it has
    /// connected; then its connection is dropped.
    ///
    /// Cancel safe: a dropped call loses nothing.
    pub async fn accept(&mut self) -> Option<Incoming> {
        let mut phase = self.config.phase.subscribe();
        let waiting = &mut self.waiting;
        let mut called = false;
        loop {
            tokio::select! {
                // Who is ready is given before more are read.
                biased;
                _ = phase.wait_for(|phase| *phase == Phase::Closed) => return None,
                Some(ended) = waiting.tasks.join_next() => {
                    if let Ok(Some(incoming)) = ended {
                        return Some(incoming);
                    }
                }
                Some(call) = waiting.ready.recv(), if !called => called = call.send(()).is_ok(),
                fresh = Fresh::accept(&self.listener, &self.config) => {
                    let ready = waiting.is_ready.clone();
                    waiting.tasks.spawn(wait(fresh, self.config.clone(), ready));
                }
            }
        }
    }
}

/// Reads the request of a client, and waits until it is called in. Meanwhile it has its place among
/// those whose heads are read.
async fn wait(
    fresh: Fresh,
    config: Arc<Config>,
    ready: mpsc::UnboundedSender<Call>,
) -> Option<Incoming> {
    let deadline = Deadline::after(config.options.get().handshake_timeout);
    let peer = fresh.peer;
    let waited = pin!(async {
        let (incoming, _head) = fresh.greet(&config).await?;
        let (call, called) = oneshot::channel();
        ready.send(call).map_err(|_| Error::Closed)?;
        called.await.map_err(|_| Error::Closed)?;
        Ok(incoming)
    });
    seen(peer, deadline.run(waited).await)
}
