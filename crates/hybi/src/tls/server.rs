//! TLS of a server: who it is, by which name, and which clients it lets in.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use hybi_proto::handshake::server::Via;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::ring::Ticketer;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::{
    ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier,
};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error as TlsError, RootCertStore, ServerConfig};

use super::fault::{self, Side};
use super::identity::{self, provider};
use super::info::TlsInfo;
use super::stream::Secured;
use crate::error::{Error, Result};
use crate::io::{LINGER, LINGER_TIME, Stream};

/// How a server speaks TLS: its certificates, and which clients it lets in.
///
/// ```no_run
/// # fn run() -> hybi::Result<()> {
/// let tls = hybi::ServerTls::from_pem_files("example.com.pem", "example.com.key")?;
///
/// // In another task, whenever there is a new certificate:
/// tls.reload(&hybi::ServerTls::from_pem_files("example.com.pem", "example.com.key")?);
/// # Ok(())
/// # }
/// ```
///
/// Clones are handles of the same thing: [`reload`](Self::reload) changes it for all of them. The
/// settings make a new one and leave clones as they are, so choose them first.
///
/// A client can resume a session within 12 hours, by a ticket that only this process can read; a
/// reload ends that.
///
/// The provider is ring. Another one, or settings that are not here, come with a configuration of
/// rustls's: [`from_config`](Self::from_config).
#[derive(Clone)]
pub struct ServerTls(Arc<RwLock<Current>>);

/// What the next handshake goes by.
#[derive(Clone)]
struct Current {
    config: Arc<ServerConfig>,
    /// None if the configuration is the caller's.
    settings: Option<Settings>,
}

#[derive(Clone)]
struct Settings {
    certificates: Certificates,
    clients: Clients,
}

/// Which clients have to show a certificate.
#[derive(Clone)]
enum Clients {
    /// None is asked.
    Any,
    /// All are asked; what is shown must be of these authorities.
    Asked {
        roots: Arc<RootCertStore>,
        must: bool,
    },
}

impl From<Arc<ServerConfig>> for ServerTls {
    fn from(config: Arc<ServerConfig>) -> Self {
        Self::from_config(config)
    }
}

impl ServerTls {
    /// A certificate, then those that lead to its authority, and its private key, in PEM files. The
    /// files are read at once, and not again.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] for a file that cannot be opened; else as [`from_pem`](Self::from_pem).
    pub fn from_pem_files(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self> {
        let (chain, key) = (chain.as_ref(), key.as_ref());
        Self::from_pem(identity::read(chain)?, identity::read(key)?)
    }

    /// A certificate, then those that lead to its authority, and its private key, in PEM.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`] for what cannot be read, and for a key that is another's.
    pub fn from_pem(chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self> {
        Self::of(identity::from_pem(chain.as_ref(), key.as_ref())?)
    }

    /// As [`from_pem`](Self::from_pem), in DER. The types are those of
    /// [`rustls::pki_types`](crate::rustls::pki_types).
    ///
    /// # Errors
    ///
    /// As [`from_pem`](Self::from_pem).
    pub fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self> {
        Self::of(identity::from_der(chain, key)?)
    }

    /// A configuration of one's own, which is used as it is: its provider, its certificates and its
    /// ALPN, which should be `http/1.1` or nothing. It can be reloaded, but not set.
    #[must_use]
    pub fn from_config(config: Arc<ServerConfig>) -> Self {
        Self(Arc::new(RwLock::new(Current {
            config,
            settings: None,
        })))
    }

    /// Shows another certificate to clients that ask for this name (SNI, RFC 6066 §3): `example.com`
    /// alone, or `*.example.com` for names with one more part. The first certificate, of which this
    /// was made, is for all other names, and for clients that ask for none.
    ///
    /// # Errors
    ///
    /// As [`from_pem`](Self::from_pem), and [`Error::Tls`] if the certificate is not for that name.
    pub fn sni(
        self,
        name: impl AsRef<str>,
        chain: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
    ) -> Result<Self> {
        let identity = identity::from_pem(chain.as_ref(), key.as_ref())?;
        self.set(|settings| settings.certificates.add(name.as_ref(), identity))
    }

    /// Lets only clients in that show a certificate of these authorities, one or several in PEM
    /// (default: none is asked for). What they have shown, a handler finds in
    /// [`TlsInfo::peer_certificates`].
    ///
    /// # Errors
    ///
    /// [`Error::Tls`] for what is no such certificate.
    pub fn require_client_certificates(self, roots: impl AsRef<[u8]>) -> Result<Self> {
        self.ask_clients(roots.as_ref(), true)
    }

    /// As [`require_client_certificates`](Self::require_client_certificates), but lets clients in
    /// that show no certificate, too. One that shows a wrong one is turned away.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`] for what is no such certificate.
    pub fn request_client_certificates(self, roots: impl AsRef<[u8]>) -> Result<Self> {
        self.ask_clients(roots.as_ref(), false)
    }

    fn ask_clients(self, roots: &[u8], must: bool) -> Result<Self> {
        let roots = Arc::new(identity::roots(roots)?);
        self.set(|settings| {
            settings.clients = Clients::Asked { roots, must };
            Ok(())
        })
    }

    /// Goes by another one from the next handshake on, in all clones at once: for certificates that
    /// are renewed. Connections that live, and handshakes that have begun, are left alone.
    pub fn reload(&self, new: &Self) {
        let new = new.current();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    /// Encrypts a stream on which a client begins. What comes of it goes to
    /// [`accept`](crate::accept()). A client that fails is told why before its error is given, for
    /// which it has 2 s.
    ///
    /// ```no_run
    /// # async fn run(tls: hybi::ServerTls, tcp: tokio::net::TcpStream) -> hybi::Result<()> {
    /// let (stream, info) = tls.accept(tcp.into()).await?;
    /// let ws = hybi::accept(stream).await?;
    /// println!("a client of {:?}", info.server_name());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// There is no deadline of its own.
    ///
    /// Cancel safe: a dropped call drops the stream with it.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`] if the client does not trust this server, is not trusted or speaks no TLS;
    /// its source is the error of rustls. [`Error::Io`] if the transport failed.
    pub async fn accept(&self, stream: Stream) -> Result<(Stream, TlsInfo)> {
        let addrs = (stream.local_addr(), stream.peer_addr());
        let acceptor = TlsAcceptor::from(self.current().config);
        match acceptor.accept(stream).into_fallible().await {
            Ok(tls) => {
                let info = TlsInfo::of(tls.get_ref().1);
                Ok((Stream::above(addrs, Secured::new(tls, Side::Server)), info))
            }
            Err((error, stream)) => {
                let error = Side::Server.handshake(error);
                if matches!(error, Error::Tls(_)) {
                    linger(stream).await;
                }
                Err(error)
            }
        }
    }

    fn of(identity: Arc<CertifiedKey>) -> Result<Self> {
        Self::made(Settings {
            certificates: Certificates {
                first: identity,
                by_name: HashMap::new(),
            },
            clients: Clients::Any,
        })
    }

    fn made(settings: Settings) -> Result<Self> {
        let config = settings.config();
        let config = config.map_err(|error| fault::settings(error, "the settings do not hold"))?;
        Ok(Self(Arc::new(RwLock::new(Current {
            config: Arc::new(config),
            settings: Some(settings),
        }))))
    }

    fn set(self, change: impl FnOnce(&mut Settings) -> Result<()>) -> Result<Self> {
        let Some(mut settings) = self.current().settings else {
            return Err(fault::invalid(
                "a configuration of rustls's is used as it is: set it there",
            ));
        };
        change(&mut settings)?;
        Self::made(settings)
    }

    fn current(&self) -> Current {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }
}

/// Ends a connection that has failed so that the alert, which says why, arrives: a socket that is
/// closed with unread input sends a reset, and TLS 1.3 lets a client send before it is judged.
async fn linger(mut stream: Stream) {
    let _ = timeout(LINGER_TIME, async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER as u64), &mut tokio::io::sink()).await
    })
    .await;
}

impl Settings {
    fn config(&self) -> std::result::Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider().clone())
            .with_safe_default_protocol_versions()?;
        let builder = match &self.clients {
            Clients::Any => builder.with_no_client_auth(),
            Clients::Asked { roots, must } => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots.clone(), provider().clone());
                let verifier = match must {
                    true => verifier,
                    false => verifier.allow_unauthenticated(),
                };
                let verifier = verifier.build();
                builder.with_client_cert_verifier(
                    verifier.map_err(|error| TlsError::General(error.to_string()))?,
                )
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(self.certificates.clone()));
        config.alpn_protocols = vec![Via::Http1.alpn().to_vec()];
        // Sessions are held by the clients: many that come back at once cost no memory here.
        config.ticketer = Ticketer::new()?;
        Ok(config)
    }
}

/// The certificates, by the name that a client asks for.
#[derive(Clone, Debug)]
struct Certificates {
    first: Arc<CertifiedKey>,
    /// In lower case; one for all names of a domain is under the domain, with its leading dot.
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

impl Certificates {
    fn add(&mut self, name: &str, identity: Arc<CertifiedKey>) -> Result<()> {
        let name = name.to_ascii_lowercase();
        let (key, example) = match name.strip_prefix("*.") {
            Some(domain) => (format!(".{domain}"), format!("any.{domain}")),
            None => (name.clone(), name.clone()),
        };
        let Ok(example @ ServerName::DnsName(_)) = ServerName::try_from(example) else {
            return Err(fault::invalid(format!(
                "no client asks for the name {name:?}"
            )));
        };
        let fits = identity
            .end_entity_cert()
            .and_then(ParsedCertificate::try_from)
            .and_then(|certificate| verify_server_name(&certificate, &example));
        fits.map_err(|error| fault::settings(error, "no client would take it for that name"))?;
        self.by_name.insert(key, identity);
        Ok(())
    }

    fn named(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let domain = || &name[name.find('.').unwrap_or(name.len())..];
        self.by_name
            .get(name)
            .or_else(|| self.by_name.get(domain()))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.named(name));
        Some(named.unwrap_or(&self.first).clone())
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.current();
        let names = current.settings.as_ref().map(|settings| {
            let mut names: Vec<_> = settings.certificates.by_name.keys().cloned().collect();
            names.sort();
            names
        });
        f.debug_struct("ServerTls")
            .field("names", &names.unwrap_or_default())
            .finish_non_exhaustive()
    }
}
