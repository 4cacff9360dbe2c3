//! Masked text, judged byte by byte: of every length, at every place, wherever it lies in memory.

use hybi_proto::error::ProtocolError;
use hybi_proto::mask::Mask;
use hybi_proto::utf8::Utf8;

use crate::support::hex::Seen::{Error, Text};
use crate::support::hex::{KEY, both, frame};

/// No text has this byte but inside a character.
const INSIDE: u8 = 0x80;

/// Lengths at which masking and checking may go another way.
fn lengths() -> impl Iterator<Item = usize> {
    (0..=140).chain(250..=260).chain(508..=560).chain([20_000])
}

/// Every place of a short text, and of a long one those around its ends and some between.
fn places(len: usize) -> impl Iterator<Item = usize> {
    (0..len).filter(move |&at| len <= 140 || at < 20 || at + 20 > len || at % 997 == 0)
}

/// Whether the text is valid, which all ways to check it have to find.
fn is_valid(text: &[u8]) -> bool {
    let mut utf8 = Utf8::default();
    let valid = utf8.push(text).is_ok();
    assert_eq!(utf8.finish().is_ok(), valid);
    for start in [0, 1, 13] {
        let mut masked = vec![0; start];
        Mask::new(KEY).apply_to(text, &mut masked);
        let mut copied = vec![0; start];
        let judged = Mask::new(KEY).apply_text_to(&masked[start..], &mut copied, &mut utf8);
        assert_eq!((judged.is_ok(), &copied[start..]), (valid, text));
        assert_eq!(utf8.finish().is_ok(), valid);
        let judged = Mask::new(KEY).apply_text(&mut masked[start..], &mut utf8);
        assert_eq!((judged.is_ok(), &masked[start..]), (valid, text));
        assert_eq!(utf8.finish().is_ok(), valid);
    }
    valid
}

#[test]
fn one_byte_that_makes_it_no_text_is_found_at_every_place() {
    for len in lengths() {
        let mut text = vec![b'x'; len];
        assert!(is_valid(&text), "{len}");
        for at in places(len) {
            text[at] = INSIDE;
            assert!(!is_valid(&text), "{len} at {at}");
            text[at] = b'x';
        }
    }
}

#[test]
fn bytes_that_all_make_it_no_text_are_found_together() {
    for len in lengths().skip(1) {
        for byte in [INSIDE, 0xff] {
            assert!(!is_valid(&vec![byte; len]), "{len} of {byte:x}");
        }
    }
}

#[test]
fn a_message_of_such_bytes_is_refused_at_both_ends() {
    for len in (0..=40).chain([125, 126, 255, 256, 257, 600]) {
        let text = vec![b'x'; len];
        for mut ws in both() {
            let seen = ws.frames([frame(0x81, &text)]);
            assert_eq!(seen, [Text(&*"x".repeat(len))]);
        }
        let one = places(len).step_by(1 + len / 20).map(|at| {
            let mut text = text.clone();
            text[at] = INSIDE;
            text
        });
        let all = (len > 0).then(|| vec![INSIDE; len]);
        for text in one.chain(all) {
            for mut ws in both() {
                let seen = ws.frames([frame(0x81, &text)]);
                assert_eq!(seen, [Error(ProtocolError::InvalidUtf8)], "{text:x?}");
            }
        }
    }
}

#[test]
fn a_message_that_would_be_text_had_it_no_mask_is_refused() {
    let [mut server, _] = both();
    let masked = b"\x81\x84\x80\x80\x80\x80abcd".to_vec();
    assert_eq!(server.events([masked]), [Error(ProtocolError::InvalidUtf8)]);
}
