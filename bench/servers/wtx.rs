//! The server on wtx, as `web-socket-server.rs` of its examples has it, on plain TCP.
//!
//! 0.46 is the newest that Rust 1.95 builds: 0.47 to 0.52 need 1.96.

use hybi_bench::{Result, Start, listen};
use tokio::net::TcpStream;
use wtx::collection::Vector;
use wtx::web_socket::compression::{Compression, Flate2};
use wtx::web_socket::{OpCode, WebSocketAcceptor, WebSocketPayloadOrigin};

fn main() -> Result {
    let start = Start::from_args()?;
    match start.scenario.as_str() {
        "echo" => start.run(listen(start.port, |tcp| echo(tcp, ()))),
        // With `()` for no compression, this is the other choice of its documentation.
        "echo-deflate" => start.run(listen(start.port, |tcp| echo(tcp, Flate2::default()))),
        _ => start.unknown(),
    }
}

async fn echo<C: Compression<false>>(tcp: TcpStream, compression: C) -> Result {
    let acceptor = WebSocketAcceptor::default().compression(compression);
    let mut ws = acceptor.accept(tcp).await?;
    let (mut common, mut reader, mut writer) = ws.split_mut();
    let mut buffer = Vector::new();
    loop {
        let mut frame = reader
            .read_frame(&mut buffer, &mut common, WebSocketPayloadOrigin::Adaptive)
            .await?;
        match frame.op_code() {
            OpCode::Binary | OpCode::Text => writer.write_frame(&mut common, &mut frame).await?,
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}
