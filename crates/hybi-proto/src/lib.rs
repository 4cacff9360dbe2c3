//! The WebSocket protocol (RFC 6455) without I/O: bytes in, events out.
//!
//! Nothing in this crate knows a socket, a clock or a source of randomness: bytes, ticks and
//! mask keys are handed in. The crate `hybi` adds the waiting, for tokio.
//!
//! The order of the modules is the order of the layers: a module uses only those above it.

pub mod handshake;
