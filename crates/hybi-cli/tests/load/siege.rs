//! Bursts of peers against one server, and what is asserted of all of them.
//!
//! A fresh client is served while a burst goes on and after it; the memory stays below the bound
//! of the row at every time; descriptors, memory and CPU come back; and later bursts add nothing
//! to what the first one took.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::peer::{Gate, Step, play};
use crate::process::{Held, Process};
use crate::{Outcome, guarded};

/// One row: what is done to a server of its own.
pub(crate) struct Siege {
    pub(crate) name: &'static str,
    /// The threads of the server. With one, a burst takes the same memory each time.
    pub(crate) threads: usize,
    pub(crate) args: &'static [&'static str],
    /// The peers of a burst; the scripts go round among them.
    pub(crate) peers: usize,
    pub(crate) scripts: Vec<Vec<Step>>,
    /// The most that one peer makes the server hold, in bytes.
    pub(crate) holds: usize,
}

/// What each connection may hold by the limits when nothing waits: its task, its state, and the
/// page that a small allocation can keep from being given back.
const IDLE: usize = 4 << 10;

/// What may be there beside the connections: the runtime's own, a read buffer of 272 KiB, one
/// for frames of 64 KiB and those of large payloads for each thread, and what the allocator cannot
/// give back.
const SLACK: usize = 4 << 20;

/// What later bursts may add to the RSS after the first, for the allocator's choice of pages
/// differs from burst to burst. It is less than 200 connections that leak 2 KiB each, twice.
const DRIFT: usize = 512 << 10;

const BURSTS: usize = 3;

/// Hundredths of a second of CPU in two idle seconds.
const IDLE_CPU: usize = 4;

/// Fresh clients come so often while a burst goes on.
const BREATH: Duration = Duration::from_millis(50);

/// Sockets of this process that are open at once: 1,024 is what many systems allow.
const SOCKETS: usize = 800;
static FREE: Semaphore = Semaphore::const_new(SOCKETS);

/// Runs all rows of a table side by side; those that fail name themselves.
pub(crate) async fn lay(rows: Vec<Siege>) {
    let mut running = JoinSet::new();
    let count = rows.len();
    for row in rows {
        running.spawn(async move { (row.name, row.lay().await) });
    }
    let mut failed = Vec::new();
    while let Some(done) = running.join_next().await {
        let (name, outcome) = done.expect("a row does not panic");
        failed.extend(outcome.err().map(|why| format!("{name}: {why}")));
    }
    let list = failed.join("\n  ");
    assert!(
        failed.is_empty(),
        "{} of {count} rows failed:\n  {list}",
        failed.len()
    );
}

impl Siege {
    async fn lay(&self) -> Outcome {
        let server = Process::serve(self.threads, self.args);
        // What is open before the first client is what may be open after the last.
        let descriptors = server.held().descriptors;
        server.serves().await?;
        let before = server.settled(descriptors).await?;
        let mut first = None;
        for burst in 1..=BURSTS {
            let told = |why| format!("burst {burst}: {why}");
            let places = FREE.acquire_many(self.peers as u32).await.unwrap();
            self.burst(&server, before).await.map_err(told)?;
            drop(places);
            server.serves().await.map_err(told)?;
            let after = server.settled(descriptors).await.map_err(told)?;
            let first = *first.get_or_insert(after.rss);
            at_most("the RSS", after.rss, first + DRIFT).map_err(told)?;
        }
        let peak = server.held().peak;
        at_most("the peak of the RSS", peak, before.rss + self.bound())?;
        at_most("idle CPU", server.cpu_of_two_seconds().await, IDLE_CPU)?;
        // Shown if a row fails, and with --nocapture.
        let first = first.unwrap_or_default();
        let sizes = [before.rss, first, server.held().rss, peak].map(|size| size >> 10);
        eprintln!(
            "{}: KiB at rest, after the first burst, after the last, at the peak: {sizes:?}",
            self.name
        );
        server.had_no_complaint()
    }

    /// What all peers together may make the server hold.
    fn bound(&self) -> usize {
        self.peers * (self.holds + IDLE) + SLACK
    }

    async fn burst(&self, server: &Process, before: Held) -> Outcome {
        let gate = Gate::new(self.peers);
        let mut peers = JoinSet::new();
        for (peer, script) in (0..self.peers).zip(self.scripts.iter().cycle()) {
            let play = play(server.addr, script.clone(), gate.clone());
            let script = peer % self.scripts.len();
            peers.spawn(async move {
                let outcome = play.await;
                outcome.map_err(|why| format!("peer {peer} of script {script}: {why}"))
            });
        }
        let ended = async {
            while let Some(peer) = peers.join_next().await {
                peer.expect("a peer does not panic")?;
            }
            Ok(())
        };
        let meanwhile = async {
            server.serves().await?;
            self.meet(server, before, &gate).await?;
            loop {
                server.serves().await?;
                tokio::time::sleep(BREATH).await;
            }
        };
        guarded("the burst", async {
            tokio::select! {
                ended = ended => ended,
                disturbed = meanwhile => disturbed,
            }
        })
        .await
    }

    /// Meets the peers where their script says so, and looks at the server.
    async fn meet(&self, server: &Process, before: Held, gate: &Gate) -> Outcome {
        let steps = || self.scripts.iter().flatten();
        if steps().any(|step| matches!(step, Step::Hold)) {
            gate.meet().await;
            server.serves().await?;
            let data = server.held().data;
            at_most("memory asked for", data, before.data + self.bound())?;
            at_most("idle CPU", server.cpu_of_two_seconds().await, IDLE_CPU)?;
            gate.meet().await;
        }
        if steps().any(|step| matches!(step, Step::Outlast)) {
            gate.meet().await;
            server.settled(before.descriptors).await?;
            gate.meet().await;
        }
        Ok(())
    }
}

fn at_most(what: &str, found: usize, bound: usize) -> Outcome {
    match found <= bound {
        true => Ok(()),
        false => Err(format!("{what} is {found}, at most {bound} is allowed")),
    }
}
