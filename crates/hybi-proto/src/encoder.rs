//! Commands in, bytes out.
//!
//! The encoder frames into the outbox. Whether a frame may be sent now is the connection's to say.

use bytes::Bytes;

use crate::frame::{Header, Opcode};
use crate::mask::Mask;
use crate::message::{Message, MessageRef};
use crate::outbox::{LINK, Outbox};
use crate::prepared::Prepared;

/// Where mask keys come from: a source that nobody outside can predict (RFC 6455 §10.3).
pub type MaskSource = fn() -> [u8; 4];

/// The sending half of a connection, without I/O.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    /// §5.1: a client MUST mask all frames; a server MUST NOT mask any.
    masks: Option<MaskSource>,
}

impl Encoder {
    pub(crate) const fn new(masks: Option<MaskSource>) -> Self {
        Self { masks }
    }

    /// Frames a message; a large payload is shared with the outbox where it need not be masked.
    #[inline]
    pub(crate) fn message(&self, message: Message, outbox: &mut Outbox) {
        let opcode = message.kind().into();
        if self.masks.is_some() || message.len() < LINK {
            return self.frame(opcode, message.as_bytes(), outbox);
        }
        self.fragment(opcode, true, message.into_bytes(), outbox);
    }

    /// Frames a message that is only borrowed: its payload is copied.
    #[inline]
    pub(crate) fn message_ref(&self, message: MessageRef<'_>, outbox: &mut Outbox) {
        self.frame(message.kind().into(), message.as_bytes(), outbox);
    }

    /// Frames a fragment; a large one is shared with the outbox where it need not be masked.
    #[inline]
    pub(crate) fn fragment(&self, opcode: Opcode, fin: bool, payload: Bytes, outbox: &mut Outbox) {
        if self.masks.is_some() || payload.len() < LINK {
            return self.put(opcode, fin, &payload, outbox);
        }
        let (head, size) = header(opcode, fin, None, payload.len()).encode();
        outbox.copy(|out| out.extend_from_slice(&head[..size]));
        outbox.push(payload);
    }

    /// Sends a frame that was made before, or masks one of its own.
    pub(crate) fn prepared(&self, prepared: &Prepared, outbox: &mut Outbox) {
        if self.masks.is_some() {
            let message = prepared.message();
            return self.frame(message.kind().into(), message.as_bytes(), outbox);
        }
        let frame = prepared.frame();
        if frame.len() < LINK {
            outbox.copy(|out| out.extend_from_slice(frame));
        } else {
            outbox.push(frame.clone());
        }
    }

    /// Frames a payload, copied, and masked while it is copied.
    #[inline]
    pub(crate) fn frame(&self, opcode: Opcode, payload: &[u8], outbox: &mut Outbox) {
        self.put(opcode, true, payload, outbox);
    }

    /// Most messages are short: their way is inlined, as far as they are not masked, so that little
    /// is left to decide. All others are worth a call.
    #[inline(always)]
    fn put(&self, opcode: Opcode, fin: bool, payload: &[u8], outbox: &mut Outbox) {
        let short = payload.len() <= SHORT;
        match self.masks {
            None if short => put_short(opcode, fin, None, payload, outbox),
            None => put_long(opcode, fin, None, payload, outbox),
            Some(source) => put_masked(source, opcode, fin, payload, outbox),
        }
    }
}

#[inline(never)]
fn put_masked(source: MaskSource, opcode: Opcode, fin: bool, payload: &[u8], outbox: &mut Outbox) {
    // §5.3: the masking key MUST be fresh for every frame.
    let mask = Some(Mask::new(source()));
    if payload.len() <= SHORT {
        put_short(opcode, fin, mask, payload, outbox);
    } else {
        put_long(opcode, fin, mask, payload, outbox);
    }
}

#[inline(always)]
fn put_short(opcode: Opcode, fin: bool, mask: Option<Mask>, payload: &[u8], outbox: &mut Outbox) {
    let (head, size) = header(opcode, fin, mask, payload.len()).encode();
    if let Some(head) = head.first_chunk::<SHORT_HEADER>() {
        outbox.frame(head, size, payload, mask);
    }
}

#[inline(never)]
fn put_long(opcode: Opcode, fin: bool, mask: Option<Mask>, payload: &[u8], outbox: &mut Outbox) {
    let (head, size) = header(opcode, fin, mask, payload.len()).encode();
    outbox.frame(&head, size, payload, mask);
}

#[inline(always)]
fn header(opcode: Opcode, fin: bool, mask: Option<Mask>, len: usize) -> Header {
    Header {
        fin,
        rsv: 0,
        opcode,
        mask,
        len: len as u64,
    }
}

/// The longest payload whose length stands in the second byte of the header.
const SHORT: usize = 125;

/// Room for the header of such a payload.
const SHORT_HEADER: usize = 8;
