//! Slow peers: what a sender's policy does with messages, on driven connections and others.

use hybi::test::Frame;
use hybi::{Error, Message, Options, Overflow, Role, SendError, State, Timeout, WebSocket, drive};
use tokio::task::JoinHandle;

use crate::fault::each_fault;
use crate::support::{Peer, ends, settle};

/// Room for a handful of messages; the transport holds less than one.
pub(crate) const BACKLOG: usize = 2000;
pub(crate) const SIZE: usize = 100;

pub(crate) fn options() -> Options {
    Options::new().backlog(BACKLOG)
}

/// A server whose peer reads nothing yet, with the task that sees to it.
pub(crate) fn stuck(driven: bool) -> (Peer, hybi::Sender, JoinHandle<hybi::Result<()>>) {
    let (peer, ws) = Peer::of(Role::Server, &options(), 64);
    let sender = ws.sender();
    let receive = async |mut ws: WebSocket| {
        while ws.recv().await?.is_some() {}
        Ok(())
    };
    let task = tokio::spawn(async move {
        if driven {
            drive(ws, receive).await
        } else {
            receive(ws).await
        }
    });
    (peer, sender, task)
}

pub(crate) fn numbered(number: u8) -> Message {
    vec![number; SIZE].into()
}

/// Reads until the close frame; the numbers of the messages, and the code.
pub(crate) async fn read(peer: &mut Peer) -> (Vec<u8>, u16) {
    let mut numbers = Vec::new();
    loop {
        let frame = ends(peer.recv()).await.unwrap().expect("a close frame");
        match &frame.payload[..] {
            payload if payload.len() == SIZE => numbers.push(payload[0]),
            [a, b, ..] => return (numbers, u16::from_be_bytes([*a, *b])),
            payload => panic!("{payload:?}"),
        }
    }
}

#[each_fault]
async fn drop_newest_never_waits_and_what_was_queued_arrives() {
    for driven in [false, true] {
        let (mut peer, sender, task) = stuck(driven);
        let sender = sender.overflow(Overflow::DropNewest);
        for number in 0..100 {
            ends(sender.send(numbered(number))).await.unwrap();
        }
        let stats = sender.stats();
        let queued = 100 - u8::try_from(stats.dropped.newest).unwrap();
        assert!((5..30).contains(&queued), "{stats:?}");
        sender.start_close(hybi::CloseCode::NORMAL, "").unwrap();
        assert_eq!(read(&mut peer).await, (Vec::from_iter(0..queued), 1000));
        peer.send(Frame::close(1000, "")).await.unwrap();
        ends(task).await.unwrap().unwrap();
    }
}

#[each_fault]
async fn drop_oldest_never_waits_and_the_latest_arrive() {
    for driven in [false, true] {
        let (mut peer, sender, task) = stuck(driven);
        let sender = sender.overflow(Overflow::DropOldest);
        for number in 0..100 {
            sender.feed(numbered(number)).unwrap();
        }
        sender.start_close(hybi::CloseCode::NORMAL, "").unwrap();
        let (numbers, code) = read(&mut peer).await;
        let dropped = sender.stats().dropped.oldest;
        assert_eq!((numbers.len() as u64 + dropped, code), (100, 1000));
        assert_eq!(numbers.last(), Some(&99));
        assert!(numbers.is_sorted());
        peer.send(Frame::close(1000, "")).await.unwrap();
        ends(task).await.unwrap().unwrap();
    }
}

#[each_fault]
async fn conflation_brings_the_latest_of_each_key() {
    for driven in [false, true] {
        let (mut peer, sender, task) = stuck(driven);
        let keys = ["a", "b", "c"].map(|key| {
            let policy = Overflow::Conflate(key.into());
            sender.clone().overflow(policy)
        });
        for number in 0..99 {
            let key = &keys[usize::from(number) % 3];
            key.send(numbered(number)).await.unwrap();
        }
        sender.start_close(hybi::CloseCode::NORMAL, "").unwrap();
        let (numbers, _) = read(&mut peer).await;
        let dropped = sender.stats().dropped;
        assert_eq!(numbers.len() as u64 + dropped.conflated, 99);
        assert_eq!(dropped.oldest + dropped.newest, 0);
        let mut last: Vec<_> = numbers[numbers.len() - 3..].to_vec();
        last.sort_unstable();
        assert_eq!(last, [96, 97, 98]);
        peer.send(Frame::close(1000, "")).await.unwrap();
        ends(task).await.unwrap().unwrap();
    }
}

#[each_fault]
async fn close_tells_a_slow_peer_1013_and_gives_it_up_at_the_deadline() {
    for driven in [false, true] {
        for peer_reads in [true, false] {
            let (mut peer, sender, task) = stuck(driven);
            let strict = sender.clone().overflow(Overflow::Close);
            let mut sent = 0;
            let error = loop {
                match ends(strict.send(numbered(sent))).await {
                    Ok(()) => sent += 1,
                    Err(error) => break error,
                }
            };
            assert!(matches!(error, Error::Closed), "{error:?}");
            assert_eq!(sender.state(), State::Closing);
            assert!(sender.buffered() < BACKLOG / 2 + 2 * SIZE);
            assert!(sender.stats().dropped.closed > 1);
            assert!(matches!(sender.feed("more"), Err(Error::Closed)));
            if peer_reads {
                let (numbers, code) = read(&mut peer).await;
                assert_eq!(code, 1013);
                assert_eq!(numbers, Vec::from_iter(0..numbers.len() as u8));
                peer.send(Frame::close(1013, "")).await.unwrap();
                ends(task).await.unwrap().unwrap();
            } else {
                let error = ends(task).await.unwrap().unwrap_err();
                assert!(matches!(error, Error::Timeout(Timeout::Close)), "{error:?}");
                assert_eq!(sender.buffered(), 0);
            }
        }
    }
}

#[each_fault(counts)]
async fn who_waits_for_room_gets_it_beside_a_flood_that_drops() {
    for driven in [false, true] {
        let (mut peer, sender, _task) = stuck(driven);
        let flood = sender.clone().overflow(Overflow::DropOldest);
        for number in 0..100 {
            flood.feed(numbered(number)).unwrap();
        }
        let waiting = tokio::spawn(async move { sender.send(numbered(200)).await });
        settle().await;
        assert!(!waiting.is_finished());
        let mut seen = Vec::new();
        for _ in 0..60 {
            flood.feed(numbered(100)).unwrap();
            flood.feed(numbered(101)).unwrap();
            let frame = ends(peer.recv()).await.unwrap().expect("a message");
            seen.push(frame.payload[0]);
        }
        ends(waiting).await.unwrap().unwrap();
        assert!(seen.contains(&200), "{seen:?}");
    }
}

#[each_fault]
async fn feed_under_wait_answers_full_while_others_drop() {
    let (_peer, sender, _task) = stuck(true);
    let flood = sender.clone().overflow(Overflow::DropOldest);
    for number in 0..100 {
        flood.feed(numbered(number)).unwrap();
    }
    let full = sender.feed(numbered(100));
    assert!(
        matches!(full, Err(Error::Send(SendError::Full))),
        "{full:?}"
    );
}
