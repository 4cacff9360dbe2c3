//! From a fresh connection to its handler.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HOST;
use http::{Request, Response, Version};
use hybi_proto::handshake::RequestError;
use hybi_proto::handshake::server::{self, Via};
use tokio::sync::OwnedSemaphorePermit;

use super::listen::Listener;
use super::routes::{self, Found, Served};
use super::{ClientIp, Config};
use crate::clients::Seat;
use crate::crowd::Guest;
use crate::driver::{self, Drive};
use crate::error::{Error, HandshakeError, Result};
use crate::exchange;
use crate::incoming::{Door, Handshake, Incoming};
use crate::io::Stream;
use crate::shutdown::Phase;
use crate::socket::WebSocket;
use crate::trace;

/// A connection that has just come, and the right to read its request.
pub(super) struct Fresh {
    stream: Stream,
    pub(super) peer: Option<SocketAddr>,
    head: Head,
}

/// The right to have a request read, until it is accepted or refused.
pub(super) struct Head {
    _place: Option<OwnedSemaphorePermit>,
    /// If an address may have so many.
    _guest: Option<Guest>,
}

impl Fresh {
    /// The next one.
    pub(super) async fn accept(listener: &Listener, config: &Config) -> Self {
        // The semaphore is never closed.
        let _place = config.heads.clone().acquire_owned().await.ok();
        loop {
            let (stream, peer) = listener.accept().await;
            match config.knock(peer) {
                Ok(_guest) => {
                    let head = Head { _place, _guest };
                    return Self { stream, peer, head };
                }
                // To answer would take the time of those who are to be bounded.
                Err(error) => trace::refused(peer, &HandshakeError::Request(error).into()),
            }
        }
    }

    /// Reads and judges its request, as far as it is a client, which holds its place still.
    pub(super) async fn greet(self, config: &Config) -> Result<(Incoming, Head)> {
        let Self { stream, peer, head } = self;
        let (request, door) = read(config, stream, peer).await?;
        let incoming = admit(&[], config, request, door, Via::Http1, peer).await?;
        Ok((incoming, head))
    }

    /// Shakes hands, as far as it is a client, and calls the handler.
    pub(super) async fn open<F, Fut>(
        self,
        config: Arc<Config>,
        handler: Arc<F>,
    ) -> Option<Drive<Stream, Fut>>
    where
        F: Fn(WebSocket, Request<()>) -> Fut,
    {
        let timeout = config.options.get().handshake_timeout;
        let peer = self.peer;
        let opened = pin!(async {
            let (request, door) = read(&config, self.stream, peer).await?;
            let incoming = admit(&[], &config, request, door, Via::Http1, peer).await?;
            config.look(incoming).await?.open().await
        });
        let (ws, request) = seen(peer, exchange::within(timeout, opened).await)?;
        ws.handle().lock().ticked = config.clients.is_some();
        Some(driver::begin(ws, |ws| handler(ws, request)))
    }

    /// Shakes hands, as far as it is a client, and calls the handler of its path.
    pub(super) async fn route(self, root: Arc<Config>) -> Option<Served> {
        let timeout = root.options.get().handshake_timeout;
        let peer = self.peer;
        let opened = pin!(async {
            let (request, door) = read(&root, self.stream, peer).await?;
            enter(&root, request, door, Via::Http1, peer, true).await
        });
        seen(peer, exchange::within(timeout, opened).await)
    }
}

/// What goes wrong at the door was answered where it could be, and concerns one client.
pub(super) fn seen<T>(peer: Option<SocketAddr>, result: Result<T>) -> Option<T> {
    result.inspect_err(|error| trace::refused(peer, error)).ok()
}

/// Reads the request of a fresh connection.
async fn read(
    config: &Config,
    mut stream: Stream,
    peer: Option<SocketAddr>,
) -> Result<(Request<()>, Door<Stream>)> {
    let mut info = None;
    if let Some(tls) = &config.tls {
        let (encrypted, about) = tls.accept(stream).await?;
        (stream, info) = (encrypted, Some(about));
    }
    let limits = config.options.get().head;
    let (mut request, rest) = match exchange::read_request(&mut stream, limits).await? {
        Ok(read) => read,
        Err(error) => {
            let door = Door::at_fault(stream);
            return Err(refuse(config, door, error.into(), None).await);
        }
    };
    if let Some(info) = info {
        request.extensions_mut().insert(info);
    }
    config.identify(&mut request, peer);
    let door = Door::behind(stream, &request, rest);
    Ok((request, door))
}

/// Finds the handler of a request that has come, and lets it in. `ticked`: the root server has a
/// ticker for its connections.
pub(super) async fn enter(
    root: &Arc<Config>,
    mut request: Request<()>,
    door: Door<Stream>,
    via: Via,
    peer: Option<SocketAddr>,
    ticked: bool,
) -> Result<Served> {
    let Found {
        config,
        outer,
        serve,
    } = routes::find(root, &mut request);
    if !is_handshake(&request, via) {
        return Err(plain(&config, request, door).await);
    }
    let Some(serve) = serve else {
        let error = RequestError::Path;
        // Another server has to answer its requests.
        if config.abort_unknown && matches!(door, Door::Stream { .. }) {
            return Err(HandshakeError::Request(error).into());
        }
        return Err(refuse(&config, door, error, Some(&request)).await);
    };
    let incoming = admit(&outer, &config, request, door, via, peer).await?;
    let (ws, request) = config.look(incoming).await?.open().await?;
    ws.handle().lock().ticked = ticked && config.clients.is_some() && Arc::ptr_eq(root, &config);
    Ok(serve(ws, request))
}

/// Judges a request; what is no client is dealt with here, and is an error to the caller. It needs
/// a seat in the `outer` servers, too, on which this one is mounted.
async fn admit(
    outer: &[Arc<Config>],
    config: &Config,
    request: Request<()>,
    door: Door<Stream>,
    via: Via,
    peer: Option<SocketAddr>,
) -> Result<Incoming> {
    if !is_handshake(&request, via) {
        return Err(plain(config, request, door).await);
    }
    let judged = server::accept(&request, &config.judge, via);
    let judged = judged.and_then(|accepted| {
        let mut seat = None;
        for outer in outer {
            seat = Some(outer.seat(&request, peer, seat)?);
        }
        Ok((accepted, config.seat(&request, peer, seat)?))
    });
    match judged {
        Ok((accepted, seat)) => {
            let handshake = Handshake::new(door, request, accepted);
            let (options, clients) = (config.options.clone(), config.clients.clone());
            Ok(Incoming::new(handshake, peer, options, clients, seat))
        }
        Err(error) => Err(refuse(config, door, error, Some(&request)).await),
    }
}

/// Over HTTP/2 only what means to be a handshake gets here.
fn is_handshake(request: &Request<()>, via: Via) -> bool {
    via == Via::Http2 || server::is_handshake(request)
}

/// Answers a request that is no handshake.
async fn plain(config: &Config, request: Request<()>, door: Door<Stream>) -> Error {
    // RFC 9112 §3.2: a server MUST respond with a 400 to any HTTP/1.1 request message that lacks a
    // Host header field and to any that contains more than one Host header field line.
    let hosts = request.headers().get_all(HOST).iter().count();
    if request.version() == Version::HTTP_11 && hosts != 1 {
        return refuse(config, door, RequestError::Host, Some(&request)).await;
    }
    // That the peer did not stay to hear of it changes nothing.
    let _ = door.refuse(config.plain(request)).await;
    Error::Closed
}

/// Tells the peer what is wrong with its request, or why it cannot be taken now.
async fn refuse(
    config: &Config,
    door: Door<Stream>,
    error: RequestError,
    request: Option<&Request<()>>,
) -> Error {
    let response = match &config.on_refusal {
        Some(hook) => hook(&error, request),
        None => error.response().map(Bytes::from),
    };
    // As above.
    let _ = door.refuse(response).await;
    HandshakeError::Request(error).into()
}

impl Config {
    /// The answer to a request that is no handshake.
    pub(super) fn plain(&self, request: Request<()>) -> Response<Bytes> {
        match &self.fallback {
            Some(fallback) => fallback(request),
            None => server::upgrade_required().map(Bytes::from),
        }
    }

    /// Lets one more of an address have its request read. Whom a proxy speaks for is not known yet,
    /// so that those who come through one do not count.
    fn knock(&self, peer: Option<SocketAddr>) -> std::result::Result<Option<Guest>, RequestError> {
        let Some((heads, peer)) = self.heads_per_ip.as_ref().zip(peer) else {
            return Ok(None);
        };
        if self.trusts(peer.ip()) {
            return Ok(None);
        }
        heads
            .enter(peer.ip())
            .map(Some)
            .ok_or(RequestError::Crowded)
    }

    /// Whether this is a proxy that may speak for others.
    fn trusts(&self, address: IpAddr) -> bool {
        let networks = self.proxies.as_deref().map(|(_, networks)| networks);
        networks.is_some_and(|networks| networks.iter().any(|network| network.contains(&address)))
    }

    /// Notes whom a trusted proxy speaks for.
    pub(super) fn identify(&self, request: &mut Request<()>, peer: Option<SocketAddr>) {
        let Some((forwarded, _)) = self.proxies.as_deref() else {
            return;
        };
        let client = peer.map_or(Ipv4Addr::LOCALHOST.into(), |peer| peer.ip());
        // Who can open a socket that is a file is one of us: the peer, who is asked about first, and
        // not who has connected to it on this machine.
        let one_of_us = Cell::new(peer.is_none());
        let trusted = |address: IpAddr| one_of_us.take() || self.trusts(address);
        let client = forwarded.client(request.headers(), client, trusted);
        request.extensions_mut().insert(ClientIp(client));
    }

    /// A seat for one more connection, if there is one, beside the one that it has in the server on
    /// which this one is mounted.
    fn seat(
        &self,
        request: &Request<()>,
        peer: Option<SocketAddr>,
        outer: Option<Seat>,
    ) -> std::result::Result<Seat, RequestError> {
        if *self.phase.borrow() != Phase::Open {
            return Err(RequestError::Closing);
        }
        let told = request.extensions().get().map(|ClientIp(client)| *client);
        let address = told.or(peer.map(|peer| peer.ip()));
        let guest = match (&self.crowd, address) {
            (Some(crowd), Some(address)) => {
                Some(crowd.enter(address).ok_or(RequestError::Crowded)?)
            }
            _ => None,
        };
        let places = self.places.as_ref();
        let place = places.map(|places| places.clone().try_acquire_owned());
        let place = place.transpose().map_err(|_| RequestError::Full)?;
        let outer = outer.filter(Seat::is_taken).map(Box::new);
        Ok(Seat {
            place,
            guest,
            outer,
        })
    }

    /// Has the hook look at a client that can be accepted.
    async fn look(&self, incoming: Incoming) -> Result<Incoming> {
        let Some(hook) = &self.on_handshake else {
            return Ok(incoming);
        };
        match hook(incoming).await {
            Ok(incoming) => Ok(incoming),
            Err(reject) => {
                reject.await?;
                Err(Error::Closed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::Semaphore;

    use super::super::{HEADS, Server};
    use super::*;
    use crate::options::Options;

    /// More than ten times what it takes.
    const GUARD: Duration = Duration::from_secs(20);

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    #[tokio::test]
    async fn further_clients_wait_while_as_many_requests_are_read_as_may_be() {
        let server = Server::bind("127.0.0.1:0").await.expect("a port");
        assert_eq!(server.config.heads.available_permits(), HEADS);
        let mut server = server.options(Options::new().handshake_timeout(None));
        server.config().heads = Arc::new(Semaphore::new(2));
        let heads = server.config.heads.clone();
        let addr = server.local_addr().expect("an address");
        let serving = tokio::spawn(server.serve(|_, _| async { Ok(()) }));
        let silent = [addr; 2].map(TcpStream::connect);
        let [first, second] = silent;
        let (first, second) = (first.await.expect("taken"), second.await.expect("taken"));
        let mut third = TcpStream::connect(addr).await.expect("it waits");
        third.write_all(REQUEST).await.expect("it waits");
        while heads.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        let mut byte = [0];
        assert!(third.try_read(&mut byte).is_err());
        drop(first);
        let answered = tokio::time::timeout(GUARD, third.read(&mut byte)).await;
        let answered = answered.expect("its turn comes").expect("an answer");
        assert_eq!((answered, byte), (1, *b"H"));
        drop(second);
        serving.abort();
    }
}
