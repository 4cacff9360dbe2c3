//! A transport that obeys a list.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A transport that obeys a list, one for reading and one for writing, and keeps a record of
/// every write.
///
/// When the list for reading is done, a read waits until [`Log::read`] brings more; when the list
/// for writing is done, every write is taken whole.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use hybi::test::{Frame, Script};
/// use hybi::{Options, Role, WebSocket};
///
/// // One read brings two messages; the writes that answer them are cut after three bytes.
/// let two = [Frame::text("a"), Frame::text("b")].map(|frame| frame.encode(Some([7; 4])));
/// let script = Script::new().read(two.concat()).write(3);
/// let log = script.log();
/// let ws = WebSocket::from_stream(script, Role::Server, &Options::new(), &[]);
/// let echo = tokio::spawn(hybi::drive(ws, |mut ws| async move {
///     while let Some(message) = ws.recv().await? {
///         ws.send(message).await?;
///     }
///     Ok(())
/// }));
/// tokio::task::yield_now().await;
/// assert_eq!(log.written(), b"\x81\x01a\x81\x01b");
/// assert_eq!(log.writes().len(), 2);
/// # echo.abort(); hybi::Result::<()>::Ok(()) })?;
/// # hybi::Result::<()>::Ok(())
/// ```
#[derive(Debug, Default)]
pub struct Script {
    state: Arc<Mutex<State>>,
}

/// What a [`Script`] has seen, and more for it to read; made by [`Script::log`].
#[derive(Clone, Debug)]
pub struct Log {
    state: Arc<Mutex<State>>,
}

/// One call that wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Write {
    /// What was taken of it.
    pub bytes: Bytes,
    /// In how many slices it was offered.
    pub slices: usize,
}

/// What befalls one operation; see [`Script::fault_at`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It fails, as do all later ones in the same direction.
    Error(ErrorKind),
    /// It reads or writes one byte.
    Short,
    /// It is pending once, and wakes its task at once.
    Pending,
}

#[derive(Debug)]
enum Step {
    Bytes(Bytes),
    Take(usize),
    Pending,
    Error(ErrorKind),
    Eof,
}

/// What an operation does.
#[derive(Clone, Copy)]
enum Kind {
    Read,
    Write,
    Flush,
    Shutdown,
}

#[derive(Debug, Default)]
struct State {
    reads: VecDeque<Step>,
    writes: VecDeque<Step>,
    fault: Option<(usize, Fault)>,
    /// Every other operation of each kind is pending, and the rest are of one byte.
    trickle: bool,
    rested: [bool; 4],
    operations: usize,
    log: Vec<Write>,
    shut_down: bool,
    dropped: bool,
    reader: Option<Waker>,
}

impl Script {
    /// A transport that gives nothing to read and takes all that is written.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What the transport will have seen.
    #[must_use]
    pub fn log(&self) -> Log {
        Log {
            state: self.state.clone(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn then_read(self, step: Step) -> Self {
        self.state().reads.push_back(step);
        self
    }

    fn then_write(self, step: Step) -> Self {
        self.state().writes.push_back(step);
        self
    }

    /// Then one read brings these bytes; if it has no room for all, the next one brings the rest.
    #[must_use]
    pub fn read(self, bytes: impl Into<Bytes>) -> Self {
        self.then_read(Step::Bytes(bytes.into()))
    }

    /// Then a read is pending, and wakes its task at once.
    #[must_use]
    pub fn read_pending(self) -> Self {
        self.then_read(Step::Pending)
    }

    /// Then every read fails.
    #[must_use]
    pub fn read_error(self, kind: ErrorKind) -> Self {
        self.then_read(Step::Error(kind))
    }

    /// Then the stream ends.
    #[must_use]
    pub fn eof(self) -> Self {
        self.then_read(Step::Eof)
    }

    /// Then a write takes so many bytes at most.
    #[must_use]
    pub fn write(self, at_most: usize) -> Self {
        self.then_write(Step::Take(at_most))
    }

    /// Then a write is pending, and wakes its task at once.
    #[must_use]
    pub fn write_pending(self) -> Self {
        self.then_write(Step::Pending)
    }

    /// Then every write, flush and shutdown fails.
    #[must_use]
    pub fn write_error(self, kind: ErrorKind) -> Self {
        self.then_write(Step::Error(kind))
    }

    /// Every operation is pending once and wakes its task, then reads or writes one byte: a fault
    /// has nothing to add but an error.
    #[must_use]
    pub fn trickle(self) -> Self {
        self.state().trickle = true;
        self
    }

    /// This befalls operation number `n`, from 0; each call that reads, writes, flushes or shuts
    /// down is one.
    ///
    /// A test that begins at 0 and goes on until [`Log::operations`] says that there were no more
    /// has seen every operation fail.
    #[must_use]
    pub fn fault_at(self, n: usize, fault: Fault) -> Self {
        self.state().fault = Some((n, fault));
        self
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.state().dropped = true;
    }
}

impl Log {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The calls that wrote, with what each wrote.
    #[must_use]
    pub fn writes(&self) -> Vec<Write> {
        self.state().log.clone()
    }

    /// All the bytes that were written.
    #[must_use]
    pub fn written(&self) -> Vec<u8> {
        let state = self.state();
        let bytes = state.log.iter().flat_map(|write| write.bytes.iter());
        bytes.copied().collect()
    }

    /// How many operations there were.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.state().operations
    }

    /// How many bytes are left to read.
    #[must_use]
    pub fn unread(&self) -> usize {
        let state = self.state();
        let steps = state.reads.iter().map(|step| match step {
            Step::Bytes(bytes) => bytes.len(),
            _ => 0,
        });
        steps.sum()
    }

    /// Whether writing was shut down.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.state().shut_down
    }

    /// Whether the transport was dropped.
    #[must_use]
    pub fn is_dropped(&self) -> bool {
        self.state().dropped
    }

    /// Brings more to read.
    pub fn read(&self, bytes: impl Into<Bytes>) {
        self.more(Step::Bytes(bytes.into()));
    }

    /// Ends what is to be read.
    pub fn eof(&self) {
        self.more(Step::Eof);
    }

    fn more(&self, step: Step) {
        let reader = {
            let mut state = self.state();
            state.reads.push_back(step);
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Counts an operation, and says how many bytes it may move if the list does not say less.
    fn begin(&mut self, kind: Kind, cx: &mut Context<'_>) -> Poll<usize> {
        let n = self.operations;
        self.operations += 1;
        match self.fault {
            Some((at, Fault::Pending)) if at == n && !self.trickle => return pend(cx),
            Some((at, Fault::Short)) if at == n && !self.trickle => return Poll::Ready(1),
            Some((at, Fault::Error(error))) if at == n => {
                let list = match kind {
                    Kind::Read => &mut self.reads,
                    _ => &mut self.writes,
                };
                list.push_front(Step::Error(error));
            }
            _ => {}
        }
        if !self.trickle {
            return Poll::Ready(usize::MAX);
        }
        let rested = &mut self.rested[kind as usize];
        *rested = !*rested;
        if *rested { pend(cx) } else { Poll::Ready(1) }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let most = std::task::ready!(self.begin(Kind::Read, cx));
        match self.reads.front_mut() {
            Some(Step::Bytes(bytes)) => {
                let n = bytes.len().min(buf.remaining()).min(most);
                buf.put_slice(&bytes[..n]);
                bytes.advance(n);
                if bytes.is_empty() {
                    self.reads.pop_front();
                }
                Poll::Ready(Ok(()))
            }
            Some(Step::Pending | Step::Take(_)) => {
                self.reads.pop_front();
                pend(cx)
            }
            Some(Step::Error(kind)) => Poll::Ready(Err((*kind).into())),
            Some(Step::Eof) => Poll::Ready(Ok(())),
            None => {
                self.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut most = std::task::ready!(self.begin(Kind::Write, cx));
        match self.writes.front() {
            Some(Step::Take(n)) => {
                most = most.min(*n);
                self.writes.pop_front();
            }
            Some(Step::Error(kind)) => return Poll::Ready(Err((*kind).into())),
            Some(_) => {
                self.writes.pop_front();
                return pend(cx);
            }
            None => {}
        }
        let offered = slices.iter().flat_map(|slice| slice.iter());
        let bytes: Bytes = offered.take(most).copied().collect();
        let n = bytes.len();
        let slices = slices.len();
        self.log.push(Write { bytes, slices });
        Poll::Ready(Ok(n))
    }

    fn poll_done(&mut self, kind: Kind, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = std::task::ready!(self.begin(kind, cx));
        match self.writes.front() {
            Some(Step::Error(kind)) => Poll::Ready(Err((*kind).into())),
            _ => Poll::Ready(Ok(())),
        }
    }
}

fn pend<T>(cx: &Context<'_>) -> Poll<T> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

impl AsyncRead for Script {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.state().poll_read(cx, buf)
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.state().poll_write(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.state().poll_write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state().poll_done(Kind::Flush, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = std::task::ready!(self.state().poll_done(Kind::Shutdown, cx));
        self.state().shut_down |= done.is_ok();
        Poll::Ready(done)
    }
}
