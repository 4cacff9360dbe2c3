//! Compressed messages: bombs, blocks of nothing, and what is to be forgotten.

use hybi::test::{Frame, Opcode};

use crate::deflated::{AGAIN, FINAL_HELLO, HELLO, stored, zeros};
use crate::judge::lay;
use crate::peer::Step::{self, Ask, Closed, Ended, Flood, Hold, Outlast, Send};
use crate::peer::{OFFER, masked, packed};
use crate::siege::Siege;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// What a message may take: it grows by doubling.
const MESSAGE: usize = 2 * MIB;

/// The inflater that a message holds until it ends, and the buffer that it inflates to.
const ENGINE: usize = (46 + 64) * KIB;

/// What a connection remembers of each direction.
const HISTORY: usize = 8 * KIB;

fn row(name: &'static str, peers: usize, holds: usize, scripts: Vec<Vec<Step>>) -> Siege {
    Siege {
        threads: 1,
        name,
        args: &[
            "--deflate",
            "--max-message",
            "1048576",
            "--message-timeout",
            "1",
        ],
        peers,
        scripts: scripts
            .into_iter()
            .map(|script| [vec![Ask(OFFER)], script].concat())
            .collect(),
        holds,
    }
}

/// A message in frames of this size; the last one is not there if it is not to end.
fn cut(bytes: &[u8], size: usize, ends: bool) -> Vec<u8> {
    let begin = packed(Frame::binary([]).unfinished());
    let pieces = bytes
        .chunks(size)
        .map(|piece| masked(&Frame::continuation(piece).unfinished()));
    let end = ends.then(|| masked(&Frame::continuation([])));
    std::iter::once(begin)
        .chain(pieces)
        .chain(end)
        .flatten()
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bomb_is_answered_1009_and_takes_no_more_than_twice_the_limit() {
    let bomb = zeros(64 * MIB);
    let whole = packed(Frame::binary(&bomb));
    // What is well compressed is not inflated before there is more of it.
    let block = 61_680;
    let most = stored(block)[..usize::from(block) + 5].repeat(17);
    let closed = |sent: Vec<u8>| vec![Send(sent), Closed(1009), Outlast];
    lay(vec![
        row(
            "in one frame and in many, ended or not",
            20,
            MESSAGE + ENGINE,
            vec![
                closed(whole.clone()),
                closed(whole[..whole.len() - 1].to_vec()),
                closed(cut(&bomb, 1000, true)),
                closed(cut(&bomb, 16, false)),
            ],
        ),
        row(
            "as large as the limit but for some bytes, and not ended",
            20,
            MESSAGE + ENGINE,
            vec![
                vec![Send(cut(&most, 1000, false)), Closed(1008), Outlast],
                vec![Send(cut(&most, 16 * KIB, false)), Closed(1008), Outlast],
            ],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_of_nothing_end_at_the_limit_of_what_is_compressed() {
    let flood = |block: &[u8]| {
        let piece = masked(&Frame::continuation(block.repeat(16 * KIB / block.len())).unfinished());
        let begin = packed(Frame::binary([]).unfinished());
        vec![Send(begin), Flood(piece), Ended]
    };
    lay(vec![row(
        "empty blocks, stored, of fixed codes, and final",
        9,
        MESSAGE + ENGINE,
        vec![
            flood(b"\x00\x00\x00\xff\xff"),
            flood(b"\x02\x00\x00\x00\xff\xff"),
            flood(b"\x03\x00"),
        ],
    )])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_remembered_of_a_connection_goes_with_it() {
    let close = masked(&Frame::close(1000, ""));
    let text = |payload: &[u8]| packed(Frame::text(payload));
    let plain = masked(&Frame::text("Hello"));
    let long = masked(&Frame::text(
        "what is said back is compressed, too. ".repeat(500),
    ));
    let talk = [
        text(HELLO),
        text(AGAIN),
        plain,
        text(FINAL_HELLO),
        text(HELLO),
        long.clone(),
        long,
    ];
    let talk = [talk.concat(), packed(Frame::binary(stored(60_000)))].concat();
    let ended = |end: Vec<u8>, code| vec![Send([&talk[..], &end].concat()), Closed(code)];
    let rsv1 = |opcode| packed(Frame::new(opcode, ""));
    let begun = [text(HELLO), masked(&Frame::text("a").unfinished())].concat();
    lay(vec![
        row(
            "messages, final blocks among them, and a close",
            100,
            HISTORY + 512 * KIB,
            vec![
                ended(close, 1000),
                ended(text(b"\x07"), 1007),
                ended(rsv1(Opcode::Ping), 1002),
                ended(rsv1(Opcode::Close), 1002),
                ended([begun, rsv1(Opcode::Continuation)].concat(), 1002),
                ended(rsv1(Opcode::Continuation), 1002),
            ],
        ),
        row(
            "messages, and nothing more",
            100,
            HISTORY,
            vec![vec![Send(text(HELLO)), Send(text(AGAIN)), Hold]],
        ),
    ])
    .await;
}
