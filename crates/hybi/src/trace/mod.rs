//! What is told to the crate tracing, of connections and of a server; under the feature `tracing`.
//!
//! No payload is told, and what a peer has chosen, the reason of a close, only escaped. Without
//! the feature `off.rs` stands here, which is nothing.

use std::io;
use std::net::SocketAddr;

use hybi_proto::close::CloseInfo;
use hybi_proto::code::CloseCode;
use hybi_proto::error::ProtocolError;
use tracing::field::Empty;
use tracing::{debug, info_span, warn};

use crate::error::Error;

/// The span of one connection. The handler of a driven one runs in it.
#[derive(Clone, Debug)]
pub(crate) struct Span(tracing::Span);

impl Span {
    pub(crate) fn new(id: u64, client: bool) -> Self {
        let role = if client { "client" } else { "server" };
        let span = info_span!(target: "hybi", "connection", id, role, peer = Empty);
        debug!(target: "hybi", parent: &span, "opened");
        Self(span)
    }

    pub(crate) fn peer(&self, peer: impl FnOnce() -> Option<SocketAddr>) {
        if !self.0.is_disabled()
            && let Some(peer) = peer()
        {
            self.0.record("peer", tracing::field::display(peer));
        }
    }

    pub(crate) fn enter(&self) -> impl Drop + '_ {
        self.0.enter()
    }

    /// The peer broke a rule.
    pub(crate) fn violated(&self, error: ProtocolError) {
        let code = error.close_code().as_u16();
        debug!(target: "hybi", parent: &self.0, code, %error, "violated by the peer");
    }

    /// A policy has closed the connection.
    pub(crate) fn overflowed(&self) {
        let code = CloseCode::TRY_AGAIN_LATER.as_u16();
        debug!(target: "hybi", parent: &self.0, code, "closed by a policy, the backlog is full");
    }

    /// The transport has failed, or a deadline passed.
    pub(crate) fn failed(&self, error: &Error) {
        debug!(target: "hybi", parent: &self.0, %error, "failed");
    }

    pub(crate) fn ended(&self, info: Option<&CloseInfo>) {
        let Some(info) = info else { return };
        let (code, reason) = (info.code.as_u16(), info.reason.as_str());
        let (initiator, clean) = (info.initiator, info.clean);
        debug!(target: "hybi", parent: &self.0, code, ?reason, ?initiator, clean, "ended");
    }

    /// The handler has returned an error, of which nobody else hears.
    pub(crate) fn handler_failed(&self, error: &Error) {
        debug!(target: "hybi", parent: &self.0, %error, "the handler has failed");
    }
}

/// A client was turned away, or has not stayed.
pub(crate) fn refused(peer: Option<SocketAddr>, error: &Error) {
    debug!(target: "hybi", peer = peer.map(tracing::field::display), %error, "no connection came of a client");
}

/// Clients cannot be taken in for now.
pub(crate) fn cannot_accept(error: &io::Error) {
    warn!(target: "hybi", %error, "no client can be taken in, trying again");
}
