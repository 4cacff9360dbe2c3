//! What a connection and a server tell to the crate tracing.

use std::io;
use std::sync::{Arc, Mutex};

use hybi::test::{Frame, Peer};
use hybi::{Server, WebSocket, drive};
use tracing_subscriber::fmt::MakeWriter;

use crate::support::ends;

/// Keeps the lines that were told while it lives, in this thread.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl io::Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Told {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Told {
    fn listen() -> (Self, tracing::subscriber::DefaultGuard) {
        let told = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(told.clone())
            .finish();
        (told, tracing::subscriber::set_default(subscriber))
    }

    /// The lines that hold each of these words.
    fn count(&self, words: &[&str]) -> usize {
        let told = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let holds = |line: &&str| words.iter().all(|word| line.contains(word));
        told.lines().filter(holds).count()
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_runs_in_the_span_of_its_connection() {
    let (told, _guard) = Told::listen();
    let (mut peer, ws) = Peer::client();
    peer.send(Frame::close(4000, "bye\n")).await.unwrap();
    let span = format!("connection{{id={} role=\"server\"}}", id(&ws));
    let handled = ends(drive(ws, |mut ws| async move {
        while ws.recv().await?.is_some() {}
        tracing::info!("said by the handler");
        Err(hybi::Error::other("its own fault"))
    }));
    assert!(handled.await.is_err());
    assert_eq!(told.count(&[&span, "opened"]), 1);
    assert_eq!(told.count(&[&span, "said by the handler"]), 1);
    assert_eq!(told.count(&[&span, "failed", "its own fault"]), 1);
    let end = ["ended code=4000", r#"reason="bye\n""#, "Peer", "clean=true"];
    assert_eq!(told.count(&end), 1);
}

/// The number in `ConnectionId(7)`.
fn id(ws: &WebSocket) -> String {
    let id = format!("{:?}", ws.id());
    id.trim_matches(|c: char| !c.is_ascii_digit()).to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_violation_is_told_with_its_code() {
    let (told, _guard) = Told::listen();
    let (mut peer, mut ws) = Peer::client();
    peer.hex("83 80 00000000").await.unwrap();
    assert!(ends(ws.recv()).await.is_err());
    assert_eq!(told.count(&["violated by the peer", "code=1002"]), 1);
    assert_eq!(told.count(&["ended code=1002", "clean=false"]), 1);
}

#[tokio::test]
async fn a_server_tells_whom_it_has_turned_away() {
    let (told, _guard) = Told::listen();
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    tokio::spawn(server.serve(|_ws, _request| async { Ok(()) }));
    let refused = hybi::connect(&*url).origin("http://elsewhere").await;
    assert!(refused.is_err());
    ends(async {
        while told.count(&["no connection came of a client", "peer=127.0.0.1"]) < 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut ws = hybi::connect(&*url).await.unwrap();
    assert_eq!(ends(ws.recv()).await.unwrap(), None);
    let peer = format!("peer={}", url.trim_matches(|c| "ws:/".contains(c)));
    assert_eq!(
        told.count(&["role=\"client\"", &peer, "ended code=1000"]),
        1
    );
}
