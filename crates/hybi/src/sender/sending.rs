//! A message on its way into the connection.

use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use hybi_proto::outbox::LINK;
use hybi_proto::queue::{Admission, Item};

use crate::error::{Error, Result};
use crate::io::Io;
use crate::link::Link;
use crate::wakers::Interest;

use super::Sender;

/// The future of every send. Handlers have room for one all their life, so it is small: what only
/// waiting needs is allocated when it waits.
pub(super) struct Sending<'a, S: Io> {
    sender: &'a Sender<S>,
    stage: Stage<'a>,
}

type Waiting<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

enum Stage<'a> {
    Begun(Item),
    Waiting(Waiting<'a>),
    Done,
}

/// What became of a message.
enum Sent {
    /// It is queued.
    All,
    /// It waits for room.
    Nothing(Item),
    /// It is queued, and is being compressed elsewhere.
    Offloaded,
}

impl Sent {
    fn of<S: Io>(link: &Link<S>) -> Self {
        if !link.driven && link.is_offloaded() {
            Self::Offloaded
        } else {
            Self::All
        }
    }
}

impl<'a, S: Io> Sending<'a, S> {
    #[inline]
    pub(super) fn new(sender: &'a Sender<S>, item: Item) -> Self {
        let stage = Stage::Begun(item);
        Self { sender, stage }
    }

    #[cold]
    fn poll_waiting(&mut self, cx: &mut Context<'_>, mut waiting: Waiting<'a>) -> Poll<Result<()>> {
        let result = waiting.as_mut().poll(cx);
        if result.is_pending() {
            self.stage = Stage::Waiting(waiting);
        }
        result
    }
}

impl<S: Io> Future for Sending<'_, S> {
    type Output = Result<()>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        let sender = this.sender;
        match mem::replace(&mut this.stage, Stage::Done) {
            Stage::Begun(item) => {
                let sent = match sender.send_small(&item)? {
                    Some(sent) => sent,
                    None => sender.send_now(item)?,
                };
                let item = match sent {
                    Sent::All => return Poll::Ready(Ok(())),
                    Sent::Nothing(item) => Some(item),
                    Sent::Offloaded => None,
                };
                this.poll_waiting(cx, Box::pin(sender.send_waiting(item)))
            }
            Stage::Waiting(waiting) => this.poll_waiting(cx, waiting),
            Stage::Done => panic!("a send was polled after it had ended"),
        }
    }
}

impl<S: Io> Sender<S> {
    /// Sends a message as most are, where it lies: it is copied anyway. None if there is no room, or
    /// a policy to ask: nothing was sent.
    #[inline]
    fn send_small(&self, item: &Item) -> Result<Option<Sent>> {
        let Item::Message(message) = item else {
            return Ok(None);
        };
        if message.len() >= LINK || self.overflow.is_some() {
            return Ok(None);
        }
        self.give_up_place();
        let shared = self.handle.shared();
        let mut link = shared.lock();
        if link.is_crowded() || link.connection.is_full() {
            return Ok(None);
        }
        shared.queue(&mut link, |link| link.connection.send_ref(message.into()))?;
        Ok(Some(Sent::of(&link)))
    }

    /// Sends a message, or does what the policy says, if there is room for it.
    fn send_now(&self, item: Item) -> Result<Sent> {
        self.give_up_place();
        let shared = self.handle.shared();
        let mut link = shared.lock();
        if self.overflow.is_none() && (link.is_crowded() || link.connection.is_full()) {
            return Ok(Sent::Nothing(item));
        }
        match shared.offer(&mut link, item, self.policy())? {
            Admission::Closed => Err(Error::Closed),
            // Under a policy it never waits.
            _ if self.overflow.is_some() => Ok(Sent::All),
            _ => Ok(Sent::of(&link)),
        }
    }

    /// Sends a message for which there was no room, if there is one, and waits until what is being
    /// compressed elsewhere is queued.
    async fn send_waiting(&self, item: Option<Item>) -> Result<()> {
        if let Some(item) = item {
            self.reserve().await?.queue(item)?;
        }
        let message = self.handle.lock().last_message();
        poll_fn(|cx| self.poll_offloaded(cx, message)).await;
        Ok(())
    }

    /// Waits for the compression of what was queued, up to this message: nobody else may see to a
    /// connection that is not driven.
    fn poll_offloaded(&self, cx: &mut Context<'_>, message: u64) -> Poll<()> {
        let waits =
            |link: &Link<S>| link.is_offloaded() && link.connection.messages_sent() < message;
        let mut link = self.handle.lock();
        if link.driven || !waits(&link) {
            return Poll::Ready(());
        }
        let is_new = link.wakers().wait(Interest::Flush, cx.waker());
        let _ = link.poll_drain();
        link.return_outbox();
        if waits(&link) {
            return Poll::Pending;
        }
        if is_new {
            link.wakers().forget_flush(cx.waker());
        }
        Poll::Ready(())
    }
}
