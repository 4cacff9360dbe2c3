//! What the peer of a connection owes, and what is done when its time has passed.

use std::task::{Poll, ready};

use bytes::Bytes;
use hybi_proto::close::Close;
use hybi_proto::code::CloseCode;
use hybi_proto::connection::State;
use hybi_proto::error::{ProtocolError, SendError};
use hybi_proto::text::Text;

use super::Link;
use crate::deadlines::{ALL, Owed, UNREAD};
use crate::error::{Error, Timeout};
use crate::io::Io;
use crate::pulse::Beat;

impl<S: Io> Link<S> {
    /// Sees to the deadlines; ready if one has passed and has changed the connection.
    ///
    /// To be called when everything else has to wait: it takes the state as it is for what the
    /// peer has left undone.
    #[inline]
    pub(crate) fn poll_deadlines(&mut self) -> Poll<()> {
        let starved = std::mem::take(&mut self.starved);
        let midway = starved && self.connection.is_midway();
        let ticks = !self.ticked && self.deadlines.options().tick().is_some();
        let ticks = ticks && self.connection.state() == State::Open;
        if self.deadlines.is_idle() && !midway && !ticks && !self.owes_unread() {
            return Poll::Pending;
        }
        self.deadlines.note(Owed::Message, midway);
        self.deadlines.note(Owed::Tick, ticks);
        self.poll_owed(&ALL)
    }

    /// As [`poll_deadlines`](Self::poll_deadlines), for who does not read: whether the peer owes a
    /// part of a message is for the reader to say.
    pub(crate) fn poll_write_deadlines(&mut self) -> Poll<()> {
        self.poll_owed(&UNREAD)
    }

    /// Whether the peer owes something that no timer watches yet.
    pub(crate) fn lacks_timer(&mut self) -> bool {
        self.note_unread();
        self.deadlines.lacks_timer()
    }

    /// Whether something can be owed without anybody reading.
    #[inline]
    fn owes_unread(&self) -> bool {
        self.connection.state() != State::Open
            || self.connection.owes_close()
            || self.connection.is_unfinished()
    }

    /// Notes what can be owed without anybody reading.
    fn note_unread(&mut self) {
        // While the part before still leaves, it is the peer who owes.
        let idle = self.connection.is_unfinished() && self.connection.takes_part();
        self.deadlines.note(Owed::Part, idle);
        let closing = self.connection.state() != State::Open || self.connection.owes_close();
        let closing = closing && !self.has_ended();
        self.deadlines.note(Owed::Close, closing);
    }

    #[inline(never)]
    fn poll_owed(&mut self, owed: &[Owed]) -> Poll<()> {
        self.see_waker();
        self.note_unread();
        match ready!(self.deadlines.poll(owed, &self.waker)) {
            // The peer had its time to read our last frame.
            Owed::End => self.lose(Error::Closed),
            Owed::Close if self.connection.owes_close() => {
                self.deadlines.note(Owed::Close, false);
                self.connection.answer();
            }
            Owed::Close => self.lose(Error::Timeout(Timeout::Close)),
            Owed::Write | Owed::Part => self.lose(Error::Timeout(Timeout::Write)),
            Owed::Tick => {
                self.deadlines.note(Owed::Tick, false);
                self.tick();
            }
            Owed::Message => {
                self.deadlines.note(Owed::Message, false);
                self.span.violated(ProtocolError::MessageStalled);
                self.connection.fail(ProtocolError::MessageStalled);
                self.hold(Err(ProtocolError::MessageStalled));
            }
        }
        Poll::Ready(())
    }

    /// Sends a part of a message; the time for the next one begins.
    pub(crate) fn send_part(&mut self, bytes: Bytes) -> Result<(), SendError> {
        self.connection.send_part(bytes)?;
        self.deadlines.note(Owed::Part, false);
        Ok(())
    }

    /// One tick of the clock: pings a peer that is silent, ends the connection of one that stays
    /// so, and closes one that is old.
    pub(crate) fn tick(&mut self) {
        if self.connection.state() != State::Open {
            return;
        }
        let deaf = self.is_ahead();
        match self.pulse.tick(self.deadlines.options(), deaf) {
            None => return,
            Some(Beat::Dead(why)) => self.lose(Error::Timeout(why)),
            Some(Beat::Ping) => {
                if self.connection.ping(b"").is_err() {
                    // What waits to leave has a deadline of its own.
                    return;
                }
                self.pings.get_or_insert_default().beaten();
            }
            Some(Beat::Old) => {
                let reason = Text::from_static("the connection has reached its maximum lifetime");
                let close = Close::new(CloseCode::GOING_AWAY, reason).ok();
                self.connection.close(close.as_ref());
            }
        }
        // Whoever sees to the transport writes it, or ends.
        self.waker.wake_by_ref();
    }
}
