//! A client that tells how long a ping to a server and its pong take.
//!
//!     cargo run -p hybi --example round_trip [URL]
//!
//! First, in another terminal, a server, of which any will do:
//!
//!     cargo run
#![allow(clippy::print_stdout)] // it tells the time

use hybi::WebSocket;

#[tokio::main]
async fn main() -> hybi::Result<()> {
    let url = std::env::args().nth(1);
    let ws = hybi::connect(url.as_deref().unwrap_or("ws://127.0.0.1:9001/")).await?;
    // Somebody has to read while we wait for the pong. When `measure` is done, `drive` closes.
    hybi::drive(ws, measure).await
}

async fn measure(mut ws: WebSocket) -> hybi::Result<()> {
    let round_trip = ws.ping("")?.await?;
    println!("round-trip time: {round_trip:?}");
    Ok(())
}
