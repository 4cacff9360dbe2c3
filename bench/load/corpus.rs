//! The messages of a feed of trades: JSON of 1 KiB each, alike but never equal.
//!
//! The names of the fields repeat within a message and from one to the next; the number of a trade,
//! its price and its size do not. The same documents in every run.

use std::fmt::{self, Write};

use fastrand::Rng;

/// The bytes of a document.
pub const SIZE: usize = 1024;

/// In a document, beside a remark that fills it.
const TRADES: usize = 12;

const SYMBOLS: [&str; 6] = ["ASML", "ENEL", "NOKIA", "SAP", "SIE", "TTE"];
const WORDS: [&str; 8] = [
    "auction", "closing", "delayed", "late", "opening", "price", "review", "volume",
];

/// So many of them, one after the other.
pub fn documents(count: usize) -> Vec<u8> {
    let mut random = Rng::with_seed(7692);
    let mut documents = String::with_capacity(count * SIZE);
    for number in 0..count {
        document(&mut documents, number, &mut random).expect("a string takes all");
        assert_eq!(documents.len(), (number + 1) * SIZE, "{documents}");
    }
    documents.into_bytes()
}

fn document(out: &mut String, number: usize, random: &mut Rng) -> fmt::Result {
    let end = out.len() + SIZE;
    let seconds = 34_200 + number / 10;
    write!(
        out,
        r#"{{"sequence":{},"time":"2026-03-16T{:02}:{:02}:{:02}.{:03}Z","trades":["#,
        9_204_511 + number,
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        random.u32(..1000),
    )?;
    for n in 0..TRADES {
        if n > 0 {
            out.push(',');
        }
        trade(out, random)?;
    }
    out.push_str(r#"],"remark":""#);
    let room = end - r#""}"#.len();
    while out.len() < room {
        out.push_str(random.choice(WORDS).unwrap_or_default());
        out.push(' ');
    }
    out.truncate(room);
    out.push_str(r#""}"#);
    Ok(())
}

fn trade(out: &mut String, random: &mut Rng) -> fmt::Result {
    write!(
        out,
        r#"{{"id":{},"symbol":"{}","side":"{}","price":{}.{:02},"size":{}}}"#,
        random.u32(10_000_000..100_000_000),
        random.choice(SYMBOLS).unwrap_or_default(),
        if random.bool() { "buy" } else { "sell" },
        random.u32(20..900),
        random.u32(..100),
        random.u32(1..1000),
    )
}
