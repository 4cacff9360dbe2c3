//! The heartbeat, on a paused clock in memory; and once on a server's own ticker.

use std::time::Duration;

use hybi::test::Frame;
use hybi::{CloseCode, Error, Heartbeat, Options, Role, Server, Timeout, WebSocket, drive};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::fault::each_fault;
use crate::support::{Peer, ends};

const SECOND: Duration = Duration::from_secs(1);

/// A ping after 20 s of silence, and 5 s for an answer: it ticks every half second.
fn options() -> Options {
    Options::new().heartbeat(Heartbeat::every(20 * SECOND).timeout(5 * SECOND))
}

fn peer() -> (Peer, WebSocket) {
    Peer::of(Role::Client, &options(), 1024)
}

/// Whether this lies within the time and one tick.
fn is_about(time: Duration, seconds: u64) -> bool {
    let (least, tick) = (SECOND * u32::try_from(seconds).unwrap(), SECOND / 2);
    (least..=least + tick).contains(&time)
}

async fn wait_for_the_end(mut ws: WebSocket) -> hybi::Result<()> {
    while ws.recv().await?.is_some() {}
    Ok(())
}

#[each_fault(counts)]
async fn a_silent_peer_is_pinged_and_then_given_up_driven_or_not() {
    for driven in [false, true] {
        let (mut peer, ws) = peer();
        let info = ws.sender();
        let begin = Instant::now();
        let task = tokio::spawn(async move {
            if driven {
                drive(ws, wait_for_the_end).await
            } else {
                wait_for_the_end(ws).await
            }
        });
        assert_eq!(ends(peer.recv()).await.unwrap(), Some(Frame::ping("")));
        assert!(is_about(begin.elapsed(), 20), "{:?}", begin.elapsed());
        let error = ends(task).await.unwrap().unwrap_err();
        assert!(
            matches!(error, Error::Timeout(Timeout::Heartbeat)),
            "{error:?}"
        );
        assert!(is_about(begin.elapsed(), 25), "{:?}", begin.elapsed());
        assert_eq!(info.close_info().unwrap().code, CloseCode::ABNORMAL);
    }
}

#[each_fault]
async fn a_dead_peer_is_found_while_the_handler_is_busy_elsewhere() {
    let (_peer, ws) = peer();
    let begin = Instant::now();
    let task = tokio::spawn(drive(ws, |mut ws| async move {
        sleep(1000 * SECOND).await;
        assert!(matches!(
            ws.recv().await,
            Err(Error::Timeout(Timeout::Heartbeat))
        ));
        Ok(())
    }));
    ends(task).await.unwrap().unwrap();
    assert!(is_about(begin.elapsed(), 1000));
}

#[each_fault]
async fn any_byte_counts_as_heard() {
    let (mut peer, ws) = peer();
    let task = tokio::spawn(wait_for_the_end(ws));
    for _ in 0..20 {
        sleep(19 * SECOND).await;
        peer.send(Frame::pong("unasked")).await.unwrap();
    }
    assert!(!task.is_finished());
    // The pong that the ping asks for keeps the connection, too.
    for _ in 0..5 {
        assert_eq!(ends(peer.recv()).await.unwrap(), Some(Frame::ping("")));
        peer.send(Frame::pong("")).await.unwrap();
    }
    peer.send(Frame::close(1000, "")).await.unwrap();
    ends(task).await.unwrap().unwrap();
}

#[each_fault]
async fn who_is_deaf_does_not_take_the_peer_for_dead() {
    let (mut peer, ws) = Peer::of(Role::Server, &options(), 1 << 20);
    let task = tokio::spawn(drive(ws, |mut ws| async move {
        sleep(1000 * SECOND).await;
        let mut received = 0;
        while ws.recv().await?.is_some() {
            received += 1;
        }
        assert_eq!(received, 200);
        Ok(())
    }));
    for _ in 0..200 {
        peer.send(Frame::binary(vec![0; 1000])).await.unwrap();
    }
    sleep(500 * SECOND).await;
    assert!(!task.is_finished());
    peer.send(Frame::close(1000, "")).await.unwrap();
    ends(task).await.unwrap().unwrap();
}

#[each_fault]
async fn without_a_heartbeat_nobody_is_pinged() {
    let (mut peer, ws) = Peer::client();
    tokio::spawn(wait_for_the_end(ws));
    sleep(100_000 * SECOND).await;
    let silence = tokio::time::timeout(SECOND, peer.recv()).await;
    assert!(silence.is_err(), "{silence:?}");
}

#[tokio::test]
async fn a_server_pings_all_its_clients_from_one_ticker() {
    let heartbeat = Heartbeat::every(Duration::from_millis(50)).timeout(60 * SECOND);
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let server = server.options(Options::new().heartbeat(heartbeat));
    let url = format!("ws://{}/", server.local_addr().unwrap());
    tokio::spawn(server.serve(|ws, _request| wait_for_the_end(ws)));
    for _ in 0..3 {
        let mut ws = hybi::connect(&*url).await.unwrap();
        let event = tokio::time::timeout(60 * SECOND, ws.recv_event()).await;
        assert_eq!(event.unwrap().unwrap(), Some(hybi::Event::Ping("".into())));
    }
}

#[tokio::test]
async fn the_clients_of_a_server_that_has_stopped_to_listen_are_still_pinged() {
    let heartbeat = Heartbeat::every(Duration::from_millis(50)).timeout(60 * SECOND);
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let server = server.options(Options::new().heartbeat(heartbeat));
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let serving = tokio::spawn(server.serve(|ws, _request| wait_for_the_end(ws)));
    let mut ws = hybi::connect(&*url).await.unwrap();
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    for _ in 0..3 {
        let event = tokio::time::timeout(60 * SECOND, ws.recv_event()).await;
        assert_eq!(event.unwrap().unwrap(), Some(hybi::Event::Ping("".into())));
    }
}

#[tokio::test]
async fn the_ticker_of_a_server_ends_who_does_not_answer() {
    let heartbeat = Heartbeat::every(Duration::from_millis(20)).timeout(Duration::from_millis(20));
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let server = server.options(Options::new().heartbeat(heartbeat));
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let (ended, mut ends) = mpsc::unbounded_channel();
    tokio::spawn(server.serve(move |ws, _request| {
        let ended = ended.clone();
        async move {
            let end = wait_for_the_end(ws).await;
            let _ = ended.send(end);
            Ok(())
        }
    }));
    let _silent = hybi::connect(&*url).await.unwrap();
    let end = tokio::time::timeout(60 * SECOND, ends.recv()).await;
    assert!(
        matches!(end, Ok(Some(Err(Error::Timeout(Timeout::Heartbeat))))),
        "{end:?}"
    );
}

#[each_fault]
async fn a_peer_that_is_silent_beyond_the_idle_timeout_is_given_up_without_a_ping() {
    let options = Options::new().idle_timeout(20 * SECOND);
    for driven in [false, true] {
        let (mut peer, ws) = Peer::of(Role::Server, &options, 1024);
        let task = tokio::spawn(async move {
            if driven {
                drive(ws, wait_for_the_end).await
            } else {
                wait_for_the_end(ws).await
            }
        });
        for frame in [Frame::ping(""), Frame::pong(""), Frame::text("here")] {
            sleep(19 * SECOND).await;
            peer.send(frame).await.unwrap();
        }
        let begin = Instant::now();
        let error = ends(task).await.unwrap().unwrap_err();
        assert!(
            matches!(error, Error::Timeout(Timeout::Idle)) && error.is_timeout(),
            "{error:?}"
        );
        // It ticks every second here.
        let time = begin.elapsed();
        assert!(20 * SECOND <= time && time <= 21 * SECOND, "{time:?}");
        assert_eq!(peer.recv().await.unwrap(), Some(Frame::pong("")));
        assert_eq!(peer.recv().await.unwrap(), None);
    }
}

#[each_fault]
async fn a_server_that_pings_keeps_its_client_from_giving_it_up() {
    let server = Options::new().heartbeat(Heartbeat::every(10 * SECOND));
    let client = Options::new().idle_timeout(15 * SECOND);
    let (client, server) = crate::support::pair_with(&client, &server, 1024);
    let server = tokio::spawn(wait_for_the_end(server));
    let client = tokio::spawn(wait_for_the_end(client));
    sleep(100_000 * SECOND).await;
    assert!(!client.is_finished() && !server.is_finished());
}

#[each_fault]
async fn a_connection_that_reaches_its_maximum_lifetime_is_closed_with_1001() {
    let options = Options::new().max_lifetime(100 * SECOND);
    for driven in [false, true] {
        let (mut peer, ws) = Peer::of(Role::Client, &options, 1024);
        let info = ws.sender();
        let begin = Instant::now();
        let task = tokio::spawn(async move {
            if driven {
                drive(ws, wait_for_the_end).await
            } else {
                wait_for_the_end(ws).await
            }
        });
        while begin.elapsed() < 99 * SECOND {
            peer.send(Frame::text("busy")).await.unwrap();
            sleep(SECOND).await;
        }
        let close = ends(peer.recv()).await.unwrap();
        let reason = "the connection has reached its maximum lifetime";
        assert_eq!(close, Some(Frame::close(1001, reason)));
        let time = begin.elapsed();
        assert!(100 * SECOND <= time && time <= 101 * SECOND, "{time:?}");
        peer.send(Frame::close(1001, "")).await.unwrap();
        ends(task).await.unwrap().unwrap();
        assert!(info.close_info().unwrap().clean);
    }
}
