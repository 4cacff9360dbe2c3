//! What the soak and the load share: the server in its process, and peers by hand.

pub mod process;
pub mod raw;
