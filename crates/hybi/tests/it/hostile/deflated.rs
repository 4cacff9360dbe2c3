//! What is compressed, by hand: no compressor would write all of it.
//!
//! The tests of the command use it, too (`crates/hybi-cli/tests/load`).

/// "Hello", as in RFC 7692 §7.2.3.1, and the same with a final block, as in §7.2.3.4.
pub(crate) const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
pub(crate) const FINAL_HELLO: &[u8] = b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00";

/// "Hello" again, which refers back to the one before: §7.2.3.2.
pub(crate) const AGAIN: &[u8] = b"\xf2\x00\x11\x00\x00";

/// A block of fixed codes (RFC 1951 §3.2.6), bit by bit.
struct Block(Vec<u8>);

impl Block {
    fn new() -> Self {
        Self(vec![0, 1, 0])
    }

    /// A word of a code, from its highest bit on.
    fn word(&mut self, word: u32, len: u32) {
        self.0
            .extend((0..len).rev().map(|bit| (word >> bit & 1) as u8));
    }

    /// A number, from its lowest bit on.
    fn number(&mut self, number: u32, len: u32) {
        self.0.extend((0..len).map(|bit| (number >> bit & 1) as u8));
    }

    fn zero(&mut self) {
        self.word(0b0011_0000, 8);
    }

    /// The end of the block, and the front of an empty one without compression.
    fn end(mut self) -> Vec<u8> {
        self.word(0, 7);
        self.0.extend([0, 0, 0]);
        self.bytes()
    }

    fn bytes(self) -> Vec<u8> {
        let byte = |bits: &[u8]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | bit);
        self.0.chunks(8).map(byte).collect()
    }
}

/// So many zeros.
pub(crate) fn zeros(len: usize) -> Vec<u8> {
    let mut block = Block::new();
    block.zero();
    for _ in 0..(len - 1) / 258 {
        block.word(0b1100_0101, 8);
        block.word(0, 5);
    }
    (0..(len - 1) % 258).for_each(|_| block.zero());
    block.end()
}

/// Three bytes from 600 before.
pub(crate) fn far_back() -> Vec<u8> {
    let mut block = Block::new();
    block.word(0b000_0001, 7);
    block.word(18, 5);
    block.number(600 - 513, 8);
    block.end()
}

/// So many bytes without compression, and a flush.
pub(crate) fn stored(len: u16) -> Vec<u8> {
    let (len, payload) = (len.to_le_bytes(), vec![7; len.into()]);
    [&[0][..], &len, &len.map(|byte| !byte), &payload, &[0]].concat()
}
