//! The server on hybi.

use hybi::{Server, WebSocket};
use hybi_bench::{Result, Start};

fn main() -> Result {
    let start = Start::from_args()?;
    match start.scenario.as_str() {
        "echo" => start.run(echo(start.port)),
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
