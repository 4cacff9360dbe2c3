//! What in a text was there before: the matches of LZ77, within a window.

use super::block::Sink;

/// Text, and where in it what begins.
pub(super) struct Matcher<P> {
    text: Box<[u8; ROOM + PAD]>,
    /// How much of it there is.
    end: usize,
    /// What is added to a place in the text, for the table. It only grows, so that what is in there
    /// of another text is below it.
    base: usize,
    /// The last places of each hash.
    places: Box<[P; HASHES]>,
}

/// How hard to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Effort {
    /// Of so many places of the history one is known: 2 or 4.
    pub(super) step: usize,
    /// Of so many places in a match one is known.
    pub(super) stride: usize,
    /// Whether a match is given up for a longer one at the next byte.
    pub(super) lazy: bool,
    /// A match of this length is good enough.
    pub(super) nice: usize,
}

impl<P: Places> Matcher<P> {
    pub(super) fn new() -> Self {
        Self {
            text: boxed(),
            end: 0,
            base: 1,
            places: boxed(),
        }
    }

    /// Begins anew, behind this history.
    pub(super) fn prime(&mut self, history: &[u8], step: usize) {
        self.base += self.end;
        self.end = 0;
        self.make_room(history.len(), 0);
        self.extend(history);
        let mut at = if step < 4 {
            self.know::<true>()
        } else {
            self.know::<false>()
        };
        while at + SHORTEST <= self.end {
            self.insert(at);
            at += step;
        }
    }

    /// Inserts each second place, or each fourth, but at the end, and says where that is.
    fn know<const SECOND: bool>(&mut self) -> usize {
        let (places, mut place) = (&mut self.places, self.base as u16);
        let mut insert = |word: u64, place: u16| {
            let slot = &mut places[hash(word)];
            *slot = slot.with(place);
        };
        let text = self.text.get(..self.end).unwrap_or_default();
        let (words, _) = text.as_chunks();
        let (between, _) = text.get(4..).unwrap_or_default().as_chunks();
        for (a, b) in words.iter().zip(between) {
            let (a, b) = (u64::from_le_bytes(*a), u64::from_le_bytes(*b));
            insert(a, place);
            if SECOND {
                insert(a >> 16, place.wrapping_add(2));
            }
            insert(b, place.wrapping_add(4));
            if SECOND {
                insert(b >> 16, place.wrapping_add(6));
            }
            place = place.wrapping_add(8);
        }
        8 * words.len().min(between.len())
    }

    /// Adds text to look at, of which no more than [`MOST`] is taken, and says where it begins.
    pub(super) fn add(&mut self, text: &[u8], window: usize) -> usize {
        self.make_room(text.len(), window);
        let begin = self.end;
        self.extend(text);
        begin
    }

    pub(super) fn text(&self, from: usize) -> &[u8] {
        self.text.get(from..self.end).unwrap_or_default()
    }

    fn extend(&mut self, text: &[u8]) {
        if let Some(room) = self.text.get_mut(self.end..self.end + text.len()) {
            room.copy_from_slice(text);
            self.end += text.len();
        }
    }

    fn make_room(&mut self, more: usize, window: usize) {
        if self.end + more > ROOM.min(window + MOST) {
            let gone = self.end.saturating_sub(window);
            self.text.copy_within(gone..self.end, 0);
            self.end -= gone;
            self.base += gone;
        }
        if self.base + self.end + more >= 1 << 16 {
            // Numbers are at an end.
            let less = (self.base - 1).min(usize::from(u16::MAX)) as u16;
            for places in self.places.iter_mut() {
                *places = places.less(less);
            }
            self.base = 1;
        }
    }

    #[inline(always)]
    fn insert(&mut self, at: usize) {
        let place = (self.base + at) as u16;
        let slot = &mut self.places[hash(word(&self.text, at))];
        *slot = slot.with(place);
    }

    /// Finds the matches of the text from here on, and says where the literals begin that are left.
    pub(super) fn run<const LAZY: bool, S: Sink>(
        &mut self,
        begin: usize,
        window: usize,
        effort: Effort,
        mut sink: S,
    ) -> (usize, S) {
        let end = self.end;
        let (mut at, mut anchor) = (begin, begin);
        while at + SHORTEST <= end {
            let places = self.visit(at);
            let mut found = Found {
                length: SHORTEST - 1,
                away: 0,
            };
            self.look(at, places, end, window, &mut found);
            if found.away == 0 {
                at += 1 + ((at - anchor) >> 6).min(3);
                continue;
            }
            loop {
                if !LAZY || found.length >= effort.nice || at + 1 + SHORTEST > end {
                    break;
                }
                let mut next = Found {
                    length: found.length,
                    away: 0,
                };
                let places = self.visit(at + 1);
                self.look(at + 1, places, end, window, &mut next);
                if next.away == 0 {
                    break;
                }
                at += 1;
                found = next;
            }
            // Places are known one by one only where there was no match.
            let most = (at - anchor)
                .min(at - found.away)
                .min(LONGEST - found.length);
            let mut more = 0;
            if most > 0 && at - found.away >= 8 {
                let differ = word(&self.text, at - 8) ^ word(&self.text, at - found.away - 8);
                more = most.min(differ.leading_zeros() as usize / 8);
            }
            let from = at - more;
            found.length += more;
            let text = self.text.get(anchor..).unwrap_or_default();
            sink.push(text, from - anchor, found.length, found.away);
            let next = from + found.length;
            at += 1 + LAZY as usize;
            while at < next && at + SHORTEST <= end {
                self.insert(at);
                at += effort.stride;
            }
            at = next;
            anchor = next;
        }
        (anchor, sink)
    }

    /// What is known of a place, to which it is added.
    #[inline(always)]
    fn visit(&mut self, at: usize) -> P {
        let place = (self.base + at) as u16;
        let slot = &mut self.places[hash(word(&self.text, at))];
        let places = *slot;
        *slot = places.with(place);
        places
    }

    /// Tries the places where what is here was.
    #[inline(always)]
    fn look(&self, at: usize, mut places: P, end: usize, window: usize, found: &mut Found) {
        let limit = at.min(window);
        for _ in 0..P::COUNT {
            let away = (self.base + at).wrapping_sub(places.last().into());
            places = places.before();
            if away.wrapping_sub(1) >= limit {
                break;
            }
            let tail = found.length - 3;
            if word(&self.text, at + tail) as u32 != word(&self.text, at - away + tail) as u32 {
                continue;
            }
            let same = same(&self.text, at, at - away, end);
            if same > found.length {
                *found = Found { length: same, away };
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Found {
    length: usize,
    away: usize,
}

#[inline(always)]
fn word(text: &[u8; ROOM + PAD], at: usize) -> u64 {
    let at = at & (ROOM - 1);
    let word = text[at..at + PAD].first_chunk();
    word.map_or(0, |word| u64::from_le_bytes(*word))
}

/// What the first bytes of a word are known by.
#[inline(always)]
fn hash(word: u64) -> usize {
    let word = word << (64 - 8 * SHORTEST);
    (word.wrapping_mul(0x9e37_79b1_85eb_ca87) >> (64 - HASH_BITS)) as usize & (HASHES - 1)
}

/// How many bytes are the same.
#[inline(always)]
fn same(text: &[u8; ROOM + PAD], a: usize, b: usize, end: usize) -> usize {
    let most = (end - a).min(LONGEST);
    let mut same = 0;
    while same < most {
        let differ = word(text, a + same) ^ word(text, b + same);
        if differ != 0 {
            return most.min(same + (differ.trailing_zeros() / 8) as usize);
        }
        same += 8;
    }
    most
}

/// The last places where something was, 0 for none.
pub(super) trait Places: Copy + Default {
    /// How many.
    const COUNT: usize;
    fn last(self) -> u16;
    fn before(self) -> Self;
    fn with(self, place: u16) -> Self;
    fn less(self, less: u16) -> Self;
}

impl Places for u16 {
    const COUNT: usize = 1;

    #[inline(always)]
    fn last(self) -> u16 {
        self
    }

    #[inline(always)]
    fn before(self) -> Self {
        0
    }

    #[inline(always)]
    fn with(self, place: u16) -> Self {
        place
    }

    fn less(self, less: u16) -> Self {
        self.saturating_sub(less)
    }
}

/// Four, the last one in the lowest bits.
impl Places for u64 {
    const COUNT: usize = 4;

    #[inline(always)]
    fn last(self) -> u16 {
        self as u16
    }

    #[inline(always)]
    fn before(self) -> Self {
        self >> 16
    }

    #[inline(always)]
    fn with(self, place: u16) -> Self {
        self << 16 | u64::from(place)
    }

    fn less(self, less: u16) -> Self {
        [48, 32, 16, 0].into_iter().fold(0, |all, lane| {
            all << 16 | u64::from(((self >> lane) as u16).saturating_sub(less))
        })
    }
}

/// A box of zeros, which are not on the stack before.
fn boxed<T: Copy + Default, const N: usize>() -> Box<[T; N]> {
    let zeros = vec![T::default(); N].into_boxed_slice();
    zeros
        .try_into()
        .unwrap_or_else(|_| Box::new([T::default(); N]))
}

/// The text of a window and of a piece, and what may be read behind it.
const ROOM: usize = 1 << 16;
const PAD: usize = 8;

/// The most text that is looked at at once, in bytes.
pub(super) const MOST: usize = 31 << 10;

const HASH_BITS: u32 = 12;
const HASHES: usize = 1 << HASH_BITS;

/// The length of the shortest match, in bytes, and what places are known by. Matches of four bytes
/// save a hundredth of prose, but in records they take the places of longer ones: three hundredths.
const SHORTEST: usize = 5;

/// RFC 1951 §3.2.5.
const LONGEST: usize = 258;
