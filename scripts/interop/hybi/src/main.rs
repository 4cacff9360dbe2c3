//! hybi's side of `scripts/interop.sh`.
//!
//!     hybi-interop serve ADDRESS           does as the query of each connection says
//!     hybi-interop connect URL <LINES      runs each line of lines.py, and prints what became of it
//!
//! It judges nothing but that the echo is what was sent; lines.py does the rest.
#![allow(clippy::print_stdout)] // what became of each line, and of each connection

mod settings;
mod messages;
mod echo;
mod cases;

use hybi::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> hybi::Result<()> {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next()) {
        (Some("serve"), Some(addr)) => echo::serve(&addr).await,
        (Some("connect"), Some(url)) => cases::connect(&url).await,
        _ => Err(Error::other(
            "usage: hybi-interop serve ADDRESS | connect URL",
        )),
    }
}
