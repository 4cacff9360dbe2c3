//! What is asked for at the other end: the options of one opening handshake.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Request, Uri};
use hybi_proto::handshake::{Credentials, Target, Version, client};

use super::Client;
use crate::error::Result;
use crate::io::Stream;
use crate::options::Options;

/// A client's opening handshake, made by [`connect`](crate::connect) and [`Client::connect`]; it
/// begins when it is awaited.
///
/// Cancel safe: a dropped call drops the connection that it was about to open.
///
/// # Errors
///
/// [`Error::Url`](crate::Error::Url); [`Error::Handshake`](crate::Error::Handshake) if the server
/// refused, with its response and up to 64 KiB of the body, as much of it as comes within 2 s;
/// [`Error::Proxy`](crate::Error::Proxy); [`Error::Tls`](crate::Error::Tls);
/// [`Error::Io`](crate::Error::Io); [`Error::Timeout`](crate::Error::Timeout) after
/// [`Options::handshake_timeout`], which bounds all of it, from the look-up of the name to the last
/// byte of the answer, redirects included.
#[must_use = "a client connects when it is awaited"]
pub struct Connect {
    pub(crate) url: String,
    pub(super) client: Client,
    pub(super) request: client::Options,
    pub(crate) options: Options,
    pub(super) connector: Option<Connector>,
    pub(super) on_request: Option<OnRequest>,
    pub(super) mask_source: Option<fn() -> [u8; 4]>,
    pub(super) http2: bool,
    /// A header that cannot be sent.
    pub(super) fault: Option<http::Error>,
}

/// What opens the transport.
pub(super) struct Connector(pub(super) Arc<dyn Fn(Uri) -> Opening + Send + Sync>);

type Opening = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

/// What takes a last look at the request.
pub(super) type OnRequest = Box<dyn Fn(Request<()>, ConnectInfo) -> Looking + Send + Sync>;

type Looking = Pin<Box<dyn Future<Output = Result<Request<()>>> + Send>>;

/// The connection over which a request is about to be sent; for [`Connect::on_request`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectInfo {
    /// Our own address, if it is known.
    pub local_addr: Option<SocketAddr>,
    /// The address of the server, or of the proxy before it, if it is known.
    pub peer_addr: Option<SocketAddr>,
}

impl ConnectInfo {
    pub(super) fn of(stream: &Stream) -> Self {
        Self {
            local_addr: stream.local_addr(),
            peer_addr: stream.peer_addr(),
        }
    }
}

impl Connect {
    pub(super) fn new(client: Client, url: String) -> Self {
        let options = client.0.options.clone();
        Self {
            url,
            client,
            request: client::Options::new().deflate(options.get().deflate(true)),
            options,
            connector: None,
            on_request: None,
            mask_source: None,
            http2: false,
            fault: None,
        }
    }

    /// The bounds and habits of the connection (default: those of the [`Client`]).
    pub fn options(mut self, options: Options) -> Self {
        self.request = self.request.deflate(options.get().deflate(true));
        self.options = options;
        self
    }

    /// One more header (default none). Those of the handshake itself cannot be set.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        match (
            name.try_into().map_err(Into::into),
            value.try_into().map_err(Into::into),
        ) {
            (Ok(name), Ok(value)) => self.request = self.request.header(name, value),
            (Err(error), _) | (_, Err(error)) => self.fault = self.fault.or(Some(error)),
        }
        self
    }

    /// Asks for one more subprotocol, liked less than those before it (default none).
    pub fn protocol(mut self, name: impl Into<String>) -> Self {
        self.request = self.request.protocol(name);
        self
    }

    /// Fails the handshake if the server chooses no subprotocol (default: that is fine).
    pub fn require_protocol(mut self) -> Self {
        self.request = self.request.require_protocol(true);
        self
    }

    /// The value of `Host`, if it is not to be that of the URL (the default): to reach one of many
    /// servers behind an address, say. The URL still says where to connect to, and which
    /// certificate is expected there. A redirect to another host leaves it behind.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.request = self.request.host(host);
        self
    }

    /// The value of `Origin`, in version 8 of `Sec-WebSocket-Origin` (default none).
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.request = self.request.origin(origin);
        self
    }

    /// Credentials for Basic authentication (default none); those in the URL win over these.
    pub fn basic_auth(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.request = self
            .request
            .credentials(Credentials::new(user.into(), password.into()));
        self
    }

    /// A token for Bearer authentication (RFC 6750 §2.1; default none); it wins over
    /// [`basic_auth`](Self::basic_auth) and over a user in the URL.
    pub fn bearer_auth(mut self, token: impl AsRef<str>) -> Self {
        match HeaderValue::try_from(format!("Bearer {}", token.as_ref())) {
            Ok(mut value) => {
                value.set_sensitive(true);
                self.request.headers_mut().insert(AUTHORIZATION, value);
            }
            Err(error) => self.fault = self.fault.or(Some(error.into())),
        }
        self
    }

    /// The version of the protocol (default 13).
    pub fn version(mut self, version: Version) -> Self {
        self.request = self.request.version(version);
        self
    }

    /// Speaks over HTTP/2 (RFC 8441), on a connection of its own (default no: over HTTP/1.1). With a
    /// `wss:` server it is used if the server chooses it by ALPN; a `ws:` server, or one that a
    /// [`connector`](Self::connector) connects to, must be known to speak it. One that has no
    /// WebSockets over HTTP/2 is [`ResponseError::ConnectProtocol`]. The server may send 1 MiB
    /// ahead of what is read, and up to 256 KiB are copied out for it. Without the feature `http2`
    /// it is an [`Error::Io`](crate::Error::Io) of the kind `Unsupported`.
    ///
    /// [`ResponseError::ConnectProtocol`]: crate::ResponseError::ConnectProtocol
    pub fn http2(mut self, on: bool) -> Self {
        self.http2 = on;
        self
    }

    /// Opens the transport another way than the [`Client`] does (the default): all that is chosen
    /// there of TLS, proxies, names and addresses is not asked then. The connector gets the URL,
    /// without fragment and credentials, and gives a [`TcpStream`](tokio::net::TcpStream) or any
    /// other stream in a [`Stream::new`]; a `wss:` URL is its to encrypt. It runs under
    /// [`Options::handshake_timeout`], and for each redirect anew.
    ///
    /// ```no_run
    /// # async fn run() -> hybi::Result<()> {
    /// use hybi::Stream;
    /// use tokio::net::TcpStream;
    ///
    /// let gateway = |_url| async { TcpStream::connect("127.0.0.1:8080").await.map(Stream::new) };
    /// let ws = hybi::connect("ws://far.example/").connector(gateway).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn connector<F, Fut, S>(mut self, connector: F) -> Self
    where
        F: Fn(Uri) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<S>> + Send + 'static,
        S: Into<Stream>,
    {
        let connector = move |uri| -> Opening {
            let opening = connector(uri);
            Box::pin(async { Ok(opening.await?.into()) })
        };
        self.connector = Some(Connector(Arc::new(connector)));
        self
    }

    /// Takes a last look at the request, once there is a connection to send it over (default: no
    /// look): it takes the request, with the addresses, and gives it back, with more headers, for
    /// instance one that signs the others. With redirects it sees each request.
    ///
    /// Only headers of one's own can be changed. Where the request line or a header of the handshake
    /// itself is not as it was, nothing is sent, and the handshake fails with
    /// [`OptionsError::RequestLine`](crate::OptionsError::RequestLine) or
    /// [`OptionsError::Header`](crate::OptionsError::Header); an error of its own fails it, too. Its
    /// time is part of [`Options::handshake_timeout`].
    ///
    /// ```no_run
    /// # async fn run() -> hybi::Result<()> {
    /// # async fn sign(_: &hybi::Request<()>) -> http::HeaderValue { http::HeaderValue::from_static("") }
    /// let ws = hybi::connect("ws://127.0.0.1:9001/")
    ///     .on_request(|mut request, _info| async move {
    ///         let signature = sign(&request).await;
    ///         request.headers_mut().insert("signature", signature);
    ///         Ok(request)
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_request<F, Fut>(mut self, look: F) -> Self
    where
        F: Fn(Request<()>, ConnectInfo) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Request<()>>> + Send + 'static,
    {
        self.on_request = Some(Box::new(move |request, info| Box::pin(look(request, info))));
        self
    }

    /// Where the mask keys come from (default: a cryptographic generator of the thread's). RFC 6455
    /// §5.3 wants them unpredictable and from a strong source of entropy: whoever knows them in
    /// advance decides which bytes are on the wire, and can lead a proxy between astray. It is for
    /// tests whose bytes are to be the same each time.
    pub fn mask_source(mut self, source: fn() -> [u8; 4]) -> Self {
        self.mask_source = Some(source);
        self
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the credentials of the URL.
        let url = Target::parse(&self.url).map(|target| target.to_string());
        f.debug_struct("Connect")
            .field("url", &url)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
