//! The opening handshake, client side: what a bad server answers, and which error names it.

use std::io::ErrorKind;
use std::net::SocketAddr;

use hybi::{Error, HandshakeError, HeadError, Options, ResponseError};
use hybi_proto::handshake::Key;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::raw::{Pace, listen, send};
use super::{Failures, Outcome, Victim, expect, guarded};

/// What a server answers, and what its client makes of it.
struct Row {
    name: &'static str,
    /// `{accept}` stands for the right accept value.
    answer: Vec<u8>,
    pace: Pace,
    /// The subprotocols that are asked for; they are required if the first is empty.
    asks: &'static [&'static str],
    /// Whether compression is offered.
    deflate: bool,
    ends: Ends,
}

/// How the client's handshake ends.
enum Ends {
    Open,
    /// An answer that is no acceptance, and its body.
    Fault(ResponseError, Option<Vec<u8>>),
    Io(ErrorKind),
}

/// A good answer, with these lines instead of those that begin as they do, or beside them.
pub(super) fn accepted(lines: &[&str]) -> String {
    let good = [
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Accept: {accept}",
    ];
    let name = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
    let kept = good
        .iter()
        .filter(|line| lines.iter().all(|other| name(other) != name(line)));
    let mut head = "HTTP/1.1 101 Switching Protocols\r\n".to_owned();
    for line in kept.chain(lines).filter(|line| line.contains(": ")) {
        head.push_str(line);
        head.push_str("\r\n");
    }
    head + "\r\n"
}

fn row(name: &'static str, answer: impl AsRef<[u8]>, ends: Ends) -> Row {
    Row {
        name,
        answer: answer.as_ref().to_vec(),
        pace: Pace::Whole,
        asks: &[],
        deflate: true,
        ends,
    }
}

/// A 101 that does not hold.
fn faulty(name: &'static str, lines: &[&str], error: ResponseError) -> Row {
    row(name, accepted(lines), Ends::Fault(error, Some(Vec::new())))
}

/// Bytes that are no answer.
fn broken(name: &'static str, answer: impl AsRef<[u8]>, error: HeadError) -> Row {
    row(name, answer, Ends::Fault(ResponseError::Head(error), None))
}

/// A refusal, and what is found of its body.
fn status(name: &'static str, status: u16, rest: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Row {
    let status = http::StatusCode::from_u16(status).unwrap();
    let head = format!("HTTP/1.1 {status}\r\n");
    let body = Some(body.as_ref().to_vec());
    let answer = [head.as_bytes(), rest.as_ref()].concat();
    row(
        name,
        answer,
        Ends::Fault(ResponseError::Status(status), body),
    )
}

impl Row {
    fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    fn without_deflate(mut self) -> Self {
        self.deflate = false;
        self
    }

    fn asks(mut self, protocols: &'static [&'static str]) -> Self {
        self.asks = protocols;
        self
    }
}

fn rows() -> Vec<Row> {
    use ResponseError as E;
    let long = "x".repeat(1 << 20);
    let mut rows = vec![
        row("a good answer", accepted(&[]), Ends::Open),
        row(
            "a good answer, one byte at a time",
            accepted(&[]),
            Ends::Open,
        )
        .pace(Pace::Bytes),
        row(
            "tokens in any case, among others",
            accepted(&["Upgrade: WebSocket", "Connection: keep-alive, UPGRADE"]),
            Ends::Open,
        ),
        row(
            "early hints before the answer",
            "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".repeat(8) + &accepted(&[]),
            Ends::Open,
        ),
        row("no subprotocol, although asked", accepted(&[]), Ends::Open).asks(&["chat"]),
        row(
            "the second subprotocol",
            accepted(&["Sec-WebSocket-Protocol: b"]),
            Ends::Open,
        )
        .asks(&["a", "b"]),
        // The accept value.
        faulty("no accept value", &["Sec-WebSocket-Accept:"], E::Accept),
        faulty(
            "an accept value of another key",
            &["Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="],
            E::Accept,
        ),
        faulty(
            "an accept value and more",
            &["Sec-WebSocket-Accept: {accept}x"],
            E::Accept,
        ),
        faulty(
            "the accept value in a list",
            &["Sec-WebSocket-Accept: {accept}, {accept}"],
            E::Accept,
        ),
        faulty(
            "the accept value twice",
            &[
                "Sec-WebSocket-Accept: {accept}",
                "Sec-WebSocket-Accept: {accept}",
            ],
            E::Accept,
        ),
        // The upgrade.
        faulty("no Upgrade", &["Upgrade:"], E::Upgrade),
        faulty("Upgrade to something else", &["Upgrade: h2c"], E::Upgrade),
        faulty(
            "Upgrade to something else besides",
            &["Upgrade: websocket, h2c"],
            E::Upgrade,
        ),
        faulty(
            "Upgrade twice",
            &["Upgrade: websocket", "Upgrade: websocket"],
            E::Upgrade,
        ),
        faulty("no Connection", &["Connection:"], E::Connection),
        faulty(
            "Connection without upgrade",
            &["Connection: keep-alive"],
            E::Connection,
        ),
        row(
            "HTTP/1.0",
            accepted(&[]).replace("HTTP/1.1", "HTTP/1.0"),
            Ends::Fault(E::HttpVersion, Some(Vec::new())),
        ),
        // What was not asked for.
        faulty(
            "a subprotocol unasked",
            &["Sec-WebSocket-Protocol: chat"],
            E::ProtocolNotRequested,
        ),
        faulty(
            "another subprotocol",
            &["Sec-WebSocket-Protocol: Chat"],
            E::ProtocolInvalid,
        )
        .asks(&["chat"]),
        faulty(
            "an empty subprotocol",
            &["Sec-WebSocket-Protocol: "],
            E::ProtocolInvalid,
        )
        .asks(&["chat"]),
        faulty(
            "a list of subprotocols",
            &["Sec-WebSocket-Protocol: a, b"],
            E::ProtocolInvalid,
        )
        .asks(&["a", "b"]),
        faulty(
            "two subprotocols",
            &["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b"],
            E::ProtocolRepeated,
        )
        .asks(&["a", "b"]),
        faulty("no subprotocol, although required", &[], E::ProtocolMissing).asks(&["", "chat"]),
        faulty(
            "deflate with unknown parameters",
            &["Sec-WebSocket-Extensions: permessage-deflate; x=1"],
            E::ExtensionParameters,
        ),
        faulty(
            "deflate twice",
            &["Sec-WebSocket-Extensions: permessage-deflate, permessage-deflate"],
            E::ExtensionRepeated,
        ),
        faulty(
            "a window out of range",
            &["Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=16"],
            E::ExtensionParameters,
        ),
        faulty(
            "a window without a size",
            &["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"],
            E::ExtensionParameters,
        ),
        faulty(
            "an unknown extension",
            &["Sec-WebSocket-Extensions: x-unknown"],
            E::ExtensionNotRequested,
        ),
        faulty(
            "an extension besides the one that was asked for",
            &["Sec-WebSocket-Extensions: permessage-deflate, x-unknown"],
            E::ExtensionNotRequested,
        ),
        faulty(
            "an extension on a second line",
            &[
                "Sec-WebSocket-Extensions: permessage-deflate",
                "Sec-WebSocket-Extensions: permessage-deflate",
            ],
            E::ExtensionRepeated,
        ),
        faulty(
            "deflate, although not offered",
            &["Sec-WebSocket-Extensions: permessage-deflate"],
            E::ExtensionNotRequested,
        )
        .without_deflate(),
        faulty(
            "a malformed extension",
            &["Sec-WebSocket-Extensions: x; ="],
            E::ExtensionsMalformed,
        ),
        // No HTTP.
        broken("TLS", b"\x15\x03\x01\0\x02\x02\x46", HeadError::NotHttp),
        broken("SSH", "SSH-2.0-OpenSSH_9.6\r\n", HeadError::NotHttp),
        broken("HTTP/2", b"\0\0\x12\x04\0\0\0\0\0", HeadError::NotHttp),
        broken("an empty line", "\r\n", HeadError::NotHttp),
        broken("a frame", b"\x81\x05hello", HeadError::NotHttp),
        broken("no status", "HTTP/1.1 \r\n\r\n", HeadError::FirstLine),
        broken(
            "a status of two digits",
            "HTTP/1.1 10 OK\r\n\r\n",
            HeadError::FirstLine,
        ),
        broken(
            "bare LF",
            accepted(&[]).replace("\r\n", "\n"),
            HeadError::LineEnding,
        ),
        broken(
            "a bare LF in a header",
            accepted(&["X: a\nY: b"]),
            HeadError::LineEnding,
        ),
        broken(
            "a bare CR in a header",
            accepted(&["X: a\rY: b"]),
            HeadError::LineEnding,
        ),
        broken(
            "a folded header",
            accepted(&["X: a\r\n b"]),
            HeadError::Folded,
        ),
        broken("NUL in a value", accepted(&["X: a\0b"]), HeadError::Control),
        broken(
            "a space before the colon",
            accepted(&["X : a"]),
            HeadError::Header,
        ),
        broken(
            "a header of 1 MiB",
            accepted(&[&format!("X: {long}")]),
            HeadError::TooLarge,
        ),
        broken(
            "a status line of 1 MiB",
            format!("HTTP/1.1 101 {long}"),
            HeadError::TooLarge,
        ),
        broken(
            "2,000 headers",
            accepted(&["a: b"; 2000]),
            HeadError::TooManyHeaders,
        ),
        broken(
            "a head without end",
            "HTTP/1.1 101 Switching Protocols\r\n".to_owned() + &"a: b\r\n".repeat(101),
            HeadError::TooManyHeaders,
        ),
        broken("bytes without end", &long, HeadError::NotHttp).pace(Pace::Endless),
        row(
            "1xx without end",
            "HTTP/1.1 100 Continue\r\n\r\n",
            Ends::Fault(E::TooManyInformational, None),
        )
        .pace(Pace::Endless),
        // Ends.
        row(
            "FIN and nothing else",
            "",
            Ends::Io(ErrorKind::UnexpectedEof),
        )
        .pace(Pace::Fin),
        row(
            "half a head, then FIN",
            &accepted(&[])[..40],
            Ends::Io(ErrorKind::UnexpectedEof),
        )
        .pace(Pace::Fin),
        row(
            "1xx, then FIN",
            "HTTP/1.1 100 Continue\r\n\r\n",
            Ends::Io(ErrorKind::UnexpectedEof),
        )
        .pace(Pace::Fin),
        // Refusals, and their bodies.
        status(
            "200 with a length",
            200,
            "Content-Length: 5\r\n\r\nhello, and more",
            "hello",
        ),
        status("401 without a body", 401, "Content-Length: 0\r\n\r\n", ""),
        status("204, which has no body", 204, "\r\nhello", ""),
        status(
            "302 is not followed",
            302,
            "Location: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            "",
        ),
        status(
            "403 to the end of the connection",
            403,
            "\r\nhello",
            "hello",
        )
        .pace(Pace::Fin),
        status(
            "half a body, then FIN",
            403,
            "Content-Length: 9\r\n\r\nhello",
            "hello",
        )
        .pace(Pace::Fin),
        status(
            "chunks",
            403,
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n2;x=y\r\n!\n\r\n0\r\n\r\n",
            "hello!\n",
        ),
        status(
            "chunks, one byte at a time",
            403,
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "hello",
        )
        .pace(Pace::Bytes),
        status(
            "chunks that break",
            403,
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n",
            "hello",
        ),
        status(
            "a body of 1 MiB",
            500,
            format!("Content-Length: 1048576\r\n\r\n{long}"),
            &long[..64 << 10],
        ),
        status(
            "a body of 1 MiB in a chunk",
            500,
            format!("Transfer-Encoding: chunked\r\n\r\n100000\r\n{long}"),
            &long[..64 << 10],
        ),
        status(
            "an extension of a chunk without end",
            500,
            format!("Transfer-Encoding: chunked\r\n\r\n1;{long}"),
            "",
        ),
        status(
            "a size of a chunk that is too large to be one",
            500,
            format!("Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{long}"),
            "",
        ),
        status(
            "a length that is none",
            500,
            format!("Content-Length: -1\r\n\r\n{long}"),
            &long[..64 << 10],
        ),
    ];
    let endless = "a".repeat(1 << 10) + "\r\n";
    let head = "HTTP/1.1 503 Service Unavailable\r\n\r\n".to_owned();
    let body = (head.clone() + &endless).repeat(100);
    let mut row = status("a body without end", 503, "", "");
    row.answer = (head.clone() + &endless).into_bytes();
    row.ends = Ends::Fault(
        E::Status(http::StatusCode::SERVICE_UNAVAILABLE),
        Some(body.as_bytes()[head.len()..][..64 << 10].to_vec()),
    );
    rows.push(row.pace(Pace::Endless));
    rows
}

/// Takes a client, and gives its stream and the accept value that it wants.
pub(super) async fn take(listener: &TcpListener) -> (TcpStream, String) {
    let (mut tcp, _) = listener.accept().await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert!(tcp.read_buf(&mut head).await.unwrap() > 0);
    }
    let head = String::from_utf8(head).unwrap();
    let key = head
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    let accept = Key::parse(key.unwrap().as_bytes()).unwrap().accept();
    (tcp, accept.to_str().unwrap().to_owned())
}

fn connect(addr: SocketAddr, asks: &[&str]) -> hybi::Connect {
    let mut connect = hybi::connect(format!("ws://{addr}"));
    for protocol in asks {
        connect = match *protocol {
            "" => connect.require_protocol(),
            name => connect.protocol(name),
        };
    }
    connect
}

impl Row {
    async fn run(&self) -> Outcome {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = async {
            let (tcp, accept) = take(&listener).await;
            let (mut read, mut write) = tcp.into_split();
            let answer = replace(&self.answer, b"{accept}", accept.as_bytes());
            send(&mut write, &answer, self.pace).await;
            // That the client has gone is seen here.
            listen(&mut read).await;
        };
        let client = async {
            let mut options = Options::new();
            if !self.deflate {
                options = options.deflate(None);
            }
            let result = connect(addr, self.asks).options(options).await;
            self.judge(result.map(drop))
        };
        let (outcome, ()) = guarded(async { tokio::join!(client, server) }).await?;
        outcome
    }

    fn judge(&self, result: hybi::Result<()>) -> Outcome {
        match (&self.ends, result) {
            (Ends::Open, Ok(())) => Ok(()),
            (Ends::Io(kind), Err(Error::Io(error))) => expect("the error", error.kind(), *kind),
            (Ends::Fault(fault, body), Err(Error::Handshake(found))) => {
                let status = match fault {
                    ResponseError::Status(status) => Some(*status),
                    _ => body.as_ref().map(|_| http::StatusCode::SWITCHING_PROTOCOLS),
                };
                expect("the status", found.status(), status)?;
                let HandshakeError::Response { error, response } = *found else {
                    return Err("not an error of the response".into());
                };
                expect("the error", &error, fault)?;
                let found = response.as_ref().map(|response| &response.body()[..]);
                let same = found == body.as_deref();
                let lengths = (found.map(<[u8]>::len), body.as_ref().map(Vec::len));
                expect(
                    &format!("whether the body, {lengths:?}, is right"),
                    same,
                    true,
                )
            }
            (_, other) => Err(format!("ends with {other:?}")),
        }
    }
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    replaced.extend_from_slice(rest);
    replaced
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_of_a_server_gets_its_error() {
    let honest = Victim::serve(|server| server).await;
    let mut failures = Failures::default();
    for row in rows() {
        failures.row(row.name, row.run().await);
        failures.row(&format!("after {}", row.name), honest.serves().await);
    }
    failures.assert_none();
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_before_anything_is_sent() {
    let connect = || hybi::connect("ws://example.com");
    let mut failures = Failures::default();
    for (name, connect) in [
        ("a fragment", hybi::connect("ws://example.com/#x")),
        ("an unknown scheme", hybi::connect("ftp://example.com/")),
        ("no scheme", hybi::connect("example.com:80")),
        ("a Unix socket without a path", hybi::connect("ws+unix:")),
        ("an empty host", hybi::connect("ws:///chat")),
        ("a space", hybi::connect("ws://example.com/a b")),
        ("a line end", hybi::connect("ws://example.com/a\r\nX: y")),
        ("NUL", hybi::connect("ws://example.com/\0")),
        ("a line end in a header", connect().header("X", "a\r\nY: b")),
        ("a line end in a name", connect().header("X\r\nY", "a")),
        ("NUL in a header", connect().header("X", "a\0")),
        (
            "a header of the handshake",
            connect().header("Sec-WebSocket-Key", "x"),
        ),
        ("an announced body", connect().header("Content-Length", "5")),
        (
            "a line end in a subprotocol",
            connect().protocol("a\r\nX: y"),
        ),
        ("a list as a subprotocol", connect().protocol("a, b")),
        ("a subprotocol twice", connect().protocol("a").protocol("a")),
        (
            "a line end in the origin",
            connect().origin("http://x\r\nX: y"),
        ),
        (
            "a colon in the user's name",
            connect().basic_auth("a:b", "c"),
        ),
    ] {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let result = connect.over(ours).await;
        let sent = listen(&mut theirs).await.bytes;
        let fault = match result {
            Err(Error::Url(_)) => Ok(()),
            Err(Error::Handshake(error)) => match *error {
                HandshakeError::Header(_) | HandshakeError::Options(_) => Ok(()),
                other => Err(format!("{other:?}")),
            },
            other => Err(format!("{other:?}")),
        };
        failures.row(
            name,
            fault.and_then(|()| expect("what was sent", sent, Vec::new())),
        );
    }
    failures.assert_none();
}
