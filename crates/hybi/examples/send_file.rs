//! Sends a file of any size as one message, piece by piece, so that memory holds little of it.
//!
//!     cargo run -p hybi --example send_file FILE [URL]
//!
//! First, in another terminal, who takes it:
//!
//!     cargo run -p hybi --example receive_file FILE
#![allow(clippy::print_stdout)] // it says what it has done

use hybi::{CloseCode, Error, Kind};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

#[tokio::main]
async fn main() -> hybi::Result<()> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or_else(|| Error::other("which file?"))?;
    let url = args.next().unwrap_or_else(|| "ws://127.0.0.1:9001/".into());
    let mut file = File::open(path).await?;
    let mut ws = hybi::connect(url).await?;
    let mut message = ws.message(Kind::Binary).await?;
    loop {
        let mut piece = Vec::with_capacity(64 << 10);
        if file.read_buf(&mut piece).await? == 0 {
            break;
        }
        message.write(piece).await?;
    }
    message.finish()?;
    // What is queued leaves before the close, and the answer says that it has been taken.
    let end = ws.close(CloseCode::NORMAL, "").await?;
    println!("sent, closed with {}", end.code);
    Ok(())
}
