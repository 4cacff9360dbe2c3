//! The closing handshake, and what comes after it.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::pin;

use hybi::test::{Fault, Frame, Script};
use hybi::{CloseCode, Error, Event, Initiator, Options, Role, SendError, State, WebSocket, drive};

use crate::fault::each_fault;
use crate::support::{Peer, echo, ends, masked, numbers, pair, server, settle, unmasked};

#[each_fault]
async fn both_ends_know_the_code_the_reason_and_who_began() {
    let (mut client, mut server) = pair();
    assert_eq!(client.state(), State::Open);
    assert_eq!(client.close_info(), None);
    let close = tokio::spawn(async move {
        let info = client.close(CloseCode::new(4321), "done with it").await;
        (info, client)
    });
    let close_event = ends(server.recv_event()).await.unwrap();
    let Some(Event::Close(Some(said))) = close_event else {
        panic!("{close_event:?}");
    };
    assert_eq!(said.code(), CloseCode::new(4321));
    assert_eq!(*said.reason(), "done with it");
    assert_eq!(server.state(), State::Closed);
    assert!(matches!(ends(server.recv()).await, Ok(None)));

    let (info, client) = ends(close).await.unwrap();
    let ours = info.unwrap();
    assert_eq!(Some(&ours), client.close_info().as_ref());
    let theirs = server.close_info().unwrap();
    for (info, initiator) in [(ours, Initiator::Local), (theirs, Initiator::Peer)] {
        assert_eq!(info.code, CloseCode::new(4321));
        assert_eq!(info.initiator, initiator);
        assert!(info.clean);
    }
    assert_eq!(server.close_info().unwrap().reason, "done with it");
}

#[each_fault]
async fn a_close_without_a_code_is_answered_without_one_and_counts_as_1005() {
    let (mut peer, mut ws) = Peer::client();
    peer.hex("88 80 00000000").await.unwrap();
    let echoed = tokio::spawn(async move { (peer.recv().await.unwrap(), peer) });
    assert_eq!(
        ends(ws.recv_event()).await.unwrap(),
        Some(Event::Close(None))
    );
    let end = tokio::spawn(async move { (ws.recv().await, ws) });
    let (echoed, peer) = ends(echoed).await.unwrap();
    assert_eq!(echoed.unwrap().payload.len(), 0);
    drop(peer);
    let (end, ws) = ends(end).await.unwrap();
    assert!(matches!(end, Ok(None)));
    let info = ws.close_info().unwrap();
    assert_eq!(info.code, CloseCode::NO_STATUS);
    assert!(info.clean);
}

#[each_fault]
async fn messages_before_the_close_are_delivered_and_data_after_it_is_ignored() {
    let mut frames = numbers(0..10);
    frames.push(Frame::close(1000, "bye"));
    frames.extend(numbers(10..20));
    frames.push(Frame::close(1000, "again"));
    let (mut ws, log) = server(Script::new().read(masked(&frames)).eof());
    for n in 0..10 {
        let message = ends(ws.recv()).await.unwrap();
        assert_eq!(message, Some(n.to_string().into()));
    }
    assert_eq!(ends(ws.recv()).await.unwrap(), None);
    assert_eq!(ends(ws.recv()).await.unwrap(), None);
    assert_eq!(log.written(), unmasked(&[Frame::close(1000, "bye")]));
    assert!(log.is_shut_down() && log.is_dropped());
    assert_eq!(ws.close_info().unwrap().reason, "bye");
}

#[each_fault]
async fn two_ends_that_close_at_once_both_end_cleanly() {
    let (mut client, mut server) = pair();
    client.start_close(CloseCode::new(4001), "client").unwrap();
    server.start_close(CloseCode::new(4002), "server").unwrap();
    assert_eq!(client.state(), State::Closing);
    let (one, two) = ends(async { tokio::join!(client.recv(), server.recv()) }).await;
    assert_eq!((one.unwrap(), two.unwrap()), (None, None));
    let (one, two) = (client.close_info().unwrap(), server.close_info().unwrap());
    assert_eq!((one.code, two.code), (4002.into(), 4001.into()));
    assert!(one.clean && two.clean);
    assert_eq!(one.initiator, Initiator::Local);
    assert_eq!(two.initiator, Initiator::Local);
}

#[each_fault]
async fn a_second_close_changes_nothing_and_gives_the_same_answer() {
    let (mut client, mut server) = pair();
    let answering = tokio::spawn(async move { server.recv().await });
    let first = ends(client.close(CloseCode::NORMAL, "first"))
        .await
        .unwrap();
    let second = ends(client.close(CloseCode::GOING_AWAY, "second"))
        .await
        .unwrap();
    assert_eq!(first, second);
    client.start_close(CloseCode::GOING_AWAY, "third").unwrap();
    assert_eq!(client.close_info(), Some(first));
    assert_eq!(ends(answering).await.unwrap().unwrap(), None);
}

#[each_fault(counts)]
async fn nothing_can_be_sent_after_a_close() {
    let (mut client, _server) = pair();
    client.start_close(CloseCode::NORMAL, "").unwrap();
    let queued = client.buffered();
    assert!(matches!(client.feed("a"), Err(Error::Closed)));
    assert!(matches!(ends(client.send("a")).await, Err(Error::Closed)));
    assert!(matches!(client.ping(""), Err(Error::Closed)));
    assert!(matches!(client.pong(""), Err(Error::Closed)));
    assert_eq!(client.buffered(), queued);
    ends(client.flush()).await.unwrap();
}

#[each_fault(counts)]
async fn after_start_close_what_still_comes_is_received() {
    let (mut client, mut server) = pair();
    for n in 0..5 {
        server.send(n.to_string()).await.unwrap();
    }
    client.start_close(CloseCode::NORMAL, "").unwrap();
    for n in 0..5 {
        let message = ends(client.recv()).await.unwrap();
        assert_eq!(message, Some(n.to_string().into()));
    }
    let answering = tokio::spawn(async move { server.recv().await });
    assert_eq!(ends(client.recv()).await.unwrap(), None);
    assert_eq!(ends(answering).await.unwrap().unwrap(), None);
}

#[each_fault(counts)]
async fn a_close_that_cannot_be_sent_is_refused_and_the_connection_stays_open() {
    let (mut client, mut server) = pair();
    for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
        let error = client.start_close(code.into(), "").unwrap_err();
        assert!(matches!(error, Error::Send(SendError::Close(_))));
        assert!(error.to_string().contains(&code.to_string()));
    }
    let long = "x".repeat(124);
    let error = ends(client.close(CloseCode::NORMAL, long))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Send(SendError::Close(_))));
    assert_eq!(client.state(), State::Open);
    client.send("still here").await.unwrap();
    let message = ends(server.recv()).await.unwrap();
    assert_eq!(message, Some("still here".into()));
    let longest = "x".repeat(123);
    client
        .start_close(CloseCode::NORMAL, longest.clone())
        .unwrap();
    let end = tokio::spawn(async move { client.recv().await });
    assert_eq!(ends(server.recv()).await.unwrap(), None);
    assert_eq!(server.close_info().unwrap().reason, longest);
    assert_eq!(ends(end).await.unwrap().unwrap(), None);
}

#[each_fault]
async fn the_end_of_the_transport_without_a_close_is_an_error_once() {
    for role in [Role::Server, Role::Client] {
        let (peer, mut ws) = Peer::of(role, &Options::new(), 1024);
        drop(peer);
        let error = ends(ws.recv()).await.unwrap_err();
        let Error::Io(error) = error else {
            panic!("{error:?}");
        };
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert!(matches!(ends(ws.recv()).await, Err(Error::Closed)));
        assert!(matches!(ends(ws.send("a")).await, Err(Error::Closed)));
        assert!(matches!(ends(ws.flush()).await, Err(Error::Closed)));
        let info = ws.close_info().unwrap();
        assert_eq!(info.code, CloseCode::ABNORMAL);
        assert_eq!(info.initiator, Initiator::Peer);
        assert!(!info.clean);
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_violation_and_a_write_that_failed_before_it_one_is_told() {
    for driven in [false, true] {
        let script = Script::new()
            .read(unmasked(&numbers(0..1)))
            .write_error(ErrorKind::BrokenPipe);
        let (ws, _log) = server(script);
        let user = |mut ws: WebSocket<Script>| async move {
            ws.send("lost").await?;
            let first = ws.recv().await.unwrap_err();
            assert!(matches!(first, Error::Io(_)), "{first}");
            for _ in 0..2 {
                let then = ws.recv().await.unwrap_err();
                assert!(matches!(then, Error::Closed), "{then}");
            }
            Ok(())
        };
        match driven {
            true => ends(drive(ws, user)).await.unwrap(),
            false => ends(user(ws)).await.unwrap(),
        }
    }
}

/// Its deadline ends it: it is not asked again and again until then.
#[tokio::test(start_paused = true)]
async fn a_transport_that_fails_to_flush_after_the_close_and_is_silent_is_left_alone() {
    for role in [Role::Server, Role::Client] {
        for driven in [false, true] {
            let key = (role == Role::Server).then_some([1, 2, 3, 4]);
            let script = Script::new()
                .read(Frame::close(1000, "").encode(key))
                .write(100)
                .write_error(ErrorKind::BrokenPipe);
            let log = script.log();
            let ws = WebSocket::from_stream(script, role, &Options::new(), &[]);
            let user = |mut ws: WebSocket<Script>| async move {
                assert_eq!(ws.recv().await?, None);
                Ok(())
            };
            let mut run = pin!(async {
                match driven {
                    true => drive(ws, user).await,
                    false => user(ws).await,
                }
            });
            let mut polls = 0;
            let counted = poll_fn(|cx| {
                polls += 1;
                assert!(polls < 100, "it spins");
                run.as_mut().poll(cx)
            });
            ends(counted).await.unwrap();
            assert!(log.is_dropped());
        }
    }
}

/// A browser whose tab is closed sends a close frame and does not stay.
#[tokio::test(start_paused = true)]
async fn a_close_after_a_write_has_failed_ends_the_connection_and_says_so_once() {
    for waits in [false, true] {
        let script = Script::new().write_error(ErrorKind::BrokenPipe);
        let script = if waits { script } else { script.eof() };
        let (mut ws, log) = server(script);
        ws.send("lost").await.unwrap();
        let Error::Io(error) = ends(ws.close(CloseCode::NORMAL, "")).await.unwrap_err() else {
            panic!("the transport has failed");
        };
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert!(log.is_dropped());
        for _ in 0..2 {
            let closed = ends(ws.close(CloseCode::NORMAL, "")).await;
            assert!(matches!(closed, Err(Error::Closed)), "{closed:?}");
            assert!(matches!(ends(ws.recv()).await, Err(Error::Closed)));
        }
    }
}

#[each_fault]
async fn a_peer_that_closes_and_does_not_stay_for_the_answer_has_closed_cleanly() {
    let (mut peer, mut ws) = Peer::client();
    peer.send(Frame::text("last")).await.unwrap();
    peer.send(Frame::close(1001, "")).await.unwrap();
    drop(peer);
    assert_eq!(ends(ws.recv()).await.unwrap(), Some("last".into()));
    assert_eq!(ends(ws.recv()).await.unwrap(), None);
    assert_eq!(ws.close_info().unwrap().code, CloseCode::GOING_AWAY);

    let (mut peer, ws) = Peer::client();
    let task = tokio::spawn(drive(ws, echo));
    peer.send(Frame::close(1001, "")).await.unwrap();
    drop(peer);
    ends(task).await.unwrap().unwrap();
}

#[each_fault]
async fn abort_ends_the_connection_without_a_close_frame() {
    let (mut ws, log) = server(Script::new());
    ws.feed("never sent").unwrap();
    ws.abort();
    assert!(log.is_dropped());
    assert!(log.written().is_empty());
    assert_eq!(ws.state(), State::Closed);
    assert!(matches!(ends(ws.recv()).await, Err(Error::Closed)));
    assert!(matches!(ends(ws.send("a")).await, Err(Error::Closed)));
    assert_eq!(ws.buffered(), 0);

    let (ws, log) = server(Script::new());
    let task = tokio::spawn(drive(ws, |mut ws| async move {
        ws.feed("never sent")?;
        ws.abort();
        assert!(matches!(ws.recv().await, Err(Error::Closed)));
        Ok(())
    }));
    ends(task).await.unwrap().unwrap();
    assert!(log.is_dropped());
    assert!(log.written().is_empty());
}

#[each_fault(counts)]
async fn dropping_an_undriven_socket_writes_what_is_queued_and_1001() {
    let (mut ws, log) = server(Script::new());
    ws.feed("queued").unwrap();
    drop(ws);
    let frames = [Frame::text("queued"), Frame::close(1001, "")];
    assert_eq!(log.written(), unmasked(&frames));
    assert_eq!(log.writes().len(), 1);
    assert!(log.is_dropped());
}

#[each_fault]
async fn dropping_a_socket_that_is_closing_says_nothing_more() {
    let (mut ws, log) = server(Script::new());
    ws.start_close(CloseCode::NORMAL, "").unwrap();
    drop(ws);
    assert_eq!(log.written(), unmasked(&[Frame::close(1000, "")]));
    assert!(log.is_dropped());
}

#[each_fault]
async fn the_server_shuts_down_first_and_the_client_waits_for_it() {
    let (mut peer, mut ws) = Peer::server();
    peer.send(Frame::close(1000, "")).await.unwrap();
    let end = tokio::spawn(async move { ws.recv().await });
    assert_eq!(peer.recv().await.unwrap(), Some(Frame::close(1000, "")));
    settle().await;
    assert!(!end.is_finished());
    peer.send(Frame::text("ignored")).await.unwrap();
    peer.shutdown().await.unwrap();
    assert_eq!(ends(end).await.unwrap().unwrap(), None);
    assert_eq!(peer.recv().await.unwrap(), None);
}

#[each_fault]
async fn a_violation_is_told_after_the_peer_was_told_with_what_came_before() {
    let mut bytes = masked(&numbers(0..3));
    bytes.extend([0x83, 0x80, 0, 0, 0, 0]);
    bytes.extend(masked(&numbers(3..6)));
    let (mut ws, log) = server(Script::new().read(bytes).eof());
    for n in 0..3 {
        let message = ends(ws.recv()).await.unwrap();
        assert_eq!(message, Some(n.to_string().into()));
    }
    let error = ends(ws.recv()).await.unwrap_err();
    assert_eq!(error.close_code(), Some(CloseCode::PROTOCOL));
    assert_eq!(log.written(), unmasked(&[Frame::close(1002, "")]));
    assert!(matches!(ends(ws.recv()).await, Err(Error::Closed)));
    let info = ws.close_info().unwrap();
    assert_eq!(info.code, CloseCode::PROTOCOL);
    assert_eq!(info.initiator, Initiator::Local);
    assert!(!info.clean);
}

#[each_fault]
async fn a_socket_may_be_kept_and_dropped_after_its_end() {
    let (mut client, mut server) = pair();
    let answering = tokio::spawn(async move {
        assert_eq!(server.recv().await.unwrap(), None);
        server
    });
    ends(client.close(CloseCode::NORMAL, "")).await.unwrap();
    let server: WebSocket = ends(answering).await.unwrap();
    assert_eq!(server.local_addr(), None);
    assert_eq!(server.state(), State::Closed);
    let debug = format!("{server:?}");
    assert!(debug.contains("Closed"), "{debug}");
    drop((client, server));
}

#[each_fault]
async fn who_waits_to_send_when_the_peer_closes_is_not_too_late() {
    const MESSAGES: usize = 40;
    for stays in [true, false] {
        let options = Options::new().backlog(1000);
        let (mut peer, ws) = Peer::of(Role::Server, &options, 512);
        let task = tokio::spawn(drive(ws, echo));
        for number in 0..MESSAGES {
            let message = Frame::binary(vec![number as u8; 500]);
            peer.send(message).await.unwrap();
        }
        peer.send(Frame::close(1000, "")).await.unwrap();
        if !stays {
            peer.shutdown().await.unwrap();
        }
        settle().await;
        for number in 0..MESSAGES {
            let echo = ends(peer.recv()).await.unwrap();
            assert_eq!(echo, Some(Frame::binary(vec![number as u8; 500])));
        }
        let close = ends(peer.recv()).await.unwrap();
        assert_eq!(close, Some(Frame::close(1000, "")));
        if stays {
            peer.shutdown().await.unwrap();
        }
        ends(task).await.unwrap().unwrap();
    }
}

#[each_fault]
async fn a_peer_that_closes_and_reads_nothing_is_given_up() {
    let options = Options::new().backlog(1000).write_timeout(None);
    let (mut peer, ws) = Peer::of(Role::Server, &options, 512);
    let task = tokio::spawn(drive(ws, echo));
    for _ in 0..10 {
        peer.send(Frame::binary(vec![0; 500])).await.unwrap();
    }
    peer.send(Frame::close(1000, "")).await.unwrap();
    assert!(ends(task).await.unwrap().is_err());
}

#[each_fault]
async fn a_close_is_answered_at_once_while_the_handler_is_busy_elsewhere() {
    let (mut peer, ws) = Peer::client();
    let _task = tokio::spawn(drive(ws, |ws| async move {
        tokio::time::sleep(std::time::Duration::from_secs(1000)).await;
        drop(ws);
        Ok(())
    }));
    peer.send(Frame::text("not taken")).await.unwrap();
    peer.send(Frame::close(4000, "")).await.unwrap();
    let begin = tokio::time::Instant::now();
    assert_eq!(
        ends(peer.recv()).await.unwrap(),
        Some(Frame::close(4000, ""))
    );
    assert!(begin.elapsed().is_zero());
}

#[each_fault]
async fn who_sends_without_end_does_not_hold_the_answer_to_a_close() {
    let options = Options::new().backlog(1000);
    let (mut peer, ws) = Peer::of(Role::Server, &options, 512);
    let task = tokio::spawn(drive(ws, |mut ws| async move {
        loop {
            ws.send(vec![0; 500]).await?;
        }
    }));
    settle().await;
    peer.send(Frame::close(1000, "")).await.unwrap();
    let mut after = 0;
    while ends(peer.recv()).await.unwrap() != Some(Frame::close(1000, "")) {
        after += 1;
    }
    assert!(after < 10, "{after}");
    peer.shutdown().await.unwrap();
    let error = ends(task).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Closed));
}

/// While we wait for the peer to end, each turn of the driver flushes again.
#[tokio::test(start_paused = true)]
async fn a_transport_that_fails_while_the_end_is_waited_for_keeps_nobody_busy() {
    for n in 0..20 {
        let close = masked(&[Frame::close(1000, "")]);
        let fault = Fault::Error(ErrorKind::BrokenPipe);
        let (ws, log) = server(Script::new().read(close).fault_at(n, fault));
        let task = tokio::spawn(drive(ws, echo));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(log.operations() < 50, "{} at {n}", log.operations());
        task.abort();
    }
}
