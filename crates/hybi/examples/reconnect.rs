//! A client that survives restarts of its server: it subscribes on each connection anew, sends a
//! word each second, and says how it stands. What it sends meanwhile waits, and when that becomes
//! too much, the oldest goes.
//!
//!     cargo run -p hybi --example reconnect [URL...]
//!
//! First, in another terminal, a server to stop and to start again:
//!
//!     cargo run -- serve
#![allow(clippy::print_stdout)] // it tells what it hears

use std::time::Duration;

use hybi::session::Event;
use hybi::{Backoff, Overflow, Session, WebSocket};

#[tokio::main]
async fn main() -> hybi::Result<()> {
    let mut urls = std::env::args().skip(1);
    let url = urls.next().unwrap_or_else(|| "ws://127.0.0.1:9001/".into());
    let session = hybi::connect(url).reconnect(Backoff::new());
    let session = urls.fold(session, Session::fallback);
    let mut session = session.on_connect(subscribe).overflow(Overflow::DropOldest);
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = second.tick() => session.send("still here").await?,
            event = session.recv_event() => match event? {
                Some(Event::Up { url, .. }) => println!("connected to {url}"),
                Some(Event::Down { why, retry_in, .. }) => println!("{why}; again in {retry_in:?}"),
                Some(Event::Message(message)) => println!("received: {message:?}"),
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}

async fn subscribe(mut ws: WebSocket) -> hybi::Result<WebSocket> {
    ws.send("subscribe").await?;
    Ok(ws)
}
