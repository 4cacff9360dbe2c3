//! The engines: zlib-rs, lent by the thread.
//!
//! A thread keeps the few that it used last. A compressor that has served one connection twice in
//! a row needs not be primed again; an inflater is primed always, which costs it less than the
//! misses of the cache that one of its own would have.

use std::cell::Cell;
use std::fmt;

use zlib_rs::{DeflateConfig, DeflateFlush, InflateFlush, Status};

use super::history::{History, Mark};
use super::lz;
use super::{Config, End, Fault, MAX_BITS, Progress, Strategy};

/// Whether there are engines.
pub(crate) const AVAILABLE: bool = true;

/// A compressor of the thread's.
struct Deflater {
    config: Config,
    stream: zlib_rs::Deflate,
    /// The history with which it is primed.
    primed: Option<Mark>,
}

/// An inflater of the thread's.
pub(super) struct Inflate(zlib_rs::Inflate);

/// A thread keeps so many of each, those that were used last.
const KEPT: usize = 4;

thread_local! {
    static DEFLATERS: Cell<Vec<Deflater>> = const { Cell::new(Vec::new()) };
    static INFLATERS: Cell<Vec<Inflate>> = const { Cell::new(Vec::new()) };
}

/// Compresses `said` behind the history, up to a sync flush, and adds it to that.
pub(super) fn deflate(
    config: Config,
    history: Option<&mut History>,
    said: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    // What most connections have takes half the time of zlib's.
    if lz::takes(config) {
        lz::deflate(config, history, said, out);
        return Ok(());
    }
    let mark = history.as_ref().map(|history| history.mark());
    let mut deflater = Deflater::lend(config, mark);
    if mark.is_none() || deflater.primed != mark {
        deflater.prime(history.as_ref().map_or(&[], |history| history.bytes()))?;
    }
    deflater.run(said, out)?;
    deflater.primed = history.map(|history| {
        history.push(said, config.memory());
        history.mark()
    });
    deflater.give();
    Ok(())
}

impl Deflater {
    /// The one that is primed with this history, or the one that was used the longest ago.
    fn lend(config: Config, mark: Option<Mark>) -> Self {
        // While the thread ends there are none any more.
        let mut kept = DEFLATERS.try_with(Cell::take).unwrap_or_default();
        let primed = |deflater: &Self| mark.is_some() && deflater.primed == mark;
        let fits = |deflater: &Self| deflater.config == config;
        let at = kept
            .iter()
            .position(primed)
            .or_else(|| kept.iter().position(fits));
        let found = at.map(|at| kept.remove(at));
        let _ = DEFLATERS.try_with(|all| all.set(kept));
        found.unwrap_or_else(|| Self::new(config))
    }

    fn new(config: Config) -> Self {
        let stream = zlib_rs::Deflate::new_with_config(DeflateConfig {
            level: config.level.into(),
            // Without a header of zlib's.
            window_bits: -i32::from(config.bits),
            mem_level: config.mem_level.into(),
            strategy: match config.strategy {
                Strategy::Default => zlib_rs::Strategy::Default,
                Strategy::Filtered => zlib_rs::Strategy::Filtered,
                Strategy::HuffmanOnly => zlib_rs::Strategy::HuffmanOnly,
                Strategy::Rle => zlib_rs::Strategy::Rle,
                Strategy::Fixed => zlib_rs::Strategy::Fixed,
            },
            ..DeflateConfig::default()
        });
        Self {
            config,
            stream,
            primed: None,
        }
    }

    fn give(self) {
        let _ = DEFLATERS.try_with(|all| {
            let mut kept = all.take();
            if kept.len() == KEPT {
                kept.remove(0);
            }
            kept.push(self);
            all.set(kept);
        });
    }

    fn prime(&mut self, history: &[u8]) -> Result<(), Fault> {
        self.stream.reset();
        if !history.is_empty() {
            self.stream.set_dictionary(history).map_err(|_| Fault)?;
        }
        Ok(())
    }

    fn run(&mut self, said: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let (mut used, mut made) = (0, 0);
        loop {
            out.resize(made + said.len() / 2 + FLUSH, 0);
            let before = (self.stream.total_in(), self.stream.total_out());
            let (from, to) = (&said[used..], &mut out[made..]);
            let status = self.stream.compress(from, to, DeflateFlush::SyncFlush);
            status.map_err(|_| Fault)?;
            used += (self.stream.total_in() - before.0) as usize;
            made += (self.stream.total_out() - before.1) as usize;
            if made < out.len() {
                out.truncate(made);
                return if used == said.len() {
                    Ok(())
                } else {
                    Err(Fault)
                };
            }
        }
    }
}

/// Room for a flush, and then some.
const FLUSH: usize = 256;

impl Inflate {
    /// One that is primed with this history.
    pub(super) fn lend(history: &[u8]) -> Result<Self, Fault> {
        let kept = INFLATERS.try_with(|all| {
            let mut kept = all.take();
            let found = kept.pop();
            all.set(kept);
            found
        });
        // A window of 15 bits understands all others.
        let kept = kept.ok().flatten();
        let mut inflate = kept.unwrap_or_else(|| Self(zlib_rs::Inflate::new(false, MAX_BITS)));
        inflate.prime(history)?;
        Ok(inflate)
    }

    pub(super) fn give(self) {
        let _ = INFLATERS.try_with(|all| {
            let mut kept = all.take();
            if kept.len() < KEPT {
                kept.push(self);
            }
            all.set(kept);
        });
    }

    pub(super) fn prime(&mut self, history: &[u8]) -> Result<(), Fault> {
        self.0.reset(false);
        if !history.is_empty() {
            self.0.set_dictionary(history).map_err(|_| Fault)?;
        }
        Ok(())
    }

    pub(super) fn step(&mut self, from: &[u8], to: &mut [u8]) -> Progress {
        let before = (self.0.total_in(), self.0.total_out());
        let end = match self.0.decompress(from, to, InflateFlush::SyncFlush) {
            Ok(Status::StreamEnd) => Some(End::Final),
            Ok(Status::Ok | Status::BufError) => None,
            Err(_) => Some(End::Fault),
        };
        Progress {
            used: (self.0.total_in() - before.0) as usize,
            made: (self.0.total_out() - before.1) as usize,
            end,
        }
    }
}

impl fmt::Debug for Inflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inflate")
    }
}
