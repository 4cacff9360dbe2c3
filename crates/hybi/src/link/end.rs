//! How a connection ends, and what is told of it.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use hybi_proto::connection::State;
use hybi_proto::error::ProtocolError;
use tokio::io::AsyncReadExt;

use super::Link;
use crate::buffer;
use crate::deadlines::Owed;
use crate::error::Error;
use crate::io::{Io, LINGER};

/// How far the end has come, once the closing handshake is done or has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Not begun.
    Live,
    /// Writing is shut down; what still comes is discarded until the peer has done the same, for
    /// closing a socket with unread input would send a reset, which destroys the very frame that
    /// says why.
    Lingering { left: u32 },
    /// The transport is gone.
    Ended,
}

impl<S: Io> Link<S> {
    /// Ends the connection without a closing handshake.
    pub(crate) fn lose(&mut self, error: Error) {
        if self.connection.state() != State::Closed {
            self.span.failed(&error);
            self.fault.get_or_insert_with(|| Box::new(error));
            self.connection.lost();
        }
        self.drop_transport();
    }

    fn drop_transport(&mut self) {
        if self.io.take().is_some() {
            self.span.ended(self.connection.close_info());
        }
        self.entry = None;
        self.cut |= self.connection.buffered() > 0;
        self.held = false;
        self.connection.clear();
        self.offloaded = None;
        self.deadlines.clear();
        self.pings = None;
        self.end = End::Ended;
        if let Some(wakers) = &self.wakers {
            wakers.end();
        }
    }

    /// How a receiver learns of the end: an error once if it was not clean, and then that it has
    /// ended.
    pub(crate) fn verdict(&mut self) -> Result<(), Error> {
        match &mut self.fault {
            Some(fault) => Err(std::mem::replace(&mut **fault, Error::Closed)),
            None if self.connection.close_info().is_some_and(|info| info.clean) => Ok(()),
            None => Err(Error::Closed),
        }
    }

    /// An error of the transport forbids to send, although it is the receiver that learns why.
    pub(crate) fn may_send(&self) -> Result<(), Error> {
        match self.fault.as_deref() {
            Some(Error::Io(error)) => Err(Error::Io(error.kind().into())),
            _ => Ok(()),
        }
    }

    /// As [`may_send`](Self::may_send); nor has everything left if the end was not clean, or some
    /// was given up.
    pub(crate) fn may_flush(&self) -> Result<(), Error> {
        self.may_send()?;
        let left = self.connection.buffered() == 0;
        match self.connection.close_info() {
            // It may be long until it has ended, too: the peer is waited for.
            _ if self.cut => Err(Error::Closed),
            Some(info) if self.has_ended() && !(info.clean && left) => Err(Error::Closed),
            _ => Ok(()),
        }
    }

    /// Remembers why the connection has failed, for the receiver.
    pub(crate) fn fail(&mut self, error: ProtocolError) {
        self.fault
            .get_or_insert_with(|| Box::new(Error::Protocol(error)));
    }

    pub(crate) fn has_fault(&self) -> bool {
        self.fault.is_some()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.end == End::Ended
    }

    /// Brings a connection that is closed or has failed to its end: the last frame leaves, then
    /// the transport is shut down on both sides. The server shuts down first (RFC 6455 §7.1.1).
    pub(crate) fn poll_end(&mut self) -> Poll<()> {
        if self.end == End::Live {
            ready!(self.poll_flush());
            let clean = self.connection.close_info().is_some_and(|info| info.clean);
            if self.client && clean {
                ready!(self.poll_discard(LINGER));
            }
            let mut cx = Context::from_waker(&self.waker);
            if let Some(io) = &mut self.io {
                // Nothing can be done about a transport that cannot even be shut down.
                let _ = ready!(Pin::new(io).poll_shutdown(&mut cx));
            }
            self.end = End::Lingering {
                left: LINGER as u32,
            };
            self.deadlines.note(Owed::End, true);
        }
        if let End::Lingering { left } = self.end {
            ready!(self.poll_discard(left as usize));
            self.drop_transport();
        }
        Poll::Ready(())
    }

    /// Reads and forgets until the peer has shut down, or has sent as much as this.
    fn poll_discard(&mut self, mut left: usize) -> Poll<()> {
        let Some(io) = &mut self.io else {
            return Poll::Ready(());
        };
        let mut cx = Context::from_waker(&self.waker);
        let mut buffer = buffer::read();
        let end = loop {
            buffer.clear();
            match pin!(io.read_buf(&mut buffer)).poll(&mut cx) {
                Poll::Ready(Ok(n)) if n > 0 && n < left => left -= n,
                Poll::Ready(_) => break Poll::Ready(()),
                Poll::Pending => break Poll::Pending,
            }
        };
        buffer.clear();
        buffer::keep_read(buffer);
        if let End::Lingering { left: rest } = &mut self.end {
            *rest = left as u32;
        }
        end
    }

    /// Ends at once: what is queued gets one write, then the transport is dropped.
    pub(crate) fn abort(&mut self) {
        let _ = self.poll_write();
        self.lose(Error::Closed);
    }
}
