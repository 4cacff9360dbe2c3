//! Messages that wait unframed, where something else happens to their connection.

use std::time::Duration;

use hybi::test::Frame;
use hybi::{
    CloseCode, Error, Heartbeat, Message, Overflow, Role, Sender, State, Timeout, WebSocket, drive,
};

use crate::fault::each_fault;
use crate::overflow::{BACKLOG, SIZE, numbered, options, read, stuck};
use crate::support::{Peer, ends, settle};

/// So many fit, the last of them unframed.
const SOME: u8 = 13;

/// Queues some, under a policy that lets them wait unframed and drops none of them.
fn queue(sender: &Sender) {
    let lenient = sender.clone().overflow(Overflow::DropOldest);
    for number in 0..SOME {
        lenient.feed(numbered(number)).unwrap();
    }
    let stats = sender.stats();
    assert!(stats.messages_sent < SOME.into(), "all of them are framed");
    assert_eq!(stats.dropped, hybi::Dropped::default());
}

#[each_fault]
async fn a_peer_that_closes_still_gets_them_before_the_answer() {
    for driven in [false, true] {
        let (mut peer, sender, task) = stuck(driven);
        queue(&sender);
        settle().await;
        peer.send(Frame::close(4000, "")).await.unwrap();
        settle().await;
        assert_eq!(sender.state(), State::Closed);
        assert_eq!(read(&mut peer).await, (Vec::from_iter(0..SOME), 4000));
        ends(task).await.unwrap().unwrap();
        assert_eq!(sender.stats().messages_sent, SOME.into());
    }
}

#[each_fault]
async fn a_peer_that_breaks_a_rule_is_told_so_behind_them() {
    for driven in [false, true] {
        let (mut peer, sender, task) = stuck(driven);
        queue(&sender);
        settle().await;
        peer.hex("83 00").await.unwrap();
        assert_eq!(read(&mut peer).await, (Vec::from_iter(0..SOME), 1002));
        peer.shutdown().await.unwrap();
        let error = ends(task).await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{error:?}");
    }
}

#[each_fault]
async fn a_peer_that_breaks_a_rule_and_reads_nothing_is_given_up_with_them() {
    for driven in [false, true] {
        let (mut peer, sender, task) = stuck(driven);
        queue(&sender);
        settle().await;
        peer.hex("83 00").await.unwrap();
        let error = ends(task).await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{error:?}");
        assert_eq!(sender.buffered(), 0);
    }
}

#[each_fault]
async fn an_abort_drops_them() {
    for driven in [false, true] {
        let (mut peer, sender, task) = stuck(driven);
        queue(&sender);
        settle().await;
        let framed = sender.stats().messages_sent;
        sender.abort();
        assert_eq!((sender.buffered(), sender.state()), (0, State::Closed));
        let error = ends(task).await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Closed), "{error:?}");
        let rest = ends(peer.rest()).await.unwrap();
        assert!(rest.len() <= 64, "{}", rest.len());
        assert_eq!(sender.stats().messages_sent, framed);
    }
}

#[each_fault(counts)]
async fn the_last_handle_that_goes_tries_one_write_of_them_and_aborts() {
    for room in [64, 1 << 16] {
        let (mut peer, ws) = Peer::of(Role::Server, &options(), room);
        queue(&ws.sender());
        drop(ws);
        let rest = ends(peer.rest()).await.unwrap();
        let mut expected: Vec<_> = (0..SOME)
            .map(|number| Frame::binary(numbered(number).as_bytes()))
            .collect();
        expected.push(Frame::close(1001, ""));
        let expected = crate::support::unmasked(&expected);
        assert_eq!(rest, expected[..room.min(expected.len())]);
    }
}

#[each_fault]
async fn a_handler_that_returns_has_them_flushed_before_the_close() {
    let (mut peer, ws) = Peer::of(Role::Server, &options(), 64);
    let task = tokio::spawn(drive(ws, |ws| async move {
        queue(&ws.sender());
        Ok(())
    }));
    settle().await;
    assert_eq!(read(&mut peer).await, (Vec::from_iter(0..SOME), 1000));
    peer.send(Frame::close(1000, "")).await.unwrap();
    ends(task).await.unwrap().unwrap();
}

#[each_fault]
async fn flush_waits_for_them_too() {
    for driven in [false, true] {
        let (mut peer, sender, _task) = stuck(driven);
        queue(&sender);
        let flushed = sender.clone();
        let flush = tokio::spawn(async move { flushed.flush().await });
        for number in 0..SOME {
            settle().await;
            assert!(sender.buffered() == 0 || !flush.is_finished());
            let frame = ends(peer.recv()).await.unwrap();
            assert_eq!(frame, Some(Frame::binary(numbered(number).as_bytes())));
        }
        ends(flush).await.unwrap().unwrap();
        assert_eq!(sender.buffered(), 0);
    }
}

#[each_fault]
async fn a_peer_that_takes_nothing_is_given_up_with_them_after_60_s() {
    for driven in [false, true] {
        let (_peer, sender, task) = stuck(driven);
        queue(&sender);
        let error = ends(task).await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Timeout(Timeout::Write)), "{error:?}");
        assert_eq!(sender.buffered(), 0);
        let closed = sender.feed("more");
        assert!(matches!(closed, Err(Error::Closed)), "{closed:?}");
    }
}

#[each_fault]
async fn under_close_an_undriven_connection_that_nobody_polls_holds_no_more_than_its_backlog() {
    let (_peer, ws) = Peer::of(Role::Server, &options(), 64);
    let (sender, _receiver) = ws.split();
    let strict = sender.clone().overflow(Overflow::Close);
    let mut most = 0;
    let mut refused = 0;
    for number in 0..1000_u32 {
        let message = Message::from(vec![number as u8; SIZE]);
        let sent = match number % 2 {
            0 => strict.feed(message),
            _ => ends(strict.send(message)).await,
        };
        refused += u64::from(sent.is_err());
        most = most.max(sender.buffered());
    }
    assert!(most < BACKLOG + SIZE + 128, "{most}");
    assert!(sender.buffered() < BACKLOG / 2 + 2 * SIZE);
    assert_eq!(sender.state(), State::Closing);
    // Those behind the one that has closed are errors, and not counted.
    let stats = sender.stats();
    assert!((980..1000).contains(&refused));
    let kept = stats.messages_sent + stats.dropped.closed;
    assert_eq!(kept - 1 + refused, 1000);
}

#[each_fault]
async fn a_ping_passes_them() {
    for driven in [false, true] {
        let (mut peer, sender, task) = stuck(driven);
        queue(&sender);
        settle().await;
        let framed = sender.stats().messages_sent;
        let round_trip = sender.ping("now").unwrap();
        let mut messages = 0;
        while ends(peer.recv()).await.unwrap() != Some(Frame::ping("now")) {
            messages += 1;
        }
        assert_eq!(messages, framed);
        peer.send(Frame::pong("now")).await.unwrap();
        ends(round_trip).await.unwrap();
        for number in messages as u8..SOME {
            let frame = ends(peer.recv()).await.unwrap();
            assert_eq!(frame, Some(Frame::binary(numbered(number).as_bytes())));
        }
        task.abort();
    }
}

/// Whoever waits for room while the backlog is full of what may be dropped is told when the
/// connection closes, though the peer takes nothing.
#[each_fault(counts)]
async fn who_waits_for_room_is_told_at_once_that_the_connection_is_closing() {
    for driven in [false, true] {
        for by_policy in [false, true] {
            let (_peer, sender, _task) = stuck(driven);
            let lenient = sender.clone().overflow(Overflow::DropOldest);
            for number in 0..100 {
                lenient.feed(numbered(number)).unwrap();
            }
            let waiting = sender.clone();
            let waiting = tokio::spawn(async move { waiting.send("waits").await });
            settle().await;
            assert!(!waiting.is_finished());
            if by_policy {
                let strict = sender.clone().overflow(Overflow::Close);
                strict.send(numbered(100)).await.unwrap_err();
            } else {
                sender.start_close(CloseCode::NORMAL, "").unwrap();
            }
            settle().await;
            assert!(
                waiting.is_finished(),
                "driven {driven}, by policy {by_policy}"
            );
            let error = waiting.await.unwrap().unwrap_err();
            assert!(matches!(error, Error::Closed), "{error:?}");
        }
    }
}

#[each_fault]
async fn without_a_deadline_for_closing_who_waits_for_room_is_told_all_the_same() {
    let (_peer, ws) = Peer::of(Role::Server, &options().close_timeout(None), 64);
    let (sender, _receiver) = ws.split();
    sender.send(vec![0; BACKLOG + SIZE]).await.unwrap();
    let waiting = sender.clone();
    let waiting = tokio::spawn(async move { waiting.send("waits").await });
    settle().await;
    assert!(!waiting.is_finished());
    sender.start_close(CloseCode::NORMAL, "").unwrap();
    settle().await;
    assert!(waiting.is_finished());
    assert!(matches!(waiting.await.unwrap(), Err(Error::Closed)));
}

/// A peer that reads a message a second, answers pings, and says nothing else, while more is
/// queued for it than it takes.
async fn slow_but_alive(overflow: Overflow) {
    let heartbeat = Heartbeat::every(Duration::from_secs(20)).timeout(Duration::from_secs(10));
    let options = options().heartbeat(heartbeat);
    let (mut peer, ws) = Peer::of(Role::Server, &options, 64);
    let sender = ws.sender().overflow(overflow);
    let task = tokio::spawn(drive(ws, |mut ws: WebSocket| async move {
        while ws.recv().await?.is_some() {}
        Ok(())
    }));
    let flood = tokio::spawn(async move {
        loop {
            for number in 0..10 {
                if sender.send(numbered(number)).await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    });
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let frame = ends(peer.recv()).await.unwrap().expect("it is still open");
        if frame == Frame::ping("") {
            peer.send(Frame::pong("")).await.unwrap();
        }
    }
    assert!(!task.is_finished());
    task.abort();
    ends(flood).await.unwrap();
}

#[each_fault]
async fn a_peer_that_takes_a_full_backlog_slowly_is_not_taken_for_dead() {
    slow_but_alive(Overflow::Wait).await;
    slow_but_alive(Overflow::DropOldest).await;
}

/// A peer that is behind for long pings now and then, and is answered each time.
#[each_fault]
async fn a_peer_that_is_always_behind_has_its_pings_answered_all_the_same() {
    for driven in [false, true] {
        let (mut peer, sender, task) = stuck(driven);
        let lenient = sender.overflow(Overflow::DropOldest);
        for round in 0..50 {
            for number in 0..30 {
                lenient.feed(numbered(number)).unwrap();
            }
            settle().await;
            let name = format!("{round}");
            peer.send(Frame::ping(&name)).await.unwrap();
            settle().await;
            let mut messages = 0;
            while ends(peer.recv()).await.unwrap() != Some(Frame::pong(&name)) {
                messages += 1;
                lenient.feed(numbered(99)).unwrap();
                assert!(messages < 100, "ping {round} is not answered");
            }
        }
        task.abort();
    }
}
