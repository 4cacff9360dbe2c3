//! TLS 1.2 and 1.3 for both sides, by rustls with ring: `wss:`.
//!
//! [`ClientTls`] and [`ServerTls`] make one encrypted [`Stream`](crate::Stream) of another. Settings
//! that cannot hold, a certificate that cannot be read or a key that is another's, are errors of
//! the call that sets them, not of a connection later: they are chosen once, when a program
//! starts. A configuration of rustls's own is taken as it is.
//!
//! Nothing here knows of WebSockets. Without the feature `tls`, `off.rs` stands here, which refuses.

mod fault;
mod identity;
mod stream;
mod trust;
mod client;
#[cfg(feature = "webpki-roots")]
mod webpki;
mod info;
mod server;

pub use client::ClientTls;
pub use info::TlsInfo;
pub use server::ServerTls;
