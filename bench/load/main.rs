//! The load: starts the servers, sends, counts, and prints what each server has spent.
//!
//! It uses no WebSocket library, so that nothing here favors one. `bench/README.md` tells how to
//! add a server. Linux only: the times are read from `/proc`.

mod agreed;
mod args;
mod broadcast;
mod client;
mod corpus;
mod count;
mod cpu;
mod deflate;
mod echo;
mod feed;
mod growth;
mod idle;
mod process;
mod rounds;
mod row;
mod table;

use std::io;

use args::{Args, Task};

fn main() -> io::Result<()> {
    let args = Args::from_env().map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
    match &args.task {
        Task::Measure(rows) => {
            for (n, row) in rows.iter().enumerate() {
                if n > 0 {
                    println!();
                }
                table::print(&args, row, &rounds::measure(&args, row));
            }
        }
        Task::Growth(rows) => growth::print(&args, rows),
        Task::Idle(task) => idle::print(&args, task),
    }
    Ok(())
}
