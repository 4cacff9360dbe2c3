//! A transport in memory that holds a few bytes, and the raw peer at its other end.
//!
//! As tokio's sockets do, it remembers one waker a direction, the last one, and wakes it after its
//! own lock is given back.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use shuttle::sync::{Mutex, MutexGuard};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::draw;
use crate::test::{Frame, Opcode};

/// One end; dropped, the other reads the end of the stream, and cannot write any more.
pub(super) struct End {
    read: Arc<Way>,
    write: Arc<Way>,
    /// Insists on being polled with one waker only.
    watched: bool,
    wakers: Vec<Waker>,
}

/// One direction.
struct Way {
    room: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    /// All that was ever written.
    passed: Vec<u8>,
    /// So many more bytes, and writing fails.
    breaks_after: Option<usize>,
    /// The writer has ended.
    ended: bool,
    /// The reader is gone.
    gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Two ends, between which each direction holds so many bytes.
pub(super) fn pipe(room: usize) -> (End, End) {
    let [there, back] = [0, 1].map(|_| {
        Arc::new(Way {
            room,
            state: Mutex::default(),
        })
    });
    let end = |read: &Arc<Way>, write: &Arc<Way>| End {
        read: read.clone(),
        write: write.clone(),
        watched: false,
        wakers: Vec::new(),
    };
    (end(&back, &there), end(&there, &back))
}

impl End {
    /// A transport sees one waker, whoever polls it: that of its driver, once it has begun.
    pub(super) fn watched(mut self) -> Self {
        self.watched = true;
        self
    }

    fn watch(&mut self, cx: &Context<'_>) {
        if self
            .wakers
            .last()
            .is_none_or(|last| !last.will_wake(cx.waker()))
        {
            self.wakers.push(cx.waker().clone());
        }
        assert!(!self.watched || self.wakers.len() <= 2);
    }
}

impl Way {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.watch(cx);
        let mut state = self.read.lock();
        if state.bytes.is_empty() && !state.ended {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let n = state.bytes.len().min(buf.remaining());
        buf.put_slice(&state.bytes.drain(..n).collect::<Vec<_>>());
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.watch(cx);
        let mut state = self.write.lock();
        let mut n = buf.len().min(self.write.room - state.bytes.len());
        if let Some(left) = &mut state.breaks_after {
            n = n.min(*left);
            *left -= n;
        }
        if state.gone || state.breaks_after == Some(0) {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        if n == 0 {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.bytes.extend(&buf[..n]);
        state.passed.extend(&buf[..n]);
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.write.lock();
        state.ended = true;
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.read.lock();
        state.gone = true;
        // A socket that is closed wakes nobody any more.
        state.reader = None;
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        let mut state = self.write.lock();
        state.ended = true;
        state.writer = None;
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }
}

/// The other end of a WebSocket, a client.
pub(super) struct Peer {
    end: End,
    unread: Vec<u8>,
}

/// What a peer was sent, or will have been.
pub(super) struct Record(Arc<Way>);

impl Peer {
    pub(super) fn new(end: End) -> Self {
        Self {
            end,
            unread: Vec::new(),
        }
    }

    pub(super) async fn send(&mut self, frame: Frame) -> io::Result<()> {
        self.end.write_all(&frame.encode(Some([1, 2, 3, 4]))).await
    }

    /// The next frame; `None` at the end.
    pub(super) async fn recv(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, end)) = Frame::decode(&self.unread) {
                self.unread.drain(..end);
                return Some(frame);
            }
            let mut few = [0; 4];
            let most = 1 + draw(few.len());
            match self.end.read(&mut few[..most]).await.unwrap() {
                0 => return None,
                n => self.unread.extend(&few[..n]),
            }
        }
    }

    /// All frames to the end; a close is answered, unless it is an answer itself.
    pub(super) async fn rest(&mut self, closing: bool) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.recv().await {
            if frame.opcode == Opcode::Close && !closing {
                // Who has gone does not hear it.
                let _ = self.send(frame.clone()).await;
            }
            frames.push(frame);
        }
        frames
    }

    /// Begins the closing handshake, and reads what comes until the end.
    pub(super) async fn close(&mut self) -> Vec<Frame> {
        // Who has gone does not hear it.
        let _ = self.send(Frame::close(1000, "")).await;
        self.rest(true).await
    }

    /// Reads nothing until the other end is gone.
    pub(super) async fn outlast(&mut self) {
        let write = &self.end.write;
        poll_fn(|cx| {
            let mut state = write.lock();
            if state.gone {
                return Poll::Ready(());
            }
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// So many more bytes are taken, and then writing fails at the other end.
    pub(super) fn break_after(&self, bytes: usize) {
        self.end.read.lock().breaks_after = Some(bytes);
    }

    pub(super) fn record(&self) -> Record {
        Record(self.end.read.clone())
    }
}

impl Record {
    /// Whether this message has been handed to the transport.
    pub(super) fn has(&self, message: [u8; 2]) -> bool {
        let frames = Frame::decode_all(&self.0.lock().passed);
        frames.iter().any(|frame| *frame.payload == message)
    }
}
