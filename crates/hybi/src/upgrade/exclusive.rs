//! A stream of hyper's that several threads may look at: hyper does not say that they may.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The stream behind a mutex that is never locked: who has it to itself needs no lock.
pub(super) struct Exclusive {
    io: Mutex<TokioIo<Upgraded>>,
    vectored: bool,
}

impl Exclusive {
    pub(super) fn new(upgraded: Upgraded) -> Self {
        let io = TokioIo::new(upgraded);
        Self {
            vectored: io.is_write_vectored(),
            io: Mutex::new(io),
        }
    }

    fn io(self: Pin<&mut Self>) -> Pin<&mut TokioIo<Upgraded>> {
        let io = self.get_mut().io.get_mut();
        Pin::new(io.unwrap_or_else(PoisonError::into_inner))
    }
}

impl AsyncRead for Exclusive {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.io().poll_read(cx, buf)
    }
}

impl AsyncWrite for Exclusive {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.vectored
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_shutdown(cx)
    }
}
