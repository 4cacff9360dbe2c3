//! The way to a host: its name and its addresses, the proxy before it, TLS.
//!
//! Bytes only: what is said over the stream is for the [`client`](crate::client), which calls this
//! and keeps the deadline of it all.

mod race;
#[cfg(unix)]
mod unix;
#[cfg(not(unix))]
#[path = "unix_off.rs"]
mod unix;
#[cfg(feature = "proxy")]
mod proxy;
#[cfg(not(feature = "proxy"))]
#[path = "proxy_off.rs"]
mod proxy;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hybi_proto::handshake::head::Limits;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

use crate::error::{Error, Result, Timeout};
use crate::exchange::Deadline;
use crate::io::Stream;
use crate::tls::ClientTls;

pub(crate) use proxy::Proxies;
#[cfg(feature = "proxy")]
pub use proxy::Proxy;

/// How a client comes to a host.
#[derive(Clone, Default)]
pub(crate) struct Dial {
    pub(crate) resolver: Option<Resolver>,
    pub(crate) local: Option<IpAddr>,
    /// For the name and the connection, not for what a proxy or TLS takes.
    pub(crate) timeout: Option<Duration>,
    pub(crate) proxies: Proxies,
    pub(crate) tls: ClientTls,
}

/// The protocol that a host has chosen by ALPN (RFC 7301).
pub(crate) type Chosen = Option<Vec<u8>>;

/// What gives the addresses of a host and a port.
pub(crate) type Resolver = Arc<dyn Fn(String, u16) -> Resolving + Send + Sync>;

pub(crate) type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// A host to reach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// A name, or an IP address without brackets.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    /// Whether TLS is spoken there.
    pub(crate) secure: bool,
}

impl Dial {
    /// A stream to this host, through the proxy that is for it, and over TLS if that is spoken
    /// there; and which of these protocols the host has chosen then. What the proxy answers is
    /// within these limits, and its reasons come until then.
    pub(crate) async fn host(
        &self,
        place: Place<'_>,
        alpn: &[&[u8]],
        limits: Limits,
        deadline: Deadline,
    ) -> Result<(Stream, Chosen)> {
        let stream = match self.proxies.choose(place)? {
            Some(proxy) => {
                let stream = self.tcp(proxy.place()).await.map_err(of_proxy)?;
                let tunnel = proxy.tunnel(stream, place, limits, deadline);
                tunnel.await.map_err(of_proxy)?
            }
            None => self.tcp(place).await?,
        };
        self.secured(stream, place, alpn).await
    }

    /// A stream to a Unix socket, which never goes through a proxy.
    pub(crate) async fn socket(
        &self,
        path: &str,
        place: Place<'_>,
        alpn: &[&[u8]],
    ) -> Result<(Stream, Chosen)> {
        let stream = self
            .in_time(pin!(async { Ok(unix::connect(path).await?) }))
            .await?;
        self.secured(stream, place, alpn).await
    }

    async fn secured(
        &self,
        stream: Stream,
        place: Place<'_>,
        alpn: &[&[u8]],
    ) -> Result<(Stream, Chosen)> {
        match place.secure {
            true => self.tls.connect_with(stream, place.host, alpn).await,
            false => Ok((stream, None)),
        }
    }

    async fn tcp(&self, place: Place<'_>) -> Result<Stream> {
        self.in_time(pin!(async {
            let addrs = self.resolve(place.host, place.port).await?;
            let tcp = race::race(addrs, |addr| self.dial(addr)).await?;
            tcp.set_nodelay(true)?;
            Ok(tcp.into())
        }))
        .await
    }

    async fn in_time<T>(&self, opening: impl Future<Output = Result<T>> + Unpin) -> Result<T> {
        match self.timeout {
            None => opening.await,
            Some(time) => timeout(time, opening)
                .await
                .unwrap_or(Err(Error::Timeout(Timeout::Connect))),
        }
    }

    /// The addresses of a host, save those that the local address cannot reach.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let mut addrs = match (host.parse::<IpAddr>(), &self.resolver) {
            (Ok(ip), _) => vec![SocketAddr::new(ip, port)],
            (Err(_), Some(resolver)) => resolver(host.to_owned(), port).await?,
            (Err(_), None) => lookup_host((host, port)).await?.collect(),
        };
        let any = !addrs.is_empty();
        if let Some(local) = self.local {
            addrs.retain(|addr| addr.is_ipv6() == local.is_ipv6());
        }
        if any && addrs.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                "the host has no address of the family of the local one (`Client::local_address`)",
            ));
        }
        Ok(addrs)
    }

    async fn dial(&self, addr: SocketAddr) -> io::Result<TcpStream> {
        let Some(local) = self.local else {
            return TcpStream::connect(addr).await;
        };
        let socket = match addr {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.bind(SocketAddr::new(local, 0))?;
        socket.connect(addr).await
    }
}

/// What has failed on the way to a proxy is not the server's fault, and says so.
fn of_proxy(error: Error) -> Error {
    let told = |error: io::Error| io::Error::new(error.kind(), OfProxy(error));
    match error {
        Error::Io(error) => Error::Io(told(error)),
        Error::Tls(error) => Error::Tls(told(error)),
        error => error,
    }
}

/// What has failed there, in the words and with the source of that.
#[derive(Debug)]
struct OfProxy(io::Error);

impl fmt::Display for OfProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the connection to the proxy failed: {}", self.0)
    }
}

impl std::error::Error for OfProxy {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}
