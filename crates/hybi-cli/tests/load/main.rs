//! Peers that load and stall `hybi serve`, in a process of its own.
//!
//! Each row of a table says what the peers of a burst do and what they get. That others are served
//! meanwhile, that the memory stays within what the limits allow, and that everything comes back
//! afterwards, holds for all of them; it is judged in [`siege`], and nowhere else.
//!
//! The clock is the real one, for the server is a process. Its deadlines are set to a second or
//! two, and all that waits here gives up after [`GUARD`].
#![cfg(target_os = "linux")] // what a process holds is read from /proc
#![allow(clippy::unwrap_used)] // a test panics

mod process;
mod peer;
mod siege;
mod stalls;
mod leaving;
mod closing;
mod neighbors;

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
