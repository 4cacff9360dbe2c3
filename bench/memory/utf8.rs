//! The check of text that has come whole.

use std::hint::black_box;

use hybi_proto::utf8::Utf8;

use crate::table::{self, Entry};
use crate::{SIZES, words};

pub fn tables(turns: usize) {
    println!("### UTF-8\n");
    let mixed = "Grüße aus Köln, Привет, 你好, 🦀 and plain words. ";
    for (size, len) in SIZES {
        let mut text = mixed.repeat(len / mixed.len() + 1);
        while text.len() > len {
            text.pop();
        }
        for (kind, text) in [("plain words", words(len)), ("mixed", text)] {
            let text = text.as_bytes();
            let entries = vec![
                Entry::own("hybi", || {
                    let mut check = Utf8::default();
                    assert!(check.push(black_box(text)).is_ok() && check.finish().is_ok());
                }),
                Entry::peer("simdutf8", || {
                    assert!(simdutf8::basic::from_utf8(black_box(text)).is_ok());
                }),
                Entry::peer("sockudo-ws", || {
                    assert!(sockudo_ws::utf8::validate_utf8(black_box(text)));
                }),
                Entry::peer("the standard library", || {
                    assert!(std::str::from_utf8(black_box(text)).is_ok());
                }),
            ];
            table::print(&format!("{size}, {kind}"), 1, text.len(), turns, entries);
        }
    }
}
