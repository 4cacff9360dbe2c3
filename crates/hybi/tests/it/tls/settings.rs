//! Settings that cannot hold are errors of the call that sets them, and say why.

use std::io;

use hybi::rustls;

use super::*;

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, why: &str) {
    if let Err(Error::Tls(error)) = &result {
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
    has(&said(result), why);
}

#[test]
fn what_is_no_certificate_is_refused() {
    let client = ClientTls::new;
    refused(client().root_certificate_pem("nothing"), "no certificate");
    refused(client().root_certificate_der([1, 2, 3]), "cannot be read");
    let torn = "-----BEGIN CERTIFICATE-----\n%%\n-----END CERTIFICATE-----\n";
    refused(client().root_certificate_pem(torn), "no PEM");
    let wrong = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    refused(client().root_certificate_pem(wrong), "cannot be read");
    let key = KeyPair::generate().unwrap().serialize_pem();
    refused(ServerTls::from_pem(wrong, &key), "cannot be read");
    refused(ServerTls::from_pem(&key, &key), "no certificate");
}

#[test]
fn a_key_that_is_none_or_another_ones_is_refused() {
    let authority = Authority::new();
    let [one, other] = [(); 2].map(|()| authority.certify("localhost"));
    refused(
        ServerTls::from_pem(&one.chain, &one.chain),
        "no private key",
    );
    let text = "the private key is not that of the first certificate";
    refused(ServerTls::from_pem(&one.chain, &other.key), text);
    refused(ClientTls::new().identity_pem(&one.chain, &other.key), text);
    let nonsense = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    refused(ServerTls::from_pem(&one.chain, nonsense), "no kind");
}

#[test]
fn a_name_that_is_none_is_refused() {
    for name in ["", "a b", "a..b", "*.example"] {
        refused(ClientTls::new().server_name(name), "no certificate can be");
    }
    let authority = Authority::new();
    let one = authority.certify("one.example");
    for name in ["", "*", "a b", "127.0.0.1", ".example"] {
        let server = authority.server("localhost");
        refused(server.sni(name, &one.chain, &one.key), "no client asks");
    }
    for name in ["two.example", "*.example", "*."] {
        let server = authority.server("localhost");
        refused(
            server.sni(name, &one.chain, &one.key),
            "no client would take",
        );
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = ServerTls::from_pem_files("no/such.pem", "no/such.key").unwrap_err();
    let Error::Io(error) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    has(&error.to_string(), "no/such.pem");
}

#[test]
fn a_servers_configuration_of_ones_own_cannot_be_set() {
    let authority = Authority::new();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(std::sync::Arc::new(
            rustls::server::ResolvesServerCertUsingSni::new(),
        ));
    let server = ServerTls::from(std::sync::Arc::new(config));
    let set = server.require_client_certificates(authority.pem());
    refused(set, "as it is");
}

#[test]
fn no_key_is_shown() {
    let authority = Authority::new();
    let one = authority.certify("localhost");
    let client = authority.client().identity_pem(&one.chain, &one.key);
    let client = client.unwrap().server_name("localhost").unwrap();
    let shown = format!("{client:?}");
    has(&shown, "identity: true");
    let server = one.server().sni("localhost", &one.chain, &one.key).unwrap();
    has(&format!("{server:?}"), "names: [\"localhost\"]");
}
