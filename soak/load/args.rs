//! The command line.

use std::env;
use std::path::PathBuf;
use std::str::FromStr;

const USAGE: &str = "\
usage: load [OPTION...]
  --server PATH      the command hybi (default target/release/hybi)
  --connections N    how many at once (default 19000)
  --servers N        how many processes share the port (default 1)
  --at-once N        attempts to connect that are open at a time, in all (default 3000)
  --broadcasts N     messages to all (default 5)
  --bytes N          the size of one (default 128)
  --bursts N         how often all connect and leave (default 2)";

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Args {
    pub server: PathBuf,
    pub connections: usize,
    pub servers: usize,
    pub at_once: usize,
    pub broadcasts: usize,
    pub bytes: usize,
    pub bursts: usize,
}

impl Args {
    pub fn parse() -> Result<Self, String> {
        let mut args = Self {
            server: "target/release/hybi".into(),
            connections: 19_000,
            servers: 1,
            at_once: 3_000,
            broadcasts: 5,
            bytes: 128,
            bursts: 2,
        };
        let mut words = env::args().skip(1);
        while let Some(name) = words.next() {
            let value = words.next().ok_or(USAGE)?;
            match name.as_str() {
                "--server" => args.server = value.into(),
                "--connections" => args.connections = number(&value)?,
                "--servers" => args.servers = number(&value)?,
                "--at-once" => args.at_once = number(&value)?,
                "--broadcasts" => args.broadcasts = number(&value)?,
                "--bytes" => args.bytes = number(&value)?,
                "--bursts" => args.bursts = number(&value)?,
                _ => return Err(USAGE.into()),
            }
        }
        Ok(args)
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is no number\n{USAGE}"))
}
