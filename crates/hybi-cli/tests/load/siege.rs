//! What is done to a server: bursts of clients that play scripts.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::Outcome;
use crate::judge::Row;
use crate::peer::{Gate, Step, play};
use crate::server::Server;

/// What is done to a server.
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

impl Row for Siege {
    type Target = Server;

    fn name(&self) -> &'static str {
        self.name
    }

    async fn target(&self) -> Server {
        Server::start(self.threads, self.args)
    }

    fn peers(&self) -> usize {
        self.peers
    }

    fn holds(&self) -> usize {
        self.holds
    }

    fn steps(&self) -> impl Iterator<Item = &Step> {
        self.scripts.iter().flatten()
    }

    async fn burst(&self, server: &Server, gate: &Arc<Gate>) -> Outcome {
        let mut peers = JoinSet::new();
        for (peer, script) in (0..self.peers).zip(self.scripts.iter().cycle()) {
            let play = play(server.addr, script.clone(), gate.clone());
            let script = peer % self.scripts.len();
            peers.spawn(async move {
                let outcome = play.await;
                outcome.map_err(|why| format!("peer {peer} of script {script}: {why}"))
            });
        }
        while let Some(peer) = peers.join_next().await {
            peer.expect("a peer does not panic")?;
        }
        Ok(())
    }
}
