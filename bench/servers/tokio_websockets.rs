//! The server on tokio-websockets.
//!
//! `echo` is `examples/echo_server.rs` of the crate. `echo-batch` takes what has come, up to 32
//! messages, before it answers with one flush: `next` writes whatever is queued.

use futures_util::{FutureExt, SinkExt, StreamExt};
use hybi_bench::{Result, Start, listen};
use tokio::net::TcpStream;
use tokio::task::unconstrained;
use tokio_websockets::{Config, Error, Limits, ServerBuilder, WebSocketStream};

fn main() -> Result {
    let start = Start::from_args()?;
    match start.scenario.as_str() {
        "echo" => start.run(listen(start.port, |tcp| unconstrained(echo(tcp)))),
        "echo-batch" => start.run(listen(start.port, |tcp| unconstrained(echo_batch(tcp)))),
        _ => start.unknown(),
    }
}

async fn accept(tcp: TcpStream) -> std::result::Result<WebSocketStream<TcpStream>, Error> {
    let server = ServerBuilder::new()
        .config(Config::default().frame_size(usize::MAX))
        .limits(Limits::unlimited());
    let (_request, ws) = server.accept(tcp).await?;
    Ok(ws)
}

async fn echo(tcp: TcpStream) -> Result {
    let mut ws = accept(tcp).await?;
    while let Some(message) = ws.next().await.transpose()? {
        if message.is_text() || message.is_binary() {
            ws.send(message).await?;
        }
    }
    Ok(())
}

/// How many answers are written at once at most.
const BATCH: usize = 32;

async fn echo_batch(tcp: TcpStream) -> Result {
    let mut ws = accept(tcp).await?;
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(message) = ws.next().await.transpose()? {
        let mut next = Some(message);
        while let Some(message) = next {
            batch.push(message);
            next = if batch.len() < BATCH {
                ws.next().now_or_never().flatten().transpose()?
            } else {
                None
            };
        }
        for message in batch.drain(..) {
            if message.is_text() || message.is_binary() {
                ws.feed(message).await?;
            }
        }
        ws.flush().await?;
    }
    Ok(())
}
