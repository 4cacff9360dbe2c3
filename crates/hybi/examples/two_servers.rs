//! Two servers that share one port by path, each with clients of its own.
//!
//!     cargo run -p hybi --example two_servers [ADDRESS]
//!
//! Then, in two more terminals:
//!
//!     cargo run -- connect ws://127.0.0.1:9001/foo
//!     cargo run -- connect ws://127.0.0.1:9001/bar
#![allow(clippy::print_stdout)] // it says where it listens

use hybi::{Clients, Server, WebSocket};

#[tokio::main]
async fn main() -> hybi::Result<()> {
    let addr = std::env::args().nth(1);
    let [one, two] = [(); 2].map(|()| {
        let server = Server::detached();
        let clients = server.clients();
        server.handler(move |ws, _request| relay(ws, clients.clone()))
    });
    let server = Server::bind(addr.as_deref().unwrap_or("127.0.0.1:9001")).await?;
    println!("listening on {}", server.local_addr()?);
    server.mount("/foo", one).mount("/bar", two).run().await
}

async fn relay(mut ws: WebSocket, clients: Clients) -> hybi::Result<()> {
    while let Some(message) = ws.recv().await? {
        clients.broadcast(message);
    }
    Ok(())
}
