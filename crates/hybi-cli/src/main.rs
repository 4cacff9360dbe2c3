//! The command `hybi`: an echo server with a page to try it, and a client for the terminal.
//!
//! This file picks the subcommand, starts the runtime it needs and turns the end into an exit
//! status. What the subcommands do is in [`serve`] and [`connect`].

mod escape;
mod report;
mod lines;
mod stop;
mod args;
mod broadcast;
mod serve;
mod talk;
mod session;
mod connect;

use std::future::Future;
use std::io;
use std::process::ExitCode;

use clap::Parser;
use tokio::runtime;

use args::{Args, Command};
use report::{Status, complain};

fn main() -> ExitCode {
    let status = match Args::parse().command {
        None => run(
            None,
            serve::run(args::Serve::default(), "cargo run --release --"),
        ),
        Some(Command::Serve(serve)) => run(serve.threads, serve::run(serve, "hybi")),
        Some(Command::Connect(connect)) => run(Some(1), connect::run(connect)),
    };
    status.into()
}

/// Runs `main` to its end on `threads` worker threads; `None` takes one for each core.
fn run(threads: Option<usize>, main: impl Future<Output = Status>) -> Status {
    match runtime(threads) {
        Ok(runtime) => runtime.block_on(main),
        Err(error) => {
            complain("the runtime did not start", &error);
            Status::Failed
        }
    }
}

fn runtime(threads: Option<usize>) -> io::Result<runtime::Runtime> {
    let mut builder = match threads {
        Some(1) => runtime::Builder::new_current_thread(),
        _ => runtime::Builder::new_multi_thread(),
    };
    if let Some(threads) = threads.filter(|&threads| threads > 1) {
        builder.worker_threads(threads);
    }
    builder.enable_all().build()
}
