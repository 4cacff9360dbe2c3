//! The end of a server: who is turned away, who is told, who is cut off.

use std::future::pending;
use std::time::Duration;

use hybi::{
    CloseCode, Error, HandshakeError, Message, Report, Server, ServerHandle, Shutdown, StatusCode,
    WebSocket,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Runs a future that must end; a minute is no measure, only a guard against hanging.
async fn ends<T>(future: impl IntoFuture<Output = T>) -> T {
    let guard = Duration::from_secs(60);
    tokio::time::timeout(guard, future).await.expect("hangs")
}

async fn echo(mut ws: WebSocket, _request: hybi::Request<()>) -> hybi::Result<()> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

struct Running {
    url: String,
    handle: ServerHandle,
    clients: hybi::Clients,
    serving: JoinHandle<hybi::Result<()>>,
}

async fn running() -> Running {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    Running {
        url: format!("ws://{}/", server.local_addr().unwrap()),
        handle: server.handle(),
        clients: server.clients(),
        serving: tokio::spawn(server.serve(echo)),
    }
}

impl Running {
    /// A client whose connection the server knows.
    async fn client(&self) -> WebSocket {
        let mut ws = hybi::connect(&*self.url).await.unwrap();
        ws.send("here").await.unwrap();
        assert_eq!(ends(ws.recv()).await.unwrap(), Some(Message::from("here")));
        ws
    }
}

#[tokio::test]
async fn a_server_knows_its_clients_until_they_are_gone() {
    let running = running().await;
    assert!(running.clients.is_empty());
    let (mut first, mut second) = (running.client().await, running.client().await);
    assert_eq!(running.clients.len(), 2);
    for sender in running.clients.iter() {
        sender.send("to all").await.unwrap();
    }
    let one = running.clients.iter().next().unwrap().id();
    assert!(running.clients.get(one).is_some());
    for sender in running.clients.others(one).iter() {
        sender.send("to the other").await.unwrap();
    }
    let mut heard = Vec::new();
    for ws in [&mut first, &mut second] {
        assert_eq!(
            ends(ws.recv()).await.unwrap(),
            Some(Message::from("to all"))
        );
        ws.close(CloseCode::NORMAL, "").await.unwrap();
        heard.push(ws.close_info().unwrap().clean);
    }
    assert_eq!(heard, [true, true]);
    // The server's side ends when it has seen the end of ours.
    ends(async {
        while !running.clients.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(running.clients.get(one).is_none());
}

#[tokio::test]
async fn a_shutdown_tells_every_client_and_serve_returns() {
    let running = running().await;
    let mut all = vec![running.client().await, running.client().await];
    let handle = running.handle.clone();
    let shutdown = tokio::spawn(async move { handle.shutdown(()).await });
    for ws in &mut all {
        assert_eq!(ends(ws.recv()).await.unwrap(), None);
        assert_eq!(ws.close_info().unwrap().code, CloseCode::GOING_AWAY);
    }
    let report = ends(shutdown).await.unwrap().unwrap();
    assert_eq!((report.closed, report.aborted), (2, 0));
    ends(running.serving).await.unwrap().unwrap();
    assert!(running.clients.is_empty());
}

#[tokio::test]
async fn while_it_lasts_new_clients_get_503_and_the_deadline_cuts_off_who_stays() {
    let running = running().await;
    // It never reads, so it never answers the close.
    let stuck = running.client().await;
    let handle = running.handle.clone();
    let how = Shutdown::new()
        .close(CloseCode::SERVICE_RESTART, "back soon")
        .deadline(Duration::from_secs(1));
    let shutdown = tokio::spawn(async move { handle.shutdown(how).await });
    let mut refused = false;
    while !refused && !shutdown.is_finished() {
        refused = match hybi::connect(&*running.url).await {
            Err(Error::Handshake(error)) => {
                assert!(
                    matches!(*error, HandshakeError::Response { .. }),
                    "{error:?}"
                );
                error.status() == Some(StatusCode::SERVICE_UNAVAILABLE)
            }
            _ => false,
        };
    }
    assert!(refused);
    let report: Report = ends(shutdown).await.unwrap().unwrap();
    assert_eq!(report.aborted, 1);
    ends(running.serving).await.unwrap().unwrap();
    drop(stuck);
}

#[tokio::test]
async fn a_shutdown_with_nobody_here_is_over_at_once() {
    let running = running().await;
    let report = ends(running.handle.shutdown(())).await.unwrap();
    assert_eq!(report, Report::default());
    ends(running.serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_code_that_no_frame_may_carry_changes_nothing() {
    let running = running().await;
    let how = Shutdown::new().close(CloseCode::ABNORMAL, "");
    assert!(matches!(
        running.handle.shutdown(how).await,
        Err(Error::Send(_))
    ));
    running.client().await;
}

#[tokio::test]
async fn closes_that_are_spread_all_come_before_the_deadline() {
    let running = running().await;
    let mut all = Vec::new();
    for _ in 0..20 {
        all.push(running.client().await);
    }
    let how = Shutdown::new().spread(Duration::from_millis(200));
    let handle = running.handle.clone();
    let shutdown = tokio::spawn(async move { handle.shutdown(how).await });
    for mut ws in all {
        tokio::spawn(async move { while let Ok(Some(_)) = ws.recv().await {} });
    }
    let report = ends(shutdown).await.unwrap().unwrap();
    assert_eq!((report.closed, report.aborted), (20, 0));
}

#[tokio::test]
async fn a_signal_ends_serve_until_and_accept_ends_with_none() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve_until(echo, async { stopped.await.unwrap() }));
    stop.send(()).unwrap();
    assert_eq!(ends(serving).await.unwrap().unwrap(), Report::default());

    let mut server = Server::bind("127.0.0.1:0").await.unwrap();
    let handle = server.handle();
    ends(handle.shutdown(())).await.unwrap();
    assert!(ends(server.accept()).await.is_none());
}

#[tokio::test]
async fn who_is_not_tracked_is_left_alone() {
    let server = Server::bind("127.0.0.1:0").await.unwrap().track(false);
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let handle = server.handle();
    let clients = server.clients();
    let serving = tokio::spawn(server.serve(echo));
    let mut ws = hybi::connect(url).await.unwrap();
    ends(handle.shutdown(())).await.unwrap();
    ends(serving).await.unwrap().unwrap();
    assert!(clients.is_empty());
    ws.send("still here").await.unwrap();
    assert_eq!(
        ends(ws.recv()).await.unwrap(),
        Some(Message::from("still here"))
    );
}

#[tokio::test]
async fn serve_until_goes_on_until_the_signal() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    tokio::spawn(server.serve_until(echo, pending::<()>()));
    let mut ws = hybi::connect(url).await.unwrap();
    ws.send("hello").await.unwrap();
    assert_eq!(ends(ws.recv()).await.unwrap(), Some(Message::from("hello")));
}

#[tokio::test]
async fn who_is_let_in_when_all_is_over_is_told_at_once() {
    let mut server = Server::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let client = tokio::spawn(async move { hybi::connect(&*url).await });
    let incoming = ends(server.accept()).await.unwrap();
    let how = Shutdown::new().close(CloseCode::SERVICE_RESTART, "soon back");
    ends(server.handle().shutdown(how)).await.unwrap();
    let _ws = ends(incoming.accept()).await.unwrap();
    let mut client = ends(client).await.unwrap().unwrap();
    let event = ends(client.recv_event()).await.unwrap();
    let Some(hybi::Event::Close(Some(close))) = event else {
        panic!("{event:?}");
    };
    assert_eq!(close.code(), CloseCode::SERVICE_RESTART);
}

#[tokio::test]
async fn a_server_that_stops_accepting_leaves_its_clients_alone_and_tells_when_all_have_gone() {
    let running = running().await;
    let mut ws = running.client().await;
    running.handle.stop_accepting();
    let refused = ends(hybi::connect(&*running.url)).await.unwrap_err();
    let Error::Handshake(error) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(error.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
    ws.send("still here").await.unwrap();
    let heard = ends(ws.recv()).await.unwrap();
    assert_eq!(heard, Some(Message::from("still here")));
    let handle = running.handle.clone();
    let drained = tokio::spawn(async move { handle.drained().await });
    tokio::task::yield_now().await;
    assert!(!drained.is_finished());
    ws.close(CloseCode::NORMAL, "").await.unwrap();
    ends(drained).await.unwrap();
    let report = ends(running.handle.shutdown(())).await.unwrap();
    assert_eq!(report, Report::default());
    ends(running.serving).await.unwrap().unwrap();
}

#[test]
fn a_shutdown_has_10_s_if_nothing_else_is_said() {
    let shown = format!("{:?}", hybi::Shutdown::new());
    assert!(shown.contains("deadline: 10s"), "{shown}");
}
