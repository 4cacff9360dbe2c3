//! What the work itself costs, without a socket: decoding, encoding, masking and the check of
//! UTF-8, of hybi and of the libraries beside it, as tables in Markdown.
//!
//! All that stand in one table take turns in one process, so that a busy moment of the machine
//! meets all of them. A ratio is taken within a turn; the one printed is the median of all turns.

mod decode;
mod encode;
mod mask;
mod table;
mod utf8;
mod wire;

/// The sizes of a message that are measured.
const SIZES: [(&str, usize); 4] = [
    ("16 B", 16),
    ("125 B", 125),
    ("1 KiB", 1 << 10),
    ("64 KiB", 1 << 16),
];

/// What one read brings, or one write takes, at least one message.
const CHUNK: usize = 64 << 10;

fn main() {
    let mut args = std::env::args().skip(1);
    let turns = args.next().map_or(Ok(101), |turns| turns.parse());
    let (Ok(turns @ 1..), None | Some("decode" | "encode" | "mask" | "utf8")) =
        (turns, args.next().as_deref())
    else {
        eprintln!("usage: memory [TURNS] [decode|encode|mask|utf8]");
        std::process::exit(2);
    };
    let only = std::env::args().nth(2);
    type Tables = fn(usize);
    let all: [(&str, Tables); 4] = [
        ("decode", decode::tables),
        ("encode", encode::tables),
        ("mask", mask::tables),
        ("utf8", utf8::tables),
    ];
    for (_, tables) in all
        .iter()
        .filter(|(name, _)| only.as_ref().is_none_or(|only| only == name))
    {
        tables(turns);
    }
}

/// Plain words of that length, as ASCII.
fn words(len: usize) -> String {
    "plain words ".chars().cycle().take(len).collect()
}
