//! In the place of the engines where the feature `deflate` is off: there are none, and nothing is
//! agreed on that would need them.

use super::history::History;
use super::{Config, Fault, Progress};

pub(crate) const AVAILABLE: bool = false;

#[derive(Debug)]
pub(super) enum Inflate {}

pub(super) fn deflate(
    _: Config,
    _: Option<&mut History>,
    _: &[u8],
    _: &mut Vec<u8>,
) -> Result<(), Fault> {
    Err(Fault)
}

impl Inflate {
    pub(super) fn lend(_: &[u8]) -> Result<Self, Fault> {
        Err(Fault)
    }

    pub(super) fn give(self) {
        match self {}
    }

    pub(super) fn prime(&mut self, _: &[u8]) -> Result<(), Fault> {
        match *self {}
    }

    pub(super) fn step(&mut self, _: &[u8], _: &mut [u8]) -> Progress {
        match *self {}
    }
}
