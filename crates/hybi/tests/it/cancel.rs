//! Every async method, dropped at every poll: nothing is lost, doubled or torn.
//!
//! The transports are pending before every byte, so that a call can be dropped between any two.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use hybi::test::{Frame, Script};
use hybi::{CloseCode, Event, Message, Options, Role, WebSocket, connect};

use crate::fault::{self, each_fault};
use crate::support::{ends, masked, numbers, server, server_with, unmasked};

/// Polls a call so many times, then drops it; what it gave if it came to that.
pub(crate) fn poll_times<T>(future: impl Future<Output = T>, times: usize) -> Option<T> {
    // The tests do not yield, so that the runtime would hold back a call some day.
    let mut future = pin!(tokio::task::unconstrained(future));
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..times {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Some(output);
        }
    }
    None
}

/// Calls `recv` as often as it takes, dropping each call after so many polls.
fn received(ws: &mut WebSocket<Script>, polls: usize) -> Vec<Message> {
    let mut messages = Vec::new();
    loop {
        match poll_times(ws.recv(), polls) {
            None => {}
            Some(Ok(Some(message))) => messages.push(message),
            Some(Ok(None)) => return messages,
            Some(Err(error)) => panic!("{error}"),
        }
    }
}

fn conversation() -> Vec<Frame> {
    vec![
        Frame::text("one"),
        Frame::ping("a"),
        Frame::text("t").unfinished(),
        Frame::ping("b"),
        Frame::continuation("wo"),
        Frame::binary(vec![3; 300]),
        Frame::close(1000, "bye"),
    ]
}

fn messages() -> Vec<Message> {
    vec!["one".into(), "two".into(), vec![3; 300].into()]
}

fn answers() -> Vec<Frame> {
    vec![
        Frame::pong("a"),
        Frame::pong("b"),
        Frame::close(1000, "bye"),
    ]
}

#[each_fault]
async fn recv_dropped_at_every_poll_loses_nothing() {
    for polls in (1..20).chain([100, 1000]) {
        let script = Script::new().read(masked(&conversation())).eof().trickle();
        let (mut ws, log) = server(script);
        assert_eq!(received(&mut ws, polls), messages());
        assert_eq!(Frame::decode_all(&log.written()), answers());
    }
}

#[each_fault]
async fn recv_event_dropped_at_every_poll_loses_nothing() {
    for polls in 1..20 {
        let script = Script::new().read(masked(&conversation())).eof().trickle();
        let (mut ws, log) = server(script);
        let mut events = Vec::new();
        loop {
            match poll_times(ws.recv_event(), polls) {
                None => {}
                Some(event) => match event.unwrap() {
                    Some(event) => events.push(event),
                    None => break,
                },
            }
        }
        let [one, two, three] = <[Message; 3]>::try_from(messages()).unwrap();
        assert!(matches!(events.pop(), Some(Event::Close(Some(_)))));
        let expected = [
            Event::Message(one),
            Event::Ping("a".into()),
            Event::Ping("b".into()),
            Event::Message(two),
            Event::Message(three),
        ];
        assert_eq!(events, expected);
        assert_eq!(Frame::decode_all(&log.written()), answers());
    }
}

/// Drops each `send` after so many polls, and repeats what was not queued.
#[each_fault]
async fn send_dropped_at_every_poll_has_queued_the_whole_message_or_nothing() {
    let options = Options::new().backlog(100);
    for polls in 0..300 {
        let (mut ws, log) = server_with(Script::new().trickle(), &options);
        let mut expected = Vec::new();
        for frame in numbers(0..40) {
            let message: Message = String::from_utf8(frame.payload.to_vec()).unwrap().into();
            let before = ws.buffered();
            match poll_times(ws.send(message.clone()), polls) {
                Some(sent) => {
                    sent.unwrap();
                    expected.push(frame);
                }
                // Waiting for room writes, but queues nothing.
                None => assert!(ws.buffered() <= before),
            }
        }
        assert!(polls == 0 || expected.len() > 20);
        ends(ws.flush()).await.unwrap();
        assert_eq!(log.written(), unmasked(&expected));
    }
}

#[each_fault]
async fn flush_dropped_at_every_poll_writes_every_byte_once() {
    for polls in 1..50 {
        let (mut ws, log) = server(Script::new().trickle());
        ws.feed("first").unwrap();
        ws.feed(vec![7; 10_000]).unwrap();
        ws.feed("last").unwrap();
        while poll_times(ws.flush(), polls * 50).is_none() {}
        assert_eq!(ws.buffered(), 0);
        let frames = [
            Frame::text("first"),
            Frame::binary(vec![7; 10_000]),
            Frame::text("last"),
        ];
        assert_eq!(log.written(), unmasked(&frames));
    }
}

#[each_fault]
async fn close_dropped_at_every_poll_closes_once() {
    for role in [Role::Server, Role::Client] {
        let answer = [Frame::text("late"), Frame::close(4000, "bye")];
        for polls in 1..60 {
            let bytes = match role {
                Role::Server => masked(&answer),
                Role::Client => unmasked(&answer),
            };
            let script = Script::new().read(bytes).eof().trickle();
            let log = script.log();
            let script = fault::script(script);
            let mut ws = WebSocket::from_stream(script, role, &Options::new(), &[]);
            let info = loop {
                if let Some(info) = poll_times(ws.close(4000.into(), "bye"), polls) {
                    break info.unwrap();
                }
            };
            assert!(info.clean);
            assert_eq!(info.code, CloseCode::new(4000));
            let frames = Frame::decode_all(&log.written());
            assert_eq!(frames, [Frame::close(4000, "bye")]);
            assert!(log.is_shut_down() && log.is_dropped());
        }
    }
}

/// Calls of all kinds, dropped early, one after the other on the same socket.
#[each_fault]
async fn all_methods_dropped_in_turn_leave_both_streams_whole() {
    for polls in 1..30 {
        let script = Script::new().read(masked(&conversation())).eof().trickle();
        let (mut ws, log) = server(script);
        let (mut got, mut sent, mut n) = (Vec::new(), Vec::new(), 0);
        loop {
            match poll_times(ws.recv(), polls) {
                None => {}
                Some(message) => match message.unwrap() {
                    Some(message) => got.push(message),
                    None => break,
                },
            }
            n += 1;
            if n % 5 == 0
                && let Some(Ok(())) = poll_times(ws.send(n.to_string()), polls)
            {
                sent.push(Frame::text(n.to_string()));
            }
            let _ = poll_times(ws.flush(), polls);
        }
        assert_eq!(got, messages());
        let mut written = Frame::decode_all(&log.written());
        let whole: usize = written.iter().map(|frame| frame.encode(None).len()).sum();
        assert_eq!(whole, log.written().len());
        written.retain(|frame| !answers().contains(frame));
        assert_eq!(written, sent);
    }
}

const REQUEST: &[u8] = b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[each_fault]
async fn a_server_handshake_dropped_at_every_poll_drops_its_stream_and_one_left_alone_holds() {
    let mut request = REQUEST.to_vec();
    request.extend(masked(&conversation()));
    for polls in 0.. {
        let script = Script::new().read(request.clone()).eof().trickle();
        let log = script.log();
        let Some(ws) = poll_times(hybi::accept(fault::script(script)).into_future(), polls) else {
            assert!(log.is_dropped());
            assert!(b"HTTP/1.1 101".starts_with(&log.written()[..log.written().len().min(12)]));
            continue;
        };
        let mut ws = ws.unwrap();
        assert!(polls > REQUEST.len());
        assert_eq!(received(&mut ws, 1), messages());
        let written = log.written();
        let end = written
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap()
            + 4;
        assert_eq!(Frame::decode_all(&written[end..]), answers());
        break;
    }
}

#[each_fault]
async fn a_client_handshake_dropped_at_every_poll_drops_its_stream() {
    for polls in 0.. {
        let script = Script::new().read(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]);
        let script = script.eof().trickle();
        let log = script.log();
        let connect = connect("ws://localhost/").over(fault::script(script));
        match poll_times(connect, polls) {
            None => assert!(log.is_dropped()),
            Some(result) => {
                result.unwrap_err();
                break;
            }
        }
    }
}

#[each_fault]
async fn a_driven_recv_dropped_at_every_poll_loses_nothing() {
    for polls in 1..10 {
        let script = Script::new().read(masked(&conversation())).eof().trickle();
        let (ws, log) = server(script);
        let handler = hybi::drive(ws, |mut ws| async move {
            let mut got = Vec::new();
            loop {
                match poll_times(ws.recv(), polls) {
                    None => tokio::task::yield_now().await,
                    Some(message) => match message? {
                        Some(message) => got.push(message),
                        None => break,
                    },
                }
            }
            assert_eq!(got, messages());
            Ok(())
        });
        ends(handler).await.unwrap();
        assert_eq!(Frame::decode_all(&log.written()), answers());
    }
}

/// Clients come, and the call that waits for them is dropped all the time.
#[tokio::test]
async fn accept_of_a_server_dropped_at_every_poll_loses_no_client() {
    let mut server = hybi::Server::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let clients: Vec<_> = (0..20)
        .map(|_| tokio::spawn(connect(url.clone()).into_future()))
        .collect();
    let mut accepted = Vec::new();
    let all = async {
        while accepted.len() < 20 {
            if let Some(incoming) = poll_times(server.accept(), 1) {
                accepted.push(incoming.unwrap().accept().await.unwrap());
            }
            tokio::task::yield_now().await;
        }
    };
    ends(all).await;
    for client in clients {
        ends(client).await.unwrap().unwrap();
    }
}
