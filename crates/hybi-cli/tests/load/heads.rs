//! Opening handshakes that never end, are never meant, or are much too large, by the hundred.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::guarded;
use crate::judge::{Target, lay};
use crate::peer::Step::{self, Drip, Ended, Fin, Flood, Nothing, Refused, Send};
use crate::peer::{half, request, request_with};
use crate::server::Server;
use crate::siege::Siege;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// The largest head, twice, for its buffer grows by doubling; and what is read at once of the rest.
const HEAD: usize = 2 * 16 * KIB + 4 * KIB;

fn row(name: &'static str, peers: usize, scripts: Vec<Vec<Step>>) -> Siege {
    Siege {
        threads: 1,
        name,
        // Long enough for a good client on a busy machine.
        args: &["--handshake-timeout", "2"],
        peers,
        scripts,
        holds: HEAD,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_too_large_in_the_opening_handshake_is_refused_and_holds_no_more_than_a_head() {
    let head = |lines: &str| Send(request_with(lines));
    let target = format!("GET /{} HTTP/1.1\r\n", "x".repeat(MIB));
    let begun = || Send(b"GET / HTTP/1.1\r\nHost: localhost\r\n".to_vec());
    let large = format!("X: {}\r\n", "x".repeat(MIB));
    lay(vec![
        row(
            "2,000 headers",
            200,
            vec![vec![head(&"a: b\r\n".repeat(2000)), Refused(431)]],
        ),
        row(
            "a header of 1 MiB",
            50,
            vec![vec![head(&large), Refused(431)]],
        ),
        row(
            "a target of 1 MiB",
            50,
            vec![vec![Send(target.into()), Refused(414)]],
        ),
        // More is sent than is discarded behind the answer.
        row(
            "headers without end",
            20,
            vec![
                vec![begun(), Flood(b"a: b\r\n".repeat(1000)), Ended],
                vec![begun(), Flood(vec![b'x'; 64 * KIB]), Ended],
                vec![Flood(b"\r\n".repeat(1000)), Ended],
            ],
        ),
        row(
            "a refused upgrade, and frames behind it without end",
            20,
            vec![vec![
                head("Origin: x\r\nOrigin: y\r\n"),
                Flood(vec![0x81; 64 * KIB]),
                Ended,
            ]],
        ),
        row(
            "noise",
            200,
            vec![
                vec![
                    Send(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec()),
                    Refused(400),
                ],
                vec![
                    Send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
                    Refused(400),
                ],
                vec![Send(vec![0; 1000]), Refused(400)],
            ],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_long_in_the_opening_handshake_is_ended_by_the_deadline() {
    let second = Duration::from_secs(1);
    let whole = request();
    let line = b"GET / HTTP/1.1\r\n".to_vec();
    let drip = |bytes: &[u8]| Drip(bytes.to_vec(), second);
    lay(vec![
        row(
            "silence, and half a head",
            300,
            vec![
                vec![Nothing],
                vec![Send(b"G".to_vec()), Nothing],
                vec![Send(half(&whole)), Nothing],
                vec![Send(whole[..whole.len() - 1].to_vec()), Nothing],
            ],
        ),
        row(
            "one byte a second",
            300,
            vec![
                vec![drip(b"G"), Nothing],
                vec![Send(line.clone()), drip(b"a: b\r\n"), Nothing],
                vec![Send(half(&whole)), drip(b"x"), Nothing],
            ],
        ),
        row(
            "half a head, and FIN",
            300,
            vec![
                vec![Fin, Nothing],
                vec![Send(line), Fin, Nothing],
                vec![Send(half(&whole)), Fin, Nothing],
            ],
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_server_without_descriptors_serves_again_when_others_have_left() {
    const MOST: usize = 40;
    let server = Server::with_descriptors(MOST);
    let before = server.process.held().descriptors;
    server.serves().await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..2 * MOST {
        silent.push(TcpStream::connect(server.addr).await.unwrap());
    }
    guarded("the descriptors to be used up", async {
        while server.process.held().descriptors < MOST {
            tokio::task::yield_now().await;
        }
        Ok(())
    })
    .await
    .unwrap();
    // It looks for one now and then, and does not spin.
    let cpu = server.process.cpu_of_two_seconds().await;
    assert!(cpu <= 20, "{cpu} hundredths of a second in two");
    drop(silent);
    server.serves().await.unwrap();
    server.process.settled(before).await.unwrap();
    server.process.had_no_complaint().unwrap();
}
