//! TLS with the proxy itself.

use super::Proxy;
use crate::tls::ClientTls;

impl Proxy {
    /// How TLS is spoken with an `https:` proxy (default [`ClientTls::default`]). What is spoken
    /// with the server behind it is [`Client::tls`](crate::Client::tls)'s to say.
    #[must_use]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = tls;
        self
    }
}
