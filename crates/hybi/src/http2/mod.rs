//! A client's opening handshake over HTTP/2 (RFC 8441): an extended CONNECT on a connection of its
//! own, and the stream that it opens.
//!
//! What the request asks for and whether the answer holds is the caller's to say. The connection
//! carries one stream, is seen to by a task, and ends with the stream.

mod kept;
mod tunnel;

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::ext::Protocol;
use http::{Request, Response};
use hybi_proto::handshake::client::MAX_INFORMATIONAL;
use hybi_proto::handshake::{HeadError, ResponseError, head};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::error::{Error, HandshakeError, Result};
use crate::io::{LINGER_TIME, Stream};

use kept::{Keeping, Kept};
use tunnel::Tunnel;

/// How much a server may send before we have read it, in bytes: this over the time of a round trip
/// is the most that it can send. The 64 KiB of RFC 9113 §6.9.2 would be slow over a distance.
const WINDOW: u32 = 1 << 20;

/// How much is copied out for the server at most, in bytes.
const OUTBOX: usize = 256 << 10;

/// Stands for the number of streams that the server allows until its SETTINGS say it.
const UNTOLD: usize = usize::MAX - 1;

/// Asks by an extended CONNECT, once the server has allowed that, and gives the head of the answer
/// and the stream behind it: the tunnel, or the body of a refusal.
pub(crate) async fn ask(
    stream: Stream,
    mut request: Request<()>,
    limits: head::Limits,
) -> Result<(Response<()>, Stream)> {
    let addrs = (stream.local_addr(), stream.peer_addr());
    let kept = Kept::default();
    let stream = Keeping {
        stream,
        kept: kept.clone(),
    };
    let (mut requests, mut connection) = Builder::new()
        .enable_push(false)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_send_buffer_size(OUTBOX)
        .max_header_list_size(u32::try_from(limits.bytes).unwrap_or(u32::MAX))
        .initial_max_send_streams(UNTOLD)
        .handshake::<_, Bytes>(stream)
        .await
        .map_err(|error| kept.error(error))?;
    poll_fn(|cx| poll_allowed(&requests, &mut connection, &kept, cx)).await?;
    let protocol = Protocol::from_static("websocket");
    request.extensions_mut().insert(protocol);
    let (mut response, sender) = requests
        .send_request(request, false)
        .map_err(|error| unsent(error, &kept))?;
    // The connection has no more than this stream to live for.
    drop(requests);
    let (guard, ended) = oneshot::channel();
    tokio::spawn(run(connection, ended));
    let mut skipped = 0;
    let response = poll_fn(|cx| poll_response(&mut response, &mut skipped, &kept, cx)).await?;
    let (head, receiver) = response.into_parts();
    if head.headers.len() > limits.headers {
        return Err(refused(HeadError::TooManyHeaders.into()));
    }
    let tunnel = Tunnel::new(sender, receiver, kept, guard);
    Ok((Response::from_parts(head, ()), Stream::above(addrs, tunnel)))
}

/// Waits for the server's SETTINGS.
fn poll_allowed(
    requests: &SendRequest<Bytes>,
    connection: &mut Connection<Keeping, Bytes>,
    kept: &Kept,
    cx: &mut Context<'_>,
) -> Poll<Result<()>> {
    let polled = Pin::new(connection)
        .poll(cx)
        .map_err(|error| kept.error(error))?;
    if requests.current_max_send_streams() != UNTOLD {
        // RFC 8441 §3: a sender MUST NOT send a :protocol pseudo-header field before it has
        // received SETTINGS_ENABLE_CONNECT_PROTOCOL with a value of 1.
        let allowed = requests.is_extended_connect_protocol_enabled();
        let refusal = || refused(ResponseError::ConnectProtocol);
        return Poll::Ready(allowed.then_some(()).ok_or_else(refusal));
    }
    polled.map(|()| {
        Err(Error::Io(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the peer ended the connection in the opening handshake",
        )))
    })
}

/// Waits for the final answer.
fn poll_response(
    response: &mut ResponseFuture,
    skipped: &mut usize,
    kept: &Kept,
    cx: &mut Context<'_>,
) -> Poll<Result<Response<h2::RecvStream>>> {
    while let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
        interim.map_err(|error| kept.error(error))?;
        if *skipped == MAX_INFORMATIONAL {
            return Poll::Ready(Err(refused(ResponseError::TooManyInformational)));
        }
        *skipped += 1;
    }
    let response = ready!(Pin::new(response).poll(cx));
    Poll::Ready(response.map_err(|error| kept.error(error).into()))
}

/// Why a request was not even sent: as a rule for a header that RFC 9113 §8.2.2 forbids.
fn unsent(error: h2::Error, kept: &Kept) -> io::Error {
    match error.reason() {
        None if !error.is_io() => io::Error::new(io::ErrorKind::InvalidInput, error),
        _ => kept.error(error),
    }
}

fn refused(error: ResponseError) -> Error {
    let response = None;
    HandshakeError::Response { error, response }.into()
}

/// Sees to the connection, until the stream has ended and what was said last has left. A server
/// that does not take it is not waited for.
async fn run(connection: Connection<Keeping, Bytes>, ended: oneshot::Receiver<Infallible>) {
    let mut connection = pin!(connection);
    tokio::select! {
        _ = &mut connection => {}
        _ = ended => {
            let _ = timeout(LINGER_TIME, connection).await;
        }
    }
}
