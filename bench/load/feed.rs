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
        for piece in [payload, &TAIL] {
            let before = self.inflater.total_in();
            let room = &mut self.inflated[self.inflater.total_out() as usize..];
            let status = self
                .inflater
                .decompress(piece, room, InflateFlush::SyncFlush)
                .map_err(|error| io::Error::other(error.as_str()))?;
            let taken = self.inflater.total_in() - before;
            if status == Status::StreamEnd || taken < piece.len() as u64 {
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
