//! Compressed messages, right or nearly so, are judged alike in any cut and within the limit; those
//! that are right are what they were.
#![no_main]

use arbitrary::Arbitrary;
use hybi_fuzz::frames;
use hybi_fuzz::{Deflating, End, Turn, run, run_parts, run_uncut, write};
use hybi_proto::message::{Event, Message};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    deflate: Deflating,
    limit: Option<u32>,
    messages: Vec<Packed<'a>>,
    turns: [Turn; 4],
}

#[derive(Arbitrary, Debug)]
struct Packed<'a> {
    text: bool,
    /// Compressed as it should be; else it is what the peer sends.
    right: bool,
    bytes: &'a [u8],
    times: u16,
    /// Bytes that are changed, and to what.
    faults: Vec<(u16, u8)>,
    /// The lengths of its fragments.
    cuts: Vec<u8>,
}

fuzz_target!(|input: Input<'_>| {
    let Input {
        mut deflate, limit, ..
    } = input;
    (deflate.threshold, deflate.job) = (0, None);
    let end = |server, message| End {
        server,
        message,
        fragments: None,
        deflate: Some(deflate),
    };
    // A server says it to a client, without masks.
    let mut from = end(true, None).open();
    let mut stream = Vec::new();
    // What is compressed as it should be is known, up to the first that is not.
    let (mut known, mut right) = (Vec::new(), true);
    for packed in &input.messages {
        let times = 1 + usize::from(packed.times) % (1 + (64 << 10) / packed.bytes.len().max(1));
        let mut payload = packed.bytes.to_vec();
        if packed.right {
            let message = Message::Binary(packed.bytes.repeat(times).into());
            from.send(message.clone()).expect("all has left");
            if packed.faults.is_empty() && right {
                known.push((packed.text, message));
            }
            let mut frame = Vec::new();
            write(&mut from, usize::MAX, &mut frame);
            let head = match frame[1] {
                126 => 4,
                127 => 10,
                _ => 2,
            };
            payload = frame.split_off(head);
        }
        right &= packed.right && packed.faults.is_empty();
        for (at, byte) in &packed.faults {
            if let Some(place) = payload.get_mut(usize::from(*at)) {
                *place = *byte;
            }
        }
        fragments(packed, &payload, &mut stream);
        if stream.len() > 256 << 10 {
            break;
        }
    }
    let limit = limit.unwrap_or(1 << 20) % (4 << 20);
    let end = end(false, Some(limit));
    let uncut = run_uncut(end, &stream);
    for (at, (text, message)) in known.into_iter().enumerate() {
        let heard = uncut.events.get(at);
        let Ok(expected) = expected(text, message, limit as usize) else {
            assert!(matches!(heard, Some(Err(_))), "{heard:?}");
            break;
        };
        assert_eq!(heard, Some(&Ok(Event::Message(expected))));
    }
    for event in uncut.events.iter().flatten() {
        if let Event::Message(message) = event {
            assert!(message.len() <= end.message.map_or(0, |limit| limit as usize));
        }
    }
    let scale = stream.len() / 1024 + 1;
    assert_eq!(run(end, &stream, scale, &input.turns), uncut);
    let parts = run_parts(end, &stream, scale, &input.turns);
    if !(parts.has_failed() || uncut.has_failed()) {
        assert_eq!(parts, uncut);
    }
});

/// What has to be heard of a message; an error if it is too large, or no text.
fn expected(text: bool, message: Message, limit: usize) -> Result<Message, ()> {
    if message.len() > limit {
        return Err(());
    }
    match text {
        true => String::from_utf8(message.into_bytes().into())
            .map_err(drop)
            .map(Message::from),
        false => Ok(message),
    }
}

fn fragments(packed: &Packed<'_>, payload: &[u8], stream: &mut Vec<u8>) {
    let mut first = if packed.text { 0x41 } else { 0x42 };
    let mut rest = payload;
    for cut in &packed.cuts {
        let (part, others) = rest.split_at(rest.len().min(usize::from(*cut)));
        frames::unmasked(first, part, stream);
        (first, rest) = (0x00, others);
    }
    frames::unmasked(first | 0x80, rest, stream);
}
