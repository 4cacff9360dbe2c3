//! Many hands on one connection: senders, halves, permits, and who is woken when.

use std::collections::HashSet;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use hybi::test::{Frame, Script};
use hybi::{
    CloseCode, Error, Message, Options, Permit, Receiver, Result, Role, SendError, Sender, State,
    WebSocket, drive,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::cancel::poll_times;
use crate::fault::each_fault;
use crate::support::{Flag, Peer, ends, numbers, pair_with, server, server_with, settle, unmasked};

const _: () = {
    const fn is_sender<T: Clone + Send + Sync + 'static>() {}
    const fn is_send<T: Send>() {}
    is_sender::<Sender>();
    is_send::<Receiver>();
    is_send::<WebSocket>();
    is_send::<Permit<'_>>();
};

/// A server whose peer takes 64 bytes and whose backlog is full behind 100.
fn narrow() -> (Peer, WebSocket) {
    Peer::of(Role::Server, &Options::new().backlog(100), 64)
}

/// Queues until there is no room; how many messages of 21 bytes, framed.
fn fill(sender: &Sender) -> usize {
    let full = |n: &usize| sender.feed(format!("filling up with {n:03}")).is_ok();
    (0..).take_while(full).count()
}

/// Hands a sender of a driven connection out, while the handler is busy elsewhere.
async fn driven(ws: WebSocket) -> (Sender, JoinHandle<Result<()>>) {
    let (tx, rx) = oneshot::channel();
    let task = tokio::spawn(drive(ws, |ws| async move {
        let _ = tx.send(ws.sender());
        pending().await
    }));
    (rx.await.unwrap(), task)
}

/// A sender of an undriven connection, while a task receives.
fn received(ws: WebSocket) -> (Sender, JoinHandle<Result<()>>) {
    let (sender, mut receiver) = ws.split();
    let task = tokio::spawn(async move {
        while receiver.recv().await?.is_some() {}
        Ok(())
    });
    (sender, task)
}

/// As [`driven`], with the receiver in the hands of the caller and the handler gone.
async fn driven_halves(ws: WebSocket) -> (Sender, Receiver, JoinHandle<Result<()>>) {
    let (tx, rx) = oneshot::channel();
    let task = tokio::spawn(drive(ws, |ws| async move {
        let _ = tx.send(ws.split());
        Ok(())
    }));
    let (sender, receiver) = rx.await.unwrap();
    (sender, receiver, task)
}

fn is_pending(future: &mut (impl Future + Unpin)) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    std::pin::Pin::new(future).poll(&mut cx).is_pending()
}

fn is_full(result: &Result<()>) -> bool {
    matches!(result, Err(Error::Send(SendError::Full)))
}

const TASKS: usize = 1000;
const EACH: usize = 3;

/// What each of many tasks sends, of many lengths.
fn said(task: usize, n: usize) -> String {
    format!("{task}/{n}/{}", "x".repeat(task % 300 * n))
}

/// A thousand tasks send on clones of `sender`; `peer` sees each message once, and whole.
async fn a_thousand_send(sender: Sender, mut peer: WebSocket) {
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let sender = sender.clone();
            tokio::spawn(async move {
                for n in 0..EACH {
                    sender.send(said(task, n)).await?;
                }
                sender.flush().await
            })
        })
        .collect();
    let mut expected: HashSet<_> = (0..TASKS * EACH)
        .map(|n| said(n / EACH, n % EACH))
        .collect();
    let all = async {
        while !expected.is_empty() {
            let message = peer.recv().await.unwrap().unwrap();
            assert!(expected.remove(message.as_text().unwrap()), "{message:?}");
        }
        for task in tasks {
            task.await.unwrap().unwrap();
        }
    };
    // A guard against a hang, on the real clock.
    let guard = Duration::from_secs(120);
    tokio::time::timeout(guard, all).await.expect("hangs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_tasks_send_on_an_undriven_connection_each_message_once_and_whole() {
    for backlog in [1, 2000] {
        let options = Options::new().backlog(backlog);
        let (ws, peer) = pair_with(&options, &Options::new(), 512);
        let (sender, mut receiver) = ws.split();
        let reading = tokio::spawn(async move { receiver.recv().await });
        a_thousand_send(sender, peer).await;
        assert_eq!(reading.await.unwrap().unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_tasks_send_though_nobody_receives() {
    let options = Options::new().backlog(2000);
    let (ws, peer) = pair_with(&options, &Options::new(), 512);
    let (sender, _receiver) = ws.split();
    a_thousand_send(sender, peer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_tasks_send_on_a_driven_connection_each_message_once_and_whole() {
    for backlog in [1, 2000] {
        let options = Options::new().backlog(backlog);
        let (ws, peer) = pair_with(&options, &Options::new(), 512);
        let (sender, task) = driven(ws).await;
        a_thousand_send(sender, peer).await;
        task.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bulk_both_ways_with_every_half_in_a_task_of_its_own() {
    let options = Options::new().backlog(1000);
    let (a, b) = pair_with(&options, &options, 256);
    let mut tasks: Vec<JoinHandle<Result<()>>> = Vec::new();
    for ws in [a, b] {
        let (sender, mut receiver) = ws.split();
        tokio::spawn(async move {
            for n in 0..5000u32 {
                sender.send(n.to_string().repeat(20)).await?;
            }
            sender.flush().await?;
            // Dropped last, it would close before the other side has all.
            pending::<Result<()>>().await
        });
        tasks.push(tokio::spawn(async move {
            for n in 0..5000u32 {
                let message = receiver.recv().await?.expect("more comes");
                assert_eq!(message, n.to_string().repeat(20).into());
            }
            Ok(())
        }));
    }
    let guard = Duration::from_secs(120);
    for task in tasks {
        let ended = tokio::time::timeout(guard, task).await.expect("hangs");
        ended.unwrap().unwrap();
    }
}

#[each_fault]
async fn a_blocked_sender_goes_on_when_the_peer_reads_though_nobody_polls_the_receiver() {
    let (mut peer, ws) = narrow();
    let (sender, receiver) = ws.split();
    let task = tokio::spawn(async move {
        for n in 0..100 {
            sender.send(format!("{n:050}")).await?;
        }
        sender.flush().await
    });
    settle().await;
    assert!(!task.is_finished());
    for n in 0..100 {
        let frame = ends(peer.recv()).await.unwrap();
        assert_eq!(frame, Some(Frame::text(format!("{n:050}"))));
    }
    ends(task).await.unwrap().unwrap();
    drop(receiver);
}

#[each_fault]
async fn a_blocked_sender_goes_on_when_the_peer_reads_while_somebody_receives() {
    let (mut peer, ws) = narrow();
    let (sender, mut receiver) = ws.split();
    let reading = tokio::spawn(async move { receiver.recv().await });
    let sending = tokio::spawn(async move {
        for n in 0..100 {
            sender.send(format!("{n:050}")).await?;
        }
        sender.flush().await
    });
    settle().await;
    assert!(!sending.is_finished());
    for n in 0..100 {
        let frame = ends(peer.recv()).await.unwrap();
        assert_eq!(frame, Some(Frame::text(format!("{n:050}"))));
    }
    ends(sending).await.unwrap().unwrap();
    peer.send(Frame::text("still there")).await.unwrap();
    let received = ends(reading).await.unwrap().unwrap();
    assert_eq!(received, Some("still there".into()));
}

#[each_fault]
async fn a_waiting_receiver_writes_what_a_sender_could_not() {
    let (mut peer, ws) = narrow();
    let (sender, mut receiver) = ws.split();
    let reading = tokio::spawn(async move { receiver.recv().await });
    settle().await;
    ends(sender.send("x".repeat(10_000))).await.unwrap();
    assert!(sender.buffered() > 9_000);
    let frame = ends(peer.recv()).await.unwrap();
    assert_eq!(frame, Some(Frame::text("x".repeat(10_000))));
    reading.abort();
}

#[each_fault]
async fn a_sender_wakes_the_driver_of_a_busy_handler() {
    let (mut peer, ws) = narrow();
    let (sender, task) = driven(ws).await;
    settle().await;
    ends(sender.send("one")).await.unwrap();
    sender.feed("two").unwrap();
    sender.ping("three").unwrap();
    ends(sender.reserve()).await.unwrap().commit("four");
    for frame in [
        Frame::text("one"),
        Frame::text("two"),
        Frame::ping("three"),
        Frame::text("four"),
    ] {
        assert_eq!(ends(peer.recv()).await.unwrap(), Some(frame));
    }
    ends(sender.send("x".repeat(10_000))).await.unwrap();
    let (flushed, frame) = ends(async { tokio::join!(sender.flush(), peer.recv()) }).await;
    flushed.unwrap();
    assert_eq!(frame.unwrap(), Some(Frame::text("x".repeat(10_000))));
    sender.start_close(CloseCode::NORMAL, "bye").unwrap();
    let frame = ends(peer.recv()).await.unwrap();
    assert_eq!(frame, Some(Frame::close(1000, "bye")));
    task.abort();
}

#[each_fault(counts)]
async fn what_is_said_outside_the_handler_leaves_in_one_write_with_what_it_says_itself() {
    let (ws, log) = server(Script::new());
    let task = tokio::spawn(drive(ws, |ws| async move {
        let (one, two) = (ws.sender(), ws.sender());
        one.send("1").await?;
        two.send("2").await?;
        ws.sender().feed("3")?;
        pending().await
    }));
    settle().await;
    let frames = ["1", "2", "3"].map(Frame::text);
    assert_eq!(log.written(), unmasked(&frames));
    assert_eq!(log.writes().len(), 1);
    task.abort();
}

/// Tasks that wait in this order, by `send` and by `reserve` in turn.
async fn queue_up(sender: &Sender, count: usize) -> Vec<JoinHandle<Result<()>>> {
    let mut tasks = Vec::new();
    for n in 0..count {
        let sender = sender.clone();
        tasks.push(tokio::spawn(async move {
            if n % 2 == 0 {
                sender.reserve().await?.commit(n.to_string());
                Ok(())
            } else {
                sender.send(n.to_string()).await
            }
        }));
        settle().await;
    }
    tasks
}

#[each_fault]
async fn first_come_first_served() {
    for is_driven in [false, true] {
        let (mut peer, ws) = narrow();
        let (sender, _task) = match is_driven {
            true => driven(ws).await,
            false => received(ws),
        };
        let filled = fill(&sender);
        let _ = poll_times(sender.flush(), 1);
        settle().await;
        let filled = filled + fill(&sender);
        let tasks = queue_up(&sender, 20).await;
        assert!(tasks.iter().all(|task| !task.is_finished()));
        for _ in 0..filled {
            ends(peer.recv()).await.unwrap().unwrap();
        }
        for frame in numbers(0..20) {
            assert_eq!(ends(peer.recv()).await.unwrap(), Some(frame));
        }
        for task in tasks {
            ends(task).await.unwrap().unwrap();
        }
    }
}

#[each_fault(counts)]
async fn there_is_one_permit_at_a_time() {
    let (mut peer, ws) = Peer::client();
    let (sender, _receiver) = ws.split();
    let permit = sender.reserve().await.unwrap();
    let tasks = queue_up(&sender, 4).await;
    assert!(tasks.iter().all(|task| !task.is_finished()));
    assert!(is_full(&sender.feed("no")));
    permit.commit("first");
    assert_eq!(ends(peer.recv()).await.unwrap(), Some(Frame::text("first")));
    for frame in numbers(0..4) {
        assert_eq!(ends(peer.recv()).await.unwrap(), Some(frame));
    }
    sender.feed("yes").unwrap();
    for task in tasks {
        ends(task).await.unwrap().unwrap();
    }
}

#[each_fault(counts)]
async fn a_dropped_permit_or_reserve_lets_the_next_one_go() {
    let (mut peer, ws) = narrow();
    let (sender, _task) = received(ws);
    let permit = sender.reserve().await.unwrap();
    let mut second = Box::pin(sender.reserve());
    let mut third = Box::pin(sender.reserve());
    assert!(is_pending(&mut second) && is_pending(&mut third));
    drop(permit);
    // The turn was handed to the second, who never takes it.
    assert!(is_full(&sender.feed("no")));
    drop(second);
    let permit = ends(third).await.unwrap();
    drop(permit);

    // Who has the turn and waits for room gives it up as well.
    let filled = fill(&sender);
    let _ = poll_times(sender.flush(), 1);
    let filled = filled + fill(&sender);
    let mut first = Box::pin(sender.send("never"));
    assert!(is_pending(&mut first));
    let task = queue_up(&sender, 1).await.remove(0);
    drop(first);
    for _ in 0..filled {
        ends(peer.recv()).await.unwrap().unwrap();
    }
    assert_eq!(ends(peer.recv()).await.unwrap(), Some(Frame::text("0")));
    ends(task).await.unwrap().unwrap();
}

#[each_fault(counts)]
async fn feed_answers_full_while_somebody_waits_for_room() {
    let (mut peer, ws) = narrow();
    let (sender, _receiver) = ws.split();
    fill(&sender);
    let _ = poll_times(sender.flush(), 1);
    fill(&sender);
    let mut waiting = Box::pin(sender.send("patience"));
    assert!(is_pending(&mut waiting));
    for _ in 0..4 {
        ends(peer.recv()).await.unwrap();
        let _ = poll_times(sender.flush(), 1);
    }
    assert!(sender.buffered() < 100);
    assert!(is_full(&sender.feed("me first")));
    ends(waiting).await.unwrap();
    sender.feed("now").unwrap();
}

#[tokio::test(start_paused = true)] // 16 MiB
async fn a_permit_carries_a_message_as_large_as_the_limit() {
    const LARGE: usize = 16 << 20;
    let (ws, mut peer) = pair_with(&Options::new().backlog(1), &Options::new(), 64 << 10);
    let (sender, _receiver) = ws.split();
    ends(sender.reserve()).await.unwrap().commit(vec![7; LARGE]);
    let task = tokio::spawn(async move { sender.send("after").await });
    let message = ends(peer.recv()).await.unwrap().unwrap();
    assert!(message.len() == LARGE && message.as_bytes().iter().all(|byte| *byte == 7));
    assert_eq!(ends(peer.recv()).await.unwrap(), Some("after".into()));
    ends(task).await.unwrap().unwrap();
}

#[each_fault]
async fn commit_after_the_end_does_nothing() {
    for is_driven in [false, true] {
        for ending in 0..3 {
            let (mut peer, ws) = Peer::client();
            let (sender, _task) = match is_driven {
                true => driven(ws).await,
                false => received(ws),
            };
            let permit = sender.reserve().await.unwrap();
            match ending {
                0 => sender.abort(),
                1 => sender.start_close(CloseCode::NORMAL, "").unwrap(),
                _ => {
                    peer.send(Frame::close(1000, "")).await.unwrap();
                    peer.shutdown().await.unwrap();
                }
            }
            settle().await;
            permit.commit("too late");
            settle().await;
            assert_ne!(sender.state(), State::Open);
            assert!(matches!(sender.send("too late").await, Err(Error::Closed)));
            assert!(matches!(sender.reserve().await, Err(Error::Closed)));
            drop(sender);
            let frames = Frame::decode_all(&peer.rest().await.unwrap());
            assert!(!frames.contains(&Frame::text("too late")));
        }
    }
}

#[each_fault]
async fn all_who_flush_end_when_all_has_left() {
    for is_driven in [false, true] {
        let (mut peer, ws) = narrow();
        let (sender, _task) = match is_driven {
            true => driven(ws).await,
            false => received(ws),
        };
        ends(sender.send("x".repeat(1000))).await.unwrap();
        let tasks = flush_together(&sender, 10).await;
        peer.take(800).await.unwrap();
        settle().await;
        assert!(tasks.iter().all(|task| !task.is_finished()));
        peer.take(204).await.unwrap();
        for task in tasks {
            ends(task).await.unwrap().unwrap();
        }
    }
}

/// Tasks that are all in `flush`.
async fn flush_together(sender: &Sender, count: usize) -> Vec<JoinHandle<Result<()>>> {
    let flush = |_| {
        let sender = sender.clone();
        tokio::spawn(async move { sender.flush().await })
    };
    let tasks = (0..count).map(flush).collect();
    settle().await;
    tasks
}

#[each_fault]
async fn all_who_flush_learn_of_a_broken_transport() {
    for is_driven in [false, true] {
        let (peer, ws) = narrow();
        let (sender, _task) = match is_driven {
            true => driven(ws).await,
            false => received(ws),
        };
        ends(sender.send("x".repeat(1000))).await.unwrap();
        let tasks = flush_together(&sender, 10).await;
        drop(peer);
        for task in tasks {
            ends(task).await.unwrap().unwrap_err();
        }
    }
}

/// How a connection ends in [`everybody_who_waits_is_woken_when_the_connection_ends`].
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    PeerCloses,
    WeClose,
    PeerBreaksRules,
    PeerGone,
    Abort,
    WriteStall,
    DriverDropped,
}

#[each_fault]
async fn everybody_who_waits_is_woken_when_the_connection_ends() {
    use Ending::*;
    for ending in [
        PeerCloses,
        WeClose,
        PeerBreaksRules,
        PeerGone,
        Abort,
        WriteStall,
        DriverDropped,
    ] {
        for is_driven in [false, true] {
            if ending == DriverDropped && !is_driven {
                continue;
            }
            let (mut peer, ws) = narrow();
            let (sender, mut receiver, driver) = match is_driven {
                true => {
                    let (sender, receiver, task) = driven_halves(ws).await;
                    (sender, receiver, Some(task))
                }
                false => {
                    let (sender, receiver) = ws.split();
                    (sender, receiver, None)
                }
            };
            sender.send("x".repeat(1000)).await.unwrap();
            let reading = tokio::spawn(async move { receiver.recv().await });
            let sending = queue_up(&sender, 6).await;
            let flushing = flush_together(&sender, 3).await;
            match ending {
                PeerCloses => peer.send(Frame::close(1000, "")).await.unwrap(),
                PeerBreaksRules => peer.hex("83 80 00000000").await.unwrap(),
                WeClose => sender.start_close(CloseCode::NORMAL, "").unwrap(),
                Abort => sender.abort(),
                WriteStall => {}
                DriverDropped => driver.as_ref().unwrap().abort(),
                PeerGone => {
                    drop(peer);
                    peer = Peer::client().0;
                }
            }
            for task in sending {
                ends(task).await.unwrap().expect_err("it cannot send");
            }
            for task in flushing {
                ends(task)
                    .await
                    .unwrap()
                    .expect_err(&format!("{ending:?} {is_driven}: not left"));
            }
            let read = ends(reading).await.unwrap();
            match ending {
                // The peer reads nothing, so that the close frame never leaves.
                PeerCloses => assert!(read.is_err() || read.unwrap().is_none()),
                _ => assert!(read.is_err(), "{ending:?}"),
            }
            drop((sender, peer));
            if let Some(driver) = driver {
                let _ = ends(driver).await;
            }
        }
    }
}

#[each_fault]
async fn who_waits_behind_a_permit_learns_of_the_end_though_the_permit_is_held() {
    for is_driven in [false, true] {
        let (_peer, ws) = Peer::client();
        let (sender, _receiver, _driver) = match is_driven {
            true => {
                let (sender, receiver, task) = driven_halves(ws).await;
                (sender, receiver, Some(task))
            }
            false => {
                let (sender, receiver) = ws.split();
                (sender, receiver, None)
            }
        };
        let permit = sender.reserve().await.unwrap();
        let tasks = queue_up(&sender, 4).await;
        sender.abort();
        for task in tasks {
            let error = ends(task).await.unwrap().unwrap_err();
            assert!(matches!(error, Error::Closed));
        }
        permit.commit("too late");
    }
}

/// The transport fails to write, and says nothing to who reads.
#[each_fault]
async fn a_write_that_fails_is_told_to_the_receiver_in_another_task() {
    let broken = std::io::ErrorKind::BrokenPipe;
    let (ws, _log) = server(Script::new().write_error(broken));
    let (sender, mut receiver) = ws.split();
    let reading = tokio::spawn(async move { receiver.recv().await });
    settle().await;
    let _ = sender.send("lost").await;
    let error = ends(reading).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Io(error) if error.kind() == broken));
}

#[each_fault]
async fn the_deadline_for_closing_runs_while_a_receiver_waits_in_another_task() {
    let (_peer, ws) = Peer::client();
    let (sender, mut receiver) = ws.split();
    let reading = tokio::spawn(async move { receiver.recv().await });
    settle().await;
    sender.start_close(CloseCode::NORMAL, "").unwrap();
    let error = ends(reading).await.unwrap().unwrap_err();
    assert!(error.is_timeout(), "{error}");
}

#[each_fault]
async fn the_deadline_for_writing_runs_while_a_receiver_waits_in_another_task() {
    let (_peer, ws) = narrow();
    let (sender, mut receiver) = ws.split();
    let reading = tokio::spawn(async move { receiver.recv().await });
    settle().await;
    ends(sender.send("x".repeat(1000))).await.unwrap();
    let error = ends(reading).await.unwrap().unwrap_err();
    assert!(error.is_timeout(), "{error}");
}

#[each_fault]
async fn who_flushes_does_not_hold_off_the_deadline_of_a_message_in_progress() {
    let options = Options::new()
        .message_timeout(Duration::from_secs(10))
        .write_timeout(None);
    let (mut peer, ws) = Peer::of(Role::Server, &options, 64);
    let (sender, mut receiver) = ws.split();
    ends(sender.send("x".repeat(1000))).await.unwrap();
    let flush = sender.clone();
    let flushing = tokio::spawn(async move { flush.flush().await });
    let reading = tokio::spawn(async move { receiver.recv().await });
    peer.hex("81 85 00000000").await.unwrap();
    settle().await;
    let start = tokio::time::Instant::now();
    for _ in 0..12 {
        let _ = poll_times(sender.flush(), 1);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_ne!(sender.state(), State::Open);
    assert!(start.elapsed() < Duration::from_secs(13));
    drop(peer);
    ends(reading).await.unwrap().unwrap_err();
    ends(flushing).await.unwrap().unwrap_err();
}

#[each_fault(counts)]
async fn who_has_flushed_is_not_remembered() {
    let (ws, _log) = server(Script::new());
    let (sender, _receiver) = ws.split();
    let mut tasks = Vec::new();
    for _ in 0..100 {
        let task = Arc::new(Flag::default());
        let waker = Waker::from(task.clone());
        sender.feed("x").unwrap();
        let flush = pin!(sender.flush());
        assert!(flush.poll(&mut Context::from_waker(&waker)).is_ready());
        tasks.push(task);
    }
    assert!(tasks.iter().all(|task| Arc::strong_count(task) == 1));
}

#[each_fault(counts)]
async fn dropping_one_half_leaves_the_connection_open() {
    let (mut peer, ws) = Peer::client();
    let (sender, receiver) = ws.split();
    drop(receiver);
    ends(sender.send("still here")).await.unwrap();
    let frame = ends(peer.recv()).await.unwrap();
    assert_eq!(frame, Some(Frame::text("still here")));
    drop(sender);
    let rest = peer.rest().await.unwrap();
    assert_eq!(Frame::decode_all(&rest), [Frame::close(1001, "")]);

    let (mut peer, ws) = Peer::client();
    let (sender, mut receiver) = ws.split();
    drop(sender);
    peer.send(Frame::text("you too")).await.unwrap();
    let received = ends(receiver.recv()).await.unwrap();
    assert_eq!(received, Some("you too".into()));
    let sender = receiver.sender();
    drop(receiver);
    assert_eq!(sender.state(), State::Open);
    drop(sender.clone());
    assert_eq!(sender.state(), State::Open);
    drop(sender);
    let rest = peer.rest().await.unwrap();
    assert_eq!(Frame::decode_all(&rest), [Frame::close(1001, "")]);
}

#[each_fault]
async fn the_last_handle_of_a_driven_connection_closes_with_1000() {
    let (mut peer, ws) = Peer::client();
    let (sender, receiver, task) = driven_halves(ws).await;
    settle().await;
    drop(receiver);
    ends(sender.send("still here")).await.unwrap();
    let frame = ends(peer.recv()).await.unwrap();
    assert_eq!(frame, Some(Frame::text("still here")));
    sender.feed("and this").unwrap();
    drop(sender);
    let frame = ends(peer.recv()).await.unwrap();
    assert_eq!(frame, Some(Frame::text("and this")));
    let frame = ends(peer.recv()).await.unwrap();
    assert_eq!(frame, Some(Frame::close(1000, "")));
    assert!(!task.is_finished());
    peer.send(Frame::close(1000, "")).await.unwrap();
    assert_eq!(ends(peer.recv()).await.unwrap(), None);
    drop(peer);
    ends(task).await.unwrap().unwrap();
}

#[each_fault]
async fn a_driven_connection_is_closed_when_the_handler_has_dropped_all_handles() {
    let (mut peer, ws) = Peer::client();
    let task = tokio::spawn(drive(ws, |ws| async move {
        drop(ws);
        pending().await
    }));
    let frame = ends(peer.recv()).await.unwrap();
    assert_eq!(frame, Some(Frame::close(1000, "")));
    task.abort();
}

/// Drops each call after so many polls, alone or while another waits, and repeats what was not
/// queued.
#[each_fault]
async fn send_and_reserve_dropped_at_every_poll_queue_whole_messages_or_nothing() {
    let options = Options::new().backlog(100);
    for polls in 0..300 {
        let (ws, log) = server_with(Script::new().trickle(), &options);
        let (sender, _receiver) = ws.split();
        let mut expected = Vec::new();
        for (n, frame) in numbers(0..40).into_iter().enumerate() {
            let before = sender.buffered();
            let queued = if n % 2 == 0 {
                poll_times(sender.send(n.to_string()), polls).map(Result::unwrap)
            } else {
                let permit = poll_times(sender.reserve(), polls).map(Result::unwrap);
                permit.map(|permit| permit.commit(n.to_string()))
            };
            match queued {
                Some(()) => expected.push(frame),
                None => assert!(sender.buffered() <= before),
            }
        }
        assert!(polls == 0 || expected.len() > 20);
        ends(sender.flush()).await.unwrap();
        assert_eq!(log.written(), unmasked(&expected));
        // The turn is free again.
        sender.feed("free").unwrap();
    }
}

#[each_fault]
async fn flush_of_a_sender_dropped_at_every_poll_writes_every_byte_once() {
    for polls in 1..50 {
        let (ws, log) = server(Script::new().trickle());
        let (sender, mut receiver) = ws.split();
        let frames = [Frame::text("first"), Frame::binary(vec![7; 10_000])];
        sender.feed("first").unwrap();
        sender.feed(vec![7; 10_000]).unwrap();
        while poll_times(sender.flush(), polls * 50).is_none() {
            let _ = poll_times(receiver.recv(), polls);
        }
        assert_eq!(sender.buffered(), 0);
        assert_eq!(log.written(), unmasked(&frames));
    }
}

#[each_fault]
async fn calls_onto_a_driven_connection_dropped_at_every_poll_leave_the_stream_whole() {
    let options = Options::new().backlog(50);
    for polls in 0..20 {
        let (ws, log) = server_with(Script::new().trickle(), &options);
        let (tx, rx) = oneshot::channel();
        let task = tokio::spawn(drive(ws, |ws| async move {
            let _ = tx.send(ws.sender());
            pending().await
        }));
        let sender: Sender<Script> = rx.await.unwrap();
        let mut expected = Vec::new();
        for (n, frame) in numbers(0..60).into_iter().enumerate() {
            let queued = match n % 3 {
                0 => poll_times(sender.send(n.to_string()), polls).is_some(),
                1 => poll_times(sender.reserve(), polls)
                    .map(|permit| permit.unwrap().commit(n.to_string()))
                    .is_some(),
                _ => {
                    let _ = poll_times(sender.flush(), polls);
                    tokio::task::yield_now().await;
                    false
                }
            };
            if queued {
                expected.push(frame);
            }
        }
        assert!(polls == 0 || expected.len() > 10);
        ends(sender.flush()).await.unwrap();
        assert_eq!(log.written(), unmasked(&expected));
        task.abort();
    }
}

#[each_fault]
async fn an_id_belongs_to_one_connection_and_all_its_handles() {
    let (_peer, ws) = Peer::client();
    let (_other_peer, other) = Peer::client();
    let id = ws.id();
    assert_ne!(id, other.id());
    let before = ws.sender();
    let (sender, receiver) = ws.split();
    for handle in [before, sender.clone(), receiver.sender(), sender] {
        assert_eq!(handle.id(), id);
    }
    let (sender, task) = driven(other).await;
    assert_ne!(sender.id(), id);
    task.abort();
}

#[each_fault]
async fn a_sender_works_outside_of_a_runtime() {
    let (mut peer, ws) = narrow();
    let (sender, _receiver) = ws.split();
    std::thread::spawn(move || {
        let message: Message = "x".repeat(1000).into();
        poll_times(sender.reserve(), 1)
            .unwrap()
            .unwrap()
            .commit(message);
        sender.start_close(CloseCode::NORMAL, "").unwrap();
        sender.ping("no").unwrap_err();
    })
    .join()
    .unwrap();
    peer.take(64).await.unwrap();
}

#[each_fault(counts)]
async fn a_backlog_of_nothing_still_lets_one_message_pass() {
    let (mut peer, mut ws) = Peer::of(hybi::Role::Client, &Options::new().backlog(0), 1024);
    ends(ws.send("hello")).await.unwrap();
    assert_eq!(peer.recv().await.unwrap(), Some(Frame::text("hello")));
}
