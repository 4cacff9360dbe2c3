//! `hybi serve` in a process of its own, and what a process holds.

use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

/// Far more than a process takes to let go of its peers.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often to look at what cannot be waited for.
const LOOK: Duration = Duration::from_millis(20);

/// So long nothing must have changed to be at rest.
const REST: u32 = 10;

/// A running server, killed when dropped.
pub struct Process {
    child: Child,
    heap: PathBuf,
    _stdout: BufReader<ChildStdout>,
    pub addr: SocketAddr,
    /// What it held before the first client.
    pub fresh: Held,
}

/// What a process holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Blocks of the heap that are in use, and their bytes.
    pub blocks: i64,
    pub live: i64,
    /// Those of less than 32 KiB, which are no buffers for large payloads.
    pub small_blocks: i64,
    pub small_live: i64,
    /// Bytes that are there.
    pub rss: u64,
    /// The most that `rss` ever was.
    pub peak: u64,
    pub descriptors: usize,
    pub threads: usize,
    /// The CPU time it has used, user's and kernel's, in hundredths of a second.
    pub user: u64,
    pub system: u64,
}

impl Process {
    /// Starts a server on `port`, with these options.
    pub fn serve(binary: &Path, port: u16, options: &[&str]) -> io::Result<Self> {
        let (mut command, heap) = counted(binary)?;
        let mut child = command
            .args(["serve", "--port", &port.to_string()])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or(io::ErrorKind::NotFound)?;
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let addr = line.trim_end().rsplit_once("ws://");
        let addr = addr.and_then(|(_, addr)| addr.trim_end_matches('/').parse().ok());
        let addr = addr.ok_or_else(|| io::Error::other(format!("no address in {line:?}")))?;
        let mut process = Self {
            child,
            heap,
            _stdout: stdout,
            addr,
            fresh: Held::default(),
        };
        process.fresh = process.held()?;
        Ok(process)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn held(&self) -> io::Result<Held> {
        held(self.id(), &self.heap)
    }

    /// Waits until it has no more descriptors and threads than these, and stands still.
    pub async fn at_rest(&self, descriptors: usize, threads: usize) -> io::Result<Held> {
        at_rest(|| self.held(), descriptors, threads).await
    }

    /// Ends it, and fails if it has complained of something, a panic for instance.
    pub fn end(mut self) -> io::Result<()> {
        let exited = self.child.try_wait()?;
        let _ = self.child.kill();
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut said)?;
        }
        match exited {
            None if said.is_empty() => Ok(()),
            exited => Err(io::Error::other(format!(
                "the server has ended with {exited:?} and said {said:?}"
            ))),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.heap);
    }
}

/// Waits until a process has no more descriptors and threads than these, and stands still.
pub async fn at_rest(
    look: impl Fn() -> io::Result<Held>,
    descriptors: usize,
    threads: usize,
) -> io::Result<Held> {
    let begin = Instant::now();
    let (mut last, mut still) = (look()?, 0);
    while still < REST {
        tokio::time::sleep(LOOK).await;
        let now = look()?;
        let same = (now.blocks, now.live) == (last.blocks, last.live);
        let few = now.descriptors <= descriptors && now.threads <= threads;
        still = if same && few { still + 1 } else { 0 };
        last = now;
        if begin.elapsed() > PATIENCE {
            return Err(io::Error::other(format!(
                "after {PATIENCE:?} a process is not at rest with {descriptors} descriptors and \
                 {threads} threads: {last:?}"
            )));
        }
    }
    Ok(last)
}

/// What this process holds, if it was started by [`with_counted_heap`].
pub fn own() -> io::Result<Held> {
    held(std::process::id(), &heap_of(std::process::id()))
}

/// Starts this program again with its heap counted, if it is not yet.
pub fn with_counted_heap() -> io::Result<()> {
    if env::var_os("HYBI_HEAP").is_some() {
        return Ok(());
    }
    let heap = heap_of(std::process::id());
    // From a process of the same number that was killed.
    let _ = fs::remove_file(&heap);
    let mut command = Command::new(env::current_exe()?);
    command.args(env::args_os().skip(1));
    Err(preloaded(&mut command, &heap)?.exec())
}

/// Takes away what [`with_counted_heap`] has left.
pub fn forget_own() -> io::Result<()> {
    fs::remove_file(heap_of(std::process::id()))
}

/// A command whose heap is counted, and where.
fn counted(binary: &Path) -> io::Result<(Command, PathBuf)> {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("hybi-heap-{}-{n}", std::process::id());
    let heap = env::temp_dir().join(name);
    let _ = fs::remove_file(&heap);
    let mut command = Command::new(binary);
    preloaded(&mut command, &heap)?;
    Ok((command, heap))
}

fn heap_of(pid: u32) -> PathBuf {
    env::temp_dir().join(format!("hybi-heap-{pid}"))
}

fn preloaded<'a>(command: &'a mut Command, heap: &Path) -> io::Result<&'a mut Command> {
    let library = env::current_exe()?.with_file_name("libheap.so");
    if !library.exists() {
        return Err(io::Error::other(
            "libheap.so is not there: build the workspace",
        ));
    }
    Ok(command.env("LD_PRELOAD", library).env("HYBI_HEAP", heap))
}

fn held(pid: u32, heap: &Path) -> io::Result<Held> {
    let proc = format!("/proc/{pid}");
    let counts = fs::read(heap)?;
    let count = |at: usize| -> Option<i64> {
        let bytes = counts.get(at..at + 8)?;
        Some(i64::from_ne_bytes(bytes.try_into().ok()?))
    };
    let status = fs::read_to_string(format!("{proc}/status"))?;
    let number = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let stat = fs::read_to_string(format!("{proc}/stat"))?;
    // The second field is the name, in parentheses; utime and stime are the 14th and 15th.
    let time = |nth: usize| -> Option<u64> {
        let (_, fields) = stat.rsplit_once(") ")?;
        fields.split(' ').nth(nth - 3)?.parse().ok()
    };
    let unreadable = || io::Error::other(format!("{proc} says something new"));
    let descriptors = fs::read_dir(format!("{proc}/fd"))?.count();
    let held = || {
        Some(Held {
            blocks: count(0)?,
            live: count(8)?,
            small_blocks: count(16)?,
            small_live: count(24)?,
            rss: number("VmRSS:")? << 10,
            peak: number("VmHWM:")? << 10,
            descriptors,
            threads: number("Threads:")? as usize,
            user: time(14)?,
            system: time(15)?,
        })
    };
    held().ok_or_else(unreadable)
}
