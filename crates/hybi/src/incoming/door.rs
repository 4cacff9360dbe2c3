//! Where a request has come from, and where its answer goes: a stream of ours, or another HTTP server.

use std::fmt;
use std::io;
use std::pin::Pin;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hybi_proto::handshake::head;
use hybi_proto::handshake::server::{self, Accepted, Via};
use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::exchange;
use crate::io::Io;
use crate::options::Options;
use crate::shared::Agreed;
use crate::socket::{Role, WebSocket};

/// A handshake that holds, and where the answer goes.
#[derive(Debug)]
pub(crate) struct Handshake<S> {
    pub(super) door: Door<S>,
    pub(crate) request: Request<()>,
    pub(crate) accepted: Accepted,
}

/// Where a request has come from, and where its answer goes.
pub(crate) enum Door<S> {
    /// A stream, and what came on it behind the head. The answer to a HEAD is `bare`.
    Stream {
        stream: S,
        rest: Vec<u8>,
        bare: bool,
    },
    /// Another HTTP server: it takes the answer, and gives the stream if that is positive.
    #[allow(dead_code, reason = "only the feature `tower` makes one")]
    Server {
        via: Via,
        answer: oneshot::Sender<Response<Bytes>>,
        /// Or why it cannot give one.
        upgraded: std::result::Result<Upgraded<S>, &'static str>,
    },
}

/// The stream that another HTTP server gives when it has answered, and what it has read of it.
pub(crate) type Upgraded<S> = Pin<Box<dyn Future<Output = Result<(S, Bytes)>> + Send + Sync>>;

impl<S> Door<S> {
    /// Where a request was read, with what came behind it.
    pub(crate) fn behind(stream: S, request: &Request<()>, rest: Vec<u8>) -> Self {
        Self::Stream {
            stream,
            rest,
            bare: request.method() == Method::HEAD,
        }
    }

    /// Where something came that is no request.
    pub(crate) fn at_fault(stream: S) -> Self {
        Self::Stream {
            stream,
            rest: Vec::new(),
            bare: false,
        }
    }
}

impl<S: Io> Door<S> {
    /// Answers positively: from now on the stream carries frames, and these bytes of them are
    /// here.
    async fn open(self, response: Response<()>) -> Result<(S, Bytes)> {
        match self {
            Self::Stream {
                mut stream, rest, ..
            } => {
                let mut head = Vec::new();
                head::write_response(&response.map(|()| ""), &mut head);
                exchange::write(&mut stream, &head).await?;
                Ok((stream, rest.into()))
            }
            Self::Server {
                answer, upgraded, ..
            } => {
                let upgraded = match upgraded {
                    Ok(upgraded) => upgraded,
                    Err(why) => {
                        let response = server::refusal(StatusCode::INTERNAL_SERVER_ERROR, why);
                        // Nobody is told more by whether this arrives.
                        let _ = answer.send(response.map(Bytes::from));
                        let error = io::Error::new(io::ErrorKind::Unsupported, why);
                        return Err(error.into());
                    }
                };
                let response = response.map(|()| Bytes::new());
                answer.send(response).map_err(|_| Error::Closed)?;
                upgraded.await
            }
        }
    }

    /// Answers with a whole response, and ends the connection so that it arrives. A status by
    /// which nothing is refused becomes 500.
    pub(crate) async fn refuse<B: AsRef<[u8]> + Into<Bytes>>(
        self,
        response: Response<B>,
    ) -> Result<()> {
        let status = response.status();
        // RFC 9113 §8.5: over HTTP/2 any 2xx response opens the tunnel of a CONNECT.
        let opens = matches!(self, Self::Server { via, .. } if via == Via::Http2);
        if status.is_informational() || (opens && status.is_success()) {
            let why = format!("the server meant to refuse this, but {status} refuses nothing");
            let response = server::refusal(StatusCode::INTERNAL_SERVER_ERROR, why);
            return self.answer(response).await;
        }
        self.answer(response).await
    }

    async fn answer<B: AsRef<[u8]> + Into<Bytes>>(self, mut response: Response<B>) -> Result<()> {
        match self {
            Self::Stream { stream, bare, .. } => {
                let close = HeaderValue::from_static("close");
                response.headers_mut().entry(CONNECTION).or_insert(close);
                exchange::refuse(stream, &response, bare).await
            }
            Self::Server { answer, .. } => {
                let response = response.map(Into::into);
                answer.send(response).map_err(|_| Error::Closed)
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Door<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream { stream, .. } => stream.fmt(f),
            Self::Server { .. } => f.write_str("Server"),
        }
    }
}

/// Opens the WebSocket of a handshake that has been answered.
pub(crate) fn open<S: Io>(
    stream: S,
    rest: &[u8],
    request: &Request<()>,
    accepted: &Accepted,
    options: &Options,
) -> WebSocket<S> {
    let uri = request.uri().to_string();
    let agreed = Agreed::new(&uri, accepted.protocol(), accepted.extensions());
    WebSocket::open(stream, Role::Server, options, rest, agreed)
}

impl<S: Io> Handshake<S> {
    pub(crate) fn new(door: Door<S>, request: Request<()>, accepted: Accepted) -> Self {
        Self {
            door,
            request,
            accepted,
        }
    }

    /// Answers positively.
    pub(crate) async fn accept(self, options: &Options) -> Result<(WebSocket<S>, Request<()>)> {
        let (stream, rest) = self.door.open(self.accepted.response()).await?;
        let ws = open(stream, &rest, &self.request, &self.accepted, options);
        Ok((ws, self.request))
    }
}
