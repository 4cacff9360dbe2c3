//! One frame: its grammar, its mask, its place (RFC 6455 §5.1, §5.2, §5.5).

use std::cell::Cell;
use std::io::IoSlice;

use bytes::BufMut;
use hybi_proto::connection::{Connection, Role};
use hybi_proto::error::ProtocolError::{self, *};
use hybi_proto::frame::{self, Header};
use hybi_proto::limits::Limits;
use hybi_proto::mask::Mask;
use hybi_proto::message::{Event, Message, MessageRef};
use hybi_proto::outbox::LINK;

use crate::support::hex::Seen::{Binary, Close, CloseEmpty, Error, Ping, Pong, Text};
use crate::support::hex::{
    KEY, NOTHING, Seen, Ws, both, client, frame, header, hex, joined, refused, refused_by, server,
    unhex,
};
use crate::support::pair::Pair;

#[test]
fn the_examples_of_section_5_7_are_read() {
    assert_eq!(client().events(["81 05 48 65 6c 6c 6f"]), [Text("Hello")]);
    assert_eq!(
        server().events(["81 85 37 fa 21 3d 7f 9f 4d 51 58"]),
        [Text("Hello")]
    );
    let mut ws = client();
    assert_eq!(ws.events(["01 03 48 65 6c"]), NOTHING);
    assert_eq!(ws.events(["80 02 6c 6f"]), [Text("Hello")]);
    assert_eq!(
        ws.events(["89 05 48 65 6c 6c 6f"]),
        [Ping("48 65 6c 6c 6f")]
    );
    assert_eq!(ws.sent(), "8a 85 37 fa 21 3d 7f 9f 4d 51 58");
    let mut ws = server();
    assert_eq!(
        ws.events(["8a 85 37 fa 21 3d 7f 9f 4d 51 58"]),
        [Pong("48 65 6c 6c 6f")]
    );
    assert_eq!(ws.sent(), "");

    for (start, len) in [
        ("82 7e 01 00", 256),
        ("82 7f 00 00 00 00 00 01 00 00", 65536),
    ] {
        let payload = vec![0x2a; len];
        let mut bytes = unhex(start);
        bytes.extend(&payload);
        assert_eq!(client().events([bytes]), [Binary(&*hex(&payload))]);
    }
}

#[test]
fn the_examples_of_section_5_7_are_written() {
    let mut ws = server();
    ws.conn.send("Hello".into()).unwrap();
    assert_eq!(ws.sent(), "81 05 48 65 6c 6c 6f");
    ws.conn.ping(b"Hello").unwrap();
    assert_eq!(ws.sent(), "89 05 48 65 6c 6c 6f");

    let mut ws = client();
    ws.conn.send("Hello".into()).unwrap();
    assert_eq!(ws.sent(), "81 85 37 fa 21 3d 7f 9f 4d 51 58");
    ws.conn.pong(b"Hello").unwrap();
    assert_eq!(ws.sent(), "8a 85 37 fa 21 3d 7f 9f 4d 51 58");

    for (start, len) in [
        ("82 7e 01 00", 256),
        ("82 7f 00 00 00 00 00 01 00 00", 65536),
    ] {
        let mut expected = unhex(start);
        expected.resize(expected.len() + len, 0x2a);
        let mut ws = server();
        ws.conn.send(vec![0x2a; len].into()).unwrap();
        assert_eq!(ws.sent_bytes(), expected);
    }
}

/// The frames before the fault, what came of them, the fault, all that was said, its name.
type Row = (
    &'static [&'static str],
    &'static [Seen<&'static str>],
    ProtocolError,
    &'static str,
    &'static str,
);

/// No fault has more than its header: the payload is withheld.
const FAULTS: &[Row] = &[
    (
        &["c1 05"],
        &[],
        Rsv1,
        "88 02 03 ea",
        "WS_ERR_UNEXPECTED_RSV_1",
    ),
    (
        &["c9 00"],
        &[],
        Rsv1,
        "88 02 03 ea",
        "WS_ERR_UNEXPECTED_RSV_1",
    ),
    (
        &["01 01 61", "c0 01"],
        &[],
        Rsv1,
        "88 02 03 ea",
        "WS_ERR_UNEXPECTED_RSV_1",
    ),
    (
        &["a2 05"],
        &[],
        Rsv2Or3,
        "88 02 03 ea",
        "WS_ERR_UNEXPECTED_RSV_2_3",
    ),
    (
        &["92 05"],
        &[],
        Rsv2Or3,
        "88 02 03 ea",
        "WS_ERR_UNEXPECTED_RSV_2_3",
    ),
    (
        &["d2 05"],
        &[],
        Rsv2Or3,
        "88 02 03 ea",
        "WS_ERR_UNEXPECTED_RSV_2_3",
    ),
    (
        &["81 01 61", "83 05"],
        &[Text("a")],
        Opcode(3),
        "88 02 03 ea",
        "WS_ERR_INVALID_OPCODE",
    ),
    (
        &["0b 00"],
        &[],
        Opcode(11),
        "88 02 03 ea",
        "WS_ERR_INVALID_OPCODE",
    ),
    (
        &["89 01 61", "80 05"],
        &[Ping("61")],
        LoneContinuation,
        "8a 01 61 88 02 03 ea",
        "WS_ERR_INVALID_OPCODE",
    ),
    (
        &["01 01 61", "80 01 62", "80 05"],
        &[Text("ab")],
        LoneContinuation,
        "88 02 03 ea",
        "WS_ERR_INVALID_OPCODE",
    ),
    (
        &["02 01 61", "82 05"],
        &[],
        InterruptedMessage,
        "88 02 03 ea",
        "WS_ERR_INVALID_OPCODE",
    ),
    (
        &["01 00", "01 05"],
        &[],
        InterruptedMessage,
        "88 02 03 ea",
        "WS_ERR_INVALID_OPCODE",
    ),
    (
        &["09 05"],
        &[],
        FragmentedControl,
        "88 02 03 ea",
        "WS_ERR_EXPECTED_FIN",
    ),
    (
        &["08 02"],
        &[],
        FragmentedControl,
        "88 02 03 ea",
        "WS_ERR_EXPECTED_FIN",
    ),
    (
        &["0a 00"],
        &[],
        FragmentedControl,
        "88 02 03 ea",
        "WS_ERR_EXPECTED_FIN",
    ),
    (
        &["82 02 00 ff", "89 7e 00 7e"],
        &[Binary("00 ff")],
        ControlTooLong,
        "88 02 03 ea",
        "WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH",
    ),
    (
        &["8a 7f 00 00 00 00 00 01 00 00"],
        &[],
        ControlTooLong,
        "88 02 03 ea",
        "WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH",
    ),
    (
        &["88 7e ff ff"],
        &[],
        ControlTooLong,
        "88 02 03 ea",
        "WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH",
    ),
    (
        &["88 01"],
        &[],
        CloseTooShort,
        "88 02 03 ea",
        "WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH",
    ),
    (
        &["82 7e 00 7d"],
        &[],
        LengthNotMinimal,
        "88 02 03 ea",
        "WS_ERR_NON_MINIMAL_PAYLOAD_LENGTH",
    ),
    (
        &["82 7f 00 00 00 00 00 00 ff ff"],
        &[],
        LengthNotMinimal,
        "88 02 03 ea",
        "WS_ERR_NON_MINIMAL_PAYLOAD_LENGTH",
    ),
    (
        &["82 7f 80 00 00 00 00 00 00 00"],
        &[],
        LengthTopBit,
        "88 02 03 ea",
        "WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH",
    ),
    (
        &["81 01 61", "8a 01 62", "82 7f 7f ff ff ff ff ff ff ff"],
        &[Text("a"), Pong("62")],
        MessageTooBig { limit: 16 << 20 },
        "88 02 03 f1",
        "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH",
    ),
];

#[test]
fn a_fault_in_a_header_is_answered_before_the_payload_comes() {
    for &(frames, before, error, sent, name) in FAULTS {
        refused(frames, before, error, sent);
        assert_eq!(error.name(), name);
    }
}

#[test]
fn a_fault_in_a_header_is_the_same_when_all_lies_in_one_read() {
    for (frames, before, error, sent, _) in FAULTS {
        for mut ws in both() {
            // Behind the fault stands what would be an event.
            let mut stream = frames.to_vec();
            stream.push("81 01 61");
            let mut expected = before.to_vec();
            expected.push(Error(*error));
            let stream: Vec<u8> = stream.iter().flat_map(|frame| ws.written(frame)).collect();
            assert_eq!(ws.events([stream]), expected);
            assert_eq!(ws.answer(), *sent);
            ws.has_failed(*error);
        }
    }
}

#[test]
fn a_frame_without_the_mask_of_a_client_is_refused() {
    for frame in ["81 05", "89 00", "88 00", "01 00"] {
        let mut ws = server();
        assert_eq!(ws.frames(["81 01 61"]), [Text("a")]);
        assert_eq!(ws.events([frame]), [Error(Unmasked)]);
        assert_eq!(ws.sent(), "88 02 03 ea");
        ws.has_failed(Unmasked);
    }
    assert_eq!(Unmasked.name(), "WS_ERR_EXPECTED_MASK");
}

#[test]
fn a_masked_frame_of_a_server_is_refused() {
    for frame in [
        "81 85 37 fa 21 3d",
        "89 80 00 00 00 00",
        "88 80 00 00 00 00",
    ] {
        let mut ws = client();
        assert_eq!(ws.frames(["81 01 61"]), [Text("a")]);
        assert_eq!(ws.events([frame]), [Error(Masked)]);
        assert_eq!(ws.answer(), "88 02 03 ea");
        ws.has_failed(Masked);
    }
    assert_eq!(Masked.name(), "WS_ERR_UNEXPECTED_MASK");
}

/// The rules of §5.1 to §5.5 that an empty frame breaks, spelled out one by one.
fn broken(first: u8, mask_is_right: bool, server: bool, midway: bool) -> Vec<ProtocolError> {
    let (fin, opcode) = (first >= 0x80, first % 0x10);
    let mut broken = Vec::new();
    if first & 0x40 != 0 && first & 0x30 == 0 {
        broken.push(Rsv1);
    }
    if first & 0x30 != 0 {
        broken.push(Rsv2Or3);
    }
    if ![0, 1, 2, 8, 9, 10].contains(&opcode) {
        broken.push(Opcode(opcode));
    }
    if opcode >= 8 && !fin {
        broken.push(FragmentedControl);
    }
    if opcode == 0 && !midway {
        broken.push(LoneContinuation);
    }
    if (opcode == 1 || opcode == 2) && midway {
        broken.push(InterruptedMessage);
    }
    if !mask_is_right {
        broken.push(if server { Unmasked } else { Masked });
    }
    broken
}

#[test]
fn every_first_byte_is_taken_or_refused_as_the_rules_say() {
    for first in 0..=u8::MAX {
        for (right, midway, is_server) in (0..8).map(|n| (n & 1 == 0, n & 2 == 0, n & 4 == 0)) {
            let mut ws = if is_server { server() } else { client() };
            if midway {
                assert_eq!(ws.frames(["01 01 61"]), NOTHING);
            }
            let bytes = if right == is_server {
                vec![first, 0x80, 1, 2, 3, 4]
            } else {
                vec![first, 0]
            };
            let seen = ws.events([bytes]);
            let broken = broken(first, right, is_server, midway);
            match &seen[..] {
                [Error(error)] => assert!(broken.contains(error), "{first:#x}: {error}"),
                other => {
                    assert!(broken.is_empty(), "{first:#x} breaks {broken:?}: {other:?}");
                    let expected = match first {
                        0x80 => vec![Text("a")],
                        0x81 => vec![Text("")],
                        0x82 => vec![Binary("")],
                        0x88 => vec![CloseEmpty],
                        0x89 => vec![Ping("")],
                        0x8a => vec![Pong("")],
                        _ => vec![],
                    };
                    assert_eq!(seen, expected, "{first:#x}");
                }
            }
        }
    }
}

#[test]
fn a_fault_in_a_header_is_found_when_its_bytes_come_one_by_one() {
    for &(frames, before, error, ..) in FAULTS {
        for mut ws in both() {
            let (last, first) = frames.split_last().unwrap();
            assert_eq!(ws.frames(first.iter().copied()), before);
            ws.answer();
            let bytes = ws.written(last);
            let bytes = bytes.into_iter().map(|byte| vec![byte]);
            assert_eq!(ws.events(bytes), [Error(error)]);
            ws.has_failed(error);
        }
    }
}

#[test]
fn every_length_around_the_edges_makes_the_round_trip() {
    let limits = Limits::default();
    for edge in [0, 125, 126, LINK, 65535, 65536, 2 * 65536] {
        for len in edge.max(2) - 2..edge + 3 {
            let text: String = ('a'..='z').cycle().take(len).collect();
            let bytes: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
            for message in [Message::from(text), Message::from(bytes)] {
                let mut pair = Pair::new(&limits);
                pair.client.send(message.clone()).unwrap();
                pair.server.send(message.clone()).unwrap();
                let borrowed = match &message {
                    Message::Text(text) => MessageRef::Text(text.as_str()),
                    Message::Binary(bytes) => MessageRef::Binary(bytes),
                };
                pair.client.send_ref(borrowed).unwrap();
                pair.server.send_ref(borrowed).unwrap();
                let hex = hex(message.as_bytes());
                let seen = message.as_text().map_or(Binary(&*hex), Text);
                for saw in pair.run() {
                    assert_eq!(saw, [seen.clone(), seen.clone()], "{len}");
                }
            }
        }
    }
}

thread_local! {
    static NEXT_KEY: Cell<u32> = const { Cell::new(1) };
}

fn counted_key() -> [u8; 4] {
    NEXT_KEY.replace(NEXT_KEY.get() + 1).to_be_bytes()
}

#[test]
fn a_client_asks_for_a_fresh_key_for_every_frame() {
    let mut ws = Connection::new(Role::Client(counted_key), Limits::default());
    ws.send("a".into()).unwrap();
    ws.send_ref(MessageRef::Binary(b"b")).unwrap();
    ws.ping(b"c").unwrap();
    ws.pong(b"").unwrap();
    ws.close(None);
    let mut slices = [IoSlice::new(&[]); 8];
    let count = ws.outbox().slices(&mut slices);
    assert_eq!(
        hex(&joined(&slices[..count])),
        "81 81 00 00 00 01 61 82 81 00 00 00 02 62 89 81 00 00 00 03 63 \
         8a 80 00 00 00 04 88 80 00 00 00 05"
    );
}

#[test]
fn a_large_payload_is_linked_by_a_server_and_masked_by_a_client() {
    let message = Message::from(vec![0x11; LINK]);
    let at = message.as_bytes().as_ptr();
    let mut ws = server();
    ws.conn.send(message.clone()).unwrap();
    let mut slices = [IoSlice::new(&[]); 8];
    assert_eq!(ws.conn.outbox().slices(&mut slices), 2);
    assert_eq!(&*slices[0], header(0x82, LINK as u64));
    assert_eq!(slices[1].as_ptr(), at, "the payload is not copied");
    assert_eq!(slices[1].len(), LINK);

    let mut ws = client();
    ws.conn.send(message.clone()).unwrap();
    let mut slices = [IoSlice::new(&[]); 8];
    assert_eq!(ws.conn.outbox().slices(&mut slices), 1);
    let (sent, plain) = (slices[0].to_vec(), message.as_bytes());
    let (parsed, size) = Header::decode(&sent).unwrap().unwrap();
    assert_eq!(
        (parsed.opcode, parsed.len),
        (frame::Opcode::Binary, LINK as u64)
    );
    assert_eq!(parsed.mask, Some(Mask::new(KEY)));
    for (i, byte) in sent[size..].iter().enumerate() {
        assert_eq!(byte ^ KEY[i % 4], plain[i]);
    }
}

#[test]
fn a_fault_in_the_payload_of_a_close_is_answered() {
    for (payload, error, sent) in [
        ("88 02 03 e7", CloseCode(999), "88 02 03 ea"),
        ("88 02 03 ed", CloseCode(1005), "88 02 03 ea"),
        ("88 03 03 e8 ff", InvalidUtf8, "88 02 03 ef"),
        ("88 04 03 e8 c3 28", InvalidUtf8, "88 02 03 ef"),
        ("88 04 03 e8 e2 82", InvalidUtf8, "88 02 03 ef"),
    ] {
        refused(&["81 01 61", payload], &[Text("a")], error, sent);
    }
    assert_eq!(CloseCode(999).name(), "WS_ERR_INVALID_CLOSE_CODE");
    assert_eq!(InvalidUtf8.name(), "WS_ERR_INVALID_UTF8");
}

#[test]
fn a_key_of_zeros_is_a_key() {
    let mut ws = server();
    assert_eq!(ws.events(["81 82 00 00 00 00 68 69"]), [Text("hi")]);
    assert_eq!(ws.events(["88 82 00 00 00 00 03 e8"]), [Close(1000, "")]);
}

#[test]
fn a_fault_after_our_own_close_adds_no_second_close() {
    for mut ws in both() {
        ws.conn.close(None);
        assert_eq!(ws.answer(), "88 00");
        refused_by(ws, &["81 01 61", "83 00"], &[Text("a")], Opcode(3), "");
    }
}

#[test]
fn a_fault_comes_behind_a_large_frame_that_was_wholly_delivered() {
    let payload = vec![b'x'; 300_000];
    let text = String::from_utf8(payload.clone()).unwrap();
    let frames = [frame(0x81, &payload), unhex("83 00")];
    refused(&frames, &[Text(&text)], Opcode(3), "88 02 03 ea");
}

#[test]
fn behind_a_large_message_a_little_is_asked_for_first_so_that_the_next_need_not_be_copied() {
    let mut ws = server();
    ws.conn.lend_inbox(Vec::with_capacity(256 << 10));
    assert_eq!(ws.conn.inbox().remaining_mut(), 256 << 10);
    assert_eq!(ws.frames([frame(0x82, &vec![7; 511 << 10])]).len(), 1);
    assert_eq!(ws.conn.inbox().remaining_mut(), 256 << 10);
    let large = frame(0x82, &vec![7; 600 << 10]);
    for _ in 0..2 {
        assert_eq!(ws.frames([large.clone()]).len(), 1);
        assert_eq!(ws.conn.inbox().remaining_mut(), 16 << 10);
    }
    assert_eq!(ws.frames([frame(0x82, b"small")]).len(), 1);
    assert_eq!(ws.conn.inbox().remaining_mut(), 256 << 10);
}

#[test]
fn what_is_plain_comes_at_once_and_all_else_is_left_for_next() {
    for mut ws in both() {
        assert!(ws.conn.is_at_rest());
        let plain = [ws.written(&"81 01 61"), ws.written(&"82 01 62")].concat();
        let rest = [
            ws.written(&"89 00"),
            ws.written(&"01 01 63"),
            ws.written(&"81 01 64"),
        ]
        .concat();
        ws.conn.inbox().put_slice(&[&plain[..], &rest].concat());
        assert!(!ws.conn.is_at_rest());
        assert_eq!(ws.conn.next_plain(), Some("a".into()));
        assert_eq!(ws.conn.next_plain(), Some(b"b".into()));
        assert_eq!((ws.conn.next_plain(), ws.conn.unread()), (None, rest.len()));
        assert_eq!(
            ws.events(["00"]),
            [Ping(""), Error(ProtocolError::InterruptedMessage)]
        );
        assert_eq!((ws.conn.next_plain(), ws.conn.is_at_rest()), (None, true));
    }
}

#[test]
fn plain_is_a_whole_message_of_at_most_8_kib_in_its_shortest_form() {
    let long = |len| frame(0x82, &vec![7; len]);
    let mut fragment = long(1);
    fragment[0] = 0x02;
    for (bytes, plain) in [
        (long(0), true),
        (long(125), true),
        (long(126), true),
        (long(8 << 10), true),
        (long((8 << 10) + 1), false),
        ([&[0x82, 126, 0, 125][..], &[7; 125]].concat(), false),
        (fragment, false),
        (frame(0x82, b"\xff"), true),
        (frame(0x81, b"\xff"), false),
    ] {
        for mut ws in both() {
            let bytes = ws.written(&bytes);
            ws.conn.lend_inbox(Vec::with_capacity(bytes.len()));
            let (last, front) = bytes.split_last().unwrap();
            ws.conn.inbox().put_slice(front);
            assert_eq!(ws.conn.next_plain(), None);
            ws.conn.inbox().put_slice(&[*last]);
            let found = ws.conn.next_plain();
            assert_eq!(found.is_some(), plain, "{:x?}", &bytes[..4]);
            assert_eq!(ws.conn.unread(), if plain { 0 } else { bytes.len() });
        }
    }
}

#[test]
fn a_client_takes_its_keys_from_another_source_and_a_server_needs_none() {
    for mut ws in both() {
        ws.conn.set_mask_source(|| [0; 4]);
        ws.conn.send("a".into()).unwrap();
        let expected = if ws.is_server() {
            "81 01 61"
        } else {
            "81 81 00 00 00 00 61"
        };
        assert_eq!(ws.sent(), expected);
    }
}

#[test]
fn nothing_is_owed_between_messages_and_behind_a_close() {
    for mut ws in both() {
        let [front, rest, next, close, noise] =
            ["01 01 61", "80 01 62", "81 01 63", "88 00", "81 01 64"].map(|hex| ws.written(&hex));
        ws.conn.inbox().put_slice(&front);
        assert_eq!(ws.conn.next_owned(), Ok(None));
        assert!(ws.conn.is_midway());
        ws.conn
            .inbox()
            .put_slice(&[rest, next, close, noise].concat());
        let message = |text: &str| Ok(Some(Event::Message(text.into())));
        assert_eq!(ws.conn.next_owned(), message("ab"));
        assert!(!ws.conn.is_at_rest());
        assert_eq!(ws.conn.next_owned(), message("c"));
        assert_eq!(ws.conn.next_owned(), Ok(Some(Event::Close(None))));
        assert!(!ws.conn.is_midway());
    }
    for mut ws in both() {
        let frames = ["01 01 61", "80 01 62", "81 01 63"].map(|hex| ws.written(&hex));
        ws.conn.inbox().put_slice(&frames.concat());
        for text in ["ab", "c"] {
            assert_eq!(ws.conn.next_owned(), Ok(Some(Event::Message(text.into()))));
        }
        assert!(!ws.conn.is_midway());
    }
}

#[test]
fn a_read_buffer_that_was_lent_comes_back_and_what_is_unread_stays() {
    for mut ws in both() {
        let (whole, half) = (ws.written(&"81 01 61"), ws.written(&"81 02 62"));
        ws.conn.lend_inbox(Vec::with_capacity(1 << 10));
        ws.conn.inbox().put_slice(&[&whole[..], &half].concat());
        assert_eq!(ws.conn.next_plain(), Some("a".into()));
        let room = (1 << 10) - whole.len() - half.len();
        assert_eq!(ws.conn.inbox().remaining_mut(), room);
        let buffer = ws.conn.reclaim_inbox();
        assert!(buffer.capacity() >= 1 << 10);
        assert_eq!(ws.conn.unread(), half.len());
        ws.conn.lend_inbox(buffer);
        assert_eq!(ws.conn.unread(), half.len());
        assert!(ws.conn.reclaim_inbox().capacity() >= 1 << 10);
        let last = ws.written(&"81 02 62 62")[half.len()];
        ws.conn.inbox().put_slice(&[last]);
        assert_eq!(ws.conn.next_plain(), Some("bb".into()));
        assert!(!ws.conn.reclaim_inbox().is_empty());
        assert_eq!(ws.conn.unread(), 0);
    }
}

#[test]
fn a_full_read_buffer_makes_room_though_nobody_takes_what_is_in_it() {
    for mut ws in both() {
        let hello = ws.written(&frame(0x81, &[b'x'; 100]));
        let stream = hello.repeat(100);
        ws.conn.lend_inbox(Vec::with_capacity(4 << 10));
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let mut inbox = ws.conn.inbox();
            let room = rest.len().min(inbox.remaining_mut());
            assert!(room > 0, "{} are left", rest.len());
            inbox.put_slice(&rest[..room]);
            rest = &rest[room..];
        }
        assert_eq!(ws.conn.unread(), stream.len());
        let taken = std::iter::from_fn(|| ws.conn.next_plain()).count();
        assert_eq!((taken, ws.conn.unread()), (100, 0));
    }
}

/// What a payload misses, when it is read into a buffer of its own.
const DIRECT: usize = 128 << 10;

/// An end that has a read buffer of 1 KiB, and the header of a frame.
fn deep_in(mut ws: Ws, len: usize) -> Ws {
    let header = ws.written(&header(0x82, len as u64));
    ws.conn.lend_inbox(Vec::with_capacity(1 << 10));
    ws.conn.inbox().put_slice(&header);
    assert_eq!(ws.conn.next_owned(), Ok(None));
    ws
}

#[test]
fn deep_in_a_large_payload_the_transport_is_read_into_the_buffer_of_the_message() {
    for (len, direct) in [(DIRECT - 1, false), (DIRECT, true), (DIRECT + 1, true)] {
        for ws in both() {
            let mut ws = deep_in(ws, len);
            let room = ws.conn.inbox().remaining_mut();
            assert_eq!(room > 1 << 10, direct, "{len}: {room}");
        }
    }
}

#[test]
fn what_was_read_into_the_buffer_of_the_message_is_no_longer_missing() {
    for ws in both() {
        let mut ws = deep_in(ws, 1 << 20);
        let room = ws.conn.inbox().remaining_mut();
        assert!((64 << 10..=1 << 20).contains(&room), "{room}");
        ws.conn.inbox().put_slice(&[7; 10]);
        assert_eq!(ws.conn.inbox().remaining_mut(), room - 10);
    }
    for ws in both() {
        let mut ws = deep_in(ws, DIRECT + 5);
        let payload = ws.written(&frame(0x82, &[7; DIRECT + 5])).split_off(10);
        let payload = &payload[payload.len() - (DIRECT + 5)..];
        let (first, rest) = payload.split_at(10);
        ws.conn.inbox().put_slice(first);
        // So little is missing now that it passes through the read buffer.
        assert_eq!(ws.conn.inbox().remaining_mut(), 1 << 10);
        let seen = ws.events(rest.chunks(1000).map(<[u8]>::to_vec));
        assert_eq!(seen, [Binary(&*hex(&[7; DIRECT + 5]))]);
    }
}
