//! Without the feature `tls`: nothing is encrypted, and `wss:` is refused.

use std::io;

use crate::error::{Error, Result};
use crate::io::Stream;

/// How a client speaks TLS: not at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientTls;

impl ClientTls {
    /// Refuses.
    pub(crate) async fn connect(&self, _stream: Stream, _host: &str) -> Result<Stream> {
        Err(Error::Io(io::Error::new(
            io::ErrorKind::Unsupported,
            "wss: needs the feature `tls` of hybi, or a TLS stream of yours by `Connect::over` or a connector",
        )))
    }
}

/// How a server speaks TLS: not at all.
#[derive(Clone, Debug)]
pub enum ServerTls {}

/// What TLS has told about a client.
#[derive(Clone, Debug)]
pub(crate) enum TlsInfo {}

impl ServerTls {
    /// There is none.
    pub(crate) async fn accept(&self, _stream: Stream) -> Result<(Stream, TlsInfo)> {
        match *self {}
    }
}
