//! The open connections of a server.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use hybi_proto::code::CloseCode;
use hybi_proto::prepared::Prepared;
use hybi_proto::queue::Overflow;
use hybi_proto::text::Text;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::broadcast::{Delivery, deliver};
use crate::crowd::Guest;
use crate::io::Stream;
use crate::sender::Sender;
use crate::shared::{ConnectionId, Handle, Shared};

/// The open connections of a server, from [`Server::clients`](crate::Server::clients). Cheap to
/// clone; it does not hold a connection open.
///
/// A connection is among them from when its handshake was answered: a client that has just
/// connected may miss what is broadcast at that moment.
///
/// ```no_run
/// # fn run(server: &hybi::Server, ws: &hybi::WebSocket) {
/// let clients = server.clients();
/// clients.broadcast("to everyone");
/// clients.others(ws.id()).broadcast("to everyone else");
/// # }
/// ```
#[derive(Clone)]
pub struct Clients {
    registry: Arc<Registry>,
    except: Option<ConnectionId>,
    overflow: Overflow,
}

#[derive(Default)]
struct Registry {
    open: Mutex<HashMap<ConnectionId, Weak<Shared<Stream>>>>,
    /// One has come or gone.
    changed: Notify,
    /// What those are told that still come when the server ends.
    farewell: OnceLock<(CloseCode, Text)>,
}

/// What a server holds for one open connection: it goes with the transport.
pub(crate) struct Entry {
    /// Where the server keeps track of it, and as what.
    registry: Option<Arc<Registry>>,
    id: ConnectionId,
    /// What it is to give back, if anything.
    _seat: Option<Box<Seat>>,
}

/// The right to be one of the connections that a server may have.
#[derive(Debug)]
pub(crate) struct Seat {
    /// If it may have so many.
    pub(crate) place: Option<OwnedSemaphorePermit>,
    /// If an address may have so many.
    pub(crate) guest: Option<Guest>,
    /// In the server on which that one is mounted.
    pub(crate) outer: Option<Box<Seat>>,
}

impl Seat {
    /// Whether it is to be given back.
    pub(crate) fn is_taken(&self) -> bool {
        self.place.is_some() || self.guest.is_some() || self.outer.is_some()
    }
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            registry: Arc::default(),
            except: None,
            overflow: Overflow::Close,
        }
    }
}

impl Clients {
    /// All but one of them; of one at a time.
    #[must_use]
    pub fn others(&self, than: ConnectionId) -> Self {
        Self {
            except: Some(than),
            ..self.clone()
        }
    }

    /// What becomes of a broadcast where the backlog is full (default [`Overflow::Close`], so that
    /// a client that is stuck holds no more memory than that, and does not hold up the others).
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Sends a message to each connection that is open now. It is framed once for all of them;
    /// whoever sees to a connection writes it, with all else that is queued there.
    ///
    /// Nothing waits here: [`overflow`](Self::overflow) says what happens where the backlog is
    /// full, and the answer how often it did.
    pub fn broadcast(&self, message: impl Into<Prepared>) -> Delivery {
        let all = self.all().into_iter();
        deliver(&message.into(), all.map(|shared| (shared, &self.overflow)))
    }

    /// The number of open connections.
    #[must_use]
    pub fn len(&self) -> usize {
        let open = self.registry.lock();
        let left_out = self.except.is_some_and(|id| open.contains_key(&id));
        open.len() - usize::from(left_out)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A sender for each connection that is open now, in no order. Each holds its connection open
    /// as long as it lives.
    pub fn iter(&self) -> impl Iterator<Item = Sender> + use<> {
        let handles = self.all().into_iter().filter_map(Handle::of);
        handles.map(Sender::new)
    }

    fn all(&self) -> Vec<Arc<Shared<Stream>>> {
        let open = self.registry.lock();
        let mut all = Vec::with_capacity(open.len());
        let listed = open.iter().filter(|(id, _)| Some(**id) != self.except);
        all.extend(listed.filter_map(|(_, shared)| shared.upgrade()));
        // What is dropped while the lock is held could want it.
        all
    }

    /// A sender for the connection with this id, if it is open.
    #[must_use]
    pub fn get(&self, id: ConnectionId) -> Option<Sender> {
        let shared = self.registry.lock().get(&id).and_then(Weak::upgrade)?;
        let handle = Handle::of(shared)?;
        Some(Sender::new(handle))
    }

    /// One beat of the server's heartbeat.
    pub(crate) fn tick(&self) {
        for shared in self.all() {
            shared.lock().tick();
        }
    }

    /// Waits until one has come or gone after the call.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> {
        self.registry.changed.notified()
    }

    /// Tells those that come from now on that the server ends. The first farewell holds.
    pub(crate) fn bid_farewell(&self, code: CloseCode, reason: Text) {
        let _ = self.registry.farewell.set((code, reason));
    }

    fn enter(&self, handle: &Handle<Stream>) {
        let shared = Arc::downgrade(handle.shared());
        self.registry.lock().insert(handle.id(), shared);
        self.registry.changed.notify_waiters();
        if let Some((code, reason)) = self.registry.farewell.get() {
            // The code was judged when it was set.
            let _ = Sender::new(handle.clone()).start_close(*code, reason.clone());
        }
    }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectionId, Weak<Shared<Stream>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, id: ConnectionId) {
        self.lock().remove(&id);
        self.changed.notify_waiters();
    }
}

impl Entry {
    /// Enters a connection, if its server keeps track of them.
    pub(crate) fn new(handle: &Handle<Stream>, clients: Option<&Clients>, seat: Seat) -> Self {
        let registry = clients.map(|clients| {
            clients.enter(handle);
            clients.registry.clone()
        });
        Self {
            registry,
            id: handle.id(),
            _seat: seat.is_taken().then(|| Box::new(seat)),
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(registry) = &self.registry {
            registry.leave(self.id);
        }
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("len", &self.len()).finish()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").finish_non_exhaustive()
    }
}
