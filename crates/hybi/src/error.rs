//! Errors by fault: the peer's, the caller's, the world's.

mod proxy;

use std::time::{Duration, SystemTime};
use std::{fmt, io};

use http::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use hybi_proto::close::{CloseInfo, Initiator};
use hybi_proto::code::CloseCode;
use hybi_proto::error::{CloseError, ProtocolError, SendError};
use hybi_proto::handshake::{OptionsError, RequestError, ResponseError, UrlError};

pub use proxy::ProxyError;

/// The result of what hybi does.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The peer broke a rule of RFC 6455 or one of our limits; it was told so with a close frame.
    Protocol(ProtocolError),
    /// The opening handshake failed, by the peer's fault or by its refusal.
    Handshake(Box<HandshakeError>),
    /// The caller asked for what cannot be sent.
    Send(SendError),
    /// The URL is not one of a WebSocket.
    Url(UrlError),
    /// A proxy opened no way to the server, by its fault or by its refusal.
    Proxy(Box<ProxyError>),
    /// The transport failed, or ended without a close frame ([`io::ErrorKind::UnexpectedEof`]).
    Io(io::Error),
    /// TLS failed: a certificate that is not trusted or has expired, say, or a peer that speaks
    /// something else.
    Tls(io::Error),
    /// A deadline passed.
    Timeout(Timeout),
    /// The connection has ended before; the first call after the end said how.
    Closed,
    /// The connection was closed with a close frame. Only a [`Session`](crate::Session) says so,
    /// for which such an end is a reason to connect again, or to give up.
    ClosedWith(Box<CloseInfo>),
    /// An error of the handler's own, made by [`Error::other`].
    Other(Box<dyn std::error::Error + Send + Sync>),
}

/// The deadline that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timeout {
    /// The opening handshake took too long.
    Handshake,
    /// There was no connection to the server's host, or to the proxy, in the time for that.
    Connect,
    /// The peer did not finish the closing handshake.
    Close,
    /// The peer took no byte for too long.
    Write,
    /// The peer did not answer the heartbeat.
    Heartbeat,
    /// The peer was silent for too long.
    Idle,
}

/// Why an opening handshake failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum HandshakeError {
    /// As a client: the server refused, or answered what is no WebSocket.
    Response {
        /// What is wrong with it.
        error: ResponseError,
        /// The response, with up to 64 KiB of its body, if its head could be read.
        response: Option<Box<http::Response<bytes::Bytes>>>,
    },
    /// As a client: the server redirects more often than
    /// [`Client::redirects`](crate::Client::redirects) allows.
    TooManyRedirects {
        /// The redirect that was not followed any more, with up to 64 KiB of its body.
        response: Box<http::Response<bytes::Bytes>>,
    },
    /// As a client: the server redirects to what is no place of a WebSocket.
    Location {
        /// What is wrong with the `Location`.
        error: UrlError,
        /// The redirect, with up to 64 KiB of its body.
        response: Box<http::Response<bytes::Bytes>>,
    },
    /// As a server: the request was refused.
    Request(RequestError),
    /// As a client: the request cannot be made from these options.
    Options(OptionsError),
    /// As a client: a header that was to be sent has a name or a value that none can have.
    Header(String),
}

impl Error {
    /// Wraps an error of the handler's own.
    pub fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Other(error.into())
    }

    /// The code that the peer was told, if it broke a rule.
    #[must_use]
    pub fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::Protocol(error) => Some(error.close_code()),
            _ => None,
        }
    }

    /// Whether a deadline passed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(
            self,
            Self::Timeout(_) | Self::Protocol(ProtocolError::MessageStalled)
        )
    }

    /// Whether connecting again may help. This is what a [`Session`](crate::Session) asks, unless
    /// [`retry_if`](crate::Session::retry_if) tells it to ask somebody else.
    ///
    /// | what happened | worth a retry |
    /// |---|---|
    /// | [`Io`](Self::Io): the transport failed, ended without a close frame (1006) or could not be opened | yes, unless it is of the kind `Unsupported` or `InvalidInput` |
    /// | [`Timeout`](Self::Timeout), and a message that stalled | yes |
    /// | the server answered the handshake with 408, 425, 429 or a status from 500 on | yes, but for 501 and 505, which are about what it can do |
    /// | any other answer to the handshake, 401, 404 and redirects that are not followed for instance | no |
    /// | [`Proxy`](Self::Proxy): the proxy refused with one of those statuses, or by SOCKS, which says less | yes |
    /// | any other refusal of a proxy's, or no answer that can be read | no |
    /// | the peer closed with 1001, 1011, 1012, 1013 or 1014: it goes, fails, restarts, is overloaded, or what is behind it fails | yes |
    /// | the peer closed with any other code: it is done (1000, 1005), does not like what we do (1002, 1003, 1007 to 1010), or has a reason of its own (3000 to 4999) | no |
    /// | this end closed, by [`max_lifetime`](crate::Options::max_lifetime) | yes |
    /// | [`Protocol`](Self::Protocol): the peer broke a rule; it would break it again | no |
    /// | [`Tls`](Self::Tls): a certificate or a configuration that does not fit | no |
    /// | [`Send`](Self::Send), [`Url`](Self::Url), [`Closed`](Self::Closed), [`Other`](Self::Other): a caller's own | no |
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Io(error) => !matches!(
                error.kind(),
                io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput
            ),
            Self::Timeout(_) | Self::Protocol(ProtocolError::MessageStalled) => true,
            Self::Handshake(error) => error.status().is_some_and(is_passing),
            Self::Proxy(error) => match &**error {
                ProxyError::Refused(response) => is_passing(response.status()),
                ProxyError::Socks(_) => true,
                _ => false,
            },
            Self::ClosedWith(info) if info.initiator == Initiator::Local => true,
            Self::ClosedWith(info) => matches!(
                info.code,
                CloseCode::GOING_AWAY
                    | CloseCode::ABNORMAL
                    | CloseCode::INTERNAL
                    | CloseCode::SERVICE_RESTART
                    | CloseCode::TRY_AGAIN_LATER
                    | CloseCode::BAD_GATEWAY
            ),
            _ => false,
        }
    }

    /// How long the server, or the proxy, asks to be left alone: `Retry-After` of the response that
    /// refused the handshake (RFC 9110 §10.2.3). A date is compared with that of the response, if it has one,
    /// so that clocks which differ do no harm; one that has passed is zero.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Handshake(error) => retry_after(error.response()?.headers()),
            Self::Proxy(error) => match &**error {
                ProxyError::Refused(response) => retry_after(response.headers()),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Whether a refusal with this status may be gone the next time.
fn is_passing(status: http::StatusCode) -> bool {
    match status.as_u16() {
        501 | 505 => false,
        status => matches!(status, 408 | 425 | 429 | 500..),
    }
}

/// RFC 9110 §10.2.3: `Retry-After = HTTP-date / delay-seconds`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if value.bytes().all(|b| b.is_ascii_digit()) {
        // A number beyond all bounds means a long time.
        return (!value.is_empty()).then(|| Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = |name: &HeaderName| {
        let value = headers.get(name)?.to_str().ok()?;
        httpdate::parse_http_date(value).ok()
    };
    let now = date(&DATE).unwrap_or_else(SystemTime::now);
    Some(date(&RETRY_AFTER)?.duration_since(now).unwrap_or_default())
}

impl HandshakeError {
    /// The status that the server answered, or that we answered to the client.
    #[must_use]
    pub fn status(&self) -> Option<http::StatusCode> {
        match self {
            Self::Request(error) => Some(error.status()),
            _ => self.response().map(http::Response::status),
        }
    }

    /// The server's response, with up to 64 KiB of its body.
    #[must_use]
    pub fn response(&self) -> Option<&http::Response<bytes::Bytes>> {
        match self {
            Self::Response { response, .. } => response.as_deref(),
            Self::TooManyRedirects { response } | Self::Location { response, .. } => Some(response),
            Self::Request(_) | Self::Options(_) | Self::Header(_) => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(error) => error.fmt(f),
            Self::Handshake(error) => error.fmt(f),
            Self::Send(error) => error.fmt(f),
            Self::Url(error) => error.fmt(f),
            Self::Proxy(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::Tls(error) => write!(f, "TLS failed: {error}"),
            Self::Timeout(timeout) => timeout.fmt(f),
            Self::Closed => f.write_str("the connection has ended"),
            Self::ClosedWith(info) => {
                let who = match info.initiator {
                    Initiator::Peer => "the peer",
                    Initiator::Local => "this end",
                };
                write!(f, "{who} has closed the connection: {}", info.code)?;
                match info.reason.as_str() {
                    "" => Ok(()),
                    reason => write!(f, ", {reason:?}"),
                }
            }
            Self::Other(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handshake => "the opening handshake took too long",
            Self::Connect => "no connection could be opened in time",
            Self::Close => "the peer did not finish the closing handshake in time",
            Self::Write => "the peer took nothing for too long",
            Self::Heartbeat => "the peer did not answer the heartbeat",
            Self::Idle => "the peer was silent for too long",
        })
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Response { error, .. } => error.fmt(f),
            Self::TooManyRedirects { .. } => {
                f.write_str("the server redirects more often than `Client::redirects` allows")
            }
            Self::Location { error, .. } => {
                write!(f, "the server redirects to what is no WebSocket: {error}")
            }
            Self::Request(error) => error.fmt(f),
            Self::Options(error) => error.fmt(f),
            Self::Header(error) => write!(f, "a header cannot be sent: {error}"),
        }
    }
}

impl std::error::Error for HandshakeError {
    // Each says what the error in it says; its cause is the cause of that.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Response { error, .. } => error.source(),
            Self::Location { error, .. } => error.source(),
            Self::TooManyRedirects { .. } => None,
            Self::Request(error) => error.source(),
            Self::Options(error) => error.source(),
            Self::Header(_) => None,
        }
    }
}

impl std::error::Error for Error {
    // As above.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Handshake(error) => error.source(),
            Self::Url(error) => error.source(),
            Self::Proxy(error) => error.source(),
            Self::Io(error) | Self::Tls(error) => error.source(),
            Self::Other(error) => error.source(),
            Self::Protocol(_) | Self::Send(_) | Self::Timeout(_) => None,
            Self::Closed | Self::ClosedWith(_) => None,
        }
    }
}

impl From<ProtocolError> for Error {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Closed => Self::Closed,
            error => Self::Send(error),
        }
    }
}

impl From<CloseError> for Error {
    fn from(error: CloseError) -> Self {
        Self::Send(error.into())
    }
}

impl From<io::Error> for Error {
    /// One that was made of an [`Error`] is that one again.
    fn from(error: io::Error) -> Self {
        error.downcast().unwrap_or_else(Self::Io)
    }
}

impl From<Error> for io::Error {
    /// For who works with streams of bytes; [`get_ref`](io::Error::get_ref) gives the [`Error`].
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Io(error) | Error::Tls(error) => error.kind(),
            error if error.is_timeout() => io::ErrorKind::TimedOut,
            Error::Protocol(_) => io::ErrorKind::InvalidData,
            Error::Closed => io::ErrorKind::ConnectionAborted,
            Error::Send(_) | Error::Url(_) => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

impl From<UrlError> for Error {
    fn from(error: UrlError) -> Self {
        Self::Url(error)
    }
}

impl From<ProxyError> for Error {
    fn from(error: ProxyError) -> Self {
        Self::Proxy(Box::new(error))
    }
}

impl From<HandshakeError> for Error {
    fn from(error: HandshakeError) -> Self {
        Self::Handshake(Box::new(error))
    }
}
