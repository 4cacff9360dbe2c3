//! Peers that load and stall `hybi serve` and clients, which are in a process of their own.
//!
//! Each row of a table says what the peers of a burst do and what they get. That others are served
//! meanwhile, that the memory stays within what the limits allow, and that everything comes back
//! afterwards, holds for all of them; it is judged in [`judge`], and nowhere else.
//!
//! The clock is the real one, for the server is a process. Its deadlines are set to a second or
//! two, and all that waits here gives up after [`GUARD`].
#![cfg(target_os = "linux")] // what a process holds is read from /proc
#![allow(clippy::unwrap_used)] // a test panics

mod process;
mod peer;
mod judge;
mod server;
mod siege;
mod clients;
mod ambush;
#[allow(dead_code, reason = "the library's tests use more of it")]
#[path = "../../../hybi/tests/it/hostile/deflated.rs"]
mod deflated;
mod stalls;
mod leaving;
mod closing;
mod neighbors;
mod heads;
mod inflating;
mod answers;

use std::time::Duration;

/// More than ten times what the longest wait takes: only what hangs is stopped by it.
const GUARD: Duration = Duration::from_secs(60);

type Outcome<T = ()> = Result<T, String>;

/// Runs a future that must not hang.
async fn guarded<T>(what: &str, future: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    match tokio::time::timeout(GUARD, future).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("{what}: hangs")),
    }
}
