//! Masking in place and while copying, against a plain copy.

mod support;

use std::hint::black_box;

use hybi_proto::mask::Mask;

fn main() {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    support::head("mask");
    for (size, len) in [
        ("16 B", 16),
        ("125 B", 125),
        ("1 KiB", 1 << 10),
        ("64 KiB", 1 << 16),
    ] {
        let source = vec![0x5a_u8; len];
        let mut in_place = source.clone();
        support::line(&format!("{size}, in place"), len, || {
            Mask::new(black_box(key)).apply(black_box(&mut in_place));
        });
        let mut copied = Vec::with_capacity(len);
        support::line(&format!("{size}, while copying"), len, || {
            copied.clear();
            Mask::new(black_box(key)).apply_to(black_box(&source), black_box(&mut copied));
        });
    }
}
