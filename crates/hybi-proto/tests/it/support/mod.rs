//! The language of the tests: bytes in hex in, events out, hex out.

pub(crate) mod hex;
pub(crate) mod pair;
