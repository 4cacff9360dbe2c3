//! What noise cannot touch: the system calls and the instructions of a message.
//!
//! Neither the start nor the handshakes are in them: calls are the difference between a longer and
//! a shorter run of a fresh server, and callgrind begins when some messages have come back.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::args::Server;
use crate::process::{self, Process};
use crate::row::{Row, Until};

/// The system calls of a message.
pub struct Calls {
    pub reads: f64,
    pub writes: f64,
    /// Waiting, above all.
    pub others: f64,
}

const READS: [&str; 6] = ["read", "readv", "recv", "recvfrom", "recvmsg", "recvmmsg"];
const WRITES: [&str; 6] = ["write", "writev", "send", "sendto", "sendmsg", "sendmmsg"];

/// Under callgrind the C library fills and copies memory with vectors, at any size: of the string
/// instructions that it takes for more than 2 KiB, callgrind counts every byte.
const VECTORS: &str = "GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=1000000000:\
    glibc.cpu.x86_rep_stosb_threshold=1000000000";

pub fn calls(server: &Server, row: &Row) -> io::Result<Calls> {
    let count = |messages| -> io::Result<Calls> {
        let out = process::out_file("strace");
        // -D: the server is our child, and strace its observer.
        let file = format!("--output={}", out.display());
        let wrapper = ["strace", "-D", "-f", "-c", "-U", "name,calls", &file];
        let process = Process::start(server, &wrapper)?;
        let mut load = row.open(process.port, server)?;
        load.run(Until::Sent(messages))?;
        process.end()?;
        let table = written(&out, "\ntotal ")?;
        let mut calls = Calls {
            reads: 0.0,
            writes: 0.0,
            others: 0.0,
        };
        for line in table.lines() {
            let mut words = line.split_whitespace();
            let (Some(name), Some(Ok(number))) = (words.next(), words.next().map(str::parse))
            else {
                continue;
            };
            let number: f64 = number;
            if READS.contains(&name) {
                calls.reads += number;
            } else if WRITES.contains(&name) {
                calls.writes += number;
            } else if name != "total" {
                calls.others += number;
            }
        }
        Ok(calls)
    };
    let (short, long) = row.counted();
    let (fewer, more) = (count(short)?, count(long)?);
    let messages = ((long - short) * row.deliveries()) as f64;
    // A call of the start, more or less, is none of a message.
    let a_message = |fewer: f64, more: f64| ((more - fewer) / messages).max(0.0);
    Ok(Calls {
        reads: a_message(fewer.reads, more.reads),
        writes: a_message(fewer.writes, more.writes),
        others: a_message(fewer.others, more.others),
    })
}

/// The instructions of a message in user space.
pub fn instructions(server: &Server, row: &Row) -> io::Result<f64> {
    let out = process::out_file("callgrind");
    let file = format!("--callgrind-out-file={}", out.display());
    let wrapper = [
        "env",
        VECTORS,
        "valgrind",
        "--quiet",
        "--tool=callgrind",
        &file,
    ];
    let (short, long) = row.counted();
    let process = Process::start(server, &wrapper)?;
    let mut load = row.open(process.port, server)?;
    load.run(Until::Sent(short))?;
    // What was counted so far is forgotten.
    let zero = Command::new("vgdb")
        .arg(format!("--pid={}", process.id()))
        .arg("zero")
        .stderr(Stdio::null())
        .status()?;
    if !zero.success() {
        return Err(io::Error::other("vgdb has not reached callgrind"));
    }
    load.run(Until::Sent(long - short))?;
    process.end()?;
    let profile = written(&out, "totals: ")?;
    let totals = profile
        .lines()
        .find_map(|line| line.strip_prefix("totals: "));
    let totals: Option<f64> = totals.and_then(|totals| totals.trim().parse().ok());
    let totals = totals.ok_or_else(|| io::Error::other("callgrind has counted nothing"))?;
    Ok(totals / ((long - short) * row.deliveries()) as f64)
}

/// What an observer writes when the server has ended, with `end` in it.
fn written(out: &Path, end: &str) -> io::Result<String> {
    for _ in 0..500 {
        if let Ok(written) = fs::read_to_string(out)
            && written.contains(end)
        {
            fs::remove_file(out)?;
            return Ok(written);
        }
        sleep(Duration::from_millis(20));
    }
    Err(io::Error::other(format!(
        "nothing came in {}",
        out.display()
    )))
}
