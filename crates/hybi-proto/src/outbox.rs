//! The bytes that wait to leave, in order: small ones copied together, large ones linked.
//!
//! The encoder fills it; whoever owns the socket drains it. It knows nothing of frames.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem::MaybeUninit;

use bytes::Bytes;

use crate::mask::Mask;

/// The queue of outgoing bytes of one connection.
#[derive(Debug, Default)]
pub struct Outbox {
    copied: Vec<u8>,
    /// Bytes of `copied` that have left.
    sent: usize,
    /// What is linked; the room for it stays until the buffer is reclaimed.
    links: Option<Box<Links>>,
    blocked: bool,
}

/// The shared payloads that wait.
#[derive(Debug, Default)]
struct Links {
    /// Most often it is the only one, and needs no room but this.
    first: Option<Link>,
    others: VecDeque<Link>,
    /// Bytes of the first one that have left.
    sent: usize,
    /// Bytes of all that have not.
    len: usize,
}

/// A shared payload that stands before `copied[at]`.
#[derive(Debug)]
struct Link {
    at: usize,
    bytes: Bytes,
}

/// From this size on a shared payload is linked: below, the copy is cheaper than one more slice.
pub const LINK: usize = 8 << 10;

/// Bytes that have left are cut off the front of `copied` when they are this many.
const COMPACT: usize = 64 << 10;

impl Outbox {
    /// The number of bytes that wait.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.copied.len() - self.sent + self.links.as_ref().map_or(0, |links| links.len)
    }

    /// Whether nothing waits.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the socket took no more when it was last offered something.
    #[must_use]
    #[inline]
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Says that the socket takes no more for now, until something has left.
    pub fn block(&mut self) {
        self.blocked = true;
    }

    /// Queues what `write` appends.
    #[inline]
    pub(crate) fn copy(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.copied);
    }

    /// Queues the first `size` bytes of `head` and all of `body`, copied, and masked meanwhile.
    #[inline(always)]
    pub(crate) fn frame<const N: usize>(
        &mut self,
        head: &[u8; N],
        size: usize,
        body: &[u8],
        mask: Option<Mask>,
    ) {
        self.copied.reserve(N + body.len());
        let room = self.copied.spare_capacity_mut();
        // All of the head: to copy as many bytes as are known takes no call.
        if let Some(start) = room.first_chunk_mut() {
            *start = head.map(MaybeUninit::new);
        }
        let size = size.min(N);
        let Some(rest) = room.get_mut(size..size + body.len()) else {
            return;
        };
        match mask {
            None => copy(body, rest),
            Some(mask) => mask.copy(body, rest),
        }
        let frame = size + body.len();
        // SAFETY: the capacity has room for `head` and `body`. All of `head` was written, no more
        // than which counts, and behind what counts all of `rest`, which is as long as `body`.
        #[allow(unsafe_code)]
        unsafe {
            self.copied.set_len(self.copied.len() + frame);
        }
    }

    /// Queues `bytes`, copied if they are few, else shared.
    #[inline]
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if bytes.len() < LINK {
            return self.copy(|out| out.extend_from_slice(&bytes));
        }
        let at = self.copied.len();
        let links = self.links.get_or_insert_default();
        links.push(Link { at, bytes });
    }

    /// All that waits, if it lies in one piece.
    #[must_use]
    #[inline]
    pub fn piece(&self) -> Option<&[u8]> {
        (!self.has_links()).then(|| &self.copied[self.sent..])
    }

    #[inline]
    fn has_links(&self) -> bool {
        let links = self.links.as_ref();
        links.is_some_and(|links| links.first.is_some())
    }

    /// Puts the front of what waits into `slices`, for a vectored write, and says how many of
    /// them count.
    #[must_use]
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut at = self.sent;
        let mut count = 0;
        if let Some(links) = &self.links {
            let mut skip = links.sent;
            let pieces = links.iter().flat_map(|link| {
                let copied = &self.copied[at..link.at];
                let linked = &link.bytes[skip..];
                (at, skip) = (link.at, 0);
                [copied, linked]
            });
            for piece in pieces.filter(|piece| !piece.is_empty()).take(slices.len()) {
                slices[count] = IoSlice::new(piece);
                count += 1;
            }
        }
        if count < slices.len() && at < self.copied.len() {
            slices[count] = IoSlice::new(&self.copied[at..]);
            count += 1;
        }
        count
    }

    /// Takes the first `n` bytes off: they have left. `n` above [`len`](Self::len) takes all.
    #[inline]
    pub(crate) fn advance(&mut self, n: usize) {
        let len = self.len();
        self.blocked &= n.min(len) == 0;
        if n >= len {
            self.clear();
        } else {
            self.advance_within(n);
        }
    }

    fn advance_within(&mut self, mut n: usize) {
        let Some(links) = &mut self.links else {
            self.sent += n;
            return self.compact();
        };
        while n > 0 {
            let end = links
                .first
                .as_ref()
                .map_or(self.copied.len(), |link| link.at);
            let step = n.min(end - self.sent);
            self.sent += step;
            n -= step;
            if self.sent == end {
                n -= links.advance(n);
            }
        }
        self.compact();
    }

    fn compact(&mut self) {
        if self.sent >= COMPACT && self.sent > self.copied.len() / 2 {
            self.copied.drain(..self.sent);
            self.rebase();
        }
    }

    /// What has left is no longer in `copied`.
    fn rebase(&mut self) {
        if let Some(links) = &mut self.links {
            for link in links.first.iter_mut().chain(&mut links.others) {
                link.at -= self.sent;
            }
        }
        self.sent = 0;
    }

    /// Drops all that waits.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.copied.clear();
        self.sent = 0;
        if let Some(links) = &mut self.links {
            links.clear();
        }
    }

    /// Whether it has a buffer to copy into.
    #[must_use]
    #[inline]
    pub fn has_buffer(&self) -> bool {
        self.copied.capacity() > 0
    }

    /// Lends a buffer to copy into; one that is not needed is given back.
    #[inline]
    pub fn lend(&mut self, mut buffer: Vec<u8>) -> Option<Vec<u8>> {
        if self.has_buffer() {
            return Some(buffer);
        }
        buffer.clear();
        self.copied = buffer;
        None
    }

    /// Takes the buffer away; what still waits in it is copied into one of its size. The room
    /// for links that have left goes, too.
    #[inline]
    pub fn reclaim(&mut self) -> Vec<u8> {
        if !self.has_links() {
            self.links = None;
            if self.sent == self.copied.len() {
                self.sent = 0;
                return std::mem::take(&mut self.copied);
            }
        }
        self.reclaim_rest()
    }

    #[cold]
    fn reclaim_rest(&mut self) -> Vec<u8> {
        let rest = self.copied[self.sent..].to_vec();
        self.rebase();
        std::mem::replace(&mut self.copied, rest)
    }
}

/// Fills `to` with the bytes of `from`; they are of one length.
#[inline(always)]
fn copy(from: &[u8], to: &mut [MaybeUninit<u8>]) {
    match from.len() {
        // Few bytes are two pieces that overlap: a call would take longer.
        16..=32 => copy_ends::<16>(from, to),
        8..16 => copy_ends::<8>(from, to),
        _ => copy_any(from, to),
    }
}

#[inline(always)]
fn copy_ends<const N: usize>(from: &[u8], to: &mut [MaybeUninit<u8>]) {
    if let (Some(from), Some(to)) = (from.first_chunk::<N>(), to.first_chunk_mut()) {
        *to = from.map(MaybeUninit::new);
    }
    if let (Some(from), Some(to)) = (from.last_chunk::<N>(), to.last_chunk_mut()) {
        *to = from.map(MaybeUninit::new);
    }
}

/// Not inlined: so the compiler knows that the two do not overlap, and calls `memcpy`.
#[inline(never)]
fn copy_any(from: &[u8], to: &mut [MaybeUninit<u8>]) {
    for (from, to) in from.iter().zip(to) {
        to.write(*from);
    }
}

impl Links {
    fn push(&mut self, link: Link) {
        self.len += link.bytes.len();
        if self.first.is_none() {
            self.first = Some(link);
        } else {
            self.others.push_back(link);
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Link> {
        self.first.iter().chain(&self.others)
    }

    /// Takes up to `n` bytes off the first one, and says how many.
    fn advance(&mut self, n: usize) -> usize {
        let Some(first) = &self.first else { return 0 };
        let step = n.min(first.bytes.len() - self.sent);
        self.sent += step;
        self.len -= step;
        if self.sent == first.bytes.len() {
            self.first = self.others.pop_front();
            self.sent = 0;
        }
        step
    }

    fn clear(&mut self) {
        self.first = None;
        self.others.clear();
        (self.sent, self.len) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The naive twin: one flat queue.
    #[derive(Default)]
    struct Twin(Vec<u8>);

    #[derive(Clone, Debug)]
    enum Op {
        Copy(usize),
        Push(usize),
        Advance(usize),
        Lend,
        Reclaim,
        Clear,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            4 => (0..300_usize).prop_map(Op::Copy),
            3 => (0..3 * LINK).prop_map(Op::Push),
            4 => (0..4 * LINK).prop_map(Op::Advance),
            1 => Just(Op::Lend),
            1 => Just(Op::Reclaim),
            1 => Just(Op::Clear),
        ];
        proptest::collection::vec(op, 0..if cfg!(miri) { 12 } else { 60 })
    }

    fn seen(outbox: &Outbox, slices: usize) -> Vec<u8> {
        let mut all = vec![IoSlice::new(&[]); slices];
        let count = outbox.slices(&mut all);
        let slices: Vec<&[u8]> = all[..count].iter().map(|slice| &**slice).collect();
        slices.concat()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]

        #[test]
        fn bytes_leave_in_the_order_in_which_they_came(ops in ops()) {
            let (mut outbox, mut twin) = (Outbox::default(), Twin::default());
            // Not byte by byte: under Miri that takes minutes.
            let counted = Vec::from_iter(0..=u8::MAX).repeat(3 * LINK / 256 + 1);
            let mut next = 0;
            let mut fresh = |len: usize| {
                let bytes = counted[next..next + len].to_vec();
                next = (next + len) % 256;
                bytes
            };
            for op in ops {
                match op {
                    Op::Copy(len) => {
                        let bytes = fresh(len);
                        outbox.copy(|out| out.extend_from_slice(&bytes));
                        twin.0.extend(bytes);
                    }
                    Op::Push(len) => {
                        let bytes = fresh(len);
                        outbox.push(Bytes::from(bytes.clone()));
                        twin.0.extend(bytes);
                    }
                    Op::Advance(n) => {
                        outbox.advance(n);
                        twin.0.drain(..n.min(twin.0.len()));
                    }
                    Op::Lend => { outbox.lend(Vec::with_capacity(1024)); }
                    Op::Reclaim => { outbox.reclaim(); }
                    Op::Clear => { outbox.clear(); twin.0.clear(); }
                }
                prop_assert_eq!(outbox.len(), twin.0.len());
                prop_assert_eq!(&seen(&outbox, 200), &twin.0);
                prop_assert!(outbox.piece().is_none_or(|piece| *piece == twin.0));
                prop_assert!(twin.0.starts_with(&seen(&outbox, 2)));
            }
        }
    }

    #[test]
    fn a_large_payload_is_linked_and_a_small_one_copied() {
        let mut outbox = Outbox::default();
        outbox.push(Bytes::from(vec![1; LINK - 1]));
        outbox.push(Bytes::from(vec![2; LINK - 1]));
        let mut slices = [IoSlice::new(&[]); 8];
        assert_eq!(outbox.slices(&mut slices), 1);
        outbox.push(Bytes::from(vec![3; LINK]));
        let mut slices = [IoSlice::new(&[]); 8];
        assert_eq!(outbox.slices(&mut slices), 2);
    }

    #[test]
    fn a_drained_outbox_that_gave_its_buffer_back_holds_nothing() {
        let mut outbox = Outbox::default();
        for _ in 0..100 {
            outbox.push(Bytes::from(vec![1; LINK]));
        }
        outbox.advance(usize::MAX);
        outbox.reclaim();
        assert_eq!(outbox.copied.capacity(), 0);
        assert!(outbox.links.is_none());
    }

    #[test]
    fn a_buffer_taken_back_leaves_only_what_waits() {
        let mut outbox = Outbox::default();
        assert!(outbox.lend(Vec::with_capacity(4096)).is_none());
        outbox.copy(|out| out.extend_from_slice(b"hello"));
        outbox.advance(2);
        assert_eq!(outbox.reclaim().capacity(), 4096);
        assert_eq!(outbox.copied.capacity(), 3);
        assert_eq!(seen(&outbox, 4), b"llo");
    }
}
