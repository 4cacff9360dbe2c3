//! Pings that wait for their pong, to tell the round-trip time.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::{Error, Result};

/// The answer to a ping, from [`WebSocket::ping`](crate::WebSocket::ping): a future of the
/// round-trip time.
///
/// It is answered by whoever reads the connection, so somebody has to receive meanwhile, or the
/// connection is driven. Dropping it does not take the ping back. An error if the connection ends
/// before the pong comes.
pub struct RoundTrip(oneshot::Receiver<Duration>);

impl Future for RoundTrip {
    type Output = Result<Duration>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let time = Pin::new(&mut self.0).poll(cx);
        time.map(|time| time.map_err(|_| Error::Closed))
    }
}

impl fmt::Debug for RoundTrip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoundTrip").finish_non_exhaustive()
    }
}

/// The pings of one connection that wait for their pong, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Pings(Vec<Ping>);

#[derive(Debug)]
struct Ping {
    payload: Box<[u8]>,
    sent: Instant,
    answer: Option<oneshot::Sender<Duration>>,
}

/// So many may wait; who pings more often than that is not waiting for the answers.
const MOST: usize = 64;

impl Pings {
    /// Notes a ping that was sent just now; the oldest is given up if too many wait.
    pub(crate) fn sent(&mut self, payload: &[u8]) -> RoundTrip {
        let (answer, round_trip) = oneshot::channel();
        self.note(payload, Some(answer));
        RoundTrip(round_trip)
    }

    /// As [`sent`](Self::sent), for the heartbeat.
    pub(crate) fn beaten(&mut self) {
        self.note(b"", None);
    }

    fn note(&mut self, payload: &[u8], answer: Option<oneshot::Sender<Duration>>) {
        if self.0.len() == MOST {
            self.0.remove(0);
        }
        self.0.push(Ping {
            payload: payload.into(),
            sent: Instant::now(),
            answer,
        });
    }

    /// Notes a pong, and gives its round-trip time. It answers the first ping with its payload,
    /// and those before that: §5.5.3, an endpoint may answer only the most recent of several.
    pub(crate) fn answered(&mut self, payload: &[u8]) -> Option<Duration> {
        let at = self.0.iter().position(|ping| *ping.payload == *payload)?;
        let now = Instant::now();
        let round_trip = now - self.0[at].sent;
        for ping in self.0.drain(..=at) {
            // Who no longer wants to know has dropped the other end.
            let _ = ping.answer.map(|answer| answer.send(now - ping.sent));
        }
        Some(round_trip)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
