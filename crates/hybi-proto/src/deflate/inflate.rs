//! What a connection keeps to inflate what it is sent, and a message that is being inflated.
//!
//! What has come of a message waits in its compressed form until there is enough of it to be worth
//! an engine, so that a peer that stops in the middle holds little more than it has sent.

use std::cell::Cell;

use super::history::History;
use super::zlib::Inflate;
use super::{Deflate, End, Fault, TAIL};
use crate::error::ProtocolError;

/// The receiving half of an agreement.
#[derive(Debug)]
pub(crate) struct Inflater {
    /// The peer's window.
    bits: u8,
    takeover: bool,
    /// The most bytes that one may become.
    ratio: u32,
    /// What the peer has said; without takeover there is none.
    history: Option<History>,
}

/// A compressed message in progress.
#[derive(Debug, Default)]
pub(crate) struct Inflating {
    /// What waits to be inflated.
    pub(crate) packed: Vec<u8>,
    engine: Option<Inflate>,
    stage: Stage,
    /// Bytes that went in, and that came out.
    used: usize,
    made: usize,
}

/// How far a message is inflated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// As far as it was to be.
    #[default]
    Done,
    /// It has to go on when there is room again.
    Stopped,
    /// As before, and the tail is there.
    Ending,
    /// To the end.
    Over,
}

/// So many bytes are worth an engine.
pub(crate) const ENOUGH: usize = 16 << 10;

/// What is inflated at a time.
const STEP: usize = 32 << 10;

/// A small message may become larger than the ratio says.
const SMALL: u64 = 4 << 10;

impl Inflater {
    pub(crate) fn new(deflate: &Deflate, bits: u8, takeover: bool) -> Self {
        Self {
            bits,
            takeover,
            ratio: deflate.max_ratio.unwrap_or(u32::MAX),
            history: None,
        }
    }

    fn history(&mut self) -> Option<&mut History> {
        if !self.takeover {
            return None;
        }
        let history = self.history.get_or_insert_with(History::new);
        Some(history)
    }
}

impl Inflating {
    /// Bytes that have come.
    pub(crate) fn came(&self) -> usize {
        self.used + self.packed.len()
    }

    /// Whether there is more to inflate of what waits.
    pub(crate) fn has_more(&self) -> bool {
        matches!(self.stage, Stage::Stopped | Stage::Ending)
    }

    /// Whether all of the message is inflated.
    pub(crate) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Inflates what waits, as long as `take` says that there is room for more; at the end of the
    /// message it is the last.
    pub(crate) fn run(
        &mut self,
        inflater: &mut Inflater,
        last: bool,
        mut take: impl FnMut(&[u8]) -> Result<bool, ProtocolError>,
    ) -> Result<(), ProtocolError> {
        if last && self.stage != Stage::Ending {
            // RFC 7692 §7.2.2: append 4 octets of 0x00 0x00 0xff 0xff to the tail end of the
            // payload of the message.
            self.packed.extend(TAIL);
        }
        let mut room = lend_room();
        let fault = |Fault| ProtocolError::InvalidDeflate;
        let mut engine = match self.engine.take() {
            Some(engine) => engine,
            None => {
                let history = inflater.history.as_ref();
                Inflate::lend(history.map_or(&[], |history| history.bytes())).map_err(fault)?
            }
        };
        let mut rest = &self.packed[..];
        loop {
            let step = engine.step(rest, &mut room);
            rest = &rest[step.used..];
            let made = &room[..step.made];
            self.used += step.used;
            self.made += step.made;
            let most = (self.used as u64).saturating_mul(inflater.ratio.into());
            if self.made as u64 > most.saturating_add(SMALL) {
                let ratio = inflater.ratio;
                return Err(ProtocolError::InflatesTooMuch { ratio });
            }
            let goes_on = take(made)?;
            let size = 1 << inflater.bits;
            if let Some(history) = inflater.history()
                && !made.is_empty()
            {
                history.push(made, size);
            }
            if step.end == Some(End::Fault) {
                return Err(ProtocolError::InvalidDeflate);
            }
            if step.end == Some(End::Final) {
                // RFC 7692 §7.2.3.4: a block may be the final one of its stream. What follows is
                // another stream, which refers to nothing that was said before.
                engine.prime(&[]).map_err(fault)?;
                inflater.history = None;
            }
            if rest.is_empty() && step.made < room.len() {
                break;
            }
            if step.used + step.made == 0 {
                return Err(ProtocolError::InvalidDeflate);
            }
            if !goes_on {
                let used = self.packed.len() - rest.len();
                self.packed.drain(..used);
                self.stage = if last { Stage::Ending } else { Stage::Stopped };
                self.engine = Some(engine);
                keep_room(room);
                return Ok(());
            }
        }
        keep_room(room);
        self.packed.clear();
        if last {
            self.stage = Stage::Over;
            engine.give();
        } else {
            self.stage = Stage::Done;
            self.engine = Some(engine);
        }
        Ok(())
    }
}

thread_local! {
    /// Where a step puts what it makes; its bytes are set, to whatever, but for the first time.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

fn lend_room() -> Vec<u8> {
    // While the thread ends there is none any more.
    let mut room = ROOM.try_with(Cell::take).unwrap_or_default();
    room.resize(STEP, 0);
    room
}

fn keep_room(room: Vec<u8>) {
    let _ = ROOM.try_with(|kept| kept.set(room));
}
