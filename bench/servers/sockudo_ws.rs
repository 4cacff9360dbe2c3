//! The server on sockudo-ws: the loop with `feed` that its README gives for an echo.

use futures_util::{SinkExt, StreamExt};
use hybi_bench::{Result, Start, listen};
use sockudo_ws::server::WebSocketServer;
use sockudo_ws::{Config, Http1, Message};
use tokio::net::TcpStream;

fn main() -> Result {
    let start = Start::from_args()?;
    match start.scenario.as_str() {
        "echo" => start.run(listen(start.port, echo)),
        _ => start.unknown(),
    }
}

async fn echo(tcp: TcpStream) -> Result {
    let server = WebSocketServer::<Http1>::new(Config::default());
    let (mut ws, _handshake) = server.accept_raw(tcp).await?;
    while let Some(message) = ws.next().await {
        match message? {
            // `next` writes what was fed before it waits.
            message @ (Message::Text(_) | Message::Binary(_)) => ws.feed(message).await?,
            Message::Close(_) => return Ok(()),
            _ => {}
        }
    }
    Ok(())
}
