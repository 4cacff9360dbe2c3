//! A whole server as a service of tower's, inside a server of hyper's or axum's.

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hybi_proto::handshake::server;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::door::{enter, seen};
use super::{Config, Server, routes};
use crate::exchange;
use crate::upgrade::door::{Caller, door, response};
use crate::upgrade::head;

/// A server inside another HTTP server, made by [`Server::into_service`]; `B` is the body of its
/// answers. Clones are the same server.
pub struct Service<B = Bytes> {
    config: Arc<Config>,
    body: PhantomData<fn() -> B>,
}

impl Server {
    /// Makes it a service of tower's: a server of hyper's or axum's hands it its requests, and all
    /// else, routes, limits, hooks, clients, is as it would be on a socket of its own. What it
    /// listens on is closed; [`handle`](Self::handle), taken before, shuts it down.
    ///
    /// Where the client has connected from is not known, unless the request has its [`SocketAddr`]
    /// among its extensions. A path that is not served gets 404, whatever
    /// [`abort_unknown_paths`](Self::abort_unknown_paths) says, who does not get through the
    /// handshake in time 408, and who meets a hook that panics 500.
    ///
    /// ```no_run
    /// # async fn foo(_: hybi::WebSocket, _: hybi::Request<()>) -> hybi::Result<()> { Ok(()) }
    /// # async fn run(listener: tokio::net::TcpListener) -> hybi::Result<()> {
    /// use axum::body::Body;
    ///
    /// let chat = hybi::Server::detached().route("/chat/{room}", foo);
    /// let chat = chat.into_service::<Body>()?;
    /// let app = axum::Router::new().route_service("/chat/{room}", chat);
    /// # axum::serve(listener, app).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// A route that cannot be one, or is there twice.
    pub fn into_service<B: From<Bytes>>(self) -> crate::error::Result<Service<B>> {
        self.config.routes.check()?;
        Ok(Service {
            config: self.config,
            body: PhantomData,
        })
    }
}

impl<B> Clone for Service<B> {
    fn clone(&self) -> Self {
        Self {
            config: self.config.clone(),
            body: PhantomData,
        }
    }
}

impl<B> fmt::Debug for Service<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

impl<T, B> tower_service::Service<Request<T>> for Service<B>
where
    B: From<Bytes> + Send + 'static,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Answer<B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<T>) -> Answer<B> {
        let peer = request.extensions().get::<SocketAddr>().copied();
        let config = self.config.clone();
        let Some(caller) = door(&mut request) else {
            let mut request = head(&request);
            config.identify_known(&mut request, peer);
            let config = routes::find(&config, &mut request).config;
            let plain = config.plain(request).map(B::from);
            return Answer(Box::pin(async { plain }));
        };
        let Caller {
            mut request,
            via,
            door,
            answer,
        } = caller;
        let timeout = config.options.get().handshake_timeout;
        // What only the handshake needs must not live on in the connection's task.
        let (ended, end) = oneshot::channel();
        let open = Box::pin(async move {
            config.identify_known(&mut request, peer);
            let entered = pin!(enter(&config, request, door, via, peer, false));
            let entered = exchange::within(timeout, entered).await;
            // Nobody may wait for it any more.
            let _ = ended.send(());
            seen(peer, entered)
        });
        let serving = tokio::spawn(async move {
            if let Some(connection) = open.await {
                // The handler's error has become the close code; whom else would it concern?
                let _ = connection.await;
            }
        });
        let stays = Stays(Some(serving.abort_handle()));
        Answer(Box::pin(async move {
            let answer = match answer.await {
                Ok(answer) => answer,
                Err(_) => unanswered(end.await.is_ok()),
            };
            stays.was_answered();
            response(via, answer)
        }))
    }
}

/// The answer of a [`Service`].
///
/// Dropping it drops the connection, and what [`Server::on_handshake`] has begun for it.
#[must_use = "the answer is there when this is awaited"]
pub struct Answer<B>(Pin<Box<dyn Future<Output = Response<B>> + Send>>);

impl<B> fmt::Debug for Answer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}

impl<B> Future for Answer<B> {
    type Output = Result<Response<B>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl Config {
    /// As [`identify`](Self::identify), if it is known who has connected.
    fn identify_known(&self, request: &mut Request<()>, peer: Option<SocketAddr>) {
        if peer.is_some() {
            self.identify(request, peer);
        }
    }
}

/// A client that waits for the answer: dropped before that is there, it ends the handshake, and with
/// it the hook.
struct Stays(Option<AbortHandle>);

impl Stays {
    fn was_answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Stays {
    fn drop(&mut self) {
        if let Some(serving) = self.0.take() {
            serving.abort();
        }
    }
}

/// To who was not answered: too `late`, or because a hook has panicked.
fn unanswered(late: bool) -> Response<Bytes> {
    let (status, why) = if late {
        let why = "the opening handshake took too long";
        (StatusCode::REQUEST_TIMEOUT, why)
    } else {
        let why = "the server failed in the opening handshake";
        (StatusCode::INTERNAL_SERVER_ERROR, why)
    };
    server::refusal(status, why).map(Bytes::from)
}
