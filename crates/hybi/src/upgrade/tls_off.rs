//! Without the feature `tls`: no TLS stream is known, and plain TCP stands for it.

use tokio::net::TcpStream;

pub(super) type Server = TcpStream;

pub(super) fn tcp(tls: &Server) -> &TcpStream {
    tls
}
