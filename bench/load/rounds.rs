//! The rounds: each server in turn, again and again, so that what disturbs the machine disturbs
//! all of them.

use std::io;
use std::time::Duration;

use crate::agreed::Agreed;
use crate::args::{Args, Server};
use crate::count::{self, Calls};
use crate::cpu::{self, Sampler};
use crate::process::{self, Process};
use crate::row::{Load, Row, Until};

/// What one server has spent.
#[derive(Default)]
pub struct Measured {
    pub rounds: Vec<Round>,
    /// Of a message, if they were counted.
    pub calls: Option<Calls>,
    pub instructions: Option<f64>,
    /// Why it could not do the row.
    pub failed: Option<String>,
}

/// One round of one server.
#[derive(Clone, Copy)]
pub struct Round {
    /// Nanoseconds a message, in user space and in the kernel.
    pub total: f64,
    /// The part of it in user space, if somebody has looked.
    pub user: Option<f64>,
    /// What a server that compresses has sent: bytes a message, and what was agreed.
    pub sent: Option<(f64, Agreed)>,
}

/// perf looks in every third round: it takes a while, and few looks are enough for an average.
const LOOK: usize = 3;

/// How long perf looks.
const LOOK_TIME: Duration = Duration::from_millis(500);

pub fn measure(args: &Args, row: &Row) -> Vec<Measured> {
    let mut measured: Vec<_> = args.servers.iter().map(|_| Measured::default()).collect();
    for (server, measured) in args.servers.iter().zip(&mut measured) {
        let counted = twice(server, || count(args, server, row));
        match counted {
            Ok((calls, instructions)) => {
                measured.calls = calls;
                measured.instructions = instructions;
            }
            Err(error) => measured.failed = Some(error.to_string()),
        }
    }
    for n in 0..args.rounds {
        let mut order: Vec<usize> = (0..args.servers.len()).collect();
        // Nobody is always the first.
        order.rotate_left(n % args.servers.len());
        for index in order {
            let (server, measured) = (&args.servers[index], &mut measured[index]);
            if measured.failed.is_some() {
                continue;
            }
            match twice(server, || round(args, server, row, n % LOOK == 0)) {
                Ok(round) => measured.rounds.push(round),
                Err(error) => measured.failed = Some(error.to_string()),
            }
        }
        eprintln!("{}: round {} of {}", row.title(), n + 1, args.rounds);
    }
    measured
}

/// Tries it again, for somebody may have taken the port: a server that fails twice cannot do the
/// row, says so in the table, and is left alone.
pub fn twice<T>(server: &Server, mut run: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let say = |error: &io::Error| eprintln!("{}: {error}", server.name);
    run().inspect_err(say).or_else(|_| run().inspect_err(say))
}

/// The system calls and the instructions of a message, as asked for.
fn count(args: &Args, server: &Server, row: &Row) -> io::Result<(Option<Calls>, Option<f64>)> {
    if server.uncounted {
        return Ok((None, None));
    }
    let calls = args.syscalls.then(|| count::calls(server, row));
    let instructions = args.instructions.then(|| count::instructions(server, row));
    Ok((calls.transpose()?, instructions.transpose()?))
}

/// One round of one server; perf looks if it may and if `look` says so.
pub fn round(args: &Args, server: &Server, row: &Row, look: bool) -> io::Result<Round> {
    let process = Process::start(server, &[])?;
    let mut load = row.open(process.port, server)?;
    let warm_up = load.run(row.warm_up())?;
    let (before, sent_before) = (cpu::total(process.id())?, load.sent_by_server());
    let messages = load.run(Until::Elapsed(args.time))?;
    let spent = cpu::total(process.id())? - before;
    let sent = load.sent_by_server().map(|sent| {
        let before = sent_before.map_or(0, |before| before.bytes);
        ((sent.bytes - before) as f64 / messages as f64, sent.agreed)
    });
    let user = if args.perf {
        look.then(|| user(&process, load.as_mut()))
            .transpose()?
            .flatten()
    } else {
        // What little the start and the handshakes took is in it.
        let spent_a_message = spent as f64 / messages as f64;
        let user = cpu::user(process.id())? as f64 / (warm_up + messages) as f64;
        Some(user / spent_a_message)
    };
    process.end()?;
    Ok(Round {
        total: spent as f64 / messages as f64,
        user,
        sent,
    })
}

/// The part in user space, as perf sees it, in a time of its own: perf costs a few percent. Nothing
/// if the machine is so busy that perf sees little.
fn user(process: &Process, load: &mut dyn Load) -> io::Result<Option<f64>> {
    for patience in [1, 3] {
        let sampler = Sampler::start(process.id(), process::out_file("perf"))?;
        load.run(Until::Elapsed(LOOK_TIME * patience))?;
        let user = sampler.user()?;
        if user.is_some() {
            return Ok(user);
        }
    }
    Ok(None)
}
