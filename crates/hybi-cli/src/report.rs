//! What the command says to its user on stderr, and the exit status it ends with.
//!
//! Both subcommands call it. Nothing here is for stdout, and nothing fails: a stderr that
//! nobody reads is no reason to stop.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::escape::escape;

/// How the command ended. The numbers are a promise, listed by `hybi --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// A clean close, or a server that was told to stop.
    Done = 0,
    /// The server could not start, or the connection was lost or closed uncleanly.
    Failed = 1,
    /// The command line was wrong. clap ends with the same number.
    Usage = 2,
    /// No connection: unreachable, refused, or no WebSocket there.
    NotConnected = 3,
    /// A clean close, but a line of stdin was not sent.
    Unsent = 4,
}

/// The list of statuses as `--help` shows it.
pub(crate) const STATUSES: &str = "\
Exit status:
  0  closed cleanly, or the server was stopped by Ctrl-C or SIGTERM
  1  the server could not start, or the connection was lost or closed uncleanly
  2  the command line was wrong
  3  not connected: unreachable, refused, or no WebSocket there
  4  closed cleanly, but a line of stdin was not sent";

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        ExitCode::from(status as u8)
    }
}

/// Says one line on stderr. What a peer wrote must have passed [`escape`] before.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Says what failed, and why, on one line of stderr.
pub(crate) fn complain(what: &str, error: &(dyn Error + 'static)) {
    say(format_args!("hybi: {what}: {}", escape(&causes(error))));
}

/// The error and its causes, each once: some errors already repeat their source.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|layer| layer as _)
        }
    }

    #[test]
    fn a_cause_is_told_once() {
        let inner = || Some(Box::new(Layer("refused", None)));
        assert_eq!(
            causes(&Layer("no connection", inner())),
            "no connection: refused"
        );
        assert_eq!(
            causes(&Layer("no connection: refused", inner())),
            "no connection: refused"
        );
    }

    #[test]
    fn every_status_is_in_the_help() {
        use Status::*;
        for status in [Done, Failed, Usage, NotConnected, Unsent] {
            let line = format!("\n  {}  ", status as u8);
            assert!(STATUSES.contains(&line), "{status:?} is missing");
        }
    }
}
