//! What becomes of a connection while another thread compresses its message.
//!
//! The runtime of these tests has one thread for what blocks, and a gate before it: what is to be
//! compressed there waits until the gate is opened.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use hybi::{
    Backoff, Bytes, CloseCode, Error, Kind, Message, Options, Overflow, Prepared, Server,
    WebSocket, accept, connect, drive,
};
use tokio::io::{BufStream, duplex};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{spawn_blocking, yield_now};

use crate::cancel::poll_times;
use crate::deflate::{deflating, noise, prose};
use crate::support::{echo, ends, pair_with};

const SECOND: Duration = Duration::from_secs(1);

/// Nothing is compressed on another thread until it is opened or gone.
struct Gate(mpsc::Sender<()>);

impl Gate {
    fn close() -> Self {
        let (gate, opened) = mpsc::channel::<()>();
        spawn_blocking(move || opened.recv());
        Self(gate)
    }

    fn open(self) {
        drop(self.0);
    }
}

/// Runs a test that closes the gate, on a paused clock, which stands still while it is closed.
fn gated(test: impl Future<Output = ()>) {
    run(true, test);
}

fn run(paused: bool, test: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(paused)
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(test);
}

async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}

fn both() -> (WebSocket, WebSocket) {
    pair_with(&deflating(), &deflating(), 64 << 10)
}

/// A payload that tells when it is gone.
struct Told(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Told {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn under_a_policy_a_send_does_not_wait_for_its_compression() {
    gated(async move {
        let gate = Gate::close();
        let (ours, mut theirs) = both();
        let sender = ours.sender().overflow(Overflow::DropOldest);
        assert!(poll_times(sender.send(prose(200_000)), 1).is_some());
        assert!(poll_times(sender.send("next"), 1).is_some());
        assert!(poll_times(ours.sender().flush(), 3).is_none());
        gate.open();
        ends(ours.sender().flush()).await.unwrap();
        let seen = ends(theirs.recv()).await.unwrap();
        assert_eq!(seen, Some(prose(200_000).into()));
        assert_eq!(ends(theirs.recv()).await.unwrap(), Some("next".into()));
    });
}

#[test]
fn what_waits_for_its_turn_goes_with_the_connection() {
    gated(async move {
        let gate = Gate::close();
        let options = deflating().deflate_concurrency(1);
        let gone = Arc::new(AtomicUsize::new(0));
        let mut all = Vec::new();
        for n in 0..3 {
            let (ours, theirs) = pair_with(&options, &options, 64 << 10);
            let payload = Bytes::from_owner(Told(noise(100_000), gone.clone()));
            ours.sender().feed(payload).unwrap();
            assert!(poll_times(ours.sender().flush(), 1).is_none());
            settle().await;
            if n < 2 {
                all.push((ours, theirs));
            } else {
                // It is driven, and its driver is dropped.
                let task = tokio::spawn(drive(ours, |_ws| std::future::pending()));
                settle().await;
                task.abort();
                let _ = task.await;
                drop(theirs);
            }
        }
        settle().await;
        assert_eq!(gone.load(Ordering::Relaxed), 1, "the driven one");
        let (first, second) = (all.remove(0), all.remove(0));
        second.0.sender().abort();
        settle().await;
        assert_eq!(gone.load(Ordering::Relaxed), 2, "the one that was aborted");
        drop(first);
        settle().await;
        // The turn of what already stands before the gate ends with it, and not before.
        let (ours, mut theirs) = pair_with(&options, &options, 64 << 10);
        ours.sender().feed(prose(100_000)).unwrap();
        assert!(poll_times(ours.sender().flush(), 1).is_none());
        settle().await;
        gate.open();
        ends(ours.sender().flush()).await.unwrap();
        let seen = ends(theirs.recv()).await.unwrap();
        assert_eq!(seen, Some(prose(100_000).into()));
        assert_eq!(gone.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn no_one_waits_for_a_job_of_a_connection_that_has_ended() {
    gated(async move {
        let gate = Gate::close();
        for driven in [false, true] {
            let (ours, theirs) = both();
            let sender = ours.sender();
            let task = driven.then(|| {
                tokio::spawn(drive(ours, |mut ws| async move {
                    ws.recv().await?;
                    Ok(())
                }))
            });
            sender.feed(prose(200_000)).unwrap();
            let waiting = [sender.clone(), sender.clone()].map(|sender| {
                tokio::spawn(async move {
                    sender.send("behind").await?;
                    sender.flush().await
                })
            });
            settle().await;
            sender.abort();
            for one in waiting {
                let ended = ends(one).await.unwrap();
                assert!(matches!(ended, Err(Error::Closed)), "{ended:?}");
            }
            assert!(ends(sender.flush()).await.is_err());
            if let Some(task) = task {
                let _ = ends(task).await.unwrap();
            }
            drop(theirs);
        }
        gate.open();
    });
}

#[test]
fn a_close_does_not_wait_for_a_part_that_was_given_up() {
    gated(async move {
        let gate = Gate::close();
        for begun in [false, true] {
            let (mut ours, mut theirs) = both();
            let mut writer = ours.message(Kind::Text).await.unwrap();
            if begun {
                writer.write(prose(300)).await.unwrap();
            }
            writer.write(prose(200_000)).await.unwrap();
            drop(writer);
            let closing = async {
                let _ = ours.close(CloseCode::NORMAL, "").await;
            };
            let (_, seen) = tokio::join!(ends(closing), ends(theirs.recv()));
            match seen {
                Ok(None) => {}
                other => panic!("{other:?}"),
            }
            let code = theirs.close_info().unwrap().code;
            let expected = if begun {
                CloseCode::INTERNAL
            } else {
                CloseCode::NORMAL
            };
            assert_eq!(code, expected);
        }
        gate.open();
    });
}

#[test]
fn what_was_written_is_flushed_while_another_thread_compresses() {
    gated(async move {
        let gate = Gate::close();
        let (a, b) = duplex(64 << 10);
        let client = connect("ws://a/").options(deflating()).over(a);
        let server = accept(BufStream::new(b)).options(deflating());
        let (mut ours, theirs) = {
            let (ours, theirs) = tokio::join!(client, server.into_future());
            (ours.unwrap(), theirs.unwrap())
        };
        let task = tokio::spawn(drive(theirs, |mut ws| async move {
            ws.feed(prose(200_000))?;
            ws.recv().await?;
            Ok(())
        }));
        settle().await;
        let trip = ours.ping("").unwrap();
        let pong = async move {
            tokio::select! {
                trip = trip => drop(trip.unwrap()),
                seen = ours.recv() => panic!("{seen:?}"),
            }
        };
        // The clock stands still: a hang is found by counting.
        let pong = tokio::spawn(pong);
        settle().await;
        assert!(pong.is_finished(), "the pong waits for a job");
        gate.open();
        pong.await.unwrap();
        task.abort();
    });
}

#[test]
fn no_deadline_of_writing_passes_while_another_thread_compresses() {
    gated(async move {
        let gate = Gate::close();
        for driven in [false, true] {
            let options = deflating().write_timeout(SECOND);
            let (ours, theirs) = pair_with(&options, &deflating(), 64 << 10);
            let sender = ours.sender();
            let rest = driven.then(|| {
                tokio::spawn(drive(ours, |mut ws| async move {
                    ws.recv().await?;
                    Ok(())
                }))
            });
            let mut writer = sender.message(Kind::Text).await.unwrap();
            writer.write(prose(200_000)).await.unwrap();
            let flushing = sender.clone();
            let flushing = tokio::spawn(async move { flushing.flush().await });
            settle().await;
            tokio::time::advance(10 * SECOND).await;
            settle().await;
            assert!(!flushing.is_finished());
            assert_eq!(sender.state(), hybi::State::Open);
            writer.finish().unwrap();
            flushing.abort();
            drop((rest, theirs));
        }
        gate.open();
    });
}

#[test]
fn a_close_that_waits_for_a_job_ends_with_its_deadline() {
    gated(async move {
        let gate = Gate::close();
        let options = deflating().close_timeout(SECOND);
        let (mut ours, theirs) = pair_with(&options, &deflating(), 64 << 10);
        ours.feed(prose(200_000)).unwrap();
        let closing = tokio::spawn(async move { ours.close(CloseCode::NORMAL, "").await });
        settle().await;
        tokio::time::advance(2 * SECOND).await;
        settle().await;
        assert!(closing.is_finished());
        closing.await.unwrap().unwrap_err();
        drop(theirs);
        gate.open();
    });
}

#[test]
fn outside_of_a_runtime_a_long_message_is_compressed_where_it_is_sent() {
    gated(async move {
        let gate = Gate::close();
        let (ours, mut theirs) = both();
        let sender = ours.sender();
        let permit = sender.reserve().await.unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| permit.commit(prose(100_000)));
        });
        assert_eq!(sender.buffered(), 0);
        let seen = ends(theirs.recv()).await.unwrap();
        assert_eq!(seen, Some(prose(100_000).into()));
        gate.open();
    });
}

#[test]
fn a_runtime_that_ends_takes_its_jobs_along_and_the_connection_is_closed() {
    let runtime = || Runtime::new().unwrap();
    let (ours, mut theirs) = both();
    let sender = ours.sender();
    {
        let gone = Builder::new_current_thread()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let gate = gone.block_on(async {
            let gate = Gate::close();
            sender.send("before").await.unwrap();
            assert!(poll_times(sender.send(prose(200_000)), 2).is_none());
            sender.feed("behind").unwrap();
            settle().await;
            gate
        });
        gone.shutdown_background();
        gate.open();
    }
    runtime().block_on(async {
        let sending = tokio::spawn(async move { sender.flush().await });
        let mut seen = Vec::new();
        while let Ok(Some(message)) = ends(theirs.recv()).await {
            seen.push(message);
        }
        // It was lost, or had been done before the end.
        let code = theirs.close_info().unwrap().code;
        assert_eq!((seen, code), (vec!["before".into()], CloseCode::INTERNAL));
        let _ = ends(sending).await;
        drop(ours);
    });
}

#[test]
fn a_session_goes_on_behind_a_message_that_became_shorter() {
    gated(async move {
        let (knock, mut doors) = tokio::sync::mpsc::unbounded_channel();
        let connector = move |_| {
            let (ours, theirs) = duplex(16 << 10);
            let knocked = knock.send(theirs);
            async { knocked.map(|()| ours).map_err(std::io::Error::other) }
        };
        let connect = connect("ws://a.example/").connector(connector);
        let mut session = connect.reconnect(Backoff::new());
        let texts = [
            prose(200_000),
            "short".into(),
            prose(3 << 20),
            "last".into(),
        ];
        let sent = texts.clone();
        let serving = tokio::spawn(async move {
            let options = deflating();
            let mut seen = Vec::new();
            // The first connection breaks in the middle of the first message.
            let first = doors.recv().await.unwrap();
            let ws = accept(first).options(options.clone()).await.unwrap();
            drop(ws);
            let next = doors.recv().await.unwrap();
            let mut ws = accept(next).options(options).await.unwrap();
            while seen.len() < 4 {
                let message = ws.recv().await.unwrap().unwrap();
                seen.push(message.as_text().unwrap().to_owned());
            }
            ws.send("all").await.unwrap();
            ws.recv().await.unwrap();
            (seen, doors)
        });
        for text in sent {
            session.send(text).await.unwrap();
        }
        ends(session.flush()).await.unwrap();
        assert_eq!(session.queued(), 0);
        assert_eq!(ends(session.recv()).await.unwrap(), Some("all".into()));
        ends(session.close(CloseCode::NORMAL, "")).await.unwrap();
        let (seen, _) = serving.await.unwrap();
        assert!(
            seen == texts,
            "{:?}",
            seen.iter().map(String::len).collect::<Vec<_>>()
        );
    });
}

#[test]
fn a_broadcast_reaches_connections_that_nobody_drives() {
    run(false, async move {
        let server = Server::bind("127.0.0.1:0").await.unwrap();
        let mut server = server.options(deflating());
        let address = server.local_addr().unwrap();
        let clients = server.clients();
        let mut all = Vec::new();
        for _ in 0..3 {
            let client = tokio::spawn(connect(format!("ws://{address}/")).into_future());
            let theirs = server.accept().await.unwrap().accept().await.unwrap();
            let mut ws = client.await.unwrap().unwrap();
            let serving = tokio::spawn(echo(theirs));
            ws.send(prose(300)).await.unwrap();
            ws.recv().await.unwrap();
            all.push((ws, serving));
        }
        let gate = Gate::close();
        let delivery = clients.broadcast(Prepared::text(prose(300_000)));
        assert_eq!(delivery.queued, 3);
        settle().await;
        gate.open();
        for (mut ws, serving) in all {
            let seen = ends(ws.recv()).await.unwrap();
            assert_eq!(seen, Some(prose(300_000).into()));
            ws.send(prose(300)).await.unwrap();
            assert_eq!(ends(ws.recv()).await.unwrap(), Some(prose(300).into()));
            serving.abort();
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_many_threads_all_arrives_in_order() {
    let options = deflating().deflate_concurrency(2).deflate_offload(2_000);
    let server = Server::bind("127.0.0.1:0")
        .await
        .unwrap()
        .options(options.clone());
    let address = server.local_addr().unwrap();
    let serving = tokio::spawn(server.serve(|ws, _request| echo(ws)));
    let talk = |seed: usize| {
        let options = options.clone();
        async move {
            let ws = connect(format!("ws://{address}/"))
                .options(options)
                .await
                .unwrap();
            let (sender, mut receiver) = ws.split();
            let lens = [10, 3_000, 150, 90_000, 2_001, 2_000, 0, 500_000, 40];
            let texts = move |round: usize| lens.map(|len| prose((len + seed * round) % 500_001));
            let sending = tokio::spawn(async move {
                for round in 0..4 {
                    for text in texts(round) {
                        match (round + text.len()) % 3 {
                            0 => sender.send_prepared(&Prepared::text(text)).await.unwrap(),
                            1 => {
                                let mut writer = sender.message(Kind::Text).await.unwrap();
                                let (front, back) = text.split_at(text.len() / 3);
                                writer.write(front).await.unwrap();
                                writer.write(back).await.unwrap();
                                writer.finish().unwrap();
                            }
                            _ => sender.send(text).await.unwrap(),
                        }
                    }
                }
                sender
            });
            for round in 0..4 {
                for text in texts(round) {
                    let seen = receiver.recv().await.unwrap().unwrap();
                    assert!(seen == Message::from(text), "{seed}, {round}");
                }
            }
            drop(sending.await.unwrap());
        }
    };
    let all: Vec<_> = (0..12).map(|seed| tokio::spawn(talk(seed))).collect();
    for one in all {
        tokio::time::timeout(60 * SECOND, one)
            .await
            .expect("hangs")
            .unwrap();
    }
    serving.abort();
}

#[tokio::test]
async fn the_order_of_the_options_does_not_matter() {
    let origins = || hybi::Origins::Any;
    let compressed = "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12";
    let servers = [
        Server::bind("127.0.0.1:0")
            .await
            .unwrap()
            .options(deflating())
            .origins(origins())
            .protocols(["p"]),
        Server::bind("127.0.0.1:0")
            .await
            .unwrap()
            .origins(origins())
            .protocols(["p"])
            .options(deflating()),
    ];
    for server in servers {
        let address = server.local_addr().unwrap();
        let serving = tokio::spawn(server.serve(|ws, _request| echo(ws)));
        let url = format!("ws://{address}/");
        for client in [
            connect(&url).protocol("p").header("x", "y"),
            connect(&url).options(deflating()).protocol("p"),
            connect(&url)
                .protocol("p")
                .options(Options::new())
                .origin("http://a.example"),
        ] {
            let ws = client.await.unwrap();
            assert_eq!(ws.extensions().to_string(), compressed);
        }
        serving.abort();
    }
    for first in [true, false] {
        let (a, b) = duplex(64 << 10);
        let door = accept(b);
        let door = if first {
            door.options(deflating())
                .origins(origins())
                .protocols(["p"])
        } else {
            door.origins(origins())
                .protocols(["p"])
                .options(deflating())
        };
        let client = connect("ws://a/").protocol("p").over(a);
        let (ours, theirs) = tokio::join!(client, door.into_future());
        assert_eq!(ours.unwrap().extensions().to_string(), compressed);
        assert_eq!(theirs.unwrap().extensions().to_string(), compressed);
    }
}

#[test]
fn who_waited_for_room_sends_before_a_close_that_came_behind_a_job() {
    gated(async {
        let gate = Gate::close();
        let (ours, mut theirs) = pair_with(&deflating().backlog(1_000), &deflating(), 64 << 10);
        let sender = ours.sender();
        // The handler is busy, or it would have seen the close.
        let driven = tokio::spawn(drive(ours, |_ws| std::future::pending()));
        sender.send(prose(200_000)).await.unwrap();
        let waiting = sender.clone();
        let waiting = tokio::spawn(async move { waiting.send("behind").await });
        settle().await;
        assert!(!waiting.is_finished());
        theirs.start_close(CloseCode::NORMAL, "").unwrap();
        settle().await;
        gate.open();
        let mut seen = Vec::new();
        while let Some(message) = ends(theirs.recv()).await.unwrap() {
            seen.push(message);
        }
        assert!(
            seen == [prose(200_000).into(), "behind".into()],
            "{}",
            seen.len()
        );
        waiting.await.unwrap().unwrap();
        driven.abort();
    });
}

#[test]
fn a_close_of_the_peers_is_answered_behind_a_job() {
    for driven in [false, true] {
        gated(async move {
            let gate = Gate::close();
            let (mut ours, mut theirs) = both();
            ours.feed(prose(200_000)).unwrap();
            theirs.start_close(CloseCode::NORMAL, "").unwrap();
            let ours = if driven {
                tokio::spawn(drive(ours, |mut ws| async move {
                    assert_eq!(ws.recv().await?, None);
                    Ok(())
                }))
            } else {
                tokio::spawn(async move {
                    assert_eq!(ours.recv().await?, None);
                    Ok(())
                })
            };
            settle().await;
            gate.open();
            let seen = ends(theirs.recv()).await.unwrap();
            assert_eq!(seen, Some(prose(200_000).into()));
            assert_eq!(ends(theirs.recv()).await.unwrap(), None);
            ends(ours).await.unwrap().unwrap();
        });
    }
}

#[tokio::test]
async fn what_no_compressor_makes_shorter_leaves_in_fragments() {
    for options in [
        deflating(),
        deflating().deflate_offload(None),
        deflating().deflate_offload(0),
        deflating().deflate_offload(usize::MAX),
    ] {
        let (ours, mut theirs) = pair_with(&options, &deflating(), 64 << 10);
        let noise = noise(3 << 20);
        let expected = Message::from(noise.clone());
        let sending = tokio::spawn(async move {
            let sender = ours.sender();
            sender.send(noise.clone()).await?;
            sender
                .send_prepared(&Prepared::binary(noise.clone()))
                .await?;
            let mut writer = sender.message(Kind::Binary).await?;
            writer.write(noise).await?;
            writer.finish()?;
            sender.send("last").await?;
            sender.flush().await?;
            Ok::<_, Error>(ours)
        });
        for _ in 0..3 {
            let seen = ends(theirs.recv()).await.unwrap();
            assert!(seen.as_ref() == Some(&expected));
        }
        assert_eq!(ends(theirs.recv()).await.unwrap(), Some("last".into()));
        let stats = sending.await.unwrap().unwrap().stats();
        assert_eq!((stats.messages_sent, stats.buffered), (4, 0));
        assert_eq!(theirs.stats().messages_received, 4);
        assert_eq!(theirs.stats().bytes_received, stats.bytes_sent);
    }
}

#[test]
fn a_stream_is_flushed_and_shut_down_behind_its_jobs() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    gated(async {
        let gate = Gate::close();
        let (ours, theirs) = both();
        let (mut ours, mut theirs) = (ours.into_io(), theirs.into_io());
        let text = prose(300_000);
        let bytes = text.clone().into_bytes();
        let writing = tokio::spawn(async move {
            ours.write_all(&bytes).await?;
            ours.flush().await?;
            ours.shutdown().await
        });
        settle().await;
        gate.open();
        let mut seen = String::new();
        ends(theirs.read_to_string(&mut seen)).await.unwrap();
        assert!(seen == text);
        ends(theirs.shutdown()).await.unwrap();
        ends(writing).await.unwrap().unwrap();
    });
}

#[tokio::test]
async fn a_reader_without_a_limit_holds_little_of_a_bomb() {
    let open = Options::new()
        .deflate(hybi::Deflate::default())
        .max_message(None);
    let (ours, mut theirs) = pair_with(&deflating(), &open, 64 << 10);
    let sending = tokio::spawn(async move {
        ours.sender().send(vec![0; 32 << 20]).await?;
        ours.sender().flush().await?;
        Ok::<_, Error>(ours)
    });
    let mut reader = ends(theirs.recv_reader()).await.unwrap().unwrap();
    let mut len = 0;
    while let Some(part) = ends(reader.next()).await.unwrap() {
        assert!(part.len() <= 128 << 10);
        len += part.len();
        if len > 16 << 20 {
            break;
        }
    }
    // The rest of it is skipped.
    drop(reader);
    let mut ours = sending.await.unwrap().unwrap();
    ours.send("next").await.unwrap();
    assert_eq!(ends(theirs.recv()).await.unwrap(), Some("next".into()));
}

#[test]
fn a_send_waits_for_no_job_that_came_behind_it() {
    gated(async {
        let gate = Gate::close();
        let (ours, mut theirs) = both();
        ours.sender().feed(prose(100_000)).unwrap();
        let sender = ours.sender();
        let sending = tokio::spawn(async move { sender.send("short").await });
        settle().await;
        // It closes behind the first job.
        let next = Gate::close();
        ours.sender().feed(prose(100_001)).unwrap();
        gate.open();
        let seen = ends(theirs.recv()).await.unwrap();
        assert_eq!(seen, Some(prose(100_000).into()));
        assert_eq!(ends(theirs.recv()).await.unwrap(), Some("short".into()));
        settle().await;
        assert!(sending.is_finished());
        sending.await.unwrap().unwrap();
        next.open();
        ends(ours.sender().flush()).await.unwrap();
    });
}
