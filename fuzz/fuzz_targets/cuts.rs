//! A stream gives the same events, answers and end however it is cut, lent and drained.
#![no_main]

use arbitrary::Arbitrary;
use hybi_fuzz::{End, Turn, run, run_parts, run_uncut};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    end: End,
    frames: Vec<Frame<'a>>,
    turns: [Turn; 4],
    rest: &'a [u8],
}

/// What is easier to say in fields than to find in bytes.
#[derive(Arbitrary, Debug)]
struct Frame<'a> {
    first: u8,
    unmasked: bool,
    key: [u8; 4],
    payload: &'a [u8],
    /// How often the payload is repeated; the most is enough to be read past the read buffer.
    times: u8,
}

fuzz_target!(|input: Input<'_>| {
    let mut stream = Vec::new();
    for frame in &input.frames {
        let times = match frame.times {
            u8::MAX => 1 + (256 << 10) / frame.payload.len().max(1),
            times => 1 + usize::from(times / 16),
        };
        let payload = frame.payload.repeat(times);
        let masked = input.end.server && !frame.unmasked;
        let bit = u8::from(masked) << 7;
        stream.push(frame.first);
        match payload.len() {
            len @ 0..126 => stream.push(bit | len as u8),
            len @ 126..0x1_0000 => {
                stream.push(bit | 126);
                stream.extend((len as u16).to_be_bytes());
            }
            len => {
                stream.push(bit | 127);
                stream.extend((len as u64).to_be_bytes());
            }
        }
        if masked {
            stream.extend(frame.key);
            let keys = frame.key.iter().cycle();
            stream.extend(payload.iter().zip(keys).map(|(byte, key)| byte ^ key));
        } else {
            stream.extend(payload);
        }
        if stream.len() > 512 << 10 {
            break;
        }
    }
    stream.extend(input.rest);
    let uncut = run_uncut(input.end, &stream);
    // A large stream in large steps: what costs time is the number of them.
    let scale = stream.len() / 1024 + 1;
    assert_eq!(run(input.end, &stream, scale, &input.turns), uncut);
    // Who takes parts has them inflated as they come, and so may learn of a fault before another.
    if input.end.deflate.is_none() || uncut.events.iter().all(Result::is_ok) {
        assert_eq!(run_parts(input.end, &stream, scale, &input.turns), uncut);
    }
});
