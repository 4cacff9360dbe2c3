//! The server: from a listening socket to handlers.

mod settings;
mod ticker;
mod listen;
mod routes;
mod door;
mod waiting;
#[cfg(feature = "tower")]
mod service;
#[cfg(feature = "tls")]
mod tls;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use hybi_proto::handshake::server;
use hybi_proto::handshake::{Forwarded, RequestError};
use ipnet::IpNet;
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::{Semaphore, watch};

use crate::clients::Clients;
use crate::crowd::Crowd;
use crate::error::Result;
use crate::events::{self, Dispatch};
use crate::incoming::{Incoming, Reject};
use crate::options::Options;
use crate::shutdown::{Phase, Report, ServerHandle, Shutdown};
use crate::socket::WebSocket;
use crate::tls::ServerTls;

use door::Fresh;
use listen::Listener;
use routes::Routes;
use ticker::{Ticker, next_tick};
use waiting::Waiting;

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
    /// For [`Server::accept`].
    waiting: Waiting,
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
    /// Those of each address, where its connections are limited.
    heads_per_ip: Option<Arc<Crowd>>,
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
            heads_per_ip: None,
            clients: Some(Clients::default()),
            phase: Arc::new(watch::Sender::new(Phase::Open)),
            mounted: Arc::default(),
        };
        Self {
            listener,
            config: Arc::new(config),
            waiting: Waiting::default(),
        }
    }

    fn config(&mut self) -> &mut Config {
        Arc::make_mut(&mut self.config)
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
        let mut ticker = Ticker::of(&self.config);
        loop {
            let fresh = tokio::select! {
                fresh = Fresh::accept(&self.listener, &self.config) => fresh,
                clients = next_tick(&mut ticker) => {
                    clients.tick();
                    continue;
                }
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
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
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
