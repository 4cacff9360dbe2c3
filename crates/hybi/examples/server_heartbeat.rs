//! An echo server that finds out which clients are gone without a word: who was silent for 30
//! seconds, or so many, is pinged, and dropped if it is silent as long again.
//!
//!     cargo run -p hybi --example server_heartbeat [ADDRESS [SECONDS]]
//!
//! Then, in another terminal, a client to stop with Ctrl+Z:
//!
//!     cargo run -- connect ws://127.0.0.1:9001/
#![allow(clippy::print_stdout)] // it tells whom it has lost

use std::time::Duration;

use hybi::{Error, Heartbeat, Options, Request, Server, WebSocket};

#[tokio::main]
async fn main() -> hybi::Result<()> {
    let mut args = std::env::args().skip(1);
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:9001".into());
    let seconds = args.next().map_or(Ok(30), |seconds| seconds.parse());
    let silence = Duration::from_secs(seconds.map_err(Error::other)?);
    let options = Options::new().heartbeat(Heartbeat::every(silence).timeout(silence));
    let server = Server::bind(addr).await?.options(options);
    println!("listening on {}", server.local_addr()?);
    server.serve(echo).await
}

async fn echo(mut ws: WebSocket, _request: Request<()>) -> hybi::Result<()> {
    let lost = |error: &Error| println!("lost a client: {error}");
    while let Some(message) = ws.recv().await.inspect_err(lost)? {
        ws.send(message).await?;
    }
    Ok(())
}
