//! Each example, run as the program it is: does it do what it promises?
//!
//! `cargo test` builds the examples; where only this binary is tested, `cargo build -p hybi
//! --examples` must be run first. The clock is the real one, for the examples are processes; all
//! that waits here gives up after [`GUARD`].

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::fs;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use hybi::{CloseCode, Event, Message, Request, Server, WebSocket};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc;

/// More than ten times what the longest wait takes: only what hangs is stopped by it.
const GUARD: Duration = Duration::from_secs(60);

/// The silence that the heartbeats are told to bear, in seconds: long for a machine that is busy.
const SILENCE: &str = "2";

/// An example that is about to run; killed when dropped.
fn command(name: &str, args: &[&str]) -> Command {
    let tests = std::env::current_exe().unwrap();
    let target = tests.parent().and_then(Path::parent).unwrap();
    let path = target.join("examples").join(name);
    let path = path.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        path.exists(),
        "{name} is not there: cargo build -p hybi --examples"
    );
    let mut command = Command::new(path);
    command.args(args).kill_on_drop(true);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// An example that runs; killed when dropped.
struct Program {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn start(name: &str, args: &[&str]) -> Self {
        let mut child = command(name, args).stdin(Stdio::null()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, stdout }
    }

    /// Starts a server on a free port, and gives its address with it.
    async fn serve(name: &str, args: &[&str]) -> (Self, String) {
        let mut server = Self::start(name, &[&["127.0.0.1:0"], args].concat());
        let line = server.line().await.unwrap();
        let addr = line.strip_prefix("listening on ").unwrap();
        (server, addr.into())
    }

    /// The next line on its standard output; `None` at the end.
    async fn line(&mut self) -> Option<String> {
        ends(self.stdout.next_line()).await.unwrap()
    }

    /// How it ends, and what it says on its standard error.
    async fn end(self) -> (ExitStatus, String) {
        let output = ends(self.child.wait_with_output()).await.unwrap();
        (output.status, String::from_utf8(output.stderr).unwrap())
    }
}

async fn ends<T>(future: impl IntoFuture<Output = T>) -> T {
    tokio::time::timeout(GUARD, future).await.expect("hangs")
}

/// Connects, and waits until the server counts the connection among its clients.
async fn enter(url: String) -> WebSocket {
    let mut ws = ends(hybi::connect(url)).await.unwrap();
    ws.ping("").unwrap();
    loop {
        match ends(ws.recv_event()).await.unwrap() {
            Some(Event::Pong(_)) => return ws,
            other => assert!(other.is_some(), "closed before the pong"),
        }
    }
}

async fn says(ws: &mut WebSocket, text: &str) {
    ends(ws.send(text)).await.unwrap();
}

async fn hears(ws: &mut WebSocket, text: &str) {
    assert_eq!(ends(ws.recv()).await.unwrap(), Some(Message::from(text)));
}

/// Serves with this handler from now on, and gives the URL.
async fn serve<F, Fut>(handler: F) -> String
where
    F: Fn(WebSocket, Request<()>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = hybi::Result<()>> + Send + 'static,
{
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    tokio::spawn(server.serve(handler));
    url
}

#[tokio::test]
async fn a_broadcast_reaches_everyone_and_its_sender() {
    let (_server, addr) = Program::serve("broadcast", &[]).await;
    let mut first = enter(format!("ws://{addr}/")).await;
    let mut second = enter(format!("ws://{addr}/")).await;
    let mut third = enter(format!("ws://{addr}/")).await;
    says(&mut first, "one").await;
    for ws in [&mut first, &mut second, &mut third] {
        hears(ws, "one").await;
    }
    says(&mut third, "two").await;
    for ws in [&mut first, &mut second, &mut third] {
        hears(ws, "two").await;
    }
}

#[tokio::test]
async fn a_broadcast_to_others_reaches_everyone_but_its_sender() {
    let (_server, addr) = Program::serve("broadcast_others", &[]).await;
    let mut first = enter(format!("ws://{addr}/")).await;
    let mut second = enter(format!("ws://{addr}/")).await;
    let mut third = enter(format!("ws://{addr}/")).await;
    says(&mut first, "one").await;
    hears(&mut second, "one").await;
    hears(&mut third, "one").await;
    // If the first had got its own message, that would be there before this one.
    says(&mut second, "two").await;
    hears(&mut first, "two").await;
    hears(&mut third, "two").await;
}

#[tokio::test]
async fn a_client_and_a_server_say_something_to_each_other() {
    let (mut server, addr) = Program::serve("server", &[]).await;
    let url = format!("ws://{addr}/");
    let mut client = Program::start("client", &[&url]);
    let something = Some(r#"received: Text("something")"#);
    assert_eq!(client.line().await.as_deref(), something);
    assert_eq!(server.line().await.as_deref(), something);
    let client = Program::start("send_binary", &[&url]);
    assert!(client.end().await.0.success());
    let line = server.line().await.unwrap();
    assert!(line.starts_with("received: Binary("), "{line}");
}

#[tokio::test]
async fn two_servers_share_a_port_and_no_clients() {
    let (_server, addr) = Program::serve("two_servers", &[]).await;
    let mut foo = enter(format!("ws://{addr}/foo")).await;
    let mut other = enter(format!("ws://{addr}/foo")).await;
    let mut bar = enter(format!("ws://{addr}/bar")).await;
    says(&mut foo, "to foo").await;
    hears(&mut foo, "to foo").await;
    hears(&mut other, "to foo").await;
    says(&mut bar, "to bar").await;
    hears(&mut bar, "to bar").await;
    assert_eq!(refused(hybi::connect(format!("ws://{addr}/"))).await, 404);
}

/// The status with which a client is turned away.
async fn refused(connect: hybi::Connect) -> u16 {
    match ends(connect).await {
        Err(hybi::Error::Handshake(error)) => error.status().unwrap().as_u16(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_says_who_he_is_is_greeted() {
    let (_server, addr) = Program::serve("authentication", &[]).await;
    let connect = || hybi::connect(format!("ws://{addr}/"));
    assert_eq!(refused(connect()).await, 401);
    let connect = connect().header("authorization", "Bearer alice");
    let mut ws = ends(connect).await.unwrap();
    hears(&mut ws, "hello alice").await;
}

#[tokio::test]
async fn a_client_is_told_its_address_by_proxy_or_without() {
    let (_server, addr) = Program::serve("client_ip", &[]).await;
    let connect = || hybi::connect(format!("ws://{addr}/"));
    let mut ws = ends(connect()).await.unwrap();
    hears(&mut ws, "your address is 127.0.0.1").await;
    let connect = connect().header("x-forwarded-for", "198.51.100.1, 192.0.2.1");
    let mut ws = ends(connect).await.unwrap();
    hears(&mut ws, "your address is 192.0.2.1").await;
}

#[tokio::test]
async fn tls_and_a_page_are_on_one_port() {
    let folder = std::env::temp_dir().join(format!("hybi-tls-example-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = [made.cert.pem(), made.signing_key.serialize_pem()];
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.join(name).display().to_string());
    fs::write(&cert, &files[0]).unwrap();
    fs::write(&key, &files[1]).unwrap();
    let mut server = Program::start("tls_server", &[&cert, &key, "127.0.0.1:0"]);
    let line = server.line().await.unwrap();
    let addr = line.strip_prefix("listening on ").unwrap().to_owned();
    let port = addr.rsplit(':').next().unwrap();
    let tls = hybi::ClientTls::new()
        .root_certificate_pem(&files[0])
        .unwrap();
    let client = hybi::Client::new().tls(tls);
    let mut ws = ends(client.connect(format!("wss://localhost:{port}/")))
        .await
        .unwrap();
    hears(&mut ws, "something").await;
    fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_client_connects_through_a_proxy() {
    let url = serve(|mut ws, _request| async move {
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok(())
    })
    .await;
    let proxy = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("http://{}", proxy.local_addr().unwrap());
    let client = Program::start("proxy", &[&at, &url]);
    let (mut tcp, _) = ends(proxy.accept()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(ends(tcp.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let target = head
        .strip_prefix("CONNECT ")
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let mut server = TcpStream::connect(target).await.unwrap();
    tcp.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    // The other end of it is the client's.
    let copied = ends(tokio::io::copy_bidirectional(&mut tcp, &mut server));
    let (status, stderr) = tokio::join!(client.end(), copied).0;
    assert!(status.success(), "{stderr}");
}

#[tokio::test]
async fn two_servers_and_a_page_are_in_one_server_of_hyper() {
    let (_server, addr) = Program::serve("hyper_server", &[]).await;
    for http2 in [false, true] {
        for (path, heard) in [("echo", "hello"), ("shout", "HELLO")] {
            let connect = hybi::connect(format!("ws://{addr}/{path}")).http2(http2);
            let mut ws = ends(connect).await.unwrap();
            says(&mut ws, "hello").await;
            hears(&mut ws, heard).await;
            ends(ws.close(CloseCode::NORMAL, "")).await.unwrap();
        }
    }
    let page = ask(&addr, "GET / HTTP/1.1", "").await;
    assert!(page.ends_with("a page"), "{page}");
}

#[tokio::test]
async fn a_browser_logs_in_and_its_websocket_knows_the_session() {
    let (_server, addr) = Program::serve("axum_session", &[]).await;
    let url = format!("ws://{addr}/chat");
    assert_eq!(refused(hybi::connect(&*url)).await, 401);
    let page = ask(&addr, "GET / HTTP/1.1", "").await;
    assert!(page.contains("new WebSocket("), "{page}");
    let answer = ask(&addr, "POST /login HTTP/1.1\r\nContent-Length: 5", "alice").await;
    let cookie = answer
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = cookie.unwrap().split(';').next().unwrap();
    let connect = || hybi::connect(&*url).header("cookie", format!("a=b; {cookie}"));
    let mut ws = ends(connect()).await.unwrap();
    hears(&mut ws, "hello alice").await;
    says(&mut ws, "hi").await;
    hears(&mut ws, "alice says hi").await;
    let logout = format!("POST /logout HTTP/1.1\r\nContent-Length: 0\r\nCookie: {cookie}");
    ask(&addr, &logout, "").await;
    assert_eq!(refused(connect()).await, 401);
}

/// The whole answer to a plain request.
async fn ask(addr: &str, head: &str, body: &str) -> String {
    let mut tcp = TcpStream::connect(addr).await.unwrap();
    let request = format!("{head}\r\nHost: {addr}\r\nConnection: close\r\n\r\n{body}");
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    ends(tcp.read_to_string(&mut answer)).await.unwrap();
    answer
}

/// Bytes that do not repeat in step with any buffer.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..size).map(|_| next()).collect()
}

#[tokio::test]
async fn a_file_is_sent_and_received() {
    let folder = std::env::temp_dir().join(format!("hybi-examples-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let [from, to] = ["from", "to"].map(|name| folder.join(name).display().to_string());
    let content = noise((5 << 20) + 7);
    fs::write(&from, &content).unwrap();
    let mut receiver = Program::start("receive_file", &[&to, "127.0.0.1:0"]);
    let line = receiver.line().await.unwrap();
    let url = format!("ws://{}/", line.strip_prefix("listening on ").unwrap());
    let mut sender = Program::start("send_file", &[&from, &url]);
    assert_eq!(
        sender.line().await.as_deref(),
        Some("sent, closed with 1000 NORMAL")
    );
    assert!(sender.end().await.0.success());
    assert_eq!(receiver.line().await.as_deref(), Some("received"));
    assert!(receiver.end().await.0.success());
    assert!(fs::read(&to).unwrap() == content);
    fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn what_is_piped_through_an_echo_comes_back() {
    let url = serve(|mut ws, _request| async move {
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok(())
    })
    .await;
    let mut pipe = command("pipe", &[&url])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = pipe.stdin.take().unwrap();
    let content = noise((3 << 20) + 7);
    let sent = content.clone();
    tokio::spawn(async move { stdin.write_all(&sent).await });
    let output = ends(pipe.wait_with_output()).await.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(output.stdout == content, "{} bytes", output.stdout.len());
}

#[tokio::test]
async fn tcp_passes_through_a_tunnel() {
    let target = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target_addr = target.local_addr().unwrap().to_string();
    let listening = async |end: &str, there: &str, here: &str| {
        let mut program = Program::start("tunnel", &[end, there, here]);
        let line = program.line().await.unwrap();
        let addr = line.strip_prefix("listening on ").unwrap().to_owned();
        (program, addr)
    };
    let (_exit, addr) = listening("exit", &target_addr, "127.0.0.1:0").await;
    let (_entry, addr) = listening("entry", "127.0.0.1:0", &format!("ws://{addr}/")).await;
    tokio::spawn(async move {
        let (mut tcp, _) = target.accept().await?;
        let (mut read, mut write) = tcp.split();
        tokio::io::copy(&mut read, &mut write).await
    });
    let mut tcp = TcpStream::connect(addr).await.unwrap();
    let content = noise((1 << 20) + 7);
    let (mut read, mut write) = tcp.split();
    let mut echo = vec![0; content.len()];
    let writing = write.write_all(&content);
    let (wrote, got) = ends(async { tokio::join!(writing, read.read_exact(&mut echo)) }).await;
    wrote.unwrap();
    got.unwrap();
    assert!(echo == content);
}

#[tokio::test]
async fn who_chats_is_heard_in_the_same_room_only() {
    chats(Program::serve("chat", &[]).await).await;
}

#[tokio::test]
async fn who_chats_where_a_handler_is_called_is_heard_in_the_same_room_only() {
    chats(Program::serve("event_chat", &[]).await).await;
}

#[tokio::test]
async fn a_handler_that_is_called_answers_what_it_is_told() {
    let (_server, addr) = Program::serve("event_echo", &[]).await;
    let mut ws = enter(format!("ws://{addr}/")).await;
    for text in ["one", "", "two"] {
        says(&mut ws, text).await;
        hears(&mut ws, text).await;
    }
    let large = noise((3 << 20) + 7);
    ends(ws.send(large.clone())).await.unwrap();
    assert_eq!(ends(ws.recv()).await.unwrap(), Some(large.into()));
    ends(ws.close(CloseCode::NORMAL, "")).await.unwrap();
}

async fn chats((_server, addr): (Program, String)) {
    let visit = async |room: &str, name: &str| {
        let url = format!("ws://{addr}/{room}?{name}");
        let mut ws = ends(hybi::connect(url)).await.unwrap();
        hears(&mut ws, &format!("{name} is here")).await;
        ws
    };
    let mut ann = visit("rust", "ann").await;
    let mut bob = visit("rust", "bob").await;
    hears(&mut ann, "bob is here").await;
    let mut cid = visit("go", "cid").await;
    let mut dan = visit("go", "dan").await;
    hears(&mut cid, "dan is here").await;
    says(&mut cid, "not for Rust").await;
    hears(&mut dan, "cid: not for Rust").await;
    // What should not have come would be there before what comes next.
    says(&mut ann, "hello").await;
    hears(&mut bob, "ann: hello").await;
    ends(bob.close(CloseCode::NORMAL, "")).await.unwrap();
    hears(&mut ann, "bob is gone").await;
}

#[tokio::test]
async fn a_round_trip_is_told_and_the_connection_closed() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let url = serve(move |mut ws, _request| {
        let tell = tell.clone();
        async move {
            let mut pings = 0;
            while let Some(event) = ws.recv_event().await? {
                pings += usize::from(matches!(event, Event::Ping(_)));
            }
            tell.send((pings, ws.close_info())).unwrap();
            Ok(())
        }
    });
    let url = url.await;
    let mut client = Program::start("round_trip", &[&url]);
    let line = client.line().await.unwrap();
    let time = line.strip_prefix("round-trip time: ").unwrap();
    let number = time
        .strip_suffix('s')
        .unwrap()
        .trim_end_matches(['m', 'µ', 'n']);
    assert!(number.parse::<f64>().is_ok(), "{line:?}");
    let (status, stderr) = client.end().await;
    assert!(status.success(), "{stderr}");
    let (pings, end) = ends(told.recv()).await.unwrap();
    let end = end.unwrap();
    assert_eq!((pings, end.code, end.clean), (1, CloseCode::NORMAL, true));
}

#[tokio::test]
async fn the_heartbeat_of_a_server_drops_who_is_silent_and_keeps_who_answers() {
    let (mut server, addr) = Program::serve("server_heartbeat", &[SILENCE]).await;
    let mut answers = enter(format!("ws://{addr}/")).await;
    let silent = ends(hears_until_dropped(&addr));
    tokio::pin!(silent);
    let mut pings = 0;
    let heard = loop {
        tokio::select! {
            heard = &mut silent => break heard,
            event = answers.recv_event() => match event.unwrap() {
                Some(Event::Ping(_)) => pings += 1,
                other => panic!("{other:?} instead of a ping"),
            }
        }
    };
    assert!(heard.starts_with(b"HTTP/1.1 101 "));
    assert!(
        heard.ends_with(b"\r\n\r\n\x89\x00"),
        "one ping, and the end: {heard:?}"
    );
    let line = server.line().await.unwrap();
    assert_eq!(line, "lost a client: the peer did not answer the heartbeat");
    assert!(pings > 0);
    says(&mut answers, "still here").await;
    hears(&mut answers, "still here").await;
}

/// All that a server says to a client that is silent once it is connected.
async fn hears_until_dropped(addr: &str) -> Vec<u8> {
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let mut tcp = TcpStream::connect(addr).await.unwrap();
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    // Whether it ends with a FIN or a reset is all the same.
    let _ = tcp.read_to_end(&mut heard).await;
    heard
}

#[tokio::test]
async fn the_heartbeat_of_a_client_bears_no_silence_but_counts_pings() {
    let url = serve(|mut ws, _request| async move {
        // Together that is longer than the silence.
        let mut pings = tokio::time::interval(Duration::from_millis(200));
        for _ in 0..15 {
            pings.tick().await;
            ws.ping("")?.await?;
        }
        ws.send("the last word").await?;
        while ws.recv().await?.is_some() {}
        Ok(())
    });
    let mut client = Program::start("client_heartbeat", &[&url.await, SILENCE]);
    let line = client.line().await.unwrap_or_default();
    assert!(line.contains("the last word"), "{line:?}");
    assert_eq!(client.line().await, None);
    let (status, stderr) = client.end().await;
    assert_eq!(status.code(), Some(1));
    assert_eq!(stderr, "Error: Timeout(Idle)\n");
}

#[tokio::test]
async fn a_client_that_reconnects_survives_a_restart_of_its_server() {
    /// Says what it hears, and ends when it is told to.
    async fn echo(mut ws: WebSocket, _request: Request<()>) -> hybi::Result<()> {
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok(())
    }
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr().unwrap();
    let handle = server.handle();
    let serving = tokio::spawn(server.serve(echo));
    let url = format!("ws://{addr}/");
    let mut client = Program::start("reconnect", &[&url]);
    let connected = format!("connected to {url}");
    let (subscribed, here) = (
        r#"received: Text("subscribe")"#,
        r#"received: Text("still here")"#,
    );
    let mut until = async |wanted: &str| {
        loop {
            let line = client.line().await.expect("the client goes on");
            if line.contains(wanted) {
                return;
            }
        }
    };
    for wanted in [&connected, subscribed, here] {
        until(wanted).await;
    }
    ends(handle.shutdown(())).await.unwrap();
    ends(serving).await.unwrap().unwrap();
    until("1001 GOING_AWAY; again in ").await;
    until("; again in ").await; // nobody is there
    let server = Server::bind(addr).await.unwrap();
    let handle = server.handle();
    tokio::spawn(server.serve(echo));
    for wanted in [&connected, subscribed, here] {
        until(wanted).await;
    }
    let done = hybi::Shutdown::new().close(CloseCode::NORMAL, "");
    ends(handle.shutdown(done)).await.unwrap();
    let (status, stderr) = client.end().await;
    assert!(status.success(), "{stderr}");
}

#[test]
fn an_example_is_short_and_run_by_a_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut seen = 0;
    for path in files {
        let name = path.file_stem().unwrap().to_str().unwrap();
        // It is run by `scripts/autobahn.sh`.
        if name == "autobahn_client" {
            continue;
        }
        seen += 1;
        let run = ["serve", "start", "command"].map(|how| format!("{how}(\"{name}\""));
        let tests = include_str!("examples.rs");
        assert!(
            run.iter().any(|run| tests.contains(run)),
            "{name} is not run"
        );
        let source = fs::read_to_string(&path).unwrap();
        let main = source
            .lines()
            .skip_while(|line| !line.starts_with("async fn main"));
        let lines = 1 + main.take_while(|line| *line != "}").count();
        assert!(
            (3..=25).contains(&lines),
            "main of {name} has {lines} lines"
        );
    }
    assert!(seen >= 7, "{seen} examples");
}
