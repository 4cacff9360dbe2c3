//! No WebSocket at all: the bytes come back as they are, still masked. It is the floor.
//!
//! It reads the request's head and answers with a constant one, whose `Sec-WebSocket-Accept` fits
//! the load's key.

use hybi_bench::{Result, Start, listen};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// As much as is read at once.
const BUFFER: usize = 256 << 10;

fn main() -> Result {
    let start = Start::from_args()?;
    match start.scenario.as_str() {
        "echo" => start.run(listen(start.port, echo)),
        _ => start.unknown(),
    }
}

async fn echo(mut tcp: TcpStream) -> Result {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if tcp.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    tcp.write_all(SWITCHING).await?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let n = tcp.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        tcp.write_all(&buffer[..n]).await?;
    }
}
