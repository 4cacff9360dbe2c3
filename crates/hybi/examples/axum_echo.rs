//! A page and an echo on one route of an axum server, over HTTP/1 and HTTP/2.
//!
//!     cargo run -p hybi --example axum_echo [ADDRESS]
#![allow(clippy::print_stdout)] // it says where it listens

use axum::Router;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::any;
use hybi::axum::Upgrade;
use hybi::{Request, Result, WebSocket};
use tokio::net::TcpListener;

async fn echo(mut ws: WebSocket, _: Request<()>) -> Result<()> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

async fn root(upgrade: Option<Upgrade>) -> Response {
    match upgrade {
        Some(upgrade) => upgrade.on_upgrade(echo),
        None => Html(PAGE).into_response(),
    }
}

const PAGE: &str = "<script>
    let ws = new WebSocket(location.href.replace('http', 'ws'));
    ws.onopen = () => ws.send('hello');
    ws.onmessage = (message) => document.write(message.data);
</script>";

#[tokio::main]
async fn main() -> Result<()> {
    let addr = std::env::args().nth(1);
    let listener = TcpListener::bind(addr.as_deref().unwrap_or("127.0.0.1:9001")).await?;
    println!("listening on {}", listener.local_addr()?);
    let app = Router::new().route("/", any(root));
    Ok(axum::serve(listener, app).await?)
}
