//! Commands in, bytes out.
//!
//! The encoder frames into the outbox. Whether a frame may be sent now is the connection's to say.

use bytes::Bytes;

use crate::deflate::{self, Compressor};
use crate::frame::{Header, Opcode, RSV1};
use crate::mask::Mask;
use crate::message::{Message, MessageRef};
use crate::outbox::{LINK, Outbox};
use crate::prepared::Prepared;

/// Where mask keys come from: a source that nobody outside can predict (RFC 6455 §10.3).
pub type MaskSource = fn() -> [u8; 4];

/// The sending half of a connection, without I/O.
#[derive(Debug)]
pub struct Encoder {
    /// §5.1: a client MUST mask all frames; a server MUST NOT mask any.
    masks: Option<MaskSource>,
    compressor: Option<Box<Compressor>>,
}

/// The first byte of a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) opcode: Opcode,
    pub(crate) fin: bool,
    pub(crate) rsv: u8,
}

impl Encoder {
    pub(crate) const fn new(masks: Option<MaskSource>) -> Self {
        Self {
            masks,
            compressor: None,
        }
    }

    pub(crate) fn is_client(&self) -> bool {
        self.masks.is_some()
    }

    /// Where the mask keys of a client come from, from now on.
    pub(crate) fn set_mask_source(&mut self, source: MaskSource) {
        if let Some(masks) = &mut self.masks {
            *masks = source;
        }
    }

    /// What compresses the messages, from now on.
    pub(crate) fn set_compressor(&mut self, compressor: Compressor) {
        self.compressor = Some(Box::new(compressor));
    }

    /// What compresses a message whose length, or that of its first part, is this.
    #[inline]
    pub(crate) fn compressor(&mut self, len: usize) -> Option<&mut Compressor> {
        let compressor = self.compressor.as_deref_mut();
        compressor.filter(|compressor| compressor.takes(len))
    }

    /// What compresses the messages that are compressed.
    pub(crate) fn any_compressor(&mut self) -> Option<&mut Compressor> {
        self.compressor.as_deref_mut()
    }

    /// Frames a message, compressed if that was agreed on and is worth it.
    #[inline]
    pub(crate) fn message(&mut self, message: Message, outbox: &mut Outbox) {
        if self.compressor.is_some() && self.message_compressed((&message).into(), outbox) {
            return;
        }
        self.plain(message, outbox);
    }

    /// As [`message`](Self::message), for one that is only borrowed: its payload is copied.
    #[inline(always)]
    pub(crate) fn message_ref(&mut self, message: MessageRef<'_>, outbox: &mut Outbox) {
        if self.compressor.is_some() && self.message_compressed(message, outbox) {
            return;
        }
        self.put(
            Start::whole(message.kind().into()),
            message.as_bytes(),
            outbox,
        );
    }

    /// Frames a message as it is; a large payload is shared with the outbox where it need not be
    /// masked.
    #[inline]
    pub(crate) fn plain(&self, message: Message, outbox: &mut Outbox) {
        let opcode = message.kind().into();
        if self.masks.is_some() || message.len() < LINK {
            return self.frame(opcode, message.as_bytes(), outbox);
        }
        self.fragment(Start::whole(opcode), message.into_bytes(), outbox);
    }

    #[inline(never)]
    fn message_compressed(&mut self, message: MessageRef<'_>, outbox: &mut Outbox) -> bool {
        let payload = message.as_bytes();
        let takes = self.compressor(payload.len()).is_some();
        if takes {
            let start = Start::whole(message.kind().into()).with(RSV1);
            self.compressed(start, payload, outbox);
        }
        takes
    }

    /// Compresses the next piece of a message, and frames it; RFC 7692 §6.1: RSV1 says so in the
    /// first frame.
    pub(crate) fn compressed(&mut self, start: Start, piece: &[u8], outbox: &mut Outbox) {
        deflate::with_room(|room| {
            room.clear();
            if let Some(compressor) = &mut self.compressor {
                compressor.compress(piece, start.fin, room);
            }
            self.put(start, room, outbox);
        });
    }

    /// Frames a fragment; a large one is shared with the outbox where it need not be masked.
    #[inline]
    pub(crate) fn fragment(&self, start: Start, payload: Bytes, outbox: &mut Outbox) {
        if self.masks.is_some() || payload.len() < LINK {
            return self.put(start, &payload, outbox);
        }
        let (head, size) = start.header(None, payload.len()).encode();
        outbox.copy(|out| out.extend_from_slice(&head[..size]));
        outbox.push(payload);
    }

    /// Sends a frame that was made before, or masks one of its own.
    pub(crate) fn prepared(&mut self, prepared: &Prepared, outbox: &mut Outbox) {
        let message = prepared.message();
        let (kind, payload) = (message.kind(), message.as_bytes());
        let (frame, rsv) = match self.compressor(payload.len()) {
            Some(compressor) => {
                // What the peer inflates next stands behind this message, and not behind what this
                // connection has compressed before.
                compressor.forget();
                (prepared.compressed(compressor.config()), RSV1)
            }
            None => (prepared.frame(), 0),
        };
        if self.masks.is_some() {
            let start = Start::whole(kind.into()).with(rsv);
            return self.put(start, &frame.payload(), outbox);
        }
        if frame.bytes.len() < LINK {
            outbox.copy(|out| out.extend_from_slice(&frame.bytes));
        } else {
            outbox.push(frame.bytes.clone());
        }
    }

    /// Frames a payload, copied, and masked while it is copied.
    #[inline]
    pub(crate) fn frame(&self, opcode: Opcode, payload: &[u8], outbox: &mut Outbox) {
        self.put(Start::whole(opcode), payload, outbox);
    }

    /// Most messages are short: their way is inlined, as far as they are not masked, so that little
    /// is left to decide. All others are worth a call.
    #[inline(always)]
    fn put(&self, start: Start, payload: &[u8], outbox: &mut Outbox) {
        let short = payload.len() <= SHORT;
        match self.masks {
            None if short => put_short(start, None, payload, outbox),
            None => put_long(start, None, payload, outbox),
            Some(source) => put_masked(source, start, payload, outbox),
        }
    }
}

impl Start {
    /// Of a message in one frame.
    #[inline(always)]
    pub(crate) fn whole(opcode: Opcode) -> Self {
        Self {
            opcode,
            fin: true,
            rsv: 0,
        }
    }

    /// With these reserved bits.
    #[inline(always)]
    pub(crate) fn with(self, rsv: u8) -> Self {
        Self { rsv, ..self }
    }

    #[inline(always)]
    fn header(self, mask: Option<Mask>, len: usize) -> Header {
        Header {
            fin: self.fin,
            rsv: self.rsv,
            opcode: self.opcode,
            mask,
            len: len as u64,
        }
    }
}

#[inline(never)]
fn put_masked(source: MaskSource, start: Start, payload: &[u8], outbox: &mut Outbox) {
    // §5.3: the masking key MUST be fresh for every frame.
    let mask = Some(Mask::new(source()));
    if payload.len() <= SHORT {
        put_short(start, mask, payload, outbox);
    } else {
        put_long(start, mask, payload, outbox);
    }
}

#[inline(always)]
fn put_short(start: Start, mask: Option<Mask>, payload: &[u8], outbox: &mut Outbox) {
    let (head, size) = start.header(mask, payload.len()).encode();
    if let Some(head) = head.first_chunk::<SHORT_HEADER>() {
        outbox.frame(head, size, payload, mask);
    }
}

#[inline(never)]
fn put_long(start: Start, mask: Option<Mask>, payload: &[u8], outbox: &mut Outbox) {
    let (head, size) = start.header(mask, payload.len()).encode();
    outbox.frame(&head, size, payload, mask);
}

/// The longest payload whose length stands in the second byte of the header.
const SHORT: usize = 125;

/// Room for the header of such a payload.
const SHORT_HEADER: usize = 8;
