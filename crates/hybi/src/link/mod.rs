//! One connection and its transport.
//!
//! Here is the waiting that the protocol does not know: in `flow` filling the inbox and draining
//! the outbox, in `ahead` what is decoded for a busy receiver, in `due` the deadlines, in `end` the
//! lingering end. Who calls it is the handle's or the driver's affair.

mod ahead;
mod due;
mod end;
mod flow;
mod offload;

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::BufMut;
use hybi_proto::connection::{Connection, Role, State};
use hybi_proto::error::{ProtocolError, SendError};
use hybi_proto::message::{EventRef, Message};

use crate::deadlines::Deadlines;
use crate::entropy;
use crate::error::Error;
use crate::io::Io;
use crate::options::Options;
use crate::pings::{Pings, RoundTrip};
use crate::pulse::Pulse;
use crate::stats::Stats;
use crate::trace::Span;
use crate::wakers::{Interest, Wakers};

use ahead::Ahead;
use end::End;
use offload::Offloaded;

/// The connection and its transport.
#[derive(Debug)]
pub(crate) struct Link<S> {
    /// Gone when the connection has ended.
    io: Option<S>,
    /// What a server holds for this connection; it goes with the transport.
    pub(crate) entry: Option<Box<dyn fmt::Debug + Send + Sync>>,
    pub(crate) connection: Connection,
    /// Events taken, for [`spends_budget`](Self::spends_budget).
    taken: u8,
    /// What was decoded while the receiver was busy.
    ahead: Option<Box<Ahead>>,
    /// A part of a message was taken, and not the last one yet.
    reading: bool,
    /// The same of the message that is being decoded, which may be ahead of what is taken.
    in_parts: bool,
    /// Bytes that were read although nobody waited for them, and were not asked for since.
    unasked: u32,
    /// The thread's read buffer is lent.
    lent: bool,
    /// The thread's buffer for outgoing frames is lent.
    lent_outbox: bool,
    /// Those who wait. While a driver sees to the connection, there is most often nobody.
    wakers: Option<Arc<Wakers>>,
    /// The only waker that the transport and the timer see: the driver's, or that of [`Wakers`].
    waker: Waker,
    client: bool,
    pub(crate) driven: bool,
    /// Its events go to a [`Handler`](crate::events::Handler).
    pub(crate) dispatched: bool,
    /// An event [`Handler`](crate::events::Handler) is to see the rest of what was read when less
    /// is queued: nothing is read until then.
    pub(crate) choked: bool,
    /// See [`is_choked`](Self::is_choked) and [`is_pressed`](Self::is_pressed), in bytes.
    choke: u32,
    press: u32,
    /// The driver is about to drain the outbox: nobody has to wake it for that.
    pub(crate) driving: bool,
    /// Somebody is about to write what waits: see `broadcast`.
    pub(crate) flushing: bool,
    /// The handler waits for an event, in the driver's own task: it can be polled at once.
    pub(crate) here: bool,
    /// Somebody may wait behind [`Wakers`]: to be told by the driver, or who drains in its stead.
    pub(crate) awaited: bool,
    /// Who has the turn waits for room.
    pub(crate) waited_for: bool,
    /// It has done so since before the peer closed, or answers what came before that.
    pub(crate) grace: bool,
    /// Somebody waits until all has left that stands behind a message in parts.
    pub(crate) behind: bool,
    /// The last handle is gone.
    pub(crate) abandoned: bool,
    end: End,
    /// Why the connection ended, until it was told; then [`Error::Closed`].
    fault: Option<Box<Error>>,
    /// A stream has given that error, or another: it has ended.
    pub(crate) told: bool,
    /// Some of what was queued was given up.
    cut: bool,
    /// The transport may hold back some of what was written, as TLS does while a socket is full.
    held: bool,
    /// A write has failed: the transport is not asked to write any more, only to read.
    broken: bool,
    deadlines: Deadlines,
    pings: Option<Box<Pings>>,
    /// Of the last ping that was answered, in nanoseconds.
    round_trip: Option<NonZeroU64>,
    /// Bytes read and written.
    received: u64,
    sent: u64,
    pulse: Pulse,
    /// Somebody else calls [`tick`](Self::tick).
    pub(crate) ticked: bool,
    pub(crate) span: Span,
    /// A read waits for the peer. Where nobody reads, the peer owes us nothing.
    starved: bool,
    /// Another thread compresses what is next.
    offloaded: Option<Offloaded>,
    /// The last read has brought less than there was room for: most often the next one has to wait.
    short: bool,
}

/// What a receiver is told.
type Received = Poll<Result<Option<Message>, Error>>;

/// While so many bytes are queued, or half the backlog, an event handler is shown nothing, and its
/// connection is not read.
const CHOKED: usize = 64 << 10;

/// The answers of a handler to what one read has brought are gathered up to so many bytes, or half
/// the backlog, so that the answers to one message find room for the other half.
const GATHERED: usize = 256 << 10;

/// So many events cost one unit of the runtime's cooperative budget, of which a task has 128.
const EVENTS: u8 = 64;

impl<S: Io> Link<S> {
    pub(crate) fn new(
        io: S,
        client: bool,
        read_ahead: &[u8],
        options: &Options,
        span: Span,
    ) -> Self {
        let role = if client {
            Role::Client(entropy::mask_key)
        } else {
            Role::Server
        };
        // Half the backlog is for what an event handler may still queue.
        let half = (options.get().limits.backlog / 2).max(1);
        let mut connection = Connection::new(role, options.get().limits.clone());
        connection.set_auto_pong(options.get().auto_pong);
        if !read_ahead.is_empty() {
            connection.lend_inbox(Vec::with_capacity(read_ahead.len()));
            connection.inbox().put_slice(read_ahead);
        }
        Self {
            io: Some(io),
            entry: None,
            connection,
            taken: 0,
            ahead: None,
            reading: false,
            in_parts: false,
            unasked: 0,
            lent: false,
            lent_outbox: false,
            waker: Waker::noop().clone(),
            wakers: None,
            client,
            driven: false,
            dispatched: false,
            choked: false,
            choke: half.min(CHOKED) as u32,
            press: half.min(GATHERED) as u32,
            driving: false,
            flushing: false,
            here: false,
            awaited: false,
            waited_for: false,
            grace: false,
            behind: false,
            abandoned: false,
            end: End::Live,
            fault: None,
            told: false,
            cut: false,
            held: false,
            broken: false,
            deadlines: Deadlines::new(options.clone()),
            pings: None,
            round_trip: None,
            received: read_ahead.len() as u64,
            sent: 0,
            pulse: Pulse::default(),
            ticked: false,
            span,
            starved: false,
            offloaded: None,
            short: false,
        }
    }

    /// Whether all has left that was queued.
    pub(crate) fn has_left(&self) -> bool {
        self.connection.buffered() == 0 && !self.held
    }

    /// Whether the transport may hold back some of what has left.
    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    pub(crate) fn io(&self) -> Option<&S> {
        self.io.as_ref()
    }

    /// The next message of a connection whose driver is at work, where nothing is to be seen to but
    /// the message: what most are. Otherwise `None`, and it is for [`next`](Self::next) to say.
    #[inline]
    pub(crate) fn poll_plain(&mut self, waker: &Waker) -> Option<Received> {
        let plain = self.driving && self.ahead.is_none() && !self.reading && !self.in_parts;
        if !plain || self.taken + 1 == EVENTS {
            return None;
        }
        if let Some(message) = self.connection.next_plain() {
            self.taken += 1;
            return Some(Poll::Ready(Ok(Some(message))));
        }
        if !self.connection.is_at_rest() || self.connection.state() == State::Closed {
            return None;
        }
        self.unasked = 0;
        self.wait_for_event(waker);
        Some(Poll::Pending)
    }

    /// Whether this event is one of those that cost a unit of the runtime's cooperative budget.
    pub(crate) fn spends_budget(&mut self) -> bool {
        self.taken = (self.taken + 1) % EVENTS;
        self.taken == 0
    }

    fn hear_pong(&mut self, payload: &[u8]) {
        if let Some(pings) = &mut self.pings {
            let nanos = pings
                .answered(payload)
                .map(|time| time.as_nanos().max(1) as u64);
            self.round_trip = nanos.and_then(NonZeroU64::new).or(self.round_trip);
            if pings.is_empty() {
                self.pings = None;
            }
        }
    }

    /// Answers what a detached decoder has found.
    pub(crate) fn respond(&mut self, event: &EventRef<'_>) {
        self.connection.respond(event);
        if let EventRef::Pong(payload) = event {
            self.hear_pong(payload);
        }
    }

    /// Ends the connection for a violation that a detached decoder has found.
    pub(crate) fn violate(&mut self, error: ProtocolError) {
        self.span.violated(error);
        self.connection.fail(error);
        self.fail(error);
    }

    /// Queues a ping, and notes when.
    pub(crate) fn ping(&mut self, payload: &[u8]) -> Result<RoundTrip, SendError> {
        self.connection.ping(payload)?;
        Ok(self.pings.get_or_insert_default().sent(payload))
    }

    /// Whether so much is queued that an event handler is not asked for more.
    pub(crate) fn is_choked(&self) -> bool {
        self.connection.buffered() >= self.choke as usize
    }

    /// Whether so much is queued that it has to leave before an event handler is asked for more.
    pub(crate) fn is_pressed(&self) -> bool {
        self.connection.buffered() >= self.press as usize
    }

    /// Those who wait for this connection. Unless a driver sees to it, the transport wakes them.
    pub(crate) fn wakers(&mut self) -> &Arc<Wakers> {
        let wakers = self.wakers.take().unwrap_or_else(|| {
            let wakers = Arc::new(Wakers::default());
            if self.has_ended() {
                wakers.end();
            }
            if !self.driven {
                self.waker = wakers.clone().into();
            }
            wakers
        });
        self.wakers.insert(wakers)
    }

    /// Whether somebody waits for room in the backlog, or was given it.
    pub(crate) fn is_crowded(&self) -> bool {
        self.wakers
            .as_ref()
            .is_some_and(|wakers| wakers.is_crowded())
    }

    /// Makes the waker of a connection that nobody drives, before the transport sees one.
    fn see_waker(&mut self) {
        if !self.driven && self.wakers.is_none() {
            self.wakers();
        }
    }

    /// Says who drives this connection: the transport wakes it from now on.
    pub(crate) fn driven_by(&mut self, driver: &Waker) {
        if !self.waker.will_wake(driver) {
            self.waker = driver.clone();
        }
    }

    /// The handler is about to be polled, and the outbox drained after that.
    #[inline]
    pub(crate) fn prepare(&mut self) {
        self.driving = true;
        self.lend_outbox();
    }

    /// How long the driver goes on after something has come.
    pub(crate) fn busy_poll(&self) -> Option<Duration> {
        self.deadlines.options().busy_poll
    }

    /// Wakes who drives this connection.
    pub(crate) fn wake_driver(&self) {
        self.waker.wake_by_ref();
    }

    /// Waits for the next event on a driven connection.
    pub(crate) fn wait_for_event(&mut self, waker: &Waker) {
        if self.waker.will_wake(waker) {
            self.here = true;
        } else {
            self.wait(Interest::Recv, waker);
        }
    }

    /// Waits until the driver has something to pass on.
    pub(crate) fn wait(&mut self, interest: Interest, waker: &Waker) {
        self.awaited = true;
        self.wakers().wait(interest, waker);
    }

    /// Whether somebody waits for an event.
    pub(crate) fn awaits_event(&self) -> bool {
        let wakers = self.wakers.as_ref().filter(|_| self.awaited);
        self.here || wakers.is_some_and(|wakers| wakers.awaits_event())
    }

    /// Tells those who wait for an event or for room that it is here; true if it is the driver's
    /// own task that waits for the event: it is not woken, for it can be polled at once.
    pub(crate) fn pass_on(&mut self, event: bool, room: bool) -> bool {
        if self.awaited
            && (event || room)
            && let Some(wakers) = &self.wakers
        {
            self.awaited = wakers.pass_on(event, room);
        }
        event && std::mem::take(&mut self.here)
    }

    /// The bytes that were read so far.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// The bytes that were written so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// What this connection has done so far.
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            messages_received: self.connection.messages_received(),
            bytes_received: self.received,
            messages_sent: self.connection.messages_sent(),
            bytes_sent: self.sent,
            buffered: self.connection.buffered(),
            round_trip: self
                .round_trip
                .map(|nanos| Duration::from_nanos(nanos.get())),
            dropped: self.connection.dropped(),
        }
    }
}

#[cfg(test)]
mod tests {
    use hybi_proto::message::{Event, Message};
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn an_idle_connection_holds_no_buffer() {
        let (io, mut peer) = duplex(1 << 20);
        let mut link = Link::new(io, true, &[], &Options::new(), Span::new(0, true));
        let many = [0x82, 3, 1, 2, 3].repeat(1000);
        peer.write_all(&many).await.unwrap();
        assert!(link.poll_fill(false).is_ready());
        link.decode_ahead(false);
        link.return_inbox();
        assert!(link.has_ready() && link.connection.unread() > 0);
        link.lend_outbox();
        while let Some(event) = link.next() {
            let Ok(Event::Message(message)) = event else {
                panic!("{event:?}");
            };
            link.connection.send(message).unwrap();
        }
        let large = Message::Binary(vec![0; 100_000].into());
        link.connection.send(large).unwrap();
        assert!(link.poll_drain().is_ready());
        link.return_outbox();
        assert!(link.poll_fill(true).is_pending());
        link.return_inbox();
        assert!(link.ahead.is_none());
        assert_eq!(link.connection.reclaim_inbox().capacity(), 0);
        assert_eq!(link.connection.outbox().reclaim().capacity(), 0);
    }
}
