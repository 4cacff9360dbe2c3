//! What a connection and a server tell to the crate tracing.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::io;
use std::sync::{Mutex, Once};
use std::time::Duration;

use hybi::test::{Frame, Peer};
use hybi::{Server, WebSocket, drive};

/// What was told since the process began, by all tests: a subscriber of one thread would miss what
/// the other threads of this binary have turned off.
static TOLD: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Told;

impl io::Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        TOLD.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn listen() {
    static LISTEN: Once = Once::new();
    LISTEN.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(|| Told)
            .init();
    });
}

/// The lines that hold each of these words.
fn told(words: &[&str]) -> usize {
    let told = String::from_utf8(TOLD.lock().unwrap().clone()).unwrap();
    let holds = |line: &&str| words.iter().all(|word| line.contains(word));
    told.lines().filter(holds).count()
}

/// How the span of a connection begins.
fn span(ws: &WebSocket) -> String {
    let id = format!("{:?}", ws.id());
    let id = id.trim_matches(|c: char| !c.is_ascii_digit());
    format!("connection{{id={id} role=\"")
}

async fn ends<T>(future: impl IntoFuture<Output = T>) -> T {
    let guard = Duration::from_secs(60);
    tokio::time::timeout(guard, future).await.expect("hangs")
}

#[tokio::test(start_paused = true)]
async fn a_handler_runs_in_the_span_of_its_connection() {
    listen();
    let (mut peer, ws) = Peer::client();
    peer.send(Frame::close(4000, "bye\n")).await.unwrap();
    let span = span(&ws);
    let handled = ends(drive(ws, |mut ws| async move {
        while ws.recv().await?.is_some() {}
        tracing::info!("said by the handler");
        Err(hybi::Error::other("its own fault"))
    }));
    assert!(handled.await.is_err());
    assert_eq!(told(&[&span, "opened"]), 1);
    assert_eq!(told(&[&span, "said by the handler"]), 1);
    assert_eq!(told(&[&span, "failed", "its own fault"]), 1);
    let end = [
        &span,
        "ended code=4000",
        r#"reason="bye\n""#,
        "Peer",
        "clean=true",
    ];
    assert_eq!(told(&end), 1);
}

#[tokio::test(start_paused = true)]
async fn a_violation_is_told_with_its_code() {
    listen();
    let (mut peer, mut ws) = Peer::client();
    let span = span(&ws);
    peer.hex("83 80 00000000").await.unwrap();
    assert!(ends(ws.recv()).await.is_err());
    assert_eq!(told(&[&span, "violated by the peer", "code=1002"]), 1);
    assert_eq!(told(&[&span, "ended code=1002", "clean=false"]), 1);
}

#[tokio::test]
async fn a_server_tells_whom_it_has_turned_away() {
    listen();
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    tokio::spawn(server.serve(|_ws, _request| async { Ok(()) }));
    let refused = hybi::connect(&*url).origin("http://elsewhere").await;
    assert!(refused.is_err());
    ends(async {
        while told(&["no connection came of a client", "peer=127.0.0.1"]) < 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut ws = hybi::connect(&*url).await.unwrap();
    assert_eq!(ends(ws.recv()).await.unwrap(), None);
    let peer = format!("peer={}", url.trim_matches(|c| "ws:/".contains(c)));
    assert_eq!(told(&["role=\"client\"", &peer, "ended code=1000"]), 1);
}
