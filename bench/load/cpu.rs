//! What a process has spent, from `/proc`.

use std::fs;
use std::io;
use std::ops::Sub;

/// Processor time in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// In user space; the kernel tells it in steps of 10 ms.
    pub user: u64,
    /// In user space and in the kernel, exactly.
    pub total: u64,
}

/// `USER_HZ` is 100.
const TICK: u64 = 10_000_000;

impl Cpu {
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name of the process is in parentheses and may hold anything; utime is the twelfth
        // field behind it.
        let user = stat
            .rsplit_once(')')
            .and_then(|(_, fields)| fields.split_whitespace().nth(11));
        let mut total = 0;
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let schedstat = fs::read_to_string(thread?.path().join("schedstat"))?;
            total += number(schedstat.split_whitespace().next())?;
        }
        Ok(Self {
            user: number(user)? * TICK,
            total,
        })
    }
}

fn number(field: Option<&str>) -> io::Result<u64> {
    field
        .and_then(|field| field.parse().ok())
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            user: self.user - before.user,
            total: self.total - before.total,
        }
    }
}
