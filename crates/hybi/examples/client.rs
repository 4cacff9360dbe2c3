//! A client that says something, and prints what it hears.
//!
//!     cargo run -p hybi --example client [URL]
//!
//! First, in another terminal, a server: `cargo run -p hybi --example server`, or any other.
#![allow(clippy::print_stdout)] // it prints what it hears

#[tokio::main]
async fn main() -> hybi::Result<()> {
    let url = std::env::args().nth(1);
    let mut ws = hybi::connect(url.as_deref().unwrap_or("ws://127.0.0.1:9001/")).await?;
    ws.send("something").await?;
    while let Some(message) = ws.recv().await? {
        println!("received: {message:?}");
    }
    Ok(())
}
