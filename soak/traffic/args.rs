//! The command line.

use std::env;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

const USAGE: &str = "\
usage: soak [OPTION...]
  --server PATH   the command hybi (default target/release/hybi)
  --seconds N     how long, to the end of the phase (default 60)
  --seed N        what the traffic is drawn from (default: any)
  --scenes N      how many each actor plays in a phase (default 8)
  --phase N       the number of the first phase (default 0)";

/// What was asked for.
pub struct Args {
    pub server: PathBuf,
    pub time: Duration,
    pub seed: u64,
    pub scenes: u64,
    pub phase: u64,
}

impl Args {
    pub fn parse() -> Result<Self, String> {
        let mut args = Self {
            server: "target/release/hybi".into(),
            time: Duration::from_secs(60),
            seed: fastrand::u64(..1 << 32),
            scenes: 8,
            phase: 0,
        };
        let mut words = env::args().skip(1);
        while let Some(name) = words.next() {
            let value = words.next().ok_or(USAGE)?;
            match name.as_str() {
                "--server" => args.server = value.into(),
                "--seconds" => args.time = Duration::from_secs(number(&value)?),
                "--seed" => args.seed = number(&value)?,
                "--scenes" => args.scenes = number(&value)?,
                "--phase" => args.phase = number(&value)?,
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
