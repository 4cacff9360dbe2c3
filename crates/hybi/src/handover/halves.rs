//! Handles that go from task to task, and tasks that wait for more than one thing.

use hybi_proto::message::Message;
use shuttle::sync::mpsc::channel;
use tokio::{join, select};

use super::pipe::End;
use super::{Mode, check, draw, join, open, server, split, task, wait};
use crate::driver::drive;
use crate::error::Result;
use crate::sender::Sender;
use crate::shared::Handle;
use crate::socket::WebSocket;
use crate::test::{Frame, Opcode};

/// Echoes so many messages, and then waits for the end or goes.
async fn echo(mut ws: WebSocket<End>, messages: usize, stays: bool) -> Result<()> {
    for _ in 0..messages {
        if let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
    }
    if stays {
        assert_eq!(ws.recv().await?, None);
    }
    Ok(())
}

#[test]
fn a_socket_is_driven_where_its_handler_takes_it_until_it_is_dropped() {
    check(|| {
        let (ws, mut peer) = server(1 + draw(4));
        let messages = draw(3);
        let stays = draw(2) == 0;
        let driver = task(drive(ws, move |ws| async move {
            let echo = echo(ws, messages, stays);
            match draw(3) {
                0 => echo.await,
                1 => task(echo).await.unwrap(),
                _ => {
                    drop(task(echo));
                    Ok(())
                }
            }
        }));
        let peer = task(async move {
            for n in 0..messages {
                let frame = Frame::binary([n as u8]);
                peer.send(frame.clone()).await.unwrap();
                assert_eq!(peer.recv().await, Some(frame));
            }
            let rest = match stays {
                true => peer.close().await,
                false => peer.rest(false).await,
            };
            let [close] = &rest[..] else {
                panic!("{rest:?}");
            };
            assert_eq!(close.close_reason().unwrap().0, 1000.into());
        });
        join([peer]);
        join([driver]).remove(0).unwrap();
    });
}

/// One task begins to receive and leaves off, and another goes on.
fn a_receiver_passed_on(driven: bool) {
    let (ws, mut peer) = server(100);
    let (sender, mut receiver, driver) = split(ws, driven);
    let (pass, passed) = channel();
    let first = task(async move {
        let mut received = Vec::new();
        for _ in 0..2 {
            select! {
                biased;
                message = receiver.recv() => received.extend(message.unwrap()),
                () = shuttle::future::yield_now() => {}
            }
        }
        pass.send((receiver, received)).unwrap();
    });
    let second = shuttle::thread::spawn(move || {
        let (mut receiver, mut received) = passed.recv().unwrap();
        wait(async move {
            while let Some(message) = receiver.recv().await.unwrap() {
                received.push(message);
            }
            received
        })
    });
    // Somebody else makes the transport wake it, too.
    let sending = task(async move {
        sender.send("a").await?;
        sender.flush().await
    });
    let peer = task(async move {
        for n in 0..3 {
            peer.send(Frame::binary([n])).await.unwrap();
        }
        peer.close().await
    });
    join([first]);
    let received = second.join().unwrap();
    let sent = [0, 1, 2].map(|n| Message::Binary(vec![n].into()));
    assert_eq!(received, sent);
    join([peer]);
    for told in join([sending, driver]) {
        // The peer may have closed before.
        drop(told);
    }
}

#[test]
fn a_receiver_passed_between_tasks_misses_nothing() {
    check(|| a_receiver_passed_on(false));
}

#[test]
fn a_driven_receiver_passed_between_tasks_misses_nothing() {
    check(|| a_receiver_passed_on(true));
}

#[test]
fn a_task_that_waits_to_receive_and_to_send_hears_of_both() {
    check(|| {
        const MESSAGES: usize = 2;
        let (ws, mut peer) = server(1);
        let sending = ws.sender();
        let (sender, others) = open(ws, Mode::any(), move |mut receiver| async move {
            let receive = async {
                for n in 0..MESSAGES {
                    let message = Message::Binary(vec![n as u8].into());
                    assert_eq!(receiver.recv().await?, Some(message));
                }
                assert_eq!(receiver.recv().await?, None);
                Result::Ok(())
            };
            let send = async {
                for _ in 0..MESSAGES {
                    sending.send("of the receiver").await?;
                }
                sending.flush().await
            };
            let (receive, send) = join!(receive, send);
            receive.and(send)
        });
        let sending = task(async move {
            for _ in 0..MESSAGES {
                sender.send("of another").await?;
            }
            sender.flush().await
        });
        let peer = task(async move {
            for n in 0..MESSAGES {
                peer.send(Frame::binary([n as u8])).await.unwrap();
            }
            for _ in 0..2 * MESSAGES {
                let frame = peer.recv().await.unwrap();
                assert_eq!(frame.opcode, Opcode::Text);
            }
            peer.close().await
        });
        join([peer]);
        for told in join([sending].into_iter().chain(others)) {
            told.unwrap();
        }
    });
}

/// The handles go in different tasks, while one that holds none tries to get one.
fn the_last_handle(driven: bool) {
    let (ws, mut peer) = server(100);
    let shared = ws.handle().shared().clone();
    let (sender, receiver, driver) = split(ws, driven);
    let other = sender.clone();
    let late = task(async move {
        let handle = Handle::of(shared)?;
        let sender = Sender::new(handle);
        sender.send("late").await.unwrap();
        Some(())
    });
    let halves = [
        task(async move { drop(sender) }),
        task(async move { drop(receiver) }),
        task(async move { other.send("early").await.unwrap() }),
    ];
    let peer = task(async move { peer.rest(false).await });
    join(halves);
    let late = join([late]).remove(0).is_some();
    let frames = join([peer]).remove(0);
    if driven {
        let (close, messages) = frames.split_last().unwrap();
        assert_eq!(close.close_reason().unwrap().0, 1000.into());
        assert_eq!(messages.len(), 1 + usize::from(late));
    }
    join([driver]).remove(0).unwrap();
}

#[test]
fn the_last_handle_that_goes_ends_the_connection() {
    check(|| the_last_handle(false));
}

#[test]
fn the_last_handle_that_goes_ends_a_driven_connection() {
    check(|| the_last_handle(true));
}
