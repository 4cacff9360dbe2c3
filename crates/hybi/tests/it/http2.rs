//! WebSockets over HTTP/2 (RFC 8441): our client with servers of hyper's, which our handlers are
//! served by, and with peers that speak h2 in ways of their own.

use std::convert::Infallible;
use std::future::{poll_fn, ready};
use std::io::ErrorKind;
use std::pin::pin;
use std::time::Duration;

use ::h2::Reason;
use ::h2::server::SendResponse;
use ::hyper::body::Incoming;
use ::hyper::server::conn::http2::Builder;
use ::hyper::service::service_fn;
use http_body_util::Full;
use hybi::{
    Bytes, CloseCode, CloseInfo, Connect, Deflate, Error, HandshakeError, Initiator, Message,
    Options, Request, Response, ResponseError, StatusCode, Timeout, Upgrade, WebSocket,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::fault::{self, each_fault};
use crate::support::{ends, settle};

type Body = Full<Bytes>;

/// A client over memory, and the other end of that.
fn client() -> (Connect, DuplexStream) {
    let (ours, theirs) = fault::ours(1 << 16);
    let ours = std::sync::Mutex::new(Some(ours));
    let connect = hybi::connect("ws://example.com/chat?room=1").http2(true);
    let connect = connect.connector(move |_| {
        let stream = ours.lock().unwrap().take();
        ready(stream.ok_or_else(|| ErrorKind::NotConnected.into()))
    });
    (connect, theirs)
}

/// Serves one connection with a service that answers at once.
fn serve<F>(stream: DuplexStream, enabled: bool, service: F) -> JoinHandle<()>
where
    F: Fn(Request<Incoming>) -> Response<Body> + Send + 'static,
{
    tokio::spawn(async move {
        let service = service_fn(move |request| ready(Ok::<_, Infallible>(service(request))));
        let mut builder = Builder::new(TokioExecutor::new());
        if enabled {
            builder.enable_connect_protocol();
        }
        let _ = builder
            .serve_connection(TokioIo::new(fault::stream(stream)), service)
            .await;
    })
}

fn take(mut request: Request<Incoming>) -> Upgrade<Body> {
    hybi::upgrade(&mut request).unwrap()
}

async fn echo(ws: WebSocket, _: Request<()>) -> hybi::Result<()> {
    crate::support::echo(ws).await
}

fn handshake_error(error: Error) -> HandshakeError {
    match error {
        Error::Handshake(error) => *error,
        error => panic!("{error:?}"),
    }
}

/// Both ends: our client's, and the one that the server's side has accepted by hand.
async fn pair() -> (WebSocket, WebSocket, JoinHandle<()>) {
    let (connect, theirs) = client();
    let (give, mut given) = mpsc::unbounded_channel();
    let served = serve(theirs, true, move |request| {
        let (response, upgrading) = take(request).accept();
        let give = give.clone();
        tokio::spawn(async move { give.send(upgrading.await) });
        response
    });
    let ws = ends(connect).await.unwrap();
    let accepted = ends(given.recv()).await.unwrap().unwrap();
    (ws, accepted, served)
}

#[each_fault]
async fn both_ends_agree_on_all_that_they_agree_on_over_http_1() {
    let (connect, theirs) = client();
    let (tell, mut told) = mpsc::unbounded_channel();
    serve(theirs, true, move |request| {
        let tell = tell.clone();
        let options = Options::new().deflate(Deflate::default());
        let upgrade = take(request).options(options).protocols(["v2", "v1"]);
        upgrade.on_upgrade(move |ws, request| {
            tell.send(request).unwrap();
            echo(ws, Request::new(()))
        })
    });
    let connect = connect.protocol("v1").header("authorization", "Bearer me");
    let mut ws = ends(connect).await.unwrap();
    assert_eq!(ws.protocol(), Some("v1"));
    assert!(ws.extensions().deflate().is_some());
    assert_eq!(ws.uri().unwrap(), "ws://example.com/chat?room=1");
    let request = told.recv().await.unwrap();
    assert_eq!(request.uri().path_and_query().unwrap(), "/chat?room=1");
    assert_eq!(request.uri().host(), Some("example.com"));
    assert_eq!(request.headers()["authorization"], "Bearer me");
    assert!(!request.headers().contains_key("sec-websocket-key"));
    let message = Message::from("compressible ".repeat(1000));
    ws.send(message.clone()).await.unwrap();
    assert_eq!(ends(ws.recv()).await.unwrap(), Some(message));
}

#[each_fault]
async fn messages_larger_than_the_windows_go_both_ways() {
    let (connect, theirs) = client();
    serve(theirs, true, |request| take(request).on_upgrade(echo));
    let mut ws = ends(connect.options(Options::new().deflate(None)))
        .await
        .unwrap();
    for size in [1 << 20, 5 << 20, 0, 70_000] {
        let bytes: Vec<u8> = (0..size)
            .map(|n: u32| n.to_le_bytes()[n as usize % 3])
            .collect();
        let message = Message::from(bytes);
        ws.send(message.clone()).await.unwrap();
        // Without printing 5 MiB.
        assert!(
            ends(ws.recv()).await.unwrap() == Some(message),
            "{size} bytes"
        );
    }
}

#[each_fault]
async fn a_peer_that_does_not_read_holds_back_who_sends() {
    let (mut ws, mut accepted, _) = pair().await;
    let message = Message::from(vec![7; 1 << 20]);
    let mut sent = 0;
    let stuck = loop {
        let send = ws.send(message.clone());
        // On a paused clock this is over when nothing moves any more.
        match tokio::time::timeout(std::time::Duration::from_secs(1), send).await {
            Ok(done) => done.unwrap(),
            Err(_) => break sent,
        }
        sent += 1;
        assert!(sent < 100, "nothing holds it back");
    };
    let reading = tokio::spawn(async move {
        let mut received = 0;
        while let Some(message) = accepted.recv().await.unwrap() {
            assert_eq!(message.as_bytes().len(), 1 << 20);
            received += 1;
        }
        received
    });
    let info = ends(ws.close(CloseCode::NORMAL, "")).await.unwrap();
    assert!(info.clean, "{info:?}");
    // The one that was waiting was dropped before it was queued, or is whole.
    let received = ends(reading).await.unwrap();
    assert!(
        [stuck, stuck + 1].contains(&received),
        "{stuck} of {received}"
    );
}

#[tokio::test(start_paused = true)]
async fn no_more_than_1_mib_comes_ahead_of_what_a_client_reads() {
    let (mut ws, mut accepted, _) = pair().await;
    let most = 1 << 20;
    // What the server's side holds itself: its backlog, and what hyper has of it.
    let theirs = (1 << 20) + (2 << 20);
    let message = Message::from(vec![7; 16 << 10]);
    let mut sent = 0;
    let send = async |accepted: &mut WebSocket| {
        let send = accepted.send(message.clone());
        // On a paused clock this is over when nothing moves any more.
        let within = tokio::time::timeout(std::time::Duration::from_secs(1), send);
        within.await.is_ok_and(|sent| sent.is_ok())
    };
    while send(&mut accepted).await {
        sent += message.as_bytes().len();
        assert!(sent <= most + theirs, "{sent}");
    }
    assert!(sent >= most, "{sent}");
    // It is the reading that it waits for.
    assert_eq!(ends(ws.recv()).await.unwrap(), Some(message.clone()));
    for _ in 0..64 {
        assert_eq!(ends(ws.recv()).await.unwrap(), Some(message.clone()));
    }
    assert!(send(&mut accepted).await);
}

#[each_fault]
async fn a_close_by_either_end_is_clean_and_ends_the_connection() {
    for by_client in [true, false] {
        let (mut ws, mut accepted, served) = pair().await;
        let (closer, other) = if by_client {
            (&mut ws, &mut accepted)
        } else {
            (&mut accepted, &mut ws)
        };
        let (closed, received) =
            ends(async { tokio::join!(closer.close(CloseCode::NORMAL, "bye"), other.recv()) })
                .await;
        let is_clean =
            |info: &CloseInfo| info.clean && info.code == CloseCode::NORMAL && info.reason == "bye";
        let closed = closed.unwrap();
        assert!(
            is_clean(&closed) && closed.initiator == Initiator::Local,
            "{closed:?}"
        );
        assert_eq!(received.unwrap(), None, "{by_client}");
        let other = other.close_info().unwrap();
        assert!(
            is_clean(&other) && other.initiator == Initiator::Peer,
            "{other:?}"
        );
        // The connection has nothing else to live for, on either side.
        drop((ws, accepted));
        ends(served).await.unwrap();
    }
}

#[each_fault]
async fn what_the_handler_returns_is_how_the_connection_is_closed() {
    for (fails, code) in [(false, CloseCode::NORMAL), (true, CloseCode::INTERNAL)] {
        let (connect, theirs) = client();
        serve(theirs, true, move |request| {
            take(request).on_upgrade(move |mut ws, _| async move {
                ws.send("the last word").await?;
                if fails {
                    Err(Error::other("no"))
                } else {
                    Ok(())
                }
            })
        });
        let mut ws = ends(connect).await.unwrap();
        assert_eq!(ends(ws.recv()).await.unwrap(), Some("the last word".into()));
        assert_eq!(ends(ws.recv()).await.unwrap(), None);
        let info = ws.close_info().unwrap();
        assert!(info.clean && info.code == code, "{info:?}");
    }
}

#[each_fault]
async fn an_end_without_a_close_is_not_clean_on_either_side() {
    for by_client in [true, false] {
        let (mut ws, mut accepted, served) = pair().await;
        let other = if by_client {
            ws.abort();
            &mut accepted
        } else {
            accepted.abort();
            &mut ws
        };
        let failed = ends(other.recv()).await.unwrap_err();
        assert!(matches!(failed, Error::Io(_)), "{by_client}: {failed:?}");
        let info = other.close_info().unwrap();
        assert!(!info.clean && info.code == CloseCode::ABNORMAL, "{info:?}");
        drop((ws, accepted));
        ends(served).await.unwrap();
    }
}

#[each_fault]
async fn a_connection_that_breaks_is_an_error_of_the_transport() {
    let (mut ws, _accepted, served) = pair().await;
    served.abort();
    let failed = ends(ws.recv()).await.unwrap_err();
    assert!(matches!(failed, Error::Io(_)), "{failed:?}");
}

#[each_fault]
async fn a_refusal_has_its_status_and_its_body() {
    let (connect, theirs) = client();
    serve(theirs, true, |request| take(request).on_upgrade(echo));
    let connect = connect.origin("https://elsewhere.example");
    let error = handshake_error(ends(connect).await.unwrap_err());
    assert_eq!(error.status(), Some(StatusCode::FORBIDDEN));
    let response = error.response().unwrap();
    assert!(response.body().starts_with(b"the origin of this request"));
    // RFC 9113 §8.2.2.
    assert!(!response.headers().contains_key("connection"));

    let (connect, theirs) = client();
    let served = serve(theirs, true, |_| {
        let mut response = Response::new(Body::from("x".repeat(100_000)));
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    });
    let error = handshake_error(ends(connect).await.unwrap_err());
    assert_eq!(error.status(), Some(StatusCode::NOT_FOUND));
    assert_eq!(error.response().unwrap().body().len(), 64 << 10);
    ends(served).await.unwrap();
}

#[each_fault]
async fn a_server_that_does_not_allow_it_is_not_asked() {
    let (connect, theirs) = client();
    let served = serve(theirs, false, |_| panic!("it was asked"));
    let error = handshake_error(ends(connect).await.unwrap_err());
    let HandshakeError::Response { error, response } = error else {
        panic!("{error:?}");
    };
    assert_eq!(error, ResponseError::ConnectProtocol);
    assert!(response.is_none());
    ends(served).await.unwrap();
}

#[each_fault]
async fn a_silent_server_is_not_waited_for_forever() {
    let (connect, _theirs) = client();
    let failed = ends(connect).await.unwrap_err();
    assert!(
        matches!(failed, Error::Timeout(Timeout::Handshake)),
        "{failed:?}"
    );
}

#[each_fault]
async fn a_server_that_speaks_http_1_or_nothing_is_an_error() {
    for answer in ["HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", ""] {
        let (connect, mut theirs) = client();
        tokio::spawn(async move {
            theirs.read_u8().await.unwrap();
            theirs.write_all(answer.as_bytes()).await.unwrap();
        });
        let failed = ends(connect).await.unwrap_err();
        assert!(matches!(failed, Error::Io(_)), "{failed:?}");
    }
}

/// A server that allows the extended CONNECT and does with it what it is told to.
fn by_hand<F, Fut>(stream: DuplexStream, answer: F) -> JoinHandle<()>
where
    F: FnOnce(SendResponse<Bytes>) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    tokio::spawn(async move {
        let mut builder = ::h2::server::Builder::new();
        let handshake = builder.enable_connect_protocol().handshake(stream);
        let mut connection = handshake.await.unwrap();
        let (request, respond) = connection.accept().await.unwrap().unwrap();
        let protocol = request.extensions().get::<::h2::ext::Protocol>();
        assert_eq!(protocol.unwrap().as_str(), "websocket");
        tokio::join!(answer(respond), async {
            while let Some(Ok(_)) = connection.accept().await {}
        });
    })
}

#[each_fault]
async fn informational_answers_are_skipped_as_far_as_they_end() {
    for (count, opens) in [(8, true), (9, false)] {
        let (connect, theirs) = client();
        by_hand(theirs, move |mut respond| async move {
            for _ in 0..count {
                let mut early = Response::new(());
                *early.status_mut() = StatusCode::EARLY_HINTS;
                respond.send_informational(early).unwrap();
            }
            settle().await;
            let _open = respond.send_response(Response::new(()), false);
            std::future::pending::<()>().await;
        });
        let opened = ends(connect).await;
        assert_eq!(opened.is_ok(), opens, "{count}: {opened:?}");
        if let Err(error) = opened {
            let HandshakeError::Response { error, .. } = handshake_error(error) else {
                panic!("another error");
            };
            assert_eq!(error, ResponseError::TooManyInformational);
        }
    }
}

#[each_fault]
async fn a_head_has_no_more_headers_than_the_options_allow() {
    for (count, opens) in [(10, true), (11, false)] {
        let (connect, theirs) = client();
        by_hand(theirs, move |mut respond| async move {
            let mut response = Response::new(());
            for _ in 0..count {
                let headers = response.headers_mut();
                headers.append("x", "y".parse().unwrap());
            }
            let _open = respond.send_response(response, false);
            std::future::pending::<()>().await;
        });
        let connect = connect.options(Options::new().max_headers(10));
        let opened = ends(connect).await;
        assert_eq!(opened.is_ok(), opens, "{count}: {opened:?}");
    }
}

#[each_fault]
async fn a_reset_of_the_stream_is_the_reset_of_a_connection() {
    let (connect, theirs) = client();
    by_hand(theirs, |mut respond| async move {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        settle().await;
        stream.send_reset(Reason::CANCEL);
        std::future::pending::<()>().await;
    });
    let mut ws = ends(connect).await.unwrap();
    match ends(ws.recv()).await.unwrap_err() {
        Error::Io(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        error => panic!("{error:?}"),
    }
}

/// RFC 9113 §6.8: GOAWAY names the last stream that its sender might have taken.
#[each_fault]
async fn a_server_that_goes_away_before_it_takes_the_request_may_be_asked_again() {
    let (connect, mut theirs) = client();
    tokio::spawn(async move {
        // SETTINGS_ENABLE_CONNECT_PROTOCOL, and yes to the SETTINGS of the client.
        let allowed = b"\0\0\x06\x04\0\0\0\0\0\0\x08\0\0\0\x01";
        let taken = b"\0\0\0\x04\x01\0\0\0\0";
        theirs
            .write_all(&[&allowed[..], taken].concat())
            .await
            .unwrap();
        settle().await;
        // The last one was 0, and NO_ERROR.
        let away = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0";
        theirs.write_all(away).await.unwrap();
        std::future::pending::<()>().await;
    });
    let failed = ends(connect).await.unwrap_err();
    assert!(failed.is_retryable(), "{failed:?}");
    match failed {
        Error::Io(error) => assert_eq!(error.kind(), ErrorKind::ConnectionAborted),
        error => panic!("{error:?}"),
    }
}

#[each_fault]
async fn a_server_that_goes_away_serves_whom_it_has_taken_to_the_end() {
    let (connect, theirs) = client();
    let served = tokio::spawn(async move {
        let service = |request| ready(Ok::<_, Infallible>(take(request).on_upgrade(echo)));
        let mut builder = Builder::new(TokioExecutor::new());
        builder.enable_connect_protocol();
        let io = TokioIo::new(fault::stream(theirs));
        let mut connection = pin!(builder.serve_connection(io, service_fn(service)));
        // Until the request is taken.
        let _ = timeout(Duration::from_secs(1), connection.as_mut()).await;
        connection.as_mut().graceful_shutdown();
        connection.await
    });
    let mut ws = ends(connect).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    ws.send("still there?").await.unwrap();
    assert_eq!(ends(ws.recv()).await.unwrap(), Some("still there?".into()));
    let info = ends(ws.close(CloseCode::NORMAL, "")).await.unwrap();
    assert!(info.clean);
    let _ = ends(served).await.unwrap();
}

#[each_fault]
async fn a_client_that_aborts_resets_the_stream() {
    let (connect, theirs) = client();
    let served = by_hand(theirs, |mut respond| async move {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        let reason = poll_fn(|cx| stream.poll_reset(cx)).await.unwrap();
        assert_eq!(reason, Reason::CANCEL);
    });
    ends(connect).await.unwrap().abort();
    ends(served).await.unwrap();
}

#[each_fault]
async fn a_handshake_that_takes_too_long_takes_its_request_back() {
    let (connect, theirs) = client();
    let served = by_hand(theirs, |mut respond| async move {
        let reason = poll_fn(|cx| respond.poll_reset(cx)).await.unwrap();
        assert_eq!(reason, Reason::CANCEL);
    });
    let failed = ends(connect).await.unwrap_err();
    assert!(
        matches!(failed, Error::Timeout(Timeout::Handshake)),
        "{failed:?}"
    );
    ends(served).await.unwrap();
}

#[each_fault]
async fn a_head_is_no_larger_than_the_options_allow() {
    for (size, opens) in [(1000, true), (5000, false)] {
        let (connect, theirs) = client();
        by_hand(theirs, move |mut respond| async move {
            let mut response = Response::new(());
            let value = "x".repeat(size).parse().unwrap();
            response.headers_mut().insert("x", value);
            let _open = respond.send_response(response, false);
            std::future::pending::<()>().await;
        });
        let connect = connect.options(Options::new().max_head(4000));
        let opened = ends(connect).await;
        assert_eq!(opened.is_ok(), opens, "{size}: {opened:?}");
    }
}

#[tokio::test]
async fn many_clients_talk_at_once_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let service =
                service_fn(|request| ready(Ok::<_, Infallible>(take(request).on_upgrade(echo))));
            let mut builder = Builder::new(TokioExecutor::new());
            builder.enable_connect_protocol();
            tokio::spawn(builder.serve_connection(TokioIo::new(tcp), service));
        }
    });
    let clients = (0..20).map(|n| {
        let connect = hybi::connect(&*url).http2(true);
        tokio::spawn(async move {
            let mut ws = connect.await?;
            assert!(ws.peer_addr().is_some());
            for i in 0..100 {
                let message = Message::from(format!("{n}: {i}"));
                ws.send(message.clone()).await?;
                assert_eq!(ws.recv().await?, Some(message));
            }
            ws.close(CloseCode::NORMAL, "").await
        })
    });
    for client in clients.collect::<Vec<_>>() {
        let info = ends(client).await.unwrap().unwrap();
        assert!(info.clean, "{info:?}");
    }
}

#[tokio::test]
async fn it_does_not_run_over_a_stream_that_it_could_not_give_back() {
    let (ours, _theirs) = duplex(1024);
    let connect = hybi::connect("ws://h").http2(true);
    let failed = connect.over(ours).await.unwrap_err();
    assert!(
        matches!(&failed, Error::Io(error) if error.kind() == ErrorKind::InvalidInput),
        "{failed:?}"
    );
}

#[each_fault]
async fn a_positive_answer_that_does_not_hold_is_told_at_once_and_has_no_body() {
    let (connect, theirs) = client();
    by_hand(theirs, |mut respond| async move {
        let response = Response::builder().header("sec-websocket-protocol", "odd");
        let response = response.body(()).unwrap();
        let mut stream = respond.send_response(response, false).unwrap();
        stream.send_data("no body".into(), false).unwrap();
        std::future::pending::<()>().await;
    });
    let before = tokio::time::Instant::now();
    match handshake_error(ends(connect).await.unwrap_err()) {
        HandshakeError::Response { error, response } => {
            assert_eq!(error, ResponseError::ProtocolNotRequested);
            let response = response.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(response.body().as_ref(), b"");
        }
        error => panic!("{error:?}"),
    }
    assert_eq!(before.elapsed(), std::time::Duration::ZERO);
}

#[each_fault]
async fn a_header_that_http_2_forbids_is_the_callers_fault() {
    let (connect, theirs) = client();
    let served = by_hand(theirs, |_| async {});
    let failed = ends(connect.header("keep-alive", "timeout=5")).await;
    let failed = failed.unwrap_err();
    let is_input = matches!(&failed, Error::Io(error) if error.kind() == ErrorKind::InvalidInput);
    assert!(is_input, "{failed:?}");
    assert!(!failed.is_retryable());
    served.abort();
}
