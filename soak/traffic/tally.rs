//! What has happened, in numbers.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! tally {
    ($($name:ident: $text:literal),+ $(,)?) => {
        /// Counters that all count into.
        #[derive(Debug, Default)]
        pub struct Tally {
            $(pub $name: Count,)+
        }

        impl Tally {
            /// Each with its name.
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$(($text, self.$name.get()),)+]
            }
        }
    };
}

tally! {
    connections: "connections",
    echoes: "echoes",
    deliveries: "broadcast deliveries",
    bytes: "bytes compared",
    compressed: "connections that compress",
    pings: "pings answered",
    closed: "clean closes",
    reconnects: "reconnects",
    aborts: "aborts",
    refused: "violations answered",
    slow: "slow readers served",
    stuck: "stuck readers cut off",
    behind: "members closed with 1013",
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn one(&self) {
        self.more(1);
    }

    pub fn more(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let rows: Vec<_> = rows.iter().map(|(name, n)| format!("{n} {name}")).collect();
        f.write_str(&rows.join(", "))
    }
}
