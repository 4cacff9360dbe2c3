//! A stream gives the same events, answers and end however it is cut, lent and drained.
#![no_main]

use arbitrary::Arbitrary;
use hybi_fuzz::frames::{self, Frame};
use hybi_fuzz::{End, Turn, run, run_parts, run_uncut};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    end: End,
    frames: Vec<Frame<'a>>,
    turns: [Turn; 4],
    rest: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let mut stream = frames::stream(input.end.server, &input.frames, 512 << 10);
    stream.extend(input.rest);
    let uncut = run_uncut(input.end, &stream);
    // A large stream in large steps: what costs time is the number of them.
    let scale = stream.len() / 1024 + 1;
    assert_eq!(run(input.end, &stream, scale, &input.turns), uncut);
    // Who takes parts has them inflated as they come, and so may learn of a fault before another.
    let parts = run_parts(input.end, &stream, scale, &input.turns);
    if input.end.deflate.is_none() || !(parts.has_failed() || uncut.has_failed()) {
        assert_eq!(parts, uncut);
    }
});
