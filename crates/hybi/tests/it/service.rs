//! A whole server as a service of tower's, in a server of hyper's over HTTP/1 and HTTP/2.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::Full;
use hybi::server::{ClientIp, PathParams};
use hybi::{
    Bytes, Connect, Error, Forwarded, Incoming, Message, Options, Request, Response, Result,
    Server, StatusCode, WebSocket,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tower_service::Service as _;

use crate::fault::{self, Faulty, each_fault};
use crate::support::{ends, masked, unmasked};

/// What connects to a server of hyper's that has this one for its service.
fn inside(server: Server) -> impl Fn() -> Faulty<DuplexStream> + Clone + Send + Sync + 'static {
    let service = server.into_service::<Full<Bytes>>().unwrap();
    move || {
        let (client, server) = fault::both(1 << 16);
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let mut http = Builder::new(TokioExecutor::new());
            http.http2().enable_connect_protocol();
            let io = TokioIo::new(server);
            http.serve_connection_with_upgrades(io, service).await.ok()
        });
        client
    }
}

/// A client over HTTP/1 and one over HTTP/2.
fn clients(
    path: &str,
    open: &(impl Fn() -> Faulty<DuplexStream> + Clone + Send + Sync + 'static),
) -> [Connect; 2] {
    [false, true].map(|http2| {
        let open = open.clone();
        let connect = hybi::connect(format!("ws://h{path}")).http2(http2);
        connect.connector(move |_| std::future::ready(Ok(open())))
    })
}

async fn tell(mut ws: WebSocket, what: String) -> Result<()> {
    ws.send(what).await?;
    crate::support::echo(ws).await
}

async fn hear(connect: Connect) -> String {
    let mut ws = ends(connect).await.unwrap();
    match ends(ws.recv()).await.unwrap() {
        Some(Message::Text(text)) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

async fn refused(connect: Connect) -> (u16, String) {
    match ends(connect).await {
        Err(Error::Handshake(error)) => {
            let response = error.response().expect("a response");
            let body = String::from_utf8_lossy(response.body()).into_owned();
            (response.status().as_u16(), body)
        }
        other => panic!("{other:?}"),
    }
}

#[each_fault]
async fn routes_mounted_servers_and_hooks_are_as_on_a_socket() {
    let room = |ws, request: Request<()>| {
        let params = request.extensions().get::<PathParams>().unwrap();
        tell(ws, params.get("room").unwrap().to_owned())
    };
    let hook = |incoming: Incoming| async move {
        match incoming.headers().contains_key("authorization") {
            true => Ok(incoming),
            false => Err(incoming
                .reject(StatusCode::UNAUTHORIZED)
                .body("who are you?")),
        }
    };
    let other = Server::detached().handler(|ws, _| tell(ws, "other".into()));
    let others = other.clients();
    let server = Server::detached()
        .route("/rooms/{room}", room)
        .mount("/other", other.on_handshake(hook));
    let open = inside(server);
    for connect in clients("/rooms/a%20b", &open) {
        assert_eq!(hear(connect).await, "a b");
    }
    for connect in clients("/other", &open) {
        let connect = connect.header("authorization", "x");
        let mut ws = ends(connect).await.unwrap();
        assert_eq!(others.len(), 1);
        let heard = ends(ws.recv()).await.unwrap();
        assert_eq!(heard, Some(Message::from("other")));
        ends(ws.close(hybi::CloseCode::NORMAL, "")).await.unwrap();
    }
    for connect in clients("/other", &open) {
        assert_eq!(refused(connect).await, (401, "who are you?".into()));
    }
    let nowhere = "no WebSocket is served at this path\n";
    for connect in clients("/nowhere", &open) {
        assert_eq!(refused(connect).await, (404, nowhere.into()));
    }
    for connect in clients("/rooms/a", &open) {
        let refused = refused(connect.origin("https://elsewhere.example")).await;
        assert_eq!(refused.0, 403);
    }
}

#[each_fault]
async fn plain_requests_go_to_the_fallback_and_the_connection_stays() {
    let server = Server::detached().handler(|ws, _| tell(ws, "hello".into()));
    let server = server.fallback(|request| Response::new(format!("plain {}", request.uri())));
    let mut client = inside(server)();
    for path in ["/a", "/b?c"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let expected = format!("\r\n\r\nplain {path}");
        let mut answer = Vec::new();
        while !answer.ends_with(expected.as_bytes()) {
            answer.push(ends(client.read_u8()).await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
}

#[each_fault]
async fn what_comes_with_the_request_is_not_lost() {
    let server = Server::detached().handler(|ws, _| crate::support::echo(ws));
    let mut client = inside(server)();
    let request = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\n\r\n";
    let frame = [hybi::test::Frame::text("hi")];
    let bytes = [request.as_bytes(), &masked(&frame)].concat();
    client.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(&unmasked(&frame)) {
        answer.push(ends(client.read_u8()).await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{answer:?}");
}

#[each_fault]
async fn the_handle_ends_it_and_who_comes_then_gets_503() {
    let server = Server::detached().handler(|ws, _| crate::support::echo(ws));
    let handle = server.handle();
    let open = inside(server);
    let [first, second] = clients("/", &open);
    let mut ws = ends(first).await.unwrap();
    let end = tokio::spawn(async move { handle.shutdown(()).await });
    assert_eq!(ends(ws.recv()).await.unwrap(), None);
    let code = ws.close_info().unwrap().code;
    assert_eq!(code, hybi::CloseCode::GOING_AWAY);
    assert_eq!(refused(second).await.0, 503);
    assert_eq!(ends(end).await.unwrap().unwrap().closed, 1);
}

#[each_fault]
async fn who_is_held_up_in_the_handshake_gets_408() {
    let hook = |incoming| async move {
        std::future::pending::<()>().await;
        Ok(incoming)
    };
    let server = Server::detached().handler(|ws, _| crate::support::echo(ws));
    let server = server.on_handshake(hook).options(Options::new());
    for connect in clients("/", &inside(server)) {
        let connect = connect.options(Options::new().handshake_timeout(None));
        let late = "the opening handshake took too long\n";
        assert_eq!(refused(connect).await, (408, late.into()));
    }
}

#[each_fault]
async fn the_clients_address_is_known_where_the_request_has_it() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let server = Server::detached()
        .trusted_proxies(Forwarded::XForwardedFor, ["10.0.0.1"])
        .unwrap()
        .fallback(|_| Response::new(Bytes::new()))
        .on_handshake(move |incoming: Incoming| {
            let ip = incoming.request().extensions().get::<ClientIp>();
            let seen = (incoming.peer_addr(), ip.map(|ip| ip.0.to_string()));
            tell.lock().unwrap().push(seen);
            async move { Err(incoming.reject(StatusCode::FORBIDDEN)) }
        })
        .handler(|ws, _| crate::support::echo(ws));
    let mut service = server.into_service::<Bytes>().unwrap();
    let proxy: SocketAddr = "10.0.0.1:1".parse().unwrap();
    for peer in [Some(proxy), None] {
        let mut request = Request::builder()
            .uri("/")
            .header("host", "h")
            .header("upgrade", "websocket")
            .header("connection", "upgrade")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-version", "13")
            .header("x-forwarded-for", "192.0.2.1")
            .body(())
            .unwrap();
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        let response = ends(service.call(request)).await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
    }
    let expected = [(Some(proxy), Some("192.0.2.1".to_owned())), (None, None)];
    assert_eq!(*told.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_route_that_is_there_twice_is_an_error() {
    let server = Server::detached()
        .route("/a", |ws, _| crate::support::echo(ws))
        .route("/a", |ws, _| crate::support::echo(ws));
    assert!(server.into_service::<Bytes>().is_err());
}

#[each_fault]
async fn a_path_that_is_not_served_gets_404_even_where_a_socket_would_be_dropped() {
    let server = Server::detached().route("/a", |ws, _| crate::support::echo(ws));
    let open = inside(server.abort_unknown_paths(true));
    for connect in clients("/b", &open) {
        assert_eq!(refused(connect).await.0, 404);
    }
}

/// A handshake that no server of hyper's has read.
fn handshake() -> Request<()> {
    Request::builder()
        .uri("/")
        .header("host", "h")
        .header("upgrade", "websocket")
        .header("connection", "upgrade")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-version", "13")
        .body(())
        .unwrap()
}

#[each_fault]
async fn where_there_is_no_stream_to_take_over_the_answer_is_500_and_not_101() {
    let server = Server::detached().handler(|ws, _| crate::support::echo(ws));
    let clients = server.clients();
    let mut service = server.into_service::<Bytes>().unwrap();
    let response = ends(service.call(handshake())).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(clients.is_empty());
}

#[each_fault]
async fn no_refusal_is_taken_for_an_acceptance() {
    // Over HTTP/2 whatever is 2xx opens the stream.
    for (status, over_http1) in [(101, 500), (103, 500), (200, 200), (204, 204)] {
        let status = StatusCode::from_u16(status).unwrap();
        let reject = move |incoming: Incoming| async move { Err(incoming.reject(status)) };
        let server = Server::detached()
            .route("/", |ws, _| crate::support::echo(ws))
            .on_handshake(reject)
            .on_handshake_error(move |_, _| {
                let mut response = Response::new("");
                *response.status_mut() = status;
                response
            });
        let open = inside(server);
        for path in ["/", "/nowhere"] {
            let [http1, http2] = clients(path, &open);
            assert_eq!(refused(http1).await.0, over_http1, "{path}");
            assert_eq!(refused(http2).await.0, 500, "{path}");
        }
    }
}

#[each_fault]
async fn a_hook_that_panics_is_no_fault_of_the_clients() {
    let server = Server::detached().handler(|ws, _| crate::support::echo(ws));
    let server = server.max_connections(1).on_handshake(|incoming| async {
        assert!(incoming.headers().contains_key("authorization"), "a test");
        Ok(incoming)
    });
    let open = inside(server);
    for connect in clients("/", &open) {
        assert_eq!(refused(connect).await.0, 500);
    }
    for connect in clients("/", &open) {
        let mut ws = ends(connect.header("authorization", "x")).await.unwrap();
        ends(ws.close(hybi::CloseCode::NORMAL, "")).await.unwrap();
        drop(ws);
        crate::support::settle().await;
    }
}

#[tokio::test]
async fn the_fallback_knows_the_client_as_on_a_socket() {
    let server = Server::detached()
        .trusted_proxies(Forwarded::XForwardedFor, ["10.0.0.1"])
        .unwrap()
        .fallback(|request| {
            let ip = request.extensions().get::<ClientIp>();
            Response::new(format!("{:?}", ip.map(|ip| ip.0)))
        });
    let mut service = server.into_service::<Bytes>().unwrap();
    let mut request = Request::builder().header("x-forwarded-for", "192.0.2.1");
    let proxy: SocketAddr = "10.0.0.1:1".parse().unwrap();
    request.extensions_mut().unwrap().insert(proxy);
    let response = ends(service.call(request.body(()).unwrap())).await.unwrap();
    assert_eq!(response.body(), "Some(192.0.2.1)");
}

#[each_fault]
async fn who_leaves_in_the_hook_holds_nothing_any_more() {
    let held = Arc::new(());
    let holds = held.clone();
    let server = Server::detached().handler(|ws, _| crate::support::echo(ws));
    let server = server.on_handshake(move |incoming| {
        let held = holds.clone();
        async move {
            std::future::pending::<()>().await;
            drop(held);
            Ok(incoming)
        }
    });
    let options = Options::new().handshake_timeout(None);
    let mut service = server.options(options).into_service::<Bytes>().unwrap();
    let answer = tokio::spawn(service.call(handshake()));
    crate::support::settle().await;
    assert_eq!(Arc::strong_count(&held), 3);
    answer.abort();
    crate::support::settle().await;
    assert_eq!(Arc::strong_count(&held), 2);
}
