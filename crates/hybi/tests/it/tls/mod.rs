//! TLS between our own two ends, with certificates made for each test; in memory, but for what is
//! about sockets.

mod alone;
mod clients;
mod ending;
mod names;
mod settings;
mod sockets;
mod trust;

use std::sync::atomic::{AtomicUsize, Ordering};

use hybi::{ClientTls, Error, Result, ServerTls, TlsInfo, WebSocket};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};

/// What a duplex stream holds: less than a flight of a handshake.
const BUFFER: usize = 1 << 10;

/// An authority of its own for each test.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        crate::fault::costs(4_000);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut params = CertificateParams::default();
        let name = format!("authority {number}");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn certify(&self, name: &str) -> Identity {
        self.certify_with(name, |_| {})
    }

    fn certify_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Identity {
            chain: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// A server of this name.
    pub(crate) fn server(&self, name: &str) -> ServerTls {
        self.certify(name).server()
    }

    /// A client that trusts this authority, too.
    pub(crate) fn client(&self) -> ClientTls {
        ClientTls::new().root_certificate_pem(self.pem()).unwrap()
    }
}

impl Identity {
    fn server(&self) -> ServerTls {
        ServerTls::from_pem(&self.chain, &self.key).unwrap()
    }
}

/// A client that connects to this host and the server that it meets, from TLS to the WebSocket.
async fn meet(
    client: &ClientTls,
    server: &ServerTls,
    host: &str,
) -> (Result<WebSocket>, Result<(WebSocket, TlsInfo)>) {
    let (a, b) = crate::fault::both(BUFFER);
    tokio::join!(
        async {
            let stream = client.connect(a.into(), host).await?;
            let url = format!("wss://{host}/");
            hybi::connect(url).over(stream).await
        },
        async {
            let (stream, info) = server.accept(b.into()).await?;
            Ok((hybi::accept(stream).await?, info))
        }
    )
}

/// As [`meet`]: both must agree.
async fn opened(
    client: &ClientTls,
    server: &ServerTls,
    host: &str,
) -> (WebSocket, WebSocket, TlsInfo) {
    let (client, server) = meet(client, server, host).await;
    let (server, info) = server.unwrap();
    (client.unwrap(), server, info)
}

/// What an error of TLS says; any other is a failure.
#[track_caller]
fn said<T: std::fmt::Debug>(result: Result<T>) -> String {
    match result {
        Err(error @ Error::Tls(_)) => error.to_string(),
        other => panic!("no error of TLS: {other:?}"),
    }
}

/// Whether the text has this in it; shows the text if not.
#[track_caller]
fn has(text: &str, part: &str) {
    assert!(text.contains(part), "{text:?} has no {part:?}");
}
