//! What a connection has done so far, in numbers.

use std::time::Duration;

use hybi_proto::queue::Dropped;

/// What a connection has done so far: see [`WebSocket::stats`](crate::WebSocket::stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The messages that have come, those with them that wait to be received.
    pub messages_received: u64,
    /// The bytes that were read behind the opening handshake, framing and control frames included.
    pub bytes_received: u64,
    /// The messages that were framed, those with them that wait to leave.
    pub messages_sent: u64,
    /// The bytes that were written behind the opening handshake, framing and control frames
    /// included.
    pub bytes_sent: u64,
    /// The bytes that wait to leave.
    pub buffered: usize,
    /// The round-trip time of the ping that was answered last, the heartbeat's or the caller's.
    pub round_trip: Option<Duration>,
    /// How many messages were dropped, by the [policy](crate::Overflow)'s doing.
    pub dropped: Dropped,
}
