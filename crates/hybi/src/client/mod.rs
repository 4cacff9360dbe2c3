//! The client: from a URL to an open connection.
//!
//! [`Client`] holds what belongs to the way to a server, [`Connect`] what is asked for there.

mod redirect;
mod connect;
mod opening;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "proxy")]
mod proxy;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::connect::{Dial, Resolving};
use crate::options::Options;

pub use connect::{Connect, ConnectInfo};
pub use redirect::Redirect;

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
///
/// A [`Client`] does the same by another way: through a proxy, with TLS of one's own, and so on.
pub fn connect(url: impl Into<String>) -> Connect {
    Client::new().connect(url)
}

/// How servers are reached, for as many connections as one likes. It is cheap to clone.
///
/// ```no_run
/// # async fn run() -> hybi::Result<()> {
/// use std::time::Duration;
///
/// let client = hybi::Client::new()
///     .connect_timeout(Duration::from_secs(3))
///     .redirects(10);
/// let news = client.connect("ws://news.example/").await?;
/// let chat = client.connect("ws://chat.example/").bearer_auth("token").await?;
/// # Ok(())
/// # }
/// ```
///
/// A host with several addresses is tried as RFC 8305 says ("Happy Eyeballs"): those of both
/// families in turn, up to 16, one more whenever the last attempt has failed or has taken 250 ms;
/// the first that connects is used.
#[derive(Clone, Default)]
pub struct Client(Arc<Values>);

#[derive(Clone, Default)]
struct Values {
    dial: Dial,
    options: Options,
    redirects: usize,
    on_redirect: Option<OnRedirect>,
}

/// Whether a redirect is followed.
type OnRedirect = Arc<dyn Fn(&mut Redirect) -> bool + Send + Sync>;

impl Client {
    /// The defaults: straight to the server, and no redirects.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, change: impl FnOnce(&mut Values)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Connects to a WebSocket server; `.await` what it returns, with or without options.
    pub fn connect(&self, url: impl Into<String>) -> Connect {
        Connect::new(self.clone(), url.into())
    }

    /// The bounds and habits of the connections, unless [`Connect::options`] gives others.
    #[must_use]
    pub fn options(self, options: Options) -> Self {
        self.with(|values| values.options = options)
    }

    /// How many redirects are followed in a row (default 0, customarily 10), each with a new
    /// request over a new connection; all of it within one
    /// [`Options::handshake_timeout`]. One more is a
    /// [`HandshakeError::TooManyRedirects`](crate::HandshakeError::TooManyRedirects), and with 0 a
    /// redirect is a refusal as any other.
    ///
    /// A redirect is an answer of 301, 302, 303, 307 or 308 with one `Location`, which may be
    /// relative and of any scheme of a WebSocket, save that none leads to a Unix socket. To another
    /// host or port, and from `wss:` to `ws:`, credentials do not go along, and do not come back
    /// with a later redirect: `Authorization`, `Cookie` and those of
    /// [`basic_auth`](Connect::basic_auth) and the URL. All else is sent again: headers whose names
    /// do not say that they are secret are for [`on_redirect`](Self::on_redirect) to remove.
    #[must_use]
    pub fn redirects(self, most: usize) -> Self {
        self.with(|values| values.redirects = most)
    }

    /// Looks at each redirect before it is followed; it is followed if the answer is `true`
    /// (default: always). It may change the headers and the target. One that is not followed is a
    /// refusal, a [`HandshakeError::Response`](crate::HandshakeError::Response) with its status.
    ///
    /// ```
    /// # use hybi::Client;
    /// let client = Client::new()
    ///     .redirects(10)
    ///     .on_redirect(|redirect| redirect.to().scheme_str() == Some("wss"));
    /// ```
    #[must_use]
    pub fn on_redirect(
        self,
        follow: impl Fn(&mut Redirect) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.with(|values| values.on_redirect = Some(Arc::new(follow)))
    }

    /// What looks names up: a host and a port in, addresses out, of which the first is liked best
    /// (default: the operating system). It is not asked about IP addresses, nor where a proxy looks
    /// names up.
    ///
    /// ```
    /// # use hybi::Client;
    /// let client = Client::new().resolver(|host, port| async move {
    ///     match host.as_str() {
    ///         "chat.test" => Ok(vec![([127, 0, 0, 1], port).into()]),
    ///         _ => Err(std::io::ErrorKind::NotFound.into()),
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn resolver<F, Fut>(self, resolver: F) -> Self
    where
        F: Fn(String, u16) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        let resolver = move |host, port| -> Resolving { Box::pin(resolver(host, port)) };
        self.with(|values| values.dial.resolver = Some(Arc::new(resolver)))
    }

    /// The address from which connections are opened (default: the operating system chooses).
    /// Addresses of the other family are passed over.
    #[must_use]
    pub fn local_address(self, address: impl Into<Option<IpAddr>>) -> Self {
        self.with(|values| values.dial.local = address.into())
    }

    /// The time that looking up the name and opening the connection may take (default none of its
    /// own), for each redirect anew, to the proxy if there is one. It is part of
    /// [`Options::handshake_timeout`], which bounds all of the handshake; after it comes
    /// [`Timeout::Connect`](crate::Timeout::Connect).
    #[must_use]
    pub fn connect_timeout(self, time: impl Into<Option<Duration>>) -> Self {
        self.with(|values| values.dial.timeout = time.into())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("options", &self.0.options)
            .field("redirects", &self.0.redirects)
            .finish_non_exhaustive()
    }
}
