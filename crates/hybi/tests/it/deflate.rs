//! Compressed messages over a connection: agreed on, streamed, shared, and compressed elsewhere.

use std::sync::Arc;
use std::time::Duration;

use hybi::test::Frame;
use hybi::{
    Backoff, Bytes, Deflate, Error, Kind, Message, MessageRef, Options, Overflow, Prepared,
    ProtocolError, Request, SendOptions, Server, WebSocket, connect, drive, events,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cancel::poll_times;
use crate::fault::{self, each_fault};
use crate::support::{echo, ends, pair, pair_with, settle};

pub(crate) fn deflating() -> Options {
    // Those of the process are for all tests: a paused clock goes on while others hold them.
    let options = Options::new().deflate_concurrency(10);
    options.deflate(Deflate::default())
}

/// A client and a server that compress.
fn both() -> (WebSocket, WebSocket) {
    pair_with(&deflating(), &deflating(), 64 << 10)
}

/// Text that deflate makes shorter, and more of which makes no other.
pub(crate) fn prose(len: usize) -> String {
    // With compressing it.
    fault::costs(len / 8);
    let word = |at: usize| format!("{} words of number {at}, ", at % 97 * at % 97);
    let mut prose: String = (0..=len / 12).map(word).collect();
    prose.truncate(len);
    prose
}

/// What no compressor makes shorter.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let byte = |_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(byte).collect()
}

#[each_fault(counts)]
async fn compression_is_agreed_on_where_both_sides_want_it() {
    let compressed = "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12";
    for (client, server, agreed) in [
        (Options::new(), Options::new(), ""),
        (Options::new(), deflating(), compressed),
        (Options::new().deflate(None), deflating(), ""),
    ] {
        let (a, b) = fault::both(64 << 10);
        let (ours, theirs) = ends(async {
            tokio::join!(
                connect("ws://a/").options(client).over(a).into_future(),
                hybi::accept(b).options(server).into_future(),
            )
        })
        .await;
        let (mut ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
        assert_eq!(ours.extensions().to_string(), agreed);
        assert_eq!(theirs.extensions().to_string(), agreed);
        let text = prose(10_000);
        ours.send(text.clone()).await.unwrap();
        assert_eq!(ends(theirs.recv()).await.unwrap(), Some(text.into()));
        let sent = ours.stats().bytes_sent;
        assert_eq!(sent < 5_000, !agreed.is_empty(), "{sent} bytes");
    }
}

#[each_fault]
async fn in_memory_it_is_agreed_on_as_over_a_socket() {
    let (ours, theirs) = pair();
    assert_eq!(ours.extensions().deflate(), None);
    assert_eq!(theirs.extensions().to_string(), "");
    let (ours, theirs) = both();
    let params = ours.extensions().deflate().unwrap();
    assert_eq!(params.client_max_window_bits, Some(12));
    assert_eq!(ours.extensions(), theirs.extensions());
}

#[each_fault(counts)]
async fn a_message_that_is_not_to_be_compressed_is_not() {
    let (mut ours, mut theirs) = both();
    let text = prose(1000);
    let plain = SendOptions::new().compress(false);
    ours.send_with(text.clone(), plain).await.unwrap();
    assert_eq!(ours.stats().bytes_sent, 1000 + 8);
    let mut message = ours.message_with(Kind::Text, plain).await.unwrap();
    message.write(text.clone()).await.unwrap();
    message.finish().unwrap();
    assert_eq!(ours.stats().bytes_sent, 2 * 1008 + 6);
    for _ in 0..2 {
        let seen = ends(theirs.recv()).await.unwrap();
        assert_eq!(seen, Some(text.clone().into()));
    }
}

#[each_fault]
async fn a_long_message_keeps_its_place_and_lets_pings_pass() {
    let (mut ours, theirs) = both();
    let server = tokio::spawn(drive(theirs, echo));
    let long = prose(300_000);
    let expected = ["first", &long, "between", &long, "last"];
    let sender = ours.sender();
    let sending = async {
        for text in expected {
            sender.send(text).await.unwrap();
        }
    };
    let receiving = async {
        for text in expected {
            assert_eq!(ends(ours.recv()).await.unwrap(), Some(text.into()));
        }
        ours
    };
    let ((), mut ours) = tokio::join!(sending, receiving);
    let trip = ours.ping("").unwrap();
    tokio::select! {
        time = trip => drop(time.unwrap()),
        message = ours.recv() => panic!("{message:?}"),
    }
    ours.close(hybi::CloseCode::NORMAL, "").await.unwrap();
    server.await.unwrap().unwrap();
}

#[each_fault(counts)]
async fn a_send_that_is_not_driven_waits_for_the_compression() {
    let (mut ours, mut theirs) = both();
    let long = prose(200_000);
    ends(ours.send(long.clone())).await.unwrap();
    assert!(ours.stats().bytes_sent > 0, "it has left");
    assert_eq!(ours.buffered(), 0);
    assert_eq!(ends(theirs.recv()).await.unwrap(), Some(long.into()));
}

#[each_fault]
async fn a_long_message_that_is_only_fed_leaves_with_the_flush() {
    let (mut ours, mut theirs) = both();
    let long = prose(200_000);
    ours.feed(long.clone()).unwrap();
    ours.feed("short").unwrap();
    ends(ours.flush()).await.unwrap();
    assert_eq!(ours.buffered(), 0);
    assert_eq!(ends(theirs.recv()).await.unwrap(), Some(long.into()));
    assert_eq!(ends(theirs.recv()).await.unwrap(), Some("short".into()));
}

#[each_fault]
async fn a_close_stands_behind_what_is_being_compressed() {
    for driven in [false, true] {
        let (mut ours, mut theirs) = both();
        let long = prose(200_000);
        let text = long.clone();
        let task = if driven {
            tokio::spawn(drive(ours, |mut ws| async move { ws.send(text).await }))
        } else {
            tokio::spawn(async move {
                ours.feed(text)?;
                ours.close(hybi::CloseCode::NORMAL, "").await.map(drop)
            })
        };
        assert_eq!(ends(theirs.recv()).await.unwrap(), Some(long.into()));
        assert_eq!(ends(theirs.recv()).await.unwrap(), None);
        task.await.unwrap().unwrap();
    }
}

#[each_fault]
async fn a_send_that_is_dropped_at_any_poll_leaves_the_windows_together() {
    for len in [1_000, 200_000] {
        for polls in 0..4 {
            let (mut ours, mut theirs) = both();
            ours.send(prose(5_000)).await.unwrap();
            let text = prose(len);
            let sent = poll_times(ours.send(text.clone()), polls).is_some();
            ours.feed("and then").unwrap();
            ours.feed(prose(5_000)).unwrap();
            let sending = tokio::spawn(async move {
                ours.flush().await.unwrap();
                ours
            });
            let mut seen = Vec::new();
            loop {
                let message = ends(theirs.recv()).await.unwrap().unwrap();
                let last = seen.contains(&Message::from("and then"));
                seen.push(message);
                if last {
                    break;
                }
            }
            let whole = vec![
                prose(5_000).into(),
                text.into(),
                "and then".into(),
                prose(5_000).into(),
            ];
            if polls > 0 || sent {
                assert_eq!(seen, whole, "{len} bytes, {polls} polls");
            } else {
                assert_eq!(seen, [&whole[..1], &whole[2..]].concat());
            }
            drop(sending.await.unwrap());
        }
    }
}

#[tokio::test]
async fn all_that_waits_for_one_place_gets_it() {
    let options = deflating().deflate_concurrency(1);
    let server = Server::bind("127.0.0.1:0").await.unwrap().options(options);
    let address = server.local_addr().unwrap();
    let serving = tokio::spawn(server.serve(|ws, _request| echo(ws)));
    let talk = |seed: usize| async move {
        let mut ws = connect(format!("ws://{address}/")).await.unwrap();
        let text = prose(100_000 + seed);
        for _ in 0..3 {
            ws.send(text.clone()).await.unwrap();
            assert_eq!(ends(ws.recv()).await.unwrap(), Some(text.clone().into()));
        }
    };
    let all: Vec<_> = (0..20).map(|seed| tokio::spawn(talk(seed))).collect();
    for one in all {
        one.await.unwrap();
    }
    serving.abort();
}

#[tokio::test]
async fn a_broadcast_is_compressed_once_and_understood_by_all() {
    let server = Server::bind("127.0.0.1:0")
        .await
        .unwrap()
        .options(deflating());
    let address = server.local_addr().unwrap();
    let clients = server.clients();
    let serving = tokio::spawn(server.serve(|ws, _request| echo(ws)));
    let mut all = Vec::new();
    for _ in 0..5 {
        let mut ws = connect(format!("ws://{address}/")).await.unwrap();
        ws.send(prose(500)).await.unwrap();
        assert_eq!(ends(ws.recv()).await.unwrap(), Some(prose(500).into()));
        all.push(ws);
    }
    let mut plain = connect(format!("ws://{address}/"))
        .options(Options::new().deflate(None))
        .await
        .unwrap();
    plain.send("hello").await.unwrap();
    ends(plain.recv()).await.unwrap();
    all.push(plain);
    for len in [20, 1_000, 300_000] {
        let delivery = clients.broadcast(Prepared::text(prose(len)));
        assert_eq!(delivery.queued, 6);
        for ws in &mut all {
            assert_eq!(ends(ws.recv()).await.unwrap(), Some(prose(len).into()));
            // What follows refers to nothing that the peer has not.
            ws.send(prose(500)).await.unwrap();
            assert_eq!(ends(ws.recv()).await.unwrap(), Some(prose(500).into()));
        }
    }
    let (received, sent): (Vec<_>, Vec<_>) = all
        .iter()
        .map(|ws| (ws.stats().bytes_received, ws.stats().bytes_sent))
        .unzip();
    assert!(
        received[..5].iter().all(|&bytes| bytes < 150_000),
        "{received:?}"
    );
    assert!(received[5] > 300_000 && sent[5] > 1_500);
    serving.abort();
}

#[each_fault(counts)]
async fn a_message_is_written_and_read_piece_by_piece() {
    let (mut ours, mut theirs) = both();
    let pieces: Vec<_> = (0..20).map(|n| prose(2_000 + n)).collect();
    let mut writer = ours.message(Kind::Text).await.unwrap();
    writer.write(prose(200)).await.unwrap();
    let mut reader = ends(theirs.recv_reader()).await.unwrap().unwrap();
    let begun = ends(reader.next()).await.unwrap();
    assert_eq!(begun.as_deref(), Some(prose(200).as_bytes()));
    for piece in &pieces {
        writer.write(piece.as_str()).await.unwrap();
        let mut seen = Vec::new();
        while seen.len() < piece.len() {
            seen.extend(ends(reader.next()).await.unwrap().unwrap());
        }
        assert_eq!(seen, piece.as_bytes());
    }
    writer.finish().unwrap();
    assert_eq!(ends(reader.next()).await.unwrap(), None);
    drop(reader);
    assert!(ours.stats().bytes_sent < 10_000, "{:?}", ours.stats());
    ours.send("next").await.unwrap();
    assert_eq!(ends(theirs.recv()).await.unwrap(), Some("next".into()));
}

#[each_fault]
async fn a_long_part_is_compressed_elsewhere_and_in_its_place() {
    let (mut ours, mut theirs) = both();
    let sending = tokio::spawn(async move {
        let mut writer = ours.message(Kind::Binary).await.unwrap();
        for len in [10, 200_000, 0, 3_000, 150_000] {
            writer.write(noise(len)).await.unwrap();
        }
        writer.finish().unwrap();
        ours.send("next").await.unwrap();
        ours.flush().await.unwrap();
        ours
    });
    // The first part is below the threshold, and decides for all.
    let whole = [noise(10), noise(200_000), noise(3_000), noise(150_000)].concat();
    let seen = ends(theirs.recv()).await.unwrap().unwrap();
    assert!(seen.as_bytes() == whole);
    assert_eq!(ends(theirs.recv()).await.unwrap(), Some("next".into()));
    let mut ours = sending.await.unwrap();
    let sending = tokio::spawn(async move {
        let mut writer = ours.message(Kind::Text).await.unwrap();
        for len in [200_000, 3_000, 150_000] {
            writer.write(prose(len)).await.unwrap();
        }
        writer.finish().unwrap();
        ours.flush().await.unwrap();
        ours
    });
    let whole = [prose(200_000), prose(3_000), prose(150_000)].concat();
    let seen = ends(theirs.recv()).await.unwrap().unwrap();
    assert!(seen.as_text() == Some(&whole));
    drop(sending.await.unwrap());
}

#[each_fault(counts)]
async fn a_writer_that_is_dropped_while_its_part_is_compressed_ends_the_message() {
    let (mut ours, mut theirs) = both();
    ours.send(prose(5_000)).await.unwrap();
    {
        let mut writer = ours.message(Kind::Text).await.unwrap();
        writer.write(prose(200_000)).await.unwrap();
    }
    // Nothing of it was framed, so that nothing is lost but itself.
    ours.send(prose(5_000)).await.unwrap();
    for _ in 0..2 {
        let seen = ends(theirs.recv()).await.unwrap();
        assert_eq!(seen, Some(prose(5_000).into()));
    }
}

struct Echo;

impl events::Handler for Echo {
    type State = ();

    fn on_open(&self, _: &mut events::Peer<'_>, _: Request<()>) -> hybi::Result<()> {
        Ok(())
    }

    fn on_message(&self, peer: &mut events::Peer<'_>, message: MessageRef<'_>) -> hybi::Result<()> {
        peer.send(message)
    }
}

#[each_fault]
async fn an_event_handler_sees_what_was_sent() {
    let (mut ours, theirs) = both();
    let server = tokio::spawn(events::drive(theirs, Request::new(()), Arc::new(Echo)));
    for len in [10, 1_000, 20_000, 300_000, 1_000] {
        let text = prose(len);
        let sender = ours.sender();
        let (sent, seen) = tokio::join!(sender.send(text.clone()), ends(ours.recv()));
        sent.unwrap();
        assert!(seen.unwrap() == Some(text.into()), "{len}");
    }
    let stats = ours.stats();
    assert!(stats.bytes_received < 200_000, "{stats:?}");
    ours.close(hybi::CloseCode::NORMAL, "").await.unwrap();
    server.await.unwrap().unwrap();
}

#[each_fault]
async fn what_a_policy_drops_leaves_the_windows_together() {
    let narrow = deflating().backlog(4_000);
    let (ours, mut theirs) = pair_with(&narrow, &deflating(), 100);
    let sender = ours.sender().overflow(Overflow::DropOldest);
    for n in 0..200 {
        sender.send(format!("{n} {}", prose(900))).await.unwrap();
    }
    assert!(ours.stats().dropped.oldest > 0);
    let flushing = tokio::spawn(async move {
        ours.flush_all().await;
        ours
    });
    let mut last = None;
    while last != Some(199) {
        let message = ends(theirs.recv()).await.unwrap().unwrap();
        let (n, rest) = message.as_text().unwrap().split_once(' ').unwrap();
        assert_eq!(rest, prose(900));
        last = Some(n.parse().unwrap());
    }
    drop(flushing.await.unwrap());
}

trait FlushAll {
    async fn flush_all(&self);
}

impl FlushAll for WebSocket {
    async fn flush_all(&self) {
        self.sender().flush().await.unwrap();
    }
}

/// A frame of a client with this first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Frame::binary(payload).encode(Some([0; 4]));
    frame[0] = first;
    frame
}

/// 256 KiB that inflate to 256 MiB.
fn bomb() -> Vec<u8> {
    // A block of fixed codes that says 258 zeros again and again, RFC 1951 §3.2.6: a literal, and
    // then the length 258 (code 285) at distance 1, as bits from the lowest on.
    let mut bits = vec![0, 1, 0];
    let code = |bits: &mut Vec<u8>, code: u32, len: u32| {
        bits.extend((0..len).rev().map(|bit| (code >> bit & 1) as u8));
    };
    code(&mut bits, 0b0011_0000, 8);
    for _ in 0..(256 << 20) / 258 {
        code(&mut bits, 0b1100_0101, 8);
        code(&mut bits, 0, 5);
    }
    let byte = |bits: &[u8]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | bit);
    bits.chunks(8).map(byte).collect()
}

#[tokio::test]
async fn a_bomb_is_answered_1009_in_one_frame_in_many_and_unfinished() {
    let options = deflating().max_message(1 << 20);
    let server = Server::bind("127.0.0.1:0").await.unwrap().options(options);
    let address = server.local_addr().unwrap();
    let serving = tokio::spawn(server.serve(|mut ws, _request| async move {
        match ws.recv().await {
            Err(Error::Protocol(ProtocolError::MessageTooBig { limit })) => {
                assert_eq!(limit, 1 << 20);
                Ok(())
            }
            other => panic!("{other:?}"),
        }
    }));
    let bomb = bomb();
    let firsts = std::iter::once(0x42).chain(std::iter::repeat(0x00));
    let many = firsts.zip(bomb.chunks(bomb.len() / 1000));
    let many: Vec<u8> = many.flat_map(|(first, part)| frame(first, part)).collect();
    let (whole, mut unfinished) = (frame(0xc2, &bomb), frame(0x42, &bomb));
    unfinished.pop();
    for bytes in [whole, many, unfinished] {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        );
        tcp.write_all(request.as_bytes()).await.unwrap();
        let (mut read, mut write) = tcp.split();
        let mut seen = Vec::new();
        let (_, end) = tokio::join!(write.write_all(&bytes), read.read_to_end(&mut seen));
        end.unwrap();
        let head = seen.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        let [a, b] = 1009_u16.to_be_bytes();
        assert_eq!(seen[head..], [0x88, 2, a, b]);
    }
    serving.abort();
}

#[each_fault]
async fn without_a_runtime_a_long_message_waits_for_a_call_that_has_one() {
    let (ours, mut theirs) = both();
    let sender = ours.sender();
    let fed = std::thread::spawn(move || sender.feed(prose(200_000)));
    fed.join().unwrap().unwrap();
    ends(ours.sender().flush()).await.unwrap();
    assert_eq!(
        ends(theirs.recv()).await.unwrap(),
        Some(prose(200_000).into())
    );
}

#[each_fault]
async fn a_driver_writes_what_was_compressed_without_being_asked() {
    let (mut ours, theirs) = both();
    let task = tokio::spawn(drive(theirs, |mut ws| async move {
        ws.feed(prose(200_000))?;
        std::future::pending().await
    }));
    settle().await;
    assert_eq!(
        ends(ours.recv()).await.unwrap(),
        Some(prose(200_000).into())
    );
    task.abort();
}

#[each_fault]
async fn a_stream_in_a_websocket_is_compressed() {
    let (ours, theirs) = both();
    let (mut ours, mut theirs) = (ours.into_io(), theirs.into_io());
    let bytes = Bytes::from(prose(100_000));
    let writing = async {
        ours.write_all(&bytes).await.unwrap();
        ours.flush().await.unwrap();
    };
    let mut seen = vec![0; bytes.len()];
    let (_, read) = tokio::join!(writing, theirs.read_exact(&mut seen));
    read.unwrap();
    assert_eq!(seen, bytes);
}

#[tokio::test]
async fn a_session_sends_the_next_message_when_a_long_one_has_left() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let serving = server.options(deflating()).serve(|ws, _request| echo(ws));
    let serving = tokio::spawn(serving);
    let url = format!("ws://{address}/");
    let mut session = connect(url).reconnect(Backoff::default());
    for len in [200_000, 20, 1_200_000, 20] {
        session.send(prose(len)).await.unwrap();
    }
    for len in [200_000, 20, 1_200_000, 20] {
        let seen = ends(session.recv()).await.unwrap();
        assert!(seen == Some(prose(len).into()), "{len}");
    }
    assert_eq!(session.queued(), 0);
    serving.abort();
}

#[each_fault(counts)]
async fn each_direction_has_a_window_of_its_own() {
    let (mut ours, mut theirs) = both();
    for n in 0..50 {
        let text = format!("{n} {}", prose(300));
        ours.send(text.clone()).await.unwrap();
        assert_eq!(
            ends(theirs.recv()).await.unwrap(),
            Some(text.clone().into())
        );
        theirs.send(text.clone()).await.unwrap();
        assert_eq!(ends(ours.recv()).await.unwrap(), Some(text.into()));
        // The runtime would hold back a call some day.
        tokio::task::yield_now().await;
    }
    let (stats, len) = (ours.stats(), 50 * 300);
    assert!(stats.bytes_sent < len / 3 && stats.bytes_received < len / 3);
    assert!(
        tokio::time::timeout(Duration::ZERO, ours.recv())
            .await
            .is_err()
    );
}
