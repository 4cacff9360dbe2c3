//! Bad servers: what they give to clients, and how that ends for these.

use std::time::Duration;

use hybi::test::{Frame, Opcode};

use crate::ambush::Ambush;
use crate::clients::{LARGEST, Way};
use crate::deflated::zeros;
use crate::judge::lay;
use crate::peer::Step::{self, Closed, CutOff, Drip, Ended, Fin, Flood, Greet, Hold, Nothing};
use crate::peer::Step::{Outlast, Reset, Send};
use crate::peer::{OFFER, RSV1, half};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// The largest head, twice, for its buffer grows by doubling; and the body of a refusal.
const HEAD: usize = 2 * 16 * KIB + 2 * 64 * KIB;

/// What a message that begins may take beyond what has arrived of it.
const BEGUN: usize = 64 * KIB;

/// What may be read at once.
const READ: usize = 272 * KIB;

/// The outgoing backlog.
const BACKLOG: usize = MIB;

/// What is bad about the answer, how the client is to see it, and what is held for it.
fn row(
    name: &'static str,
    clients: usize,
    holds: usize,
    scripts: Vec<(Vec<Step>, &'static [&'static str])>,
) -> Ambush {
    Ambush {
        name,
        clients,
        way: Way::Listen,
        scripts,
        holds,
    }
}

fn send(bytes: impl AsRef<[u8]>) -> Step {
    Send(bytes.as_ref().to_vec())
}

fn flood(bytes: impl AsRef<[u8]>) -> Step {
    Flood(bytes.as_ref().to_vec())
}

fn drip(bytes: impl AsRef<[u8]>) -> Step {
    Drip(bytes.as_ref().to_vec(), Duration::from_millis(200))
}

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\n";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
const REFUSED: &str = "HTTP/1.1 503 Service Unavailable\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_end_is_left_with_an_error_that_names_it() {
    let name = |line: Vec<Step>, end: &'static [&'static str]| ([line, vec![Ended]].concat(), end);
    let chunk = format!("{REFUSED}Transfer-Encoding: chunked\r\n\r\n");
    lay(vec![
        row(
            "floods",
            20,
            HEAD,
            vec![
                name(
                    vec![send(SWITCHING), flood("a: b\r\n")],
                    &["Head(TooManyHeaders)"],
                ),
                name(
                    vec![send(SWITCHING), send("X: "), flood([b'x'; 4096])],
                    &["Head(TooLarge)"],
                ),
                name(vec![flood(CONTINUE)], &["TooManyInformational"]),
                name(vec![flood([0; 4096])], &["Head(NotHttp)"]),
                name(
                    vec![send(REFUSED), send("\r\n"), flood("why? ")],
                    &["Status(503)"],
                ),
                name(vec![send(&chunk), flood("1\r\nx\r\n")], &["Status(503)"]),
                name(vec![send(&chunk), send("1;"), flood("x")], &["Status(503)"]),
            ],
        ),
        row(
            "drips",
            200,
            HEAD,
            vec![
                name(vec![drip("H")], &["Head(NotHttp)", "Head(FirstLine)"]),
                name(
                    vec![send(SWITCHING), drip("a: b\r\n")],
                    &["Timeout::Handshake"],
                ),
                name(
                    vec![send("HTTP/1.1 "), drip("1")],
                    &["Timeout::Handshake", "Head(FirstLine)"],
                ),
                name(
                    vec![send(CONTINUE), drip(CONTINUE)],
                    &["Timeout::Handshake"],
                ),
                name(
                    vec![send(REFUSED), send("\r\n"), drip("why? ")],
                    &["Status(503)"],
                ),
                name(vec![send(&chunk), drip("1\r\nx\r\n")], &["Status(503)"]),
            ],
        ),
        row(
            "silence",
            200,
            HEAD,
            vec![
                (vec![Nothing], &["Timeout::Handshake"]),
                (
                    vec![send(&SWITCHING[..20]), Nothing],
                    &["Timeout::Handshake"],
                ),
                (vec![send(SWITCHING), Nothing], &["Timeout::Handshake"]),
            ],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_breaks_a_rule_is_told_so_and_left() {
    let told = |frame: Vec<u8>, code, error: &'static [&'static str]| {
        (vec![Greet(""), Send(frame), Closed(code), Outlast], error)
    };
    let masked = |frame: Frame| frame.encode(Some([1, 2, 3, 4]));
    let plain = |frame: Frame| frame.encode(None);
    let claim = |length: usize| {
        let frame = plain(Frame::binary(vec![0; length]));
        frame[..2 + 8 + 1].to_vec()
    };
    let bomb = |mut frame: Frame| {
        frame.rsv = RSV1;
        let sent = plain(frame);
        let too_big = &["MessageTooBig { limit: 1048576 }"][..];
        (
            vec![Greet(OFFER), Send(sent), Closed(1009), Outlast],
            too_big,
        )
    };
    let zeros = zeros(64 * MIB);
    let half_text = plain(Frame::text("begun").unfinished());
    lay(vec![
        row(
            "frames",
            100,
            0,
            vec![
                told(masked(Frame::text("masked")), 1002, &["Masked"]),
                told(
                    plain(Frame::new(Opcode::Continuation, "x")),
                    1002,
                    &["LoneContinuation"],
                ),
                told(plain(Frame::text([0xff])), 1007, &["InvalidUtf8"]),
                told(plain(Frame::close(1005, "")), 1002, &["CloseCode(1005)"]),
                told(
                    claim(LARGEST + 1),
                    1009,
                    &["MessageTooBig { limit: 1048576 }"],
                ),
            ],
        ),
        row(
            "the largest message is claimed and one byte sent",
            100,
            BEGUN,
            vec![
                told(claim(LARGEST), 1008, &["MessageStalled"]),
                told(half_text, 1008, &["MessageStalled"]),
            ],
        ),
        row(
            "bombs",
            12,
            2 * LARGEST + 2 * BEGUN,
            vec![
                bomb(Frame::binary(&zeros)),
                bomb(Frame::binary(&zeros).unfinished()),
                bomb(Frame::text(&zeros)),
            ],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stalls_is_left_by_the_deadline() {
    let ping = Frame::ping([7; 125]).encode(None);
    let close = Frame::close(1000, "").encode(None);
    let pings = row(
        "pongs are never read",
        3,
        READ + 64 * KIB,
        vec![(
            vec![Greet(""), flood(ping.repeat(500)), CutOff],
            &["Timeout::Write"],
        )],
    );
    let unread = Ambush {
        way: Way::Talk,
        ..row(
            "messages are never read",
            20,
            BACKLOG + READ,
            vec![(vec![Greet(""), Outlast, CutOff], &["Timeout::Write"])],
        )
    };
    let unanswered = Ambush {
        way: Way::Close,
        ..row(
            "a close is never answered",
            200,
            0,
            vec![
                (vec![Greet(""), Outlast, Closed(1000)], &["Timeout::Close"]),
                (
                    vec![Greet(""), Send(half(&close)), Outlast, Closed(1000)],
                    &["Timeout::Close"],
                ),
            ],
        )
    };
    let held = Ambush {
        way: Way::Close,
        ..row(
            "a close is answered, and TCP held open",
            200,
            0,
            vec![(
                vec![Greet(""), Send(close.clone()), Outlast, Closed(1000)],
                &["closed 1000"],
            )],
        )
    };
    let held_too = row(
        "the server closes, and holds TCP open",
        200,
        0,
        vec![(
            vec![Greet(""), Send(close), Outlast, Closed(1000)],
            &["closed 1000"],
        )],
    );
    let idle = row(
        "idle",
        200,
        0,
        vec![(vec![Greet(""), Hold, Reset], &["ConnectionReset"])],
    );
    lay(vec![pings, unread, unanswered, held, held_too, idle]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_leaves_at_any_moment_leaves_nothing_behind() {
    let message = Frame::binary([7; 1000]).encode(None);
    let close = Frame::close(1000, "").encode(None);
    let moments = [
        vec![],
        vec![send(&SWITCHING[..20])],
        vec![send(SWITCHING)],
        vec![Greet("")],
        vec![Greet(""), Send(message[..3].to_vec())],
        vec![Greet(""), Send(half(&message))],
        vec![Greet(""), Send(message)],
        vec![
            Greet(""),
            send(Frame::text("begun").unfinished().encode(None)),
        ],
        vec![Greet(""), Send(half(&close))],
    ];
    let ends = |end: Step, error: &'static [&'static str]| -> Vec<_> {
        let script =
            |moment: &Vec<Step>| ([&moment[..], std::slice::from_ref(&end)].concat(), error);
        moments.iter().map(script).collect()
    };
    lay(vec![
        row(
            "FIN",
            15 * moments.len(),
            BEGUN,
            ends(Fin, &["UnexpectedEof"]),
        ),
        row(
            "RST",
            15 * moments.len(),
            BEGUN,
            ends(Reset, &["ConnectionReset", "BrokenPipe"]),
        ),
    ])
    .await;
}
