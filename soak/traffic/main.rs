//! The soak: mixed traffic, drawn from a seed, against `hybi serve` in a process of its own.
//!
//! It goes in phases. In each, actors play scenes side by side: they converse, broadcast, connect
//! again and again, leave in the middle of things, read slowly or not at all, break rules. Every
//! message says what it is, so that one that is lost, doubled, changed or out of order is found.
//! Between two phases nobody is connected, and what the server and the clients hold is compared
//! with what they held after the phases that warm up. Linux with glibc only.

mod args;
mod payload;
mod tally;
mod world;
mod echo;
mod slow;
mod room;
mod rude;
mod phase;
mod steady;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use hybi_soak::process::{self, Process};
use tokio::runtime;

use args::Args;
use phase::DEADLINE;
use steady::Steady;
use tally::Tally;
use world::World;

/// The part of the time after which the buffers and arenas of the threads are there.
const WARM_UP: u32 = 6;

const SERVER: [&str; 11] = [
    "--threads",
    "2",
    "--deflate",
    "--broadcast",
    "/room/{name}",
    "--write-timeout",
    DEADLINE,
    "--close-timeout",
    DEADLINE,
    "--message-timeout",
    DEADLINE,
];

fn main() -> ExitCode {
    let args = match Args::parse() {
        Ok(args) => args,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(2);
        }
    };
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> io::Result<bool> {
    process::with_counted_heap()?;
    println!(
        "soak: seed {}, {} scenes, {} s",
        args.seed,
        args.scenes,
        args.time.as_secs()
    );
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(soak(args));
    process::forget_own()?;
    ended
}

async fn soak(args: &Args) -> io::Result<bool> {
    let server = Process::serve(&args.server, 0, &SERVER)?;
    let world = Arc::new(World {
        addr: server.addr,
        tally: Tally::default(),
    });
    let fresh = process::own()?;
    let mut sides = [Steady::new("server", 2), Steady::new("clients", 1)];
    let begin = Instant::now();
    let (mut phase, mut passed, mut failed) = (args.phase, 0, Vec::new());
    let (mut warm, mut broken) = (false, false);
    while !broken && (begin.elapsed() < args.time || !sides[0].has_judged()) {
        let start = Instant::now();
        let faults = phase::play(&world, args.seed, phase, args.scenes).await;
        let played = start.elapsed().as_secs_f64();
        broken = !faults.is_empty();
        failed.extend(faults);
        if !broken {
            passed += phase::ACTORS * args.scenes;
        }
        let (most, threads) = (server.fresh.descriptors, server.fresh.threads);
        let held = [
            server.at_rest(most, threads).await?,
            process::at_rest(process::own, fresh.descriptors, fresh.threads).await?,
        ];
        let [of_server, of_clients] = held.map(|held| {
            format!(
                "live {} B in {} blocks, small {} B in {}, RSS {} KiB, CPU {:.1} s",
                held.live,
                held.blocks,
                held.small_live,
                held.small_blocks,
                held.rss >> 10,
                (held.user + held.system) as f64 / 100.0
            )
        });
        println!(
            "phase {phase}, {played:.1} s, at rest; server: {of_server}; clients: {of_clients}"
        );
        if warm {
            for (side, held) in sides.iter_mut().zip(held) {
                let faults = side.judge(held);
                passed += u64::from(faults.is_empty());
                failed.extend(faults);
            }
        }
        phase += 1;
        warm = begin.elapsed() >= args.time / WARM_UP;
    }
    for side in &sides {
        let faults = side.judge_growth();
        passed += u64::from(faults.is_empty());
        failed.extend(faults);
    }
    if let Err(error) = server.end() {
        failed.push(error.to_string());
    }
    for fault in &failed {
        println!("FAILED: {fault}");
    }
    for side in &sides {
        println!("{side}");
    }
    println!("{}", world.tally);
    println!(
        "soak: seed {}, {} phases in {} s: {passed} passed, {} failed",
        args.seed,
        phase - args.phase,
        begin.elapsed().as_secs(),
        failed.len()
    );
    Ok(failed.is_empty())
}
