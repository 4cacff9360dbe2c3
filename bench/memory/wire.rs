//! A socket in memory: it gives the same bytes again and again, and takes any.
//!
//! What is written is copied into a buffer, as [`std::io::BufWriter`] would, or only counted, for
//! a library that has gathered it in a buffer of its own.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice, Read, Write};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Clone)]
pub struct Wire(Rc<State>);

struct State {
    input: Vec<u8>,
    at: Cell<usize>,
    gathers: bool,
    output: RefCell<Vec<u8>>,
    written: Cell<usize>,
}

impl Wire {
    /// One that is read from.
    pub fn of(input: &[u8]) -> Self {
        Self::new(input, false)
    }

    /// One that keeps what is written in a buffer.
    pub fn gathering() -> Self {
        Self::new(&[], true)
    }

    /// One that counts what is written.
    pub fn counting() -> Self {
        Self::new(&[], false)
    }

    fn new(input: &[u8], gathers: bool) -> Self {
        Self(Rc::new(State {
            input: input.to_vec(),
            at: Cell::new(0),
            gathers,
            output: RefCell::new(Vec::with_capacity(super::CHUNK * 2)),
            written: Cell::new(0),
        }))
    }

    /// All of it can be read again.
    pub fn refill(&self) {
        assert_eq!(self.0.at.replace(0) % self.0.input.len(), 0);
    }

    /// Takes what was written off, and says how many bytes it was.
    pub fn take(&self) -> usize {
        self.0.output.borrow_mut().clear();
        self.0.written.take()
    }

    fn next(&self, most: usize) -> &[u8] {
        let at = self.0.at.get();
        let end = self.0.input.len().min(at + most);
        self.0.at.set(end);
        &self.0.input[at..end]
    }

    fn put(&self, bytes: &[u8]) -> usize {
        if self.0.gathers {
            self.0.output.borrow_mut().extend_from_slice(bytes);
        }
        self.0.written.set(self.0.written.get() + bytes.len());
        bytes.len()
    }

    fn put_all(&self, slices: &[IoSlice<'_>]) -> usize {
        slices.iter().map(|slice| self.put(slice)).sum()
    }
}

impl Read for Wire {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let from = self.next(to.len());
        to[..from.len()].copy_from_slice(from);
        Ok(from.len())
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.put(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        to.put_slice(self.next(to.remaining()));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.put(bytes)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.put_all(slices)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl futures::io::AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        to: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.get_mut().read(to))
    }
}

impl futures::io::AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.put(bytes)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.put_all(slices)))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Runs what never waits.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("a wire in memory was waited for"),
    }
}
