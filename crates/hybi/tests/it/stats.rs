//! What a connection says that it has done.

use std::time::Duration;

use hybi::test::Frame;
use hybi::{Heartbeat, Options, Overflow, Role};
use tokio::time::sleep;

use crate::fault::each_fault;
use crate::support::{Peer, ends};

#[each_fault(counts)]
async fn messages_and_bytes_are_counted_each_way() {
    let (mut peer, mut ws) = Peer::client();
    peer.send(Frame::text("hello")).await.unwrap();
    peer.send(Frame::ping("")).await.unwrap();
    peer.send(Frame::binary(vec![0; 200])).await.unwrap();
    ws.recv().await.unwrap();
    ws.recv().await.unwrap();
    ws.send("four").await.unwrap();
    let stats = ws.stats();
    assert_eq!((stats.messages_received, stats.messages_sent), (2, 1));
    assert_eq!(stats.bytes_received, (6 + 5) + 6 + (8 + 200));
    assert_eq!((stats.bytes_sent, stats.buffered), (2 + (2 + 4), 0));
    assert_eq!(stats.round_trip, None);
    ws.feed("waits").unwrap();
    assert_eq!(ws.sender().stats().buffered, 7);
}

#[each_fault]
async fn the_last_round_trip_is_told_whoever_has_pinged() {
    let every = Duration::from_secs(10);
    let options = Options::new().heartbeat(Heartbeat::every(every));
    let (mut peer, mut ws) = Peer::of(Role::Client, &options, 1024);
    let sender = ws.sender();
    let receiving = tokio::spawn(async move { ws.recv().await });
    assert_eq!(ends(peer.recv()).await.unwrap(), Some(Frame::ping("")));
    sleep(Duration::from_millis(42)).await;
    peer.send(Frame::pong("")).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(sender.stats().round_trip, Some(Duration::from_millis(42)));

    drop(sender.ping("one").unwrap());
    assert_eq!(ends(peer.recv()).await.unwrap(), Some(Frame::ping("one")));
    sleep(Duration::from_millis(7)).await;
    peer.send(Frame::pong("one")).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(sender.stats().round_trip, Some(Duration::from_millis(7)));
    assert!(!receiving.is_finished());
}

#[each_fault]
async fn what_a_policy_drops_is_counted() {
    let options = Options::new().backlog(1000);
    let (_peer, ws) = Peer::of(Role::Client, &options, 64);
    let sender = ws.sender().overflow(Overflow::DropNewest);
    for _ in 0..20 {
        sender.send(vec![0; 100]).await.unwrap();
    }
    let stats = ws.stats();
    assert!(stats.dropped.newest > 0 && stats.buffered < 1100 + 128);
    assert!(stats.dropped.newest + stats.messages_sent <= 20);
}
