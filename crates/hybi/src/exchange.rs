//! The opening handshake on the wire: heads in, heads out, and the lingering end of what was
//! refused. What a head means is judged in `hybi_proto::handshake`.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hybi_proto::handshake::body::Body;
use hybi_proto::handshake::{HeadError, client, head};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::{Error, HandshakeError, Result, Timeout};
use crate::io::{Io, LINGER, LINGER_TIME};

/// The most of a refusal's body that is kept, and how long it is waited for.
const BODY: usize = 64 << 10;
const BODY_TIME: Duration = Duration::from_secs(2);

/// Room for a head and what comes with it; grows with what arrives.
const READ: usize = 2 << 10;

/// The end of the time for an opening handshake.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// So much time from now.
    pub(crate) fn after(time: Option<Duration>) -> Self {
        Self(time.and_then(|time| Instant::now().checked_add(time)))
    }

    /// This one, or so much time from now if that is earlier.
    fn or_after(self, time: Duration) -> Self {
        let other = Instant::now() + time;
        Self(Some(self.0.map_or(other, |deadline| deadline.min(other))))
    }

    /// Runs a part of the handshake until the deadline. Who calls has pinned it: a future that is
    /// handed over would be held twice.
    pub(crate) async fn run<T>(self, part: impl Future<Output = Result<T>> + Unpin) -> Result<T> {
        match self.0 {
            None => part.await,
            Some(deadline) => match timeout_at(deadline, part).await {
                Ok(result) => result,
                Err(_) => Err(Error::Timeout(Timeout::Handshake)),
            },
        }
    }
}

/// Runs the whole handshake under its deadline.
pub(crate) async fn within<T>(
    deadline: Option<Duration>,
    handshake: impl Future<Output = Result<T>> + Unpin,
) -> Result<T> {
    Deadline::after(deadline).run(handshake).await
}

/// Reads the head of a request, and gives what came behind it; or what is wrong with the head.
pub(crate) async fn read_request<S: Io>(
    io: &mut S,
    limits: head::Limits,
) -> Result<std::result::Result<(Request<()>, Vec<u8>), HeadError>> {
    let mut scan = head::Scan::request(limits);
    let mut buffer = Vec::with_capacity(READ);
    loop {
        read_some(io, &mut buffer).await?;
        match scan.scan(&buffer) {
            Ok(None) => {}
            Ok(Some(end)) => {
                let request = head::parse_request(&buffer[..end]);
                return Ok(request.map(|request| (request, buffer.split_off(end))));
            }
            Err(error) => return Ok(Err(error)),
        }
    }
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

/// A refusal with as much of its body as is kept and comes in a short time: why it was refused
/// matters less than that it was.
pub(crate) async fn read_body<S: Io>(
    io: &mut S,
    response: Response<()>,
    mut rest: Vec<u8>,
    deadline: Deadline,
) -> Box<Response<Bytes>> {
    let mut body = Body::new(&response, BODY);
    // Whatever ends it early, what has come is given.
    let _ = deadline
        .or_after(BODY_TIME)
        .run(pin!(async {
            body.push(&rest);
            while !body.is_done() {
                rest.clear();
                read_some(io, &mut rest).await?;
                body.push(&rest);
            }
            Ok(())
        }))
        .await;
    Box::new(response.map(|()| Bytes::from(body.into_bytes())))
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
/// `bare`: the request was a HEAD.
pub(crate) async fn refuse<S: Io, B: AsRef<[u8]>>(
    mut io: S,
    response: &Response<B>,
    bare: bool,
) -> Result<()> {
    let mut answer = Vec::new();
    if bare {
        // RFC 9110 §9.3.2: the server MUST NOT send content in the response to HEAD.
        head::write_response_to_head(response, &mut answer);
    } else {
        head::write_response(response, &mut answer);
    }
    write(&mut io, &answer).await?;
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
