//! Where there are no Unix sockets.

use std::io;

use crate::io::Stream;

/// Refuses.
pub(super) async fn connect(_path: &str) -> io::Result<Stream> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "Unix sockets are not to be had on this system",
    ))
}
