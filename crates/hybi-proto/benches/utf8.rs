//! Checking UTF-8 in one piece and in pieces of 1448 bytes, as a network cuts it.

mod support;

use std::hint::black_box;

use hybi_proto::utf8::Utf8;

const SIZES: [(&str, usize); 6] = [
    ("5 B", 5),
    ("16 B", 16),
    ("63 B", 63),
    ("125 B", 125),
    ("1 KiB", 1 << 10),
    ("64 KiB", 1 << 16),
];

fn main() {
    support::head("utf8");
    let ascii = "The quick brown fox jumps over the lazy dog. ";
    let mixed = "Grüße aus Köln, Привет, 你好, 🦀 and plain words. ";
    for (kind, pattern) in [("ascii", ascii), ("mixed", mixed)] {
        for (size, len) in SIZES {
            let mut text = pattern.repeat(len / pattern.len() + 1);
            while text.len() > len {
                text.pop();
            }
            let text = text.as_bytes();
            support::line(&format!("{size}, {kind}"), text.len(), || {
                let mut check = Utf8::default();
                assert!(check.push(black_box(text)).is_ok() && check.finish().is_ok());
            });
            if len > 1448 {
                support::line(&format!("{size}, {kind}, in pieces"), text.len(), || {
                    let mut check = Utf8::default();
                    let mut pieces = black_box(text).chunks(1448);
                    let valid = pieces.all(|piece| check.push(piece).is_ok());
                    assert!(valid && check.finish().is_ok());
                });
            }
        }
    }
}
