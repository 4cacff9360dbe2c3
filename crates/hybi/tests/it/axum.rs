//! WebSockets in a server of axum's, over both versions of HTTP.

use std::net::SocketAddr;

use ::axum::Router;
use ::axum::extract::{Path, State};
use ::axum::response::{IntoResponse, Response};
use ::axum::routing::{any, get};
use hybi::axum::Upgrade;
use hybi::{CloseCode, Error, Request, Result, Server, WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::ends;

/// What the service greets with.
#[derive(Clone)]
struct Greeting(&'static str);

async fn echo(ws: WebSocket, _: Request<()>) -> Result<()> {
    crate::support::echo(ws).await
}

async fn room(
    Path(room): Path<String>,
    State(Greeting(greeting)): State<Greeting>,
    upgrade: Upgrade,
) -> Response {
    if room == "none" {
        return (::axum::http::StatusCode::NOT_FOUND, "no such room").into_response();
    }
    upgrade
        .protocols(["v1"])
        .on_upgrade(move |mut ws, request| async move {
            ws.send(format!("{greeting}, {room}")).await?;
            echo(ws, request).await
        })
}

async fn page_or_socket(upgrade: Option<Upgrade>) -> impl IntoResponse {
    match upgrade {
        Some(upgrade) => upgrade.on_upgrade(echo),
        None => "a page".into_response(),
    }
}

async fn serve() -> SocketAddr {
    let app = Router::new()
        .route("/", get(|| async { "plain" }))
        .route("/rooms/{room}", any(room))
        .route("/both", any(page_or_socket))
        .with_state(Greeting("hello"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { ::axum::serve(listener, app).await });
    address
}

/// A whole answer, without its date and the case of its headers' names.
async fn plain(address: SocketAddr, path: &str) -> (String, String) {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    ends(tcp.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
}

#[tokio::test]
async fn a_route_of_sockets_stands_beside_plain_ones_and_has_the_state() {
    let address = serve().await;
    assert_eq!(plain(address, "/").await, ("200".into(), "plain".into()));
    for http2 in [false, true] {
        let connect = hybi::connect(format!("ws://{address}/rooms/kitchen"));
        let mut ws = ends(connect.http2(http2).protocol("v1")).await.unwrap();
        assert_eq!(ws.protocol(), Some("v1"));
        assert_eq!(
            ends(ws.recv()).await.unwrap(),
            Some("hello, kitchen".into())
        );
        ws.send("again").await.unwrap();
        assert_eq!(ends(ws.recv()).await.unwrap(), Some("again".into()));
        let info = ends(ws.close(CloseCode::NORMAL, "")).await.unwrap();
        assert!(info.clean, "HTTP/2: {http2}: {info:?}");
    }
}

#[tokio::test]
async fn a_handler_may_answer_something_else() {
    let address = serve().await;
    for http2 in [false, true] {
        let connect = hybi::connect(format!("ws://{address}/rooms/none"));
        let Error::Handshake(error) = ends(connect.http2(http2)).await.unwrap_err() else {
            panic!("another error");
        };
        assert_eq!(error.status().unwrap(), 404);
        assert_eq!(error.response().unwrap().body(), "no such room");
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_hold_is_refused_with_the_status_that_fits() {
    let address = serve().await;
    for http2 in [false, true] {
        let connect = hybi::connect(format!("ws://{address}/rooms/kitchen"));
        let connect = connect.origin("https://elsewhere.example").http2(http2);
        let Error::Handshake(error) = ends(connect).await.unwrap_err() else {
            panic!("another error");
        };
        assert_eq!(error.status().unwrap(), 403);
        let body = error.response().unwrap().body();
        assert!(body.starts_with(b"the origin of this request"), "{body:?}");
    }
}

#[tokio::test]
async fn a_plain_request_to_a_route_of_sockets_is_answered_as_by_our_own_server() {
    let ours = Server::bind("127.0.0.1:0").await.unwrap();
    let ours_address = ours.local_addr().unwrap();
    tokio::spawn(ours.serve(echo));
    let answer = plain(serve().await, "/rooms/kitchen").await;
    assert_eq!(answer.0, "426");
    assert_eq!(answer, plain(ours_address, "/rooms/kitchen").await);
}

#[tokio::test]
async fn a_route_may_serve_pages_and_sockets() {
    let address = serve().await;
    assert_eq!(
        plain(address, "/both").await,
        ("200".into(), "a page".into())
    );
    let mut ws = ends(hybi::connect(format!("ws://{address}/both")))
        .await
        .unwrap();
    ws.send("hello").await.unwrap();
    assert_eq!(ends(ws.recv()).await.unwrap(), Some("hello".into()));
}
