//! The clock of a server's connections: silence and age are counted in its ticks.

use std::sync::{Arc, Weak};

use tokio::runtime::Handle;
use tokio::time::{Interval, MissedTickBehavior};

use super::Config;
use crate::clients::Clients;

/// The one ticker of a server that looks for silence or age, and whom it is for. Connections that
/// are not tracked have a timer of their own.
///
/// It ticks where the server accepts: from a task of its own it costs each of ten thousand connections
/// 200 bytes (`scripts/idle.sh`).
pub(super) struct Ticker {
    interval: Option<Interval>,
    clients: Clients,
    /// Who serves has it, and each handshake that may still become a client.
    serving: Weak<Config>,
}

impl Ticker {
    pub(super) fn of(config: &Arc<Config>) -> Option<Self> {
        let (every, clients) = config.options.get().tick().zip(config.clients.clone())?;
        let mut interval = tokio::time::interval(every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Some(Self {
            interval: Some(interval),
            clients,
            serving: Arc::downgrade(config),
        })
    }
}

/// Waits for the next tick, for ever if there is none.
pub(super) async fn next_tick(ticker: &mut Option<Ticker>) -> &Clients {
    match ticker {
        Some(Ticker {
            interval: Some(interval),
            clients,
            ..
        }) => {
            interval.tick().await;
            clients
        }
        _ => std::future::pending().await,
    }
}

impl Drop for Ticker {
    /// Who served does so no more; its connections go on, and so does this for them.
    fn drop(&mut self) {
        let (Some(mut interval), Ok(runtime)) = (self.interval.take(), Handle::try_current())
        else {
            return;
        };
        let (clients, serving) = (self.clients.clone(), self.serving.clone());
        runtime.spawn(async move {
            while serving.strong_count() > 0 || !clients.is_empty() {
                interval.tick().await;
                clients.tick();
            }
        });
    }
}
