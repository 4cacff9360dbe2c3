//! Stands for [`trace`](self) without the feature `tracing`: nothing is told to anybody.

use std::io;
use std::net::SocketAddr;

use hybi_proto::close::CloseInfo;
use hybi_proto::error::ProtocolError;

use crate::error::Error;

#[derive(Clone, Debug)]
pub(crate) struct Span;

pub(crate) struct Entered;

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {}
}

impl Span {
    pub(crate) fn new(_id: u64, _client: bool) -> Self {
        Self
    }

    pub(crate) fn peer(&self, _peer: impl FnOnce() -> Option<SocketAddr>) {}

    #[inline]
    pub(crate) fn enter(&self) -> Entered {
        Entered
    }

    pub(crate) fn violated(&self, _error: ProtocolError) {}

    pub(crate) fn overflowed(&self) {}

    pub(crate) fn failed(&self, _error: &Error) {}

    pub(crate) fn ended(&self, _info: Option<&CloseInfo>) {}

    pub(crate) fn handler_failed(&self, _error: &Error) {}
}

pub(crate) fn refused(_peer: Option<SocketAddr>, _error: &Error) {}

pub(crate) fn cannot_accept(_error: &io::Error) {}
