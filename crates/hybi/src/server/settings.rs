//! What can be chosen for a server, but for its paths.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use hybi_proto::handshake::server::Origins;
use hybi_proto::handshake::{Forwarded, RequestError};
use ipnet::IpNet;
use tokio::sync::Semaphore;

use super::{Looking, Server};
use crate::crowd::Crowd;
use crate::error::Result;
use crate::incoming::{Incoming, Reject};
use crate::options::Options;

impl Server {
    /// The bounds and habits of the connections.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        let judge = self.config.judge.clone();
        let config = self.config();
        config.judge = judge.deflate(options.get().deflate(false));
        config.options = options;
        self
    }

    /// Which origins a request may come from (default [`Origins::SameHost`]); others get 403.
    /// Only browsers send an origin; a request without one is not refused for it.
    #[must_use]
    pub fn origins(mut self, origins: Origins) -> Self {
        let judge = self.config.judge.clone().origins(origins);
        self.config().judge = judge;
        self
    }

    /// The subprotocols that are spoken here, the favorite first (default none); the first one
    /// that the client offers is chosen.
    #[must_use]
    pub fn protocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let judge = self.config.judge.clone().protocols(names);
        self.config().judge = judge;
        self
    }

    /// Chooses the first subprotocol that a client offers, whatever it is, as Node's `ws` does, if
    /// none of [`protocols`](Self::protocols) is among them (default no).
    #[must_use]
    pub fn first_protocol_offered(mut self, on: bool) -> Self {
        let judge = self.config.judge.clone().first_protocol_offered(on);
        self.config().judge = judge;
        self
    }

    /// Believes these proxies, networks as `10.0.0.0/8` or addresses, when they say in this header
    /// whom they speak for (default: nobody): handlers and hooks find a
    /// [`ClientIp`](super::ClientIp) in the extensions of the request, and
    /// [`max_connections_per_ip`](Self::max_connections_per_ip) counts by it. Who connects through
    /// a Unix socket is believed then, too.
    ///
    /// Choose the header that your proxies write or overwrite: the other one is left alone, for a
    /// client can send what it likes in that.
    ///
    /// ```no_run
    /// # async fn run() -> hybi::Result<()> {
    /// use hybi::{Forwarded, Server};
    ///
    /// let server = Server::bind("127.0.0.1:8080").await?
    ///     .trusted_proxies(Forwarded::XForwardedFor, ["127.0.0.1", "10.0.0.0/8"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// One of them is neither a network nor an address.
    pub fn trusted_proxies<N: AsRef<str>>(
        mut self,
        header: Forwarded,
        networks: impl IntoIterator<Item = N>,
    ) -> Result<Self> {
        let networks = networks.into_iter().map(|text| network(text.as_ref()));
        let networks = networks.collect::<io::Result<_>>()?;
        self.config().proxies = Some(Arc::new((header, networks)));
        Ok(self)
    }

    /// Looks at each client that can be accepted, before it is: look at the request, decide with
    /// await, and give the client back, or its rejection with status, headers and body. It is for
    /// [`serve`](Self::serve) and its kin; who takes clients by [`accept`](Self::accept) looks
    /// himself. The time for it is [`Options::handshake_timeout`], as for all of the handshake.
    ///
    /// ```no_run
    /// # async fn user(_: &http::HeaderMap) -> Option<String> { None }
    /// # async fn run() -> hybi::Result<()> {
    /// use hybi::{Incoming, Server, StatusCode};
    ///
    /// let server = Server::bind("127.0.0.1:8080").await?
    ///     .on_handshake(|mut incoming: Incoming| async move {
    ///         match user(incoming.headers()).await {
    ///             Some(user) => {
    ///                 incoming.extensions_mut().insert(user);
    ///                 Ok(incoming)
    ///             }
    ///             None => Err(incoming.reject(StatusCode::UNAUTHORIZED).body("who are you?")),
    ///         }
    ///     });
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn on_handshake<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Incoming) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = std::result::Result<Incoming, Reject>> + Send + 'static,
    {
        let hook = move |incoming| -> Looking { Box::pin(hook(incoming)) };
        self.config().on_handshake = Some(Arc::new(hook));
        self
    }

    /// Makes the answer to a handshake that is refused (default
    /// [`RequestError::response`]); the request is not there if its head was at fault. It is also
    /// the place to count them. A status that refuses nothing (1xx, and over HTTP/2 2xx, too) is sent
    /// as 500.
    #[must_use]
    pub fn on_handshake_error<F, B>(mut self, answer: F) -> Self
    where
        F: Fn(&RequestError, Option<&Request<()>>) -> Response<B> + Send + Sync + 'static,
        B: Into<Bytes>,
    {
        let answer = move |error: &_, request: Option<&_>| answer(error, request).map(Into::into);
        self.config().on_refusal = Some(Arc::new(answer));
        self
    }

    /// Drops the connection of a client that asks for a path which is not served, rather than to
    /// answer 404 (default no).
    #[must_use]
    pub fn abort_unknown_paths(mut self, on: bool) -> Self {
        self.config().abort_unknown = on;
        self
    }

    /// Answers the requests that are no handshakes, health checks for instance (default: 426
    /// with a text that says why). The connection ends with the answer, which has to be taken within
    /// [`Options::handshake_timeout`] and must not be a 1xx (it would be sent as 500); that to a HEAD
    /// is sent without its body.
    #[must_use]
    pub fn fallback<F, B>(mut self, fallback: F) -> Self
    where
        F: Fn(Request<()>) -> Response<B> + Send + Sync + 'static,
        B: Into<Bytes>,
    {
        self.config().fallback = Some(Arc::new(move |request| fallback(request).map(Into::into)));
        self
    }

    /// The most connections at one time (default: as many as there are descriptors), those of
    /// [mounted](Self::mount) servers included; further handshakes get 503.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        let places = Semaphore::new(connections.min(Semaphore::MAX_PERMITS));
        self.config().places = Some(Arc::new(places));
        self
    }

    /// The most connections at one time from one address, or one /64 of version 6 (default: any
    /// number), those of [mounted](Self::mount) servers included; further handshakes get 429. Behind
    /// a proxy it takes [`trusted_proxies`](Self::trusted_proxies) to tell clients apart.
    ///
    /// With this limit an address may have as many again in the opening handshake, or 64 if that is
    /// more, plain requests included; further ones are dropped as they come, without an answer. It
    /// is the address that connects which counts then: only trusted proxies, and who comes through
    /// a Unix socket, may have any number.
    #[must_use]
    pub fn max_connections_per_ip(mut self, connections: usize) -> Self {
        let config = self.config();
        config.crowd = Some(Arc::new(Crowd::new(connections)));
        config.heads_per_ip = Some(Arc::new(Crowd::new(connections.max(HEADS_PER_IP))));
        self
    }

    /// Whether the server keeps track of its connections (default yes), for
    /// [`clients`](Self::clients) and for its end. It costs less than 100 bytes a connection.
    #[must_use]
    pub fn track(mut self, on: bool) -> Self {
        let config = self.config();
        let clients = config.clients.take();
        config.clients = on.then(|| clients.unwrap_or_default());
        self
    }
}

/// As many requests of one address are read at once, however few connections it may have: a page
/// is loaded over several.
const HEADS_PER_IP: usize = 64;

/// A network, or an address as one.
fn network(text: &str) -> io::Result<IpNet> {
    let network = text
        .parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| {
        let why = format!("{text:?} is neither a network as 10.0.0.0/8 nor an IP address");
        io::Error::new(io::ErrorKind::InvalidInput, why)
    })
}
