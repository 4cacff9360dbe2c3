//! The load: starts the servers, sends, counts, and prints what each server has spent.
//!
//! It uses no WebSocket library, so that nothing here favors one. `bench/README.md` tells how to
//! add a server. Linux only: the times are read from `/proc`.

mod args;
mod broadcast;
mod client;
mod count;
mod cpu;
mod echo;
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
        Task::Idle { few, many } => idle::print(&args, *few, *many),
    }
    Ok(())
}
