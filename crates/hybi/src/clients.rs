//! The open connections of a server.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::io::Stream;
use crate::sender::Sender;
use crate::shared::{ConnectionId, Handle, Shared};

/// The open connections of a server, from [`Server::clients`](crate::Server::clients). Cheap to
/// clone; it does not hold a connection open.
#[derive(Clone, Default)]
pub struct Clients(Arc<Registry>);

#[derive(Default)]
struct Registry {
    open: Mutex<HashMap<ConnectionId, Weak<Shared<Stream>>>>,
    /// One has come or gone.
    changed: Notify,
}

/// What a server holds for one open connection: it goes with the transport.
pub(crate) struct Entry {
    clients: Option<(Clients, ConnectionId)>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Clients {
    /// The number of open connections.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A sender for each connection that is open now, in no order. Each holds its connection open
    /// as long as it lives.
    pub fn iter(&self) -> impl Iterator<Item = Sender> + use<> {
        // What is dropped while the lock is held could want it.
        let all: Vec<_> = self.open().values().filter_map(Weak::upgrade).collect();
        let handles = all.into_iter().filter_map(Handle::of);
        handles.map(|handle| Sender { handle })
    }

    /// As [`iter`](Self::iter), without one of them.
    pub fn others(&self, than: ConnectionId) -> impl Iterator<Item = Sender> + use<> {
        self.iter().filter(move |sender| sender.id() != than)
    }

    /// A sender for the connection with this id, if it is open.
    #[must_use]
    pub fn get(&self, id: ConnectionId) -> Option<Sender> {
        let shared = self.open().get(&id).and_then(Weak::upgrade)?;
        let handle = Handle::of(shared)?;
        Some(Sender { handle })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<ConnectionId, Weak<Shared<Stream>>>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One beat of the server's heartbeat.
    pub(crate) fn tick(&self) {
        for sender in self.iter() {
            sender.handle.lock().tick();
        }
    }

    /// Waits until one has come or gone after the call.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> {
        self.0.changed.notified()
    }

    fn enter(&self, handle: &Handle<Stream>) {
        let shared = Arc::downgrade(handle.shared());
        self.open().insert(handle.id(), shared);
        self.0.changed.notify_waiters();
    }

    fn leave(&self, id: ConnectionId) {
        self.open().remove(&id);
        self.0.changed.notify_waiters();
    }
}

impl Entry {
    /// Enters a connection, if its server keeps track of them.
    pub(crate) fn new(
        handle: &Handle<Stream>,
        clients: Option<&Clients>,
        place: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let clients = clients.map(|clients| {
            clients.enter(handle);
            (clients.clone(), handle.id())
        });
        Self {
            clients,
            _place: place,
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some((clients, id)) = &self.clients {
            clients.leave(*id);
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
