//! The opening handshake between our own two ends, over real sockets.

use hybi::{Error, Message, Server, StatusCode, Stream, Version, WebSocket};

use crate::fault::{both, each_fault};

async fn server() -> (Server, String) {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", server.local_addr().unwrap());
    (server, url)
}

#[tokio::test]
async fn both_ends_know_the_uri_the_protocol_and_the_addresses() {
    let (server, url) = server().await;
    let mut server = server.protocols(["v2", "v1"]);
    let connect = hybi::connect(format!("{url}/chat?room=1"))
        .protocol("v1")
        .protocol("v2");
    let (client, accepted) = tokio::join!(async { connect.await.unwrap() }, async {
        let incoming = server.accept().await.unwrap();
        assert_eq!(incoming.uri().path(), "/chat");
        assert_eq!(incoming.protocols(), ["v1", "v2"]);
        let peer = incoming.peer_addr();
        let ws = incoming.accept().await.unwrap();
        assert_eq!(ws.peer_addr(), peer);
        ws
    });
    assert_eq!(client.protocol(), Some("v2"));
    assert_eq!(accepted.protocol(), Some("v2"));
    assert_eq!(client.uri().unwrap(), format!("{url}/chat?room=1").as_str());
    assert_eq!(accepted.uri().unwrap(), "/chat?room=1");
    assert_eq!(client.peer_addr(), accepted.local_addr());
    assert_eq!(client.local_addr(), accepted.peer_addr());
}

#[tokio::test]
async fn a_server_can_choose_another_protocol_or_none() {
    let (mut server, url) = server().await;
    for (choice, chosen) in [(Some("b"), Some("b")), (None, None), (Some("c"), None)] {
        let connect = hybi::connect(&*url).protocol("a").protocol("b");
        let (client, ()) = tokio::join!(async { connect.await.unwrap() }, async {
            let mut incoming = server.accept().await.unwrap();
            assert_eq!(incoming.choose_protocol(choice), choice != Some("c"));
            incoming.accept().await.unwrap();
        });
        assert_eq!(client.protocol(), chosen, "{choice:?}");
    }
}

#[tokio::test]
async fn a_rejected_client_reads_why() {
    let (mut server, url) = server().await;
    let connect = hybi::connect(url).header("authorization", "Bearer of bad news");
    let (refused, ()) = tokio::join!(async { connect.await.unwrap_err() }, async {
        let incoming = server.accept().await.unwrap();
        assert_eq!(incoming.headers()["authorization"], "Bearer of bad news");
        let reject = incoming
            .reject(StatusCode::UNAUTHORIZED)
            .body("who are you?");
        reject.await.unwrap();
    });
    let Error::Handshake(error) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(error.status(), Some(StatusCode::UNAUTHORIZED));
    assert_eq!(error.response().unwrap().body(), "who are you?");
}

#[tokio::test]
async fn an_aborted_client_gets_no_answer() {
    let (mut server, url) = server().await;
    let connect = hybi::connect(url);
    let (refused, ()) = tokio::join!(async { connect.await.unwrap_err() }, async {
        server.accept().await.unwrap().abort();
    });
    assert!(matches!(refused, Error::Io(_)), "{refused:?}");
}

#[tokio::test]
async fn version_8_says_its_origin_in_a_header_of_its_own() {
    let (mut server, url) = server().await;
    let origin = url.replace("ws:", "http:");
    let connect = hybi::connect(url).version(Version::V8).origin(&*origin);
    let (mut client, mut accepted) = tokio::join!(async { connect.await.unwrap() }, async {
        let incoming = server.accept().await.unwrap();
        assert!(!incoming.headers().contains_key("origin"));
        assert_eq!(incoming.origin(), Some(&*origin));
        incoming.accept().await.unwrap()
    });
    client.send("hello").await.unwrap();
    assert_eq!(accepted.recv().await.unwrap(), Some(Message::from("hello")));
}

#[each_fault(counts)]
async fn a_stream_of_ones_own_is_accepted_and_connected_over() {
    let (a, b) = both(1024);
    let connect = hybi::connect("ws://example.com/x").over(a);
    let (client, accepted): (WebSocket<_>, WebSocket<_>) =
        tokio::join!(async { connect.await.unwrap() }, async {
            hybi::accept(b).await.unwrap()
        });
    let (mut client, mut accepted) = (client, accepted);
    accepted.send("hello").await.unwrap();
    assert_eq!(client.recv().await.unwrap(), Some(Message::from("hello")));
    assert_eq!(accepted.uri().unwrap(), "/x");
}

#[each_fault(counts)]
async fn a_connector_of_ones_own_gets_the_url_and_gives_any_stream() {
    let (give, mut given) = tokio::sync::mpsc::unbounded_channel();
    let connect = hybi::connect("wss://user:secret@example.com/x?y").connector(move |url| {
        let (a, b) = both(1024);
        let gave = give.send((url, b));
        // Any stream of bytes will do.
        async { gave.map(|()| Stream::new(a)).map_err(std::io::Error::other) }
    });
    let (mut client, mut accepted) = tokio::join!(async { connect.await.unwrap() }, async {
        let (url, stream) = given.recv().await.unwrap();
        assert_eq!(url, "wss://example.com/x?y");
        hybi::accept(stream).await.unwrap()
    });
    client.send("hello").await.unwrap();
    assert_eq!(accepted.recv().await.unwrap(), Some(Message::from("hello")));
    assert_eq!(client.peer_addr(), None);
}
