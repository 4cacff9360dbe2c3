//! Bytes out and in: the outbox drained, the inbox filled, and the buffers that the thread lends
//! for it.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::BufMut;
use hybi_proto::connection::State;
use tokio::io::AsyncReadExt;
use tokio::task::coop;

use super::Link;
use super::ahead::AHEAD;
use crate::buffer;
use crate::deadlines::Owed;
use crate::error::Error;
use crate::io::{self as transport, Io};

/// The most in one read, in bytes.
const READ: usize = 1 << 20;

/// The most slices in one write.
const SLICES: usize = 64;

impl<S: Io> Link<S> {
    /// Lends the thread's buffer for outgoing frames, unless some wait in one of our own.
    #[inline]
    pub(crate) fn lend_outbox(&mut self) {
        if !self.connection.outbox().has_buffer() {
            self.connection.outbox().lend(buffer::write());
            self.lent_outbox = true;
        }
    }

    /// Lends one of the thread's small buffers, for frames that are not written at once.
    pub(crate) fn lend_small(&mut self) {
        if !self.connection.outbox().has_buffer() {
            self.connection.outbox().lend(buffer::small());
        }
    }

    /// Gives the thread's buffer for outgoing frames back; what waits in it is copied, once. A
    /// buffer of our own goes when nothing waits in it.
    #[inline(always)]
    pub(crate) fn return_outbox(&mut self) {
        let lent = std::mem::take(&mut self.lent_outbox);
        if lent || self.connection.outbox().is_empty() {
            buffer::keep_write(self.connection.outbox().reclaim());
        }
    }

    /// Gives the thread's buffers back.
    pub(crate) fn return_buffers(&mut self) {
        self.return_outbox();
        self.return_inbox();
    }

    /// Gives the thread's read buffer back; what is unread in it is copied.
    #[inline(always)]
    pub(crate) fn return_inbox(&mut self) {
        if self.lent {
            self.lent = false;
            buffer::keep_read(self.connection.reclaim_inbox());
        } else if self.connection.unread() == 0 {
            drop(self.connection.reclaim_inbox());
        }
    }

    /// Drains the outbox. An error of the transport ends the connection, but what the peer has
    /// sent before is still read.
    pub(crate) fn poll_drain(&mut self) -> Poll<()> {
        loop {
            ready!(self.poll_write());
            if !ready!(self.poll_offloaded()) {
                return Poll::Ready(());
            }
        }
    }

    /// As [`poll_drain`](Self::poll_drain), as far as it is framed.
    pub(super) fn poll_write(&mut self) -> Poll<()> {
        self.see_waker();
        if self.broken {
            self.give_up();
            return Poll::Ready(());
        }
        let Some(io) = &mut self.io else {
            return Poll::Ready(());
        };
        let mut cx = Context::from_waker(&self.waker);
        while !self.connection.outbox().is_empty() {
            let outbox = self.connection.outbox();
            let was_blocked = outbox.is_blocked();
            let written = match outbox.piece() {
                // A driver ends its turn by itself.
                Some(piece) if self.driven => transport::poll_write_freely(io, &mut cx, piece),
                Some(piece) => Pin::new(&mut *io).poll_write(&mut cx, piece),
                None => {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let count = outbox.slices(&mut slices);
                    Pin::new(&mut *io).poll_write_vectored(&mut cx, &slices[..count])
                }
            };
            match written {
                Poll::Ready(Ok(n)) if n > 0 => {
                    self.connection.sent(n);
                    self.sent += n as u64;
                    self.held = true;
                    // There is room again: the peer has taken something, so it is there.
                    if was_blocked {
                        self.pulse.hear();
                    }
                    self.deadlines.note(Owed::Write, false);
                }
                Poll::Ready(result) => {
                    let error = result
                        .err()
                        .unwrap_or_else(|| io::ErrorKind::WriteZero.into());
                    self.break_off(error);
                    return Poll::Ready(());
                }
                Poll::Pending => {
                    // A task that has spent its budget says nothing about the peer.
                    if coop::has_budget_remaining() {
                        self.connection.outbox().block();
                        self.deadlines.note(Owed::Write, true);
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(())
    }

    /// Drains the outbox and everything that the transport itself holds back.
    #[inline]
    pub(crate) fn poll_flush(&mut self) -> Poll<()> {
        let drained = self.poll_drain();
        if self.broken || !self.connection.outbox().is_empty() {
            return drained;
        }
        let Some(io) = &mut self.io else {
            return drained;
        };
        // What was written does not wait for what another thread compresses.
        let mut cx = Context::from_waker(&self.waker);
        match Pin::new(io).poll_flush(&mut cx) {
            Poll::Ready(Ok(())) => {
                if std::mem::take(&mut self.held) {
                    self.deadlines.note(Owed::Write, false);
                }
                drained
            }
            Poll::Ready(Err(error)) => {
                self.break_off(error);
                Poll::Ready(())
            }
            Poll::Pending => {
                if self.held && coop::has_budget_remaining() {
                    self.deadlines.note(Owed::Write, true);
                }
                Poll::Pending
            }
        }
    }

    /// Nothing can be written any more. That is no fault if the peer has closed already, and did
    /// not stay for the answer.
    fn break_off(&mut self, error: io::Error) {
        if self.connection.state() != State::Closed {
            self.fault.get_or_insert_with(|| Box::new(Error::Io(error)));
        }
        self.broken = true;
        self.give_up();
        self.held = false;
        self.deadlines.note(Owed::Write, false);
        // A transport that fails to write need not wake who reads, in another task.
        self.waker.wake_by_ref();
    }

    /// What waits to leave never does.
    #[cold]
    fn give_up(&mut self) {
        self.cut |= self.connection.buffered() > 0;
        self.connection.clear();
        self.offloaded = None;
    }

    /// Reads once into the inbox, through the thread's buffer; true if bytes came. What nobody
    /// has asked for is not read beyond [`AHEAD`].
    ///
    /// The end of the transport is the end of the connection.
    #[inline]
    pub(crate) fn poll_fill(&mut self, asked: bool) -> Poll<bool> {
        if std::mem::take(&mut self.short) && self.is_unreadable() {
            self.starved = true;
            return Poll::Pending;
        }
        self.fill(asked)
    }

    #[inline]
    fn is_unreadable(&self) -> bool {
        let mut cx = Context::from_waker(&self.waker);
        let io = self.io.as_ref();
        io.is_some_and(|io| transport::is_unreadable(io, &mut cx))
    }

    #[inline(never)]
    fn fill(&mut self, asked: bool) -> Poll<bool> {
        self.see_waker();
        let Some(io) = &mut self.io else {
            return Poll::Ready(false);
        };
        let mut cx = Context::from_waker(&self.waker);
        if !self.lent {
            self.connection.lend_inbox(buffer::read());
            self.lent = true;
        }
        let mut inbox = self.connection.inbox();
        let most = if asked {
            READ
        } else {
            AHEAD.saturating_sub(self.unasked as usize)
        };
        let room = inbox.remaining_mut().min(most);
        inbox.set_limit(room);
        let read = if self.driven {
            transport::poll_read_freely(io, &mut cx, &mut inbox)
        } else {
            pin!(io.read_buf(&mut inbox)).poll(&mut cx)
        };
        let Poll::Ready(read) = read else {
            self.starved = true;
            return Poll::Pending;
        };
        let error = match read {
            Ok(0) => io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the peer ended the connection without a close frame",
            ),
            Ok(n) => {
                self.short = n < room;
                self.pulse.hear();
                self.received += n as u64;
                self.unasked += if asked { 0 } else { n as u32 };
                self.deadlines.note(Owed::Message, false);
                return Poll::Ready(true);
            }
            Err(error) => error,
        };
        self.lose(Error::Io(error));
        Poll::Ready(false)
    }
}
