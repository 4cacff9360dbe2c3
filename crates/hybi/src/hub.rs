//! Rooms: named groups of connections that a message is published to.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hybi_proto::prepared::Prepared;
use hybi_proto::queue::Overflow;

use crate::broadcast::{Delivery, deliver};
use crate::io::Stream;
use crate::sender::Sender;
use crate::shared::{ConnectionId, Shared};

/// Rooms, by their names: a connection joins as many as it likes, and whoever has the hub
/// publishes to them. Cheap to clone; a clone is the same hub.
///
/// A room exists while it has a member, and a membership does not hold a connection open.
///
/// ```
/// use hybi::{Hub, WebSocket};
///
/// async fn chat(mut ws: WebSocket, hub: Hub) -> hybi::Result<()> {
///     let lobby = hub.join("lobby", &ws.sender());
///     while let Some(message) = ws.recv().await? {
///         lobby.publish_others(message);
///     }
///     Ok(()) // and leaves
/// }
/// ```
pub struct Hub<K = String> {
    rooms: Arc<Mutex<HashMap<K, Room>>>,
    overflow: Overflow,
}

type Room = HashMap<ConnectionId, Member>;

struct Member {
    shared: Arc<Shared<Stream>>,
    /// The sender's own policy, unless it waits.
    overflow: Option<Overflow>,
    /// It is a member so many times, and gets each message once.
    times: usize,
}

/// That a connection is in a room, given by [`Hub::join`]; dropped, it leaves.
#[must_use = "a membership that is dropped ends at once"]
pub struct Membership<K: Hash + Eq = String> {
    hub: Hub<K>,
    room: K,
    id: ConnectionId,
}

impl Hub {
    /// A hub without rooms, whose names are strings; for other names there is `Hub::default()`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<K> Hub<K> {
    /// What becomes of what is published by this clone where a member's backlog is full (default
    /// [`Overflow::Close`]). A member whose sender has a policy other than `Wait` keeps that.
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<K, Room>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq> Hub<K> {
    /// Takes a connection into a room until what this returns is dropped. Who joins the same room
    /// again gets each message once, under the policy of the first time, and is in it until both
    /// are dropped.
    pub fn join(&self, room: impl Into<K>, sender: &Sender) -> Membership<K>
    where
        K: Clone,
    {
        let room = room.into();
        let id = sender.id();
        let overflow = Some(sender.policy()).filter(|policy| **policy != Overflow::Wait);
        let member = Member {
            shared: sender.handle().shared().clone(),
            overflow: overflow.cloned(),
            times: 0,
        };
        let mut rooms = self.rooms();
        let members = rooms.entry(room.clone()).or_default();
        members.entry(id).or_insert(member).times += 1;
        Membership {
            hub: self.clone(),
            room,
            id,
        }
    }

    /// Sends a message to each member of a room. It is framed once for all of them.
    ///
    /// Nothing waits here: [`overflow`](Self::overflow) says what happens where a backlog is full.
    pub fn publish<Q>(&self, room: &Q, message: impl Into<Prepared>) -> Delivery
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.deliver(room, None, &message.into())
    }

    /// As [`publish`](Self::publish), to all members but one.
    pub fn publish_others<Q>(
        &self,
        room: &Q,
        than: ConnectionId,
        message: impl Into<Prepared>,
    ) -> Delivery
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.deliver(room, Some(than), &message.into())
    }

    fn deliver<Q>(&self, room: &Q, except: Option<ConnectionId>, message: &Prepared) -> Delivery
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let members: Vec<_> = match self.rooms().get(room) {
            None => Vec::new(),
            Some(members) => members
                .iter()
                .filter(|(id, _)| Some(**id) != except)
                .map(|(_, member)| {
                    let overflow = member.overflow.as_ref().unwrap_or(&self.overflow);
                    (member.shared.clone(), overflow.clone())
                })
                .collect(),
        };
        deliver(message, members.into_iter())
    }

    /// The number of members of a room.
    #[must_use]
    pub fn len<Q>(&self, room: &Q) -> usize
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.rooms().get(room).map_or(0, HashMap::len)
    }

    /// Whether a room has no member.
    #[must_use]
    pub fn is_empty<Q>(&self, room: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.len(room) == 0
    }

    fn leave(&self, room: &K, id: ConnectionId) {
        let mut rooms = self.rooms();
        let Some(members) = rooms.get_mut(room) else {
            return;
        };
        let Some(member) = members.get_mut(&id) else {
            return;
        };
        member.times -= 1;
        if member.times > 0 {
            return;
        }
        let left = members.remove(&id);
        let gone = members.is_empty().then(|| rooms.remove_entry(room));
        drop(rooms);
        // What is dropped while the lock is held could want it.
        drop((left, gone));
    }
}

impl<K: Hash + Eq> Membership<K> {
    /// The room.
    #[must_use]
    pub fn room(&self) -> &K {
        &self.room
    }

    /// Sends a message to each member of the room, this one too: see [`Hub::publish`].
    pub fn publish(&self, message: impl Into<Prepared>) -> Delivery {
        self.hub.deliver(&self.room, None, &message.into())
    }

    /// Sends a message to each other member of the room.
    pub fn publish_others(&self, message: impl Into<Prepared>) -> Delivery {
        self.hub.deliver(&self.room, Some(self.id), &message.into())
    }
}

impl<K: Hash + Eq> Drop for Membership<K> {
    fn drop(&mut self) {
        self.hub.leave(&self.room, self.id);
    }
}

impl<K> Clone for Hub<K> {
    fn clone(&self) -> Self {
        Self {
            rooms: self.rooms.clone(),
            overflow: self.overflow.clone(),
        }
    }
}

impl<K> Default for Hub<K> {
    fn default() -> Self {
        Self {
            rooms: Arc::default(),
            overflow: Overflow::Close,
        }
    }
}

impl<K> fmt::Debug for Hub<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("rooms", &self.rooms().len())
            .finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + fmt::Debug> fmt::Debug for Membership<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership")
            .field("room", &self.room)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
