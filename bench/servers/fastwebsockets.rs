//! The server on fastwebsockets, as `examples/echo_server.rs` of the crate has it.

use fastwebsockets::{FragmentCollector, OpCode, upgrade};
use http_body_util::Empty;
use hybi_bench::{Result, Start, listen};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::unconstrained;

fn main() -> Result {
    let start = Start::from_args()?;
    match start.scenario.as_str() {
        "echo" => start.run(listen(start.port, serve)),
        _ => start.unknown(),
    }
}

async fn serve(tcp: TcpStream) -> Result {
    let connection = http1::Builder::new()
        .serve_connection(TokioIo::new(tcp), service_fn(open))
        .with_upgrades();
    Ok(connection.await?)
}

async fn open(
    mut request: Request<Incoming>,
) -> std::result::Result<Response<Empty<Bytes>>, fastwebsockets::WebSocketError> {
    let (response, upgraded) = upgrade::upgrade(&mut request)?;
    tokio::spawn(unconstrained(echo(upgraded)));
    Ok(response)
}

async fn echo(upgraded: upgrade::UpgradeFut) -> Result {
    let mut ws = FragmentCollector::new(upgraded.await?);
    loop {
        let frame = ws.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => ws.write_frame(frame).await?,
            _ => {}
        }
    }
}
