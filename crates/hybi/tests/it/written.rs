//! What is broadcast to driven connections is written in their drivers' stead: who writes when
//! that cannot be, and who is told.

use std::future::{pending, ready};
use std::io::ErrorKind;
use std::time::Duration;

use hybi::test::Frame;
use hybi::{
    Delivery, Error, Hub, Membership, Message, Options, Overflow, Prepared, Result, Role, Sender,
    Timeout, WebSocket, drive,
};
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::fault::{self, each_fault};
use crate::support::{Peer, ends, pair_with, settle, unmasked};

async fn listen(mut ws: WebSocket) -> Result<()> {
    while ws.recv().await?.is_some() {}
    Ok(())
}

/// A driven member of the room, whose transport has so much room.
struct Member {
    peer: Peer,
    sender: Sender,
    task: JoinHandle<Result<()>>,
    hub: Hub,
    _membership: Membership,
}

async fn member(options: &Options, room: usize) -> Member {
    let (peer, ws) = Peer::of(Role::Server, options, room);
    let sender = ws.sender();
    let hub = Hub::new().overflow(Overflow::Wait);
    let _membership = hub.join("room", &sender);
    let task = tokio::spawn(drive(ws, listen));
    settle().await;
    Member {
        peer,
        sender,
        task,
        hub,
        _membership,
    }
}

#[each_fault]
async fn a_broadcast_in_a_runtime_that_ends_before_it_could_write_is_written_by_the_drivers() {
    let mut member = member(&Options::new(), 1 << 16).await;
    let (hub, sender) = (member.hub, member.sender);
    let elsewhere = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.build().unwrap();
        let entered = runtime.enter();
        assert_eq!(hub.publish("room", "one").queued, 1);
        assert_eq!(hub.publish("room", "two").queued, 1);
        assert!(sender.buffered() > 0);
        drop(entered);
        drop(runtime);
        // It is shut down: nothing is spawned there any more.
        sender
    });
    let sender = elsewhere.join().unwrap();
    for text in ["one", "two"] {
        assert_eq!(
            ends(member.peer.recv()).await.unwrap(),
            Some(Frame::text(text))
        );
    }
    assert_eq!(sender.buffered(), 0);
}

#[each_fault]
async fn a_broadcast_into_a_runtime_that_has_ended_is_written_by_the_drivers() {
    let mut member = member(&Options::new(), 1 << 16).await;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let handle = runtime.handle().clone();
    std::thread::spawn(move || drop(runtime)).join().unwrap();
    let hub = member.hub;
    std::thread::spawn(move || {
        let _entered = handle.enter();
        assert_eq!(hub.publish("room", "late").queued, 1);
    })
    .join()
    .unwrap();
    assert_eq!(
        ends(member.peer.recv()).await.unwrap(),
        Some(Frame::text("late"))
    );
}

#[each_fault]
async fn a_broadcast_from_a_thread_without_a_runtime_is_written_by_the_drivers() {
    let mut member = member(&Options::new(), 1 << 16).await;
    let hub = member.hub;
    let thread = std::thread::spawn(move || {
        assert_eq!(hub.publish("room", "plain").queued, 1);
        assert_eq!(hub.publish("room", "thread").queued, 1);
    });
    thread.join().unwrap();
    for text in ["plain", "thread"] {
        assert_eq!(
            ends(member.peer.recv()).await.unwrap(),
            Some(Frame::text(text))
        );
    }
}

#[each_fault]
async fn a_broadcast_that_blocks_has_the_deadline_for_writing() {
    let member = member(&Options::new(), 64).await;
    assert_eq!(member.hub.publish("room", vec![0; 1000]).queued, 1);
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert!(!member.task.is_finished() && member.sender.buffered() > 0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(member.task.is_finished());
    let error = member.task.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Timeout(Timeout::Write)), "{error:?}");
    assert_eq!(member.hub.publish("room", "nobody").queued, 0);
}

#[each_fault]
async fn a_broadcast_that_blocks_goes_on_when_the_peer_reads() {
    let mut member = member(&Options::new(), 64).await;
    for round in 0..3 {
        for _ in 0..3 {
            assert_eq!(member.hub.publish("room", vec![round; 1000]).queued, 1);
            settle().await;
        }
        tokio::time::sleep(Duration::from_secs(59)).await;
        for _ in 0..3 {
            let frame = ends(member.peer.recv()).await.unwrap();
            assert_eq!(frame, Some(Frame::binary(vec![round; 1000])));
        }
        settle().await;
        assert_eq!(member.sender.buffered(), 0);
    }
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(!member.task.is_finished());
}

/// The driver has stopped to read, so that only the broadcast can find out.
#[each_fault]
async fn a_handler_learns_that_a_broadcast_could_not_be_written() {
    let (mut peer, ws) = Peer::of(Role::Server, &Options::new(), 1 << 20);
    let hub = Hub::new();
    let _membership = hub.join("room", &ws.sender());
    let (go, gone) = oneshot::channel::<()>();
    let task = tokio::spawn(drive(ws, |mut ws| async move {
        let _ = gone.await;
        let first = ws.recv().await?;
        assert_eq!(first, Some(Message::from(vec![0; 100_000])));
        listen(ws).await
    }));
    for _ in 0..2 {
        peer.send(Frame::binary(vec![0; 100_000])).await.unwrap();
    }
    settle().await;
    drop(peer);
    settle().await;
    assert_eq!(hub.publish("room", "nobody takes this").queued, 1);
    settle().await;
    assert_eq!(hub.publish("room", "nobody").queued, 0);
    go.send(()).unwrap();
    match ends(task).await.unwrap() {
        Err(Error::Io(error)) => assert_eq!(error.kind(), ErrorKind::BrokenPipe),
        other => panic!("{other:?}"),
    }
}

/// Publishes until there is no room; how often. Nothing is written meanwhile.
fn fill(hub: &Hub, message: &Prepared) -> usize {
    let queued = |_: &usize| hub.publish("room", message).full.is_empty();
    (0..1_000).take_while(queued).count()
}

/// The transport takes all of it, or only some.
#[each_fault]
async fn who_waits_for_room_is_woken_when_a_broadcast_has_left() {
    for room in [1 << 16, 600] {
        let member = member(&Options::new().backlog(1000), room).await;
        let message = Prepared::binary(vec![0; 100]);
        assert!(fill(&member.hub, &message) > 5);
        let mut waiting = Box::pin(member.sender.send("waits"));
        tokio::select! {
            biased;
            sent = &mut waiting => panic!("{sent:?}"),
            () = ready(()) => {}
        }
        ends(waiting).await.unwrap();
        assert!(!member.task.is_finished());
    }
}

#[each_fault]
async fn who_flushes_is_woken_when_a_broadcast_has_left() {
    let member = member(&Options::new(), 1 << 16).await;
    assert_eq!(member.hub.publish("room", "hello").queued, 1);
    let mut waiting = Box::pin(member.sender.flush());
    tokio::select! {
        biased;
        flushed = &mut waiting => panic!("{flushed:?}"),
        () = ready(()) => {}
    }
    ends(waiting).await.unwrap();
    assert_eq!(member.sender.buffered(), 0);
}

#[each_fault(counts)]
async fn who_reads_is_not_called_slow_for_what_is_published_in_one_turn() {
    for overflow in [Overflow::Close, Overflow::DropNewest, Overflow::DropOldest] {
        let mut member = member(&Options::new().backlog(10_000), 1 << 20).await;
        let hub = member.hub.overflow(overflow);
        for number in 0..200 {
            let delivery = hub.publish("room", vec![number; 1000]);
            assert_eq!(
                (delivery.queued, delivery.dropped, delivery.closed),
                (1, 0, 0)
            );
        }
        for number in 0..200 {
            let frame = ends(member.peer.recv()).await.unwrap();
            assert_eq!(frame, Some(Frame::binary(vec![number; 1000])));
        }
    }
}

/// Each has a task that receives. The task that publishes runs out of the runtime's budget.
#[tokio::test]
async fn of_many_who_read_none_is_called_slow_for_what_is_published_in_one_turn() {
    for driven in [false, true] {
        let options = Options::new().backlog(2000);
        let hub = Hub::new();
        let mut members = Vec::new();
        for _ in 0..300 {
            let (client, ws) = pair_with(&Options::new(), &options, 1 << 16);
            let membership = hub.join("room", &ws.sender());
            let task = tokio::spawn(async move {
                match driven {
                    true => drive(ws, listen).await,
                    false => listen(ws).await,
                }
            });
            members.push((client, membership, task));
        }
        for _ in 0..30 {
            assert_eq!(hub.publish("room", vec![0; 1000]).queued, 300);
        }
    }
}

/// That it is one write cannot be seen from here, only that nobody had a turn in between.
#[each_fault]
async fn broadcasts_of_one_turn_arrive_together() {
    let (theirs, mut ours) = fault::ours(1 << 16);
    let ws = WebSocket::from_stream(theirs.into(), Role::Server, &Options::new(), &[]);
    let hub = Hub::new();
    let _membership = hub.join("room", &ws.sender());
    let _task = tokio::spawn(drive(ws, listen));
    let reader = tokio::spawn(async move {
        let mut bytes = vec![0; 1000];
        let n = ours.read(&mut bytes).await.unwrap();
        bytes.truncate(n);
        bytes
    });
    settle().await;
    for text in ["one", "two", "three"] {
        assert_eq!(hub.publish("room", text).queued, 1);
    }
    let frames = ["one", "two", "three"].map(Frame::text);
    assert_eq!(ends(reader).await.unwrap(), unmasked(&frames));
}

const PUBLISHERS: usize = 4;
const MEMBERS: usize = 24;
const EACH: usize = 300;

/// Publishes, and waits for those that were full.
async fn publish(hub: Hub, publisher: usize) {
    for n in 0..EACH {
        let text = format!("{publisher} {n} {}", "x".repeat(n % 200));
        let message = Prepared::text(text);
        let Delivery { queued, full, .. } = hub.publish("room", &message);
        assert_eq!(queued + full.len(), MEMBERS);
        for sender in full {
            sender.send_prepared(&message).await.unwrap();
        }
        if n % 7 == publisher {
            tokio::task::yield_now().await;
        }
    }
}

/// Every member's handler is polled all the time, and says something itself.
async fn chatter(ws: WebSocket) -> Result<()> {
    for n in 0..EACH {
        ws.sender().send(format!("{PUBLISHERS} {n} own")).await?;
        tokio::task::yield_now().await;
    }
    pending().await
}

async fn everything_once_and_in_order(mut client: WebSocket) {
    let mut next = [0; PUBLISHERS + 1];
    while next != [EACH; PUBLISHERS + 1] {
        let message = client.recv().await.unwrap().unwrap();
        let mut words = message.as_text().unwrap().split(' ');
        let publisher: usize = words.next().unwrap().parse().unwrap();
        let n: usize = words.next().unwrap().parse().unwrap();
        assert_eq!(n, next[publisher], "of publisher {publisher}");
        next[publisher] += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_publish_to_busy_handlers_and_all_arrives_once_and_in_order() {
    for (backlog, room) in [(2000, 512), (1 << 20, 1 << 16)] {
        let options = Options::new().backlog(backlog);
        let hub = Hub::new().overflow(Overflow::Wait);
        let mut tasks = Vec::new();
        let mut members = Vec::new();
        for _ in 0..MEMBERS {
            let (client, ws) = pair_with(&Options::new(), &options, room);
            members.push(hub.join("room", &ws.sender()));
            members.push(hub.join("another", &ws.sender()));
            let driven = tokio::spawn(drive(ws, chatter));
            tasks.push(tokio::spawn(async move {
                everything_once_and_in_order(client).await;
                driven.abort();
            }));
        }
        for publisher in 0..PUBLISHERS {
            tasks.push(tokio::spawn(publish(hub.clone(), publisher)));
        }
        // A guard against a hang, on the real clock.
        let guard = Duration::from_secs(120);
        for task in tasks {
            tokio::time::timeout(guard, task)
                .await
                .expect("hangs")
                .unwrap();
        }
    }
}
