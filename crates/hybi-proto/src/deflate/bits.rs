//! Bits into bytes, the least significant first (RFC 1951 §3.1.1).

/// Writes behind what is there already.
pub(super) struct Bits<'a> {
    out: &'a mut Vec<u8>,
    /// Where the next byte goes; there may be room behind it.
    at: usize,
    held: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
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

    /// How many bits are held.
    #[inline(always)]
    pub(super) fn held(&self) -> u32 {
        self.count
    }

    /// Writes all whole bytes, so that less than 8 bits are held.
    #[inline(always)]
    pub(super) fn flush(&mut self) {
        let room = self.out.get_mut(self.at..).unwrap_or_default();
        if let Some(room) = room.first_chunk_mut::<WORD>() {
            *room = self.held.to_le_bytes();
        }
        self.at += (self.count >> 3) as usize;
        self.held >>= self.count & 56;
        self.count &= 7;
    }

    /// Goes on at the next byte.
    pub(super) fn align(&mut self) {
        self.count = self.count.next_multiple_of(8);
        self.flush();
    }

    /// Adds bytes at the boundary of one.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.align();
        self.out.truncate(self.at);
        self.out.extend_from_slice(bytes);
        self.at = self.out.len();
    }
}

/// What is written at once, in bytes.
const WORD: usize = 8;
