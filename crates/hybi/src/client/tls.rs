//! TLS with the servers.

use super::Client;
use crate::tls::ClientTls;

impl Client {
    /// How TLS is spoken with `wss:` servers (default [`ClientTls::default`]).
    #[must_use]
    pub fn tls(self, tls: ClientTls) -> Self {
        self.with(|values| values.dial.tls = tls)
    }
}
