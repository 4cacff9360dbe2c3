//! [`Stream`] and [`Sink`], for who works with the combinators of futures.
//!
//! What a poll does is the halves' affair.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_sink::Sink;
use hybi_proto::code::CloseCode;
use hybi_proto::connection::Connection;
use hybi_proto::message::Message;

use crate::error::{Error, Result};
use crate::io::Io;
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::socket::WebSocket;

/// The messages, as [`recv`](Receiver::recv) gives them; the end after a clean close. How the
/// connection ended if that was not clean is the last item.
impl<S: Io> Stream for Receiver<S> {
    type Item = Result<Message>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Message>>> {
        let this = self.get_mut();
        let message = ready!(this.poll_recv(cx));
        if message.is_err() && std::mem::replace(&mut this.handle.lock().told, true) {
            return Poll::Ready(None);
        }
        Poll::Ready(message.transpose())
    }
}

/// As [`send`](Sender::send), a message at a time and in the same queue: first come, first served.
///
/// A sink that is ready holds the right to queue one message, as a [`Permit`](crate::Permit) does,
/// and one that was polled and is not ready yet keeps its place in the queue: the other handles
/// wait for it until a message is sent by this one, in whatever way, or it is closed or dropped.
/// A clone begins without a place. Under another policy than
/// [`Overflow::Wait`](crate::Overflow::Wait) it is always ready.
///
/// What was sent leaves with `poll_flush`, or as after [`feed`](Sender::feed). `poll_close` sends a
/// close frame with 1000 behind it and flushes; the peer's answer is for the receiver to see.
impl<S: Io> Sink<Message> for Sender<S> {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let has_room = |connection: &Connection| !connection.is_full();
        self.get_mut().poll_place(cx, has_room)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<()> {
        self.get_mut().feed_ready(message)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.get_mut().poll_flushed(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        this.start_close(CloseCode::NORMAL, "")?;
        this.poll_flushed(cx)
    }
}

/// As that of its [`Receiver`].
///
/// Where `StreamExt` of futures-util is imported, its methods that take the stream itself come
/// before ours that take a reference: `ws.buffered()` is the number of
/// [`Stats::buffered`](crate::Stats::buffered) no more. `ws.split()` is
/// [ours](WebSocket::split); `StreamExt::split(ws)` is that of futures.
impl<S: Io> Stream for WebSocket<S> {
    type Item = Result<Message>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Message>>> {
        Pin::new(&mut self.get_mut().receiver).poll_next(cx)
    }
}

/// As that of its [`Sender`]. On a socket that is not driven somebody has to receive meanwhile, or a
/// peer that does the same waits for us as we wait for it.
impl<S: Io> Sink<Message> for WebSocket<S> {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.get_mut().sender).poll_ready(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<()> {
        Pin::new(&mut self.get_mut().sender).start_send(message)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.get_mut().sender).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.get_mut().sender).poll_close(cx)
    }
}
