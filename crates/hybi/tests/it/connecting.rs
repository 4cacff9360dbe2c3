//! From a URL to a socket: names, addresses, Unix sockets, deadlines, and a last look at the
//! request. Real sockets where it is about sockets, else in memory on a paused clock.

use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderValue;
use hybi::{
    Client, Error, HandshakeError, Message, Options, OptionsError, Server, Timeout, WebSocket,
};
use hybi_proto::handshake::Key;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::fault::{self, each_fault};
use crate::support::ends;

/// Runs what must end, over real sockets.
async fn guarded<T>(future: impl IntoFuture<Output = T>) -> T {
    let guard = Duration::from_secs(60);
    tokio::time::timeout(guard, future).await.expect("hangs")
}

async fn server() -> (Server, SocketAddr) {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr().unwrap();
    (server, addr)
}

/// An address on which nobody listens.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// Connects, and says hello.
async fn greets(connect: hybi::Connect, server: &mut Server) -> (WebSocket, SocketAddr) {
    let (client, (mut accepted, peer)) = guarded(async {
        tokio::join!(async { connect.await.unwrap() }, async {
            let incoming = server.accept().await.unwrap();
            let peer = incoming.peer_addr();
            (incoming.accept().await.unwrap(), peer)
        })
    })
    .await;
    let mut client = client;
    client.send("hello").await.unwrap();
    let heard = guarded(accepted.recv()).await.unwrap();
    assert_eq!(heard, Some(Message::from("hello")));
    (client, peer.unwrap())
}

/// A client whose names all have these addresses.
fn resolving(addrs: &[SocketAddr]) -> Client {
    let addrs = addrs.to_vec();
    Client::new().resolver(move |_, _| {
        let addrs = addrs.clone();
        async { Ok(addrs) }
    })
}

#[tokio::test]
async fn a_resolver_of_ones_own_gets_the_name_and_the_port() {
    let (mut server, addr) = server().await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let told = asked.clone();
    let client = Client::new().resolver(move |host, port| {
        told.lock().unwrap().push((host, port));
        async move { Ok(vec![addr]) }
    });
    let (ws, _) = greets(client.connect("ws://CHAT.example/"), &mut server).await;
    assert_eq!(ws.peer_addr(), Some(addr));
    assert_eq!(ws.uri().unwrap(), "ws://chat.example/");
    greets(client.connect("ws://chat.example:8080/"), &mut server).await;
    // An IP address is not asked about.
    greets(client.connect(format!("ws://{addr}/")), &mut server).await;
    let chat = |port| ("chat.example".to_owned(), port);
    assert_eq!(*asked.lock().unwrap(), [chat(80), chat(8080)]);
}

#[tokio::test]
async fn an_address_that_refuses_gives_way_to_the_next() {
    let (mut server, addr) = server().await;
    let client = resolving(&[nobody().await, nobody().await, addr]);
    let (ws, _) = greets(client.connect("ws://chat.example/"), &mut server).await;
    assert_eq!(ws.peer_addr(), Some(addr));
    let client = resolving(&[nobody().await, nobody().await]);
    let error = guarded(client.connect("ws://chat.example/"))
        .await
        .unwrap_err();
    let refused =
        matches!(&error, Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused);
    assert!(refused && error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn a_name_without_an_address_and_a_resolver_that_fails_are_errors() {
    let error = guarded(resolving(&[]).connect("ws://chat.example/")).await;
    let error = error.unwrap_err();
    let missing = matches!(&error, Error::Io(error) if error.kind() == io::ErrorKind::NotFound);
    assert!(missing, "{error:?}");
    let client = Client::new().resolver(|_, _| async { Err(io::Error::other("no such name")) });
    let error = guarded(client.connect("ws://chat.example/")).await;
    assert_eq!(error.unwrap_err().to_string(), "no such name");
}

#[tokio::test]
async fn a_connection_comes_from_the_local_address() {
    let (mut server, addr) = server().await;
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    // What is of the other family is passed over.
    let far = SocketAddr::from((Ipv6Addr::LOCALHOST, addr.port()));
    let client = resolving(&[far, addr]).local_address(local);
    let (ws, peer) = greets(client.connect("ws://chat.example/"), &mut server).await;
    assert_eq!(ws.local_addr().unwrap().ip(), local);
    assert_eq!(peer.ip(), local);
    let error = resolving(&[far]).local_address(local);
    let error = guarded(error.connect("ws://chat.example/")).await;
    let error = error.unwrap_err();
    assert!(error.to_string().contains("local_address"), "{error}");
    // Not one of ours.
    let client = Client::new().local_address(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    let error = guarded(client.connect(format!("ws://{addr}/"))).await;
    assert!(matches!(error, Err(Error::Io(_))), "{error:?}");
}

#[each_fault]
async fn the_connect_timeout_bounds_the_name_and_the_connection() {
    let client = Client::new()
        .resolver(|_, _| pending())
        .connect_timeout(Duration::from_secs(3));
    let begun = Instant::now();
    let error = ends(client.connect("ws://chat.example/"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Timeout(Timeout::Connect)),
        "{error:?}"
    );
    assert!(error.is_timeout() && error.is_retryable());
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
}

#[each_fault]
async fn without_one_the_deadline_of_the_handshake_bounds_it() {
    let options = Options::new().handshake_timeout(Duration::from_secs(2));
    let client = Client::new().resolver(|_, _| pending()).options(options);
    let begun = Instant::now();
    let error = ends(client.connect("ws://chat.example/"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Timeout(Timeout::Handshake)),
        "{error:?}"
    );
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
    let longer = client.connect_timeout(Duration::from_secs(3));
    let error = ends(longer.connect("ws://chat.example/"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Timeout(Timeout::Handshake)),
        "{error:?}"
    );
}

#[each_fault]
async fn the_connect_timeout_does_not_bound_the_answer() {
    let client = Client::new().connect_timeout(Duration::from_secs(1));
    let (ours, theirs) = fault::both(1024);
    let stream = Mutex::new(Some(ours));
    let connect = client.connect("ws://chat.example/").connector(move |_| {
        let stream = stream.lock().unwrap().take().unwrap();
        async { Ok(stream) }
    });
    let slow = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        hybi::accept(theirs).await.unwrap()
    };
    let (ws, _) = ends(async { tokio::join!(connect, slow) }).await;
    ws.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_a_place_like_any_other() {
    let folder = std::env::temp_dir().join(format!("hybi {}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("chat.sock");
    let _ = std::fs::remove_file(&path);
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let shown = path.to_str().unwrap().replace(' ', "%20");
    for (url, target) in [
        (format!("ws+unix:{shown}:/room?x=1"), "/room?x=1"),
        (format!("ws+unix://{shown}"), "/"),
    ] {
        let (client, accepted) = guarded(async {
            tokio::join!(async { hybi::connect(url).await.unwrap() }, async {
                let (stream, _) = listener.accept().await.unwrap();
                hybi::accept(stream).await.unwrap()
            })
        })
        .await;
        let (mut client, mut accepted) = (client, accepted);
        assert_eq!(accepted.uri().unwrap(), target);
        client.send("hello").await.unwrap();
        let heard = guarded(accepted.recv()).await.unwrap();
        assert_eq!(heard, Some(Message::from("hello")));
        assert_eq!(client.peer_addr(), None);
    }
    drop(listener);
    std::fs::remove_dir_all(&folder).unwrap();
    let error = guarded(hybi::connect(format!("ws+unix:{shown}"))).await;
    let error = error.unwrap_err();
    let missing = matches!(&error, Error::Io(error) if error.kind() == io::ErrorKind::NotFound);
    assert!(missing, "{error:?}");
}

#[tokio::test]
async fn a_last_look_sees_the_request_and_the_addresses_and_adds_headers() {
    let (mut server, addr) = server().await;
    let seen = Arc::new(Mutex::new(None));
    let told = seen.clone();
    let connect = hybi::connect(format!("ws://{addr}/chat"))
        .header("x-own", "1")
        .on_request(move |mut request, info| {
            assert_eq!(request.uri(), "/chat");
            assert!(request.headers().contains_key("sec-websocket-key"));
            *told.lock().unwrap() = Some(info);
            async move {
                tokio::task::yield_now().await;
                let headers = request.headers_mut();
                headers.insert("authorization", HeaderValue::from_static("Signed"));
                headers.remove("x-own");
                Ok(request)
            }
        });
    let (client, (headers, peer)) = guarded(async {
        tokio::join!(connect, async {
            let incoming = server.accept().await.unwrap();
            let seen = (incoming.headers().clone(), incoming.peer_addr());
            incoming.accept().await.unwrap();
            seen
        })
    })
    .await;
    client.unwrap();
    let info = seen.lock().unwrap().take().unwrap();
    assert_eq!(info.local_addr, peer);
    assert_eq!(info.peer_addr, Some(addr));
    assert_eq!(headers["authorization"], "Signed");
    assert!(!headers.contains_key("x-own"));
}

#[each_fault]
async fn a_last_look_cannot_change_the_handshake() {
    type Change = fn(&mut hybi::Request<()>);
    let host = |name| OptionsError::Header(http::HeaderName::from_static(name));
    let changes: [(Change, OptionsError); 5] = [
        (
            |request| {
                request.headers_mut().remove("host");
            },
            host("host"),
        ),
        (
            |request| {
                let other = HeaderValue::from_static("h2c");
                request.headers_mut().insert("upgrade", other);
            },
            host("upgrade"),
        ),
        (
            |request| {
                let body = HeaderValue::from_static("5");
                request.headers_mut().insert("content-length", body);
            },
            host("content-length"),
        ),
        (
            |request| *request.uri_mut() = hybi::Uri::from_static("/other"),
            OptionsError::RequestLine,
        ),
        (
            |request| *request = hybi::Request::new(()),
            OptionsError::RequestLine,
        ),
    ];
    for (change, fault) in changes {
        let (ours, mut theirs) = fault::ours(1024);
        let connect = hybi::connect("ws://chat.example/chat");
        let connect = connect.on_request(move |mut request, _| async move {
            change(&mut request);
            Ok(request)
        });
        let error = ends(connect.over(ours)).await.unwrap_err();
        let Error::Handshake(error) = error else {
            panic!("{error:?}");
        };
        match *error {
            HandshakeError::Options(error) => assert_eq!(error, fault),
            other => panic!("{other:?}"),
        }
        let mut sent = Vec::new();
        theirs.read_to_end(&mut sent).await.unwrap();
        assert!(sent.is_empty(), "{fault:?}");
    }
}

#[each_fault]
async fn a_last_look_can_fail_the_handshake_and_has_its_time() {
    let over = |connect: hybi::Connect| async {
        let (ours, _theirs) = fault::ours(1024);
        ends(connect.over(ours)).await.unwrap_err()
    };
    let connect = hybi::connect("ws://chat.example/");
    let error = over(connect.on_request(|_, _| async { Err(Error::other("no key")) })).await;
    assert!(matches!(&error, Error::Other(_)), "{error:?}");
    assert_eq!(error.to_string(), "no key");
    let connect = hybi::connect("ws://chat.example/");
    let error = over(connect.on_request(|_, _| pending())).await;
    assert!(
        matches!(error, Error::Timeout(Timeout::Handshake)),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_response_is_given_to_who_asks_for_it() {
    let (mut server, addr) = server().await;
    let connect = hybi::connect(format!("ws://{addr}/")).protocol("chat");
    let (opened, ()) = guarded(async {
        tokio::join!(connect.with_response(), async {
            let mut incoming = server.accept().await.unwrap();
            incoming.choose_protocol(Some("chat"));
            incoming.accept().await.unwrap();
        })
    })
    .await;
    let (ws, response) = opened.unwrap();
    assert_eq!(ws.protocol(), Some("chat"));
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
}

#[each_fault]
async fn a_bearer_token_wins_and_one_that_cannot_be_sent_is_refused() {
    let (ours, mut theirs) = fault::ours(4096);
    let connect = hybi::connect("ws://u:p@chat.example/").basic_auth("v", "q");
    let connect = connect.bearer_auth("one").bearer_auth("two");
    let (ws, head) = ends(async {
        tokio::join!(connect.over(ours), async {
            let mut head = vec![0; 1024];
            let length = theirs.read(&mut head).await.unwrap();
            drop(theirs);
            String::from_utf8(head[..length].to_vec()).unwrap()
        })
    })
    .await;
    ws.unwrap_err();
    let lines = head.lines().filter(|line| line.starts_with("Auth"));
    assert_eq!(lines.collect::<Vec<_>>(), ["Authorization: Bearer two"]);
    let (ours, _theirs) = fault::ours(4096);
    let connect = hybi::connect("ws://chat.example/").bearer_auth("a\r\nb: c");
    let error = ends(connect.over(ours)).await.unwrap_err();
    let Error::Handshake(error) = error else {
        panic!("{error:?}");
    };
    assert!(matches!(*error, HandshakeError::Header(_)), "{error:?}");
}

/// Accepts by hand, so that the frames can be looked at.
async fn accept_raw(stream: &mut DuplexStream) {
    let mut head = vec![0; 1024];
    let length = stream.read(&mut head).await.unwrap();
    let head = String::from_utf8(head[..length].to_vec()).unwrap();
    let mut lines = head.lines();
    let key = lines.find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    let key = Key::parse(key.unwrap().as_bytes()).unwrap();
    let accept = key.accept();
    let answer = format!(
        "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept.to_str().unwrap()
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
}

#[each_fault(counts)]
async fn a_mask_source_of_ones_own_masks_each_frame() {
    let (ours, mut theirs) = fault::ours(4096);
    let connect = hybi::connect("ws://chat.example/").mask_source(|| [1, 2, 3, 4]);
    let (ws, ()) = ends(async { tokio::join!(connect.over(ours), accept_raw(&mut theirs)) }).await;
    let mut ws = ws.unwrap();
    ws.send("abc").await.unwrap();
    let mut frame = [0; 9];
    ends(theirs.read_exact(&mut frame)).await.unwrap();
    assert_eq!(
        frame,
        [0x81, 0x83, 1, 2, 3, 4, b'a' ^ 1, b'b' ^ 2, b'c' ^ 3]
    );
}

#[test]
fn what_is_shown_of_a_connect_is_not_secret() {
    let connect = Client::new().connect("ws://alice:secret@chat.example/room");
    let connect = connect.bearer_auth("token").basic_auth("bob", "hidden");
    let shown = format!("{connect:?} {:?}", Client::new());
    assert!(shown.contains("chat.example/room"), "{shown}");
    for secret in ["alice", "secret", "token", "bob", "hidden"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
