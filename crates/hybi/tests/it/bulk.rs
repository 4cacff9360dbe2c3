//! Backpressure: the backlog, and two ends that both send in bulk.

use hybi::test::Frame;
use hybi::{CloseCode, Error, Io, Options, Role, SendError, WebSocket, drive};
use tokio::net::{TcpListener, TcpSocket};

use crate::fault::each_fault;
use crate::support::{Peer, echo, ends, pair_with, settle};

#[each_fault]
async fn feed_answers_full_when_the_backlog_is_and_queues_nothing() {
    let options = Options::new().backlog(1000);
    let (mut peer, mut ws) = Peer::of(Role::Server, &options, 100);
    ws.feed(vec![1; 999 - 4]).unwrap();
    assert_eq!(ws.buffered(), 999);
    // The queue overshoots by one message at most.
    ws.feed(vec![2; 5000]).unwrap();
    let queued = ws.buffered();
    for _ in 0..3 {
        let error = ws.feed("no").unwrap_err();
        assert!(matches!(error, Error::Send(SendError::Full)));
    }
    assert_eq!(ws.buffered(), queued);
    assert!(matches!(ws.ping(""), Err(Error::Send(SendError::Full))));

    // `send` waits for room, and goes on.
    let sender = tokio::spawn(async move {
        ws.send("yes").await?;
        ws.flush().await?;
        Ok::<_, Error>(ws)
    });
    settle().await;
    assert!(!sender.is_finished());
    for expected in [
        Frame::binary(vec![1; 995]),
        Frame::binary(vec![2; 5000]),
        Frame::text("yes"),
    ] {
        assert_eq!(ends(peer.recv()).await.unwrap(), Some(expected));
    }
    let ws = ends(sender).await.unwrap().unwrap();
    assert_eq!(ws.buffered(), 0);
}

#[each_fault(counts)]
async fn a_close_is_queued_however_full_the_backlog_is() {
    let options = Options::new().backlog(100);
    let (mut peer, mut ws) = Peer::of(Role::Server, &options, 64 << 10);
    ws.feed(vec![1; 200]).unwrap();
    ws.start_close(CloseCode::NORMAL, "").unwrap();
    assert_eq!(peer.recv().await.unwrap(), Some(Frame::binary([1; 200])));
    assert_eq!(peer.recv().await.unwrap(), Some(Frame::close(1000, "")));
}

const TOTAL: usize = 64 << 20;

/// Sends all of it and receives as much, at once, without a second task: feeds until the backlog
/// is full, then receives.
async fn exchange<S: Io>(mut ws: WebSocket<S>, size: usize) -> WebSocket<S> {
    let message = bytes::Bytes::from(vec![7; size]);
    let (mut sent, mut received) = (0, 0);
    while received < TOTAL / size {
        while sent < TOTAL / size {
            match ws.feed(message.clone()) {
                Ok(()) => sent += 1,
                Err(Error::Send(SendError::Full)) => break,
                Err(error) => panic!("{error}"),
            }
        }
        let answer = ws.recv().await.unwrap().expect("the peer sends as much");
        assert_eq!(answer.len(), size);
        received += 1;
    }
    for _ in sent..TOTAL / size {
        ws.send(message.clone()).await.unwrap();
    }
    ws.flush().await.unwrap();
    ws
}

async fn part(one: WebSocket<impl Io>, two: WebSocket<impl Io>) {
    let (mut one, mut two) = (one, two);
    let (closed, end) = tokio::join!(one.close(CloseCode::NORMAL, ""), two.recv());
    assert!(closed.unwrap().clean);
    assert_eq!(end.unwrap(), None);
}

#[tokio::test(start_paused = true)] // 64 MiB
async fn two_undriven_ends_that_both_send_64_mib_over_4_kib_finish() {
    let options = Options::new();
    let (client, server) = pair_with(&options, &options, 4 << 10);
    let client = tokio::spawn(exchange(client, 64 << 10));
    let server = tokio::spawn(exchange(server, 64 << 10));
    let (client, server) = ends(async { tokio::join!(client, server) }).await;
    ends(part(client.unwrap(), server.unwrap())).await;
}

#[tokio::test(start_paused = true)] // 64 MiB
async fn two_driven_ends_that_both_send_64_mib_over_4_kib_finish() {
    let options = Options::new();
    let (client, server) = pair_with(&options, &options, 4 << 10);
    let handler = |ws: WebSocket| async move {
        let mut ws = exchange(ws, 64 << 10).await;
        let _ = ws.close(CloseCode::NORMAL, "").await?;
        Ok(())
    };
    let client = tokio::spawn(drive(client, handler));
    let server = tokio::spawn(drive(server, handler));
    let (client, server) = ends(async { tokio::join!(client, server) }).await;
    client.unwrap().unwrap();
    server.unwrap().unwrap();
}

#[tokio::test(start_paused = true)] // 64 MiB
async fn a_driven_echo_takes_64_mib_over_4_kib_and_gives_them_back() {
    let options = Options::new();
    let (client, server) = pair_with(&options, &options, 4 << 10);
    let server = tokio::spawn(drive(server, echo));
    let mut client = ends(exchange(client, 64 << 10)).await;
    ends(client.close(CloseCode::NORMAL, "")).await.unwrap();
    ends(server).await.unwrap().unwrap();
}

/// Many small messages, so that a queue copied once too often would show.
#[each_fault]
async fn a_full_backlog_of_small_messages_is_not_copied_for_each() {
    let (mut peer, mut ws) = Peer::of(Role::Server, &Options::new(), 100);
    let mut count = 0;
    while ws.buffered() < 1 << 20 {
        ws.send("0123456789").await.unwrap();
        count += 1;
    }
    let flushing = tokio::spawn(async move { ws.flush().await });
    for _ in 0..count {
        let frame = peer.recv().await.unwrap();
        assert_eq!(frame, Some(Frame::text("0123456789")));
    }
    ends(flushing).await.unwrap().unwrap();
}

#[tokio::test]
async fn two_ends_that_both_send_64_mib_over_sockets_with_small_buffers_finish() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(4 << 10).unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let (one, two) = tokio::join!(socket.connect(address), listener.accept());
    let options = Options::new();
    let client = WebSocket::from_stream(one.unwrap(), Role::Client, &options, &[]);
    let server = WebSocket::from_stream(two.unwrap().0, Role::Server, &options, &[]);
    let client = tokio::spawn(exchange(client, 64 << 10));
    let server = tokio::spawn(exchange(server, 64 << 10));
    let (client, server) = ends(async { tokio::join!(client, server) }).await;
    ends(part(client.unwrap(), server.unwrap())).await;
}
