//! What a connection that compresses sends, and what must come back.
//!
//! The documents go round in a circle that is longer than any window, so that nobody ever finds the
//! last turn in it, and each connection enters the circle at a point of its own. A document is
//! compressed behind the documents before it, as by a client with a compressor of its own; where
//! these fill the window, it does not matter who compressed them, and all connections send the same
//! frame. So nothing is left to compress while the server is measured, on a thousand connections
//! as on one.
//!
//! Likewise the documents that a connection has had back are all that its inflater could know: one
//! inflater serves all connections, reminded of them each time.

use std::io;

use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};

use crate::agreed::{Agreed, Half};
use crate::client::compressed;
use crate::corpus::{SIZE, documents};

/// The documents of the circle.
const CIRCLE: usize = 512;

/// Where connections enter it.
const ENTRIES: usize = 32;

/// A browser's, and zlib's own.
const LEVEL: i32 = 6;

/// What ends a compressed message, and is not sent (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// An empty last block. Only behind a whole message is it one.
const END: [u8; 5] = [1, 0, 0, 0xff, 0xff];

/// The circle, for connections that have agreed to the same.
pub struct Feed {
    pub agreed: Agreed,
    /// All documents, twice, so that those before each lie in one piece.
    text: Vec<u8>,
    /// Each document as it is sent behind others that fill the window.
    frames: Vec<Vec<u8>>,
    /// The first ones of each entry, which have too few before them.
    first: Vec<Vec<Vec<u8>>>,
    inflater: Inflate,
    inflated: Vec<u8>,
}

impl Feed {
    pub fn new(agreed: Agreed) -> io::Result<Self> {
        let mut text = documents(CIRCLE);
        text.extend_from_within(..);
        let window = documents_of(agreed.client);
        let before = CIRCLE - window;
        let mut frames = compress(
            &text[before * SIZE..][..(window + CIRCLE) * SIZE],
            agreed.client,
        )?;
        frames.drain(..window);
        let first = (0..ENTRIES)
            .map(|n| compress(&text[entry(n) * SIZE..][..window * SIZE], agreed.client));
        Ok(Self {
            agreed,
            first: first.collect::<io::Result<_>>()?,
            frames,
            text,
            inflater: Inflate::new(false, 15),
            // A byte more, to see one that is too many.
            inflated: vec![0; SIZE + 1],
        })
    }

    /// What the connection sends as its message of that number.
    pub fn frame(&self, connection: usize, number: u64) -> &[u8] {
        match self.first[connection % ENTRIES].get(number as usize) {
            Some(frame) => frame,
            None => &self.frames[at(connection, number)],
        }
    }

    /// Whether it is inflated to the connection's message of that number.
    pub fn check(&mut self, connection: usize, number: u64, payload: &[u8]) -> io::Result<()> {
        let at = (at(connection, number) + CIRCLE) * SIZE;
        let server = self.agreed.server;
        self.inflater.reset(false);
        if server.takeover {
            let known = server.window().min(number as usize * SIZE);
            self.inflater
                .set_dictionary(&self.text[at - known..at])
                .map_err(|error| io::Error::other(error.as_str()))?;
        }
        for piece in [payload, &TAIL, &END] {
            let before = self.inflater.total_in();
            let room = &mut self.inflated[self.inflater.total_out() as usize..];
            let status = self
                .inflater
                .decompress(piece, room, InflateFlush::SyncFlush)
                .map_err(|error| io::Error::other(error.as_str()))?;
            let taken = self.inflater.total_in() - before;
            let ended = status == Status::StreamEnd;
            if ended != (piece == END) || taken < piece.len() as u64 {
                return Err(io::Error::other("what came back is not compressed well"));
            }
        }
        let inflated = &self.inflated[..self.inflater.total_out() as usize];
        if inflated != &self.text[at..at + SIZE] {
            return Err(io::Error::other("something else came back"));
        }
        Ok(())
    }
}

/// Where in the circle the message of that number is.
fn at(connection: usize, number: u64) -> usize {
    (entry(connection % ENTRIES) + number as usize) % CIRCLE
}

fn entry(number: usize) -> usize {
    number * (CIRCLE / ENTRIES)
}

/// How many documents fill the window.
fn documents_of(half: Half) -> usize {
    if half.takeover {
        half.window().div_ceil(SIZE)
    } else {
        0
    }
}

/// Each document as a frame, compressed behind those before it if the window is kept.
fn compress(text: &[u8], half: Half) -> io::Result<Vec<Vec<u8>>> {
    let mut compressor = Deflate::new(LEVEL, false, half.bits);
    let mut room = vec![0; 2 * SIZE];
    let frames = text.chunks(SIZE).map(|document| {
        let before = compressor.total_out();
        compressor
            .compress(document, &mut room, DeflateFlush::SyncFlush)
            .map_err(|error| io::Error::other(error.as_str()))?;
        let payload = &room[..(compressor.total_out() - before) as usize];
        let payload = payload.strip_suffix(&TAIL).unwrap_or(payload);
        if !half.takeover {
            compressor.reset();
        }
        Ok(compressed(payload))
    });
    frames.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(bits: u8, takeover: bool) -> Agreed {
        let half = Half { bits, takeover };
        Agreed {
            server: half,
            client: half,
        }
    }

    const ALL: [(u8, bool); 6] = [
        (9, true),
        (12, true),
        (15, true),
        (9, false),
        (12, false),
        (15, false),
    ];

    /// The payload of a frame, whose head has eight bytes.
    fn unmasked(frame: &[u8]) -> Vec<u8> {
        let (head, payload) = frame.split_at(8);
        let mask = head[4..].iter().cycle();
        payload.iter().zip(mask).map(|(a, b)| a ^ b).collect()
    }

    #[test]
    fn an_inflater_of_the_connections_own_reads_all_that_it_sends() {
        for (bits, takeover) in ALL {
            let feed = Feed::new(agreed(bits, takeover)).unwrap();
            for connection in [0, 7, 63] {
                let mut inflater = Inflate::new(false, bits);
                for number in 0..600 {
                    if !takeover {
                        inflater = Inflate::new(false, bits);
                    }
                    let mut payload = unmasked(feed.frame(connection, number));
                    payload.extend(TAIL);
                    let mut out = [0; SIZE + 1];
                    let before = inflater.total_out();
                    inflater
                        .decompress(&payload, &mut out, InflateFlush::SyncFlush)
                        .unwrap();
                    assert_eq!(inflater.total_out() - before, SIZE as u64);
                    let at = at(connection, number) * SIZE;
                    assert_eq!(out[..SIZE], feed.text[at..at + SIZE]);
                }
            }
        }
    }

    #[test]
    fn what_a_compressor_of_the_connections_own_answers_is_found_good() {
        for (bits, takeover) in ALL {
            let mut feed = Feed::new(agreed(bits, takeover)).unwrap();
            let mut compressor = Deflate::new(9, false, bits);
            for number in 0..600 {
                let at = at(5, number) * SIZE;
                let mut out = [0; 2 * SIZE];
                let before = compressor.total_out();
                let document = &feed.text[at..at + SIZE];
                compressor
                    .compress(document, &mut out, DeflateFlush::SyncFlush)
                    .unwrap();
                let payload = &out[..(compressor.total_out() - before) as usize - 4];
                feed.check(5, number, payload).unwrap();
                assert!(
                    feed.check(5, number + 1, payload).is_err(),
                    "another message"
                );
                let mut short = payload.to_vec();
                short.pop();
                assert!(feed.check(5, number, &short).is_err(), "a byte is missing");
                if !takeover {
                    compressor.reset();
                }
            }
        }
    }

    #[test]
    fn a_history_that_was_not_agreed_is_refused() {
        let mut feed = Feed::new(agreed(12, false)).unwrap();
        let kept = Feed::new(agreed(12, true)).unwrap();
        let refused = (5..50).filter(|number| {
            let payload = unmasked(kept.frame(0, *number));
            feed.check(0, *number, &payload).is_err()
        });
        assert_eq!(refused.count(), 45);
    }
}
