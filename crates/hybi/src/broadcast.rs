//! One message to many connections.
//!
//! Who they are is the caller's to say: the clients of a server, or the members of a room.

use std::sync::Arc;

use hybi_proto::connection::State;
use hybi_proto::prepared::Prepared;
use hybi_proto::queue::{Admission, Overflow};

use crate::io::Stream;
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

impl Delivery {
    /// Queues the message for one more connection, and wakes whoever writes it. A connection that
    /// is closing is passed over.
    pub(crate) fn to(
        &mut self,
        shared: &Arc<Shared<Stream>>,
        message: &Prepared,
        overflow: &Overflow,
    ) {
        let mut link = shared.lock();
        if link.connection.state() != State::Open {
            return;
        }
        match shared.offer(&mut link, message, overflow) {
            Ok(Admission::Queued) => self.queued += 1,
            Ok(Admission::Displaced) => {
                self.queued += 1;
                self.dropped += 1;
            }
            Ok(Admission::Closed) => self.closed += 1,
            Ok(_) => self.dropped += 1,
            // It is open, so that there is no room; or its transport has failed.
            Err(_) if link.may_send().is_ok() => {
                let handle = Handle::of(shared.clone());
                self.full.extend(handle.map(Sender::new));
            }
            Err(_) => {}
        }
    }
}
