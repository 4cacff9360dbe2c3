//! In the place of the engines where the feature `deflate` is off: there are none, and nothing is
//! agreed on that would need them.

use super::Strategy;
use super::history::History;

pub(crate) const AVAILABLE: bool = false;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(super) level: u8,
    pub(super) strategy: Strategy,
    pub(super) mem_level: u8,
    pub(super) bits: u8,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Fault;

#[derive(Debug)]
pub(super) enum Inflate {}

#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    pub(super) used: usize,
    pub(super) made: usize,
    pub(super) end: bool,
}

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

    pub(super) fn step(&mut self, _: &[u8], _: &mut [u8]) -> Result<Progress, Fault> {
        match *self {}
    }
}
