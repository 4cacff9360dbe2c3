//! A stream of HTTP/2 as a stream of bytes.
//!
//! RFC 8441 §5: orderly TCP-level closures are represented as END_STREAM flags, RST exceptions by
//! the RST_STREAM frame. A tunnel that is dropped before its end resets the stream.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use super::kept::Kept;

/// Both directions of a stream. The connection lives as long.
pub(super) struct Tunnel {
    sender: SendStream<Bytes>,
    receiver: RecvStream,
    /// Data that has come and was not read yet.
    unread: Bytes,
    is_shut_down: bool,
    kept: Kept,
    _connection: oneshot::Sender<Infallible>,
}

impl Tunnel {
    pub(super) fn new(
        sender: SendStream<Bytes>,
        receiver: RecvStream,
        kept: Kept,
        connection: oneshot::Sender<Infallible>,
    ) -> Self {
        Self {
            sender,
            receiver,
            unread: Bytes::new(),
            is_shut_down: false,
            kept,
            _connection: connection,
        }
    }

    /// Waits until some of so many bytes may be sent.
    fn poll_room(&mut self, wanted: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.sender.reserve_capacity(wanted);
        while self.sender.capacity() == 0 {
            match ready!(self.sender.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(fault)) => return Poll::Ready(Err(self.kept.error(fault))),
                None => return Poll::Ready(Err(self.why_closed(cx))),
            }
        }
        Poll::Ready(Ok(self.sender.capacity().min(wanted)))
    }

    /// Why nothing more can be sent.
    fn why_closed(&mut self, cx: &mut Context<'_>) -> io::Error {
        match self.sender.poll_reset(cx) {
            Poll::Ready(Ok(reason)) => self.kept.error(reason.into()),
            Poll::Ready(Err(fault)) => self.kept.error(fault),
            Poll::Pending => io::ErrorKind::BrokenPipe.into(),
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let wanted = bufs.iter().map(|buf| buf.len()).sum();
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        let room = ready!(self.poll_room(wanted, cx))?;
        let mut data = BytesMut::with_capacity(room);
        for buf in bufs {
            let left = room - data.len();
            data.extend_from_slice(&buf[..buf.len().min(left)]);
        }
        let sent = self.sender.send_data(data.freeze(), false);
        Poll::Ready(sent.map(|()| room).map_err(|fault| self.kept.error(fault)))
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(self.receiver.poll_data(cx)) {
                Some(Ok(data)) => self.unread = data,
                None => return Poll::Ready(Ok(())),
                // RFC 9113 §8.1: a server that needs nothing more may say so in this way.
                Some(Err(fault)) if fault.reason() == Some(Reason::NO_ERROR) => {
                    return Poll::Ready(Ok(()));
                }
                Some(Err(fault)) => return Poll::Ready(Err(self.kept.error(fault))),
            }
        }
        let count = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread.split_to(count));
        // It fails where the stream has been reset, which the next read says.
        let _ = self.receiver.flow_control().release_capacity(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The connection's task writes as soon as the transport takes it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::replace(&mut self.is_shut_down, true) {
            return Poll::Ready(Ok(()));
        }
        let ended = self.sender.send_data(Bytes::new(), true);
        Poll::Ready(ended.map_err(|fault| self.kept.error(fault)))
    }
}
