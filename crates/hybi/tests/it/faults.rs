//! Every operation of the transport in turn fails, is short, or is pending: what is told of it, how
//! often, and what has left by then. That all other tests survive it too is for `fault` to see.

use std::io::ErrorKind;

use hybi::test::{Fault, Frame, Log, Script};
use hybi::{CloseCode, Error, Event, Options, Overflow, Result, WebSocket, drive};

use crate::support::{ends, masked, numbers, server, server_with};

/// Runs a user with each operation in turn hit by each fault. One that is short or pending changes
/// nothing that is written; one that fails is either told once, or came after the end.
async fn survives(
    script: impl Fn() -> Script,
    user: impl AsyncFn(WebSocket<Script>, Log) -> Result<()>,
) {
    survives_with(&Options::new(), script, user).await;
}

async fn survives_with(
    options: &Options,
    script: impl Fn() -> Script,
    user: impl AsyncFn(WebSocket<Script>, Log) -> Result<()>,
) {
    let (ws, log) = server_with(script(), options);
    ends(user(ws, log.clone())).await.expect("no fault yet");
    let undisturbed = log.written();
    assert!(log.is_dropped());
    for fault in [
        Fault::Short,
        Fault::Pending,
        Fault::Error(ErrorKind::ConnectionReset),
    ] {
        for n in 0.. {
            let (ws, log) = server_with(script().fault_at(n, fault), options);
            let result = ends(user(ws, log.clone())).await;
            assert!(log.is_dropped(), "{fault:?} at {n}");
            match (fault, result) {
                (Fault::Error(kind), Err(Error::Io(error))) => assert_eq!(error.kind(), kind),
                (_, Err(error)) => panic!("{fault:?} at {n}: {error:?}"),
                (Fault::Error(_), Ok(())) => assert!(undisturbed.starts_with(&log.written())),
                (_, Ok(())) => assert_eq!(log.written(), undisturbed, "{fault:?} at {n}"),
            }
            if log.operations() <= n {
                assert!(n > 3, "only {n} operations");
                break;
            }
        }
    }
}

/// However the connection has ended, it is told once.
async fn is_told_once(ws: &mut WebSocket<Script>, result: &Result<()>) {
    for _ in 0..3 {
        match (result, ws.recv().await) {
            (Ok(()), Ok(None)) | (Err(_), Err(Error::Closed)) => {}
            (first, then) => panic!("{first:?}, then {then:?}"),
        }
    }
}

fn conversation() -> Script {
    let mut frames = numbers(0..5);
    frames.push(Frame::ping("p"));
    frames.push(Frame::binary(vec![1; 10_000]));
    frames.push(Frame::close(1000, ""));
    Script::new()
        .read(masked(&frames[..3]))
        .read_pending()
        .read(masked(&frames[3..]))
        .eof()
}

/// Echoes, and when sending fails reads on, for it is the receiver that learns why.
async fn echo_to_the_end(ws: &mut WebSocket<Script>) -> Result<()> {
    while let Some(message) = ws.recv().await? {
        let _ = ws.send(message).await;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_echo_survives_each_fault_of_its_transport() {
    survives(conversation, async |mut ws, _| {
        let result = echo_to_the_end(&mut ws).await;
        is_told_once(&mut ws, &result).await;
        result
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_driven_echo_survives_each_fault_of_its_transport() {
    survives(conversation, async |ws, _| {
        drive(ws, |mut ws| async move {
            let result = echo_to_the_end(&mut ws).await;
            is_told_once(&mut ws, &result).await;
            result
        })
        .await
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_driven_echo_in_a_task_of_its_own_survives_each_fault_of_its_transport() {
    survives(conversation, async |ws, _| {
        let (give, take) = tokio::sync::oneshot::channel();
        let driven = drive(ws, |mut ws| async move {
            tokio::spawn(async move {
                let result = echo_to_the_end(&mut ws).await;
                is_told_once(&mut ws, &result).await;
                let _ = give.send(result);
            });
            Ok(())
        });
        driven.await?;
        take.await.expect("the task ends")
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_close_survives_each_fault_of_its_transport() {
    let answer = || {
        Script::new()
            .read(masked(&[Frame::text("late"), Frame::close(4000, "")]))
            .read_pending()
            .eof()
    };
    survives(answer, async |mut ws, _| {
        let result = ws.close(CloseCode::new(4000), "").await;
        let result = result.map(|info| assert!(info.clean));
        is_told_once(&mut ws, &result).await;
        result
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_bulk_send_survives_each_fault_of_its_transport() {
    let slow = || {
        let mut script = Script::new();
        for n in 1..30 {
            script = script.write(n * 100).write_pending();
        }
        script
    };
    survives(slow, async |mut ws, log| {
        for n in 0..100 {
            if ws.send(vec![n; 9000]).await.is_err() {
                break;
            }
        }
        if ws.flush().await.is_ok() {
            assert!(log.written().len() > 900_000);
        }
        log.read(masked(&[Frame::close(1000, "")]));
        log.eof();
        let result = ws.recv().await.map(|none| assert_eq!(none, None));
        is_told_once(&mut ws, &result).await;
        result
    })
    .await;
}

/// Takes less than it is offered, to begin with.
fn narrow(steps: usize) -> Script {
    let narrow = |script: Script, _| script.write(50).write_pending();
    (0..steps).fold(Script::new(), narrow)
}

/// Room for some 30 messages, half of them unframed.
fn backlog() -> Options {
    Options::new().backlog(20_000)
}

/// Says so much under a policy, and reads to the end; nothing but a close frame waits then.
async fn say_under(
    overflow: Overflow,
    messages: u8,
    mut ws: WebSocket<Script>,
    log: Log,
) -> (Result<()>, hybi::Stats) {
    let sender = ws.sender().overflow(overflow);
    for n in 0..messages {
        if sender.send(vec![n; 500]).await.is_err() {
            break;
        }
        if n % 10 == 0 {
            tokio::task::yield_now().await;
        }
    }
    assert!(sender.buffered() <= 20_000 + 500);
    let _ = sender.flush().await;
    log.read(masked(&[Frame::close(1000, "")]));
    log.eof();
    let result = ws.recv().await.map(|none| assert_eq!(none, None));
    is_told_once(&mut ws, &result).await;
    assert!(sender.buffered() <= 4);
    (result, sender.stats())
}

#[tokio::test(start_paused = true)]
async fn messages_that_wait_unframed_survive_each_fault_of_their_transport() {
    survives_with(
        &backlog(),
        || narrow(30),
        async |ws, log| say_under(Overflow::DropNewest, 30, ws, log).await.0,
    )
    .await;
    survives_with(
        &backlog(),
        || narrow(30),
        async |ws, log| {
            drive(ws, |ws| async {
                say_under(Overflow::DropOldest, 30, ws, log).await.0
            })
            .await
        },
    )
    .await;
}

/// What is dropped depends on what befalls the transport, but whole messages come, in order.
#[tokio::test(start_paused = true)]
async fn the_counts_of_a_policy_add_up_whatever_befalls_its_transport() {
    for overflow in [Overflow::DropNewest, Overflow::DropOldest] {
        for fault in [
            Fault::Short,
            Fault::Pending,
            Fault::Error(ErrorKind::ConnectionReset),
        ] {
            for n in 0.. {
                let (ws, log) = server_with(narrow(100).fault_at(n, fault), &backlog());
                let (result, stats) = ends(say_under(overflow.clone(), 70, ws, log.clone())).await;
                let mut frames = Frame::decode_all(&log.written());
                if result.is_ok() && frames.last() == Some(&Frame::close(1000, "")) {
                    frames.pop();
                }
                assert!(frames.iter().all(|frame| frame.payload.len() == 500));
                assert!(frames.is_sorted_by(|a, b| a.payload[0] < b.payload[0]));
                let dropped = stats.dropped.newest + stats.dropped.oldest;
                if !matches!(fault, Fault::Error(_)) {
                    assert_eq!(frames.len() as u64, stats.messages_sent);
                    assert_eq!(frames.len() as u64 + dropped, 70);
                    assert!(dropped > 10, "{stats:?}");
                }
                if log.operations() <= n {
                    assert!(n > 3, "only {n} operations");
                    break;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_before_a_failed_write_is_still_received() {
    for driven in [false, true] {
        let script = Script::new()
            .read(masked(&numbers(0..5)))
            .read(masked(&numbers(5..10)))
            .write_error(ErrorKind::BrokenPipe);
        let (ws, log) = server(script);
        let user = |mut ws: WebSocket<Script>| async move {
            let _ = ws.send("nobody takes this").await;
            for n in 0..10 {
                assert_eq!(ws.recv().await?, Some(n.to_string().into()));
            }
            let error = ws.recv().await.unwrap_err();
            assert!(matches!(error, Error::Io(error) if error.kind() == ErrorKind::BrokenPipe));
            assert!(matches!(ws.recv().await, Err(Error::Closed)));
            Ok(())
        };
        let result = if driven {
            ends(drive(ws, user)).await
        } else {
            ends(user(ws)).await
        };
        result.unwrap();
        assert!(log.is_dropped());
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_after_a_failed_write_does_not_say_that_all_has_left() {
    let script = Script::default()
        .read(masked(&[Frame::close(1000, "")]))
        .write_pending()
        .write_error(ErrorKind::BrokenPipe);
    let (mut ws, log) = server(script);
    ws.feed("never leaves").unwrap();
    let event = ends(ws.recv_event()).await.unwrap();
    assert!(matches!(event, Some(Event::Close(_))), "{event:?}");
    // The peer has closed as it should, and did not stay: that is a clean end.
    assert_eq!(ends(ws.recv()).await.unwrap(), None);
    assert_eq!(log.written(), b"");
    assert!(matches!(ends(ws.flush()).await, Err(Error::Closed)));
}

/// As above, while the end is waited for: the peer has closed, and says nothing more.
#[tokio::test(start_paused = true)]
async fn nor_does_one_that_breaks_off_before_the_end() {
    let script = Script::new()
        .read(masked(&[Frame::close(1000, "")]))
        .write_pending()
        .write_error(ErrorKind::BrokenPipe);
    let (mut ws, _log) = server(script);
    ws.feed("never leaves").unwrap();
    assert!(matches!(
        ends(ws.recv_event()).await,
        Ok(Some(Event::Close(_)))
    ));
    assert!(matches!(ends(ws.flush()).await, Err(Error::Closed)));
}

/// A message in parts, larger than the backlog, while one that came is read in parts.
#[tokio::test(start_paused = true)]
async fn messages_in_parts_survive_each_fault_of_their_transport() {
    let options = Options::new().backlog(1000);
    let talk = async |ws: &mut WebSocket<Script>| -> Result<()> {
        let sender = ws.sender();
        let mut reader = ws.recv_reader().await?.expect("a message");
        let mut text = Vec::new();
        // When writing fails, read on, for it is the receiver that learns why.
        if let Ok(mut writer) = sender.message(hybi::Kind::Binary).await {
            for n in 0..20 {
                if writer.write(vec![n; 300]).await.is_err() {
                    break;
                }
                if n % 5 == 0 {
                    text.extend(reader.next().await?.unwrap_or_default());
                }
            }
            let _ = writer.finish();
        }
        while let Some(part) = reader.next().await? {
            text.extend(part);
        }
        drop(reader);
        assert_eq!(text, b"one two three");
        // Given up after its first part.
        drop(ws.recv_reader().await?.expect("another message"));
        assert_eq!(ws.recv().await?, Some("last".into()));
        assert_eq!(ws.recv().await?, None);
        Ok(())
    };
    let script = || {
        let frames = [
            Frame::text("one ").unfinished(),
            Frame::continuation("two ").unfinished(),
            Frame::ping("p"),
            Frame::continuation("three"),
            Frame::binary([1; 100]).unfinished(),
            Frame::continuation([2; 100]),
            Frame::text("last"),
            Frame::close(1000, ""),
        ];
        let pieces = frames.chunks(1).map(masked);
        let script = pieces.fold(Script::new(), |script, frame| {
            script.read(frame).write(50).write_pending()
        });
        script.eof()
    };
    survives_with(&options, script, async |mut ws, _| {
        let result = talk(&mut ws).await;
        is_told_once(&mut ws, &result).await;
        result
    })
    .await;
}
