//! WebSockets in a server of hyper's: on plain connections of HTTP/1, and on those of hyper-util
//! which speak either version.

use std::convert::Infallible;
use std::future::{pending, ready};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use ::hyper::body::Incoming;
use ::hyper::server::conn::http1;
use ::hyper::service::service_fn;
use http_body_util::Full;
use hybi::events::{Handler, Peer};
use hybi::test::Frame;
use hybi::{
    Bytes, CloseCode, CloseInfo, Deflate, Error, HandshakeError, Initiator, Message, MessageRef,
    Options, Origins, Request, RequestError, Response, Server, Stream, Timeout, Upgrade, WebSocket,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::rustls::{self, pki_types::PrivateKeyDer};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::fault::{self, each_fault};
use crate::support::{ends, masked, unmasked};

type Body = Full<Bytes>;

/// What serves a connection.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Http1,
    Auto,
}

const KINDS: [Kind; 2] = [Kind::Http1, Kind::Auto];

async fn serve<F>(kind: Kind, service: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> Response<Body> + Clone + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(serve_one(kind, tcp, service.clone()));
        }
    });
    address
}

async fn serve_one<F>(kind: Kind, tcp: TcpStream, service: F)
where
    F: Fn(Request<Incoming>) -> Response<Body> + Clone + Send + Sync + 'static,
{
    let tcp = TokioIo::new(tcp);
    let service = service_fn(move |request| ready(Ok::<_, Infallible>(service(request))));
    match kind {
        Kind::Http1 => {
            let connection = http1::Builder::new().serve_connection(tcp, service);
            let _ = connection.with_upgrades().await;
        }
        Kind::Auto => {
            let builder = auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection_with_upgrades(tcp, service).await;
        }
    }
}

async fn echo(ws: WebSocket, _: Request<()>) -> hybi::Result<()> {
    crate::support::echo(ws).await
}

/// Echoes, and serves plain requests with their target.
fn echo_beside_plain(mut request: Request<Incoming>) -> Response<Body> {
    match hybi::upgrade(&mut request) {
        Some(upgrade) => upgrade.protocols(["v2", "v1"]).on_upgrade(echo),
        None => Response::new(format!("plain {}", request.uri()).into()),
    }
}

const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n";

/// A response as it is on the wire, up to the end of its head.
async fn read_head(tcp: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A whole answer that ends the connection: its status, its headers in order, its body.
async fn ask(address: SocketAddr, request: &str) -> (String, Vec<String>, String) {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    ends(tcp.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let (first, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let status = first.split(' ').nth(1).unwrap().to_owned();
    let headers = headers.lines().map(str::to_ascii_lowercase);
    // hyper adds a date.
    let headers = headers.filter(|header| !header.starts_with("date:"));
    let mut headers: Vec<String> = headers.collect();
    headers.sort();
    (status, headers, body.to_owned())
}

#[tokio::test]
async fn a_client_is_echoed_over_the_tcp_socket_itself() {
    for kind in KINDS {
        let (told, mut tell) = mpsc::unbounded_channel();
        let address = serve(kind, move |mut request| {
            let told = told.clone();
            let upgrade: Upgrade<Body> = hybi::upgrade(&mut request).unwrap();
            upgrade
                .protocols(["v2", "v1"])
                .on_upgrade(move |ws, request| {
                    let addresses = (ws.local_addr(), ws.peer_addr());
                    told.send((addresses, request)).unwrap();
                    echo(ws, Request::new(()))
                })
        })
        .await;
        let connect = hybi::connect(format!("ws://{address}/chat?room=1")).protocol("v1");
        let mut ws = ends(connect).await.unwrap();
        assert_eq!(ws.protocol(), Some("v1"));
        let ((local, peer), request) = tell.recv().await.unwrap();
        assert_eq!(request.uri(), "/chat?room=1");
        assert_eq!(request.headers()["sec-websocket-protocol"], "v1");
        // Only of a socket that was taken out they are known.
        assert_eq!((local, peer), (ws.peer_addr(), ws.local_addr()), "{kind:?}");
        for message in [Message::from("hello"), Message::from(vec![7; 1 << 20])] {
            ws.send(message.clone()).await.unwrap();
            assert_eq!(ends(ws.recv()).await.unwrap(), Some(message));
        }
        let info = ends(ws.close(CloseCode::NORMAL, "bye")).await.unwrap();
        assert!(info.clean, "{info:?}");
    }
}

#[tokio::test]
async fn frames_in_the_segment_of_the_request_are_not_lost() {
    for kind in KINDS {
        let address = serve(kind, echo_beside_plain).await;
        let mut tcp = TcpStream::connect(address).await.unwrap();
        let frames = masked(&[Frame::text("one"), Frame::text("two")]);
        let request = [HANDSHAKE.as_bytes(), b"\r\n", &frames].concat();
        tcp.write_all(&request).await.unwrap();
        let head = ends(read_head(&mut tcp)).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{kind:?}: {head}");
        let expected = unmasked(&[Frame::text("one"), Frame::text("two")]);
        let mut answer = vec![0; expected.len()];
        ends(tcp.read_exact(&mut answer)).await.unwrap();
        assert_eq!(answer, expected, "{kind:?}");
    }
}

#[tokio::test]
async fn a_connection_that_was_kept_alive_can_still_be_upgraded() {
    for kind in KINDS {
        let address = serve(kind, echo_beside_plain).await;
        let mut tcp = TcpStream::connect(address).await.unwrap();
        for path in ["/a", "/b"] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
            tcp.write_all(request.as_bytes()).await.unwrap();
            let head = ends(read_head(&mut tcp)).await;
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            let mut body = [0; 8];
            tcp.read_exact(&mut body).await.unwrap();
            assert_eq!(body, *format!("plain {path}").as_bytes());
        }
        tcp.write_all(format!("{HANDSHAKE}\r\n").as_bytes())
            .await
            .unwrap();
        let head = ends(read_head(&mut tcp)).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{kind:?}: {head}");
        tcp.write_all(&masked(&[Frame::text("x")])).await.unwrap();
        let mut answer = [0; 3];
        ends(tcp.read_exact(&mut answer)).await.unwrap();
        assert_eq!(answer, *unmasked(&[Frame::text("x")]));
    }
}

#[tokio::test]
async fn what_is_refused_is_refused_as_by_our_own_server() {
    let ours = Server::bind("127.0.0.1:0").await.unwrap();
    let ours_address = ours.local_addr().unwrap();
    tokio::spawn(ours.serve(echo));
    let requests = [
        ("405", HANDSHAKE.replace("GET", "POST")),
        (
            "400",
            HANDSHAKE.replace("Upgrade: websocket", "Upgrade: h2c"),
        ),
        (
            "400",
            HANDSHAKE.replace("Connection: Upgrade\r\n", "Connection: close\r\n"),
        ),
        (
            "400",
            HANDSHAKE.replace("dGhlIHNhbXBsZSBub25jZQ==", "short"),
        ),
        ("426", HANDSHAKE.replace("Version: 13", "Version: 12")),
        (
            "400",
            format!("{HANDSHAKE}Sec-WebSocket-Protocol: a, a\r\n"),
        ),
        ("400", format!("{HANDSHAKE}Sec-WebSocket-Extensions: ;\r\n")),
        (
            "403",
            format!("{HANDSHAKE}Origin: https://elsewhere.example\r\n"),
        ),
    ];
    for kind in KINDS {
        let address = serve(kind, echo_beside_plain).await;
        for (status, request) in &requests {
            let request = format!("{request}\r\n");
            let answer = ask(address, &request).await;
            assert_eq!(answer.0, *status, "{kind:?}: {request}");
            assert_eq!(answer, ask(ours_address, &request).await, "{request}");
        }
    }
}

#[tokio::test]
async fn a_server_of_nothing_else_answers_plain_requests_as_our_own() {
    let ours = Server::bind("127.0.0.1:0").await.unwrap();
    let ours_address = ours.local_addr().unwrap();
    tokio::spawn(ours.serve(echo));
    let address = serve(Kind::Http1, |request| {
        assert!(!hybi::upgrade::is_upgrade(&request));
        hybi::upgrade::required()
    })
    .await;
    let request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let answer = ask(address, request).await;
    assert_eq!(answer.0, "426");
    assert_eq!(answer, ask(ours_address, request).await);
}

#[tokio::test]
async fn what_the_handler_returns_is_how_the_connection_is_closed() {
    for kind in KINDS {
        let address = serve(kind, |mut request| {
            let upgrade: Upgrade<Body> = hybi::upgrade(&mut request).unwrap();
            upgrade.on_upgrade(|_, request| async move {
                match request.uri().path() {
                    "/fails" => Err(Error::other("no")),
                    "/panics" => panic!("as it should"),
                    _ => Ok(()),
                }
            })
        })
        .await;
        let ends_with = [
            ("/", CloseCode::NORMAL),
            ("/fails", CloseCode::INTERNAL),
            ("/panics", CloseCode::INTERNAL),
        ];
        for (path, code) in ends_with {
            let mut ws = ends(hybi::connect(format!("ws://{address}{path}")))
                .await
                .unwrap();
            assert_eq!(ends(ws.recv()).await.unwrap(), None);
            let info = ws.close_info().unwrap();
            assert!(info.clean && info.code == code, "{kind:?} {path}: {info:?}");
        }
    }
}

/// Greets, and echoes.
struct Greeter(mpsc::UnboundedSender<CloseInfo>);

impl Handler for Greeter {
    type State = ();

    fn on_open(&self, peer: &mut Peer<'_>, request: Request<()>) -> hybi::Result<()> {
        peer.send(request.uri().path())
    }

    fn on_message(&self, peer: &mut Peer<'_>, message: MessageRef<'_>) -> hybi::Result<()> {
        peer.send(message)
    }

    fn on_close(&self, _: &mut Peer<'_>, info: &CloseInfo) {
        self.0.send(info.clone()).unwrap();
    }
}

#[tokio::test]
async fn a_handler_of_events_is_told_of_all() {
    let (told, mut tell) = mpsc::unbounded_channel();
    let greeter = Arc::new(Greeter(told));
    let address = serve(Kind::Auto, move |mut request| {
        let upgrade: Upgrade<Body> = hybi::upgrade(&mut request).unwrap();
        upgrade.on_upgrade_events(greeter.clone())
    })
    .await;
    let mut ws = ends(hybi::connect(format!("ws://{address}/events")))
        .await
        .unwrap();
    assert_eq!(ends(ws.recv()).await.unwrap(), Some("/events".into()));
    ws.send("again").await.unwrap();
    assert_eq!(ends(ws.recv()).await.unwrap(), Some("again".into()));
    ends(ws.close(CloseCode::GOING_AWAY, "")).await.unwrap();
    let info = tell.recv().await.unwrap();
    assert!(info.clean && info.initiator == Initiator::Peer, "{info:?}");
    assert_eq!(info.code, CloseCode::GOING_AWAY);
}

#[tokio::test]
async fn the_options_bind_the_connection_and_its_answer() {
    let address = serve(Kind::Http1, |mut request| {
        let upgrade: Upgrade<Body> = hybi::upgrade(&mut request).unwrap();
        assert_eq!(upgrade.headers(), upgrade.request().headers());
        let options = Options::new().deflate(Deflate::default()).max_message(5);
        let header = |name: &'static str, value: &'static str| {
            (name.parse().unwrap(), value.parse().unwrap())
        };
        let (cookie, forbidden) = (header("set-cookie", "a=b"), header("upgrade", "h2c"));
        upgrade
            .options(options)
            .origins(Origins::Any)
            .first_protocol_offered(true)
            .header(cookie.0, cookie.1)
            .header(forbidden.0, forbidden.1)
            .on_upgrade(echo)
    })
    .await;
    let connect = hybi::connect(format!("ws://{address}"))
        .origin("https://elsewhere.example")
        .protocol("whatever");
    let mut ws = ends(connect).await.unwrap();
    assert_eq!(ws.protocol(), Some("whatever"));
    assert!(ws.extensions().deflate().is_some());
    ws.send("123456").await.unwrap();
    assert_eq!(ends(ws.recv()).await.unwrap(), None);
    assert_eq!(ws.close_info().unwrap().code, CloseCode::TOO_BIG);

    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(format!("{HANDSHAKE}\r\n").as_bytes())
        .await
        .unwrap();
    let head = ends(read_head(&mut tcp)).await.to_ascii_lowercase();
    assert!(head.contains("set-cookie: a=b\r\n"), "{head}");
    assert!(!head.contains("h2c"), "{head}");
}

/// Accepts by hand, and gives what comes of it.
async fn accepting(kind: Kind) -> (SocketAddr, mpsc::UnboundedReceiver<hybi::Result<WebSocket>>) {
    let (give, given) = mpsc::unbounded_channel();
    let address = serve(kind, move |mut request| {
        let upgrade: Upgrade<Body> = hybi::upgrade(&mut request).unwrap();
        let (response, upgrading) = upgrade.accept();
        let give = give.clone();
        tokio::spawn(async move { give.send(upgrading.await) });
        response
    })
    .await;
    (address, given)
}

#[tokio::test]
async fn who_accepts_by_hand_gets_the_socket_undriven() {
    let (address, mut given) = accepting(Kind::Auto).await;
    let mut client = ends(hybi::connect(format!("ws://{address}/x")))
        .await
        .unwrap();
    let mut ws = ends(given.recv()).await.unwrap().unwrap();
    assert_eq!(ws.uri().unwrap(), "/x");
    assert_eq!(ws.peer_addr(), client.local_addr());
    ws.send("welcome").await.unwrap();
    assert_eq!(ends(client.recv()).await.unwrap(), Some("welcome".into()));
}

#[tokio::test]
async fn who_accepts_by_hand_hears_what_is_wrong_with_the_request() {
    let (address, mut given) = accepting(Kind::Http1).await;
    let connect = hybi::connect(format!("ws://{address}")).origin("https://elsewhere.example");
    let refused = ends(connect).await.unwrap_err();
    assert!(matches!(&refused, Error::Handshake(error) if error.status().unwrap() == 403));
    let Error::Handshake(error) = given.recv().await.unwrap().unwrap_err() else {
        panic!("another error");
    };
    assert!(matches!(
        *error,
        HandshakeError::Request(RequestError::Origin)
    ));
}

#[tokio::test]
async fn a_connection_that_is_served_without_upgrades_is_an_error_that_says_so() {
    let (give, given) = oneshot::channel();
    let give = Arc::new(std::sync::Mutex::new(Some(give)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let upgrade: Upgrade<Body> = hybi::upgrade(&mut request).unwrap();
            let (response, upgrading) = upgrade.accept();
            let give = give.lock().unwrap().take().unwrap();
            tokio::spawn(async move { give.send(upgrading.await) });
            ready(Ok::<_, Infallible>(response))
        });
        // No `with_upgrades` here.
        let builder = http1::Builder::new();
        let _ = builder.serve_connection(TokioIo::new(tcp), service).await;
    });
    let _client = hybi::connect(format!("ws://{address}")).await;
    let failed = ends(given).await.unwrap().unwrap_err();
    assert!(
        matches!(&failed, Error::Io(error) if error.kind() == ErrorKind::Unsupported),
        "{failed:?}"
    );
}

/// A handshake that no server has received.
fn made_up() -> Request<()> {
    let request = Request::get("/").header("host", "h");
    let request = request
        .header("upgrade", "websocket")
        .header("connection", "upgrade")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-version", "13");
    request.body(()).unwrap()
}

#[tokio::test]
async fn a_request_without_a_stream_is_answered_500() {
    let upgrade: Upgrade = hybi::upgrade(&mut made_up()).unwrap();
    let (response, upgrading) = upgrade.accept();
    assert_eq!(response.status(), 500);
    let failed = upgrading.await.unwrap_err();
    assert!(
        matches!(&failed, Error::Io(error) if error.kind() == ErrorKind::Unsupported),
        "{failed:?}"
    );
}

#[test]
fn a_plain_request_stays_as_it_was() {
    let mut request = Request::post("/form").body("name=value").unwrap();
    request.extensions_mut().insert(7_u8);
    let upgrade: Option<Upgrade> = hybi::upgrade(&mut request);
    assert!(upgrade.is_none());
    assert_eq!(request.extensions().get::<u8>(), Some(&7));
    assert_eq!(*request.body(), "name=value");
}

#[test]
fn what_was_put_into_the_request_reaches_the_handler() {
    let mut request = made_up();
    request.extensions_mut().insert("user 7");
    let upgrade: Upgrade = hybi::upgrade(&mut request).unwrap();
    let extensions = upgrade.request().extensions();
    assert_eq!(extensions.get::<&str>(), Some(&"user 7"));
}

#[each_fault]
async fn a_stream_that_is_not_handed_over_is_not_waited_for_forever() {
    let (client, server) = fault::ours(1024);
    let (give, mut given) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let service = service_fn(move |mut request: Request<Incoming>| {
            let upgrade: Upgrade<Body> = hybi::upgrade(&mut request).unwrap();
            let (_, upgrading) = upgrade.accept();
            let give = give.clone();
            tokio::spawn(async move { give.send(upgrading.await) });
            // It never answers.
            pending::<Result<Response<Body>, Infallible>>()
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(server), service);
        let _ = connection.with_upgrades().await;
    });
    let options = Options::new().handshake_timeout(None);
    let connect = hybi::connect("ws://h").options(options);
    let _client = tokio::spawn(connect.over(client));
    let failed = ends(given.recv()).await.unwrap().unwrap_err();
    assert!(
        matches!(failed, Error::Timeout(Timeout::Handshake)),
        "{failed:?}"
    );
}

#[each_fault]
async fn memory_and_streams_of_any_kind_carry_it_too() {
    for known in [true, false] {
        let (client, server) = fault::ours(1024);
        tokio::spawn(async move {
            let service =
                service_fn(|request| ready(Ok::<_, Infallible>(echo_beside_plain(request))));
            let builder = http1::Builder::new();
            if known {
                let connection = builder.serve_connection(TokioIo::new(server), service);
                let _ = connection.with_upgrades().await;
            } else {
                // A stream that nobody can take out, for nobody knows its type.
                let (reader, writer) = tokio::io::split(server);
                let server = TokioIo::new(tokio::io::join(reader, writer));
                let connection = builder.serve_connection(server, service);
                let _ = connection.with_upgrades().await;
            }
        });
        let connect = hybi::connect("ws://h").over(client);
        let mut ws = ends(connect).await.unwrap();
        let message = Message::from("x".repeat(100_000));
        ws.send(message.clone()).await.unwrap();
        assert_eq!(ends(ws.recv()).await.unwrap(), Some(message));
        let info = ends(ws.close(CloseCode::NORMAL, "")).await.unwrap();
        assert!(info.clean, "{info:?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_taken_out_too() {
    let (client, server) = tokio::net::UnixStream::pair().unwrap();
    tokio::spawn(async move {
        let service = service_fn(|request| ready(Ok::<_, Infallible>(echo_beside_plain(request))));
        let builder = auto::Builder::new(TokioExecutor::new());
        let server = TokioIo::new(server);
        let _ = builder
            .serve_connection_with_upgrades(server, service)
            .await;
    });
    let mut ws = ends(hybi::connect("ws://h").over(client)).await.unwrap();
    ws.send("hello").await.unwrap();
    assert_eq!(ends(ws.recv()).await.unwrap(), Some("hello".into()));
}

/// The two ends of TLS, for `localhost`; the client asks for this protocol.
fn tls(alpn: &str) -> (TlsAcceptor, TlsConnector) {
    let names = ["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![alpn.into()];
    (Arc::new(server).into(), Arc::new(client).into())
}

#[tokio::test]
async fn tls_carries_both_versions_and_is_taken_out_of_the_first() {
    for (alpn, http2) in [("http/1.1", false), ("h2", true)] {
        let (acceptor, connector) = tls(alpn);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, mut told) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let tls = TokioIo::new(acceptor.accept(tcp).await.unwrap());
            let service = service_fn(move |mut request: Request<Incoming>| {
                let upgrade: Upgrade<Body> = hybi::upgrade(&mut request).unwrap();
                let tell = tell.clone();
                let response = upgrade.on_upgrade(move |ws, request| {
                    tell.send(ws.peer_addr()).unwrap();
                    echo(ws, request)
                });
                ready(Ok::<_, Infallible>(response))
            });
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http2().enable_connect_protocol();
            let _ = builder.serve_connection_with_upgrades(tls, service).await;
        });
        let connect = hybi::connect("wss://localhost/").http2(http2);
        let connect = connect.connector(move |_| {
            let connector = connector.clone();
            async move {
                let tcp = TcpStream::connect(address).await?;
                let name = "localhost".try_into().unwrap();
                Ok(Stream::new(connector.connect(name, tcp).await?))
            }
        });
        let mut ws = ends(connect).await.unwrap();
        let peer = told.recv().await.unwrap();
        assert_eq!(peer.is_some(), !http2);
        let message = Message::from(vec![7; 1 << 20]);
        ws.send(message.clone()).await.unwrap();
        assert!(ends(ws.recv()).await.unwrap() == Some(message), "{alpn}");
        let info = ends(ws.close(CloseCode::NORMAL, "")).await.unwrap();
        assert!(info.clean, "{info:?}");
    }
}
