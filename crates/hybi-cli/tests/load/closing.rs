//! Closes that are never answered, and those after which the peer stays.

use hybi::test::Frame;
use tokio::task::JoinSet;

use crate::Outcome;
use crate::judge::lay;
use crate::peer::Step::{Closed, Flood, Hold, Outlast, Send, Shake};
use crate::peer::{Gate, Step, half, masked, play};
use crate::server::Server;
use crate::siege::Siege;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stays_after_the_close_is_ended_by_the_deadline() {
    let close = masked(&Frame::close(1000, "bye"));
    let unmasked = Frame::text("unmasked").encode(None);
    let row = |name, peers, sent, then| Siege {
        threads: 1,
        name,
        args: &[],
        peers,
        scripts: vec![[vec![Shake, Send(sent)], then].concat()],
        holds: 0,
    };
    let junk = vec![7; 64 << 10];
    lay(vec![
        row(
            "the close is answered, and TCP is held open",
            200,
            close.clone(),
            vec![Closed(1000), Outlast],
        ),
        row(
            "the close after a violation is not answered, and TCP is held open",
            200,
            unmasked,
            vec![Closed(1002), Outlast],
        ),
        row(
            "the close is answered, and bytes come without end",
            4,
            close,
            vec![Closed(1000), Flood(junk)],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_that_is_never_answered_does_not_hold_up_the_end_of_the_server() {
    let mut server = Server::start(2, &["--close-timeout", "1"]);
    let message = masked(&Frame::binary([7; 200]));
    let scripts: [Vec<Step>; 3] = [
        vec![Shake],
        vec![Shake, Send(half(&message))],
        vec![Shake, Send(masked(&Frame::text("begun").unfinished()))],
    ];
    let peers = 99;
    let gate = Gate::new(peers);
    let mut playing = JoinSet::new();
    for (_, script) in (0..peers).zip(scripts.iter().cycle()) {
        let script = [&script[..], &[Hold, Closed(1001)]].concat();
        playing.spawn(play(server.addr, script, gate.clone()));
    }
    gate.meet().await;
    server.process.terminate();
    gate.meet().await;
    while let Some(peer) = playing.join_next().await {
        assert_eq!(peer.unwrap(), Outcome::Ok(()));
    }
    assert_eq!(server.process.ended().await.unwrap().code(), Some(0));
    server.process.had_no_complaint().unwrap();
}
