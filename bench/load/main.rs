//! The load: starts the servers, sends, counts, and prints what each server has spent.
//!
//! It uses no WebSocket library, so that nothing here favors one. `bench/README.md` tells how to
//! add a server. Linux only: the times are read from `/proc`.

mod args;
mod broadcast;
mod client;
mod cpu;
mod process;
mod rounds;
mod table;

use std::io;

use args::Args;

fn main() -> io::Result<()> {
    let args = Args::from_env().map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
    for (n, row) in args.rows().enumerate() {
        if n > 0 {
            println!();
        }
        table::print(&args, &row, &rounds::measure(&args, &row)?);
    }
    Ok(())
}
