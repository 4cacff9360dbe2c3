//! Bits into bytes, the least significant first (RFC 1951 §3.1.1).

/// What is written, behind what was there already.
///
/// It goes by value through the loops that write, so that what it holds stays in registers.
pub(super) struct Bits {
    out: Vec<u8>,
    /// Where the next byte goes; there may be room behind it.
    at: usize,
    held: u64,
    count: u32,
}

/// Where to go back to.
#[derive(Clone, Copy)]
pub(super) struct Point {
    at: usize,
    held: u64,
    count: u32,
}

impl Bits {
    pub(super) fn new(out: Vec<u8>) -> Self {
        Self {
            at: out.len(),
            out,
            held: 0,
            count: 0,
        }
    }

    /// Makes room for so many bits. Those that exceed it are lost.
    pub(super) fn reserve(&mut self, bits: usize) {
        self.out.resize(self.at + bits / 8 + 2 * WORD, 0);
    }

    /// Adds some bits. At most 56 may be between two calls of [`flush`](Self::flush).
    #[inline(always)]
    pub(super) fn put(&mut self, bits: u64, count: u32) {
        self.held |= bits << (self.count & 63);
        self.count += count;
    }

    /// Adds a word: its bits, and from bit 16 on how many.
    #[inline(always)]
    pub(super) fn word(&mut self, word: u32) {
        self.put(u64::from(word & 0xffff), word >> 16);
    }

    /// How many bits are held.
    #[inline(always)]
    pub(super) fn held(&self) -> u32 {
        self.count
    }

    /// Writes all whole bytes, so that less than 8 bits are held.
    #[inline(always)]
    pub(super) fn flush(&mut self) {
        if let Some(room) = self.out.get_mut(self.at..self.at + WORD) {
            room.copy_from_slice(&self.held.to_le_bytes());
        }
        self.at += (self.count >> 3) as usize;
        self.held >>= self.count & 56;
        self.count &= 7;
    }

    /// Adds bytes at the boundary of one.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.count = self.count.next_multiple_of(8);
        self.flush();
        self.out.truncate(self.at);
        self.out.extend_from_slice(bytes);
        self.at = self.out.len();
    }

    /// After a flush.
    pub(super) fn point(&self) -> Point {
        Point {
            at: self.at,
            held: self.held,
            count: self.count,
        }
    }

    /// How many bits were written since.
    pub(super) fn since(&self, point: Point) -> usize {
        8 * (self.at - point.at) + self.count as usize - point.count as usize
    }

    /// Takes back what was written since.
    pub(super) fn back(&mut self, point: Point) {
        (self.at, self.held, self.count) = (point.at, point.held, point.count);
    }

    /// What was written, but for bits that make no whole byte.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        self.out.truncate(self.at);
        self.out
    }
}

/// What is written at once, in bytes.
const WORD: usize = 8;
