//! The opening handshake, server side.

use hybi::{Options, Server};

use super::raw::{ACCEPT, Answer, CLOSE, End, FIN, Head, Heard, Pace, Seen, TEXT};
use super::raw::{close, frame, frames, talk};
use super::{Failures, Outcome, Victim, expect};

/// What is sent to a server, and what comes back.
struct Row {
    name: String,
    sent: Vec<u8>,
    pace: Pace,
    gets: Gets,
}

enum Gets {
    /// 101, and then these frames.
    Opened(Vec<Seen>),
    /// A refusal with this status, this header and this in its body.
    Refused(u16, Option<(&'static str, &'static str)>, &'static str),
    /// No answer.
    Nothing,
}

/// A handshake that is refused.
fn refused(name: &str, status: u16, head: &Head) -> Row {
    Row {
        name: name.into(),
        sent: head.bytes(),
        pace: Pace::Whole,
        gets: Gets::Refused(status, None, ""),
    }
}

/// Bytes that are refused.
fn refused_bytes(name: &str, status: u16, sent: impl AsRef<[u8]>) -> Row {
    Row {
        sent: sent.as_ref().to_vec(),
        ..refused(name, status, &Head::handshake())
    }
}

/// A handshake that is accepted; a close frame follows it in the same segment.
fn opened(name: &str, head: &Head) -> Row {
    let sent = [head.bytes(), close(1000, b"")].concat();
    Row {
        name: name.into(),
        sent,
        pace: Pace::Whole,
        gets: Gets::Opened(vec![Seen::Close(Some(1000))]),
    }
}

impl Row {
    /// The answer has this header.
    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        if let Gets::Refused(_, header, _) = &mut self.gets {
            *header = Some((name, value));
        }
        self
    }

    /// The body says this.
    fn says(mut self, words: &'static str) -> Self {
        if let Gets::Refused(_, _, body) = &mut self.gets {
            *body = words;
        }
        self
    }

    fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    fn then(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.sent.extend_from_slice(bytes.as_ref());
        self
    }

    /// More was sent than a server discards after its answer, so that it may end with a reset.
    fn floods(&self) -> bool {
        self.pace == Pace::Endless
    }

    fn judge(&self, heard: &Heard) -> Outcome {
        if !self.floods() {
            expect("the end", heard.end, End::Eof)?;
        }
        if let Gets::Nothing = self.gets {
            return expect(
                "what came",
                heard.bytes.escape_ascii().to_string(),
                String::new(),
            );
        }
        let answer = Answer::parse(&heard.bytes)?;
        match &self.gets {
            Gets::Opened(seen) => {
                expect("the status", answer.status, 101)?;
                expect(
                    "the accept value",
                    answer.field("sec-websocket-accept"),
                    Some(ACCEPT),
                )?;
                expect(
                    "the extensions",
                    answer.field("sec-websocket-extensions"),
                    None,
                )?;
                expect("what follows", &frames(answer.rest)?, seen)
            }
            Gets::Refused(status, header, words) => {
                expect("the status", answer.status, *status)?;
                if let Some((name, value)) = header {
                    expect(name, answer.field(name), Some(*value))?;
                }
                let connection = answer.field("connection").unwrap_or_default();
                expect("close in Connection", connection.ends_with("close"), true)?;
                let body = String::from_utf8_lossy(answer.rest);
                let length = answer.field("content-length");
                expect("the length", length, Some(body.len().to_string().as_str()))?;
                expect("whether there is a reason", body.trim().is_empty(), false)?;
                if body.contains(words) {
                    Ok(())
                } else {
                    Err(format!("the body does not say {words:?} but {body:?}"))
                }
            }
            Gets::Nothing => Ok(()),
        }
    }
}

/// A head of so many bytes, by one long header.
fn head_of(bytes: usize) -> Head {
    let head = Head::handshake().with("X: ");
    let rest = bytes - head.bytes().len();
    Head::handshake().with(&format!("X: {}", "x".repeat(rest)))
}

fn rows() -> Vec<Row> {
    let good = Head::handshake;
    let mut rows = Vec::new();

    // HEAD, which gets no content, has a test of its own.
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "get", "BREW"] {
        let head = good().line(&format!("{method} /chat HTTP/1.1"));
        let mut row = refused(&format!("method {method}"), 405, &head);
        row = row.header("allow", "GET");
        rows.push(row);
    }
    for line in [
        "GET /chat HTTP/1.0",
        "GET /chat HTTP/0.9",
        "GET /chat HTTP/1.2",
        "GET /chat HTTP/2.0",
        "GET /chat HTTP/2",
        "GET /chat HTTP/11",
        "GET /chat http/1.1",
        "GET /chat",
        "GET /chat HTTP/1.1 ",
        "GET /chat  HTTP/1.1",
        "GET  /chat HTTP/1.1",
        " GET /chat HTTP/1.1",
        "GET /chat\tHTTP/1.1",
        "GET\t/chat HTTP/1.1",
        "GET /chat /more HTTP/1.1",
        "GET HTTP/1.1",
        "GET",
        "G(T /chat HTTP/1.1",
        "GET /ch\u{e4}t HTTP/1.1",
        "GET /ch\0t HTTP/1.1",
        // A target that is neither a path nor an absolute URL.
        "GET chat HTTP/1.1",
        "GET * HTTP/1.1",
        "GET ?a=b HTTP/1.1",
        "GET example.com:80 HTTP/1.1",
        "CONNECT example.com:80 HTTP/1.1",
        "GET /chat#part HTTP/1.1",
        "GET ftp://example.com/chat HTTP/1.1",
        "GET ws:///chat HTTP/1.1",
        "GET ws://user:secret@example.com/chat HTTP/1.1",
    ] {
        rows.push(refused(
            &format!("request line {line:?}"),
            400,
            &good().line(line),
        ));
    }

    for name in ["Host", "Upgrade", "Connection", "Sec-WebSocket-Key"] {
        rows.push(refused(&format!("no {name}"), 400, &good().without(name)));
    }
    for (name, value) in [
        ("Host", ""),
        ("Host", "exa mple.com"),
        ("Host", "example.com/chat"),
        ("Host", "user@example.com"),
        ("Host", "example.com:port"),
        ("Upgrade", ""),
        ("Upgrade", "websockets"),
        ("Upgrade", "\"websocket\""),
        ("Upgrade", "h2c"),
        ("Connection", ""),
        ("Connection", "keep-alive"),
        ("Connection", "upgraded"),
        ("Sec-WebSocket-Key", ""),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=a"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZ==="),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZSBsb25n"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==, x"),
        ("Sec-WebSocket-Key", "_GhlIHNhbXBsZSBub25jZQ=="),
    ] {
        rows.push(refused(
            &format!("{name}: {value:?}"),
            400,
            &good().value(name, value),
        ));
    }
    rows.push(refused(
        "Host twice",
        400,
        &good().with("Host: example.com"),
    ));
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    rows.push(refused("the key twice", 400, &good().with(key)));

    let versions =
        |name: &str, head: &Head| refused(name, 426, head).header("sec-websocket-version", "13, 8");
    for version in [
        "",
        "0",
        "7",
        "12",
        "14",
        "113",
        "013",
        "+13",
        "-13",
        "13.0",
        "13;",
        "13, 13",
        "13, 8",
        "8, 13",
        "0x0d",
        "\u{b9}\u{b3}",
    ] {
        let head = good().value("Sec-WebSocket-Version", version);
        rows.push(versions(&format!("version {version:?}"), &head));
    }
    rows.push(
        versions("no version", &good().without("Sec-WebSocket-Version"))
            .header("upgrade", "websocket"),
    );
    rows.push(versions(
        "the version twice",
        &good().with("Sec-WebSocket-Version: 13"),
    ));
    rows.push(
        versions(
            "no version, what Connection says",
            &good().without("Sec-WebSocket-Version"),
        )
        .header("connection", "upgrade, close"),
    );

    // Legal variants.
    rows.push(opened("a plain handshake", &good()));
    for (name, value) in [
        ("Host", "EXAMPLE.com:9001"),
        ("Host", "[::1]:9001"),
        ("Upgrade", "WebSocket"),
        ("Upgrade", "h2c, websocket"),
        ("Upgrade", "websocket ,\th2c"),
        ("Connection", "upgrade"),
        ("Connection", "keep-alive, Upgrade"),
        ("Connection", ", keep-alive,,\tUPGRADE ,"),
        ("Sec-WebSocket-Version", "\t13  "),
        ("Sec-WebSocket-Version", "8"),
        ("Sec-WebSocket-Key", "   dGhlIHNhbXBsZSBub25jZQ==   "),
    ] {
        rows.push(opened(
            &format!("{name}: {value:?}"),
            &good().value(name, value),
        ));
    }
    for line in [
        "GET / HTTP/1.1",
        "GET /chat?x=http://y&z HTTP/1.1",
        "GET //chat HTTP/1.1",
        "GET http://example.com/chat HTTP/1.1",
        "GET ws://example.com:9001/chat HTTP/1.1",
        "GET WSS://example.com HTTP/1.1",
    ] {
        rows.push(opened(
            &format!("request line {line:?}"),
            &good().line(line),
        ));
    }
    for field in [
        "Content-Length: 0",
        "Connection: keep-alive",
        "X:",
        "X: caf\u{e9}",
        "Origin: http://example.com",
        "Origin: HTTP://EXAMPLE.COM:80",
        "Origin: https://example.com",
        "Sec-WebSocket-Origin: http://example.com",
        "Sec-WebSocket-Protocol: chat, superchat",
        "Sec-WebSocket-Protocol: chat\t, superchat",
        "Sec-WebSocket-Extensions: x-unknown; a=1; b=\"2\"; c, other",
        // Deflate is not there yet, and a bad offer of it is declined like any other.
        "Sec-WebSocket-Extensions: permessage-deflate",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=08",
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=16",
        "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover=1",
    ] {
        rows.push(opened(field, &good().with(field)));
    }
    let tokens = ["Connection: keep-alive", "Connection: upgrade"];
    let head = tokens
        .iter()
        .fold(good().without("Connection"), |head, line| head.with(line));
    rows.push(opened("Connection on two lines", &head));
    let lower = String::from_utf8(good().bytes()).unwrap_or_default();
    let lower = lower.replace("Sec-WebSocket-Key:", "sec-websocket-key:");
    let lower = lower
        .replace("Upgrade:", "UPGRADE:")
        .replace("Host: ", "host:");
    let mut row = opened("names in any case", &good());
    row.sent = [lower.into_bytes(), close(1000, b"")].concat();
    rows.push(row);
    let mut row = opened("an empty line before the request", &good());
    row.sent.splice(..0, *b"\r\n");
    rows.push(row);
    let offers = vec!["x-offer; a=\"b\""; 500].join(", ");
    let head = good().with(&format!("Sec-WebSocket-Extensions: {offers}"));
    rows.push(opened("five hundred offers of extensions", &head));

    // Smuggling.
    for (name, field) in [
        ("a bare LF in a header", "X: a\nY: b"),
        ("a bare CR in a header", "X: a\rY: b"),
        ("a folded header", "X: a\r\n b"),
        ("a header folded by a tab", "X: a\r\n\tb"),
        ("a space before the colon", "X : a"),
        ("a tab before the colon", "X\t: a"),
        ("NUL in a value", "X: a\0b"),
        ("a control byte in a value", "X: a\x01b"),
        ("DEL in a value", "X: a\x7fb"),
        ("a space in a name", "X Y: a"),
        ("a separator in a name", "X(Y): a"),
        ("NUL in a name", "X\0: a"),
        ("a name beyond ASCII", "\u{e4}: a"),
        ("an empty name", ": a"),
        ("no colon", "X"),
    ] {
        rows.push(refused(name, 400, &good().with(field)));
    }
    let bare = String::from_utf8(good().bytes())
        .unwrap_or_default()
        .replace("\r\n", "\n");
    rows.push(refused_bytes("bare LF everywhere", 400, bare));
    for field in [
        "Content-Length: 5",
        "Content-Length: 00",
        "Content-Length: -1",
        "Content-Length: 0, 5",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: ",
    ] {
        rows.push(refused(field, 400, &good().with(field)).then("hello"));
    }
    let head = good().with("Content-Length: 0").with("Content-Length: 5");
    rows.push(refused("two lengths", 400, &head).then("hello"));

    for origin in [
        "http://evil.example",
        "http://example.com:81",
        "https://example.com:80",
        "http://example.com.evil.example",
        "http://example.com@evil.example",
        "http://sub.example.com",
        "null",
        "",
        "example.com",
        "http://",
        "http://example.com/",
    ] {
        let head = good().with(&format!("Origin: {origin}"));
        rows.push(refused(&format!("origin {origin:?}"), 403, &head).says("`origins`"));
    }
    let head = good().with("Sec-WebSocket-Origin: http://evil.example");
    rows.push(refused("another origin in the old header", 403, &head).says("`origins`"));
    let head = good()
        .with("Origin: http://example.com")
        .with("Origin: null");
    rows.push(refused("two origins", 400, &head));

    for value in [
        "a b",
        "a;b",
        "\"a\"",
        "a, (b)",
        "chat, chat",
        "chat,,",
        "",
        "\u{e4}",
        "a=b",
    ] {
        let head = good().with(&format!("Sec-WebSocket-Protocol: {value}"));
        rows.push(refused(&format!("subprotocols {value:?}"), 400, &head));
    }
    let head = ["a", "a"].iter().fold(good(), |head, name| {
        head.with(&format!("Sec-WebSocket-Protocol: {name}"))
    });
    rows.push(refused("a subprotocol on two lines", 400, &head));
    let spaces = format!("Sec-WebSocket-Protocol: a{}b", " ".repeat(15 << 10));
    rows.push(refused(
        "a subprotocol that is mostly spaces",
        400,
        &good().with(&spaces),
    ));
    for value in [
        "a b",
        "a;",
        "a; b=",
        "a; =b",
        "a; b=\"c",
        "a; b=\"\"",
        "; a",
        "a; b=c d",
        "a/b",
    ] {
        let head = good().with(&format!("Sec-WebSocket-Extensions: {value}"));
        rows.push(refused(&format!("extensions {value:?}"), 400, &head));
    }

    // Floods.
    rows.push(opened("a head of exactly 16 KiB", &head_of(16 << 10)));
    rows.push(refused(
        "a head of one byte more",
        431,
        &head_of((16 << 10) + 1),
    ));
    let fields = |n| (0..n).fold(good(), |head, _| head.with("a: b"));
    rows.push(opened("a hundred headers", &fields(95)));
    rows.push(refused("a hundred and one headers", 431, &fields(96)));
    rows.push(refused("2,000 headers", 431, &fields(2000)));
    let many = "GET / HTTP/1.1\r\nHost: example.com\r\n".to_owned() + &"a: b\r\n".repeat(2000);
    rows.push(refused_bytes("2,000 headers and no end", 431, many));
    rows.push(refused("a header of 1 MiB", 431, &head_of(1 << 20)));
    let long = "x".repeat(1 << 20);
    let line = format!("GET /{long} HTTP/1.1");
    rows.push(refused("a target of 1 MiB", 414, &good().line(&line)));
    rows.push(refused(
        "a target of 64 KiB",
        414,
        &good().line(&line[..64 << 10]),
    ));
    rows.push(refused("a method of 1 MiB", 414, &good().line(&long)));
    let name = format!("{long}: a");
    rows.push(refused("a name of 1 MiB", 431, &good().with(&name)));
    let mut row = refused_bytes("a head without end", 431, "GET / HTTP/1.1\r\nX: ");
    row.sent.extend_from_slice(long.as_bytes());
    rows.push(row.pace(Pace::Endless));

    // The wrong protocol.
    rows.push(refused_bytes(
        "TLS",
        400,
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\0\0\0\0",
    ));
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    rows.push(refused_bytes("HTTP/2", 400, preface));
    rows.push(refused_bytes("SSH", 400, "SSH-2.0-OpenSSH_9.6\r\n"));
    rows.push(refused_bytes("zeros", 400, [0; 1000]));
    rows.push(refused_bytes("ones", 400, [0xff; 1000]));
    rows.push(refused_bytes("two empty lines", 400, "\r\n\r\n"));
    rows.push(refused_bytes(
        "frames and no handshake",
        400,
        frame(FIN | TEXT, "hello"),
    ));

    // Plain requests.
    for line in ["GET / HTTP/1.1", "GET / HTTP/1.0", "POST / HTTP/1.1"] {
        let head = Head::of(line, &["Host: example.com"]);
        let row = refused(&format!("plain {line}"), 426, &head).says("WebSocket");
        rows.push(row.header("upgrade", "websocket"));
    }

    // What comes with the request, and how.
    let hello = || [frame(FIN | TEXT, "hello"), close(1001, b"bye")].concat();
    let echo = || Gets::Opened(vec![Seen::Text("hello".into()), Seen::Close(Some(1001))]);
    for (name, pace) in [
        ("frames in the same segment", Pace::Whole),
        ("one byte at a time", Pace::Bytes),
        ("frames, then FIN", Pace::Fin),
    ] {
        rows.push(Row {
            name: name.into(),
            sent: [good().bytes(), hello()].concat(),
            pace,
            gets: echo(),
        });
    }
    let more = vec![frame(FIN | TEXT, "x".repeat(100)); 1000].concat();
    rows.push(
        refused(
            "a refused upgrade with frames behind it",
            400,
            &good().without("Host"),
        )
        .then(&more),
    );
    rows.push(
        versions(
            "a refused version with frames behind it",
            &good().without("Sec-WebSocket-Version"),
        )
        .then(&more),
    );
    rows.push(
        refused("refused, one byte at a time", 400, &good().without("Host")).pace(Pace::Bytes),
    );
    let mut again = refused(
        "a refused upgrade and another behind it",
        400,
        &good().without("Host"),
    );
    again.sent.extend(good().bytes());
    rows.push(again);

    // Ends.
    for (name, sent) in [
        ("FIN and nothing else", Vec::new()),
        ("half a request line, then FIN", b"GET /ch".to_vec()),
        ("half a request, then FIN", good().bytes()[..40].to_vec()),
        ("a request without its last byte, then FIN", {
            let mut sent = good().bytes();
            sent.pop();
            sent
        }),
    ] {
        rows.push(Row {
            name: name.into(),
            sent,
            pace: Pace::Fin,
            gets: Gets::Nothing,
        });
    }
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_opening_handshake_gets_its_answer() {
    let mut failures = Failures::default();
    for (kind, victim) in Victim::both(Options::new()).await {
        for row in rows() {
            let outcome = match talk(victim.addr, &row.sent, row.pace).await {
                Ok(heard) => row.judge(&heard),
                Err(why) => Err(why),
            };
            failures.row(&format!("{kind}, {}", row.name), outcome);
            failures.row(
                &format!("{kind}, after {}", row.name),
                victim.serves().await,
            );
        }
    }
    failures.assert_none();
}

#[tokio::test]
async fn plain_requests_go_to_the_fallback_and_handshakes_do_not() {
    let fallback = |server: Server| {
        server.fallback(|request| http::Response::new(format!("plain {}", request.uri())))
    };
    let plain = |line| Head::of(line, &["Host: example.com"]);
    let mut failures = Failures::default();
    for (kind, victim) in [
        ("serve", Victim::serve(fallback).await),
        ("accept", Victim::accept(fallback).await),
    ] {
        for (name, head, status, body) in [
            ("GET", plain("GET /health HTTP/1.1"), 200, "plain /health"),
            (
                "HTTP/1.0",
                plain("GET /health HTTP/1.0"),
                200,
                "plain /health",
            ),
            ("HEAD", plain("HEAD /health HTTP/1.1"), 200, ""),
            (
                "a broken handshake",
                Head::handshake().without("Host"),
                400,
                "exactly one valid Host header is needed\n",
            ),
            (
                "a broken request",
                plain("GET health HTTP/1.1"),
                400,
                "the request target must be a path or an http, https, ws or wss URL\n",
            ),
        ] {
            let outcome = match talk(victim.addr, &head.bytes(), Pace::Whole).await {
                Ok(heard) => Answer::parse(&heard.bytes).and_then(|answer| {
                    let found = String::from_utf8_lossy(answer.rest);
                    expect("the end", heard.end, End::Eof)?;
                    expect("the answer", (answer.status, &*found), (status, body))
                }),
                Err(why) => Err(why),
            };
            failures.row(&format!("{kind}, {name}"), outcome);
        }
        failures.row(kind, victim.serves().await);
    }
    failures.assert_none();
}

#[tokio::test]
async fn the_connection_above_the_limit_gets_503_until_another_leaves() {
    let victim = Victim::serve(|server| server.max_connections(1)).await;
    let mut ws = hybi::connect(format!("ws://{}", victim.addr))
        .await
        .unwrap();
    ws.send("in").await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some("in".into()));

    // Frames behind the handshake do not keep the answer from arriving.
    let sent = [
        Head::handshake().bytes(),
        frame(FIN | TEXT, "x".repeat(50_000)),
    ]
    .concat();
    let heard = talk(victim.addr, &sent, Pace::Whole).await.unwrap();
    let answer = Answer::parse(&heard.bytes).unwrap();
    assert_eq!((answer.status, heard.end), (503, End::Eof));

    ws.close(hybi::CloseCode::NORMAL, "").await.unwrap();
    while victim.serves().await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_rejection_arrives_although_frames_came_behind_the_request() {
    let mut server = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Some(incoming) = server.accept().await {
            let _ = incoming
                .reject(http::StatusCode::FORBIDDEN)
                .body("no")
                .await;
        }
    });
    let frames = frame(FIN | CLOSE, "").repeat(1000);
    let sent = [Head::handshake().bytes(), frames].concat();
    for _ in 0..10 {
        let heard = talk(addr, &sent, Pace::Whole).await.unwrap();
        let answer = Answer::parse(&heard.bytes).unwrap();
        assert_eq!(
            (answer.status, answer.rest, heard.end),
            (403, &b"no"[..], End::Eof)
        );
    }
    task.abort();
}
