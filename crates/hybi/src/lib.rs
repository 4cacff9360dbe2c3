//! A WebSocket client and server for tokio: simple to use, thoroughly tested, safe on the open
//! Internet by default.
//!
//! Begin at [`connect`] for a client and at [`Server`] for a server; both give a [`WebSocket`]. A
//! [`Client`] chooses the way to the servers.
//!
//! The order of the modules is the order of the layers: a module uses only those above it.
#![forbid(unsafe_code)]

mod error;
#[cfg(feature = "tracing")]
mod trace;
#[cfg(not(feature = "tracing"))]
#[path = "trace/off.rs"]
mod trace;
mod options;
mod entropy;
mod io;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "tls/off.rs"]
mod tls;
mod deadlines;
mod pings;
mod pulse;
mod stats;
mod buffer;
#[cfg(not(all(test, hybi_shuttle)))]
mod sync;
#[cfg(all(test, hybi_shuttle))]
#[path = "sync/shuttle.rs"]
mod sync;
mod wakers;
mod place;
mod link;
mod shared;
mod sender;
mod receiver;
mod parts;
mod socket;
mod stream;
mod duplex;
#[cfg(feature = "codec")]
mod framed;
mod driver;
pub mod events;
mod exchange;
mod connect;
#[cfg(feature = "http2")]
mod http2;
#[cfg(not(feature = "http2"))]
#[path = "http2/off.rs"]
mod http2;
mod client;
mod backoff;
pub mod session;
mod broadcast;
mod crowd;
mod clients;
mod hub;
mod shutdown;
mod incoming;
#[cfg(feature = "hyper")]
pub mod upgrade;
#[cfg(feature = "axum")]
pub mod axum;
pub mod server;
#[cfg(feature = "test-util")]
pub mod test;
#[cfg(all(test, hybi_shuttle))]
mod handover;

pub use backoff::{Backoff, Jitter};
pub use broadcast::Delivery;
pub use bytes::Bytes;
pub use client::{Client, Connect, ConnectInfo, Redirect, connect};
pub use clients::Clients;
#[cfg(feature = "proxy")]
pub use connect::Proxy;
pub use driver::{Drive, drive};
pub use duplex::Duplex;
pub use error::{Error, HandshakeError, ProxyError, Result, Timeout};
pub use http::{Request, Response, StatusCode, Uri};
pub use hub::{Hub, Membership};
pub use hybi_proto::close::{CloseInfo, Initiator};
pub use hybi_proto::code::CloseCode;
pub use hybi_proto::connection::State;
pub use hybi_proto::deflate::{Deflate, Params, Strategy};
pub use hybi_proto::error::{CloseError, ProtocolError, SendError};
pub use hybi_proto::handshake::server::Origins;
pub use hybi_proto::handshake::{
    Extensions, Forwarded, HeadError, OptionsError, RequestError, ResponseError, UrlError, Version,
};
pub use hybi_proto::message::{Event, Kind, Message, MessageRef, SendOptions};
pub use hybi_proto::prepared::Prepared;
pub use hybi_proto::queue::{Dropped, Overflow};
pub use hybi_proto::text::Text;
pub use incoming::{Accept, Incoming, Reject, accept};
pub use io::{Io, Stream};
pub use options::{Heartbeat, Options};
pub use parts::{MessageReader, MessageWriter};
pub use pings::RoundTrip;
pub use receiver::Receiver;
pub use sender::{Permit, Sender};
pub use server::Server;
pub use session::Session;
pub use shared::ConnectionId;
pub use shutdown::{Report, ServerHandle, Shutdown};
pub use socket::{Role, WebSocket};
pub use stats::Stats;
#[cfg(feature = "tls")]
pub use tls::{ClientTls, ServerTls, TlsInfo};
/// The TLS below, for [`ClientTls::from_config`] and [`ServerTls::from_config`].
#[cfg(feature = "tls")]
pub use tokio_rustls::rustls;
#[cfg(feature = "hyper")]
pub use upgrade::{Upgrade, upgrade};

/// The examples of the README are tested with those of the docs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
