//! The command line.

use std::env;
use std::str::FromStr;
use std::time::Duration;

use crate::client::Kind;
use crate::row::Row;
use crate::{broadcast, deflate, echo, idle};

const USAGE: &str = "\
usage: load broadcast|echo|deflate|idle [OPTION...] NAME=COMMAND...
  COMMAND        a server's own, on 127.0.0.1 and {port}; the first is compared with the others,
                 and those whose names begin with the same word are its other doors
  --raw NAME     this server sends back the bytes as they are, and is no peer
  --uncounted NAME  of this server neither system calls nor instructions are counted
  --name NAME    stands before the title of the table
broadcast: one sends, all others get it
  --clients N    who get each message, besides the one who sends it (default 256)
  --bytes N      the size of a message, at least 20 (default 128)
  --in-flight N  messages that may be on their way at once; several rows: 1,8 (default 1)
  --sleep        the load sleeps while it waits, so that the server pays for waking it
echo: each gets back what it sends
  --connections N  (default 64)
  --in-flight N    messages of each connection on their way at once (default 1)
  --size N         bytes of a message, at least 6 (default 32)
  --kind KIND      text or binary (default text)
deflate: each gets back the JSON of 1 KiB that it sends, both ways compressed
  --connections N  (default 64); of several, 64,1000 say, the table tells how the cost grows
all three
  --rounds N     how often each server is measured (default 9)
  --seconds S    how long each time (default 1)
  --perf         let perf tell user time from the kernel's, in every third round
  --syscalls     count system calls with strace, in runs of their own
  --instructions count instructions in user space with callgrind, in runs of their own
idle: connections on which nothing happens, and the server's memory
  --few N        (default 1000)
  --many N       (default 10000)
  --deflate      what the connection holds for compression";

/// What was asked for.
pub struct Args {
    pub task: Task,
    /// Stands before the title.
    pub name: Option<String>,
    pub rounds: usize,
    pub time: Duration,
    pub perf: bool,
    pub syscalls: bool,
    pub instructions: bool,
    pub servers: Vec<Server>,
}

/// What is to be done.
pub enum Task {
    Measure(Vec<Row>),
    /// How the cost grows from the first row to the others.
    Growth(Vec<Row>),
    Idle(idle::Task),
}

/// A server that is measured.
pub struct Server {
    pub name: String,
    /// With `{port}` in it.
    pub command: String,
    /// It sends back the bytes as they are.
    pub raw: bool,
    /// Neither its system calls nor its instructions are counted.
    pub uncounted: bool,
}

impl Args {
    pub fn from_env() -> Result<Self, String> {
        let mut args = env::args().skip(1);
        let task = args.next().ok_or(USAGE)?;
        let mut given = Self {
            task: Task::Measure(Vec::new()),
            name: None,
            rounds: 9,
            time: Duration::from_secs(1),
            perf: false,
            syscalls: false,
            instructions: false,
            servers: Vec::new(),
        };
        let (mut clients, mut bytes, mut sleep) = (256, 128, false);
        let (mut connections, mut size, mut kind) = (vec![64], 32, Kind::Text);
        let (mut few, mut many, mut deflate) = (1000, 10_000, false);
        let mut in_flight = vec![1];
        let (mut raw, mut uncounted) = (Vec::new(), Vec::new());
        while let Some(arg) = args.next() {
            match (task.as_str(), arg.as_str()) {
                (_, "--raw") => raw.push(args.next().ok_or(USAGE)?),
                (_, "--name") => given.name = Some(args.next().ok_or(USAGE)?),
                (_, "--uncounted") => uncounted.push(args.next().ok_or(USAGE)?),
                ("broadcast", "--clients") => clients = number(args.next())?,
                ("broadcast", "--bytes") => bytes = number(args.next())?,
                ("broadcast", "--sleep") => sleep = true,
                ("echo" | "deflate", "--connections") => connections = numbers(args.next())?,
                ("echo", "--size") => size = number(args.next())?,
                ("echo", "--kind") => kind = self::kind(args.next())?,
                ("idle", "--few") => few = number(args.next())?,
                ("idle", "--many") => many = number(args.next())?,
                ("idle", "--deflate") => deflate = true,
                ("broadcast" | "echo", "--in-flight") => in_flight = numbers(args.next())?,
                ("broadcast" | "echo" | "deflate", option) => match option {
                    "--rounds" => given.rounds = number(args.next())?,
                    "--seconds" => given.time = Duration::from_secs_f64(number(args.next())?),
                    "--perf" => given.perf = true,
                    "--syscalls" => given.syscalls = true,
                    "--instructions" => given.instructions = true,
                    _ => given.servers.push(server(&arg)?),
                },
                _ => given.servers.push(server(&arg)?),
            }
        }
        for server in &mut given.servers {
            server.raw = raw.contains(&server.name);
            server.uncounted = uncounted.contains(&server.name);
        }
        let in_flight = in_flight.into_iter();
        given.task = match task.as_str() {
            "broadcast" if clients > 0 && bytes >= 20 => Task::Measure(
                in_flight
                    .map(|in_flight| {
                        Row::Broadcast(broadcast::Row {
                            clients,
                            bytes,
                            in_flight,
                            sleep,
                        })
                    })
                    .collect(),
            ),
            "echo" if connections.len() == 1 && size >= 6 => Task::Measure(
                in_flight
                    .map(|in_flight| {
                        Row::Echo(echo::Row {
                            connections: connections[0],
                            in_flight,
                            bytes: size,
                            kind,
                        })
                    })
                    .collect(),
            ),
            "deflate" => {
                let rows = connections.into_iter();
                let rows = rows.map(|connections| Row::Deflate(deflate::Row { connections }));
                let rows: Vec<_> = rows.collect();
                if rows.len() == 1 {
                    Task::Measure(rows)
                } else {
                    Task::Growth(rows)
                }
            }
            "idle" if few < many => Task::Idle(idle::Task { few, many, deflate }),
            _ => return Err(USAGE.into()),
        };
        if given.servers.is_empty() || given.rounds == 0 {
            return Err(USAGE.into());
        }
        Ok(given)
    }
}

impl Server {
    /// What stands before the first blank or comma: the library.
    pub fn library(&self) -> &str {
        let end = self.name.find([' ', ',']).unwrap_or(self.name.len());
        &self.name[..end]
    }
}

fn number<T: FromStr>(arg: Option<String>) -> Result<T, String> {
    arg.and_then(|arg| arg.parse().ok()).ok_or(USAGE.into())
}

/// Several, none of which is zero.
fn numbers(arg: Option<String>) -> Result<Vec<usize>, String> {
    let list = arg.ok_or(USAGE)?;
    let numbers: Vec<usize> = list
        .split(',')
        .map(|n| number(Some(n.into())))
        .collect::<Result<_, _>>()?;
    if numbers.contains(&0) {
        return Err(USAGE.into());
    }
    Ok(numbers)
}

fn kind(arg: Option<String>) -> Result<Kind, String> {
    match arg.as_deref() {
        Some("text") => Ok(Kind::Text),
        Some("binary") => Ok(Kind::Binary),
        _ => Err(USAGE.into()),
    }
}

fn server(arg: &str) -> Result<Server, String> {
    let (name, command) = arg.split_once('=').ok_or(USAGE)?;
    if name.starts_with('-') || command.is_empty() {
        return Err(USAGE.into());
    }
    Ok(Server {
        name: name.into(),
        command: command.into(),
        raw: false,
        uncounted: false,
    })
}
