//! A chat with rooms: the path of the URL is the room, and its query the name.
//!
//!     cargo run -p hybi --example chat [ADDRESS]
//!
//! Then, in two more terminals:
//!
//!     cargo run -- connect 'ws://127.0.0.1:9001/rust?ann'
//!     cargo run -- connect 'ws://127.0.0.1:9001/rust?bob'
#![allow(clippy::print_stdout)] // it says where it listens

use hybi::{Hub, Membership, Request, Server, WebSocket};

#[tokio::main]
async fn main() -> hybi::Result<()> {
    let addr = std::env::args().nth(1);
    let server = Server::bind(addr.as_deref().unwrap_or("127.0.0.1:9001")).await?;
    println!("listening on {}", server.local_addr()?);
    let hub = Hub::new();
    server
        .serve(move |ws, request| visit(ws, request, hub.clone()))
        .await
}

async fn visit(mut ws: WebSocket, request: Request<()>, hub: Hub) -> hybi::Result<()> {
    let name = request.uri().query().unwrap_or("somebody");
    let room = hub.join(request.uri().path(), &ws.sender());
    room.publish(format!("{name} is here"));
    let end = talk(&mut ws, &room, name).await;
    room.publish_others(format!("{name} is gone"));
    end
}

async fn talk(ws: &mut WebSocket, room: &Membership, name: &str) -> hybi::Result<()> {
    while let Some(message) = ws.recv().await? {
        if let Some(text) = message.as_text() {
            room.publish_others(format!("{name}: {text}"));
        }
    }
    Ok(())
}
