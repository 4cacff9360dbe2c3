//! WebSockets in a server of hyper's, over HTTP/1 and HTTP/2.
//!
//! The server reads the requests and writes the answers, this judges and makes them, and takes the
//! stream over behind a positive one. It serves nothing by itself; see [`Server`](crate::Server)
//! for that.
//!
//! Over HTTP/1 the connection is served with upgrades (`with_upgrades` of hyper,
//! `serve_connection_with_upgrades` of hyper-util). Over HTTP/2 its builder is told to
//! `enable_connect_protocol` (RFC 8441 §3), and the handshake is a CONNECT.
//!
//! To the server a connection of HTTP/1 has ended when it is upgraded: its own shutdown neither
//! waits for the WebSocket nor closes it; who wants that keeps a [`Sender`](crate::Sender) of each.
//! What a client over HTTP/2 does not take waits in the server's memory, up to three times the
//! backlog beside our own, and may stay there as long as the client's connection.

#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "tls_off.rs"]
mod tls;
mod exclusive;
mod transport;
#[cfg(feature = "tower")]
pub(crate) mod door;

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, HeaderMap, UPGRADE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use hybi_proto::handshake::server::{self, Accepted, Origins, Via};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;

use crate::driver;
use crate::error::{Error, HandshakeError, Result};
use crate::events;
use crate::exchange;
use crate::incoming;
use crate::options::Options;
use crate::socket::WebSocket;

/// Takes the opening handshake out of a request to a server of hyper's. `None` if the request is
/// none, and then it is as it was, to be served otherwise.
///
/// The body of the answers is what the service's other answers have, if that can be made from
/// [`Bytes`].
///
/// ```
/// use std::convert::Infallible;
///
/// use http_body_util::Full;
/// use hybi::{Bytes, Request, Response, Result, WebSocket};
/// use hyper::body::Incoming;
///
/// async fn echo(mut ws: WebSocket, _: Request<()>) -> Result<()> {
///     while let Some(message) = ws.recv().await? {
///         ws.send(message).await?;
///     }
///     Ok(())
/// }
///
/// async fn service(
///     mut request: Request<Incoming>,
/// ) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
///     let Some(upgrade) = hybi::upgrade(&mut request) else {
///         return Ok(Response::new("plain HTTP".into()));
///     };
///     Ok(upgrade.protocols(["v1"]).on_upgrade(echo))
/// }
/// ```
pub fn upgrade<T, B>(request: &mut Request<T>) -> Option<Upgrade<B>> {
    let via = via(request)?;
    let stream = request.extensions_mut().remove();
    Some(Upgrade::new(head(request), via, stream))
}

/// Whether a request means to be an opening handshake, however faulty; [`upgrade()`] takes it out
/// then.
///
/// Over HTTP/1 it names `websocket` in `Upgrade`, or has a `Sec-WebSocket-Key` or a
/// `Sec-WebSocket-Version`; over HTTP/2 it is a CONNECT for the protocol `websocket`.
#[must_use]
pub fn is_upgrade<T>(request: &Request<T>) -> bool {
    via(request).is_some()
}

/// The answer to a request that is no handshake where nothing but WebSockets is served: 426.
#[must_use]
pub fn required<B: From<Bytes>>() -> Response<B> {
    server::upgrade_required().map(|why| Bytes::from(why).into())
}

/// An opening handshake that another HTTP server has received, made by [`upgrade()`]; `B` is the
/// body of its answers.
///
/// It is judged when it is answered, by [`on_upgrade`](Self::on_upgrade) or
/// [`accept`](Self::accept): one that does not hold, or comes from another origin, is refused with
/// the status that fits. Who refuses it for a reason of their own answers something else instead.
#[must_use = "a handshake is to be answered"]
pub struct Upgrade<B = Bytes> {
    request: Request<()>,
    via: Via,
    stream: Option<OnUpgrade>,
    options: Options,
    judge: server::Options,
    headers: HeaderMap,
    body: PhantomData<fn() -> B>,
}

impl<B> Upgrade<B> {
    fn new(request: Request<()>, via: Via, stream: Option<OnUpgrade>) -> Self {
        Self {
            request,
            via,
            stream,
            options: Options::new(),
            judge: server::Options::new(),
            headers: HeaderMap::new(),
            body: PhantomData,
        }
    }

    /// The bounds and habits of the connection.
    pub fn options(mut self, options: Options) -> Self {
        self.judge = self.judge.deflate(options.get().deflate(false));
        self.options = options;
        self
    }

    /// Which origins a request may come from (default [`Origins::SameHost`]); others get 403.
    /// Only browsers send an origin; a request without one is not refused for it.
    pub fn origins(mut self, origins: Origins) -> Self {
        self.judge = self.judge.origins(origins);
        self
    }

    /// The subprotocols that are spoken here, the favorite first (default none); the first one
    /// that the client offers is chosen.
    pub fn protocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.judge = self.judge.protocols(names);
        self
    }

    /// Chooses the first subprotocol that the client offers, whatever it is, as Node's `ws` does
    /// (default no), if none of [`protocols`](Self::protocols) is among them.
    pub fn first_protocol_offered(mut self, on: bool) -> Self {
        self.judge = self.judge.first_protocol_offered(on);
        self
    }

    /// One more header of the positive answer (default none). Those of the handshake itself cannot
    /// be set.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// The request.
    #[must_use]
    pub fn request(&self) -> &Request<()> {
        &self.request
    }

    /// The request's headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }
}

impl<B: From<Bytes>> Upgrade<B> {
    /// Answers the handshake, and serves the client with the handler, in a task of its own, on a
    /// driven socket: see [`drive`](crate::drive()).
    ///
    /// An error that the handler returns closes the connection with 1011. The handler is not
    /// called if the handshake is refused, or if the server has not handed the stream over within
    /// [`Options::handshake_timeout`]; [`accept`](Self::accept) says why.
    ///
    /// # Panics
    ///
    /// Outside of a runtime of tokio's.
    pub fn on_upgrade<F, Fut>(self, handler: F) -> Response<B>
    where
        F: FnOnce(WebSocket, Request<()>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.serve(|ws, request| driver::begin(ws, |ws| handler(ws, request)))
    }

    /// As [`on_upgrade`](Self::on_upgrade), by calling the handler when something comes: see
    /// [`Server::serve_events`](crate::Server::serve_events).
    ///
    /// # Panics
    ///
    /// Outside of a runtime of tokio's.
    pub fn on_upgrade_events<H: events::Handler>(self, handler: Arc<H>) -> Response<B> {
        self.serve(|ws, request| events::drive(ws, request, handler))
    }

    fn serve<F, D>(self, drive: F) -> Response<B>
    where
        F: FnOnce(WebSocket, Request<()>) -> D + Send + 'static,
        D: Future<Output = Result<()>> + Send + 'static,
    {
        let (response, opening) = self.judge();
        if let Ok(opening) = opening {
            // What only the handshake needs must not live on in the connection's task.
            let open = Box::pin(opening.open());
            tokio::spawn(async move {
                if let Ok((ws, request)) = open.await {
                    // The handler's error has become the close code; whom else would it concern?
                    let _ = drive(ws, request).await;
                }
            });
        }
        response
    }

    /// Answers the handshake, positively or not, and gives the WebSocket to come, or what is wrong
    /// with the request. The server hands the stream over once the response is sent: await the
    /// second in a task of its own.
    ///
    /// ```
    /// # use http_body_util::Full;
    /// # use hybi::{Bytes, Response, Upgrade};
    /// fn answer(upgrade: Upgrade<Full<Bytes>>) -> Response<Full<Bytes>> {
    ///     let (response, upgrading) = upgrade.accept();
    ///     tokio::spawn(async move {
    ///         let mut ws = upgrading.await?;
    ///         ws.send("welcome").await
    ///     });
    ///     response
    /// }
    /// ```
    pub fn accept(self) -> (Response<B>, Upgrading) {
        let (response, opening) = self.judge();
        let upgrading = async move { Ok(opening?.open().await?.0) };
        (response, Upgrading(Box::pin(upgrading)))
    }

    fn judge(self) -> (Response<B>, Result<Opening>) {
        let mut accepted = match server::accept(&self.request, &self.judge, self.via) {
            Ok(accepted) => accepted,
            Err(error) => {
                let response = error.response().map(Bytes::from);
                let error = HandshakeError::Request(error).into();
                return (response_over(self.via, response), Err(error));
            }
        };
        let Some(stream) = self.stream else {
            let response = server::refusal(StatusCode::INTERNAL_SERVER_ERROR, NO_STREAM);
            let response = response.map(Bytes::from);
            return (response_over(self.via, response), Err(no_stream()));
        };
        *accepted.headers_mut() = self.headers;
        let response = accepted.response().map(|()| Bytes::new().into());
        let opening = Opening {
            stream,
            request: self.request,
            accepted,
            options: self.options,
        };
        (response, Ok(opening))
    }
}

/// A WebSocket that is there once the server has sent the answer, made by [`Upgrade::accept`].
///
/// Cancel safe: dropping it drops the connection.
///
/// # Errors
///
/// [`Error::Handshake`] for a request that was refused, [`Error::Io`] if the server does not hand
/// the stream over (it is not served with upgrades, or the client did not stay), and
/// [`Error::Timeout`] after [`Options::handshake_timeout`], counted from the first poll.
#[must_use = "the WebSocket is there when this is awaited"]
pub struct Upgrading(Pin<Box<dyn Future<Output = Result<WebSocket>> + Send>>);

impl Future for Upgrading {
    type Output = Result<WebSocket>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

/// A handshake that holds and is about to be answered.
struct Opening {
    stream: OnUpgrade,
    request: Request<()>,
    accepted: Accepted,
    options: Options,
}

impl Opening {
    async fn open(self) -> Result<(WebSocket, Request<()>)> {
        let deadline = self.options.get().handshake_timeout;
        let (stream, rest) = exchange::within(deadline, pin!(upgraded(self.stream))).await?;
        let (request, options) = (self.request, self.options);
        let ws = incoming::open(stream, &rest, &request, &self.accepted, &options);
        {
            let link = ws.handle().lock();
            link.span.peer(|| link.io()?.peer_addr());
        }
        Ok((ws, request))
    }
}

/// The stream, once the server has answered.
async fn upgraded(stream: OnUpgrade) -> Result<(crate::io::Stream, Bytes)> {
    let upgraded = stream.await.map_err(|error| {
        let kind = if error.is_user() {
            io::ErrorKind::Unsupported
        } else {
            io::ErrorKind::ConnectionAborted
        };
        io::Error::new(kind, error)
    })?;
    Ok(transport::take(upgraded))
}

fn via<T>(request: &Request<T>) -> Option<Via> {
    if request.version() != Version::HTTP_2 {
        return server::is_handshake(request).then_some(Via::Http1);
    }
    // RFC 8441 §5: the :protocol pseudo-header field MUST have the value "websocket".
    let protocol = request.extensions().get::<Protocol>();
    let asked = protocol.is_some_and(|protocol| protocol.as_str() == "websocket");
    (asked && request.method() == Method::CONNECT).then_some(Via::Http2)
}

/// A copy of a request's head: what is beside the handshake may need the request, too.
pub(crate) fn head<T>(request: &Request<T>) -> Request<()> {
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    *head.uri_mut() = request.uri().clone();
    *head.version_mut() = request.version();
    *head.headers_mut() = request.headers().clone();
    *head.extensions_mut() = request.extensions().clone();
    head
}

/// A response as another server can send it.
fn response_over<B: From<Bytes>>(via: Via, mut response: Response<Bytes>) -> Response<B> {
    if via == Via::Http2 {
        // RFC 9113 §8.2.2: an endpoint MUST NOT generate an HTTP/2 message containing
        // connection-specific header fields.
        response.headers_mut().remove(CONNECTION);
        response.headers_mut().remove(UPGRADE);
    }
    response.map(B::from)
}

const NO_STREAM: &str = "this server cannot hand a connection over to a WebSocket: \
    serve it with upgrades";

fn no_stream() -> Error {
    Error::Io(io::Error::new(io::ErrorKind::Unsupported, NO_STREAM))
}

impl<B> fmt::Debug for Upgrade<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade")
            .field("request", &self.request)
            .field("via", &self.via)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Upgrading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upgrading")
    }
}
