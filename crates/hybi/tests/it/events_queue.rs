//! The event door, when much is queued: what is not read then, who is told that there is room
//! again, and in which order what many have sent leaves.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::{Context, Poll, Waker};

use hybi::events;
use hybi::test::{Frame, Log, Opcode, Script};
use hybi::{
    Clients, Error, Kind, MessageRef, Options, Prepared, Request, Role, SendError, Server, Stream,
    WebSocket,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::events::{Call, Given, Noted, scripted};
use crate::fault::{self, each_fault};
use crate::support::{Peer, ends, masked, numbers, settle, unmasked};

/// A script whose peer reads only so many bytes.
struct Narrow {
    script: Script,
    gate: Gate,
}

/// Lets the peer of a [`Narrow`] read.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<(usize, Option<Waker>)>>);

/// A script whose peer reads everything, and nothing is kept of it.
struct Wide {
    script: Script,
    /// It takes little the first time that it is asked, and more the second time.
    asked: Option<usize>,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, (usize, Option<Waker>)> {
        self.0.lock().expect("no panic")
    }

    /// The peer reads so many bytes more.
    async fn opens(&self, bytes: usize) {
        let waker = {
            let mut state = self.state();
            state.0 += bytes;
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        settle().await;
    }
}

impl AsyncWrite for Narrow {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let gate = self.gate.clone();
        let mut state = gate.state();
        if state.0 == 0 {
            state.1 = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let n = buf.len().min(state.0);
        state.0 -= n;
        Pin::new(&mut self.script).poll_write(cx, &buf[..n])
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.script).poll_shutdown(cx)
    }
}

impl AsyncWrite for Wide {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(asked) = &mut self.asked else {
            return Poll::Ready(Ok(buf.len()));
        };
        *asked += 1;
        match *asked % 4 {
            1 => Poll::Ready(Ok(buf.len().min(10))),
            3 => Poll::Ready(Ok(buf.len().min(250_000))),
            _ => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.script).poll_shutdown(cx)
    }
}

macro_rules! reads_a_script {
    ($io:ty) => {
        impl AsyncRead for $io {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                Pin::new(&mut self.script).poll_read(cx, buf)
            }
        }
    };
}

reads_a_script!(Narrow);
reads_a_script!(Wide);

/// A server whose peer reads nothing so far.
fn narrow(script: Script, options: &Options) -> (WebSocket, Log, Gate) {
    let (log, gate) = (script.log(), Gate::default());
    let io = Narrow {
        script: fault::script(script),
        gate: gate.clone(),
    };
    let ws = WebSocket::from_stream(Stream::new(io), Role::Server, options, &[]);
    (ws, log, gate)
}

/// A server whose peer reads everything; on the second attempt if it is reluctant, so that it is
/// the driver which finds room.
fn wide(script: Script, reluctant: bool) -> (WebSocket, Log) {
    let log = script.log();
    let asked = reluctant.then_some(0);
    let script = fault::script(script);
    let io = Stream::new(Wide { script, asked });
    let ws = WebSocket::from_stream(io, Role::Server, &Options::new(), &[]);
    (ws, log)
}

/// One read for each of these frames.
fn one_by_one(frames: &[Frame]) -> Script {
    let pieces = frames
        .iter()
        .map(|frame| masked(std::slice::from_ref(frame)));
    pieces.fold(Script::new(), Script::read)
}

/// Answers each message, and each ping, with so many bytes, and gives its sender away.
fn answers_with(bytes: usize) -> (Noted, Given) {
    let given = Given::default();
    let give = given.clone();
    let user = Noted::new(move |peer, call| match call {
        Call::Message(_) | Call::Ping(_) => peer.send(&vec![7; bytes]),
        _ => Ok(()),
    });
    let user = user.opens(move |peer| {
        give.give(peer.sender());
        Ok(())
    });
    (user, given)
}

const KIB: usize = 1024;
const ALL: usize = usize::MAX >> 1;

#[each_fault]
async fn while_64_kib_are_queued_the_connection_is_not_read() {
    let (ws, log, gate) = narrow(one_by_one(&numbers(0..100)), &Options::new());
    let (user, given) = answers_with(10 * KIB);
    let (task, calls) = user.serve(ws);
    settle().await;
    // The seventh answer exceeds 64 KiB.
    assert_eq!(calls.all().last().unwrap(), "message 6");
    assert_eq!(calls.all().len(), 1 + 7);
    let unread = log.unread();
    assert!(unread > 0);
    let sender = given.take();
    assert!((64 * KIB..75 * KIB).contains(&sender.buffered()));
    gate.opens(4 * KIB).await;
    assert_eq!(log.unread(), unread);
    gate.opens(4 * KIB).await;
    assert!(log.unread() < unread);
    assert_eq!(calls.count("drain"), 1);
    assert!((60 * KIB..75 * KIB).contains(&sender.buffered()));
    gate.opens(ALL).await;
    assert_eq!((log.unread(), sender.buffered()), (0, 0));
    assert_eq!(
        calls.all().iter().filter(|call| *call != "drain").count(),
        101
    );
    task.abort();
}

#[each_fault]
async fn what_one_message_has_queued_too_much_is_drained_before_the_next_is_shown() {
    let pings = (0..200).map(|n| Frame::ping(n.to_string()));
    for frames in [numbers(0..200), pings.collect()] {
        let options = Options::new().auto_pong(false);
        let script = Script::new().read(masked(&frames));
        let (ws, _, gate) = narrow(script, &options);
        let (user, given) = answers_with(100 * KIB);
        let (task, calls) = user.serve(ws);
        settle().await;
        let sender = given.take();
        let mut most = 0;
        for n in 1..=420 {
            most = most.max(sender.buffered());
            gate.opens(n * 50 % (100 * KIB)).await;
        }
        gate.opens(ALL).await;
        let shown = calls.all().iter().filter(|call| *call != "drain").count();
        assert_eq!(shown, 1 + 200);
        assert!((200 * KIB..360 * KIB).contains(&most), "{most} bytes");
        assert_eq!(sender.buffered(), 0);
        task.abort();
    }
}

#[tokio::test(start_paused = true)] // gigabytes
async fn no_more_is_queued_or_read_ahead_when_it_is_the_driver_that_finds_room() {
    let frame = || numbers(0..5000);
    let mut script = Script::new();
    for _ in 0..40 {
        script = script.read(masked(&frame()));
    }
    let (ws, log) = wide(script, true);
    let (all, size) = (log.unread(), masked(&frame()).len());
    let most_queued = Arc::new(AtomicUsize::new(0));
    let most_ahead = Arc::new(AtomicUsize::new(0));
    let (queued, ahead, reads) = (most_queued.clone(), most_ahead.clone(), log.clone());
    let user = Noted::new(move |peer, call| {
        if let Call::Message(_) = call {
            peer.send(&vec![7; 60_000])?;
            queued.fetch_max(peer.sender().buffered(), Ordering::Relaxed);
            let shown = peer.state.count * size / 5000;
            let read = all - reads.unread();
            ahead.fetch_max(read.saturating_sub(shown), Ordering::Relaxed);
        }
        Ok(())
    });
    let (task, calls) = user.serve(ws);
    for _ in 0..60 {
        tokio::task::yield_now().await;
    }
    let shown = calls.all().iter().filter(|call| *call != "drain").count();
    assert!(shown > 30, "{shown}");
    let most = most_queued.load(Ordering::Relaxed);
    assert!(
        (256 * KIB..330 * KIB).contains(&most),
        "{most} bytes queued"
    );
    // What one read brings at most.
    let most = most_ahead.load(Ordering::Relaxed);
    assert!(most <= 300 * KIB, "{most} bytes read ahead");
    task.abort();
}

/// Sends messages of this size until there is no room, and goes on when there is.
fn pours(size: usize, count: usize) -> Noted {
    Noted::new(move |peer, call| {
        if !matches!(call, Call::Message(_) | Call::Drain) {
            return Ok(());
        }
        if let Call::Message(_) = call {
            peer.state.count = 0;
        }
        while peer.state.count < count {
            let message = vec![peer.state.count as u8; size];
            let prepared = peer.state.count % 3 == 0;
            let sent = if prepared {
                peer.send_prepared(&Prepared::from(message))
            } else if peer.state.count % 3 == 1 {
                peer.send_owned(message)
            } else {
                peer.send(&message)
            };
            match sent {
                Err(Error::Send(SendError::Full)) => return Ok(()),
                sent => sent?,
            }
            peer.state.count += 1;
        }
        Ok(())
    })
}

fn poured(size: usize, count: usize) -> Vec<u8> {
    let frames = (0..count).map(|n| Frame::binary(vec![n as u8; size]));
    unmasked(&frames.collect::<Vec<_>>())
}

#[each_fault]
async fn who_has_stopped_because_it_was_full_goes_on_when_there_is_room() {
    let small = Options::new().backlog(5000);
    let cases = [
        (Options::new(), 64 * KIB, 40),
        (Options::new(), 3 << 20, 2),
        (small.clone(), 900, 50),
        (small, 9000, 10),
        (Options::new().backlog(0), 100, 10),
    ];
    for (options, size, count) in cases {
        let script = || Script::new().read(masked(&[Frame::text("go")]));
        // A transport that takes everything at once, and one that is slow.
        let (ws, log) = scripted(script(), &options);
        let (task, calls) = pours(size, count).serve(ws);
        settle().await;
        assert!(calls.count("drain") > 0);
        assert_eq!(message_bytes(&log), poured_bytes(size, count), "{size}");
        task.abort();

        let (ws, log, gate) = narrow(script(), &options);
        let (task, _) = pours(size, count).serve(ws);
        settle().await;
        for _ in 0..50 {
            gate.opens(size * count / 45).await;
        }
        gate.opens(ALL).await;
        assert_eq!(message_bytes(&log), poured_bytes(size, count), "{size}");
        task.abort();
    }
    // Only what is larger than a fragment is cut.
    let (ws, log) = scripted(
        Script::new().read(masked(&[Frame::text("go")])),
        &Options::new(),
    );
    let (task, _) = pours(64 * KIB, 40).serve(ws);
    settle().await;
    assert_eq!(log.written(), poured(64 * KIB, 40));
    task.abort();
}

fn message_bytes(log: &Log) -> Vec<(u8, usize)> {
    runs(
        Frame::decode_all(&log.written())
            .iter()
            .flat_map(|frame| frame.payload.iter().copied()),
    )
}

fn poured_bytes(size: usize, count: usize) -> Vec<(u8, usize)> {
    runs((0..count).flat_map(|n| std::iter::repeat_n(n as u8, size)))
}

fn runs(bytes: impl Iterator<Item = u8>) -> Vec<(u8, usize)> {
    let mut runs: Vec<(u8, usize)> = Vec::new();
    for byte in bytes {
        match runs.last_mut() {
            Some((last, length)) if *last == byte => *length += 1,
            _ => runs.push((byte, 1)),
        }
    }
    runs
}

#[each_fault]
async fn a_small_backlog_is_not_full_for_who_sends_less_in_answer_to_one_message() {
    for backlog in [1000, 100_000, 1 << 20] {
        let options = Options::new().backlog(backlog);
        let frames = numbers(0..20);
        for slow in [false, true] {
            let script = Script::new().read(masked(&frames));
            let (ws, log, gate) = narrow(script, &options);
            // Half of it, in pieces.
            let user = Noted::new(move |peer, call| {
                if let Call::Message(_) = call {
                    for _ in 0..5 {
                        peer.send(&vec![7; backlog / 10 - 10])?;
                    }
                }
                Ok(())
            });
            let (task, calls) = user.serve(ws);
            settle().await;
            while slow && calls.all().last().unwrap() != "message 19" {
                gate.opens(backlog / 7).await;
                assert!(!task.is_finished(), "it has failed");
            }
            gate.opens(ALL).await;
            let size = unmasked(&[Frame::binary(vec![7; backlog / 10 - 10])]).len();
            assert_eq!(log.written().len(), 100 * size, "{backlog}");
            task.abort();
        }
    }
}

#[tokio::test(start_paused = true)] // 170 MB
async fn a_connection_that_is_choked_often_is_still_read() {
    let frames = numbers(0..6000);
    let script = frames
        .chunks(10)
        .map(masked)
        .fold(Script::new(), Script::read);
    let (ws, log) = wide(script, true);
    let (user, _) = answers_with(28 * KIB);
    let (task, calls) = user.serve(ws);
    for _ in 0..20_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(log.unread(), 0);
    assert_eq!(calls.count("message 5999"), 1);
    task.abort();
}

#[each_fault]
async fn a_connection_whose_peer_does_not_read_rests() {
    let (ws, _, gate) = narrow(one_by_one(&numbers(0..100)), &Options::new());
    let (user, given) = answers_with(100 * KIB);
    let mut drive = Box::pin(events::drive(ws, Request::new(()), Arc::new(user)));
    let polls = Arc::new(AtomicUsize::new(0));
    let count = polls.clone();
    let task = tokio::spawn(async move {
        poll_fn(|cx| {
            assert!(count.fetch_add(1, Ordering::Relaxed) < 1000, "spins");
            drive.as_mut().poll(cx)
        })
        .await
    });
    settle().await;
    let sender = given.take();
    for _ in 0..10 {
        // Each wakes the driver, and none makes room.
        sender.ping("").unwrap();
        settle().await;
    }
    for _ in 0..10 {
        gate.opens(100).await;
    }
    assert!(!task.is_finished());
    assert!(polls.load(Ordering::Relaxed) < 100);
    task.abort();
}

#[each_fault]
async fn who_flushes_beside_the_driver_in_the_same_task_rests_while_the_peer_does_not_read() {
    let (ws, log, gate) = narrow(one_by_one(&numbers(0..3)), &Options::new());
    let (user, given) = answers_with(100 * KIB);
    let task = tokio::spawn(async move {
        let mut drive = Box::pin(events::drive(ws, Request::new(()), Arc::new(user)));
        let first = poll_fn(|cx| Poll::Ready(drive.as_mut().poll(cx))).await;
        assert!(first.is_pending());
        let sender = given.take();
        let mut both = Box::pin(async { tokio::join!(drive, sender.flush()) });
        let mut polls = 0;
        poll_fn(|cx| {
            polls += 1;
            assert!(polls < 100, "spins");
            both.as_mut().poll(cx)
        })
        .await
    });
    settle().await;
    gate.opens(1000).await;
    assert!(!task.is_finished());
    log.eof();
    gate.opens(ALL).await;
    let (drive, _) = ends(task).await.unwrap();
    drive.unwrap();
}

#[each_fault]
async fn a_handler_that_fills_what_has_drained_lets_other_tasks_have_a_turn() {
    let (ws, _) = wide(Script::new().read(masked(&[Frame::text("go")])), false);
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let user = Noted::new(move |peer, _| {
        let calls = count.fetch_add(1, Ordering::Relaxed);
        assert!(calls < 10_000, "nobody else has had a turn");
        peer.send(&vec![7; 100 * KIB])
    });
    let (task, _) = user.serve(ws);
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
    assert!(!task.is_finished());
    assert!(calls.load(Ordering::Relaxed) > 8);
    task.abort();
}

#[tokio::test(start_paused = true)] // hundreds of MB
async fn a_flood_of_questions_with_long_answers_lets_other_tasks_have_a_turn() {
    let (ws, _) = wide(Script::new().read(masked(&numbers(0..3_000))), false);
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let user = Noted::new(move |peer, call| {
        if let Call::Message(_) = call {
            count.fetch_add(1, Ordering::Relaxed);
            peer.send(&vec![7; 100 * KIB])?;
        }
        Ok(())
    });
    let (task, _) = user.serve(ws);
    tokio::task::yield_now().await;
    assert!(calls.load(Ordering::Relaxed) < 1000);
    for _ in 0..3_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(calls.load(Ordering::Relaxed), 3_000);
    task.abort();
}

#[each_fault]
async fn a_handler_that_has_closed_is_not_told_that_there_is_room_to_send() {
    let frames = [&numbers(0..3)[..], &[Frame::close(1000, "")]].concat();
    let (ws, _) = scripted(Script::new().read(masked(&frames)).eof(), &Options::new());
    let user = Noted::new(|peer, call| match call {
        Call::Message(MessageRef::Text("0")) => {
            peer.send(&vec![7; 300 * KIB])?;
            peer.close(hybi::CloseCode::NORMAL, "")
        }
        Call::Drain => peer.send("more"),
        _ => Ok(()),
    });
    let (task, calls) = user.serve(ws);
    ends(task).await.unwrap().unwrap();
    let shown = ["open", "message 0", "message 1", "message 2"];
    let end = ["close 1000 clean by us", "drop"];
    assert_eq!(calls.all(), [&shown[..], &end].concat());
}

/// A server of this handler, its URL and its clients.
async fn listen(user: Noted) -> (String, Clients) {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let clients = server.clients();
    tokio::spawn(server.serve_events(user));
    (url, clients)
}

#[tokio::test]
async fn what_is_sent_by_different_ways_in_one_call_arrives_in_that_order() {
    for size in [1, 70_000] {
        let clients = Arc::new(OnceLock::<Clients>::new());
        let all = clients.clone();
        let user = Noted::new(move |peer, call| {
            let letter = |c: char| c.to_string().repeat(size);
            if let Call::Message(_) = call {
                peer.send(&letter('a'))?;
                peer.sender().feed(letter('b'))?;
                all.get().expect("it is set").broadcast(letter('c'));
                peer.send(&letter('d'))?;
                peer.send_owned(letter('e'))?;
                peer.send_prepared(&Prepared::from(letter('f')))?;
                all.get().expect("it is set").broadcast(letter('g'));
                peer.sender().feed(letter('h'))?;
            }
            Ok(())
        });
        let (url, known) = listen(user).await;
        clients.set(known).unwrap();
        let mut ws = ends(hybi::connect(&*url)).await.unwrap();
        for _ in 0..10 {
            ends(ws.send("go")).await.unwrap();
            for c in "abcdefgh".chars() {
                let message = ends(ws.recv()).await.unwrap().unwrap();
                assert_eq!(message, c.to_string().repeat(size).into());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn handlers_that_broadcast_to_all_others_do_not_wait_for_each_other() {
    const CLIENTS: usize = 8;
    const EACH: usize = 100;
    let clients = Arc::new(OnceLock::<Clients>::new());
    let all = clients.clone();
    let user = Noted::new(move |peer, call| {
        if let Call::Message(message) = call {
            let all = all.get().expect("it is set");
            let others = all.others(peer.id());
            others.broadcast(message.to_message());
            peer.send(message)?;
        }
        Ok(())
    });
    let (url, known) = listen(user).await;
    clients.set(known.clone()).unwrap();
    let mut talk = Vec::new();
    let ready = Arc::new(tokio::sync::Barrier::new(CLIENTS));
    for client in 0..CLIENTS {
        let (url, ready) = (url.clone(), ready.clone());
        talk.push(tokio::spawn(async move {
            let mut ws = hybi::connect(&*url).await?;
            ws.ping("")?;
            ws.recv_event().await?;
            ready.wait().await;
            let sender = ws.sender();
            tokio::spawn(async move {
                for n in 0..EACH {
                    sender.send(format!("{client} {n}")).await?;
                }
                hybi::Result::Ok(())
            });
            let mut next = [0; CLIENTS];
            while next.iter().any(|next| *next < EACH) {
                let message = ws.recv().await?.expect("it is open");
                let text = message.as_text().expect("text");
                let (from, n) = text.split_once(' ').expect("two numbers");
                let from: usize = from.parse().expect("a number");
                assert_eq!(n.parse(), Ok(next[from]));
                next[from] += 1;
            }
            hybi::Result::Ok(ws)
        }));
    }
    let mut open = Vec::new();
    for talk in talk {
        let guard = std::time::Duration::from_secs(60);
        let ended = tokio::time::timeout(guard, talk).await.expect("hangs");
        open.push(ended.unwrap().unwrap());
    }
}

#[each_fault]
async fn a_task_that_sends_much_and_an_echo_share_a_narrow_connection() {
    for backlog in [300, 1 << 20] {
        let options = Options::new().backlog(backlog);
        let (mut peer, ws) = Peer::of(Role::Server, &options, 64);
        let given = Given::default();
        let give = given.clone();
        let user = Noted::echo().opens(move |peer| {
            give.give(peer.sender());
            Ok(())
        });
        let (task, _) = user.serve(ws);
        settle().await;
        let sender = given.take();
        let bulk = tokio::spawn(async move {
            for n in 0..100_u8 {
                let permit = sender.reserve().await?;
                permit.commit(vec![n; 200]);
                sender.send(vec![n; 200]).await?;
            }
            sender.flush().await
        });
        // The questions never end, but the other task has its turn.
        let (mut asked, mut echoed) = (0, 0);
        let mut bulks = Vec::new();
        let mut rounds = 0;
        while bulks.len() < 200 {
            rounds += 1;
            assert!(rounds < 10_000, "{} of 200 after {rounds}", bulks.len());
            // More would not fit into what the transport holds, and the peer does not read then.
            if asked - echoed < 5 {
                let question = [b'a' + (asked % 26) as u8];
                peer.send(Frame::text(question)).await.unwrap();
                asked += 1;
            }
            let frame = ends(peer.recv()).await.unwrap().unwrap();
            if frame.opcode == Opcode::Text {
                assert_eq!(frame.payload[..], [b'a' + (echoed % 26) as u8]);
                echoed += 1;
            } else {
                bulks.push(frame.payload[0]);
            }
        }
        let expected: Vec<u8> = (0..100).flat_map(|n| [n, n]).collect();
        assert_eq!(bulks, expected);
        task.abort();
        let _ = bulk.await;
    }
}

#[each_fault]
async fn what_the_handler_sends_does_not_get_into_a_message_in_parts_of_another_task() {
    let (mut peer, ws) = Peer::client();
    let given = Given::default();
    let give = given.clone();
    let user = Noted::echo().opens(move |peer| {
        give.give(peer.sender());
        Ok(())
    });
    let (task, calls) = user.serve(ws);
    settle().await;
    let sender = given.take();
    let parts = tokio::spawn(async move {
        let mut writer = sender.message(Kind::Binary).await?;
        for n in 0..10 {
            writer.write(vec![n; 100]).await?;
            settle().await;
        }
        writer.finish()
    });
    let mut frames = Vec::new();
    for n in numbers(0..10) {
        peer.send(n).await.unwrap();
        peer.send(Frame::ping("p")).await.unwrap();
        settle().await;
    }
    ends(parts).await.unwrap().unwrap();
    settle().await;
    assert_eq!(calls.all().len(), 1 + 20);
    peer.send(Frame::close(1000, "")).await.unwrap();
    while let Some(frame) = ends(peer.recv()).await.unwrap() {
        frames.push(frame);
    }
    let data = frames.iter().filter(|frame| !frame.opcode.is_control());
    let data: Vec<_> = data.collect();
    let first = data.iter().position(|frame| !frame.fin).unwrap();
    let last = data
        .iter()
        .rposition(|frame| frame.opcode == Opcode::Continuation)
        .unwrap();
    let between = &data[first + 1..=last];
    assert!(between.len() > 1);
    assert!(
        between
            .iter()
            .all(|frame| frame.opcode == Opcode::Continuation)
    );
    let texts = data.iter().filter(|frame| frame.opcode == Opcode::Text);
    assert!(texts.map(|frame| (*frame).clone()).eq(numbers(0..10)));
    assert_eq!(
        frames
            .iter()
            .filter(|frame| **frame == Frame::pong("p"))
            .count(),
        10
    );
    drop(peer);
    ends(task).await.unwrap().unwrap();
}

#[each_fault]
async fn a_handler_that_floods_behind_a_message_in_parts_waits_for_its_end() {
    let (ws, log, gate) = narrow(Script::new(), &Options::new());
    gate.opens(ALL).await;
    let (user, given) = answers_with(100 * KIB);
    let (task, calls) = user.serve(ws);
    settle().await;
    let sender = given.take();
    let mut writer = sender.message(Kind::Text).await.unwrap();
    writer.write("begun").await.unwrap();
    log.read(masked(&numbers(0..100)));
    settle().await;
    assert!(sender.buffered() <= 360 * KIB);
    assert!(calls.all().len() < 10);
    writer.finish().unwrap();
    settle().await;
    assert_eq!(calls.count("message 99"), 1);
    assert_eq!(sender.buffered(), 0);
    task.abort();
}

#[each_fault]
async fn a_message_is_shown_with_what_came_before_a_close_although_it_is_choked() {
    let mut frames = numbers(0..50);
    frames.push(Frame::close(1000, ""));
    let (ws, log, gate) = narrow(Script::new().read(masked(&frames)).eof(), &Options::new());
    let (user, _) = answers_with(100 * KIB);
    let (task, calls) = user.serve(ws);
    settle().await;
    for _ in 0..60 {
        gate.opens(100 * KIB).await;
    }
    gate.opens(ALL).await;
    ends(task).await.unwrap().unwrap();
    assert_eq!(calls.count("message 49"), 1);
    let end = ["close 1000 clean by peer", "drop"].map(String::from);
    assert!(calls.all().ends_with(&end));
    let answers = Frame::decode_all(&log.written());
    assert_eq!(answers.len(), 51);
    assert_eq!(answers[50], Frame::close(1000, ""));
}

#[each_fault]
async fn a_handler_that_is_choked_is_told_of_an_abort_and_of_a_close() {
    for abort in [false, true] {
        let (ws, log, gate) = narrow(one_by_one(&numbers(0..100)), &Options::new());
        let (user, given) = answers_with(300 * KIB);
        let (task, calls) = user.serve(ws);
        settle().await;
        let sender = given.take();
        if abort {
            sender.abort();
        } else {
            sender.start_close(hybi::CloseCode::NORMAL, "").unwrap();
            settle().await;
            gate.opens(ALL).await;
            log.read(masked(&[Frame::close(1000, "")]));
            log.eof();
        }
        ends(task).await.unwrap().unwrap();
        assert_eq!(calls.count("drop"), 1);
        let is_close = |call: &&String| call.starts_with("close");
        assert_eq!(calls.all().iter().filter(is_close).count(), 1);
    }
}

#[each_fault]
async fn a_handler_sends_what_it_is_shown_as_text_or_as_bytes() {
    let frames = [Frame::text("é"), Frame::binary([0xff])];
    let (ws, log) = scripted(Script::new().read(masked(&frames)), &Options::new());
    let user = Noted::new(|peer, call| match call {
        Call::Message(MessageRef::Text(text)) => peer.send(text),
        Call::Message(MessageRef::Binary(bytes)) => peer.send(bytes),
        _ => Ok(()),
    });
    let (task, _) = user.serve(ws);
    settle().await;
    assert_eq!(log.written(), unmasked(&frames));
    task.abort();
}
