//! What the servers have in common: their command line, the runtime and the listening socket.
//!
//! Nothing of the protocol: that is each library's own. The load generator does not use this.

use std::env;
use std::error::Error;

use tokio::net::{TcpListener, TcpStream};

/// What a server is told: `SERVER SCENARIO PORT [THREADS]`.
pub struct Start {
    /// What it does with messages: `echo`, say.
    pub scenario: String,
    /// The port on 127.0.0.1.
    pub port: u16,
    threads: usize,
}

/// The result of a server's `main`.
pub type Result = std::result::Result<(), Box<dyn Error + Send + Sync>>;

impl Start {
    /// Reads the command line. One thread is the default: the server is pinned to one core.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn from_args() -> std::result::Result<Self, Box<dyn Error + Send + Sync>> {
        let mut args = env::args().skip(1);
        let usage = "usage: SERVER SCENARIO PORT [THREADS]";
        Ok(Self {
            scenario: args.next().ok_or(usage)?,
            port: args.next().ok_or(usage)?.parse()?,
            threads: args.next().map_or(Ok(1), |threads| threads.parse())?,
        })
    }

    /// Runs a server on the runtime that was asked for.
    ///
    /// # Errors
    ///
    /// Those of the server.
    pub fn run(&self, server: impl Future<Output = Result>) -> Result {
        let mut runtime = match self.threads {
            1 => tokio::runtime::Builder::new_current_thread(),
            _ => tokio::runtime::Builder::new_multi_thread(),
        };
        let runtime = runtime.worker_threads(self.threads).enable_all().build()?;
        runtime.block_on(server)
    }

    /// The answer to a scenario that a server does not have.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn unknown(&self) -> Result {
        Err(format!("no scenario is called '{}'", self.scenario).into())
    }
}

/// Accepts connections, for libraries that leave that to the user, and serves each in a task.
///
/// # Errors
///
/// The port is taken, or accepting fails.
pub async fn listen<F>(port: u16, serve: impl Fn(TcpStream) -> F) -> Result
where
    F: Future<Output = Result> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        tokio::spawn(serve(tcp));
    }
}
