//! The rounds: each server in turn, again and again, so that what disturbs the machine disturbs
//! all of them.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use crate::args::{Args, Row, Server};
use crate::broadcast::{Broadcast, Until};
use crate::cpu::{self, Sampler};
use crate::process::Process;

/// What one server has spent.
pub struct Measured {
    pub rounds: Vec<Round>,
    /// A delivery, if they were counted.
    pub syscalls: Option<Vec<(String, f64)>>,
    pub instructions: Option<f64>,
}

/// One round of one server: nanoseconds a delivery.
#[derive(Clone, Copy)]
pub struct Round {
    /// In user space; without perf, what little the start and the handshakes took is in it.
    pub user: f64,
    pub total: f64,
    pub deliveries: u64,
}

/// Messages before the time is taken: the buffers have grown, the caches are warm.
const WARM_UP: Until = Until::Sent(200);

/// Messages of the counted runs. Each count is the difference between a longer and a shorter run
/// of a fresh server, so that its start and the handshakes are not in it.
const SHORT: u64 = 16;
const LONG: u64 = 80;

pub fn measure(args: &Args, row: &Row) -> io::Result<Vec<Measured>> {
    let mut measured = Vec::new();
    for server in &args.servers {
        measured.push(Measured {
            rounds: Vec::new(),
            syscalls: args.syscalls.then(|| syscalls(server, row)).transpose()?,
            instructions: args
                .instructions
                .then(|| instructions(server, row))
                .transpose()?,
        });
    }
    for n in 0..args.rounds {
        let mut order: Vec<usize> = (0..args.servers.len()).collect();
        // Nobody is always the first.
        order.rotate_left(n % args.servers.len());
        for server in order {
            let round = round(args, &args.servers[server], row)?;
            measured[server].rounds.push(round);
        }
        eprintln!(
            "{} in flight: round {} of {}",
            row.in_flight,
            n + 1,
            args.rounds
        );
    }
    Ok(measured)
}

fn round(args: &Args, server: &Server, row: &Row) -> io::Result<Round> {
    let process = Process::start(server, &[])?;
    let mut load = Broadcast::open(process.port, row)?;
    let warm_up = load.run(WARM_UP)?;
    let sampler = args
        .perf
        .then(|| Sampler::start(process.id(), out_file("perf")))
        .transpose()?;
    let before = cpu::total(process.id())?;
    let deliveries = load.run(Until::Elapsed(args.time))?;
    let total = cpu::total(process.id())? - before;
    let user = match sampler {
        Some(sampler) => total as f64 * sampler.user()? / deliveries as f64,
        None => cpu::user(process.id())? as f64 / (warm_up + deliveries) as f64,
    };
    process.end()?;
    Ok(Round {
        user,
        total: total as f64 / deliveries as f64,
        deliveries,
    })
}

/// The system calls of a delivery, the most frequent first.
fn syscalls(server: &Server, row: &Row) -> io::Result<Vec<(String, f64)>> {
    let count = |messages| -> io::Result<Vec<(String, f64)>> {
        let out = out_file("strace");
        // -D: the server is our child, and strace its observer.
        let file = format!("--output={}", out.display());
        let wrapper = ["strace", "-D", "-f", "-c", "-U", "name,calls", &file];
        let table = counted(server, row, messages, &wrapper, &out, "\ntotal ")?;
        let lines = table.lines().map(str::split_whitespace);
        Ok(lines
            .filter_map(|mut words| Some((words.next()?.into(), words.next()?.parse().ok()?)))
            .collect())
    };
    let (short, long) = (count(SHORT)?, count(LONG)?);
    let mut calls: Vec<_> = long
        .into_iter()
        .map(|(name, calls)| {
            let before = short.iter().find(|(known, _)| *known == name);
            let more = calls - before.map_or(0.0, |(_, calls)| *calls);
            (name, more / deliveries(row))
        })
        .filter(|(_, calls)| *calls >= 0.0005)
        .collect();
    calls.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    Ok(calls)
}

/// The instructions of a delivery in user space.
fn instructions(server: &Server, row: &Row) -> io::Result<f64> {
    let count = |messages| -> io::Result<f64> {
        let out = out_file("callgrind");
        let file = format!("--callgrind-out-file={}", out.display());
        let wrapper = ["valgrind", "--quiet", "--tool=callgrind", &file];
        let profile = counted(server, row, messages, &wrapper, &out, "totals: ")?;
        let totals = profile
            .lines()
            .find_map(|line| line.strip_prefix("totals: "));
        totals
            .and_then(|totals| totals.trim().parse().ok())
            .ok_or_else(|| io::Error::other("callgrind has counted nothing"))
    };
    Ok((count(LONG)? - count(SHORT)?) / deliveries(row))
}

/// The deliveries between the shorter and the longer run.
fn deliveries(row: &Row) -> f64 {
    ((LONG - SHORT) * row.clients as u64) as f64
}

/// Runs a fresh server under a wrapper and gives what that has written, with `end` in it.
fn counted(
    server: &Server,
    row: &Row,
    messages: u64,
    wrapper: &[&str],
    out: &PathBuf,
    end: &str,
) -> io::Result<String> {
    let process = Process::start(server, wrapper)?;
    let mut load = Broadcast::open(process.port, row)?;
    load.run(Until::Sent(messages))?;
    process.end()?;
    // An observer writes when the server has ended.
    for _ in 0..100 {
        if let Ok(written) = fs::read_to_string(out)
            && written.contains(end)
        {
            fs::remove_file(out)?;
            return Ok(written);
        }
        sleep(Duration::from_millis(100));
    }
    Err(io::Error::other(format!(
        "{} has written nothing",
        wrapper[0]
    )))
}

fn out_file(tool: &str) -> PathBuf {
    std::env::temp_dir().join(format!("hybi-bench-{}.{tool}", std::process::id()))
}
