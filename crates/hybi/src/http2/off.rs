//! Without the feature `http2`: no client speaks it.

use std::io;

use http::{Request, Response};
use hybi_proto::handshake::head;

use crate::error::{Error, Result};
use crate::io::Stream;

/// Refuses.
pub(crate) async fn ask(
    _stream: Stream,
    _request: Request<()>,
    _limits: head::Limits,
) -> Result<(Response<()>, Stream)> {
    Err(Error::Io(io::Error::new(
        io::ErrorKind::Unsupported,
        "a client needs the feature `http2` of hybi to speak over HTTP/2",
    )))
}
