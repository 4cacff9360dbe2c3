//! An echo whose handler is called with each message: the fast lane.
//!
//!     cargo run -p hybi --example event_echo [ADDRESS [deflate]]
//!
//! With the second word every message is compressed, for clients that offer it.
//! `scripts/autobahn.sh events` runs the Autobahn cases against it.
#![allow(clippy::print_stdout)] // it says where it listens

use hybi::events::{Handler, Peer};
use hybi::{Deflate, MessageRef, Options, Request, Result, Server};

struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_open(&self, _: &mut Peer<'_>, _: Request<()>) -> Result<()> {
        Ok(())
    }

    fn on_message(&self, peer: &mut Peer<'_>, message: MessageRef<'_>) -> Result<()> {
        peer.send(message)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let addr = args.next();
    let deflate = args.next().map(|_| Deflate::default().threshold(0));
    let server = Server::bind(addr.as_deref().unwrap_or("127.0.0.1:9001")).await?;
    println!("listening on {}", server.local_addr()?);
    server
        .options(Options::new().deflate(deflate))
        .serve_events(Echo)
        .await
}
