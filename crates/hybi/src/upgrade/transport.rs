//! The stream below another HTTP server: taken out where it is a socket or TLS above one, so that
//! no buffer of the server's stays; used through the server elsewhere, as over HTTP/2.

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::io::DuplexStream;
use tokio::net::TcpStream;

use super::exclusive::Exclusive;
use super::tls;
use crate::io::{Io, Stream};

/// The stream, and what the server has read of it.
type Taken = (Stream, Bytes);

pub(super) fn take(upgraded: Upgraded) -> Taken {
    take_tcp(upgraded)
        .or_else(take_tls)
        .or_else(take_unix)
        .or_else(|upgraded| take_as::<DuplexStream>(upgraded, Stream::from))
        .unwrap_or_else(|upgraded| (Stream::new(Exclusive::new(upgraded)), Bytes::new()))
}

fn take_tcp(upgraded: Upgraded) -> Result<Taken, Upgraded> {
    take_as(upgraded, |tcp: TcpStream| {
        without_delay(&tcp);
        tcp.into()
    })
}

fn take_tls(upgraded: Upgraded) -> Result<Taken, Upgraded> {
    take_as(upgraded, |tls: tls::Server| {
        let tcp = tls::tcp(&tls);
        without_delay(tcp);
        let addrs = (tcp.local_addr().ok(), tcp.peer_addr().ok());
        Stream::above(addrs, tls)
    })
}

#[cfg(unix)]
fn take_unix(upgraded: Upgraded) -> Result<Taken, Upgraded> {
    take_as(upgraded, |unix: tokio::net::UnixStream| Stream::new(unix))
}

#[cfg(not(unix))]
fn take_unix(upgraded: Upgraded) -> Result<Taken, Upgraded> {
    Err(upgraded)
}

/// Messages do not wait for each other, whatever the server wants for its answers. A socket that
/// refuses has failed, and says so when it is used.
fn without_delay(tcp: &TcpStream) {
    let _ = tcp.set_nodelay(true);
}

/// The stream if it is one of these, as hyper serves it or hyper-util.
fn take_as<S: Io>(upgraded: Upgraded, make: impl FnOnce(S) -> Stream) -> Result<Taken, Upgraded> {
    let (io, rest) = match auto::upgrade::downcast::<TokioIo<S>>(upgraded) {
        Ok(parts) => (parts.io, parts.read_buf),
        Err(upgraded) => {
            let parts = upgraded.downcast::<TokioIo<S>>()?;
            (parts.io, parts.read_buf)
        }
    };
    Ok((make(io.into_inner()), rest))
}
