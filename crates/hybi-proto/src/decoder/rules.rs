//! Which frame may come next: all rules and limits that a header alone can break.
//!
//! The grammar of a header is [`frame`](crate::frame)'s, and its payload is judged as it arrives.

use super::{Decoder, MOST, UNLIMITED};
use crate::error::ProtocolError;
use crate::frame::{Header, MAX_CONTROL, Opcode, RSV1};

/// What an empty fragment may take when it is compressed.
const FLUSH: usize = 16;

impl Decoder {
    /// Every rule of §5.2 to §5.5 and every limit, before a byte of the payload is kept.
    #[inline]
    pub(super) fn admit(&self, header: &Header) -> Result<(), ProtocolError> {
        // §5.2: RSV1, RSV2, RSV3 MUST be 0 unless an extension is negotiated. RFC 7692 §6.1: an
        // endpoint MUST NOT set the "Per-Message Compressed" bit of control frames and non-first
        // fragments of a data message.
        match header.rsv {
            0 => {}
            RSV1 if self.may_compress(header.opcode) => {}
            RSV1 => return Err(ProtocolError::Rsv1),
            _ => return Err(ProtocolError::Rsv2Or3),
        }
        match (self.masked, header.mask) {
            // §5.1: the server MUST close the connection upon receiving a frame that is not masked.
            (true, None) => return Err(ProtocolError::Unmasked),
            // §5.1: a client MUST close a connection if it detects a masked frame.
            (false, Some(_)) => return Err(ProtocolError::Masked),
            _ => {}
        }
        let joined = self.joined.as_deref();
        let (fragments, so_far, packed) = joined.map_or((0, 0, false), |joined| {
            (joined.fragments(), joined.came(), joined.is_packed())
        });
        match (header.opcode, fragments) {
            (opcode, _) if opcode.is_control() => return admit_control(header),
            // §5.4: a fragmented message consists of a single frame with an opcode other than 0,
            // followed by zero or more frames with the opcode set to 0.
            (Opcode::Continuation, 0) => return Err(ProtocolError::LoneContinuation),
            (Opcode::Text | Opcode::Binary, 1..) => {
                return Err(ProtocolError::InterruptedMessage);
            }
            _ => {}
        }
        let limit = self.fragments;
        if limit < UNLIMITED && fragments >= limit {
            return Err(ProtocolError::TooManyFragments { limit });
        }
        let limit = self.limit;
        // What is compressed may be larger than what it was, the more so as each fragment ends with a
        // flush. What it inflates to is judged as it comes.
        let most = match packed || header.rsv == RSV1 {
            true => {
                let flushes = FLUSH.saturating_mul(fragments as usize + 1);
                let most = limit.saturating_mul(2).saturating_add(flushes);
                most.min(MOST)
            }
            false => limit,
        };
        if header.len > most.saturating_sub(so_far) as u64 {
            return Err(ProtocolError::MessageTooBig { limit });
        }
        Ok(())
    }

    fn may_compress(&self, opcode: Opcode) -> bool {
        self.inflater.is_some() && matches!(opcode, Opcode::Text | Opcode::Binary)
    }
}

/// The rules of §5.5.
fn admit_control(header: &Header) -> Result<(), ProtocolError> {
    // All control frames MUST have a payload length of 125 bytes or less and MUST NOT be
    // fragmented.
    if !header.fin {
        return Err(ProtocolError::FragmentedControl);
    }
    if header.len > MAX_CONTROL as u64 {
        return Err(ProtocolError::ControlTooLong);
    }
    // §5.5.1: if there is a body, the first two bytes of the body MUST be a 2-byte integer.
    if header.opcode == Opcode::Close && header.len == 1 {
        return Err(ProtocolError::CloseTooShort);
    }
    Ok(())
}
