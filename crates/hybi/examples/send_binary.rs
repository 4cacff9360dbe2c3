//! A client that sends numbers as they lie in memory.
//!
//!     cargo run -p hybi --example send_binary [URL]
//!
//! First, in another terminal, a server: `cargo run -p hybi --example server`, or any other.
use hybi::CloseCode;

#[tokio::main]
async fn main() -> hybi::Result<()> {
    let url = std::env::args().nth(1);
    let mut ws = hybi::connect(url.as_deref().unwrap_or("ws://127.0.0.1:9001/")).await?;
    let numbers = [0.0_f32, 0.5, 1.0, 1.5, 2.0];
    let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    ws.send(bytes).await?;
    ws.close(CloseCode::NORMAL, "").await?;
    Ok(())
}
