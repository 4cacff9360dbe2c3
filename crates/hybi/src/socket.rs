//! A WebSocket in the hands of its user: both halves in one.

use std::fmt;
use std::net::SocketAddr;

use http::Uri;
use hybi_proto::close::CloseInfo;
use hybi_proto::code::CloseCode;
use hybi_proto::connection::State;
use hybi_proto::handshake::Extensions;
use hybi_proto::message::{Event, Kind, Message, SendOptions};
use hybi_proto::prepared::Prepared;
use hybi_proto::text::Text;

use crate::error::{Error, Result};
use crate::io::{Io, Stream};
use crate::options::Options;
use crate::parts::{MessageReader, MessageWriter};
use crate::pings::RoundTrip;
use crate::receiver::Receiver;
use crate::sender::{Permit, Sender};
use crate::shared::{Agreed, ConnectionId, Handle};
use crate::stats::Stats;

/// A WebSocket connection, on either side.
///
/// From [`connect`](crate::connect) and [`accept`](crate::accept) it is used as it is: what it
/// does, it does while one of its methods is polled. Deadlines, too, are seen only then. In the
/// hands of a handler of [`Server::serve`](crate::Server::serve) or [`drive`](crate::drive()) it
/// is *driven*: writing, pings, closes and deadlines are seen to while the handler is busy
/// elsewhere, up to 64 KiB are read ahead, and all that a handler sends in answer to one read
/// leaves in one write.
///
/// All methods are cancel safe: a dropped call loses nothing.
///
/// Dropping an undriven socket tries one write of what is queued and a close frame with 1001,
/// and aborts. To be sure that all has arrived, [`close`](Self::close) it.
pub struct WebSocket<S: Io = Stream> {
    pub(crate) sender: Sender<S>,
    pub(crate) receiver: Receiver<S>,
}

/// Which end of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Accepted the connection.
    Server,
    /// Began the connection, and masks what it sends.
    Client,
}

impl<S: Io> WebSocket<S> {
    /// A WebSocket over a stream on which the opening handshake is already done.
    ///
    /// `read_ahead` is what was read behind the handshake: the first bytes of frames, if any.
    pub fn from_stream(stream: S, role: Role, options: &Options, read_ahead: &[u8]) -> Self {
        Self::open(stream, role, options, read_ahead, Agreed::default())
    }

    pub(crate) fn open(
        stream: S,
        role: Role,
        options: &Options,
        read_ahead: &[u8],
        agreed: Agreed,
    ) -> Self {
        let handle = Handle::new(stream, role == Role::Client, read_ahead, options, agreed);
        Self {
            sender: Sender::new(handle.clone()),
            receiver: Receiver { handle },
        }
    }

    pub(crate) fn handle(&self) -> &Handle<S> {
        self.sender.handle()
    }

    /// Tells this connection from all others of the process.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.sender.id()
    }

    /// A handle to send with, from anywhere.
    #[must_use]
    pub fn sender(&self) -> Sender<S> {
        self.sender.clone()
    }

    /// The two halves, for two tasks. No task and no channel is made; a driven socket stays so.
    ///
    /// The connection is open as long as one of them lives. What is said of dropping a
    /// `WebSocket` holds for the last of them.
    #[must_use]
    pub fn split(self) -> (Sender<S>, Receiver<S>) {
        (self.sender, self.receiver)
    }

    /// Waits for the next message; `None` after a clean close.
    ///
    /// Cancel safe: a dropped call loses nothing. What is queued is written while it waits.
    ///
    /// # Errors
    ///
    /// How the connection ended, if that was not clean: once, and [`Error::Closed`] from then on.
    /// A violation by the peer is answered with the right close code before it is returned.
    pub fn recv(&mut self) -> impl Future<Output = Result<Option<Message>>> + Send {
        self.receiver.recv()
    }

    /// Waits for the next event: as [`recv`](Self::recv), but pings, pongs and the close frame
    /// are shown too. `None` after a clean close.
    ///
    /// Cancel safe: a dropped call loses nothing. What is queued is written while it waits.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_event(&mut self) -> Result<Option<Event>> {
        self.receiver.recv_event().await
    }

    /// Waits for the next message, to be read in parts as they come: see
    /// [`Receiver::recv_reader`]. A message that was received whole is one allocation; its fragments
    /// are not kept apart, for intermediaries may cut them as they like (RFC 6455 §5.4).
    ///
    /// ```
    /// # use tokio::io::AsyncWrite;
    /// # async fn run(mut ws: hybi::WebSocket, mut file: impl AsyncWrite + Unpin) -> hybi::Result<()> {
    /// # use tokio::io::AsyncWriteExt;
    /// while let Some(mut message) = ws.recv_reader().await? {
    ///     while let Some(part) = message.next().await? {
    ///         file.write_all(&part).await?;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Cancel safe: a dropped call loses nothing.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_reader(&mut self) -> Result<Option<MessageReader<'_, S>>> {
        self.receiver.recv_reader().await
    }

    /// Begins a message that is sent in parts: see [`MessageWriter`].
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # let (mut ws, mut peer) = hybi::test::pair();
    /// let mut message = ws.message(hybi::Kind::Text).await?;
    /// message.write("piece ").await?;
    /// message.write("by piece").await?;
    /// message.finish()?;
    /// # assert_eq!(peer.recv().await?, Some("piece by piece".into()));
    /// # hybi::Result::Ok(()) })?;
    /// # hybi::Result::Ok(())
    /// ```
    ///
    /// Cancel safe: a dropped call has begun nothing.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn message(&mut self, kind: Kind) -> Result<MessageWriter<'_, S>> {
        self.sender.message(kind).await
    }

    /// As [`message`](Self::message), with options.
    ///
    /// Cancel safe: a dropped call has begun nothing.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn message_with(
        &mut self,
        kind: Kind,
        options: SendOptions,
    ) -> Result<MessageWriter<'_, S>> {
        self.sender.message_with(kind, options).await
    }

    /// Sends a message: queues the whole of it or nothing, then writes as much as the transport
    /// takes at once. Waits while the backlog is full.
    ///
    /// What the transport did not take is written by the calls that follow; to wait for that,
    /// [`flush`](Self::flush). A driven socket writes by itself, when the handler yields.
    ///
    /// Cancel safe: a dropped call has queued the whole message or nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the connection is closing; an error of the transport.
    pub fn send(&mut self, message: impl Into<Message>) -> impl Future<Output = Result<()>> + Send {
        self.sender.send(message)
    }

    /// As [`send`](Self::send), with options.
    ///
    /// ```
    /// # async fn run(mut ws: hybi::WebSocket, photo: Vec<u8>) -> hybi::Result<()> {
    /// # use hybi::SendOptions;
    /// ws.send_with(photo, SendOptions::new().compress(false)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Cancel safe: a dropped call has queued the whole message or nothing.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_with(
        &mut self,
        message: impl Into<Message>,
        options: SendOptions,
    ) -> impl Future<Output = Result<()>> + Send {
        self.sender.send_with(message, options)
    }

    /// As [`send`](Self::send), for a message that many get and that was framed once.
    ///
    /// Cancel safe: a dropped call has queued the whole message or nothing.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_prepared(&mut self, message: &Prepared) -> impl Future<Output = Result<()>> + Send {
        self.sender.send_prepared(message)
    }

    /// Waits for the right to queue one message of any size: see [`Sender::reserve`].
    ///
    /// Cancel safe: a dropped call gives up its place.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn reserve(&mut self) -> Result<Permit<'_, S>> {
        self.sender.reserve().await
    }

    /// Queues a message and writes nothing yet, so that many leave together: with the next
    /// `send`, `flush` or `recv`.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`](crate::SendError::Full) while the backlog is full: nothing was queued.
    /// [`Error::Closed`] once the connection is closing.
    pub fn feed(&mut self, message: impl Into<Message>) -> Result<()> {
        self.sender.feed(message)
    }

    /// Waits until all that was queued is handed to the operating system.
    ///
    /// Cancel safe: a dropped call loses nothing.
    ///
    /// # Errors
    ///
    /// An error of the transport; [`Error::Closed`] if the connection has ended without a clean
    /// close, so that what was queued may not have left.
    pub async fn flush(&mut self) -> Result<()> {
        self.sender.flush().await
    }

    /// Sends a ping of at most 125 bytes (RFC 6455 §5.5.2), and gives a future of the round-trip
    /// time: see [`Sender::ping`]. On a socket that is not driven somebody has to receive while it
    /// is awaited, as here:
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # let (mut ws, server) = hybi::test::pair();
    /// # tokio::spawn(hybi::drive(server, |mut ws| async move { while ws.recv().await?.is_some() {} Ok(()) }));
    /// let round_trip = ws.ping("")?;
    /// tokio::select! {
    ///     time = round_trip => println!("{:?}", time?),
    ///     message = ws.recv() => println!("{:?}", message?),
    /// }
    /// # hybi::Result::Ok(()) })?;
    /// # hybi::Result::Ok(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SendError::ControlTooLong`](crate::SendError::ControlTooLong), and as
    /// [`feed`](Self::feed).
    pub fn ping(&mut self, payload: impl AsRef<[u8]>) -> Result<RoundTrip> {
        self.sender.ping(payload)
    }

    /// Sends a pong of at most 125 bytes that answers a ping, where
    /// [`Options::auto_pong`] is off, or that answers none (RFC 6455 §5.5.3).
    ///
    /// # Errors
    ///
    /// As [`ping`](Self::ping).
    pub fn pong(&mut self, payload: impl AsRef<[u8]>) -> Result<()> {
        self.sender.pong(payload)
    }

    /// Closes the connection: sends a close frame behind what is queued and waits until the peer
    /// has answered it and the transport has ended, under [`Options::close_timeout`]. On a driven
    /// socket it waits for the answer, and the driver sees to the transport. Messages
    /// that still come are discarded; to receive them, use [`start_close`](Self::start_close).
    ///
    /// Gives how the connection ended, which the peer may have begun before.
    ///
    /// Cancel safe: a dropped call has begun to close or has not, and can be called again.
    ///
    /// # Errors
    ///
    /// A code that no frame may carry or a reason of more than 123 bytes: nothing is sent. And as
    /// [`recv`](Self::recv), if the end was not clean.
    pub async fn close(&mut self, code: CloseCode, reason: impl Into<Text>) -> Result<CloseInfo> {
        match self.start_close(code, reason) {
            // It is for the receiver to say, once, how the transport has failed.
            Ok(()) | Err(Error::Io(_)) => {}
            Err(error) => return Err(error),
        }
        while self.recv_event().await?.is_some() {}
        self.close_info().ok_or(Error::Closed)
    }

    /// Sends a close frame behind what is queued, and nothing can be sent any more; call
    /// [`recv`](Self::recv) until the connection has ended. A second call changes nothing.
    ///
    /// # Errors
    ///
    /// A code that no frame may carry or a reason of more than 123 bytes: nothing is sent.
    pub fn start_close(&mut self, code: CloseCode, reason: impl Into<Text>) -> Result<()> {
        self.sender.start_close(code, reason)
    }

    /// Ends the connection at once, without a close frame.
    pub fn abort(&mut self) {
        self.sender.abort();
    }

    /// Where the connection stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.sender.state()
    }

    /// How the connection ended, once it has: the code and the reason, who began, and whether it
    /// was clean.
    #[must_use]
    pub fn close_info(&self) -> Option<CloseInfo> {
        self.sender.close_info()
    }

    /// What the connection has done so far: messages and bytes each way, the last round-trip
    /// time, and what was dropped.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.sender.stats()
    }

    /// The number of bytes that are queued, framing included.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.sender.buffered()
    }

    /// The subprotocol that the opening handshake has settled on.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.handle().protocol()
    }

    /// The extensions that the opening handshake has settled on: whether messages are compressed,
    /// and with which parameters.
    #[must_use]
    pub fn extensions(&self) -> Extensions {
        self.handle().extensions()
    }

    /// On a client the URL without credentials, in which `localhost` stands for a Unix socket; on a
    /// server the request's target.
    #[must_use]
    pub fn uri(&self) -> Option<Uri> {
        self.handle().uri()
    }
}

impl WebSocket<Stream> {
    /// Our own address, while the socket is open; `None` in memory.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.sender.local_addr()
    }

    /// The peer's address, while the socket is open; `None` in memory.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.sender.peer_addr()
    }
}

impl<S: Io> fmt::Debug for WebSocket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("id", &self.id())
            .field("state", &self.state())
            .field("uri", &self.uri())
            .field("protocol", &self.protocol())
            .field("extensions", &self.extensions())
            .finish_non_exhaustive()
    }
}
