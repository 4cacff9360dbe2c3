//! The WebSocket protocol (RFC 6455) without I/O: bytes in, events out.
//!
//! Nothing in this crate knows a socket, a clock or a source of randomness: bytes, ticks and
//! mask keys are handed in. The crate `hybi` adds the waiting, for tokio.
//!
//! The order of the modules is the order of the layers: a module uses only those above it.
#![deny(unsafe_code, unsafe_op_in_unsafe_fn)]

pub mod code;
pub mod utf8;
#[allow(unsafe_code)] // a `Text` is checked once, when it is made
pub mod text;
pub mod error;
pub mod close;
pub mod mask;
pub mod message;
pub mod frame;
pub mod deflate;
pub mod prepared;
pub mod limits;
pub mod outbox;
pub mod queue;
pub mod handshake;
mod pool;
pub mod decoder;
pub mod encoder;
pub mod connection;
