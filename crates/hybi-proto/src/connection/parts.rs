//! Messages that leave in fragments: those that are sent in parts, and large ones by themselves.

use bytes::Bytes;

use super::{Connection, Rare};
use crate::close::Close;
use crate::code::CloseCode;
use crate::error::SendError;
use crate::frame::Opcode;
use crate::message::Kind;
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
}

/// A larger message leaves in fragments of this size, in bytes, so that a control frame never waits
/// behind more, and a client does not mask all of it at once.
pub(super) const FRAGMENT: usize = 1 << 20;

impl Connection {
    /// Frames the first fragment; the others follow as the outbox is drained.
    pub(super) fn encode_in_fragments(&mut self, item: &Item) {
        let message = item.message();
        self.rare().outgoing = Some(Outgoing {
            kind: message.kind(),
            opcode: message.kind().into(),
            rest: message.clone().into_bytes(),
            last: true,
            utf8: Utf8::default(),
        });
        self.encode_fragment();
    }

    fn encode_fragment(&mut self) {
        let Some(rare) = &mut self.rare else { return };
        let Some(outgoing) = &mut rare.outgoing else {
            return;
        };
        let size = outgoing.rest.len().min(FRAGMENT);
        let bytes = outgoing.rest.split_to(size);
        let fin = outgoing.last && outgoing.rest.is_empty();
        let opcode = std::mem::replace(&mut outgoing.opcode, Opcode::Continuation);
        self.encoder.fragment(opcode, fin, bytes, &mut self.outbox);
        if fin {
            rare.outgoing = None;
            self.sent += 1;
        }
    }

    /// Frames what waits for it, in order, until so many bytes wait to leave.
    pub(super) fn encode_queue(&mut self, bytes: usize) {
        while self.outbox.len() < bytes
            && let Some(rare) = &mut self.rare
        {
            match &rare.outgoing {
                Some(outgoing) if outgoing.rest.is_empty() && !outgoing.last => return,
                Some(_) => self.encode_fragment(),
                None => {
                    if let Some(item) = rare.queue.pop() {
                        self.encode(item);
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
        let outgoing = self.unfinished().ok_or(SendError::Closed)?;
        if full || !outgoing.rest.is_empty() {
            return Err(SendError::Full);
        }
        if outgoing.kind == Kind::Text {
            let mut utf8 = outgoing.utf8.clone();
            utf8.push(&bytes).map_err(|_| SendError::InvalidUtf8)?;
            outgoing.utf8 = utf8;
        }
        if !bytes.is_empty() {
            outgoing.rest = bytes;
            self.encode_fragment();
        }
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
                self.rare().outgoing = None;
                self.encode_queue(self.framed());
            }
        }
    }

    /// The message that was begun and is not finished.
    fn unfinished(&mut self) -> Option<&mut Outgoing> {
        let outgoing = self.rare.as_mut()?.outgoing.as_mut()?;
        (!outgoing.last).then_some(outgoing)
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
