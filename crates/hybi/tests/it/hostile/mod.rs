//! What a bad peer sends, and what it gets: tables of rows on real sockets.
//!
//! Each row says what is sent and what must come back; that the connection then ends, and that a
//! fresh client is served afterwards, holds for all of them. All rows of a table run, and those
//! that fail name themselves.
#![allow(clippy::unwrap_used)] // a test panics

mod answers;
#[cfg(feature = "deflate")]
mod compression;
#[cfg(feature = "deflate")]
mod deflated;
mod frames;
mod masks;
mod opening;
mod patience;
mod raw;
mod servers;
mod words;

use std::net::SocketAddr;
use std::time::Duration;

use hybi::{Options, Server, WebSocket};

/// Many times what a row takes: only what hangs is stopped by it.
const GUARD: Duration = Duration::from_secs(20);

type Outcome = Result<(), String>;

/// Runs a future that must not hang.
async fn guarded<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let result = tokio::time::timeout(GUARD, future).await;
    result.map_err(|_| "hangs".to_owned())
}

/// The rows of a table that have failed.
#[derive(Default)]
struct Failures {
    rows: usize,
    failed: Vec<String>,
}

impl Failures {
    fn row(&mut self, name: &str, outcome: Outcome) {
        self.rows += 1;
        if let Err(why) = outcome {
            self.failed.push(format!("{name}: {why}"));
        }
    }

    fn assert_none(self) {
        let (failed, rows) = (self.failed.len(), self.rows);
        let list = self.failed.join("\n  ");
        assert!(failed == 0, "{failed} of {rows} rows failed:\n  {list}");
    }
}

#[allow(clippy::needless_pass_by_value)] // so that a row's check stays short
fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Outcome {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what} is {found:?}, expected {expected:?}"))
    }
}

/// A server to be attacked.
struct Victim {
    addr: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Victim {
    /// A server that echoes, on driven sockets.
    async fn serve(configure: impl FnOnce(Server) -> Server) -> Self {
        let server = configure(Server::bind("127.0.0.1:0").await.unwrap());
        let addr = server.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let _ = server.serve(|ws, _| echo(ws)).await;
        });
        Self { addr, task }
    }

    /// A server that echoes, on the sockets that `accept` gives.
    async fn accept(configure: impl FnOnce(Server) -> Server) -> Self {
        let mut server = configure(Server::bind("127.0.0.1:0").await.unwrap());
        let addr = server.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Some(incoming) = server.accept().await {
                tokio::spawn(async move { echo(incoming.accept().await?).await });
            }
        });
        Self { addr, task }
    }

    /// Both, with the same options.
    async fn both(options: Options) -> [(&'static str, Self); 2] {
        let (one, other) = (options.clone(), options);
        [
            ("serve", Self::serve(|server| server.options(one)).await),
            ("accept", Self::accept(|server| server.options(other)).await),
        ]
    }

    /// A well-behaved client is served.
    async fn serves(&self) -> Outcome {
        let fresh = async {
            let mut ws = hybi::connect(format!("ws://{}", self.addr)).await?;
            ws.send("fresh").await?;
            let echo = ws.recv().await?;
            ws.close(hybi::CloseCode::NORMAL, "").await?;
            Ok::<_, hybi::Error>(echo)
        };
        match guarded(fresh).await {
            Ok(Ok(echo)) => expect("a fresh client's echo", echo, Some("fresh".into())),
            Ok(Err(error)) => Err(format!("a fresh client is not served: {error}")),
            Err(why) => Err(format!("a fresh client {why}")),
        }
    }
}

async fn echo(mut ws: WebSocket) -> hybi::Result<()> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}
