//! Paths, hooks and limits at the door of a server, over real sockets.

use http::header::{HeaderMap, SET_COOKIE};
use hybi::server::{ClientIp, PathParams};
use hybi::{
    CloseCode, Error, Forwarded, HandshakeError, Incoming, Message, Options, Origins, Request,
    RequestError, Response, Result, Server, ServerHandle, StatusCode, WebSocket,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

struct Served {
    addr: String,
    handle: ServerHandle,
    end: JoinHandle<Result<()>>,
}

/// Runs a server with these routes.
async fn run(build: impl FnOnce(Server) -> Server) -> Served {
    let server = build(Server::bind("127.0.0.1:0").await.unwrap());
    let addr = server.local_addr().unwrap().to_string();
    let handle = server.handle();
    let end = tokio::spawn(server.run());
    Served { addr, handle, end }
}

impl Served {
    async fn connect(&self, path: &str) -> Result<WebSocket> {
        hybi::connect(format!("ws://{}{path}", self.addr)).await
    }

    /// What a handler at this path says first.
    async fn hears(&self, path: &str) -> String {
        let mut ws = self.connect(path).await.unwrap();
        hear(&mut ws).await
    }

    /// The status and the body of the refusal.
    async fn refused(&self, path: &str) -> (u16, String) {
        refusal(self.connect(path).await)
    }

    /// What a request gets, all of it.
    async fn raw(&self, request: &str) -> String {
        let mut tcp = TcpStream::connect(&self.addr).await.unwrap();
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

async fn hear(ws: &mut WebSocket) -> String {
    match ws.recv().await.unwrap() {
        Some(Message::Text(text)) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

fn refusal(connected: Result<WebSocket>) -> (u16, String) {
    match connected {
        Err(Error::Handshake(error)) => {
            let response = error.response().expect("a response");
            let body = String::from_utf8_lossy(response.body()).into_owned();
            (response.status().as_u16(), body)
        }
        other => panic!("{other:?}"),
    }
}

/// A handler that says something and waits for the end.
fn says(what: &'static str) -> impl AsyncSay {
    move |ws, _request| say(ws, what.to_owned())
}

trait AsyncSay: Fn(WebSocket, Request<()>) -> Said + Send + Sync + 'static {}
impl<F: Fn(WebSocket, Request<()>) -> Said + Send + Sync + 'static> AsyncSay for F {}
type Said = std::pin::Pin<Box<dyn Future<Output = Result<()>> + Send>>;

fn say(mut ws: WebSocket, what: String) -> Said {
    Box::pin(async move {
        ws.send(what).await?;
        while ws.recv().await?.is_some() {}
        Ok(())
    })
}

#[tokio::test]
async fn each_path_has_its_handler_and_the_query_is_no_part_of_it() {
    let server = run(|server| {
        server
            .route("/foo", says("foo"))
            .route("/foo/bar", says("bar"))
            .route("/all/{*rest}", says("all"))
    })
    .await;
    assert_eq!(server.hears("/foo").await, "foo");
    assert_eq!(server.hears("/foo?/bar").await, "foo");
    assert_eq!(server.hears("/foo/bar").await, "bar");
    assert_eq!(server.hears("/all/of/it").await, "all");
    for path in ["/", "/fo", "/foo/", "/Foo", "/all"] {
        let (status, body) = server.refused(path).await;
        assert_eq!(
            (status, body.as_str()),
            (404, "no WebSocket is served at this path\n"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_handler_serves_what_has_no_route_and_so_does_serve() {
    let routed = |server: Server| server.route("/foo", says("foo"));
    let server = run(|server| routed(server).handler(says("other"))).await;
    assert_eq!(server.hears("/foo").await, "foo");
    assert_eq!(server.hears("/bar").await, "other");

    let server = routed(Server::bind("127.0.0.1:0").await.unwrap());
    let addr = server.local_addr().unwrap().to_string();
    let handle = server.handle();
    let end = tokio::spawn(server.serve(says("served")));
    let server = Served { addr, handle, end };
    assert_eq!(server.hears("/foo").await, "foo");
    assert_eq!(server.hears("/bar").await, "served");
}

#[tokio::test]
async fn parameters_are_decoded_and_in_the_extensions_of_the_request() {
    let tell = |ws, request: Request<()>| {
        let params = request.extensions().get::<PathParams>().unwrap();
        let (room, seat) = (params.get("room").unwrap(), params.get("seat").unwrap());
        assert_eq!((params.get("other"), params.iter().count()), (None, 2));
        say(ws, format!("{room}|{seat}"))
    };
    let server = run(|server| server.route("/rooms/{room}/{seat}", tell)).await;
    assert_eq!(server.hears("/rooms/a/1").await, "a|1");
    assert_eq!(
        server.hears("/rooms/gr%C3%BCn%2Fblau/%ff").await,
        "grün/blau|%ff"
    );
}

#[tokio::test]
async fn a_route_that_cannot_be_one_or_is_there_twice_is_an_error_of_run() {
    for (first, second) in [("/{a", "/b"), ("/a", "/a"), ("/{a}", "/{b}")] {
        let server = Server::bind("127.0.0.1:0").await.unwrap();
        let server = server.route(first, says("")).route(second, says(""));
        let error = server.run().await.unwrap_err();
        assert!(matches!(&error, Error::Io(e) if e.kind() == std::io::ErrorKind::InvalidInput));
        assert!(error.to_string().contains("cannot be added"), "{error}");
    }
}

#[tokio::test]
async fn plain_requests_go_to_the_fallback_whatever_their_path() {
    let server = run(|server| {
        let server = server.route("/foo", says("foo"));
        server.fallback(|request| Response::new(format!("plain {}", request.uri().path())))
    })
    .await;
    for path in ["/foo", "/bar"] {
        let answer = server
            .raw(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.ends_with(&format!("\r\n\r\nplain {path}")),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn mounted_servers_have_options_and_clients_of_their_own_and_end_with_the_door() {
    let foo = Server::detached()
        .handler(says("foo"))
        .origins(Origins::Any);
    let small = Options::new().max_message(2);
    let bar = Server::detached()
        .route("/bar/{x}", says("bar"))
        .options(small);
    let (foos, bars) = (foo.clients(), bar.clients());
    let server = run(|server| server.mount("/foo", foo).mount("/bar/{*any}", bar)).await;
    let mut foo = server.connect("/foo").await.unwrap();
    let mut bar = server.connect("/bar/1").await.unwrap();
    assert_eq!(
        (hear(&mut foo).await, hear(&mut bar).await),
        ("foo".into(), "bar".into())
    );
    assert_eq!((foos.len(), bars.len()), (1, 1));
    assert_eq!(server.refused("/bar/1/2").await.0, 404);

    let url = |path: &str| format!("ws://{}{path}", server.addr);
    let elsewhere = |path| hybi::connect(url(path)).origin("https://elsewhere.example");
    assert!(elsewhere("/foo").await.is_ok());
    assert_eq!(refusal(elsewhere("/bar/1").await).0, 403);

    bar.send("123").await.unwrap();
    while bar.recv().await.unwrap().is_some() {}
    assert_eq!(bar.close_info().unwrap().code, CloseCode::TOO_BIG);

    let end = tokio::spawn(async move {
        while foo.recv().await.unwrap().is_some() {}
        foo
    });
    let report = server.handle.shutdown(()).await.unwrap();
    assert!(report.closed >= 1 && report.aborted == 0, "{report:?}");
    let foo = end.await.unwrap();
    assert_eq!(foo.close_info().unwrap().code, CloseCode::GOING_AWAY);
    server.end.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_unknown_path_can_be_dropped_without_an_answer() {
    let server = run(|server| server.route("/foo", says("foo")).abort_unknown_paths(true)).await;
    let error = server.connect("/bar").await.unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error:?}");
    assert_eq!(server.hears("/foo").await, "foo");
}

#[tokio::test]
async fn a_plain_request_must_say_once_which_host_it_is_for() {
    let server = run(|server| server.fallback(|_| Response::new("plain"))).await;
    for (hosts, status) in [
        ("", 400),
        ("Host: a\r\n", 200),
        ("Host: a\r\nHost: a\r\n", 400),
    ] {
        let answer = server.raw(&format!("GET / HTTP/1.1\r\n{hosts}\r\n")).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
    let old = server.raw("GET / HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.1 200 "), "{old}");
}

fn authenticate(headers: &HeaderMap) -> Option<&'static str> {
    match headers.get("authorization")?.to_str().ok()? {
        "Bearer alice" => Some("alice"),
        _ => None,
    }
}

#[tokio::test]
async fn a_hook_decides_with_await_and_tells_the_handler_and_the_client() {
    let hook = |mut incoming: Incoming| async move {
        tokio::task::yield_now().await;
        let Some(user) = authenticate(incoming.headers()) else {
            let reject = incoming.reject(StatusCode::UNAUTHORIZED);
            return Err(reject.body("who are you?"));
        };
        incoming.extensions_mut().insert(user);
        let cookie = http::HeaderValue::from_static("seen=yes");
        incoming.response_headers_mut().insert(SET_COOKIE, cookie);
        incoming.choose_protocol(Some("b"));
        Ok(incoming)
    };
    let greet = |ws, request: Request<()>| {
        let user = request.extensions().get::<&str>().unwrap();
        say(ws, format!("hello {user}"))
    };
    let server = run(|server| server.on_handshake(hook).route("/", greet)).await;
    assert_eq!(server.refused("/").await, (401, "who are you?".into()));
    let connect = hybi::connect(format!("ws://{}/", server.addr))
        .header("authorization", "Bearer alice")
        .protocol("a")
        .protocol("b");
    let mut ws = connect.await.unwrap();
    assert_eq!(hear(&mut ws).await, "hello alice");
    assert_eq!(ws.protocol(), Some("b"));
    let answer = server
        .raw(
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
             Authorization: Bearer alice\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x01\x00",
        )
        .await;
    assert!(answer.contains("\r\nSet-Cookie: seen=yes\r\n"), "{answer}");
}

#[tokio::test]
async fn what_is_refused_can_be_answered_otherwise() {
    let answer = |error: &RequestError, request: Option<&Request<()>>| {
        let path = request.map(|request| request.uri().path().to_owned());
        let mut response = Response::new(format!("{error:?} {path:?}"));
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response
    };
    let server = run(|server| server.route("/foo", says("foo")).on_handshake_error(answer)).await;
    assert_eq!(
        server.refused("/bar").await,
        (418, "Path Some(\"/bar\")".into())
    );
    let origin = hybi::connect(format!("ws://{}/foo", server.addr)).origin("https://b.example");
    assert_eq!(refusal(origin.await), (418, "Origin Some(\"/foo\")".into()));
    let answer = server.raw("GET / HTTP/1.1\nHost: a\n\n").await;
    assert!(answer.ends_with("Head(LineEnding) None"), "{answer}");
}

#[tokio::test]
async fn an_address_may_have_so_many_connections_and_then_gets_429() {
    let server = run(|server| server.max_connections_per_ip(2).route("/", says("hello"))).await;
    let mut first = server.connect("/").await.unwrap();
    let second = server.connect("/").await.unwrap();
    let crowded = "too many connections from this address; try again later\n";
    assert_eq!(server.refused("/").await, (429, crowded.into()));
    hear(&mut first).await;
    first.close(CloseCode::NORMAL, "").await.unwrap();
    // The server has let go of it before it ended the connection, or does so now.
    let third = async {
        loop {
            if let Ok(third) = server.connect("/").await {
                break third;
            }
            tokio::task::yield_now().await;
        }
    };
    let guard = std::time::Duration::from_secs(60);
    let third = tokio::time::timeout(guard, third)
        .await
        .expect("the place is given back");
    assert_eq!(server.refused("/").await.0, 429);
    drop((second, third));
}

#[tokio::test]
async fn the_client_is_who_a_trusted_proxy_says_and_counts_as_that() {
    let tell = |ws, request: Request<()>| {
        let client = request.extensions().get::<ClientIp>();
        say(ws, format!("{:?}", client.map(|ClientIp(address)| address)))
    };
    let trusting = |networks: &'static [&'static str]| {
        move |server: Server| {
            let server = server.trusted_proxies(Forwarded::XForwardedFor, networks);
            server.unwrap().max_connections_per_ip(1).handler(tell)
        }
    };
    let server = run(trusting(&["127.0.0.0/8"])).await;
    let connect = |addr: &str, client| {
        hybi::connect(format!("ws://{addr}/")).header("x-forwarded-for", client)
    };
    let mut one = connect(&server.addr, "192.0.2.1").await.unwrap();
    assert_eq!(hear(&mut one).await, "Some(192.0.2.1)");
    assert_eq!(refusal(connect(&server.addr, "192.0.2.1").await).0, 429);
    let mut two = connect(&server.addr, "192.0.2.1, 192.0.2.2").await.unwrap();
    assert_eq!(hear(&mut two).await, "Some(192.0.2.2)");

    let server = run(trusting(&["10.0.0.0/8", "::1"])).await;
    let mut here = connect(&server.addr, "192.0.2.1").await.unwrap();
    assert_eq!(hear(&mut here).await, "Some(127.0.0.1)");

    let server = Server::detached().trusted_proxies(Forwarded::Standard, ["10.0.0.0/33"]);
    let error = server.unwrap_err();
    assert!(error.to_string().contains("10.0.0.0/33"), "{error}");
}

#[tokio::test]
#[cfg(unix)]
async fn a_unix_socket_that_nobody_listens_on_is_taken_over() {
    let folder = std::env::temp_dir().join(format!("hybi-routes-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("a.sock");
    let first = Server::bind_unix(&path).await.unwrap();
    let taken = Server::bind_unix(&path).await.unwrap_err();
    assert!(matches!(&taken, Error::Io(e) if e.kind() == std::io::ErrorKind::AddrInUse));
    assert!(first.local_addr().is_err());
    drop(first);
    let mut second = Server::bind_unix(&path).await.unwrap();
    let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let connect = hybi::connect("ws://localhost/x").over(stream);
    let (client, accepted) = tokio::join!(async { connect.await.unwrap() }, async {
        let incoming = second.accept().await.unwrap();
        assert_eq!((incoming.peer_addr(), incoming.uri().path()), (None, "/x"));
        incoming.accept().await.unwrap()
    });
    let (mut client, mut accepted) = (client, accepted);
    client.send("hello").await.unwrap();
    assert_eq!(hear(&mut accepted).await, "hello");
    let file = folder.join("b");
    std::fs::write(&file, "something else").unwrap();
    assert!(Server::bind_unix(&file).await.is_err());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "something else");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn servers_can_share_a_port_if_both_say_so() {
    let shared = || Server::builder().reuse_port(true);
    let first = shared().bind("127.0.0.1:0").await.unwrap();
    let addr = first.local_addr().unwrap();
    assert_eq!(
        shared().bind(addr).await.unwrap().local_addr().unwrap(),
        addr
    );
    assert!(Server::bind(addr).await.is_err());
}

#[test]
fn the_error_of_a_server_tells_what_was_refused() {
    let error = Error::from(HandshakeError::Request(RequestError::Crowded));
    assert_eq!(
        error.to_string(),
        "too many connections from this address; try again later"
    );
}

#[tokio::test]
async fn a_route_of_a_mounted_server_that_cannot_be_one_is_an_error_of_run() {
    let inner = Server::detached().route("/{a", says(""));
    let middle = Server::detached().mount("/foo", inner);
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let server = server
        .mount("/foo", middle)
        .mount("/bar", Server::detached());
    let error = tokio::select! {
        ended = server.run() => ended.unwrap_err(),
        () = tokio::task::yield_now() => panic!("it is served"),
    };
    assert!(
        error.to_string().contains("\"/{a\" cannot be added"),
        "{error}"
    );
}

#[tokio::test]
async fn who_is_served_by_a_mounted_server_has_a_place_in_the_one_at_the_door_too() {
    let build = |limit: fn(Server) -> Server| {
        run(move |server| {
            let inner = Server::detached().handler(says("inner"));
            let foo = Server::detached().mount("/foo/{*any}", inner);
            limit(server)
                .mount("/foo/{*any}", foo)
                .route("/", says("root"))
        })
    };
    for (limit, status) in [
        (
            (|server| server.max_connections(2)) as fn(Server) -> Server,
            503,
        ),
        (|server| server.max_connections_per_ip(2), 429),
    ] {
        let server = build(limit).await;
        let mut inner = server.connect("/foo/1").await.unwrap();
        assert_eq!(hear(&mut inner).await, "inner");
        let root = server.connect("/").await.unwrap();
        assert_eq!(server.refused("/foo/2").await.0, status);
        assert_eq!(server.refused("/").await.0, status);
        inner.close(CloseCode::NORMAL, "").await.unwrap();
        // The server has let go of it before it ended the connection, or does so now.
        let mut again = server.connect("/foo/3").await;
        while again.is_err() {
            tokio::task::yield_now().await;
            again = server.connect("/foo/3").await;
        }
        assert_eq!(server.refused("/").await.0, status);
        drop((root, again));
    }
}

#[tokio::test]
async fn a_mounted_server_that_was_shut_down_alone_refuses_and_the_others_go_on() {
    let foo = Server::detached().handler(says("foo"));
    let end = foo.handle();
    let server = run(|server| server.mount("/foo", foo).route("/bar", says("bar"))).await;
    assert_eq!(server.hears("/foo").await, "foo");
    end.shutdown(()).await.unwrap();
    assert_eq!(server.refused("/foo").await.0, 503);
    assert_eq!(server.hears("/bar").await, "bar");
}

#[tokio::test]
async fn head_is_told_the_length_that_get_would_have_and_gets_no_content() {
    let fallback = |_| Response::new("so many bytes");
    let plain = run(|server| server.fallback(fallback)).await;
    let default = run(|server| server).await;
    let handshake = "Upgrade: websocket\r\n";
    for (server, more) in [(&plain, ""), (&default, ""), (&plain, handshake)] {
        let request = |method| format!("{method} / HTTP/1.1\r\nHost: a\r\n{more}\r\n");
        // A handshake by another method is refused as one by HEAD is.
        let like = if more.is_empty() { "GET" } else { "PUT" };
        let whole = server.raw(&request(like)).await;
        let head = server.raw(&request("HEAD")).await;
        let (whole, content) = whole.split_once("\r\n\r\n").unwrap();
        assert!(!content.is_empty());
        assert_eq!(head, format!("{whole}\r\n\r\n"));
    }
}

#[tokio::test]
async fn no_refusal_says_that_the_protocol_is_switched() {
    let switching = || {
        let mut response = Response::new("hello");
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response
    };
    let hook =
        |incoming: Incoming| async move { Err(incoming.reject(StatusCode::SWITCHING_PROTOCOLS)) };
    let server = run(|server| {
        server
            .on_handshake(hook)
            .on_handshake_error(move |_, _| switching())
            .fallback(move |_| switching())
            .route("/foo", says("foo"))
    })
    .await;
    assert_eq!(server.refused("/foo").await.0, 500);
    assert_eq!(server.refused("/bar").await.0, 500);
    let answer = server.raw("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
}

#[tokio::test]
async fn a_handle_stays_that_of_a_server_which_is_told_again_to_keep_track() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let (handle, clients) = (server.handle(), server.clients());
    let addr = server.local_addr().unwrap();
    let serving = tokio::spawn(server.track(true).serve(says("hello")));
    let mut ws = hybi::connect(format!("ws://{addr}/")).await.unwrap();
    hear(&mut ws).await;
    assert_eq!(clients.len(), 1);
    let end = tokio::spawn(async move { handle.shutdown(()).await });
    while ws.recv().await.unwrap().is_some() {}
    assert_eq!(end.await.unwrap().unwrap().closed, 1);
    serving.await.unwrap().unwrap();
}

#[tokio::test]
#[cfg(unix)]
async fn on_a_unix_socket_who_connects_is_believed_and_nobody_else_on_this_machine() {
    let path = std::env::temp_dir().join(format!("hybi-believed-{}.sock", std::process::id()));
    let tell = |ws, request: Request<()>| {
        let ClientIp(address) = request.extensions().get().unwrap();
        say(ws, address.to_string())
    };
    let server = Server::bind_unix(&path).await.unwrap();
    let server = server.trusted_proxies(Forwarded::XForwardedFor, ["10.0.0.0/8"]);
    tokio::spawn(server.unwrap().serve(tell));
    for (told, client) in [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1, 10.0.0.1", "192.0.2.1"),
        // A program on this machine that connected to the proxy, and what it made up.
        ("192.0.2.1, 127.0.0.1", "127.0.0.1"),
    ] {
        let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        let connect = hybi::connect("ws://localhost/").header("x-forwarded-for", told);
        let mut ws = connect.over(stream).await.unwrap();
        match ws.recv().await.unwrap() {
            Some(Message::Text(text)) => assert_eq!(text.to_string(), client, "{told}"),
            other => panic!("{other:?}"),
        }
    }
    std::fs::remove_file(&path).unwrap();
}
