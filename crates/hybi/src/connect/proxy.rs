//! The way through a proxy: HTTP CONNECT (RFC 9110 §9.3.6), SOCKS 4a and SOCKS 5 (RFC 1928).
//!
//! The proxy looks names up. What it is told to prove who asks goes to it alone.

#[cfg(feature = "tls")]
mod tls;

use std::fmt;
use std::future::{Ready, ready};
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use http::{Method, Request, Uri};
use hybi_proto::handshake::head::{self, Limits};
use hybi_proto::handshake::server::Via;
use hyper_util::client::legacy::connect::proxy::{SocksV4, SocksV5};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tower_service::Service;

use super::Place;
use crate::error::{Error, HandshakeError, ProxyError, Result};
use crate::exchange::{self, Deadline};
use crate::io::Stream;
use crate::tls::ClientTls;

/// A proxy through which a client reaches servers; for [`Client::proxy`](crate::Client::proxy).
///
/// ```
/// let proxy = hybi::Proxy::parse("socks5://user:password@127.0.0.1:1080")?;
/// # Ok::<(), hybi::ProxyError>(())
/// ```
///
/// | URL | what is spoken | default port |
/// |---|---|---|
/// | `http://` | CONNECT of HTTP/1.1, for `ws:` as for `wss:` (RFC 6455 §4.1) | 80 |
/// | `https://` | the same over TLS | 443 |
/// | `socks4a://`, `socks4://` | SOCKS 4a, without a user name; no IPv6 addresses | 1080 |
/// | `socks5h://`, `socks5://` | SOCKS 5 (RFC 1928), and its user names and passwords (RFC 1929) | 1080 |
///
/// A user name and a password in the URL, percent-encoded, are told to the proxy and to nobody
/// else; `Debug` does not show them. Names are looked up by the proxy, whatever the scheme: nothing
/// else of the network learns who is asked for. The time that the proxy takes is part of
/// [`Options::handshake_timeout`](crate::Options::handshake_timeout), and its answers have the
/// bounds of a server's.
#[derive(Clone)]
pub struct Proxy {
    kind: Kind,
    intercept: Intercept,
    /// With an `https:` proxy itself.
    tls: ClientTls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Http,
    Https,
    Socks4,
    Socks5,
}

impl Proxy {
    /// A proxy from its URL; without a scheme it is `http:`.
    ///
    /// # Errors
    ///
    /// [`ProxyError::Url`], [`ProxyError::Scheme`], [`ProxyError::Credentials`].
    pub fn parse(url: &str) -> std::result::Result<Self, ProxyError> {
        let uri: Uri = url.parse().map_err(|_| ProxyError::Url)?;
        Kind::of(&uri)?;
        if uri.host().is_none_or(str::is_empty) {
            return Err(ProxyError::Url);
        }
        let any = Uri::from_static("http://host/");
        let intercept = Matcher::builder().all(url).build().intercept(&any);
        Self::new(intercept.ok_or(ProxyError::Url)?)
    }

    fn new(intercept: Intercept) -> std::result::Result<Self, ProxyError> {
        let kind = Kind::of(intercept.uri())?;
        if !has_sound_port(intercept.uri()) {
            return Err(ProxyError::Url);
        }
        if let Some((user, password)) = intercept.raw_auth() {
            let fits = |text: &str| text.len() <= usize::from(u8::MAX);
            if kind == Kind::Socks4 || !fits(user) || !fits(password) {
                return Err(ProxyError::Credentials);
            }
        }
        Ok(Self {
            kind,
            intercept,
            tls: Default::default(),
        })
    }

    /// Where the proxy is.
    pub(super) fn place(&self) -> Place<'_> {
        let uri = self.intercept.uri();
        let host = uri.host().unwrap_or_default();
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        Place {
            host: bare.unwrap_or(host),
            port: uri.port_u16().unwrap_or(self.kind.port()),
            secure: self.kind == Kind::Https,
        }
    }

    /// Makes a stream to the proxy one to this host.
    pub(super) async fn tunnel(
        &self,
        stream: Stream,
        to: Place<'_>,
        limits: Limits,
        deadline: Deadline,
    ) -> Result<Stream> {
        match self.kind {
            Kind::Http => self.connect(stream, to, limits, deadline).await,
            Kind::Https => {
                let (host, alpn) = (self.place().host, [Via::Http1.alpn()]);
                let (stream, _) = self.tls.connect_with(stream, host, &alpn).await?;
                self.connect(stream, to, limits, deadline).await
            }
            Kind::Socks4 | Kind::Socks5 => self.socks(stream, to).await,
        }
    }

    /// By HTTP CONNECT.
    async fn connect(
        &self,
        mut stream: Stream,
        to: Place<'_>,
        limits: Limits,
        deadline: Deadline,
    ) -> Result<Stream> {
        exchange::write(&mut stream, &self.question(to)?).await?;
        let answer = exchange::read_response(&mut stream, limits).await;
        let (response, rest) = answer.map_err(blame)?;
        // RFC 9110 §9.3.6: any 2xx (Successful) response indicates that the sender (and all inbound
        // proxies) will switch to tunnel mode.
        if !response.status().is_success() {
            let body = exchange::read_body(&mut stream, response, rest, deadline);
            return Err(ProxyError::Refused(body.await).into());
        }
        // Both TLS and a WebSocket begin with the client.
        match rest.is_empty() {
            true => Ok(stream),
            false => Err(ProxyError::Early.into()),
        }
    }

    /// The head of the request to the proxy.
    fn question(&self, to: Place<'_>) -> Result<Vec<u8>> {
        let authority = authority(to);
        let mut request = Request::new(());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = authority.parse().map_err(io::Error::other)?;
        let headers = request.headers_mut();
        let host = HeaderValue::try_from(authority).map_err(io::Error::other)?;
        headers.insert(HOST, host);
        if let Some(credentials) = self.intercept.basic_auth() {
            headers.insert(PROXY_AUTHORIZATION, credentials.clone());
        }
        let mut head = Vec::new();
        head::write_request(&request, &mut head);
        Ok(head)
    }

    async fn socks(&self, stream: Stream, to: Place<'_>) -> Result<Stream> {
        let uri: Uri = authority(to).parse().map_err(io::Error::other)?;
        let (given, proxy) = (Given(Some(stream)), self.intercept.uri().clone());
        let opened = match (self.kind, self.intercept.raw_auth()) {
            (Kind::Socks4, _) => SocksV4::new(proxy, given).call(uri).await,
            (_, None) => SocksV5::new(proxy, given).call(uri).await,
            (_, Some((user, password))) => {
                let socks = SocksV5::new(proxy, given);
                let mut socks = socks.with_auth(user.to_owned(), password.to_owned());
                socks.call(uri).await
            }
        };
        match opened {
            Ok(stream) => Ok(stream.into_inner()),
            Err(Fault::Inner(error) | Fault::Io(error)) => Err(Error::Io(error)),
            Err(error) => Err(ProxyError::Socks(error.to_string()).into()),
        }
    }
}

/// How SOCKS fails.
type Fault = <SocksV5<Given> as Service<Uri>>::Error;

impl Kind {
    fn of(uri: &Uri) -> std::result::Result<Self, ProxyError> {
        match uri.scheme_str() {
            None | Some("http") => Ok(Self::Http),
            Some("https") => Ok(Self::Https),
            Some("socks4" | "socks4a") => Ok(Self::Socks4),
            Some("socks5" | "socks5h") => Ok(Self::Socks5),
            Some(_) => Err(ProxyError::Scheme),
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Socks4 | Self::Socks5 => 1080,
        }
    }
}

impl FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(url: &str) -> std::result::Result<Self, ProxyError> {
        Self::parse(url)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.intercept.uri())
    }
}

/// Which proxy is for which host.
#[derive(Clone, Debug, Default)]
pub(crate) enum Proxies {
    /// None for any.
    #[default]
    None,
    /// This one for all.
    All(Proxy),
    /// As the environment says.
    Environment(Arc<Matcher>),
}

impl Proxies {
    /// What the environment says now.
    pub(crate) fn from_env() -> Self {
        Self::Environment(Arc::new(Matcher::from_env()))
    }

    pub(super) fn choose(&self, place: Place<'_>) -> Result<Option<Proxy>> {
        match self {
            Self::None => Ok(None),
            Self::All(proxy) => Ok(Some(proxy.clone())),
            Self::Environment(matcher) => {
                // The schemes that a matcher knows.
                let scheme = if place.secure { "https" } else { "http" };
                // A name that ends with a dot is the same name.
                let host = place.host.strip_suffix('.').unwrap_or(place.host);
                let uri = format!("{scheme}://{}/", authority(Place { host, ..place }));
                let uri = uri.parse().map_err(io::Error::other)?;
                let proxy = matcher.intercept(&uri).map(Proxy::new);
                Ok(proxy.transpose()?)
            }
        }
    }
}

/// The host and the port, which is always there: who is asked must not guess it.
fn authority(place: Place<'_>) -> String {
    match place.host.contains(':') {
        true => format!("[{}]:{}", place.host, place.port),
        false => format!("{}:{}", place.host, place.port),
    }
}

/// What was wrong with an answer was the proxy's fault, not the server's.
fn blame(error: Error) -> Error {
    match error {
        Error::Handshake(error) => match *error {
            HandshakeError::Response { error, .. } => ProxyError::Answer(error).into(),
            error => error.into(),
        },
        error => error,
    }
}

/// Gives a stream that is there already, once.
struct Given(Option<Stream>);

impl Service<Uri> for Given {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Ready<io::Result<TokioIo<Stream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let given = self.0.take().map(TokioIo::new);
        ready(given.ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

/// Whether a port that is there is one: a URI takes others, and then says that it has none.
fn has_sound_port(uri: &Uri) -> bool {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let place = authority
        .rsplit_once('@')
        .map_or(authority, |(_, place)| place);
    let port = place.strip_prefix(uri.host().unwrap_or_default());
    uri.port_u16().is_some() || port.is_some_and(|port| matches!(port, "" | ":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(proxies: &Proxies, host: &str, secure: bool) -> Option<String> {
        let place = Place {
            host,
            port: 80,
            secure,
        };
        let proxy = proxies.choose(place).expect("a proxy or none");
        proxy.map(|proxy| format!("{}:{}", proxy.place().host, proxy.place().port))
    }

    #[test]
    fn the_environment_names_one_for_each_kind_and_exceptions() {
        let matcher = Matcher::builder()
            .http("plain.example")
            .https("socks5://u:p@[::1]")
            .no("here.example, 192.0.2.0/24, 2001:db8::1")
            .build();
        let proxies = Proxies::Environment(Arc::new(matcher));
        let plain = Some("plain.example:80".to_owned());
        for host in [
            "chat.example",
            "nowhere.example",
            "192.0.3.1",
            "2001:db8::2",
        ] {
            assert_eq!(chosen(&proxies, host, false), plain, "{host}");
            assert_eq!(chosen(&proxies, host, true).as_deref(), Some("::1:1080"));
        }
        for host in [
            "here.example",
            "a.here.example.",
            "192.0.2.7",
            "2001:db8::1",
        ] {
            assert_eq!(chosen(&proxies, host, false), None, "{host}");
            assert_eq!(chosen(&proxies, host, true), None, "{host}");
        }
    }

    #[test]
    fn a_proxy_of_the_environment_that_cannot_be_used_is_not_passed_by() {
        let matcher = Matcher::builder()
            .all("socks4a://u:p@proxy.example")
            .build();
        let proxies = Proxies::Environment(Arc::new(matcher));
        let place = Place {
            host: "chat.example",
            port: 80,
            secure: false,
        };
        assert!(matches!(proxies.choose(place), Err(Error::Proxy(_))));
    }
}
