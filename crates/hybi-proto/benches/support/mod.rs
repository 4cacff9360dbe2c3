//! Times in nanoseconds, each beside the time of a plain copy of as many bytes.
//!
//! A ratio to a copy stays the same where the machine is slower or shared; nanoseconds do not.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    dead_code,
    unreachable_pub
)]

use std::{env, hint::black_box, time::Instant};

/// Prints what the columns are.
pub fn head(title: &str) {
    println!("{title:<34} {:>12} {:>12} {:>8}", "ns", "copy, ns", "ratio");
}

/// Times `work`, which handles `bytes` bytes a call, and prints one line.
pub fn line(name: &str, bytes: usize, mut work: impl FnMut()) {
    let source = vec![0x5a_u8; bytes];
    let mut target = vec![0_u8; bytes];
    let mut copy = || black_box(&mut target).copy_from_slice(black_box(&source));
    let calls = calls_in_a_sample(&mut work);
    let copies = calls_in_a_sample(&mut copy);
    // Taken in turns, so that a busy moment of the machine meets both.
    let (mut times, mut copy_times): (Vec<f64>, Vec<f64>) = (0..samples())
        .map(|_| (sample(calls, &mut work), sample(copies, &mut copy)))
        .unzip();
    let (time, copy_time) = (median(&mut times), median(&mut copy_times));
    println!(
        "{name:<34} {time:>12.1} {copy_time:>12.1} {:>8.2}",
        time / copy_time
    );
}

/// `cargo bench` says so; anything else (`cargo test --benches`) only sees that it runs.
fn is_bench() -> bool {
    env::args().any(|argument| argument == "--bench")
}

fn samples() -> usize {
    if is_bench() { 101 } else { 1 }
}

/// As many calls as take about a millisecond.
fn calls_in_a_sample(work: &mut impl FnMut()) -> u32 {
    if !is_bench() {
        return 1;
    }
    let mut calls = 1;
    while sample(calls, work) * f64::from(calls) < 1e6 {
        calls *= 2;
    }
    calls
}

/// The nanoseconds that one call takes, as the mean of so many.
fn sample(calls: u32, work: &mut impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..calls {
        work();
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
