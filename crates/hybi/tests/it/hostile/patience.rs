//! Those who keep the other side waiting in the opening handshake, and those who claim much.

use crate::fault::{self, each_fault};
use std::time::Duration;

use hybi::{Error, Forwarded, HandshakeError, Options, Server, Timeout};
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

/// As many of an address may be in the opening handshake, and more where more may be connected.
const HEADS_PER_IP: usize = 64;

/// Connects, and says nothing.
async fn silent(victim: &Victim, count: usize) -> Vec<TcpStream> {
    let mut silent = Vec::new();
    for _ in 0..count {
        silent.push(TcpStream::connect(victim.addr).await.unwrap());
    }
    silent
}

/// A client is served that comes from this address.
#[cfg(target_os = "linux")]
async fn serves_from(victim: &Victim, address: [u8; 4]) -> super::Outcome {
    let client = hybi::Client::new().local_address(std::net::IpAddr::from(address));
    let served = async {
        let mut ws = client.connect(format!("ws://{}", victim.addr)).await?;
        ws.send("here").await?;
        ws.recv().await?;
        ws.close(hybi::CloseCode::NORMAL, "").await
    };
    let served = guarded(served).await?;
    served.map(drop).map_err(|error| error.to_string())
}

#[cfg(target_os = "linux")] // where all of 127.0.0.0/8 is here
#[tokio::test]
async fn an_address_that_says_nothing_does_not_keep_others_from_the_door() {
    // Nobody is sent away for taking long.
    let patient = || Options::new().handshake_timeout(None);
    for [few, heads] in [[1, HEADS_PER_IP], [100, 100]] {
        let configure = |server: Server| server.options(patient()).max_connections_per_ip(few);
        for victim in [
            Victim::serve(configure).await,
            Victim::accept(configure).await,
        ] {
            let mut here = silent(&victim, heads).await;
            // Those beyond are dropped as they come.
            for mut beyond in silent(&victim, 100).await {
                let heard = guarded(listen(&mut beyond)).await.unwrap();
                assert!(heard.bytes.is_empty());
            }
            serves_from(&victim, [127, 0, 0, 2]).await.unwrap();
            assert!(victim.serves().await.is_err());
            // Where one has left, another has room as soon as that is seen.
            here.pop();
            while victim.serves().await.is_err() {
                tokio::task::yield_now().await;
            }
        }
    }
}

#[tokio::test]
async fn those_who_come_through_a_trusted_proxy_do_not_count_as_one_address_at_the_door() {
    let configure = |server: Server| {
        let server = server.trusted_proxies(Forwarded::XForwardedFor, ["127.0.0.1"]);
        server.unwrap().max_connections_per_ip(1)
    };
    let victim = Victim::serve(configure).await;
    let _silent = silent(&victim, 4 * HEADS_PER_IP).await;
    victim.serves().await.unwrap();
}

#[tokio::test]
async fn a_client_that_is_ready_and_taken_by_nobody_is_dropped_in_time() {
    let request = Head::handshake().bytes();
    // Long enough for the two others on a busy machine.
    let options = Options::new().handshake_timeout(Duration::from_secs(2));
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr().unwrap();
    let mut server = server.options(options);
    // This one is being read when the other one is taken.
    let mut late = TcpStream::connect(addr).await.unwrap();
    late.write_all(&request[..10]).await.unwrap();
    let mut taken = TcpStream::connect(addr).await.unwrap();
    taken.write_all(&request).await.unwrap();
    let first = guarded(server.accept()).await.unwrap().unwrap();
    assert_eq!(first.peer_addr(), taken.local_addr().ok());
    late.write_all(&request[10..]).await.unwrap();
    let heard = guarded(listen(&mut late)).await.unwrap();
    assert_eq!((heard.end, heard.bytes.len()), (End::Eof, 0));
    // It is not given to who comes too late.
    let mut fresh = TcpStream::connect(addr).await.unwrap();
    fresh.write_all(&request).await.unwrap();
    let next = guarded(server.accept()).await.unwrap().unwrap();
    assert_eq!(next.peer_addr(), fresh.local_addr().ok());
}

/// Two claims are more than the address space: what is allocated for them ends the process.
#[tokio::test]
async fn a_length_that_is_only_claimed_is_not_allocated_for() {
    const CLAIM: usize = isize::MAX as usize;
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
