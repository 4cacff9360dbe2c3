//! A process, and what it holds.

use std::io::{BufReader, Read};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::{Outcome, guarded};

/// A running process, killed when dropped.
pub(crate) struct Process {
    child: Child,
}

/// What a process holds, in bytes, and the CPU time it has used, in hundredths of a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// Memory that is there.
    pub(crate) rss: usize,
    /// The most that `rss` ever was.
    pub(crate) peak: usize,
    /// Memory that was asked for, touched or not.
    pub(crate) data: usize,
    pub(crate) descriptors: usize,
    pub(crate) cpu: usize,
}

/// Asks the allocator of glibc to give back what is freed, so that what is there is what is held:
/// it would keep some megabytes a thread for later, another number of them after each burst.
const ALLOCATOR: [(&str, &str); 3] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_MMAP_THRESHOLD_", "65536"),
    ("MALLOC_TRIM_THRESHOLD_", "65536"),
];

/// How often to look at what cannot be waited for: another process.
const LOOK: Duration = Duration::from_millis(20);

impl Process {
    /// Starts a program, and gives what it says.
    pub(crate) fn start(command: &mut Command) -> (Self, BufReader<ChildStdout>) {
        let mut child = command
            .envs(ALLOCATOR)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        (Self { child }, BufReader::new(stdout))
    }

    /// What it is told, if that is piped.
    pub(crate) fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    pub(crate) fn held(&self) -> Held {
        let proc = format!("/proc/{}", self.child.id());
        let status = std::fs::read_to_string(format!("{proc}/status")).unwrap();
        let size = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let size = line.and_then(|line| line.split_whitespace().next());
            size.unwrap().parse::<usize>().unwrap() << 10
        };
        let stat = std::fs::read_to_string(format!("{proc}/stat")).unwrap();
        // The second field is the name, in parentheses; utime and stime are the 14th and 15th.
        let fields = stat.rsplit_once(") ").unwrap().1.split(' ').skip(11);
        Held {
            rss: size("VmRSS:"),
            peak: size("VmHWM:"),
            data: size("VmData:"),
            descriptors: std::fs::read_dir(format!("{proc}/fd")).unwrap().count(),
            cpu: fields
                .take(2)
                .map(|field| field.parse::<usize>().unwrap())
                .sum(),
        }
    }

    /// Waits until no more descriptors are open than these, and says what is held then.
    pub(crate) async fn settled(&self, descriptors: usize) -> Outcome<Held> {
        guarded("the process to let go of its peers", async {
            loop {
                let held = self.held();
                if held.descriptors <= descriptors {
                    return Ok(held);
                }
                tokio::time::sleep(LOOK).await;
            }
        })
        .await
    }

    /// The CPU time that goes by in two seconds.
    pub(crate) async fn cpu_of_two_seconds(&self) -> usize {
        let before = self.held().cpu;
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.held().cpu - before
    }

    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", "TERM", &pid]).status();
        assert!(sent.expect("kill starts").success());
    }

    /// Waits until the process has ended by itself.
    pub(crate) async fn ended(&mut self) -> Outcome<ExitStatus> {
        guarded("the end of the process", async {
            loop {
                if let Some(status) = self.child.try_wait().map_err(|e| e.to_string())? {
                    return Ok(status);
                }
                tokio::time::sleep(LOOK).await;
            }
        })
        .await
    }

    /// Ends the process. That it has complained of something, a panic for instance, is a fault.
    pub(crate) fn had_no_complaint(mut self) -> Outcome {
        let _ = self.child.kill();
        let mut said = String::new();
        let stderr = self.child.stderr.take();
        let read = stderr.unwrap().read_to_string(&mut said);
        match read {
            Ok(0) => Ok(()),
            _ => Err(format!("the process has said: {said}")),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
