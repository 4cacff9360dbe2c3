//! The way to a Unix socket.

use std::io;

use tokio::net::UnixStream;

use crate::io::Stream;

/// Connects to the socket at this path.
pub(super) async fn connect(path: &str) -> io::Result<Stream> {
    UnixStream::connect(path).await.map(Stream::new)
}
