//! Whom a client trusts.

use std::error::Error as _;
use std::sync::Arc;

use hybi::{CloseCode, Error, Message, rustls};
use rcgen::date_time_ymd;

use super::*;
use crate::fault::each_fault;
use crate::support::{echo, ends};

#[each_fault]
async fn text_and_a_mebibyte_are_echoed_through_a_narrow_pipe() {
    let authority = Authority::new();
    let (mut client, server, info) = opened(
        &authority.client(),
        &authority.server("localhost"),
        "localhost",
    )
    .await;
    assert_eq!(info.server_name(), Some("localhost"));
    assert_eq!(info.version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(info.alpn(), Some(&b"http/1.1"[..]));
    assert!(info.peer_certificates().is_empty());
    assert!(!info.is_resumed());
    let echoing = tokio::spawn(echo(server));
    let binary = Message::from(vec![7; 1 << 20]);
    for message in [Message::from("héllo"), binary] {
        ends(client.send(message.clone())).await.unwrap();
        assert_eq!(ends(client.recv()).await.unwrap(), Some(message));
    }
    ends(client.close(CloseCode::NORMAL, "")).await.unwrap();
    ends(echoing).await.unwrap().unwrap();
}

#[each_fault]
async fn a_driven_server_echoes_a_mebibyte_through_a_narrow_pipe() {
    let authority = Authority::new();
    let (mut client, server, _) = opened(
        &authority.client(),
        &authority.server("localhost"),
        "localhost",
    )
    .await;
    let driven = tokio::spawn(hybi::drive(server, echo));
    let binary = Message::from(vec![7; 1 << 20]);
    ends(client.send(binary.clone())).await.unwrap();
    assert_eq!(ends(client.recv()).await.unwrap(), Some(binary));
    ends(client.close(CloseCode::NORMAL, "")).await.unwrap();
    ends(driven).await.unwrap().unwrap();
}

#[each_fault(counts)]
async fn an_authority_that_is_not_trusted_is_refused_with_advice() {
    let client = Authority::new().client();
    let (refused, told) = meet(&client, &Authority::new().server("localhost"), "localhost").await;
    let Err(refused @ Error::Tls(_)) = refused else {
        panic!("{refused:?}");
    };
    has(&refused.to_string(), "ClientTls::root_certificate_pem");
    assert!(!refused.is_retryable());
    let cause = refused.source().unwrap();
    let cause: &rustls::Error = cause.downcast_ref().unwrap();
    let unknown = rustls::CertificateError::UnknownIssuer;
    assert_eq!(*cause, rustls::Error::InvalidCertificate(unknown));
    has(&said(told), "the client does not trust");
}

#[each_fault]
async fn without_the_roots_of_the_system_only_those_given_are_trusted() {
    let authority = Authority::new();
    let server = authority.server("localhost");
    let ours = authority.client().without_system_roots();
    opened(&ours, &server, "localhost").await;
    let none = said(
        meet(
            &ClientTls::new().without_system_roots(),
            &server,
            "localhost",
        )
        .await
        .0,
    );
    has(&none, "no root trust anchors");
}

#[each_fault]
async fn a_root_is_given_in_der_too() {
    let authority = Authority::new();
    let der = authority.0.der().to_vec();
    let client = ClientTls::new().root_certificate_der(der).unwrap();
    opened(&client, &authority.server("localhost"), "localhost").await;
}

#[each_fault]
async fn a_certificate_of_another_day_is_refused() {
    let authority = Authority::new();
    for (from, to, why) in [(1990, 2000, "expired"), (3000, 3001, "not valid yet")] {
        let server = authority.certify_with("localhost", |params| {
            params.not_before = date_time_ymd(from, 1, 1);
            params.not_after = date_time_ymd(to, 1, 1);
        });
        let refused = meet(&authority.client(), &server.server(), "localhost").await;
        let refused = said(refused.0);
        has(&refused, why);
        has(&refused, "the clock here");
    }
}

#[each_fault]
async fn a_certificate_of_another_name_is_refused_unless_that_name_is_asked_for() {
    let authority = Authority::new();
    let server = authority.server("other.example");
    let refused = said(meet(&authority.client(), &server, "localhost").await.0);
    has(&refused, "other.example");
    has(&refused, "ClientTls::server_name");
    let client = authority.client().server_name("other.example").unwrap();
    let (.., info) = opened(&client, &server, "localhost").await;
    assert_eq!(info.server_name(), Some("other.example"));
}

#[each_fault]
async fn an_address_is_verified_and_not_asked_for() {
    let authority = Authority::new();
    for host in ["127.0.0.1", "::1"] {
        let server = authority.server(host);
        let (a, b) = crate::fault::both(BUFFER);
        let client = authority.client();
        let (client, accepted) =
            tokio::join!(client.connect(a.into(), host), server.accept(b.into()));
        client.unwrap();
        assert_eq!(accepted.unwrap().1.server_name(), None);
    }
    let server = authority.server("127.0.0.1");
    let refused = said(meet(&authority.client(), &server, "127.0.0.2").await.0);
    has(&refused, "127.0.0.2");
}

#[each_fault]
async fn a_certificate_that_signs_itself_is_refused_with_advice() {
    let server = |is_ca| {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.is_ca = is_ca;
        let key = KeyPair::generate().unwrap();
        let chain = params.self_signed(&key).unwrap().pem();
        let key = key.serialize_pem();
        Identity { chain, key }
    };
    let own = server(IsCa::NoCa);
    let client = Authority::new().client();
    let refused = said(meet(&client, &own.server(), "localhost").await.0);
    has(&refused, "UnknownIssuer");
    let client = client.root_certificate_pem(&own.chain).unwrap();
    opened(&client, &own.server(), "localhost").await;

    let authority = server(IsCa::Ca(BasicConstraints::Unconstrained));
    let client = client.root_certificate_pem(&authority.chain).unwrap();
    let refused = said(meet(&client, &authority.server(), "localhost").await.0);
    has(&refused, "CA:FALSE");
}

#[each_fault]
async fn the_dangerous_switch_takes_any_certificate() {
    let expired = Authority::new().certify_with("other.example", |params| {
        params.not_before = date_time_ymd(1990, 1, 1);
        params.not_after = date_time_ymd(2000, 1, 1);
    });
    let client = ClientTls::new().danger_accept_invalid_certs();
    opened(&client, &expired.server(), "localhost").await;
}

#[each_fault]
async fn the_dangerous_switch_takes_no_certificate_from_who_has_not_its_key() {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    use rustls::sign::{CertifiedKey, SingleCertAndKey};

    let authority = Authority::new();
    let [own, stolen] = [(); 2].map(|()| authority.certify("localhost"));
    let client = ClientTls::new().danger_accept_invalid_certs();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
        let key = provider.key_provider.load_private_key(key).unwrap();
        let chain = CertificateDer::from_pem_slice(stolen.chain.as_bytes()).unwrap();
        let identity = SingleCertAndKey::from(CertifiedKey::new(vec![chain], key));
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(identity));
        let server = ServerTls::from_config(Arc::new(config));
        has(
            &said(meet(&client, &server, "localhost").await.0),
            "BadSignature",
        );
    }
}

#[each_fault]
async fn connections_of_one_client_resume_its_sessions() {
    let authority = Authority::new();
    let (client, server) = (authority.client(), authority.server("localhost"));
    for resumed in [false, true, true] {
        let (client, server, info) = opened(&client.clone(), &server, "localhost").await;
        assert_eq!(info.is_resumed(), resumed);
        drop((client, server));
    }
    // Another client knows nothing of them.
    let (.., info) = opened(&authority.client(), &server, "localhost").await;
    assert!(!info.is_resumed());
}

#[each_fault]
async fn configurations_of_ones_own_are_used_as_they_are() {
    let authority = Authority::new();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap();
    let provider = || Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = ClientTls::from(Arc::new(client)).danger_accept_invalid_certs();
    let (.., info) = opened(&client, &authority.server("localhost"), "localhost").await;
    assert_eq!(info.version(), Some(rustls::ProtocolVersion::TLSv1_2));
    assert_eq!(info.alpn(), None);
    said(
        meet(&client, &Authority::new().server("localhost"), "localhost")
            .await
            .0,
    );
}

#[cfg(feature = "webpki-roots")]
#[each_fault]
async fn the_list_of_mozilla_takes_roots_beside_it() {
    let authority = Authority::new();
    let client = ClientTls::new().webpki_roots();
    said(
        meet(&client, &authority.server("localhost"), "localhost")
            .await
            .0,
    );
    let client = client.root_certificate_pem(authority.pem()).unwrap();
    opened(&client, &authority.server("localhost"), "localhost").await;
}
