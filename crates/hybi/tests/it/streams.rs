//! `Stream` and `Sink`, by themselves and under the combinators of futures.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_util::{Sink, SinkExt, StreamExt, TryStreamExt, stream};
use hybi::test::{Frame, Script};
use hybi::{Error, Message, Options, Overflow, ProtocolError, Receiver, Sender, State, WebSocket};
use hybi::{Io, drive};

use crate::cancel::poll_times;
use crate::fault::each_fault;
use crate::support::{Peer, ends, numbers, pair, pair_with, server_with, settle, unmasked};

fn poll_ready(sink: &mut Sender) -> Poll<hybi::Result<()>> {
    Pin::new(sink).poll_ready(&mut Context::from_waker(Waker::noop()))
}

/// A pair whose client sends until the transport and the backlog are full.
fn full() -> (WebSocket, WebSocket) {
    let (mut client, server) = pair_with(&Options::new().backlog(100), &Options::new(), 64);
    while matches!(poll_times(client.send(vec![0; 50]), 1), Some(Ok(()))) {}
    (client, server)
}

async fn echo<S: Io>(ws: WebSocket<S>) -> hybi::Result<()> {
    let (sink, stream) = StreamExt::split(ws);
    stream.forward(sink).await
}

#[each_fault]
async fn split_forward_and_send_all_work_on_a_socket_driven_or_not() {
    for driven in [false, true] {
        let (client, server) = pair_with(&Options::new(), &Options::new(), 100);
        let task = if driven {
            tokio::spawn(drive(server, echo))
        } else {
            tokio::spawn(echo(server))
        };
        let messages: Vec<Message> = (0..1000).map(|n| n.to_string().into()).collect();
        let (mut sink, stream) = StreamExt::split(client);
        let send = async {
            let mut all = stream::iter(messages.clone()).map(Ok);
            sink.send_all(&mut all).await
        };
        let receive = stream.take(1000).try_collect::<Vec<_>>();
        let (sent, received) = ends(async { tokio::join!(send, receive) }).await;
        sent.unwrap();
        assert_eq!(received.unwrap(), messages);
        drop(sink);
        let _ = ends(task).await.unwrap();
    }
}

#[each_fault]
async fn a_stream_ends_with_a_clean_close_and_its_sink_closes_with_1000() {
    let (client, mut server) = pair();
    let (mut sender, mut receiver) = client.split();
    SinkExt::send(&mut sender, "last".into()).await.unwrap();
    let close = SinkExt::close(&mut sender);
    ends(close).await.unwrap();
    assert_eq!(sender.state(), State::Closing);
    let (last, end, told) = ends(async {
        let server = async {
            (
                server.next().await,
                server.next().await,
                server.next().await,
            )
        };
        let client = async { assert!(receiver.next().await.is_none()) };
        tokio::join!(server, client).0
    })
    .await;
    assert_eq!(last.unwrap().unwrap(), "last".into());
    assert!(end.is_none() && told.is_none());
    assert_eq!(server.close_info().unwrap().code, hybi::CloseCode::NORMAL);
    let sent = SinkExt::send(&mut sender, "more".into()).await;
    assert!(matches!(sent, Err(Error::Closed)));
}

#[each_fault]
async fn a_stream_gives_an_error_once_and_then_ends() {
    for driven in [false, true] {
        let (mut peer, ws) = Peer::client();
        peer.send(Frame::text("one")).await.unwrap();
        peer.send(Frame::text([0xff])).await.unwrap();
        let read = |ws: WebSocket| async move {
            let items: Vec<_> = ws.collect().await;
            assert_eq!(items.len(), 2);
            assert_eq!(*items[0].as_ref().unwrap(), "one".into());
            let expected = matches!(items[1], Err(Error::Protocol(ProtocolError::InvalidUtf8)));
            assert!(expected, "{:?}", items[1]);
            Ok(())
        };
        let task = if driven {
            tokio::spawn(drive(ws, read))
        } else {
            tokio::spawn(read(ws))
        };
        while let Ok(Some(_)) = ends(peer.recv()).await {}
        drop(peer);
        ends(task).await.unwrap().unwrap();
    }
    let (client, mut server) = pair();
    server.abort();
    let items: Vec<_> = ends(client.collect()).await;
    assert!(matches!(&items[..], [Err(Error::Io(_))]), "{items:?}");
    let script = Script::new().read_error(std::io::ErrorKind::ConnectionReset);
    let (ws, _) = server_with(script, &Options::new());
    let items: Vec<_> = ends(ws.collect()).await;
    assert!(matches!(&items[..], [Err(Error::Io(_))]), "{items:?}");
}

/// Tells the order in which four have sent, of which the sinks have polled at these times.
async fn order(client: &Sender, mut server: WebSocket) -> Vec<String> {
    let mut first = client.clone();
    assert!(poll_ready(&mut first).is_pending());
    let send = |name: &'static str| {
        let sender = client.clone();
        tokio::spawn(async move { sender.send(name).await })
    };
    let second = send("second");
    settle().await;
    let mut third = client.clone();
    assert!(poll_ready(&mut third).is_pending());
    let fourth = send("fourth");
    settle().await;
    let sinks = async {
        SinkExt::send(&mut first, "first".into()).await.unwrap();
        SinkExt::send(&mut third, "third".into()).await.unwrap();
    };
    let receive = async {
        let mut names = Vec::new();
        while names.len() < 4 {
            let message = server.recv().await.unwrap().unwrap();
            names.extend(message.as_text().map(str::to_owned));
        }
        names
    };
    let ((), names) = ends(async { tokio::join!(sinks, receive) }).await;
    second.await.unwrap().unwrap();
    fourth.await.unwrap().unwrap();
    names
}

#[each_fault]
async fn sinks_and_those_who_send_are_served_in_the_order_in_which_they_came() {
    for driven in [false, true] {
        let (client, server) = full();
        let names = if driven {
            let sender = client.sender();
            let driver = tokio::spawn(drive(client, |mut ws| async move {
                while ws.recv().await?.is_some() {}
                Ok(())
            }));
            settle().await;
            let names = order(&sender, server).await;
            driver.abort();
            names
        } else {
            order(&client.sender(), server).await
        };
        assert_eq!(names, ["first", "second", "third", "fourth"]);
    }
}

#[each_fault]
async fn a_sink_that_is_dropped_or_sends_otherwise_gives_up_its_place() {
    let (client, mut server) = full();
    let client = client.sender();
    let (mut gone, mut other) = (client.clone(), client.clone());
    assert!(poll_ready(&mut gone).is_pending());
    assert!(poll_ready(&mut other).is_pending());
    drop(gone);
    let drain = async {
        for n in 0.. {
            let message = server.recv().await.unwrap().unwrap();
            if message.as_text() == Some("last") {
                return n;
            }
        }
        0
    };
    let send = async {
        // A call of the same handle that is not the sink's does not wait for the sink.
        other.send("by send").await.unwrap();
        SinkExt::feed(&mut other, "by the sink".into())
            .await
            .unwrap();
        std::future::poll_fn(|cx| Pin::new(&mut other).poll_ready(cx))
            .await
            .unwrap();
        let permit = other.reserve().await.unwrap();
        permit.commit("by permit");
        std::future::poll_fn(|cx| Pin::new(&mut other).poll_ready(cx))
            .await
            .unwrap();
        let clone = other.clone();
        assert!(poll_times(clone.send("waits"), 3).is_none());
        other.feed("by feed").unwrap();
        clone.send("last").await.unwrap();
        clone.flush().await.unwrap();
    };
    ends(async { tokio::join!(drain, send) }).await;
}

#[each_fault]
async fn a_sink_waits_for_room_and_goes_no_more_than_one_message_over_it() {
    let (mut client, mut server) = full();
    let full = client.stats().buffered;
    let mut sinks: Vec<_> = (0..3).map(|_| client.sender()).collect();
    for sink in &mut sinks {
        assert!(poll_ready(sink).is_pending());
    }
    assert_eq!(client.stats().buffered, full);
    while matches!(poll_times(server.recv(), 1), Some(Ok(Some(_))))
        || poll_times(client.flush(), 1).is_none()
    {}
    let ready = sinks.iter_mut().map(poll_ready);
    assert_eq!(ready.filter(Poll::is_ready).count(), 1);
    Pin::new(&mut sinks[0])
        .start_send(vec![0; 200].into())
        .unwrap();
    assert!(poll_ready(&mut sinks[1]).is_pending());
    // A message that nobody was asked for is refused, not queued.
    let refused = Pin::new(&mut sinks[2]).start_send("unasked".into());
    assert!(
        matches!(refused, Err(Error::Send(hybi::SendError::Full))),
        "{refused:?}"
    );
}

#[each_fault]
async fn a_sink_with_another_policy_never_waits() {
    let (client, _server) = full();
    let mut sink = client.sender().overflow(Overflow::DropNewest);
    for _ in 0..10 {
        assert!(poll_ready(&mut sink).is_ready());
        Pin::new(&mut sink).start_send("dropped".into()).unwrap();
    }
    assert!(client.stats().dropped.newest > 0);
}

#[each_fault(counts)]
async fn a_sink_that_waits_is_told_of_the_end() {
    for driven in [false, true] {
        let (mut client, server) = full();
        let mut sinks = [client.sender(), client.sender()];
        let task = if driven {
            tokio::spawn(drive(client, |mut ws| async move {
                while ws.recv().await?.is_some() {}
                Ok(())
            }))
        } else {
            tokio::spawn(async move {
                while client.recv().await?.is_some() {}
                Ok(())
            })
        };
        settle().await;
        let [one, two] = &mut sinks;
        let (one, two) = ends(async {
            let gone = async {
                settle().await;
                drop(server);
            };
            let one = SinkExt::send(one, "one".into());
            let two = SinkExt::send(two, "two".into());
            let (one, two, ()) = tokio::join!(one, two, gone);
            (one, two)
        })
        .await;
        assert!(one.is_err() && two.is_err());
        // A driver reads before it writes, and so sees the close frame before the broken pipe.
        assert_eq!(ends(task).await.unwrap().is_ok(), driven);
    }
}

#[each_fault]
async fn the_futures_of_a_sink_dropped_at_every_poll_queue_the_whole_message_or_nothing() {
    let options = Options::new().backlog(100);
    for polls in 0..100 {
        let (mut ws, log) = server_with(Script::new().trickle(), &options);
        let mut expected = Vec::new();
        for frame in numbers(0..40) {
            let message: Message = String::from_utf8(frame.payload.to_vec()).unwrap().into();
            let queued = ws.stats().messages_sent;
            let sent = poll_times(SinkExt::send(&mut ws, message), polls);
            sent.transpose().unwrap();
            if ws.stats().messages_sent > queued {
                expected.push(frame);
            }
        }
        assert!(polls == 0 || expected.len() > 20);
        while poll_times(SinkExt::close(&mut ws), polls + 1).is_none() {}
        expected.push(Frame::close(1000, ""));
        assert_eq!(log.written(), unmasked(&expected));
    }
}

#[test]
fn the_halves_are_shared_and_moved_between_threads() {
    fn check<T: Send + Sync + Unpin>() {}
    check::<WebSocket>();
    check::<Sender>();
    check::<Receiver>();
    check::<hybi::Duplex>();
    // Each future of a handler holds one.
    assert_eq!(size_of::<Sender>(), 3 * size_of::<usize>());
}
