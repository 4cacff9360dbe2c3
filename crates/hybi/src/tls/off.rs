//! Without the feature `tls`: nothing is encrypted, and `wss:` is refused.

use std::io;

use crate::error::{Error, Result};
use crate::io::Stream;

/// How a client speaks TLS: not at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientTls;

impl ClientTls {
    /// Refuses.
    pub(crate) async fn connect_with(
        &self,
        _stream: Stream,
        _host: &str,
        _alpn: &[&[u8]],
    ) -> Result<(Stream, Option<Vec<u8>>)> {
        Err(Error::Io(io::Error::new(
            io::ErrorKind::Unsupported,
            "wss: needs the feature `tls` of hybi, or a TLS stream of yours by `Connect::over` or a connector",
        )))
    }
}

/// How a server speaks TLS: there is none of these.
#[derive(Clone, Debug)]
pub(crate) enum ServerTls {}

/// What a TLS handshake has told: there is none of these.
#[derive(Clone, Debug)]
pub(crate) enum TlsInfo {}

impl ServerTls {
    pub(crate) async fn accept(&self, _stream: Stream) -> Result<(Stream, TlsInfo)> {
        match *self {}
    }
}
