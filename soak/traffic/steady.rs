//! What a process holds between two phases, when nobody is connected, and whether that grows.
//!
//! Small blocks are counted apart: a thread keeps buffers of large payloads for the next ones, up to
//! 4 MiB of them, as many as they happen to be, and forgets the oldest for a new one. Of small blocks
//! it keeps a handful; one that is lost for each of some thousand connections, or messages, is seen.

use std::fmt;

use hybi_soak::process::Held;

/// So many samples tell a growth from chance: then the second half is compared with the first, on
/// the average.
const MANY: usize = 8;

/// What is kept from phase to phase.
pub struct Steady {
    name: &'static str,
    threads: i64,
    /// Of each phase but those that warm up.
    samples: Vec<Held>,
}

/// What is looked at: its name, its number, how much more there may be by thread than in the first
/// sample, and in the second half of the samples than in the first.
type Row = (&'static str, fn(&Held) -> i64, [i64; 2]);

const ROWS: [Row; 5] = [
    ("small blocks", |held| held.small_blocks, [32, 8]),
    (
        "bytes in them",
        |held| held.small_live,
        [64 << 10, 16 << 10],
    ),
    // As much as the largest buffer that is kept.
    ("live bytes", |held| held.live, [2 << 20, 512 << 10]),
    // glibc has an arena for each thread, and seldom gives back what lies in one.
    ("bytes of RSS", |held| held.rss as i64, [24 << 20, 8 << 20]),
    ("descriptors", |held| held.descriptors as i64, [0, 0]),
];

impl Steady {
    pub fn new(name: &'static str, threads: i64) -> Self {
        Self {
            name,
            threads,
            samples: Vec::new(),
        }
    }

    /// Judges what is held after a phase by what was held after the first that is judged.
    pub fn judge(&mut self, held: Held) -> Vec<String> {
        self.samples.push(held);
        self.compare(0, |of| (of(&self.samples[0]), of(&held)))
    }

    /// Whether one was judged by another.
    pub fn has_judged(&self) -> bool {
        self.samples.len() > 1
    }

    /// Judges the second half by the first, if that means something.
    pub fn judge_growth(&self) -> Vec<String> {
        if self.samples.len() < MANY {
            return Vec::new();
        }
        self.compare(1, |of| self.halves(of))
    }

    fn compare(
        &self,
        allowed: usize,
        first_and_now: impl Fn(fn(&Held) -> i64) -> (i64, i64),
    ) -> Vec<String> {
        let judge = |&(what, of, more): &Row| {
            let (first, now) = first_and_now(of);
            let more = more[allowed] * self.threads;
            let name = self.name;
            (now > first + more)
                .then(|| format!("{name}: {first} {what} became {now}, {more} more are allowed"))
        };
        ROWS.iter().filter_map(judge).collect()
    }

    /// The averages of the first and the second half.
    fn halves(&self, of: fn(&Held) -> i64) -> (i64, i64) {
        let (first, second) = self.samples.split_at(self.samples.len() / 2);
        let average = |half: &[Held]| half.iter().map(of).sum::<i64>() / half.len().max(1) as i64;
        (average(first), average(second))
    }
}

impl fmt::Display for Steady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |&(what, of, _): &Row| {
            let all = || self.samples.iter().map(of);
            let (least, most) = (all().min().unwrap_or(0), all().max().unwrap_or(0));
            let (first, second) = self.halves(of);
            format!("{what} {least} to {most}, in the halves {first} and {second}")
        };
        let rows: Vec<_> = ROWS.iter().map(row).collect();
        write!(f, "{}: {}", self.name, rows.join("; "))
    }
}
