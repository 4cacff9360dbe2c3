//! The server on hybi.
//!
//! `echo` and `echo-events` compress with `-deflate`, as it is by default, `-deflate-fast`, by the
//! preset for speed, and `-deflate-no-takeover`.

use hybi::events::{Handler, Peer};
use hybi::{Deflate, MessageRef, Options, Request, Server, WebSocket};
use hybi_bench::{Result, Start};

fn main() -> Result {
    let start = Start::from_args()?;
    let (scenario, deflate) = match start.scenario.split_once("-deflate") {
        None => (start.scenario.as_str(), None),
        Some((scenario, "")) => (scenario, Some(Deflate::default())),
        Some((scenario, "-fast")) => (scenario, Some(Deflate::fast())),
        Some((scenario, "-no-takeover")) => (scenario, Some(no_takeover())),
        Some(_) => return start.unknown(),
    };
    let options = Options::new().deflate(deflate);
    match scenario {
        "echo" => start.run(echo(start.port, options)),
        "echo-events" => start.run(echo_events(start.port, options)),
        "broadcast" => start.run(broadcast(start.port)),
        _ => start.unknown(),
    }
}

fn no_takeover() -> Deflate {
    Deflate::default()
        .server_no_context_takeover(true)
        .client_no_context_takeover(true)
}

/// Each message goes back, by the async door.
async fn echo(port: u16, options: Options) -> Result {
    let server = Server::bind(("127.0.0.1", port)).await?.options(options);
    let serve = server.serve(|mut ws: WebSocket, _request| async move {
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok(())
    });
    Ok(serve.await?)
}

/// Each message goes back, by the event door.
async fn echo_events(port: u16, options: Options) -> Result {
    let server = Server::bind(("127.0.0.1", port)).await?.options(options);
    Ok(server.serve_events(Echo).await?)
}

struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_open(&self, _: &mut Peer<'_>, _: Request<()>) -> hybi::Result<()> {
        Ok(())
    }

    fn on_message(&self, peer: &mut Peer<'_>, message: MessageRef<'_>) -> hybi::Result<()> {
        peer.send(message)
    }
}

/// Each message goes to all others.
async fn broadcast(port: u16) -> Result {
    let server = Server::bind(("127.0.0.1", port)).await?;
    let clients = server.clients();
    let serve = server.serve(move |mut ws: WebSocket, _request| {
        let clients = clients.clone();
        async move {
            let me = ws.id();
            while let Some(message) = ws.recv().await? {
                clients.others(me).broadcast(message);
            }
            Ok(())
        }
    });
    Ok(serve.await?)
}
