//! The end of a connection: all who wait are told.

use tokio::sync::{mpsc, oneshot};

use super::pipe::Peer;
use super::{Mode, check, draw, join, open, server, task, wait};
use crate::error::{Error, Result};
use crate::test::Frame;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// The peer closes, and reads to the end.
    Close,
    /// The peer goes without a word.
    Loss,
    /// A handle aborts it.
    Abort,
    /// The transport fails to write.
    Fault,
    /// The driver is dropped.
    Drop,
}

/// Ends a connection by the time that senders wait for room, one flushes, one holds a permit until
/// all others were told, and one receives.
fn end(mode: Mode, by: By) {
    let (ws, mut peer) = server(1 + draw(6));
    // What is held up behind a permit does not meet a fault, nor a peer that reads.
    let holds = by != By::Fault && draw(2) == 0;
    let (sender, [driver, receiving]) = open(ws, mode, move |mut receiver| async move {
        let told = receiver.recv().await;
        match by {
            By::Close => assert!(matches!(told, Ok(None)), "{told:?}"),
            By::Abort | By::Drop => assert!(matches!(told, Err(Error::Closed)), "{told:?}"),
            By::Loss | By::Fault => assert!(matches!(told, Err(Error::Io(_))), "{told:?}"),
        }
        Ok(())
    });
    let mut waiting: Vec<_> = (0..2)
        .map(|_| {
            let sender = sender.clone();
            task(async move {
                for _ in 0..3 {
                    sender.send("abc").await?;
                }
                sender.flush().await
            })
        })
        .collect();
    let holding = sender.clone();
    let (free, freed) = oneshot::channel::<()>();
    let holder = task(async move {
        let permit = holding.reserve().await?;
        if holds {
            let _ = freed.await;
        }
        permit.commit("def");
        holding.flush().await
    });
    let flushing = sender.clone();
    waiting.push(task(async move {
        let queued = flushing.feed("ghi");
        flushing.flush().await.and(queued)
    }));
    if by == By::Fault {
        peer.break_after(draw(20));
    }
    let read = if holds { 0 } else { draw(3) };
    let peer = task(async move {
        for _ in 0..read {
            peer.recv().await;
        }
        end_of_peer(peer, by).await;
    });
    match by {
        By::Abort => {
            let sender = sender.clone();
            let abort = task(async move { sender.abort() });
            join([abort]);
        }
        By::Drop => driver.abort(),
        By::Close | By::Loss | By::Fault => {}
    }
    let mut told = join(waiting);
    drop(free);
    told.extend(join([holder]));
    if by == By::Fault {
        assert!(told.iter().any(Result::is_err), "{told:?}");
    }
    join([peer]);
    if by == By::Drop {
        // It has been cancelled, or was done.
        let _ = wait(driver);
    } else {
        join([driver]).remove(0).unwrap();
    }
    if !(by == By::Drop && mode != Mode::GivenAway) {
        join([receiving]).remove(0).unwrap();
    }
    assert!(wait(sender.send("late")).is_err());
}

async fn end_of_peer(mut peer: Peer, by: By) {
    match by {
        By::Close => {
            peer.close().await;
        }
        By::Loss => drop(peer),
        By::Abort | By::Drop => peer.outlast().await,
        By::Fault => {
            let _ = peer.rest(true).await;
        }
    }
}

#[test]
fn all_who_wait_hear_that_the_peer_closes() {
    check(|| end(Mode::any(), By::Close));
}

#[test]
fn all_who_wait_hear_that_the_peer_is_gone() {
    check(|| end(Mode::any(), By::Loss));
}

#[test]
fn all_who_wait_hear_of_an_abort() {
    check(|| end(Mode::any(), By::Abort));
}

#[test]
fn all_who_wait_hear_of_a_fault_of_the_transport() {
    check(|| end(Mode::any(), By::Fault));
}

#[test]
fn all_who_wait_hear_that_the_driver_was_dropped() {
    check(|| end(Mode::driven(), By::Drop));
}

#[test]
fn who_waits_on_a_driven_connection_hears_of_a_close_before_the_transport_ends() {
    check(|| {
        let (ws, mut peer) = server(1);
        let (told, mut all_told) = mpsc::channel::<()>(1);
        let tell = told.clone();
        let (sender, others) = open(ws, Mode::driven(), |mut receiver| async move {
            assert!(matches!(receiver.recv().await, Ok(None)));
            drop(tell);
            Ok(())
        });
        let waiting = [0, 1].map(|_| {
            let (sender, told) = (sender.clone(), told.clone());
            task(async move {
                while sender.send("abc").await.is_ok() {}
                drop(told);
            })
        });
        drop((sender, told));
        let peer = task(async move {
            peer.send(Frame::close(1000, "")).await.unwrap();
            assert_eq!(all_told.recv().await, None);
            peer.rest(true).await
        });
        join(waiting);
        join([peer]);
        for told in join(others) {
            told.unwrap();
        }
    });
}

#[test]
fn who_closes_hears_the_answer_while_others_send() {
    check(|| {
        let (ws, mut peer) = server(1 + draw(6));
        let (sender, others) = open(ws, Mode::any(), |mut receiver| async move {
            while receiver.recv().await?.is_some() {}
            Ok(())
        });
        let sending = [0, 1].map(|_| {
            let sender = sender.clone();
            task(async move {
                for _ in 0..3 {
                    sender.send("abc").await?;
                }
                sender.flush().await
            })
        });
        let closing = task(async move { sender.start_close(1000.into(), "") });
        let peer = task(async move {
            peer.send(Frame::text("a")).await.unwrap();
            peer.rest(false).await
        });
        join([closing]).remove(0).unwrap();
        // They came before the close, or are told of it.
        let _ = join(sending);
        join([peer]);
        for told in join(others) {
            told.unwrap();
        }
    });
}
