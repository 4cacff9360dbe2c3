//! Tests without a port: connected pairs, transports that fail on cue, and peers that break rules.
//!
//! Everything here lives in memory, so that it works on a paused clock
//! (`#[tokio::test(start_paused = true)]`): a test of a deadline takes no time. It comes with the
//! feature `test-util`, which belongs into `[dev-dependencies]`.
//!
//! - [`pair`]: two WebSockets that are connected to each other, to test a handler.
//! - [`Peer`]: one WebSocket, and the raw other end of it, which can send any bytes.
//! - [`Script`]: a transport that obeys a list: short reads and writes, errors, and waiting, with
//!   a record of every write.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use hybi::{CloseCode, WebSocket};
//!
//! async fn shout(mut ws: WebSocket) -> hybi::Result<()> {
//!     while let Some(message) = ws.recv().await? {
//!         ws.send(message.as_text().unwrap_or_default().to_uppercase()).await?;
//!     }
//!     Ok(())
//! }
//!
//! let (mut peer, ws) = hybi::test::pair();
//! let handler = tokio::spawn(hybi::drive(ws, shout));
//! peer.send("hello").await?;
//! assert_eq!(peer.recv().await?, Some("HELLO".into()));
//! peer.close(CloseCode::NORMAL, "").await?;
//! handler.await.expect("the handler does not panic")?;
//! # hybi::Result::<()>::Ok(()) })?;
//! # hybi::Result::<()>::Ok(())
//! ```

mod frame;
mod peer;
mod script;

pub use frame::{Frame, Opcode};
pub use peer::Peer;
pub use script::{Fault, Log, Script, Write};

use hybi_proto::handshake::Extensions;

use crate::io::Stream;
use crate::options::Options;
use crate::shared::Agreed;
use crate::socket::{Role, WebSocket};

/// What an in-memory transport holds in each direction, in bytes.
const BUFFER: usize = 64 << 10;

/// A client and a server that are connected in memory, with the default [`Options`]; the opening
/// handshake is taken as done. The transport holds 64 KiB in each direction.
///
/// Neither is driven: see [`drive`](crate::drive()).
#[must_use]
pub fn pair() -> (WebSocket, WebSocket) {
    pair_with(&Options::new(), &Options::new(), BUFFER)
}

/// As [`pair`], with the options of the client, those of the server, and what the transport
/// holds in each direction, in bytes. Messages are compressed if both
/// [agree](Options::deflate) to that, as they would.
#[must_use]
pub fn pair_with(client: &Options, server: &Options, buffer: usize) -> (WebSocket, WebSocket) {
    let (a, b) = tokio::io::duplex(buffer);
    pair_over((a.into(), b.into()), client, server)
}

/// As [`pair_with`], over the two ends of a transport of one's own, the client's first: one that
/// fails, delays or counts what passes.
#[must_use]
pub fn pair_over(
    (a, b): (Stream, Stream),
    client: &Options,
    server: &Options,
) -> (WebSocket, WebSocket) {
    let ours = client.get().deflate(true);
    let theirs = server.get().deflate(false);
    let extensions = Extensions::between(ours.as_ref(), theirs.as_ref());
    let open = |stream, role, options| {
        let agreed = Agreed::new("/", None, extensions);
        WebSocket::open(stream, role, options, &[], agreed)
    };
    (open(a, Role::Client, client), open(b, Role::Server, server))
}
