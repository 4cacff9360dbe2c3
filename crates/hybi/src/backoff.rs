//! How long to wait before the next attempt to connect.
//!
//! Pure: no clock and no randomness, the caller hands both in. Which errors are worth an attempt
//! is [`Error::is_retryable`]'s to say, and waiting is the session's.

use std::time::Duration;

use hybi_proto::code::CloseCode;

use crate::error::Error;

/// How long a [`Session`](crate::Session) waits before it connects again.
///
/// The delay grows by a factor with each failure, up to a maximum, and is drawn at random from a
/// part of that, so that the clients of a server that was gone do not all come back at once (RFC
/// 6455 §7.2.3). A server that asks for more time gets it: [`restart`](Self::restart),
/// [`overload`](Self::overload) and [`max_retry_after`](Self::max_retry_after).
///
/// ```
/// use std::time::Duration;
/// let backoff = hybi::Backoff::new()
///     .initial(Duration::from_secs(1))
///     .max(Duration::from_secs(60))
///     .max_attempts(20);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    initial: Duration,
    factor: f64,
    max: Duration,
    jitter: Jitter,
    pub(crate) reset_after: Duration,
    pub(crate) max_attempts: Option<u32>,
    restart: (Duration, Duration),
    overload: (Duration, Duration),
    max_retry_after: Duration,
}

/// Which part of a delay is left to chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Jitter {
    /// All of it: from nothing to the whole delay. It spreads many clients best.
    #[default]
    Full,
    /// Half of it: from half of the delay to the whole.
    Equal,
    /// Nothing.
    None,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(500),
            factor: 2.0,
            max: Duration::from_secs(30),
            jitter: Jitter::Full,
            reset_after: Duration::from_secs(10),
            max_attempts: None,
            restart: (Duration::from_secs(5), Duration::from_secs(30)),
            overload: (Duration::from_secs(30), Duration::from_secs(60)),
            max_retry_after: Duration::from_secs(5 * 60),
        }
    }
}

impl Backoff {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The first delay (default 500 ms), before jitter.
    #[must_use]
    pub fn initial(mut self, delay: Duration) -> Self {
        self.initial = delay;
        self
    }

    /// How the delay grows with each failure (default 2). Less than 1 is taken for 1.
    #[must_use]
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor.max(1.0);
        self
    }

    /// The longest delay (default 30 s), before jitter. A server may ask for a longer one.
    #[must_use]
    pub fn max(mut self, delay: Duration) -> Self {
        self.max = delay;
        self
    }

    /// Which part of a delay is left to chance (default [`Jitter::Full`]).
    #[must_use]
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// How long a connection has to be up before its end is no failure (default 10 s): the delays
    /// begin with the first one again, and the attempts are counted anew.
    #[must_use]
    pub fn reset_after(mut self, time: Duration) -> Self {
        self.reset_after = time;
        self
    }

    /// How many attempts may be made in a row, the first one included (default none: for ever);
    /// after the last one the session ends with its error. 0 is taken for 1.
    #[must_use]
    pub fn max_attempts(mut self, attempts: impl Into<Option<u32>>) -> Self {
        self.max_attempts = attempts.into();
        self
    }

    /// How long a server is left alone that closed with 1012, for it restarts: a time at random
    /// between these (default 5 s to 30 s, as the registry of close codes advises).
    #[must_use]
    pub fn restart(mut self, least: Duration, most: Duration) -> Self {
        self.restart = (least, most);
        self
    }

    /// How long a server is left alone that closed with 1013, for it is overloaded: a time at
    /// random between these (default 30 s to 60 s).
    #[must_use]
    pub fn overload(mut self, least: Duration, most: Duration) -> Self {
        self.overload = (least, most);
        self
    }

    /// The most that is believed of `Retry-After`, with which a server may refuse a handshake
    /// (default 5 min). It is waited for to the end, and up to [`initial`](Self::initial) more at
    /// random, for others were told the same.
    #[must_use]
    pub fn max_retry_after(mut self, time: Duration) -> Self {
        self.max_retry_after = time;
        self
    }

    /// The delay after so many failures; `fraction`, from 0 up to 1, is the chance in it.
    pub(crate) fn delay(&self, failures: u32, fraction: f64) -> Duration {
        let grown = self.initial.as_secs_f64() * self.factor.powf(f64::from(failures));
        // What is no number, or more than there is, is the maximum.
        let delay = match Duration::try_from_secs_f64(grown) {
            Ok(delay) => delay.min(self.max),
            Err(_) => self.max,
        };
        let delay = delay.min(MOST);
        match self.jitter {
            Jitter::Full => delay.mul_f64(fraction),
            Jitter::Equal => delay / 2 + (delay / 2).mul_f64(fraction),
            Jitter::None => delay,
        }
    }

    /// How long the server is to be left alone, if it has asked for that.
    pub(crate) fn pause(&self, why: &Error, fraction: f64) -> Option<Duration> {
        let (least, more) = match why {
            Error::ClosedWith(info) => {
                let (least, most) = match info.code {
                    CloseCode::SERVICE_RESTART => self.restart,
                    CloseCode::TRY_AGAIN_LATER => self.overload,
                    _ => return None,
                };
                (least, most.saturating_sub(least))
            }
            _ => (why.retry_after()?.min(self.max_retry_after), self.initial),
        };
        Some(least.min(MOST) + more.min(MOST).mul_f64(fraction))
    }
}

/// No delay is longer: clocks end somewhere.
const MOST: Duration = Duration::from_secs(365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_delay_doubles_up_to_half_a_minute() {
        let backoff = Backoff::new().jitter(Jitter::None);
        let delays = (0..8).map(|failures| backoff.delay(failures, 0.0).as_millis());
        let expected = [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000];
        assert!(delays.eq(expected));
    }

    #[test]
    fn jitter_takes_a_part_of_the_delay() {
        for (jitter, low, high) in [(Jitter::Full, 0, 8), (Jitter::Equal, 4, 8)] {
            let backoff = Backoff::new().initial(8 * SECOND).jitter(jitter);
            assert_eq!(backoff.delay(0, 0.0), low * SECOND);
            let middle = (low + high) * SECOND / 2;
            assert_eq!(backoff.delay(0, 0.5), middle);
            assert!(backoff.delay(0, 0.999) > middle && backoff.delay(0, 0.999) < high * SECOND);
        }
    }

    #[test]
    fn no_choice_makes_a_delay_that_a_clock_cannot_add() {
        let times = [Duration::ZERO, SECOND, Duration::MAX];
        for (initial, max) in times
            .into_iter()
            .flat_map(|time| times.map(|max| (time, max)))
        {
            for factor in [f64::NAN, f64::INFINITY, -1.0, 1.0, 1e300] {
                for failures in [0, 1, u32::MAX] {
                    let backoff = Backoff::new().initial(initial).factor(factor).max(max);
                    assert!(backoff.delay(failures, 0.999) <= max.min(MOST));
                }
            }
        }
    }
}
