//! Blocks (RFC 1951 §3.2.3): what was found in a piece of text, in the fewest bits.

use super::bits::{Bits, Point};
use super::codes::{Code, DISTANCES, END, LENGTHS, SYMBOLS};
use super::header::Header;

/// Literals, and what they are followed by: a match.
#[derive(Clone, Copy, Debug)]
struct Sequence {
    literals: u16,
    /// Less 3.
    length: u8,
    distance_code: u8,
    /// Less 1.
    distance: u16,
}

/// Where matches go.
pub(super) trait Sink {
    /// Adds the literals at the front of the text, and a match behind them.
    fn push(&mut self, text: &[u8], literals: usize, length: usize, distance: usize);
}

/// What is in a block, and the codes of the last one.
pub(super) struct Block {
    sequences: Vec<Sequence>,
    symbols: [u16; SYMBOLS],
    distances: [u16; DISTANCES],
    symbol_code: Code<SYMBOLS>,
    distance_code: Code<DISTANCES>,
    length_code: Code<LENGTHS>,
}

impl Block {
    pub(super) fn new() -> Self {
        Self {
            sequences: Vec::new(),
            symbols: [0; SYMBOLS],
            distances: [0; DISTANCES],
            symbol_code: Code::new(),
            distance_code: Code::new(),
            length_code: Code::new(),
        }
    }

    /// Writes the block of this text, whose last literals have not been pushed, and begins anew.
    pub(super) fn write(&mut self, text: &[u8], last: &[u8], mut bits: Bits) -> Bits {
        for &literal in last {
            self.symbols[usize::from(literal)] += 1;
        }
        self.symbols[END] += 1;
        self.symbol_code.build(&self.symbols, 15);
        self.distance_code.build(&self.distances, 15);
        let header = Header::new(
            &self.symbol_code,
            &self.distance_code,
            &mut self.length_code,
        );

        let (mut own, mut fixed, mut extra) = (header.bits(&self.length_code), 0, 0);
        for &symbol in self.symbol_code.used() {
            let symbol = usize::from(symbol);
            let count = u32::from(self.symbols[symbol]);
            own += count * (self.symbol_code.word(symbol) >> 16);
            fixed += count * (FIXED.word(symbol) >> 16);
            if symbol > END {
                extra += count * u32::from(LENGTH_EXTRA[(symbol - END - 1) & 31]);
            }
        }
        for &symbol in self.distance_code.used() {
            let symbol = usize::from(symbol);
            let count = u32::from(self.distances[symbol]);
            own += count * (self.distance_code.word(symbol) >> 16);
            fixed += count * 5;
            extra += count * (symbol as u32 / 2).saturating_sub(1);
        }
        let stored = 8 * (text.len() as u32 + 5);
        let best = own.min(fixed) + extra + 3;
        bits.reserve(best.min(stored) as usize);
        if stored < best {
            store(text, &mut bits);
        } else if fixed <= own {
            bits.put(0b010, 3);
            bits = self.symbols_with(&FIXED, &FIXED_DISTANCES, text, bits);
        } else {
            bits.put(0b100, 3);
            bits = header.write(&self.length_code, bits);
            bits = self.symbols_with(&self.symbol_code, &self.distance_code, text, bits);
        }
        self.sequences.clear();
        self.symbols = [0; SYMBOLS];
        self.distances = [0; DISTANCES];
        bits
    }

    fn symbols_with(
        &self,
        symbols: &Code<SYMBOLS>,
        distances: &Code<DISTANCES>,
        mut text: &[u8],
        mut bits: Bits,
    ) -> Bits {
        let words = symbols.words();
        let literal = |bits: &mut Bits, literals: &[u8]| {
            for some in literals.chunks(3) {
                for &literal in some {
                    bits.word(words[usize::from(literal)]);
                }
                bits.flush();
            }
        };
        bits.flush();
        for sequence in &self.sequences {
            let (literals, rest) = text
                .split_at_checked(sequence.literals.into())
                .unwrap_or_default();
            literal(&mut bits, literals);
            text = rest
                .get(usize::from(sequence.length) + 3..)
                .unwrap_or_default();
            let code = usize::from(LENGTH_CODES[usize::from(sequence.length)] & 31);
            bits.word(words[257 + code]);
            bits.word(LENGTH_RESTS[usize::from(sequence.length)]);
            bits.word(distances.words()[usize::from(sequence.distance_code & 31)]);
            let extra = distance_extra(sequence.distance_code);
            bits.put(u64::from(sequence.distance) & ((1 << extra) - 1), extra);
            bits.flush();
        }
        literal(&mut bits, text);
        bits.word(words[END]);
        bits.flush();
        bits
    }
}

impl Sink for &mut Block {
    #[inline(always)]
    fn push(&mut self, text: &[u8], literals: usize, length: usize, distance: usize) {
        for &literal in text.get(..literals).unwrap_or_default() {
            self.symbols[usize::from(literal)] += 1;
        }
        let length = (length - 3) as u8;
        let distance = (distance - 1) as u16;
        let distance_code = distance_code(distance);
        self.symbols[257 + usize::from(LENGTH_CODES[usize::from(length)] & 31)] += 1;
        self.distances[usize::from(distance_code & 31)] += 1;
        self.sequences.push(Sequence {
            literals: literals as u16,
            length,
            distance_code,
            distance,
        });
    }
}

/// A block with the codes of RFC 1951 §3.2.6, which is written at once.
pub(super) struct Fixed {
    bits: Bits,
    from: Point,
}

impl Fixed {
    /// Begins one that has no more text than so many bytes.
    pub(super) fn new(mut bits: Bits, most: usize) -> Self {
        bits.reserve(9 * most + 64);
        let from = bits.point();
        bits.put(0b010, 3);
        bits.flush();
        Self { bits, from }
    }

    /// Ends the block of this text, whose last literals have not been pushed.
    pub(super) fn end(mut self, text: &[u8], last: &[u8]) -> Bits {
        self.literals(last);
        self.bits.word(FIXED.words()[END]);
        self.bits.flush();
        if self.bits.since(self.from) > 8 * (text.len() + 5) {
            self.bits.back(self.from);
            store(text, &mut self.bits);
        }
        self.bits
    }

    #[inline(always)]
    fn literals(&mut self, literals: &[u8]) {
        for some in literals.chunks(5) {
            for &literal in some {
                self.bits.word(FIXED.words()[usize::from(literal)]);
            }
            self.bits.flush();
        }
    }
}

impl Sink for Fixed {
    #[inline(always)]
    fn push(&mut self, text: &[u8], literals: usize, length: usize, distance: usize) {
        match text.first_chunk().map(|text| u64::from_le_bytes(*text)) {
            Some(word) if literals <= 6 => {
                let word = word & !(u64::MAX << (8 * literals));
                if word & 0x8080_8080_8080 == 0 {
                    // Literals up to 143 have words of 8 bits, which begin with that of 0x30.
                    let words = (word + 0x3030_3030_3030).reverse_bits().swap_bytes();
                    self.bits
                        .put(words & !(u64::MAX << (8 * literals)), 8 * literals as u32);
                    self.bits.flush();
                } else {
                    self.literals(text.get(..literals).unwrap_or_default());
                }
            }
            _ => self.literals(text.get(..literals).unwrap_or_default()),
        }
        self.bits.word(FIXED_LENGTHS[(length - 3) & 255]);
        let distance = (distance - 1) as u16;
        let code = distance_code(distance);
        let extra = distance_extra(code);
        let word = FIXED_DISTANCES.words()[usize::from(code & 31)] & 31;
        let rest = u32::from(distance) & ((1 << extra) - 1);
        self.bits.put((word | rest << 5).into(), 5 + extra);
        self.bits.flush();
    }
}

/// Writes text as it is (RFC 1951 §3.2.4).
fn store(text: &[u8], bits: &mut Bits) {
    let length = text.len() as u16;
    bits.put(0, 3);
    bits.bytes(&[]);
    bits.bytes(&length.to_le_bytes());
    bits.bytes(&(!length).to_le_bytes());
    bits.bytes(text);
}

/// Writes an empty stored block: what was written so far can be read (zlib's sync flush).
pub(super) fn sync(bits: &mut Bits) {
    bits.reserve(0);
    bits.put(0, 3);
    bits.bytes(&super::TAIL);
}

#[inline(always)]
fn distance_code(distance: u16) -> u8 {
    let log = 31 - (u32::from(distance) | 1).leading_zeros();
    let half = (u32::from(distance) << 1 >> log) & 1;
    // 0 and 1 are their own codes.
    let code = 2 * log + half;
    if distance < 2 {
        distance as u8
    } else {
        code as u8
    }
}

/// The bits that are added to a distance code.
#[inline(always)]
fn distance_extra(code: u8) -> u32 {
    (u32::from(code & 31) / 2).saturating_sub(1)
}

/// RFC 1951 §3.2.5: the extra bits of each length code.
const LENGTH_EXTRA: [u8; 32] = [
    0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0, 0, 0, 0,
];

/// The shortest length of each code, less 3.
const LENGTH_BASES: [u8; 32] = {
    let mut bases = [0; 32];
    let (mut code, mut length) = (0, 0_u16);
    while code < 28 {
        bases[code] = length as u8;
        length += 1 << LENGTH_EXTRA[code];
        code += 1;
    }
    bases[28] = 255;
    bases
};

/// The code of each length, less 3.
const LENGTH_CODES: [u8; 256] = {
    let mut codes = [0; 256];
    let mut code = 0;
    while code < 29 {
        let mut length = LENGTH_BASES[code] as usize;
        while length < 256 {
            codes[length] = code as u8;
            length += 1;
        }
        code += 1;
    }
    codes
};

/// RFC 1951 §3.2.6.
static FIXED: Code<SYMBOLS> = {
    let mut lengths = [8; SYMBOLS];
    let mut symbol = 144;
    while symbol < 280 {
        lengths[symbol] = if symbol < 256 { 9 } else { 7 };
        symbol += 1;
    }
    Code::with_lengths(&lengths)
};

static FIXED_DISTANCES: Code<DISTANCES> = Code::with_lengths(&[5; DISTANCES]);

/// What follows the code of each length, less 3, as a word.
static LENGTH_RESTS: [u32; 256] = {
    let mut rests = [0; 256];
    let mut length = 0;
    while length < 256 {
        let code = LENGTH_CODES[length] as usize;
        rests[length] =
            (length as u32 - LENGTH_BASES[code] as u32) | (LENGTH_EXTRA[code] as u32) << 16;
        length += 1;
    }
    rests
};

/// The word of each length, less 3, in the fixed code, and what follows it.
static FIXED_LENGTHS: [u32; 256] = {
    let mut words = [0; 256];
    let mut length = 0;
    while length < 256 {
        let word = FIXED.word(257 + LENGTH_CODES[length] as usize);
        let count = word >> 16;
        let rest = LENGTH_RESTS[length];
        let bits = word & 0xffff | (rest & 0xffff) << count;
        words[length] = bits | (count + (rest >> 16)) << 16;
        length += 1;
    }
    words
};
