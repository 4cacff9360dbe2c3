//! Requests and answers as bytes in, verdicts out.

use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use hybi_proto::handshake::client::{self, Agreed, Answer, MAX_INFORMATIONAL};
use hybi_proto::handshake::grammar::{self, Malformed};
use hybi_proto::handshake::head::{self, Limits, Scan};
use hybi_proto::handshake::server::{self, Origins, Via};
use hybi_proto::handshake::{
    Credentials, Extension, HeadError, Key, OptionsError, RequestError, ResponseError, Target,
    UrlError, Version,
};
use proptest::prelude::*;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The request of RFC 6455 §1.3, as an own server would see it.
const RFC_REQUEST: &str = "GET /chat HTTP/1.1\r\n\
    Host: server.example.com\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Origin: http://example.com\r\n\
    Sec-WebSocket-Protocol: chat, superchat\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

/// The answer of RFC 6455 §1.3, save the subprotocol in the order of our writer.
const RFC_RESPONSE: &str = "HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
    Sec-WebSocket-Protocol: chat\r\n\r\n";

/// A request that is fine but for these changes: a line that begins with the first is replaced by
/// the second, which may be several lines or none; a line that is nowhere is added.
fn changed(head: &str, changes: &[(&str, &str)]) -> String {
    let mut lines: Vec<String> = head.trim_end().split("\r\n").map(str::to_owned).collect();
    for (start, new) in changes {
        match lines.iter_mut().find(|line| line.starts_with(start)) {
            Some(line) if !start.is_empty() => *line = (*new).to_owned(),
            _ => lines.push((*new).to_owned()),
        }
    }
    lines.retain(|line| !line.is_empty());
    lines.join("\r\n") + "\r\n\r\n"
}

const PLAIN: &str = "GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

fn judge_with(bytes: &[u8], options: &server::Options) -> Result<server::Accepted, RequestError> {
    let Some(length) = Scan::request(Limits::default()).scan(bytes)? else {
        panic!("the head has no end: {:?}", String::from_utf8_lossy(bytes));
    };
    let request = head::parse_request(&bytes[..length])?;
    server::accept(&request, options, Via::Http1)
}

fn judge(bytes: &[u8]) -> Result<server::Accepted, RequestError> {
    judge_with(bytes, &server::Options::new())
}

fn status(bytes: &[u8]) -> u16 {
    judge(bytes).map_or_else(|error| error.status().as_u16(), |_| 101)
}

fn written(response: &Response<String>) -> String {
    let mut out = Vec::new();
    head::write_response(response, &mut out);
    String::from_utf8(out).expect("ASCII")
}

#[test]
fn the_key_of_the_rfc_is_answered_as_in_the_rfc() {
    let key = Key::parse(KEY.as_bytes()).unwrap();
    assert_eq!(key.accept(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(Key::from_nonce(*b"the sample nonce"), key);
    assert_eq!(key.as_str(), KEY);
    assert_eq!(format!("{key:?}"), format!("Key({KEY:?})"));
}

#[test]
fn a_key_is_the_base64_of_16_bytes_and_nothing_else() {
    // RFC 6455 §4.1 gives the first as the key of the bytes 1 to 16.
    for good in [
        "AQIDBAUGBwgJCgsMDQ4PEC==",
        "AQIDBAUGBwgJCgsMDQ4PEA==",
        "++//AAAAAAAAAAAAAAAAAA==",
    ] {
        assert_eq!(Key::parse(good.as_bytes()).unwrap().as_str(), good);
    }
    for bad in [
        "",
        "==",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZQA=",
        "dGhlIHNhbXBsZSBub25jZQAA",
        "dGhlIHNhbXBsZSBub25jZ===",
        "dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ==",
        "dGhlIHNhbXBsZSBub25j_-==",
        "dGhlIHNhbXBsZSBub25j Q==",
        "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
    ] {
        assert_eq!(Key::parse(bad.as_bytes()), None, "{bad:?}");
    }
}

#[test]
fn the_handshake_of_the_rfc_is_answered_byte_for_byte() {
    let options = server::Options::new()
        .protocols(["superchat2", "chat"])
        .origins(Origins::List(vec!["http://example.com".into()]));
    let accepted = judge_with(RFC_REQUEST.as_bytes(), &options).unwrap();
    assert_eq!(accepted.version(), Version::V13);
    assert_eq!(accepted.offered(), ["chat", "superchat"]);
    assert_eq!(accepted.protocol(), Some("chat"));
    let mut out = Vec::new();
    head::write_response(&accepted.response().map(|()| ""), &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), RFC_RESPONSE);
}

#[test]
fn the_client_writes_the_handshake_of_the_rfc_byte_for_byte() {
    let target = Target::parse("ws://server.example.com/chat").unwrap();
    let options = client::Options::new()
        .protocol("chat")
        .protocol("superchat")
        .origin("http://example.com");
    let key = Key::from_nonce(*b"the sample nonce");
    let mut out = Vec::new();
    head::write_request(
        &client::request(&target, Some(&key), &options).unwrap(),
        &mut out,
    );
    assert_eq!(String::from_utf8(out).unwrap(), RFC_REQUEST);

    let mut answer = Answer::new(Limits::default());
    let bytes = [RFC_RESPONSE.as_bytes(), b"\x81\x00"].concat();
    let (response, end) = answer.read(&bytes).unwrap().unwrap();
    assert_eq!(&bytes[end..], b"\x81\x00");
    let agreed = client::verify(Some(&key), &options, &response).unwrap();
    assert_eq!(agreed.protocol.as_deref(), Some("chat"));
}

#[test]
fn every_fault_of_a_request_has_its_status() {
    #[rustfmt::skip]
    let table: &[(u16, &[(&str, &str)])] = &[
        (101, &[]),
        // Methods, versions, request lines, targets.
        (405, &[("GET", "POST /chat HTTP/1.1")]),
        (405, &[("GET", "get /chat HTTP/1.1")]),
        (405, &[("GET", "HEAD /chat HTTP/1.1")]),
        (405, &[("GET", "POST /chat HTTP/1.0")]),
        (400, &[("GET", "GET /chat HTTP/1.0")]),
        (400, &[("GET", "GET /chat HTTP/0.9")]),
        (400, &[("GET", "GET /chat HTTP/1.2")]),
        (400, &[("GET", "GET /chat HTTP/2.0")]),
        (400, &[("GET", "GET /chat HTTP/11")]),
        (400, &[("GET", "GET /chat http/1.1")]),
        (400, &[("GET", "GET /chat")]),
        (400, &[("GET", "GET /chat ")]),
        (400, &[("GET", "GET")]),
        (400, &[("GET", "GET HTTP/1.1")]),
        (400, &[("GET", "GET  HTTP/1.1")]),
        (400, &[("GET", "GET  /chat HTTP/1.1")]),
        (400, &[("GET", "GET /chat  HTTP/1.1")]),
        (400, &[("GET", "GET /chat HTTP/1.1 ")]),
        (400, &[("GET", "GET /ch at HTTP/1.1")]),
        (400, &[("GET", " GET /chat HTTP/1.1")]),
        (400, &[("GET", "GET\t/chat HTTP/1.1")]),
        (400, &[("GET", "GET chat HTTP/1.1")]),
        (400, &[("GET", "GET example.com/chat HTTP/1.1")]),
        (400, &[("GET", "GET * HTTP/1.1")]),
        (400, &[("GET", "GET ?a HTTP/1.1")]),
        (400, &[("GET", "GET /chat#a HTTP/1.1")]),
        (400, &[("GET", "GET /ch\u{e9}t HTTP/1.1")]),
        (400, &[("GET", "GET /chat\0 HTTP/1.1")]),
        (400, &[("GET", "GET ftp://example.com/ HTTP/1.1")]),
        (400, &[("GET", "GET http:///chat HTTP/1.1")]),
        (400, &[("GET", "GET http://a@example.com/ HTTP/1.1")]),
        (400, &[("GET", "CONNECT example.com:80 HTTP/1.1")]),
        (101, &[("GET", "GET // HTTP/1.1")]),
        (101, &[("GET", "GET /?a=%20&b HTTP/1.1")]),
        (101, &[("GET", "GET http://example.com/chat HTTP/1.1")]),
        (101, &[("GET", "GET WSS://example.com HTTP/1.1")]),
        // Host.
        (400, &[("Host", "")]),
        (400, &[("Host", "Host:")]),
        (400, &[("Host", "Host: a\r\nHost: a")]),
        (400, &[("Host", "Host: a, b")]),
        (400, &[("Host", "Host: a/b")]),
        (400, &[("Host", "Host: u@a")]),
        (400, &[("Host", "Host: a:b")]),
        (400, &[("Host", "Host: a:65536")]),
        (400, &[("Host", "Host: a:+80")]),
        (400, &[("Host", "Host: a:-0")]),
        (400, &[("Host", "Host: [::1")]),
        (400, &[("Host", "Host: [a]")]),
        (400, &[("Host", "Host: [::1]a")]),
        (400, &[("Host", "Host: ::1")]),
        (101, &[("Host", "Host: [::1]:80")]),
        (101, &[("Host", "HOST:a:")]),
        // Upgrade and Connection.
        (400, &[("Upgrade", "")]),
        (400, &[("Upgrade", "Upgrade: h2c")]),
        (400, &[("Upgrade", "Upgrade: websockets")]),
        (400, &[("Upgrade", "Upgrade: websocket/13")]),
        (101, &[("Upgrade", "upgrade: WebSocket")]),
        (101, &[("Upgrade", "Upgrade: h2c,\t WEBSOCKET \t, ,")]),
        (101, &[("Upgrade", "Upgrade: h2c\r\nUpgrade: websocket")]),
        (400, &[("Connection", "")]),
        (400, &[("Connection", "Connection: keep-alive")]),
        (400, &[("Connection", "Connection: upgrades")]),
        (101, &[("Connection", "Connection: keep-alive, UPGRADE")]),
        (101, &[("Connection", "Connection:,,upgrade,,")]),
        (101, &[("Connection", "Connection: keep-alive\r\nConnection: upgrade")]),
        // The key.
        (400, &[("Sec-WebSocket-Key", "")]),
        (400, &[("Sec-WebSocket-Key", "Sec-WebSocket-Key:")]),
        (400, &[("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j")]),
        (400, &[("", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")]),
        (101, &[("Sec-WebSocket-Key", "sec-websocket-key:  dGhlIHNhbXBsZSBub25jZQ== \t ")]),
        // The version.
        (426, &[("Sec-WebSocket-Version", "")]),
        (426, &[("Sec-WebSocket-Version", "Sec-WebSocket-Version:")]),
        (426, &[("Sec-WebSocket-Version", "Sec-WebSocket-Version: 12")]),
        (426, &[("Sec-WebSocket-Version", "Sec-WebSocket-Version: 7")]),
        (426, &[("Sec-WebSocket-Version", "Sec-WebSocket-Version: 013")]),
        (426, &[("Sec-WebSocket-Version", "Sec-WebSocket-Version: 13, 8")]),
        (426, &[("Sec-WebSocket-Version", "Sec-WebSocket-Version: 13, 13")]),
        (426, &[("", "Sec-WebSocket-Version: 13")]),
        (101, &[("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8")]),
        // A body.
        (400, &[("", "Content-Length: 1")]),
        (400, &[("", "Content-Length: 0, 5")]),
        (400, &[("", "Content-Length: 0\r\nContent-Length: 5")]),
        (400, &[("", "Transfer-Encoding: chunked")]),
        (400, &[("", "Transfer-Encoding: identity")]),
        (400, &[("", "Transfer-Encoding:")]),
        (101, &[("", "Content-Length: 0")]),
        // Lines.
        (400, &[("", "X: a\nY: b")]),
        (400, &[("", "X: a\rY: b")]),
        (400, &[("", "X: a\r")]),
        (400, &[("", "X: a\r\n b")]),
        (400, &[("", "X: a\r\n\tb")]),
        (400, &[("GET", "GET /chat HTTP/1.1\r\n X: a")]),
        (400, &[("", "X : a")]),
        (400, &[("", "X\t: a")]),
        (400, &[("", "X")]),
        (400, &[("", ": a")]),
        (400, &[("", "X(Y): a")]),
        (400, &[("", "X\u{e9}: a")]),
        (400, &[("", "X: a\0")]),
        (400, &[("", "X: \u{1b}[2J")]),
        (400, &[("", "X: \u{7f}")]),
        (101, &[("", "X:a\tb \u{e9}")]),
        (101, &[("", "X:")]),
        // Subprotocols.
        (400, &[("", "Sec-WebSocket-Protocol:")]),
        (400, &[("", "Sec-WebSocket-Protocol: a b")]),
        (400, &[("", "Sec-WebSocket-Protocol: a,,b")]),
        (400, &[("", "Sec-WebSocket-Protocol: a,")]),
        (400, &[("", "Sec-WebSocket-Protocol: ,a")]),
        (400, &[("", "Sec-WebSocket-Protocol: a, b, a")]),
        (400, &[("", "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: a")]),
        (400, &[("", "Sec-WebSocket-Protocol: \"a\"")]),
        (400, &[("", "Sec-WebSocket-Protocol: \u{e9}")]),
        (101, &[("", "Sec-WebSocket-Protocol: a, A\r\nSec-WebSocket-Protocol: b\t,c")]),
        // Extensions.
        (400, &[("", "Sec-WebSocket-Extensions: ;")]),
        (400, &[("", "Sec-WebSocket-Extensions: a; b=\"c")]),
        (101, &[("", "Sec-WebSocket-Extensions: x-unknown; a=1; a; b=\"c\", x-unknown")]),
        (101, &[("", "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99")]),
        // Origins.
        (101, &[("", "Origin: http://example.com")]),
        (403, &[("", "Origin: http://example.org")]),
        (403, &[("", "Origin: null")]),
        (400, &[("", "Origin: http://example.com\r\nOrigin: http://example.com")]),
    ];
    for (expected, changes) in table {
        let request = changed(PLAIN, changes);
        assert_eq!(status(request.as_bytes()), *expected, "{request:?}");
    }
}

#[test]
fn what_is_checked_first_is_answered_first() {
    #[rustfmt::skip]
    let order = [
        ("GET", "POST /chat HTTP/1.0", RequestError::Method),
        ("GET", "GET /chat HTTP/1.0", RequestError::HttpVersion),
        ("Host", "", RequestError::Host),
        ("Upgrade", "", RequestError::Upgrade),
        ("Connection", "", RequestError::Connection),
        ("", "Content-Length: 1", RequestError::Body),
        ("Sec-WebSocket-Key", "", RequestError::Key),
        ("Sec-WebSocket-Version", "", RequestError::Version),
        ("", "Sec-WebSocket-Protocol: ,", RequestError::Protocols),
        ("", "Sec-WebSocket-Extensions: ,", RequestError::Extensions),
        ("", "Origin: null", RequestError::Origin),
    ];
    for (at, (_, _, expected)) in order.iter().enumerate() {
        // The first two are faults of one line.
        let rest = if at == 0 {
            &order[2..]
        } else {
            &order[at + 1..]
        };
        let faults: Vec<_> = order[at..=at]
            .iter()
            .chain(rest)
            .map(|f| (f.0, f.1))
            .collect();
        let request = changed(PLAIN, &faults);
        assert_eq!(judge(request.as_bytes()), Err(*expected), "{request:?}");
    }
}

#[test]
fn noise_is_refused_before_it_is_a_head() {
    for noise in [
        &b"\x16"[..],
        b"\x00",
        b"\x80",
        b" ",
        b"\r\n\r\n",
        b"\n",
        b"\rG",
        b"SSH-2.0-OpenSSH\r\n",
        b"{",
        b"PRI * HTTP/2.0\r\n",
        b"GET / HTTP/2\r\n",
        b"GET /\r\n",
        b"GET /\x00",
        b"GET /\x7f",
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.1\r\nA: b\x01",
        b"GET / HTTP/1.1\r\nA: b\n",
        b"GET / HTTP/1.1\r\nA: b\rc",
        b"GET / HTTP/1.1\r\n ",
    ] {
        let error = Scan::request(Limits::default()).scan(noise).unwrap_err();
        assert_eq!(error.status(), 400, "{noise:?}");
        let all_but_one = &noise[..noise.len() - 1];
        assert_eq!(
            Scan::request(Limits::default()).scan(all_but_one),
            Ok(None),
            "{noise:?}"
        );
    }
    for noise in [
        &b"\x15\x03"[..1],
        b"SSH-",
        b"ICY",
        b"HTTP/2",
        b"\r\n",
        b"HTTP/1.1 200 OK\n",
    ] {
        assert!(
            Scan::response(Limits::default()).scan(noise).is_err(),
            "{noise:?}"
        );
    }
}

#[test]
fn one_empty_line_before_the_request_is_ignored_and_counted() {
    let request = format!("\r\n{PLAIN}rest");
    let length = Scan::request(Limits::default()).scan(request.as_bytes());
    assert_eq!(length, Ok(Some(2 + PLAIN.len())));
    assert_eq!(status(request.as_bytes()), 101);
    assert_eq!(
        Scan::request(Limits::default()).scan(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
        Err(HeadError::NotHttp)
    );
}

#[test]
fn a_head_may_be_as_large_as_the_limit_and_no_larger() {
    let limits = Limits {
        bytes: 64,
        headers: 2,
    };
    let head = |length: usize| {
        let start = "GET / HTTP/1.1\r\nA: ";
        format!("{start}{}\r\n\r\n", "a".repeat(length - start.len() - 4)).into_bytes()
    };
    assert_eq!(Scan::request(limits).scan(&head(64)), Ok(Some(64)));
    assert_eq!(
        Scan::request(limits).scan(&head(65)),
        Err(HeadError::TooLarge)
    );
    // The verdict waits for the byte that breaks the limit, and for no more.
    assert_eq!(Scan::request(limits).scan(&head(80)[..64]), Ok(None));
    assert_eq!(
        Scan::request(limits).scan(&head(80)[..65]),
        Err(HeadError::TooLarge)
    );

    let two = b"GET / HTTP/1.1\r\nA: b\r\nA: b\r\n\r\n";
    assert_eq!(Scan::request(limits).scan(two), Ok(Some(two.len())));
    let three = b"GET / HTTP/1.1\r\nA: b\r\nA: b\r\nA: b\r\n";
    assert_eq!(
        Scan::request(limits).scan(three),
        Err(HeadError::TooManyHeaders)
    );
    assert_eq!(HeadError::TooManyHeaders.status(), 431);
    assert_eq!(HeadError::TooLarge.status(), 431);
}

#[test]
fn a_flood_is_cut_off_at_the_limit() {
    let target = format!("GET /{}", "a".repeat(1 << 20));
    assert_eq!(
        judge(target.as_bytes()),
        Err(HeadError::TargetTooLong.into())
    );
    assert_eq!(status(target.as_bytes()), 414);
    let method = "A".repeat(1 << 20);
    assert_eq!(status(method.as_bytes()), 414);
    let header = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(1 << 20));
    assert_eq!(status(header.as_bytes()), 431);
    let headers = format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(2000));
    assert_eq!(
        judge(headers.as_bytes()),
        Err(HeadError::TooManyHeaders.into())
    );
    let answer = format!("HTTP/1.1 101 {}", "a".repeat(1 << 20));
    assert_eq!(
        Scan::response(Limits::default()).scan(answer.as_bytes()),
        Err(HeadError::TooLarge)
    );
}

#[test]
fn a_target_that_the_uri_cannot_hold_is_too_long_and_no_panic() {
    let limits = Limits {
        bytes: 1 << 20,
        headers: 1 << 20,
    };
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(70_000));
    assert_eq!(
        Scan::request(limits).scan(long.as_bytes()),
        Ok(Some(long.len()))
    );
    assert_eq!(
        head::parse_request(long.as_bytes()).unwrap_err(),
        HeadError::TargetTooLong
    );
    let many: String = (0..40_000).map(|i| format!("a{i}: b\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\n{many}\r\n");
    assert_eq!(
        head::parse_request(many.as_bytes()).unwrap_err(),
        HeadError::TooManyHeaders
    );
}

#[test]
fn a_scan_does_not_look_twice_at_what_it_has_seen() {
    let head = PLAIN.as_bytes();
    let mut scan = Scan::request(Limits::default());
    assert_eq!(scan.scan(&head[..100]), Ok(None));
    // Were these bytes read again, they would be refused.
    let mut poisoned = head.to_vec();
    poisoned[..90].fill(0);
    assert_eq!(scan.scan(&poisoned), Ok(Some(head.len())));
}

#[test]
fn only_one_whole_head_is_parsed() {
    for bytes in [
        "",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n",
        "GET / HTTP/1.1\r\n\r\nmore",
        "GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(
            head::parse_request(bytes.as_bytes()).unwrap_err(),
            HeadError::Incomplete
        );
    }
    assert_eq!(
        head::parse_request(b"GET / HTTP/1.1\n\n").unwrap_err(),
        HeadError::LineEnding
    );
}

#[test]
fn a_health_check_in_http_1_0_parses_and_is_no_handshake() {
    let request = head::parse_request(b"GET /health HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(request.version(), http::Version::HTTP_10);
    assert!(!server::is_handshake(&request));
}

#[test]
fn one_trace_of_a_handshake_makes_it_one() {
    for (line, expected) in [
        ("Upgrade: h2c, WebSocket", true),
        ("Sec-WebSocket-Key: x", true),
        ("Sec-WebSocket-Version: x", true),
        ("Upgrade: h2c", false),
        ("Connection: upgrade", false),
        ("Sec-WebSocket-Protocol: a", false),
    ] {
        let head = format!("GET / HTTP/1.1\r\n{line}\r\n\r\n");
        let request = head::parse_request(head.as_bytes()).unwrap();
        assert_eq!(server::is_handshake(&request), expected, "{line}");
    }
}

#[test]
fn an_origin_is_the_host_that_was_asked() {
    #[rustfmt::skip]
    let table = [
        ("Host: example.com", "http://example.com", true),
        ("Host: example.com", "https://example.com", true),
        ("Host: example.com", "https://EXAMPLE.com:443", true),
        ("Host: Example.com:443", "https://example.com", true),
        ("Host: example.com:80", "http://example.com", true),
        ("Host: example.com:443", "http://example.com", false),
        ("Host: example.com:8080", "http://example.com:8080", true),
        ("Host: example.com:8080", "http://example.com", false),
        ("Host: example.com", "http://example.com:8080", false),
        ("Host: example.com", "http://example.com.evil.org", false),
        ("Host: example.com", "http://evil.org/example.com", false),
        ("Host: example.com", "http://example.com/", false),
        ("Host: example.com", "http://user@example.com", false),
        ("Host: example.com", "http://sub.example.com", false),
        ("Host: example.com", "example.com", false),
        ("Host: example.com", "null", false),
        ("Host: example.com", "", false),
        ("Host: null", "null", false),
        ("Host: example.com", "\u{e9}", false),
        ("Host: [::1]:8080", "http://[::1]:8080", true),
        ("Host: [::1]", "http://[::2]", false),
        ("Host: abc", "chrome-extension://abc", true),
    ];
    for (host, origin, allowed) in table {
        for header in ["Origin", "Sec-WebSocket-Origin"] {
            let line = format!("{header}: {origin}");
            let request = changed(PLAIN, &[("Host", host), ("", &line)]);
            let expected = if allowed { 101 } else { 403 };
            assert_eq!(status(request.as_bytes()), expected, "{request}");
            let any = server::Options::new().origins(Origins::Any);
            assert!(judge_with(request.as_bytes(), &any).is_ok());
        }
    }
}

#[test]
fn the_authority_of_an_absolute_target_outranks_the_host_header() {
    let absolute = |origin| {
        changed(
            PLAIN,
            &[("GET", "GET http://a.example/chat HTTP/1.1"), ("", origin)],
        )
    };
    assert_eq!(status(absolute("Origin: http://a.example").as_bytes()), 101);
    assert_eq!(
        status(absolute("Origin: http://example.com").as_bytes()),
        403
    );
}

#[test]
fn each_version_prefers_its_own_origin_header() {
    let both = "Origin: http://example.com\r\nSec-WebSocket-Origin: http://evil.org";
    assert_eq!(status(changed(PLAIN, &[("", both)]).as_bytes()), 101);
    let eight = ("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8");
    let request = changed(PLAIN, &[eight, ("", both)]);
    assert_eq!(status(request.as_bytes()), 403);
    let request = changed(PLAIN, &[eight]);
    assert_eq!(judge(request.as_bytes()).unwrap().version(), Version::V8);
    let twice = "Sec-WebSocket-Origin: http://example.com\r\nSec-WebSocket-Origin: x";
    assert_eq!(
        judge(changed(PLAIN, &[("", twice)]).as_bytes()),
        Err(RequestError::Origins)
    );
}

#[test]
fn a_list_of_origins_admits_those_and_no_others() {
    let list = ["https://app.example", "http://localhost:3000", "null"].map(String::from);
    let options = server::Options::new().origins(Origins::List(list.to_vec()));
    for (origin, allowed) in [
        ("https://app.example", true),
        ("https://APP.example:443", true),
        ("http://app.example", false),
        ("https://app.example:8443", false),
        ("http://localhost:3000", true),
        ("http://localhost", false),
        ("null", true),
        ("http://example.com", false),
    ] {
        let request = changed(PLAIN, &[("", &format!("Origin: {origin}"))]);
        assert_eq!(
            judge_with(request.as_bytes(), &options).is_ok(),
            allowed,
            "{origin}"
        );
    }
    assert!(judge_with(PLAIN.as_bytes(), &options).is_ok());
}

#[test]
fn the_server_chooses_what_it_likes_best_of_what_is_offered() {
    let request = changed(PLAIN, &[("", "Sec-WebSocket-Protocol: v1, v2, v3")]);
    let judge = |names: &[&str]| {
        let options = server::Options::new().protocols(names.iter().copied());
        judge_with(request.as_bytes(), &options).unwrap()
    };
    assert_eq!(judge(&["v9", "v2", "v1"]).protocol(), Some("v2"));
    assert_eq!(judge(&["V1"]).protocol(), None);
    let mut accepted = judge(&[]);
    assert_eq!(accepted.protocol(), None);
    assert!(
        !accepted
            .response()
            .headers()
            .contains_key("sec-websocket-protocol")
    );
    assert!(accepted.choose(Some("v3")));
    assert!(!accepted.choose(Some("v4\r\nX: y")));
    assert_eq!(accepted.protocol(), Some("v3"));
    assert_eq!(
        accepted.response().headers()["sec-websocket-protocol"],
        "v3"
    );
    assert!(accepted.choose(None));
    assert_eq!(accepted.protocol(), None);
}

/// The rows of the table in the docs of a type: fault, status and further headers.
fn documented(name: &str) -> Vec<[&'static str; 3]> {
    let source = include_str!("../../src/handshake/error.rs");
    let end = source.find(&format!("pub enum {name} {{")).unwrap();
    let docs = source[..end].rsplit("\n\n").next().unwrap();
    let rows = docs.lines().filter_map(|line| line.strip_prefix("/// | ["));
    rows.map(|row| {
        let mut cells = row.split(" | ").chain(["", ""]);
        [(); 3].map(|()| cells.next().unwrap().trim_end_matches([' ', '|']))
    })
    .collect()
}

#[test]
fn every_refusal_is_answered_as_its_table_says() {
    use RequestError as E;
    let faults = [
        E::Method,
        E::HttpVersion,
        E::Host,
        E::Upgrade,
        E::Connection,
        E::Body,
        E::Key,
        E::Version,
        E::Protocols,
        E::Extensions,
        E::Origins,
        E::Origin,
        E::Path,
        E::Crowded,
        E::Full,
        E::Closing,
    ];
    let rows = documented("RequestError");
    assert_eq!(rows.len(), faults.len() + 1);
    assert!(rows[0][0].starts_with("`Head`"));
    for (fault, [name, status, headers]) in faults.into_iter().zip(&rows[1..]) {
        assert_eq!(*name, format!("`{fault:?}`](Self::{fault:?})"));
        let response = fault.response();
        assert_eq!(response.status().as_str(), *status, "{fault:?}");
        assert_eq!(response.body(), &format!("{fault}\n"));
        let mut expected = HeaderMap::new();
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        expected.insert("content-type", plain);
        expected.insert("connection", HeaderValue::from_static("close"));
        for header in headers.split('`').filter(|text| text.contains(": ")) {
            let (name, value) = header.split_once(": ").unwrap();
            let name: http::HeaderName = name.parse().unwrap();
            expected.insert(name, HeaderValue::from_static(value));
        }
        assert_eq!(response.headers(), &expected, "{fault:?}");
    }
}

#[test]
fn every_fault_of_a_head_is_answered_as_its_table_says() {
    use HeadError as E;
    let rows = documented("HeadError");
    for fault in [
        E::NotHttp,
        E::FirstLine,
        E::Version,
        E::Target,
        E::TargetTooLong,
        E::LineEnding,
        E::Folded,
        E::Control,
        E::Header,
        E::TooLarge,
        E::TooManyHeaders,
        E::Incomplete,
    ] {
        let name = format!("`{fault:?}`");
        let row = rows.iter().find(|[names, ..]| names.contains(&name));
        let status = row.map_or("400", |[_, status, _]| status);
        let response = RequestError::from(fault).response();
        assert_eq!(response.status().as_str(), status, "{fault:?}");
        assert_eq!(response.body(), &format!("{fault}\n"));
    }
}

#[test]
fn a_refusal_says_why_and_has_the_headers_of_its_status() {
    let close = |status: &str, extra: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n{extra}\
             Content-Length: {}\r\n\r\n{body}\n",
            body.len() + 1
        )
    };
    let version = RequestError::Version;
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13, 8\r\n\
                   Connection: upgrade, close\r\n";
    assert_eq!(
        written(&version.response()),
        close("426 Upgrade Required", upgrade, &version.to_string())
    );
    let plain = written(&server::upgrade_required());
    assert!(
        plain.contains(upgrade) && plain.contains("ws://"),
        "{plain}"
    );
    assert_eq!(
        written(&RequestError::Method.response()),
        close(
            "405 Method Not Allowed",
            "Allow: GET\r\nConnection: close\r\n",
            "a WebSocket handshake must be a GET request"
        )
    );
    let origin = written(&RequestError::Origin.response());
    assert!(origin.starts_with("HTTP/1.1 403 Forbidden\r\n") && origin.contains("`origins`"));
    assert_eq!(HeadError::TooLarge.response().status(), 431);
    let gone = server::refusal(StatusCode::SERVICE_UNAVAILABLE, "shutting down");
    assert_eq!(
        written(&gone),
        close(
            "503 Service Unavailable",
            "Connection: close\r\n",
            "shutting down"
        )
    );
}

#[test]
fn the_length_of_a_body_is_counted_and_not_believed() {
    let mut response = Response::new(String::from("four"));
    let headers = response.headers_mut();
    headers.insert("content-length", HeaderValue::from_static("400"));
    headers.insert("transfer-encoding", HeaderValue::from_static("chunked"));
    headers.insert("www-authenticate", HeaderValue::from_static("Basic"));
    assert_eq!(
        written(&response),
        "HTTP/1.1 200 OK\r\nWWW-Authenticate: Basic\r\nContent-Length: 4\r\n\r\nfour"
    );
    *response.status_mut() = StatusCode::NO_CONTENT;
    assert_eq!(
        written(&response),
        "HTTP/1.1 204 No Content\r\nWWW-Authenticate: Basic\r\n\r\n"
    );
}

#[test]
#[rustfmt::skip]
fn an_extension_list_is_parsed_as_the_rfc_has_it() {
    let parse = |line: &'static str| {
        let mut list = Vec::new();
        grammar::parse_extensions(line, &mut list).map(|()| list)
    };
    let extension = |name, params: &[(&'static str, Option<&'static str>)]| Extension {
        name,
        params: params.iter().map(|&(name, value)| (name, value.map(Into::into))).collect(),
    };
    assert_eq!(parse("foo"), Ok(vec![extension("foo", &[])]));
    assert_eq!(
        parse(" foo ;\ta ; b = 1 ; a=\"x\\y\\-\\z\" , bar;c=\"d\" "),
        Ok(vec![
            extension("foo", &[("a", None), ("b", Some("1")), ("a", Some("xy-z"))]),
            extension("bar", &[("c", Some("d"))]),
        ])
    );
    for bad in [
        "",
        " ",
        ",",
        "foo,",
        ",foo",
        "foo,,bar",
        "foo;",
        "foo;;a",
        "foo;=1",
        "foo;a=",
        "foo;a=,",
        "foo;a=1=2",
        "foo;a=\"",
        "foo;a=\"b",
        "foo;a=\"b\\\"",
        "foo;a=\"\"",
        "foo;a=\"b c\"",
        "foo;a=\"b\"c",
        "foo;a=\"\\\\\"",
        "foo;a=\"b,c\"",
        "foo bar",
        "foo=1",
        "f\u{e9}o",
        "\"foo\"",
        "foo;\"a\"",
        "foo;a=\"\u{e9}\"",
        "foo;a b",
    ] {
        assert_eq!(parse(bad), Err(Malformed), "{bad:?}");
    }
}

#[test]
fn extension_lines_are_one_list() {
    let request = Request::builder()
        .header("sec-websocket-extensions", "a; x, b")
        .header("sec-websocket-extensions", "c")
        .body(())
        .unwrap();
    let names: Vec<_> = grammar::extensions(request.headers())
        .unwrap()
        .iter()
        .map(|e| e.name)
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn every_fault_of_an_answer_has_its_name() {
    use ResponseError::*;
    type Row = (
        Result<Option<&'static str>, ResponseError>,
        &'static [(&'static str, &'static str)],
    );
    const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    #[rustfmt::skip]
    let table: &[Row] = &[
        (Ok(Some("chat")), &[]),
        (Ok(None), &[("Sec-WebSocket-Protocol", "")]),
        (Ok(Some("chat")), &[("Upgrade", "upgrade: WEBSOCKET")]),
        (Ok(Some("chat")), &[("Connection", "connection: keep-alive, upgrade")]),
        (Ok(Some("chat")), &[("HTTP", "HTTP/1.1 101")]),
        (Ok(Some("chat")), &[("HTTP", "HTTP/1.1 101 \u{e9}")]),
        (Err(Status(StatusCode::OK)), &[("HTTP", "HTTP/1.1 200 OK")]),
        (Err(Status(StatusCode::UNAUTHORIZED)), &[("HTTP", "HTTP/1.0 401 No")]),
        (Err(HttpVersion), &[("HTTP", "HTTP/1.0 101 Switching Protocols")]),
        (Err(Head(HeadError::Version)), &[("HTTP", "HTTP/1.2 101 Switching Protocols")]),
        (Err(Head(HeadError::FirstLine)), &[("HTTP", "HTTP/1.1 99 X")]),
        (Err(Head(HeadError::FirstLine)), &[("HTTP", "HTTP/1.1 1011 X")]),
        (Err(Head(HeadError::NotHttp)), &[("HTTP", "HTTP/2 101 X")]),
        (Err(Head(HeadError::LineEnding)), &[("", "X: a\nY: b")]),
        (Err(Head(HeadError::Folded)), &[("", "X: a\r\n b")]),
        (Err(Head(HeadError::Header)), &[("", "X : a")]),
        (Err(Head(HeadError::Control)), &[("", "X: \0")]),
        (Err(Upgrade), &[("Upgrade", "")]),
        (Err(Upgrade), &[("Upgrade", "Upgrade: foo")]),
        (Err(Upgrade), &[("Upgrade", "Upgrade: websocket, foo")]),
        (Err(Upgrade), &[("", "Upgrade: websocket")]),
        (Err(Connection), &[("Connection", "")]),
        (Err(Connection), &[("Connection", "Connection: close")]),
        (Err(Accept), &[("Sec-WebSocket-Accept", "")]),
        (Err(Accept), &[("", ACCEPT)]),
        (Err(Accept), &[("Sec-WebSocket-A", "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=")]),
        (Err(Accept), &[("Sec-WebSocket-A", "Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ==")]),
        (Err(ProtocolInvalid), &[("Sec-WebSocket-P", "Sec-WebSocket-Protocol: other")]),
        (Err(ProtocolInvalid), &[("Sec-WebSocket-P", "Sec-WebSocket-Protocol: Chat")]),
        (Err(ProtocolInvalid), &[("Sec-WebSocket-P", "Sec-WebSocket-Protocol: chat, superchat")]),
        (Err(ProtocolInvalid), &[("Sec-WebSocket-P", "Sec-WebSocket-Protocol:")]),
        (Err(ProtocolRepeated), &[("", "Sec-WebSocket-Protocol: chat")]),
        (Err(ExtensionNotRequested), &[("", "Sec-WebSocket-Extensions: permessage-deflate")]),
        (Err(ExtensionsMalformed), &[("", "Sec-WebSocket-Extensions: foo;=")]),
        (Err(ExtensionsMalformed), &[("", "Sec-WebSocket-Extensions:")]),
    ];
    let asked = client::Options::new()
        .protocol("chat")
        .protocol("superchat");
    for (expected, changes) in table {
        let answer = changed(RFC_RESPONSE, changes);
        let verdict = verdict(answer.as_bytes(), &asked);
        let chosen = verdict.as_ref().map(|agreed| agreed.protocol.as_deref());
        assert_eq!(chosen, expected.as_ref().copied(), "{answer:?}");
    }
    let verdict = |options| verdict(RFC_RESPONSE.as_bytes(), &options);
    assert_eq!(verdict(client::Options::new()), Err(ProtocolNotRequested));
}

fn verdict(bytes: &[u8], options: &client::Options) -> Result<Agreed, ResponseError> {
    let key = Key::from_nonce(*b"the sample nonce");
    let (response, _) = Answer::new(Limits::default())
        .read(bytes)?
        .expect("a whole answer");
    client::verify(Some(&key), options, &response)
}

#[test]
fn a_subprotocol_is_missed_only_if_it_is_required() {
    let silent = changed(RFC_RESPONSE, &[("Sec-WebSocket-Protocol", "")]);
    let asked = client::Options::new().protocol("chat");
    assert!(verdict(silent.as_bytes(), &asked).is_ok());
    let required = asked.require_protocol(true);
    assert_eq!(
        verdict(silent.as_bytes(), &required),
        Err(ResponseError::ProtocolMissing)
    );
}

#[test]
fn informational_answers_are_skipped_but_not_without_end() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    let bytes = hints.repeat(MAX_INFORMATIONAL) + RFC_RESPONSE;
    let (response, end) = Answer::new(Limits::default())
        .read(bytes.as_bytes())
        .unwrap()
        .unwrap();
    assert_eq!((response.status().as_u16(), end), (101, bytes.len()));

    let mut slow = Answer::new(Limits::default());
    for length in 0..bytes.len() {
        assert!(slow.read(&bytes.as_bytes()[..length]).unwrap().is_none());
    }
    assert!(slow.read(bytes.as_bytes()).unwrap().is_some());

    let bytes = hints.repeat(MAX_INFORMATIONAL + 1);
    let error = Answer::new(Limits::default())
        .read(bytes.as_bytes())
        .unwrap_err();
    assert_eq!(error, ResponseError::TooManyInformational);
}

fn request_to(url: &str, options: &client::Options) -> Result<Request<()>, OptionsError> {
    client::request(
        &Target::parse(url).expect("a URL"),
        Some(&Key::from_nonce([0; 16])),
        options,
    )
}

#[test]
fn version_8_says_sec_websocket_origin() {
    let options = client::Options::new()
        .version(Version::V8)
        .origin("http://a");
    let request = request_to("ws://a", &options).unwrap();
    assert_eq!(request.headers()["sec-websocket-version"], "8");
    assert_eq!(request.headers()["sec-websocket-origin"], "http://a");
    assert!(!request.headers().contains_key("origin"));
    assert!(server::accept(&request, &server::Options::new(), Via::Http1).is_ok());
}

#[test]
fn options_that_cannot_be_sent_are_refused_where_they_enter() {
    let new = client::Options::new;
    for bad in ["", "a b", "a,b", "a\r\nX: y", "\u{e9}", "\"a\""] {
        let error = request_to("ws://a", &new().protocol(bad)).unwrap_err();
        assert_eq!(error, OptionsError::Protocol(bad.into()));
    }
    let twice = new().protocol("a").protocol("b").protocol("a");
    assert_eq!(
        request_to("ws://a", &twice).unwrap_err(),
        OptionsError::ProtocolRepeated("a".into())
    );
    assert_eq!(
        request_to("ws://a", &new().require_protocol(true)).unwrap_err(),
        OptionsError::ProtocolMissing
    );
    let origin = new().origin("http://a\r\nX: y");
    assert_eq!(
        request_to("ws://a", &origin).unwrap_err(),
        OptionsError::Origin
    );
    for name in [
        "host",
        "upgrade",
        "connection",
        "content-length",
        "sec-websocket-extensions",
    ] {
        let name = HeaderName::from_static(name);
        let options = new().header(name.clone(), HeaderValue::from_static("x"));
        assert_eq!(
            request_to("ws://a", &options).unwrap_err(),
            OptionsError::Header(name)
        );
    }
}

#[test]
fn a_callers_headers_are_sent_all() {
    let options = client::Options::new()
        .header(COOKIE, HeaderValue::from_static("a=b"))
        .header(COOKIE, HeaderValue::from_static("c=d"));
    let request = request_to("ws://a/", &options).unwrap();
    let cookies: Vec<_> = request.headers().get_all(COOKIE).iter().collect();
    assert_eq!(cookies, ["a=b", "c=d"]);
}

#[test]
fn credentials_of_the_url_beat_the_option_and_a_header_beats_both() {
    let sent = |url, options: &client::Options| {
        request_to(url, options).map(|r| r.headers().get(AUTHORIZATION).cloned())
    };
    let basic = client::Options::new().credentials(Credentials::new("Aladdin", "open sesame"));
    // The example of RFC 7617 §2.
    let aladdin = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
    assert_eq!(sent("ws://a", &basic).unwrap().unwrap(), aladdin);
    let value = sent("ws://Aladdin:open%20sesame@a", &client::Options::new())
        .unwrap()
        .unwrap();
    assert_eq!(value, aladdin);
    assert_eq!(format!("{value:?}"), "Sensitive");
    assert_eq!(sent("ws://u@a", &basic).unwrap().unwrap(), "Basic dTo=");
    let bearer = HeaderValue::from_static("Bearer x");
    let options = basic.header(AUTHORIZATION, bearer.clone());
    assert_eq!(sent("ws://u@a", &options).unwrap(), Some(bearer));
    let options = options.header(COOKIE, HeaderValue::from_static("sid=1"));
    let shown = format!("{options:?}");
    assert!(
        !shown.contains("Bearer") && !shown.contains("sid"),
        "{shown}"
    );
    assert_eq!(sent("ws://a", &client::Options::new()), Ok(None));
    let colon = sent("ws://u%3Av:p@a", &client::Options::new());
    assert_eq!(colon, Err(OptionsError::Credentials));
}

#[test]
#[rustfmt::skip]
fn a_url_says_where_to_connect_and_what_to_ask() {
    for (url, secure, host, port, authority, target) in [
        ("ws://example.com", false, "example.com", 80, "example.com", "/"),
        ("wss://example.com/a/../b?c=d&e", true, "example.com", 443, "example.com", "/b?c=d&e"),
        ("http://example.com:80/", false, "example.com", 80, "example.com", "/"),
        ("https://example.com:80/", true, "example.com", 80, "example.com:80", "/"),
        ("WS://EXAMPLE.com:443?", false, "example.com", 443, "example.com:443", "/?"),
        ("ws://[::1]:9000/x", false, "::1", 9000, "[::1]:9000", "/x"),
        ("wss://[2001:DB8::1]", true, "2001:db8::1", 443, "[2001:db8::1]", "/"),
        ("ws://127.0.0.1:8080", false, "127.0.0.1", 8080, "127.0.0.1:8080", "/"),
        (
            "ws://b\u{fc}cher.example/\u{e9}",
            false,
            "xn--bcher-kva.example",
            80,
            "xn--bcher-kva.example",
            "/%C3%A9",
        ),
        ("ws://a/%23%0d%0a", false, "a", 80, "a", "/%23%0d%0a"),
    ] {
        let parsed = Target::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(parsed.secure(), secure, "{url}");
        assert_eq!((parsed.host(), parsed.port()), (host, port), "{url}");
        assert_eq!(parsed.authority(), authority, "{url}");
        assert_eq!(parsed.path_and_query(), target, "{url}");
        assert_eq!(parsed.credentials(), None, "{url}");
    }
}

#[test]
#[rustfmt::skip]
fn a_url_that_is_none_is_refused_before_anything_is_sent() {
    use UrlError::{Character, Fragment, Host, Scheme, SocketPath, Syntax};
    for (url, error) in [
        ("", Scheme),
        ("example.com/chat", Scheme),
        ("localhost:8080", Scheme),
        ("//example.com", Scheme),
        ("ftp://example.com", Scheme),
        ("http+unix:/tmp/socket", Scheme),
        ("file:///etc/passwd", Scheme),
        ("ws+unix:", SocketPath),
        ("ws+unix:::/", SocketPath),
        ("ws+unix://host/tmp/socket", SocketPath),
        ("ws+unix:/tmp/%00:/", SocketPath),
        ("ws+unix:/tmp/%ff:/", SocketPath),
        ("ws+unix:/tmp/socket:chat", UrlError::Target),
        ("ws+unix:/tmp/socket:/#a", Fragment),
        ("ws+unix:/tmp/a socket", Character),
        ("ws:", Host),
        ("ws:example.com", Host),
        ("ws:/example.com", Host),
        ("ws://", Host),
        ("ws:///example.com", Host),
        ("ws://\\example.com", Host),
        ("ws://:80", Host),
        ("ws://user@", Host),
        ("ws://user@:80/", Host),
        ("ws://?a", Host),
        ("ws://a#", Fragment),
        ("ws://a/b?c#d", Fragment),
        (" ws://a", Character),
        ("ws://a ", Character),
        ("ws://a/b c", Character),
        ("w\ts://a", Character),
        ("ws://a\r\n", Character),
        ("ws://a/\n", Character),
        ("ws://a/\0", Character),
        ("ws://a/\u{7f}", Character),
        ("ws://a/\u{85}", Character),
        ("ws://a/\u{a0}", Character),
        ("ws://a/\u{2028}", Character),
    ] {
        assert_eq!(Target::parse(url), Err(error), "{url:?}");
    }
    for url in ["ws://a:65536", "ws://a:b", "ws://[::1", "ws://a<b", "ws://a%20b", "ws://1.2.3.256"]
    {
        assert!(matches!(Target::parse(url), Err(Syntax(_))), "{url:?}");
    }
    let long = format!("ws://a/{}", "a".repeat(1 << 16));
    assert_eq!(Target::parse(&long), Err(UrlError::Target));
}

#[test]
fn a_unix_socket_stands_for_host_and_port_and_the_rest_is_the_target() {
    for (url, socket, path, shown) in [
        (
            "ws+unix:/tmp/a.sock",
            "/tmp/a.sock",
            "/",
            "ws+unix:/tmp/a.sock:/",
        ),
        (
            "WS+Unix:/tmp/a.sock:",
            "/tmp/a.sock",
            "/",
            "ws+unix:/tmp/a.sock:/",
        ),
        (
            "wss+unix:///tmp/a:/b?c:d",
            "/tmp/a",
            "/b?c:d",
            "wss+unix:/tmp/a:/b?c:d",
        ),
        ("ws+unix:a%20b%3a:/c", "a b:", "/c", "ws+unix:a%20b%3A:/c"),
        (
            "ws+unix:%0aö%25%23%C2%85",
            "\nö%#\u{85}",
            "/",
            "ws+unix:%0Aö%25%23%C2%85:/",
        ),
        ("ws+unix:////a", "//a", "/", "ws+unix:////a:/"),
    ] {
        let target = Target::parse(url).unwrap();
        assert_eq!(target.socket(), Some(socket), "{url}");
        assert_eq!(target.path_and_query(), path);
        assert_eq!(target.authority(), "localhost");
        assert_eq!(target.secure(), url.starts_with("wss"));
        assert_eq!(target.to_string(), shown);
        assert_eq!(Target::parse(shown), Ok(target));
    }
    let target = Target::parse("ws+unix:/tmp/a:/b").unwrap();
    assert_eq!(target.uri().unwrap(), "ws://localhost/b");
    assert_eq!(Target::parse("ws://localhost/b").unwrap().socket(), None);
}

#[test]
fn a_redirect_keeps_the_socket_or_leaves_it_and_never_leads_to_another() {
    let base = Target::parse("ws+unix:/tmp/a:/b/c").unwrap();
    for (location, socket, shown) in [
        ("d", Some("/tmp/a"), "ws+unix:/tmp/a:/b/d"),
        ("/d?e", Some("/tmp/a"), "ws+unix:/tmp/a:/d?e"),
        ("//localhost/d", None, "ws://localhost/d"),
        ("/\\localhost/d", None, "ws://localhost/d"),
        ("ws://localhost/d", None, "ws://localhost/d"),
    ] {
        let target = base.join(location).unwrap();
        assert_eq!(
            (target.socket(), target.to_string().as_str()),
            (socket, shown)
        );
    }
    for base in [base, Target::parse("ws://a/").unwrap()] {
        assert_eq!(base.join("ws+unix:/tmp/a:/b"), Err(UrlError::Scheme));
    }
}

#[test]
fn credentials_go_along_to_the_same_server_only_and_never_from_wss_to_ws() {
    let trusts = |from: &str, to: &str| {
        Target::parse(from)
            .unwrap()
            .trusts(&Target::parse(to).unwrap())
    };
    assert!(trusts("ws://a/b", "ws://u:p@A:80/c"));
    assert!(trusts("ws://a/", "wss://a/"));
    assert!(trusts("ws+unix:/a:/b", "ws+unix:/a:/c"));
    for (from, to) in [
        ("wss://a/", "ws://a/"),
        ("ws://a/", "ws://b/"),
        ("ws://a/", "ws://a:81/"),
        ("ws://a/", "ws://a.b/"),
        ("ws+unix:/a:/", "ws+unix:/b:/"),
        ("ws+unix:/a:/", "ws://localhost/"),
        ("ws://localhost/", "ws+unix:/a:/"),
    ] {
        assert!(!trusts(from, to), "{from} {to}");
    }
}

#[test]
fn credentials_authorization_and_cookies_are_taken_away_and_nothing_else() {
    let options = client::Options::new()
        .credentials(Credentials::new("u", "p"))
        .header(http::header::COOKIE, HeaderValue::from_static("a=b"))
        .header(http::header::USER_AGENT, HeaderValue::from_static("c"));
    let target = Target::parse("ws://a/").unwrap();
    let key = Key::from_nonce([0; 16]);
    let names = |options: &client::Options| {
        let request = client::request(&target, Some(&key), options).unwrap();
        ["authorization", "cookie", "user-agent"].map(|name| request.headers().contains_key(name))
    };
    assert_eq!(names(&options), [true, true, true]);
    assert_eq!(names(&options.without_credentials()), [false, false, true]);
    let bearer = HeaderValue::from_static("Bearer x");
    let mut options = client::Options::new().header(http::header::AUTHORIZATION, bearer);
    assert_eq!(names(&options), [true, false, false]);
    assert_eq!(names(&options.clone().without_credentials()), [false; 3]);
    options.headers_mut().clear();
    assert_eq!(names(&options), [false; 3]);
}

#[test]
fn of_a_request_only_the_callers_own_headers_can_be_changed() {
    let target = Target::parse("ws://example.com/chat").unwrap();
    let options = client::Options::new().protocol("chat");
    let key = Key::from_nonce([7; 16]);
    let built = client::request(&target, Some(&key), &options).unwrap();
    let judge = |change: fn(&mut Request<()>)| {
        let mut changed = built.clone();
        change(&mut changed);
        client::compare(&built, &changed)
    };
    let value = HeaderValue::from_static;
    assert_eq!(judge(|_| {}), Ok(()));
    let more = judge(|request| {
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        headers.append(COOKIE, HeaderValue::from_static("a=b"));
    });
    assert_eq!(more, Ok(()));
    let changes: [fn(&mut Request<()>); 3] = [
        |request| *request.method_mut() = Method::POST,
        |request| *request.uri_mut() = Uri::from_static("/other"),
        |request| *request.version_mut() = http::Version::HTTP_10,
    ];
    for change in changes {
        assert_eq!(judge(change), Err(OptionsError::RequestLine));
    }
    for name in [
        "host",
        "upgrade",
        "connection",
        "sec-websocket-key",
        "sec-websocket-protocol",
        "sec-websocket-extensions",
        "origin",
        "content-length",
    ] {
        let fault = Err(OptionsError::Header(HeaderName::from_static(name)));
        let mut other = built.clone();
        other.headers_mut().insert(name, value("other"));
        assert_eq!(client::compare(&built, &other), fault);
        let mut repeated = built.clone();
        repeated.headers_mut().append(name, value("other"));
        assert_eq!(client::compare(&built, &repeated), fault);
        let mut without = built.clone();
        if without.headers_mut().remove(name).is_some() {
            assert_eq!(client::compare(&built, &without), fault);
        }
    }
}

#[test]
fn further_headers_stand_in_the_answer_and_cannot_change_the_handshake() {
    let mut accepted = judge(PLAIN.as_bytes()).unwrap();
    let plain = accepted.response();
    for (name, value) in [
        ("set-cookie", "a=b"),
        ("set-cookie", "c=d"),
        ("upgrade", "h2c"),
        ("connection", "close"),
        ("sec-websocket-accept", "x"),
        ("sec-websocket-protocol", "x"),
        ("sec-websocket-extensions", "x"),
        ("content-length", "1"),
        ("transfer-encoding", "chunked"),
    ] {
        let value = HeaderValue::from_static(value);
        accepted.headers_mut().append(name, value);
    }
    let mut expected = plain.headers().clone();
    expected.append("set-cookie", HeaderValue::from_static("a=b"));
    expected.append("set-cookie", HeaderValue::from_static("c=d"));
    assert_eq!(accepted.response().headers(), &expected);
}

#[test]
fn a_host_other_than_the_urls_can_be_named_if_it_is_one() {
    let target = Target::parse("ws://192.0.2.1:8080/chat").unwrap();
    let key = Key::from_nonce([0; 16]);
    let ask = |host: &str, key| client::request(&target, key, &client::Options::new().host(host));
    let request = ask("chat.example:81", Some(&key)).unwrap();
    assert_eq!(request.headers()["host"], "chat.example:81");
    assert_eq!(request.uri(), "/chat");
    let request = ask("[::1]", None).unwrap();
    assert_eq!(request.uri(), "http://[::1]/chat");
    for host in ["", "a b", "a/b", "user@a", "a:b", "a\r\nb: c", "http://a"] {
        for key in [Some(&key), None] {
            assert_eq!(ask(host, key).err(), Some(OptionsError::Host), "{host:?}");
        }
    }
    let options = client::Options::new().host("a").without_credentials();
    let request = client::request(&target, Some(&key), &options).unwrap();
    assert_eq!(request.headers()["host"], "192.0.2.1:8080");
}

#[test]
fn the_first_protocol_that_is_offered_is_chosen_if_asked_for() {
    let head = PLAIN.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: x, y\r\n\r\n");
    let chosen = |options: server::Options, head: &str| {
        let accepted = judge_with(head.as_bytes(), &options).unwrap();
        accepted.protocol().map(str::to_owned)
    };
    let options = || server::Options::new().first_protocol_offered(true);
    assert_eq!(chosen(options(), &head).as_deref(), Some("x"));
    assert_eq!(
        chosen(options().protocols(["y"]), &head).as_deref(),
        Some("y")
    );
    assert_eq!(
        chosen(options().protocols(["z"]), &head).as_deref(),
        Some("x")
    );
    assert_eq!(chosen(options(), PLAIN), None);
}

#[test]
fn user_information_is_percent_decoded_and_never_shown() {
    let target = Target::parse("ws://us%65r:p%40ss%0a%zz@example.com/").unwrap();
    assert_eq!(
        target.credentials(),
        Some(Credentials::new("user", "p@ss\n%zz"))
    );
    assert_eq!(format!("{target}"), "ws://example.com/");
    assert_eq!(format!("{target:?}"), "Target(ws://example.com/)");
    assert!(!format!("{:?}", target.credentials()).contains("ss"));
    assert_eq!(target.without_credentials().credentials(), None);
}

#[test]
fn a_redirect_is_resolved_as_rfc_3986_says() {
    let base = Target::parse("wss://u:p@example.com/a/b?c").unwrap();
    for (location, expected) in [
        ("d", Ok("wss://example.com/a/d")),
        ("/d?e", Ok("wss://example.com/d?e")),
        ("../d", Ok("wss://example.com/d")),
        ("?d", Ok("wss://example.com/a/b?d")),
        ("//other.example/d", Ok("wss://other.example/d")),
        (
            "https://other.example:8443",
            Ok("wss://other.example:8443/"),
        ),
        ("ws://example.com/", Ok("ws://example.com/")),
        ("#d", Err(UrlError::Fragment)),
        ("ws+unix:/tmp/socket", Err(UrlError::Scheme)),
        ("file:///etc/passwd", Err(UrlError::Scheme)),
        ("/a b", Err(UrlError::Character)),
        ("//a%3Ab:c@example.com", Err(UrlError::User)),
        ("//a:b%3Ac@example.com", Ok("wss://example.com/")),
    ] {
        let joined = base.join(location).map(|target| target.to_string());
        assert_eq!(joined.as_deref(), expected.as_deref(), "{location}");
    }
    assert_eq!(
        "ws://example.com/a".parse(),
        Target::parse("ws://example.com/a")
    );
    assert_eq!("example.com".parse::<Target>(), Err(UrlError::Scheme));
    assert!(base.join("/d").unwrap().credentials().is_some());
    assert!(
        base.join("//other.example")
            .unwrap()
            .credentials()
            .is_none()
    );
}

#[test]
fn a_target_beyond_ascii_is_written_in_ascii() {
    let request = Request::builder().uri("/\u{e9}?\u{e9}").body(()).unwrap();
    let mut out = Vec::new();
    head::write_request(&request, &mut out);
    assert_eq!(out, b"GET /%C3%A9?%C3%A9 HTTP/1.1\r\n\r\n");
}

#[test]
fn a_request_to_a_proxy_keeps_its_authority() {
    let request = Request::connect("example.com:443").body(()).unwrap();
    let mut out = Vec::new();
    head::write_request(&request, &mut out);
    assert_eq!(out, b"CONNECT example.com:443 HTTP/1.1\r\n\r\n");
}

/// Bytes that are close to a head, so that the parsers are reached.
#[rustfmt::skip]
fn nearly_a_head() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "GET / HTTP/1.1\r\n",
        "HTTP/1.1 101 X\r\n",
        "Host: a\r\n",
        "Upgrade: websocket\r\n",
        "A:",
        "Sec-WebSocket-Extensions: a;b=\"c\"\r\n",
        "\r\n",
        "\r",
        "\n",
        " ",
        "\0",
        ",",
        "=",
        "\"",
        "\\",
        ";",
        "GET",
        "/",
        "http://",
        "[::1]",
        ":",
        "Origin: http://a\r\n",
        "\u{e9}",
        "#",
    ];
    let piece = prop_oneof![
        9 => proptest::sample::select(pieces.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..8),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_bytes_make_the_server_panic(bytes in nearly_a_head()) {
        if let Ok(request) = head::parse_request(&bytes) {
            let _ = server::accept(&request, &server::Options::new(), Via::Http1);
        }
        let _ = head::parse_response(&bytes);
        let line = String::from_utf8_lossy(&bytes);
        let _ = grammar::parse_extensions(&line, &mut Vec::new());
        let _ = Target::parse(&line);
    }

    #[test]
    fn no_header_values_make_the_judge_panic(lines in proptest::collection::vec("\\PC{0,12}", 6)) {
        let names = ["host", "origin", "sec-websocket-protocol", "sec-websocket-extensions",
            "sec-websocket-key", "sec-websocket-version"];
        let mut request = head::parse_request(PLAIN.as_bytes()).unwrap();
        for (name, line) in names.iter().zip(&lines) {
            let mut request = request.clone();
            if let Ok(value) = HeaderValue::from_bytes(line.as_bytes()) {
                request.headers_mut().insert(*name, value);
            }
            let _ = server::accept(&request, &server::Options::new(), Via::Http1);
        }
        *request.method_mut() = Method::PUT;
        prop_assert!(server::accept(&request, &server::Options::new(), Via::Http1).is_err());
    }

    #[test]
    fn a_head_cut_anywhere_gives_the_verdict_of_the_whole(
        bytes in prop_oneof![
            nearly_a_head(),
            nearly_a_head().prop_map(|tail| [PLAIN.as_bytes(), &tail].concat()),
            nearly_a_head().prop_map(|tail| [b"GET / HTTP/1.1\r\n", &tail[..]].concat()),
            nearly_a_head().prop_map(|tail| [b"HTTP/1.1 101 X\r\n", &tail[..]].concat()),
        ],
        bound in 0_usize..200,
        step in 1_usize..9,
    ) {
        let limits = Limits { bytes: bound, headers: 3 };
        for start in [Scan::request(limits), Scan::response(limits)] {
            let whole = start.clone().scan(&bytes);
            let mut scan = start;
            let mut verdict = Ok(None);
            for end in (0..bytes.len()).step_by(step).chain([bytes.len()]) {
                verdict = scan.scan(&bytes[..end]);
                if verdict != Ok(None) {
                    break;
                }
            }
            prop_assert_eq!(verdict, whole);
            prop_assert_eq!(scan.scan(&bytes), whole);
        }
    }

    #[test]
    fn what_is_written_parses_back(
        path in "/[!-\"$-~]{0,20}",
        names in proptest::collection::vec("[a-z][a-z0-9-]{0,10}", 0..8),
        values in proptest::collection::vec("([!-~]([ -~]{0,20}[!-~])?)?", 8),
    ) {
        let mut request = Request::new(());
        if let Ok(uri) = path.parse::<Uri>() {
            *request.uri_mut() = uri;
        }
        for (name, value) in names.iter().zip(&values) {
            request.headers_mut().append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let mut out = Vec::new();
        head::write_request(&request, &mut out);
        prop_assert_eq!(
            Scan::request(Limits::default()).scan(&out), Ok(Some(out.len()))
        );
        let parsed = head::parse_request(&out).unwrap();
        prop_assert_eq!(parsed.uri(), request.uri());
        prop_assert_eq!(parsed.headers(), request.headers());

        let mut response = Response::new("body");
        *response.headers_mut() = request.headers().clone();
        let mut out = Vec::new();
        head::write_response(&response, &mut out);
        let length = Scan::response(Limits::default()).scan(&out).unwrap().unwrap();
        prop_assert_eq!(&out[length..], b"body");
        let mut parsed = head::parse_response(&out[..length]).unwrap();
        prop_assert_eq!(&parsed.headers_mut().remove("content-length").unwrap(), "4");
        prop_assert_eq!(parsed.headers(), request.headers());
    }

    #[test]
    fn client_and_server_agree_on_any_key_and_protocol(
        nonce in any::<[u8; 16]>(),
        protocols in proptest::collection::btree_set("[!#-'*+.0-9A-Z^-z|~-]{1,8}", 1..6),
        choice in any::<proptest::sample::Index>(),
    ) {
        let key = Key::from_nonce(nonce);
        let protocols: Vec<String> = protocols.into_iter().collect();
        let asked = protocols.iter().fold(client::Options::new(), client::Options::protocol);
        let request = client::request(&Target::parse("ws://a").unwrap(), Some(&key), &asked).unwrap();
        let chosen = choice.get(&protocols).clone();
        let options = server::Options::new().protocols([chosen.clone()]);
        let accepted = server::accept(&request, &options, Via::Http1).unwrap();
        let agreed = client::verify(Some(&key), &asked, &accepted.response()).unwrap();
        prop_assert_eq!(agreed.protocol, Some(chosen));
    }
}
