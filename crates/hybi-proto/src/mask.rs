//! The mask of client frames (RFC 6455 §5.3): bytes XORed with a key of four.
//!
//! Masks in place or while copying, in pieces cut anywhere. It makes no keys: they are handed in,
//! fresh and unpredictable for every frame. The decoder unmasks with it, the encoder masks.

/// A masking key, turned so that its first byte is the one for the next byte of the payload.
///
/// Masking twice with the same key gives the original.
///
/// ```
/// use hybi_proto::mask::Mask;
///
/// let mut mask = Mask::new([0x37, 0xfa, 0x21, 0x3d]);
/// let mut payload = *b"Hello";
/// mask.apply(&mut payload);
/// assert_eq!(payload, [0x7f, 0x9f, 0x4d, 0x51, 0x58]); // §5.7
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask([u8; 4]);

impl Mask {
    /// The mask with this key, as it stands in the frame's header.
    #[inline]
    #[must_use]
    pub const fn new(key: [u8; 4]) -> Self {
        Self(key)
    }

    /// The key, turned by the bytes that were masked so far.
    #[inline]
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0
    }

    /// Masks or unmasks the next bytes of the payload in place.
    #[inline]
    pub fn apply(&mut self, data: &mut [u8]) {
        let len = data.len();
        let (blocks, rest) = data.as_chunks_mut::<32>();
        let wide = self.repeat::<32>();
        for block in blocks {
            for (byte, key) in block.iter_mut().zip(wide) {
                *byte ^= key;
            }
        }
        let (words, rest) = rest.as_chunks_mut::<8>();
        let wide = u64::from_ne_bytes(self.repeat());
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
        }
        let (words, rest) = rest.as_chunks_mut::<4>();
        let wide = u32::from_ne_bytes(self.0);
        for word in words {
            *word = (u32::from_ne_bytes(*word) ^ wide).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(self.0) {
            *byte ^= key;
        }
        self.turn(len);
    }

    /// Appends the next bytes of the payload to `dst`, masked.
    #[inline]
    pub fn apply_to(&mut self, src: &[u8], dst: &mut Vec<u8>) {
        dst.reserve(src.len());
        for piece in src.chunks(4096) {
            let start = dst.len();
            dst.extend_from_slice(piece);
            self.apply(&mut dst[start..]);
        }
    }

    /// §5.3: octet i of the transformed data is the XOR of octet i of the original data with
    /// octet at index i modulo 4 of the masking key.
    #[inline]
    fn turn(&mut self, masked: usize) {
        self.0.rotate_left(masked % 4);
    }

    #[inline]
    fn repeat<const N: usize>(self) -> [u8; N] {
        std::array::from_fn(|i| self.0[i % 4])
    }
}
