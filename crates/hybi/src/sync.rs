//! The locks and counters that the handles of a connection and its driver share.
//!
//! They are the standard library's. Where the hand-over is checked (`scripts/shuttle.sh`),
//! `sync/shuttle.rs` stands here instead.

pub(crate) use std::sync::atomic::{AtomicUsize, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError};
