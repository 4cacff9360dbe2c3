//! hybi's side of `scripts/interop.sh`: an echo and a client, each connection with settings of its
//! own.
//!
//!     hybi-interop serve ADDRESS           echoes, each connection with the settings in its query
//!     hybi-interop connect URL <LINES      runs each line of combinations.py, and prints what
//!                                          became of it
//!
//! It judges nothing but that the echo is what was sent; combinations.py does the rest.
#![allow(clippy::print_stdout)] // what became of each line

mod messages;
mod settings;

use std::time::Duration;

use hybi::{CloseCode, Error, WebSocket};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use settings::options;

/// Only what hangs is ended by it.
const GUARD: Duration = Duration::from_secs(20);

#[tokio::main(flavor = "current_thread")]
async fn main() -> hybi::Result<()> {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next()) {
        (Some("serve"), Some(addr)) => serve(&addr).await,
        (Some("connect"), Some(url)) => connect(&url).await,
        _ => Err(Error::other(
            "usage: hybi-interop serve ADDRESS | connect URL",
        )),
    }
}

async fn serve(addr: &str) -> hybi::Result<()> {
    let listener = TcpListener::bind(addr).await?;
    loop {
        let (tcp, _) = listener.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = echo(tcp).await {
                println!("{error}");
            }
        });
    }
}

async fn echo(tcp: TcpStream) -> hybi::Result<()> {
    let query = query(&tcp).await?;
    let mut ws = hybi::accept(tcp).options(options(&query)).await?;
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

/// The query of the request that has come, which is left where it is: the options are to be known
/// before the handshake.
async fn query(tcp: &TcpStream) -> hybi::Result<String> {
    let mut head = [0; 1024];
    loop {
        let read = tcp.peek(&mut head).await?;
        let text = String::from_utf8_lossy(&head[..read]);
        if let Some((line, _)) = text.split_once("\r\n") {
            let target = line.split(' ').nth(1).unwrap_or_default();
            return Ok(target
                .split_once('?')
                .map_or_else(String::new, |(_, q)| q.into()));
        }
        if read == 0 || read == head.len() {
            return Err(Error::other("no request"));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn connect(url: &str) -> hybi::Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let (client, server) = line.split_once(' ').unwrap_or((&line, "-"));
        let exchange = exchange(format!("{url}/?{server}"), client);
        match tokio::time::timeout(GUARD, exchange).await {
            Ok(Ok(agreed)) => println!("{line} {agreed}"),
            Ok(Err(error)) => println!("{line} ! {error}"),
            Err(_) => println!("{line} ! hangs"),
        }
    }
    Ok(())
}

/// Sends every message and awaits it again; gives what was agreed.
async fn exchange(url: String, client: &str) -> hybi::Result<String> {
    let mut ws = hybi::connect(url).options(options(client)).await?;
    let agreed = ws.extensions().to_string();
    for (number, message) in messages::all().into_iter().enumerate() {
        ws.send(message.clone()).await?;
        if ws.recv().await? != Some(message) {
            return Err(Error::other(format!(
                "message {number} came back as another"
            )));
        }
    }
    close(ws).await?;
    Ok(agreed)
}

async fn close(mut ws: WebSocket) -> hybi::Result<()> {
    let info = ws.close(CloseCode::NORMAL, "").await?;
    if info.clean {
        return Ok(());
    }
    Err(Error::other(format!("closed with {info:?}")))
}
