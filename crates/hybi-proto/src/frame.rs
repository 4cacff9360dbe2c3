//! The header of a frame (RFC 6455 §5.2): bytes to fields and back.
//!
//! Only the grammar is judged here; whether a frame may come now is the decoder's to say.

use crate::error::ProtocolError;
use crate::mask::Mask;
use crate::message::Kind;

/// What a frame is (§5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// The next fragment of the message in progress.
    Continuation = 0x0,
    /// The first frame of a text message.
    Text = 0x1,
    /// The first frame of a binary message.
    Binary = 0x2,
    /// The closing handshake.
    Close = 0x8,
    /// Are you there?
    Ping = 0x9,
    /// I am here.
    Pong = 0xA,
}

impl Opcode {
    const fn decode(bits: u8) -> Result<Self, ProtocolError> {
        Ok(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            // §5.2: if an unknown opcode is received, the receiving endpoint MUST _Fail the
            // WebSocket Connection_.
            _ => return Err(ProtocolError::Opcode(bits)),
        })
    }

    /// Whether this is a close, a ping or a pong (§5.5).
    #[must_use]
    #[inline]
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

impl From<Kind> for Opcode {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text,
            Kind::Binary => Self::Binary,
        }
    }
}

/// RSV1 among the reserved bits. RFC 7692 §6: it says that a message is compressed.
pub const RSV1: u8 = 0b100;

/// All that stands before the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether this is the last fragment of its message.
    pub fin: bool,
    /// The three reserved bits, RSV1 the highest.
    pub rsv: u8,
    /// What the frame is.
    pub opcode: Opcode,
    /// The key, if the payload is masked.
    pub mask: Option<Mask>,
    /// The length of the payload in bytes.
    pub len: u64,
}

/// The longest header: two bytes, a length of eight, a key of four.
pub const MAX_HEADER: usize = 14;

/// The longest payload of a control frame (§5.5).
pub const MAX_CONTROL: usize = 125;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const LEN_16: u8 = 126;
const LEN_64: u8 = 127;

impl Header {
    /// Reads the header at the front of `bytes` and says how long it is; `None` if it has not
    /// wholly arrived.
    ///
    /// # Errors
    ///
    /// A reserved opcode, or a length that is not written as §5.2 demands.
    #[inline]
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        let (len, rest) = match (second & !MASKED, rest) {
            (LEN_16, [a, b, rest @ ..]) => {
                let len = u64::from(u16::from_be_bytes([*a, *b]));
                // §5.2: the minimal number of bytes MUST be used to encode the length.
                if len < u64::from(LEN_16) {
                    return Err(ProtocolError::LengthNotMinimal);
                }
                (len, rest)
            }
            (LEN_64, [a, b, c, d, e, f, g, h, rest @ ..]) => {
                let len = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
                // §5.2: the most significant bit MUST be 0.
                if len >> 63 != 0 {
                    return Err(ProtocolError::LengthTopBit);
                }
                if len <= u64::from(u16::MAX) {
                    return Err(ProtocolError::LengthNotMinimal);
                }
                (len, rest)
            }
            (LEN_16 | LEN_64, _) => return Ok(None),
            (len, rest) => (u64::from(len), rest),
        };
        let (mask, rest) = match (second & MASKED != 0, rest) {
            (false, rest) => (None, rest),
            (true, [a, b, c, d, rest @ ..]) => (Some(Mask::new([*a, *b, *c, *d])), rest),
            (true, _) => return Ok(None),
        };
        let opcode = Opcode::decode(first & 0x0F)?;
        let header = Self {
            fin: first & FIN != 0,
            rsv: (first >> 4) & 0x7,
            opcode,
            mask,
            len,
        };
        Ok(Some((header, bytes.len() - rest.len())))
    }

    /// Writes the header, with the length in its shortest form; gives the bytes and how many of
    /// them count.
    #[inline(always)] // where the length is known to be short, little is left of it
    #[must_use]
    pub fn encode(&self) -> ([u8; MAX_HEADER], usize) {
        let first = u8::from(self.fin) << 7 | self.rsv << 4 | self.opcode as u8;
        // Put together in one number, the first byte the lowest, and stored at once.
        let (second, len, mut end) = match self.len {
            0..=125 => (self.len as u8, 0, 2),
            126..=0xFFFF => (LEN_16, (self.len as u16).swap_bytes().into(), 4),
            _ => (LEN_64, self.len.swap_bytes(), 10),
        };
        let mut bits = u128::from(first) | u128::from(second) << 8 | u128::from(len) << 16;
        if let Some(mask) = self.mask {
            let key = u32::from_le_bytes(mask.to_bytes());
            bits |= u128::from(MASKED) << 8 | u128::from(key) << (8 * end);
            end += 4;
        }
        let mut out = [0; MAX_HEADER];
        out.copy_from_slice(&bits.to_le_bytes()[..MAX_HEADER]);
        (out, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(opcode: Opcode, mask: Option<Mask>, len: u64) -> Header {
        Header {
            fin: true,
            rsv: 0,
            opcode,
            mask,
            len,
        }
    }

    #[test]
    fn every_header_reads_back_and_a_shorter_one_asks_for_more() {
        for len in [0, 1, 125, 126, 127, 0xFFFF, 0x1_0000, u64::MAX >> 1] {
            for mask in [None, Some(Mask::new([1, 2, 3, 4]))] {
                for opcode in [
                    Opcode::Continuation,
                    Opcode::Text,
                    Opcode::Close,
                    Opcode::Pong,
                ] {
                    let header = header(opcode, mask, len);
                    let (bytes, end) = header.encode();
                    assert_eq!(Header::decode(&bytes[..end]), Ok(Some((header, end))));
                    for cut in 0..end {
                        assert_eq!(
                            Header::decode(&bytes[..cut]),
                            Ok(None),
                            "{len} cut at {cut}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_length_must_be_in_its_shortest_form() {
        let short = Err(ProtocolError::LengthNotMinimal);
        assert_eq!(Header::decode(&[0x82, 126, 0, 125]), short);
        assert_eq!(
            Header::decode(&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]),
            short
        );
        let top = Err(ProtocolError::LengthTopBit);
        assert_eq!(Header::decode(&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]), top);
    }

    #[test]
    fn the_reserved_opcodes_are_refused() {
        for code in (0x3..=0x7).chain(0xB..=0xF) {
            assert_eq!(
                Header::decode(&[0x80 | code, 0]),
                Err(ProtocolError::Opcode(code))
            );
        }
    }
}
