//! The client's half of the handshake (RFC 6455 §4.1): the request, and the verdict on its answer.
//!
//! [`request`] builds, [`Answer`] finds the final answer among the bytes that come back, and
//! [`verify`] judges it; between them the caller writes, waits and reads. The caller follows
//! redirects, too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue,
    ORIGIN, PROXY_AUTHORIZATION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Uri};

use super::error::{OptionsError, ResponseError};
use super::extensions::{self, Extensions};
use super::grammar::{self, Host, SEC_WEBSOCKET_ORIGIN, Version, only};
use super::head::{self, Limits, Scan};
use super::key::Key;
use super::uri::{Credentials, Target};
use crate::deflate::Deflate;

/// How many informational answers a client skips before it gives up.
pub const MAX_INFORMATIONAL: usize = 8;

/// What a client asks for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    version: Version,
    protocols: Vec<String>,
    require_protocol: bool,
    host: Option<String>,
    origin: Option<String>,
    credentials: Option<Credentials>,
    headers: HeaderMap,
    deflate: Option<Deflate>,
}

impl Options {
    /// The defaults: version 13, no subprotocols, no origin, no further headers, no compression.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The version of the protocol (default 13).
    #[must_use]
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// Requests one more subprotocol, liked less than those before it (default none).
    #[must_use]
    pub fn protocol(mut self, name: impl Into<String>) -> Self {
        self.protocols.push(name.into());
        self
    }

    /// Fails the handshake if the server chooses no subprotocol (default: that is fine).
    #[must_use]
    pub fn require_protocol(mut self, require: bool) -> Self {
        self.require_protocol = require;
        self
    }

    /// The value of `Host`, over HTTP/2 of `:authority`: a host and a port, if that is not 80 or 443
    /// (default those of the URL). It is meant for one server only.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// The value of `Origin`, in version 8 of `Sec-WebSocket-Origin` (default none).
    #[must_use]
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Credentials for Basic authentication (default none). Those in the URL win over these, and
    /// an `Authorization` among [`header`](Self::header) wins over both.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// How messages are compressed, if the server agrees (default not at all).
    #[must_use]
    pub fn deflate(mut self, deflate: impl Into<Option<Deflate>>) -> Self {
        self.deflate = deflate.into();
        self
    }

    /// One more header (default none). Those of the handshake itself cannot be set; [`request`]
    /// names the one that was. `Authorization` and `Cookie` are made
    /// [sensitive](HeaderValue::set_sensitive): `Debug` does not show them.
    #[must_use]
    pub fn header(mut self, name: HeaderName, mut value: HeaderValue) -> Self {
        if SECRET.contains(&name) {
            value.set_sensitive(true);
        }
        self.headers.append(name, value);
        self
    }

    /// Those headers, for who looks at them once more before a redirect is followed.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// The same without what is meant for one server only: the credentials, `Authorization`,
    /// `Proxy-Authorization`, `Cookie` and [`host`](Self::host). See [`Target::trusts`].
    #[must_use]
    pub fn without_credentials(mut self) -> Self {
        self.credentials = None;
        self.host = None;
        for name in SECRET {
            self.headers.remove(name);
        }
        self
    }
}

/// The request that opens a WebSocket: with a key as an upgrade of HTTP/1.1, and without one as an
/// extended CONNECT of HTTP/2 (RFC 8441), where the stream is the proof of what the key proves. The
/// pseudo-header field `:protocol`, `websocket`, is for the caller to add.
///
/// # Errors
///
/// Options that cannot be sent; the caller's headers cannot override those of the handshake.
pub fn request(
    target: &Target,
    key: Option<&Key>,
    options: &Options,
) -> Result<Request<()>, OptionsError> {
    let authority = match &options.host {
        None => target.authority().clone(),
        Some(host) if Host::parse(host).is_some() => {
            HeaderValue::from_str(host).map_err(|_| OptionsError::Host)?
        }
        Some(_) => return Err(OptionsError::Host),
    };
    let mut request = Request::new(());
    match key {
        Some(key) => {
            *request.uri_mut() = Uri::from(target.path_and_query().clone());
            let headers = request.headers_mut();
            headers.insert(HOST, authority);
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(SEC_WEBSOCKET_KEY, key.header());
        }
        None => {
            // RFC 8441 §4: on requests that contain the :protocol pseudo-header field, the :scheme
            // and :path pseudo-header fields of the target URI MUST also be included. §5: the
            // scheme is "https" for "wss" and "http" for "ws".
            *request.method_mut() = Method::CONNECT;
            *request.version_mut() = http::Version::HTTP_2;
            let scheme = if target.secure() { "https" } else { "http" };
            let uri = Uri::builder()
                .scheme(scheme)
                .authority(authority.as_bytes())
                .path_and_query(target.path_and_query().clone());
            *request.uri_mut() = uri.build().map_err(|_| OptionsError::Target)?;
        }
    }
    let headers = request.headers_mut();
    if let Some(origin) = &options.origin {
        let name = match options.version {
            Version::V13 => ORIGIN,
            Version::V8 => SEC_WEBSOCKET_ORIGIN,
        };
        let origin = HeaderValue::from_str(origin).map_err(|_| OptionsError::Origin)?;
        headers.insert(name, origin);
    }
    if let Some(protocols) = protocols(options)? {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocols);
    }
    if let Some(offer) = options.deflate.as_ref().and_then(extensions::offer) {
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, offer);
    }
    let version = HeaderValue::from_static(options.version.as_str());
    headers.insert(SEC_WEBSOCKET_VERSION, version);
    if !options.headers.contains_key(AUTHORIZATION) {
        let credentials = target.credentials().or_else(|| options.credentials.clone());
        if let Some(credentials) = credentials {
            headers.insert(AUTHORIZATION, basic(&credentials)?);
        }
    }
    for (name, value) in &options.headers {
        if OWN.contains(name) {
            return Err(OptionsError::Header(name.clone()));
        }
        headers.append(name, value.clone());
    }
    Ok(request)
}

/// Whether a request that the caller has had in hand still asks for what it was built to ask for:
/// the caller's own headers may differ, and nothing else.
///
/// # Errors
///
/// [`OptionsError::RequestLine`], or [`OptionsError::Header`] with the one that was changed.
pub fn compare(built: &Request<()>, changed: &Request<()>) -> Result<(), OptionsError> {
    let line = |request: &Request<()>| {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        (method, uri, request.version())
    };
    if line(built) != line(changed) {
        return Err(OptionsError::RequestLine);
    }
    let same = |name: &&HeaderName| {
        let values = |request: &Request<()>| {
            let values = request.headers().get_all(*name).iter();
            values.cloned().collect::<Vec<_>>()
        };
        values(built) == values(changed)
    };
    match OWN.iter().find(|name| !same(name)) {
        Some(name) => Err(OptionsError::Header(name.clone())),
        None => Ok(()),
    }
}

/// The list of the subprotocols; none if there are none.
fn protocols(options: &Options) -> Result<Option<HeaderValue>, OptionsError> {
    for (at, name) in options.protocols.iter().enumerate() {
        if !grammar::is_token(name.as_bytes()) {
            return Err(OptionsError::Protocol(name.clone()));
        }
        // RFC 6455 §4.1, 10: the elements MUST all be unique strings.
        if options.protocols[..at].contains(name) {
            return Err(OptionsError::ProtocolRepeated(name.clone()));
        }
    }
    if options.protocols.is_empty() {
        let required = options.require_protocol;
        return if required {
            Err(OptionsError::ProtocolMissing)
        } else {
            Ok(None)
        };
    }
    Ok(HeaderValue::from_str(&options.protocols.join(", ")).ok())
}

fn basic(credentials: &Credentials) -> Result<HeaderValue, OptionsError> {
    // RFC 7617 §2: a user-id containing a colon character is invalid.
    if credentials.user.contains(&b':') {
        return Err(OptionsError::Credentials);
    }
    let pair = [credentials.user.as_slice(), b":", &credentials.password].concat();
    let value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)));
    let mut value = value.map_err(|_| OptionsError::Credentials)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The search for the final answer: informational ones, such as 103 Early Hints, are skipped.
#[derive(Debug, Clone)]
pub struct Answer {
    limits: Limits,
    scan: Scan,
    /// Where the head begins that is searched for.
    start: usize,
    skipped: usize,
}

impl Answer {
    /// A search in which each head is within these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            scan: Scan::response(limits),
            start: 0,
            skipped: 0,
        }
    }

    /// The head of the final answer, and where it ends in `bytes`; `None` if it has not arrived
    /// as a whole.
    ///
    /// `bytes` is all that has arrived so far: what an earlier call was given, and more behind it.
    ///
    /// # Errors
    ///
    /// As [`Scan::scan`] and [`head::parse_response`], and
    /// [`ResponseError::TooManyInformational`] after [`MAX_INFORMATIONAL`] others.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<(Response<()>, usize)>, ResponseError> {
        loop {
            let rest = bytes.get(self.start..).unwrap_or_default();
            let Some(length) = self.scan.scan(rest)? else {
                return Ok(None);
            };
            let response = head::parse_response(&rest[..length])?;
            let status = response.status();
            // RFC 9110 §15.2: a client MUST be able to parse one or more 1xx responses received
            // prior to a final response, even if the client does not expect one.
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Some((response, self.start + length)));
            }
            if self.skipped == MAX_INFORMATIONAL {
                return Err(ResponseError::TooManyInformational);
            }
            self.skipped += 1;
            self.start += length;
            self.scan = Scan::response(self.limits);
        }
    }
}

/// What both sides have agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Agreed {
    /// The subprotocol that the server has chosen.
    pub protocol: Option<String>,
    /// The extensions that the server has chosen.
    pub extensions: Extensions,
}

/// Judges the final answer to a request with these options: with this key over HTTP/1.1 (RFC 6455
/// §4.1), without one over HTTP/2 (RFC 8441 §5).
///
/// # Errors
///
/// The first fault found. Only [`ResponseError::Status`] may have a body worth reading.
pub fn verify<T>(
    key: Option<&Key>,
    options: &Options,
    response: &Response<T>,
) -> Result<Agreed, ResponseError> {
    let headers = response.headers();
    // RFC 8441 §5: instead of 101, any 2xx status is a positive answer.
    let opens = match key {
        Some(_) => response.status() == StatusCode::SWITCHING_PROTOCOLS,
        None => response.status().is_success(),
    };
    if !opens {
        return Err(ResponseError::Status(response.status()));
    }
    let version = match key {
        Some(_) => http::Version::HTTP_11,
        None => http::Version::HTTP_2,
    };
    if response.version() != version {
        return Err(ResponseError::HttpVersion);
    }
    if let Some(key) = key {
        let upgrade = only(headers, &UPGRADE).map(HeaderValue::as_bytes);
        if !upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case(b"websocket")) {
            return Err(ResponseError::Upgrade);
        }
        if !grammar::list_has(headers, &CONNECTION, "upgrade") {
            return Err(ResponseError::Connection);
        }
        if only(headers, &SEC_WEBSOCKET_ACCEPT) != Some(&key.accept()) {
            return Err(ResponseError::Accept);
        }
    }
    let extensions = grammar::extensions(headers);
    let extensions = extensions.map_err(|_| ResponseError::ExtensionsMalformed)?;
    Ok(Agreed {
        extensions: extensions::verify(options.deflate.as_ref(), &extensions)?,
        protocol: chosen(options, headers)?,
    })
}

fn chosen(options: &Options, headers: &HeaderMap) -> Result<Option<String>, ResponseError> {
    let Some(chosen) = headers.get(SEC_WEBSOCKET_PROTOCOL) else {
        let required = options.require_protocol;
        return if required {
            Err(ResponseError::ProtocolMissing)
        } else {
            Ok(None)
        };
    };
    if options.protocols.is_empty() {
        return Err(ResponseError::ProtocolNotRequested);
    }
    if only(headers, &SEC_WEBSOCKET_PROTOCOL).is_none() {
        return Err(ResponseError::ProtocolRepeated);
    }
    let asked = options
        .protocols
        .iter()
        .find(|asked| chosen == asked.as_str());
    asked
        .cloned()
        .map(Some)
        .ok_or(ResponseError::ProtocolInvalid)
}

/// The headers that are meant for one server only.
const SECRET: [HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];

/// The headers that the handshake itself sets, or that would announce a body.
const OWN: [HeaderName; 12] = [
    HOST,
    UPGRADE,
    CONNECTION,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    ORIGIN,
    SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_ORIGIN,
    SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION,
];
