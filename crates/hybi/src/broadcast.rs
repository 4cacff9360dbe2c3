//! One message to many connections.
//!
//! Who they are is the caller's to say: the clients of a server, or the members of a room.

use std::borrow::Borrow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hybi_proto::connection::State;
use hybi_proto::prepared::Prepared;
use hybi_proto::queue::{Admission, Overflow};
use tokio::runtime::Handle as Runtime;

use crate::io::Stream;
use crate::link::Link;
use crate::sender::Sender;
use crate::shared::{Handle, Shared};

/// What became of a message to many: for how many connections which.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Delivery {
    /// It was queued.
    pub queued: usize,
    /// The backlog was full, and the policy has dropped a message: this one, or older ones that
    /// made room for it.
    pub dropped: usize,
    /// The backlog was full, and the policy has closed the connection.
    pub closed: usize,
    /// Under [`Overflow::Wait`], the connections whose backlog was full. It was not queued for
    /// them: to wait for them, [`send_prepared`](Sender::send_prepared) it to each.
    pub full: Vec<Sender>,
}

/// Queues a message for each of these connections, and sees to it that it is written. Those that
/// are closing are passed over.
pub(crate) fn deliver<O: Borrow<Overflow>>(
    message: &Prepared,
    to: impl ExactSizeIterator<Item = (Arc<Shared<Stream>>, O)>,
) -> Delivery {
    let mut delivery = Delivery::default();
    let mut idle = Vec::with_capacity(to.len());
    for (shared, overflow) in to {
        let mut link = shared.lock();
        if link.connection.state() != State::Open || link.may_send().is_err() {
            continue;
        }
        delivery.queue(&shared, &mut link, message, overflow.borrow());
        if link.driven && !link.driving && !link.flushing && !link.connection.outbox().is_blocked()
        {
            link.flushing = true;
            drop(link);
            idle.push(shared);
        }
    }
    Flush::start(idle);
    delivery
}

impl Delivery {
    fn queue(
        &mut self,
        shared: &Arc<Shared<Stream>>,
        link: &mut Link<Stream>,
        message: &Prepared,
        overflow: &Overflow,
    ) {
        let admission = if link.driven {
            link.lend_small();
            let admission = shared.admit_prepared(link, message, overflow);
            admission.map_err(drop)
        } else {
            let admission = shared.offer(link, message.into(), overflow);
            admission.map_err(drop)
        };
        match admission {
            Ok(Admission::Queued) => self.queued += 1,
            Ok(Admission::Displaced) => {
                self.queued += 1;
                self.dropped += 1;
            }
            Ok(Admission::Closed) => {
                self.closed += 1;
                // It has a deadline now.
                link.wake_driver();
            }
            Ok(_) => self.dropped += 1,
            // The connection is open: there is no room.
            Err(()) => {
                let handle = Handle::of(shared.clone());
                self.full.extend(handle.map(Sender::new));
            }
        }
    }
}

/// Writes what was queued for driven connections, in their drivers' stead: a task of its own for
/// a number of them costs less than to wake each. It runs when the task that has queued it yields,
/// so that all that was queued till then leaves in one write.
///
/// What it leaves undone, because it is dropped, is left to the drivers.
struct Flush(Vec<Arc<Shared<Stream>>>);

/// The connections that one task sees to without a pause: fewer than the writes that the runtime
/// grants a task at a time.
const TOGETHER: usize = 64;

impl Flush {
    fn start(mut connections: Vec<Arc<Shared<Stream>>>) {
        while !connections.is_empty() {
            let rest = connections.len().saturating_sub(TOGETHER);
            let flush = Self(connections.split_off(rest));
            if let Ok(runtime) = Runtime::try_current() {
                runtime.spawn(flush);
            }
        }
    }
}

impl Future for Flush {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        while let Some(shared) = self.0.pop() {
            let mut link = shared.lock();
            link.flushing = false;
            // A driver that is at work writes when its handler yields.
            if link.driving || link.has_ended() {
                continue;
            }
            let before = link.connection.buffered();
            let written = link.poll_flush();
            link.return_outbox();
            if link.connection.buffered() < before {
                link.pass_on(false, true);
            }
            if written.is_pending() {
                // Somebody has to watch the time.
                link.wake_driver();
            }
        }
        Poll::Ready(())
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        for shared in self.0.drain(..) {
            let mut link = shared.lock();
            link.flushing = false;
            link.wake_driver();
        }
    }
}
