//! The end of a server: new clients are turned away, those that are here are told, waited for,
//! and at last cut off.

use std::collections::HashSet;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use hybi_proto::code::CloseCode;
use hybi_proto::text::Text;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::clients::Clients;
use crate::entropy;
use crate::error::Result;
use crate::shared::ConnectionId;

/// How a server ends.
///
/// ```
/// use std::time::Duration;
/// let how = hybi::Shutdown::new()
///     .close(hybi::CloseCode::SERVICE_RESTART, "back in a minute")
///     .spread(Duration::from_secs(20))
///     .deadline(Duration::from_secs(30));
/// ```
#[derive(Clone, Debug)]
pub struct Shutdown {
    code: CloseCode,
    reason: Text,
    spread: Duration,
    deadline: Duration,
}

/// How the connections of a server ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Those that ended before the deadline.
    pub closed: usize,
    /// Those that were aborted at the deadline.
    pub aborted: usize,
}

/// How far the end of a server has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Open,
    /// New clients are turned away.
    Closing,
    /// It is over.
    Closed,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            code: CloseCode::GOING_AWAY,
            reason: Text::default(),
            spread: Duration::ZERO,
            deadline: Duration::from_secs(10),
        }
    }
}

impl From<()> for Shutdown {
    fn from((): ()) -> Self {
        Self::default()
    }
}

impl Shutdown {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The code and the reason that clients are told (default 1001 and none).
    #[must_use]
    pub fn close(mut self, code: CloseCode, reason: impl Into<Text>) -> Self {
        (self.code, self.reason) = (code, reason.into());
        self
    }

    /// The time over which the closes are spread, at random (default none), so that not all
    /// clients come back at once.
    #[must_use]
    pub fn spread(mut self, time: Duration) -> Self {
        self.spread = time;
        self
    }

    /// The time after which what is still open is aborted (default 10 s), from the beginning, the
    /// spread included.
    #[must_use]
    pub fn deadline(mut self, time: Duration) -> Self {
        self.deadline = time;
        self
    }
}

/// Ends a server, from [`Server::handle`](crate::Server::handle). Cheap to clone.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    pub(crate) clients: Clients,
    pub(crate) phase: Arc<watch::Sender<Phase>>,
    /// The servers that are mounted on it.
    pub(crate) mounted: Arc<Mutex<Vec<ServerHandle>>>,
}

impl ServerHandle {
    /// Shuts the server down: new clients get 503, those that are here a close frame with 1001, or
    /// as the [`Shutdown`] says; at its deadline what is still open is aborted. Then
    /// [`Server::serve`](crate::Server::serve) returns. `shutdown(())` takes the defaults.
    ///
    /// The server must go on serving meanwhile, for it turns the new clients away. Connections
    /// that it does not [track](crate::Server::track) are left alone.
    ///
    /// Cancel safe: a dropped call leaves the server closing; call it again to finish.
    ///
    /// # Errors
    ///
    /// A close code that no frame may carry, or a reason of more than 123 bytes: nothing is done.
    pub async fn shutdown(&self, how: impl Into<Shutdown>) -> Result<Report> {
        let how = how.into();
        // A code that cannot be sent is said before anything is done.
        hybi_proto::close::Close::new(how.code, how.reason.clone())?;
        let servers = self.all();
        let ends = servers.iter().map(|server| {
            let end = shutdown(&how, &server.clients, &server.phase);
            (Box::pin(end), None)
        });
        let mut ends: Vec<(_, Option<Result<Report>>)> = ends.collect();
        // All of them at once.
        poll_fn(|cx| {
            let mut ready = true;
            for (end, report) in &mut ends {
                if report.is_none() {
                    match end.as_mut().poll(cx) {
                        Poll::Ready(ended) => *report = Some(ended),
                        Poll::Pending => ready = false,
                    }
                }
            }
            if ready {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        let mut all = Report::default();
        for report in ends.into_iter().filter_map(|(_, report)| report) {
            let report = report?;
            all.closed += report.closed;
            all.aborted += report.aborted;
        }
        for server in &servers {
            server.phase.send_replace(Phase::Closed);
        }
        Ok(all)
    }

    /// Turns new clients away with 503, and leaves those that are here alone: see
    /// [`drained`](Self::drained). [`shutdown`](Self::shutdown) ends it.
    pub fn stop_accepting(&self) {
        for server in self.all() {
            close_door(&server.phase);
        }
    }

    /// Waits until no client is here, of those that are [tracked](crate::Server::track).
    ///
    /// Cancel safe: a dropped call changes nothing.
    pub async fn drained(&self) {
        for server in self.all() {
            loop {
                let changed = server.clients.changed();
                if server.clients.is_empty() {
                    break;
                }
                changed.await;
            }
        }
    }

    /// This server, and all that are mounted on it or on those.
    fn all(&self) -> Vec<ServerHandle> {
        let mut servers = vec![self.clone()];
        let mut at = 0;
        while let Some(server) = servers.get(at) {
            let mounted = server.mounted();
            servers.extend(mounted);
            at += 1;
        }
        servers
    }

    fn mounted(&self) -> Vec<ServerHandle> {
        let mounted = self.mounted.lock();
        mounted.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Ends one server, but for its last phase.
async fn shutdown(
    how: &Shutdown,
    clients: &Clients,
    phase: &watch::Sender<Phase>,
) -> Result<Report> {
    close_door(phase);
    clients.bid_farewell(how.code, how.reason.clone());
    let begin = Instant::now();
    let deadline = begin + how.deadline;
    let mut seen = HashSet::new();
    let _ = timeout_at(deadline, close_spread(how, clients, begin, &mut seen)).await;
    while Instant::now() < deadline {
        let changed = clients.changed();
        // Who was let in just before the doors closed is told, too.
        for sender in clients.iter() {
            seen.insert(sender.id());
            sender.start_close(how.code, how.reason.clone())?;
        }
        if clients.is_empty() || timeout_at(deadline, changed).await.is_err() {
            break;
        }
    }
    let mut aborted = 0;
    for sender in clients.iter() {
        seen.insert(sender.id());
        sender.abort();
        aborted += 1;
    }
    Ok(Report {
        closed: seen.len() - aborted,
        aborted,
    })
}

fn close_door(phase: &watch::Sender<Phase>) {
    phase.send_if_modified(|phase| std::mem::replace(phase, Phase::Closing.max(*phase)) < *phase);
}

/// Tells the clients that are here, each at a moment of its own.
async fn close_spread(
    how: &Shutdown,
    clients: &Clients,
    begin: Instant,
    seen: &mut HashSet<ConnectionId>,
) {
    let mut moments: Vec<_> = clients
        .iter()
        .map(|sender| (how.spread.mul_f64(entropy::fraction()), sender.id()))
        .collect();
    moments.sort_unstable();
    seen.extend(moments.iter().map(|(_, id)| *id));
    for (after, id) in moments {
        if !how.spread.is_zero() {
            sleep_until(begin + after).await;
        }
        if let Some(sender) = clients.get(id) {
            // The code was judged before; a client that has gone meanwhile needs no close.
            let _ = sender.start_close(how.code, how.reason.clone());
        }
    }
}
