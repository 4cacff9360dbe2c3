//! A handshake that another HTTP server has received, as it stands at the door of a
//! [`Server`](crate::Server) which is a service of that other.

use bytes::Bytes;
use http::{Request, Response};
use hybi_proto::handshake::server::Via;
use hyper::upgrade::OnUpgrade;
use tokio::sync::oneshot;

use crate::incoming::{Door, Upgraded};
use crate::io::Stream;

/// A head, its door, and where the answer comes out.
pub(crate) struct Caller {
    pub(crate) request: Request<()>,
    pub(crate) via: Via,
    pub(crate) door: Door<Stream>,
    pub(crate) answer: oneshot::Receiver<Response<Bytes>>,
}

/// As [`upgrade`](super::upgrade): `None` if the request is no handshake.
pub(crate) fn door<T>(request: &mut Request<T>) -> Option<Caller> {
    let via = super::via(request)?;
    let stream = request.extensions_mut().remove::<OnUpgrade>();
    let (sender, answer) = oneshot::channel();
    let upgraded = stream.map(|stream| -> Upgraded<Stream> { Box::pin(super::upgraded(stream)) });
    Some(Caller {
        request: super::head(request),
        via,
        door: Door::Server {
            via,
            answer: sender,
            upgraded: upgraded.ok_or(super::NO_STREAM),
        },
        answer,
    })
}

/// The answer as the other server can send it.
pub(crate) fn response<B: From<Bytes>>(via: Via, response: Response<Bytes>) -> Response<B> {
    super::response_over(via, response)
}
