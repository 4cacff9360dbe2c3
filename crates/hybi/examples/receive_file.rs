//! Receives a file of any size as one message, and writes it down as it comes.
//!
//!     cargo run -p hybi --example receive_file FILE [ADDRESS]
//!
//! Then, in another terminal:
//!
//!     cargo run -p hybi --example send_file FILE
#![allow(clippy::print_stdout)] // it says where it listens

use hybi::{Error, Options, Server};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

#[tokio::main]
async fn main() -> hybi::Result<()> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or_else(|| Error::other("which file?"))?;
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:9001".into());
    let options = Options::new().max_message(None);
    let mut server = Server::bind(addr).await?.options(options);
    println!("listening on {}", server.local_addr()?);
    let incoming = server.accept().await.ok_or(Error::Closed)?;
    let mut ws = incoming.accept().await?;
    let mut file = File::create(path).await?;
    while let Some(mut message) = ws.recv_reader().await? {
        while let Some(part) = message.next().await? {
            file.write_all(&part).await?;
        }
    }
    file.sync_all().await?;
    println!("received");
    Ok(())
}
