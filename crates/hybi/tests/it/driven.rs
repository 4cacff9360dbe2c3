//! Driven sockets: what is written when, and how each end of a handler closes the connection.

use std::future::{poll_fn, ready};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake};
use std::time::Duration;

use hybi::test::{Frame, Script};
use hybi::{CloseCode, Error, Event, Message, Options, Role, State, drive};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::fault::each_fault;
use crate::support::{
    Peer, echo, ends, masked, numbers, own_waker, server, server_with, settle, unmasked,
};

const GOODBYE: u16 = 1000;

#[each_fault(counts)]
async fn a_read_that_brings_32_frames_leads_to_exactly_one_vectored_write() {
    let (ws, log) = server(Script::new().read(masked(&numbers(0..32))));
    let task = tokio::spawn(drive(ws, echo));
    settle().await;
    assert_eq!(log.writes().len(), 1);
    assert_eq!(log.written(), unmasked(&numbers(0..32)));
    log.read(masked(&numbers(32..64)));
    settle().await;
    assert_eq!(log.writes().len(), 2);
    assert_eq!(log.written(), unmasked(&numbers(0..64)));
    task.abort();
}

#[each_fault(counts)]
async fn linked_payloads_leave_in_the_same_vectored_write() {
    let large = Frame::binary(vec![7; 20_000]);
    let frames = [Frame::text("a"), large.clone(), Frame::text("b"), large];
    let (ws, log) = server(Script::new().read(masked(&frames)));
    let task = tokio::spawn(drive(ws, echo));
    settle().await;
    assert_eq!(log.writes().len(), 1);
    assert!(log.writes()[0].slices > 1);
    assert_eq!(log.written(), unmasked(&frames));
    task.abort();
}

#[each_fault(counts)]
async fn a_handler_that_pends_after_the_tenth_has_ten_answers_written() {
    let (ws, log) = server(Script::new().read(masked(&numbers(0..32))));
    let database = Arc::new(Notify::new());
    let answer = database.clone();
    let task = tokio::spawn(drive(ws, |mut ws| async move {
        let mut count = 0;
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
            count += 1;
            if count == 10 {
                database.notified().await;
            }
        }
        Ok(())
    }));
    settle().await;
    assert_eq!(log.writes().len(), 1);
    assert_eq!(log.written(), unmasked(&numbers(0..10)));
    answer.notify_one();
    settle().await;
    assert_eq!(log.writes().len(), 2);
    assert_eq!(log.written(), unmasked(&numbers(0..32)));
    task.abort();
}

#[each_fault]
async fn pings_and_closes_are_answered_while_the_handler_waits_for_something_else() {
    let (mut peer, ws) = Peer::client();
    let database = Arc::new(Notify::new());
    let answer = database.clone();
    let task = tokio::spawn(drive(ws, |mut ws| async move {
        database.notified().await;
        let mut seen = Vec::new();
        while let Some(event) = ws.recv_event().await? {
            seen.push(event);
        }
        assert_eq!(seen.len(), 3);
        assert_eq!(seen[0], Event::Ping("one".into()));
        assert_eq!(seen[1], Event::Message("two".into()));
        assert!(matches!(&seen[2], Event::Close(Some(close)) if *close.reason() == "three"));
        Ok(())
    }));
    peer.send(Frame::ping("one")).await.unwrap();
    assert_eq!(ends(peer.recv()).await.unwrap(), Some(Frame::pong("one")));
    peer.send(Frame::text("two")).await.unwrap();
    peer.send(Frame::close(4000, "three")).await.unwrap();
    let echoed = ends(peer.recv()).await.unwrap();
    assert_eq!(echoed, Some(Frame::close(4000, "three")));
    assert_eq!(ends(peer.recv()).await.unwrap(), None);
    answer.notify_one();
    drop(peer);
    ends(task).await.unwrap().unwrap();
}

#[each_fault]
async fn a_ping_behind_an_answered_message_is_answered_though_the_handler_is_busy() {
    let frames = [Frame::text("a long question"), Frame::ping("p")];
    let (ws, log) = server(Script::new().read(masked(&frames)));
    let task = tokio::spawn(drive(ws, |mut ws| async move {
        let message = ws.recv().await?;
        ws.send(message.expect("the peer is there")).await?;
        std::future::pending().await
    }));
    settle().await;
    let answers = [Frame::text("a long question"), Frame::pong("p")];
    assert_eq!(log.written(), unmasked(&answers));
    task.abort();
}

#[each_fault]
async fn reading_ahead_stops_at_64_kib_and_resumes() {
    let sent: Vec<Message> = (0..300).map(|n: u32| vec![n as u8; 1000].into()).collect();
    let mut script = Script::new();
    for message in &sent {
        script = script.read(masked(&[Frame::binary(message.as_bytes())]));
    }
    let (ws, log) = server(script);
    let all = log.unread();
    let database = Arc::new(Notify::new());
    let answer = database.clone();
    let task = tokio::spawn(drive(ws, |mut ws| async move {
        database.notified().await;
        let mut received = Vec::new();
        while received.len() < 300 {
            received.extend(ws.recv().await?);
        }
        assert_eq!(received, sent);
        Ok(())
    }));
    settle().await;
    let read = all - log.unread();
    assert!((60 << 10..=66 << 10).contains(&read), "{read} bytes ahead");
    answer.notify_one();
    settle().await;
    assert_eq!(log.unread(), 0);
    log.eof();
    ends(task).await.unwrap().unwrap();
}

#[each_fault]
async fn reading_ahead_stops_in_the_middle_of_a_large_message_too() {
    let message = vec![7; 1 << 20];
    let bytes = masked(&[Frame::binary(&message)]);
    let mut script = Script::new();
    for piece in bytes.chunks(5000) {
        script = script.read(piece.to_vec());
    }
    let (ws, log) = server(script);
    let database = Arc::new(Notify::new());
    let answer = database.clone();
    let task = tokio::spawn(drive(ws, |mut ws| async move {
        database.notified().await;
        assert_eq!(ws.recv().await?, Some(message.into()));
        Ok(())
    }));
    settle().await;
    let read = bytes.len() - log.unread();
    assert!((60 << 10..=66 << 10).contains(&read), "{read} bytes ahead");
    answer.notify_one();
    settle().await;
    assert_eq!(log.unread(), 0);
    log.eof();
    ends(task).await.unwrap().unwrap();
}

/// What the peer sees of an end: all frames, until the transport ends.
async fn seen_by(mut peer: Peer) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(frame) = ends(peer.recv()).await.unwrap() {
        if let Some((code, _)) = frame.close_reason() {
            peer.send(Frame::close(code, "")).await.unwrap();
        }
        frames.push(frame);
    }
    frames
}

#[each_fault]
async fn a_handler_that_returns_ok_has_its_queue_flushed_and_closes_with_1000() {
    let (peer, ws) = Peer::client();
    let task = tokio::spawn(drive(ws, |mut ws| async move {
        for n in 0..100 {
            ws.send(vec![n; 10_000]).await?;
        }
        Ok(())
    }));
    let mut frames = seen_by(peer).await;
    assert_eq!(frames.pop(), Some(Frame::close(GOODBYE, "")));
    let sent = (0..100).map(|n| Frame::binary(vec![n; 10_000]));
    assert!(frames.into_iter().eq(sent));
    ends(task).await.unwrap().unwrap();
}

#[each_fault]
async fn a_handler_that_returns_an_error_closes_with_1011_and_drive_returns_it() {
    let (peer, ws) = Peer::client();
    let task = tokio::spawn(drive(ws, |mut ws| async move {
        ws.send("last words").await?;
        Err(Error::other("out of paper"))
    }));
    let frames = seen_by(peer).await;
    assert_eq!(frames, [Frame::text("last words"), Frame::close(1011, "")]);
    let error = ends(task).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "out of paper");
}

#[each_fault]
async fn a_panic_in_a_handler_closes_with_1011_and_goes_on() {
    let (peer, ws) = Peer::client();
    let task = tokio::spawn(drive(ws, |mut ws| async move {
        ws.send("last words").await?;
        panic!("as expected by the test")
    }));
    let frames = seen_by(peer).await;
    assert_eq!(frames, [Frame::text("last words"), Frame::close(1011, "")]);
    let panic = ends(task).await.unwrap_err().into_panic();
    assert_eq!(
        panic.downcast_ref::<&str>(),
        Some(&"as expected by the test")
    );
}

#[each_fault]
async fn a_panic_before_the_handler_has_made_its_future_closes_with_1011_too() {
    fn handler(ws: hybi::WebSocket) -> std::future::Ready<hybi::Result<()>> {
        assert!(ws.protocol().is_some(), "as expected by the test");
        drop(ws);
        std::future::ready(Ok(()))
    }
    let (peer, ws) = Peer::client();
    let task = tokio::spawn(async move { drive(ws, handler).await });
    assert_eq!(seen_by(peer).await, [Frame::close(1011, "")]);
    assert!(ends(task).await.unwrap_err().is_panic());
}

#[each_fault(counts)]
async fn a_driver_that_is_dropped_tries_one_write_of_1001_and_aborts() {
    let (ws, log) = server(Script::new());
    let task = tokio::spawn(drive(ws, echo));
    settle().await;
    task.abort();
    settle().await;
    assert_eq!(log.written(), unmasked(&[Frame::close(1001, "")]));
    assert!(log.is_dropped());
}

#[each_fault]
async fn a_handler_may_move_the_socket_into_a_task_which_is_driven_until_it_drops_it() {
    let (mut peer, ws) = Peer::client();
    let task = tokio::spawn(drive(ws, |ws| async move {
        tokio::spawn(async move {
            let mut ws = ws;
            while let Some(message) = ws.recv().await? {
                if message == "stop".into() {
                    break;
                }
                ws.send(message).await?;
            }
            hybi::Result::<()>::Ok(())
        });
        Ok(())
    }));
    for n in 0..10 {
        settle().await;
        assert!(!task.is_finished());
        peer.send(Frame::text(n.to_string())).await.unwrap();
        let echoed = ends(peer.recv()).await.unwrap();
        assert_eq!(echoed, Some(Frame::text(n.to_string())));
    }
    peer.send(Frame::text("stop")).await.unwrap();
    assert_eq!(seen_by(peer).await, [Frame::close(GOODBYE, "")]);
    ends(task).await.unwrap().unwrap();
}

#[each_fault]
async fn a_handler_that_drops_its_socket_early_closes_with_1000_and_may_go_on() {
    let (peer, ws) = Peer::client();
    let (done, wait) = oneshot::channel::<()>();
    let task = tokio::spawn(drive(ws, |ws| async move {
        drop(ws);
        let _ = wait.await;
        Ok(())
    }));
    assert_eq!(seen_by(peer).await, [Frame::close(GOODBYE, "")]);
    assert!(!task.is_finished());
    done.send(()).unwrap();
    ends(task).await.unwrap().unwrap();
}

#[each_fault]
async fn a_driver_that_is_dropped_tells_the_task_that_has_the_socket() {
    let (_peer, ws) = Peer::client();
    let (give, take) = oneshot::channel();
    let task = tokio::spawn(drive(ws, |ws| async move {
        let _ = give.send(ws);
        Ok(())
    }));
    let mut ws = ends(take).await.unwrap();
    let receiver = tokio::spawn(async move { ws.recv().await });
    settle().await;
    task.abort();
    assert!(matches!(ends(receiver).await.unwrap(), Err(Error::Closed)));
}

#[each_fault]
async fn what_a_task_sends_is_written_though_the_driver_sleeps() {
    let (mut peer, ws) = Peer::client();
    let (give, take) = oneshot::channel();
    let task = tokio::spawn(drive(ws, |ws| async move {
        let _ = give.send(ws);
        Ok(())
    }));
    let mut ws = ends(take).await.unwrap();
    settle().await;
    ws.send("one").await.unwrap();
    assert_eq!(ends(peer.recv()).await.unwrap(), Some(Frame::text("one")));
    settle().await;
    ws.ping("two").unwrap();
    assert_eq!(ends(peer.recv()).await.unwrap(), Some(Frame::ping("two")));
    settle().await;
    ws.feed("three").unwrap();
    ends(ws.flush()).await.unwrap();
    assert_eq!(ws.buffered(), 0);
    assert_eq!(ends(peer.recv()).await.unwrap(), Some(Frame::text("three")));
    settle().await;
    ws.start_close(CloseCode::new(4001), "four").unwrap();
    assert_eq!(seen_by(peer).await, [Frame::close(4001, "four")]);
    assert!(matches!(ends(ws.recv()).await, Ok(None)));
    drop(ws);
    ends(task).await.unwrap().unwrap();
}

#[each_fault]
async fn a_task_sends_more_than_the_backlog_holds_to_a_slow_peer() {
    let (mut peer, ws) = Peer::client();
    let task = tokio::spawn(drive(ws, |mut ws| async move {
        tokio::spawn(async move {
            for n in 0..100 {
                ws.send(vec![n; 100_000]).await?;
            }
            ws.flush().await
        });
        Ok(())
    }));
    for n in 0..100 {
        settle().await;
        let frame = ends(peer.recv()).await.unwrap();
        assert_eq!(frame, Some(Frame::binary(vec![n; 100_000])));
    }
    assert_eq!(seen_by(peer).await, [Frame::close(GOODBYE, "")]);
    ends(task).await.unwrap().unwrap();
}

#[each_fault]
async fn a_handler_that_selects_receives_and_sends() {
    let (mut peer, ws) = Peer::client();
    let (news, mut feed) = mpsc::channel::<String>(4);
    let task = tokio::spawn(drive(ws, |mut ws| async move {
        loop {
            tokio::select! {
                item = feed.recv() => match item {
                    Some(item) => ws.send(item).await?,
                    None => return Ok(()),
                },
                message = ws.recv() => match message? {
                    Some(message) => ws.send(message).await?,
                    None => return Ok(()),
                },
            }
        }
    }));
    for n in 0..20 {
        settle().await;
        news.send(format!("news {n}")).await.unwrap();
        let frame = ends(peer.recv()).await.unwrap();
        assert_eq!(frame, Some(Frame::text(format!("news {n}"))));
        peer.send(Frame::text("echo")).await.unwrap();
        let frame = ends(peer.recv()).await.unwrap();
        assert_eq!(frame, Some(Frame::text("echo")));
    }
    drop(news);
    assert_eq!(seen_by(peer).await, [Frame::close(GOODBYE, "")]);
    ends(task).await.unwrap().unwrap();
}

#[each_fault]
async fn a_receiver_with_a_waker_of_its_own_is_woken() {
    let (mut peer, ws) = Peer::client();
    let task = tokio::spawn(drive(ws, |ws| async move {
        let idle = own_waker(std::future::pending::<()>());
        tokio::select! {
            result = own_waker(echo(ws)) => result,
            () = idle => Ok(()),
        }
    }));
    for n in numbers(0..20) {
        settle().await;
        peer.send(n.clone()).await.unwrap();
        assert_eq!(ends(peer.recv()).await.unwrap(), Some(n));
    }
    peer.send(Frame::close(1001, "")).await.unwrap();
    assert_eq!(seen_by(peer).await, [Frame::close(1001, "")]);
    ends(task).await.unwrap().unwrap();
}

/// The receiver waits in the task of the driver, but not in the handler.
#[each_fault]
async fn a_receiver_beside_the_driver_in_the_same_task_is_woken() {
    for handler_lives in [false, true] {
        for driver_first in [false, true] {
            let (mut peer, ws) = Peer::client();
            let (give, take) = oneshot::channel();
            let (done, over) = oneshot::channel::<()>();
            let driver = drive(ws, move |ws| async move {
                let _ = give.send(ws);
                if handler_lives {
                    let _ = over.await;
                }
                Ok(())
            });
            let beside = async move {
                let result = echo(take.await.unwrap()).await;
                let _ = done.send(());
                result
            };
            let task = tokio::spawn(async move {
                if driver_first {
                    tokio::join!(biased; driver, beside)
                } else {
                    let (beside, driver) = tokio::join!(biased; beside, driver);
                    (driver, beside)
                }
            });
            for n in numbers(0..5) {
                settle().await;
                peer.send(n.clone()).await.unwrap();
                assert_eq!(ends(peer.recv()).await.unwrap(), Some(n));
            }
            peer.send(Frame::close(1000, "")).await.unwrap();
            assert_eq!(seen_by(peer).await, [Frame::close(1000, "")]);
            let (driver, beside) = ends(task).await.unwrap();
            driver.unwrap();
            beside.unwrap();
        }
    }
}

#[each_fault]
async fn a_task_that_waits_beside_the_driver_rests_while_the_peer_does_not_read() {
    let (mut peer, ws) = Peer::of(Role::Server, &Options::new(), 64);
    let task = tokio::spawn(async move {
        let mut halves = None;
        let driver = drive(ws, |ws| {
            halves = Some(ws.split());
            ready(Ok(()))
        });
        let (sender, mut receiver) = halves.unwrap();
        sender.feed("x".repeat(100)).unwrap();
        let mut all = pin!(async { tokio::join!(driver, receiver.recv(), sender.flush()) });
        let mut polls = 0;
        poll_fn(|cx| {
            polls += 1;
            assert!(polls < 100, "spins");
            all.as_mut().poll(cx)
        })
        .await
    });
    settle().await;
    assert!(!task.is_finished());
    assert_eq!(
        ends(peer.recv()).await.unwrap(),
        Some(Frame::text("x".repeat(100)))
    );
    task.abort();
}

#[each_fault]
async fn two_sockets_of_one_task_see_to_each_other() {
    let (mut left, one) = Peer::client();
    let (mut right, two) = Peer::client();
    let bridge = |mut from: hybi::WebSocket, mut to: hybi::WebSocket| async move {
        while let Some(message) = from.recv().await? {
            to.send(message).await?;
        }
        hybi::Result::<()>::Ok(())
    };
    let task = tokio::spawn(drive(one, move |one| {
        drive(two, move |two| bridge(one, two))
    }));
    for n in numbers(0..20) {
        left.send(n.clone()).await.unwrap();
        assert_eq!(ends(right.recv()).await.unwrap(), Some(n));
        right.send(Frame::ping("")).await.unwrap();
        assert_eq!(ends(right.recv()).await.unwrap(), Some(Frame::pong("")));
    }
    left.send(Frame::close(1000, "")).await.unwrap();
    assert_eq!(seen_by(left).await, [Frame::close(1000, "")]);
    assert_eq!(seen_by(right).await, [Frame::close(1000, "")]);
    ends(task).await.unwrap().unwrap();
}

#[each_fault]
async fn the_second_socket_of_a_task_may_be_undriven() {
    let (mut left, one) = Peer::client();
    let (mut right, mut two) = Peer::client();
    let task = tokio::spawn(drive(one, |mut one| async move {
        while let Some(message) = one.recv().await? {
            two.send(message).await?;
            if let Some(message) = two.recv().await? {
                one.send(message).await?;
            }
        }
        Ok(())
    }));
    for n in numbers(0..20) {
        left.send(n.clone()).await.unwrap();
        assert_eq!(ends(right.recv()).await.unwrap(), Some(n.clone()));
        right.send(n.clone()).await.unwrap();
        assert_eq!(ends(left.recv()).await.unwrap(), Some(n));
    }
    task.abort();
}

#[each_fault]
async fn a_violation_is_answered_while_the_handler_is_busy_and_told_once() {
    let (mut peer, ws) = Peer::client();
    let database = Arc::new(Notify::new());
    let answer = database.clone();
    let task = tokio::spawn(drive(ws, |mut ws| async move {
        database.notified().await;
        assert_eq!(ws.recv().await?, Some("good".into()));
        let first = ws.recv().await.unwrap_err();
        assert_eq!(first.close_code(), Some(CloseCode::PROTOCOL));
        assert!(matches!(ws.recv().await, Err(Error::Closed)));
        assert_eq!(ws.state(), State::Closed);
        Err(first)
    }));
    peer.send(Frame::text("good")).await.unwrap();
    peer.hex("ff").await.unwrap();
    peer.hex("80 00 00 00 00").await.unwrap();
    assert_eq!(seen_by(peer).await, [Frame::close(1002, "")]);
    tokio::time::sleep(Duration::from_secs(100)).await;
    answer.notify_one();
    let error = ends(task).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Protocol(_)));
}

/// Whether a driver that has just handed a message over asks to be polled again at once.
fn looks_again(options: &Options) -> bool {
    #[derive(Default)]
    struct Woken(AtomicBool);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (ws, log) = server_with(Script::new(), options);
    let mut driver = pin!(drive(ws, echo));
    let woken = Arc::new(Woken::default());
    let waker = woken.clone().into();
    let mut poll = || driver.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(poll().is_pending());
    log.read(masked(&numbers(0..1)));
    assert!(woken.0.swap(false, Ordering::Relaxed));
    assert!(poll().is_pending());
    assert_eq!(log.written(), unmasked(&numbers(0..1)));
    let again = woken.0.swap(false, Ordering::Relaxed);
    assert!(poll().is_pending());
    assert_eq!(woken.0.load(Ordering::Relaxed), again);
    again
}

#[each_fault(counts)]
async fn a_driver_that_polls_busily_looks_again_for_a_time_after_something_has_come() {
    let hour = Duration::from_secs(3600);
    assert!(looks_again(&Options::new().busy_poll(hour)));
    assert!(!looks_again(&Options::new().busy_poll(Duration::ZERO)));
    assert!(!looks_again(&Options::new()));
}
