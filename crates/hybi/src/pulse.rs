//! Silence and age of one connection, counted in ticks of a clock that others keep: one ticker
//! serves all clients of a server, and no clock is read for a message.

use crate::error::Timeout;
use crate::options::Values;

/// What is noted from one tick to the next.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// Something was heard since the last tick.
    heard: bool,
    /// The ticks since something was heard.
    quiet: u32,
    /// The ticks since the connection was opened.
    age: u32,
}

/// What there is to do at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// The peer is silent: ping it.
    Ping,
    /// The peer is gone.
    Dead(Timeout),
    /// The connection has lived long enough.
    Old,
}

impl Default for Pulse {
    /// A new connection has just been heard of.
    fn default() -> Self {
        Self {
            heard: true,
            quiet: 0,
            age: 0,
        }
    }
}

impl Pulse {
    /// Notes that something was heard.
    pub(crate) fn hear(&mut self) {
        self.heard = true;
    }

    /// One tick. Who is `deaf` hears no silence.
    pub(crate) fn tick(&mut self, values: &Values, deaf: bool) -> Option<Beat> {
        let tick = values.tick()?;
        let ticks = |time: std::time::Duration| {
            let ticks = time.as_nanos().div_ceil(tick.as_nanos());
            u32::try_from(ticks).unwrap_or(u32::MAX)
        };
        self.age = self.age.saturating_add(1);
        if values
            .max_lifetime
            .is_some_and(|life| self.age > ticks(life))
        {
            return Some(Beat::Old);
        }
        if std::mem::take(&mut self.heard) || deaf {
            self.quiet = 0;
            return None;
        }
        self.quiet = self.quiet.saturating_add(1);
        if let Some(heartbeat) = values.heartbeat {
            if self.quiet >= ticks(heartbeat.every.saturating_add(heartbeat.timeout)) {
                return Some(Beat::Dead(Timeout::Heartbeat));
            }
            if self.quiet == ticks(heartbeat.every) {
                return Some(Beat::Ping);
            }
        }
        let idle = values.idle_timeout.map(ticks);
        idle.is_some_and(|idle| self.quiet >= idle)
            .then_some(Beat::Dead(Timeout::Idle))
    }
}
