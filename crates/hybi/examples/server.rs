//! A server that says something to each client, and prints what it hears.
//!
//!     cargo run -p hybi --example server [ADDRESS]
//!
//! Then, in another terminal: `cargo run -p hybi --example client`.
#![allow(clippy::print_stdout)] // it prints what it hears

use hybi::{Request, Server, WebSocket};

#[tokio::main]
async fn main() -> hybi::Result<()> {
    let addr = std::env::args().nth(1);
    let server = Server::bind(addr.as_deref().unwrap_or("127.0.0.1:9001")).await?;
    println!("listening on {}", server.local_addr()?);
    server.serve(meet).await
}

async fn meet(mut ws: WebSocket, _request: Request<()>) -> hybi::Result<()> {
    ws.send("something").await?;
    while let Some(message) = ws.recv().await? {
        println!("received: {message:?}");
    }
    Ok(())
}
