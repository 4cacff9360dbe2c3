//! The front of a block with codes of its own: how long their words are.

use super::bits::Bits;
use super::codes::{Code, DISTANCES, LENGTHS, SYMBOLS};

/// The lengths of both codes (RFC 1951 §3.2.7), as symbols of a third code.
pub(super) struct Header {
    /// A symbol each, and from bit 8 on what is added to it.
    symbols: [u16; SYMBOLS + DISTANCES],
    count: usize,
    symbols_of: [usize; 2],
    order: usize,
    frequencies: [u16; LENGTHS],
}

impl Header {
    pub(super) fn new(
        symbols: &Code<SYMBOLS>,
        distances: &Code<DISTANCES>,
        lengths: &mut Code<LENGTHS>,
    ) -> Self {
        let mut header = Self {
            symbols: [0; SYMBOLS + DISTANCES],
            count: 0,
            symbols_of: [0; 2],
            order: 0,
            frequencies: [0; LENGTHS],
        };
        // Runs go on from one code to the other.
        let mut run = Run {
            length: 0,
            count: 0,
        };
        header.symbols_of[0] = header.code(symbols, &mut run, 257);
        header.symbols_of[1] = header.code(distances, &mut run, 1);
        header.end(&run);
        lengths.build(&header.frequencies, 7);
        let in_use = |&&symbol: &&u8| {
            header.frequencies[usize::from(symbol)] > 0 || lengths.used().contains(&symbol.into())
        };
        let behind = ORDER
            .iter()
            .rev()
            .take_while(|symbol| !in_use(symbol))
            .count();
        header.order = LENGTHS - behind;
        header
    }

    /// Adds the lengths of a code, and says of how many symbols.
    fn code<const N: usize>(&mut self, code: &Code<N>, run: &mut Run, least: usize) -> usize {
        let mut next = 0;
        for &symbol in code.used() {
            let symbol = usize::from(symbol);
            if symbol > next {
                self.add(run, 0, symbol - next);
            }
            self.add(run, (code.word(symbol) >> 16) as u8, 1);
            next = symbol + 1;
        }
        if next < least {
            self.add(run, 0, least - next);
        }
        next.max(least)
    }

    #[inline(always)]
    fn add(&mut self, run: &mut Run, length: u8, count: usize) {
        if run.length == length {
            run.count += count;
        } else {
            self.end(run);
            *run = Run { length, count };
        }
    }

    /// Writes a run down.
    #[inline(always)]
    fn end(&mut self, run: &Run) {
        let mut left = run.count;
        if run.length == 0 {
            while left >= 11 {
                let some = left.min(138);
                self.symbol(18, some - 11);
                left -= some;
            }
            if left >= 3 {
                self.symbol(17, left - 3);
                left = 0;
            }
        } else if left >= 4 {
            self.symbol(run.length, 0);
            left -= 1;
            while left >= 3 {
                let some = left.min(6);
                self.symbol(16, some - 3);
                left -= some;
            }
        }
        for _ in 0..left {
            self.symbol(run.length, 0);
        }
    }

    #[inline(always)]
    fn symbol(&mut self, symbol: u8, add: usize) {
        if let Some(place) = self.symbols.get_mut(self.count) {
            *place = u16::from(symbol) | (add as u16) << 8;
        }
        self.count += 1;
        if let Some(frequency) = self.frequencies.get_mut(usize::from(symbol)) {
            *frequency += 1;
        }
    }

    /// How many bits it takes.
    pub(super) fn bits(&self, code: &Code<LENGTHS>) -> u32 {
        let mut bits = 14 + 3 * self.order as u32;
        for &symbol in code.used() {
            let symbol = usize::from(symbol);
            let one = (code.word(symbol) >> 16) + extra_of(symbol);
            bits += u32::from(self.frequencies[symbol]) * one;
        }
        bits
    }

    pub(super) fn write(&self, code: &Code<LENGTHS>, mut bits: Bits) -> Bits {
        bits.put(self.symbols_of[0] as u64 - 257, 5);
        bits.put(self.symbols_of[1] as u64 - 1, 5);
        bits.put(self.order as u64 - 4, 4);
        bits.flush();
        let mut lengths = [0; LENGTHS];
        for &symbol in code.used() {
            let symbol = usize::from(symbol);
            lengths[symbol] = code.word(symbol) >> 16;
        }
        for &symbol in ORDER.iter().take(self.order) {
            bits.put(lengths[usize::from(symbol)].into(), 3);
            if bits.held() > 40 {
                bits.flush();
            }
        }
        bits.flush();
        for &symbol in self.symbols.iter().take(self.count) {
            let add = symbol >> 8;
            let symbol = usize::from(symbol & 31);
            if symbol < LENGTHS {
                bits.word(code.word(symbol));
                bits.put(add.into(), extra_of(symbol));
            }
            if bits.held() > 40 {
                bits.flush();
            }
        }
        bits.flush();
        bits
    }
}

/// So many symbols in a row have the same length.
struct Run {
    length: u8,
    count: usize,
}

/// The bits that are added to a symbol of the third code.
fn extra_of(symbol: usize) -> u32 {
    match symbol {
        16 => 2,
        17 => 3,
        18 => 7,
        _ => 0,
    }
}

/// RFC 1951 §3.2.7: the order in which the lengths of the third code are written.
const ORDER: [u8; LENGTHS] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];
