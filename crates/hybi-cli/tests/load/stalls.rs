//! Peers that do not read what they ask for, claim what they do not send, or stop half way.

use hybi::test::{Frame, Opcode};

use crate::judge::lay;
use crate::peer::Step::{Closed, CutOff, Flood, Hold, Nothing, Outlast, Send, Shake};
use crate::peer::{half, masked, request};
use crate::siege::Siege;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// What a connection may read before its handler has caught up: 64 KiB, and what is left of the
/// read before.
const READ_AHEAD: usize = (64 + 272) * KIB;

/// The outgoing backlog.
const BACKLOG: usize = MIB;

/// What a message that begins may take beyond what has arrived of it.
const BEGUN: usize = 64 * KIB;

const LARGEST: usize = 16 * MIB;

/// The header of a message as large as may be, and its first byte.
fn claim(opcode: Opcode) -> Vec<u8> {
    let whole = masked(&Frame::new(opcode, vec![0; LARGEST]));
    whole[..2 + 8 + 4 + 1].to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_is_cut_off_and_holds_no_more_than_the_limits() {
    let ping = masked(&Frame::ping([7; 125]));
    let small = masked(&Frame::binary([7; 16]));
    let large = masked(&Frame::binary(vec![7; MIB]));
    let row = |name, flood: Vec<u8>, holds| Siege {
        threads: 1,
        name,
        args: &["--write-timeout", "1"],
        peers: 3,
        scripts: vec![vec![Shake, Flood(flood), CutOff]],
        holds,
    };
    lay(vec![
        // A handful of pongs may wait, and of those beyond only the newest.
        row("pongs are never read", ping.repeat(500), READ_AHEAD),
        row(
            "the echoes of 16 bytes are never read",
            small.repeat(3000),
            BACKLOG + READ_AHEAD,
        ),
        // The message that reaches the backlog overshoots it, and the handler has the next one.
        row(
            "the echoes of 1 MiB are never read",
            large,
            BACKLOG + MIB + MIB + READ_AHEAD,
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_only_claimed_takes_no_memory() {
    let fragment = masked(&Frame::binary(b"x").unfinished());
    let row = |name, claim| Siege {
        threads: 1,
        name,
        args: &[],
        peers: 200,
        scripts: vec![vec![Shake, Send(claim), Hold]],
        holds: BEGUN,
    };
    lay(vec![
        row("the largest message and one byte", claim(Opcode::Binary)),
        row("the same as text", claim(Opcode::Text)),
        row(
            "a fragment, and the rest and one byte",
            [fragment, claim(Opcode::Continuation)].concat(),
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_half_way_is_ended_by_the_deadline() {
    let message = masked(&Frame::binary([7; 200]));
    let close = masked(&Frame::close(1000, "that is all"));
    let begun = masked(&Frame::text("begun").unfinished());
    let stops = [
        message[..1].to_vec(),
        message[..3].to_vec(),
        message[..6].to_vec(),
        half(&message),
        begun.clone(),
        [begun, half(&masked(&Frame::ping("ping")))].concat(),
        [message, close[..2].to_vec()].concat(),
        half(&close),
    ];
    let heads = [vec![], b"G".to_vec(), half(&request()), {
        let whole = request();
        whole[..whole.len() - 1].to_vec()
    }];
    lay(vec![
        Siege {
            threads: 1,
            name: "half a frame",
            args: &["--message-timeout", "1"],
            peers: 200,
            scripts: stops
                .map(|stop| vec![Shake, Send(stop), Closed(1008), Outlast])
                .into(),
            holds: BEGUN,
        },
        Siege {
            threads: 1,
            name: "half a head",
            // Long enough for a good client on a busy machine.
            args: &["--handshake-timeout", "2"],
            peers: 200,
            scripts: heads.map(|head| vec![Send(head), Nothing]).into(),
            holds: 4 * KIB,
        },
    ])
    .await;
}
