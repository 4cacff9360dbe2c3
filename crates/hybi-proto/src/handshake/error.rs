//! What can be wrong with an opening handshake, by fault, and the answer that says so.
//!
//! [`HeadError`]: bytes that are no HTTP/1 head. [`RequestError`]: a client's request.
//! [`ResponseError`]: a server's answer. [`OptionsError`] and [`UrlError`]: our own caller.

use std::error::Error;
use std::fmt;

use http::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Response, StatusCode};

/// Bytes that are not the head of an HTTP/1 message, or one beyond the limits.
///
/// | fault | status |
/// |---|---|
/// | [`TargetTooLong`](Self::TargetTooLong) | 414 |
/// | [`TooLarge`](Self::TooLarge), [`TooManyHeaders`](Self::TooManyHeaders) | 431 |
/// | any other | 400 |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadError {
    /// The first bytes cannot begin an HTTP/1 message: TLS, HTTP/2 or noise.
    NotHttp,
    /// The request line or the status line is not well formed.
    FirstLine,
    /// A version other than HTTP/1.1 and HTTP/1.0.
    Version,
    /// A target that is neither a path nor an absolute `http`, `https`, `ws` or `wss` URL.
    Target,
    /// The request line is longer than the limit of the head.
    TargetTooLong,
    /// A carriage return or a line feed that stands alone.
    LineEnding,
    /// A header folded over several lines.
    Folded,
    /// A control byte.
    Control,
    /// A header field with an illegal name or value, or with a space before its colon.
    Header,
    /// The head is longer than [`Limits::bytes`](super::head::Limits::bytes).
    TooLarge,
    /// More header fields than [`Limits::headers`](super::head::Limits::headers).
    TooManyHeaders,
    /// Less, or more, than one whole head was given to be parsed.
    Incomplete,
}

impl HeadError {
    /// The status of the answer: 400, 414 or 431.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::TooLarge | Self::TooManyHeaders => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The answer to a client that sent such a head; the connection ends behind it.
    #[must_use]
    pub fn response(&self) -> Response<String> {
        refusal(self.status(), self.to_string())
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHttp => "not HTTP/1: speak HTTP/1.1 here, and TLS only to a wss port",
            Self::FirstLine => "the first line of the head is malformed",
            Self::Version => "unknown HTTP version: use HTTP/1.1",
            Self::Target => "the request target must be a path or an http, https, ws or wss URL",
            Self::TargetTooLong => "the request target is too long",
            Self::LineEnding => "a line of the head must end with CR LF, both together",
            Self::Folded => "a header field must not be folded over several lines",
            Self::Control => "a control byte in the head",
            Self::Header => "a header field with an illegal name or value",
            Self::TooLarge => "the head is too large",
            Self::TooManyHeaders => "too many header fields",
            Self::Incomplete => "not exactly one whole head",
        })
    }
}

impl Error for HeadError {}

/// Why a request is no acceptable handshake, or one that the server cannot take now; each knows
/// its answer.
///
/// The body is the text of the error and a line end, as `text/plain; charset=utf-8`, and the
/// connection is closed behind it (`Connection: close`).
///
/// | fault | status | further headers |
/// |---|---|---|
/// | [`Head`](Self::Head) | that of the [`HeadError`] | |
/// | [`Method`](Self::Method) | 405 | `Allow: GET` |
/// | [`HttpVersion`](Self::HttpVersion) | 400 | |
/// | [`Host`](Self::Host) | 400 | |
/// | [`Upgrade`](Self::Upgrade) | 400 | |
/// | [`Connection`](Self::Connection) | 400 | |
/// | [`Body`](Self::Body) | 400 | |
/// | [`Key`](Self::Key) | 400 | |
/// | [`Version`](Self::Version) | 426 | `Sec-WebSocket-Version: 13, 8`, `Upgrade: websocket`, `Connection: upgrade, close` |
/// | [`Protocols`](Self::Protocols) | 400 | |
/// | [`Extensions`](Self::Extensions) | 400 | |
/// | [`Origins`](Self::Origins) | 400 | |
/// | [`Origin`](Self::Origin) | 403 | |
/// | [`Path`](Self::Path) | 404 | |
/// | [`Crowded`](Self::Crowded) | 429 | |
/// | [`Full`](Self::Full) | 503 | |
/// | [`Closing`](Self::Closing) | 503 | |
///
/// A request that is no handshake at all gets 426 with the headers of [`Version`](Self::Version),
/// where there is no fallback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// The bytes are no HTTP/1 head (400, 414 or 431).
    Head(HeadError),
    /// The method is not GET, over HTTP/2 not CONNECT (405).
    Method,
    /// The HTTP version is not 1.1, or not 2 where the request has come over that (400).
    HttpVersion,
    /// `Host` is missing, repeated or not a host (400).
    Host,
    /// `Upgrade` does not name `websocket` (400).
    Upgrade,
    /// `Connection` does not name `upgrade` (400).
    Connection,
    /// A body is announced (400).
    Body,
    /// `Sec-WebSocket-Key` is missing, repeated or not the base64 of 16 bytes (400).
    Key,
    /// `Sec-WebSocket-Version` is missing, repeated or neither 13 nor 8 (426).
    Version,
    /// `Sec-WebSocket-Protocol` is malformed or names a subprotocol twice (400).
    Protocols,
    /// `Sec-WebSocket-Extensions` is malformed (400).
    Extensions,
    /// More than one origin (400).
    Origins,
    /// The origin is not one of those allowed (403).
    Origin,
    /// Nothing is served at this path (404).
    Path,
    /// The client has as many connections as one address may have (429).
    Crowded,
    /// The server has as many connections as it may have (503).
    Full,
    /// The server is shutting down (503).
    Closing,
}

impl RequestError {
    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Head(head) => head.status(),
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::Path => StatusCode::NOT_FOUND,
            Self::Crowded => StatusCode::TOO_MANY_REQUESTS,
            Self::Full | Self::Closing => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The answer that says in plain text what is wrong; the connection ends behind it.
    #[must_use]
    pub fn response(&self) -> Response<String> {
        refusal(self.status(), self.to_string())
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head(head) => return head.fmt(f),
            Self::Method => "a WebSocket handshake must be a GET request",
            Self::HttpVersion => "a WebSocket handshake needs HTTP/1.1 or HTTP/2",
            Self::Host => "exactly one valid Host header is needed",
            Self::Upgrade => "the header `Upgrade: websocket` is missing",
            Self::Connection => {
                "the header `Connection: Upgrade` is missing; does a proxy drop it?"
            }
            Self::Body => "a WebSocket handshake must not have a body",
            Self::Key => "Sec-WebSocket-Key must be there once and be the base64 of 16 bytes",
            Self::Version => "Sec-WebSocket-Version must be there once and be 13 or 8",
            Self::Protocols => {
                "Sec-WebSocket-Protocol must be a list of tokens in which none is repeated"
            }
            Self::Extensions => "Sec-WebSocket-Extensions is malformed",
            Self::Origins => "more than one Origin header",
            Self::Origin => {
                "the origin of this request is not allowed; \
                 the server's option `origins` says which are"
            }
            Self::Path => "no WebSocket is served at this path",
            Self::Crowded => "too many connections from this address; try again later",
            Self::Full => "this server has as many connections as it may; try again later",
            Self::Closing => "this server is shutting down; try again later",
        })
    }
}

impl Error for RequestError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Head(head) => Some(head),
            _ => None,
        }
    }
}

impl From<HeadError> for RequestError {
    fn from(head: HeadError) -> Self {
        Self::Head(head)
    }
}

/// Why a server's answer does not open a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResponseError {
    /// The bytes are no HTTP/1 head.
    Head(HeadError),
    /// More informational answers than [`MAX_INFORMATIONAL`](super::client::MAX_INFORMATIONAL).
    TooManyInformational,
    /// Another status than 101; a body may follow.
    Status(StatusCode),
    /// The HTTP version is not that of the request.
    HttpVersion,
    /// A server of HTTP/2 has not allowed an extended CONNECT in its SETTINGS (RFC 8441 §3).
    ConnectProtocol,
    /// `Upgrade` is missing, repeated or not `websocket`.
    Upgrade,
    /// `Connection` does not name `upgrade`.
    Connection,
    /// `Sec-WebSocket-Accept` is missing, repeated or not the answer to our key.
    Accept,
    /// A subprotocol, and none was requested.
    ProtocolNotRequested,
    /// A subprotocol that was not among those requested.
    ProtocolInvalid,
    /// More than one subprotocol.
    ProtocolRepeated,
    /// No subprotocol, and the options require one.
    ProtocolMissing,
    /// `Sec-WebSocket-Extensions` is malformed.
    ExtensionsMalformed,
    /// An extension that was not requested.
    ExtensionNotRequested,
    /// An extension that was chosen before.
    ExtensionRepeated,
    /// Parameters of permessage-deflate that are unknown, repeated, out of range or not what was
    /// offered (RFC 7692 §5.1).
    ExtensionParameters,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head(head) => return write!(f, "the server's answer is not HTTP: {head}"),
            Self::TooManyInformational => "the server sends informational answers without end",
            Self::Status(status) => {
                return write!(
                    f,
                    "the server answered {status}, not 101 Switching Protocols"
                );
            }
            Self::HttpVersion => "the server's answer is of another HTTP version than the request",
            Self::ConnectProtocol => {
                "the server has no WebSockets over HTTP/2 (SETTINGS_ENABLE_CONNECT_PROTOCOL): \
                 connect over HTTP/1.1"
            }
            Self::Upgrade => "the server's Upgrade header is not `websocket`",
            Self::Connection => "the server's Connection header does not name `upgrade`",
            Self::Accept => "the server's Sec-WebSocket-Accept does not answer our key",
            Self::ProtocolNotRequested => "the server chose a subprotocol, but none was requested",
            Self::ProtocolInvalid => "the server chose a subprotocol that was not requested",
            Self::ProtocolRepeated => "the server chose more than one subprotocol",
            Self::ProtocolMissing => "the server chose none of the requested subprotocols",
            Self::ExtensionsMalformed => "the server's Sec-WebSocket-Extensions is malformed",
            Self::ExtensionNotRequested => "the server chose an extension that was not requested",
            Self::ExtensionRepeated => "the server chose an extension twice",
            Self::ExtensionParameters => {
                "the server chose parameters of permessage-deflate that were not offered"
            }
        })
    }
}

impl Error for ResponseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Head(head) => Some(head),
            _ => None,
        }
    }
}

impl From<HeadError> for ResponseError {
    fn from(head: HeadError) -> Self {
        Self::Head(head)
    }
}

/// Options from which no request can be built; nothing has been sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionsError {
    /// A subprotocol that is not a token of RFC 9110.
    Protocol(String),
    /// The same subprotocol twice.
    ProtocolRepeated(String),
    /// A subprotocol is required, and none is requested.
    ProtocolMissing,
    /// A value of `Host` that is no host, with a port or without.
    Host,
    /// An origin that cannot stand in a header.
    Origin,
    /// A header that belongs to the handshake itself.
    Header(HeaderName),
    /// A user name with a colon, which Basic authentication cannot carry (RFC 7617 §2).
    Credentials,
    /// A URL that is too long for a request over HTTP/2.
    Target,
    /// The method, the target or the version of a request was changed that was to be looked at.
    RequestLine,
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(name) => write!(f, "the subprotocol {name:?} is not a token"),
            Self::ProtocolRepeated(name) => write!(f, "the subprotocol {name:?} is repeated"),
            Self::ProtocolMissing => {
                f.write_str("a subprotocol is required, but none is requested")
            }
            Self::Host => f.write_str("the host to name is a host, with a port or without"),
            Self::Origin => f.write_str("the origin cannot stand in a header"),
            Self::Header(name) => {
                write!(
                    f,
                    "the header {name} belongs to the handshake; use the option for it"
                )
            }
            Self::Credentials => f.write_str("the user name must not contain a colon"),
            Self::Target => f.write_str("the URL is too long"),
            Self::RequestLine => f.write_str(
                "the method, the target or the version of the request was changed; \
                 change headers only",
            ),
        }
    }
}

impl Error for OptionsError {}

/// A URL that does not say where a WebSocket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlError {
    /// White space or a control character, anywhere.
    Character,
    /// No scheme, or another than `ws`, `wss`, `http`, `https`, `ws+unix` and `wss+unix`; or a
    /// redirect to one of the last two.
    Scheme,
    /// No host.
    Host,
    /// A fragment (RFC 6455 §3 forbids it); write `#` as `%23`.
    Fragment,
    /// A path and query that no request can carry, such as one of 64 KiB.
    Target,
    /// A redirect to a user whose name has a colon, which no request can carry (RFC 7617 §2).
    User,
    /// No path of a Unix socket, as in `ws+unix:/run/chat.sock:/room`.
    SocketPath,
    /// Anything else that makes it no URL.
    Syntax(url::ParseError),
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Character => "white space or a control character in the URL",
            Self::Scheme => {
                "the URL must begin with ws://, wss://, http://, https://, ws+unix: or wss+unix:"
            }
            Self::Host => "the URL has no host",
            Self::Fragment => "the URL must not have a fragment; write # as %23",
            Self::Target => "the path of the URL cannot be sent",
            Self::User => "the user name in the URL must not contain a colon",
            Self::SocketPath => "a Unix socket is written as ws+unix:/path/of/the.sock:/path?query",
            Self::Syntax(syntax) => return write!(f, "not a URL: {syntax}"),
        })
    }
}

impl Error for UrlError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Syntax(syntax) => Some(syntax),
            _ => None,
        }
    }
}

/// An answer in plain text that ends the connection, with the headers that its status demands.
///
/// Every refusal comes from here: those of this module, and a server's own 404 or 503.
#[must_use]
pub fn refusal(status: StatusCode, why: impl Into<String>) -> Response<String> {
    let mut why = why.into();
    why.push('\n');
    let mut response = Response::new(why);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, plain);
    let connection = match status {
        // RFC 9110 §15.5.22: the server MUST send an Upgrade header field in a 426 response to
        // indicate the required protocol(s).
        StatusCode::UPGRADE_REQUIRED => {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            // RFC 6455 §4.4: it MUST respond with the version(s) it is willing to use.
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13, 8"));
            "upgrade, close"
        }
        // RFC 9110 §15.5.6: the origin server MUST generate an Allow header field.
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(ALLOW, HeaderValue::from_static("GET"));
            "close"
        }
        _ => "close",
    };
    headers.insert(CONNECTION, HeaderValue::from_static(connection));
    response
}
