//! The mask of client frames (RFC 6455 §5.3): bytes XORed with a key of four.
//!
//! Masks in place or while copying, in pieces cut anywhere. It makes no keys: they are handed in,
//! fresh and unpredictable for every frame. The decoder unmasks with it, the encoder masks.

use std::mem::MaybeUninit;

use crate::utf8::{InvalidUtf8, Utf8};

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
        in_place(data, self.to_bytes());
        self.turn(data.len());
    }

    /// Unmasks the next bytes of a text in place and checks them, in one pass where they are ASCII.
    ///
    /// # Errors
    ///
    /// Those of [`Utf8::push`].
    #[inline]
    pub fn apply_text(&mut self, text: &mut [u8], utf8: &mut Utf8) -> Result<(), InvalidUtf8> {
        let bits = in_place(text, self.to_bytes());
        self.turn(text.len());
        utf8.push_seen(text, bits & HIGH_BITS == 0)
    }

    /// Unmasks a whole payload, and says whether it is ASCII.
    #[inline(always)]
    pub(crate) fn uncover(self, payload: &mut [u8]) -> bool {
        in_place(payload, self.to_bytes()) & HIGH_BITS == 0
    }

    /// Appends the next bytes of the payload to `dst`, masked.
    #[inline]
    pub fn apply_to(&mut self, src: &[u8], dst: &mut Vec<u8>) {
        self.append::<false>(src, dst);
    }

    /// As [`apply_text`](Self::apply_text), but appends the bytes to `dst`.
    ///
    /// # Errors
    ///
    /// Those of [`Utf8::push`]; the bytes are appended nevertheless.
    #[inline]
    pub fn apply_text_to(
        &mut self,
        src: &[u8],
        dst: &mut Vec<u8>,
        utf8: &mut Utf8,
    ) -> Result<(), InvalidUtf8> {
        let start = dst.len();
        let bits = self.append::<true>(src, dst);
        let text = dst.get(start..).unwrap_or_default();
        utf8.push_seen(text, bits & HIGH_BITS == 0)
    }

    /// Appends, and says what [`copied`] does.
    #[inline]
    fn append<const SEEN: bool>(&mut self, src: &[u8], dst: &mut Vec<u8>) -> u64 {
        dst.reserve(src.len());
        let end = dst.len() + src.len();
        let mut bits = 0;
        if let Some(room) = dst.spare_capacity_mut().get_mut(..src.len()) {
            bits = copied::<SEEN>(src, room, self.to_bytes());
            // SAFETY: `room` is all that lies between the old length and `end`, within the
            // capacity, and `copied` has written each of its bytes.
            #[allow(unsafe_code)]
            unsafe {
                dst.set_len(end);
            }
        }
        self.turn(src.len());
        bits
    }

    /// Fills `dst` with the first bytes of a payload, masked. They are of one length.
    #[inline(always)]
    pub(crate) fn copy(self, src: &[u8], dst: &mut [MaybeUninit<u8>]) {
        copied::<false>(src, dst, self.to_bytes());
    }

    #[inline]
    fn turn(&mut self, masked: usize) {
        *self = Self::new(turned(self.to_bytes(), masked));
    }
}

/// The key behind so many masked bytes.
#[inline(always)]
fn turned(key: [u8; 4], masked: usize) -> [u8; 4] {
    // In this order of bytes the first one is the lowest: to the right is to the front. Four bytes,
    // which are 32 bits, are once around.
    u32::from_le_bytes(key)
        .rotate_right((masked as u32) << 3)
        .to_le_bytes()
}

/// From this length on it pays to begin where a vector can be stored without touching two lines of
/// the cache, and to ask what the CPU has.
const WIDE: usize = 512;

/// The width of a vector with AVX2.
const VECTOR: usize = 32;

/// A long payload is masked in pieces of this size, a multiple of the key's, the last one first.
const PIECE: usize = 8 << 10;

/// The bits that no ASCII byte has.
const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Masks in place, and says which bits the bytes have then, taken together in words.
#[inline(always)]
fn in_place(data: &mut [u8], key: [u8; 4]) -> u64 {
    match data.len() {
        // Few bytes are two pieces that overlap: inlined, and without a loop.
        16..=32 => ends::<16>(data, key),
        8..16 => ends::<8>(data, key),
        ..WIDE => middle(data, key),
        _ => wide(data, key),
    }
}

/// The first bytes and the last ones, all read before they are written.
#[inline(always)]
fn ends<const N: usize>(data: &mut [u8], key: [u8; 4]) -> u64 {
    let last_key = word(turned(key, data.len()));
    let (Some(first), Some(last)) = (data.first_chunk::<N>(), data.last_chunk::<N>()) else {
        return 0;
    };
    let (mut first, mut last) = (*first, *last);
    let bits = whole(&mut first, word(key)) | whole(&mut last, last_key);
    if let Some(chunk) = data.first_chunk_mut() {
        *chunk = first;
    }
    if let Some(chunk) = data.last_chunk_mut() {
        *chunk = last;
    }
    bits
}

/// The words that are whole.
#[inline(always)]
fn whole(data: &mut [u8], key: u64) -> u64 {
    let mut bits = 0;
    for chunk in data.as_chunks_mut().0 {
        let masked = u64::from_ne_bytes(*chunk) ^ key;
        *chunk = masked.to_ne_bytes();
        bits |= masked;
    }
    bits
}

#[inline(never)]
fn middle(data: &mut [u8], key: [u8; 4]) -> u64 {
    match data.len() {
        32..64 => ends::<32>(data, key),
        64..=128 => ends::<64>(data, key),
        _ => words(data, key),
    }
}

#[inline(never)]
fn wide(data: &mut [u8], key: [u8; 4]) -> u64 {
    #[cfg(all(target_arch = "x86_64", not(hybi_scalar)))]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the CPU has AVX2, and nothing else is asked of the caller.
        #[allow(unsafe_code)]
        return unsafe { in_place_avx2(data, key) };
    }
    aligned(data, key)
}

/// The same code, for wider registers.
#[cfg(all(target_arch = "x86_64", not(hybi_scalar)))]
#[target_feature(enable = "avx2")]
fn in_place_avx2(data: &mut [u8], key: [u8; 4]) -> u64 {
    aligned(data, key)
}

#[inline(always)]
fn aligned(data: &mut [u8], key: [u8; 4]) -> u64 {
    let head = data.as_ptr().align_offset(VECTOR).min(data.len());
    let (head, body) = data.split_at_mut(head);
    let body_key = turned(key, head.len());
    let mut bits = 0;
    // From the back to the front: the end is what was written last, by the read that brought it,
    // and the beginning is what is read next.
    for piece in body.chunks_mut(PIECE).rev() {
        bits |= words(piece, body_key);
    }
    bits | words(head, key)
}

/// Word by word, which the compiler turns into vectors. What is left at the end is not walked byte
/// by byte: the last word overlaps the one before, and is read before that is written.
#[inline(always)]
fn words(data: &mut [u8], key: [u8; 4]) -> u64 {
    let [first, last] = [word(key), word(turned(key, data.len()))];
    let Some(end) = data.last_chunk().map(|end| u64::from_ne_bytes(*end) ^ last) else {
        return bytes(data, key);
    };
    let bits = end | whole(data, first);
    if let Some(chunk) = data.last_chunk_mut() {
        *chunk = end.to_ne_bytes();
    }
    bits
}

/// Fewer bytes than a word has.
#[inline(always)]
fn bytes(data: &mut [u8], key: [u8; 4]) -> u64 {
    if let (Some(first), Some(last)) = (data.first_chunk(), data.last_chunk()) {
        let first = u32::from_ne_bytes(*first) ^ u32::from_ne_bytes(key);
        let last = u32::from_ne_bytes(*last) ^ u32::from_ne_bytes(turned(key, data.len()));
        if let Some(chunk) = data.first_chunk_mut() {
            *chunk = first.to_ne_bytes();
        }
        if let Some(chunk) = data.last_chunk_mut() {
            *chunk = last.to_ne_bytes();
        }
        return u64::from(first | last);
    }
    let mut bits = 0;
    for (byte, key) in data.iter_mut().zip(key) {
        *byte ^= key;
        bits |= *byte;
    }
    bits.into()
}

/// Fills `dst` with the bytes of `src`, masked; they are of one length. Says which bits
/// they have then, as [`in_place`], if anybody wants that `SEEN`: it takes a tenth longer.
#[inline(always)]
fn copied<const SEEN: bool>(src: &[u8], dst: &mut [MaybeUninit<u8>], key: [u8; 4]) -> u64 {
    match src.len() {
        // Few bytes are two pieces that overlap: inlined, and without a loop.
        16..=32 => copied_ends::<16, SEEN>(src, dst, key),
        8..16 => copied_ends::<8, SEEN>(src, dst, key),
        ..WIDE => copied_middle::<SEEN>(src, dst, key),
        _ => copied_wide::<SEEN>(src, dst, key),
    }
}

/// The first bytes and the last ones.
#[inline(always)]
fn copied_ends<const N: usize, const SEEN: bool>(
    src: &[u8],
    dst: &mut [MaybeUninit<u8>],
    key: [u8; 4],
) -> u64 {
    let mut bits = 0;
    if let (Some(from), Some(to)) = (src.first_chunk::<N>(), dst.first_chunk_mut::<N>()) {
        bits |= copied_whole::<SEEN>(from, to, word(key));
    }
    if let (Some(from), Some(to)) = (src.last_chunk::<N>(), dst.last_chunk_mut::<N>()) {
        bits |= copied_whole::<SEEN>(from, to, word(turned(key, src.len())));
    }
    bits
}

/// The words that are whole.
#[inline(always)]
fn copied_whole<const SEEN: bool>(src: &[u8], dst: &mut [MaybeUninit<u8>], key: u64) -> u64 {
    let mut bits = 0;
    for (from, to) in src.as_chunks().0.iter().zip(dst.as_chunks_mut().0) {
        let masked = u64::from_ne_bytes(*from) ^ key;
        *to = masked.to_ne_bytes().map(MaybeUninit::new);
        if SEEN {
            bits |= masked;
        }
    }
    bits
}

#[inline(never)]
fn copied_middle<const SEEN: bool>(src: &[u8], dst: &mut [MaybeUninit<u8>], key: [u8; 4]) -> u64 {
    match src.len() {
        32..64 => copied_ends::<32, SEEN>(src, dst, key),
        64..=128 => copied_ends::<64, SEEN>(src, dst, key),
        _ => copied_words::<SEEN>(src, dst, key),
    }
}

#[inline(never)]
fn copied_wide<const SEEN: bool>(src: &[u8], dst: &mut [MaybeUninit<u8>], key: [u8; 4]) -> u64 {
    #[cfg(all(target_arch = "x86_64", not(hybi_scalar)))]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the CPU has AVX2, and nothing else is asked of the caller.
        #[allow(unsafe_code)]
        return unsafe { copied_avx2::<SEEN>(src, dst, key) };
    }
    copied_aligned::<SEEN>(src, dst, key)
}

#[cfg(all(target_arch = "x86_64", not(hybi_scalar)))]
#[target_feature(enable = "avx2")]
fn copied_avx2<const SEEN: bool>(src: &[u8], dst: &mut [MaybeUninit<u8>], key: [u8; 4]) -> u64 {
    copied_aligned::<SEEN>(src, dst, key)
}

#[inline(always)]
fn copied_aligned<const SEEN: bool>(src: &[u8], dst: &mut [MaybeUninit<u8>], key: [u8; 4]) -> u64 {
    // A vector that is stored across two lines costs more than one that is loaded so.
    let head = dst.as_ptr().align_offset(VECTOR).min(dst.len());
    let (src_head, src) = src.split_at(head);
    let (dst_head, dst) = dst.split_at_mut(head);
    let body_key = turned(key, head);
    let mut bits = 0;
    for (from, to) in src.chunks(PIECE).zip(dst.chunks_mut(PIECE)).rev() {
        bits |= copied_words::<SEEN>(from, to, body_key);
    }
    bits | copied_words::<SEEN>(src_head, dst_head, key)
}

/// As [`words`].
#[inline(always)]
fn copied_words<const SEEN: bool>(src: &[u8], dst: &mut [MaybeUninit<u8>], key: [u8; 4]) -> u64 {
    let mut bits = copied_whole::<SEEN>(src, dst, word(key));
    if let (Some(from), Some(to)) = (src.last_chunk::<8>(), dst.last_chunk_mut::<8>()) {
        return bits | copied_whole::<SEEN>(from, to, word(turned(key, src.len())));
    }
    for ((from, to), key) in src.iter().zip(dst).zip(key.into_iter().cycle()) {
        bits |= u64::from(*to.write(from ^ key));
    }
    bits
}

/// The key as often as it fits into a word.
#[inline(always)]
fn word(key: [u8; 4]) -> u64 {
    // §5.3: octet i of the transformed data is the XOR of octet i of the original data with
    // octet at index i modulo 4 of the masking key.
    let key = u64::from(u32::from_ne_bytes(key));
    key | key << 32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// The lengths of payloads that are tried: all short ones, and those around [`WIDE`].
    fn lengths() -> impl Iterator<Item = usize> {
        let (short, around) = if cfg!(miri) { (20, 1) } else { (140, 40) };
        (0..=short).chain(WIDE - around..WIDE + around)
    }

    /// How far apart the places in memory are that are tried.
    const OFFSETS: usize = if cfg!(miri) { 11 } else { 3 };

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
        let data: Vec<u8> = (0..=255).cycle().take(2 * WIDE).collect();
        for length in lengths() {
            for (offset, phase) in (0..VECTOR + 1)
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

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let short = prop::collection::vec(any::<u8>(), 0..200);
        let long = prop::collection::vec(any::<u8>(), WIDE..3 * WIDE);
        let longest = (any::<u8>(), PIECE..3 * PIECE)
            .prop_map(|(first, len)| (0..len).map(|i| first.wrapping_add(i as u8)).collect());
        prop_oneof![5 => short, 2 => long, u32::from(!cfg!(miri)) => longest]
    }

    proptest! {
        #[test]
        fn a_payload_cut_anywhere_is_masked_as_if_it_were_whole(
            key: [u8; 4],
            pieces in prop::collection::vec(piece(), 0..6),
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

        #[test]
        fn a_text_is_judged_as_if_it_were_unmasked_first(
            key: [u8; 4],
            texts in prop::collection::vec("[a-z]{0,600}|[a-zäß你🦀]{0,300}", 1..4),
            cuts in prop::collection::vec(0..2000_usize, 0..4),
            damaged in prop::option::weighted(0.3, 0..2000_usize),
        ) {
            let mut text = texts.concat().into_bytes();
            if let Some(byte) = damaged.and_then(|at| text.get_mut(at)) {
                *byte ^= 0x80;
            }
            let mut masked = naive(&text, key, 0);
            let (mut mask, mut utf8, mut twin) = (Mask::new(key), Utf8::default(), Utf8::default());
            let mut cuts: Vec<usize> = cuts.iter().map(|&cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            for cut in cuts.windows(2) {
                let piece = &text[cut[0]..cut[1]];
                let judged = mask.apply_text(&mut masked[cut[0]..cut[1]], &mut utf8);
                prop_assert_eq!(judged, twin.push(piece));
            }
            prop_assert_eq!(utf8.finish(), twin.finish());
            prop_assert_eq!(&masked, &text);

            let (mut mask, mut copied, masked) = (Mask::new(key), vec![7], naive(&text, key, 0));
            for cut in cuts.windows(2) {
                let piece = cut[0]..cut[1];
                let judged = mask.apply_text_to(&masked[piece.clone()], &mut copied, &mut utf8);
                prop_assert_eq!(judged, twin.push(&text[piece]));
            }
            prop_assert_eq!(utf8.finish(), twin.finish());
            prop_assert_eq!(&copied[1..], text);
        }
    }
}
