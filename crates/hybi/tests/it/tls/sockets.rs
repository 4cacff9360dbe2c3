//! TLS over real sockets.

use hybi::{Message, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::support::{echo, ends};

/// A server that echoes on a port, and what becomes of each of its clients.
async fn serve(server: ServerTls) -> (u16, mpsc::UnboundedReceiver<Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (server, tell) = (server.clone(), tell.clone());
            tokio::spawn(async move {
                let served = async {
                    let (stream, _) = server.accept(tcp.into()).await?;
                    echo(hybi::accept(stream).await?).await
                };
                let _ = tell.send(served.await);
            });
        }
    });
    (port, told)
}

/// Connects to the server on this port.
async fn connect(client: &ClientTls, port: u16) -> Result<WebSocket> {
    let client = client.clone();
    hybi::connect(format!("wss://localhost:{port}/"))
        .connector(move |_| {
            let client = client.clone();
            async move {
                let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
                Ok(client.connect(tcp.into(), "localhost").await?)
            }
        })
        .await
}

#[tokio::test]
async fn a_mebibyte_is_echoed_and_the_addresses_are_known() {
    let authority = Authority::new();
    let (port, mut told) = serve(authority.server("localhost")).await;
    let mut ws = ends(connect(&authority.client(), port)).await.unwrap();
    assert_eq!(ws.peer_addr(), Some(([127, 0, 0, 1], port).into()));
    assert!(ws.local_addr().is_some());
    let message = Message::from(vec![7; 1 << 20]);
    ends(ws.send(message.clone())).await.unwrap();
    assert_eq!(ends(ws.recv()).await.unwrap(), Some(message));
    ends(ws.close(hybi::CloseCode::NORMAL, "")).await.unwrap();
    ends(told.recv()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_without_tls_is_turned_away_while_others_are_served() {
    let authority = Authority::new();
    let (port, mut told) = serve(authority.server("localhost")).await;
    let mut silent = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut plain = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut ws = ends(connect(&authority.client(), port)).await.unwrap();
    ends(ws.send("hello")).await.unwrap();
    assert_eq!(ends(ws.recv()).await.unwrap(), Some("hello".into()));
    let mut answer = Vec::new();
    ends(plain.read_to_end(&mut answer)).await.unwrap();
    drop(plain);
    said(ends(told.recv()).await.unwrap());
    silent.shutdown().await.unwrap();
    let left = ends(told.recv()).await.unwrap();
    assert!(matches!(left, Err(Error::Io(_))), "{left:?}");
}

#[tokio::test]
async fn a_client_that_is_turned_away_by_its_certificate_reads_why() {
    let authority = Authority::new();
    let server = authority.server("localhost");
    let server = server.require_client_certificates(authority.pem()).unwrap();
    let (port, mut told) = serve(server).await;
    // Each time the request is already on its way when the server looks at the certificate.
    for _ in 0..10 {
        let refused = ends(connect(&authority.client(), port)).await;
        has(&said(refused), "ClientTls::identity_pem");
        said(ends(told.recv()).await.unwrap());
    }
}

#[tokio::test]
async fn a_url_with_wss_is_encrypted_without_another_word() {
    let (port, mut told) = serve(Authority::new().server("localhost")).await;
    let url = format!("wss://127.0.0.1:{port}/");
    let refused = ends(hybi::connect(url).options(Options::new())).await;
    // Nobody trusts that authority, nor is the name right.
    said(refused);
    ends(told.recv()).await.unwrap().unwrap_err();
}
