//! The server on hybi.

use hybi::events::{Handler, Peer};
use hybi::{MessageRef, Request, Server, WebSocket};
use hybi_bench::{Result, Start};

fn main() -> Result {
    let start = Start::from_args()?;
    match start.scenario.as_str() {
        "echo" => start.run(echo(start.port)),
        "echo-events" => start.run(echo_events(start.port)),
        "broadcast" => start.run(broadcast(start.port)),
        _ => start.unknown(),
    }
}

/// Each message goes back, by the async door.
async fn echo(port: u16) -> Result {
    let server = Server::bind(("127.0.0.1", port)).await?;
    let serve = server.serve(|mut ws: WebSocket, _request| async move {
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok(())
    });
    Ok(serve.await?)
}

/// Each message goes back, by the event door.
async fn echo_events(port: u16) -> Result {
    let server = Server::bind(("127.0.0.1", port)).await?;
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
