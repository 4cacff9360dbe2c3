//! The server on sockudo-ws: the loop with `feed` that its README gives for an echo.
//!
//! Of its servers, only the one in axum agrees to compression. `echo-deflate` shakes hands as that
//! one does, with the same functions, and spares it axum: `Compression::Dedicated`, which its
//! examples have; `-12` is `Compression::Window4KB`, which has windows of 12 bits and level 3.

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use hybi_bench::{Result, Start, listen};
use sockudo_ws::deflate::negotiate_server_deflate;
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request};
use sockudo_ws::server::WebSocketServer;
use sockudo_ws::{CompressedWebSocketStream, Compression, Config, Http1, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn main() -> Result {
    let start = Start::from_args()?;
    match start.scenario.as_str() {
        "echo" => start.run(listen(start.port, echo)),
        "echo-deflate" => start.run(listen(start.port, |tcp| {
            echo_deflate(tcp, Compression::Dedicated)
        })),
        "echo-deflate-12" => start.run(listen(start.port, |tcp| {
            echo_deflate(tcp, Compression::Window4KB)
        })),
        _ => start.unknown(),
    }
}

async fn echo(tcp: TcpStream) -> Result {
    let server = WebSocketServer::<Http1>::new(Config::default());
    let (ws, _handshake) = server.accept_raw(tcp).await?;
    serve(ws).await
}

async fn echo_deflate(mut tcp: TcpStream, compression: Compression) -> Result {
    let mut head = Vec::new();
    let (answer, deflate) = loop {
        if tcp.read_buf(&mut head).await? == 0 {
            return Err("no request has come".into());
        }
        if let Some((request, _)) = parse_request(&head)? {
            let config = compression.to_deflate_config().ok_or("no compression")?;
            let offers = request.extensions.unwrap_or_default();
            let deflate = negotiate_server_deflate(offers, &config).ok_or("no good offer")?;
            let key = generate_accept_key(request.key);
            let answer = build_response(&key, None, Some(&deflate.to_response_header()));
            break (answer, deflate.config);
        }
    };
    tcp.write_all(&answer).await?;
    let config = Config::builder().compression(compression).build();
    serve(CompressedWebSocketStream::server(tcp, config, deflate)).await
}

async fn serve<W>(mut ws: W) -> Result
where
    W: Stream<Item = sockudo_ws::Result<Message>>
        + Sink<Message, Error = sockudo_ws::Error>
        + Unpin,
{
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
