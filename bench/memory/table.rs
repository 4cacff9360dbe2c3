//! Times by turns, and the table they make.

use std::hint::black_box;
use std::time::Instant;

/// Who is measured, and a call that does the work and checks that it was done.
pub struct Entry<'a> {
    name: &'static str,
    peer: bool,
    work: Box<dyn FnMut() + 'a>,
    calls: u32,
    times: Vec<f64>,
}

impl<'a> Entry<'a> {
    /// One of hybi's own.
    pub fn own(name: &'static str, work: impl FnMut() + 'a) -> Self {
        Self::new(name, false, work)
    }

    /// Another library in a way that the best one is not chosen from.
    pub fn aside(name: &'static str, work: impl FnMut() + 'a) -> Self {
        Self::new(name, false, work)
    }

    /// Another library.
    pub fn peer(name: &'static str, work: impl FnMut() + 'a) -> Self {
        Self::new(name, true, work)
    }

    fn new(name: &'static str, peer: bool, work: impl FnMut() + 'a) -> Self {
        Self {
            name,
            peer,
            work: Box::new(work),
            calls: 1,
            times: Vec::new(),
        }
    }

    /// The nanoseconds of one call, as the mean of so many.
    fn sample(&mut self) -> f64 {
        let start = Instant::now();
        for _ in 0..self.calls {
            (self.work)();
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(self.calls)
    }

    fn turn(&mut self) {
        let time = self.sample();
        self.times.push(time);
    }
}

/// How long a sample takes at least.
const SAMPLE: f64 = 4e5;

/// Measures by turns and prints a table: nanoseconds a message, for calls that handle `messages` of
/// them with `bytes` bytes in all, beside the best peer and beside a plain copy of the bytes.
pub fn print(
    title: &str,
    messages: usize,
    bytes: usize,
    turns: usize,
    mut entries: Vec<Entry<'_>>,
) {
    let source = vec![0x5a_u8; bytes];
    let mut target = vec![0_u8; bytes];
    entries.push(Entry::own("a plain copy", move || {
        black_box(&mut target).copy_from_slice(black_box(&source));
    }));
    for entry in &mut entries {
        while entry.sample() * f64::from(entry.calls) < SAMPLE {
            entry.calls *= 2;
        }
    }
    for _ in 0..turns {
        entries.iter_mut().for_each(Entry::turn);
    }
    let best = entries
        .iter()
        .filter(|entry| entry.peer)
        .min_by(|a, b| median(&a.times).total_cmp(&median(&b.times)));
    let copy = entries.last();
    println!("**{title}**\n");
    println!("| | ns | to the best peer | to a copy |");
    println!("|---|---|---|---|");
    for entry in &entries {
        let ratio = |to: Option<&Entry<'_>>| {
            to.map_or("–".into(), |to| {
                format!("{:.2}", ratio(&entry.times, &to.times))
            })
        };
        let time = median(&entry.times) / messages as f64;
        println!(
            "| {} | {time:.1} | {} | {} |",
            entry.name,
            ratio(best),
            ratio(copy)
        );
    }
    println!();
}

/// The median of the ratios of each turn.
fn ratio(times: &[f64], to: &[f64]) -> f64 {
    let ratios: Vec<f64> = times.iter().zip(to).map(|(time, to)| time / to).collect();
    median(&ratios)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
