//! The URL of a WebSocket (RFC 6455 §3), and what a client needs to know of it.
//!
//! URLs are parsed as browsers do, by `url`, after everything is refused that `url` would mend in
//! silence. Connecting is not done here.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};
use url::{Host, Url};

use super::error::UrlError;
use super::grammar::percent_decode;

/// Where a WebSocket is: `ws:` or `wss:`, the same as `http:` or `https:`, or a Unix socket as
/// `ws+unix:/path/of/the.sock:/chat?room=1` (`wss+unix:` with TLS). In the path of a socket `%20`
/// stands for a space, and so on; what follows its first colon is the target of the request, `/`
/// if it is not there.
///
/// ```
/// let target = hybi_proto::handshake::Target::parse("wss://user:pa%3Ass@[::1]:8443/chat?room=1")?;
/// assert!(target.secure());
/// assert_eq!((target.host(), target.port()), ("::1", 8443));
/// assert_eq!(target.authority(), "[::1]:8443");
/// assert_eq!(target.path_and_query(), "/chat?room=1");
/// # Ok::<(), hybi_proto::handshake::UrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
    secure: bool,
    host: String,
    port: u16,
    authority: HeaderValue,
    path: PathAndQuery,
    /// Instead of the host and port, which then are those of `localhost`.
    socket: Option<String>,
}

impl Target {
    /// Parses an absolute URL.
    ///
    /// # Errors
    ///
    /// Each [`UrlError`]; white space and control characters are refused wherever they stand.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        refuse_blanks(url)?;
        let (scheme, rest) = url.split_once(':').ok_or(UrlError::Scheme)?;
        let scheme = scheme.to_ascii_lowercase();
        if let Some(scheme) = scheme.strip_suffix("+unix") {
            return Self::unix(scheme, rest);
        }
        is_secure(&scheme)?;
        // `url` would take `ws:host` and `ws:///host` for `ws://host`.
        let rest = rest.strip_prefix("//").ok_or(UrlError::Host)?;
        if rest.starts_with(['/', '\\']) {
            return Err(UrlError::Host);
        }
        Self::new(Url::parse(url)?)
    }

    /// A Unix socket: what stands behind the scheme and its colon.
    fn unix(scheme: &str, rest: &str) -> Result<Self, UrlError> {
        if !matches!(scheme, "ws" | "wss") {
            return Err(UrlError::Scheme);
        }
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        // `ws+unix:///path` is customary, too: an authority that is empty.
        let rest = match rest.strip_prefix("//") {
            Some(path) if path.starts_with('/') => path,
            Some(_) => return Err(UrlError::SocketPath),
            None => rest,
        };
        let (socket, path) = rest.split_once(':').unwrap_or((rest, "/"));
        let socket = String::from_utf8(percent_decode(socket)).map_err(|_| UrlError::SocketPath)?;
        if socket.is_empty() || socket.contains('\0') {
            return Err(UrlError::SocketPath);
        }
        let path = match path.chars().next() {
            None => "/",
            Some('/') => path,
            Some(_) => return Err(UrlError::Target),
        };
        let target = Self::new(Url::parse(&format!("{scheme}://localhost{path}"))?)?;
        Ok(Self {
            socket: Some(socket),
            ..target
        })
    }

    /// Resolves a redirect's `Location` against this target (RFC 3986 §5).
    ///
    /// A relative reference keeps the user information of this target, and its socket. No redirect
    /// leads to another socket: to the program that follows it, that would be a file of its own.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse), [`UrlError::Scheme`] for another socket, and [`UrlError::User`].
    pub fn join(&self, location: &str) -> Result<Self, UrlError> {
        refuse_blanks(location)?;
        let target = Self::new(self.url.join(location)?)?;
        let user = target.credentials().map(|credentials| credentials.user);
        if user.is_some_and(|user| user.contains(&b':')) {
            return Err(UrlError::User);
        }
        // RFC 3986 §4.2: `//host` is relative, too, and names another authority; to `url`, a
        // backslash is a slash.
        let mut start = location.bytes().map(|b| matches!(b, b'/' | b'\\'));
        let network = start.next() == Some(true) && start.next() == Some(true);
        let elsewhere = network || Url::parse(location).is_ok();
        Ok(Self {
            socket: self.socket.clone().filter(|_| !elsewhere),
            ..target
        })
    }

    /// Whether what was meant for this target only, credentials and cookies, may go along to one
    /// that it redirects to: the same host and port, or the same socket, and no way from `wss:` to
    /// `ws:`.
    #[must_use]
    pub fn trusts(&self, next: &Self) -> bool {
        self.authority == next.authority
            && self.socket == next.socket
            && (next.secure || !self.secure)
    }

    fn new(url: Url) -> Result<Self, UrlError> {
        let secure = is_secure(url.scheme())?;
        if url.fragment().is_some() {
            return Err(UrlError::Fragment);
        }
        let (host, name) = match url.host().ok_or(UrlError::Host)? {
            Host::Domain("") => return Err(UrlError::Host),
            Host::Domain(domain) => (domain.to_owned(), domain.to_owned()),
            Host::Ipv4(ip) => (ip.to_string(), ip.to_string()),
            Host::Ipv6(ip) => (ip.to_string(), format!("[{ip}]")),
        };
        let default = if secure { 443 } else { 80 };
        let port = url.port().unwrap_or(default);
        // RFC 6455 §4.1: the port if not using the default port.
        let authority = if port == default {
            name
        } else {
            format!("{name}:{port}")
        };
        let authority = HeaderValue::try_from(authority).map_err(|_| UrlError::Host)?;
        let path = match url.query() {
            Some(query) => PathAndQuery::try_from(format!("{}?{query}", url.path())),
            None => PathAndQuery::try_from(url.path()),
        };
        let path = path.map_err(|_| UrlError::Target)?;
        Ok(Self {
            url,
            secure,
            host,
            port,
            authority,
            path,
            socket: None,
        })
    }

    /// Whether it is `wss:`, `https:` or `wss+unix:`.
    #[must_use]
    pub fn secure(&self) -> bool {
        self.secure
    }

    /// The path of the Unix socket to connect to, if it is one, rather than to a host.
    #[must_use]
    pub fn socket(&self) -> Option<&str> {
        self.socket.as_deref()
    }

    /// The host to connect to: a name in ASCII, or an IP address without brackets; `localhost`
    /// where a Unix socket takes its place.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to connect to; 80 or 443 if the URL names none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The value of `Host`: brackets around an IPv6 address, the default port left out.
    #[must_use]
    pub fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// The URL without its user information, as `ws:` or `wss:`.
    ///
    /// # Errors
    ///
    /// [`UrlError::Target`] if it is longer than a [`Uri`] can be.
    pub fn uri(&self) -> Result<Uri, UrlError> {
        let scheme = if self.secure { "wss" } else { "ws" };
        let authority = self.authority.to_str().unwrap_or_default();
        let uri = format!("{scheme}://{authority}{}", self.path);
        uri.parse().map_err(|_| UrlError::Target)
    }

    /// The target of the request.
    #[must_use]
    pub fn path_and_query(&self) -> &PathAndQuery {
        &self.path
    }

    /// The user information, percent-decoded; none if the URL has none.
    #[must_use]
    pub fn credentials(&self) -> Option<Credentials> {
        let (user, password) = (self.url.username(), self.url.password());
        if user.is_empty() && password.is_none() {
            return None;
        }
        Some(Credentials::new(
            percent_decode(user),
            percent_decode(password.unwrap_or_default()),
        ))
    }

    /// The same target without user information.
    #[must_use]
    pub fn without_credentials(mut self) -> Self {
        // Neither can fail: `new` has seen a host.
        let _ = self.url.set_username("");
        let _ = self.url.set_password(None);
        self
    }
}

impl FromStr for Target {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        Self::parse(url)
    }
}

/// The URL without its user information, in characters that [`parse`](Target::parse) takes.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        let Some(socket) = &self.socket else {
            let authority = self.authority.to_str().unwrap_or_default();
            return write!(f, "{scheme}://{authority}{}", self.path);
        };
        // Or its beginning would be taken for an authority.
        let authority = if socket.starts_with("//") { "//" } else { "" };
        write!(f, "{scheme}+unix:{authority}")?;
        for c in socket.chars() {
            if is_blank(c) || matches!(c, '%' | ':' | '#') {
                let mut bytes = [0; 4];
                let mut bytes = c.encode_utf8(&mut bytes).bytes();
                bytes.try_for_each(|byte| write!(f, "%{byte:02X}"))?;
            } else {
                f.write_char(c)?;
            }
        }
        write!(f, ":{}", self.path)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

impl From<url::ParseError> for UrlError {
    fn from(error: url::ParseError) -> Self {
        match error {
            url::ParseError::EmptyHost => Self::Host,
            url::ParseError::RelativeUrlWithoutBase => Self::Scheme,
            other => Self::Syntax(other),
        }
    }
}

/// A user name and a password for Basic authentication (RFC 7617); `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub(super) user: Vec<u8>,
    pub(super) password: Vec<u8>,
}

impl Credentials {
    /// Both as the bytes that are sent, customarily UTF-8.
    pub fn new(user: impl Into<Vec<u8>>, password: impl Into<Vec<u8>>) -> Self {
        Self {
            user: user.into(),
            password: password.into(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

fn is_secure(scheme: &str) -> Result<bool, UrlError> {
    match scheme {
        "wss" | "https" => Ok(true),
        "ws" | "http" => Ok(false),
        _ => Err(UrlError::Scheme),
    }
}

/// `url` trims blanks at the ends and drops tabs and line ends anywhere.
fn refuse_blanks(url: &str) -> Result<(), UrlError> {
    if url.contains(is_blank) {
        Err(UrlError::Character)
    } else {
        Ok(())
    }
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}
