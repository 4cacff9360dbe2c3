//! A client without a server, or with one that speaks something else.

use std::time::Duration;

use hybi::{Stream, Timeout};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::fault::{both, each_fault, ours};
use crate::support::ends;

#[each_fault]
async fn a_server_that_speaks_plain_http_is_found_out() {
    let (a, mut b) = ours(BUFFER);
    let client = ClientTls::new().danger_accept_invalid_certs();
    let (refused, ()) = tokio::join!(client.connect(a.into(), "localhost"), async {
        let mut hello = [0; 100];
        b.read_exact(&mut hello).await.unwrap();
        b.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
    });
    has(&said(refused), "is it one for `ws:`?");
}

#[each_fault]
async fn a_server_that_ends_in_the_handshake_is_no_fault_of_tls() {
    let (a, b) = ours(BUFFER);
    drop(b);
    let client = ClientTls::new().danger_accept_invalid_certs();
    let error = client.connect(a.into(), "localhost").await.unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error:?}");
    assert!(error.is_retryable());
}

#[each_fault]
async fn a_server_that_says_nothing_is_given_up() {
    let (a, b) = ours(BUFFER);
    let a = std::sync::Mutex::new(Some(a));
    let client = ClientTls::new().danger_accept_invalid_certs();
    let connect = hybi::connect("wss://localhost/").connector(move |url| {
        let (client, a) = (client.clone(), a.lock().unwrap().take());
        async move {
            let a = a.expect("called once").into();
            let stream: Stream = client.connect(a, url.host().unwrap_or_default()).await?;
            Ok(stream)
        }
    });
    let error = ends(connect).await.unwrap_err();
    let timeout = Error::Timeout(Timeout::Handshake);
    assert_eq!(error.to_string(), timeout.to_string());
    drop(b);
}

#[each_fault]
async fn a_connector_hands_an_error_of_tls_on() {
    let authority = Authority::new();
    let (client, server) = (ClientTls::new(), authority.server("localhost"));
    let client = client.root_certificate_pem(Authority::new().pem()).unwrap();
    let connect = hybi::connect("wss://localhost/").connector(move |_| {
        let (a, b) = both(BUFFER);
        let (client, server) = (client.clone(), server.clone());
        tokio::spawn(async move { server.accept(b.into()).await.map(drop) });
        async move { Ok(client.connect(a.into(), "localhost").await?) }
    });
    has(&said(ends(connect).await), "UnknownIssuer");
}

#[each_fault(counts)]
async fn a_client_that_speaks_something_else_is_found_out_and_told() {
    let server = Authority::new().server("localhost");
    let (b, mut a) = ours(BUFFER);
    let (refused, answer) = tokio::join!(server.accept(b.into()), async {
        a.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        a.read_to_end(&mut answer).await.unwrap();
        drop(a);
        answer
    });
    has(&said(refused), "the client seems to speak no TLS");
    // RFC 8446 §5.1: a record of the type alert.
    assert_eq!(answer.first(), Some(&21));
}

#[each_fault]
async fn a_client_that_failed_and_stays_is_left_after_two_seconds() {
    let server = Authority::new().server("localhost");
    let (b, mut a) = ours(BUFFER);
    a.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let began = tokio::time::Instant::now();
    said(ends(server.accept(b.into())).await);
    assert_eq!(began.elapsed(), Duration::from_secs(2));
}

/// Runs in a process of its own, whose system has no authorities.
#[each_fault]
#[ignore = "run by the test below"]
async fn without_authorities() {
    let authority = Authority::new();
    let server = authority.server("localhost");
    let refused = said(meet(&ClientTls::new(), &server, "localhost").await.0);
    has(&refused, "ca-certificates");
    opened(&authority.client(), &server, "localhost").await;
}

#[cfg(target_os = "linux")]
#[test]
fn a_system_without_authorities_can_be_told_some() {
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tls::alone::without_authorities", "--ignored"])
        .env("SSL_CERT_FILE", "/dev/null")
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{out}");
    has(&out, "1 passed");
}
