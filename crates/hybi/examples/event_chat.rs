//! A chat with rooms, as the example `chat`, whose handler is called with each message: what
//! belongs to one visitor is the state of the connection.
//!
//!     cargo run -p hybi --example event_chat [ADDRESS]
//!
//! Then, in two more terminals:
//!
//!     cargo run -- connect 'ws://127.0.0.1:9001/rust?ann'
//!     cargo run -- connect 'ws://127.0.0.1:9001/rust?bob'
#![allow(clippy::print_stdout)] // it says where it listens

use hybi::events::{Handler, Peer};
use hybi::{CloseInfo, Hub, Membership, MessageRef, Request, Result, Server};

#[derive(Default)]
struct Chat {
    hub: Hub,
}

struct Visitor {
    name: String,
    room: Membership,
}

impl Handler for Chat {
    type State = Visitor;

    fn on_open(&self, peer: &mut Peer<'_>, request: Request<()>) -> Result<Visitor> {
        let name = request.uri().query().unwrap_or("somebody").to_owned();
        let room = self.hub.join(request.uri().path(), peer.sender());
        room.publish(format!("{name} is here"));
        Ok(Visitor { name, room })
    }

    fn on_message(&self, peer: &mut Peer<'_, Visitor>, message: MessageRef<'_>) -> Result<()> {
        let Visitor { name, room } = &*peer.state;
        if let MessageRef::Text(text) = message {
            room.publish_others(format!("{name}: {text}"));
        }
        Ok(())
    }

    fn on_close(&self, peer: &mut Peer<'_, Visitor>, _: &CloseInfo) {
        let Visitor { name, room } = &*peer.state;
        room.publish_others(format!("{name} is gone"));
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let addr = std::env::args().nth(1);
    let server = Server::bind(addr.as_deref().unwrap_or("127.0.0.1:9001")).await?;
    println!("listening on {}", server.local_addr()?);
    server.serve_events(Chat::default()).await
}
