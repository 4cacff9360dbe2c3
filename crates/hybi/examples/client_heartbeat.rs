//! A client that listens, and notices when its server is gone without a word: the server pings
//! who is silent every 30 seconds, so that 35 of silence, or so many, mean that it is dead.
//!
//!     cargo run -p hybi --example client_heartbeat [URL [SECONDS]]
//!
//! First, in another terminal, a server to stop with Ctrl+Z:
//!
//!     cargo run -p hybi --example server_heartbeat
#![allow(clippy::print_stdout)] // it tells what it hears

use std::time::Duration;

use hybi::{Error, Options};

#[tokio::main]
async fn main() -> hybi::Result<()> {
    let mut args = std::env::args().skip(1);
    let url = args.next().unwrap_or_else(|| "ws://127.0.0.1:9001/".into());
    let seconds = args.next().map_or(Ok(35), |seconds| seconds.parse());
    let silence = Duration::from_secs(seconds.map_err(Error::other)?);
    let options = Options::new().idle_timeout(silence);
    let mut ws = hybi::connect(url).options(options).await?;
    while let Some(message) = ws.recv().await? {
        println!("received: {message:?}");
    }
    println!("closed: {:?}", ws.close_info());
    Ok(())
}
