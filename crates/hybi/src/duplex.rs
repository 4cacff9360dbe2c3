//! A WebSocket as a stream of bytes, for what knows no messages.
//!
//! Reading takes the parts of messages as they come, writing makes a message of each write. The
//! room for it and the waiting are the halves' affair.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker, ready};

use bytes::{Buf, Bytes};
use hybi_proto::code::CloseCode;
use hybi_proto::connection::Connection;
use hybi_proto::error::SendError;
use hybi_proto::message::{Event, Message};
use hybi_proto::text::Text;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop;

use crate::error::{Error, Result};
use crate::io::{Io, Stream};
use crate::link::Link;
use crate::socket::WebSocket;

/// A WebSocket as a stream of bytes, made by [`WebSocket::into_io`].
///
/// **Reading** gives the payloads of all messages, text and binary, one behind the other. Where one
/// ends is not seen, and a large one is given as it comes, not held until it is whole; the limits
/// hold all the same ([`Options::max_message`](crate::Options::max_message) for each message).
///
/// **Writing** sends each write as one message of at most 64 KiB: binary, or [`text`](Self::text).
/// What the transport takes leaves at once.
///
/// **Backpressure**: a write waits while 64 KiB wait to leave, or the
/// [backlog](crate::Options::backlog) if that is less, in turn with the other senders of the
/// connection. So no more than 128 KiB and their framing wait. What was read and not taken is at most
/// one read of 272 KiB, with what a driven socket reads ahead (64 KiB).
///
/// **The end**: reading gives an end of file after a clean close. Every other end is an error, and
/// [`io::Error::get_ref`] gives the [`Error`]: `UnexpectedEof` if the peer was gone without a close
/// frame, `InvalidData` if it broke a rule, `TimedOut` if a deadline passed, else what the transport
/// said; then `ConnectionAborted`. To write to what is closing is `BrokenPipe`, once what was written
/// before has left.
///
/// **Shutting down** is the closing handshake: what was written leaves, then a close frame with 1000,
/// and then it waits for the peer's under [`Options::close_timeout`](crate::Options::close_timeout).
/// What the peer sends until then is there to be read afterwards, in order: 64 KiB of it are held,
/// and if there is more, the shutdown does not wait any longer and the rest of the handshake is done
/// by reading to the end. Both may go on at once.
///
/// A WebSocket has no half-open state as TCP has. A peer that is shut down answers at once
/// (RFC 6455 §5.5.1), and what it has not sent by then it cannot send any more. So where
/// [`copy_bidirectional`](tokio::io::copy_bidirectional) joins it to a TCP socket, the end of either
/// direction is the end of both; a protocol that ends one direction long before the other has to say
/// so in its own bytes. A write that fails because the peer has closed ends such a copy at once, with
/// up to the 8 KiB of its buffer not passed on; where the last bytes of the peer matter even then,
/// copy each way by itself, over [`split`](tokio::io::split).
///
/// Dropped before, it ends as a dropped [`WebSocket`] does. All calls are cancel safe. A write that
/// was polled and is not done keeps its place among those who send: see the `Sink` of
/// [`Sender`](crate::Sender).
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// let (client, server) = hybi::test::pair();
/// tokio::spawn(async move {
///     let (mut read, mut write) = tokio::io::split(server.into_io());
///     tokio::io::copy(&mut read, &mut write).await
/// });
/// let mut io = client.into_io();
/// io.write_all(b"as bytes").await?;
/// let mut echo = [0; 8];
/// io.read_exact(&mut echo).await?;
/// assert_eq!(&echo, b"as bytes");
/// io.shutdown().await?;
/// # std::io::Result::Ok(()) })?;
/// # std::io::Result::Ok(())
/// ```
pub struct Duplex<S: Io = Stream> {
    ws: WebSocket<S>,
    text: bool,
    /// The front of a character, whose rest is still to be written.
    cut: Vec<u8>,
    /// Parts that were received and are not read yet; none is empty.
    parts: VecDeque<Bytes>,
    stage: Stage,
    /// Who waits to read and who for the end: of different tasks, if this was split.
    reader: Option<Waker>,
    closer: Option<Waker>,
}

/// How far this side has come to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// What was written leaves. The time of the peer begins with the close frame behind it.
    Flushing,
    /// The close frame was queued.
    Closing,
}

/// What waits for a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Reader,
    Closer,
}

/// The most that one write takes, the backlog that makes the next one wait, and what is held for a
/// reader during a shutdown; in bytes.
const WRITE: usize = 64 << 10;
const BACKLOG: usize = 64 << 10;
const HOLD: usize = 64 << 10;

/// Wakes two tasks, for a receiver's place is one.
#[derive(Debug)]
struct Both(Waker, Waker);

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.wake_by_ref();
        self.1.wake_by_ref();
    }
}

impl<S: Io> WebSocket<S> {
    /// This socket as a stream of bytes: see [`Duplex`].
    #[must_use]
    pub fn into_io(self) -> Duplex<S> {
        Duplex {
            ws: self,
            text: false,
            cut: Vec::new(),
            parts: VecDeque::new(),
            stage: Stage::Open,
            reader: None,
            closer: None,
        }
    }
}

impl<S: Io> Duplex<S> {
    /// Writes text messages (default binary), for peers that want them. What is written has to be
    /// UTF-8, cut anywhere: an incomplete character at the end of a write waits for the next one.
    ///
    /// A write that is not UTF-8 is an error of kind `InvalidData`, and nothing of it was sent. So
    /// is a shutdown inside a character, which closes with 1011.
    #[must_use]
    pub fn text(mut self) -> Self {
        self.text = true;
        self
    }

    /// The socket below, for what it tells of the connection.
    #[must_use]
    pub fn get_ref(&self) -> &WebSocket<S> {
        &self.ws
    }

    /// Waits for the next part that is not empty; `None` after a clean close.
    fn poll_part(&mut self, cx: &mut Context<'_>, side: Side) -> Poll<Result<Option<Bytes>>> {
        let (own, other) = match side {
            Side::Reader => (&mut self.reader, &mut self.closer),
            Side::Closer => (&mut self.closer, &mut self.reader),
        };
        let both = match other {
            Some(other) if !other.will_wake(cx.waker()) => {
                Some(Arc::new(Both(cx.waker().clone(), other.clone())).into())
            }
            _ => None,
        };
        let mut behind = Context::from_waker(both.as_ref().unwrap_or(cx.waker()));
        let part = loop {
            match self.ws.receiver.poll_event(&mut behind, Link::next_part) {
                Poll::Ready(Ok(Some(Event::Part(part)))) if !part.bytes.is_empty() => {
                    break Ok(Some(part.bytes));
                }
                Poll::Ready(Ok(Some(_))) => {}
                Poll::Ready(Ok(None)) => break Ok(None),
                Poll::Ready(Err(error)) => break Err(error),
                Poll::Pending => {
                    own.get_or_insert_with(|| cx.waker().clone())
                        .clone_from(cx.waker());
                    return Poll::Pending;
                }
            }
        };
        // What it is waiting for may have come with this.
        if let Some(other) = other.take() {
            other.wake();
        }
        Poll::Ready(part)
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.stage != Stage::Open {
            return Poll::Ready(Err(broken_pipe(Error::Closed)));
        }
        let taken = slices.iter().map(|slice| slice.len()).sum::<usize>();
        let taken = taken.min(WRITE);
        if taken == 0 {
            return Poll::Ready(Ok(0));
        }
        let has_room = |link: &Connection| link.buffered() < BACKLOG && !link.is_full();
        if let Err(error) = ready!(self.ws.sender.poll_place(cx, has_room)) {
            // Who is told may drop us: what was written before, and our answer, leave first.
            let _ = ready!(self.ws.sender.poll_flushed(cx));
            return Poll::Ready(Err(broken_pipe(error)));
        }
        let mut bytes = Vec::with_capacity(self.cut.len() + taken);
        bytes.extend_from_slice(&self.cut);
        let whole = self.cut.len() + taken;
        for slice in slices {
            bytes.extend_from_slice(&slice[..slice.len().min(whole - bytes.len())]);
        }
        let message = if self.text {
            self.complete(bytes)
        } else {
            Ok(Some(bytes.into()))
        };
        let Ok(Some(message)) = message else {
            self.ws.sender.give_up_place();
            return Poll::Ready(message.map(|_| taken));
        };
        self.ws.sender.send_ready(message).map_err(broken_pipe)?;
        Poll::Ready(Ok(taken))
    }

    /// The whole characters of what was written, if any; the front of one more is kept.
    fn complete(&mut self, bytes: Vec<u8>) -> io::Result<Option<Message>> {
        let text = match String::from_utf8(bytes) {
            Ok(text) => {
                self.cut.clear();
                Text::from(text)
            }
            Err(error) if error.utf8_error().error_len().is_some() => return Err(not_utf8()),
            Err(error) => {
                let end = error.utf8_error().valid_up_to();
                let mut bytes = error.into_bytes();
                self.cut = bytes.split_off(end);
                Text::try_from(bytes).map_err(|_| not_utf8())?
            }
        };
        Ok((!text.is_empty()).then(|| Message::Text(text)))
    }

    /// Begins to close, and waits until what was written has left.
    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.stage == Stage::Open {
            self.stage = Stage::Flushing;
            self.ws.sender.give_up_place();
            if !self.cut.is_empty() {
                self.stage = Stage::Closing;
                let _ = self
                    .ws
                    .start_close(CloseCode::INTERNAL, "a text was not finished");
                return Poll::Ready(Err(not_utf8()));
            }
        }
        if self.stage == Stage::Flushing {
            ready!(self.ws.sender.poll_flushed(cx)).map_err(broken_pipe)?;
            self.stage = Stage::Closing;
            let _ = self.ws.start_close(CloseCode::NORMAL, "");
        }
        Poll::Ready(Ok(()))
    }

    /// Closes, and holds what comes until the peer has closed too, or there is much of it.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let closing = self.poll_closing(cx)?;
            // A peer that does the same may wait for us to read before it reads.
            if self.parts.iter().map(Bytes::len).sum::<usize>() >= HOLD {
                return closing.map(Ok);
            }
            match ready!(self.poll_part(cx, Side::Closer)).map_err(broken_pipe)? {
                Some(part) => self.parts.push_back(part),
                None => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<S: Io> AsyncRead for Duplex<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if this.parts.is_empty() {
            match ready!(this.poll_part(cx, Side::Reader))? {
                Some(part) => this.parts.push_back(part),
                None => return Poll::Ready(Ok(())),
            }
        } else {
            // Who reads byte by byte must not starve its neighbors.
            ready!(coop::poll_proceed(cx)).made_progress();
        }
        while let Some(part) = this.parts.front_mut()
            && buf.remaining() > 0
        {
            let most = part.len().min(buf.remaining());
            buf.put_slice(&part[..most]);
            part.advance(most);
            if part.is_empty() {
                this.parts.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Io> AsyncWrite for Duplex<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ws.sender.poll_flushed(cx).map_err(broken_pipe)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let end = this.poll_end(cx);
        if end.is_ready() {
            this.closer = None;
        }
        end
    }
}

/// The error of a write: to who writes, a connection that has ended is a pipe that broke.
fn broken_pipe(error: Error) -> io::Error {
    match error {
        Error::Closed => io::Error::new(io::ErrorKind::BrokenPipe, error),
        error => error.into(),
    }
}

fn not_utf8() -> io::Error {
    let error = Error::Send(SendError::InvalidUtf8);
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<S: Io> fmt::Debug for Duplex<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Duplex")
            .field("ws", &self.ws)
            .field("text", &self.text)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
