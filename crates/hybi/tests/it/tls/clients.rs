//! Which clients a server lets in.

use super::*;
use crate::fault::each_fault;

#[each_fault(counts)]
async fn a_client_without_a_certificate_is_turned_away_and_told_so() {
    let authority = Authority::new();
    let server = authority.server("localhost");
    let server = server.require_client_certificates(authority.pem()).unwrap();
    let (client, server) = meet(&authority.client(), &server, "localhost").await;
    has(&said(client), "ClientTls::identity_pem");
    has(&said(server), "require_client_certificates");
}

#[each_fault(counts)]
async fn a_client_with_a_certificate_of_somebody_else_is_turned_away_and_told_so() {
    let authority = Authority::new();
    let server = authority.server("localhost");
    let stranger = Authority::new().certify("stranger");
    let client = authority
        .client()
        .identity_pem(&stranger.chain, &stranger.key);
    let client = client.unwrap();
    for server in [
        server.clone().require_client_certificates(authority.pem()),
        server.request_client_certificates(authority.pem()),
    ] {
        let (client, server) = meet(&client, &server.unwrap(), "localhost").await;
        has(&said(client), "does not take the certificate");
        has(&said(server), "of no authority");
    }
}

#[each_fault]
async fn a_client_with_a_certificate_is_let_in_and_known() {
    let authority = Authority::new();
    let friend = authority.certify("friend");
    let server = authority.server("localhost");
    let server = server.require_client_certificates(authority.pem()).unwrap();
    let client = authority.client().identity_pem(&friend.chain, &friend.key);
    let client = client.unwrap();
    for resumed in [false, true] {
        let (.., info) = opened(&client, &server, "localhost").await;
        assert_eq!(info.is_resumed(), resumed);
        let shown = info.peer_certificates();
        assert_eq!(shown.len(), 1);
        let friend = rcgen_der(&friend.chain);
        assert_eq!(shown[0].as_ref(), friend);
    }
}

#[each_fault]
async fn a_client_that_is_only_asked_may_stay_unknown() {
    let authority = Authority::new();
    let server = authority.server("localhost");
    let server = server.request_client_certificates(authority.pem()).unwrap();
    let (.., info) = opened(&authority.client(), &server, "localhost").await;
    assert!(info.peer_certificates().is_empty());
    let friend = authority.certify("friend");
    let client = authority.client().identity_pem(&friend.chain, &friend.key);
    let (.., info) = opened(&client.unwrap(), &server, "localhost").await;
    assert_eq!(info.peer_certificates().len(), 1);
}

fn rcgen_der(pem: &str) -> Vec<u8> {
    use hybi::rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_slice(pem.as_bytes())
        .unwrap()
        .to_vec()
}
