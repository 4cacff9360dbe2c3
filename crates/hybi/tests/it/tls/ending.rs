//! How a connection ends over TLS, whether the peer says so or not.

use std::io;
use std::time::Duration;

use hybi::test::Frame;
use hybi::{CloseCode, Initiator, Options, Role, Stream, Timeout};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::fault::{both, each_fault};
use crate::support::{ends, masked, settle, unmasked};

/// Both ends of a TLS connection, without WebSockets: the client's, and the server's.
async fn streams(buffer: usize) -> (Stream, Stream) {
    let authority = Authority::new();
    let (a, b) = both(buffer);
    let (client, server) = (authority.client(), authority.server("localhost"));
    let (client, server) = tokio::join!(
        client.connect(a.into(), "localhost"),
        server.accept(b.into())
    );
    (client.unwrap(), server.unwrap().0)
}

/// One end as a WebSocket, and the other raw.
async fn one_end(role: Role) -> (WebSocket, Stream) {
    let (client, server) = streams(BUFFER).await;
    let (ours, theirs) = match role {
        Role::Client => (client, server),
        Role::Server => (server, client),
    };
    let ws = WebSocket::from_stream(ours, role, &Options::new(), &[]);
    (ws, theirs)
}

/// What the other end of this one sends.
fn frames(role: Role, frames: &[Frame]) -> Vec<u8> {
    match role {
        Role::Client => unmasked(frames),
        Role::Server => masked(frames),
    }
}

#[each_fault]
async fn the_end_is_said_to_the_peer_on_both_sides() {
    for role in [Role::Client, Role::Server] {
        let (mut ws, mut peer) = one_end(role).await;
        let close = frames(role, &[Frame::close(CloseCode::NORMAL, "")]);
        let read = async {
            peer.write_all(&close).await.unwrap();
            peer.flush().await.unwrap();
            if role == Role::Client {
                // RFC 6455 §7.1.1: the server ends first.
                peer.shutdown().await.unwrap();
            }
            let mut rest = Vec::new();
            // Without a close_notify this is an error.
            peer.read_to_end(&mut rest).await.unwrap();
            peer.shutdown().await.unwrap();
            rest
        };
        let (end, rest) = tokio::join!(ends(ws.recv()), ends(read));
        assert_eq!(end.unwrap(), None, "{role:?}");
        assert_eq!(Frame::decode_all(&rest).len(), 1, "{role:?}");
    }
}

#[each_fault]
async fn a_peer_that_ends_without_a_word_after_both_close_frames_is_clean() {
    for role in [Role::Client, Role::Server] {
        let (mut ws, mut peer) = one_end(role).await;
        let answer = async {
            let mut close = [0; 4];
            peer.read_exact(&mut close).await.unwrap();
            let close = frames(role, &[Frame::close(CloseCode::NORMAL, "")]);
            peer.write_all(&close).await.unwrap();
            peer.flush().await.unwrap();
            drop(peer);
        };
        let (closed, ()) = tokio::join!(ends(ws.close(CloseCode::NORMAL, "")), answer);
        closed.unwrap();
        assert_eq!(ends(ws.recv()).await.unwrap(), None, "{role:?}");
        let info = ws.close_info().unwrap();
        assert!(info.clean, "{role:?}");
    }
}

#[each_fault]
async fn a_peer_that_ends_without_a_word_before_is_not_clean() {
    for role in [Role::Client, Role::Server] {
        for says_so in [false, true] {
            let (mut ws, mut peer) = one_end(role).await;
            peer.write_all(&frames(role, &[Frame::text("last")]))
                .await
                .unwrap();
            peer.flush().await.unwrap();
            if says_so {
                peer.shutdown().await.unwrap();
            }
            drop(peer);
            assert_eq!(ends(ws.recv()).await.unwrap(), Some("last".into()));
            let Err(Error::Io(error)) = ends(ws.recv()).await else {
                panic!("{role:?}");
            };
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{role:?}");
            let info = ws.close_info().unwrap();
            assert!(!info.clean, "{role:?}");
            assert_eq!(info.code, CloseCode::ABNORMAL, "{role:?}");
            assert_eq!(info.initiator, Initiator::Peer, "{role:?}");
        }
    }
}

#[each_fault]
async fn a_peer_that_takes_nothing_is_given_up_although_tls_holds_what_waits() {
    let (client, server) = streams(BUFFER).await;
    let time = Duration::from_secs(60);
    let options = Options::new().write_timeout(time);
    let mut ws = WebSocket::from_stream(client, Role::Client, &options, &[]);
    // More than the pipe holds, and less than rustls does.
    ends(ws.send(vec![7; 16 << 10])).await.unwrap();
    let error = ends(ws.recv()).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(Timeout::Write)), "{error:?}");
    drop(server);
}

#[each_fault]
async fn a_flush_of_a_driven_end_waits_for_what_tls_holds() {
    let (client, mut server) = streams(BUFFER).await;
    let ws = WebSocket::from_stream(client, Role::Client, &Options::new(), &[]);
    let (tell, told) = tokio::sync::oneshot::channel();
    let driven = tokio::spawn(hybi::drive(ws, |ws| async move {
        let (sender, mut receiver) = ws.split();
        sender.send(vec![7; 16 << 10]).await?;
        sender.flush().await?;
        let _ = tell.send(());
        while receiver.recv().await?.is_some() {}
        Ok(())
    }));
    let mut told = told;
    settle().await;
    assert!(told.try_recv().is_err(), "nobody has read");
    let mut all = vec![0; 16 << 10];
    ends(server.read_exact(&mut all)).await.unwrap();
    // The header of the frame came first.
    let mut rest = [0; 8];
    ends(server.read_exact(&mut rest)).await.unwrap();
    ends(told).await.unwrap();
    drop(server);
    assert!(ends(driven).await.unwrap().is_err());
}
