//! The server: from a listening socket to handlers.

mod door;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hybi_proto::handshake::server::{self, Origins};
use tokio::net::{TcpListener, TcpSocket, ToSocketAddrs, lookup_host};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};

use crate::clients::Clients;
use crate::driver::Drive;
use crate::error::Result;
use crate::events::{self, Dispatch};
use crate::incoming::Incoming;
use crate::io::Stream;
use crate::options::Options;
use crate::shutdown::{Phase, Report, ServerHandle, Shutdown};
use crate::socket::WebSocket;

use door::Fresh;

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
    listener: TcpListener,
    config: Arc<Config>,
    /// Requests that are being read, for [`Server::accept`].
    heads: JoinSet<Option<Incoming>>,
}

#[derive(Clone)]
struct Config {
    options: Options,
    judge: server::Options,
    fallback: Option<Arc<Fallback>>,
    places: Option<Arc<Semaphore>>,
    heads: Arc<Semaphore>,
    clients: Option<Clients>,
    phase: Arc<watch::Sender<Phase>>,
}

type Fallback = dyn Fn(Request<()>) -> Response<Bytes> + Send + Sync;

/// The requests that are read at once; more clients wait in the backlog of the listening socket.
const HEADS: usize = 4096;

/// Connections that the operating system has taken and that wait for us.
const BACKLOG: u32 = 1024;

/// How long to leave the door alone when there are no more descriptors.
const BACK_OFF: Duration = Duration::from_millis(50);

/// What must be set before a server listens, made by [`Server::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    backlog: u32,
}

impl Builder {
    /// How many connections the operating system takes before we do (default 1024).
    #[must_use]
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// Listens on the first of these addresses that is free.
    ///
    /// Cancel safe: a dropped call has opened nothing.
    ///
    /// # Errors
    ///
    /// As [`Server::bind`].
    pub async fn bind(self, addr: impl ToSocketAddrs) -> Result<Server> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
        for addr in lookup_host(addr).await? {
            match self.listen(addr) {
                Ok(listener) => return Ok(Server::from_listener(listener)),
                Err(error) => last = error,
            }
        }
        Err(last.into())
    }

    fn listen(&self, addr: SocketAddr) -> io::Result<TcpListener> {
        let socket = if addr.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        // A server that is started again must not wait until its old connections are forgotten.
        #[cfg(not(windows))]
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        socket.listen(self.backlog)
    }
}

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
        Builder { backlog: BACKLOG }
    }

    /// A server on a socket that listens already.
    #[must_use]
    pub fn from_listener(listener: TcpListener) -> Self {
        let config = Config {
            options: Options::new(),
            judge: server::Options::new(),
            fallback: None,
            places: None,
            heads: Arc::new(Semaphore::new(HEADS)),
            clients: Some(Clients::default()),
            phase: Arc::new(watch::Sender::new(Phase::Open)),
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

    /// Answers the requests that are no handshakes, health checks for instance (default: 426
    /// with a text that says why). The connection ends with the answer.
    #[must_use]
    pub fn fallback<F, B>(mut self, fallback: F) -> Self
    where
        F: Fn(Request<()>) -> Response<B> + Send + Sync + 'static,
        B: Into<Bytes>,
    {
        self.config().fallback = Some(Arc::new(move |request| fallback(request).map(Into::into)));
        self
    }

    /// The most connections at one time (default: as many as there are descriptors); further
    /// handshakes get 503.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        let places = Semaphore::new(connections.min(Semaphore::MAX_PERMITS));
        self.config().places = Some(Arc::new(places));
        self
    }

    /// Whether the server keeps track of its connections (default yes), for
    /// [`clients`](Self::clients) and for its end. It costs less than 100 bytes a connection.
    #[must_use]
    pub fn track(mut self, on: bool) -> Self {
        self.config().clients = on.then(Clients::default);
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
        }
    }

    /// The address on which the server listens.
    ///
    /// # Errors
    ///
    /// The operating system does not know it any more.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Serves each client with the handler, in a task of its own, on a driven socket: see
    /// [`drive`](crate::drive()).
    ///
    /// An error that the handler returns closes the connection with 1011. The future ends when the
    /// server was [shut down](ServerHandle::shutdown).
    ///
    /// Cancel safe: dropping it stops to listen, and the connections go on.
    ///
    /// # Errors
    ///
    /// None, so far: what goes wrong at the door concerns one client, or passes.
    pub async fn serve<F, Fut>(self, handler: F) -> Result<()>
    where
        F: Fn(WebSocket, Request<()>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.serve_driven(handler).await
    }

    async fn serve_driven<F, Fut>(self, handler: F) -> Result<()>
    where
        F: Fn(WebSocket, Request<()>) -> Fut + Send + Sync + 'static,
        Fut: Send + 'static,
        Drive<Stream, Fut>: Future<Output = Result<()>>,
    {
        let handler = Arc::new(handler);
        let mut phase = self.config.phase.subscribe();
        let mut ticks = self.config.ticks();
        loop {
            let fresh = tokio::select! {
                fresh = Fresh::accept(&self.listener, &self.config) => fresh,
                clients = next_tick(&mut ticks) => {
                    clients.tick();
                    continue;
                }
                _ = phase.wait_for(|phase| *phase == Phase::Closed) => return Ok(()),
            };
            // What only the handshake needs must not live on in the connection's task.
            let open = Box::pin(fresh.open(self.config.clone(), handler.clone()));
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
        let handler = Arc::new(handler);
        self.serve_driven(move |ws, request| Dispatch::new(ws, request, handler.clone()))
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
    /// As [`ServerHandle::shutdown`].
    pub async fn serve_until<F, Fut, Signal>(self, handler: F, signal: Signal) -> Result<Report>
    where
        F: Fn(WebSocket, Request<()>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
        Signal: Future<Output: Into<Shutdown>>,
    {
        let handle = self.handle();
        let end = async { handle.shutdown(signal.await).await };
        let (report, _) = tokio::try_join!(end, self.serve(handler))?;
        Ok(report)
    }

    /// Waits for the next client whose request has arrived and holds. The requests of several
    /// clients are read side by side; those that do not hold are refused, and plain requests go
    /// to the fallback. `None` once the server was [shut down](ServerHandle::shutdown).
    ///
    /// Cancel safe: a dropped call loses nothing.
    pub async fn accept(&mut self) -> Option<Incoming> {
        let mut phase = self.config.phase.subscribe();
        loop {
            tokio::select! {
                _ = phase.wait_for(|phase| *phase == Phase::Closed) => return None,
                fresh = Fresh::accept(&self.listener, &self.config) => {
                    self.heads.spawn(fresh.greet(self.config.clone()));
                }
                Some(incoming) = self.heads.join_next() => {
                    if let Ok(Some(incoming)) = incoming {
                        return Some(incoming);
                    }
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

impl Config {
    /// The one ticker of a server that looks for silence or age, and whom it is for. Connections that are not
    /// tracked have a timer of their own.
    fn ticks(&self) -> Option<(Interval, Clients)> {
        let every = self.options.get().tick()?;
        let mut interval = tokio::time::interval(every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Some((interval, self.clients.clone()?))
    }
}

/// Waits for the next tick, for ever if there is none.
async fn next_tick(ticks: &mut Option<(Interval, Clients)>) -> &Clients {
    match ticks {
        None => std::future::pending().await,
        Some((interval, clients)) => {
            interval.tick().await;
            clients
        }
    }
}
