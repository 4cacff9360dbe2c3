//! Which handler serves which path.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use http::Request;
use hybi_proto::handshake::grammar::percent_decode;

use super::Config;
use crate::error::Result;
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

fn decoded(value: &str) -> String {
    String::from_utf8(percent_decode(value)).unwrap_or_else(|_| value.to_owned())
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Routes")
    }
}
