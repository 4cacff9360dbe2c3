//! permessage-deflate (RFC 7692): what can be chosen, what was agreed, and the two engines.
//!
//! A compressor takes some 150 KiB and an inflater 46, so a connection owns neither. It keeps its
//! history, the last bytes of plain text in each direction, and a thread lends the engines, primed
//! with it. What the two sides agree on is [`handshake`](crate::handshake)'s to say.

#[cfg_attr(not(feature = "deflate"), allow(dead_code))] // the engines use it
mod history;
#[cfg(feature = "deflate")]
mod bits;
#[cfg(feature = "deflate")]
mod codes;
#[cfg(feature = "deflate")]
mod header;
#[cfg(feature = "deflate")]
mod block;
#[cfg(feature = "deflate")]
mod matches;
#[cfg(feature = "deflate")]
mod lz;
#[cfg(feature = "deflate")]
mod zlib;
#[cfg(not(feature = "deflate"))]
#[path = "off.rs"]
mod zlib;
mod compress;
mod inflate;

use std::cell::Cell;
use std::fmt;

pub(crate) use compress::{Compressor, Work, alone};
pub(crate) use inflate::{ENOUGH, Inflater, Inflating};
pub(crate) use zlib::AVAILABLE;

/// How messages are compressed, if the peer agrees.
///
/// The window of a direction is what its sender may refer back to: its bytes of history are what
/// either side keeps for it, and bits above 12 cost much time for few bytes. Each number outside of
/// its range is taken for the nearest in it.
///
/// ```
/// use hybi_proto::deflate::Deflate;
/// let deflate = Deflate::fast().threshold(1024);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Deflate {
    level: u8,
    strategy: Strategy,
    mem_level: u8,
    pub(crate) server_max_window_bits: u8,
    pub(crate) client_max_window_bits: u8,
    pub(crate) server_no_context_takeover: bool,
    pub(crate) client_no_context_takeover: bool,
    threshold: usize,
    max_ratio: Option<u32>,
}

/// How a compressor looks for matches, in zlib's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// For most data.
    #[default]
    Default,
    /// For small values with a somewhat random distribution.
    Filtered,
    /// No matches at all.
    HuffmanOnly,
    /// Only runs of one byte.
    Rle,
    /// No codes of the message's own: quick, and worse.
    Fixed,
}

/// What both sides have agreed on (RFC 7692 §7.1). Its `Display` is the answer of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Params {
    /// The server compresses each message for itself.
    pub server_no_context_takeover: bool,
    /// The client compresses each message for itself.
    pub client_no_context_takeover: bool,
    /// The base-2 logarithm of the server's window, 9 to 15 (8 is for who can inflate it); none
    /// means 15.
    pub server_max_window_bits: Option<u8>,
    /// The base-2 logarithm of the client's window, 8 to 15; none means 15. With 8 a client does
    /// not compress.
    pub client_max_window_bits: Option<u8>,
}

/// What a compressor is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    level: u8,
    strategy: Strategy,
    mem_level: u8,
    bits: u8,
}

/// What no engine can do.
#[derive(Clone, Copy, Debug)]
struct Fault;

/// What one step of an inflater has used and made.
#[derive(Clone, Copy, Debug)]
struct Progress {
    used: usize,
    made: usize,
    end: Option<End>,
}

/// Why no more comes of what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "deflate"), allow(dead_code))] // the engines say it
enum End {
    /// That was a final block.
    Final,
    /// It is not deflate.
    Fault,
}

/// The largest window of deflate.
pub(crate) const MAX_BITS: u8 = 15;

/// The smallest window that a compressor can have. The smallest that can be agreed on is 8.
pub(crate) const MIN_BITS: u8 = 9;

/// So much of what was said is always worth it, in bytes.
const NEAR: usize = 3 << 9;

/// RFC 7692 §7.2.1: the sender removes these 4 octets from the tail end of what it has compressed,
/// and the receiver (§7.2.2) appends them.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

impl Default for Deflate {
    /// Level 6, windows of 12 bits, memory level 5, a threshold of 128 bytes, and each direction
    /// keeps its context from message to message.
    fn default() -> Self {
        Self {
            level: 6,
            strategy: Strategy::Default,
            mem_level: 5,
            server_max_window_bits: 12,
            client_max_window_bits: 12,
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            threshold: 128,
            max_ratio: None,
        }
    }
}

impl Deflate {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The fewest bytes, for three times the time: level 9, windows of 15 bits, memory level 8.
    #[must_use]
    pub fn best() -> Self {
        Self::new()
            .level(9)
            .mem_level(8)
            .server_max_window_bits(MAX_BITS)
            .client_max_window_bits(MAX_BITS)
    }

    /// Four tenths of the time, for half as many bytes again: level 1.
    #[must_use]
    pub fn fast() -> Self {
        Self::new().level(1)
    }

    /// How hard to look for matches, 0 (not at all) to 9 (default 6). Up to 6, with the default
    /// [`strategy`](Self::strategy), it is a compressor of this crate, made for short messages; all
    /// else is zlib-rs, which takes two to three times as long for a few percent fewer bytes.
    #[must_use]
    pub fn level(mut self, level: u8) -> Self {
        self.level = level.min(9);
        self
    }

    /// How to look for matches (default [`Strategy::Default`]).
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// How many symbols are gathered before codes are made for them, 1 to 9 (default 5): zlib's
    /// `memLevel`. The memory is the thread's, not the connection's. Levels 1 to 6 with the default
    /// [`strategy`](Self::strategy) gather those of up to 31 KiB of text, whatever is said here.
    #[must_use]
    pub fn mem_level(mut self, level: u8) -> Self {
        self.mem_level = level.clamp(1, 9);
        self
    }

    /// The largest window of the server, 9 to 15 bits (default 12). A client asks for it, but takes
    /// a server that has a larger one.
    #[must_use]
    pub fn server_max_window_bits(mut self, bits: u8) -> Self {
        self.server_max_window_bits = bits.clamp(MIN_BITS, MAX_BITS);
        self
    }

    /// The largest window of the client, 9 to 15 bits (default 12). A server asks for it where the
    /// client lets it (RFC 7692 §7.1.2.2), and else has to take 15.
    #[must_use]
    pub fn client_max_window_bits(mut self, bits: u8) -> Self {
        self.client_max_window_bits = bits.clamp(MIN_BITS, MAX_BITS);
        self
    }

    /// Whether the server compresses each message for itself (default no). Then neither side keeps
    /// anything between two messages of this direction, and similar messages become larger.
    #[must_use]
    pub fn server_no_context_takeover(mut self, on: bool) -> Self {
        self.server_no_context_takeover = on;
        self
    }

    /// Whether the client compresses each message for itself (default no), as above.
    #[must_use]
    pub fn client_no_context_takeover(mut self, on: bool) -> Self {
        self.client_no_context_takeover = on;
        self
    }

    /// The shortest message that is compressed, in bytes (default 128): of a message that is sent
    /// in parts, the first one decides.
    #[must_use]
    pub fn threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// The most bytes that one byte of a message of the peer's may become (default none: only
    /// [its size](crate::limits::Limits::message) is bounded); beyond that, and the first 4 KiB, it
    /// closes with 1009. Deflate reaches 1032, and text of much repetition 100 and more.
    #[must_use]
    pub fn max_ratio(mut self, ratio: impl Into<Option<u32>>) -> Self {
        self.max_ratio = ratio.into();
        self
    }

    /// What a compressor with such a window is set to.
    fn config(&self, bits: u8) -> Config {
        Config {
            level: self.level,
            strategy: self.strategy,
            mem_level: self.mem_level,
            bits,
        }
    }
}

impl Config {
    /// The size of its window.
    pub(crate) fn bits(self) -> u8 {
        self.bits
    }

    /// How much of what was said is kept, and is what an engine is primed with.
    fn memory(self) -> usize {
        let window = 1 << self.bits;
        // What is farther away saves few bytes, and costs as much time as what is near.
        let worth = match self.level {
            1 => window / 8 * 3,
            2..=6 => window / 4 * 3,
            _ => window,
        };
        window.min(NEAR.max(worth))
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("permessage-deflate")?;
        if self.server_no_context_takeover {
            f.write_str("; server_no_context_takeover")?;
        }
        if self.client_no_context_takeover {
            f.write_str("; client_no_context_takeover")?;
        }
        if let Some(bits) = self.server_max_window_bits {
            write!(f, "; server_max_window_bits={bits}")?;
        }
        if let Some(bits) = self.client_max_window_bits {
            write!(f, "; client_max_window_bits={bits}")?;
        }
        Ok(())
    }
}

/// Lends room for what a compressor makes.
pub(crate) fn with_room<T>(run: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    thread_local! {
        static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    // While the thread ends there is none any more.
    let mut room = ROOM.try_with(Cell::take).unwrap_or_default();
    let result = run(&mut room);
    if room.capacity() <= MOST_ROOM {
        let _ = ROOM.try_with(|kept| kept.set(room));
    }
    result
}

/// More room than this is not kept, in bytes.
const MOST_ROOM: usize = 128 << 10;
