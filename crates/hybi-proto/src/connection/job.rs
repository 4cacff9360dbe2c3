//! The compression of what is long, left to another thread.
//!
//! A job is self-contained: it holds what it compresses and what that may refer back to. Only one
//! of a connection is out at a time, and what is sent meanwhile waits behind it, so that the order
//! is kept, and the windows of both sides stay together however it ends.

use bytes::Bytes;

use super::{Connection, FRAGMENT};
use crate::close::Close;
use crate::code::CloseCode;
use crate::deflate::{Config, Work};
use crate::prepared::Prepared;
use crate::text::Text;

/// Something to compress, on whatever thread: see [`Connection::take_job`].
#[derive(Debug)]
pub struct Job {
    pub(super) number: u32,
    pub(super) task: Task,
}

#[derive(Debug)]
pub(super) enum Task {
    /// The next piece of a message.
    Own(Work),
    /// A message that others get, too.
    Shared(Prepared, Config),
}

/// How a message is compressed that leaves in fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// Not at all.
    Plain,
    /// Its first part decides.
    Open,
    /// Each piece when it is framed, or by a job.
    Pieces,
    /// `rest` is compressed by the job with this number; the message ends with that.
    Job {
        number: u32,
        last: bool,
        shared: bool,
    },
    /// `rest` was compressed; the message ends with that.
    Packed { last: bool },
}

/// A [`Job`] that is done, for [`Connection::finish_job`].
#[derive(Debug)]
pub struct Done {
    number: u32,
    bytes: Bytes,
}

impl Packing {
    /// Whether another thread has to compress what is next.
    pub(super) fn awaits_job(self) -> bool {
        matches!(self, Self::Job { .. })
    }
}

impl Job {
    /// Does it. It takes some 15 ms for each MiB.
    #[must_use]
    pub fn run(self) -> Done {
        let bytes = match self.task {
            Task::Own(work) => work.run(),
            Task::Shared(prepared, config) => prepared.compressed(config).payload(),
        };
        Done {
            number: self.number,
            bytes,
        }
    }
}

impl Connection {
    /// Leaves the compression of more than so many bytes at once to [jobs](Self::take_job), if
    /// messages are compressed (default not at all: it is done as the message is framed).
    pub fn set_job_size(&mut self, bytes: usize) {
        if let Some(compressor) = self.encoder.any_compressor() {
            compressor.set_job(bytes);
            self.whole = bytes.min(FRAGMENT);
        }
    }

    /// Whether there is something to compress that nobody has taken.
    #[must_use]
    #[inline]
    pub fn has_job(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.job.is_some())
    }

    /// Takes something to compress, if that is next. All that is sent meanwhile waits until it is
    /// [done](Self::finish_job), but for control frames.
    #[must_use]
    pub fn take_job(&mut self) -> Option<Job> {
        self.rare.as_mut()?.job.take()
    }

    /// Frames what was compressed, unless it was given up meanwhile.
    pub fn finish_job(&mut self, done: Done) {
        let Some(outgoing) = self.outgoing_of_job(done.number) else {
            return;
        };
        let Packing::Job { last, shared, .. } = outgoing.packing else {
            return;
        };
        let piece = std::mem::replace(&mut outgoing.rest, done.bytes);
        outgoing.packing = Packing::Packed { last };
        if let Some(compressor) = self.encoder.any_compressor() {
            if shared {
                compressor.forget();
            } else {
                compressor.done(&piece, last);
            }
        }
        self.encode_queue(self.framed());
    }

    /// Says that the job was lost: its message cannot be sent, nor what waits behind it, and the
    /// connection is closed with 1011.
    pub fn lose_job(&mut self) {
        if !self.awaits_job() {
            return;
        }
        self.answer();
        let rare = self.rare();
        rare.dropped.closed += std::mem::take(&mut rare.queue).count() as u64;
        // This is what the peer has to hear, and not that all is well.
        rare.farewell = None;
        if let Some(outgoing) = &mut rare.outgoing {
            outgoing.last = false;
        }
        let reason = Text::from_static("a message could not be compressed");
        let close = Close::new(CloseCode::INTERNAL, reason).ok();
        self.push_close(close.as_ref());
    }
}
