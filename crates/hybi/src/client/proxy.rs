//! The proxy before the servers.

use super::Client;
use crate::connect::{Proxies, Proxy};

impl Client {
    /// The proxy through which all servers are reached, save Unix sockets (default none). It is not
    /// asked where a [`connector`](crate::Connect::connector) opens the transport.
    #[must_use]
    pub fn proxy(self, proxy: impl Into<Option<Proxy>>) -> Self {
        let proxies = proxy.into().map_or(Proxies::None, Proxies::All);
        self.with(|values| values.dial.proxies = proxies)
    }

    /// The proxies that the environment names now, as curl does (default none): `HTTP_PROXY` for
    /// `ws:`, `HTTPS_PROXY` for `wss:`, `ALL_PROXY` where these are not set, and `NO_PROXY`, a list
    /// of domains, IP addresses and networks that are reached directly, `*` for all. The same in
    /// lower case counts where the upper is not set. A value that is no URL of a proxy is taken for
    /// none. In a CGI script, where a client of the script's sets `HTTP_PROXY`, none is used.
    #[must_use]
    pub fn proxy_from_env(self) -> Self {
        self.with(|values| values.dial.proxies = Proxies::from_env())
    }
}
