//! Peers that leave without a word, by FIN or by RST, at any moment.

use hybi::test::Frame;

use crate::judge::lay;
use crate::peer::Step::{self, Closed, CutOff, Ended, Fin, Nothing, Read, Reset, Send, Shake};
use crate::peer::{half, masked, request};
use crate::siege::Siege;

/// More than the buffers of the system take of an echo that is not read.
const LARGE: usize = 4 << 20;

const MOMENTS: usize = 13;

/// What leads up to each moment, and what a peer gets that ends its direction then.
fn moments() -> [(Vec<Step>, Step); MOMENTS] {
    let message = masked(&Frame::binary([7; 1000]));
    let fragment = masked(&Frame::text("begun").unfinished());
    let close = masked(&Frame::close(1000, ""));
    [
        (vec![], Nothing),
        (vec![Send(half(&request()))], Nothing),
        // The answer may be on its way, or not.
        (vec![Send(request())], Ended),
        (vec![Shake], Nothing),
        (vec![Shake, Send(message[..3].to_vec())], Nothing),
        (vec![Shake, Send(half(&message))], Nothing),
        (vec![Shake, Send(fragment)], Nothing),
        (vec![Shake, Send(half(&close))], Nothing),
        // The echo may be on its way, or not.
        (vec![Shake, Send(message.clone())], CutOff),
        (vec![Shake, Send(message), Read(4 + 1000)], Nothing),
        // The first bytes of an echo are here, and the rest does not fit.
        (
            vec![
                Shake,
                Send(masked(&Frame::binary(vec![7; LARGE]))),
                Read(1000),
            ],
            CutOff,
        ),
        (vec![Shake, Send(close.clone())], Closed(1000)),
        // The server has said its last and waits for ours.
        (vec![Shake, Send(close), Closed(1000)], Nothing),
    ]
}

fn row(name: &'static str, threads: usize, end: fn(Step) -> Vec<Step>) -> Siege {
    let script = |(before, then)| [before, end(then)].concat();
    Siege {
        name,
        threads,
        args: &[],
        peers: 15 * MOMENTS,
        scripts: moments().map(script).into(),
        // At one of the moments there is a large echo in the backlog, and read ahead behind it.
        holds: (2 * LARGE + (320 << 10)) / MOMENTS,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_at_any_moment_leaves_nothing_behind() {
    lay(vec![
        row("FIN, one thread", 1, |then| vec![Fin, then]),
        row("FIN, two threads", 2, |then| vec![Fin, then]),
        row("RST, one thread", 1, |_| vec![Reset]),
        row("RST, two threads", 2, |_| vec![Reset]),
    ])
    .await;
}
