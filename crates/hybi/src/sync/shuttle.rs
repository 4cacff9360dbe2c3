//! The locks and counters that the handles of a connection and its driver share, under shuttle:
//! each use of one is a point where another task may come first.
//!
//! What this does not show:
//!
//! - Shuttle runs one task at a time on one thread of the system, and knows one order of memory,
//!   the strictest. Whether `Relaxed` and `AcqRel` suffice for the count of the handles is not
//!   checked.
//! - Tokio's semaphore and oneshot stay as they are, and are atomic here; they are tokio's to
//!   check. Nothing of the hand-over is hidden by that: between a use of one of them and the next
//!   step that others can see there is a lock of ours, taken or given back.
//! - The number of a connection (`ConnectionId`) is counted under the standard library's lock, for
//!   it outlives a run, and nobody waits for it.
//! - No time passes, so that no deadline does.

pub(crate) use shuttle::sync::atomic::{AtomicUsize, Ordering};
pub(crate) use shuttle::sync::{Mutex, MutexGuard, PoisonError};
