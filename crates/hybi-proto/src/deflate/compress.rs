//! What a connection keeps to compress what it sends, and a piece that is compressed elsewhere.
//!
//! A piece is compressed up to a sync flush, behind what was said before. So nothing of a message
//! stays in an engine, and a piece that was compressed and is not sent changes nothing.

use bytes::Bytes;

use super::history::History;
use super::zlib;
use super::{Config, Deflate, MIN_BITS, TAIL};

/// The sending half of an agreement.
#[derive(Debug)]
pub(crate) struct Compressor {
    config: Config,
    takeover: bool,
    threshold: usize,
    /// More than so many bytes at once are left to another thread.
    job: usize,
    /// What was said; without takeover only in the middle of a message.
    history: Option<History>,
}

/// A piece of a message that another thread compresses, with all that it takes.
#[derive(Debug)]
pub(crate) struct Work {
    config: Config,
    history: Option<History>,
    piece: Bytes,
    last: bool,
}

impl Compressor {
    /// None with a window that no compressor can have.
    pub(crate) fn new(deflate: &Deflate, bits: u8, takeover: bool) -> Option<Self> {
        (bits >= MIN_BITS).then(|| Self {
            config: deflate.config(bits),
            takeover,
            threshold: deflate.threshold,
            job: usize::MAX,
            history: None,
        })
    }

    /// Whether a message of this length is worth it.
    #[inline]
    pub(crate) fn takes(&self, len: usize) -> bool {
        len >= self.threshold
    }

    /// Leaves more than so many bytes at once to another thread.
    pub(crate) fn set_job(&mut self, bytes: usize) {
        self.job = bytes;
    }

    /// The most bytes that are compressed at once.
    pub(crate) fn job(&self) -> usize {
        self.job
    }

    pub(crate) fn config(&self) -> Config {
        self.config
    }

    /// Compresses the next piece of a message.
    pub(crate) fn compress(&mut self, piece: &[u8], last: bool, out: &mut Vec<u8>) {
        let goes_on = self.takeover || !last;
        if goes_on && self.history.is_none() {
            self.history = Some(History::new());
        }
        compress(self.config, self.history.as_mut(), piece, last, out);
        self.finish(last);
    }

    /// The next piece of a message, to be compressed elsewhere, if nothing else is meanwhile.
    pub(crate) fn work(&self, piece: Bytes, last: bool) -> Work {
        Work {
            config: self.config,
            history: self.history.as_ref().map(History::snapshot),
            piece,
            last,
        }
    }

    /// Says that this piece was compressed elsewhere.
    pub(crate) fn done(&mut self, piece: &[u8], last: bool) {
        if self.takeover || !last {
            let history = self.history.get_or_insert_with(History::new);
            history.push(piece, self.config.memory());
        }
        self.finish(last);
    }

    fn finish(&mut self, last: bool) {
        if last && !self.takeover {
            self.history = None;
        }
    }

    /// Refers to nothing that was said before: the peer has got something else meanwhile.
    pub(crate) fn forget(&mut self) {
        self.history = None;
    }
}

impl Work {
    /// What becomes of the piece.
    pub(crate) fn run(mut self) -> Bytes {
        let mut out = Vec::new();
        let history = self.history.as_mut();
        compress(self.config, history, &self.piece, self.last, &mut out);
        // It may wait long, and counts with its length.
        out.shrink_to_fit();
        out.into()
    }
}

/// Compresses a message by itself.
pub(crate) fn alone(config: Config, message: &[u8], out: &mut Vec<u8>) {
    compress(config, None, message, true, out);
}

fn compress(
    config: Config,
    mut history: Option<&mut History>,
    piece: &[u8],
    last: bool,
    out: &mut Vec<u8>,
) {
    out.clear();
    if piece.is_empty() {
        // RFC 7692 §7.2.3.6: the empty message, and so the end of any, is one octet of zeros.
        out.extend(last.then_some(0));
        return;
    }
    if zlib::deflate(config, history.as_deref_mut(), piece, out).is_err() {
        store(piece, out);
        if let Some(history) = history {
            history.push(piece, config.memory());
        }
    }
    if last && out.ends_with(&TAIL) {
        out.truncate(out.len() - TAIL.len());
    }
}

/// Packs a piece into blocks without compression (RFC 1951 §3.2.4), as a last resort.
fn store(piece: &[u8], out: &mut Vec<u8>) {
    out.clear();
    for block in piece.chunks(usize::from(u16::MAX)) {
        let len = block.len() as u16;
        out.push(0);
        out.extend(len.to_le_bytes());
        out.extend((!len).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.push(0);
    out.extend(TAIL);
}

#[cfg(all(test, feature = "deflate"))]
mod tests {
    use super::*;
    use crate::deflate::zlib::Inflate;

    #[test]
    #[cfg_attr(miri, ignore)] // nothing unsafe, and much to do
    fn what_no_engine_takes_is_stored_and_inflates_to_what_it_was() {
        for size in [1, 65_535, 65_536, 200_000] {
            let piece: Vec<u8> = (0..size)
                .map(|n: usize| (n % 251 * n % 251) as u8)
                .collect();
            let mut packed = vec![1, 2, 3];
            store(&piece, &mut packed);
            assert!(packed.ends_with(&TAIL));
            let mut room = vec![0; size + 1];
            let mut inflate = Inflate::lend(&[]).map_err(drop).unwrap();
            let step = inflate.step(&packed, &mut room);
            assert_eq!((step.used, step.made), (packed.len(), size));
            assert!(step.end.is_none() && room[..size] == piece);
        }
    }
}
