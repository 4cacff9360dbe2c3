//! A server that sends each message to all of its clients, the sender too.
//!
//!     cargo run -p hybi --example broadcast [ADDRESS]
//!
//! Then, in two more terminals:
//!
//!     cargo run -- connect ws://127.0.0.1:9001/
#![allow(clippy::print_stdout)] // it says where it listens

use hybi::{Clients, Server, WebSocket};

#[tokio::main]
async fn main() -> hybi::Result<()> {
    let addr = std::env::args().nth(1);
    let server = Server::bind(addr.as_deref().unwrap_or("127.0.0.1:9001")).await?;
    println!("listening on {}", server.local_addr()?);
    let clients = server.clients();
    server
        .serve(move |ws, _request| relay(ws, clients.clone()))
        .await
}

async fn relay(mut ws: WebSocket, clients: Clients) -> hybi::Result<()> {
    while let Some(message) = ws.recv().await? {
        clients.broadcast(message);
    }
    Ok(())
}
