//! Lines of stdin, read by a thread of their own.
//!
//! A read from a terminal cannot be taken back, and a runtime that reads stdin on its own threads
//! waits for that read when it ends. This thread is never joined, so that the command can end
//! while stdin stays open. `connect` calls it.

use std::fmt;
use std::io::{self, BufRead};
use std::thread;

use tokio::sync::mpsc;

use crate::report::causes;

/// A line that cannot be sent, by its number.
#[derive(Debug)]
pub(crate) struct Unsent {
    line: u64,
    why: Why,
}

#[derive(Debug)]
enum Why {
    TooLong { limit: usize },
    NotUtf8,
    Io(io::Error),
}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line;
        match &self.why {
            Why::TooLong { limit } => write!(f, "line {line} is longer than {limit} bytes"),
            Why::NotUtf8 => write!(f, "line {line} is not UTF-8, and a text message must be"),
            Why::Io(error) => write!(f, "stdin failed at line {line}: {}", causes(error)),
        }
    }
}

/// Starts to read stdin; the channel closes at its end.
///
/// A line of more than `limit` bytes is skipped without being kept.
pub(crate) fn stdin(limit: usize) -> io::Result<mpsc::Receiver<Result<String, Unsent>>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    thread::Builder::new().name("stdin".into()).spawn(move || {
        let mut lines = Lines::new(io::stdin().lock(), limit);
        while let Some(line) = lines.next() {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    })?;
    Ok(receiver)
}

struct Lines<R> {
    input: R,
    limit: usize,
    line: u64,
    failed: bool,
}

impl<R: BufRead> Lines<R> {
    fn new(input: R, limit: usize) -> Self {
        Lines {
            input,
            limit,
            line: 0,
            failed: false,
        }
    }

    /// The next line without its `\n` or `\r\n`; nothing follows a failure of the input itself.
    fn next(&mut self) -> Option<Result<String, Unsent>> {
        if self.failed {
            return None;
        }
        self.line += 1;
        let why = match self.take() {
            Ok(None) => return None,
            Ok(Some(Ok(bytes))) => match String::from_utf8(bytes) {
                Ok(line) => return Some(Ok(line)),
                Err(_) => Why::NotUtf8,
            },
            Ok(Some(Err(why))) => why,
            Err(error) => {
                self.failed = true;
                Why::Io(error)
            }
        };
        Some(Err(Unsent {
            line: self.line,
            why,
        }))
    }

    fn take(&mut self) -> io::Result<Option<Result<Vec<u8>, Why>>> {
        // The terminator is read with the line, so it needs room beyond the limit.
        let room = self.limit.saturating_add(2);
        let mut line = Vec::new();
        let mut fits = true;
        let mut ended = false;
        while !ended {
            let available = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if available.is_empty() {
                if line.is_empty() && fits {
                    return Ok(None);
                }
                break;
            }
            let newline = available.iter().position(|&byte| byte == b'\n');
            let used = newline.map_or(available.len(), |at| at + 1);
            fits = fits && line.len() + used <= room;
            if fits {
                line.extend_from_slice(&available[..used]);
            } else {
                line = Vec::new();
            }
            self.input.consume(used);
            ended = newline.is_some();
        }
        if ended && fits {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        fits = fits && line.len() <= self.limit;
        Ok(Some(if fits {
            Ok(line)
        } else {
            Err(Why::TooLong { limit: self.limit })
        }))
    }
}

/// How many lines are read ahead of the connection.
const AHEAD: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `input` through a buffer of `step` bytes.
    fn read(input: &[u8], step: usize, limit: usize) -> Vec<Result<String, String>> {
        let mut lines = Lines::new(io::BufReader::with_capacity(step, input), limit);
        let next = || {
            lines
                .next()
                .map(|line| line.map_err(|unsent| unsent.to_string()))
        };
        std::iter::from_fn(next).collect()
    }

    fn ok(lines: &[&str]) -> Vec<Result<String, String>> {
        lines.iter().map(|&line| Ok(line.to_owned())).collect()
    }

    #[test]
    fn lines_end_at_lf_or_crlf_however_they_are_cut() {
        for step in 1..12 {
            assert_eq!(
                read(b"one\r\n\ntwo\rx\n", step, 16),
                ok(&["one", "", "two\rx"])
            );
        }
    }

    #[test]
    fn the_last_line_needs_no_end() {
        assert_eq!(read(b"one\ntwo", 4, 16), ok(&["one", "two"]));
        assert_eq!(read(b"", 4, 16), []);
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_read() {
        for end in ["", "\n", "\r\n"] {
            for step in 1..8 {
                assert_eq!(
                    read(format!("abcd{end}").as_bytes(), step, 4),
                    ok(&["abcd"])
                );
            }
        }
    }

    #[test]
    fn a_line_over_the_limit_is_skipped_and_named() {
        for over in ["abcde", "abcdef", "abcdefghijkl"] {
            for step in 1..8 {
                let lines = read(format!("a\n{over}\nb\n").as_bytes(), step, 4);
                let skipped = Err("line 2 is longer than 4 bytes".to_owned());
                assert_eq!(lines, [Ok("a".into()), skipped, Ok("b".into())]);
            }
        }
    }

    #[test]
    fn a_line_that_is_not_utf8_is_skipped_and_named() {
        let lines = read(b"a\n\xff\xfe\nb\n", 64, 16);
        assert!(
            lines[1]
                .as_ref()
                .is_err_and(|why| why.starts_with("line 2 is not UTF-8"))
        );
        assert_eq!((&lines[0], &lines[2]), (&Ok("a".into()), &Ok("b".into())));
    }

    #[test]
    fn a_failure_of_the_input_is_told_once() {
        struct Broken;
        impl io::Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let mut lines = Lines::new(io::BufReader::new(Broken), 16);
        let first = lines
            .next()
            .and_then(Result::err)
            .map(|unsent| unsent.to_string());
        assert_eq!(first.as_deref(), Some("stdin failed at line 1: broken"));
        assert!(lines.next().is_none());
    }
}
