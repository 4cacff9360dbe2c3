//! What is sent arrives, and who waits gets its turn.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex};

use hybi_proto::message::Message;
use shuttle::sync::mpsc::channel;
use tokio::join;

use super::pipe::{End, Peer};
use super::{Mode, check, draw, join, open, server, server_behind, split, task, wait};
use crate::error::Result;
use crate::receiver::Receiver;
use crate::test::{Frame, Opcode};

const SENDERS: usize = 3;
const EACH: usize = 2;

/// The `n`th message of a sender.
fn said(sender: usize, n: usize) -> [u8; 2] {
    [sender as u8, n as u8]
}

fn message(bytes: [u8; 2]) -> Message {
    Message::Binary(bytes.to_vec().into())
}

/// Reads so many messages.
async fn read(peer: &mut Peer, messages: usize) -> Vec<[u8; 2]> {
    let mut read = Vec::new();
    while read.len() < messages {
        let frame = peer.recv().await.unwrap();
        assert_eq!(frame.opcode, Opcode::Binary);
        read.push(frame.payload[..].try_into().unwrap());
    }
    read
}

/// Receives what the peer sends: each message once, whole and in order.
async fn receive(mut receiver: Receiver<End>) -> Result<()> {
    for n in 0..EACH {
        assert_eq!(receiver.recv().await?, Some(message(said(SENDERS, n))));
    }
    assert_eq!(receiver.recv().await?, None);
    Ok(())
}

#[test]
fn every_message_arrives_once_and_in_the_order_of_its_sender() {
    check(|| {
        let (ws, mut peer) = server(1 + draw(10));
        let (sender, others) = open(ws, Mode::any(), receive);
        let senders = [0, 1, 2].map(|who| {
            let sender = sender.clone();
            task(async move {
                for n in 0..EACH {
                    sender.send(message(said(who, n))).await?;
                }
                sender.flush().await
            })
        });
        drop(sender);
        let peer = task(async move {
            for n in 0..EACH {
                let frame = Frame::binary(said(SENDERS, n));
                peer.send(frame).await.unwrap();
            }
            let read = read(&mut peer, SENDERS * EACH).await;
            let rest = peer.close().await;
            assert_eq!(rest.len(), 1, "{rest:?}");
            read
        });
        let read = wait(peer).unwrap();
        for who in 0..SENDERS {
            let of_one = read.iter().filter(|said| said[0] == who as u8);
            assert!(of_one.eq(&[said(who, 0), said(who, 1)]), "{read:?}");
        }
        for told in join(senders.into_iter().chain(others)) {
            told.unwrap();
        }
    });
}

/// Senders wait for room, one of them without end, though nobody receives.
fn all_leaves_though_nobody_receives(driven: bool) {
    let (ws, mut peer) = server(1 + draw(10));
    let (sender, receiver, driver) = split(ws, driven);
    let senders = [0, 1, 2].map(|who| {
        let sender = sender.clone();
        task(async move {
            for n in 0..EACH {
                sender.send(message(said(who, n))).await?;
            }
            sender.flush().await
        })
    });
    let reading = task(async move {
        let mut read = read(&mut peer, SENDERS * EACH).await;
        read.sort_unstable();
        (read, peer)
    });
    for told in join(senders) {
        told.unwrap();
    }
    let (read, mut peer) = wait(reading).unwrap();
    let all: Vec<_> = (0..SENDERS * EACH)
        .map(|n| said(n / EACH, n % EACH))
        .collect();
    assert_eq!(read, all);
    drop((sender, receiver));
    let rest = join([task(async move { peer.rest(false).await })]).remove(0);
    // Without a driver there is one write, which the transport may cut.
    assert!(!driven || rest[0].opcode == Opcode::Close);
    join([driver]);
}

#[test]
fn all_leaves_though_nobody_receives_or_drives() {
    check(|| all_leaves_though_nobody_receives(false));
}

#[test]
fn all_leaves_though_nobody_receives_what_is_driven() {
    check(|| all_leaves_though_nobody_receives(true));
}

/// Senders queue up behind a permit; one leaves whenever it likes.
fn room_is_given_in_order() {
    let (ws, mut peer) = server(1 + draw(4));
    let (sender, others) = open(ws, Mode::any(), |mut receiver| async move {
        assert_eq!(receiver.recv().await?, None);
        Ok(())
    });
    let permit = wait(sender.reserve()).unwrap();
    let queue = Arc::new(Mutex::new(Vec::new()));
    let (came, all_came) = channel();
    let waiters = [0, 1, 2, 3].map(|who| {
        let (sender, queue, came) = (sender.clone(), queue.clone(), came.clone());
        task(async move {
            let mut sending = pin!(async {
                let message = message([who, 0]);
                match draw(2) {
                    0 => sender.send(message).await,
                    _ => sender.reserve().await.map(|permit| permit.commit(message)),
                }
            });
            let mut queued = false;
            let sent = poll_fn(|cx| {
                let sent = sending.as_mut().poll(cx);
                if !queued {
                    // No other task can come between the place in the queue and this note of it.
                    queue.lock().unwrap().push(who);
                    queued = true;
                    came.send(()).unwrap();
                }
                sent
            })
            .await;
            sent.unwrap();
        })
    });
    let reading = task(async move {
        let mut read = Vec::new();
        while let Some(frame) = peer.recv().await {
            if frame.opcode == Opcode::Close {
                break;
            }
            read.push(frame.payload[0]);
        }
        peer.close().await;
        read
    });
    all_came.iter().take(waiters.len()).for_each(drop);
    let leaver = waiters[draw(waiters.len())].abort_handle();
    let leaving = task(async move { leaver.abort() });
    match draw(2) {
        0 => drop(permit),
        _ => permit.commit(message([9, 0])),
    }
    let waiters = waiters.map(wait);
    join([leaving]);
    sender.start_close(1000.into(), "").unwrap();
    let read = wait(reading).unwrap();
    assert!(waiters.iter().filter(|waiter| waiter.is_err()).count() <= 1);
    let mut expected = queue.lock().unwrap().clone();
    expected.retain(|&who| waiters[usize::from(who)].is_ok());
    let is_waiter = |who: &u8| usize::from(*who) < waiters.len();
    let served: Vec<_> = read.into_iter().filter(is_waiter).collect();
    assert_eq!(served, expected);
    drop(sender);
    for told in join(others) {
        told.unwrap();
    }
}

#[test]
fn room_is_given_in_order_and_who_leaves_passes_its_turn_on() {
    check(room_is_given_in_order);
}

#[test]
fn who_has_flushed_knows_that_its_message_has_left() {
    check(|| {
        let (ws, mut peer) = server(1 + draw(10));
        let (sender, others) = open(ws, Mode::any(), |mut receiver| async move {
            assert_eq!(receiver.recv().await?, None);
            Ok(())
        });
        let senders = [0, 1].map(|who| {
            let (sender, record) = (sender.clone(), peer.record());
            task(async move {
                let said = said(who, 0);
                sender.send(message(said)).await?;
                sender.flush().await?;
                assert!(record.has(said));
                Ok(())
            })
        });
        let both = {
            let (sender, record) = (sender.clone(), peer.record());
            task(async move {
                let one = async {
                    sender.send(message(said(2, 0))).await?;
                    sender.flush().await?;
                    assert!(record.has(said(2, 0)));
                    Ok(())
                };
                let other = async {
                    sender.send(message(said(2, 1))).await?;
                    sender.flush().await?;
                    assert!(record.has(said(2, 1)));
                    Result::Ok(())
                };
                let (one, other) = join!(one, other);
                one.and(other)
            })
        };
        let peer = task(async move {
            let read = read(&mut peer, 4).await;
            peer.close().await;
            read
        });
        for told in join(senders.into_iter().chain([both])) {
            told.unwrap();
        }
        drop(sender);
        join([peer]);
        for told in join(others) {
            told.unwrap();
        }
    });
}

#[test]
fn two_flushes_of_one_task_are_both_told() {
    check(|| {
        let (ws, mut peer) = server(100);
        let (sender, receiver, driver) = split(ws, draw(2) == 0);
        let reading = task(async move {
            let read = read(&mut peer, 1).await;
            (read, peer)
        });
        let flushing = task(async move {
            sender.feed(message(said(0, 0)))?;
            let (one, other) = join!(sender.flush(), sender.flush());
            one.and(other)
        });
        join([flushing]).remove(0).unwrap();
        // Nothing else has woken them.
        drop(receiver);
        join([reading]);
        join([driver]).remove(0).unwrap();
    });
}

#[test]
fn pings_are_answered_in_both_directions() {
    check(|| {
        let (ws, mut peer) = server(100);
        let (sender, others) = open(ws, Mode::any(), |mut receiver| async move {
            assert_eq!(receiver.recv().await?, None);
            Ok(())
        });
        let pings = [0, 1].map(|who| {
            let sender = sender.clone();
            task(async move { sender.ping([who])?.await.map(drop) })
        });
        drop(sender);
        let peer = task(async move {
            peer.send(Frame::ping("a")).await.unwrap();
            for _ in 0..3 {
                let frame = peer.recv().await.unwrap();
                match frame.opcode {
                    Opcode::Ping => peer.send(Frame::pong(frame.payload)).await.unwrap(),
                    _ => assert_eq!(frame, Frame::pong("a")),
                }
            }
            peer.close().await;
        });
        join([peer]);
        for told in join(pings.into_iter().chain(others)) {
            told.unwrap();
        }
    });
}

#[test]
fn what_is_too_much_to_read_ahead_is_read_when_there_is_somebody_to_receive() {
    check(|| {
        const LARGE: usize = 64 << 10;
        let (ws, mut peer) = server_behind(2 * LARGE, 100);
        let (sender, others) = open(ws, Mode::any(), |mut receiver| async move {
            for _ in 0..2 {
                let message = receiver.recv().await?.unwrap();
                assert_eq!(message.len(), LARGE);
            }
            assert_eq!(receiver.recv().await?, None);
            Ok(())
        });
        drop(sender);
        let peer = task(async move {
            for _ in 0..2 {
                peer.send(Frame::binary([0; LARGE])).await.unwrap();
            }
            peer.close().await;
        });
        join([peer]);
        for told in join(others) {
            told.unwrap();
        }
    });
}
