//! One test binary: bytes in hex in, events out, hex out.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod layers;
mod security;
mod support;
mod errors;
mod messages;
mod masks;
mod frames;
mod fragments;
mod control;
mod close;
mod limits;
mod overflow;
mod parts;
mod unfinished;
mod detached;
#[cfg(feature = "deflate")]
mod deflate;
#[cfg(feature = "deflate")]
mod extensions;
mod handshake;
mod http2;
mod cuts;
