//! What goes wrong in TLS, by whose fault, and what can be done about it.

use std::{fmt, io};

use tokio_rustls::rustls::{self, AlertDescription, CertificateError, InvalidMessage};

use crate::error::Error;

/// What rustls found, with advice. Its source is the [`rustls::Error`].
#[derive(Debug)]
struct Fault {
    error: rustls::Error,
    advice: Option<&'static str>,
}

/// Who hears of a fault.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Client,
    Server,
}

impl Side {
    /// A failed handshake: of TLS, or of the transport below it.
    pub(super) fn handshake(self, error: io::Error) -> Error {
        let kind = error.kind();
        match error.downcast() {
            Ok(error) => self.fault(kind, error),
            Err(error) => Error::Io(error),
        }
    }

    /// An error of a stream: what rustls found is an [`Error::Tls`] within, as which it comes out
    /// of the opening handshake. TLS 1.3 lets a server refuse a client's certificate after the
    /// client's handshake is done.
    pub(super) fn stream(self, error: io::Error) -> io::Error {
        let kind = error.kind();
        match error.downcast() {
            Ok(error) => self.fault(kind, error).into(),
            Err(error) => error,
        }
    }

    fn fault(self, kind: io::ErrorKind, error: rustls::Error) -> Error {
        let advice = match self {
            Self::Client => advise_client(&error),
            Self::Server => advise_server(&error),
        };
        Error::Tls(io::Error::new(kind, Fault { error, advice }))
    }
}

/// Settings that rustls finds wanting.
pub(super) fn settings(error: rustls::Error, advice: &'static str) -> Error {
    let advice = Some(advice);
    Error::Tls(io::Error::new(
        io::ErrorKind::InvalidInput,
        Fault { error, advice },
    ))
}

/// Settings that cannot hold, and why.
pub(super) fn invalid(why: impl Into<String>) -> Error {
    Error::Tls(io::Error::new(io::ErrorKind::InvalidInput, why.into()))
}

const OLD: &str = "hybi speaks TLS 1.2 and 1.3 only";

fn advise_client(error: &rustls::Error) -> Option<&'static str> {
    use rustls::Error as E;
    Some(match error {
        E::InvalidCertificate(error) => advise_on_certificate(error)?,
        E::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge,
        ) => "the server seems to speak no TLS on this port: is it one for `ws:`?",
        E::AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::NoCertificate,
        ) => "the server wants a certificate of the client: `ClientTls::identity_pem`",
        E::AlertReceived(AlertDescription::HandshakeFailure) => {
            "the server has not said why; some that want a certificate of the client \
             (`ClientTls::identity_pem`) say no more"
        }
        E::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError,
        ) => "the server does not take the certificate of `ClientTls::identity_pem`",
        E::AlertReceived(AlertDescription::UnrecognisedName) => {
            "the server does not serve that name; another one is asked for by \
             `ClientTls::server_name`"
        }
        E::AlertReceived(AlertDescription::ProtocolVersion) | E::PeerIncompatible(_) => OLD,
        _ => return None,
    })
}

fn advise_on_certificate(error: &CertificateError) -> Option<&'static str> {
    use CertificateError as C;
    Some(match error {
        C::UnknownIssuer => {
            "trust its authority by `ClientTls::root_certificate_pem`, if you do; or the server \
             does not send the certificates between its own and that of the authority"
        }
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            "use a name of the certificate in the URL, or as `ClientTls::server_name`"
        }
        C::Expired | C::ExpiredContext { .. } | C::NotValidYet | C::NotValidYetContext { .. } => {
            "the server needs a certificate of today, or the clock here is wrong"
        }
        // What webpki says about most certificates that are self-signed.
        C::Other(error) if error.to_string() == "CaUsedAsEndEntity" => {
            "the certificate is one of an authority (CA:TRUE), which cannot be a server's own: \
             make one with CA:FALSE"
        }
        _ => return None,
    })
}

fn advise_server(error: &rustls::Error) -> Option<&'static str> {
    use rustls::Error as E;
    Some(match error {
        E::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge,
        ) => "the client seems to speak no TLS: does it connect to `ws:` on a port for `wss:`?",
        E::NoCertificatesPresented => {
            "`ServerTls::require_client_certificates` lets in none without a certificate"
        }
        E::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the certificate is of no authority of `ServerTls::require_client_certificates`"
        }
        E::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown,
        ) => "the client does not trust the certificate of this server",
        E::AlertReceived(AlertDescription::ProtocolVersion) | E::PeerIncompatible(_) => OLD,
        E::NoApplicationProtocol => {
            "the client offers by ALPN what no WebSocket is spoken over here"
        }
        _ => return None,
    })
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)?;
        match self.advice {
            Some(advice) => write!(f, " ({advice})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
