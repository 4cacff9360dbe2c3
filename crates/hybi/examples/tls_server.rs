//! A server with a page at `https:` and WebSockets at `wss:`, on one port.
//!
//!     cargo run -p hybi --example tls_server CERT.pem KEY.pem [ADDRESS]
//!
//! Then, in another terminal, with the certificate of who has signed it:
//!
//!     cargo run -- connect wss://localhost:9443/ --cacert CA.pem
#![allow(clippy::print_stdout)] // it says where it listens

use hybi::{Error, Request, Response, Server, ServerTls, WebSocket};

#[tokio::main]
async fn main() -> hybi::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, cert, key, rest @ ..] = &*args else {
        return Err(Error::other("usage: tls_server CERT.pem KEY.pem [ADDRESS]"));
    };
    let addr = rest.first().map_or("127.0.0.1:9443", String::as_str);
    let server = Server::bind(addr).await?;
    println!("listening on {}", server.local_addr()?);
    server
        .tls(ServerTls::from_pem_files(cert, key)?)
        .fallback(|_request| Response::new("a page"))
        .serve(meet)
        .await
}

async fn meet(mut ws: WebSocket, _request: Request<()>) -> hybi::Result<()> {
    ws.send("something").await?;
    while let Some(message) = ws.recv().await? {
        println!("received: {message:?}");
    }
    Ok(())
}
