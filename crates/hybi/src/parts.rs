//! Messages in parts: one that is written bit by bit, and one that is read as it comes.

use std::fmt;
use std::future::poll_fn;
use std::task::{Poll, ready};

use bytes::Bytes;
use hybi_proto::message::{Event, Kind, Message, SendOptions};

use crate::error::{Error, Result};
use crate::io::{Io, Stream};
use crate::link::Link;
use crate::receiver::Receiver;
use crate::sender::{Permit, Sender};

/// A message that is sent in parts, made by [`WebSocket::message`](crate::WebSocket::message). Each
/// part leaves as a fragment as it is written (RFC 6455 §5.4); pings and closes pass between them,
/// and messages of other handles wait until this one is finished: under
/// [`Overflow::Wait`](crate::Overflow) in turn, else queued, up to a backlog that takes no room from
/// the parts. So does a flush of those.
///
/// It has to be [finished](Self::finish): dropped before, with a part already written, it closes the
/// connection with 1011, for nothing honest can follow half a message. One to which nothing is
/// written for [`Options::write_timeout`](crate::Options::write_timeout), while there is room, counts
/// as a write stall, and so does one that was forgotten.
#[must_use = "a message that is not finished closes the connection"]
pub struct MessageWriter<'a, S: Io = Stream> {
    permit: Permit<'a, S>,
}

/// A message that is received in parts, from
/// [`WebSocket::recv_reader`](crate::WebSocket::recv_reader). Dropped early, it discards the rest of
/// the message as it comes, within the limits.
#[must_use = "a reader that is dropped discards the message"]
pub struct MessageReader<'a, S: Io = Stream> {
    receiver: &'a mut Receiver<S>,
    kind: Kind,
    /// What came with the reader and was not asked for yet.
    first: Option<Bytes>,
    over: bool,
}

impl<S: Io> Sender<S> {
    /// Begins a message that is sent in parts, when all who wait to send have had their turn: see
    /// [`MessageWriter`].
    ///
    /// Cancel safe: a dropped call has begun nothing.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn message(&self, kind: Kind) -> Result<MessageWriter<'_, S>> {
        self.message_with(kind, SendOptions::new()).await
    }

    /// As [`message`](Self::message), with options.
    ///
    /// Cancel safe: a dropped call has begun nothing.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn message_with(
        &self,
        kind: Kind,
        options: SendOptions,
    ) -> Result<MessageWriter<'_, S>> {
        let permit = self.reserve().await?;
        let begin = |link: &mut Link<S>| link.connection.begin_with(kind, options);
        permit.part(begin).await?;
        Ok(MessageWriter { permit })
    }
}

impl<S: Io> MessageWriter<'_, S> {
    /// Sends the next part, of any size; waits while the backlog is full. The bytes of text need
    /// not be cut between two characters. An empty part is left out.
    ///
    /// Cancel safe: a dropped call has queued the whole part or nothing.
    ///
    /// # Errors
    ///
    /// [`SendError::InvalidUtf8`](crate::SendError::InvalidUtf8) if a text cannot go on like this:
    /// nothing was queued. [`Error::Closed`] once the connection is closing; an error of the
    /// transport.
    pub async fn write(&mut self, part: impl Into<Message>) -> Result<()> {
        let bytes = part.into().into_bytes();
        self.permit.part(|link| link.send_part(bytes.clone())).await
    }

    /// Finishes the message. It does not wait: what the transport does not take at once is written
    /// as with [`WebSocket::send`](crate::WebSocket::send).
    ///
    /// # Errors
    ///
    /// [`SendError::InvalidUtf8`](crate::SendError::InvalidUtf8) if a text ends inside a character:
    /// the connection is closed with 1011. [`Error::Closed`] once the connection is closing.
    pub fn finish(self) -> Result<()> {
        // Dropped, it gives up what is unfinished, and that it is not any more.
        self.permit.now(|link| link.connection.finish())
    }
}

impl<S: Io> Drop for MessageWriter<'_, S> {
    fn drop(&mut self) {
        // If the connection has ended, there is nothing to give up.
        let _ = self.permit.now(|link| {
            link.connection.abandon();
            Ok(())
        });
    }
}

impl<S: Io> Receiver<S> {
    /// Waits for the next message, to be read in parts as they come: for messages that memory should
    /// not hold. `None` after a clean close. See [`MessageReader`].
    ///
    /// The [limit](crate::Options::max_message) holds for the whole of it; raise it or disable it
    /// for messages that are larger.
    ///
    /// Cancel safe: a dropped call loses nothing.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_reader(&mut self) -> Result<Option<MessageReader<'_, S>>> {
        // A reader may have been forgotten.
        self.handle.lock().stop_reading();
        let part = poll_fn(|cx| {
            loop {
                match ready!(self.poll_event(cx, Link::next_part))? {
                    Some(Event::Part(part)) => return Poll::Ready(Ok::<_, Error>(Some(part))),
                    Some(_) => {}
                    None => return Poll::Ready(Ok(None)),
                }
            }
        });
        let Some(part) = part.await? else {
            return Ok(None);
        };
        Ok(Some(MessageReader {
            receiver: self,
            kind: part.kind,
            first: Some(part.bytes),
            over: part.last,
        }))
    }
}

impl<S: Io> MessageReader<'_, S> {
    /// Whether the message is text or binary.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Waits for the next part; `None` at the end of the message. Text is cut between two
    /// characters, so that each part is UTF-8. A part has nothing to do with the peer's fragments:
    /// it is what has come.
    ///
    /// Cancel safe: a dropped call loses nothing. What is queued is written while it waits.
    ///
    /// # Errors
    ///
    /// The connection ended before the message did: as [`WebSocket::recv`](crate::WebSocket::recv),
    /// and [`Error::Closed`] if the peer has closed it.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(first) = self.first.take_if(|first| !first.is_empty()) {
            return Ok(Some(first));
        }
        poll_fn(|cx| {
            while !self.over {
                match ready!(self.receiver.poll_event(cx, Link::next_part))? {
                    Some(Event::Part(part)) => {
                        self.over = part.last;
                        if !part.bytes.is_empty() {
                            return Poll::Ready(Ok(Some(part.bytes)));
                        }
                    }
                    Some(_) => {}
                    None => return Poll::Ready(Err(Error::Closed)),
                }
            }
            Poll::Ready(Ok(None))
        })
        .await
    }
}

impl<S: Io> Drop for MessageReader<'_, S> {
    fn drop(&mut self) {
        self.receiver.handle.lock().stop_reading();
    }
}

impl<S: Io> fmt::Debug for MessageWriter<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MessageWriter").field(&self.permit).finish()
    }
}

impl<S: Io> fmt::Debug for MessageReader<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReader")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
