//! Two WebSocket servers and a page in one server of hyper's, over HTTP/1 and HTTP/2.
//!
//!     cargo run -p hybi --features hyper,tower --example hyper_server [ADDRESS]
//!
//! Then, in another terminal:
//!
//!     cargo run -- connect ws://127.0.0.1:9001/echo
//!     cargo run -- connect --http2 ws://127.0.0.1:9001/shout
#![allow(clippy::print_stdout)] // it says where it listens

use http_body_util::Full;
use hybi::{Bytes, Request, Response, Server, WebSocket};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> hybi::Result<()> {
    let addr = std::env::args().nth(1);
    let listener = TcpListener::bind(addr.as_deref().unwrap_or("127.0.0.1:9001")).await?;
    println!("listening on {}", listener.local_addr()?);
    let server = Server::detached()
        .mount("/shout", Server::detached().handler(shout))
        .handler(echo)
        .fallback(|_request| Response::new("a page"));
    let service = server.into_service::<Full<Bytes>>()?;
    loop {
        let (tcp, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let mut http = Builder::new(TokioExecutor::new());
            http.http2().enable_connect_protocol();
            let serving = http.serve_connection_with_upgrades(TokioIo::new(tcp), service);
            // What goes wrong on one connection is its client's affair.
            let _ = serving.await;
        });
    }
}

async fn echo(mut ws: WebSocket, _request: Request<()>) -> hybi::Result<()> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

async fn shout(mut ws: WebSocket, _request: Request<()>) -> hybi::Result<()> {
    while let Some(message) = ws.recv().await? {
        let text = message.as_text().unwrap_or_default().to_uppercase();
        ws.send(text).await?;
    }
    Ok(())
}
