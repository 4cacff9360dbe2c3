//! The transport below a connection: any stream of bytes, and the ones that hybi opens itself.

use std::any::Any;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, Interest, ReadBuf};
use tokio::net::TcpStream;

/// How much of what still comes is discarded at the end of a connection, and for how long: a
/// socket closed with unread input would send a reset, which can destroy what was said last.
pub(crate) const LINGER: usize = 64 << 20;
pub(crate) const LINGER_TIME: Duration = Duration::from_secs(2);

/// A stream of bytes that can carry a WebSocket.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Io for S {}

/// What [`connect`](crate::connect) and [`Server`](crate::Server) open: plain TCP, memory in
/// tests, or a stream of one's own, from [`Connect::connector`](crate::Connect::connector).
#[derive(Debug)]
pub struct Stream(Inner);

enum Inner {
    Tcp(TcpStream),
    Memory(DuplexStream),
    Other(Box<Other<dyn Io + Sync>>),
}

/// A stream of any kind, with the addresses of the socket below it, as far as they are known.
struct Other<S: ?Sized> {
    local: Option<SocketAddr>,
    peer: Option<SocketAddr>,
    io: S,
}

impl Stream {
    /// Any stream of bytes; of its addresses nothing is known.
    pub fn new(io: impl Io + Sync) -> Self {
        Self::above((None, None), io)
    }

    /// What has been made of another stream, which had these addresses: its local and its peer's.
    pub(crate) fn above(
        (local, peer): (Option<SocketAddr>, Option<SocketAddr>),
        io: impl Io + Sync,
    ) -> Self {
        Self(Inner::Other(Box::new(Other { local, peer, io })))
    }

    /// Our own address, if this is a socket that is still open.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.0 {
            Inner::Tcp(tcp) => tcp.local_addr().ok(),
            Inner::Memory(_) => None,
            Inner::Other(other) => other.local,
        }
    }

    /// The peer's address, if this is a socket that is still open.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        match &self.0 {
            Inner::Tcp(tcp) => tcp.peer_addr().ok(),
            Inner::Memory(_) => None,
            Inner::Other(other) => other.peer,
        }
    }
}

/// The TCP socket, if it is one: what tokio knows of that can be asked for less than a read.
#[inline]
fn as_tcp<S: Io>(io: &S) -> Option<&TcpStream> {
    match &(io as &dyn Any).downcast_ref::<Stream>()?.0 {
        Inner::Tcp(tcp) => Some(tcp),
        Inner::Memory(_) | Inner::Other(_) => None,
    }
}

/// Whether a read would have to wait, if that is known without one: the waker is told then.
#[inline]
pub(crate) fn is_unreadable<S: Io>(io: &S, cx: &mut Context<'_>) -> bool {
    as_tcp(io).is_some_and(|tcp| tcp.poll_read_ready(cx).is_pending())
}

/// Reads once, without spending any of the task's cooperative budget, if that is known how.
pub(crate) fn poll_read_freely<S: Io>(
    io: &mut S,
    cx: &mut Context<'_>,
    buffer: &mut impl BufMut,
) -> Poll<io::Result<usize>> {
    if let Some(tcp) = as_tcp(io) {
        let room = buffer.chunk_mut().len();
        let mut count = 0;
        let read = tcp.try_io(Interest::READABLE, || {
            count = tcp.try_read_buf(buffer)?;
            // As tokio's own: a socket that gave less than it could is empty, and has to say when
            // it is not any more.
            if 0 < count && count < room {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(())
        });
        match read {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                return Poll::Ready(Err(error));
            }
            Err(_) if count == 0 => {}
            _ => return Poll::Ready(Ok(count)),
        }
    }
    pin!(io.read_buf(buffer)).poll(cx)
}

/// Writes without spending any of the task's cooperative budget, if that is known how.
#[inline]
pub(crate) fn poll_write_freely<S: Io>(
    io: &mut S,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    if let Some(tcp) = as_tcp(io) {
        match tcp.try_write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => return Poll::Ready(written),
        }
    }
    Pin::new(io).poll_write(cx, bytes)
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Self {
        Self(Inner::Tcp(tcp))
    }
}

impl From<DuplexStream> for Stream {
    fn from(memory: DuplexStream) -> Self {
        Self(Inner::Memory(memory))
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(tcp) => tcp.fmt(f),
            Self::Memory(memory) => memory.fmt(f),
            Self::Other(_) => f.write_str("Other"),
        }
    }
}

/// Calls a method on whichever stream this is.
macro_rules! each {
    ($stream:expr, $name:ident($($argument:expr),*)) => {
        match &mut $stream.get_mut().0 {
            Inner::Tcp(tcp) => Pin::new(tcp).$name($($argument),*),
            Inner::Memory(memory) => Pin::new(memory).$name($($argument),*),
            Inner::Other(other) => Pin::new(&mut other.io).$name($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Inner::Tcp(_) | Inner::Memory(_) => true,
            Inner::Other(other) => other.io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, poll_shutdown(cx))
    }
}
