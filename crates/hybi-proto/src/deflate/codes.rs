//! Prefix codes (RFC 1951 §3.2.2): lengths from frequencies, and words from lengths.

/// A code for up to `N` symbols. Only what it says of the symbols in use has a meaning.
pub(super) struct Code<const N: usize> {
    /// What is written for each symbol: the bits, and from bit 16 on how many.
    words: [u32; N],
    used: [u16; N],
    count: usize,
}

impl<const N: usize> Code<N> {
    pub(super) const fn new() -> Self {
        Self {
            words: [0; N],
            used: [0; N],
            count: 0,
        }
    }

    /// The code of RFC 1951 §3.2.6, or another one with these lengths.
    pub(super) const fn with_lengths(lengths: &[u8; N]) -> Self {
        let mut code = Self::new();
        let mut counts = [0; 16];
        let mut symbol = 0;
        while symbol < N {
            counts[lengths[symbol] as usize & 15] += 1;
            code.used[symbol] = symbol as u16;
            symbol += 1;
        }
        code.count = N;
        let mut next = first_words(&counts);
        symbol = 0;
        while symbol < N {
            let length = lengths[symbol];
            code.words[symbol] = word(&mut next, length);
            symbol += 1;
        }
        code
    }

    /// The word of a symbol.
    #[inline(always)]
    pub(super) const fn word(&self, symbol: usize) -> u32 {
        self.words[symbol]
    }

    /// The words of all symbols.
    #[inline(always)]
    pub(super) fn words(&self) -> &[u32; N] {
        &self.words
    }

    /// The symbols in use, in their order.
    pub(super) fn used(&self) -> &[u16] {
        self.used.get(..self.count).unwrap_or_default()
    }

    /// Makes the best code for these frequencies with words of up to `most` bits. It is always
    /// complete: two symbols at least are in use.
    pub(super) fn build(&mut self, frequencies: &[u16; N], most: usize) {
        let mut nodes = [0_u32; N];
        let mut n = 0;
        for (block, all) in frequencies.chunks(8).enumerate() {
            if all.iter().fold(0, |any, one| any | one) == 0 {
                continue;
            }
            for (at, &frequency) in all.iter().enumerate() {
                let symbol = block * 8 + at;
                // Written always, counted if used.
                if let (Some(used), Some(node)) = (self.used.get_mut(n), nodes.get_mut(n)) {
                    *used = symbol as u16;
                    *node = u32::from(frequency) << 16 | symbol as u32;
                }
                n += usize::from(frequency != 0);
            }
        }
        while n < 2 {
            // One word would have no bits.
            let symbol = u16::from(n == 1 && self.used[0] == 0);
            (self.used[n], nodes[n]) = (symbol, symbol.into());
            n += 1;
            self.used[..n].sort_unstable();
        }
        self.count = n;
        let nodes = &mut nodes[..n];
        nodes.sort_unstable();
        let mut symbols = [0_u16; N];
        for (symbol, node) in symbols.iter_mut().zip(nodes.iter_mut()) {
            *symbol = *node as u16;
            *node >>= 16;
        }
        let mut counts = [0; 16];
        count_lengths(nodes, most, &mut counts);
        // The rarest have the longest words.
        let mut rarest = symbols.iter();
        for length in (1..16).rev() {
            for &symbol in rarest.by_ref().take(counts[length].into()) {
                if let Some(word) = self.words.get_mut(usize::from(symbol)) {
                    *word = length as u32;
                }
            }
        }
        let mut next = first_words(&counts);
        for &symbol in &self.used[..n] {
            if let Some(of) = self.words.get_mut(usize::from(symbol)) {
                *of = word(&mut next, *of as u8);
            }
        }
    }
}

/// How many words there are of each length, from frequencies in ascending order, which are spoilt:
/// "In-place calculation of minimum-redundancy codes", Moffat and Katajainen 1995.
fn count_lengths(nodes: &mut [u32], most: usize, counts: &mut [u16; 16]) {
    let n = nodes.len();
    if n < 2 {
        return;
    }
    // Each inner node takes the place of a leaf that is used up: first its weight, then its parent.
    let (mut leaf, mut root) = (0, 0);
    for next in 0..n - 1 {
        let mut weight = 0;
        for _ in 0..2 {
            if leaf >= n || (root < next && nodes[root] < nodes[leaf]) {
                weight += nodes[root];
                nodes[root] = next as u32;
                root += 1;
            } else {
                weight += nodes[leaf];
                leaf += 1;
            }
        }
        nodes[next] = weight;
    }
    // Then its depth.
    nodes[n - 2] = 0;
    for next in (0..n - 2).rev() {
        nodes[next] = nodes[nodes[next] as usize] + 1;
    }
    // What is not an inner node at a depth is a leaf.
    let (mut room, mut depth, mut at) = (1, 0, n - 1);
    while room > 0 {
        let mut inner = 0;
        while at > 0 && nodes[at - 1] == depth {
            inner += 1;
            at -= 1;
        }
        counts[most.min(depth as usize)] += room - inner;
        room = 2 * inner;
        depth += 1;
    }
    // Words that were to be longer: shorter ones make room for them.
    let mut sum: u32 = (1..=most)
        .map(|length| u32::from(counts[length]) << (most - length))
        .sum();
    while sum > 1 << most {
        let Some(length) = (1..most).rev().find(|&length| counts[length] > 0) else {
            return;
        };
        counts[length] -= 1;
        counts[length + 1] += 2;
        counts[most] -= 1;
        sum -= 1;
    }
}

/// The first word of each length (RFC 1951 §3.2.2, step 2).
const fn first_words(counts: &[u16; 16]) -> [u16; 16] {
    let mut next = [0; 16];
    let mut length = 1;
    let mut word = 0;
    while length < 16 {
        next[length] = word;
        word = (word + counts[length]) << 1;
        length += 1;
    }
    next
}

/// The next word of a length. RFC 1951 §3.1.1: Huffman codes are packed starting with the
/// most-significant bit of the code.
const fn word(next: &mut [u16; 16], length: u8) -> u32 {
    let at = length as usize & 15;
    let word = next[at];
    next[at] = word.wrapping_add(1);
    (word.reverse_bits() as u32) >> (16 - at as u32) | (at as u32) << 16
}

/// Literals, the end of a block and lengths; the last two are only in the fixed code.
pub(super) const SYMBOLS: usize = 288;
pub(super) const END: usize = 256;
/// Likewise the last two.
pub(super) const DISTANCES: usize = 32;
pub(super) const LENGTHS: usize = 19;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The lengths of the words in use. Panics if the code is not complete, or is not one.
    fn lengths<const N: usize>(frequencies: &[u16; N], most: usize) -> Vec<(u16, u32)> {
        let mut code = Code::<N>::new();
        code.build(frequencies, most);
        let of = |&symbol: &u16| (symbol, code.word(symbol.into()) >> 16);
        let lengths: Vec<_> = code.used().iter().map(of).collect();
        assert!(lengths.is_sorted());
        let sum: u32 = lengths.iter().map(|(_, length)| 1 << (15 - length)).sum();
        assert_eq!(sum, 1 << 15, "{lengths:?}");
        for &(symbol, length) in &lengths {
            assert!((1..=most as u32).contains(&length));
            // No word begins with another one.
            for &(other, longer) in lengths.iter().filter(|other| other.0 != symbol) {
                let (a, b) = (code.word(symbol.into()), code.word(other.into()));
                assert!(longer < length || (a ^ b) & ((1 << length) - 1) != 0);
            }
        }
        for (symbol, &frequency) in frequencies.iter().enumerate() {
            assert!(frequency == 0 || code.used().contains(&(symbol as u16)));
        }
        lengths
    }

    #[test]
    fn one_symbol_or_none_gets_a_second_one() {
        assert_eq!(lengths(&[0; 19], 7), [(0, 1), (1, 1)]);
        let mut frequencies = [0; 19];
        frequencies[0] = 9;
        assert_eq!(lengths(&frequencies, 7), [(0, 1), (1, 1)]);
        frequencies[0] = 0;
        frequencies[18] = 9;
        assert_eq!(lengths(&frequencies, 7), [(0, 1), (18, 1)]);
    }

    /// RFC 1951 §3.2.2 gives the words for these lengths.
    #[test]
    fn a_code_with_given_lengths_is_that_of_the_rfc() {
        let code = Code::with_lengths(&[3, 3, 3, 3, 3, 2, 4, 4]);
        let words = [0b010, 0b011, 0b100, 0b101, 0b110, 0b00, 0b1110, 0b1111_u16];
        assert_eq!(code.used(), [0, 1, 2, 3, 4, 5, 6, 7]);
        for (symbol, length) in [3, 3, 3, 3, 3, 2, 4, 4].into_iter().enumerate() {
            let packed = words[symbol].reverse_bits() >> (16 - length);
            assert_eq!(code.word(symbol), u32::from(packed) | length << 16);
        }
    }

    #[test]
    fn two_symbols_have_one_bit_each() {
        let mut frequencies = [0; 32];
        (frequencies[3], frequencies[30]) = (1, 60_000);
        assert_eq!(lengths(&frequencies, 15), [(3, 1), (30, 1)]);
    }

    #[test]
    fn frequencies_of_fibonacci_do_not_exceed_the_most_bits() {
        let mut frequencies = [0_u16; 24];
        let (mut a, mut b) = (1, 1);
        for frequency in &mut frequencies {
            *frequency = a;
            (a, b) = (b, a.saturating_add(b));
        }
        for most in 7..=15 {
            let lengths = lengths(&frequencies, most);
            let longest = lengths.iter().map(|(_, length)| *length).max();
            assert_eq!(longest, Some(most as u32));
        }
    }

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore)] // nothing unsafe, and much to do
        fn any_code_is_complete(
            frequencies in proptest::collection::vec(prop_oneof![0..1_u16, 0..4_u16, any::<u16>()], 288),
        ) {
            let frequencies: [u16; 288] = frequencies.try_into().unwrap_or([0; 288]);
            lengths(&frequencies, 15);
            lengths(&std::array::from_fn::<_, 19, _>(|n| frequencies[n]), 7);
        }
    }
}
