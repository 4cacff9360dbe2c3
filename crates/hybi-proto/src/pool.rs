//! The buffers of large payloads, used again.
//!
//! The allocator would fetch the pages of a large buffer from the kernel and give them back for
//! each message, which takes longer than to fill them. A thread keeps a few instead, up to
//! [`KEPT`] bytes, those that were used last. The decoder takes them; whoever drops the message
//! gives them back to the thread on which that happens.

use std::cell::RefCell;

use bytes::Bytes;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { buffers: Vec::new(), bytes: 0 }) };
}

#[derive(Debug)]
struct Pool {
    /// Those that were used last are at the end.
    buffers: Vec<Vec<u8>>,
    /// Their capacity.
    bytes: usize,
}

/// Smaller payloads are left to the allocator, which is good at them.
pub(crate) const LARGE: usize = 32 << 10;

/// A larger buffer is not kept: it would be much memory for one message.
const MOST: usize = 2 << 20;

/// What a thread keeps, in bytes.
const KEPT: usize = 4 << 20;

/// A buffer may be so much larger than what it is used for, beyond twice its size.
const PAGE: usize = 4 << 10;

/// An empty buffer with room for `len` bytes, and for not many more, if there is one.
pub(crate) fn find(len: usize) -> Option<Vec<u8>> {
    if len < LARGE {
        return None;
    }
    let fits = |buffer: &Vec<u8>| (len..=2 * len + PAGE).contains(&buffer.capacity());
    let found = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        // The one that was used last is the one that the cache may still hold.
        let at = pool.buffers.iter().rposition(fits)?;
        let buffer = pool.buffers.remove(at);
        pool.bytes -= buffer.capacity();
        Some(buffer)
    });
    // While the thread ends there is no pool any more.
    found.ok().flatten()
}

/// Gives a buffer back that nobody needs any more.
pub(crate) fn give(mut buffer: Vec<u8>) {
    let capacity = buffer.capacity();
    if !(LARGE..=MOST).contains(&capacity) {
        return;
    }
    buffer.clear();
    let _ = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        pool.bytes += capacity;
        pool.buffers.push(buffer);
        while pool.bytes > KEPT {
            pool.bytes -= pool.buffers.remove(0).capacity();
        }
    });
}

/// The payload in a buffer of its own, which is given back when it is dropped.
pub(crate) fn share(buffer: Vec<u8>) -> Bytes {
    if buffer.len() < LARGE {
        return buffer.into();
    }
    Bytes::from_owner(Payload(buffer))
}

/// Gives its buffer back when the last who has a share in it is gone.
struct Payload(Vec<u8>);

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        give(std::mem::take(&mut self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(bytes: &[u8]) -> Bytes {
        let mut buffer = find(bytes.len()).unwrap_or_else(|| Vec::with_capacity(bytes.len()));
        buffer.extend_from_slice(bytes);
        share(buffer)
    }

    #[test]
    fn the_buffer_of_a_dropped_payload_is_used_again() {
        let payload = copy(&vec![1; LARGE]);
        let at = payload.as_ptr();
        let part = payload.slice(10..20);
        drop(payload);
        assert!(find(LARGE).is_none(), "somebody still has a share in it");
        drop(part);
        let again = copy(&vec![2; LARGE]);
        assert_eq!(again.as_ptr(), at);
        assert_eq!(again, vec![2; LARGE]);
    }

    #[test]
    fn a_buffer_is_not_used_for_what_is_much_smaller_or_larger() {
        drop(copy(&vec![0; 4 * LARGE]));
        assert!(find(LARGE).is_none());
        assert!(find(8 * LARGE).is_none());
        assert!(find(3 * LARGE).is_some_and(|buffer| buffer.is_empty()));
    }

    #[test]
    fn a_thread_keeps_no_more_than_the_limit_and_those_that_were_used_last() {
        let many: Vec<Bytes> = (0..20).map(|_| copy(&vec![0; 1 << 20])).collect();
        drop(many);
        drop(copy(&[0; LARGE]));
        drop(copy(&vec![0; MOST + 1]));
        assert!(find(MOST + 1).is_none());
        POOL.with(|pool| {
            let pool = pool.borrow();
            let bytes: usize = pool.buffers.iter().map(Vec::capacity).sum();
            assert_eq!(bytes, pool.bytes);
            assert!(bytes <= KEPT && bytes > KEPT - (1 << 20), "{bytes}");
        });
        assert!(find(LARGE).is_some());
    }

    #[test]
    fn small_payloads_are_left_to_the_allocator() {
        drop(copy(&[0; LARGE - 1]));
        give(Vec::with_capacity(LARGE - 1));
        assert!(find(LARGE - 1).is_none());
    }
}
