//! `hybi serve`, and a well-behaved client of it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{ChildStdout, Command, Stdio};

use hybi::{CloseCode, Options, WebSocket};

use crate::judge::Target;
use crate::process::Process;
use crate::{Outcome, guarded};

/// A running server.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    pub(crate) fn start(threads: usize, args: &[&str]) -> Self {
        Self::run(Command::new(env!("CARGO_BIN_EXE_hybi")), threads, args)
    }

    /// One that may have so many descriptors.
    pub(crate) fn with_descriptors(most: usize) -> Self {
        let mut shell = Command::new("sh");
        let line = format!("ulimit -n {most} && exec \"$0\" \"$@\"");
        shell.args(["-c", &line, env!("CARGO_BIN_EXE_hybi")]);
        Self::run(shell, 1, &["--handshake-timeout", "0"])
    }

    fn run(mut command: Command, threads: usize, args: &[&str]) -> Self {
        let (process, mut stdout) = Process::start(
            command
                .args(["serve", "--port", "0", "--threads", &threads.to_string()])
                .args(args)
                .stdin(Stdio::null()),
        );
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line on stdout");
        let addr = line.trim_end().split_once("ws://");
        let addr = addr.and_then(|(_, addr)| addr.trim_end_matches('/').parse().ok());
        Self {
            process,
            addr: addr.unwrap_or_else(|| panic!("no address in {line:?}")),
            _stdout: stdout,
        }
    }
}

impl Target for Server {
    fn process(&self) -> &Process {
        &self.process
    }

    fn into_process(self) -> Process {
        self.process
    }

    /// A well-behaved client is served.
    async fn serves(&self) -> Outcome {
        let fresh = async {
            let mut ws = connect(self.addr).await?;
            ws.send("fresh").await?;
            let echo = ws.recv().await?;
            ws.close(CloseCode::NORMAL, "").await?;
            Ok::<_, hybi::Error>(echo)
        };
        guarded("a fresh client", async {
            match fresh.await {
                Ok(Some(echo)) if echo == "fresh".into() => Ok(()),
                Ok(other) => Err(format!("a fresh client got {other:?}")),
                Err(error) => Err(format!("a fresh client is not served: {error}")),
            }
        })
        .await
    }
}

/// Connects as a well-behaved client that has all the time that [`guarded`] gives.
pub(crate) async fn connect(addr: SocketAddr) -> hybi::Result<WebSocket> {
    let patient = Options::new().handshake_timeout(None);
    hybi::connect(format!("ws://{addr}")).options(patient).await
}
