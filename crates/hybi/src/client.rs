//! The client: from a URL to an open connection.

use std::fmt;
use std::future::IntoFuture;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Request, Response, Uri};
use hybi_proto::handshake::{Credentials, Key, Target, Version, client, head};
use tokio::net::TcpStream;

use crate::entropy;
use crate::error::{Error, HandshakeError, Result};
use crate::exchange::{self, Deadline};
use crate::http2;
use crate::io::{Io, Stream};
use crate::options::Options;
use crate::shared::Agreed;
use crate::socket::{Role, WebSocket};
use crate::tls::ClientTls;

/// Connects to a WebSocket server; `.await` what it returns, with or without options.
///
/// ```no_run
/// # async fn run() -> hybi::Result<()> {
/// let mut ws = hybi::connect("ws://127.0.0.1:9001/chat").protocol("chat").await?;
/// ws.send("something").await?;
/// while let Some(message) = ws.recv().await? {
///     println!("received: {message:?}");
/// }
/// # Ok(())
/// # }
/// ```
pub fn connect(url: impl Into<String>) -> Connect {
    Connect {
        url: url.into(),
        request: client::Options::new().deflate(Options::new().get().deflate(true)),
        options: Options::new(),
        http2: false,
        connector: None,
        fault: None,
    }
}

/// A client's opening handshake, made by [`connect`]; it begins when it is awaited.
///
/// Cancel safe: a dropped call drops the connection that it was about to open.
///
/// # Errors
///
/// [`Error::Url`]; [`Error::Handshake`] if the server refused, with its response and up to 64 KiB
/// of the body, as much of it as comes within 2 s; [`Error::Io`]; [`Error::Timeout`] after
/// [`Options::handshake_timeout`], which bounds all of it, from the look-up of the name to the last
/// byte of the answer.
#[derive(Debug)]
#[must_use = "a client connects when it is awaited"]
pub struct Connect {
    pub(crate) url: String,
    request: client::Options,
    pub(crate) options: Options,
    http2: bool,
    connector: Option<Connector>,
    fault: Option<http::Error>,
}

/// What opens the transport.
#[derive(Clone)]
struct Connector(Arc<dyn Fn(Uri) -> Opening + Send + Sync>);

type Opening = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

impl Connect {
    /// The bounds and habits of the connection.
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

    /// The version of the protocol (default 13).
    pub fn version(mut self, version: Version) -> Self {
        self.request = self.request.version(version);
        self
    }

    /// Speaks over HTTP/2 (RFC 8441) on a connection of its own (default no: over HTTP/1.1). The
    /// server must be known to speak HTTP/2 there: nothing is tried first. One that has no
    /// WebSockets over HTTP/2 is [`ResponseError::ConnectProtocol`]. It may send 1 MiB ahead of
    /// what is read, and up to 256 KiB are copied out for it. Without the feature `http2` it is
    /// an [`Error::Io`] of the kind `Unsupported`.
    ///
    /// [`ResponseError::ConnectProtocol`]: crate::ResponseError::ConnectProtocol
    pub fn http2(mut self, on: bool) -> Self {
        self.http2 = on;
        self
    }

    /// Opens the transport another way than by plain TCP (the default): over TLS, by a proxy, in
    /// memory. The connector gets the URL, without fragment and credentials, and gives a
    /// [`TcpStream`] or any other stream in a [`Stream::new`]; a `wss:` URL is its to encrypt. It runs
    /// under [`Options::handshake_timeout`].
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

    /// Runs the handshake over a stream that is already connected; the URL's host is only sent.
    ///
    /// Cancel safe: a dropped call drops the stream with it.
    ///
    /// # Errors
    ///
    /// As awaiting it, but for those of connecting. [`http2`](Self::http2) cannot run over a
    /// stream of another type than it gives: have a [`connector`](Self::connector) give the stream.
    pub async fn over<S: Io>(self, stream: S) -> Result<WebSocket<S>> {
        if self.http2 {
            let why = "HTTP/2 needs its stream from a connector, not by `over`";
            return Err(Error::Io(io::Error::new(io::ErrorKind::InvalidInput, why)));
        }
        let target = Target::parse(&self.url)?;
        let question = self.question(&target)?;
        let deadline = Deadline::after(self.options.get().handshake_timeout);
        let answered = deadline.run(pin!(self.ask(question, stream))).await?;
        self.judge(&target, answered, deadline).await
    }

    /// Connects to this URL, with all else as it was chosen.
    pub(crate) async fn open(&self, url: &str) -> Result<WebSocket> {
        let target = Target::parse(url)?;
        let deadline = Deadline::after(self.options.get().handshake_timeout);
        let answered = if self.http2 {
            let request = self.request(&target, None)?;
            deadline
                .run(pin!(self.ask_over_http2(&target, request)))
                .await?
        } else {
            let question = self.question(&target)?;
            let answer = pin!(async {
                let stream = self.transport(&target).await?;
                self.ask(question, stream).await
            });
            deadline.run(answer).await?
        };
        let ws: WebSocket = self.judge(&target, answered, deadline).await?;
        {
            let link = ws.handle().lock();
            link.span.peer(|| link.io()?.peer_addr());
        }
        Ok(ws)
    }

    async fn transport(&self, target: &Target) -> Result<Stream> {
        if let Some(Connector(connect)) = &self.connector {
            return Ok(connect(target.uri()?).await?);
        }
        let tcp = TcpStream::connect((target.host(), target.port())).await?;
        tcp.set_nodelay(true)?;
        if target.secure() {
            return ClientTls::default()
                .connect(tcp.into(), target.host())
                .await;
        }
        Ok(tcp.into())
    }

    /// The head of the request, made before anything is connected, and its key.
    fn question(&self, target: &Target) -> Result<(Key, Vec<u8>)> {
        let key = Key::from_nonce(entropy::nonce());
        let mut head = Vec::new();
        head::write_request(&self.request(target, Some(&key))?, &mut head);
        Ok((key, head))
    }

    fn request(&self, target: &Target, key: Option<&Key>) -> Result<Request<()>> {
        if let Some(fault) = &self.fault {
            return Err(HandshakeError::Header(fault.to_string()).into());
        }
        let request = client::request(target, key, &self.request);
        Ok(request.map_err(HandshakeError::Options)?)
    }

    /// Sends the request and reads the head of the answer.
    async fn ask<S: Io>(&self, (key, head): (Key, Vec<u8>), mut stream: S) -> Result<Answered<S>> {
        exchange::write(&mut stream, &head).await?;
        let (response, rest) =
            exchange::read_response(&mut stream, self.options.get().head).await?;
        Ok(Answered {
            stream,
            key: Some(key),
            response,
            rest,
        })
    }

    /// The same over HTTP/2, where no key is needed.
    async fn ask_over_http2(
        &self,
        target: &Target,
        request: Request<()>,
    ) -> Result<Answered<Stream>> {
        let stream = self.transport(target).await?;
        let (response, stream) = http2::ask(stream, request, self.options.get().head).await?;
        Ok(Answered {
            stream,
            key: None,
            response,
            rest: Vec::new(),
        })
    }

    /// Opens the WebSocket if the answer holds.
    async fn judge<S: Io>(
        &self,
        target: &Target,
        answered: Answered<S>,
        deadline: Deadline,
    ) -> Result<WebSocket<S>> {
        let Answered {
            mut stream,
            key,
            response,
            rest,
        } = answered;
        let agreed = match client::verify(key.as_ref(), &self.request, &response) {
            Ok(agreed) => agreed,
            Err(error) => {
                let refusal = exchange::refusal(&mut stream, response, rest, error, deadline);
                return Err(refusal.await.into());
            }
        };
        let protocol = agreed.protocol.as_deref();
        let agreed = Agreed::new(&target.to_string(), protocol, agreed.extensions);
        Ok(WebSocket::open(
            stream,
            Role::Client,
            &self.options,
            &rest,
            agreed,
        ))
    }
}

/// What a server has answered, head only.
struct Answered<S> {
    stream: S,
    key: Option<Key>,
    response: Response<()>,
    /// What came behind the head.
    rest: Vec<u8>,
}

impl IntoFuture for Connect {
    type Output = Result<WebSocket>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.open(&self.url).await })
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}
