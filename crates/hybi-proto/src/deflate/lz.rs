//! A compressor for short messages behind a history.

use super::bits::Bits;
use super::block::{self, Block, Fixed};
use super::history::Mark;
use super::matches::{Effort, MOST, Matcher, Places};

/// What a thread lends.
pub(super) struct Packer<P> {
    pub(super) matcher: Matcher<P>,
    block: Block,
    primed: Option<Mark>,
}

impl<P: Places> Packer<P> {
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
        let mut bits = Bits::new(std::mem::take(out));
        for piece in said.chunks(MOST) {
            let begin = self.matcher.add(piece, window);
            let (matcher, block) = (&mut self.matcher, &mut self.block);
            if effort.fixed {
                let fixed = Fixed::new(bits, piece.len());
                let (anchor, fixed) = matcher.run::<false, _>(begin, window, effort, fixed);
                bits = fixed.end(matcher.text(begin), matcher.text(anchor));
                continue;
            }
            let (anchor, block) = if effort.lazy {
                matcher.run::<true, _>(begin, window, effort, block)
            } else {
                matcher.run::<false, _>(begin, window, effort, block)
            };
            bits = block.write(matcher.text(begin), matcher.text(anchor), bits);
        }
        block::sync(&mut bits);
        *out = bits.into_bytes();
    }
}
