//! One test binary: bytes in hex in, events out, hex out.

mod handshake;
mod layers;
