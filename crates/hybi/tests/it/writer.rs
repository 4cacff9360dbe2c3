//! A message in parts among other senders, slow peers and ends, on driven connections and others.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use hybi::test::{Frame, Opcode, Script};
use hybi::{
    CloseCode, Error, Heartbeat, Kind, Message, Options, Overflow, Role, SendError, Sender,
    Timeout, WebSocket, drive,
};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::cancel::poll_times;
use crate::fault::each_fault;
use crate::support::{Peer, ends, masked, server_with, settle};

async fn listen(mut ws: WebSocket) -> hybi::Result<()> {
    while ws.recv().await?.is_some() {}
    Ok(())
}

/// A server behind a transport of so many bytes, with the task that sees to it.
fn listening(
    driven: bool,
    options: &Options,
    room: usize,
) -> (Peer, Sender, JoinHandle<hybi::Result<()>>) {
    let (peer, ws) = Peer::of(Role::Server, options, room);
    let sender = ws.sender();
    let task = if driven {
        tokio::spawn(drive(ws, listen))
    } else {
        tokio::spawn(listen(ws))
    };
    (peer, sender, task)
}

/// The messages and the close code that come until the close frame; control frames are left out.
async fn read(peer: &mut Peer) -> (Vec<Vec<u8>>, Option<u16>) {
    let (mut messages, mut open) = (Vec::new(), None::<Vec<u8>>);
    while let Some(frame) = ends(peer.recv()).await.unwrap() {
        match frame.opcode {
            Opcode::Close => {
                let code = frame.close_reason().map(|(code, _)| code.as_u16());
                return (messages, code);
            }
            Opcode::Ping | Opcode::Pong => continue,
            Opcode::Continuation => open.as_mut().unwrap().extend(&frame.payload[..]),
            _ => assert!(open.replace(frame.payload.to_vec()).is_none()),
        }
        if frame.fin {
            messages.extend(open.take());
        }
    }
    (messages, None)
}

#[each_fault]
async fn message_and_write_dropped_at_every_poll_lose_and_double_nothing() {
    let options = Options::new().backlog(60);
    for polls in 1..150 {
        let (mut ws, log) = server_with(Script::new().trickle(), &options);
        let mut expected = Vec::new();
        for round in 0..3 {
            let mut message = loop {
                if poll_times(ws.message(Kind::Text), polls).is_none() {
                    continue;
                }
                // To show it to the borrow checker, begin again: what was begun is given up.
                if let Some(message) = poll_times(ws.message(Kind::Text), 100_000) {
                    break message.unwrap();
                }
            };
            let mut whole = String::new();
            for part in 0..12 {
                let part = format!("{round}:{part};");
                while poll_times(message.write(part.as_str()), polls).is_none() {}
                whole.push_str(&part);
            }
            message.finish().unwrap();
            expected.push(whole.into_bytes());
        }
        ends(ws.flush()).await.unwrap();
        let frames = Frame::decode_all(&log.written());
        let whole: usize = frames.iter().map(|frame| frame.encode(None).len()).sum();
        assert_eq!(whole, log.written().len());
        let mut messages: Vec<Vec<u8>> = Vec::new();
        for frame in &frames {
            match frame.opcode {
                Opcode::Text => messages.push(frame.payload.to_vec()),
                _ => messages.last_mut().unwrap().extend(&frame.payload[..]),
            }
        }
        assert_eq!(messages, expected);
    }
}

#[each_fault]
async fn a_driven_write_dropped_at_every_poll_loses_and_doubles_nothing() {
    for polls in 1..20 {
        let (mut peer, sender, _task) = listening(true, &Options::new().backlog(60), 16);
        let reading = tokio::spawn(async move { read(&mut peer).await });
        let mut message = ends(sender.message(Kind::Text)).await.unwrap();
        let mut whole = String::new();
        for part in 0..100 {
            let part = format!("{part};");
            while poll_times(message.write(part.as_str()), polls).is_none() {
                tokio::task::yield_now().await;
            }
            whole.push_str(&part);
        }
        message.finish().unwrap();
        sender.start_close(CloseCode::NORMAL, "").unwrap();
        assert_eq!(
            ends(reading).await.unwrap(),
            (vec![whole.into()], Some(1000))
        );
    }
}

#[each_fault]
async fn pieces_of_every_size_pass_small_transports_of_both_roles() {
    const LEN: usize = 2000;
    let payload: Vec<u8> = (0..LEN).map(|n| n as u8).collect();
    let options = Options::new().backlog(100);
    for room in [1, 7, 64] {
        for piece in (1..20).chain([99, 100, 101, 125, 126, 127, 500, LEN]) {
            let (a, mut b) = crate::support::pair_with(&options, &options, room);
            let (writes, reads) = (payload.clone(), payload.clone());
            let writing = tokio::spawn(async move {
                let mut a = a;
                let mut message = a.message(Kind::Binary).await?;
                for part in writes.chunks(piece) {
                    message.write(part).await?;
                }
                message.finish()?;
                a.close(CloseCode::NORMAL, "").await
            });
            let mut got = Vec::new();
            let mut message = ends(b.recv_reader()).await.unwrap().unwrap();
            while let Some(part) = ends(message.next()).await.unwrap() {
                got.extend_from_slice(&part);
            }
            drop(message);
            assert_eq!(got, reads, "{piece} through {room}");
            assert!(ends(b.recv()).await.unwrap().is_none());
            ends(writing).await.unwrap().unwrap();
        }
    }
}

#[each_fault]
async fn who_waits_to_send_is_served_in_order_after_the_message() {
    for driven in [false, true] {
        let (mut peer, sender, _task) = listening(driven, &Options::new(), 64);
        let mut message = sender.message(Kind::Text).await.unwrap();
        message.write("parts").await.unwrap();
        for n in 0..5 {
            let sender = sender.clone();
            tokio::spawn(async move { sender.send(n.to_string()).await });
            settle().await;
        }
        let full = sender.feed("no");
        assert!(
            matches!(full, Err(Error::Send(SendError::Full))),
            "{full:?}"
        );
        message.finish().unwrap();
        settle().await;
        sender.start_close(CloseCode::NORMAL, "").unwrap();
        let expected = ["parts", "0", "1", "2", "3", "4"].map(|text| text.as_bytes().to_vec());
        assert_eq!(read(&mut peer).await, (expected.to_vec(), Some(1000)));
    }
}

#[each_fault]
async fn messages_under_a_policy_wait_behind_a_message_up_to_the_backlog() {
    let policies = [
        Overflow::DropNewest,
        Overflow::DropOldest,
        Overflow::Conflate("key".into()),
        Overflow::Close,
    ];
    for driven in [false, true] {
        for policy in &policies {
            let (mut peer, sender, _task) = listening(driven, &Options::new(), 1000);
            let others = sender.clone().overflow(policy.clone());
            let mut message = sender.message(Kind::Text).await.unwrap();
            message.write("parts").await.unwrap();
            let mut expected = vec![b"partsparts".to_vec()];
            for n in 0..10 {
                ends(others.send(n.to_string())).await.unwrap();
                expected.push(n.to_string().into_bytes());
            }
            let dropped = sender.stats().dropped;
            if *policy == Overflow::Conflate("key".into()) {
                expected.drain(1..10);
                assert_eq!(dropped.conflated, 9);
            } else {
                assert_eq!(dropped, hybi::Dropped::default(), "{policy:?}");
            }
            message.write("parts").await.unwrap();
            message.finish().unwrap();
            sender.start_close(CloseCode::NORMAL, "").unwrap();
            assert_eq!(read(&mut peer).await, (expected, Some(1000)));
        }
    }
}

#[each_fault]
async fn who_waits_for_room_is_not_passed_by_messages_that_may_be_dropped() {
    for driven in [false, true] {
        let (_peer, sender, _task) = listening(driven, &Options::new(), 64);
        let newest = sender.clone().overflow(Overflow::DropNewest);
        // Given its turn, and no message in progress.
        let permit = sender.reserve().await.unwrap();
        newest.send("dropped").await.unwrap();
        assert_eq!(sender.stats().dropped.newest, 1);
        drop(permit);
    }
}

#[each_fault]
async fn a_flood_behind_a_message_is_bounded_and_does_not_stop_its_writer() {
    let options = Options::new().backlog(2000);
    for driven in [false, true] {
        for policy in [Overflow::DropNewest, Overflow::DropOldest] {
            let (mut peer, sender, _task) = listening(driven, &options, 1000);
            let flood = sender.clone().overflow(policy);
            let reading = tokio::spawn(async move { read(&mut peer).await });
            let mut message = sender.message(Kind::Text).await.unwrap();
            for _ in 0..100 {
                for _ in 0..3 {
                    flood.feed("x".repeat(100)).unwrap();
                }
                ends(message.write("y".repeat(500))).await.unwrap();
                assert!(
                    sender.buffered() <= 2 * 2000 + 1000,
                    "{}",
                    sender.buffered()
                );
            }
            message.finish().unwrap();
            sender.start_close(CloseCode::NORMAL, "").unwrap();
            let (messages, code) = ends(reading).await.unwrap();
            assert_eq!((messages[0].len(), code), (50_000, Some(1000)));
            let dropped = sender.stats().dropped;
            let dropped = dropped.newest + dropped.oldest;
            assert!(messages.len() > 3);
            assert_eq!(messages.len() as u64 - 1 + dropped, 300);
        }
    }
}

#[each_fault]
async fn flush_waits_for_what_stands_behind_a_message() {
    for driven in [false, true] {
        let (mut peer, sender, _task) = listening(driven, &Options::new(), 1000);
        let mut message = sender.message(Kind::Text).await.unwrap();
        message.write("parts").await.unwrap();
        let others = sender.clone().overflow(Overflow::DropNewest);
        others.send("behind").await.unwrap();
        let flushing = tokio::spawn(async move { others.flush().await });
        settle().await;
        assert!(!flushing.is_finished());
        message.finish().unwrap();
        ends(flushing).await.unwrap().unwrap();
        for _ in 0..3 {
            ends(peer.recv()).await.unwrap().unwrap();
        }
    }
}

#[each_fault]
async fn a_part_that_leaves_slowly_is_no_stall() {
    for driven in [false, true] {
        let (mut peer, sender, task) = listening(driven, &Options::new(), 1000);
        let writing = tokio::spawn(async move {
            let mut message = sender.message(Kind::Binary).await?;
            message.write(vec![1; 2 << 20]).await?;
            message.write(vec![2; 1000]).await?;
            message.finish()?;
            sender.flush().await
        });
        // A minute is the time for writing, and this takes four.
        let mut taken = 0;
        while !writing.is_finished() {
            let some = peer
                .take(50_000.min((2 << 20) + 900 - taken))
                .await
                .unwrap();
            taken += some.len();
            if some.is_empty() {
                peer.take(100).await.unwrap();
            }
            sleep(Duration::from_secs(6)).await;
        }
        ends(writing).await.unwrap().unwrap();
        assert!(!task.is_finished());
    }
}

#[each_fault]
async fn a_writer_that_was_forgotten_is_a_write_stall() {
    for driven in [false, true] {
        for part in [None, Some("half")] {
            let (_peer, sender, task) = listening(driven, &Options::new(), 1000);
            let mut message = sender.message(Kind::Text).await.unwrap();
            if let Some(part) = part {
                message.write(part).await.unwrap();
            }
            std::mem::forget(message);
            let waiting = tokio::spawn({
                let sender = sender.clone();
                async move { sender.send("never").await }
            });
            let error = ends(task).await.unwrap().unwrap_err();
            assert!(matches!(error, Error::Timeout(Timeout::Write)), "{error:?}");
            assert!(matches!(ends(waiting).await.unwrap(), Err(Error::Closed)));
        }
    }
}

#[each_fault]
async fn a_handler_that_forgets_its_writer_and_returns_says_1011() {
    let (mut peer, ws) = Peer::client();
    let handler = |mut ws: WebSocket| async move {
        let mut message = ws.message(Kind::Text).await?;
        message.write("half").await?;
        std::mem::forget(message);
        Ok(())
    };
    let task = tokio::spawn(drive(ws, handler));
    assert_eq!(read(&mut peer).await, (vec![], Some(1011)));
    peer.send(Frame::close(1011, "")).await.unwrap();
    ends(task).await.unwrap().unwrap();
}

#[each_fault]
async fn a_handler_that_ends_with_its_writer_open_says_1011() {
    for fails in [false, true] {
        let (mut peer, ws) = Peer::client();
        let handler = move |mut ws: WebSocket| async move {
            let mut message = ws.message(Kind::Text).await?;
            message.write("half").await?;
            if fails {
                return Err(Error::Closed);
            }
            Ok(())
        };
        let task = tokio::spawn(drive(ws, handler));
        assert_eq!(read(&mut peer).await, (vec![], Some(1011)));
        peer.send(Frame::close(1011, "")).await.unwrap();
        assert_eq!(ends(task).await.unwrap().is_err(), fails);
    }
}

/// How a connection may end under a writer.
#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    Abort,
    PeerCloses,
    PeerViolates,
    PeerEnds,
    PeerStops,
}

#[each_fault]
async fn a_writer_learns_of_each_end_and_the_code_is_right() {
    use End::{Abort, Close, PeerCloses, PeerEnds, PeerStops, PeerViolates};
    for driven in [false, true] {
        for waits in [false, true] {
            for end in [Close, Abort, PeerCloses, PeerViolates, PeerEnds, PeerStops] {
                let (mut peer, sender, task) = listening(driven, &Options::new().backlog(500), 64);
                let mut message = sender.message(Kind::Binary).await.unwrap();
                message.write("first").await.unwrap();
                let first = ends(peer.recv()).await.unwrap().unwrap();
                assert!(!first.fin);
                if waits || matches!(end, PeerStops) {
                    message.write(vec![1; 1000]).await.unwrap();
                }
                let error = {
                    let mut writing = pin!(message.write("next"));
                    if waits {
                        assert!(ends_not(writing.as_mut()).await);
                    }
                    match end {
                        Close => sender.start_close(CloseCode::POLICY, "").unwrap(),
                        Abort => sender.abort(),
                        PeerCloses => peer.send(Frame::close(4000, "")).await.unwrap(),
                        PeerViolates => peer.hex("c1 80 00000000").await.unwrap(),
                        PeerEnds => peer.shutdown().await.unwrap(),
                        PeerStops => {}
                    }
                    if !matches!(end, PeerStops) || waits {
                        settle().await;
                    }
                    if matches!(end, PeerStops) && !waits {
                        sleep(Duration::from_secs(61)).await;
                    }
                    ends(writing).await.unwrap_err()
                };
                assert!(matches!(error, Error::Closed), "{end:?}: {error:?}");
                assert!(message.finish().is_err());
                let expected = match end {
                    Close => Some(1008),
                    PeerCloses => Some(4000),
                    PeerViolates => Some(1002),
                    Abort | PeerEnds | PeerStops => None,
                };
                if let Some(code) = expected {
                    let mut seen = None;
                    while let Some(frame) = ends(peer.recv()).await.unwrap() {
                        seen = frame.close_reason().map(|(code, _)| code.as_u16());
                        if seen.is_some() {
                            break;
                        }
                    }
                    assert_eq!(seen, Some(code), "{end:?}");
                    if matches!(end, Close) {
                        peer.send(Frame::close(code, "")).await.unwrap();
                    }
                    peer.shutdown().await.unwrap();
                }
                let told = ends(task).await.unwrap();
                match end {
                    Close | PeerCloses => told.unwrap(),
                    PeerStops => assert!(matches!(told, Err(Error::Timeout(Timeout::Write)))),
                    Abort | PeerViolates | PeerEnds => drop(told.unwrap_err()),
                }
                assert_eq!(sender.buffered(), 0);
            }
        }
    }
}

/// Whether a future has to wait, when all else has.
async fn ends_not<F: Future>(future: F) -> bool {
    tokio::time::timeout(Duration::from_millis(1), future)
        .await
        .is_err()
}

#[each_fault]
async fn a_heartbeat_passes_between_the_fragments_of_a_slow_message() {
    for driven in [false, true] {
        let options = Options::new().heartbeat(Heartbeat::default());
        let (mut peer, sender, task) = listening(driven, &options, 1000);
        let mut message = sender.message(Kind::Text).await.unwrap();
        let mut pings = 0;
        for _ in 0..5 {
            message.write("a").await.unwrap();
            sleep(Duration::from_secs(40)).await;
            loop {
                let frame = ends(peer.recv()).await.unwrap().unwrap();
                match frame.opcode {
                    Opcode::Ping => {
                        pings += 1;
                        peer.send(Frame::pong(frame.payload)).await.unwrap();
                        break;
                    }
                    _ => assert!(!frame.fin),
                }
            }
        }
        message.finish().unwrap();
        assert_eq!(pings, 5);
        assert!(!task.is_finished());
    }
}

#[each_fault]
async fn a_peer_that_closes_or_breaks_a_rule_in_a_large_message_has_the_rest_and_the_code() {
    for driven in [false, true] {
        for (bytes, code) in [("88 82 00000000 0fa0", 4000), ("c1 80 00000000", 1002)] {
            let (mut peer, sender, task) = listening(driven, &Options::new(), 1000);
            sender.send(vec![7; 5 << 20]).await.unwrap();
            peer.hex(bytes).await.unwrap();
            settle().await;
            assert!(matches!(sender.send("late").await, Err(Error::Closed)));
            let (messages, told) = read(&mut peer).await;
            assert_eq!((messages[0].len(), told), (5 << 20, Some(code)));
            peer.shutdown().await.unwrap();
            assert_eq!(ends(task).await.unwrap().is_ok(), code == 4000);
        }
    }
}

#[each_fault]
async fn parts_before_the_handshake_of_a_close_are_whole() {
    // The peer has closed when the last part is written, and nobody has seen it yet.
    let script = Script::new().read(masked(&[Frame::close(1000, "")])).eof();
    let (mut ws, log) = server_with(script, &Options::new());
    let mut message = ws.message(Kind::Text).await.unwrap();
    message.write("a").await.unwrap();
    message.finish().unwrap();
    assert_eq!(ends(ws.recv()).await.unwrap(), None::<Message>);
    let frames = Frame::decode_all(&log.written());
    assert_eq!(frames.len(), 3);
    assert_eq!(frames[2], Frame::close(1000, ""));
}
