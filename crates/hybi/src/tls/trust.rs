//! Whom a client trusts.

use std::sync::Arc;

use rustls_platform_verifier::Verifier;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use tokio_rustls::rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::identity::provider;

type Result<T> = std::result::Result<T, Error>;

/// Who is trusted, beside the roots that were given one by one.
#[derive(Clone, Copy, Default)]
pub(super) enum Authorities {
    /// Whom the operating system trusts.
    #[default]
    System,
    /// These.
    Listed(&'static [TrustAnchor<'static>]),
    /// Everybody.
    Anybody,
}

/// What verifies a server's certificate.
pub(super) fn verifier(
    authorities: Authorities,
    roots: &[CertificateDer<'static>],
) -> Result<Arc<dyn ServerCertVerifier>> {
    let list = match authorities {
        Authorities::System => return Ok(Arc::new(of_system(roots)?)),
        Authorities::Anybody => return Ok(Arc::new(Anybody)),
        Authorities::Listed(list) => list,
    };
    let mut store = RootCertStore {
        roots: list.to_vec(),
    };
    for root in roots {
        store.add(root.clone())?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(store.into(), provider().clone());
    let verifier = verifier.build();
    Ok(verifier.map_err(|error| Error::General(error.to_string()))?)
}

/// A system that has no roots at all is an error only without roots of our own.
#[cfg(not(target_os = "android"))]
fn of_system(roots: &[CertificateDer<'static>]) -> Result<Verifier> {
    Verifier::new_with_extra_roots(roots.iter().cloned(), provider().clone())
}

/// Android's verifier takes no roots beside its own.
#[cfg(target_os = "android")]
fn of_system(roots: &[CertificateDer<'static>]) -> Result<Verifier> {
    if !roots.is_empty() {
        let why = "on Android, roots of one's own need `ClientTls::without_system_roots`";
        return Err(Error::General(why.into()));
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
    ) -> Result<ServerCertVerified> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
