//! Messages that leave in fragments: those that are sent in parts, and large ones by themselves.

use bytes::Bytes;

use super::job::{Job, Packing, Task};
use super::{Connection, FRAGMENT, Rare};
use crate::close::Close;
use crate::code::CloseCode;
use crate::deflate::Config;
use crate::encoder::Start;
use crate::error::SendError;
use crate::frame::{Opcode, RSV1};
use crate::message::{Kind, SendOptions};
use crate::prepared::Prepared;
use crate::queue::Item;
use crate::text::Text;
use crate::utf8::Utf8;

/// A message that leaves in fragments (§5.4).
#[derive(Debug)]
pub(super) struct Outgoing {
    kind: Kind,
    /// Of the next frame: the kind's, and continuation from then on.
    pub(super) opcode: Opcode,
    /// What has come and is not framed yet.
    pub(super) rest: Bytes,
    /// The message ends with `rest`.
    pub(super) last: bool,
    utf8: Utf8,
    pub(super) packing: Packing,
}

impl Outgoing {
    /// Whether nothing of it can be framed now.
    fn waits(&self) -> bool {
        self.packing.awaits_job() || (self.rest.is_empty() && !self.last)
    }
}

impl Connection {
    /// Frames the first fragment; the others follow as the outbox is drained.
    pub(super) fn encode_in_fragments(&mut self, item: &Item) {
        let message = item.message();
        let (kind, len) = (message.kind(), message.len());
        let rest = message.clone().into_bytes();
        let compressor = self.encoder.compressor(len);
        let config = compressor.map(|compressor| compressor.config());
        let (rest, packing) = match (item, config) {
            (Item::Plain(_), _) | (_, None) => (rest, Packing::Plain),
            (Item::Prepared(prepared), Some(config)) => {
                return self.encode_prepared(prepared, config);
            }
            (Item::Message(_), Some(_)) => (rest, Packing::Pieces),
        };
        self.rare().outgoing = Some(Outgoing {
            kind,
            opcode: kind.into(),
            rest,
            last: true,
            utf8: Utf8::default(),
            packing,
        });
        self.encode_fragment();
    }

    /// As [`encode_in_fragments`](Self::encode_in_fragments), for what is compressed for all.
    fn encode_prepared(&mut self, prepared: &Prepared, config: Config) {
        let (kind, last) = (prepared.kind(), true);
        let size = self.job_size();
        let job = prepared.message().len() > size && !prepared.is_compressed(config);
        let (rest, packing) = if job {
            let number = self.push_job(Task::Shared(prepared.clone(), config));
            let message = prepared.message().clone();
            let shared = true;
            (
                message.into_bytes(),
                Packing::Job {
                    number,
                    last,
                    shared,
                },
            )
        } else {
            if let Some(compressor) = self.encoder.any_compressor() {
                compressor.forget();
            }
            let payload = prepared.compressed(config).payload();
            (payload, Packing::Packed { last })
        };
        self.rare().outgoing = Some(Outgoing {
            kind,
            opcode: kind.into(),
            rest,
            last,
            utf8: Utf8::default(),
            packing,
        });
        self.encode_fragment();
    }

    /// What is longer is left to a job.
    fn job_size(&mut self) -> usize {
        let compressor = self.encoder.any_compressor();
        compressor.map_or(usize::MAX, |compressor| compressor.job())
    }

    fn push_job(&mut self, task: Task) -> u32 {
        let rare = self.rare();
        rare.jobs = rare.jobs.wrapping_add(1);
        let number = rare.jobs;
        rare.job = Some(Job { number, task });
        number
    }

    /// Whether what is next waits for a job to be done, or to be taken. A job that was taken before
    /// and that nothing waits for was given up: it need not be done.
    #[must_use]
    #[inline]
    pub fn awaits_job(&self) -> bool {
        let outgoing = self.rare.as_deref().and_then(|rare| rare.outgoing.as_ref());
        outgoing.is_some_and(|outgoing| outgoing.packing.awaits_job())
    }

    /// The message of which a job with this number compresses a piece.
    pub(super) fn outgoing_of_job(&mut self, job: u32) -> Option<&mut Outgoing> {
        let outgoing = self.rare.as_mut()?.outgoing.as_mut()?;
        let its = matches!(outgoing.packing, Packing::Job { number, .. } if number == job);
        its.then_some(outgoing)
    }

    fn encode_fragment(&mut self) {
        if self.needs_job() {
            return;
        }
        let Some(rare) = &mut self.rare else { return };
        let Some(outgoing) = &mut rare.outgoing else {
            return;
        };
        let first = outgoing.opcode != Opcode::Continuation;
        let opcode = std::mem::replace(&mut outgoing.opcode, Opcode::Continuation);
        let bytes = outgoing.rest.split_to(outgoing.rest.len().min(FRAGMENT));
        let over = outgoing.rest.is_empty();
        let fin = match outgoing.packing {
            Packing::Packed { last } => over && last,
            _ => over && outgoing.last,
        };
        let compressed = matches!(outgoing.packing, Packing::Pieces | Packing::Packed { .. });
        // RFC 7692 §6.1: RSV1 is for the first fragment.
        let rsv = if first && compressed { RSV1 } else { 0 };
        let start = Start { opcode, fin, rsv };
        if outgoing.packing == Packing::Pieces {
            self.encoder.compressed(start, &bytes, &mut self.outbox);
        } else {
            self.encoder.fragment(start, bytes, &mut self.outbox);
        }
        if fin {
            rare.outgoing = None;
            rare.end = self.outbox.len();
            self.sent += 1;
        } else if over && matches!(outgoing.packing, Packing::Packed { .. }) {
            outgoing.packing = Packing::Pieces;
        }
    }

    /// Whether the next piece is compressed by a job, which is left to be taken if it is not yet.
    fn needs_job(&mut self) -> bool {
        let Some(outgoing) = self.rare.as_ref().and_then(|rare| rare.outgoing.as_ref()) else {
            return false;
        };
        match (outgoing.packing, self.encoder.any_compressor()) {
            (Packing::Job { .. }, _) => true,
            (Packing::Pieces, Some(compressor)) if outgoing.rest.len() > compressor.job() => {
                let last = outgoing.last;
                let work = compressor.work(outgoing.rest.clone(), last);
                let number = self.push_job(Task::Own(work));
                if let Some(outgoing) = &mut self.rare().outgoing {
                    let shared = false;
                    outgoing.packing = Packing::Job {
                        number,
                        last,
                        shared,
                    };
                }
                true
            }
            _ => false,
        }
    }

    /// Frames what waits for it, in order, until so many bytes wait to leave.
    pub(super) fn encode_queue(&mut self, bytes: usize) {
        while self.outbox.len() < bytes
            && let Some(rare) = &mut self.rare
        {
            match &rare.outgoing {
                Some(outgoing) if outgoing.waits() => return,
                Some(_) => self.encode_fragment(),
                None => {
                    if let Some(item) = rare.queue.pop() {
                        self.encode(item);
                        let end = self.outbox.len();
                        self.rare().end = end;
                    } else if let Some(close) = rare.farewell.take() {
                        self.encode_close(close.as_ref());
                    } else {
                        return;
                    }
                }
            }
        }
    }

    /// Begins a message that is sent in parts (RFC 6455 §5.4); what else is sent meanwhile waits
    /// until it is finished, but for control frames.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] while something waits to be framed, such as the rest of another message;
    /// [`SendError::Closed`] after a close.
    pub fn begin(&mut self, kind: Kind) -> Result<(), SendError> {
        self.begin_with(kind, SendOptions::new())
    }

    /// As [`begin`](Self::begin), with options.
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin).
    pub fn begin_with(&mut self, kind: Kind, options: SendOptions) -> Result<(), SendError> {
        if self.close_sent {
            return Err(SendError::Closed);
        }
        if self.has_queue() {
            return Err(SendError::Full);
        }
        self.rare().outgoing = Some(Outgoing {
            kind,
            opcode: kind.into(),
            rest: Bytes::new(),
            last: false,
            utf8: Utf8::default(),
            packing: if options.compress {
                Packing::Open
            } else {
                Packing::Plain
            },
        });
        Ok(())
    }

    /// Sends the next part of the message that was [begun](Self::begin), as one fragment or, if it
    /// is large, as several. An empty one is left out.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] while frames fill the backlog or the part before is not framed yet;
    /// [`SendError::InvalidUtf8`] if a text cannot go on like this; [`SendError::Closed`] after a
    /// close, or if no message was begun: nothing was queued.
    pub fn send_part(&mut self, bytes: Bytes) -> Result<(), SendError> {
        // What waits behind the message waits for its parts, and takes no room from them.
        let full = self.outbox.len() >= self.backlog;
        let compresses = self.encoder.compressor(bytes.len()).is_some();
        let outgoing = self.unfinished().ok_or(SendError::Closed)?;
        if full || !outgoing.rest.is_empty() {
            return Err(SendError::Full);
        }
        if outgoing.kind == Kind::Text {
            let mut utf8 = outgoing.utf8.clone();
            utf8.push(&bytes).map_err(|_| SendError::InvalidUtf8)?;
            outgoing.utf8 = utf8;
        }
        if bytes.is_empty() {
            return Ok(());
        }
        if outgoing.packing == Packing::Open {
            outgoing.packing = if compresses {
                Packing::Pieces
            } else {
                Packing::Plain
            };
        }
        outgoing.rest = bytes;
        self.encode_fragment();
        Ok(())
    }

    /// Finishes the message that was [begun](Self::begin). It does not wait: an empty fragment says
    /// that it was the last one.
    ///
    /// # Errors
    ///
    /// [`SendError::InvalidUtf8`] if a text ends inside a character: it is not finished.
    /// [`SendError::Closed`] after a close, or if no message was begun.
    pub fn finish(&mut self) -> Result<(), SendError> {
        let outgoing = self.unfinished().ok_or(SendError::Closed)?;
        if outgoing.utf8.carried() > 0 {
            return Err(SendError::InvalidUtf8);
        }
        outgoing.last = true;
        if outgoing.rest.is_empty() {
            self.encode_fragment();
        }
        self.encode_queue(self.framed());
        Ok(())
    }

    /// Gives the message up that was [begun](Self::begin). If a part of it was framed, nothing
    /// honest can follow, and the connection is closed with 1011.
    pub fn abandon(&mut self) {
        match self.unfinished() {
            None => {}
            Some(outgoing) if outgoing.opcode == Opcode::Continuation => {
                let reason = Text::from_static("a message was not finished");
                let close = Close::new(CloseCode::INTERNAL, reason).ok();
                self.close(close.as_ref());
            }
            Some(_) => {
                let rare = self.rare();
                (rare.outgoing, rare.job) = (None, None);
                self.encode_unbegun();
            }
        }
    }

    /// Frames what waited behind a message that was given up before any of it was framed.
    pub(super) fn encode_unbegun(&mut self) {
        // What was compressed of it is nothing that the peer will get.
        if let Some(compressor) = self.encoder.any_compressor() {
            compressor.forget();
        }
        self.encode_queue(self.framed());
    }

    /// The message that was begun and is not finished.
    fn unfinished(&mut self) -> Option<&mut Outgoing> {
        let outgoing = self.rare.as_mut()?.outgoing.as_mut()?;
        (!outgoing.last).then_some(outgoing)
    }

    /// The number of messages that are not framed yet, or not whole.
    #[must_use]
    pub fn unframed(&self) -> usize {
        let count = |rare: &Rare| rare.queue.count() + usize::from(rare.outgoing.is_some());
        self.rare.as_deref().map_or(0, count)
    }

    /// The bytes that wait to leave up to the end of the last message that was framed later than it
    /// was sent; or those that did when the transport was [lost](Self::lost).
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.rare.as_ref().map_or(0, |rare| rare.end)
    }

    /// Whether a message was [begun](Self::begin) and is not finished.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        let outgoing = |rare: &Rare| {
            rare.outgoing
                .as_ref()
                .is_some_and(|outgoing| !outgoing.last)
        };
        self.rare.as_deref().is_some_and(outgoing)
    }

    /// Whether a message can be [begun](Self::begin), or the next part of one be sent.
    #[must_use]
    pub fn takes_part(&self) -> bool {
        let rare = self.rare.as_deref();
        match rare.and_then(|rare| rare.outgoing.as_ref()) {
            None => !self.has_queue() && !self.is_full(),
            Some(outgoing) => {
                let framed = !outgoing.last && outgoing.rest.is_empty();
                framed && self.outbox.len() < self.backlog
            }
        }
    }
}
