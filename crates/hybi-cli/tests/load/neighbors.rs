//! Those who share a server: with one that floods, and with hundreds that are idle.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hybi::Message;
use hybi::test::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::deflated::{FINAL_HELLO, zeros};
use crate::judge::lay;
use crate::peer::Step::{CutOff, Hear, Hold, Send, Shake};
use crate::peer::{OFFER, masked, packed, request_with};
use crate::server::{Server, connect};
use crate::siege::Siege;
use crate::{Outcome, guarded};

/// Each takes some turns of the one thread, which are long in a debug build.
const ROUND_TRIPS: usize = 2;

/// More than the system keeps of what comes back while it is read.
const PLAIN: usize = 1 << 20;

/// A peer that sends the same bytes without end, and reads what comes.
struct Flood {
    tasks: JoinSet<()>,
    echoed: Arc<AtomicUsize>,
    /// What comes back of a part of it that counts.
    round: usize,
}

impl Flood {
    async fn begin(server: &Server, offer: &str, flood: Vec<u8>, round: usize) -> Outcome<Self> {
        let told = |error: std::io::Error| error.to_string();
        let mut tcp = TcpStream::connect(server.addr).await.map_err(told)?;
        tcp.write_all(&request_with(offer)).await.map_err(told)?;
        let (mut read, mut write) = tcp.into_split();
        let echoed = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let echoed = echoed.clone();
            async move {
                let mut buffer = vec![0; 256 << 10];
                while let Ok(n @ 1..) = read.read(&mut buffer).await {
                    echoed.fetch_add(n, Ordering::Relaxed);
                }
            }
        });
        tasks.spawn(async move { while write.write_all(&flood).await.is_ok() {} });
        let flood = Self {
            tasks,
            echoed,
            round,
        };
        flood.goes_on().await?;
        Ok(flood)
    }

    /// Waits until so much more has come back.
    async fn goes_on(&self) -> Outcome {
        let enough = self.echoed.load(Ordering::Relaxed) + self.round;
        guarded("the flood", async {
            while self.echoed.load(Ordering::Relaxed) < enough {
                if self.tasks.len() < 2 {
                    return Err("the flood has ended".into());
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(())
        })
        .await
    }
}

/// A neighbor is served while another peer sends these bytes without end.
async fn next_to(offer: &str, flood: Vec<u8>, round: usize) -> Outcome {
    // With one thread all are neighbors, who have the time of a busy machine.
    let server = Server::start(1, &["--handshake-timeout", "0", "--deflate"]);
    let flood = Flood::begin(&server, offer, flood, round).await?;
    let neighbor = async {
        let mut ws = connect(server.addr).await?;
        for i in 0..ROUND_TRIPS {
            let message = Message::from(format!("round trip {i}"));
            ws.send(message.clone()).await?;
            assert_eq!(ws.recv().await?, Some(message));
        }
        ws.close(hybi::CloseCode::NORMAL, "").await
    };
    guarded("the neighbor", async {
        neighbor.await.map_err(|error| error.to_string())
    })
    .await?;
    flood.goes_on().await?;
    drop(flood);
    server.process.had_no_complaint()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_floods_does_not_starve_its_neighbors() {
    let fragments = [
        masked(&Frame::binary([]).unfinished()),
        masked(&Frame::continuation([7; 16]).unfinished()).repeat(3000),
        masked(&Frame::continuation([])),
    ];
    let floods = [
        (
            "pings",
            "",
            masked(&Frame::ping([7; 125])).repeat(500),
            PLAIN,
        ),
        (
            "16 bytes",
            "",
            masked(&Frame::binary([7; 16])).repeat(3000),
            PLAIN,
        ),
        ("1 MiB", "", masked(&Frame::binary(vec![7; 1 << 20])), PLAIN),
        ("fragments of 16 bytes", "", fragments.concat(), PLAIN),
        (
            "5 bytes that are compressed",
            OFFER,
            packed(Frame::text(FINAL_HELLO)).repeat(1000),
            64 << 10,
        ),
        // A thousandth of it comes back.
        (
            "1 MiB that is compressed",
            OFFER,
            packed(Frame::binary(zeros(1 << 20))),
            8 << 10,
        ),
    ];
    let mut failed = Vec::new();
    // Each takes a core for itself.
    for (name, offer, flood, round) in floods {
        if let Err(why) = next_to(offer, flood, round).await {
            failed.push(format!("{name}: {why}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_idle_costs_no_cpu_and_who_is_dead_is_found() {
    let row = |name, args, peers, script| Siege {
        threads: 1,
        name,
        args,
        peers,
        scripts: vec![script],
        holds: 0,
    };
    let ping = Hear(Frame::ping("").encode(None));
    let pong = masked(&Frame::pong(""));
    let answered = [pong.clone(), masked(&Frame::text("alive"))].concat();
    let echo = Hear(Frame::text("alive").encode(None));
    let beats = vec![Shake, ping.clone(), Send(pong), ping, Send(answered), echo];
    lay(vec![
        row("idle, no heartbeat", &[], 300, vec![Shake, Hold]),
        row(
            "idle, a heartbeat",
            &["--heartbeat", "30"],
            300,
            vec![Shake, Hold],
        ),
        row(
            "every ping of the heartbeat is answered",
            &["--heartbeat", "1"],
            50,
            beats,
        ),
        row(
            "no ping of the heartbeat is answered",
            &["--heartbeat", "1", "--heartbeat-timeout", "1"],
            50,
            vec![Shake, CutOff],
        ),
    ])
    .await;
}
