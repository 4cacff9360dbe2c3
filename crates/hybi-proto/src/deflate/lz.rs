//! The compressor for short messages behind a history: what it costs to prime it counts here, and
//! zlib's takes longer for that than for the message.
//!
//! It has no levels above 6 and one strategy. A thread keeps one of either kind.

use std::cell::Cell;
use std::mem;

use super::bits::Bits;
use super::block::{self, Block, Fixed};
use super::history::{History, Mark};
use super::matches::{Effort, MOST, Matcher, Places};
use super::{Config, Strategy};

/// What a thread lends.
struct Packer<P> {
    matcher: Matcher<P>,
    block: Block,
    /// The history with which it is primed, and how many places of it are known.
    primed: Option<(Mark, usize)>,
}

/// What is kept of a kind.
type Kept<P> = Cell<Option<Box<Packer<P>>>>;

thread_local! {
    static QUICK: Kept<u16> = const { Cell::new(None) };
    static GOOD: Kept<u64> = const { Cell::new(None) };
}

/// Whether this is for such a setting.
pub(super) fn takes(config: Config) -> bool {
    (1..=6).contains(&config.level) && config.strategy == Strategy::Default
}

/// Compresses `said` behind the history, up to a sync flush, and adds it to that.
pub(super) fn deflate(
    config: Config,
    history: Option<&mut History>,
    said: &[u8],
    out: &mut Vec<u8>,
) {
    let plan = Plan::new(config.level, said.len());
    if config.level < 4 {
        Packer::lend(&QUICK, |packer| {
            packer.deflate(config, history, said, plan, out);
        });
    } else {
        Packer::lend(&GOOD, |packer| {
            packer.deflate(config, history, said, plan, out);
        });
    }
}

/// How to go about a message.
#[derive(Clone, Copy)]
struct Plan {
    effort: Effort,
    /// Whether without codes of its own.
    fixed: bool,
}

impl Plan {
    fn new(level: u8, len: usize) -> Self {
        let (step, stride, lazy, nice) = match level {
            1 => (4, 16, false, 32),
            2 | 3 => (2, 4, true, 32),
            _ => (2, 12, true, 16),
        };
        Self {
            effort: Effort {
                step,
                stride,
                lazy,
                nice,
            },
            fixed: level == 1 && len <= SHORT,
        }
    }
}

impl<P: Places> Packer<P> {
    fn new() -> Self {
        Self {
            matcher: Matcher::new(),
            block: Block::new(),
            primed: None,
        }
    }

    fn lend(kept: &'static std::thread::LocalKey<Kept<P>>, run: impl FnOnce(&mut Self)) {
        // While the thread ends there is none any more.
        let packer = kept.try_with(Cell::take).ok().flatten();
        let mut packer = packer.unwrap_or_else(|| Box::new(Self::new()));
        run(&mut packer);
        let _ = kept.try_with(|kept| kept.set(Some(packer)));
    }

    fn deflate(
        &mut self,
        config: Config,
        history: Option<&mut History>,
        said: &[u8],
        plan: Plan,
        out: &mut Vec<u8>,
    ) {
        let step = plan.effort.step;
        let mark = history.as_ref().map(|history| (history.mark(), step));
        if mark.is_none() || self.primed != mark {
            let history = history.as_ref().map_or(&[][..], |history| history.bytes());
            self.matcher.prime(history, step);
        }
        self.run(said, 1 << config.bits, plan, out);
        self.primed = history.map(|history| {
            history.push(said, config.memory());
            (history.mark(), step)
        });
    }

    fn run(&mut self, said: &[u8], window: usize, plan: Plan, out: &mut Vec<u8>) {
        let effort = plan.effort;
        let mut bits = Bits::new(mem::take(out));
        for piece in said.chunks(MOST) {
            let begin = self.matcher.add(piece, window);
            let (matcher, block) = (&mut self.matcher, &mut self.block);
            if plan.fixed {
                let fixed = Fixed::new(bits, piece.len());
                let (left, fixed) = matcher.run::<false, _>(begin, window, effort, fixed);
                bits = fixed.end(matcher.text(begin), matcher.text(left));
                continue;
            }
            let (left, block) = if effort.lazy {
                matcher.run::<true, _>(begin, window, effort, block)
            } else {
                matcher.run::<false, _>(begin, window, effort, block)
            };
            bits = block.write(matcher.text(begin), matcher.text(left), bits);
        }
        block::sync(&mut bits);
        *out = bits.into_bytes();
    }
}

/// Up to so many bytes a code of their own is not worth the time, if there is little.
const SHORT: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::strategy::Strategy as Values;
    use zlib_rs::{InflateFlush, Status};

    use super::super::{Config, Strategy, TAIL};
    use super::{History, deflate};

    /// All that comes out of what one compressor makes of these messages.
    ///
    /// Few bytes come out at a time, so that no more than the window can be referred to.
    fn inflated(level: u8, bits: u8, messages: &[Vec<u8>], takeover: bool) -> Vec<Vec<u8>> {
        let mut history = takeover.then(History::new);
        let mut engine = zlib_rs::Inflate::new(false, bits);
        let inflated = |message: &Vec<u8>| {
            let mut out = Vec::new();
            deflate(config(level, bits), history.as_mut(), message, &mut out);
            assert!(out.ends_with(&TAIL));
            if !takeover {
                engine.reset(false);
            }
            let (mut all, mut room, mut rest) = (Vec::new(), [0; 100], &out[..]);
            loop {
                let before = (engine.total_in(), engine.total_out());
                let status = engine.decompress(rest, &mut room, InflateFlush::SyncFlush);
                assert!(matches!(status, Ok(Status::Ok | Status::BufError)));
                rest = &rest[(engine.total_in() - before.0) as usize..];
                let made = (engine.total_out() - before.1) as usize;
                all.extend_from_slice(&room[..made]);
                if made < room.len() {
                    assert!(rest.is_empty());
                    return all;
                }
            }
        };
        messages.iter().map(inflated).collect()
    }

    fn config(level: u8, bits: u8) -> Config {
        Config {
            level,
            strategy: Strategy::Default,
            mem_level: 5,
            bits,
        }
    }

    fn message() -> impl Values<Value = Vec<u8>> {
        let bytes = proptest::collection::vec(any::<u8>(), 1..3000);
        let few = proptest::collection::vec(0..4_u8, 1..3000);
        let runs = proptest::collection::vec((any::<u8>(), 1..700_usize), 1..30).prop_map(|runs| {
            let run = |(byte, count)| std::iter::repeat_n(byte, count);
            runs.into_iter().flat_map(run).collect()
        });
        let words = proptest::collection::vec(0..20_usize, 1..400).prop_map(|words| {
            let word = |n: usize| format!("{}{} ", "a word of text"[n % 9..].trim(), n * n);
            words.into_iter().map(word).collect::<String>().into_bytes()
        });
        prop_oneof![bytes, few, runs, words]
    }

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore)] // much text, and nothing unsafe
        fn what_is_compressed_at_any_level_inflates_to_what_it_was(
            level in 1..=6_u8,
            bits in 9..=15_u8,
            takeover: bool,
            messages in proptest::collection::vec(message(), 1..20),
        ) {
            let came = inflated(level, bits, &messages, takeover);
            prop_assert_eq!(came, messages);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore)] // much text, and nothing unsafe
    fn a_long_message_inflates_to_what_it_was_with_any_window() {
        let line = |n: u32| {
            format!(
                "{{\"line\":{n},\"hash\":{}}}\n",
                n.wrapping_mul(0x9e37_79b1)
            )
        };
        let long = |from: u32, count| {
            (from..from + count)
                .map(line)
                .collect::<String>()
                .into_bytes()
        };
        let noise = |seed: u32, count: u32| {
            let byte = |n: u32| ((n + seed).wrapping_mul(0x9e37_79b1) >> 13) as u8 ^ (n >> 7) as u8;
            (0..count).map(byte).collect::<Vec<_>>()
        };
        for level in 1..=6 {
            for bits in 9..=15 {
                let messages = [
                    long(0, 9000),
                    vec![7; 100_000],
                    noise(1, 70_000),
                    long(5, 300),
                    vec![1],
                    long(1, 40),
                ];
                let came = inflated(level, bits, &messages, true);
                assert!(came == messages, "level {level}, {bits} bits");
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore)] // much text, and nothing unsafe
    fn nothing_is_referred_to_behind_the_window() {
        for level in 1..=6 {
            for bits in 9..=15 {
                let size = 1 << bits;
                for (period, refers) in [(size, true), (size + 1, false), (size + 2, false)] {
                    let mut out = Vec::new();
                    deflate(
                        config(level, bits),
                        None,
                        &noise(period).repeat(2),
                        &mut out,
                    );
                    let most = period + period / 3;
                    assert_eq!(out.len() < most, refers, "level {level}, {period} bytes");
                }
            }
        }
    }

    /// Bytes that cannot be compressed.
    fn noise(count: usize) -> Vec<u8> {
        let mut seed = 1_u64;
        let byte = |_| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as u8
        };
        (0..count).map(byte).collect()
    }

    #[test]
    fn what_cannot_be_compressed_is_stored() {
        let noise = noise(1000);
        for level in 1..=6 {
            let mut out = Vec::new();
            deflate(config(level, 12), None, &noise, &mut out);
            assert_eq!(out.len(), 5 + noise.len() + 5, "level {level}");
        }
    }
}
