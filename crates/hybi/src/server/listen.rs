//! The sockets on which a server listens.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::time::Duration;

#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::net::{TcpListener, TcpSocket, ToSocketAddrs, lookup_host};

use super::Server;
use crate::error::Result;
use crate::io::Stream;
use crate::trace;

/// Connections that the operating system has taken and that wait for us.
const BACKLOG: u32 = 1024;

/// How long to leave the door alone when there are no more descriptors.
const BACK_OFF: Duration = Duration::from_millis(50);

/// What must be set before a server listens, made by [`Server::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    backlog: u32,
    reuse_port: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            backlog: BACKLOG,
            reuse_port: false,
        }
    }
}

impl Builder {
    /// How many connections the operating system takes before we do (default 1024). We take 4096
    /// that are in the opening handshake, hooks included; more wait.
    #[must_use]
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// Whether other sockets may listen on the same port (`SO_REUSEPORT`, default no): the
    /// operating system then shares the clients out among several processes, or threads. Where it
    /// has no such thing, [`bind`](Self::bind) fails.
    #[must_use]
    pub fn reuse_port(mut self, on: bool) -> Self {
        self.reuse_port = on;
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
        if self.reuse_port {
            set_reuse_port(&socket)?;
        }
        socket.bind(addr)?;
        socket.listen(self.backlog)
    }
}

#[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
fn set_reuse_port(socket: &TcpSocket) -> io::Result<()> {
    socket.set_reuseport(true)
}

#[cfg(not(all(unix, not(any(target_os = "solaris", target_os = "illumos")))))]
fn set_reuse_port(_: &TcpSocket) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "sockets cannot share a port here",
    ))
}

/// What a server listens on.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
    /// Nothing: what it serves is handed to it.
    Detached,
}

impl Listener {
    /// The next connection, and where it has come from.
    pub(super) async fn accept(&self) -> (Stream, Option<SocketAddr>) {
        loop {
            match self.try_accept().await {
                Ok(connection) => return connection,
                Err(error) if concerns_one_client(&error) => {}
                // Out of descriptors or memory: it passes when others leave.
                Err(error) => {
                    trace::cannot_accept(&error);
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }

    async fn try_accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (tcp, peer) = listener.accept().await?;
                tcp.set_nodelay(true)?;
                Ok((tcp.into(), Some(peer)))
            }
            #[cfg(unix)]
            Self::Unix(listener) => Ok((Stream::new(listener.accept().await?.0), None)),
            Self::Detached => std::future::pending().await,
        }
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr(),
            _ => Err(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                "this server does not listen on an IP address",
            )),
        }
    }
}

fn concerns_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, InvalidInput,
        NotConnected,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | Interrupted
            // What setting an option of a socket that is gone already gives.
            | InvalidInput
            | NotConnected
    )
}

/// Listens on a path. A socket that is there already and on which nobody listens, the remains of
/// a server that has ended, is taken away.
#[cfg(unix)]
pub(super) async fn unix(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::FileTypeExt;
    use tokio::net::UnixStream;

    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let is_socket = std::fs::symlink_metadata(path)?.file_type().is_socket();
            let refused = || async {
                let connected = UnixStream::connect(path).await;
                connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
            };
            if is_socket && refused().await {
                std::fs::remove_file(path)?;
                return UnixListener::bind(path);
            }
            Err(error)
        }
        bound => bound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_1024_connections_wait_and_the_port_is_not_shared() {
        let Builder {
            backlog,
            reuse_port,
        } = Server::builder();
        assert_eq!((backlog, reuse_port), (1024, false));
    }
}
