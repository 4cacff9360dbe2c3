//! RFC 1951 as it is written, slow and plain: what our engine makes is judged by it.

/// Inflates the messages of one direction, and knows how far back they have looked.
#[derive(Default)]
pub(crate) struct Reference {
    said: Vec<u8>,
    pub(crate) furthest: usize,
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> usize {
        let bit = self.bytes[self.at / 8] >> (self.at % 8) & 1;
        self.at += 1;
        bit.into()
    }

    fn bits(&mut self, n: usize) -> usize {
        (0..n).map(|at| self.bit() << at).sum()
    }
}

/// A code by the lengths of its symbols' words (RFC 1951 §3.2.2): a symbol for each word with a one
/// before it.
struct Code(Vec<Option<usize>>);

impl Code {
    fn new(lengths: &[usize]) -> Self {
        let (mut symbols, mut word) = (vec![None; 1 << 16], 0);
        for len in 1..16 {
            word <<= 1;
            for (symbol, _) in lengths.iter().enumerate().filter(|(_, l)| **l == len) {
                symbols[1 << len | word] = Some(symbol);
                word += 1;
            }
        }
        Self(symbols)
    }

    fn next(&self, bits: &mut Bits<'_>) -> usize {
        let mut word = 1;
        loop {
            word = word << 1 | bits.bit();
            if let Some(symbol) = self.0[word] {
                return symbol;
            }
        }
    }
}

impl Reference {
    /// Inflates the payload of a message without final blocks.
    pub(crate) fn message(&mut self, payload: &[u8]) -> Vec<u8> {
        let from = self.said.len();
        let bytes = [payload, &[0, 0, 0xff, 0xff]].concat();
        let mut bits = Bits {
            bytes: &bytes,
            at: 0,
        };
        while bits.at.div_ceil(8) < bytes.len() {
            let last = bits.bit();
            match bits.bits(2) {
                0 => {
                    bits.at = bits.at.next_multiple_of(8);
                    let len = bits.bits(16);
                    assert_eq!(bits.bits(16), len ^ 0xffff);
                    let at = bits.at / 8;
                    self.said.extend(&bytes[at..at + len]);
                    bits.at += 8 * len;
                }
                kind => self.block(&mut bits, kind),
            }
            assert_eq!(last, 0, "we make no final block");
        }
        self.said[from..].to_vec()
    }

    fn block(&mut self, bits: &mut Bits<'_>, kind: usize) {
        let (literals, distances) = if kind == 1 {
            let fixed = [8; 144].into_iter().chain([9; 112]).chain([7; 24]);
            let fixed: Vec<usize> = fixed.chain([8; 8]).collect();
            (Code::new(&fixed), Code::new(&[5; 30]))
        } else {
            let (lit, dist, len) = (bits.bits(5) + 257, bits.bits(5) + 1, bits.bits(4) + 4);
            let mut lengths = [0; 19];
            let order = [
                16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
            ];
            order[..len]
                .iter()
                .for_each(|&at| lengths[at] = bits.bits(3));
            let code = Code::new(&lengths);
            let mut lengths: Vec<usize> = Vec::new();
            while lengths.len() < lit + dist {
                let (what, times) = match code.next(bits) {
                    16 => (*lengths.last().expect("a length"), 3 + bits.bits(2)),
                    17 => (0, 3 + bits.bits(3)),
                    18 => (0, 11 + bits.bits(7)),
                    len => (len, 1),
                };
                lengths.extend(std::iter::repeat_n(what, times));
            }
            (Code::new(&lengths[..lit]), Code::new(&lengths[lit..]))
        };
        loop {
            let len = match literals.next(bits) {
                256 => return,
                285 => 258,
                literal @ 0..256 => {
                    self.said.push(literal as u8);
                    continue;
                }
                code @ 257..265 => code - 254,
                code => {
                    let extra = (code - 261) / 4;
                    ((4 + (code - 265) % 4) << extra) + 3 + bits.bits(extra)
                }
            };
            let back = match distances.next(bits) {
                code @ 0..4 => code + 1,
                code => {
                    let extra = (code - 2) / 2;
                    ((2 + code % 2) << extra) + 1 + bits.bits(extra)
                }
            };
            self.furthest = self.furthest.max(back);
            let from = self.said.len() - back;
            (from..from + len).for_each(|at| self.said.push(self.said[at]));
        }
    }
}
