//! Messages in parts, on driven connections and others.

use std::time::Duration;

use hybi::test::Frame;
use hybi::{CloseCode, Error, Kind, Message, Options, Role, SendError, Timeout, WebSocket, drive};
use tokio::time::sleep;

use crate::fault::each_fault;
use crate::support::{Peer, ends, pair, pair_with, settle};

async fn listen(mut ws: WebSocket) -> hybi::Result<()> {
    while ws.recv().await?.is_some() {}
    Ok(())
}

#[each_fault]
async fn parts_leave_as_they_are_written_and_pings_pass_between() {
    for driven in [false, true] {
        let (mut peer, ws) = Peer::client();
        let sender = ws.sender();
        let task = tokio::spawn(async move {
            if driven {
                drive(ws, listen).await
            } else {
                listen(ws).await
            }
        });
        let mut message = sender.message(Kind::Text).await.unwrap();
        message.write("one").await.unwrap();
        let first = ends(peer.recv()).await.unwrap().unwrap();
        assert_eq!((first.fin, &first.payload[..]), (false, &b"one"[..]));
        peer.send(Frame::ping("p")).await.unwrap();
        assert_eq!(ends(peer.recv()).await.unwrap(), Some(Frame::pong("p")));
        let waiting = tokio::spawn({
            let sender = sender.clone();
            async move { sender.send("behind").await }
        });
        settle().await;
        message.write("two").await.unwrap();
        message.finish().unwrap();
        let mut rest = Vec::new();
        for _ in 0..3 {
            rest.push(ends(peer.recv()).await.unwrap().unwrap());
        }
        assert_eq!(&rest[0].payload[..], b"two");
        assert!(rest[1].fin && rest[1].payload.is_empty());
        assert_eq!(rest[2], Frame::text("behind"));
        ends(waiting).await.unwrap().unwrap();
        peer.send(Frame::close(1000, "")).await.unwrap();
        ends(task).await.unwrap().unwrap();
    }
}

#[each_fault(counts)]
async fn a_writer_that_is_dropped_unfinished_closes_with_1011() {
    let (mut peer, mut ws) = Peer::client();
    drop(ws.message(Kind::Text).await.unwrap());
    ws.send("nothing was written").await.unwrap();
    let whole = ends(peer.recv()).await.unwrap();
    assert_eq!(whole, Some(Frame::text("nothing was written")));
    let mut message = ws.message(Kind::Text).await.unwrap();
    message.write("half").await.unwrap();
    drop(message);
    ends(peer.recv()).await.unwrap();
    let close = ends(peer.recv()).await.unwrap();
    assert_eq!(
        close,
        Some(Frame::close(1011, "a message was not finished"))
    );
    assert!(matches!(ws.send("more").await, Err(Error::Closed)));
}

#[each_fault]
async fn a_writer_that_makes_no_progress_is_a_write_stall() {
    for driven in [false, true] {
        let (mut peer, ws) = Peer::client();
        let sender = ws.sender();
        let task = tokio::spawn(async move {
            if driven {
                drive(ws, listen).await
            } else {
                listen(ws).await
            }
        });
        let mut message = sender.message(Kind::Binary).await.unwrap();
        for _ in 0..3 {
            sleep(Duration::from_secs(59)).await;
            message.write(b"on").await.unwrap();
        }
        settle().await;
        assert!(!task.is_finished());
        sleep(Duration::from_secs(61)).await;
        let error = ends(task).await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Timeout(Timeout::Write)), "{error:?}");
        assert!(message.write(b"late").await.is_err());
        drop(message);
        for _ in 0..3 {
            ends(peer.recv()).await.unwrap().unwrap();
        }
        assert_eq!(ends(peer.recv()).await.unwrap(), None);
    }
}

#[each_fault(counts)]
async fn text_that_is_not_utf8_is_refused_where_it_is_written() {
    let (mut peer, mut ws) = Peer::client();
    let mut message = ws.message(Kind::Text).await.unwrap();
    message.write(b"\xe2\x82").await.unwrap();
    let error = message.write(b"x").await.unwrap_err();
    assert!(matches!(error, Error::Send(SendError::InvalidUtf8)));
    message.write(b"\xac").await.unwrap();
    message.write(b"\xe2").await.unwrap();
    let error = message.finish().unwrap_err();
    assert!(matches!(error, Error::Send(SendError::InvalidUtf8)));
    for _ in 0..3 {
        ends(peer.recv()).await.unwrap().unwrap();
    }
    let close = ends(peer.recv()).await.unwrap();
    assert_eq!(
        close,
        Some(Frame::close(1011, "a message was not finished"))
    );
}

#[each_fault]
async fn a_message_is_read_as_it_comes_and_the_next_one_whole() {
    for driven in [false, true] {
        let (mut peer, ws) = Peer::client();
        let read = |mut ws: WebSocket| async move {
            let mut parts = Vec::new();
            let mut message = ws.recv_reader().await?.unwrap();
            assert_eq!(message.kind(), Kind::Text);
            while let Some(part) = message.next().await? {
                parts.push(String::from_utf8(part.to_vec()).unwrap());
            }
            assert!(message.next().await?.is_none());
            drop(message);
            assert_eq!(parts, ["a", "€b", "c", "d"]);
            assert_eq!(ws.recv().await?, Some(Message::from("whole")));
            Ok(())
        };
        let task = tokio::spawn(async move {
            if driven {
                drive(ws, read).await
            } else {
                read(ws).await
            }
        });
        let frames = ["01 81 00000000 61", "89 80 00000000", "00 82 00000000 e282"];
        for hex in frames {
            peer.hex(hex).await.unwrap();
            settle().await;
        }
        for hex in ["00 83 00000000 ac62", "63", "80 81 00000000 64"] {
            peer.hex(hex).await.unwrap();
            settle().await;
        }
        peer.send(Frame::text("whole")).await.unwrap();
        assert_eq!(ends(peer.recv()).await.unwrap(), Some(Frame::pong("")));
        ends(task).await.unwrap().unwrap();
    }
}

#[each_fault]
async fn a_reader_that_is_dropped_early_discards_the_rest() {
    for driven in [false, true] {
        for wait in [false, true] {
            let (mut peer, ws) = Peer::client();
            let read = move |mut ws: WebSocket| async move {
                let mut message = ws.recv_reader().await?.unwrap();
                assert_eq!(message.next().await?.unwrap(), "first");
                if wait {
                    sleep(Duration::from_secs(1)).await;
                }
                drop(message);
                assert_eq!(ws.recv().await?, Some(Message::from("whole")));
                assert_eq!(ws.recv().await?, Some(Message::from("again")));
                Ok(())
            };
            let task = tokio::spawn(async move {
                if driven {
                    drive(ws, read).await
                } else {
                    read(ws).await
                }
            });
            peer.hex("01 85 00000000 6669727374").await.unwrap();
            settle().await;
            peer.hex("00 81 00000000 78").await.unwrap();
            settle().await;
            peer.hex("89 80 00000000").await.unwrap();
            peer.hex("80 81 00000000 79").await.unwrap();
            peer.send(Frame::text("whole")).await.unwrap();
            peer.send(Frame::text("again")).await.unwrap();
            ends(task).await.unwrap().unwrap();
        }
    }
}

#[each_fault]
async fn a_close_in_the_middle_of_a_message_is_an_error_to_its_reader() {
    let (mut peer, mut ws) = Peer::client();
    peer.hex("01 81 00000000 61").await.unwrap();
    let mut message = ws.recv_reader().await.unwrap().unwrap();
    assert_eq!(message.next().await.unwrap().unwrap(), "a");
    peer.send(Frame::close(1000, "")).await.unwrap();
    peer.shutdown().await.unwrap();
    assert!(matches!(ends(message.next()).await, Err(Error::Closed)));
    drop(message);
    assert!(ws.recv().await.unwrap().is_none());
}

#[each_fault]
async fn the_limit_holds_for_a_message_in_parts() {
    let options = Options::new().max_message(10);
    let (mut peer, mut ws) = Peer::of(Role::Server, &options, 1024);
    peer.hex("02 88 00000000 0102030405060708").await.unwrap();
    let mut message = ws.recv_reader().await.unwrap().unwrap();
    assert_eq!(message.next().await.unwrap().unwrap().len(), 8);
    peer.hex("80 83 00000000").await.unwrap();
    let error = ends(message.next()).await.unwrap_err();
    assert_eq!(error.close_code(), Some(CloseCode::TOO_BIG));
}

#[tokio::test(start_paused = true)] // 64 MiB
async fn a_message_of_64_mib_passes_in_parts_at_bounded_memory() {
    const PIECE: usize = 100_000;
    const PIECES: usize = 670;
    let options = Options::new().max_message(None);
    let (mut client, mut server) = pair_with(&options, &options, 64 << 10);
    let writing = tokio::spawn(async move {
        let mut message = client.message(Kind::Binary).await?;
        for piece in 0..PIECES {
            message.write(vec![piece as u8; PIECE]).await?;
        }
        message.finish()?;
        client.close(CloseCode::NORMAL, "").await
    });
    let mut message = ends(server.recv_reader()).await.unwrap().unwrap();
    let mut at = 0;
    while let Some(part) = ends(message.next()).await.unwrap() {
        assert!(part.len() <= 512 << 10, "{}", part.len());
        for byte in &part {
            assert_eq!(usize::from(*byte), at / PIECE % 256);
            at += 1;
        }
    }
    drop(message);
    assert_eq!(at, PIECE * PIECES);
    assert!(ends(server.recv()).await.unwrap().is_none());
    ends(writing).await.unwrap().unwrap();
}

#[each_fault]
async fn a_large_message_lets_a_pong_pass() {
    let (mut peer, ws) = Peer::of(Role::Server, &Options::new(), 64 << 10);
    let sender = ws.sender();
    tokio::spawn(drive(ws, listen));
    sender.send(vec![0; 8 << 20]).await.unwrap();
    peer.send(Frame::ping("soon")).await.unwrap();
    let mut before = 0;
    loop {
        let frame = ends(peer.recv()).await.unwrap().unwrap();
        if frame == Frame::pong("soon") {
            break;
        }
        before += frame.payload.len();
    }
    assert!(before <= 2 << 20, "{before}");
}

#[each_fault]
async fn both_ends_in_parts() {
    let (mut client, mut server) = pair();
    let task = tokio::spawn(async move {
        let mut reply = client.message(Kind::Text).await?;
        reply.write("x".repeat(1000)).await?;
        reply.finish()?;
        client.close(CloseCode::NORMAL, "").await
    });
    let mut message = ends(server.recv_reader()).await.unwrap().unwrap();
    let mut len = 0;
    while let Some(part) = ends(message.next()).await.unwrap() {
        len += part.len();
    }
    drop(message);
    assert_eq!(len, 1000);
    assert!(ends(server.recv_reader()).await.unwrap().is_none());
    ends(task).await.unwrap().unwrap();
}
