//! Certificates and keys, as they come in files; and the provider that reads the keys.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error as TlsError, InconsistentKeys, RootCertStore};

use super::fault;
use crate::error::{Error, Result};

/// The provider of all configurations that are made here. That of the process is nobody's until
/// somebody installs one.
pub(super) fn provider() -> &'static Arc<CryptoProvider> {
    static RING: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(ring::default_provider()));
    &RING
}

/// The certificates of a PEM file, at least one.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<std::result::Result<Vec<_>, _>>();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(fault::invalid(
            "there is no certificate in this PEM: it begins with -----BEGIN CERTIFICATE-----",
        )),
        Err(error) => Err(fault::invalid(format!(
            "the certificates are no PEM that can be read: {error}"
        ))),
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound => fault::invalid(
            "there is no private key in this PEM, or one that a password protects, which has to \
             be decrypted first: it begins with -----BEGIN PRIVATE KEY-----",
        ),
        error => fault::invalid(format!(
            "the private key is no PEM that can be read: {error}"
        )),
    })
}

/// A certificate with those that lead to its authority, and its key.
pub(super) fn from_pem(chain: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>> {
    from_der(certificates(chain)?, private_key(key)?)
}

/// As [`from_pem`].
pub(super) fn from_der(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>> {
    let identity = CertifiedKey::from_der(chain, key, provider());
    let identity = identity.map_err(|error| {
        let advice = match error {
            TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                "the private key is not that of the first certificate"
            }
            TlsError::InvalidCertificate(_) | TlsError::NoCertificatesPresented => {
                "the first certificate cannot be read"
            }
            _ => {
                "the private key is of no kind that ring can use: RSA of 2048 bits and more, \
                  ECDSA with P-256 or P-384, Ed25519"
            }
        };
        fault::settings(error, advice)
    })?;
    Ok(Arc::new(identity))
}

/// A store with the authorities of a PEM file.
pub(super) fn roots(pem: &[u8]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for root in certificates(pem)? {
        add_root(&mut roots, root)?;
    }
    Ok(roots)
}

pub(super) fn add_root(roots: &mut RootCertStore, root: CertificateDer<'static>) -> Result<()> {
    let added = roots.add(root);
    added.map_err(|error| fault::settings(error, "a root certificate cannot be read"))
}

/// The bytes of a file; an error says of which.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        let why = format!("{} cannot be read: {error}", path.display());
        Error::Io(std::io::Error::new(error.kind(), why))
    })
}
