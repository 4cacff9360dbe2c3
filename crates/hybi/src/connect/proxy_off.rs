//! Without the feature `proxy`: the way to a host is always a direct one.

use hybi_proto::handshake::head::Limits;

use super::Place;
use crate::error::Result;
use crate::exchange::Deadline;
use crate::io::Stream;

/// Which proxy is for which host: none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies;

/// There is none.
#[derive(Debug)]
pub(crate) enum Proxy {}

impl Proxies {
    pub(super) fn choose(&self, _place: Place<'_>) -> Result<Option<Proxy>> {
        Ok(None)
    }
}

impl Proxy {
    pub(super) fn place(&self) -> Place<'_> {
        match *self {}
    }

    pub(super) async fn tunnel(
        &self,
        _stream: Stream,
        _to: Place<'_>,
        _limits: Limits,
        _deadline: Deadline,
    ) -> Result<Stream> {
        match *self {}
    }
}
