//! Where the traffic happens, and what all kinds of it use.

use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;
use hybi::{Client, Deflate, Options, WebSocket};
use tokio::time::timeout;

use crate::tally::Tally;

/// What a scene comes to: why it failed, if it did.
pub type Outcome<T = ()> = Result<T, String>;

#[derive(Debug)]
pub struct World {
    pub addr: SocketAddr,
    pub tally: Tally,
}

impl World {
    /// A connection of the library's, with or without compression as the seed has it.
    pub async fn connect(&self, path: &str, rng: &mut Rng) -> Outcome<WebSocket> {
        let mut options = Options::new();
        if rng.bool() {
            let deflate = Deflate::new()
                .level(rng.u8(1..=9))
                .client_no_context_takeover(rng.u8(..4) == 0)
                .server_no_context_takeover(rng.u8(..4) == 0)
                .threshold(rng.usize(..200));
            options = options.deflate(deflate);
        }
        let url = format!("ws://{}{path}", self.addr);
        let ws = Client::new().options(options).connect(url).await;
        let ws = ws.map_err(said("connect"))?;
        self.tally.connections.one();
        if ws.extensions().deflate().is_some() {
            self.tally.compressed.one();
        }
        Ok(ws)
    }
}

/// More than ten times what a step of a scene takes.
pub const GUARD: Duration = Duration::from_secs(60);

/// Names the step that hangs.
pub async fn guarded<T>(what: &str, step: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let done = timeout(GUARD, step).await;
    done.unwrap_or_else(|_| Err(format!("{what}: hangs")))
}

/// Names what failed.
pub fn said<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {error}")
}
