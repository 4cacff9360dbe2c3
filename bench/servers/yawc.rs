//! The server on yawc, as its own benchmark has it: hyper shakes hands, text is checked.
//!
//! `echo` sends each answer at once. `echo-batch` feeds the answers to up to 32 messages that have
//! come, flushes once, and has the larger buffers of that benchmark's tuned server. `echo-deflate`
//! is `echo` with its balanced profile of compression, `-fast` with the one for low latency, `-12`
//! with windows of 12 bits both ways, and `-pool` with no takeover and compressors that are lent, for
//! many connections.

use futures_util::{FutureExt, SinkExt};
use http_body_util::Empty;
use hybi_bench::{Result, Start, listen};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use yawc::{DeflatePool, OpCode, Options, UpgradeFut, WebSocket};

fn main() -> Result {
    let start = Start::from_args()?;
    match start.scenario.as_str() {
        "echo" => serve_all(&start, plain(), false),
        "echo-batch" => {
            let options = plain()
                .with_read_buffer_capacity(128 << 10)
                .with_backpressure_boundary(64 << 10);
            serve_all(&start, options, true)
        }
        "echo-deflate" => serve_all(&start, options().with_balanced_compression(), false),
        "echo-deflate-fast" => serve_all(&start, options().with_low_latency_compression(), false),
        "echo-deflate-12" => {
            let options = options()
                .with_server_max_window_bits(12)
                .with_client_max_window_bits(12);
            serve_all(&start, options, false)
        }
        "echo-deflate-pool" => {
            let options = options()
                .server_no_context_takeover()
                .client_no_context_takeover()
                .with_deflate_pool(DeflatePool::new(POOL));
            serve_all(&start, options, false)
        }
        _ => start.unknown(),
    }
}

/// The limits are exclusive, and 1 MiB is the default.
fn options() -> Options {
    Options::default()
        .with_utf8()
        .with_limits(16 << 20, 16 << 20)
}

fn plain() -> Options {
    options().without_compression()
}

/// The compressors that a pool keeps.
const POOL: usize = 16;

/// How many answers are written at once at most.
const BATCH: usize = 32;

fn serve_all(start: &Start, options: Options, batch: bool) -> Result {
    start.run(listen(start.port, move |tcp| {
        serve(tcp, options.clone(), batch)
    }))
}

async fn serve(tcp: TcpStream, options: Options, batch: bool) -> Result {
    let open = service_fn(move |request| open(request, options.clone(), batch));
    let connection = http1::Builder::new()
        .serve_connection(TokioIo::new(tcp), open)
        .with_upgrades();
    Ok(connection.await?)
}

async fn open(
    mut request: Request<Incoming>,
    options: Options,
    batch: bool,
) -> yawc::Result<Response<Empty<Bytes>>> {
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
