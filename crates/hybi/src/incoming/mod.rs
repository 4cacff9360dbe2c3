//! A client at the door: its request has arrived and holds, and waits to be accepted or rejected.

mod door;

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::pin::{Pin, pin};

use bytes::Bytes;
use http::header::{HeaderMap, ORIGIN};
use http::{Extensions, HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use hybi_proto::handshake::server::{self, Origins, Via};
use hybi_proto::handshake::{RequestError, Version};

use crate::clients::{Clients, Entry, Seat};
use crate::error::{HandshakeError, Result};
use crate::exchange;
use crate::io::{Io, Stream};
use crate::options::Options;
use crate::socket::WebSocket;

#[cfg(feature = "tower")]
pub(crate) use door::Upgraded;
#[cfg(feature = "hyper")]
pub(crate) use door::open;
pub(crate) use door::{Door, Handshake};

/// Accepts a WebSocket client on a stream of its own; `.await` what it returns.
///
/// It reads the request, judges it and answers it. A request that does not hold is refused with
/// the status that fits, and the error says why. For a listening socket see
/// [`Server`](crate::Server).
///
/// ```no_run
/// # async fn run(tcp: tokio::net::TcpStream) -> hybi::Result<()> {
/// let mut ws = hybi::accept(tcp).await?;
/// ws.send("welcome").await?;
/// # Ok(())
/// # }
/// ```
pub fn accept<S: Io>(stream: S) -> Accept<S> {
    Accept {
        stream,
        options: Options::new(),
        judge: server::Options::new(),
    }
}

/// A server's opening handshake on one stream, made by [`accept`]; it begins when it is awaited.
///
/// Cancel safe: a dropped call drops the stream with it.
///
/// # Errors
///
/// [`Error::Handshake`](crate::Error::Handshake) for a request that was refused,
/// [`Error::Io`](crate::Error::Io), and [`Error::Timeout`](crate::Error::Timeout) after
/// [`Options::handshake_timeout`].
#[derive(Debug)]
#[must_use = "a client is accepted when this is awaited"]
pub struct Accept<S> {
    stream: S,
    options: Options,
    judge: server::Options,
}

impl<S: Io> Accept<S> {
    /// The bounds and habits of the connection.
    pub fn options(mut self, options: Options) -> Self {
        self.judge = self.judge.deflate(options.get().deflate(false));
        self.options = options;
        self
    }

    /// Which origins a request may come from (default the same host); others get 403.
    pub fn origins(mut self, origins: Origins) -> Self {
        self.judge = self.judge.origins(origins);
        self
    }

    /// The subprotocols that are spoken here, the favorite first (default none).
    pub fn protocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.judge = self.judge.protocols(names);
        self
    }

    async fn shake(self) -> Result<WebSocket<S>> {
        let Self {
            mut stream,
            options,
            judge,
        } = self;
        let read = exchange::read_request(&mut stream, options.get().head).await?;
        let (door, response, error) = match read {
            Err(error) => (Door::at_fault(stream), error.response(), error.into()),
            Ok((request, rest)) => {
                let door = Door::behind(stream, &request, rest);
                if !server::is_handshake(&request) {
                    (door, server::upgrade_required(), RequestError::Upgrade)
                } else {
                    match server::accept(&request, &judge, Via::Http1) {
                        Ok(accepted) => {
                            let handshake = Handshake::new(door, request, accepted);
                            return Ok(handshake.accept(&options).await?.0);
                        }
                        Err(error) => (door, error.response(), error),
                    }
                }
            }
        };
        // The fault is the peer's; that it did not stay to hear of it changes nothing.
        let _ = door.refuse(response).await;
        Err(HandshakeError::Request(error).into())
    }
}

impl<S: Io> IntoFuture for Accept<S> {
    type Output = Result<WebSocket<S>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let deadline = self.options.get().handshake_timeout;
            exchange::within(deadline, pin!(self.shake())).await
        })
    }
}

/// A client whose request has arrived and holds: look at it, decide, then
/// [`accept`](Self::accept) or [`reject`](Self::reject) it. Dropped, it is aborted.
#[derive(Debug)]
pub struct Incoming {
    handshake: Handshake<Stream>,
    peer: Option<SocketAddr>,
    options: Options,
    clients: Option<Clients>,
    seat: Seat,
}

impl Incoming {
    pub(crate) fn new(
        handshake: Handshake<Stream>,
        peer: Option<SocketAddr>,
        options: Options,
        clients: Option<Clients>,
        seat: Seat,
    ) -> Self {
        Self {
            handshake,
            peer,
            options,
            clients,
            seat,
        }
    }

    /// The request.
    #[must_use]
    pub fn request(&self) -> &Request<()> {
        &self.handshake.request
    }

    /// The request's headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.request().headers()
    }

    /// The request's target: path and query.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        self.request().uri()
    }

    /// Its extensions: what the server has found out about it, and room for what a
    /// [hook](crate::Server::on_handshake) has to tell the handler.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        self.handshake.request.extensions_mut()
    }

    /// The address from which the client has connected, or a proxy in its stead, see
    /// [`ClientIp`](crate::server::ClientIp); none on a Unix socket.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The origin of the web page that connects; other programs need not send one.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        let headers = self.headers();
        let (new, old) = (headers.get(ORIGIN), headers.get("sec-websocket-origin"));
        let origin = match self.handshake.accepted.version() {
            Version::V8 => old.or(new),
            _ => new.or(old),
        };
        origin?.to_str().ok()
    }

    /// The subprotocols that the client offers, its favorite first.
    #[must_use]
    pub fn protocols(&self) -> &[String] {
        self.handshake.accepted.offered()
    }

    /// Chooses another subprotocol, or none; whether the client offers it. If it does not,
    /// nothing is changed.
    pub fn choose_protocol(&mut self, protocol: Option<&str>) -> bool {
        self.handshake.accepted.choose(protocol)
    }

    /// Further headers of the answer that accepts the client, none at first: a cookie, say. Those
    /// of the handshake itself are left out of it.
    pub fn response_headers_mut(&mut self) -> &mut HeaderMap {
        self.handshake.accepted.headers_mut()
    }

    /// Accepts the client: answers with 101, over HTTP/2 with 200.
    ///
    /// Cancel safe: a dropped call drops the connection.
    ///
    /// # Errors
    ///
    /// The transport has failed, or the client did not take the answer within
    /// [`Options::handshake_timeout`].
    pub async fn accept(self) -> Result<WebSocket> {
        let deadline = self.options.get().handshake_timeout;
        Ok(exchange::within(deadline, pin!(self.open())).await?.0)
    }

    /// As [`accept`](Self::accept), without a deadline, and with the request.
    pub(crate) async fn open(self) -> Result<(WebSocket, Request<()>)> {
        let (ws, request) = self.handshake.accept(&self.options).await?;
        ws.handle().lock().span.peer(|| self.peer);
        if self.clients.is_some() || self.seat.is_taken() {
            let entry = Entry::new(ws.handle(), self.clients.as_ref(), self.seat);
            ws.handle().lock().entry = Some(Box::new(entry));
        }
        Ok((ws, request))
    }

    /// Rejects the client with a status, and with what else is chosen; `.await` it. A status that
    /// rejects nothing (1xx, and over HTTP/2 2xx, too) is sent as 500.
    pub fn reject(self, status: StatusCode) -> Reject {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        let deadline = self.options.get().handshake_timeout;
        Reject {
            door: self.handshake.door,
            response: Box::new(response),
            deadline,
        }
    }

    /// Drops the connection without an answer.
    pub fn abort(self) {}
}

/// A rejection, made by [`Incoming::reject`]; it is sent when it is awaited, and the connection
/// ends so that it arrives.
///
/// Cancel safe: a dropped call drops the connection.
///
/// # Errors
///
/// [`Error::Io`](crate::Error::Io) if the client did not stay for it,
/// [`Error::Timeout`](crate::Error::Timeout) after [`Options::handshake_timeout`].
#[derive(Debug)]
#[must_use = "a client is rejected when this is awaited"]
pub struct Reject {
    door: Door<Stream>,
    response: Box<Response<Bytes>>,
    deadline: Option<std::time::Duration>,
}

impl Reject {
    /// One more header.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.response.headers_mut().append(name, value);
        self
    }

    /// The body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        *self.response.body_mut() = body.into();
        self
    }
}

impl IntoFuture for Reject {
    type Output = Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let refuse = pin!(self.door.refuse(*self.response));
            exchange::within(self.deadline, refuse).await
        })
    }
}
