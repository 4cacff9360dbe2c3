//! The server: from a listening socket to handlers.

mod listen;
mod routes;
mod door;
#[cfg(feature = "tower")]
mod service;
#[cfg(feature = "tls")]
mod tls;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use hybi_proto::handshake::server::{self, Origins};
use hybi_proto::handshake::{Forwarded, RequestError};
use ipnet::IpNet;
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::clients::Clients;
use crate::crowd::Crowd;
use crate::driver;
use crate::error::Result;
use crate::events::{self, Dispatch};
use crate::incoming::{Incoming, Reject};
use crate::options::Options;
use crate::shutdown::{Phase, Report, ServerHandle, Shutdown};
use crate::socket::WebSocket;
use crate::tls::ServerTls;

use door::Fresh;
use listen::Listener;
use routes::{Route, Routes, Serve};

pub use listen::Builder;
pub use routes::PathParams;
#[cfg(feature = "tower")]
pub use service::{Answer, Service};

/// A WebSocket server on a listening socket.
///
/// ```no_run
/// use hybi::WebSocket;
///
/// # async fn run() -> hybi::Result<()> {
/// hybi::Server::bind("127.0.0.1:8080").await?
///     .serve(|mut ws: WebSocket, _request| async move {
///         while let Some(message) = ws.recv().await? {
///             ws.send(message).await?;
///         }
///         Ok(())
///     })
///     .await
/// # }
/// ```
pub struct Server {
    listener: Listener,
    config: Arc<Config>,
    /// Requests that are being read, for [`Server::accept`].
    heads: JoinSet<Option<Incoming>>,
}

/// The client's address as a trusted proxy tells it, in the [extensions](http::Request::extensions)
/// of a request to a server that has [such proxies](Server::trusted_proxies).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientIp(pub IpAddr);

#[derive(Clone)]
struct Config {
    options: Options,
    judge: server::Options,
    tls: Option<ServerTls>,
    /// The header that trusted proxies write, and who they are.
    proxies: Option<Arc<(Forwarded, Vec<IpNet>)>>,
    routes: Routes,
    abort_unknown: bool,
    fallback: Option<Arc<Fallback>>,
    on_handshake: Option<Arc<OnHandshake>>,
    on_refusal: Option<Arc<OnRefusal>>,
    places: Option<Arc<Semaphore>>,
    crowd: Option<Arc<Crowd>>,
    heads: Arc<Semaphore>,
    clients: Option<Clients>,
    phase: Arc<watch::Sender<Phase>>,
    mounted: Arc<Mutex<Vec<ServerHandle>>>,
}

type Fallback = dyn Fn(Request<()>) -> Response<Bytes> + Send + Sync;
type OnHandshake = dyn Fn(Incoming) -> Looking + Send + Sync;
type Looking = Pin<Box<dyn Future<Output = std::result::Result<Incoming, Reject>> + Send>>;
type OnRefusal = dyn Fn(&RequestError, Option<&Request<()>>) -> Response<Bytes> + Send + Sync;

/// The requests that are read at once; more clients wait in the backlog of the listening socket.
const HEADS: usize = 4096;

impl Server {
    /// Listens on an address; port 0 takes any free one, see [`local_addr`](Self::local_addr).
    ///
    /// Cancel safe: a dropped call has opened nothing.
    ///
    /// # Errors
    ///
    /// The name has no address, or the operating system refuses: the port is taken, say.
    pub async fn bind(addr: impl ToSocketAddrs) -> Result<Self> {
        Self::builder().bind(addr).await
    }

    /// What must be set before the server listens.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A server on a socket that listens already.
    #[must_use]
    pub fn from_listener(listener: TcpListener) -> Self {
        Self::on(Listener::Tcp(listener))
    }

    /// Listens on a Unix socket. One that is there already, and on which nobody listens, is taken
    /// away first; the end of the server leaves its own.
    ///
    /// Who may connect is the permissions' of the file and its folder to say.
    ///
    /// Cancel safe: a dropped call has opened nothing.
    ///
    /// # Errors
    ///
    /// Somebody listens there, something else is there, or the operating system refuses.
    #[cfg(unix)]
    pub async fn bind_unix(path: impl AsRef<Path>) -> Result<Self> {
        let listener = listen::unix(path.as_ref()).await?;
        Ok(Self::from_unix_listener(listener))
    }

    /// A server on a Unix socket that listens already.
    #[cfg(unix)]
    #[must_use]
    pub fn from_unix_listener(listener: UnixListener) -> Self {
        Self::on(Listener::Unix(listener))
    }

    /// A server without a socket of its own: what it serves is handed to it by another one, see
    /// [`mount`](Self::mount).
    #[must_use]
    pub fn detached() -> Self {
        Self::on(Listener::Detached)
    }

    fn on(listener: Listener) -> Self {
        let config = Config {
            options: Options::new(),
            judge: server::Options::new(),
            tls: None,
            proxies: None,
            routes: Routes::default(),
            abort_unknown: false,
            fallback: None,
            on_handshake: None,
            on_refusal: None,
            places: None,
            crowd: None,
            heads: Arc::new(Semaphore::new(HEADS)),
            clients: Some(Clients::default()),
            phase: Arc::new(watch::Sender::new(Phase::Open)),
            mounted: Arc::default(),
        };
        Self {
            listener,
            config: Arc::new(config),
            heads: JoinSet::new(),
        }
    }

    fn config(&mut self) -> &mut Config {
        Arc::make_mut(&mut self.config)
    }

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
    /// whom they speak for (default: nobody): handlers and hooks find a [`ClientIp`] in the
    /// extensions of the request, and
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

    /// Serves a path with a handler, as [`serve`](Self::serve) would, when the server
    /// [runs](Self::run). `/rooms/{room}` has a parameter, see [`PathParams`], and `/{*rest}` takes
    /// whatever follows. The query is not part of the path.
    #[must_use]
    pub fn route<F, Fut>(mut self, path: &str, handler: F) -> Self
    where
        F: Fn(WebSocket, Request<()>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.config()
            .routes
            .insert(path, Route::Handler(serving(handler)));
        self
    }

    /// Serves a path by calling a handler, as [`serve_events`](Self::serve_events) would.
    #[must_use]
    pub fn route_events(mut self, path: &str, handler: impl events::Handler) -> Self {
        let serve = serving_events(handler);
        self.config().routes.insert(path, Route::Handler(serve));
        self
    }

    /// Serves a path by another server, with options, origins, hooks, clients and routes of its
    /// own; for its routes, this is still the whole path. What it listened on is closed. Where this
    /// server listens, and what concerns that, the request's head and the time for the handshake,
    /// TLS and proxies, are this one's to choose. Its [`handle`](Self::handle) ends the other one,
    /// too.
    ///
    /// ```no_run
    /// # async fn foo(_: hybi::WebSocket, _: hybi::Request<()>) -> hybi::Result<()> { Ok(()) }
    /// # async fn bar(_: hybi::WebSocket, _: hybi::Request<()>) -> hybi::Result<()> { Ok(()) }
    /// # async fn run() -> hybi::Result<()> {
    /// use hybi::Server;
    ///
    /// let (foo, bar) = (Server::detached().handler(foo), Server::detached().handler(bar));
    /// println!("{} clients of foo", foo.clients().len());
    /// Server::bind("127.0.0.1:8080").await?.mount("/foo", foo).mount("/bar", bar).run().await
    /// # }
    /// ```
    #[must_use]
    pub fn mount(mut self, path: &str, server: Server) -> Self {
        let mounted = server.handle();
        let mut all = self
            .config
            .mounted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.push(mounted);
        drop(all);
        let routes = &mut self.config().routes;
        routes.insert(path, Route::Mounted(server.config));
        self
    }

    /// Serves the paths that have no route with a handler (default: they get 404).
    #[must_use]
    pub fn handler<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(WebSocket, Request<()>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.config().routes.set_any(serving(handler));
        self
    }

    /// Serves the paths that have no route by calling a handler (default: they get 404).
    #[must_use]
    pub fn event_handler(mut self, handler: impl events::Handler) -> Self {
        self.config().routes.set_any(serving_events(handler));
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
    #[must_use]
    pub fn max_connections_per_ip(mut self, connections: usize) -> Self {
        self.config().crowd = Some(Arc::new(Crowd::new(connections)));
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

    /// The open connections; none where [`track`](Self::track) is off.
    #[must_use]
    pub fn clients(&self) -> Clients {
        self.config.clients.clone().unwrap_or_default()
    }

    /// A handle to end the server with, from anywhere.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        ServerHandle {
            clients: self.clients(),
            phase: self.config.phase.clone(),
            mounted: self.config.mounted.clone(),
        }
    }

    /// The address on which the server listens.
    ///
    /// # Errors
    ///
    /// The operating system does not know it any more, or the server does not listen on one.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Serves each client with the handler, in a task of its own, on a driven socket: see
    /// [`drive`](crate::drive()). Where there are routes, it serves what they do not.
    ///
    /// An error that the handler returns closes the connection with 1011. The future ends when the
    /// server was [shut down](ServerHandle::shutdown).
    ///
    /// Cancel safe: dropping it stops to listen, and the connections go on.
    ///
    /// # Errors
    ///
    /// A route that cannot be one, or is there twice. What goes wrong at the door concerns one
    /// client, or passes.
    pub async fn serve<F, Fut>(self, handler: F) -> Result<()>
    where
        F: Fn(WebSocket, Request<()>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        if !self.config.routes.is_empty() {
            return self.handler(handler).run().await;
        }
        let handler = Arc::new(handler);
        self.each(move |fresh, config| fresh.open(config, handler.clone()))
            .await
    }

    /// Serves the [routes](Self::route), until the server was [shut
    /// down](ServerHandle::shutdown).
    ///
    /// Cancel safe: dropping it stops to listen, and the connections go on.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    pub async fn run(self) -> Result<()> {
        self.config.routes.check()?;
        self.each(Fresh::route).await
    }

    /// Opens each connection that comes, and sees to it in a task of its own.
    async fn each<O, C>(self, open: impl Fn(Fresh, Arc<Config>) -> O) -> Result<()>
    where
        O: Future<Output = Option<C>> + Send + 'static,
        C: Future<Output = Result<()>> + Send + 'static,
    {
        let mut phase = self.config.phase.subscribe();
        tick(&self.config);
        loop {
            let fresh = tokio::select! {
                fresh = Fresh::accept(&self.listener, &self.config) => fresh,
                _ = phase.wait_for(|phase| *phase == Phase::Closed) => return Ok(()),
            };
            // What only the handshake needs must not live on in the connection's task.
            let open = Box::pin(open(fresh, self.config.clone()));
            tokio::spawn(async move {
                if let Some(connection) = open.await {
                    // The handler's error has become the close code; whom else would it concern?
                    let _ = connection.await;
                }
            });
        }
    }

    /// Serves each client by calling the handler when something comes, as Node's `ws` does; the fast
    /// lane. A message is shown where it lies in the read buffer, and all that is sent in answer to
    /// one read leaves in one write. While 64 KiB or more are queued for a client it is not read.
    /// [`handle`](Self::handle) shuts it down, and each client's end is told to the handler.
    ///
    /// ```no_run
    /// use hybi::events::{Handler, Peer};
    /// use hybi::{MessageRef, Request, Result, Server};
    ///
    /// struct Echo;
    ///
    /// impl Handler for Echo {
    ///     type State = ();
    ///
    ///     fn on_open(&self, _: &mut Peer<'_>, _: Request<()>) -> Result<()> {
    ///         Ok(())
    ///     }
    ///
    ///     fn on_message(&self, peer: &mut Peer<'_>, message: MessageRef<'_>) -> Result<()> {
    ///         peer.send(message)
    ///     }
    /// }
    ///
    /// # async fn run() -> Result<()> {
    /// Server::bind("127.0.0.1:8080").await?.serve_events(Echo).await
    /// # }
    /// ```
    ///
    /// Cancel safe: dropping it stops to listen, and the connections go on.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    pub async fn serve_events(self, handler: impl events::Handler) -> Result<()> {
        if !self.config.routes.is_empty() {
            return self.event_handler(handler).run().await;
        }
        let handler = Arc::new(handler);
        let dispatch = move |ws, request| Dispatch::new(ws, request, handler.clone());
        let dispatch = Arc::new(dispatch);
        self.each(move |fresh, config| fresh.open(config, dispatch.clone()))
            .await
    }

    /// As [`serve`](Self::serve), until the signal comes; then shuts the server down, as the
    /// signal's output says: `()`, or a [`Shutdown`].
    ///
    /// ```no_run
    /// # async fn echo(_: hybi::WebSocket, _: hybi::Request<()>) -> hybi::Result<()> { Ok(()) }
    /// # async fn run(ctrl_c: impl Future<Output = ()>) -> hybi::Result<()> {
    /// let server = hybi::Server::bind("127.0.0.1:8080").await?;
    /// let report = server.serve_until(echo, ctrl_c).await?;
    /// println!("{} closed, {} aborted", report.closed, report.aborted);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Cancel safe: dropping it stops to listen, and the connections go on.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve) and [`ServerHandle::shutdown`].
    pub async fn serve_until<F, Fut, Signal>(self, handler: F, signal: Signal) -> Result<Report>
    where
        F: Fn(WebSocket, Request<()>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
        Signal: Future<Output: Into<Shutdown>>,
    {
        until(self.handle(), signal, self.serve(handler)).await
    }

    /// As [`run`](Self::run), until the signal comes; then shuts the server down, as
    /// [`serve_until`](Self::serve_until) does.
    ///
    /// Cancel safe: dropping it stops to listen, and the connections go on.
    ///
    /// # Errors
    ///
    /// As [`serve_until`](Self::serve_until).
    pub async fn run_until<Signal>(self, signal: Signal) -> Result<Report>
    where
        Signal: Future<Output: Into<Shutdown>>,
    {
        until(self.handle(), signal, self.run()).await
    }

    /// Waits for the next client whose request has arrived and holds. The requests of several
    /// clients are read side by side; those that do not hold are refused, and plain requests go
    /// to the fallback; routes and [`on_handshake`](Self::on_handshake) are not for these. `None` once the server was [shut down](ServerHandle::shutdown).
    ///
    /// Cancel safe: a dropped call loses nothing.
    pub async fn accept(&mut self) -> Option<Incoming> {
        let mut phase = self.config.phase.subscribe();
        loop {
            tokio::select! {
                // Who is ready is given before more are read.
                biased;
                _ = phase.wait_for(|phase| *phase == Phase::Closed) => return None,
                Some(incoming) = self.heads.join_next() => {
                    if let Ok(Some(incoming)) = incoming {
                        return Some(incoming);
                    }
                }
                fresh = Fresh::accept(&self.listener, &self.config) => {
                    self.heads.spawn(fresh.greet(self.config.clone()));
                }
            }
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

/// Begins to tick for the clients of a server that looks for silence or age, until it serves no more
/// and they are gone. Connections that are not tracked have a timer of their own.
fn tick(config: &Arc<Config>) {
    let Some((every, clients)) = config.options.get().tick().zip(config.clients.clone()) else {
        return;
    };
    // Who serves has it, and each handshake that may still become a client.
    let serving = Arc::downgrade(config);
    tokio::spawn(async move {
        let mut interval = tokio::time::interval(every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            if serving.strong_count() == 0 && clients.is_empty() {
                break;
            }
            clients.tick();
        }
    });
}

async fn until<Signal>(
    handle: ServerHandle,
    signal: Signal,
    serving: impl Future<Output = Result<()>>,
) -> Result<Report>
where
    Signal: Future<Output: Into<Shutdown>>,
{
    let end = async { handle.shutdown(signal.await).await };
    let (report, ()) = tokio::try_join!(end, serving)?;
    Ok(report)
}

fn serving<F, Fut>(handler: F) -> Serve
where
    F: Fn(WebSocket, Request<()>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    Arc::new(move |ws, request| Box::pin(driver::begin(ws, |ws| handler(ws, request))))
}

fn serving_events(handler: impl events::Handler) -> Serve {
    let handler = Arc::new(handler);
    Arc::new(move |ws, request| {
        let handler = handler.clone();
        Box::pin(driver::begin(ws, |ws| Dispatch::new(ws, request, handler)))
    })
}

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
