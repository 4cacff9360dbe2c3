//! What is said: a message is made of the number of its stream and its place there, so that who
//! gets it can make it again and compare every byte.

use fastrand::Rng;
use hybi::{Kind, Message};

/// The largest message of most streams, and of those where many are on their way at once.
pub const LARGE: usize = 2 << 20;
pub const SMALL: usize = 16 << 10;

/// What a message begins with if it is long enough: its stream and its place.
const HEAD: usize = 26;

const WORDS: [&str; 12] = [
    "price", "volume", "bid", "ask", "trade", "order", "Zürich", "東京", "open", "close", "🦀",
    "null",
];

/// The `n`th message of a stream, of at most `most` bytes. One in eight may be so short that its
/// stream and place are not in it, if `marked` does not ask for them.
pub fn message(stream: u64, n: u64, most: usize, marked: bool) -> Message {
    let mut rng = Rng::with_seed(stream.rotate_left(17) ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let most = most.min(match rng.u8(..100) {
        ..50 => 125,
        50..80 => 2 << 10,
        80..94 => 64 << 10,
        94..99 => 300 << 10,
        _ => LARGE,
    });
    let len = rng.usize(HEAD.min(most)..=most);
    let mut bytes = format!("{stream:016x} {n:08x} ").into_bytes();
    bytes.reserve(len);
    let kind = match rng.u8(..4) {
        0 => {
            let noise = bytes.len()..len.max(bytes.len());
            bytes.resize(noise.end, 0);
            rng.fill(&mut bytes[noise]);
            Kind::Binary
        }
        1 => {
            // Some of it twice, so that it can be compressed.
            while bytes.len() < len {
                let from = rng.usize(..bytes.len());
                let to = bytes.len().min(from + 200).min(from + len - bytes.len());
                bytes.extend_from_within(from..to);
                bytes.push(rng.u8(..));
            }
            Kind::Binary
        }
        _ => {
            while bytes.len() < len {
                bytes.extend_from_slice(rng.choice(WORDS).unwrap_or_default().as_bytes());
                bytes.extend_from_slice(if rng.bool() { b" " } else { b"\": " });
                if rng.u8(..4) == 0 {
                    bytes.extend_from_slice(rng.u32(..).to_string().as_bytes());
                }
            }
            Kind::Text
        }
    };
    if !marked && rng.u8(..8) == 0 {
        bytes.truncate(rng.usize(..HEAD));
    }
    match kind {
        Kind::Binary => Message::Binary(bytes.into()),
        _ => Message::from(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// The stream and the place that a message says it has.
pub fn mark(bytes: &[u8]) -> Option<(u64, u64)> {
    let head = std::str::from_utf8(bytes.get(..HEAD)?).ok()?;
    let (stream, n) = head.trim_end().split_once(' ')?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    Some((hex(stream)?, hex(n)?))
}

/// What came instead of a message.
pub fn instead(expected: (u64, u64), came: &[u8]) -> String {
    let (stream, n) = expected;
    let expected = format!("message {n} of stream {stream:x}");
    match mark(came) {
        Some(at) if at == (stream, n) => format!("{expected} was changed"),
        Some((s, m)) if s == stream && m < n => format!("message {m} came again before {expected}"),
        Some((s, m)) if s == stream => format!("{expected} was lost: {m} came"),
        _ => format!("{} other bytes came instead of {expected}", came.len()),
    }
}
