//! A server that speaks TLS.

use super::Server;
use crate::tls::ServerTls;

impl Server {
    /// Speaks TLS (default: not): clients connect with `wss:`. Its handshake is part of the time
    /// for the opening handshake.
    #[must_use]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.config().tls = Some(tls);
        self
    }
}
