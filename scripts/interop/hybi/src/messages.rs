//! What the client sends.

use hybi::Message;

use crate::settings::text;

/// Where the header changes, and more than any buffer.
const SIZES: [usize; 8] = [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20];
const MANY: usize = 1000;
const LONG: usize = 100 * 1024;

/// Below and above every threshold, with what came before in it and without, and what no
/// compressor makes smaller.
pub(crate) fn all() -> Vec<Message> {
    let noise = noise();
    let long: String = json(4).chars().cycle().take(LONG).collect();
    vec![
        "hybi".into(),
        json(1).into(),
        json(2).into(),
        "".into(),
        json(3).into(),
        Vec::new().into(),
        noise[..1000].to_vec().into(),
        long.into(),
        noise.clone().into(),
        noise.into(),
        "é".repeat(500).into(),
        json(5).into(),
    ]
}

/// A text and bytes of each size.
pub(crate) fn sizes() -> Vec<Message> {
    let both = |&length: &usize| [text(length).into(), bytes(length).into()];
    SIZES.iter().flat_map(both).collect()
}

/// Short ones, of either kind in turn.
pub(crate) fn many() -> impl Iterator<Item = Message> {
    (0..MANY).map(|n| match n % 2 {
        0 => bytes(n % 100).into(),
        _ => format!("message {n}").into(),
    })
}

pub(crate) fn bytes(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

/// About 1 KiB.
fn json(n: usize) -> String {
    let items: Vec<_> = (0..20)
        .map(|i| {
            format!(
                r#"{{"id": {}, "name": "item {i}", "stock": {i}}}"#,
                i * 7919
            )
        })
        .collect();
    format!(r#"{{"n": {n}, "items": [{}]}}"#, items.join(", "))
}

fn noise() -> Vec<u8> {
    let mut state = 1_u32;
    (0..LONG)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect()
}
