//! What a process has spent, from `/proc`.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// `USER_HZ` is 100: a tick in nanoseconds.
const TICK: u64 = 10_000_000;

/// Fewer looks say nothing.
const FEW: usize = 100;

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

/// perf, while it looks where a process is, 2,000 times in each second that the process
/// runs.
///
/// The kernel itself looks at its own ticks, a tenth as often, and those are in step with the
/// turns of a process that shares its core.
pub struct Sampler {
    perf: Child,
    out: PathBuf,
}

impl Sampler {
    pub fn start(pid: u32, out: PathBuf) -> io::Result<Self> {
        let perf = Command::new("perf")
            .args(["record", "--quiet", "--event=cpu-clock", "--freq=2000"])
            .arg(format!("--pid={pid}"))
            .arg("--output")
            .arg(&out)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { perf, out })
    }

    /// The part of the time that was spent in user space, since perf had taken hold of the process.
    /// `None` if it has hardly looked.
    pub fn user(mut self) -> io::Result<Option<f64>> {
        let pid = self.perf.id().to_string();
        Command::new("kill").args(["-INT", &pid]).status()?;
        self.perf.wait()?;
        let script = Command::new("perf")
            .args(["script", "--fields=ip", "--input"])
            .arg(&self.out)
            .stderr(Stdio::null())
            .output()?;
        fs::remove_file(&self.out)?;
        let samples = String::from_utf8_lossy(&script.stdout);
        // The kernel has the upper half of the addresses.
        let in_kernel: Vec<bool> = samples
            .split_whitespace()
            .filter_map(|ip| u64::from_str_radix(ip, 16).ok())
            .map(|ip| ip >> 63 == 1)
            .collect();
        let user = in_kernel.iter().filter(|kernel| !**kernel).count();
        Ok((in_kernel.len() >= FEW).then(|| user as f64 / in_kernel.len() as f64))
    }
}

fn number(field: Option<&str>) -> io::Result<u64> {
    field
        .and_then(|field| field.parse().ok())
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}
