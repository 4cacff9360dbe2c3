//! Round-trip times, on a paused clock.

use std::time::Duration;

use hybi::test::Frame;
use hybi::{CloseCode, Error, Event, drive};
use tokio::time::sleep;

use crate::fault::each_fault;
use crate::support::{Peer, echo, ends, pair, settle};

const MS: Duration = Duration::from_millis(1);

#[each_fault]
async fn a_ping_tells_the_round_trip_time_to_the_millisecond() {
    let (mut peer, mut ws) = Peer::client();
    let round_trip = ws.ping("one").unwrap();
    let reader = tokio::spawn(async move { ws.recv().await });
    assert_eq!(peer.recv().await.unwrap(), Some(Frame::ping("one")));
    sleep(42 * MS).await;
    peer.send(Frame::pong("one")).await.unwrap();
    assert_eq!(ends(round_trip).await.unwrap(), 42 * MS);
    drop(peer);
    assert!(ends(reader).await.unwrap().is_err());
}

#[each_fault]
async fn a_driven_socket_hears_the_pong_while_its_handler_is_busy() {
    let (mut peer, ws) = Peer::client();
    let task = tokio::spawn(drive(ws, |mut ws| async move {
        let time = ws.ping("")?.await?;
        ws.send(format!("{} ms", time.as_millis())).await
    }));
    assert_eq!(peer.recv().await.unwrap(), Some(Frame::ping("")));
    sleep(7 * MS).await;
    peer.send(Frame::pong("")).await.unwrap();
    assert_eq!(peer.recv().await.unwrap(), Some(Frame::text("7 ms")));
    peer.send(Frame::close(1000, "")).await.unwrap();
    ends(task).await.unwrap().unwrap();
}

#[each_fault]
async fn a_pong_answers_the_pings_before_its_own_and_no_later_one() {
    let (mut peer, mut ws) = Peer::client();
    let sender = ws.sender();
    let first = sender.ping("1").unwrap();
    let second = sender.ping("2").unwrap();
    let third = sender.ping("3").unwrap();
    tokio::spawn(async move { while let Ok(Some(_)) = ws.recv_event().await {} });
    sleep(5 * MS).await;
    peer.send(Frame::pong("unasked")).await.unwrap();
    peer.send(Frame::pong("2")).await.unwrap();
    assert_eq!(ends(first).await.unwrap(), 5 * MS);
    assert_eq!(ends(second).await.unwrap(), 5 * MS);
    let third = tokio::spawn(third);
    settle().await;
    assert!(!third.is_finished());
    peer.send(Frame::pong("3")).await.unwrap();
    assert_eq!(ends(third).await.unwrap().unwrap(), 6 * MS);
}

#[each_fault]
async fn pings_end_with_the_connection() {
    let (mut client, server) = pair();
    let task = tokio::spawn(drive(server, echo));
    client.close(CloseCode::NORMAL, "").await.unwrap();
    assert!(matches!(client.ping(""), Err(Error::Closed)));
    ends(task).await.unwrap().unwrap();

    let (peer, mut ws) = Peer::client();
    let round_trip = ws.ping("").unwrap();
    drop(peer);
    assert!(ends(ws.recv()).await.is_err());
    assert!(matches!(ends(round_trip).await, Err(Error::Closed)));
}

#[each_fault]
async fn the_oldest_of_too_many_pings_is_given_up() {
    let (mut peer, mut ws) = Peer::client();
    let mut waiting: Vec<_> = (0..65).map(|n| ws.ping(n.to_string()).unwrap()).collect();
    let newest = waiting.pop().unwrap();
    let oldest = waiting.remove(0);
    assert!(matches!(ends(oldest).await, Err(Error::Closed)));
    peer.send(Frame::pong("64")).await.unwrap();
    assert_eq!(
        ends(ws.recv_event()).await.unwrap(),
        Some(Event::Pong("64".into()))
    );
    assert_eq!(ends(newest).await.unwrap(), Duration::ZERO);
    for round_trip in waiting {
        assert!(ends(round_trip).await.is_ok());
    }
}
