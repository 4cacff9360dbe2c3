//! Messages in several frames (RFC 6455 §5.4), and text checked as it comes (§8.1).

use hybi_proto::error::ProtocolError::*;

use crate::support::hex::Seen::{Binary, Error, Ping, Pong, Text};
use crate::support::hex::{NOTHING, both, frame, hex, refused, refused_by, server};

#[test]
fn fragments_are_joined_and_keep_the_kind_of_the_first() {
    for mut ws in both() {
        let text = ["01 01 61", "00 01 62", "80 01 63"];
        assert_eq!(ws.frames(text), [Text("abc")]);
        let binary = ["02 01 61", "00 01 62", "80 01 63"];
        assert_eq!(ws.frames(binary), [Binary("61 62 63")]);
        assert_eq!(ws.frames(["81 01 7a"]), [Text("z")]);
    }
}

#[test]
fn empty_fragments_are_fragments() {
    for mut ws in both() {
        assert_eq!(ws.frames(["01 00", "00 00", "80 00"]), [Text("")]);
        assert_eq!(ws.frames(["02 00", "00 01 61", "80 00"]), [Binary("61")]);
    }
}

#[test]
fn a_control_frame_between_two_fragments_comes_at_once() {
    for mut ws in both() {
        assert_eq!(ws.frames(["01 02 e2 82"]), NOTHING);
        assert_eq!(
            ws.frames(["89 01 70", "8a 01 71"]),
            [Ping("70"), Pong("71")]
        );
        assert_eq!(ws.answer(), "8a 01 70");
        assert!(ws.conn.is_midway());
        assert_eq!(ws.frames(["80 01 ac"]), [Text("€")]);
        assert!(!ws.conn.is_midway());
    }
}

#[test]
fn a_message_of_65536_fragments_is_taken_by_default() {
    for mut ws in both() {
        let frames = (0..65536_u32).map(|i| {
            let first = match i {
                0 => 0x02,
                65535 => 0x80,
                _ => 0x00,
            };
            frame(first, &[i as u8])
        });
        let payload: Vec<u8> = (0..65536_u32).map(|i| i as u8).collect();
        assert_eq!(ws.frames(frames), [Binary(&*hex(&payload))]);
    }
}

#[test]
fn a_large_message_may_come_in_large_fragments() {
    let payload: Vec<u8> = (0..900_000_u32).map(|i| (i % 251) as u8).collect();
    for mut ws in both() {
        let [a, b, c] = [0..300_000, 300_000..310_000, 310_000..900_000];
        let frames = [
            frame(0x02, &payload[a]),
            frame(0x00, &payload[b]),
            frame(0x89, b"?"),
            frame(0x80, &payload[c]),
        ];
        assert_eq!(ws.frames(frames), [Ping("3f"), Binary(&*hex(&payload))]);
    }
}

const TEXT: &str = "κόσμε \u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff} 🦀";

#[test]
fn text_may_be_cut_into_fragments_at_every_byte() {
    for cut in 0..=TEXT.len() {
        let (a, b) = TEXT.as_bytes().split_at(cut);
        for mut ws in both() {
            let frames = [frame(0x01, a), frame(0x80, b)];
            assert_eq!(ws.frames(frames), [Text(TEXT)], "cut at {cut}");
        }
    }
}

#[test]
fn text_may_come_in_fragments_of_one_byte_with_pings_between() {
    for mut ws in both() {
        let mut frames = vec![frame(0x01, b"")];
        for byte in TEXT.as_bytes() {
            frames.extend([frame(0x00, &[*byte]), frame(0x8a, b"")]);
        }
        frames.push(frame(0x80, b""));
        let mut expected = vec![Pong(""); TEXT.len()];
        expected.push(Text(TEXT));
        assert_eq!(ws.frames(frames), expected);
    }
}

/// Valid up to the last byte, which nothing can mend.
const INVALID: [&[u8]; 12] = [
    b"ab\x80",
    b"ab\xc0",
    b"ab\xc1",
    b"ab\xf5",
    b"ab\xff",
    b"ab\xc3\x28",
    b"ab\xe0\x9f",
    b"ab\xed\xa0",
    b"ab\xf0\x8f",
    b"ab\xf4\x90",
    b"ab\xe2\x82\x28",
    b"ab\xf0\x9f\xa6\x28",
];

#[test]
fn an_invalid_byte_in_an_unfinished_frame_is_refused_when_it_comes() {
    for invalid in INVALID {
        for mut ws in both() {
            // The header promises a hundred bytes, which never come.
            let mut promised = frame(0x81, &[b'a'; 100]);
            promised.truncate(2);
            promised.extend(invalid);
            let bytes = ws.written(&promised);
            let (last, before) = bytes.split_last().unwrap();
            let before = before.iter().map(|byte| vec![*byte]);
            assert_eq!(ws.events(before), NOTHING, "{invalid:x?}");
            assert_eq!(ws.events([vec![*last]]), [Error(InvalidUtf8)]);
            assert_eq!(ws.answer(), "88 02 03 ef");
            ws.has_failed(InvalidUtf8);
        }
    }
}

#[test]
fn an_invalid_byte_is_refused_whatever_the_cut_before_it() {
    for invalid in INVALID {
        for cut in 0..=invalid.len() {
            let (a, b) = invalid.split_at(cut);
            // In fragments, none of which is the last.
            let frames = [frame(0x01, a), frame(0x00, b)];
            refused(&frames, &[], InvalidUtf8, "88 02 03 ef");
        }
        refused(&[frame(0x81, invalid)], &[], InvalidUtf8, "88 02 03 ef");
        for cut in 0..frame(0x81, invalid).len() {
            for mut ws in both() {
                let bytes = ws.written(&frame(0x81, invalid));
                let (a, b) = bytes.split_at(cut);
                let seen = ws.events([a.to_vec(), b.to_vec()]);
                assert_eq!(seen, [Error(InvalidUtf8)]);
                ws.has_failed(InvalidUtf8);
            }
        }
    }
}

#[test]
fn text_that_ends_inside_a_character_is_refused() {
    for text in ["é", "€", "🦀"] {
        for cut in 1..text.len() {
            let head = &text.as_bytes()[..cut];
            refused(&[frame(0x81, head)], &[], InvalidUtf8, "88 02 03 ef");
            let frames = [frame(0x01, head), frame(0x80, b"")];
            refused(&frames, &[], InvalidUtf8, "88 02 03 ef");
        }
    }
}

#[test]
fn an_invalid_byte_deep_in_a_large_text_is_refused_when_it_comes() {
    for at in [16_383, 16_384, 70_000, 250_000] {
        for mut ws in both() {
            let mut payload = vec![b'a'; 400_000];
            payload[at] = 0xff;
            let header = frame(0x81, &payload).len() - payload.len();
            let end = header + if ws.is_server() { 4 } else { 0 } + at;
            let bytes = ws.written(&frame(0x81, &payload));
            assert_eq!(ws.events([bytes[..end].to_vec()]), NOTHING);
            assert_eq!(ws.events([bytes[end..=end].to_vec()]), [Error(InvalidUtf8)]);
            ws.has_failed(InvalidUtf8);
        }
    }
}

#[test]
fn bytes_that_are_not_utf8_are_fine_in_a_binary_message() {
    for invalid in INVALID {
        for mut ws in both() {
            assert_eq!(ws.frames([frame(0x82, invalid)]), [Binary(&*hex(invalid))]);
        }
    }
}

#[test]
fn the_check_of_one_text_leaves_nothing_for_the_next() {
    let ws = server();
    let frames = ["81 03 e2 82 ac", "01 02 e2 82", "80 01 ac", "81 01 82"];
    let before = [Text("€"), Text("€")];
    refused_by(ws, &frames, &before, InvalidUtf8, "88 02 03 ef");
}
