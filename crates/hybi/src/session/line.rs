//! One connection of a session: what is queued goes out over it, message by message, so that it is
//! known which ones the peer cannot have got when it breaks.

use hybi_proto::close::{Close, Initiator};
use hybi_proto::code::CloseCode;
use hybi_proto::queue::{Backlog, Item, Overflow};
use tokio::time::Instant;

use crate::error::Error;
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::socket::WebSocket;

/// A connection that is open.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    pub(super) since: Instant,
}

/// A message that is on its way from the queue to the operating system.
#[derive(Debug)]
pub(super) struct Leaving {
    item: Item,
    /// When it will have; not queued there yet if there is none.
    end: Option<End>,
}

/// When a message that a connection was handed has left.
#[derive(Clone, Copy, Debug)]
enum End {
    /// When so many bytes have.
    Bytes(u64),
    /// When so many messages have: it is not framed whole, and how long it is then is not known.
    Messages(u64),
}

impl Line {
    pub(super) fn new(ws: WebSocket) -> Self {
        let (sender, receiver) = ws.split();
        Self {
            sender,
            receiver,
            since: Instant::now(),
        }
    }

    /// Hands over what is queued while the transport takes it, and writes; whether anything came
    /// of it.
    pub(super) fn pump(&self, queue: &mut Backlog, leaving: &mut Option<Leaving>) -> bool {
        let mut moved = false;
        loop {
            if leaving
                .as_ref()
                .is_some_and(|leaving| leaving.end.is_some())
            {
                if !self.has_left(leaving) {
                    return moved;
                }
                *leaving = None;
                moved = true;
            }
            let next = leaving.take().map(|leaving| leaving.item);
            let Some(item) = next.or_else(|| queue.pop()) else {
                return moved;
            };
            let end = self.queue(item.clone());
            *leaving = Some(Leaving { item, end });
            if end.is_none() {
                return moved;
            }
            moved = true;
        }
    }

    fn queue(&self, item: Item) -> Option<End> {
        let shared = self.sender.handle().shared();
        let mut link = shared.lock();
        // The receiver learns why it cannot be queued.
        shared.offer(&mut link, item, &Overflow::Wait).ok()?;
        // It was cut off, and what was buffered is gone.
        link.may_send().ok()?;
        let stats = link.stats();
        Some(match link.connection.unframed() {
            0 => End::Bytes(stats.bytes_sent + stats.buffered as u64),
            _ => End::Messages(link.last_message()),
        })
    }

    fn has_left(&self, leaving: &Option<Leaving>) -> bool {
        let link = self.sender.handle().lock();
        match leaving.as_ref().and_then(|leaving| leaving.end) {
            None => false,
            Some(End::Bytes(bytes)) => link.stats().bytes_sent >= bytes,
            Some(End::Messages(messages)) => {
                let framed = link.connection.messages_sent() >= messages;
                framed && link.connection.unsent() == 0
            }
        }
    }

    /// The connection has ended: a message that has not left whole is to be sent again, for the
    /// peer cannot have got it.
    pub(super) fn recall(&self, leaving: &mut Option<Leaving>) {
        if self.has_left(leaving) {
            *leaving = None;
        } else if let Some(leaving) = leaving {
            leaving.end = None;
        }
    }

    /// Closes the connection, once all is queued.
    pub(super) fn close(&self, close: &Close, queue: &Backlog, leaving: &Option<Leaving>) {
        let waits = leaving
            .as_ref()
            .is_some_and(|leaving| leaving.end.is_none());
        if queue.is_empty() && !waits {
            // If it cannot be sent any more, the connection has ended.
            let _ = self
                .sender
                .start_close(close.code(), close.reason().clone());
        }
    }

    /// Why the connection has ended, from what the receiver has said.
    pub(super) fn why(&self, error: Option<Error>) -> Error {
        why(&self.sender, error.unwrap_or(Error::Closed))
    }
}

/// A close frame, if there was one, says more than that the connection has ended or could not be
/// written any more.
pub(super) fn why(sender: &Sender, error: Error) -> Error {
    let Some(info) = sender.close_info() else {
        return error;
    };
    let closed = match &error {
        Error::Closed => info.code != CloseCode::ABNORMAL,
        Error::Io(_) | Error::Timeout(_) => {
            info.code != CloseCode::ABNORMAL && info.initiator == Initiator::Peer
        }
        _ => false,
    };
    if closed {
        Error::ClosedWith(Box::new(info))
    } else {
        error
    }
}
