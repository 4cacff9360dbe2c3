//! The real binary, run as a user runs it.
//!
//! Servers listen on port 0 and print where. No test waits on the clock: each waits for what must
//! come, and gives up after [`PATIENCE`].

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use hybi::session::Event;
use hybi::{Backoff, CloseCode, Message, Server, Session};

mod broadcast;
mod escapes;
mod ways;

/// Far more than anything here takes: only a hang is that long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `hybi`, killed when dropped.
struct Hybi {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: mpsc::Receiver<String>,
    stderr: mpsc::Receiver<String>,
}

/// How it ended, with what it printed that was not read before.
#[derive(Debug)]
struct Ended {
    status: Option<i32>,
    stdout: Vec<String>,
    stderr: String,
}

impl Hybi {
    fn start(args: &[&str]) -> Self {
        Self::start_in(&[], args)
    }

    /// Starts it with these variables in its environment, and no other ones of proxies.
    fn start_in(env: &[(&str, &str)], args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hybi"));
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        let mut child = command
            .envs(env.iter().copied())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("hybi starts");
        Hybi {
            stdin: child.stdin.take(),
            stdout: lines(child.stdout.take().expect("stdout is piped")),
            stderr: lines(child.stderr.take().expect("stderr is piped")),
            child,
        }
    }

    /// Starts a server and waits for the address that it prints.
    fn serve(args: &[&str]) -> (Self, SocketAddr) {
        let hybi = Hybi::start(&[&["serve", "--port", "0"], args].concat());
        let line = hybi.line();
        let address = line
            .split_once("ws://")
            .map(|(_, rest)| rest.trim_end_matches('/'));
        let address = address.and_then(|address| address.parse().ok());
        (
            hybi,
            address.unwrap_or_else(|| panic!("no address in {line:?}")),
        )
    }

    /// Starts a client and waits until it is connected.
    fn connect(address: SocketAddr, args: &[&str]) -> Self {
        let url = format!("ws://{address}/any/path?and=query");
        let hybi = Hybi::start(&[&["connect", url.as_str()], args].concat());
        let line = hybi
            .stderr
            .recv_timeout(PATIENCE)
            .expect("a line on stderr");
        assert!(line.starts_with("connected"), "{line}");
        hybi
    }

    fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin
            .write_all(bytes.as_ref())
            .expect("hybi reads its stdin");
    }

    /// The end of stdin: Ctrl-D.
    fn end(mut self) -> Ended {
        self.stdin = None;
        self.wait()
    }

    /// The next line of stdout.
    fn line(&self) -> String {
        self.stdout
            .recv_timeout(PATIENCE)
            .expect("a line on stdout")
    }

    #[cfg(unix)]
    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.expect("kill starts").success());
    }

    /// Waits for the end while stdin stays as it is.
    fn wait(mut self) -> Ended {
        // Both pipes end with the process.
        let stdout = rest(&self.stdout);
        let stderr = rest(&self.stderr).join("\n");
        let status = self.child.wait().expect("hybi is a child of this process");
        Ended {
            status: status.code(),
            stdout,
            stderr,
        }
    }
}

impl Drop for Hybi {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines on a thread, so that a read can be given up.
fn lines(pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn rest(lines: &mpsc::Receiver<String>) -> Vec<String> {
    let mut rest = Vec::new();
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => rest.push(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => return rest,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("hybi hangs after {rest:?}"),
        }
    }
}

/// Sends one plain request and reads the whole response: its head, lower-cased, and its body.
fn request(address: SocketAddr, method: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout can be set");
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .expect("the server reads");
    let mut response = String::new();
    stream
        .read_to_string(&mut response)
        .expect("the server answers and closes");
    let (head, body) = response
        .split_once("\r\n\r\n")
        .expect("a head ends with an empty line");
    (head.to_ascii_lowercase(), body.to_owned())
}

/// A server that answers each connection with what `answer` says, for clients to be tried on.
fn scripted<F>(
    answer: impl Fn(hybi::WebSocket, http::Request<()>) -> F + Send + Sync + 'static,
) -> SocketAddr
where
    F: Future<Output = Result<(), hybi::Error>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let server = Server::bind("127.0.0.1:0").await.expect("a free port");
            let _ = sender.send(server.local_addr().expect("an address"));
            let _ = server.serve(answer).await;
        });
    });
    receiver.recv_timeout(PATIENCE).expect("the server starts")
}

#[test]
fn messages_are_compressed_where_both_sides_want_it() {
    for (serve, connect, compressed) in [
        (&[][..], &[][..], false),
        (&["--deflate"], &[], true),
        (
            &["--deflate-level", "9", "--deflate-window-bits", "15"],
            &[],
            true,
        ),
        (&["--deflate"], &["--no-deflate"], false),
        (&["--deflate"], &["--deflate-no-context-takeover"], true),
    ] {
        let (_server, address) = Hybi::serve(serve);
        let url = format!("ws://{address}/");
        let mut client = Hybi::start(&[&["connect", url.as_str()], connect].concat());
        let line = client.stderr.recv_timeout(PATIENCE);
        let line = line.expect("a line on stderr");
        assert_eq!(line.contains("compressed"), compressed, "{line}");
        let text = "all work and no play ".repeat(100);
        for _ in 0..2 {
            client.write(format!("{text}\n"));
            assert_eq!(client.line(), text);
        }
        assert_eq!(client.end().status, Some(0));
    }
}

#[test]
fn lines_come_back_as_lines() {
    let (_server, address) = Hybi::serve(&[]);
    let mut client = Hybi::connect(address, &[]);
    for line in ["hello", "", "grüße, 世界", r#"{"a":"\"b\""}"#] {
        client.write(format!("{line}\n"));
        assert_eq!(client.line(), line);
    }
    let ended = client.end();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(ended.stdout, [""; 0]);
    assert!(ended.stderr.contains("closed with 1000"), "{ended:?}");
}

#[test]
fn what_comes_before_the_answer_to_the_close_is_printed() {
    let (_server, address) = Hybi::serve(&["--threads", "1"]);
    let mut client = Hybi::connect(address, &[]);
    let lines: Vec<_> = (0..1000).map(|i| format!("line {i}")).collect();
    client.write(lines.join("\n"));
    let ended = client.end();
    assert_eq!(ended.stdout, lines);
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
}

#[test]
fn control_characters_of_the_peer_never_reach_the_terminal() {
    let (_server, address) = Hybi::serve(&[]);
    let mut client = Hybi::connect(address, &[]);
    client.write("\x1b]0;title\x07\tone\rtwo\u{9b}2J\n");
    let ended = client.end();
    assert_eq!(ended.stdout, [r"\u{1b}]0;title\u{7}\tone\rtwo\u{9b}2J"]);
}

#[test]
fn the_end_of_the_server_does_not_wait_for_stdin() {
    let address = scripted(|mut ws, _| async move {
        ws.send("two\nlines".to_owned()).await?;
        ws.close(CloseCode::from(4001), "bye\x1b[2J\nconnected")
            .await
            .map(drop)
    });
    let client = Hybi::connect(address, &[]);
    let ended = client.wait();
    assert_eq!(ended.stdout, [r"two\nlines"]);
    assert_eq!(ended.stderr, r"closed with 4001: bye\u{1b}[2J\nconnected");
    assert_eq!(ended.status, Some(0));
}

#[test]
fn binary_is_printed_as_a_note() {
    let address = scripted(|mut ws, _| async move {
        ws.send(Message::Binary(b"\x00\x1b\xff".as_slice().into()))
            .await?;
        while ws.recv().await?.is_some() {}
        Ok(())
    });
    let ended = Hybi::connect(address, &[]).end();
    assert_eq!(ended.stdout, ["[binary, 3 bytes: 00 1b ff]"]);
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
}

#[test]
fn headers_protocols_and_origin_are_sent() {
    let address = scripted(|mut ws, request| async move {
        let all = |name: &str| -> Vec<String> {
            let values = request.headers().get_all(name).iter();
            values
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .collect()
        };
        let seen = [all("x-one"), all("sec-websocket-protocol"), all("origin")];
        ws.send(format!("{} {seen:?}", request.uri())).await?;
        while ws.recv().await?.is_some() {}
        Ok(())
    });
    let origin = format!("http://{address}");
    let options = [
        "--header",
        "X-One: a: b",
        "--header",
        "x-one:c",
        "--protocol",
        "p",
        "--protocol",
        "Q",
    ];
    let client = Hybi::connect(address, &[&options[..], &["--origin", &origin]].concat());
    let seen = format!(r#"/any/path?and=query [["a: b", "c"], ["p, Q"], ["{origin}"]]"#);
    assert_eq!(client.line(), seen);
    assert_eq!(client.end().status, Some(0));
}

#[test]
fn lines_that_cannot_be_sent_are_named_and_the_others_are_sent() {
    let (_server, address) = Hybi::serve(&[]);
    let mut client = Hybi::connect(address, &[]);
    client.write(b"one\n\xff\nthree\n");
    client.write(vec![b'x'; (16 << 20) + 1]);
    client.write(b"\nfive\n");
    let ended = client.end();
    assert_eq!(ended.stdout, ["one", "three", "five"]);
    assert!(
        ended.stderr.contains("line 2 is not UTF-8"),
        "{}",
        ended.stderr
    );
    assert!(
        ended
            .stderr
            .contains("line 4 is longer than 16777216 bytes"),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.status, Some(4), "{}", ended.stderr);
}

#[test]
fn more_than_any_buffer_holds_is_echoed_without_a_standstill() {
    let (_server, address) = Hybi::serve(&[]);
    let mut client = Hybi::connect(address, &[]);
    let line = format!("{}\n", "x".repeat(1 << 20));
    for _ in 0..32 {
        client.write(&line);
    }
    // The close would overtake an echo that waits for room: a peer that has heard it sends nothing.
    for _ in 0..32 {
        assert_eq!(client.line().len(), 1 << 20);
    }
    let ended = client.end();
    assert!(ended.stdout.is_empty());
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
}

#[test]
fn a_message_over_the_servers_limit_is_no_clean_end() {
    let (_server, address) = Hybi::serve(&["--max-message", "4"]);
    let mut client = Hybi::connect(address, &[]);
    client.write("1234\n");
    assert_eq!(client.line(), "1234");
    client.write("12345\n");
    let ended = client.wait();
    assert_eq!(ended.stdout, [""; 0]);
    assert!(ended.stderr.contains("1009"), "{}", ended.stderr);
}

#[test]
fn a_lost_connection_has_status_1() {
    let (mut server, address) = Hybi::serve(&[]);
    let mut client = Hybi::connect(address, &[]);
    client.write("hello\n");
    assert_eq!(client.line(), "hello");
    server.child.kill().expect("the server runs");
    let ended = client.wait();
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("hybi: connection lost"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_refused_connection_has_status_3() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}/", listener.local_addr().expect("an address"));
    drop(listener);
    let ended = Hybi::start(&["connect", &url]).wait();
    assert_eq!(ended.status, Some(3), "{}", ended.stderr);
    assert!(
        ended.stderr.starts_with("hybi: not connected: "),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_refused_handshake_has_status_3_and_is_told_on_one_line() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}/", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("hybi connects");
        let mut head = BufReader::new(stream.try_clone().expect("a second handle"));
        let mut line = String::new();
        while head.read_line(&mut line).is_ok_and(|n| n > 2) {
            line.clear();
        }
        let body = "no \x1b[2J entry\n";
        let length = body.len();
        let _ = write!(
            stream,
            "HTTP/1.1 403 Forbidden\r\nContent-Length: {length}\r\n\r\n{body}"
        );
    });
    let ended = Hybi::start(&["connect", &url]).wait();
    assert_eq!(ended.status, Some(3), "{}", ended.stderr);
    assert!(ended.stderr.contains("403"), "{}", ended.stderr);
    assert!(
        !ended.stderr.chars().any(char::is_control),
        "{:?}",
        ended.stderr
    );
}

#[test]
fn a_url_that_is_none_has_status_2() {
    for url in ["not a url", "http//x", "ftp://127.0.0.1/"] {
        let ended = Hybi::start(&["connect", url]).wait();
        assert_eq!(ended.status, Some(2), "{url}: {}", ended.stderr);
        assert_eq!(ended.stdout, [""; 0]);
    }
}

#[test]
fn unknown_input_has_status_2() {
    for line in [
        &["frobnicate"][..],
        &["serve", "--port", "x"],
        &["connect"],
        &["serve", "extra"],
        &["--nope"],
    ] {
        let ended = Hybi::start(line).wait();
        assert_eq!(ended.status, Some(2), "{line:?}");
        assert!(ended.stderr.contains("error: "), "{}", ended.stderr);
    }
}

#[test]
fn help_names_every_exit_status() {
    for line in [
        &["--help"][..],
        &["connect", "--help"],
        &["serve", "--help"],
    ] {
        let ended = Hybi::start(line).wait();
        assert_eq!(ended.status, Some(0));
        for status in 0..=4 {
            let start = format!("  {status}  ");
            assert!(
                ended.stdout.iter().any(|line| line.starts_with(&start)),
                "{line:?}: {status}"
            );
        }
    }
}

#[test]
fn the_page_is_html_that_may_use_only_itself() {
    let (_server, address) = Hybi::serve(&[]);
    let (head, body) = request(address, "GET", "/");
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(
        head.contains("\r\ncontent-type: text/html; charset=utf-8"),
        "{head}"
    );
    assert!(
        head.contains("\r\ncontent-security-policy: default-src 'none'; "),
        "{head}"
    );
    assert!(head.contains("\r\ncache-control: no-store"), "{head}");
    assert_eq!(body, include_str!("../../src/page.html"));
}

#[test]
fn head_of_the_page_has_no_body() {
    let (_server, address) = Hybi::serve(&[]);
    let (head, body) = request(address, "HEAD", "/");
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert_eq!(
        (head, body),
        (request(address, "GET", "/").0, String::new())
    );
}

#[test]
fn other_paths_and_methods_are_refused() {
    let (_server, address) = Hybi::serve(&[]);
    let (head, _) = request(address, "GET", "/favicon.ico");
    assert!(head.starts_with("http/1.1 404 "), "{head}");
    let (head, _) = request(address, "POST", "/");
    assert!(head.starts_with("http/1.1 405 "), "{head}");
    assert!(head.contains("\r\nallow: get, head"), "{head}");
}

#[test]
fn the_server_says_what_to_open_and_what_to_type() {
    let (server, address) = Hybi::serve(&[]);
    assert_ne!(address.port(), 0);
    assert!(server.line().ends_with(&url("http", address)));
    assert!(
        server
            .line()
            .ends_with(&format!("connect {}", url("ws", address)))
    );
}

fn url(scheme: &str, address: SocketAddr) -> String {
    format!("{scheme}://{address}/")
}

#[test]
fn a_taken_port_is_told_with_a_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let ended = Hybi::start(&["serve", "--port", &port]).wait();
    assert_eq!(ended.status, Some(1));
    assert!(ended.stderr.contains(&port), "{}", ended.stderr);
    assert!(ended.stderr.contains("--port"), "{}", ended.stderr);
    assert_eq!(ended.stdout, [""; 0]);
}

#[cfg(unix)]
#[test]
fn a_signal_stops_the_server_cleanly() {
    for name in ["INT", "TERM"] {
        let (server, address) = Hybi::serve(&[]);
        let _client = Hybi::connect(address, &[]);
        server.signal(name);
        let ended = server.wait();
        assert_eq!(ended.status, Some(0), "{name}: {ended:?}");
        assert_eq!(ended.stderr, "");
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_closes_the_client_while_stdin_is_open() {
    let (_server, address) = Hybi::serve(&[]);
    let mut client = Hybi::connect(address, &[]);
    // An echo proves that the loop which hears the signal runs.
    client.write("hello\n");
    assert_eq!(client.line(), "hello");
    client.signal("INT");
    let ended = client.wait();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(
        ended.stderr.contains("closed with 1000"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_reader_that_leaves_ends_the_client_quietly() {
    let (_server, address) = Hybi::serve(&[]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_hybi"))
        .args(["connect", &url("ws", address)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("hybi starts");
    drop(child.stdout.take());
    let stderr = lines(child.stderr.take().expect("stderr is piped"));
    let mut stdin = child.stdin.take();
    stdin
        .as_mut()
        .expect("stdin is piped")
        .write_all(b"hello\n")
        .expect("hybi reads its stdin");
    assert_eq!(rest(&stderr), ["connected"]);
    assert_eq!(
        child
            .wait()
            .expect("hybi is a child of this process")
            .code(),
        Some(0)
    );
}

#[test]
fn a_session_survives_a_server_that_is_killed_and_started_again() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let guarded = tokio::time::timeout(PATIENCE, outlive());
        guarded.await.expect("the session hangs");
    });
}

async fn outlive() {
    async fn hears(session: &mut Session, text: &str) {
        let message = session.recv().await.expect("it goes on");
        assert_eq!(message, Some(Message::from(text)));
    }
    let (server, address) = Hybi::serve(&[]);
    let backoff = Backoff::new().initial(Duration::from_millis(50));
    let mut session = hybi::connect(url("ws", address))
        .reconnect(backoff)
        .on_connect(|mut ws| async {
            ws.send("hello").await?;
            Ok(ws)
        });
    hears(&mut session, "hello").await;
    session.send("one").await.expect("there is room");
    hears(&mut session, "one").await;
    drop(server); // SIGKILL
    while session.is_up() {
        let down = session.recv_event().await.expect("it goes on");
        assert!(matches!(down, Some(Event::Down { .. })), "{down:?}");
    }
    session.send("two").await.expect("there is room");
    let again = session.recv_event().await.expect("it goes on");
    assert!(matches!(again, Some(Event::Down { .. })), "{again:?}");
    let port = address.port().to_string();
    let server = Hybi::start(&["serve", "--port", &port]);
    server.line();
    hears(&mut session, "hello").await;
    hears(&mut session, "two").await;
    let closed = session.close(CloseCode::NORMAL, "").await;
    closed.expect("the end is clean");
}
