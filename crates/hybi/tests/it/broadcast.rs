//! One message to many: the clients of a server, and rooms.

use std::time::Duration;

use hybi::test::Frame;
use hybi::{
    Clients, CloseCode, ConnectionId, Delivery, Hub, Message, Options, Overflow, Prepared, Request,
    Role, Sender, Server, WebSocket, drive,
};
use tokio::sync::mpsc;

use crate::fault::each_fault;
use crate::support::{Peer, ends, pair, settle};

async fn listen(mut ws: WebSocket) -> hybi::Result<()> {
    while ws.recv().await?.is_some() {}
    Ok(())
}

/// What became of it, without those that were full.
fn counts(delivery: &Delivery) -> [usize; 3] {
    [delivery.queued, delivery.dropped, delivery.closed]
}

/// A server whose clients only listen, and as many clients, each with its id on the server.
async fn server(clients: usize) -> (Clients, Vec<(ConnectionId, WebSocket)>) {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let tracked = server.clients();
    let (ids, mut entered) = mpsc::unbounded_channel();
    tokio::spawn(server.serve(move |ws, _request: Request<()>| {
        ids.send(ws.id()).unwrap();
        listen(ws)
    }));
    let mut open = Vec::new();
    for _ in 0..clients {
        let ws = hybi::connect(&*url).await.unwrap();
        open.push((ends(entered.recv()).await.unwrap(), ws));
    }
    (tracked, open)
}

#[tokio::test]
async fn a_broadcast_reaches_every_client_once_and_one_to_others_all_but_one() {
    let (clients, mut open) = server(5).await;
    let others = clients.others(open[2].0);
    assert_eq!(
        (clients.len(), others.len(), others.iter().count()),
        (5, 4, 4)
    );
    let everyone = Prepared::text("everyone");
    assert_eq!(counts(&clients.broadcast(&everyone)), [5, 0, 0]);
    assert_eq!(counts(&others.broadcast("others")), [4, 0, 0]);
    assert_eq!(counts(&clients.broadcast(vec![7; 100_000])), [5, 0, 0]);
    for (at, (_, ws)) in open.iter_mut().enumerate() {
        let mut expected = vec![Message::from("everyone")];
        expected.extend((at != 2).then(|| Message::from("others")));
        expected.push(vec![7; 100_000].into());
        for message in expected {
            assert_eq!(ends(ws.recv()).await.unwrap(), Some(message));
        }
    }
}

#[tokio::test]
async fn who_has_gone_is_passed_over() {
    let (clients, mut open) = server(3).await;
    let (_, mut gone) = open.remove(1);
    ends(gone.close(CloseCode::NORMAL, "")).await.unwrap();
    while clients.len() > 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(counts(&clients.broadcast("left")), [2, 0, 0]);
    for sender in clients.iter() {
        sender.start_close(CloseCode::GOING_AWAY, "").unwrap();
    }
    assert_eq!(counts(&clients.broadcast("closing")), [0, 0, 0]);
}

#[tokio::test]
async fn a_connection_that_is_not_driven_is_written_to_at_once() {
    let mut server = Server::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let client = tokio::spawn(async move { hybi::connect(&*url).await });
    let _held = server.accept().await.unwrap().accept().await.unwrap();
    let mut client = client.await.unwrap().unwrap();
    assert_eq!(counts(&server.clients().broadcast("hello")), [1, 0, 0]);
    let message = ends(client.recv()).await.unwrap();
    assert_eq!(message, Some("hello".into()));
}

/// A member whose peer reads nothing, and its task's socket driven.
fn stuck(options: &Options) -> (Peer, Sender) {
    let (peer, ws) = Peer::of(Role::Server, options, 64);
    let sender = ws.sender();
    tokio::spawn(drive(ws, listen));
    (peer, sender)
}

#[each_fault]
async fn under_wait_the_caller_is_given_those_that_were_full() {
    let options = Options::new().backlog(1000);
    let (mut peer, sender) = stuck(&options);
    let hub = Hub::new().overflow(Overflow::Wait);
    let _member = hub.join("room", &sender);
    let message = Prepared::binary(vec![0; 100]);
    let mut queued = 0;
    let full = loop {
        let delivery = hub.publish("room", &message);
        queued += delivery.queued;
        settle().await;
        assert!(sender.close_info().is_none());
        if !delivery.full.is_empty() {
            assert_eq!(counts(&delivery), [0, 0, 0]);
            break delivery.full;
        }
    };
    assert_eq!(full.len(), 1);
    let waiting = tokio::spawn(async move { full[0].send_prepared(&message).await });
    settle().await;
    assert!(!waiting.is_finished());
    for _ in 0..=queued {
        let frame = ends(peer.recv()).await.unwrap();
        assert_eq!(frame, Some(Frame::binary(vec![0; 100])));
    }
    ends(waiting).await.unwrap().unwrap();
}

#[each_fault]
async fn a_member_keeps_a_policy_of_its_own() {
    let options = Options::new().backlog(1000);
    let (_first, strict) = stuck(&options);
    let (_second, lenient) = stuck(&options);
    let hub = Hub::new();
    let _members = (
        hub.join("room", &strict),
        hub.join("room", &lenient.clone().overflow(Overflow::DropNewest)),
    );
    let mut closed = 0;
    for _ in 0..100 {
        closed += hub.publish("room", vec![0; 100]).closed;
    }
    assert_eq!((closed, strict.state()), (1, hybi::State::Closing));
    assert_eq!(lenient.state(), hybi::State::Open);
    assert!(lenient.stats().dropped.newest > 0);
}

#[each_fault(counts)]
async fn a_room_is_left_when_the_membership_is_dropped() {
    let hub = Hub::new();
    let ((mut a, ws_a), (mut b, ws_b)) = (pair(), pair());
    let first = hub.join("room", &ws_a.sender());
    let again = hub.join("room", &ws_a.sender());
    let second = hub.join("room", &ws_b.sender());
    assert_eq!((first.room().as_str(), hub.len("room")), ("room", 2));
    assert_eq!(second.publish_others("to a").queued, 1);
    assert_eq!(first.publish("to both").queued, 2);
    drop(first);
    assert_eq!(hub.len("room"), 2);
    drop(again);
    assert_eq!(
        (hub.len("room"), hub.publish("room", "to b").queued),
        (1, 1)
    );
    let id = ws_b.id();
    assert_eq!(hub.publish_others("room", id, "to nobody").queued, 0);
    drop(second);
    assert!(hub.is_empty("room") && format!("{hub:?}").contains("rooms: 0"));
    assert_eq!(hub.publish("room", "nobody").queued, 0);
    drop((ws_a, ws_b));
    for (ws, expected) in [(&mut a, ["to a", "to both"]), (&mut b, ["to both", "to b"])] {
        for message in expected {
            assert_eq!(ends(ws.recv()).await.unwrap(), Some(message.into()));
        }
        assert!(ends(ws.recv()).await.unwrap().is_none());
    }
}

#[each_fault(counts)]
async fn a_membership_does_not_hold_a_connection_open() {
    let hub: Hub<u32> = Hub::default();
    let (mut peer, ws) = Peer::client();
    let membership = hub.join(7_u32, &ws.sender());
    drop(ws);
    let close = ends(peer.recv()).await.unwrap();
    assert_eq!(close, Some(Frame::close(1001, "")));
    assert_eq!(membership.publish("nobody").queued, 0);
}

/// A room of a thousand, one of whom never reads: what the stuck one's sender says at the end, and
/// the sum of the deliveries.
async fn room_of_a_thousand(overflow: Overflow) -> (Sender, [usize; 3]) {
    const MEMBERS: usize = 1000;
    const MESSAGES: usize = 200;
    let options = Options::new().backlog(64 << 10);
    let hub = Hub::new().overflow(overflow);
    let (_peer, stuck) = stuck(&options);
    let _membership = hub.join("room", &stuck);
    let mut members = Vec::new();
    let mut readers = Vec::new();
    for _ in 1..MEMBERS {
        let (mut client, server) = crate::support::pair_with(&options, &options, 4096);
        members.push(hub.join("room", &server.sender()));
        tokio::spawn(drive(server, listen));
        readers.push(tokio::spawn(async move {
            for number in 0..MESSAGES {
                let message = ends(client.recv()).await.unwrap().unwrap();
                assert_eq!(message.len(), 1024);
                assert!(message.as_bytes().starts_with(&number.to_be_bytes()));
            }
            client
        }));
    }
    let mut sum = [0; 3];
    for number in 0..MESSAGES {
        let mut message = number.to_be_bytes().to_vec();
        message.resize(1024, 0);
        let delivery = hub.publish("room", message);
        assert!(delivery.full.is_empty());
        for (sum, count) in sum.iter_mut().zip(counts(&delivery)) {
            *sum += count;
        }
        assert!(stuck.buffered() < (64 << 10) + 1024 + 128);
        settle().await;
    }
    for reader in readers {
        ends(reader).await.unwrap();
    }
    (stuck, sum)
}

#[tokio::test(start_paused = true)] // a thousand connections
async fn a_member_that_never_reads_is_closed_and_the_other_999_get_everything() {
    let (stuck, [queued, dropped, closed]) = room_of_a_thousand(Overflow::Close).await;
    assert_eq!((dropped, closed), (0, 1));
    assert!((999 * 200..1000 * 200).contains(&queued));
    assert!(stuck.stats().dropped.closed > 1);
    tokio::time::sleep(Duration::from_secs(31)).await;
    let info = stuck.close_info().unwrap();
    assert_eq!((info.code, stuck.buffered()), (CloseCode::ABNORMAL, 0));
}

#[tokio::test(start_paused = true)] // a thousand connections
async fn a_member_that_never_reads_loses_the_oldest_and_the_other_999_get_everything() {
    let (stuck, [queued, dropped, closed]) = room_of_a_thousand(Overflow::DropOldest).await;
    assert_eq!((queued, closed), (1000 * 200, 0));
    let stats = stuck.stats();
    assert_eq!(stats.dropped.oldest, dropped as u64);
    assert!(dropped > 100 && stuck.state() == hybi::State::Open);
}
