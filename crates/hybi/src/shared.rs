//! What the handles of one connection share: its link behind the one lock, those who wait for it,
//! and the count of the handles.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use http::Uri;
use hybi_proto::close::Close;
use hybi_proto::code::CloseCode;
use hybi_proto::connection::{Connection, State};
use hybi_proto::error::SendError;
use hybi_proto::handshake::Extensions;
use hybi_proto::prepared::Prepared;
use hybi_proto::queue::{Admission, Item, Overflow};
use hybi_proto::text::Text;
use tokio::task::unconstrained;

use crate::error::{Error, Result};
use crate::io::Io;
use crate::link::Link;
use crate::options::Options;
use crate::sync::{AtomicUsize, Mutex, MutexGuard, Ordering, PoisonError};
use crate::trace::Span;

/// One of the handles of a connection; the last one that goes ends it.
#[derive(Debug)]
pub(crate) struct Handle<S: Io>(Arc<Shared<S>>);

/// What all handles of one connection share, and the driver with them.
#[derive(Debug)]
pub(crate) struct Shared<S> {
    link: Mutex<Link<S>>,
    handles: AtomicUsize,
    id: ConnectionId,
    /// See [`Agreed::keep`].
    agreed: Option<Box<Agreed>>,
}

/// The target of most requests.
const PLAIN: &str = "/";

/// The connection in the hands of who has the lock.
pub(crate) type Locked<'a, S> = MutexGuard<'a, Link<S>>;

/// Tells a connection from all others of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

impl ConnectionId {
    fn new() -> Self {
        // Not every machine has an `AtomicU64`.
        static LAST: std::sync::Mutex<u64> = std::sync::Mutex::new(0);
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        *last += 1;
        Self(*last)
    }
}

/// What the opening handshake has settled; by default there was none.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Agreed {
    /// As text, which is a quarter of the size of a `Uri`.
    uri: Option<Box<str>>,
    protocol: Option<Box<str>>,
    extensions: Extensions,
}

impl Agreed {
    pub(crate) fn new(uri: &str, protocol: Option<&str>, extensions: Extensions) -> Self {
        Self {
            uri: Some(uri.into()),
            protocol: protocol.map(Into::into),
            extensions,
        }
    }

    /// What is kept of it: nothing where it is what most is.
    fn keep(self) -> Option<Box<Self>> {
        let is_plain = self == Self::new(PLAIN, None, Extensions::default());
        (!is_plain).then(|| Box::new(self))
    }
}

impl<S: Io> Shared<S> {
    /// Queues something, and writes it unless a driver will.
    pub(crate) fn queue<T, E: Into<Error>>(
        &self,
        link: &mut Link<S>,
        queue: impl FnOnce(&mut Link<S>) -> std::result::Result<T, E>,
    ) -> Result<T> {
        link.may_send()?;
        if link.driven {
            let queued = queue(link).map_err(Into::into)?;
            if !link.driving {
                link.wake_driver();
            }
            return Ok(queued);
        }
        link.lend_outbox();
        let queued = queue(link).map_err(Into::into);
        let _ = link.poll_drain();
        link.return_outbox();
        // Who waits in another task sets the timer, or has no room to wait for any more; or it
        // waited for the end of a message in parts.
        let over = !link.connection.is_unfinished() && std::mem::take(&mut link.behind);
        if link.lacks_timer() || link.connection.state() != State::Open || over {
            link.wakers().wake_waiting();
        }
        queued
    }

    /// Offers a message, and writes it unless a driver will.
    pub(crate) fn offer(
        &self,
        link: &mut Link<S>,
        item: Item,
        overflow: &Overflow,
    ) -> Result<Admission> {
        self.queue(link, |link| self.admit(link, item, overflow))
    }

    /// Offers a message, and leaves the writing to the caller.
    pub(crate) fn admit(
        &self,
        link: &mut Link<S>,
        item: Item,
        overflow: &Overflow,
    ) -> std::result::Result<Admission, SendError> {
        self.admit_by(link, overflow, |connection, crowded| {
            connection.offer(item, overflow, crowded)
        })
    }

    /// As [`admit`](Self::admit), for a message that others get, too.
    pub(crate) fn admit_prepared(
        &self,
        link: &mut Link<S>,
        prepared: &Prepared,
        overflow: &Overflow,
    ) -> std::result::Result<Admission, SendError> {
        self.admit_by(link, overflow, |connection, crowded| {
            connection.offer_prepared(prepared, overflow, crowded)
        })
    }

    #[inline]
    fn admit_by(
        &self,
        link: &mut Link<S>,
        overflow: &Overflow,
        offer: impl FnOnce(&mut Connection, bool) -> std::result::Result<Admission, SendError>,
    ) -> std::result::Result<Admission, SendError> {
        if *overflow != Overflow::Wait && link.connection.is_full() {
            self.make_room(link);
        }
        let crowded = Self::is_crowded_for(link, overflow);
        let admission = offer(&mut link.connection, crowded);
        if admission == Ok(Admission::Closed) {
            link.span.overflowed();
        }
        admission
    }

    /// Writes what the transport takes: that nobody has written yet does not make the peer slow.
    /// The turn of a task ends with its budget, but what a policy does cannot wait.
    fn make_room(&self, link: &mut Link<S>) {
        if link.connection.outbox().is_blocked() {
            return;
        }
        let drain = pin!(unconstrained(poll_fn(|_| link.poll_drain())));
        let _ = drain.poll(&mut Context::from_waker(Waker::noop()));
        link.pass_on(false, true);
    }

    /// Whether a message under this policy has to leave the room to who waits for it. Who sends a
    /// message in parts waits for none of what stands behind it.
    fn is_crowded_for(link: &Link<S>, overflow: &Overflow) -> bool {
        link.is_crowded() && (*overflow == Overflow::Wait || !link.connection.is_unfinished())
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    pub(crate) fn lock(&self) -> Locked<'_, S> {
        // A panic of the transport's leaves the connection as it was between two calls.
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Io> Handle<S> {
    pub(crate) fn new(
        io: S,
        client: bool,
        read_ahead: &[u8],
        options: &Options,
        agreed: Agreed,
    ) -> Self {
        let id = ConnectionId::new();
        let span = Span::new(id.0, client);
        let mut link = Link::new(io, client, read_ahead, options, span);
        link.agree(agreed.extensions, options);
        Self(Arc::new(Shared {
            link: Mutex::new(link),
            handles: AtomicUsize::new(1),
            id,
            agreed: agreed.keep(),
        }))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<S>> {
        &self.0
    }

    /// One more handle, if the last one has not gone yet.
    pub(crate) fn of(shared: Arc<Shared<S>>) -> Option<Self> {
        let mut seen = shared.handles.load(Ordering::Relaxed);
        while seen > 0 {
            let (more, count) = (seen + 1, &shared.handles);
            match count.compare_exchange_weak(seen, more, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(Self(shared)),
                Err(now) => seen = now,
            }
        }
        None
    }

    pub(crate) fn lock(&self) -> Locked<'_, S> {
        self.0.lock()
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.0.id()
    }

    /// Without a handshake there is none.
    pub(crate) fn uri(&self) -> Option<Uri> {
        let uri = match &self.0.agreed {
            None => PLAIN,
            Some(agreed) => agreed.uri.as_deref()?,
        };
        uri.parse().ok()
    }

    pub(crate) fn protocol(&self) -> Option<&str> {
        self.0.agreed.as_ref()?.protocol.as_deref()
    }

    pub(crate) fn extensions(&self) -> Extensions {
        let agreed = self.0.agreed.as_ref();
        agreed.map_or_else(Extensions::default, |agreed| agreed.extensions)
    }
}

impl<S: Io> Clone for Handle<S> {
    fn clone(&self) -> Self {
        self.0.handles.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }
}

impl<S: Io> Drop for Handle<S> {
    fn drop(&mut self) {
        if self.0.handles.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let mut link = self.lock();
        if link.driven {
            link.abandoned = true;
            if !link.driving {
                link.wake_driver();
            }
        } else if !link.has_ended() {
            let close = Close::new(CloseCode::GOING_AWAY, Text::default()).ok();
            link.connection.close(close.as_ref());
            link.abort();
        }
    }
}
