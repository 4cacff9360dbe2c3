//! The mask of client frames (RFC 6455 §5.3): bytes XORed with a key of four.
//!
//! Masks in place or while copying, in pieces cut anywhere. It makes no keys: they are handed in,
//! fresh and unpredictable for every frame. The decoder unmasks with it, the encoder masks.

/// A masking key, turned so that its first byte is the one for the next byte of the payload.
///
/// Masking twice with the same key gives the original.
///
/// Inside it is a number, lowest byte first, for a number travels in a register.
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
pub struct Mask(u32);

impl Mask {
    /// The mask with this key, as it stands in the frame's header.
    #[inline]
    #[must_use]
    pub const fn new(key: [u8; 4]) -> Self {
        Self(u32::from_le_bytes(key))
    }

    /// The key, turned by the bytes that were masked so far.
    #[inline]
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }

    /// Masks or unmasks the next bytes of the payload in place.
    #[inline]
    pub fn apply(&mut self, data: &mut [u8]) {
        let len = data.len();
        let key = self.block();
        let (blocks, rest) = data.as_chunks_mut::<BLOCK>();
        for block in blocks {
            *block = xor(*block, key);
        }
        for (byte, key) in rest.iter_mut().zip(key) {
            *byte ^= key;
        }
        self.turn(len);
    }

    /// Appends the next bytes of the payload to `dst`, masked.
    #[inline]
    pub fn apply_to(&mut self, src: &[u8], dst: &mut Vec<u8>) {
        dst.reserve(src.len());
        let key = self.block();
        let (blocks, rest) = src.as_chunks::<BLOCK>();
        dst.extend(blocks.iter().flat_map(|block| xor(*block, key)));
        dst.extend(rest.iter().zip(key).map(|(byte, key)| byte ^ key));
        self.turn(src.len());
    }

    #[inline]
    fn turn(&mut self, masked: usize) {
        // In this order of bytes the first one is the lowest: to the right is to the front.
        self.0 = self.0.rotate_right(8 * (masked % 4) as u32);
    }

    #[inline]
    fn block(self) -> [u8; BLOCK] {
        // §5.3: octet i of the transformed data is the XOR of octet i of the original data with
        // octet at index i modulo 4 of the masking key.
        let key = u128::from(self.0);
        (key | key << 32 | key << 64 | key << 96).to_le_bytes()
    }
}

/// The width of a vector register. Arrays of it are what the compiler turns into vector code; a
/// wider one makes short payloads slower and long ones no faster.
const BLOCK: usize = 16;

#[inline]
fn xor(data: [u8; BLOCK], key: [u8; BLOCK]) -> [u8; BLOCK] {
    std::array::from_fn(|i| data[i] ^ key[i])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// The longest payload that is tried byte by byte.
    const LONGEST: usize = if cfg!(miri) { 20 } else { 80 };

    /// How far apart the places in memory are that are tried.
    const OFFSETS: usize = if cfg!(miri) { 3 } else { 1 };

    /// What the RFC says, and no more.
    fn naive(data: &[u8], key: [u8; 4], phase: usize) -> Vec<u8> {
        data.iter()
            .enumerate()
            .map(|(i, byte)| byte ^ key[(phase + i) % 4])
            .collect()
    }

    fn at_phase(phase: usize) -> Mask {
        let mut mask = Mask::new(KEY);
        mask.apply(&mut vec![0; phase]);
        mask
    }

    #[test]
    fn the_key_turns_with_the_bytes_that_were_masked() {
        let [a, b, c, d] = KEY;
        for (phase, key) in [KEY, [b, c, d, a], [c, d, a, b], [d, a, b, c], KEY]
            .into_iter()
            .enumerate()
        {
            assert_eq!(at_phase(phase).to_bytes(), key);
        }
    }

    #[test]
    fn every_length_alignment_and_phase_is_masked_as_the_rfc_says() {
        let data: Vec<u8> = (0..=255).cycle().take(LONGEST + 8).collect();
        for length in 0..=LONGEST {
            for (offset, phase) in (0..8)
                .step_by(OFFSETS)
                .flat_map(|offset| (0..4).map(move |p| (offset, p)))
            {
                let source = &data[offset..offset + length];
                let expected = naive(source, KEY, phase);

                let mut in_place = data.clone();
                let mut mask = at_phase(phase);
                mask.apply(&mut in_place[offset..offset + length]);
                assert_eq!(in_place[offset..offset + length], expected);
                assert_eq!(in_place[..offset], data[..offset]);
                assert_eq!(in_place[offset + length..], data[offset + length..]);
                assert_eq!(mask, at_phase(phase + length));

                let mut copied = data[..offset].to_vec();
                let mut mask = at_phase(phase);
                mask.apply_to(source, &mut copied);
                assert_eq!(copied, [&data[..offset], &expected].concat());
                assert_eq!(mask, at_phase(phase + length));
            }
        }
    }

    proptest! {
        #[test]
        fn a_payload_cut_anywhere_is_masked_as_if_it_were_whole(
            key: [u8; 4],
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..6),
        ) {
            let whole = naive(&pieces.concat(), key, 0);

            let mut mask = Mask::new(key);
            let mut in_place = pieces.clone();
            in_place.iter_mut().for_each(|piece| mask.apply(piece));
            prop_assert_eq!(&in_place.concat(), &whole);

            let mut mask = Mask::new(key);
            let mut copied = Vec::new();
            pieces.iter().for_each(|piece| mask.apply_to(piece, &mut copied));
            prop_assert_eq!(copied, whole);
        }
    }
}
