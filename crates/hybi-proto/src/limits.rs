//! What a connection takes before it answers that it is too much.

/// The bounds of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest message accepted, in bytes, over all its fragments (default 16 MiB); a larger
    /// one closes with 1009 as soon as a header announces it, and one that was compressed as soon
    /// as so much of it is inflated. `None` disables.
    pub message: Option<usize>,
    /// The most fragments accepted in one message (default 1,048,576); one more closes with 1008.
    /// Fragments are joined as they come, so that one costs its payload and no more. `None`
    /// disables.
    pub fragments: Option<u32>,
    /// The outgoing backlog, in bytes (default 1 MiB). A message is admitted while fewer bytes
    /// than this are queued, so that the queue overshoots by one message at most.
    pub backlog: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: Some(16 << 20),
            fragments: Some(1 << 20),
            backlog: 1 << 20,
        }
    }
}
