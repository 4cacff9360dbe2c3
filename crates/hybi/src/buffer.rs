//! The buffers that a thread lends to the connection it serves.
//!
//! One large read buffer a thread beats one a connection, and an idle connection holds none. A
//! buffer is taken by move and given back before the task returns to the runtime, so that none is
//! carried across an await or to another thread; a second connection polled meanwhile on the same
//! thread just makes its own.

use std::cell::Cell;
use std::thread::LocalKey;

thread_local! {
    static READ: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static WRITE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static SMALL: Cell<Smalls> = const { Cell::new(Smalls { kept: Vec::new(), lent: 0 }) };
}

/// The small buffers of a thread.
#[derive(Default)]
struct Smalls {
    kept: Vec<Vec<u8>>,
    /// So many were lent and have not come back. A buffer of a connection's own comes back, too,
    /// and where none is lent, nobody would ever take it.
    lent: usize,
}

/// Large, for the sake of few system calls: four messages of 64 KiB, with their headers. Pages that
/// no read has touched cost nothing.
const READ_SIZE: usize = 272 << 10;
const WRITE_SIZE: usize = 64 << 10;

/// For what is queued from outside until the connection's turn comes. So many are kept, of those
/// that were lent.
const SMALL_SIZE: usize = 1 << 10;
const SMALLS: usize = 256;

/// A buffer that grew beyond this is not kept.
const KEEP: usize = 1 << 20;

/// The thread's read buffer.
#[inline]
pub(crate) fn read() -> Vec<u8> {
    take(&READ, READ_SIZE)
}

/// The thread's buffer for outgoing frames.
#[inline]
pub(crate) fn write() -> Vec<u8> {
    take(&WRITE, WRITE_SIZE)
}

/// Gives the read buffer back.
#[inline]
pub(crate) fn keep_read(buffer: Vec<u8>) {
    keep(&READ, READ_SIZE, buffer);
}

/// One of the thread's small buffers for outgoing frames.
pub(crate) fn small() -> Vec<u8> {
    let small = SMALL.try_with(|cell| {
        let mut smalls = cell.take();
        let small = smalls.kept.pop();
        smalls.lent += 1;
        cell.set(smalls);
        small
    });
    small
        .ok()
        .flatten()
        .unwrap_or_else(|| Vec::with_capacity(SMALL_SIZE))
}

/// Gives a buffer for outgoing frames back, of either size.
#[inline]
pub(crate) fn keep_write(buffer: Vec<u8>) {
    if buffer.capacity() > 4 * SMALL_SIZE {
        keep(&WRITE, WRITE_SIZE, buffer);
    } else {
        keep_small(buffer);
    }
}

fn keep_small(buffer: Vec<u8>) {
    if buffer.capacity() < SMALL_SIZE {
        return;
    }
    let _ = SMALL.try_with(|cell| {
        let mut smalls = cell.take();
        if smalls.lent > 0 {
            smalls.lent -= 1;
            if smalls.kept.len() < SMALLS {
                smalls.kept.push(buffer);
            }
        }
        cell.set(smalls);
    });
}

#[inline]
fn take(cell: &'static LocalKey<Cell<Vec<u8>>>, size: usize) -> Vec<u8> {
    let mut buffer = cell.try_with(Cell::take).unwrap_or_default();
    if buffer.capacity() < size {
        buffer = Vec::with_capacity(size);
    }
    buffer
}

#[inline]
fn keep(cell: &'static LocalKey<Cell<Vec<u8>>>, size: usize, buffer: Vec<u8>) {
    if (size..=KEEP).contains(&buffer.capacity()) {
        // While the thread ends there is no cell any more, and the buffer goes with it.
        let _ = cell.try_with(|cell| cell.set(buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_buffer_that_was_lent_is_lent_again() {
        let buffer = small();
        let at = buffer.as_ptr();
        keep_write(buffer);
        let again = small();
        assert_eq!(again.as_ptr(), at);
    }

    #[test]
    fn a_small_buffer_that_was_not_lent_is_not_kept() {
        for _ in 0..2 {
            keep_write(Vec::with_capacity(3 * SMALL_SIZE));
        }
        assert_eq!(small().capacity(), SMALL_SIZE);
    }
}
