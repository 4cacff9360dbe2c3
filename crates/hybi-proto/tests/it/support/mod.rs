//! The language of the tests: bytes in hex in, events out, hex out.

pub(crate) mod hex;
#[cfg(feature = "deflate")]
pub(crate) mod inflate;
pub(crate) mod pair;
