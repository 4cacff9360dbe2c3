//! The straight path: a message that is one short frame, here as a whole.
//!
//! Most are, and the time that such a message takes is the time to find it. Nothing is refused
//! here: what is not plainly right is left as it is for [`Decoder::advance`], which all doors ask
//! when nothing was found.

use std::ops::Range;

use super::{Decoder, Door, Joined};
use crate::mask::Mask;
use crate::message::Kind;
use crate::utf8;

impl Decoder {
    /// Finds the next message if it is one frame, here as a whole and not long: what most are. All
    /// else is left as it is for [`advance`](Self::advance), which says what is wrong with it.
    // Inlined, and asked by each door before all else: so what is found stays in registers, which is
    // half the time of a small message.
    #[inline(always)]
    pub(crate) fn find_plain(&mut self, door: Door) -> Option<(Kind, Range<usize>)> {
        let between = self.joined.as_deref().is_none_or(Joined::is_vacant);
        if self.silent || !between || self.fragments == 0 {
            return None;
        }
        let [first, second, rest @ ..] = self.buffer.get_mut(self.start..)? else {
            return None;
        };
        let kind = match *first {
            0x81 => Kind::Text,
            0x82 => Kind::Binary,
            _ => return None,
        };
        // A mask where there should be none, or none where there should be one, gives no length.
        let (len, size, rest) = match (*second ^ u8::from(self.masked) << 7, rest) {
            (len @ ..=125, rest) => (usize::from(len), 2, rest),
            (126, [a, b, rest @ ..]) => match usize::from(u16::from_be_bytes([*a, *b])) {
                ..=125 => return None,
                len => (len, 4, rest),
            },
            _ => return None,
        };
        if len > self.limit || len > door.most_in_place() {
            return None;
        }
        let (mask, size, rest) = match (self.masked, rest) {
            (false, rest) => (None, size, rest),
            (true, [a, b, c, d, rest @ ..]) => (Some(Mask::new([*a, *b, *c, *d])), size + 4, rest),
            (true, _) => return None,
        };
        let payload = rest.get_mut(..len)?;
        let ascii = mask.is_some_and(|mask| mask.uncover(payload));
        if kind == Kind::Text && !ascii && !utf8::is_text(payload) {
            cover(payload, mask);
            return None;
        }
        let start = self.start + size;
        self.start = start + len;
        self.messages += 1;
        self.after_large = false;
        Some((kind, start..start + len))
    }
}

/// Masks a payload as it was.
#[cold]
fn cover(bytes: &mut [u8], mask: Option<Mask>) {
    if let Some(mut mask) = mask {
        mask.apply(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use bytes::BufMut;

    use super::*;
    use crate::error::ProtocolError;
    use crate::limits::Limits;
    use crate::message::Event;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// A frame as the peer should write it, or nearly so.
    fn frame(server: bool) -> impl Strategy<Value = Vec<u8>> {
        const FIRSTS: &[u8] = &[
            0x81, 0x81, 0x81, 0x82, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88, 0xc1, 0xa2,
            0x83,
        ];
        let payload = prop_oneof![
            4 => "[a-z]{0,40}".prop_map(String::into_bytes),
            2 => "[a-zü🦀]{0,20}".prop_map(String::into_bytes),
            1 => vec(any::<u8>(), 0..6),
            2 => (110..140_usize).prop_map(|len| vec![b'x'; len]),
            1 => (110..140_usize).prop_map(|len| [vec![b'x'; len], vec![0xc3]].concat()),
            u32::from(!cfg!(miri)) => (65_530..65_540_usize).prop_map(|len| vec![b'x'; len]),
        ];
        // The form of the length: the shortest, or one that may be too long.
        let form = prop_oneof![8 => Just(0_usize), 1 => Just(2), 1 => Just(8)];
        let masked = prop::bool::weighted(if server { 0.97 } else { 0.03 });
        (prop::sample::select(FIRSTS), payload, form, masked).prop_map(
            |(first, payload, form, masked)| {
                let form = match payload.len() {
                    0..126 => form,
                    126..0x1_0000 => form.max(2),
                    _ => 8,
                };
                let len = (payload.len() as u64).to_be_bytes();
                let second = match form {
                    0 => payload.len() as u8,
                    2 => 126,
                    _ => 127,
                };
                let mut frame = vec![first, second | u8::from(masked) << 7];
                frame.extend(&len[8 - form..]);
                if masked {
                    frame.extend(KEY);
                    Mask::new(KEY).apply_to(&payload, &mut frame);
                } else {
                    frame.extend(payload);
                }
                frame
            },
        )
    }

    fn limits() -> impl Strategy<Value = Limits> {
        let message = prop_oneof![4 => Just(None), 1 => (0..130_usize).prop_map(Some)];
        let fragments = prop_oneof![8 => Just(None), 1 => (0..3_u32).prop_map(Some)];
        (message, fragments).prop_map(|(message, fragments)| Limits {
            message,
            fragments,
            ..Limits::default()
        })
    }

    type Seen = Result<Option<Event>, ProtocolError>;

    /// What both ways find, and what both leave.
    fn both(
        fast: &mut Decoder,
        general: &mut Decoder,
        door: Door,
    ) -> [(Seen, u64, usize, bool); 2] {
        let seen = match fast.find_plain(door) {
            Some((kind, at)) => Ok(Some(Event::Message(fast.copy_at(kind, at)))),
            None => fast
                .advance(door)
                .map(|found| found.map(|found| fast.take(found))),
        };
        let found = general.advance(door);
        let twin = found.map(|found| found.map(|found| general.take(found)));
        [
            (seen, fast.messages(), fast.unread(), fast.is_midway()),
            (
                twin,
                general.messages(),
                general.unread(),
                general.is_midway(),
            ),
        ]
    }

    proptest! {
        #[test]
        fn the_straight_path_finds_what_the_general_one_would(
            (server, frames) in any::<bool>()
                .prop_flat_map(|server| (Just(server), vec(frame(server), 1..8))),
            limits in limits(),
            door in prop::sample::select(&[Door::Borrowed, Door::Owned][..]),
            cuts in vec(prop_oneof![1..300_usize, Just(usize::MAX)], 1..6),
            damage in prop::option::weighted(0.3, (any::<prop::sample::Index>(), 0..8_u8)),
        ) {
            let mut stream = frames.concat();
            if let Some((at, bit)) = damage {
                let at = at.index(stream.len());
                stream[at] ^= 1 << bit;
            }
            let mut fast = Decoder::new(server, &limits);
            let mut general = Decoder::new(server, &limits);
            let mut rest = &stream[..];
            for cut in cuts.iter().cycle() {
                let room = fast.inbox().remaining_mut();
                prop_assert_eq!(general.inbox().remaining_mut(), room);
                let (piece, tail) = rest.split_at(rest.len().min(*cut).min(room));
                fast.inbox().put_slice(piece);
                general.inbox().put_slice(piece);
                rest = tail;
                loop {
                    let [seen, twin] = both(&mut fast, &mut general, door);
                    prop_assert_eq!(&seen, &twin);
                    if seen.0 == Ok(None) {
                        break;
                    }
                }
                if rest.is_empty() {
                    break;
                }
            }
        }
    }
}
