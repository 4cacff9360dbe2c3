//! Those who keep the other side waiting in the opening handshake, and those who claim much.

use crate::fault::{self, each_fault};
use std::time::Duration;

use hybi::{Error, HandshakeError, Options, Timeout};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;

use super::raw::{BINARY, End, FIN, Head, PING, frame, header, listen, masked};
use super::{Victim, guarded};

/// Sends one byte a second, the same over and over when the first ones are sent.
async fn drip(mut stream: DuplexStream, first: Vec<u8>, then: &'static [u8]) {
    for byte in first.iter().chain(then.iter().cycle()) {
        if stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[each_fault]
async fn the_handshake_deadline_of_a_server_is_total_not_idle() {
    let request = Head::handshake().bytes();
    let requests: [(&[u8], &[u8]); 4] = [
        (b"", b"G"),
        (b"GET /", b"x"),
        (b"GET / HTTP/1.1\r\n", b"X: y\r\n"),
        (&request[..100], b"X: y\r\n"),
    ];
    for (first, then) in requests {
        let (ours, theirs) = fault::ours(1024);
        let peer = tokio::spawn(drip(theirs, first.to_vec(), then));
        let result = hybi::accept(ours).await;
        assert!(
            matches!(result, Err(Error::Timeout(Timeout::Handshake))),
            "{result:?}"
        );
        // The stream was dropped: the next byte finds nobody.
        peer.await.unwrap();
    }
}

#[each_fault]
async fn the_handshake_deadline_of_a_client_is_total_not_idle() {
    let answers: [(&str, &[u8]); 4] = [
        ("HTTP/1.1 101 Switching Protocols\r\n", b"x: y\r\n"),
        ("HTTP/1.1 101 ", b"x"),
        ("", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (
            "HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n",
        ),
    ];
    for (first, then) in answers {
        let (ours, theirs) = fault::ours(1024);
        let peer = tokio::spawn(drip(theirs, first.into(), then));
        let result = hybi::connect("ws://example.com").over(ours).await;
        assert!(
            matches!(result, Err(Error::Timeout(Timeout::Handshake))),
            "{result:?}"
        );
        peer.await.unwrap();
    }
}

#[each_fault]
async fn a_server_that_never_answers_meets_the_deadline() {
    let (ours, _theirs) = fault::ours(1024);
    let result = hybi::connect("ws://example.com").over(ours).await;
    assert!(
        matches!(result, Err(Error::Timeout(Timeout::Handshake))),
        "{result:?}"
    );
}

/// The body that a client finds when this much of an answer comes, and then one byte a second.
async fn refused(options: Options, first: &str) -> Vec<u8> {
    let (ours, mut theirs) = fault::ours(1 << 20);
    theirs.write_all(first.as_bytes()).await.unwrap();
    let peer = tokio::spawn(drip(theirs, Vec::new(), b"."));
    let connect = hybi::connect("ws://example.com").options(options);
    let Err(Error::Handshake(error)) = connect.over(ours).await else {
        panic!("not a refusal");
    };
    assert!(matches!(*error, HandshakeError::Response { .. }));
    assert_eq!(error.status(), Some(http::StatusCode::FORBIDDEN));
    peer.await.unwrap();
    error.response().unwrap().body().to_vec()
}

#[each_fault]
async fn a_body_that_drips_is_given_as_far_as_it_came() {
    let head = "HTTP/1.1 403 Forbidden\r\n";
    for framing in [
        "",
        "Content-Length: 1000\r\n",
        "Transfer-Encoding: chunked\r\n",
    ] {
        let chunk = if framing.contains("chunked") {
            "3e8\r\n"
        } else {
            ""
        };
        let first = format!("{head}{framing}\r\n{chunk}why");
        let body = refused(Options::new(), &first).await;
        assert!(
            body.starts_with(b"why.") && body.len() < 10,
            "{framing}: {}",
            body.escape_ascii()
        );
        // The time for the whole handshake ends first: it is a refusal all the same.
        let options = Options::new().handshake_timeout(Duration::from_millis(500));
        let body = refused(options, &first).await;
        assert!(
            body.starts_with(b"why") && body.len() < 6,
            "{framing}: {}",
            body.escape_ascii()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_who_say_nothing_are_sent_away_and_others_are_served_meanwhile() {
    // Long enough for a good client on a busy machine.
    let options = Options::new().handshake_timeout(Duration::from_secs(2));
    let [(_, one), (_, other)] = Victim::both(options).await;
    tokio::join!(besiege(&one), besiege(&other));
}

async fn besiege(victim: &Victim) {
    let request = Head::handshake().bytes();
    let begun = [
        &b""[..],
        b"G",
        b"GET / HTTP/1.1\r\n",
        &request[..request.len() - 1],
    ];
    let mut silent = Vec::new();
    for i in 0..400 {
        let mut tcp = TcpStream::connect(victim.addr).await.unwrap();
        tcp.write_all(begun[i % 4]).await.unwrap();
        silent.push(tcp);
        if i % 40 == 0 {
            victim.serves().await.unwrap();
        }
    }
    victim.serves().await.unwrap();
    for mut tcp in silent {
        let heard = guarded(listen(&mut tcp)).await.unwrap();
        assert_eq!((heard.end, heard.bytes.len()), (End::Eof, 0));
    }
    victim.serves().await.unwrap();
}

/// All claims together are more than the address space: one that is allocated for ends the process.
#[cfg(target_pointer_width = "64")]
#[tokio::test]
async fn a_length_that_is_only_claimed_is_not_allocated_for() {
    const CLAIM: usize = 1 << 40;
    let options = Options::new().max_message(CLAIM);
    let victim = Victim::serve(|server| server.options(options)).await;
    let ping = frame(FIN | PING, "");
    let claim = [header(FIN | BINARY, CLAIM as u64), masked(b"x")].concat();
    let sent = [Head::handshake().bytes(), ping, claim].concat();
    let mut claims = Vec::new();
    for _ in 0..200 {
        let mut tcp = TcpStream::connect(victim.addr).await.unwrap();
        tcp.write_all(&sent).await.unwrap();
        // The pong shows that the server has seen what came with the ping.
        let mut heard = Vec::new();
        while !heard.ends_with(&[0x8a, 0]) {
            assert!(tcp.read_buf(&mut heard).await.unwrap() > 0);
        }
        claims.push(tcp);
    }
    victim.serves().await.unwrap();
}
