//! Messages received in parts, whatever becomes of the calls and of the reader.

use std::time::Duration;

use hybi::test::{Frame, Script};
use hybi::{Kind, Message, Options, Role, WebSocket, drive};
use tokio::time::sleep;

use crate::cancel::poll_times;
use crate::fault::each_fault;
use crate::support::{Peer, ends, masked, server, settle};

fn conversation() -> Vec<Frame> {
    vec![
        Frame::text("one"),
        Frame::text("zwei €").unfinished(),
        Frame::ping("a"),
        Frame::continuation("🦀").unfinished(),
        Frame::continuation(""),
        Frame::binary(vec![3; 300]),
        Frame::text(""),
        Frame::binary(vec![4; 300]).unfinished(),
        Frame::continuation(vec![4; 200]),
        Frame::text("last"),
        Frame::close(1000, ""),
    ]
}

fn messages() -> Vec<Message> {
    vec![
        "one".into(),
        "zwei €🦀".into(),
        vec![3; 300].into(),
        "".into(),
        vec![4; 500].into(),
        "last".into(),
    ]
}

fn message(kind: Kind, bytes: Vec<u8>) -> Message {
    match kind {
        Kind::Text => String::from_utf8(bytes).unwrap().into(),
        Kind::Binary => bytes.into(),
    }
}

/// Receives one message in this way, dropping each call after so many polls, and going from one
/// call to the other while none has brought something.
async fn receive(ws: &mut WebSocket<Script>, polls: usize, yields: bool) -> Option<Message> {
    let mut guard = 0;
    loop {
        guard += 1;
        assert!(guard < 20_000, "{polls}: {:?} {:?}", ws.state(), ws.stats());
        if let Some(whole) = poll_times(ws.recv(), polls % 3) {
            return whole.unwrap();
        }
        let reader = poll_times(ws.recv_reader(), polls);
        if let Some(reader) = reader {
            let mut reader = reader.unwrap()?;
            let mut bytes = Vec::new();
            loop {
                guard += 1;
                assert!(guard < 20_000, "{polls}: {bytes:?} {reader:?}");
                match poll_times(reader.next(), polls) {
                    None if yields => tokio::task::yield_now().await,
                    None => {}
                    Some(part) => match part.unwrap() {
                        Some(part) => {
                            if reader.kind() == Kind::Text {
                                assert!(std::str::from_utf8(&part).is_ok());
                            }
                            bytes.extend_from_slice(&part);
                        }
                        None => return Some(message(reader.kind(), bytes)),
                    },
                }
            }
        }
        if yields {
            tokio::task::yield_now().await;
        }
    }
}

#[each_fault]
async fn recv_reader_next_and_recv_dropped_at_every_poll_in_turn_lose_nothing() {
    for polls in (1..20).chain([100, 1000]) {
        let script = Script::new().read(masked(&conversation())).eof().trickle();
        let (mut ws, log) = server(script);
        let mut got = Vec::new();
        while let Some(message) = receive(&mut ws, polls, false).await {
            got.push(message);
        }
        assert_eq!(got, messages());
        let written = Frame::decode_all(&log.written());
        assert_eq!(written, [Frame::pong("a"), Frame::close(1000, "")]);
    }
}

#[each_fault]
async fn a_driven_reader_dropped_at_every_poll_loses_nothing() {
    for polls in 1..10 {
        for size in [1, 2, 3, 50, 10_000] {
            let stream = masked(&conversation());
            let pieces = stream.chunks(size).map(<[u8]>::to_vec);
            let script = pieces.fold(Script::new(), |script, piece| {
                script.read(piece).read_pending()
            });
            let (ws, _log) = server(script.eof());
            let handler = drive(ws, |mut ws| async move {
                let mut got = Vec::new();
                while let Some(message) = receive(&mut ws, polls, true).await {
                    got.push(message);
                }
                assert_eq!(got, messages());
                Ok(())
            });
            ends(handler).await.unwrap();
        }
    }
}

/// Each message in parts, but given up after so many of them.
#[each_fault]
async fn a_reader_dropped_or_forgotten_after_any_part_spares_the_others() {
    for driven in [false, true] {
        for forget in [false, true] {
            for parts in 0..12 {
                for pause in [false, true] {
                    let read = move |mut ws: WebSocket| async move {
                        let mut reader = ws.recv_reader().await?.unwrap();
                        for _ in 0..parts {
                            if reader.next().await?.is_none() {
                                break;
                            }
                        }
                        if pause {
                            sleep(Duration::from_secs(1)).await;
                        }
                        if forget {
                            std::mem::forget(reader);
                        } else {
                            drop(reader);
                        }
                        let mut reader = ws.recv_reader().await?.unwrap();
                        let mut text = Vec::new();
                        while let Some(part) = reader.next().await? {
                            text.extend_from_slice(&part);
                        }
                        assert_eq!(text, b"second");
                        drop(reader);
                        assert_eq!(ws.recv().await?, Some("third".into()));
                        assert_eq!(ws.recv().await?, None);
                        Ok(())
                    };
                    let (mut peer, ws) = Peer::client();
                    let task = tokio::spawn(async move {
                        if driven {
                            drive(ws, read).await
                        } else {
                            read(ws).await
                        }
                    });
                    peer.send(Frame::text("0").unfinished()).await.unwrap();
                    settle().await;
                    for n in 1..10 {
                        let last = n == 9;
                        let frame = Frame::continuation(n.to_string());
                        let frame = if last { frame } else { frame.unfinished() };
                        peer.send(frame).await.unwrap();
                        if n % 3 == 0 {
                            settle().await;
                        }
                    }
                    peer.send(Frame::text("sec").unfinished()).await.unwrap();
                    settle().await;
                    peer.send(Frame::continuation("ond")).await.unwrap();
                    peer.send(Frame::text("third")).await.unwrap();
                    peer.send(Frame::close(1000, "")).await.unwrap();
                    ends(task).await.unwrap().unwrap();
                }
            }
        }
    }
}

#[each_fault]
async fn the_limit_of_fragments_holds_in_parts() {
    let options = Options::new().max_fragments(3);
    let (mut peer, mut ws) = Peer::of(Role::Server, &options, 1024);
    for _ in 0..2 {
        let two = Frame::continuation("2").unfinished();
        let frames = [Frame::text("1").unfinished(), two, Frame::continuation("3")];
        for frame in frames {
            peer.send(frame).await.unwrap();
        }
        let mut reader = ends(ws.recv_reader()).await.unwrap().unwrap();
        while ends(reader.next()).await.unwrap().is_some() {}
    }
    let mut frame = Frame::text("1").unfinished();
    for _ in 0..4 {
        peer.send(frame).await.unwrap();
        frame = Frame::continuation("2").unfinished();
    }
    let error = match ends(ws.recv_reader()).await {
        Err(error) => error,
        Ok(reader) => {
            let mut reader = reader.unwrap();
            while let Ok(part) = ends(reader.next()).await {
                assert!(part.is_some());
            }
            panic!("the last three came at once");
        }
    };
    assert_eq!(
        error.close_code(),
        Some(hybi::CloseCode::POLICY),
        "{error:?}"
    );
}

#[each_fault]
async fn what_is_spared_counts_against_the_limit() {
    let options = Options::new().max_message(10);
    let (mut peer, mut ws) = Peer::of(Role::Server, &options, 1024);
    peer.send(Frame::binary([0; 8]).unfinished()).await.unwrap();
    drop(ends(ws.recv_reader()).await.unwrap().unwrap());
    peer.send(Frame::continuation([0; 3])).await.unwrap();
    let error = ends(ws.recv()).await.unwrap_err();
    assert_eq!(error.close_code(), Some(hybi::CloseCode::TOO_BIG));
}
