//! The server's judgment of a handshake (RFC 6455 §4.2): accepted, or refused with a reason.
//!
//! [`accept`] is the one judge. The raw server, hyper and axum all call it, and nothing else
//! decides. It neither reads nor writes; what is no handshake goes to the caller's fallback.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, Response, StatusCode};

use super::error::RequestError;
pub use super::error::refusal;
use super::extensions::{self, Extensions};
use super::grammar::{self, Host, SEC_WEBSOCKET_ORIGIN, Version, only};
use super::key::Key;
use crate::deflate::Deflate;

/// How the request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Via {
    /// As an HTTP/1.1 upgrade.
    Http1,
    /// As an extended CONNECT over HTTP/2 (RFC 8441), whose pseudo-header field `:protocol` the
    /// caller has found to be `websocket`.
    Http2,
}

impl Via {
    /// The name of this version of HTTP in ALPN (RFC 7301 §6, RFC 9113 §3.1).
    #[must_use]
    pub const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// Which origins a request may come from. A request without an origin is never refused for it:
/// only browsers send one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Origins {
    /// The host and port to which the request was sent (the default).
    ///
    /// They are compared with the authority of an absolute target, or else with `Host`; a port
    /// left out is the default of the origin's scheme. Behind a proxy, have it pass `Host` on
    /// (nginx: `proxy_set_header Host $http_host`).
    #[default]
    SameHost,
    /// These origins, such as `https://example.com`; the case and a default port do not matter.
    List(Vec<String>),
    /// Any origin: every web page may connect, with the cookies of its visitor.
    Any,
}

/// What a server accepts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    origins: Origins,
    protocols: Vec<String>,
    first_offered: bool,
    deflate: Option<Deflate>,
}

impl Options {
    /// The defaults: requests from the same host, no subprotocols.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Which origins a request may come from (default [`Origins::SameHost`]); others get 403.
    #[must_use]
    pub fn origins(mut self, origins: Origins) -> Self {
        self.origins = origins;
        self
    }

    /// The subprotocols that the server speaks, its favorite first (default none).
    ///
    /// The first one that the client offers is chosen. Names are case-sensitive; one that is no
    /// token is never offered.
    #[must_use]
    pub fn protocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.protocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Chooses the first subprotocol that the client offers, whatever it is, as Node's `ws` does
    /// (default no), if none of [`protocols`](Self::protocols) is among them.
    #[must_use]
    pub fn first_protocol_offered(mut self, on: bool) -> Self {
        self.first_offered = on;
        self
    }

    /// How messages are compressed with clients that offer it (default not at all). An offer that
    /// cannot be met is declined, which is no fault of the client's.
    #[must_use]
    pub fn deflate(mut self, deflate: impl Into<Option<Deflate>>) -> Self {
        self.deflate = deflate.into();
        self
    }
}

/// A handshake that holds; answer it with [`response`](Self::response).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Of a handshake over HTTP/1.1.
    key: Option<Key>,
    version: Version,
    offered: Vec<String>,
    protocol: Option<usize>,
    extensions: Extensions,
    headers: HeaderMap,
}

impl Accepted {
    /// The version that the client speaks.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The subprotocols that the client offers, its favorite first.
    #[must_use]
    pub fn offered(&self) -> &[String] {
        &self.offered
    }

    /// The chosen subprotocol.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.protocol
            .and_then(|at| self.offered.get(at))
            .map(String::as_str)
    }

    /// The extensions that both sides know.
    #[must_use]
    pub fn extensions(&self) -> Extensions {
        self.extensions
    }

    /// Chooses another subprotocol, or none; whether the client offers it. If it does not,
    /// nothing is changed.
    pub fn choose(&mut self, protocol: Option<&str>) -> bool {
        let at = protocol.map(|name| self.offered.iter().position(|offer| offer == name));
        match at {
            Some(None) => return false,
            Some(at) => self.protocol = at,
            None => self.protocol = None,
        }
        true
    }

    /// Further headers of the answer, none at first. Those that the handshake itself sets, or that
    /// would announce a body, are left out of it.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// The answer: 101 Switching Protocols (RFC 6455 §4.2.2), over HTTP/2 200 (RFC 8441 §5). Frames
    /// follow it at once.
    #[must_use]
    pub fn response(&self) -> Response<()> {
        let mut response = Response::new(());
        let headers = response.headers_mut();
        *headers = self.headers.clone();
        for name in &OWN {
            headers.remove(name);
        }
        if let Some(key) = &self.key {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(SEC_WEBSOCKET_ACCEPT, key.accept());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        }
        let headers = response.headers_mut();
        if let Some(Ok(protocol)) = self.protocol().map(HeaderValue::from_str) {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        if let Some(extensions) = self.extensions.header() {
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, extensions);
        }
        response
    }
}

/// Whether a request means to be a handshake, however faulty: it names `websocket` in `Upgrade`,
/// or has a `Sec-WebSocket-Key` or a `Sec-WebSocket-Version`.
#[must_use]
pub fn is_handshake<T>(request: &Request<T>) -> bool {
    let headers = request.headers();
    headers.contains_key(SEC_WEBSOCKET_KEY)
        || headers.contains_key(SEC_WEBSOCKET_VERSION)
        || grammar::list_has(headers, &UPGRADE, "websocket")
}

/// The answer to a plain request where nothing but WebSockets is served: 426.
#[must_use]
pub fn upgrade_required() -> Response<String> {
    let why = "this is a WebSocket server: connect with ws:// or wss://, not with a plain request";
    refusal(StatusCode::UPGRADE_REQUIRED, why)
}

/// Judges a request by RFC 6455 §4.2.1 and the options.
///
/// # Errors
///
/// The first fault found, in the order of [`RequestError`]; it knows its answer.
pub fn accept<T>(
    request: &Request<T>,
    options: &Options,
    via: Via,
) -> Result<Accepted, RequestError> {
    let headers = request.headers();
    // RFC 6455 §4.2.1, 1: an HTTP/1.1 or higher GET request. RFC 8441 §4: over HTTP/2 CONNECT.
    let (method, version) = match via {
        Via::Http1 => (Method::GET, http::Version::HTTP_11),
        Via::Http2 => (Method::CONNECT, http::Version::HTTP_2),
    };
    if request.method() != method {
        return Err(RequestError::Method);
    }
    if request.version() != version {
        return Err(RequestError::HttpVersion);
    }
    // RFC 9112 §3.2.2: the origin server MUST ignore the received Host header field and instead
    // use the host information of the request-target. RFC 8441 §4: :authority names it.
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    let authority = authority.and_then(Host::parse);
    let host = only(headers, &HOST)
        .and_then(|host| host.to_str().ok())
        .and_then(Host::parse);
    let host = match via {
        Via::Http1 => host.map(|host| authority.unwrap_or(host)),
        Via::Http2 => authority.or(host),
    };
    let host = host.ok_or(RequestError::Host)?;
    if via == Via::Http1 {
        if !grammar::list_has(headers, &UPGRADE, "websocket") {
            return Err(RequestError::Upgrade);
        }
        if !grammar::list_has(headers, &CONNECTION, "upgrade") {
            return Err(RequestError::Connection);
        }
    }
    if announces_body(headers) {
        return Err(RequestError::Body);
    }
    let key = match via {
        Via::Http1 => {
            let key = only(headers, &SEC_WEBSOCKET_KEY);
            let key = key.and_then(|key| Key::parse(key.as_bytes()));
            Some(key.ok_or(RequestError::Key)?)
        }
        // RFC 8441 §5: Sec-WebSocket-Key is not used.
        Via::Http2 => None,
    };
    let version = only(headers, &SEC_WEBSOCKET_VERSION);
    let version = version.and_then(|version| Version::parse(version.as_bytes()));
    let version = version.ok_or(RequestError::Version)?;
    let offered = grammar::unique_tokens(headers, &SEC_WEBSOCKET_PROTOCOL);
    let offered = offered.map_err(|_| RequestError::Protocols)?;
    // RFC 6455 §9.1: a server that is given malformed values MUST fail the connection. Those that
    // are well formed are offers, and every offer may be declined.
    let offers = grammar::extensions(headers).map_err(|_| RequestError::Extensions)?;

    if let Some(origin) = origin(headers, version)?
        && !options.origins.allow(origin, host)
    {
        return Err(RequestError::Origin);
    }
    let at = |name: &String| offered.iter().position(|offer| offer == name);
    let protocol = options.protocols.iter().find_map(at);
    let protocol = protocol.or(options.first_offered.then_some(0));
    let offered = offered.into_iter().map(str::to_owned).collect();
    Ok(Accepted {
        key,
        version,
        offered,
        protocol,
        extensions: extensions::choose(options.deflate.as_ref(), &offers),
        headers: HeaderMap::new(),
    })
}

impl Origins {
    fn allow(&self, origin: &HeaderValue, host: Host<'_>) -> bool {
        let Ok(origin) = origin.to_str() else {
            return matches!(self, Self::Any);
        };
        match self {
            Self::Any => true,
            Self::SameHost => Origin::parse(origin).is_some_and(|o| o.host.is(host, o.port())),
            Self::List(list) => list.iter().any(|listed| same_origin(listed, origin)),
        }
    }
}

/// An origin of RFC 6454 §7: a scheme, a host and a port. `null` is none.
struct Origin<'a> {
    scheme: &'a str,
    host: Host<'a>,
}

impl<'a> Origin<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, host) = text.split_once("://")?;
        Some(Self {
            scheme,
            host: Host::parse(host)?,
        })
    }

    /// The default port of the scheme.
    fn port(&self) -> Option<u16> {
        let is = |scheme: &str| self.scheme.eq_ignore_ascii_case(scheme);
        if is("https") || is("wss") {
            Some(443)
        } else if is("http") || is("ws") {
            Some(80)
        } else {
            None
        }
    }
}

fn same_origin(one: &str, other: &str) -> bool {
    match (Origin::parse(one), Origin::parse(other)) {
        (Some(one), Some(other)) => {
            one.scheme.eq_ignore_ascii_case(other.scheme) && one.host.is(other.host, one.port())
        }
        _ => one.eq_ignore_ascii_case(other),
    }
}

/// The origin of the request. Either header will do for either version: late drafts of version 8
/// already say `Origin`.
fn origin(headers: &HeaderMap, version: Version) -> Result<Option<&HeaderValue>, RequestError> {
    let once = |name: &HeaderName| match (only(headers, name), headers.contains_key(name)) {
        (None, true) => Err(RequestError::Origins),
        (value, _) => Ok(value),
    };
    let (new, old) = (once(&ORIGIN)?, once(&SEC_WEBSOCKET_ORIGIN)?);
    Ok(match version {
        Version::V13 => new.or(old),
        Version::V8 => old.or(new),
    })
}

/// A body would be taken for frames, or frames for a body.
fn announces_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
        || headers
            .get_all(CONTENT_LENGTH)
            .iter()
            .any(|length| length != "0")
}

/// The headers of the answer that the handshake itself sets, or that would announce a body.
const OWN: [HeaderName; 7] = [
    UPGRADE,
    CONNECTION,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_EXTENSIONS,
];
