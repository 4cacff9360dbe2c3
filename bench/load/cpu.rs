//! What a process has spent, from `/proc`.

use std::fs;
use std::io;

/// `USER_HZ` is 100: a tick in nanoseconds.
const TICK: u64 = 10_000_000;

/// The time in user space since the process began, in nanoseconds, in steps of 10 ms.
///
/// The kernel looks a few hundred times a second where the process is, and never lets the sum of
/// what it has told shrink. So the difference of two readings can be far off: read it once.
pub fn user(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the process is in parentheses and may hold anything; utime is the twelfth field
    // behind it.
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields);
    let user = fields.and_then(|fields| fields.split_whitespace().nth(11));
    Ok(number(user)? * TICK)
}

/// The time in user space and in the kernel, in nanoseconds, exactly.
pub fn total(pid: u32) -> io::Result<u64> {
    let mut total = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedstat = fs::read_to_string(thread?.path().join("schedstat"))?;
        total += number(schedstat.split_whitespace().next())?;
    }
    Ok(total)
}

fn number(field: Option<&str>) -> io::Result<u64> {
    field
        .and_then(|field| field.parse().ok())
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}
