//! The server on yawc, as its own benchmark has it: hyper shakes hands, text is checked.
//!
//! `echo` sends each answer at once. `echo-batch` feeds the answers to up to 32 messages that have
//! come, flushes once, and has the larger buffers of that benchmark's tuned server.

use futures_util::{FutureExt, SinkExt};
use http_body_util::Empty;
use hybi_bench::{Result, Start, listen};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use yawc::{OpCode, Options, UpgradeFut, WebSocket};

fn main() -> Result {
    let start = Start::from_args()?;
    match start.scenario.as_str() {
        "echo" => start.run(listen(start.port, |tcp| serve(tcp, false))),
        "echo-batch" => start.run(listen(start.port, |tcp| serve(tcp, true))),
        _ => start.unknown(),
    }
}

/// How many answers are written at once at most.
const BATCH: usize = 32;

async fn serve(tcp: TcpStream, batch: bool) -> Result {
    let open = service_fn(move |request| open(request, batch));
    let connection = http1::Builder::new()
        .serve_connection(TokioIo::new(tcp), open)
        .with_upgrades();
    Ok(connection.await?)
}

async fn open(mut request: Request<Incoming>, batch: bool) -> yawc::Result<Response<Empty<Bytes>>> {
    // The limits are exclusive, and 1 MiB is the default.
    let mut options = Options::default()
        .with_utf8()
        .without_compression()
        .with_limits(16 << 20, 16 << 20);
    if batch {
        options = options
            .with_read_buffer_capacity(128 << 10)
            .with_backpressure_boundary(64 << 10);
    }
    let (response, upgraded) = WebSocket::upgrade_with_options(&mut request, options)?;
    if batch {
        tokio::spawn(echo_batch(upgraded));
    } else {
        tokio::spawn(echo(upgraded));
    }
    Ok(response)
}

async fn echo(upgraded: UpgradeFut) -> Result {
    let mut ws = upgraded.await?;
    loop {
        let frame = ws.next_frame().await?;
        match frame.opcode() {
            OpCode::Text | OpCode::Binary => ws.send(frame).await?,
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}

async fn echo_batch(upgraded: UpgradeFut) -> Result {
    let mut ws = upgraded.await?;
    loop {
        let mut next = Some(ws.next_frame().await?);
        for left in (0..BATCH).rev() {
            let Some(frame) = next else { break };
            match frame.opcode() {
                OpCode::Text | OpCode::Binary => ws.feed(frame).await?,
                OpCode::Close => return Ok(ws.close().await?),
                _ => {}
            }
            next = if left > 0 {
                ws.next_frame().now_or_never().transpose()?
            } else {
                None
            };
        }
        ws.flush().await?;
    }
}
