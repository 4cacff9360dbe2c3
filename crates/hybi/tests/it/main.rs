//! The tests of the tokio face, in one binary.

mod hostile;
