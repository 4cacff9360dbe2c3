//! Messages that are not framed yet, because the peer takes its time, and which of them go when
//! they become too many.
//!
//! Only whole messages are ever dropped, and only those that were queued with that right. Whether
//! the queue is too long is the connection's to say, or the [`Backlog`]'s where there is no
//! connection.

use std::collections::BTreeMap;

use crate::error::SendError;
use crate::message::{Message, SendOptions};
use crate::prepared::Prepared;
use crate::text::Text;

/// What becomes of a message that comes when the backlog is full. Control frames are exempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// It waits for room, and is not dropped once it is queued.
    #[default]
    Wait,
    /// It is dropped.
    DropNewest,
    /// The oldest ones that still wait unframed and were queued with `DropOldest` or `Conflate`
    /// are dropped to make room for it; if there is none, it is dropped itself.
    DropOldest,
    /// It takes the place of the one that waits with the same key, full or not, so that the peer
    /// gets the latest for each key and never an older one. Where there is none, as `DropOldest`.
    Conflate(Text),
    /// The connection is closed with 1013, and what waits unframed is dropped.
    Close,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Admission {
    /// It is queued.
    Queued,
    /// It is queued, and in its place at least one older message was dropped.
    Displaced,
    /// It was dropped.
    Dropped,
    /// It closed the connection.
    Closed,
}

/// How many messages were dropped, by the policy's doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// Those that came when the backlog was full.
    pub newest: u64,
    /// Those that waited the longest.
    pub oldest: u64,
    /// Those whose place a later one with the same key has taken.
    pub conflated: u64,
    /// Those that waited when [`Overflow::Close`] closed the connection, and the one that did it.
    pub closed: u64,
}

/// What can be queued.
#[derive(Clone, Debug)]
pub enum Item {
    /// A message of this connection's own.
    Message(Message),
    /// One that is not to be compressed.
    Plain(Message),
    /// One that is shared with other connections.
    Prepared(Prepared),
}

/// Messages in the order in which they are to be framed.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    items: BTreeMap<u64, Waiting>,
    /// The number of the next one.
    next: u64,
    /// None with a smaller number may be dropped.
    oldest: u64,
    keys: BTreeMap<Text, u64>,
    len: usize,
}

#[derive(Debug)]
struct Waiting {
    item: Item,
    right: Right,
}

/// What may be done to a message that waits.
#[derive(Clone, Debug)]
pub(crate) enum Right {
    /// It has to leave.
    Keep,
    /// It may be dropped.
    Drop,
    /// It may be dropped, or give its place to another one with this key.
    Conflate(Text),
}

/// Messages that wait for a connection, bounded in number and in bytes.
///
/// ```
/// use hybi_proto::message::Message;
/// use hybi_proto::queue::{Admission, Backlog, Overflow};
///
/// let mut backlog = Backlog::new(2, 1 << 20);
/// for text in ["one", "two", "three"] {
///     backlog.offer(Message::from(text), &Overflow::DropOldest)?;
/// }
/// assert_eq!(backlog.pop().map(|item| item.message().clone()), Some("two".into()));
/// # Ok::<(), hybi_proto::error::SendError>(())
/// ```
#[derive(Debug)]
pub struct Backlog {
    queue: Queue,
    messages: usize,
    bytes: usize,
    dropped: Dropped,
}

/// What it takes to hold a message, besides its payload.
const HOLD: usize = 128;

impl From<Message> for Item {
    fn from(message: Message) -> Self {
        Self::Message(message)
    }
}

impl From<Prepared> for Item {
    fn from(prepared: Prepared) -> Self {
        Self::Prepared(prepared)
    }
}

impl From<&Prepared> for Item {
    fn from(prepared: &Prepared) -> Self {
        Self::Prepared(prepared.clone())
    }
}

impl Item {
    /// A message that is sent with these options.
    #[must_use]
    pub fn new(message: impl Into<Message>, options: SendOptions) -> Self {
        let message = message.into();
        if options.compress {
            Self::Message(message)
        } else {
            Self::Plain(message)
        }
    }

    /// The message.
    #[must_use]
    #[inline]
    pub fn message(&self) -> &Message {
        match self {
            Self::Message(message) | Self::Plain(message) => message,
            Self::Prepared(prepared) => prepared.message(),
        }
    }

    /// What it costs to queue it.
    pub(crate) fn cost(&self) -> usize {
        HOLD + self.message().len()
    }
}

impl Queue {
    /// What is queued, in bytes, with what it takes to hold it.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The number of messages.
    pub(crate) fn count(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn push(&mut self, item: Item, right: Right) {
        self.len += item.cost();
        if let Right::Conflate(key) = &right {
            self.keys.insert(key.clone(), self.next);
        }
        self.items.insert(self.next, Waiting { item, right });
        self.next += 1;
    }

    /// Takes the next message to be framed.
    pub(crate) fn pop(&mut self) -> Option<Item> {
        let (_, waiting) = self.items.pop_first()?;
        Some(self.forget(waiting))
    }

    /// Puts a message in the place of the one that waits with this key; gives it back if there is
    /// none.
    pub(crate) fn conflate(&mut self, key: &Text, item: Item) -> Result<(), Item> {
        let waiting = self
            .keys
            .get(key)
            .and_then(|number| self.items.get_mut(number));
        let Some(waiting) = waiting else {
            return Err(item);
        };
        self.len = self.len + item.cost() - waiting.item.cost();
        waiting.item = item;
        Ok(())
    }

    /// Drops the oldest message that may be dropped, but for the one with this key, and says what
    /// it has cost.
    pub(crate) fn drop_oldest(&mut self, but: Option<&Text>) -> Option<usize> {
        let spared = but.and_then(|key| self.keys.get(key)).copied();
        let may_drop = |number: u64, waiting: &Waiting| {
            !matches!(waiting.right, Right::Keep) && Some(number) != spared
        };
        let mut rest = self.items.range(self.oldest..);
        let oldest = rest.find(|(number, waiting)| may_drop(**number, waiting));
        let number = oldest.map(|(number, _)| *number);
        let next = number.unwrap_or(self.next);
        self.oldest = spared.map_or(next, |spared| spared.min(next));
        let waiting = self.items.remove(&number?)?;
        Some(self.forget(waiting).cost())
    }

    fn forget(&mut self, waiting: Waiting) -> Item {
        self.len -= waiting.item.cost();
        if let Right::Conflate(key) = &waiting.right {
            self.keys.remove(key);
        }
        waiting.item
    }
}

impl Backlog {
    /// Room for so many messages, worth so many bytes, each with 128 more for what it takes to
    /// hold it. The message that reaches the bytes may overshoot; 0 is taken for 1.
    #[must_use]
    pub fn new(messages: usize, bytes: usize) -> Self {
        Self {
            queue: Queue::default(),
            messages: messages.max(1),
            bytes: bytes.max(1),
            dropped: Dropped::default(),
        }
    }

    /// Changes the bounds; what waits stays.
    pub fn set_bounds(&mut self, messages: usize, bytes: usize) {
        (self.messages, self.bytes) = (messages.max(1), bytes.max(1));
    }

    /// Whether the next message has to wait, or is the policy's to judge.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.queue.count() >= self.messages || self.queue.len() >= self.bytes
    }

    /// Whether no message waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The number of messages that wait.
    #[must_use]
    pub fn count(&self) -> usize {
        self.queue.count()
    }

    /// How many messages the policies have dropped.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Queues a message, or does what the policy says when there is no room.
    /// [`Overflow::Close`] drops all that waits.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] under [`Overflow::Wait`] when there is no room.
    pub fn offer(
        &mut self,
        item: impl Into<Item>,
        overflow: &Overflow,
    ) -> Result<Admission, SendError> {
        let mut item = item.into();
        if let Overflow::Conflate(key) = overflow {
            match self.queue.conflate(key, item) {
                Ok(()) => {
                    self.dropped.conflated += 1;
                    while self.queue.len() > self.bytes && self.drop_oldest(Some(key)) {}
                    return Ok(Admission::Displaced);
                }
                Err(back) => item = back,
            }
        }
        let full = self.is_full();
        let right = match overflow {
            Overflow::Wait if full => return Err(SendError::Full),
            Overflow::Close if full => {
                self.dropped.closed += 1;
                self.clear();
                return Ok(Admission::Closed);
            }
            Overflow::Wait | Overflow::DropNewest | Overflow::Close => Right::Keep,
            Overflow::DropOldest => Right::Drop,
            Overflow::Conflate(key) => Right::Conflate(key.clone()),
        };
        let may_displace = !matches!(right, Right::Keep);
        while self.is_full() && may_displace && self.drop_oldest(None) {}
        if self.is_full() {
            self.dropped.newest += 1;
            return Ok(Admission::Dropped);
        }
        self.queue.push(item, right);
        Ok(if full {
            Admission::Displaced
        } else {
            Admission::Queued
        })
    }

    /// Takes the message that came first.
    pub fn pop(&mut self) -> Option<Item> {
        self.queue.pop()
    }

    /// Drops all that waits: nobody will take it any more.
    pub fn clear(&mut self) {
        self.dropped.closed += std::mem::take(&mut self.queue).count() as u64;
    }

    fn drop_oldest(&mut self, but: Option<&Text>) -> bool {
        let dropped = self.queue.drop_oldest(but).is_some();
        self.dropped.oldest += u64::from(dropped);
        dropped
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Op {
        Push(usize, bool),
        Conflate(usize, u8),
        Pop,
        DropOldest(Option<u8>),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            4 => (0..20_usize, any::<bool>()).prop_map(|(len, keep)| Op::Push(len, keep)),
            3 => (0..20_usize, 0..4_u8).prop_map(|(len, key)| Op::Conflate(len, key)),
            3 => Just(Op::Pop),
            3 => prop::option::of(0..4_u8).prop_map(Op::DropOldest),
        ];
        proptest::collection::vec(op, 0..if cfg!(miri) { 12 } else { 80 })
    }

    /// The naive twin: a list that is searched.
    type Twin = Vec<(Message, bool, Option<u8>)>;

    fn key(number: u8) -> Text {
        format!("key {number}").into()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]

        #[test]
        fn messages_leave_in_order_but_for_those_that_were_dropped(ops in ops()) {
            let (mut queue, mut twin) = (Queue::default(), Twin::new());
            let mut fresh = 0_u8;
            let mut message = |len: usize| {
                fresh = fresh.wrapping_add(1);
                Message::from(vec![fresh; len])
            };
            for op in ops {
                match op {
                    Op::Push(len, keep) => {
                        let message = message(len);
                        let right = if keep { Right::Keep } else { Right::Drop };
                        queue.push(message.clone().into(), right);
                        twin.push((message, keep, None));
                    }
                    Op::Conflate(len, number) => {
                        let message = message(len);
                        match twin.iter_mut().find(|(_, _, key)| *key == Some(number)) {
                            Some(place) => {
                                prop_assert!(queue.conflate(&key(number), message.clone().into()).is_ok());
                                place.0 = message;
                            }
                            None => {
                                let item = queue.conflate(&key(number), message.clone().into());
                                queue.push(item.unwrap_err(), Right::Conflate(key(number)));
                                twin.push((message, false, Some(number)));
                            }
                        }
                    }
                    Op::Pop => {
                        let expected = (!twin.is_empty()).then(|| twin.remove(0).0);
                        let popped = queue.pop();
                        prop_assert_eq!(popped.as_ref().map(Item::message), expected.as_ref());
                    }
                    Op::DropOldest(spared) => {
                        let goes = |key: Option<u8>| key.is_none() || key != spared;
                        let at = twin.iter().position(|(_, keep, key)| !keep && goes(*key));
                        let expected = at.map(|at| twin.remove(at).0.len() + HOLD);
                        let spared = spared.map(key);
                        prop_assert_eq!(queue.drop_oldest(spared.as_ref()), expected);
                    }
                }
                let len: usize = twin.iter().map(|(message, ..)| message.len() + HOLD).sum();
                prop_assert_eq!((queue.len(), queue.count()), (len, twin.len()));
                prop_assert!(queue.keys.len() <= twin.len());
            }
        }
    }

    fn offer(backlog: &mut Backlog, text: &'static str, overflow: &Overflow) -> Admission {
        backlog.offer(Message::from(text), overflow).unwrap()
    }

    fn rest(mut backlog: Backlog) -> Vec<String> {
        let texts = std::iter::from_fn(|| backlog.pop());
        let text = |item: Item| item.message().as_text().unwrap().to_owned();
        texts.map(text).collect()
    }

    #[test]
    fn a_full_backlog_does_what_the_policy_says() {
        let expected: [(Overflow, _, &[&str]); 4] = [
            (Overflow::DropNewest, Admission::Dropped, &["a", "b"]),
            (Overflow::DropOldest, Admission::Displaced, &["b", "c"]),
            (Overflow::Conflate("k".into()), Admission::Displaced, &["c"]),
            (Overflow::Close, Admission::Closed, &[]),
        ];
        for (overflow, admission, left) in expected {
            let mut backlog = Backlog::new(2, 1 << 20);
            offer(&mut backlog, "a", &overflow);
            offer(&mut backlog, "b", &overflow);
            assert_eq!(
                offer(&mut backlog, "c", &overflow),
                admission,
                "{overflow:?}"
            );
            let dropped = backlog.dropped();
            let all = dropped.newest + dropped.oldest + dropped.conflated + dropped.closed;
            assert_eq!(
                (all, rest(backlog)),
                (
                    3 - left.len() as u64,
                    left.iter().map(|&text| text.into()).collect()
                )
            );
        }
        let mut backlog = Backlog::new(1, 1 << 20);
        offer(&mut backlog, "a", &Overflow::Wait);
        let full = backlog.offer(Message::from("b"), &Overflow::Wait);
        assert_eq!(
            (full, rest(backlog)),
            (Err(SendError::Full), vec!["a".into()])
        );
    }

    #[test]
    fn a_backlog_is_bounded_in_bytes_too() {
        let mut backlog = Backlog::new(100, 2 * HOLD);
        offer(&mut backlog, "a", &Overflow::DropOldest);
        assert!(!backlog.is_full());
        offer(&mut backlog, "b", &Overflow::DropOldest);
        assert!(backlog.is_full());
        offer(&mut backlog, "c", &Overflow::DropOldest);
        assert_eq!(rest(backlog), ["b", "c"]);
    }
}
