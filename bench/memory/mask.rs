//! Masking in place, and while copying, of those that make it public.

use std::hint::black_box;

use hybi_proto::mask::Mask;
use soketto::base::{Codec, Header, OpCode};

use crate::SIZES;
use crate::table::{self, Entry};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub fn tables(turns: usize) {
    println!("### Mask\n");
    for (size, len) in SIZES {
        let source = vec![0x5a_u8; len];
        let mut copied = Vec::with_capacity(len);
        let mut header = Header::new(OpCode::Binary);
        header.set_masked(true);
        let entries = vec![
            Entry::own(
                "hybi",
                in_place(len, |bytes, key| Mask::new(key).apply(bytes)),
            ),
            Entry::own("hybi, while copying", || {
                copied.clear();
                Mask::new(black_box(KEY)).apply_to(black_box(&source), &mut copied);
                assert_eq!(black_box(&copied).len(), len);
            }),
            Entry::peer("fastwebsockets", in_place(len, fastwebsockets::unmask)),
            Entry::peer("sockudo-ws", in_place(len, sockudo_ws::mask::apply_mask)),
            Entry::peer(
                "soketto",
                in_place(len, move |bytes, key| {
                    header.set_mask(u32::from_be_bytes(key));
                    Codec::apply_mask(&header, bytes);
                }),
            ),
            Entry::peer("yawc", in_place(len, yawc::mask::apply_mask)),
        ];
        table::print(size, 1, len, turns, entries);
    }
}

/// Masks the same bytes again and again; the first call sees that they change as §5.3 says.
fn in_place(len: usize, mut mask: impl FnMut(&mut [u8], [u8; 4])) -> impl FnMut() {
    let mut bytes: Vec<u8> = (0..=255).cycle().take(len).collect();
    let expected: Vec<u8> = (0..len).map(|i| bytes[i] ^ KEY[i % 4]).collect();
    mask(&mut bytes, KEY);
    assert_eq!(bytes, expected);
    move || mask(black_box(&mut bytes), black_box(KEY))
}
