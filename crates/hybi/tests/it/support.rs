//! What the tests share.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use std::ops::{Deref, DerefMut};

use hybi::test::{Frame, Log, Script};
use hybi::{Options, Role, WebSocket};
use tokio::io::{DuplexStream, duplex};

use crate::fault;

/// Runs a future that must end. On a paused clock a hang is found at once.
pub(crate) async fn ends<T>(future: impl IntoFuture<Output = T>) -> T {
    let guard = Duration::from_secs(24 * 3600);
    tokio::time::timeout(guard, future)
        .await
        .expect(fault::HANGS)
}

/// Waits for what the other side does, which it does not where a fault has kept it from that.
pub(crate) async fn comes<T>(future: impl IntoFuture<Output = T>) -> T {
    let guard = Duration::from_secs(24 * 3600);
    tokio::time::timeout(guard, future)
        .await
        .expect("does not come")
}

/// Lets all tasks run until each waits for something. For a paused clock only.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// A server over a script, and the script's log.
pub(crate) fn server(script: Script) -> (WebSocket<Script>, Log) {
    server_with(script, &Options::new())
}

pub(crate) fn server_with(script: Script, options: &Options) -> (WebSocket<Script>, Log) {
    let log = script.log();
    let script = fault::script(script);
    let ws = WebSocket::from_stream(script, Role::Server, options, &[]);
    (ws, log)
}

/// What an in-memory transport holds in each direction, as those of `hybi::test` do.
const BUFFER: usize = 64 << 10;

/// As `hybi::test::pair`, over transports that may be hit by a fault.
pub(crate) fn pair() -> (WebSocket, WebSocket) {
    pair_with(&Options::new(), &Options::new(), BUFFER)
}

/// As `hybi::test::pair_with`, over transports that may be hit by a fault.
pub(crate) fn pair_with(
    client: &Options,
    server: &Options,
    buffer: usize,
) -> (WebSocket, WebSocket) {
    let (a, b) = duplex(buffer);
    let streams = (fault::stream(a).into(), fault::stream(b).into());
    hybi::test::pair_over(streams, client, server)
}

/// As `hybi::test::Peer`; the transport of the WebSocket that it is the peer of may be hit by a
/// fault.
pub(crate) struct Peer(hybi::test::Peer);

impl Peer {
    pub(crate) fn client() -> (Self, WebSocket) {
        Self::of(Role::Server, &Options::new(), BUFFER)
    }

    pub(crate) fn server() -> (Self, WebSocket) {
        Self::of(Role::Client, &Options::new(), BUFFER)
    }

    pub(crate) fn of(role: Role, options: &Options, buffer: usize) -> (Self, WebSocket) {
        let (ours, theirs) = duplex(buffer);
        let plays = match role {
            Role::Server => Role::Client,
            Role::Client => Role::Server,
        };
        let theirs = fault::stream(theirs).into();
        let ws = WebSocket::from_stream(theirs, role, options, &[]);
        (Self::over(ours, plays), ws)
    }

    pub(crate) fn over(stream: DuplexStream, plays: Role) -> Self {
        Self(hybi::test::Peer::over(stream, plays))
    }
}

impl Deref for Peer {
    type Target = hybi::test::Peer;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Peer {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// Frames as a client sends them, in one piece.
pub(crate) fn masked(frames: &[Frame]) -> Vec<u8> {
    let frames = frames.iter().map(|frame| frame.encode(Some([1, 2, 3, 4])));
    frames.collect::<Vec<_>>().concat()
}

/// Frames as a server sends them, in one piece.
pub(crate) fn unmasked(frames: &[Frame]) -> Vec<u8> {
    let frames = frames.iter().map(|frame| frame.encode(None));
    frames.collect::<Vec<_>>().concat()
}

/// Text frames "0", "1", ...
pub(crate) fn numbers(range: std::ops::Range<usize>) -> Vec<Frame> {
    range.map(|n| Frame::text(n.to_string())).collect()
}

/// The plain echo loop.
pub(crate) async fn echo<S: hybi::Io>(mut ws: WebSocket<S>) -> hybi::Result<()> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

/// Polls a future with a waker of its own, as `FuturesUnordered` does.
pub(crate) struct OwnWaker<F> {
    future: Pin<Box<F>>,
    flag: Arc<Flag>,
}

/// A waker of its own: whether it was woken, and who is woken then.
#[derive(Default)]
pub(crate) struct Flag(Mutex<(bool, Option<Waker>)>);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        let mut state = self.0.lock().expect("no panic");
        state.0 = true;
        if let Some(outer) = state.1.take() {
            outer.wake();
        }
    }
}

pub(crate) fn own_waker<F: Future>(future: F) -> OwnWaker<F> {
    let flag = Arc::new(Flag::default());
    flag.0.lock().expect("no panic").0 = true;
    OwnWaker {
        future: Box::pin(future),
        flag,
    }
}

impl<F: Future> Future for OwnWaker<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let woken = {
            let mut state = self.flag.0.lock().expect("no panic");
            state.1 = Some(cx.waker().clone());
            std::mem::take(&mut state.0)
        };
        if !woken {
            return Poll::Pending;
        }
        let waker = Waker::from(self.flag.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}
