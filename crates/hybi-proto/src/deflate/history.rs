//! The last bytes of plain text in one direction, which the next message may refer back to.

use std::sync::{Mutex, PoisonError};

/// What a direction remembers.
#[derive(Debug)]
pub(super) struct History {
    mark: Mark,
    bytes: Vec<u8>,
}

/// Tells an engine whether it is still primed with a history: it is if it was the last one to add
/// to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    id: u64,
    additions: u64,
}

impl History {
    pub(super) fn new() -> Self {
        // Not every machine has an `AtomicU64`.
        static LAST: Mutex<u64> = Mutex::new(0);
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        *last += 1;
        Self {
            mark: Mark {
                id: *last,
                additions: 0,
            },
            bytes: Vec::new(),
        }
    }

    /// Another history that begins with the same bytes.
    pub(super) fn snapshot(&self) -> Self {
        Self {
            bytes: self.bytes.clone(),
            ..Self::new()
        }
    }

    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds what was said, and keeps the last `size` bytes of it all.
    pub(super) fn push(&mut self, said: &[u8], size: usize) {
        self.mark.additions += 1;
        let said = &said[said.len().saturating_sub(size)..];
        let kept = self.bytes.len().min(size - said.len());
        self.bytes.drain(..self.bytes.len() - kept);
        if self.bytes.capacity() - kept < said.len() {
            // No more than it will ever hold, and no more than is there before that.
            self.bytes.reserve_exact(said.len());
        }
        self.bytes.extend_from_slice(said);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]

        #[test]
        fn a_history_is_the_end_of_all_that_was_said(
            said in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20),
            size in 1..50_usize,
        ) {
            let (mut history, mut all) = (History::new(), Vec::new());
            for said in said {
                let before = history.mark();
                history.push(&said, size);
                all.extend(said);
                prop_assert_eq!(history.bytes(), &all[all.len().saturating_sub(size)..]);
                prop_assert!(history.bytes.capacity() <= size);
                prop_assert_ne!(history.mark(), before);
            }
        }
    }
}
