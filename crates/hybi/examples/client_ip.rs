//! A server that tells each client its address, behind a proxy on this machine or without one.
//!
//!     cargo run -p hybi --example client_ip [ADDRESS]
//!
//! Then, in another terminal, as such a proxy would connect:
//!
//!     cargo run -- connect ws://127.0.0.1:9001/ --header 'X-Forwarded-For: 192.0.2.1'
#![allow(clippy::print_stdout)] // it says where it listens

use hybi::server::ClientIp;
use hybi::{Forwarded, Request, Server, WebSocket};

#[tokio::main]
async fn main() -> hybi::Result<()> {
    let addr = std::env::args().nth(1);
    let server = Server::bind(addr.as_deref().unwrap_or("127.0.0.1:9001")).await?;
    println!("listening on {}", server.local_addr()?);
    server
        .trusted_proxies(Forwarded::XForwardedFor, ["127.0.0.1", "::1"])?
        .serve(tell)
        .await
}

async fn tell(mut ws: WebSocket, request: Request<()>) -> hybi::Result<()> {
    let client = request.extensions().get::<ClientIp>();
    let address = client.map_or("unknown".into(), |ClientIp(address)| address.to_string());
    ws.send(format!("your address is {address}")).await
}
