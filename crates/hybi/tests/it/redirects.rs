//! Redirects: which are followed, what goes along, and where they end. In memory, on a paused
//! clock; what was sent is read from the wire.

use std::time::Duration;

use http::HeaderValue;
use hybi::{
    Client, Connect, Error, HandshakeError, Message, Options, ResponseError, Role, Timeout, Uri,
    UrlError, WebSocket,
};
use hybi_proto::handshake::Key;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::fault::{self, each_fault};
use crate::support::{comes, ends};

/// All hosts of the world, which are played by the test.
struct World(mpsc::UnboundedReceiver<(Uri, DuplexStream)>);

/// A request, and who waits for an answer.
struct Asked {
    url: Uri,
    /// In lower case.
    head: String,
    /// The value that accepts it.
    accept: String,
    stream: DuplexStream,
}

impl World {
    async fn asked(&mut self) -> Asked {
        let (url, mut stream) = comes(self.0.recv()).await.expect("nobody asks");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(ends(stream.read_u8()).await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let key = head
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        let key = Key::parse(key.expect("a key").as_bytes()).unwrap();
        Asked {
            url,
            accept: key.accept().to_str().unwrap().to_owned(),
            head: head.to_ascii_lowercase(),
            stream,
        }
    }

    /// Sends the next one who asks elsewhere.
    async fn redirect(&mut self, status: u16, location: &str) -> Asked {
        let mut asked = self.asked().await;
        let fields = format!("Location: {location}\r\nContent-Length: 4\r\n\r\ngone");
        asked
            .answer(&format!("{status} Elsewhere\r\n{fields}"))
            .await;
        asked
    }

    /// Takes the next one who asks.
    async fn open(&mut self) -> (Asked, WebSocket<DuplexStream>) {
        let mut asked = self.asked().await;
        asked.open("").await;
        let (nobody, _) = duplex(1);
        let stream = std::mem::replace(&mut asked.stream, nobody);
        let ws = WebSocket::from_stream(stream, Role::Server, &Options::new(), &[]);
        (asked, ws)
    }
}

impl Asked {
    async fn answer(&mut self, answer: &str) {
        let answer = format!("HTTP/1.1 {answer}");
        self.stream.write_all(answer.as_bytes()).await.unwrap();
    }

    /// Accepts, with these fields more.
    async fn open(&mut self, fields: &str) {
        let accept = format!("Sec-WebSocket-Accept: {}\r\n", self.accept);
        let fields = format!("Upgrade: websocket\r\nConnection: upgrade\r\n{accept}{fields}");
        self.answer(&format!("101 Switching\r\n{fields}\r\n")).await;
    }

    /// The value of a header, in lower case.
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// To servers that the test plays.
fn to(client: &Client, url: &str) -> (Connect, World) {
    let (ask, world) = mpsc::unbounded_channel();
    let connector = move |url| {
        let (ours, theirs) = fault::ours(64 << 10);
        let asked = ask.send((url, theirs));
        async { asked.map(|()| ours).map_err(std::io::Error::other) }
    };
    (client.connect(url).connector(connector), World(world))
}

async fn refused(connect: Connect) -> Error {
    ends(connect).await.expect_err("it has connected")
}

fn handshake(error: Error) -> HandshakeError {
    match error {
        Error::Handshake(error) => *error,
        other => panic!("{other:?}"),
    }
}

#[each_fault]
async fn by_default_a_redirect_is_a_refusal() {
    let (connect, mut world) = to(&Client::new(), "ws://a.example/");
    let (error, _) = tokio::join!(refused(connect), world.redirect(302, "ws://b.example/"));
    assert!(!error.is_retryable());
    let error = handshake(error);
    assert_eq!(error.status().unwrap(), 302);
    let response = error.response().unwrap();
    assert_eq!(response.headers()["location"], "ws://b.example/");
    assert_eq!(response.body(), "gone");
}

#[each_fault]
async fn each_status_that_redirects_is_followed_with_a_new_key_over_a_new_connection() {
    for status in [301, 302, 303, 307, 308] {
        let client = Client::new().redirects(1);
        let (connect, mut world) = to(&client, "ws://a.example/x/y?z");
        let connect = connect
            .header("x-own", "1")
            .protocol("chat")
            .require_protocol();
        let hosts = async {
            let first = world.redirect(status, "../v?w").await;
            let mut second = world.asked().await;
            second.open("Sec-WebSocket-Protocol: chat\r\n").await;
            (first, second)
        };
        let (ws, (first, second)) = tokio::join!(ends(connect), hosts);
        let ws = ws.unwrap();
        assert_eq!(ws.uri().unwrap(), "ws://a.example/v?w");
        assert_eq!(ws.protocol(), Some("chat"));
        assert_eq!(second.url, "ws://a.example/v?w");
        assert!(second.head.starts_with("get /v?w http/1.1\r\n"));
        assert_ne!(first.accept, second.accept);
        assert_eq!(second.header("host"), Some("a.example"));
        assert_eq!(second.header("x-own"), Some("1"));
        assert_eq!(second.header("sec-websocket-protocol"), Some("chat"));
    }
}

#[each_fault]
async fn other_statuses_and_those_without_one_location_are_refusals() {
    for answer in [
        "300 Choices\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
        "304 Not Modified\r\nLocation: /x\r\n\r\n",
        "200 OK\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
        "302 Found\r\nContent-Length: 0\r\n\r\n",
        "302 Found\r\nLocation: /x\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n",
    ] {
        let (connect, mut world) = to(&Client::new().redirects(5), "ws://a.example/");
        let host = async { world.asked().await.answer(answer).await };
        let (error, ()) = tokio::join!(refused(connect), host);
        let error = handshake(error);
        let of_status = matches!(
            error,
            HandshakeError::Response {
                error: ResponseError::Status(_),
                ..
            }
        );
        assert!(of_status, "{answer}: {error:?}");
    }
}

#[each_fault]
async fn a_loop_ends_at_the_limit() {
    let (connect, mut world) = to(&Client::new().redirects(3), "ws://a.example/");
    let hosts = async {
        for _ in 0..4 {
            world.redirect(307, "/").await;
        }
        world
    };
    let (error, mut world) = tokio::join!(refused(connect), hosts);
    assert!(!error.is_retryable());
    let error = handshake(error);
    let HandshakeError::TooManyRedirects { response } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(
        (response.status().as_u16(), &response.body()[..]),
        (307, &b"gone"[..])
    );
    assert_eq!(error.status().unwrap(), 307);
    assert!(
        world.0.recv().await.is_none(),
        "somebody was asked once more"
    );
}

#[each_fault]
async fn a_redirect_to_what_is_no_place_of_a_websocket_is_named() {
    for (location, fault) in [
        ("ws+unix:/run/docker.sock:/", UrlError::Scheme),
        ("wss+unix:/run/docker.sock:/", UrlError::Scheme),
        ("unix:/run/docker.sock", UrlError::Scheme),
        ("ftp://b.example/", UrlError::Scheme),
        ("file:///etc/passwd", UrlError::Scheme),
        ("/x#y", UrlError::Fragment),
        ("ws://b.example/a b", UrlError::Character),
    ] {
        let (connect, mut world) = to(&Client::new().redirects(5), "ws://a.example/");
        let host = async {
            world.redirect(302, location).await;
            world
        };
        let (error, mut world) = tokio::join!(refused(connect), host);
        match handshake(error) {
            HandshakeError::Location { error, response } => {
                assert_eq!(error, fault, "{location}");
                assert_eq!(response.status(), 302);
            }
            other => panic!("{location}: {other:?}"),
        }
        assert!(world.0.recv().await.is_none(), "{location}");
    }
}

#[each_fault]
async fn a_location_beyond_ascii_is_encoded() {
    let (connect, mut world) = to(&Client::new().redirects(5), "ws://a.example/");
    let hosts = async {
        world.redirect(302, "/\u{e9}").await;
        world.open().await.0
    };
    let (ws, second) = tokio::join!(ends(connect), hosts);
    ws.unwrap();
    assert!(second.head.starts_with("get /%c3%a9 "), "{}", second.head);
}

/// All that is secret, and something that is not.
fn with_secrets(connect: Connect) -> Connect {
    connect
        .header("cookie", "a=b")
        .header("x-own", "1")
        .basic_auth("alice", "secret")
}

/// Which of them a request has.
fn secrets(asked: &Asked) -> [bool; 3] {
    ["authorization", "cookie", "x-own"].map(|name| asked.header(name).is_some())
}

#[each_fault]
async fn credentials_go_along_within_one_server_only() {
    const KEPT: [bool; 3] = [true, true, true];
    const DROPPED: [bool; 3] = [false, false, true];
    for (from, location, expected) in [
        ("ws://a.example/", "/b", KEPT),
        ("ws://a.example/", "ws://a.example:80/b", KEPT),
        ("ws://a.example/", "http://A.example/b", KEPT),
        ("wss://a.example/", "//a.example/b", KEPT),
        ("ws://a.example/", "//b.example/", DROPPED),
        ("ws://a.example/", "ws://a.example:81/", DROPPED),
        ("ws://a.example/", "ws://a.example.b.example/", DROPPED),
        ("ws://a.example/", "ws://sub.a.example/", DROPPED),
        ("ws://a.example/", "ws://a.example@b.example/", DROPPED),
        ("ws://a.example/", "\\\\b.example/", DROPPED),
        ("wss://a.example/", "ws://a.example/", DROPPED),
        ("wss://a.example/", "http://a.example:443/", DROPPED),
    ] {
        let (connect, mut world) = to(&Client::new().redirects(5), from);
        let hosts = async {
            let first = world.redirect(302, location).await;
            (first, world.open().await.0)
        };
        let (ws, (first, second)) = tokio::join!(ends(with_secrets(connect)), hosts);
        ws.unwrap();
        assert_eq!(secrets(&first), KEPT, "{from} {location}");
        assert_eq!(secrets(&second), expected, "{from} {location}");
    }
}

#[each_fault]
async fn what_was_left_behind_stays_there_on_the_way_back() {
    let (connect, mut world) = to(&Client::new().redirects(5), "ws://u:p@a.example/");
    let hosts = async {
        let first = world.redirect(302, "ws://b.example/").await;
        let second = world.redirect(302, "ws://a.example/").await;
        let (third, _) = world.open().await;
        [secrets(&first), secrets(&second), secrets(&third)]
    };
    let (ws, seen) = tokio::join!(ends(with_secrets(connect)), hosts);
    ws.unwrap();
    let dropped = [false, false, true];
    assert_eq!(seen, [[true, true, true], dropped, dropped]);
}

#[each_fault]
async fn a_user_in_the_url_goes_along_as_other_credentials_do() {
    for (location, goes) in [
        ("/b", true),
        ("ws://a.example/b", true),
        ("ws://b.example/b", false),
        // A user that the server names for another host is nobody of ours.
        ("ws://eve:x@b.example/b", false),
    ] {
        let (connect, mut world) = to(&Client::new().redirects(5), "ws://u:p@a.example/");
        let hosts = async {
            world.redirect(302, location).await;
            world.open().await.0
        };
        let (ws, second) = tokio::join!(ends(connect), hosts);
        ws.unwrap();
        let expected = goes.then_some("basic dtpw");
        assert_eq!(second.header("authorization"), expected, "{location}");
        assert!(!second.url.to_string().contains('@'));
    }
}

#[each_fault]
async fn a_bearer_token_is_a_credential() {
    let (connect, mut world) = to(&Client::new().redirects(5), "ws://u:p@a.example/");
    let hosts = async {
        let first = world.redirect(302, "//b.example").await;
        (first, world.open().await.0)
    };
    let (ws, (first, second)) = tokio::join!(ends(connect.bearer_auth("Xy")), hosts);
    ws.unwrap();
    assert_eq!(first.header("authorization"), Some("bearer xy"));
    assert_eq!(second.header("authorization"), None);
}

#[each_fault]
async fn one_who_looks_can_stop() {
    let client = Client::new().redirects(5).on_redirect(|redirect| {
        assert_eq!(redirect.from(), "ws://a.example/");
        assert_eq!(redirect.to(), "ws://b.example/x");
        assert_eq!(redirect.response().status(), 302);
        assert_eq!(redirect.response().headers()["content-length"], "4");
        false
    });
    let (connect, mut world) = to(&client, "ws://u:p@a.example/");
    let location = "ws://eve:x@b.example/x";
    let (error, _) = tokio::join!(refused(connect), world.redirect(302, location));
    let error = handshake(error);
    assert!(
        matches!(error, HandshakeError::Response { .. }),
        "{error:?}"
    );
    assert_eq!(error.status().unwrap(), 302);
    assert_eq!(error.response().unwrap().body(), "gone");
}

#[each_fault]
async fn one_who_looks_can_change_what_is_sent_and_where() {
    let client = Client::new().redirects(5).on_redirect(|redirect| {
        assert!(redirect.headers_mut().get("cookie").is_none());
        let token = HeaderValue::from_static("for-b-and-not-for-c");
        redirect.headers_mut().insert("authorization", token);
        redirect.headers_mut().remove("x-own");
        assert!(redirect.set_to("ws+unix:/run/docker.sock:/").is_err());
        assert_eq!(redirect.to(), "ws://b.example/");
        // To another server what was added for the last one does not go.
        redirect.set_to("ws://c.example/").unwrap();
        assert!(redirect.headers_mut().get("authorization").is_none());
        let cookie = HeaderValue::from_static("c=d");
        redirect.headers_mut().insert("cookie", cookie);
        true
    });
    let (connect, mut world) = to(&client, "ws://a.example/");
    let hosts = async {
        world.redirect(302, "ws://b.example/").await;
        world.open().await.0
    };
    let (ws, second) = tokio::join!(ends(with_secrets(connect)), hosts);
    ws.unwrap();
    assert_eq!(second.url, "ws://c.example/");
    assert_eq!(second.header("cookie"), Some("c=d"));
    assert_eq!(secrets(&second), [false, true, false]);
}

#[each_fault]
async fn one_deadline_is_for_all_of_it() {
    let (connect, mut world) = to(&Client::new().redirects(50), "ws://a.example/");
    let begun = Instant::now();
    let hosts = async {
        loop {
            sleep(Duration::from_secs(3)).await;
            world.redirect(302, "/").await;
        }
    };
    let error = tokio::select! {
        error = refused(connect) => error,
        () = hosts => unreachable!(),
    };
    assert!(
        matches!(error, Error::Timeout(Timeout::Handshake)),
        "{error:?}"
    );
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
}

#[each_fault]
async fn a_call_that_is_dropped_drops_all_its_connections() {
    for redirects in 0..3 {
        let (connect, mut world) = to(&Client::new().redirects(5), "ws://a.example/");
        let hosts = async {
            let mut asked = Vec::new();
            for _ in 0..redirects {
                asked.push(world.redirect(302, "/").await);
            }
            asked.push(world.asked().await);
            asked
        };
        let asked = tokio::select! {
            ended = ends(connect) => panic!("{ended:?}"),
            asked = hosts => asked,
        };
        for mut asked in asked {
            let mut rest = Vec::new();
            ends(asked.stream.read_to_end(&mut rest)).await.unwrap();
            assert_eq!(rest, []);
        }
    }
}

#[each_fault]
async fn over_a_stream_of_ones_own_nothing_is_followed() {
    let (ours, theirs) = fault::ours(1024);
    let (give, given) = mpsc::unbounded_channel();
    give.send((Uri::from_static("/"), theirs)).unwrap();
    let mut world = World(given);
    let connect = Client::new().redirects(5).connect("ws://a.example/");
    let (result, _) = tokio::join!(ends(connect.over(ours)), world.redirect(302, "/x"));
    assert_eq!(handshake(result.unwrap_err()).status().unwrap(), 302);
}

#[each_fault]
async fn a_session_follows_and_begins_at_its_own_url_again() {
    let (connect, mut world) = to(&Client::new().redirects(1), "ws://a.example/");
    let mut session = connect.reconnect(hybi::Backoff::new());
    let hosts = async {
        for _ in 0..2 {
            assert_eq!(
                world.redirect(302, "ws://b.example/").await.url,
                "ws://a.example/"
            );
            let (asked, mut ws) = world.open().await;
            assert_eq!(asked.url, "ws://b.example/");
            ws.send("hello").await.unwrap();
            ws.abort();
        }
    };
    let receive = async {
        for _ in 0..2 {
            assert_eq!(
                comes(session.recv()).await.unwrap(),
                Some(Message::from("hello"))
            );
        }
    };
    tokio::join!(hosts, receive);
}

#[each_fault]
async fn what_is_shown_of_a_redirect_is_not_secret() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let client = Client::new().redirects(1).on_redirect(move |redirect| {
        tell.send(format!("{redirect:?}")).unwrap();
        false
    });
    let (connect, mut world) = to(&client, "ws://alice:secret@a.example/");
    let connect = connect
        .header("authorization", "Bearer token")
        .header("cookie", "sid=hidden")
        .header("x-room", "shown");
    let (refused, _asked) = tokio::join!(refused(connect), world.redirect(302, "/b"));
    assert_eq!(handshake(refused).status().unwrap(), 302);
    let shown = told.recv().await.unwrap();
    assert!(shown.contains("shown"), "{shown}");
    for secret in ["alice", "secret", "token", "hidden"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[each_fault]
async fn a_user_that_no_request_can_name_is_the_fault_of_who_redirects() {
    let (connect, mut world) = to(&Client::new().redirects(1), "ws://a.example/");
    let location = "ws://a%3Ab@a.example/";
    let (refused, _asked) = tokio::join!(refused(connect), world.redirect(302, location));
    match handshake(refused) {
        HandshakeError::Location { error, .. } => assert_eq!(error, UrlError::User),
        error => panic!("{error:?}"),
    }
}
