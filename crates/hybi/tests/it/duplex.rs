//! A WebSocket as a stream of bytes, in memory; over sockets in `tunnel`.

use std::error::Error as _;
use std::io::{self, ErrorKind};

use futures_util::{SinkExt, StreamExt};
use hybi::test::{Frame, Script};
use hybi::{
    Bytes, CloseCode, Duplex, Error, Io, Message, Options, Role, Timeout, WebSocket, drive,
};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional, duplex, split};
use tokio::task::JoinHandle;
use tokio_util::codec::LengthDelimitedCodec;

use crate::cancel::poll_times;
use crate::fault::each_fault;
use crate::support::{
    Peer, ends, masked, own_waker, pair, pair_with, server, server_with, settle, unmasked,
};

/// Runs this with the socket as a stream of bytes, driven or not.
fn run<S, F, Fut, T>(ws: WebSocket<S>, driven: bool, f: F) -> JoinHandle<T>
where
    S: Io,
    F: FnOnce(Duplex<S>) -> Fut + Send + 'static,
    Fut: Future<Output = T> + Send,
    T: Send + 'static,
{
    tokio::spawn(async move {
        if !driven {
            return f(ws.into_io()).await;
        }
        let mut output = None;
        let handler = async |ws: WebSocket<S>| {
            output = Some(f(ws.into_io()).await);
            Ok(())
        };
        drive(ws, handler).await.unwrap();
        output.unwrap()
    })
}

/// What was wrong, as the library says it.
fn inner(error: &io::Error) -> &Error {
    error.get_ref().unwrap().downcast_ref().unwrap()
}

/// Bytes that repeat only after a prime number of them.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

/// Characters of one to four bytes.
fn characters(len: usize) -> Vec<u8> {
    "aé€😀".repeat(len.div_ceil(10)).into_bytes()
}

/// Writes all in pieces of these sizes while it reads as much in pieces of those.
async fn exchange<S: Io>(io: Duplex<S>, data: Vec<u8>, writes: Vec<usize>, reads: Vec<usize>) {
    let (mut reader, mut writer) = split(io);
    let write = async {
        let mut rest = &data[..];
        for size in writes.iter().cycle() {
            let (piece, behind) = rest.split_at(rest.len().min(*size));
            if piece.is_empty() {
                break;
            }
            writer.write_all(piece).await.unwrap();
            rest = behind;
        }
        writer.flush().await.unwrap();
    };
    let read = async {
        let mut received = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        for size in reads.iter().cycle() {
            if received.len() == data.len() {
                break;
            }
            let n = reader.read(&mut buffer[..*size]).await.unwrap();
            assert!(n > 0, "{} of {}", received.len(), data.len());
            received.extend_from_slice(&buffer[..n]);
        }
        assert!(received == data);
    };
    tokio::join!(write, read);
    writer.shutdown().await.unwrap();
    assert_eq!(reader.read(&mut [0; 10]).await.unwrap(), 0);
}

fn exchanged(
    len: usize,
    transport: usize,
    [driven_client, driven_server, text]: [bool; 3],
    [writes, reads]: [Vec<usize>; 2],
) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let options = Options::new();
        let (client, server) = pair_with(&options, &options, transport);
        let data = if text { characters(len) } else { pattern(len) };
        let go = move |data: Vec<u8>, writes: Vec<usize>, reads: Vec<usize>| {
            move |io: Duplex| {
                let io = if text { io.text() } else { io };
                exchange(io, data, writes, reads)
            }
        };
        let client = run(
            client,
            driven_client,
            go(data.clone(), writes.clone(), reads.clone()),
        );
        let server = run(server, driven_server, go(data, reads, writes));
        ends(client).await.unwrap();
        ends(server).await.unwrap();
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn every_byte_arrives_whatever_the_pieces_both_ways(
        len in 0..50_000usize,
        transport in 1..70_000usize,
        how in any::<[bool; 3]>(),
        writes in prop::collection::vec(1..5000usize, 1..5),
        reads in prop::collection::vec(1..5000usize, 1..5),
    ) {
        exchanged(len, transport, how, [writes, reads]);
    }
}

#[test]
fn every_size_of_a_piece_from_one_byte_up_arrives() {
    for size in (1..10).chain([124, 125, 126, 127, 4096, 65_535, 65_536]) {
        for how in [[false; 3], [true; 3], [true, false, true]] {
            exchanged(size * 20 + 1, 64, how, [vec![size], vec![size]]);
            exchanged(3000, 1, how, [vec![size], vec![1]]);
        }
    }
}

#[each_fault(counts)]
async fn a_write_is_a_message_of_its_kind_and_at_most_64_kib() {
    let (client, mut server) = pair();
    let mut io = client.into_io();
    assert_eq!(io.write(b"").await.unwrap(), 0);
    assert_eq!(io.write(b"bytes").await.unwrap(), 5);
    let slices = [io::IoSlice::new(b"two "), io::IoSlice::new(b"slices")];
    assert_eq!(io.write_vectored(&slices).await.unwrap(), 10);
    let mut io = io.text();
    assert_eq!(io.write(b"text").await.unwrap(), 4);
    for expected in [Message::from(b"bytes"), b"two slices".into(), "text".into()] {
        assert_eq!(server.recv().await.unwrap(), Some(expected));
    }
    assert_eq!(io.write(&[b'a'; 100_000]).await.unwrap(), 65_536);
}

#[each_fault(counts)]
async fn a_character_cut_between_two_writes_is_sent_whole_and_what_is_none_is_refused() {
    let (mut peer, ws) = Peer::client();
    let mut io = ws.into_io().text();
    for byte in "aé€😀".bytes() {
        io.write_all(&[byte]).await.unwrap();
    }
    for expected in ["a", "é", "€", "😀"] {
        assert_eq!(peer.recv().await.unwrap(), Some(Frame::text(expected)));
    }
    io.write_all(b"\xe2\x82").await.unwrap();
    let error = io.write(b"no").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(matches!(inner(&error), Error::Send(_)));
    let error = io.write(b"\xff").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    io.write_all(b"\xac!").await.unwrap();
    assert_eq!(peer.recv().await.unwrap(), Some(Frame::text("€!")));
    io.write_all(b"end\xe2").await.unwrap();
    let error = io.shutdown().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert_eq!(peer.recv().await.unwrap(), Some(Frame::text("end")));
    let close = peer.recv().await.unwrap().unwrap().close_reason().unwrap();
    assert_eq!(close.0, CloseCode::INTERNAL);
}

#[each_fault]
async fn who_is_not_read_waits_with_less_than_128_kib_and_their_framing() {
    for driven in [false, true] {
        for size in [1, 1000, 100_000] {
            let (client, server) = pair_with(&Options::new(), &Options::new(), 100);
            let stats = client.sender();
            let writer = run(client, driven, move |mut io| async move {
                while io.write(&vec![7; size]).await.is_ok() {}
            });
            settle().await;
            let waiting = stats.buffered();
            assert!((64 << 10..(128 << 10) + 20).contains(&waiting), "{waiting}");
            drop((server, stats));
            ends(writer).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)] // some 10 MB each time
async fn a_message_that_is_never_finished_is_read_as_it_comes() {
    for driven in [false, true] {
        let options = Options::new().max_message(None);
        let (mut peer, ws) = Peer::of(Role::Server, &options, 4 << 20);
        let sender = ws.sender();
        let reader = run(ws, driven, |mut io| async move {
            let (mut received, mut buffer) = (Vec::new(), vec![0; 1 << 20]);
            while received.len() < 10_000_000 {
                let n = io.read(&mut buffer).await.unwrap();
                assert!(n <= 272 << 10, "{n} bytes were held");
                received.extend_from_slice(&buffer[..n]);
            }
            received == pattern(10_000_000)
        });
        let write = async {
            for (n, piece) in pattern(10_000_000).chunks(250_000).enumerate() {
                let frame = if n == 0 {
                    Frame::binary(piece)
                } else {
                    Frame::continuation(piece)
                };
                peer.send(frame.unfinished()).await.unwrap();
            }
        };
        ends(write).await;
        assert!(ends(reader).await.unwrap());
        assert_eq!(sender.stats().messages_received, 0);
    }
}

#[each_fault]
async fn a_clean_close_is_the_end_of_the_file_and_writing_is_a_broken_pipe() {
    for driven in [false, true] {
        let (client, server) = pair();
        let server = run(server, driven, |mut io| async move {
            let mut all = Vec::new();
            io.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, b"all");
            assert_eq!(io.read(&mut [0; 1]).await.unwrap(), 0);
            let error = io.write(b"more").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            assert!(matches!(inner(&error), Error::Closed));
            io.flush().await.unwrap();
            io.shutdown().await.unwrap();
        });
        let mut io = client.into_io();
        io.write_all(b"all").await.unwrap();
        ends(io.shutdown()).await.unwrap();
        ends(io.shutdown()).await.unwrap();
        assert!(io.get_ref().close_info().unwrap().clean);
        assert_eq!(io.get_ref().close_info().unwrap().code, CloseCode::NORMAL);
        let error = io.write(b"more").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        ends(server).await.unwrap();
    }
}

#[each_fault]
async fn an_end_that_is_not_clean_is_an_error_with_its_source() {
    for driven in [false, true] {
        let (mut peer, ws) = Peer::client();
        let task = run(ws, driven, |mut io| async move {
            io.read_to_end(&mut Vec::new()).await
        });
        peer.send(Frame::binary("front")).await.unwrap();
        drop(peer);
        let error = ends(task).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert!(matches!(inner(&error), Error::Io(_)));

        let (mut peer, ws) = Peer::client();
        let task = run(ws, driven, |mut io| async move {
            let error = io.read_to_end(&mut Vec::new()).await.unwrap_err();
            let after = io.read(&mut [0; 1]).await.unwrap_err();
            assert_eq!(after.kind(), ErrorKind::ConnectionAborted);
            assert_eq!(
                io.shutdown().await.unwrap_err().kind(),
                ErrorKind::BrokenPipe
            );
            error
        });
        peer.send(Frame::text([0xff])).await.unwrap();
        while let Ok(Some(_)) = peer.recv().await {}
        drop(peer);
        let error = ends(task).await.unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(matches!(Error::from(error), Error::Protocol(_)));

        let (peer, ws) = Peer::client();
        let task = run(ws, driven, |mut io| async move { io.shutdown().await });
        let error = ends(task).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(matches!(inner(&error), Error::Timeout(Timeout::Close)));
        assert!(error.source().is_none());
        drop(peer);
    }
}

#[each_fault]
async fn what_comes_before_the_answer_to_a_shutdown_is_read_behind_it() {
    for driven in [false, true] {
        for len in [10, 1000, 60_000, 200_000, 3_000_000] {
            let (mut peer, ws) = Peer::of(Role::Server, &Options::new(), 1000);
            let task = run(ws, driven, move |mut io| async move {
                io.shutdown().await.unwrap();
                let mut all = Vec::new();
                io.read_to_end(&mut all).await.unwrap();
                assert!(all == pattern(len));
                assert!(io.get_ref().close_info().unwrap().clean);
            });
            let close = ends(peer.recv()).await.unwrap().unwrap();
            assert_eq!(close, Frame::close(1000, ""));
            for piece in pattern(len).chunks(5000) {
                ends(peer.send(Frame::binary(piece))).await.unwrap();
            }
            ends(peer.send(close)).await.unwrap();
            ends(task).await.unwrap();
        }
    }
}

#[each_fault]
async fn a_shutdown_and_a_read_in_two_tasks_both_come_to_their_end() {
    for driven in [false, true] {
        for reads_first in [false, true] {
            let (mut peer, ws) = Peer::of(Role::Server, &Options::new(), 1000);
            let task = run(ws, driven, move |io| async move {
                let (mut reader, mut writer) = split(io);
                let read = async move {
                    let mut all = Vec::new();
                    reader.read_to_end(&mut all).await.unwrap();
                    all
                };
                let close = async move { writer.shutdown().await };
                if reads_first {
                    let (all, closed) = tokio::join!(own_waker(read), own_waker(close));
                    closed.unwrap();
                    all
                } else {
                    let close = tokio::spawn(close);
                    settle().await;
                    let all = tokio::spawn(read).await.unwrap();
                    close.await.unwrap().unwrap();
                    all
                }
            });
            let close = ends(peer.recv()).await.unwrap().unwrap();
            for piece in pattern(300_000).chunks(100) {
                ends(peer.send(Frame::binary(piece))).await.unwrap();
            }
            settle().await;
            ends(peer.send(close)).await.unwrap();
            assert!(ends(task).await.unwrap() == pattern(300_000));
        }
    }
}

#[each_fault(counts)]
async fn a_read_and_a_shutdown_do_not_wait_for_one_that_was_dropped() {
    for driven in [false, true] {
        for read_is_dropped in [false, true] {
            let (mut peer, ws) = Peer::client();
            let task = run(ws, driven, move |io| async move {
                let (mut reader, mut writer) = split(io);
                let mut byte = [0; 1];
                if read_is_dropped {
                    let close = tokio::spawn(async move { writer.shutdown().await });
                    settle().await;
                    assert!(poll_times(reader.read(&mut byte), 1).is_none());
                    close.await.unwrap().unwrap();
                } else {
                    let read = tokio::spawn(async move { reader.read(&mut [0; 1]).await });
                    settle().await;
                    assert!(poll_times(writer.shutdown(), 1).is_none());
                    assert_eq!(read.await.unwrap().unwrap(), 0);
                }
            });
            let close = ends(peer.recv()).await.unwrap().unwrap();
            settle().await;
            peer.send(close).await.unwrap();
            ends(task).await.unwrap();
            drop(peer);
        }
    }
}

#[each_fault]
async fn two_that_shut_down_at_once_with_full_buffers_both_end() {
    for driven in [false, true] {
        let (client, server) = pair_with(&Options::new(), &Options::new(), 100);
        let go = |mut io: Duplex| async move {
            io.write_all(&pattern(60_000)).await.unwrap();
            io.shutdown().await.unwrap();
            let mut all = Vec::new();
            io.read_to_end(&mut all).await.unwrap();
            assert!(all == pattern(60_000));
        };
        let client = run(client, driven, go);
        let server = run(server, driven, go);
        ends(client).await.unwrap();
        ends(server).await.unwrap();
    }
}

/// Copies between a socket and a stream in memory, whose other end is given.
fn bridge(
    ws: WebSocket,
    driven: bool,
) -> (tokio::io::DuplexStream, JoinHandle<io::Result<(u64, u64)>>) {
    let (end, mut stream) = duplex(1000);
    let task = run(ws, driven, |mut io| async move {
        copy_bidirectional(&mut stream, &mut io).await
    });
    (end, task)
}

#[each_fault]
async fn a_copy_both_ways_ends_on_both_sides_whichever_ends_first() {
    for (driven, client_first) in [(false, false), (false, true), (true, false), (true, true)] {
        let (client, server) = pair_with(&Options::new(), &Options::new(), 100);
        let (a, copy_a) = bridge(client, driven);
        let (b, copy_b) = bridge(server, driven);
        let (mut first, mut second) = if client_first { (a, b) } else { (b, a) };
        let data = pattern(500_000);
        // Much has come the other way before.
        let write = second.write_all(&data);
        let mut received = vec![0; data.len()];
        let (written, read) =
            ends(async { tokio::join!(write, first.read_exact(&mut received)) }).await;
        written.unwrap();
        read.unwrap();
        assert!(received == data);
        let one = async {
            first.write_all(&data).await.unwrap();
            first.shutdown().await.unwrap();
            first.read_to_end(&mut Vec::new()).await.unwrap()
        };
        let two = async {
            let mut received = Vec::new();
            second.read_to_end(&mut received).await.unwrap();
            assert!(received == data);
            drop(second);
        };
        assert_eq!(ends(async { tokio::join!(one, two) }).await.0, 0);
        let len = data.len() as u64;
        let (a, b) = (
            ends(copy_a).await.unwrap().unwrap(),
            ends(copy_b).await.unwrap().unwrap(),
        );
        assert_eq!((a, b), ((len, len), (len, len)));
    }
}

#[each_fault]
async fn a_copy_that_still_has_to_write_when_the_peer_shuts_down_is_a_broken_pipe() {
    for (driven, client_first) in [(false, false), (false, true), (true, false), (true, true)] {
        let (client, server) = pair_with(&Options::new(), &Options::new(), 100);
        let (client, server) = (bridge(client, driven), bridge(server, driven));
        let ((mut first, copy_first), (second, copy_second)) = if client_first {
            (client, server)
        } else {
            (server, client)
        };
        let one = async {
            first.write_all(&pattern(300_000)).await.unwrap();
            first.shutdown().await.unwrap();
            first.read_to_end(&mut Vec::new()).await.unwrap()
        };
        let (mut reader, mut writer) = split(second);
        let two = async { while writer.write_all(&pattern(1000)).await.is_ok() {} };
        let mut received = Vec::new();
        let three = reader.read_to_end(&mut received);
        let (passed, (), _) = ends(async { tokio::join!(one, two, three) }).await;
        assert!(passed > 0);
        assert!(received.len() >= 300_000 - (8 << 10));
        assert!(received == pattern(received.len()));
        let (up, down) = ends(copy_first).await.unwrap().unwrap();
        assert_eq!((up, down), (300_000, passed as u64));
        let error = ends(copy_second).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
}

#[each_fault]
async fn a_copy_whose_peer_is_gone_is_an_error_and_one_whose_peer_closes_has_all_that_was_sent() {
    for driven in [false, true] {
        for clean in [false, true] {
            let (mut peer, ws) = Peer::of(Role::Server, &Options::new(), 1000);
            let (mut end, copy) = bridge(ws, driven);
            peer.send(Frame::binary(pattern(900))).await.unwrap();
            if clean {
                peer.send(Frame::close(1000, "")).await.unwrap();
            }
            settle().await;
            drop(peer);
            let mut all = Vec::new();
            ends(end.read_to_end(&mut all)).await.unwrap();
            assert!(all == pattern(900));
            drop(end);
            let copied = ends(copy).await.unwrap();
            if clean {
                assert_eq!(copied.unwrap(), (0, 900));
            } else {
                assert_eq!(copied.unwrap_err().kind(), ErrorKind::UnexpectedEof);
            }
        }
    }
}

fn parts() -> Vec<Frame> {
    vec![
        Frame::text("one"),
        Frame::ping("a"),
        Frame::binary("t").unfinished(),
        Frame::ping("b"),
        Frame::continuation("wo"),
        Frame::binary(pattern(300)),
        Frame::close(1000, "bye"),
    ]
}

fn bytes() -> Vec<u8> {
    [&b"onetwo"[..], &pattern(300)].concat()
}

#[each_fault]
async fn a_read_dropped_at_every_poll_loses_nothing() {
    for polls in (1..20).chain([100, 1000]) {
        for size in [1, 7, 1000] {
            let script = Script::new().read(masked(&parts())).eof().trickle();
            let mut io = server(script).0.into_io();
            let (mut all, mut buffer) = (Vec::new(), vec![0; size]);
            loop {
                match poll_times(io.read(&mut buffer), polls) {
                    None => {}
                    Some(Ok(0)) => break,
                    Some(n) => all.extend_from_slice(&buffer[..n.unwrap()]),
                }
            }
            assert!(all == bytes());
        }
    }
}

#[each_fault]
async fn a_write_dropped_at_every_poll_has_sent_one_message_or_nothing() {
    let options = Options::new().backlog(100);
    for polls in 0..300 {
        let (ws, log) = server_with(Script::new().trickle(), &options);
        let mut io = ws.into_io();
        let mut expected = Vec::new();
        for n in 0..40 {
            let piece = format!("number {n}");
            if let Some(n) = poll_times(io.write(piece.as_bytes()), polls) {
                assert_eq!(n.unwrap(), piece.len());
                expected.push(Frame::binary(piece));
            }
        }
        assert!(polls == 0 || expected.len() > 5);
        while poll_times(io.flush(), polls + 1).is_none() {}
        assert_eq!(log.written(), unmasked(&expected));
    }
}

#[each_fault]
async fn a_shutdown_dropped_at_every_poll_closes_once_and_loses_nothing() {
    for polls in 1..60 {
        let script = Script::new().read(masked(&parts())).eof().trickle();
        let (ws, log) = server(script);
        let mut io = ws.into_io();
        io.write_all(&pattern(500)).await.unwrap();
        loop {
            if let Some(end) = poll_times(io.shutdown(), polls) {
                end.unwrap();
                break;
            }
        }
        let mut all = Vec::new();
        ends(io.read_to_end(&mut all)).await.unwrap();
        assert!(all == bytes());
        let mut frames = Frame::decode_all(&log.written());
        frames.retain(|frame| *frame != Frame::pong("a") && *frame != Frame::pong("b"));
        // The peer closes by itself, and may be the first.
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[0], Frame::binary(pattern(500)));
        assert!(frames[1].close_reason().is_some());
    }
}

#[each_fault]
async fn frames_of_a_codec_pass_both_ways() {
    for driven in [false, true] {
        let (client, server) = pair_with(&Options::new(), &Options::new(), 100);
        let server = tokio::spawn(async move {
            let echo = |ws: WebSocket| async move {
                let framed = ws.into_framed(LengthDelimitedCodec::new());
                let (mut sink, stream) = framed.split();
                let mut stream = stream.map(|frame| frame.map(Bytes::from));
                while let Some(frame) = stream.next().await.transpose()? {
                    sink.send(frame).await?;
                }
                Ok(())
            };
            if driven {
                drive(server, echo).await
            } else {
                echo(server).await
            }
        });
        let mut framed = client.into_framed(LengthDelimitedCodec::new());
        for len in [0, 1, 1000, 200_000] {
            SinkExt::<Bytes>::send(&mut framed, pattern(len).into())
                .await
                .unwrap();
            let frame = ends(framed.next()).await.unwrap().unwrap();
            assert!(frame == pattern(len));
        }
        ends(SinkExt::<Bytes>::close(&mut framed)).await.unwrap();
        ends(server).await.unwrap().unwrap();
    }
}
