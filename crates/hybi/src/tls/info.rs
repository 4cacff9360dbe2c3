//! What a TLS handshake has told a server.

use std::fmt;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{HandshakeKind, ProtocolVersion, ServerConnection};

/// What a server has learned in a TLS handshake. Cloning shares it.
#[derive(Clone)]
pub struct TlsInfo(Arc<Values>);

struct Values {
    server_name: Option<String>,
    peer_certificates: Vec<CertificateDer<'static>>,
    alpn: Option<Vec<u8>>,
    version: Option<ProtocolVersion>,
    resumed: bool,
}

impl TlsInfo {
    pub(super) fn of(connection: &ServerConnection) -> Self {
        Self(Arc::new(Values {
            server_name: connection.server_name().map(Into::into),
            peer_certificates: connection
                .peer_certificates()
                .map(<[_]>::to_vec)
                .unwrap_or_default(),
            alpn: connection.alpn_protocol().map(Into::into),
            version: connection.protocol_version(),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        }))
    }

    /// The name for which the client has asked (RFC 6066 §3), in lower case; none if it has
    /// connected to an IP address.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.0.server_name.as_deref()
    }

    /// The client's certificate, which was verified, then those that lead to its authority; empty
    /// if it has shown none.
    #[must_use]
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        &self.0.peer_certificates
    }

    /// The protocol that was chosen by ALPN (RFC 7301), if the client has offered any.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.0.alpn.as_deref()
    }

    /// The version of TLS.
    #[must_use]
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.0.version
    }

    /// Whether the session is one of before, resumed. A client certificate was verified then.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.0.resumed
    }
}

impl fmt::Debug for TlsInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsInfo")
            .field("server_name", &self.server_name())
            .field("peer_certificates", &self.peer_certificates().len())
            .field("alpn", &self.alpn().map(String::from_utf8_lossy))
            .field("version", &self.version())
            .field("is_resumed", &self.is_resumed())
            .finish()
    }
}
