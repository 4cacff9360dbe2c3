//! A handler that is called when something comes, instead of waiting for it: the fast lane.
//!
//! It is shown each message where it lies in the thread's read buffer, and what it sends in answer
//! to one read leaves in one write. Connection, driver and transport are those of every other
//! driven socket; only who takes the events differs.

mod peer;
mod dispatch;

use std::sync::Arc;

use http::Request;
use hybi_proto::close::CloseInfo;
use hybi_proto::message::MessageRef;

use crate::driver::{self, Drive};
use crate::error::{Error, Result};
use crate::io::Stream;
use crate::socket::WebSocket;

pub use dispatch::Dispatch;
pub use peer::Peer;

/// What is called when something comes on a connection; see
/// [`Server::serve_events`](crate::Server::serve_events).
///
/// One handler serves all connections, from several threads at once; what belongs to one of them
/// is its [`State`](Self::State). The methods are called one at a time for each connection, in the
/// order in which things have come, and must not block: while one runs, nothing else happens on
/// its thread. What takes time goes to a task of its own, with a clone of the
/// [`sender`](Peer::sender).
///
/// Who returns an error has the connection closed with 1011, whatever the error is about: that of
/// a sender of another connection, say, had better not be passed on with `?`. After that, or once
/// [`Peer::send`] has said that this connection is closed, which is no failure, no more messages are
/// shown, and [`on_close`](Self::on_close) follows when the connection has ended. Who panics has it
/// closed with 1011, too, but nothing more is called then: what must be undone in any case
/// belongs into the `Drop` of the [`State`](Self::State).
///
/// While 64 KiB are queued for a peer, or half of [`Options::backlog`](crate::Options::backlog) if
/// that is less, nothing is shown and nothing is read: neither its pings nor its close are seen
/// before it reads, and if it never does, [`Options::write_timeout`](crate::Options::write_timeout)
/// ends the connection.
///
/// ```
/// use hybi::events::{Handler, Peer};
/// use hybi::{MessageRef, Request, Result};
///
/// /// Says how many messages have come.
/// struct Count;
///
/// impl Handler for Count {
///     type State = usize;
///
///     fn on_open(&self, peer: &mut Peer<'_>, request: Request<()>) -> Result<usize> {
///         peer.send(format!("welcome to {}", request.uri()).as_str())?;
///         Ok(0)
///     }
///
///     fn on_message(&self, peer: &mut Peer<'_, usize>, _: MessageRef<'_>) -> Result<()> {
///         *peer.state += 1;
///         peer.send(&peer.state.to_string())
///     }
/// }
/// ```
pub trait Handler: Send + Sync + 'static {
    /// What is kept for each connection. It is dropped when the connection has ended, also where
    /// [`on_close`](Self::on_close) is not called: the handler has panicked, or the server's runtime
    /// ends.
    type State: Send + 'static;

    /// The opening handshake is done: it is too late to refuse it with a status, but not to
    /// [`close`](Peer::close). What is sent here is the first that leaves.
    ///
    /// # Errors
    ///
    /// Any; the connection is closed with 1011, and nothing else is called.
    fn on_open(&self, peer: &mut Peer<'_>, request: Request<()>) -> Result<Self::State>;

    /// A message has come, the whole of it. It lies in the read buffer: what is to be kept is
    /// [copied](MessageRef::to_message).
    ///
    /// # Errors
    ///
    /// Any; the connection is closed with 1011.
    fn on_message(&self, peer: &mut Peer<'_, Self::State>, message: MessageRef<'_>) -> Result<()>;

    /// A ping has come (RFC 6455 §5.5.2). It is answered already, unless
    /// [`Options::auto_pong`](crate::Options::auto_pong) is off.
    ///
    /// # Errors
    ///
    /// Any; the connection is closed with 1011.
    fn on_ping(&self, peer: &mut Peer<'_, Self::State>, payload: &[u8]) -> Result<()> {
        let _ = (peer, payload);
        Ok(())
    }

    /// A pong has come (RFC 6455 §5.5.3), asked for or not.
    ///
    /// # Errors
    ///
    /// Any; the connection is closed with 1011.
    fn on_pong(&self, peer: &mut Peer<'_, Self::State>, payload: &[u8]) -> Result<()> {
        let _ = (peer, payload);
        Ok(())
    }

    /// Less than 64 KiB are queued, or half the backlog if that is less, after it was more, or after
    /// [`Peer::send`] has met a full backlog: who has stopped for that can go on. It is called
    /// once each time, before the next message is shown.
    ///
    /// # Errors
    ///
    /// Any; the connection is closed with 1011.
    fn on_drain(&self, peer: &mut Peer<'_, Self::State>) -> Result<()> {
        let _ = peer;
        Ok(())
    }

    /// The connection ends for a fault: the peer broke a rule ([`Error::Protocol`]), the transport
    /// failed or ended without a close ([`Error::Io`]), a deadline has passed
    /// ([`Error::Timeout`]). [`on_close`](Self::on_close) follows. It is not called for what the
    /// handler itself has returned, nor after an [`abort`](Peer::abort).
    fn on_error(&self, peer: &mut Peer<'_, Self::State>, error: Error) {
        let _ = (peer, error);
    }

    /// Nothing comes any more, and nothing can be sent; what is queued still leaves. It is the last
    /// call, and there is one for each connection whose [`on_open`](Self::on_open) has returned a
    /// state.
    fn on_close(&self, peer: &mut Peer<'_, Self::State>, info: &CloseInfo) {
        let _ = (peer, info);
    }
}

/// Drives a connection whose events go to a handler, for connections that come otherwise than by
/// [`Server::serve_events`](crate::Server::serve_events).
///
/// The future ends when the connection has. Dropping it tries one write of a close frame with
/// 1001, and aborts; [`Handler::on_close`] is not called then.
///
/// # Errors
///
/// What the handler returns; how the connection has ended is told to the handler only.
///
/// # Panics
///
/// With the handler's panic, once the connection has ended.
pub fn drive<H: Handler>(
    ws: WebSocket,
    request: Request<()>,
    handler: Arc<H>,
) -> Drive<Stream, Dispatch<H>> {
    driver::begin(ws, |ws| Dispatch::new(ws, request, handler))
}
