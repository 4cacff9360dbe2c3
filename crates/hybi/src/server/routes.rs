//! Which handler serves which path.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};

use http::Request;
use hybi_proto::handshake::grammar::percent_decode;

use super::{Config, Server};
use crate::driver;
use crate::error::Result;
use crate::events;
use crate::socket::WebSocket;

/// A connection that is served, to its end.
pub(super) type Served = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Serves a connection with a handler.
pub(super) type Serve = Arc<dyn Fn(WebSocket, Request<()>) -> Served + Send + Sync>;

/// What a path leads to.
#[derive(Clone)]
pub(super) enum Route {
    Handler(Serve),
    /// Another server, with options, clients and routes of its own.
    Mounted(Arc<Config>),
}

/// The routes of a server, and the handler of what has none.
#[derive(Clone, Default)]
pub(super) struct Routes {
    paths: matchit::Router<Route>,
    any: Option<Serve>,
    /// There are some, or a handler.
    set: bool,
    /// Why the first path could not be added that could not.
    fault: Option<Arc<str>>,
}

/// The parameters of a route, in the [extensions](http::Request::extensions) of the request.
///
/// ```no_run
/// use hybi::server::PathParams;
/// use hybi::{Request, Server, WebSocket};
///
/// # async fn run() -> hybi::Result<()> {
/// let join = |mut ws: WebSocket, request: Request<()>| async move {
///     let params = request.extensions().get::<PathParams>();
///     let room = params.and_then(|params| params.get("room")).unwrap_or_default();
///     ws.send(format!("welcome to {room}")).await
/// };
/// Server::bind("127.0.0.1:8080").await?.route("/rooms/{room}", join).run().await
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathParams(Arc<[(String, String)]>);

impl PathParams {
    /// The parameter of this name, percent-decoded, if the route has it. What is then no UTF-8 is
    /// as it was.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value)
    }

    /// All of them, in the order of the path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl Server {
    /// Serves a path with a handler, as [`serve`](Self::serve) would, when the server
    /// [runs](Self::run). `/rooms/{room}` has a parameter, see [`PathParams`], and `/{*rest}` takes
    /// whatever follows. The query is not part of the path. A path that cannot be one, or is there
    /// twice, is told when the server is to run.
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
}

impl Routes {
    pub(super) fn insert(&mut self, path: &str, route: Route) {
        self.set = true;
        if let Route::Mounted(mounted) = &route
            && let Some(fault) = &mounted.routes.fault
        {
            self.fault.get_or_insert(fault.clone());
        }
        if let Err(error) = self.paths.insert(path, route) {
            let fault = format!("the route {path:?} cannot be added: {error}");
            self.fault.get_or_insert(fault.into());
        }
    }

    pub(super) fn set_any(&mut self, serve: Serve) {
        self.set = true;
        self.any = Some(serve);
    }

    /// Whether there is neither a route nor a handler.
    pub(super) fn is_empty(&self) -> bool {
        !self.set
    }

    /// Fails if a route could not be added.
    pub(super) fn check(&self) -> io::Result<()> {
        match &self.fault {
            Some(fault) => Err(io::Error::new(io::ErrorKind::InvalidInput, &**fault)),
            None => Ok(()),
        }
    }

    /// What serves the path of this request, which is told the parameters.
    fn find(&self, request: &mut Request<()>) -> Option<Route> {
        let uri = request.uri().clone();
        let Ok(found) = self.paths.at(uri.path()) else {
            return self.any.clone().map(Route::Handler);
        };
        if !found.params.is_empty() {
            let pair = |(name, value): (&str, &str)| (name.to_owned(), decoded(value));
            let params = PathParams(found.params.iter().map(pair).collect());
            request.extensions_mut().insert(params);
        }
        Some(found.value.clone())
    }
}

/// The server that a request is for.
pub(super) struct Found {
    pub(super) config: Arc<Config>,
    /// Those on which it is mounted, from the root on.
    pub(super) outer: Vec<Arc<Config>>,
    /// The handler of the path, if there is one.
    pub(super) serve: Option<Serve>,
}

/// Finds the server that a request is for.
pub(super) fn find(root: &Arc<Config>, request: &mut Request<()>) -> Found {
    let (mut config, mut outer) = (root.clone(), Vec::new());
    let serve = loop {
        match config.routes.find(request) {
            Some(Route::Mounted(mounted)) => outer.push(std::mem::replace(&mut config, mounted)),
            Some(Route::Handler(serve)) => break Some(serve),
            None => break None,
        }
    };
    Found {
        config,
        outer,
        serve,
    }
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
    Arc::new(move |ws, request| Box::pin(events::drive(ws, request, handler.clone())))
}

fn decoded(value: &str) -> String {
    String::from_utf8(percent_decode(value)).unwrap_or_else(|_| value.to_owned())
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Routes")
    }
}
