//! `hybi serve --broadcast PATH`: what a client sends goes to all who are at the same path.
//!
//! A room is named by the path that was asked for, so that a pattern like `/rooms/{name}` has as
//! many rooms as names. A member that falls behind is closed, as is the default of [`Hub`].

use hybi::{Error, Hub, Server, WebSocket};

/// Adds the paths at which a server broadcasts.
pub(crate) fn route(server: Server, paths: &[String]) -> Server {
    let rooms = Hub::new();
    paths.iter().fold(server, |server, path| {
        let rooms = rooms.clone();
        server.route(path, move |ws, request| {
            relay(ws, request.uri().path().to_owned(), rooms.clone())
        })
    })
}

async fn relay(mut ws: WebSocket, path: String, rooms: Hub) -> Result<(), Error> {
    let room = rooms.join(path, &ws.sender());
    while let Some(message) = ws.recv().await? {
        room.publish(message);
    }
    Ok(())
}
