//! Every deadline, on a paused clock: each to the millisecond, and each only when the peer owes us
//! something.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hybi::test::Frame;
use hybi::{CloseCode, Error, Options, Role, Timeout, WebSocket, accept, drive};
use tokio::io::{AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::time::{Instant, sleep};

use crate::fault::{both, each_fault, ours};
use crate::support::{Peer, ends, masked, settle};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The timer of the runtime has a resolution of a millisecond and rounds up.
fn assert_elapsed(since: Instant, expected: Duration) {
    let elapsed = since.elapsed();
    let late = elapsed.checked_sub(expected);
    assert!(
        late.is_some_and(|late| late <= Duration::from_millis(2)),
        "after {elapsed:?} instead of {expected:?}"
    );
}

/// How a socket is used: in a task that only receives, undriven or driven, or driven by a handler
/// that receives in a task of its own.
#[derive(Clone, Copy, Debug)]
enum Mode {
    Own,
    Driven,
    Moved,
}

const MODES: [Mode; 3] = [Mode::Own, Mode::Driven, Mode::Moved];

/// Runs `user` with the socket, and gives what it returns.
async fn run<T, Fut>(mode: Mode, ws: WebSocket, user: impl FnOnce(WebSocket) -> Fut) -> T
where
    T: Send + std::fmt::Debug + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    let (give, take) = tokio::sync::oneshot::channel();
    match mode {
        Mode::Own => return ends(user(ws)).await,
        Mode::Driven => {
            let handler = drive(ws, move |ws| {
                let user = user(ws);
                async move {
                    give.send(user.await).expect("the test waits");
                    Ok(())
                }
            });
            ends(handler).await.expect("the handler returns Ok");
        }
        Mode::Moved => {
            let driver = drive(ws, move |ws| {
                let user = user(ws);
                tokio::spawn(async move { give.send(user.await) });
                std::future::ready(Ok(()))
            });
            ends(driver).await.expect("the handler returns Ok");
        }
    }
    take.await.expect("the user returns")
}

async fn recv_all(mut ws: WebSocket) -> (hybi::Result<()>, Duration) {
    let start = Instant::now();
    loop {
        match ws.recv().await {
            Ok(Some(_)) => {}
            Ok(None) => return (Ok(()), start.elapsed()),
            Err(error) => return (Err(error), start.elapsed()),
        }
    }
}

/// A peer of a handshake that sends one byte of this a second, then nothing.
fn drip(mut stream: DuplexStream, bytes: &'static [u8]) {
    tokio::spawn(async move {
        for byte in bytes {
            sleep(secs(1)).await;
            if stream.write_u8(*byte).await.is_err() {
                return;
            }
        }
        std::future::pending::<()>().await;
    });
}

const HALF_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: ";
const HALF_RESPONSE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n";

#[each_fault]
async fn the_opening_handshake_has_10_s_whatever_comes_meanwhile() {
    for head in [b"".as_slice(), HALF_REQUEST] {
        let (stream, peer) = ours(1024);
        drip(peer, head);
        let start = Instant::now();
        let error = ends(hybi::accept(stream)).await.unwrap_err();
        assert!(matches!(error, Error::Timeout(Timeout::Handshake)));
        assert_elapsed(start, secs(10));
    }
    for head in [b"".as_slice(), HALF_RESPONSE] {
        let (stream, peer) = ours(1024);
        drip(peer, head);
        let start = Instant::now();
        let connect = hybi::connect("ws://localhost/").over(stream);
        let error = ends(connect).await.unwrap_err();
        assert!(matches!(error, Error::Timeout(Timeout::Handshake)));
        assert!(error.is_timeout() && error.is_retryable());
        assert_elapsed(start, secs(10));
    }
}

#[each_fault]
async fn a_peer_that_does_not_read_cannot_hold_the_opening_handshake() {
    let (stream, _peer) = ours(16);
    let start = Instant::now();
    let connect = hybi::connect("ws://localhost/").over(stream);
    let error = ends(connect).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(Timeout::Handshake)));
    assert_elapsed(start, secs(10));

    let (stream, mut peer) = ours(16);
    let start = Instant::now();
    let accept = tokio::spawn(async { hybi::accept(stream).await.map(drop) });
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    peer.write_all(request).await.unwrap();
    let error = ends(accept).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Timeout(Timeout::Handshake)));
    assert_elapsed(start, secs(10));
}

#[each_fault]
async fn the_deadline_of_the_opening_handshake_can_be_chosen_or_disabled() {
    let options = Options::new().handshake_timeout(secs(3));
    let (stream, _peer) = ours(1024);
    let start = Instant::now();
    let error = ends(hybi::accept(stream).options(options)).await;
    assert!(error.unwrap_err().is_timeout());
    assert_elapsed(start, secs(3));

    let options = Options::new().handshake_timeout(None);
    let (stream, mut peer) = ours(1024);
    let accept = tokio::spawn(async { hybi::accept(stream).options(options).await.map(drop) });
    sleep(secs(3600)).await;
    assert!(!accept.is_finished());
    peer.shutdown().await.unwrap();
    assert!(matches!(ends(accept).await.unwrap(), Err(Error::Io(_))));
}

#[each_fault]
async fn a_peer_that_never_answers_a_close_is_given_up_after_30_s() {
    for mode in MODES {
        for role in [Role::Server, Role::Client] {
            let (mut peer, ws) = Peer::of(role, &Options::new(), 1024);
            let start = Instant::now();
            let close = |mut ws: WebSocket| async move {
                let result = ws.close(CloseCode::NORMAL, "").await;
                (result, ws.close_info())
            };
            let (result, info) = run(mode, ws, close).await;
            assert!(matches!(result, Err(Error::Timeout(Timeout::Close))));
            assert_elapsed(start, secs(30));
            assert!(!info.unwrap().clean);
            assert_eq!(peer.recv().await.unwrap(), Some(Frame::close(1000, "")));
        }
    }
}

#[each_fault]
async fn a_peer_that_talks_on_after_our_close_is_given_up_after_30_s() {
    for mode in MODES {
        let (mut peer, ws) = Peer::client();
        let talk = tokio::spawn(async move {
            while peer.send(Frame::text("blah")).await.is_ok() {
                sleep(Duration::from_millis(700)).await;
            }
        });
        let start = Instant::now();
        let close = |mut ws: WebSocket| async move { ws.close(CloseCode::NORMAL, "").await };
        let result = run(mode, ws, close).await;
        assert!(matches!(result, Err(Error::Timeout(Timeout::Close))));
        assert_elapsed(start, secs(30));
        ends(talk).await.unwrap();
    }
}

#[each_fault]
async fn a_peer_that_holds_the_transport_open_after_the_close_is_left_after_2_s() {
    for mode in MODES {
        let (mut peer, ws) = Peer::client();
        peer.send(Frame::close(1000, "")).await.unwrap();
        let start = Instant::now();
        let (result, _) = run(mode, ws, recv_all).await;
        result.unwrap();
        assert_eq!(peer.recv().await.unwrap(), Some(Frame::close(1000, "")));
        assert_eq!(peer.recv().await.unwrap(), None);
        assert_elapsed(start, secs(2));
    }
}

#[each_fault]
async fn a_server_that_does_not_end_the_transport_is_left_by_the_client_after_30_s() {
    for mode in MODES {
        let (mut peer, ws) = Peer::server();
        peer.send(Frame::close(1000, "")).await.unwrap();
        let start = Instant::now();
        let (result, _) = run(mode, ws, recv_all).await;
        result.unwrap();
        assert_elapsed(start, secs(30));
    }
}

#[each_fault]
async fn a_violator_that_holds_the_transport_open_is_left_after_2_s() {
    for mode in MODES {
        for role in [Role::Server, Role::Client] {
            let (mut peer, ws) = Peer::of(role, &Options::new(), 1024);
            peer.hex("83 00").await.unwrap();
            let start = Instant::now();
            let (result, _) = run(mode, ws, recv_all).await;
            assert_eq!(result.unwrap_err().close_code(), Some(CloseCode::PROTOCOL));
            assert_elapsed(start, secs(2));
        }
    }
}

#[each_fault]
async fn the_deadline_for_closing_can_be_chosen_or_disabled() {
    for mode in MODES {
        let close = |mut ws: WebSocket| async move { ws.close(CloseCode::NORMAL, "").await };
        let options = Options::new().close_timeout(Duration::from_millis(1500));
        let (_peer, ws) = Peer::of(Role::Server, &options, 1024);
        let start = Instant::now();
        assert!(run(mode, ws, close).await.unwrap_err().is_timeout());
        assert_elapsed(start, Duration::from_millis(1500));

        let options = Options::new().close_timeout(None);
        let (mut peer, ws) = Peer::of(Role::Server, &options, 1024);
        let closing = tokio::spawn(async move { run(mode, ws, close).await });
        sleep(secs(3600)).await;
        assert!(!closing.is_finished());
        peer.send(Frame::close(1000, "")).await.unwrap();
        assert!(ends(closing).await.unwrap().unwrap().clean);
    }
}

#[each_fault]
async fn a_peer_that_takes_no_byte_for_60_s_is_given_up() {
    for mode in MODES {
        let (mut peer, ws) = Peer::of(Role::Server, &Options::new(), 1000);
        let start = Instant::now();
        let user = tokio::spawn(run(mode, ws, |mut ws| async move {
            ws.send(vec![7; 5000]).await.unwrap();
            let flushed = ws.flush().await;
            let received = ws.recv().await;
            (flushed, received, ws.recv().await, ws.send("more").await)
        }));
        sleep(secs(50)).await;
        // It takes all that was there, and so makes room: the time begins anew.
        peer.take(1000).await.unwrap();
        let (flushed, received, again, sent) = ends(user).await.unwrap();
        assert_elapsed(start, secs(110));
        assert!(flushed.is_err(), "{mode:?}: flushed what never left");
        assert!(matches!(received, Err(Error::Timeout(Timeout::Write))));
        assert!(matches!(again, Err(Error::Closed)));
        assert!(matches!(sent, Err(Error::Closed)));
    }
}

#[each_fault]
async fn the_deadline_for_writing_holds_while_sending_receiving_and_doing_nothing() {
    let full = Options::new().backlog(1000);
    for mode in MODES {
        let (_peer, ws) = Peer::of(Role::Server, &full, 100);
        let start = Instant::now();
        run(mode, ws, |mut ws| async move {
            while ws.send(vec![7; 1000]).await.is_ok() {}
            assert!(ws.recv().await.unwrap_err().is_timeout());
        })
        .await;
        assert_elapsed(start, secs(60));

        let (_peer, ws) = Peer::of(Role::Server, &full, 100);
        let start = Instant::now();
        run(mode, ws, |mut ws| async move {
            ws.send(vec![7; 1000]).await.unwrap();
            assert!(ws.recv().await.unwrap_err().is_timeout());
        })
        .await;
        assert_elapsed(start, secs(60));
    }
    let (mut peer, ws) = Peer::of(Role::Server, &full, 100);
    let start = Instant::now();
    let busy = tokio::spawn(drive(ws, |mut ws| async move {
        ws.send(vec![7; 1000]).await?;
        std::future::pending().await
    }));
    sleep(secs(59)).await;
    assert!(peer.send(Frame::text("")).await.is_ok());
    sleep(secs(2)).await;
    assert!(peer.send(Frame::text("")).await.is_err());
    assert!(start.elapsed() < secs(62));
    busy.abort();
}

#[each_fault]
async fn the_deadline_for_writing_can_be_disabled() {
    for mode in MODES {
        let options = Options::new().write_timeout(None);
        let (mut peer, ws) = Peer::of(Role::Server, &options, 100);
        let user = tokio::spawn(run(mode, ws, |mut ws| async move {
            ws.send(vec![7; 1000]).await.unwrap();
            ws.flush().await.unwrap();
        }));
        sleep(secs(3600)).await;
        assert!(!user.is_finished());
        let frame = ends(peer.recv()).await.unwrap();
        assert_eq!(frame, Some(Frame::binary([7; 1000])));
        drop(peer);
        ends(user).await.unwrap();
    }
}

/// What leaves a peer in the middle: of a header, of a payload, between two fragments.
const MIDWAY: [&str; 3] = ["81", "81 85 00000000 61", "01 81 00000000 61"];

#[each_fault]
async fn a_peer_that_stops_in_the_middle_of_a_message_is_closed_with_1008_after_60_s() {
    for mode in MODES {
        for hex in MIDWAY {
            let (mut peer, ws) = Peer::client();
            peer.hex(hex).await.unwrap();
            let start = Instant::now();
            let user = tokio::spawn(run(mode, ws, recv_all));
            let close = ends(peer.recv()).await.unwrap();
            assert_elapsed(start, secs(60));
            assert_eq!(close, Some(Frame::close(1008, "")));
            drop(peer);
            let error = ends(user).await.unwrap().0.unwrap_err();
            assert!(error.is_timeout());
            assert_eq!(error.close_code(), Some(CloseCode::POLICY));
        }
    }
}

#[each_fault]
async fn every_byte_of_a_message_begins_its_60_s_anew() {
    for mode in MODES {
        let (mut peer, ws) = Peer::client();
        let user = tokio::spawn(run(mode, ws, |mut ws| async move {
            let message = ws.recv().await;
            (message, ws.recv().await)
        }));
        let bytes = Frame::text("abcdef").encode(Some([0; 4]));
        for byte in bytes {
            sleep(secs(59)).await;
            peer.bytes([byte]).await.unwrap();
        }
        peer.hex("81").await.unwrap();
        let start = Instant::now();
        let close = ends(peer.recv()).await.unwrap();
        assert_eq!(close, Some(Frame::close(1008, "")));
        assert_elapsed(start, secs(60));
        drop(peer);
        let (message, end) = ends(user).await.unwrap();
        assert_eq!(message.unwrap(), Some("abcdef".into()));
        assert!(end.unwrap_err().is_timeout());
    }
}

#[each_fault]
async fn a_stall_behind_a_message_is_seen() {
    for mode in MODES {
        let (mut peer, ws) = Peer::client();
        let user = tokio::spawn(run(mode, ws, recv_all));
        settle().await;
        let mut bytes = Frame::text("whole").encode(Some([1; 4]));
        bytes.push(0x81);
        peer.bytes(bytes).await.unwrap();
        let start = Instant::now();
        let close = ends(peer.recv()).await.unwrap();
        assert_eq!(close, Some(Frame::close(1008, "")), "{mode:?}");
        assert_elapsed(start, secs(60));
        drop(peer);
        ends(user).await.unwrap().0.unwrap_err();
    }
}

#[each_fault]
async fn the_deadline_for_a_message_can_be_disabled() {
    for mode in MODES {
        let options = Options::new().message_timeout(None);
        let (mut peer, ws) = Peer::of(Role::Server, &options, 1024);
        peer.hex("81 82 00000000 61").await.unwrap();
        let user = tokio::spawn(run(mode, ws, |mut ws| async move {
            let message = ws.recv().await;
            (message, ws.recv().await)
        }));
        sleep(secs(3600)).await;
        peer.hex("62").await.unwrap();
        peer.send(Frame::close(1000, "")).await.unwrap();
        drop(peer);
        let (message, end) = ends(user).await.unwrap();
        assert_eq!(message.unwrap(), Some("ab".into()));
        assert_eq!(end.unwrap(), None);
    }
}

/// The peer owes us nothing: it is we who do not read.
#[each_fault]
async fn a_message_that_we_do_not_read_does_not_stall() {
    // Undriven: two messages in one read, and a send that waits for a slow peer.
    let options = Options::new().backlog(100).write_timeout(None);
    let (mut peer, mut ws) = Peer::of(Role::Server, &options, 100);
    let mut bytes = Frame::text("one").encode(Some([1; 4]));
    bytes.extend(Frame::text("two").encode(Some([1; 4])));
    peer.bytes(bytes).await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some("one".into()));
    let user = tokio::spawn(async move {
        for n in 0..5 {
            ws.send(vec![n; 100]).await.unwrap();
        }
        ws.flush().await.unwrap();
        (ws.recv().await, ws)
    });
    sleep(secs(100)).await;
    for n in 0..5 {
        let frame = ends(peer.recv()).await.unwrap();
        assert_eq!(frame, Some(Frame::binary([n; 100])));
    }
    let (message, _ws) = ends(user).await.unwrap();
    assert_eq!(message.unwrap(), Some("two".into()));

    // Driven: the handler is busy, and the rest of a large message has to wait for it.
    let (mut peer, ws) = Peer::of(Role::Server, &Options::new(), 1000);
    let handler = tokio::spawn(drive(ws, |mut ws| async move {
        sleep(secs(1000)).await;
        let message = ws.recv().await?.expect("the peer is there");
        assert_eq!(message.len(), 1_000_000);
        Ok(())
    }));
    peer.send(Frame::binary(vec![7; 1_000_000])).await.unwrap();
    assert_eq!(
        ends(peer.recv()).await.unwrap(),
        Some(Frame::close(1000, ""))
    );
    drop(peer);
    ends(handler).await.unwrap().unwrap();
}

#[each_fault]
async fn no_timer_runs_for_an_idle_connection() {
    // On a paused clock a timer is the only thing that can wake a runtime without other work: if
    // there is none, the clock goes in one step to where the test waits.
    for mode in MODES {
        let (mut peer, ws) = Peer::client();
        let polls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = polls.clone();
        let user = tokio::spawn(run(mode, ws, |ws| async move {
            let mut receive = Box::pin(recv_all(ws));
            std::future::poll_fn(|cx| {
                counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                receive.as_mut().poll(cx)
            })
            .await
        }));
        peer.send(Frame::text("hello")).await.unwrap();
        settle().await;
        let before = polls.load(std::sync::atomic::Ordering::Relaxed);
        sleep(secs(36_000)).await;
        let after = polls.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(before, after, "{mode:?}");
        user.abort();
    }
}

#[each_fault]
async fn no_time_is_too_long_to_be_chosen() {
    let forever = Duration::MAX;
    let options = Options::new()
        .handshake_timeout(forever)
        .close_timeout(forever)
        .write_timeout(forever)
        .message_timeout(forever);
    let (a, b) = both(16);
    let client = hybi::connect("ws://localhost/").options(options.clone());
    let server = hybi::accept(b).options(options);
    let (client, server) = tokio::join!(client.over(a), server);
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    let echo = tokio::spawn(async move {
        let message = server.recv().await.unwrap().unwrap();
        server.send(message).await.unwrap();
        server.close(CloseCode::NORMAL, "").await.unwrap()
    });
    client.send(vec![7; 10_000]).await.unwrap();
    assert_eq!(
        ends(client.recv()).await.unwrap(),
        Some(vec![7; 10_000].into())
    );
    assert_eq!(ends(client.recv()).await.unwrap(), None);
    assert!(ends(echo).await.unwrap().clean);
}

/// A client that sends empty messages as fast as they are read, and takes whatever comes.
struct Flood {
    rest: usize,
}

impl tokio::io::AsyncRead for Flood {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(tokio::task::coop::poll_proceed(cx)).made_progress();
        let frame = [0x81, 0x80, 0, 0, 0, 0];
        for _ in 0..buf.remaining().min(6 << 10) {
            buf.put_slice(&[frame[self.rest]]);
            self.rest = (self.rest + 1) % frame.len();
        }
        Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncWrite for Flood {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// There is no quiet moment in which to look at the clock.
#[each_fault]
async fn a_flood_does_not_hold_the_deadline_for_closing_off() {
    let flood = || WebSocket::from_stream(Flood { rest: 0 }, Role::Server, &Options::new(), &[]);
    let close = |mut ws: WebSocket<Flood>| async move {
        let result = ws.close(CloseCode::NORMAL, "").await;
        assert!(matches!(result, Err(Error::Timeout(Timeout::Close))));
        Ok(())
    };
    let own = tokio::spawn(close(flood()));
    let driven = tokio::spawn(drive(flood(), close));
    let dropped = tokio::spawn(drive(flood(), |_| std::future::ready(Ok(()))));
    let tasks = [own, driven, dropped];
    tokio::task::yield_now().await;
    tokio::time::advance(secs(29)).await;
    tokio::task::yield_now().await;
    assert!(tasks.iter().all(|task| !task.is_finished()));
    tokio::time::advance(secs(2)).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    for (n, task) in tasks.into_iter().enumerate() {
        assert!(task.is_finished(), "number {n}");
        task.await.unwrap().unwrap();
    }
}

/// A transport that brings these bytes, and then others without end; each of them is counted.
struct Endless {
    first: Vec<u8>,
    read: Arc<AtomicUsize>,
}

impl tokio::io::AsyncRead for Endless {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(tokio::task::coop::poll_proceed(cx)).made_progress();
        let this = self.get_mut();
        let first = this.first.len().min(buf.remaining());
        buf.put_slice(&this.first[..first]);
        this.first.drain(..first);
        if first == 0 {
            let rest = buf.remaining();
            buf.initialize_unfilled_to(rest);
            buf.advance(rest);
        }
        this.read.fetch_add(buf.filled().len(), Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncWrite for Endless {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The clock stands still while there is always more.
#[tokio::test(start_paused = true)]
async fn who_sends_without_end_behind_a_close_or_a_refusal_is_left_after_64_mib() {
    let most = 64 << 20;
    let count = || Arc::new(AtomicUsize::new(0));
    let endless = |first: &[u8], read: &Arc<AtomicUsize>| Endless {
        first: first.to_vec(),
        read: read.clone(),
    };
    let is_bounded = |read: &AtomicUsize| {
        let read = read.load(Ordering::Relaxed);
        assert!((most..=most + (1 << 20)).contains(&read), "{read}");
    };

    let read = count();
    let refused = accept(endless(
        b"GET / HTTP/1.0\r\nUpgrade: websocket\r\n\r\n",
        &read,
    ));
    ends(refused).await.unwrap_err();
    is_bounded(&read);

    for first in [masked(&[Frame::close(1000, "")]), vec![0x83, 0x80]] {
        let read = count();
        let mut ws =
            WebSocket::from_stream(endless(&first, &read), Role::Server, &Options::new(), &[]);
        while let Ok(Some(_)) = ends(ws.recv()).await {}
        drop(ws);
        is_bounded(&read);
        let read = count();
        let ws = WebSocket::from_stream(endless(&first, &read), Role::Server, &Options::new(), &[]);
        let handler = |mut ws: WebSocket<Endless>| async move {
            while ws.recv().await?.is_some() {}
            Ok(())
        };
        let _ = ends(drive(ws, handler)).await;
        is_bounded(&read);
    }
}
