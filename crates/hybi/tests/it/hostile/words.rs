//! What leaves the process, on the wire and in the texts of errors: what the caller has given, and
//! nothing else that lies in memory.

use hybi::{Client, CloseCode, Error, Kind, Message, Options, Proxy, Role, WebSocket};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::raw::{CLOSE, FIN, Head, PING, Pace, frame, listen, next_frame, talk};
use super::{Failures, Victim, guarded};

const SECRET: &[u8] = b"what lies in memory";

/// Fills what the allocator gives next with a secret.
fn litter() {
    let mut kept = Vec::new();
    for size in (4..18).flat_map(|bits| [1 << bits, 3 << (bits - 1)]) {
        for _ in 0..4 {
            let mut secret = SECRET.repeat(size / SECRET.len() + 1);
            secret.truncate(size);
            secret.shrink_to_fit();
            kept.push(secret);
        }
    }
    // None is optimized away.
    assert!(
        std::hint::black_box(&kept)
            .iter()
            .all(|secret| !secret.is_empty())
    );
}

/// A conversation of many kinds, and the bytes that have left.
async fn said(role: Role) -> Vec<u8> {
    let (ours, mut theirs) = tokio::io::duplex(8 << 20);
    let peer = match role {
        Role::Client => vec![FIN | PING, 3, b'y', b'o', b'u'],
        Role::Server => frame(FIN | PING, "you"),
    };
    theirs.write_all(&peer).await.unwrap();
    let mut ws = WebSocket::from_stream(ours, role, &Options::new(), &[]);
    for size in SIZES {
        litter();
        ws.send(vec![b'm'; size]).await.unwrap();
        ws.send("t".repeat(size)).await.unwrap();
    }
    litter();
    let mut writer = ws.message(Kind::Binary).await.unwrap();
    for size in SIZES {
        writer.write(vec![b'p'; size]).await.unwrap();
    }
    writer.finish().unwrap();
    ws.ping("ping").unwrap();
    // The pong for the peer's ping goes out, too.
    tokio::select! {
        biased;
        _ = ws.recv() => panic!("nothing has come"),
        () = tokio::task::yield_now() => {}
    }
    litter();
    ws.start_close(CloseCode::NORMAL, "bye").unwrap();
    ws.flush().await.unwrap();
    drop(ws);
    listen(&mut theirs).await.bytes
}

/// Around each length of a header, each way to copy or to link, and the pieces of large messages.
const SIZES: [usize; 9] = [
    0,
    1,
    125,
    126,
    4_000,
    65_535,
    65_536,
    200_000,
    (1 << 20) + 1,
];

#[tokio::test]
async fn what_leaves_is_what_was_given_and_nothing_that_lies_in_memory() {
    for role in [Role::Client, Role::Server] {
        let bytes = said(role).await;
        let (mut rest, mut payloads) = (&bytes[..], Vec::new());
        while let Some((frame, behind)) = next_frame(rest).unwrap() {
            assert_eq!(frame.mask.is_some(), role == Role::Client);
            payloads.push((frame.first(), frame.payload));
            rest = behind;
        }
        assert!(rest.is_empty(), "half a frame");
        let kind = |letter: u8| -> usize {
            let of = payloads
                .iter()
                .filter(|(_, payload)| payload.first() == Some(&letter));
            let of = of.filter(|(first, _)| first & 8 == 0);
            of.map(|(_, payload)| {
                assert!(payload.iter().all(|byte| *byte == letter));
                payload.len()
            })
            .sum()
        };
        let all: usize = SIZES.iter().sum();
        assert_eq!([kind(b'm'), kind(b't'), kind(b'p')], [all; 3]);
        let controls = payloads.iter().filter(|(first, _)| first & 8 != 0);
        let mut controls: Vec<_> = controls.map(|(_, payload)| &payload[..]).collect();
        assert_eq!(controls.pop(), Some(&b"\x03\xe8bye"[..]));
        controls.sort_unstable();
        assert_eq!(controls, [&b"ping"[..], b"you"]);
        let empty = payloads
            .iter()
            .filter(|(_, payload)| payload.is_empty())
            .count();
        let known = payloads.iter().filter(|(first, payload)| {
            first & 8 != 0 || payload.first().is_none_or(|byte| b"mtp".contains(byte))
        });
        // All but the empty ones were counted: two messages, and what ends the one in parts.
        assert_eq!(known.count(), payloads.len());
        assert!((2..=4).contains(&empty), "{empty} empty frames");
    }
}

#[cfg(feature = "deflate")]
#[tokio::test]
async fn what_is_compressed_holds_nothing_of_what_lies_in_memory() {
    // The same every time, whatever lies about.
    let compressed = |text: String| async move {
        let deflate = hybi::Deflate::default().threshold(0);
        let options = Options::new().deflate(deflate);
        let (ours, mut theirs) = tokio::io::duplex(8 << 20);
        let connect = hybi::connect("ws://localhost").options(options).over(ours);
        let server = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                tokio::io::AsyncReadExt::read_exact(&mut theirs, &mut byte)
                    .await
                    .unwrap();
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let key = head
                .lines()
                .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
            let key = hybi_proto::handshake::Key::parse(key.unwrap().as_bytes()).unwrap();
            let accept = key.accept();
            let answer =
                super::answers::accepted(&["Sec-WebSocket-Extensions: permessage-deflate"]);
            let answer = answer.replace("{accept}", accept.to_str().unwrap());
            theirs.write_all(answer.as_bytes()).await.unwrap();
            theirs
        };
        let (ws, mut theirs) = tokio::join!(connect, server);
        let mut ws = ws.unwrap();
        litter();
        ws.send(text).await.unwrap();
        ws.abort();
        drop(ws);
        let heard = listen(&mut theirs).await.bytes;
        let (frame, _) = next_frame(&heard).unwrap().unwrap();
        assert_eq!(frame.first() & 0x40, 0x40);
        frame.payload
    };
    for size in [0, 1, 125, 4_000, 65_535, 65_537, 200_000] {
        let words = |number: usize| format!("{} ", number % 977 * number % 977);
        let text: String = (0..size).map(words).take(size).collect();
        let first = compressed(text.clone()).await;
        for _ in 0..3 {
            assert!(compressed(text.clone()).await == first, "{size}");
        }
    }
}

/// All that an error says, its causes included.
fn told(error: &Error) -> String {
    let mut told = format!("{error} {error:?}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        told += &format!(" {error} {error:?}");
        cause = error.source();
    }
    told
}

#[tokio::test]
async fn no_error_tells_a_secret() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = nobody.local_addr().unwrap();
    drop(nobody);
    let strict = Victim::serve(|server| server.origins(hybi::Origins::List(Vec::new()))).await;
    let (here, patient) = (strict.addr, Options::new);
    let secret = |url: String| {
        hybi::connect(url)
            .basic_auth("alice", "s3cret")
            .header("Cookie", "id=s3cret")
            .origin("http://elsewhere")
    };
    let proxied = |addr, url: &str| {
        let proxy = Proxy::parse(&format!("http://alice:s3cret@{addr}")).unwrap();
        Client::new().proxy(proxy).connect(url)
    };
    let user = |rest: &str| hybi::connect(format!("ws://alice:s3cret@{rest}"));
    let mut failures = Failures::default();
    for (name, connect) in [
        ("nobody is there", user(&gone.to_string())),
        (
            "refused",
            user(&here.to_string()).origin("http://elsewhere"),
        ),
        ("refused, with headers", secret(format!("ws://{here}"))),
        ("a fragment", user("example.com/#x")),
        ("no host", user("")),
        ("a port that is none", user("example.com:x/")),
        ("a space", user("exa mple.com/")),
        (
            "another scheme",
            hybi::connect("ftp://alice:s3cret@example.com/"),
        ),
        (
            "the old scheme",
            hybi::connect("http//alice:s3cret@example.com/"),
        ),
        (
            "a value with a line end",
            hybi::connect("ws://a").header("Authorization", "s3cret\r\nX: y"),
        ),
        (
            "a value with NUL",
            hybi::connect("ws://a").header("Cookie", "s3cret\0"),
        ),
        (
            "a token with a line end",
            hybi::connect("ws://a").bearer_auth("s3cret\n"),
        ),
        (
            "a user with a colon",
            hybi::connect("ws://a").basic_auth("s3cret:", "s3cret"),
        ),
        ("no proxy is there", proxied(gone, "ws://example.com/")),
        ("no proxy is it", proxied(here, "ws://example.com/")),
        (
            "too short a time",
            secret(format!("ws://{here}"))
                .options(patient().handshake_timeout(std::time::Duration::ZERO)),
        ),
    ] {
        let outcome = match guarded(connect.into_future()).await {
            Ok(Ok(_)) => Err("it is accepted".into()),
            Ok(Err(error)) => match told(&error) {
                told if told.contains("s3cret") => Err(told),
                _ => Ok(()),
            },
            Err(why) => Err(why),
        };
        failures.row(name, outcome);
    }
    for (name, result) in [
        (
            "a proxy's scheme",
            Proxy::parse("ftp://alice:s3cret@example.com"),
        ),
        (
            "a proxy's port",
            Proxy::parse("http://alice:s3cret@example.com:x"),
        ),
        (
            "a proxy's path",
            Proxy::parse("http://alice:s3cret@exa mple.com/"),
        ),
    ] {
        let outcome = match result {
            Ok(_) => Err("it is taken".into()),
            Err(error) if format!("{error} {error:?}").contains("s3cret") => Err(error.to_string()),
            Err(_) => Ok(()),
        };
        failures.row(name, outcome);
    }
    failures.assert_none();
}

#[tokio::test]
async fn no_refusal_repeats_what_the_client_has_sent() {
    let victim = Victim::serve(|server| server).await;
    let secret = || {
        Head::handshake()
            .with("Cookie: id=s3cret")
            .with("Authorization: s3cret")
    };
    let mut failures = Failures::default();
    for (name, head) in [
        ("no key", secret().without("Sec-WebSocket-Key")),
        ("an origin", secret().with("Origin: http://s3cret.example")),
        (
            "a version",
            secret().value("Sec-WebSocket-Version", "s3cret"),
        ),
        ("a target", secret().line("GET s3cret HTTP/1.1")),
        ("a header", secret().with("s3cret s3cret")),
        (
            "a subprotocol",
            secret().with("Sec-WebSocket-Protocol: s3cret;"),
        ),
        (
            "an extension",
            secret().with("Sec-WebSocket-Extensions: s3cret; ="),
        ),
    ] {
        let outcome = match talk(victim.addr, &head.bytes(), Pace::Whole).await {
            Ok(heard) => match String::from_utf8_lossy(&heard.bytes) {
                told if told.contains("s3cret") => Err(told.into_owned()),
                told if told.starts_with("HTTP/1.1 4") => Ok(()),
                told => Err(told.into_owned()),
            },
            Err(why) => Err(why),
        };
        failures.row(name, outcome);
    }
    failures.assert_none();
}

/// A close frame that answers another one says what that said, and no more.
#[tokio::test]
async fn the_answer_to_a_close_has_its_code_and_no_byte_beside_what_is_said() {
    for payload in [&b""[..], b"\x03\xe8", b"\x0f\xa0", b"\x03\xe8a reason"] {
        litter();
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        theirs
            .write_all(&frame(FIN | CLOSE, payload))
            .await
            .unwrap();
        let mut ws = WebSocket::from_stream(ours, Role::Server, &Options::new(), &[]);
        assert_eq!(ws.recv().await.unwrap(), None::<Message>);
        drop(ws);
        let heard = listen(&mut theirs).await.bytes;
        let (frame, rest) = next_frame(&heard).unwrap().unwrap();
        assert!(rest.is_empty());
        assert!(payload.starts_with(&frame.payload), "{:?}", frame.payload);
        assert_eq!(frame.payload.len() < 2, payload.is_empty());
    }
}
