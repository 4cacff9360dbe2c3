//! The connection in the hands of a handler: what can be sent and asked while it looks.
//!
//! It queues; who writes is the driver.

use std::fmt;

use hybi_proto::code::CloseCode;
use hybi_proto::connection::Connection;
use hybi_proto::error::SendError;
use hybi_proto::message::{Message, MessageRef, SendOptions};
use hybi_proto::prepared::Prepared;
use hybi_proto::queue::{Item, Overflow};
use hybi_proto::text::Text;

use crate::error::Result;
use crate::pings::RoundTrip;
use crate::sender::Sender;
use crate::shared::ConnectionId;

/// The connection on which something has come, in the hands of a [`Handler`](super::Handler).
pub struct Peer<'a, T = ()> {
    sender: &'a Sender,
    /// What the handler keeps for this connection.
    pub state: &'a mut T,
    /// The message that is being shown, if it has a buffer of its own.
    pub(super) shown: Option<&'a Message>,
    /// So much was queued that it has to leave before more is shown.
    pub(super) pressed: bool,
    /// Something was refused because there was no room.
    pub(super) refused: bool,
}

impl<'a, T> Peer<'a, T> {
    pub(super) fn new(sender: &'a Sender, state: &'a mut T) -> Self {
        Self {
            sender,
            state,
            shown: None,
            pressed: false,
            refused: false,
        }
    }

    /// Queues a message, the whole of it or nothing: a copy of what is borrowed, but for most of a
    /// large message that is being shown. It is written, with all else that answers the same read,
    /// when the handler has seen what was read.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] while the backlog is full: [`Handler::on_drain`](super::Handler::on_drain) tells when it is not.
    /// Half of [`Options::backlog`](crate::Options::backlog) is free when a handler is called, so
    /// that who sends no more than that in one call does not meet it unless others send on this
    /// connection, too. [`Error::Closed`](crate::Error::Closed) once the connection is closing; an error of the transport.
    #[inline]
    pub fn send<'m>(&mut self, message: impl Into<MessageRef<'m>>) -> Result<()> {
        let message = message.into();
        // A small part would keep all of it in memory.
        if let Some(shown) = self.shown
            && message.as_bytes().len() >= shown.len() / 2
            && let Some(shared) = shown.share(message)
        {
            return self.queue(|connection| connection.send(shared));
        }
        self.queue(|connection| connection.send_ref(message))
    }

    /// As [`send`](Self::send), for a message that is given away: a large one is not copied.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_owned(&mut self, message: impl Into<Message>) -> Result<()> {
        let message = message.into();
        self.queue(|connection| connection.send(message))
    }

    /// As [`send_owned`](Self::send_owned), with options.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_with(&mut self, message: impl Into<Message>, options: SendOptions) -> Result<()> {
        let item = Item::new(message, options);
        self.queue(|connection| {
            let admission = connection.offer(item, &Overflow::Wait, false);
            admission.map(drop)
        })
    }

    /// As [`send`](Self::send), for a message that many get and that was framed once.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_prepared(&mut self, message: &Prepared) -> Result<()> {
        self.queue(|connection| {
            let admission = connection.offer_prepared(message, &Overflow::Wait, false);
            admission.map(drop)
        })
    }

    #[inline]
    fn queue(
        &mut self,
        queue: impl FnOnce(&mut Connection) -> std::result::Result<(), SendError>,
    ) -> Result<()> {
        let mut link = self.sender.handle().lock();
        link.may_send()?;
        let queued = queue(&mut link.connection);
        self.refused |= queued == Err(SendError::Full);
        self.pressed |= self.refused || link.is_pressed();
        Ok(queued?)
    }

    /// Sends a ping of at most 125 bytes: see [`Sender::ping`].
    ///
    /// # Errors
    ///
    /// As [`Sender::ping`].
    pub fn ping(&mut self, payload: impl AsRef<[u8]>) -> Result<RoundTrip> {
        self.sender.ping(payload)
    }

    /// Sends a pong of at most 125 bytes: see [`Sender::pong`].
    ///
    /// # Errors
    ///
    /// As [`Sender::pong`].
    pub fn pong(&mut self, payload: impl AsRef<[u8]>) -> Result<()> {
        self.sender.pong(payload)
    }

    /// Sends a close frame behind what is queued, and nothing can be sent any more;
    /// [`Handler::on_close`](super::Handler::on_close) follows when the peer has answered. Messages that come before that
    /// are still shown. A second call changes nothing.
    ///
    /// # Errors
    ///
    /// A code that no frame may carry or a reason of more than 123 bytes: nothing is sent.
    pub fn close(&mut self, code: CloseCode, reason: impl Into<Text>) -> Result<()> {
        self.sender.start_close(code, reason)
    }

    /// Ends the connection at once, without a close frame. Of what has come, nothing more is
    /// shown.
    pub fn abort(&mut self) {
        self.sender.abort();
        // What is looked at is put away, and what has come to an aborted connection is dropped.
        self.pressed = true;
    }

    /// Tells this connection from all others of the process.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.sender.id()
    }

    /// The handle of this connection: all that can be asked of it, and clones to send with from
    /// other tasks, which can wait for room. Its [`stats`](Sender::stats) count the messages of a
    /// read when all of them have been shown.
    #[must_use]
    pub fn sender(&self) -> &Sender {
        self.sender
    }

    /// The subprotocol that the opening handshake has settled on.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.sender.handle().protocol()
    }
}

impl<T> fmt::Debug for Peer<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("sender", &self.sender)
            .finish_non_exhaustive()
    }
}
