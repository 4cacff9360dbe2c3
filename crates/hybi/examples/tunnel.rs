//! A tunnel for TCP: one end takes TCP connections and carries each through a WebSocket to the
//! other end, which connects it to where it wants to go.
//!
//!     cargo run -p hybi --example tunnel exit 127.0.0.1:22 [ADDRESS]
//!     cargo run -p hybi --example tunnel entry 127.0.0.1:2222 [URL]
//!
//! Then `ssh -p 2222 127.0.0.1` goes through it.
#![allow(clippy::print_stdout)] // it says where it listens

use hybi::{Error, Server, WebSocket};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> hybi::Result<()> {
    let mut args = std::env::args().skip(1);
    let (end, tcp, ws) = (args.next(), args.next(), args.next());
    match (end.as_deref(), tcp) {
        (Some("exit"), Some(tcp)) => exit(tcp, ws.as_deref().unwrap_or("127.0.0.1:9001")).await,
        (Some("entry"), Some(tcp)) => {
            entry(&tcp, ws.unwrap_or("ws://127.0.0.1:9001/".into())).await
        }
        _ => Err(Error::other(
            "usage: tunnel exit|entry TCP-ADDRESS [ADDRESS|URL]",
        )),
    }
}

async fn exit(target: String, addr: &str) -> hybi::Result<()> {
    let server = Server::bind(addr).await?;
    println!("listening on {}", server.local_addr()?);
    server
        .serve(move |ws, _request| {
            let target = target.clone();
            async move { join(ws, TcpStream::connect(target).await?).await }
        })
        .await
}

async fn entry(addr: &str, url: String) -> hybi::Result<()> {
    let listener = TcpListener::bind(addr).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (tcp, _) = listener.accept().await?;
        let url = url.clone();
        tokio::spawn(async move {
            let ws = hybi::connect(url).await?;
            join(ws, tcp).await
        });
    }
}

/// Carries bytes both ways until both have ended.
async fn join(ws: WebSocket, mut tcp: TcpStream) -> hybi::Result<()> {
    copy_bidirectional(&mut ws.into_io(), &mut tcp).await?;
    Ok(())
}
