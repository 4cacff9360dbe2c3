//! The end of a connection: all who wait are told.

use super::pipe::Peer;
use super::{DRIVEN, MODES, Mode, check_modes, draw, join, open, server, task, wait};
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

/// Ends a connection by the time that senders wait for room, one flushes, one holds a permit, and
/// one receives.
fn end(mode: Mode, by: By) {
    let (ws, mut peer) = server(1 + draw(6));
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
    waiting.push(task(async move {
        let permit = holding.reserve().await?;
        shuttle::future::yield_now().await;
        permit.commit("def");
        holding.flush().await
    }));
    let flushing = sender.clone();
    waiting.push(task(async move {
        let queued = flushing.feed("ghi");
        flushing.flush().await.and(queued)
    }));
    if by == By::Fault {
        peer.break_after(draw(20));
    }
    let read = draw(3);
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
    let told = join(waiting);
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
    if !(by == By::Drop && mode == Mode::Handler) {
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
    check_modes(&MODES, |mode| end(mode, By::Close));
}

#[test]
fn all_who_wait_hear_that_the_peer_is_gone() {
    check_modes(&MODES, |mode| end(mode, By::Loss));
}

#[test]
fn all_who_wait_hear_of_an_abort() {
    check_modes(&MODES, |mode| end(mode, By::Abort));
}

#[test]
fn all_who_wait_hear_of_a_fault_of_the_transport() {
    check_modes(&MODES, |mode| end(mode, By::Fault));
}

#[test]
fn all_who_wait_hear_that_the_driver_was_dropped() {
    check_modes(&DRIVEN, |mode| end(mode, By::Drop));
}

#[test]
fn who_closes_hears_the_answer_while_others_send() {
    check_modes(&MODES, |mode| {
        let (ws, mut peer) = server(1 + draw(6));
        let (sender, others) = open(ws, mode, |mut receiver| async move {
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
