//! What a connection holds and allocates, counted by the allocator of this test binary.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use hybi::events::{self, Handler};
use hybi::test::Frame;
use hybi::{MessageRef, Options, Request, Role, Stream, WebSocket, drive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Counts what this thread allocates.
struct Counting;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static TOTAL: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is handed on to the system's allocator as it is; the counters do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.set(LIVE.get().wrapping_add(layout.size()));
        TOTAL.set(TOTAL.get().wrapping_add(layout.size()));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get().wrapping_sub(layout.size()));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A transport that keeps nothing of what is written.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    input: Vec<u8>,
    blocked: bool,
    waker: Option<Waker>,
}

impl Wire {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic")
    }

    /// Brings bytes from a client, and lets the server see to them.
    async fn brings(&self, frames: &[Frame]) {
        let frames = frames.iter().map(|frame| frame.encode(Some([9; 4])));
        self.state().input = frames.collect::<Vec<_>>().concat();
        self.settle().await;
    }

    async fn settle(&self) {
        let waker = self.state().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    fn wait<T>(state: &mut State, cx: &Context<'_>) -> Poll<T> {
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.state();
        if state.input.is_empty() {
            return Self::wait(&mut state, cx);
        }
        let n = buf.remaining().min(state.input.len());
        buf.put_slice(&state.input[..n]);
        state.input.drain(..n);
        if state.input.is_empty() {
            state.input = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        if state.blocked {
            return Self::wait(&mut state, cx);
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn server(wire: &Wire) -> WebSocket<Wire> {
    WebSocket::from_stream(wire.clone(), Role::Server, &Options::new(), &[])
}

async fn echo<S: hybi::Io>(mut ws: WebSocket<S>) -> hybi::Result<()> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_open(&self, _: &mut events::Peer<'_>, _: Request<()>) -> hybi::Result<()> {
        Ok(())
    }

    fn on_message(&self, peer: &mut events::Peer<'_>, message: MessageRef<'_>) -> hybi::Result<()> {
        peer.send(message)
    }
}

/// As [`server`], over the stream that an event handler serves.
fn stream_server(wire: &Wire) -> WebSocket {
    let stream = Stream::new(wire.clone());
    WebSocket::from_stream(stream, Role::Server, &Options::new(), &[])
}

fn events_echo(ws: WebSocket) -> impl Future<Output = hybi::Result<()>> + Send {
    events::drive(ws, Request::new(()), Arc::new(Echo))
}

/// What an idle connection may hold more than before it did anything, a timer included.
const SLACK: usize = 1024;

async fn idles<Fut>(serve: impl Fn(&Wire) -> Fut)
where
    Fut: Future<Output = hybi::Result<()>> + Send + 'static,
{
    let busy: [fn() -> Vec<Frame>; 6] = [
        || vec![Frame::text("small")],
        || vec![Frame::binary(vec![1; 100_000])],
        || vec![Frame::binary(vec![1; 1_000_000])],
        || vec![Frame::ping("p"), Frame::text("small"), Frame::ping("p")],
        || (0..1000).map(|n| Frame::text(n.to_string())).collect(),
        || {
            [5000, 50_000]
                .map(|len| Frame::binary(vec![1; len]))
                .to_vec()
        },
    ];
    // The buffers of the thread itself, those that it keeps for large payloads, and what a first
    // use costs.
    let first = Wire::default();
    tokio::spawn(serve(&first));
    for frames in busy {
        first.brings(&frames()).await;
    }

    let wire = Wire::default();
    tokio::spawn(serve(&wire));
    wire.settle().await;
    let idle = LIVE.get();
    let holds_little = |when: &str| {
        let held = LIVE.get().saturating_sub(idle);
        assert!(held <= SLACK, "{held} bytes {when}");
    };
    for (n, frames) in busy.into_iter().enumerate() {
        wire.brings(&frames()).await;
        assert!(wire.state().input.is_empty());
        holds_little(&format!("after the messages number {n}"));
    }
    wire.state().blocked = true;
    wire.brings(&busy[5]()).await;
    assert!(wire.state().input.is_empty());
    wire.state().blocked = false;
    wire.settle().await;
    holds_little("after the transport was blocked");
    wire.state().input = vec![0x81];
    wire.settle().await;
    holds_little("for the first byte of a header");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_holds_no_buffer() {
    idles(|wire| echo(server(wire))).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_driven_connection_holds_no_buffer() {
    idles(|wire| drive(server(wire), echo)).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_whose_events_go_to_a_handler_holds_no_buffer() {
    idles(|wire| events_echo(stream_server(wire))).await;
}

/// What a connection holds that has answered a message and is idle.
async fn held<Fut>(serve: impl Fn(WebSocket) -> Fut) -> usize
where
    Fut: Future<Output = hybi::Result<()>> + Send + 'static,
{
    let mut held = 0;
    // The first one also pays for the buffers of the thread.
    for _ in 0..2 {
        let wire = Wire::default();
        let before = LIVE.get();
        tokio::spawn(serve(stream_server(&wire)));
        wire.brings(&[Frame::text("x")]).await;
        held = LIVE.get() - before;
    }
    held
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_whose_events_go_to_a_handler_holds_less_than_a_driven_one() {
    let driven = held(|ws| drive(ws, echo)).await;
    let events = held(events_echo).await;
    assert!(events < driven, "{events} bytes, and {driven} driven");
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_is_shown_and_answers_is_not_allocated() {
    let wire = Wire::default();
    tokio::spawn(events_echo(stream_server(&wire)));
    let mut allocated = Vec::new();
    for _ in 0..5 {
        let frames = (0..1000).map(|n| Frame::text(n.to_string()).encode(Some([9; 4])));
        wire.state().input = frames.collect::<Vec<_>>().concat();
        let before = TOTAL.get();
        wire.settle().await;
        allocated.push(TOTAL.get() - before);
        assert!(wire.state().input.is_empty());
    }
    // The first time also pays for the buffers of the thread.
    assert_eq!(allocated[1..], [0; 4]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_cannot_leave_is_not_copied_for_each_message() {
    let wire = Wire::default();
    wire.state().blocked = true;
    let mut ws = server(&wire);
    let before = TOTAL.get();
    let mut count = 0;
    while ws.buffered() < 1 << 20 {
        ws.send(bytes::Bytes::from_static(b"0123456789"))
            .await
            .expect("it is queued");
        count += 1;
    }
    let allocated = TOTAL.get() - before;
    assert!(count > 80_000);
    assert!(allocated < 8 << 20, "{allocated} bytes for 1 MiB");
}

/// No second copy of it is held while it waits, nor made while it leaves.
#[tokio::test(start_paused = true)]
async fn a_large_message_of_a_client_is_masked_fragment_by_fragment() {
    const LARGE: usize = 64 << 20;
    let wire = Wire::default();
    wire.state().blocked = true;
    let mut ws = WebSocket::from_stream(wire.clone(), Role::Client, &Options::new(), &[]);
    let message = bytes::Bytes::from(vec![1; LARGE]);
    let before = LIVE.get();
    ws.send(message.clone()).await.expect("it is queued");
    let held = LIVE.get() - before;
    assert!(ws.buffered() >= LARGE);
    assert!(held < 3 << 20, "{held} bytes while it waits");
    wire.state().blocked = false;
    ws.flush().await.expect("all is taken");
    let held = LIVE.get().saturating_sub(before);
    assert!(held < 3 << 20, "{held} bytes when it has left");
    let total = TOTAL.get();
    ws.send(message).await.expect("it is taken as it is framed");
    ws.flush().await.expect("all is taken");
    let allocated = TOTAL.get() - total;
    assert!(allocated < 8 << 20, "{allocated} bytes to send 64 MiB");
}
