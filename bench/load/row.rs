//! A row of the results: one kind of load, with its numbers.

use std::io;
use std::time::Duration;

use crate::agreed::Agreed;
use crate::args::Server;
use crate::broadcast::{self, Broadcast};
use crate::client::Kind;
use crate::deflate::{self, Deflated};
use crate::echo::{self, Echo};

/// What is measured in one table.
pub enum Row {
    Broadcast(broadcast::Row),
    Echo(echo::Row),
    Deflate(deflate::Row),
}

/// The connections to one server, and what is sent on them.
pub trait Load {
    /// Sends, and waits until everything has come back; says how many messages that were, or
    /// deliveries.
    fn run(&mut self, until: Until) -> io::Result<u64>;

    /// What has come, if the row is about that.
    fn sent_by_server(&self) -> Option<Sent> {
        None
    }
}

/// What a server that compresses has sent.
#[derive(Clone, Copy)]
pub struct Sent {
    pub bytes: u64,
    pub agreed: Agreed,
}

/// How long to go on.
#[derive(Clone, Copy)]
pub enum Until {
    Elapsed(Duration),
    Sent(u64),
}

/// Nothing has come for so long: a message was lost.
pub const STUCK: Duration = Duration::from_secs(10);

impl Row {
    pub fn open(&self, port: u16, server: &Server) -> io::Result<Box<dyn Load>> {
        Ok(match self {
            Self::Broadcast(row) => Box::new(Broadcast::open(port, row)?),
            Self::Echo(row) => Box::new(Echo::open(port, row, server.raw)?),
            Self::Deflate(row) => Box::new(Deflated::open(port, row)?),
        })
    }

    /// Before the time is taken: the buffers have grown, the caches are warm.
    pub fn warm_up(&self) -> Until {
        match self {
            Self::Broadcast(_) => Until::Sent(200),
            Self::Echo(_) => Until::Elapsed(Duration::from_millis(100)),
            // A window of 12 bits is full, and on 64 connections one of 15.
            Self::Deflate(row) => Until::Sent((4 * row.connections as u64).max(2500)),
        }
    }

    /// The messages of the counted runs, a shorter and a longer one.
    pub fn counted(&self) -> (u64, u64) {
        match self {
            Self::Broadcast(_) => (16, 80),
            Self::Echo(row) => {
                let window = (row.connections * row.in_flight) as u64;
                // Enough to tell them from chance, and not too many for callgrind.
                let more = (16 << 20) / row.bytes.max(1) as u64;
                let more = (8 * window).max(more.min(1000));
                (2 * window, 2 * window + more.next_multiple_of(window))
            }
            Self::Deflate(row) => {
                let all = row.connections as u64;
                (4 * all, 4 * all + 1000_u64.next_multiple_of(all))
            }
        }
    }

    /// What one message counts.
    pub fn deliveries(&self) -> u64 {
        match self {
            Self::Broadcast(row) => row.clients as u64,
            Self::Echo(_) | Self::Deflate(_) => 1,
        }
    }

    pub fn title(&self) -> String {
        match self {
            Self::Broadcast(row) => format!(
                "broadcast of {} to {} clients, {} in flight",
                bytes(row.bytes),
                row.clients,
                row.in_flight
            ),
            Self::Echo(row) => format!(
                "{} connection{}, {} in flight, {} {}",
                row.connections,
                if row.connections == 1 { "" } else { "s" },
                row.in_flight,
                bytes(row.bytes),
                match row.kind {
                    Kind::Text => "text",
                    Kind::Binary => "binary",
                }
            ),
            Self::Deflate(row) => format!(
                "{} connections, 1 in flight, 1 KiB JSON, compressed",
                row.connections
            ),
        }
    }

    /// Of what the figures are.
    pub fn unit(&self) -> &'static str {
        match self {
            Self::Broadcast(_) => "delivery",
            Self::Echo(_) | Self::Deflate(_) => "message",
        }
    }
}

fn bytes(count: usize) -> String {
    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
    if count >= MIB && count.is_multiple_of(MIB) {
        format!("{} MiB", count / MIB)
    } else if count >= KIB && count.is_multiple_of(KIB) {
        format!("{} KiB", count / KIB)
    } else {
        format!("{count} B")
    }
}
