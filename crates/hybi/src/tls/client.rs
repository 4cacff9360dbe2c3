//! TLS of a client: whom it trusts, and who it says it is.

use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use hybi_proto::handshake::server::Via;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, TrustAnchor};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{ClientConfig, Error as TlsError, RootCertStore};

use super::fault::{self, Side};
use super::identity::{self, provider};
use super::stream::Secured;
use super::trust::{Authorities, verifier};
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
    /// certificates and its ALPN, which should be `http/1.1` or nothing, and `h2` before it for
    /// [`Connect::http2`](crate::Connect::http2). Of the settings here only
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
            .with_custom_certificate_verifier(verifier(self.authorities, &self.roots)?);
        Ok(match &self.identity {
            Some(identity) => {
                let resolver = SingleCertAndKey::from(identity.clone());
                builder.with_client_cert_resolver(Arc::new(resolver))
            }
            None => builder.with_no_client_auth(),
        })
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

#[cfg(test)]
mod tests {
    use rcgen::generate_simple_self_signed;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

    use super::*;
    use crate::tls::ServerTls;

    const H2: &[u8] = Via::Http2.alpn();
    const HTTP1: &[u8] = Via::Http1.alpn();

    #[tokio::test]
    async fn the_protocols_that_are_asked_for_are_offered_and_the_chosen_one_is_told() {
        let own = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
        let chain = vec![own.cert.der().clone()];
        let config = ServerConfig::builder_with_provider(provider().clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from(key));
        let mut config = config.unwrap();
        config.alpn_protocols = vec![H2.to_vec(), HTTP1.to_vec()];
        let server = ServerTls::from_config(Arc::new(config));
        let client = ClientTls::new().danger_accept_invalid_certs();
        for (offered, chosen) in [
            (&[H2, HTTP1][..], Some(H2)),
            (&[HTTP1], Some(HTTP1)),
            (&[H2], Some(H2)),
            (&[], None),
        ] {
            let (a, b) = tokio::io::duplex(1 << 16);
            let (told, accepted) = tokio::join!(
                client.connect_with(a.into(), "localhost", offered),
                server.accept(b.into())
            );
            assert_eq!(told.unwrap().1.as_deref(), chosen);
            assert_eq!(accepted.unwrap().1.alpn(), chosen);
        }
    }

    #[test]
    fn one_configuration_is_made_and_shared_until_something_is_set() {
        let client = ClientTls::new().danger_accept_invalid_certs();
        let made = client.config().unwrap();
        let named = client.clone().server_name("localhost").unwrap();
        assert!(Arc::ptr_eq(&made, &named.config().unwrap()));
        let other = client.clone().without_system_roots();
        assert!(!Arc::ptr_eq(&other.made, &client.made));
        assert!(Arc::ptr_eq(&ClientTls::new().made, &ClientTls::new().made));
    }
}
