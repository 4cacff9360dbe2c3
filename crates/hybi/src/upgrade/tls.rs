//! The TLS stream that a server may have below it.

use tokio::net::TcpStream;

pub(super) type Server = tokio_rustls::server::TlsStream<TcpStream>;

/// The socket below.
pub(super) fn tcp(tls: &Server) -> &TcpStream {
    tls.get_ref().0
}
