//! Compressed messages (RFC 7692): each way, in any cut, with every choice.

use hybi_proto::connection::{Done, Job, State};
use hybi_proto::deflate::{Deflate, Params, Strategy as Search};
use hybi_proto::error::ProtocolError;
use hybi_proto::limits::Limits;
use hybi_proto::message::{Event, Kind, Message, MessageRef, SendOptions};
use hybi_proto::prepared::Prepared;
use hybi_proto::queue::{Item, Overflow};
use proptest::prelude::*;

use crate::support::hex::Seen::{self, Binary, Error, Text};
use crate::support::hex::{
    NOTHING, Ws, both, client, client_with, header, hex, server, server_with,
};
use crate::support::inflate::Reference;

fn all() -> Deflate {
    Deflate::new().threshold(0)
}

fn deflating(mut ws: Ws, deflate: &Deflate) -> Ws {
    ws.conn.set_deflate(deflate, Params::default());
    ws
}

/// The examples of RFC 7692 §7.2.3, from .1 to .5, as frames without a mask.
#[test]
fn the_examples_of_the_rfc_are_understood() {
    let examples: [&[&str]; 5] = [
        &["c1 07 f2 48 cd c9 c9 07 00"],
        &["41 03 f2 48 cd", "80 04 c9 c9 07 00"],
        &["c1 0b 00 05 00 fa ff 48 65 6c 6c 6f 00"],
        &["c1 08 f3 48 cd c9 c9 07 00 00"],
        &["c1 0d f2 48 05 00 00 00 ff ff ca c9 c9 07 00"],
    ];
    for ws in both() {
        let mut ws = deflating(ws, &all());
        for frames in examples {
            assert_eq!(ws.frames(frames.iter().copied()), [Text("Hello")]);
        }
        assert_eq!(ws.frames(["c1 07 f2 48 cd c9 c9 07 00"]), [Text("Hello")]);
        // §7.2.3.2: the second one refers back to the first.
        assert_eq!(ws.frames(["c1 05 f2 00 11 00 00"]), [Text("Hello")]);
        // §7.2.3.6: an empty one.
        assert_eq!(ws.frames(["c1 01 00"]), [Text("")]);
    }
}

#[test]
fn what_is_sent_is_as_in_the_examples_of_the_rfc() {
    let mut ws = deflating(server(), &all().level(9));
    for frame in ["c1 07 f2 48 cd c9 c9 07 00", "c1 05 f2 00 11 00 00"] {
        ws.conn.send("Hello".into()).unwrap();
        assert_eq!(ws.sent(), frame);
    }
    ws.conn.send("".into()).unwrap();
    assert_eq!(ws.sent(), "c1 01 00");
    let alone = all().level(9).server_no_context_takeover(true);
    let mut params = Params::default();
    params.server_no_context_takeover = true;
    let mut ws = server();
    ws.conn.set_deflate(&alone, params);
    for _ in 0..3 {
        ws.conn.send("Hello".into()).unwrap();
        assert_eq!(ws.sent(), "c1 07 f2 48 cd c9 c9 07 00");
    }
}

#[test]
fn a_message_below_the_threshold_is_sent_as_it_is() {
    let mut ws = deflating(server(), &all().threshold(6));
    ws.conn.send("Hello".into()).unwrap();
    assert_eq!(ws.sent(), "81 05 48 65 6c 6c 6f");
    ws.conn.send("Hello!".into()).unwrap();
    assert_eq!(ws.sent_bytes()[0], 0xc1);
}

#[test]
fn a_message_that_is_not_to_be_compressed_is_not() {
    let mut ws = deflating(server(), &all());
    let plain = SendOptions::new().compress(false);
    ws.conn.send_over(Item::new("Hello", plain)).unwrap();
    assert_eq!(ws.sent(), "81 05 48 65 6c 6c 6f");
    ws.conn.begin_with(Kind::Text, plain).unwrap();
    ws.conn.send_part("Hello".into()).unwrap();
    ws.conn.finish().unwrap();
    assert_eq!(ws.sent(), "01 05 48 65 6c 6c 6f 80 00");
}

#[test]
fn the_first_part_of_a_message_decides_for_all() {
    let mut ws = deflating(server(), &Deflate::new().threshold(4));
    for (first, byte) in [("no", 0x01), ("yes!", 0x41)] {
        ws.conn.begin(Kind::Text).unwrap();
        ws.conn.send_part(first.into()).unwrap();
        assert_eq!(ws.sent_bytes()[0], byte);
        ws.conn.send_part("more of it".into()).unwrap();
        assert_eq!(ws.sent_bytes()[0], 0x00, "RSV1 is for the first frame");
        ws.conn.finish().unwrap();
        assert_eq!(ws.sent_bytes()[0], 0x80);
    }
}

#[test]
fn a_client_that_was_told_to_use_8_bits_sends_as_it_is() {
    let mut ws = client();
    let mut params = Params::default();
    params.client_max_window_bits = Some(8);
    ws.conn.set_deflate(&all(), params);
    ws.conn.send("Hello".into()).unwrap();
    assert_eq!(ws.sent_bytes()[0], 0x81);
    assert_eq!(ws.frames(["c1 07 f2 48 cd c9 c9 07 00"]), [Text("Hello")]);
}

#[test]
fn rsv1_is_for_the_first_frame_of_a_message_and_where_it_was_agreed_on() {
    let wrong: [&[&str]; 5] = [
        &["41 03 f2 48 cd", "c0 04 c9 c9 07 00"],
        &["01 01 61", "c0 01 00"],
        &["c9 00"],
        &["ca 01 61"],
        &["c8 02 03 e8"],
    ];
    for frames in wrong {
        for ws in both() {
            let mut ws = deflating(ws, &all());
            assert_eq!(
                ws.frames(frames.iter().copied()),
                [Error(ProtocolError::Rsv1)]
            );
        }
    }
    for mut ws in both() {
        assert_eq!(ws.frames(["c1 01 00"]), [Error(ProtocolError::Rsv1)]);
    }
    for ws in both() {
        let mut ws = deflating(ws, &all());
        assert_eq!(ws.frames(["e1 01 00"]), [Error(ProtocolError::Rsv2Or3)]);
    }
}

#[test]
fn what_is_not_deflate_is_answered_1007() {
    // A reserved type of block, a stored one whose lengths disagree, a reference to nothing.
    for payload in ["07", "00 05 00 00 00 61", "f2 00 11 00 00"] {
        let len = payload.len().div_ceil(3);
        for ws in both() {
            let mut ws = deflating(ws, &all());
            let seen = ws.frames([format!("c2 {len:02x} {payload}")]);
            assert_eq!(seen, [Error(ProtocolError::InvalidDeflate)], "{payload}");
        }
    }
}

#[test]
fn text_is_checked_when_it_is_inflated() {
    for (payload, whole) in [("c3 bc", true), ("c3", false), ("ff", false)] {
        let mut from = deflating(client(), &all());
        let bytes = payload
            .split(' ')
            .map(|b| u8::from_str_radix(b, 16).unwrap());
        from.conn.send(Message::Binary(bytes.collect())).unwrap();
        let mut frame = from.sent_bytes();
        frame[0] = 0xc1;
        let mut to = deflating(server(), &all());
        let seen = to.events([frame]);
        if whole {
            assert_eq!(seen, [Text("ü")]);
        } else {
            assert_eq!(seen, [Error(ProtocolError::InvalidUtf8)]);
        }
    }
}

#[test]
fn a_final_block_ends_a_stream_and_no_connection() {
    let mut ws = deflating(server(), &all());
    // With and without the octet that RFC 7692 §7.2.3.4 puts behind it, and twice in one message.
    for frame in [
        "c1 08 f3 48 cd c9 c9 07 00 00",
        "c1 07 f3 48 cd c9 c9 07 00",
        "c1 07 f2 48 cd c9 c9 07 00",
    ] {
        assert_eq!(ws.frames([frame]), [Text("Hello")]);
    }
    let twice = "c1 0e f3 48 cd c9 c9 07 00 f3 48 cd c9 c9 07 00";
    assert_eq!(ws.frames([twice]), [Text("HelloHello")]);
}

#[test]
fn a_truncated_message_gives_what_it_holds_and_leaves_the_next_one_alone() {
    let mut ws = deflating(server(), &all());
    assert_eq!(ws.frames(["c2 03 f2 48 cd"]).len(), 1);
    assert_eq!(ws.frames(["c1 07 f2 48 cd c9 c9 07 00"]), [Text("Hello")]);
}

fn zeros(len: usize) -> Vec<u8> {
    let mut ws = deflating(client(), &all());
    ws.conn
        .send(Message::Binary(vec![0; len].into()))
        .expect("room");
    ws.sent_bytes()
}

#[test]
#[cfg_attr(miri, ignore)]
fn what_inflates_to_more_than_the_limit_is_answered_1009() {
    let mut limits = Limits::default();
    limits.message = Some(1 << 20);
    for (len, most) in [(1 << 20, true), ((1 << 20) + 1, false), (64 << 20, false)] {
        let mut to = deflating(server_with(limits.clone()), &all());
        let bytes = zeros(len);
        let seen = to.events([bytes]);
        match most {
            true => assert!(matches!(&seen[..], [Binary(_)])),
            false => {
                let limit = 1 << 20;
                assert_eq!(seen, [Error(ProtocolError::MessageTooBig { limit })]);
            }
        }
    }
}

#[test]
fn what_inflates_to_more_than_the_ratio_is_answered_1009() {
    let deflate = all().max_ratio(10);
    for (len, right) in [(4 << 10, true), (64 << 10, false)] {
        let mut to = deflating(server(), &deflate);
        let seen = to.events([zeros(len)]);
        if right {
            assert!(matches!(&seen[..], [Binary(_)]));
        } else {
            let ratio = 10;
            assert_eq!(seen, [Error(ProtocolError::InflatesTooMuch { ratio })]);
        }
    }
}

#[test]
fn a_message_that_announces_more_than_twice_the_limit_is_refused_at_once() {
    let mut limits = Limits::default();
    limits.message = Some(100);
    let mut ws = deflating(client_with(limits), &all());
    let limit = 100;
    assert_eq!(
        ws.frames(["c2 7e 00 ff"]),
        [Error(ProtocolError::MessageTooBig { limit })]
    );
}

#[test]
fn a_prepared_message_is_compressed_once_and_the_window_begins_anew() {
    let prepared = Prepared::text("Hello");
    let mut ws = deflating(server(), &all().level(9));
    let mut peer = deflating(client(), &all().level(9));
    let mut say = |ws: &mut Ws, seen: &str| {
        let bytes = ws.sent_bytes();
        assert_eq!(hex(&bytes), seen);
        assert_eq!(peer.events([bytes]), [Text("Hello")]);
    };
    ws.conn.send("Hello".into()).unwrap();
    say(&mut ws, "c1 07 f2 48 cd c9 c9 07 00");
    ws.conn.send_over(&prepared).unwrap();
    say(&mut ws, "c1 07 f2 48 cd c9 c9 07 00");
    ws.conn.send("Hello".into()).unwrap();
    say(&mut ws, "c1 07 f2 48 cd c9 c9 07 00");
    ws.conn.send("Hello".into()).unwrap();
    say(&mut ws, "c1 05 f2 00 11 00 00");
}

#[test]
fn parts_of_a_compressed_message_are_seen_as_they_come() {
    let mut from = deflating(server(), &all());
    let mut to = deflating(client(), &all());
    from.conn.begin(Kind::Text).unwrap();
    for text in ["grüße", " und ", "mehr"] {
        from.conn.send_part(text.into()).unwrap();
        let bytes = from.sent_bytes();
        let mut inbox = to.conn.inbox();
        bytes::BufMut::put_slice(&mut inbox, &bytes);
        let Ok(Some(Event::Part(part))) = to.conn.next_part() else {
            panic!("a part has come");
        };
        assert_eq!((&part.bytes[..], part.last), (text.as_bytes(), false));
    }
}

#[test]
fn a_fault_in_a_part_is_found_by_who_reads_in_parts() {
    let mut to = deflating(client(), &all());
    let mut inbox = to.conn.inbox();
    bytes::BufMut::put_slice(&mut inbox, b"\x42\x01\x07");
    assert_eq!(to.conn.next_part(), Err(ProtocolError::InvalidDeflate));
    assert_eq!(to.sent(), "88 82 37 fa 21 3d 34 15");
    assert_eq!(to.events(["00 00"]), NOTHING);
}

/// What is sent, and how.
#[derive(Clone, Debug)]
enum Op {
    Send(Vec<u8>),
    Plain(Vec<u8>),
    Prepared(Vec<u8>),
    Parts(Vec<Vec<u8>>),
    Abandon,
    Flush,
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => "[a-e ]{0,60}".prop_map(String::into_bytes),
        2 => proptest::collection::vec(any::<u8>(), 0..300),
        1 => (0..40_000_usize, any::<u8>()).prop_map(|(len, seed)| {
            let word = |at: usize| (at * at / 7) as u8 ^ seed;
            (0..len).map(word).collect()
        }),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => payload().prop_map(Op::Send),
        2 => payload().prop_map(Op::Plain),
        2 => payload().prop_map(Op::Prepared),
        2 => proptest::collection::vec(payload(), 0..4).prop_map(Op::Parts),
        1 => Just(Op::Abandon),
        2 => Just(Op::Flush),
    ];
    proptest::collection::vec(op, 1..12)
}

prop_compose! {
    fn choice()(
        level in 0..=9_u8,
        strategy in prop::sample::select(vec![
            Search::Default, Search::Filtered, Search::HuffmanOnly, Search::Rle, Search::Fixed,
        ]),
        mem_level in 1..=9_u8,
        bits in (9..=15_u8, 8..=15_u8),
        alone in (any::<bool>(), any::<bool>()),
        threshold in prop_oneof![Just(0_usize), 0..200_usize],
    ) -> (Deflate, Params) {
        let deflate = Deflate::new()
            .level(level)
            .strategy(strategy)
            .mem_level(mem_level)
            .threshold(threshold);
        let mut params = Params::default();
        params.server_max_window_bits = Some(bits.0);
        params.client_max_window_bits = Some(bits.1);
        params.server_no_context_takeover = alone.0;
        params.client_no_context_takeover = alone.1;
        (deflate.client_max_window_bits(15), params)
    }
}

/// Says it all, with the jobs of a connection done later, or elsewhere, or never for what was given
/// up; gives back what the peer has to see.
fn say(ws: &mut Ws, ops: Vec<Op>, out: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let mut expected = Vec::new();
    let finish = |ws: &mut Ws, out: &mut Vec<u8>| {
        loop {
            out.extend(ws.sent_bytes());
            let Some(job) = ws.conn.take_job() else { break };
            let done = std::thread::spawn(|| Job::run(job)).join().expect("room");
            ws.conn.finish_job(done);
        }
    };
    let mut lost: Vec<Done> = Vec::new();
    for op in ops {
        match op {
            Op::Send(bytes) => {
                let message = MessageRef::Binary(&bytes);
                while ws.conn.send_ref(message).is_err() {
                    finish(ws, out);
                }
                expected.push(bytes);
            }
            Op::Plain(bytes) => {
                let plain = SendOptions::new().compress(false);
                ws.conn
                    .send_over(Item::new(bytes.clone(), plain))
                    .expect("room");
                expected.push(bytes);
            }
            Op::Prepared(bytes) => {
                ws.conn
                    .send_over(Prepared::new(bytes.clone()))
                    .expect("room");
                expected.push(bytes);
            }
            Op::Parts(parts) => {
                finish(ws, out);
                ws.conn.begin(Kind::Binary).expect("room");
                for part in &parts {
                    ws.conn.send_part(part.clone().into()).expect("room");
                    finish(ws, out);
                }
                ws.conn.finish().expect("room");
                expected.push(parts.concat());
            }
            Op::Abandon => {
                finish(ws, out);
                ws.conn.begin(Kind::Binary).expect("room");
                // Long enough for a job, and given up while that is out, or was done too late.
                ws.conn.send_part(vec![b'x'; 5000].into()).expect("room");
                if let Some(job) = ws.conn.take_job() {
                    lost.push(job.run());
                    ws.conn.abandon();
                } else {
                    finish(ws, out);
                    ws.conn.finish().expect("room");
                    expected.push(vec![b'x'; 5000]);
                }
                lost.drain(..).for_each(|done| ws.conn.finish_job(done));
            }
            Op::Flush => finish(ws, out),
        }
    }
    finish(ws, out);
    expected
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 0 } else { 256 }))]

    #[test]
    fn what_is_said_arrives_whatever_was_chosen(
        (deflate, params) in choice(),
        jobs in prop::option::of(0..4000_usize),
        ops in ops(),
        cuts in proptest::collection::vec(1..2000_usize, 1..10),
        server_speaks in any::<bool>(),
        in_parts in any::<bool>(),
    ) {
        let (mut from, mut to) = if server_speaks {
            (server(), client())
        } else {
            (client(), server())
        };
        from.conn.set_deflate(&deflate, params);
        to.conn.set_deflate(&deflate, params);
        if let Some(size) = jobs {
            from.conn.set_job_size(size);
        }
        let mut bytes = Vec::new();
        let expected = say(&mut from, ops, &mut bytes);
        let mut rest = &bytes[..];
        let mut cuts = cuts.iter().cycle();
        let (mut seen, mut begun) = (Vec::new(), Vec::new());
        while !rest.is_empty() {
            let (piece, others) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            if in_parts {
                to.conn.lend_inbox(Vec::with_capacity(to.conn.unread() + piece.len()));
                bytes::BufMut::put_slice(&mut to.conn.inbox(), piece);
                while let Some(event) = to.conn.next_part().unwrap() {
                    let Event::Part(part) = event else { panic!("{event:?}") };
                    begun.extend(&part.bytes);
                    if part.last {
                        seen.push(Binary(hex(&std::mem::take(&mut begun))));
                    }
                }
            } else {
                seen.extend(to.events([piece.to_vec()]));
            }
            rest = others;
        }
        let expected: Vec<_> = expected.iter().map(|bytes| hex(bytes)).collect();
        let expected: Vec<_> = expected.iter().map(|hex| Binary(&hex[..])).collect();
        prop_assert_eq!(seen, expected);
    }
}

/// Has each connection agreed, with windows of `bits` each way.
fn narrow(mut ws: Ws, deflate: &Deflate, bits: u8) -> Ws {
    let mut params = Params::default();
    params.server_max_window_bits = Some(bits);
    params.client_max_window_bits = Some(bits);
    ws.conn.set_deflate(deflate, params);
    ws
}

/// A server that leaves all to jobs, and has said this.
fn with_jobs(said: &str) -> Ws {
    let mut ws = deflating(server(), &all());
    ws.conn.set_job_size(0);
    ws.conn.send(said.into()).expect("room");
    let job = ws.conn.take_job().expect("all is long");
    ws.conn.finish_job(job.run());
    ws
}

#[test]
fn a_lost_job_closes_with_1011_and_nothing_follows_half_a_message() {
    let lost = "88 23 03 f3 61 20 6d 65 73 73 61 67 65 20 63 6f 75 6c 64 20 6e 6f 74 20 62 65 20 63 \
                6f 6d 70 72 65 73 73 65 64";
    for (half, queued, closing) in [
        (false, false, false),
        (false, true, false),
        (true, true, false),
        (false, true, true),
        (false, false, true),
    ] {
        let mut ws = with_jobs("before");
        if half {
            ws.conn.begin(Kind::Text).unwrap();
            ws.conn.send_part("half".into()).unwrap();
            let job = ws.conn.take_job().unwrap();
            ws.conn.finish_job(job.run());
            ws.conn.send_part(" of it".into()).unwrap();
        } else {
            ws.conn.send("whole".into()).unwrap();
        }
        ws.sent_bytes();
        if queued {
            ws.conn
                .send_over(Item::new("plain", SendOptions::new().compress(false)))
                .unwrap();
        }
        if closing {
            ws.conn.close(None);
        }
        assert!(ws.conn.take_job().is_some());
        ws.conn.lose_job();
        assert_eq!(ws.sent(), lost, "{half} {queued} {closing}");
        assert_eq!(ws.conn.buffered(), 0);
        assert_eq!(ws.conn.dropped().closed, u64::from(queued));
        assert_eq!(ws.conn.state(), State::Closing);
    }
}

#[test]
fn a_job_that_nothing_waits_for_is_neither_taken_nor_counts() {
    for taken in [false, true] {
        let mut ws = with_jobs("before");
        ws.conn.begin(Kind::Text).unwrap();
        ws.conn.send_part("given up".into()).unwrap();
        let job = taken.then(|| ws.conn.take_job().unwrap());
        assert!(ws.conn.awaits_job());
        ws.conn.close(None);
        assert!(!ws.conn.awaits_job() && !ws.conn.has_job());
        if let Some(job) = job {
            ws.conn.finish_job(job.run());
        }
        ws.conn.lose_job();
        let bytes = ws.sent_bytes();
        let mut peer = deflating(client(), &all());
        let seen = peer.events([bytes]);
        assert_eq!(seen, [Text("before"), Seen::CloseEmpty]);
    }
}

#[test]
fn a_long_prepared_message_is_compressed_by_one_job_for_all() {
    let prepared = Prepared::text("to everyone");
    let mut wire = Vec::new();
    for first in [true, false] {
        let mut ws = with_jobs("before");
        ws.sent_bytes();
        ws.conn.send_over(&prepared).unwrap();
        assert_eq!(ws.conn.has_job(), first);
        if let Some(job) = ws.conn.take_job() {
            ws.conn.finish_job(job.run());
        }
        // It refers to nothing that was said, and nothing refers to it.
        ws.conn.send("to everyone".into()).unwrap();
        let job = ws.conn.take_job().unwrap();
        ws.conn.finish_job(job.run());
        let bytes = ws.sent_bytes();
        let mut peer = deflating(client(), &all());
        let twice = [Text("to everyone"), Text("to everyone")];
        assert_eq!(peer.events([bytes.clone()]), twice);
        wire.push(bytes);
    }
    assert_eq!(wire[0], wire[1]);
}

#[test]
fn what_was_compressed_and_given_up_is_not_referred_to() {
    let words: String = (0..2_000)
        .map(|n| format!("{} of {n}, ", n * n % 97))
        .collect();
    let (long, end) = (&words[..5_000], &words[4_100..5_000]);
    for closes in [false, true] {
        let mut ws = deflating(server(), &all());
        ws.conn.set_job_size(1_000);
        // So much waits to leave that what comes next is compressed and not framed.
        let plain = SendOptions::new().compress(false);
        ws.conn
            .send_over(Item::new(vec![7; 70_000], plain))
            .unwrap();
        ws.conn.begin(Kind::Text).unwrap();
        ws.conn.send_part(long.to_owned().into()).unwrap();
        let job = ws.conn.take_job().unwrap();
        ws.conn.finish_job(job.run());
        ws.conn.send_over(Message::from(end)).unwrap();
        if closes {
            ws.conn.close(None);
        } else {
            ws.conn.abandon();
        }
        let mut peer = deflating(client(), &all());
        let seen = peer.events([ws.sent_bytes()]);
        let (zeroth, expected) = (hex(&[7; 70_000]), [Text(end), Seen::CloseEmpty]);
        assert_eq!(seen[0], Binary(&zeroth[..]));
        assert_eq!(seen[1..], expected[..1 + usize::from(closes)]);
    }
}

#[test]
fn a_message_within_the_limit_may_come_in_fragments_of_one_byte() {
    for len in [1, 100, 10_000] {
        let mut limits = Limits::default();
        limits.message = Some(len);
        let mut from = deflating(server(), &all());
        let mut to = deflating(client_with(limits), &all());
        from.conn.begin(Kind::Binary).unwrap();
        let bytes: Vec<u8> = (0..len).map(|at| (at * at / 8) as u8 ^ at as u8).collect();
        for byte in bytes.chunks(1) {
            from.conn.send_part(byte.to_vec().into()).unwrap();
        }
        from.conn.finish().unwrap();
        let seen = to.events([from.sent_bytes()]);
        assert_eq!(seen, [Binary(&hex(&bytes)[..])]);
    }
}

#[test]
fn a_limit_of_nothing_and_one_of_all_there_is_are_kept() {
    for (limit, len, right) in [
        (Some(0), 0, true),
        (Some(0), 1, false),
        (Some(usize::MAX), 100_000, true),
        (None, 100_000, true),
    ] {
        let mut limits = Limits::default();
        limits.message = limit;
        let mut from = deflating(client(), &all());
        let mut to = deflating(server_with(limits), &all());
        from.conn
            .send(Message::Binary(vec![7; len].into()))
            .unwrap();
        let seen = to.events([from.sent_bytes()]);
        if right {
            assert_eq!(seen, [Binary(&hex(&vec![7; len])[..])]);
        } else {
            assert_eq!(seen, [Error(ProtocolError::MessageTooBig { limit: 0 })]);
        }
        let mut limits = Limits::default();
        limits.message = limit;
        let mut to = deflating(client_with(limits), &all());
        let claim = to.events([header(0xc2, isize::MAX as u64)]);
        assert_eq!(claim.len(), usize::from(limit == Some(0)));
    }
}

#[test]
fn what_inflates_to_the_steps_of_the_engine_comes_whole() {
    for len in [32_usize << 10, (32 << 10) + 1, 64 << 10, 96 << 10] {
        for alone in [false, true] {
            let bytes: Vec<u8> = (0..len).map(|at| (at / 3 * at) as u8).collect();
            let mut from = deflating(client(), &all().client_no_context_takeover(alone));
            let mut to = deflating(server(), &all());
            for _ in 0..3 {
                from.conn
                    .send(Message::Binary(bytes.clone().into()))
                    .unwrap();
                let sent = from.sent_bytes();
                assert_eq!(to.events([sent]), [Binary(&hex(&bytes)[..])]);
            }
        }
    }
}

#[test]
fn a_character_is_never_torn_by_a_step_of_the_engine() {
    let text = "\u{20ac}".repeat(40_000);
    let mut from = deflating(client(), &all());
    from.conn.send(text.as_str().into()).unwrap();
    let sent = from.sent_bytes();
    let mut to = deflating(server(), &all());
    assert_eq!(to.events([sent.clone()]), [Text(&text[..])]);
    let mut to = deflating(server(), &all());
    let mut seen = String::new();
    for byte in sent.chunks(7) {
        bytes::BufMut::put_slice(&mut to.conn.inbox(), byte);
        while let Ok(Some(Event::Part(part))) = to.conn.next_part() {
            seen.push_str(std::str::from_utf8(&part.bytes).unwrap());
        }
    }
    assert!(seen == text);
}

#[test]
fn a_final_block_may_end_in_any_fragment() {
    for frames in [
        &["41 07 f3 48 cd c9 c9 07 00", "80 01 00"][..],
        &["41 00", "00 07 f3 48 cd c9 c9 07 00", "00 00", "80 00"],
        &["41 03 f3 48 cd", "89 00", "00 03 c9 c9 07", "80 01 00"],
    ] {
        let mut ws = deflating(client(), &all());
        // What was said before is forgotten with the stream.
        assert_eq!(ws.frames(["c1 07 f2 48 cd c9 c9 07 00"]), [Text("Hello")]);
        let seen = ws.frames(frames.iter().copied());
        assert_eq!(seen[seen.len() - 1..], [Text("Hello")]);
        assert_eq!(ws.frames(["c1 07 f2 48 cd c9 c9 07 00"]), [Text("Hello")]);
    }
}

#[test]
fn a_message_of_which_the_rest_is_skipped_leaves_the_window_as_it_is_said() {
    let mut from = deflating(server(), &all());
    let mut to = deflating(client(), &all());
    from.conn.begin(Kind::Text).unwrap();
    from.conn.send_part("the first part of it,".into()).unwrap();
    bytes::BufMut::put_slice(&mut to.conn.inbox(), &from.sent_bytes());
    assert!(matches!(to.conn.next_part(), Ok(Some(Event::Part(_)))));
    to.conn.skip();
    from.conn
        .send_part(" the second part of it".into())
        .unwrap();
    from.conn.finish().unwrap();
    from.conn.send("the second part of it".into()).unwrap();
    let sent = from.sent_bytes();
    for piece in sent.chunks(3) {
        bytes::BufMut::put_slice(&mut to.conn.inbox(), piece);
        if let Some(event) = to.conn.next_owned().unwrap() {
            assert_eq!(Seen::from(event), Text("the second part of it"));
        }
    }
    assert_eq!(to.conn.messages_received(), 2);
}

/// The payload of a server's frame.
fn payload_of(frame: &[u8]) -> &[u8] {
    match frame[1] {
        126 => &frame[4..],
        127 => &frame[10..],
        _ => &frame[2..],
    }
}

#[test]
#[cfg_attr(miri, ignore)]
fn nothing_that_is_sent_looks_further_back_than_the_window() {
    let words = |seed: usize, len: usize| -> Vec<u8> {
        let word = |at: usize| format!("{} of {}, ", (at + seed) % 701, at * at % 97);
        let mut all: Vec<u8> = (0..len).flat_map(|at| word(at).into_bytes()).collect();
        all.truncate(len);
        all
    };
    for bits in 9..=15 {
        for level in [0, 1, 2, 3, 6, 9] {
            for jobs in [false, true] {
                let deflate = all().level(level).client_max_window_bits(15);
                let mut ws = narrow(server(), &deflate, bits);
                if jobs {
                    ws.conn.set_job_size(0);
                }
                let mut reference = Reference::default();
                for (seed, len) in [(0, 300), (1, 36_000), (0, 300), (2, 1_000)] {
                    let said = words(seed, len);
                    ws.conn.send(Message::Binary(said.clone().into())).unwrap();
                    if let Some(job) = ws.conn.take_job() {
                        ws.conn.finish_job(job.run());
                    }
                    let frame = ws.sent_bytes();
                    assert!(reference.message(payload_of(&frame)) == said);
                }
                assert!(
                    reference.furthest <= 1 << bits,
                    "{bits} bits, level {level}"
                );
                assert!(
                    level == 0 || reference.furthest > 1 << (bits - 2),
                    "{bits}, {level}"
                );
            }
        }
    }
}

#[test]
fn an_engine_of_another_thread_serves_as_well() {
    let mut from = deflating(server(), &all());
    let mut to = deflating(client(), &all());
    for n in 0..6 {
        let thread = std::thread::spawn(move || {
            if n == 3 {
                // A thread whose engines have served others, and one of whose tasks has panicked.
                let mut other = deflating(server(), &all());
                other.conn.send("quite another thing".into()).unwrap();
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| panic!("once")));
            }
            let text = format!("the same words, number {n}");
            from.conn.send(text.as_str().into()).unwrap();
            let sent = from.sent_bytes();
            assert_eq!(to.events([sent]), [Text(&text[..])]);
            (from, to)
        });
        (from, to) = thread.join().unwrap();
    }
}

#[test]
fn a_message_in_progress_goes_with_the_decoder_that_is_detached() {
    let mut ws = deflating(client(), &all());
    for frames in [
        &["41 03 f2 48 cd", "80 04 c9 c9 07 00"],
        &["41 03 f2 00 11", "80 02 00 00"],
    ] {
        assert_eq!(ws.frames([frames[0]]), NOTHING);
        let decoder = ws.conn.detach();
        assert_eq!(ws.conn.next(), Ok(None));
        ws.conn.attach(decoder);
        assert_eq!(ws.frames([frames[1]]), [Text("Hello")]);
    }
}

#[test]
fn parts_of_what_inflates_to_much_are_small_and_come_without_more_bytes() {
    let mut limits = Limits::default();
    limits.message = None;
    let frame = zeros(1 << 20);
    let mut fragments = vec![0x42];
    fragments.extend(&frame[1..]);
    fragments.extend([0x80, 0x80, 0, 0, 0, 0]);
    for bytes in [frame.clone(), fragments] {
        for skips in [false, true] {
            let mut to = deflating(server_with(limits.clone()), &all());
            let piece = [&bytes[..], &frame].concat();
            to.conn.lend_inbox(Vec::with_capacity(piece.len()));
            bytes::BufMut::put_slice(&mut to.conn.inbox(), &piece);
            let mut len = 0;
            loop {
                let Ok(Some(Event::Part(part))) = to.conn.next_part() else {
                    panic!("the rest has come");
                };
                let size = part.bytes.len();
                assert!(part.last || (64 << 10..96 << 10).contains(&size), "{size}");
                len += size;
                if skips || part.last {
                    break;
                }
            }
            if skips {
                to.conn.skip();
            } else {
                assert_eq!(len, 1 << 20);
            }
            let next = to.conn.next_owned();
            let Ok(Some(Event::Message(next))) = next else {
                panic!(
                    "the next one has come: {next:?}, {skips} {}",
                    to.conn.unread()
                );
            };
            assert_eq!(next.len(), 1 << 20);
            assert_eq!(to.conn.messages_received(), 2);
        }
        // Who skips goes on in parts.
        let mut to = deflating(server_with(limits.clone()), &all());
        let piece = [&bytes[..], b"\x81\x81\0\0\0\0a"].concat();
        to.conn.lend_inbox(Vec::with_capacity(piece.len()));
        bytes::BufMut::put_slice(&mut to.conn.inbox(), &piece);
        assert!(matches!(to.conn.next_part(), Ok(Some(Event::Part(_)))));
        to.conn.skip();
        let Ok(Some(Event::Part(part))) = to.conn.next_part() else {
            panic!("the next one has come");
        };
        assert_eq!((&part.bytes[..], part.last), (&b"a"[..], true));
    }
}

/// Noise between zeros: more than is inflated at once, and that inflates to much more than a part.
fn islands() -> Vec<u8> {
    let mut state = 1_u32;
    let mut noise = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..5)
        .flat_map(|_| {
            let island: Vec<u8> = (0..12_000).map(|_| noise()).collect();
            [island, vec![0; 300_000]]
        })
        .flatten()
        .collect()
}

#[test]
fn parts_are_of_one_size_and_give_what_was_sent_however_it_comes() {
    let payload = islands();
    let mut from = deflating(server(), &all());
    from.conn
        .send(Message::Binary(payload.clone().into()))
        .unwrap();
    let bytes = from.sent_bytes();
    assert!(bytes.len() > 3 * (16 << 10), "{}", bytes.len());
    let half = bytes.len() / 2;
    for step in [bytes.len(), half, 20_000, 999] {
        let mut to = deflating(client(), &all());
        to.conn.lend_inbox(Vec::with_capacity(bytes.len()));
        let (mut seen, mut sizes, mut last) = (Vec::new(), Vec::new(), false);
        for piece in bytes.chunks(step) {
            bytes::BufMut::put_slice(&mut to.conn.inbox(), piece);
            while let Some(event) = to.conn.next_part().unwrap() {
                let Event::Part(part) = event else {
                    panic!("{event:?}")
                };
                assert!(!last);
                (last, seen) = (part.last, [seen, part.bytes.to_vec()].concat());
                sizes.push(part.bytes.len());
            }
        }
        assert!(last && seen == payload, "{step}");
        assert!(
            sizes.iter().all(|&size| size < 96 << 10),
            "{step}: {sizes:?}"
        );
    }
}

/// The front of a message: a fragment of 1 MiB, and then nothing.
fn front() -> Ws {
    let mut fragment = zeros(1 << 20);
    fragment[0] &= 0x7f;
    let mut to = deflating(server(), &all());
    to.conn.lend_inbox(Vec::with_capacity(fragment.len()));
    bytes::BufMut::put_slice(&mut to.conn.inbox(), &fragment);
    to
}

#[test]
fn a_fragment_that_inflates_to_many_parts_comes_whole_though_nothing_follows() {
    let mut to = front();
    let mut len = 0;
    while let Some(event) = to.conn.next_part().unwrap() {
        let Event::Part(part) = event else {
            panic!("{event:?}")
        };
        assert!(!part.last);
        len += part.bytes.len();
    }
    assert_eq!(len, 1 << 20);
    assert!(to.conn.is_midway());
    // It ends with an empty fragment, and the next one refers back.
    let end = b"\x80\x80\0\0\0\0";
    bytes::BufMut::put_slice(&mut to.conn.inbox(), end);
    assert!(matches!(to.conn.next_part(), Ok(Some(Event::Part(part))) if part.last));
    assert!(!to.conn.is_midway());
}

#[test]
fn who_skips_the_rest_of_a_fragment_that_inflates_to_many_parts_waits_for_what_follows() {
    for parts in [true, false] {
        let mut to = front();
        assert!(matches!(to.conn.next_part(), Ok(Some(Event::Part(_)))));
        to.conn.skip();
        let mut next = || match parts {
            true => to.conn.next_part(),
            false => to.conn.next_owned(),
        };
        assert_eq!([next(), next()], [Ok(None), Ok(None)]);
        let end = b"\x80\x80\0\0\0\0\x89\x80\0\0\0\0";
        bytes::BufMut::put_slice(&mut to.conn.inbox(), end);
        assert_eq!(to.conn.next_owned(), Ok(Some(Event::Ping("".into()))));
        assert_eq!(to.conn.messages_received(), 1);
    }
}

#[test]
fn what_inflates_to_too_much_is_refused_before_it_has_come() {
    let mut limits = Limits::default();
    limits.message = Some(100_000);
    let payload = islands();
    let mut from = deflating(server(), &all());
    from.conn.send(Message::Binary(payload.into())).unwrap();
    let bytes = from.sent_bytes();
    for step in [1, 999, 16 << 10, 17_000] {
        let mut to = deflating(client_with(limits.clone()), &all());
        let seen = to.events(bytes[..17_000].chunks(step).map(<[u8]>::to_vec));
        let limit = 100_000;
        assert_eq!(seen, [Error(ProtocolError::MessageTooBig { limit })]);
    }
}

#[test]
fn the_limit_holds_for_all_parts_of_what_is_inflated() {
    let limit = 1 << 20;
    for (len, right) in [(limit, true), (limit + 1, false)] {
        let mut limits = Limits::default();
        limits.message = Some(limit);
        let mut to = deflating(server_with(limits), &all());
        let mut seen = 0;
        let mut over = Ok(false);
        for piece in zeros(len).chunks(100) {
            bytes::BufMut::put_slice(&mut to.conn.inbox(), piece);
            loop {
                match to.conn.next_part() {
                    Ok(Some(Event::Part(part))) => {
                        seen += part.bytes.len();
                        over = Ok(part.last);
                    }
                    Ok(_) => break,
                    Err(error) => {
                        over = Err(error);
                        break;
                    }
                }
            }
        }
        if right {
            assert_eq!((seen, over), (limit, Ok(true)));
        } else {
            assert_eq!(over, Err(ProtocolError::MessageTooBig { limit }));
        }
    }
}

/// What may happen to a connection, at any time.
#[derive(Clone, Copy, Debug)]
enum Move {
    Send(usize, u8),
    Begin,
    Part(usize),
    Finish,
    Abandon,
    Take,
    Done(usize),
    Lose,
    Drain(usize),
    Ping,
    Close,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        12 => (0..3000_usize, 0..6_u8).prop_map(|(len, how)| Move::Send(len, how)),
        4 => Just(Move::Begin),
        6 => (1..3000_usize).prop_map(Move::Part),
        4 => Just(Move::Finish),
        2 => Just(Move::Abandon),
        8 => Just(Move::Take),
        8 => (0..3_usize).prop_map(Move::Done),
        1 => Just(Move::Lose),
        8 => (1..4000_usize).prop_map(Move::Drain),
        2 => Just(Move::Ping),
        1 => Just(Move::Close),
    ];
    proptest::collection::vec(one, 1..60)
}

/// A connection to which anything happens, and its peer.
struct Play {
    ws: Ws,
    peer: Ws,
    jobs: Vec<Job>,
    /// All that was said whole, and all that came.
    said: Vec<Vec<u8>>,
    part: Option<Vec<u8>>,
    came: Vec<Vec<u8>>,
    closed: bool,
}

impl Play {
    /// Words of which the others are made, too, and which no other message begins with.
    fn words(&mut self, len: usize) -> Vec<u8> {
        let number = self.said.len();
        self.said.push(Vec::new());
        let mut words = format!("<{number}>").into_bytes();
        words.extend(
            (number..)
                .flat_map(|n| format!("{} and ", n * 7 % 31).into_bytes())
                .take(len),
        );
        words
    }

    fn say(&mut self, len: usize, how: u8) {
        let words = self.words(len);
        *self.said.last_mut().expect("it is there") = words.clone();
        let message = Message::from(words);
        let plain = SendOptions::new().compress(false);
        let conn = &mut self.ws.conn;
        // What is refused does not come.
        let _ = match how {
            0 => conn.send(message),
            1 => conn.send_over(Item::new(message, plain)),
            2 => conn.send_over(Prepared::new(message)),
            3 => conn.offer(message, &Overflow::DropOldest, false).map(drop),
            4 => conn
                .offer(message, &Overflow::Conflate("k".into()), false)
                .map(drop),
            _ => conn.offer(message, &Overflow::DropNewest, false).map(drop),
        };
    }

    fn turn(&mut self, turn: Move) {
        match turn {
            Move::Send(len, how) => self.say(len, how),
            Move::Begin => {
                if self.ws.conn.begin(Kind::Binary).is_ok() {
                    self.part = Some(self.words(0));
                    self.add(0);
                }
            }
            Move::Part(len) => self.add(len),
            Move::Finish => {
                if let Some(whole) = self.part.take()
                    && self.ws.conn.finish().is_ok()
                {
                    self.said.push(whole);
                }
            }
            Move::Abandon => {
                self.part = None;
                self.ws.conn.abandon();
            }
            Move::Take => self.jobs.extend(self.ws.conn.take_job()),
            Move::Done(at) => {
                if at < self.jobs.len() {
                    let job = self.jobs.remove(at);
                    self.ws.conn.finish_job(job.run());
                }
            }
            Move::Lose => self.ws.conn.lose_job(),
            Move::Drain(most) => self.drain(most),
            Move::Ping => drop(self.ws.conn.ping(b"?")),
            Move::Close => self.ws.conn.close(None),
        }
    }

    /// Says the next part: the front of the message is its first one.
    fn add(&mut self, len: usize) {
        let Some(part) = &mut self.part else { return };
        let begun = self.ws.conn.is_unfinished();
        let more: Vec<u8> = match len {
            0 => part.clone(),
            _ => (len..)
                .flat_map(|n| format!("{} and ", n * 7 % 31).into_bytes())
                .take(len)
                .collect(),
        };
        if begun && self.ws.conn.send_part(more.clone().into()).is_ok() {
            match len {
                0 => *part = more,
                _ => part.extend(more),
            }
        } else if len == 0 {
            self.part = None;
        }
    }

    fn drain(&mut self, most: usize) {
        let mut bytes = Vec::new();
        let mut slices = [std::io::IoSlice::new(&[]); 16];
        let count = self.ws.conn.outbox().slices(&mut slices);
        slices[..count]
            .iter()
            .for_each(|slice| bytes.extend_from_slice(slice));
        bytes.truncate(most);
        self.ws.conn.sent(bytes.len());
        self.peer
            .conn
            .lend_inbox(Vec::with_capacity(self.peer.conn.unread() + bytes.len()));
        bytes::BufMut::put_slice(&mut self.peer.conn.inbox(), &bytes);
        loop {
            match self
                .peer
                .conn
                .next_owned()
                .expect("the windows are together")
            {
                Some(Event::Message(message)) => self.came.push(message.into_bytes().to_vec()),
                Some(Event::Close(_)) => self.closed = true,
                Some(_) => {}
                None => break,
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 0 } else { 512 }))]

    #[test]
    fn whatever_happens_the_windows_stay_together_and_nothing_is_left(
        (deflate, params) in choice(),
        size in 0..3000_usize,
        backlog in 1..20_000_usize,
        moves in moves(),
        server_speaks in any::<bool>(),
    ) {
        let mut limits = Limits::default();
        limits.backlog = backlog;
        let (mut ws, mut peer) = if server_speaks {
            (server_with(limits), client())
        } else {
            (client_with(limits), server())
        };
        ws.conn.set_deflate(&deflate, params);
        peer.conn.set_deflate(&deflate, params);
        ws.conn.set_job_size(size);
        let mut play = Play {
            ws,
            peer,
            jobs: Vec::new(),
            said: Vec::new(),
            part: None,
            came: Vec::new(),
            closed: false,
        };
        moves.into_iter().for_each(|one| play.turn(one));
        play.turn(Move::Finish);
        // If there was no room for the first part of it.
        play.turn(Move::Abandon);
        for _ in 0..1_000 {
            play.turn(Move::Take);
            play.turn(Move::Done(0));
            play.turn(Move::Drain(usize::MAX));
            play.turn(Move::Ping);
        }
        play.turn(Move::Drain(usize::MAX));
        prop_assert_eq!(play.ws.conn.buffered(), 0);
        prop_assert!(!play.ws.conn.awaits_job() && !play.ws.conn.has_job());
        prop_assert_eq!(play.closed, play.ws.conn.state() != State::Open);
        prop_assert_eq!(play.ws.conn.messages_sent(), play.came.len() as u64);
        for came in &play.came {
            prop_assert!(play.said.contains(came), "{} bytes", came.len());
        }
        let mut once = play.came.clone();
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), play.came.len());
    }
}
