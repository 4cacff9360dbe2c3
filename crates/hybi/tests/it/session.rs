//! Sessions: attempts and their delays, servers that come and go, and what is sent meanwhile. On a
//! paused clock, with a connector that leads to the test. A session tries for ever: where a fault has
//! kept away what a test waits for, it may never come.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hybi::session::Event;
use hybi::test::Frame;
use hybi::{
    Backoff, CloseCode, Connect, Deflate, Error, Jitter, Message, Options, Overflow, Session,
    Stream, Timeout, Uri, WebSocket, accept, connect,
};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::cancel::poll_times;
use crate::fault::{self, each_fault};
use crate::support::{Peer, comes, ends, settle};

const SECOND: Duration = Duration::from_secs(1);

/// Where the connections of a session come out.
struct Doors(mpsc::UnboundedReceiver<(Uri, DuplexStream)>);

impl Doors {
    /// Whoever knocks, and for which URL.
    async fn knock(&mut self) -> (Uri, DuplexStream) {
        comes(self.0.recv()).await.unwrap()
    }

    /// Sends the next one away without an answer.
    async fn slam(&mut self) -> String {
        let (url, _) = self.knock().await;
        url.host().unwrap()[..1].to_owned()
    }

    async fn open(&mut self) -> WebSocket<DuplexStream> {
        let (_, stream) = self.knock().await;
        comes(accept(stream)).await.unwrap()
    }

    /// Answers the next one who knocks with this head, and gives what it has asked for.
    async fn refuse(&mut self, head: &str) -> String {
        let (_, mut stream) = self.knock().await;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut request).await.unwrap() > 0);
        }
        let response = format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(response.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    }
}

/// To servers of the test's own, over transports that hold so many bytes.
fn to(url: &str, buffer: usize) -> (Connect, Doors) {
    let (knock, doors) = mpsc::unbounded_channel();
    let connector = move |uri| {
        let (ours, theirs) = fault::ours(buffer);
        let knocked = knock.send((uri, theirs));
        async { knocked.map(|()| ours).map_err(std::io::Error::other) }
    };
    (connect(url).connector(connector), Doors(doors))
}

/// Delays without chance: 1 s, 2 s, and so on.
fn seconds() -> Backoff {
    Backoff::new().initial(SECOND).jitter(Jitter::None)
}

fn session(backoff: Backoff) -> (Session, Doors) {
    let (connect, doors) = to("ws://a.example/", 64 << 10);
    (connect.reconnect(backoff), doors)
}

async fn event(session: &mut Session) -> Event {
    comes(session.recv_event()).await.unwrap().expect("ended")
}

async fn up(session: &mut Session, doors: &mut Doors) -> WebSocket<DuplexStream> {
    let (event, ws) = tokio::join!(event(session), doors.open());
    assert!(matches!(event, Event::Up { .. }), "{event:?}");
    ws
}

async fn down(session: &mut Session) -> (Error, Duration) {
    match event(session).await {
        Event::Down { why, retry_in, .. } => (why, retry_in),
        event => panic!("{event:?}"),
    }
}

/// One attempt that fails, as nobody is there.
async fn fails(session: &mut Session, doors: &mut Doors) -> Duration {
    let (down, _) = tokio::join!(down(session), doors.slam());
    assert!(matches!(down.0, Error::Io(_)), "{:?}", down.0);
    down.1
}

/// The server closes, and the session ends its part.
async fn closes(
    mut ws: WebSocket<DuplexStream>,
    session: &mut Session,
    code: u16,
) -> hybi::Result<Option<Event>> {
    let close = ws.close(code.into(), "why");
    let (event, closed) = comes(async { tokio::join!(session.recv_event(), close) }).await;
    closed.unwrap();
    event
}

async fn hears(ws: &mut WebSocket<DuplexStream>, text: &str) {
    assert_eq!(comes(ws.recv()).await.unwrap(), Some(Message::from(text)));
}

/// With a server that refuses it, so that each attempt shows its request.
#[each_fault]
async fn each_attempt_asks_for_the_same_with_a_fresh_key() {
    let (connect, mut doors) = to("ws://a.example/chat?room=1", 64 << 10);
    let connect = connect
        .protocol("v1")
        .bearer_auth("secret")
        .options(Options::new().deflate(Deflate::new().client_max_window_bits(10)));
    let mut session = connect.reconnect(seconds());
    let mut asked = Vec::new();
    let mut keys = HashSet::new();
    for _ in 0..3 {
        let (_, request) = tokio::join!(down(&mut session), doors.refuse("503 Not Now"));
        let key = |line: &&str| line.starts_with("Sec-WebSocket-Key: ");
        let (key, rest) = request.lines().partition::<Vec<_>, _>(key);
        assert!(keys.insert(key.concat()), "{request}");
        asked.push(rest.join("\n"));
    }
    for line in [
        "GET /chat?room=1 HTTP/1.1",
        "Authorization: Bearer secret",
        "Sec-WebSocket-Protocol: v1",
        "permessage-deflate; server_max_window_bits=12; client_max_window_bits=10",
    ] {
        assert!(asked[0].contains(line), "{}", asked[0]);
    }
    assert_eq!(asked[0], asked[1]);
    assert_eq!(asked[0], asked[2]);
}

#[each_fault]
async fn a_session_comes_up_goes_down_and_comes_up_again() {
    let (mut session, mut doors) = session(seconds());
    let mut ws = up(&mut session, &mut doors).await;
    assert!(session.is_up());
    ws.send("first").await.unwrap();
    assert_eq!(comes(session.recv()).await.unwrap(), Some("first".into()));
    drop(ws);
    let (why, retry_in) = down(&mut session).await;
    assert!(matches!(why, Error::ClosedWith(_)), "{why:?}"); // 1001, from the drop
    assert_eq!(retry_in, SECOND);
    assert!(!session.is_up());
    let begin = Instant::now();
    let mut ws = up(&mut session, &mut doors).await;
    assert!(begin.elapsed() >= SECOND);
    ws.send("second").await.unwrap();
    assert_eq!(comes(session.recv()).await.unwrap(), Some("second".into()));
}

#[each_fault]
async fn delays_double_up_to_the_longest_and_begin_anew_after_a_connection_that_lasted() {
    let (mut session, mut doors) = session(seconds().max(5 * SECOND));
    for expected in [1, 2, 4, 5, 5] {
        assert_eq!(fails(&mut session, &mut doors).await, expected * SECOND);
    }
    // This one does not last.
    drop(up(&mut session, &mut doors).await);
    assert_eq!(down(&mut session).await.1, 5 * SECOND);
    let ws = up(&mut session, &mut doors).await;
    tokio::time::sleep(10 * SECOND).await;
    drop(ws);
    assert_eq!(down(&mut session).await.1, SECOND);
    assert_eq!(fails(&mut session, &mut doors).await, 2 * SECOND);
}

#[each_fault]
async fn a_delay_with_jitter_lies_within_its_bounds() {
    for (jitter, low) in [(Jitter::Full, 0), (Jitter::Equal, 1)] {
        let (mut session, mut doors) = session(Backoff::new().initial(2 * SECOND).jitter(jitter));
        let mut drawn = Vec::new();
        for round in 0..4 {
            let delay = fails(&mut session, &mut doors).await;
            let grown = 2_u32.pow(round);
            assert!(delay >= low * grown * SECOND && delay <= 2 * grown * SECOND);
            drawn.push(delay / grown);
        }
        drawn.dedup();
        assert!(drawn.len() > 1, "no chance in it: {drawn:?}");
    }
}

#[each_fault]
async fn the_event_tells_which_attempt_it_was_and_where_to() {
    let (mut session, mut doors) = session(seconds());
    fails(&mut session, &mut doors).await;
    fails(&mut session, &mut doors).await;
    match tokio::join!(event(&mut session), doors.open()).0 {
        Event::Up { url, attempt, .. } => assert_eq!((&*url, attempt), ("ws://a.example/", 3)),
        event => panic!("{event:?}"),
    }
}

#[each_fault]
async fn after_the_last_attempt_the_session_ends_with_its_error() {
    let (mut session, mut doors) = session(seconds().max_attempts(3));
    fails(&mut session, &mut doors).await;
    fails(&mut session, &mut doors).await;
    let (end, _) = tokio::join!(comes(session.recv()), doors.slam());
    assert!(matches!(end, Err(Error::Io(_))), "{end:?}");
    assert!(matches!(comes(session.recv()).await, Err(Error::Closed)));
    assert!(matches!(
        comes(session.send("late")).await,
        Err(Error::Closed)
    ));
}

#[each_fault]
async fn retry_after_is_honored_in_seconds_and_as_a_date_but_not_beyond_a_bound() {
    let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:51:37 GMT";
    let past = "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT";
    for (status, headers, expected) in [
        ("503 Busy", "Retry-After: 120", 120),
        ("429 Slowly", "Retry-After: 120", 120),
        ("503 Busy", date, 120),
        ("503 Busy", past, 0),
        ("503 Busy", "Retry-After: soon", 0),
        ("503 Busy", "Retry-After: 99999999999999999999999", 300),
    ] {
        let (mut session, mut doors) = session(seconds().initial(SECOND));
        let head = format!("{status}\r\n{headers}");
        let (down, _) = tokio::join!(down(&mut session), doors.refuse(&head));
        let (low, high) = (expected * SECOND, (expected + 1) * SECOND);
        assert!(down.1 >= low && down.1 <= high, "{head}: {:?}", down.1);
        let begin = Instant::now();
        up(&mut session, &mut doors).await;
        assert!(begin.elapsed() >= low);
    }
}

#[each_fault]
async fn a_server_that_restarts_or_is_overloaded_is_left_alone_for_a_while() {
    for (code, low, high) in [
        (1001, 0, 1),
        (1011, 0, 1),
        (1012, 5, 30),
        (1013, 30, 60),
        (1014, 0, 1),
    ] {
        let (mut session, mut doors) = session(Backoff::new());
        let ws = up(&mut session, &mut doors).await;
        match closes(ws, &mut session, code).await {
            Ok(Some(Event::Down { why, retry_in, .. })) => {
                assert!(
                    retry_in >= low * SECOND && retry_in <= high * SECOND,
                    "{retry_in:?}"
                );
                assert!(why.to_string().contains(&code.to_string()), "{why}");
            }
            other => panic!("{other:?}"),
        }
        up(&mut session, &mut doors).await;
    }
}

#[each_fault]
async fn what_is_not_worth_a_retry_ends_the_session() {
    for code in [1002, 1003, 1007, 1008, 1009, 1010, 3000, 4999] {
        let (mut session, mut doors) = session(seconds());
        let ws = up(&mut session, &mut doors).await;
        let end = closes(ws, &mut session, code).await;
        assert!(
            matches!(&end, Err(Error::ClosedWith(info)) if info.code.as_u16() == code),
            "{end:?}"
        );
        assert!(matches!(comes(session.recv()).await, Err(Error::Closed)));
    }
    for head in [
        "404 Not Found",
        "401 No",
        "302 There\r\nLocation: /",
        "501 What",
    ] {
        let (mut session, mut doors) = session(seconds());
        let (end, _) = tokio::join!(comes(session.recv()), doors.refuse(head));
        assert!(matches!(end, Err(Error::Handshake(_))), "{end:?}");
    }
}

#[each_fault]
async fn a_server_that_is_done_ends_the_session_without_an_error() {
    let (mut session, mut doors) = session(seconds());
    let ws = up(&mut session, &mut doors).await;
    assert!(matches!(closes(ws, &mut session, 1000).await, Ok(None)));
    assert!(matches!(comes(session.recv()).await, Ok(None)));
    assert_eq!(session.close_info().unwrap().code, CloseCode::NORMAL);
}

#[each_fault]
async fn the_caller_decides_what_is_worth_a_retry() {
    let (session, mut doors) = session(seconds());
    let decide =
        |error: &Error| matches!(error, Error::ClosedWith(info) if info.code == CloseCode::NORMAL);
    let mut session = session.retry_if(decide);
    let ws = up(&mut session, &mut doors).await;
    let down = closes(ws, &mut session, 1000).await;
    assert!(matches!(down, Ok(Some(Event::Down { .. }))), "{down:?}");
    let (end, _) = tokio::join!(comes(session.recv()), doors.slam());
    assert!(matches!(end, Err(Error::Io(_))), "{end:?}");
}

#[each_fault]
async fn all_servers_are_tried_before_a_delay_and_the_one_that_worked_comes_first() {
    let (session, mut doors) = session(seconds());
    let mut session = session
        .fallback("ws://b.example/")
        .fallback("ws://c.example/");
    let mut tried = String::new();
    let mut delays = Vec::new();
    let attempt = async |session: &mut Session, doors: &mut Doors, tried: &mut String| {
        let (down, host) = tokio::join!(down(session), doors.slam());
        tried.push_str(&host);
        down.1.as_secs()
    };
    for _ in 0..4 {
        delays.push(attempt(&mut session, &mut doors, &mut tried).await);
    }
    let ws = up(&mut session, &mut doors).await; // it is b
    tokio::time::sleep(10 * SECOND).await;
    drop(ws);
    delays.push(down(&mut session).await.1.as_secs());
    for _ in 0..4 {
        delays.push(attempt(&mut session, &mut doors, &mut tried).await);
    }
    assert_eq!(tried, "abcabcab");
    assert_eq!(delays, [0, 0, 1, 0, 1, 0, 0, 2, 0]);
}

#[each_fault]
async fn a_server_that_hangs_up_on_everybody_does_not_keep_a_session_from_the_others() {
    let (session, mut doors) = session(seconds());
    let mut session = session.fallback("ws://b.example/");
    drop(up(&mut session, &mut doors).await);
    assert_eq!(down(&mut session).await.1, Duration::ZERO);
    let (event, _ws) = tokio::join!(event(&mut session), doors.open());
    assert!(matches!(event, Event::Up { url, .. } if &*url == "ws://b.example/"));
}

#[each_fault]
async fn a_server_that_wants_to_be_left_alone_is_passed_over() {
    let (session, mut doors) = session(seconds());
    let mut session = session.fallback("ws://b.example/");
    let (first, _) = tokio::join!(
        down(&mut session),
        doors.refuse("503 Busy\r\nRetry-After: 100")
    );
    assert_eq!(first.1, Duration::ZERO);
    let begin = Instant::now();
    let mut urls = String::new();
    while begin.elapsed() < 100 * SECOND {
        let (_, host) = tokio::join!(down(&mut session), doors.slam());
        urls.push_str(&host);
    }
    let at = urls.find('a').unwrap();
    assert!(at >= 4 && at == urls.len() - 1, "{urls}");
}

/// Says hello on each connection.
async fn greet(mut ws: WebSocket) -> hybi::Result<WebSocket> {
    ws.send("hello").await?;
    match ws.recv().await? {
        Some(message) if message == Message::from("welcome") => Ok(ws),
        Some(_) => Err(Error::other("not welcome")),
        None => Err(Error::Closed),
    }
}

#[each_fault]
async fn the_hook_runs_on_each_connection_before_anything_is_sent() {
    let (session, mut doors) = session(seconds());
    let mut session = session.on_connect(greet);
    comes(session.send("queued")).await.unwrap();
    for _ in 0..3 {
        let server = async {
            let mut ws = doors.open().await;
            hears(&mut ws, "hello").await;
            // Nothing else comes before the hook is done.
            settle().await;
            assert_eq!(poll_times(ws.recv(), 3).map(drop), None);
            ws.send("welcome").await.unwrap();
            ws
        };
        let (event, mut ws) = tokio::join!(event(&mut session), server);
        assert!(matches!(event, Event::Up { .. }));
        comes(session.flush()).await.unwrap();
        hears(&mut ws, "queued").await;
        drop(ws);
        down(&mut session).await;
        comes(session.send("queued")).await.unwrap();
    }
}

#[each_fault]
async fn a_hook_that_fails_or_hangs_is_a_failed_attempt() {
    let (session, mut doors) = session(seconds());
    let mut session = session.on_connect(greet);
    // The server goes away in the middle of it.
    let closes = async {
        doors
            .open()
            .await
            .close(CloseCode::SERVICE_RESTART, "")
            .await
    };
    let ((why, retry_in), _) = tokio::join!(down(&mut session), closes);
    assert!(matches!(&why, Error::ClosedWith(info) if info.code == CloseCode::SERVICE_RESTART));
    assert!(retry_in >= 5 * SECOND);
    // It does not answer.
    let (down, _ws) = tokio::join!(down(&mut session), doors.open());
    assert!(matches!(down.0, Error::Timeout(Timeout::Handshake)));
    assert_eq!(down.1, 2 * SECOND);
    // It does not want us.
    let server = async {
        let mut ws = doors.open().await;
        ws.send("go away").await.unwrap();
        ws
    };
    let (end, _ws) = tokio::join!(comes(session.recv()), server);
    assert_eq!(end.unwrap_err().to_string(), "not welcome");
}

#[each_fault]
async fn what_is_sent_while_away_arrives_in_order() {
    let (mut session, mut doors) = session(seconds());
    comes(session.send("one")).await.unwrap();
    comes(session.send("two")).await.unwrap();
    assert_eq!(session.queued(), 2);
    let mut ws = up(&mut session, &mut doors).await;
    comes(session.send("three")).await.unwrap();
    comes(session.flush()).await.unwrap();
    assert_eq!(session.queued(), 0);
    for text in ["one", "two", "three"] {
        hears(&mut ws, text).await;
    }
}

#[each_fault(counts)]
async fn a_full_queue_drops_what_the_policy_says() {
    let dropping: [(Overflow, &[&str]); 3] = [
        (Overflow::DropNewest, &["a", "b"]),
        (Overflow::DropOldest, &["b", "c"]),
        (Overflow::Conflate("price".into()), &["c"]),
    ];
    for (overflow, left) in dropping {
        let (session, mut doors) = session(seconds());
        let mut session = session.queue(2, 1 << 20).overflow(overflow);
        for text in ["a", "b", "c"] {
            assert!(matches!(poll_times(session.send(text), 1), Some(Ok(()))));
        }
        let dropped = session.dropped();
        let all = dropped.newest + dropped.oldest + dropped.conflated;
        assert_eq!(all as usize, 3 - left.len());
        let mut ws = up(&mut session, &mut doors).await;
        comes(session.flush()).await.unwrap();
        for text in left {
            hears(&mut ws, text).await;
        }
        drop(session);
        assert!(comes(ws.recv()).await.unwrap().is_none());
    }
}

#[each_fault]
async fn a_full_queue_makes_send_wait_for_a_connection_which_it_opens_itself() {
    let (session, mut doors) = session(seconds());
    let mut session = session.queue(2, 1 << 20);
    let server = async {
        doors.slam().await;
        doors.slam().await;
        let mut ws = doors.open().await;
        for text in ["0", "1", "2", "3"] {
            hears(&mut ws, text).await;
        }
        ws
    };
    let client = async {
        for number in 0..4 {
            session.send(number.to_string()).await.unwrap();
        }
        session.flush().await.unwrap();
        // Of what happened meanwhile it is told how it stands.
        let event = session.recv_event().await.unwrap().unwrap();
        assert!(matches!(event, Event::Down { .. }), "{event:?}");
        let event = session.recv_event().await.unwrap().unwrap();
        assert!(matches!(event, Event::Up { attempt: 3, .. }), "{event:?}");
    };
    let (_ws, ()) = comes(async { tokio::join!(server, client) }).await;
}

#[each_fault]
async fn the_policy_to_close_ends_the_session() {
    let (session, mut doors) = session(seconds());
    let mut session = session.queue(1, 1 << 20).overflow(Overflow::Close);
    comes(session.send("a")).await.unwrap();
    assert!(matches!(comes(session.send("b")).await, Err(Error::Closed)));
    assert!(matches!(comes(session.recv()).await, Ok(None)));
    assert_eq!(session.dropped().closed, 2);
    assert!(doors.0.try_recv().is_err());
}

#[each_fault(counts)]
async fn a_message_that_was_cut_off_is_sent_again_and_one_that_has_left_is_not() {
    let (connect, mut doors) = to("ws://a.example/", 4096);
    let mut session = connect.reconnect(seconds());
    let (_, mut raw) = tokio::join!(event(&mut session), async {
        let (_, stream) = doors.knock().await;
        shake(stream).await
    });
    comes(session.send("whole")).await.unwrap();
    let large = "x".repeat(10_000);
    comes(session.send(large.clone())).await.unwrap();
    comes(session.send("behind it")).await.unwrap();
    assert_eq!(raw.recv().await.unwrap(), Some(Frame::text("whole")));
    assert_eq!(session.queued(), 2);
    drop(raw);
    down(&mut session).await;
    let mut ws = up(&mut session, &mut doors).await;
    let (flushed, ()) = tokio::join!(comes(session.flush()), async {
        hears(&mut ws, &large).await;
        hears(&mut ws, "behind it").await;
    });
    flushed.unwrap();
}

/// The server's part of the opening handshake, and what speaks frames behind it.
async fn shake(mut stream: DuplexStream) -> Peer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let (mut near, far) = duplex(64 << 10);
    near.write_all(&head).await.unwrap();
    let ws = comes(accept(far)).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(near.read_u8().await.unwrap());
    }
    drop(ws);
    stream.write_all(&answer).await.unwrap();
    Peer::over(stream, hybi::Role::Server)
}

#[each_fault(counts)]
async fn what_came_before_the_end_is_received_although_a_send_saw_the_end_first() {
    let (connect, mut doors) = to("ws://a.example/", 4096);
    let mut session = connect.reconnect(seconds()).queue(1, 1 << 20);
    let mut ws = up(&mut session, &mut doors).await;
    ws.send("last words").await.unwrap();
    drop(ws);
    let sends = async {
        for _ in 0..3 {
            session.send("x".repeat(3000)).await.unwrap();
        }
    };
    let (_, mut ws) = tokio::join!(comes(sends), doors.open());
    assert!(
        matches!(event(&mut session).await, Event::Message(message) if message == "last words".into())
    );
    assert!(matches!(event(&mut session).await, Event::Down { .. }));
    assert!(matches!(event(&mut session).await, Event::Up { .. }));
    let (flushed, ()) = tokio::join!(comes(session.flush()), async {
        for _ in 0..3 {
            hears(&mut ws, &"x".repeat(3000)).await;
        }
    });
    flushed.unwrap();
}

/// A transport whose writes fail when it is told so.
struct Breaks {
    stream: DuplexStream,
    broken: Arc<AtomicBool>,
}

impl AsyncRead for Breaks {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Breaks {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.broken.load(Ordering::Relaxed) {
            true => Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into())),
            false => Pin::new(&mut self.stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_to_send_on_a_broken_connection_holds_512_kib_of_what_comes_and_no_more() {
    const MESSAGE: usize = 10_000;
    let broken = Arc::new(AtomicBool::new(false));
    let (knock, mut doors) = mpsc::unbounded_channel();
    let breaks = broken.clone();
    let connect = connect("ws://a.example/").connector(move |uri: Uri| {
        let (stream, theirs) = duplex(4 << 20);
        let knocked = knock.send((uri, theirs));
        let broken = breaks.clone();
        let stream = Stream::new(Breaks { stream, broken });
        async { knocked.map(|()| stream).map_err(std::io::Error::other) }
    });
    let mut session = connect.reconnect(seconds()).queue(1, 1 << 20);
    let opened = async {
        let (_, stream) = ends(doors.recv()).await.unwrap();
        ends(accept(stream)).await.unwrap()
    };
    let (event, mut ws) = tokio::join!(event(&mut session), opened);
    assert!(matches!(event, Event::Up { .. }), "{event:?}");
    // It floods, until it is left.
    let flood = tokio::spawn(async move { while ws.send(vec![7; MESSAGE]).await.is_ok() {} });
    settle().await;
    broken.store(true, Ordering::Relaxed);
    let sends = async {
        loop {
            session.send("x").await.unwrap();
        }
    };
    assert!(tokio::time::timeout(SECOND / 2, sends).await.is_err());
    ends(flood).await.unwrap();
    let mut held = 0;
    let why = loop {
        match ends(session.recv_event()).await.unwrap().unwrap() {
            Event::Message(message) => held += message.as_bytes().len(),
            Event::Down { why, .. } => break why,
            event => panic!("{event:?}"),
        }
    };
    assert!(why.to_string().contains("takes nothing"), "{why}");
    let most = 512 << 10;
    assert!(
        (most - 2 * MESSAGE..=most + MESSAGE).contains(&held),
        "{held}"
    );
}

#[tokio::test(start_paused = true)] // polls each millisecond, and it may be for ever
async fn recv_dropped_at_every_poll_loses_nothing_and_doubles_nothing() {
    for polls in 1..8 {
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = runs.clone();
        let (session, mut doors) = session(seconds());
        let mut session = session.on_connect(move |mut ws| {
            counted.fetch_add(1, Ordering::Relaxed);
            async move {
                ws.send("hello").await?;
                tokio::time::sleep(SECOND).await;
                Ok(ws)
            }
        });
        let server = tokio::spawn(async move {
            let mut refused = 0;
            for round in 0..3 {
                doors.slam().await;
                refused += 1;
                let mut ws = doors.open().await;
                hears(&mut ws, "hello").await;
                for number in 0..10 {
                    ws.send(format!("{round} {number}")).await.unwrap();
                    hears(&mut ws, &format!("echo {round} {number}")).await;
                }
                ws.close(
                    if round < 2 {
                        CloseCode::GOING_AWAY
                    } else {
                        CloseCode::NORMAL
                    },
                    "",
                )
                .await
                .unwrap();
            }
            refused
        });
        let mut heard = Vec::new();
        let mut ups = 0;
        let mut downs = 0;
        comes(async {
            loop {
                match poll_times(session.recv_event(), polls) {
                    None => tokio::time::sleep(Duration::from_millis(1)).await,
                    Some(Ok(None)) => break,
                    Some(Ok(Some(Event::Up { .. }))) => ups += 1,
                    Some(Ok(Some(Event::Down { .. }))) => downs += 1,
                    Some(Ok(Some(Event::Message(message)))) => {
                        let text = message.as_text().unwrap().to_owned();
                        let mut sent = false;
                        while !sent {
                            sent =
                                poll_times(session.send(format!("echo {text}")), polls).is_some();
                        }
                        heard.push(text);
                    }
                    Some(other) => panic!("{other:?}"),
                }
            }
        })
        .await;
        let rounds =
            (0..3).flat_map(|round| (0..10).map(move |number| format!("{round} {number}")));
        assert!(
            heard
                .iter()
                .map(String::as_str)
                .eq(rounds.collect::<Vec<_>>().iter().map(String::as_str))
        );
        assert_eq!((ups, downs, runs.load(Ordering::Relaxed)), (3, 5, 3));
        assert_eq!(server.await.unwrap(), 3);
    }
}

#[tokio::test(start_paused = true)] // polls each millisecond, and it may be for ever
async fn send_and_flush_dropped_at_every_poll_lose_nothing_and_double_nothing() {
    for polls in 1..6 {
        let (connect, mut doors) = to("ws://a.example/", 256);
        let mut session = connect.reconnect(seconds()).queue(2, 1 << 20);
        let server = tokio::spawn(async move {
            doors.slam().await;
            let mut ws = doors.open().await;
            let mut heard = Vec::new();
            while let Some(message) = ws.recv().await.unwrap() {
                heard.push(message.as_text().unwrap().to_owned());
            }
            heard
        });
        let texts: Vec<String> = (0..20)
            .map(|n| format!("{n} {}", "x".repeat(100)))
            .collect();
        let begin = Instant::now();
        for text in &texts {
            while poll_times(session.send(text.clone()), polls).is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
                assert!(begin.elapsed() < 100 * SECOND, "hangs");
            }
        }
        while poll_times(session.flush(), polls).is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(begin.elapsed() < 100 * SECOND, "hangs");
        }
        while poll_times(session.close(CloseCode::NORMAL, "bye"), polls).is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(begin.elapsed() < 100 * SECOND, "hangs");
        }
        assert_eq!(comes(server).await.unwrap(), texts);
    }
}

#[each_fault]
async fn a_session_that_is_closed_stays_so() {
    // While it is up: behind what is queued.
    let (mut session, mut doors) = session(seconds());
    let mut ws = up(&mut session, &mut doors).await;
    comes(session.send("the last")).await.unwrap();
    let server = async {
        hears(&mut ws, "the last").await;
        assert!(ws.recv().await.unwrap().is_none());
        ws.close_info().unwrap().code
    };
    let (closed, code) =
        comes(async { tokio::join!(session.close(CloseCode::new(4000), "done"), server) }).await;
    closed.unwrap();
    assert_eq!(code.as_u16(), 4000);
    assert!(matches!(comes(session.recv()).await, Ok(None)));
    assert!(matches!(
        comes(session.send("late")).await,
        Err(Error::Closed)
    ));
    assert!(matches!(comes(session.flush()).await, Err(Error::Closed)));
    settle().await;
    assert!(doors.0.try_recv().is_err());
}

#[each_fault]
async fn a_session_that_is_closed_while_away_or_connecting_ends_at_once() {
    let (mut away, mut doors) = session(seconds());
    fails(&mut away, &mut doors).await;
    comes(away.send("lost")).await.unwrap();
    comes(away.close(CloseCode::NORMAL, "")).await.unwrap();
    assert_eq!((away.queued(), away.dropped().closed), (0, 1));
    tokio::time::sleep(60 * SECOND).await;
    assert!(doors.0.try_recv().is_err());

    let (mut connecting, mut doors) = session(seconds());
    assert!(poll_times(connecting.recv(), 1).is_none());
    let (_, mut stream) = doors.knock().await;
    comes(connecting.close(CloseCode::NORMAL, ""))
        .await
        .unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap(); // it is dropped
}

#[each_fault]
async fn a_dead_server_is_noticed_by_the_heartbeat_and_left() {
    let (connect, mut doors) = to("ws://a.example/", 64 << 10);
    let options = Options::new().heartbeat(hybi::Heartbeat::default());
    let mut session = connect.options(options).reconnect(seconds());
    let _dead = up(&mut session, &mut doors).await;
    let (why, _) = down(&mut session).await;
    assert!(matches!(why, Error::Timeout(Timeout::Heartbeat)), "{why:?}");
    up(&mut session, &mut doors).await;
}

#[each_fault]
async fn a_connection_that_has_reached_its_age_is_replaced_whatever_the_server_answers() {
    let (connect, mut doors) = to("ws://a.example/", 64 << 10);
    let options = Options::new().max_lifetime(60 * SECOND);
    let mut session = connect.options(options).reconnect(seconds());
    let (_, mut raw) = tokio::join!(event(&mut session), async {
        shake(doors.knock().await.1).await
    });
    let answers = async {
        assert!(raw.recv().await.unwrap().is_some());
        raw.send(Frame::close(1000, "")).await.unwrap();
        drop(raw);
    };
    let ((why, _), ()) = tokio::join!(down(&mut session), answers);
    assert!(why.to_string().starts_with("this end has closed"), "{why}");
    up(&mut session, &mut doors).await;
}

#[each_fault(counts)]
async fn a_close_frame_is_the_reason_even_if_a_write_has_failed_before_it_was_read() {
    let (connect, mut doors) = to("ws://a.example/", 4096);
    let mut session = connect.reconnect(Backoff::new());
    let (_, mut raw) = tokio::join!(event(&mut session), async {
        shake(doors.knock().await.1).await
    });
    raw.send(Frame::close(1012, "")).await.unwrap();
    drop(raw);
    comes(session.send("fails")).await.unwrap();
    let (why, retry_in) = down(&mut session).await;
    assert!(why.to_string().contains("1012"), "{why}");
    assert!(retry_in >= 5 * SECOND);
}

#[each_fault]
async fn what_nobody_has_seen_of_coming_and_going_takes_no_room() {
    let (connect, mut doors) = to("ws://a.example/", 256);
    let mut session = connect.reconnect(seconds());
    let server = async {
        for _ in 0..5 {
            doors.slam().await;
            drop(doors.open().await);
        }
        let mut ws = doors.open().await;
        hears(&mut ws, &"x".repeat(1000)).await;
        ws
    };
    let client = async {
        session.send("x".repeat(1000)).await.unwrap();
        session.flush().await.unwrap();
        let events = [event(&mut session).await, event(&mut session).await];
        let [Event::Down { .. }, Event::Up { attempt: 11, .. }] = events else {
            panic!("{events:?}");
        };
        assert!(poll_times(session.recv_event(), 1).is_none());
    };
    comes(async { tokio::join!(server, client) }).await;
}

#[each_fault]
async fn a_session_can_be_driven_by_a_task_of_its_own() {
    let (mut session, mut doors) = session(seconds());
    let task = tokio::spawn(async move {
        while let Some(message) = session.recv().await? {
            session.send(message).await?;
            session.flush().await?;
        }
        session.close(CloseCode::NORMAL, "").await
    });
    for _ in 0..2 {
        let mut ws = doors.open().await;
        ws.send("echo").await.unwrap();
        hears(&mut ws, "echo").await;
    }
    // The second one was dropped: 1001.
    let mut ws = doors.open().await;
    comes(ws.close(CloseCode::NORMAL, "")).await.unwrap();
    comes(task).await.unwrap().unwrap();
}

#[each_fault]
async fn who_only_receives_sends_what_is_queued_too() {
    let (connect, mut doors) = to("ws://a.example/", 4096);
    let mut session = connect.reconnect(seconds());
    let mut ws = up(&mut session, &mut doors).await;
    for text in ["a", "b", "c"] {
        comes(session.send(text.repeat(3000))).await.unwrap();
    }
    // In a task of its own: nothing but the transport wakes the session.
    let server = tokio::spawn(async move {
        for text in ["a", "b", "c"] {
            hears(&mut ws, &text.repeat(3000)).await;
        }
        ws.send("thanks").await.unwrap();
        ws
    });
    let begin = Instant::now();
    assert_eq!(comes(session.recv()).await.unwrap(), Some("thanks".into()));
    assert!(begin.elapsed() < SECOND, "it took a timer to wake it");
    server.await.unwrap();
}

#[each_fault(counts)]
async fn a_message_whose_last_byte_leaves_as_the_end_is_seen_is_not_sent_again() {
    let (connect, mut doors) = to("ws://a.example/", 4096);
    let mut session = connect.reconnect(seconds());
    let (_, mut raw) = tokio::join!(event(&mut session), async {
        shake(doors.knock().await.1).await
    });
    comes(session.send("x".repeat(6000))).await.unwrap();
    raw.take(4096).await.unwrap();
    raw.shutdown().await.unwrap();
    down(&mut session).await;
    assert_eq!(raw.rest().await.unwrap().len(), 4 + 4 + 6000 - 4096);
    assert_eq!(session.queued(), 0);
    let mut ws = up(&mut session, &mut doors).await;
    comes(session.send("the next")).await.unwrap();
    hears(&mut ws, "the next").await;
}

#[each_fault]
async fn what_is_shown_of_a_session_is_not_secret() {
    let (connect, mut doors) = to("ws://alice:s@cret@a.example:81/?x=y@z", 1 << 16);
    let session = connect.reconnect(seconds());
    let mut session = session.fallback("ws://bob:hidden@b.example/");
    let (told, _ws) = tokio::join!(event(&mut session), doors.open());
    let Event::Up { url, .. } = &told else {
        panic!("{told:?}");
    };
    assert_eq!(&**url, "ws://a.example:81/?x=y@z");
    let shown = format!("{told:?} {session:?}");
    assert!(shown.contains("b.example"), "{shown}");
    for secret in ["alice", "cret", "bob", "hidden"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
