//! The opening handshake on the wire: heads in, heads out, and the lingering end of what was
//! refused. What a head means is judged in `hybi_proto::handshake`.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Request, Response};
use hybi_proto::handshake::{HeadError, ResponseError, client, head};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::error::{Error, HandshakeError, Result, Timeout};
use crate::io::{Io, LINGER, LINGER_TIME};

/// The most of a refusal's body that is kept.
const BODY: usize = 64 << 10;

/// Room for a head and what comes with it; grows with what arrives.
const READ: usize = 2 << 10;

/// Runs the handshake under its deadline.
pub(crate) async fn within<T>(
    deadline: Option<Duration>,
    handshake: impl Future<Output = Result<T>>,
) -> Result<T> {
    match deadline {
        None => handshake.await,
        Some(deadline) => match timeout(deadline, handshake).await {
            Ok(result) => result,
            Err(_) => Err(Error::Timeout(Timeout::Handshake)),
        },
    }
}

/// Reads the head of a request, and gives what came behind it.
pub(crate) async fn read_request<S: Io>(
    io: &mut S,
    limits: head::Limits,
) -> Result<(Request<()>, Vec<u8>)> {
    let mut scan = head::Scan::request(limits);
    let mut buffer = Vec::with_capacity(READ);
    loop {
        read_some(io, &mut buffer).await?;
        if let Some(end) = scan.scan(&buffer).map_err(refused)? {
            let request = head::parse_request(&buffer[..end]).map_err(refused)?;
            return Ok((request, buffer.split_off(end)));
        }
    }
}

fn refused(error: HeadError) -> Error {
    HandshakeError::Request(error.into()).into()
}

/// Reads the head of the answer to a client, and gives what came behind it.
pub(crate) async fn read_response<S: Io>(
    io: &mut S,
    limits: head::Limits,
) -> Result<(Response<()>, Vec<u8>)> {
    let mut answer = client::Answer::new(limits);
    let mut buffer = Vec::with_capacity(READ);
    loop {
        read_some(io, &mut buffer).await?;
        let read = answer.read(&buffer);
        let read = read.map_err(|error| HandshakeError::Response {
            error,
            response: None,
        })?;
        if let Some((response, end)) = read {
            return Ok((response, buffer.split_off(end)));
        }
    }
}

/// The error that a refusal is, with as much of its body as comes and is kept.
pub(crate) async fn refusal<S: Io>(
    io: &mut S,
    response: Response<()>,
    mut body: Vec<u8>,
    error: ResponseError,
) -> HandshakeError {
    let length = body_length(response.headers());
    while body.len() < length {
        if read_some(io, &mut body).await.is_err() {
            break;
        }
    }
    body.truncate(length);
    let response = response.map(|()| Bytes::from(body));
    HandshakeError::Response {
        error,
        response: Some(Box::new(response)),
    }
}

fn body_length(headers: &HeaderMap) -> usize {
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    match length {
        Some(length) if !headers.contains_key(TRANSFER_ENCODING) => BODY.min(length),
        // RFC 9112 §6.3: otherwise the length is determined by the number of octets received
        // prior to the server closing the connection.
        _ => BODY,
    }
}

async fn read_some<S: Io>(io: &mut S, buffer: &mut Vec<u8>) -> Result<()> {
    if buffer.capacity() - buffer.len() < READ / 2 {
        buffer.reserve(READ);
    }
    match io.read_buf(buffer).await? {
        0 => Err(Error::Io(std::io::Error::new(
            std::io::ErrorKind::UnexpectedEof,
            "the peer ended the connection in the opening handshake",
        ))),
        _ => Ok(()),
    }
}

/// Writes a head.
pub(crate) async fn write<S: Io>(io: &mut S, head: &[u8]) -> Result<()> {
    io.write_all(head).await?;
    Ok(io.flush().await?)
}

/// Answers with a whole response, and ends the connection so that it arrives: closing a socket
/// with unread input would send a reset, which can destroy the answer.
pub(crate) async fn refuse<S: Io, B: AsRef<[u8]>>(mut io: S, response: &Response<B>) -> Result<()> {
    let mut head = Vec::new();
    head::write_response(response, &mut head);
    write(&mut io, &head).await?;
    io.shutdown().await?;
    let mut discard = pin!(async {
        let mut rest = Vec::with_capacity(READ);
        let mut left = LINGER;
        while let Ok(n) = io.read_buf(&mut rest).await {
            rest.clear();
            left = left.saturating_sub(n);
            if n == 0 || left == 0 {
                break;
            }
        }
    });
    // What the peer does with its time is no fault of the answer.
    let _ = timeout(LINGER_TIME, discard.as_mut()).await;
    Ok(())
}
