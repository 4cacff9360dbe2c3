//! A server that asks who a client is before it is one.
//!
//!     cargo run -p hybi --example authentication [ADDRESS]
//!
//! Then, in another terminal:
//!
//!     cargo run -- connect ws://127.0.0.1:9001/ --header 'Authorization: Bearer alice'
#![allow(clippy::print_stdout)] // it says where it listens

use hybi::{Incoming, Reject, Request, Server, StatusCode, WebSocket};

#[derive(Clone)]
struct User(String);

#[tokio::main]
async fn main() -> hybi::Result<()> {
    let addr = std::env::args().nth(1);
    let server = Server::bind(addr.as_deref().unwrap_or("127.0.0.1:9001")).await?;
    println!("listening on {}", server.local_addr()?);
    server.on_handshake(authenticate).serve(greet).await
}

/// Would look into a database.
async fn authenticate(mut incoming: Incoming) -> Result<Incoming, Reject> {
    let header = incoming.headers().get("authorization");
    let token = header.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    match token.map(|token| User(token.to_owned())) {
        Some(user) => {
            incoming.extensions_mut().insert(user);
            Ok(incoming)
        }
        None => Err(incoming
            .reject(StatusCode::UNAUTHORIZED)
            .body("who are you?")),
    }
}

async fn greet(mut ws: WebSocket, request: Request<()>) -> hybi::Result<()> {
    if let Some(User(name)) = request.extensions().get() {
        ws.send(format!("hello {name}")).await?;
    }
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}
