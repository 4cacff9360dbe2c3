//! The command line.

use std::env;
use std::str::FromStr;
use std::time::Duration;

const USAGE: &str = "\
usage: load broadcast [OPTION...] NAME=COMMAND...
  COMMAND        a server's own, on 127.0.0.1 and {port}; the first is compared with the others
  --clients N    who get each message, besides the one who sends it (default 256)
  --bytes N      the size of a message, at least 20 (default 128)
  --in-flight N  messages that may be on their way at once; several rows: 1,8 (default 1)
  --rounds N     how often each server is measured (default 8)
  --seconds S    how long each time (default 3)
  --sleep        the load sleeps while it waits, so that the server pays for waking it
  --perf         let perf tell user time from the kernel's, instead of /proc/PID/stat
  --syscalls     count system calls with strace, in a run of its own
  --instructions count instructions in user space with callgrind, in a run of its own";

/// What was asked for.
pub struct Args {
    pub clients: usize,
    pub bytes: usize,
    pub in_flight: Vec<usize>,
    pub rounds: usize,
    pub time: Duration,
    pub sleep: bool,
    pub perf: bool,
    pub syscalls: bool,
    pub instructions: bool,
    pub servers: Vec<Server>,
}

/// A server that is measured.
pub struct Server {
    pub name: String,
    /// With `{port}` in it.
    pub command: String,
}

/// What is measured in one table.
pub struct Row {
    pub clients: usize,
    pub bytes: usize,
    pub in_flight: usize,
    pub sleep: bool,
}

impl Args {
    pub fn from_env() -> Result<Self, String> {
        let mut given = Self {
            clients: 256,
            bytes: 128,
            in_flight: vec![1],
            rounds: 8,
            time: Duration::from_secs(3),
            sleep: false,
            perf: false,
            syscalls: false,
            instructions: false,
            servers: Vec::new(),
        };
        let mut args = env::args().skip(1);
        if args.next().as_deref() != Some("broadcast") {
            return Err(USAGE.into());
        }
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--clients" => given.clients = number(args.next())?,
                "--bytes" => given.bytes = number(args.next())?,
                "--in-flight" => {
                    let list = args.next().ok_or(USAGE)?;
                    given.in_flight = list
                        .split(',')
                        .map(|n| number(Some(n.into())))
                        .collect::<Result<_, _>>()?;
                }
                "--rounds" => given.rounds = number(args.next())?,
                "--seconds" => given.time = Duration::from_secs_f64(number(args.next())?),
                "--sleep" => given.sleep = true,
                "--perf" => given.perf = true,
                "--syscalls" => given.syscalls = true,
                "--instructions" => given.instructions = true,
                _ => given.servers.push(server(&arg)?),
            }
        }
        if given.servers.is_empty() || given.bytes < 20 || given.rounds == 0 {
            return Err(USAGE.into());
        }
        Ok(given)
    }

    pub fn rows(&self) -> impl Iterator<Item = Row> {
        self.in_flight.iter().map(|&in_flight| Row {
            clients: self.clients,
            bytes: self.bytes,
            in_flight,
            sleep: self.sleep,
        })
    }
}

fn number<T: FromStr>(arg: Option<String>) -> Result<T, String> {
    arg.and_then(|arg| arg.parse().ok()).ok_or(USAGE.into())
}

fn server(arg: &str) -> Result<Server, String> {
    let (name, command) = arg.split_once('=').ok_or(USAGE)?;
    Ok(Server {
        name: name.into(),
        command: command.into(),
    })
}
