//! Ways through a proxy: one of the test's own, over real sockets, which leads everybody to the
//! test's server, whatever name was asked for.

use std::io;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use hybi::{
    Backoff, Client, Error, HandshakeError, Message, Options, Proxy, ProxyError, ResponseError,
    Server, Timeout,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::fault::{both, each_fault};

/// Runs what must end, over real sockets.
async fn guarded<T>(future: impl IntoFuture<Output = T>) -> T {
    let guard = Duration::from_secs(60);
    tokio::time::timeout(guard, future).await.expect("hangs")
}

/// What the proxy was asked for.
#[derive(Debug, PartialEq)]
enum Asked {
    /// The whole head.
    Http(String),
    /// Where to, and the user's name.
    Socks4(String, u16, String),
    /// Where to, and the user with the password.
    Socks5(String, u16, Option<(String, String)>),
}

/// A proxy that leads to one server.
struct Fixture {
    addr: SocketAddr,
    asked: mpsc::UnboundedReceiver<Asked>,
}

/// How the proxy answers.
#[derive(Clone, Copy)]
struct Manner {
    /// To CONNECT.
    http: &'static str,
    /// The code of the answer to SOCKS 4, and to SOCKS 5.
    socks: (u8, u8),
    /// Whether SOCKS 5 wants to know who asks.
    asks_who: bool,
}

const OPEN: Manner = Manner {
    http: "HTTP/1.1 200 Connection established\r\n\r\n",
    socks: (90, 0),
    asks_who: false,
};

impl Fixture {
    async fn to(server: SocketAddr, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (tell, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let tell = tell.clone();
                tokio::spawn(async move { serve(tcp, server, manner, &tell).await });
            }
        });
        Self { addr, asked }
    }

    fn proxy(&self, scheme: &str) -> Proxy {
        Proxy::parse(&scheme.replace("HERE", &self.addr.to_string())).unwrap()
    }

    async fn asked(&mut self) -> Asked {
        guarded(self.asked.recv()).await.unwrap()
    }
}

async fn serve(
    mut tcp: TcpStream,
    server: SocketAddr,
    manner: Manner,
    tell: &mpsc::UnboundedSender<Asked>,
) -> io::Result<()> {
    let asked = match tcp.read_u8().await? {
        4 => socks4(&mut tcp, manner).await?,
        5 => socks5(&mut tcp, manner).await?,
        first => http(&mut tcp, first, manner).await?,
    };
    let _ = tell.send(asked);
    let mut there = TcpStream::connect(server).await?;
    tokio::io::copy_bidirectional(&mut tcp, &mut there).await?;
    Ok(())
}

async fn http(tcp: &mut TcpStream, first: u8, manner: Manner) -> io::Result<Asked> {
    let mut head = vec![first];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await?);
    }
    tcp.write_all(manner.http.as_bytes()).await?;
    Ok(Asked::Http(String::from_utf8(head).unwrap()))
}

/// A text that ends with NUL.
async fn read_text(tcp: &mut TcpStream) -> io::Result<String> {
    let mut text = String::new();
    loop {
        match tcp.read_u8().await? {
            0 => return Ok(text),
            b => text.push(b.into()),
        }
    }
}

/// A text with its length before it.
async fn read_counted(tcp: &mut TcpStream) -> io::Result<String> {
    let mut text = vec![0; tcp.read_u8().await?.into()];
    tcp.read_exact(&mut text).await?;
    Ok(String::from_utf8(text).unwrap())
}

async fn socks4(tcp: &mut TcpStream, manner: Manner) -> io::Result<Asked> {
    assert_eq!(tcp.read_u8().await?, 1); // CONNECT
    let port = tcp.read_u16().await?;
    let mut ip = [0; 4];
    tcp.read_exact(&mut ip).await?;
    let user = read_text(tcp).await?;
    let host = match ip {
        [0, 0, 0, 1..=255] => read_text(tcp).await?,
        ip => SocketAddr::from((ip, port)).ip().to_string(),
    };
    tcp.write_all(&[0, manner.socks.0, 0, 0, 0, 0, 0, 0])
        .await?;
    Ok(Asked::Socks4(host, port, user))
}

async fn socks5(tcp: &mut TcpStream, manner: Manner) -> io::Result<Asked> {
    let methods = read_counted(tcp).await?;
    let method = if manner.asks_who { 2 } else { 0 };
    if !methods.as_bytes().contains(&method) {
        tcp.write_all(&[5, 0xff]).await?;
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    tcp.write_all(&[5, method]).await?;
    let mut who = None;
    if manner.asks_who {
        assert_eq!(tcp.read_u8().await?, 1);
        let (user, password) = (read_counted(tcp).await?, read_counted(tcp).await?);
        let known = password != "wrong";
        tcp.write_all(&[1, u8::from(!known)]).await?;
        if !known {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        who = Some((user, password));
    }
    let mut request = [0; 4];
    tcp.read_exact(&mut request).await?;
    assert_eq!(request[..3], [5, 1, 0]); // CONNECT
    let host = match request[3] {
        1 => {
            let mut ip = [0; 4];
            tcp.read_exact(&mut ip).await?;
            SocketAddr::from((ip, 0)).ip().to_string()
        }
        3 => read_counted(tcp).await?,
        4 => {
            let mut ip = [0; 16];
            tcp.read_exact(&mut ip).await?;
            SocketAddr::from((ip, 0)).ip().to_string()
        }
        other => panic!("an address of type {other}"),
    };
    let port = tcp.read_u16().await?;
    tcp.write_all(&[5, manner.socks.1, 0, 1, 0, 0, 0, 0, 0, 0])
        .await?;
    Ok(Asked::Socks5(host, port, who))
}

async fn fixture(manner: Manner) -> (Server, Fixture) {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let proxy = Fixture::to(server.local_addr().unwrap(), manner).await;
    (server, proxy)
}

/// Connects through the proxy and says hello; gives the request that the server has seen.
async fn greets(client: &Client, url: &str, server: &mut Server) -> http::HeaderMap {
    let (client, (headers, mut accepted)) = guarded(async {
        tokio::join!(async { client.connect(url).await.unwrap() }, async {
            let incoming = server.accept().await.unwrap();
            let headers = incoming.headers().clone();
            (headers, incoming.accept().await.unwrap())
        })
    })
    .await;
    let mut client = client;
    client.send("hello").await.unwrap();
    let heard = guarded(accepted.recv()).await.unwrap();
    assert_eq!(heard, Some(Message::from("hello")));
    headers
}

async fn fails(client: &Client, url: &str) -> Error {
    let result = guarded(client.connect(url)).await;
    result.expect_err("it has connected")
}

fn of_proxy(error: Error) -> ProxyError {
    match error {
        Error::Proxy(error) => *error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn plain_connections_too_go_through_connect() {
    let (mut server, mut proxy) = fixture(OPEN).await;
    let client = Client::new().proxy(proxy.proxy("http://HERE"));
    let headers = greets(&client, "ws://chat.example/room", &mut server).await;
    let head = "CONNECT chat.example:80 HTTP/1.1\r\nHost: chat.example:80\r\n\r\n";
    assert_eq!(proxy.asked().await, Asked::Http(head.into()));
    assert_eq!(headers["host"], "chat.example");
    // The port is always said, and an IPv6 address stands in brackets.
    for (url, authority) in [
        ("ws://chat.example:8080/", "chat.example:8080"),
        ("ws://[2001:db8::1]/", "[2001:db8::1]:80"),
        ("ws://192.0.2.1/", "192.0.2.1:80"),
    ] {
        greets(&client, url, &mut server).await;
        let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        assert_eq!(proxy.asked().await, Asked::Http(head), "{url}");
    }
}

#[tokio::test]
async fn what_proves_who_asks_goes_to_the_proxy_alone() {
    let (mut server, mut proxy) = fixture(OPEN).await;
    let client = Client::new().proxy(proxy.proxy("http://ali%20ce:s%3Acret@HERE"));
    let headers = greets(&client, "ws://u:p@chat.example/", &mut server).await;
    let Asked::Http(head) = proxy.asked().await else {
        panic!("asked otherwise");
    };
    assert!(
        head.contains("\r\nProxy-Authorization: Basic YWxpIGNlOnM6Y3JldA==\r\n"),
        "{head}"
    );
    assert!(!head.contains("\r\nAuthorization"), "{head}");
    assert_eq!(headers["authorization"], "Basic dTpw");
    assert!(!headers.contains_key("proxy-authorization"));
}

#[tokio::test]
async fn any_status_that_is_a_success_opens_the_way() {
    let http = "HTTP/1.0 204 Fine\r\nVia: x\r\n\r\n";
    let (mut server, proxy) = fixture(Manner { http, ..OPEN }).await;
    let client = Client::new().proxy(proxy.proxy("HERE"));
    greets(&client, "ws://chat.example/", &mut server).await;
}

#[tokio::test]
async fn a_refusal_of_the_proxys_is_told_with_its_body() {
    for (http, status, retry) in [
        (
            "HTTP/1.1 407 Who?\r\nContent-Length: 2\r\n\r\nno",
            407,
            false,
        ),
        ("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", 403, false),
        (
            "HTTP/1.1 302 X\r\nLocation: /\r\nContent-Length: 2\r\n\r\nno",
            302,
            false,
        ),
        (
            "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno",
            503,
            true,
        ),
    ] {
        let (_server, proxy) = fixture(Manner { http, ..OPEN }).await;
        let client = Client::new().redirects(5).proxy(proxy.proxy("http://HERE"));
        let error = fails(&client, "ws://chat.example/").await;
        assert_eq!(error.is_retryable(), retry, "{status}");
        assert_eq!(error.retry_after(), retry.then_some(Duration::from_secs(7)));
        match of_proxy(error) {
            ProxyError::Refused(response) => {
                assert_eq!(response.status(), status);
                assert_eq!(response.body(), "no");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_the_proxys_fault() {
    static ENDLESS: LazyLock<String> = LazyLock::new(|| "x".repeat(1 << 20));
    static HEADS: LazyLock<String> = LazyLock::new(|| "HTTP/1.1 103 Wait\r\n\r\n".repeat(9));
    for http in ["SSH-2.0-x\r\n", &ENDLESS, &HEADS, "HTTP/1.1 200 OK\n\n"] {
        let (_server, proxy) = fixture(Manner { http, ..OPEN }).await;
        let client = Client::new().proxy(proxy.proxy("http://HERE"));
        let error = fails(&client, "ws://chat.example/").await;
        assert!(!error.is_retryable());
        let shown = error.to_string();
        assert!(shown.contains("the proxy"), "{shown}");
        assert!(matches!(of_proxy(error), ProxyError::Answer(_)));
    }
    let http = "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 Switching\r\n\r\n";
    let (_server, proxy) = fixture(Manner { http, ..OPEN }).await;
    let client = Client::new().proxy(proxy.proxy("http://HERE"));
    let error = of_proxy(fails(&client, "ws://chat.example/").await);
    assert!(matches!(error, ProxyError::Early), "{error:?}");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_or_hangs_up_is_an_error_of_the_transport() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = nobody.local_addr().unwrap();
    drop(nobody);
    let proxy = Proxy::parse(&format!("http://{addr}")).unwrap();
    let error = fails(&Client::new().proxy(proxy), "ws://chat.example/").await;
    let kind = io::ErrorKind::ConnectionRefused;
    assert!(
        matches!(&error, Error::Io(error) if error.kind() == kind),
        "{error:?}"
    );
    assert!(error.is_retryable() && error.to_string().contains("the proxy"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    for scheme in ["http", "socks4a", "socks5"] {
        let proxy = Proxy::parse(&format!("{scheme}://{addr}")).unwrap();
        let client = Client::new().proxy(proxy);
        let hang_up = async { drop(listener.accept().await.unwrap()) };
        let (error, ()) = tokio::join!(fails(&client, "ws://chat.example/"), hang_up);
        assert!(matches!(&error, Error::Io(_)), "{scheme}: {error:?}");
        assert!(error.to_string().contains("the proxy"), "{error}");
    }
}

#[tokio::test]
async fn the_proxys_time_is_that_of_the_handshake() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = silent.local_addr().unwrap();
    for scheme in ["http", "socks4a", "socks5"] {
        let proxy = Proxy::parse(&format!("{scheme}://{addr}")).unwrap();
        let options = Options::new().handshake_timeout(Duration::from_millis(20));
        let client = Client::new().proxy(proxy).options(options);
        let error = fails(&client, "ws://chat.example/").await;
        assert!(
            matches!(error, Error::Timeout(Timeout::Handshake)),
            "{scheme}: {error:?}"
        );
    }
}

#[tokio::test]
async fn socks_4a_is_told_names_and_addresses() {
    let (mut server, mut proxy) = fixture(OPEN).await;
    for scheme in ["socks4a", "socks4"] {
        let client = Client::new().proxy(proxy.proxy(&format!("{scheme}://HERE")));
        for (url, host, port) in [
            ("ws://chat.example/", "chat.example", 80),
            ("ws://192.0.2.1:8080/", "192.0.2.1", 8080),
        ] {
            greets(&client, url, &mut server).await;
            let expected = Asked::Socks4(host.into(), port, String::new());
            assert_eq!(proxy.asked().await, expected);
        }
        let error = of_proxy(fails(&client, "ws://[::1]/").await);
        assert!(matches!(error, ProxyError::Socks(_)), "{error:?}");
    }
}

#[tokio::test]
async fn socks_5_is_told_names_and_addresses() {
    let (mut server, mut proxy) = fixture(OPEN).await;
    for scheme in ["socks5", "socks5h"] {
        let client = Client::new().proxy(proxy.proxy(&format!("{scheme}://HERE")));
        for (url, host, port) in [
            ("ws://chat.example/", "chat.example", 80),
            ("ws://192.0.2.1:8080/", "192.0.2.1", 8080),
            ("ws://[2001:db8::1]/", "2001:db8::1", 80),
        ] {
            greets(&client, url, &mut server).await;
            let expected = Asked::Socks5(host.into(), port, None);
            assert_eq!(proxy.asked().await, expected);
        }
    }
}

#[tokio::test]
async fn socks_5_is_told_who_asks() {
    let manner = Manner {
        asks_who: true,
        ..OPEN
    };
    let (mut server, mut proxy) = fixture(manner).await;
    let client = Client::new().proxy(proxy.proxy("socks5://al%20ice:s%3Acret@HERE"));
    let headers = greets(&client, "ws://chat.example/", &mut server).await;
    let who = Some(("al ice".into(), "s:cret".into()));
    let expected = Asked::Socks5("chat.example".into(), 80, who);
    assert_eq!(proxy.asked().await, expected);
    assert!(!headers.contains_key("authorization"));
    for wrong in ["socks5://alice:wrong@HERE", "socks5://HERE"] {
        let client = Client::new().proxy(proxy.proxy(wrong));
        let error = of_proxy(fails(&client, "ws://chat.example/").await);
        assert!(matches!(error, ProxyError::Socks(_)), "{error:?}");
        let shown = error.to_string();
        assert!(
            !shown.contains("alice") && !shown.contains("wrong"),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn a_refusal_by_socks_is_the_proxys() {
    let manner = Manner {
        socks: (91, 5),
        ..OPEN
    };
    let (_server, proxy) = fixture(manner).await;
    for scheme in ["socks4a://HERE", "socks5://HERE"] {
        let client = Client::new().proxy(proxy.proxy(scheme));
        let error = fails(&client, "ws://chat.example/").await;
        assert!(error.is_retryable());
        assert!(error.to_string().contains("the proxy"), "{error}");
        let error = of_proxy(error);
        assert!(matches!(error, ProxyError::Socks(_)), "{error:?}");
    }
}

#[tokio::test]
async fn redirects_go_through_the_proxy_and_its_credentials_stay_there() {
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let manner = Manner {
        http: "HTTP/1.1 200 OK\r\n\r\n",
        ..OPEN
    };
    let mut proxy = Fixture::to(target.local_addr().unwrap(), manner).await;
    let client = Client::new().redirects(2);
    let client = client.proxy(proxy.proxy("http://alice:secret@HERE"));
    let server = async {
        for (url, expected) in [
            ("ws://b.example/", "a.example:80"),
            ("/", "b.example:80"),
            ("/", "b.example:80"),
        ] {
            let (mut tcp, _) = target.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(tcp.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            assert!(!head.contains("proxy-authorization"), "{head}");
            let fields = format!("Location: {url}\r\nContent-Length: 0\r\n\r\n");
            let answer = format!("HTTP/1.1 302 Found\r\n{fields}");
            tcp.write_all(answer.as_bytes()).await.unwrap();
            let Asked::Http(asked) = proxy.asked().await else {
                panic!("asked otherwise");
            };
            assert!(
                asked.starts_with(&format!("CONNECT {expected} ")),
                "{asked}"
            );
            assert!(asked.contains("Proxy-Authorization: "), "{asked}");
        }
    };
    let (error, ()) = tokio::join!(fails(&client, "ws://a.example/"), guarded(server));
    match error {
        Error::Handshake(error) => match *error {
            HandshakeError::TooManyRedirects { .. } => {}
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn behind_the_proxy_the_server_is_the_one_that_refuses() {
    let (mut server, proxy) = fixture(OPEN).await;
    let client = Client::new().proxy(proxy.proxy("http://HERE"));
    let refuse = async {
        let incoming = guarded(server.accept()).await.unwrap();
        let status = hybi::StatusCode::PROXY_AUTHENTICATION_REQUIRED;
        incoming.reject(status).await.unwrap();
    };
    let (error, ()) = tokio::join!(fails(&client, "ws://chat.example/"), refuse);
    let Error::Handshake(error) = error else {
        panic!("{error:?}");
    };
    assert!(matches!(
        *error,
        HandshakeError::Response {
            error: ResponseError::Status(_),
            ..
        }
    ));
}

#[tokio::test]
async fn what_is_encrypted_goes_through_the_proxy_to_port_443() {
    let (_server, mut proxy) = fixture(OPEN).await;
    let client = Client::new().proxy(proxy.proxy("http://HERE"));
    // The test's server speaks no TLS; what matters is what the proxy was asked for.
    fails(&client, "wss://chat.example/").await;
    let head = "CONNECT chat.example:443 HTTP/1.1\r\nHost: chat.example:443\r\n\r\n";
    assert_eq!(proxy.asked().await, Asked::Http(head.into()));
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_reached_without_the_proxy() {
    let path = std::env::temp_dir().join(format!("hybi-proxies-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let client = Client::new().proxy(Proxy::parse("http://127.0.0.1:1").unwrap());
    let connect = client.connect(format!("ws+unix:{}", path.display()));
    let accept = async {
        let (stream, _) = listener.accept().await.unwrap();
        hybi::accept(stream).await.unwrap()
    };
    let (ws, _) = guarded(async { tokio::join!(connect, accept) }).await;
    ws.unwrap();
    std::fs::remove_file(&path).unwrap();
}

#[each_fault]
async fn where_a_connector_opens_the_transport_no_proxy_is_asked() {
    let nobody = Proxy::parse("http://127.0.0.1:1").unwrap();
    let client = Client::new().proxy(nobody);
    let (a, b) = both(1024);
    let stream = std::sync::Mutex::new(Some(a));
    let connect = client.connect("ws://chat.example/").connector(move |_| {
        let stream = stream.lock().unwrap().take().unwrap();
        async { Ok(stream) }
    });
    let (ws, accepted) = guarded(async { tokio::join!(connect, hybi::accept(b)) }).await;
    ws.unwrap();
    accepted.unwrap();
}

#[tokio::test]
async fn a_session_goes_through_the_proxy_each_time() {
    let (mut server, mut proxy) = fixture(OPEN).await;
    let client = Client::new().proxy(proxy.proxy("socks5h://HERE"));
    let connect = client.connect("ws://chat.example/");
    let backoff = Backoff::new().initial(Duration::from_millis(1));
    let mut session = connect.reconnect(backoff);
    let serve = async {
        for _ in 0..2 {
            let incoming = server.accept().await.unwrap();
            let mut ws = incoming.accept().await.unwrap();
            ws.send("hello").await.unwrap();
            ws.abort();
            let expected = Asked::Socks5("chat.example".into(), 80, None);
            assert_eq!(proxy.asked().await, expected);
        }
    };
    let receive = async {
        for _ in 0..2 {
            let message = session.recv().await.unwrap();
            assert_eq!(message, Some(Message::from("hello")));
        }
    };
    guarded(async { tokio::join!(serve, receive) }).await;
}

#[test]
fn a_proxys_url_is_checked_when_it_is_given() {
    for url in [
        "proxy.example",
        "proxy.example:3128",
        "http://proxy.example",
        "http://proxy.example:/",
        "https://u:p@proxy.example:3128/",
        "socks4://proxy.example",
        "socks4a://127.0.0.1:1080",
        "socks5://u@proxy.example",
        "socks5h://u:p@[::1]:1080",
    ] {
        let proxy = Proxy::parse(url);
        let shown = format!("{:?}", proxy.expect(url));
        assert!(!shown.contains('@'), "{shown}");
    }
    let long = format!("socks5://{}:p@proxy.example", "u".repeat(256));
    for (url, fault) in [
        ("", "Url"),
        ("http://", "Url"),
        ("http:///x", "Url"),
        ("http://a b", "Url"),
        ("/proxy", "Url"),
        // A port that is none is not the usual one.
        ("http://proxy.example:x", "Url"),
        ("http://u:p@proxy.example:65536", "Url"),
        ("socks5://[::1]:-1", "Url"),
        ("ftp://proxy.example", "Scheme"),
        ("socks://proxy.example", "Scheme"),
        ("ws://proxy.example", "Scheme"),
        ("socks4a://user@proxy.example", "Credentials"),
        (&long, "Credentials"),
    ] {
        let error = Proxy::parse(url).expect_err(url);
        assert_eq!(format!("{error:?}"), fault, "{url}");
    }
}
