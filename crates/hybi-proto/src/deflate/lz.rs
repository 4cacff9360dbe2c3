//! A compressor for short messages behind a history.

use super::bits::Bits;
use super::block::{self, Block};
use super::history::Mark;
use super::matches::{Effort, MOST, Matcher};

/// What a thread lends.
pub(super) struct Packer {
    pub(super) matcher: Matcher,
    block: Block,
    primed: Option<Mark>,
}

impl Packer {
    pub(super) fn new() -> Self {
        Self {
            matcher: Matcher::new(),
            block: Block::new(),
            primed: None,
        }
    }

    /// Compresses what is said behind what the matcher is primed with, up to a sync flush.
    pub(super) fn run(&mut self, said: &[u8], bits: u8, effort: Effort, out: &mut Vec<u8>) {
        let window = 1 << bits;
        let mut bits = Bits::new(out);
        for piece in said.chunks(MOST) {
            let begin = self.matcher.add(piece, window);
            let (matcher, block) = (&mut self.matcher, &mut self.block);
            let anchor = match (effort.ways, effort.lazy) {
                (1, false) => matcher.run::<1, false>(begin, window, effort, block),
                (1, true) => matcher.run::<1, true>(begin, window, effort, block),
                (2, false) => matcher.run::<2, false>(begin, window, effort, block),
                (2, true) => matcher.run::<2, true>(begin, window, effort, block),
                (_, true) => matcher.run::<4, true>(begin, window, effort, block),
                (_, false) => matcher.run::<4, false>(begin, window, effort, block),
            };
            let (text, last) = (self.matcher.text(begin), self.matcher.text(anchor));
            self.block.write(text, last, &mut bits);
        }
        block::sync(&mut bits);
    }
}
