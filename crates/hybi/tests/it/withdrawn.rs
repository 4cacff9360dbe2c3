//! The calls of policies, of prepared messages and of a server's end, dropped at every poll: the
//! stream decodes, nothing comes twice, what must not be dropped comes in order, and the counts
//! add up.
//!
//! As in `cancel`, the transports are pending before every byte.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use hybi::test::{Frame, Log, Script};
use hybi::{
    Clients, CloseCode, Error, Message, Options, Overflow, Prepared, Request, Sender, Server,
    Stats, WebSocket, drive,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::cancel::poll_times;
use crate::fault::each_fault;
use crate::support::{ends, masked, numbers, server, server_with, unmasked};

/// A sender and who sees to the rest: a receiver that does nothing, or a driver.
struct Hands {
    sender: Sender<Script>,
    log: Log,
    task: JoinHandle<hybi::Result<()>>,
}

async fn hands(driven: bool, backlog: usize) -> Hands {
    let options = Options::new().backlog(backlog);
    let (ws, log) = server_with(Script::new().trickle(), &options);
    let (give, take) = oneshot::channel();
    let handler = async |ws: WebSocket<Script>| {
        let (sender, _receiver) = ws.split();
        let _ = give.send(sender);
        std::future::pending().await
    };
    let task = tokio::spawn(async move {
        match driven {
            true => drive(ws, handler).await,
            false => handler(ws).await,
        }
    });
    let sender = take.await.unwrap();
    Hands { sender, log, task }
}

impl Hands {
    /// Flushes, and gives all that was written, which is whole frames and nothing else.
    async fn written(self) -> (Vec<Frame>, Stats) {
        ends(self.sender.flush()).await.unwrap();
        let (written, stats) = (self.log.written(), self.sender.stats());
        self.task.abort();
        let frames = Frame::decode_all(&written);
        assert_eq!(unmasked(&frames), written);
        assert_eq!(
            (stats.buffered, stats.bytes_sent),
            (0, written.len() as u64)
        );
        (frames, stats)
    }
}

fn counted(stats: &Stats) -> u64 {
    let dropped = stats.dropped;
    dropped.newest + dropped.oldest + dropped.conflated + dropped.closed
}

#[each_fault]
async fn send_prepared_dropped_at_every_poll_has_queued_the_whole_message_or_nothing() {
    for driven in [false, true] {
        for polls in 0..60 {
            let hands = hands(driven, 100).await;
            let mut expected = Vec::new();
            for frame in numbers(0..40) {
                let message = Prepared::text(String::from_utf8(frame.payload.to_vec()).unwrap());
                let before = hands.sender.buffered();
                match poll_times(hands.sender.send_prepared(&message), polls) {
                    Some(sent) => {
                        sent.unwrap();
                        expected.push(frame);
                    }
                    None => assert!(hands.sender.buffered() <= before),
                }
                tokio::task::yield_now().await;
            }
            assert!(polls == 0 || expected.len() > 20);
            let (frames, stats) = hands.written().await;
            assert_eq!(frames, expected);
            assert_eq!(stats.messages_sent, expected.len() as u64);
        }
    }
}

const KINDS: usize = 6;

/// What message `n` is about: its kind, its number, and a tail that makes lengths differ.
fn said(n: usize) -> String {
    format!("{} {n} {}", n % KINDS, "x".repeat(n % 50))
}

fn number(frame: &Frame) -> usize {
    let text = std::str::from_utf8(&frame.payload).unwrap();
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

/// One after the other: `send` under each policy, `reserve`, and `flush`, each dropped after so
/// many polls. Gives the numbers of those that must arrive, and of all that were taken.
async fn say_all(sender: &Sender<Script>, polls: usize) -> (Vec<usize>, Vec<usize>) {
    let policies = [
        Overflow::Wait,
        Overflow::DropNewest,
        Overflow::DropOldest,
        Overflow::Conflate("key".into()),
    ];
    let policies = policies.map(|policy| sender.clone().overflow(policy));
    let (mut kept, mut taken) = (Vec::new(), Vec::new());
    for n in 0..300 {
        let newest = sender.stats().dropped.newest;
        let kind = n % KINDS;
        let done = match kind {
            // With prepared ones among them.
            0..4 if n % 5 == 0 => {
                poll_times(policies[kind].send_prepared(&said(n).into()), polls).map(Result::unwrap)
            }
            0..4 => poll_times(policies[kind].send(said(n)), polls).map(Result::unwrap),
            4 => poll_times(sender.reserve(), polls).map(|permit| permit.unwrap().commit(said(n))),
            _ => {
                let _ = poll_times(sender.flush(), polls);
                tokio::task::yield_now().await;
                None
            }
        };
        if done.is_some() {
            taken.push(n);
            let keeps =
                matches!(kind, 0 | 4) || kind == 1 && sender.stats().dropped.newest == newest;
            kept.extend(keeps.then_some(n));
        }
    }
    (kept, taken)
}

#[each_fault]
async fn calls_under_each_policy_dropped_at_every_poll_keep_order_and_count() {
    let mut seen = hybi::Dropped::default();
    for driven in [false, true] {
        for polls in (0..20).chain([50, 100, 200, 400]) {
            let hands = hands(driven, 1000).await;
            let (kept, taken) = say_all(&hands.sender, polls).await;
            assert!(polls == 0 || taken.len() > 130);
            let (frames, stats) = hands.written().await;
            let came: Vec<_> = frames.iter().map(number).collect();
            for (frame, n) in frames.iter().zip(&came) {
                assert_eq!(*frame, Frame::text(said(*n)));
                assert!(taken.contains(n), "{n} was given back, and came");
            }
            // Each kind in its order, so that none comes twice.
            for kind in 0..KINDS {
                let of_kind: Vec<_> = came.iter().filter(|n| *n % KINDS == kind).collect();
                assert!(of_kind.windows(2).all(|two| two[0] < two[1]), "{of_kind:?}");
            }
            let those_kept: Vec<_> = came
                .iter()
                .copied()
                .filter(|n| kept.binary_search(n).is_ok())
                .collect();
            assert_eq!(those_kept, kept);
            assert_eq!(stats.messages_sent, came.len() as u64);
            assert_eq!(came.len() as u64 + counted(&stats), taken.len() as u64);
            seen.newest += stats.dropped.newest;
            seen.oldest += stats.dropped.oldest;
            seen.conflated += stats.dropped.conflated;
        }
    }
    assert!(
        seen.newest > 0 && seen.oldest > 0 && seen.conflated > 0,
        "{seen:?}"
    );
}

#[each_fault]
async fn send_under_close_dropped_at_every_poll_says_1013_behind_whole_messages() {
    for driven in [false, true] {
        for polls in 0..40 {
            let hands = hands(driven, 1000).await;
            let strict = hands.sender.clone().overflow(Overflow::Close);
            let (mut taken, mut refused) = (0, 0);
            for n in 0..100 {
                match poll_times(strict.send(said(n)), polls) {
                    Some(Ok(())) => taken += 1,
                    Some(Err(Error::Closed)) => refused += 1,
                    None => assert_eq!(polls, 0),
                    Some(Err(error)) => panic!("{error}"),
                }
                let _ = poll_times(hands.sender.flush(), polls / 4);
            }
            let (mut frames, stats) = hands.written().await;
            if refused > 0 {
                let close = frames.pop().unwrap().close_reason().unwrap();
                assert_eq!(close.0, CloseCode::TRY_AGAIN_LATER);
            }
            let expected: Vec<_> = (0..frames.len()).map(|n| Frame::text(said(n))).collect();
            assert_eq!(frames, expected);
            // The one that has closed is counted, and was refused.
            let closed = stats.dropped.closed - u64::from(refused > 0);
            assert_eq!(stats.messages_sent + closed, taken);
            assert!(polls != 1 || refused > 0);
        }
    }
}

/// Queues until messages wait unframed, and waits for room behind them.
#[each_fault]
async fn reserve_behind_unframed_messages_dropped_at_every_poll_gives_its_turn_back() {
    for driven in [false, true] {
        for polls in (1..20).chain([100, 500]) {
            let hands = hands(driven, 1000).await;
            let lenient = hands.sender.clone().overflow(Overflow::DropNewest);
            let (mut queued, mut committed) = (0, 0);
            for round in 0..40 {
                let before = lenient.stats().dropped.newest;
                while lenient.stats().dropped.newest == before {
                    lenient.feed(said(0)).unwrap();
                    queued += 1;
                }
                queued -= 1;
                match poll_times(hands.sender.reserve(), polls) {
                    Some(permit) if round % 2 == 0 => {
                        permit.unwrap().commit("reserved");
                        committed += 1;
                    }
                    _ => {}
                }
                tokio::task::yield_now().await;
            }
            let sender = hands.sender.clone();
            let (frames, stats) = hands.written().await;
            let reserved = Frame::text("reserved");
            assert_eq!(
                frames.iter().filter(|frame| **frame == reserved).count(),
                committed
            );
            assert_eq!(frames.len(), queued + committed);
            assert_eq!(stats.dropped.newest, 40);
            // The turn is free again.
            sender.feed("free").unwrap();
        }
    }
}

#[each_fault]
async fn a_round_trip_dropped_at_every_poll_disturbs_nothing() {
    for polls in 0..60 {
        let mut said: Vec<_> = (0..5).map(|n| Frame::pong(n.to_string())).collect();
        said.insert(2, Frame::text("between"));
        said.push(Frame::close(1000, ""));
        let (mut ws, log) = server(Script::new().read(masked(&said)).eof().trickle());
        let sender = ws.sender();
        let pings: Vec<_> = (0..5)
            .map(|n| sender.ping(n.to_string()).unwrap())
            .collect();
        let mut told = 0;
        for ping in pings {
            let mut ping = pin!(ping);
            for _ in 0..polls {
                told += usize::from(poll_times(ping.as_mut(), 1).is_some_and(|told| told.is_ok()));
                if poll_times(ws.recv(), 1).is_some() || told > 0 {
                    break;
                }
            }
        }
        while ends(ws.recv()).await.unwrap().is_some() {}
        assert!(ws.stats().round_trip.is_some());
        assert_eq!(ws.stats().messages_received, 1);
        let mut expected: Vec<_> = (0..5).map(|n| Frame::ping(n.to_string())).collect();
        expected.push(Frame::close(1000, ""));
        assert_eq!(Frame::decode_all(&log.written()), expected);
    }
}

/// Runs a future until it has been polled so many times, then drops it.
async fn at_most<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        let polled = future.as_mut().poll(cx).map(Some);
        if left == 0 && polled.is_pending() {
            return Poll::Ready(None);
        }
        polled
    })
    .await
}

/// Reads to the end: numbers without a gap, up to the last one, and then 1001.
async fn hears_all(mut client: WebSocket, last: u32) {
    let mut heard = Vec::new();
    while let Some(message) = ends(client.recv()).await.unwrap() {
        heard.push(message.as_text().unwrap().parse::<u32>().unwrap());
    }
    let expected: Vec<_> = (0..=last).collect();
    assert_eq!(heard, expected);
    assert_eq!(client.close_info().unwrap().code, CloseCode::GOING_AWAY);
}

fn say(clients: &Clients, next: &mut u32) {
    clients.broadcast(next.to_string());
    *next += 1;
}

/// Three clients of a server that is dropped after so many polls, or told to end by one that is.
#[tokio::test]
async fn a_server_dropped_at_every_poll_while_it_broadcasts_leaves_whole_streams() {
    for polls in 1..12 {
        let server = Server::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", server.local_addr().unwrap());
        let (clients, handle) = (server.clients(), server.handle());
        let (entered, mut entering) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let (cut, is_cut) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            let mut serving = Box::pin(server.serve_until(
                move |mut ws: WebSocket, _request: Request<()>| {
                    entered.send(()).unwrap();
                    async move {
                        while ws.recv().await?.is_some() {}
                        Ok(())
                    }
                },
                async { stopped.await.unwrap() },
            ));
            tokio::select! {
                report = &mut serving => panic!("{report:?}"),
                _ = is_cut => {}
            }
            let report = at_most(polls, serving).await;
            report.transpose().unwrap()
        });
        let mut open = Vec::new();
        for _ in 0..3 {
            open.push(hybi::connect(&*url).await.unwrap());
            ends(entering.recv()).await.unwrap();
        }
        let mut next = 0;
        say(&clients, &mut next);
        tokio::task::yield_now().await;
        say(&clients, &mut next);
        say(&clients, &mut next);
        let last = next - 1;
        let readers: Vec<_> = open
            .into_iter()
            .map(|client| tokio::spawn(hears_all(client, last)))
            .collect();
        stop.send(()).unwrap();
        cut.send(()).unwrap();
        let ended = at_most(polls, handle.shutdown(())).await;
        say(&clients, &mut next);
        // Who was cut off calls again.
        let report = ends(handle.shutdown(())).await.unwrap();
        assert_eq!(report.aborted, 0);
        if let Some(ended) = ended {
            assert_eq!(ended.unwrap().aborted, 0);
        }
        for reader in readers {
            ends(reader).await.unwrap();
        }
        assert!(clients.is_empty());
        ends(serving).await.unwrap();
    }
}

/// Nobody of them is told to end: what is broadcast while the server goes reaches all.
#[tokio::test]
async fn a_server_that_was_dropped_leaves_its_connections_to_the_broadcasts() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let (clients, handle) = (server.clients(), server.handle());
    let (entered, mut entering) = mpsc::unbounded_channel();
    let serving = tokio::spawn(server.serve_until(
        move |mut ws: WebSocket, _request: Request<()>| {
            entered.send(()).unwrap();
            async move {
                while ws.recv().await?.is_some() {}
                Ok(())
            }
        },
        std::future::pending::<()>(),
    ));
    let client = hybi::connect(&*url).await.unwrap();
    ends(entering.recv()).await.unwrap();
    let mut next = 0;
    say(&clients, &mut next);
    serving.abort();
    say(&clients, &mut next);
    assert!(serving.await.unwrap_err().is_cancelled());
    say(&clients, &mut next);
    let reader = tokio::spawn(hears_all(client, next - 1));
    let report = ends(handle.shutdown(())).await.unwrap();
    assert_eq!((report.closed, report.aborted), (1, 0));
    ends(reader).await.unwrap();
}

#[each_fault]
async fn a_message_is_sent_once_whether_it_was_prepared_or_not() {
    let hands = hands(false, 1 << 20).await;
    let large = Message::from(vec![1; 20_000]);
    hands.sender.feed(large.clone()).unwrap();
    ends(hands.sender.send_prepared(&Prepared::new(large)))
        .await
        .unwrap();
    let (frames, _) = hands.written().await;
    let large = Frame::binary(vec![1; 20_000]);
    assert_eq!(frames, [large.clone(), large]);
}
