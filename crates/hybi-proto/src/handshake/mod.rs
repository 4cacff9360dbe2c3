//! The opening handshake of RFC 6455 §4, both sides: bytes and `http` types in, verdicts out.
//!
//! A server that owns the socket finds the head with [`head::Scan`], parses it with
//! [`head::parse_request`] and asks [`server::accept`]; one inside another HTTP library asks
//! [`server::accept`] alone. A client parses its URL with [`uri::Target`], writes
//! [`client::request`] and judges the answer with [`client::verify`];
//! the reason for a refusal may be in its [`body`]. Nothing here waits, and no
//! deadline is kept here.

pub mod error;
pub mod grammar;
pub mod extensions;
pub mod forwarded;
pub mod key;
pub mod head;
pub mod uri;
pub mod server;
pub mod client;
pub mod body;

pub use error::{HeadError, OptionsError, RequestError, ResponseError, UrlError};
pub use extensions::Extensions;
pub use forwarded::Forwarded;
pub use grammar::{Extension, Version};
pub use key::Key;
pub use uri::{Credentials, Target};
