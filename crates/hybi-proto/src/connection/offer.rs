//! Whole messages on their way out: framed at once, or queued, or what a policy does with them.

use super::Connection;
use crate::close::Close;
use crate::code::CloseCode;
use crate::error::SendError;
use crate::message::{Message, MessageRef};
use crate::prepared::Prepared;
use crate::queue::{Admission, Dropped, Item, Overflow, Queue, Right};
use crate::text::Text;

/// While so many bytes wait, or half the backlog, messages that a policy may drop are not framed.
const FRAMED: usize = 64 << 10;

impl Connection {
    /// Queues a whole message, or nothing of it.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] while the backlog is full, [`SendError::Closed`] after a close.
    #[inline]
    pub fn send(&mut self, message: Message) -> Result<(), SendError> {
        self.may_send()?;
        if self.has_queue() || message.len() > self.whole {
            self.take_in(message.into());
        } else {
            self.sent += 1;
            self.encoder.message(message, &mut self.outbox);
        }
        Ok(())
    }

    /// As [`send`](Self::send), for a message that is only borrowed.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    #[inline(always)]
    pub fn send_ref(&mut self, message: MessageRef<'_>) -> Result<(), SendError> {
        self.may_send()?;
        if self.has_queue() || message.as_bytes().len() > self.whole {
            self.take_in_ref(message);
        } else {
            self.sent += 1;
            self.encoder.message_ref(message, &mut self.outbox);
        }
        Ok(())
    }

    /// As [`send`](Self::send), however full the backlog is: for who was given the room before.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] after a close.
    pub fn send_over(&mut self, item: impl Into<Item>) -> Result<(), SendError> {
        if self.close_sent {
            return Err(SendError::Closed);
        }
        self.take_in(item.into());
        Ok(())
    }

    /// Queues a message, or does what the policy says where the backlog is full. It counts as
    /// full for a message that may be dropped if it is `crowded`: somebody waits for room.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] under [`Overflow::Wait`], [`SendError::Closed`] after a close: nothing
    /// was queued.
    #[inline]
    pub fn offer(
        &mut self,
        item: impl Into<Item>,
        overflow: &Overflow,
        crowded: bool,
    ) -> Result<Admission, SendError> {
        let item = item.into();
        if crowded || self.close_sent || !self.is_roomy() {
            return self.admit(item, overflow, crowded);
        }
        self.encode(item);
        Ok(Admission::Queued)
    }

    // A small message that is framed at once passes `admit`, `take_in` and `wait` by: not inlined,
    // they cost it nothing.

    #[inline(never)]
    fn admit(
        &mut self,
        mut item: Item,
        overflow: &Overflow,
        crowded: bool,
    ) -> Result<Admission, SendError> {
        if self.close_sent {
            return Err(SendError::Closed);
        }
        let full = self.is_full() || crowded;
        let right = match overflow {
            Overflow::Wait if full => return Err(SendError::Full),
            Overflow::DropNewest if full => return Ok(self.drop_newest()),
            Overflow::Close if self.is_full() => return Ok(self.overflow()),
            Overflow::Wait | Overflow::DropNewest | Overflow::Close => Right::Keep,
            Overflow::DropOldest => Right::Drop,
            Overflow::Conflate(key) => match self.conflate(key, item) {
                Ok(()) => return Ok(Admission::Displaced),
                Err(back) => {
                    item = back;
                    Right::Conflate(key.clone())
                }
            },
        };
        let displaces = full && !matches!(right, Right::Keep);
        if displaces && !self.make_room(item.cost(), None) {
            return Ok(self.drop_newest());
        }
        // What waits unframed can still be dropped, by a policy or with the connection.
        let early = *overflow != Overflow::Wait && self.outbox.len() >= self.framed();
        if early || self.has_queue() {
            self.wait(item, right);
        } else {
            self.encode(item);
        }
        Ok(if displaces {
            Admission::Displaced
        } else {
            Admission::Queued
        })
    }

    /// As [`offer`](Self::offer), for a message that others get, too.
    ///
    /// # Errors
    ///
    /// As [`offer`](Self::offer).
    #[inline]
    pub fn offer_prepared(
        &mut self,
        prepared: &Prepared,
        overflow: &Overflow,
        crowded: bool,
    ) -> Result<Admission, SendError> {
        let large = prepared.message().len() > self.whole;
        if large || crowded || self.close_sent || !self.is_roomy() {
            return self.offer(prepared, overflow, crowded);
        }
        self.sent += 1;
        self.encoder.prepared(prepared, &mut self.outbox);
        Ok(Admission::Queued)
    }

    /// Whether a message is framed at once, whatever the policy.
    #[inline]
    fn is_roomy(&self) -> bool {
        self.outbox.len() < self.framed() && !self.has_queue()
    }

    fn drop_newest(&mut self) -> Admission {
        self.rare().dropped.newest += 1;
        Admission::Dropped
    }

    /// Drops the oldest messages that may be dropped, but for the one with this key, worth `need`
    /// bytes if there are so many; whether there was one.
    fn make_room(&mut self, need: usize, but: Option<&Text>) -> bool {
        let rare = self.rare();
        let mut freed = 0;
        while freed < need
            && let Some(cost) = rare.queue.drop_oldest(but)
        {
            freed += cost;
            rare.dropped.oldest += 1;
        }
        freed > 0
    }

    fn conflate(&mut self, key: &Text, item: Item) -> Result<(), Item> {
        let Some(rare) = &mut self.rare else {
            return Err(item);
        };
        let before = rare.queue.len();
        rare.queue.conflate(key, item)?;
        rare.dropped.conflated += 1;
        let grown = rare.queue.len().saturating_sub(before);
        if grown > 0 && self.is_full() {
            self.make_room(grown, Some(key));
        }
        Ok(())
    }

    /// The peer does not take what it is sent: it is told so behind what is framed already.
    fn overflow(&mut self) -> Admission {
        let rare = self.rare();
        rare.dropped.closed += rare.queue.count() as u64 + 1;
        rare.queue = Queue::default();
        let reason = Text::from_static("the backlog is full");
        let close = Close::new(CloseCode::TRY_AGAIN_LATER, reason).ok();
        self.close(close.as_ref());
        Admission::Closed
    }

    /// The bytes up to which messages are framed although a policy might drop them.
    pub(super) fn framed(&self) -> usize {
        (self.backlog / 2).clamp(1, FRAMED)
    }

    /// Frames a message, or queues it behind what waits for that.
    #[inline(never)]
    pub(super) fn take_in(&mut self, item: Item) {
        if self.has_queue() {
            self.wait(item, Right::Keep);
        } else {
            self.encode(item);
        }
    }

    /// As [`take_in`](Self::take_in), for a copy.
    #[inline(never)]
    fn take_in_ref(&mut self, message: MessageRef<'_>) {
        self.take_in(message.to_message().into());
    }

    #[inline(never)]
    fn wait(&mut self, item: Item, right: Right) {
        self.rare().queue.push(item, right);
    }

    #[inline]
    pub(super) fn encode(&mut self, item: Item) {
        match item {
            item if item.message().len() > self.whole => return self.encode_in_fragments(&item),
            Item::Message(message) => self.encoder.message(message, &mut self.outbox),
            Item::Plain(message) => self.encoder.plain(message, &mut self.outbox),
            Item::Prepared(prepared) => self.encoder.prepared(&prepared, &mut self.outbox),
        }
        self.sent += 1;
    }

    #[inline]
    pub(super) fn may_send(&self) -> Result<(), SendError> {
        if self.close_sent {
            return Err(SendError::Closed);
        }
        if self.is_full() {
            return Err(SendError::Full);
        }
        Ok(())
    }

    /// How many messages were dropped by [`offer`](Self::offer).
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        let rare = self.rare.as_ref();
        rare.map_or_else(Dropped::default, |rare| rare.dropped)
    }
}
