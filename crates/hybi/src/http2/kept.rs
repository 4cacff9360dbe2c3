//! A transport whose errors are kept: h2 keeps the words of one, not what it is.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::io::Stream;

/// The last error of a transport.
#[derive(Clone, Default)]
pub(super) struct Kept(Arc<Mutex<Option<io::Error>>>);

impl Kept {
    fn keep(&self, error: io::Error) -> io::Error {
        let words = io::Error::new(error.kind(), error.to_string());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        words
    }

    /// What has happened to the stream or its connection. An error of the transport is given as it
    /// was once, and in words from then on.
    pub(super) fn error(&self, error: h2::Error) -> io::Error {
        if error.is_io() {
            let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
            let words = || error.into_io();
            return kept
                .or_else(words)
                .unwrap_or_else(|| io::ErrorKind::Other.into());
        }
        let kind = if error.is_reset() {
            io::ErrorKind::ConnectionReset
        } else if error.is_go_away() {
            io::ErrorKind::ConnectionAborted
        } else {
            io::ErrorKind::InvalidData
        };
        io::Error::new(kind, error)
    }
}

/// The transport.
pub(super) struct Keeping {
    pub(super) stream: Stream,
    pub(super) kept: Kept,
}

impl AsyncRead for Keeping {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        read.map_err(|error| self.kept.keep(error))
    }
}

impl AsyncWrite for Keeping {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        written.map_err(|error| self.kept.keep(error))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        written.map_err(|error| self.kept.keep(error))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        flushed.map_err(|error| self.kept.keep(error))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        shut.map_err(|error| self.kept.keep(error))
    }
}
