//! TLS of a client: whom it trusts, and who it says it is.

use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use hybi_proto::handshake::server::Via;
use rustls_platform_verifier::Verifier;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};

use super::fault::{self, Side};
use super::identity::{self, provider};
use super::stream::Secured;
use crate::error::Result;
use crate::io::Stream;

/// How a client speaks TLS (default: it trusts whom the operating system trusts, and shows no
/// certificate).
///
/// ```no_run
/// # fn run() -> hybi::Result<()> {
/// let tls = hybi::ClientTls::new()
///     .root_certificate_pem(std::fs::read("our-ca.pem")?)?
///     .identity_pem(std::fs::read("client.pem")?, std::fs::read("client.key")?)?;
/// # Ok(())
/// # }
/// ```
///
/// The roots of the system are read at the first connection. Clones, and connections one after
/// the other, share what was made of the settings and the sessions that can be resumed; so do all
/// that were made by [`new`](Self::new) and changed in nothing. A setting parts a value from its
/// clones.
///
/// The provider is ring. Another one, or settings that are not here, come with a configuration of
/// rustls's: [`from_config`](Self::from_config).
#[derive(Clone)]
pub struct ClientTls {
    settings: Arc<Settings>,
    made: Arc<Made>,
    server_name: Option<ServerName<'static>>,
}

/// What is made of the settings, when it is wanted first.
type Made = Mutex<Option<Arc<ClientConfig>>>;

#[derive(Clone, Default)]
struct Settings {
    /// A configuration of the caller's, which is all then.
    given: Option<Arc<ClientConfig>>,
    authorities: Authorities,
    roots: Vec<CertificateDer<'static>>,
    identity: Option<Arc<CertifiedKey>>,
}

/// Who is trusted, beside the roots that were given one by one.
#[derive(Clone, Copy, Default)]
enum Authorities {
    #[default]
    System,
    Listed(&'static [TrustAnchor<'static>]),
    /// Everybody.
    Anybody,
}

impl Default for ClientTls {
    fn default() -> Self {
        static DEFAULT: LazyLock<ClientTls> = LazyLock::new(|| ClientTls {
            settings: Arc::default(),
            made: Arc::default(),
            server_name: None,
        });
        DEFAULT.clone()
    }
}

impl From<Arc<ClientConfig>> for ClientTls {
    fn from(config: Arc<ClientConfig>) -> Self {
        Self::from_config(config)
    }
}

impl ClientTls {
    /// The default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A configuration of one's own, which is used as it is: its provider, its roots, its
    /// certificates and its ALPN, which should be `http/1.1` or nothing. Of the settings here only
    /// [`server_name`](Self::server_name) has a meaning then.
    #[must_use]
    pub fn from_config(config: Arc<ClientConfig>) -> Self {
        Self::default().set(|settings| settings.given = Some(config))
    }

    /// Trusts these certificates of authorities, one or several in PEM, beside the others.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`](crate::Error::Tls) for what is no such certificate.
    pub fn root_certificate_pem(self, pem: impl AsRef<[u8]>) -> Result<Self> {
        let roots = identity::certificates(pem.as_ref())?;
        self.add_roots(roots)
    }

    /// As [`root_certificate_pem`](Self::root_certificate_pem), one certificate in DER.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`](crate::Error::Tls) for what is no such certificate.
    pub fn root_certificate_der(self, der: impl Into<Vec<u8>>) -> Result<Self> {
        self.add_roots(vec![CertificateDer::from(der.into())])
    }

    /// Trusts nobody but the roots that are given here, one by one, whatever the operating system
    /// trusts: for a private authority.
    #[must_use]
    pub fn without_system_roots(self) -> Self {
        self.trust(&[])
    }

    /// Shows this certificate to a server that asks for one: the client's own, then those that
    /// lead to its authority, and its private key, in PEM.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`](crate::Error::Tls) for what cannot be read, and for a key that is another's.
    pub fn identity_pem(self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self> {
        let identity = identity::from_pem(chain.as_ref(), key.as_ref())?;
        Ok(self.set(|settings| settings.identity = Some(identity)))
    }

    /// Asks for the certificate of this name, and takes no other, instead of that of the URL's host
    /// (the default). An IP address is never asked for (RFC 6066 §3), only compared.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`](crate::Error::Tls) for what is neither a name nor an address.
    pub fn server_name(mut self, name: impl AsRef<str>) -> Result<Self> {
        self.server_name = Some(parse_name(name.as_ref())?);
        Ok(self)
    }

    /// Takes any certificate of any server, expired, of another name or of nobody: whoever is in
    /// between reads and changes everything. For tests; against a private authority there is
    /// [`root_certificate_pem`](Self::root_certificate_pem).
    #[must_use]
    pub fn danger_accept_invalid_certs(self) -> Self {
        self.set(|settings| settings.authorities = Authorities::Anybody)
    }

    /// Trusts these instead of whom the operating system trusts.
    pub(super) fn trust(self, list: &'static [TrustAnchor<'static>]) -> Self {
        self.set(|settings| settings.authorities = Authorities::Listed(list))
    }

    fn add_roots(self, roots: Vec<CertificateDer<'static>>) -> Result<Self> {
        let mut store = RootCertStore::empty();
        for root in &roots {
            identity::add_root(&mut store, root.clone())?;
        }
        Ok(self.set(|settings| settings.roots.extend(roots)))
    }

    fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self.made = Arc::default();
        self
    }

    /// Encrypts a stream to this host, which has to show a certificate of its name. What comes of
    /// it goes to [`Connect::over`](crate::Connect::over), or out of a
    /// [connector](crate::Connect::connector); a plain [`connect`](crate::connect()) to `wss:` does
    /// all of it.
    ///
    /// There is no deadline of its own: a connector has that of the opening handshake.
    ///
    /// Cancel safe: a dropped call drops the stream with it.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`](crate::Error::Tls) if the server cannot be trusted, does not trust this
    /// client or speaks no TLS, and if the settings do not hold; its source is the error of
    /// rustls. [`Error::Io`](crate::Error::Io) if the transport failed.
    pub async fn connect(&self, stream: Stream, host: &str) -> Result<Stream> {
        let alpn = [Via::Http1.alpn()];
        Ok(self.connect_with(stream, host, &alpn).await?.0)
    }

    /// As [`connect`](Self::connect), and offers these protocols, the favorite first; says which
    /// was chosen, if any was.
    pub(crate) async fn connect_with(
        &self,
        stream: Stream,
        host: &str,
        alpn: &[&[u8]],
    ) -> Result<(Stream, Option<Vec<u8>>)> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => parse_name(host)?,
        };
        let addrs = (stream.local_addr(), stream.peer_addr());
        let connector = TlsConnector::from(self.config()?);
        let connecting = if self.settings.given.is_some() {
            connector.connect(name, stream)
        } else {
            // A session can be resumed under another protocol (RFC 8446 §4.2.11): one
            // configuration serves all.
            let alpn = alpn.iter().map(|name| name.to_vec()).collect();
            connector.with_alpn(alpn).connect(name, stream)
        };
        let side = Side::Client;
        let tls = connecting.await.map_err(|error| side.handshake(error))?;
        let chosen = tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        Ok((Stream::above(addrs, Secured::new(tls, side)), chosen))
    }

    /// The configuration. One that cannot be made is tried again for the next connection.
    fn config(&self) -> Result<Arc<ClientConfig>> {
        if let Some(given) = &self.settings.given {
            return Ok(given.clone());
        }
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = &*made {
            return Ok(config.clone());
        }
        let config = self.settings.config();
        let config = config.map_err(|error| {
            fault::settings(
                error,
                "the system may have no certificates of authorities: install them (often a package \
                 named ca-certificates), or choose others by `ClientTls::root_certificate_pem` or \
                 the feature `webpki-roots`",
            )
        })?;
        Ok(made.insert(Arc::new(config)).clone())
    }
}

fn parse_name(name: &str) -> Result<ServerName<'static>> {
    ServerName::try_from(name.to_owned())
        .map_err(|_| fault::invalid(format!("no certificate can be for the name {name:?}")))
}

impl Settings {
    fn config(&self) -> std::result::Result<ClientConfig, TlsError> {
        let builder = ClientConfig::builder_with_provider(provider().clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier()?);
        Ok(match &self.identity {
            Some(identity) => {
                let resolver = SingleCertAndKey::from(identity.clone());
                builder.with_client_cert_resolver(Arc::new(resolver))
            }
            None => builder.with_no_client_auth(),
        })
    }

    fn verifier(&self) -> std::result::Result<Arc<dyn ServerCertVerifier>, TlsError> {
        let list = match self.authorities {
            Authorities::System => return Ok(Arc::new(of_system(&self.roots)?)),
            Authorities::Anybody => return Ok(Arc::new(Anybody)),
            Authorities::Listed(list) => list,
        };
        let mut store = RootCertStore {
            roots: list.to_vec(),
        };
        for root in &self.roots {
            store.add(root.clone())?;
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(store.into(), provider().clone());
        let verifier = verifier.build();
        Ok(verifier.map_err(|error| TlsError::General(error.to_string()))?)
    }
}

/// A system that has no roots at all is an error only without roots of our own.
#[cfg(not(target_os = "android"))]
fn of_system(roots: &[CertificateDer<'static>]) -> std::result::Result<Verifier, TlsError> {
    Verifier::new_with_extra_roots(roots.iter().cloned(), provider().clone())
}

/// Android's verifier takes no roots beside its own.
#[cfg(target_os = "android")]
fn of_system(roots: &[CertificateDer<'static>]) -> std::result::Result<Verifier, TlsError> {
    if !roots.is_empty() {
        let why = "on Android, roots of one's own need `ClientTls::without_system_roots`";
        return Err(TlsError::General(why.into()));
    }
    Verifier::new(provider().clone())
}

/// Trusts every certificate, but not a server that does not have the key of the one it shows.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings {
            given,
            authorities,
            roots,
            identity,
        } = &*self.settings;
        let trusts = match authorities {
            _ if given.is_some() => "as configured",
            Authorities::System => "the system's authorities",
            Authorities::Listed(_) => "listed authorities",
            Authorities::Anybody => "anybody",
        };
        f.debug_struct("ClientTls")
            .field("trusts", &trusts)
            .field("roots", &roots.len())
            .field("identity", &identity.is_some())
            .field("server_name", &self.server_name)
            .finish()
    }
}
