//! The processes of clients, as many as the limit of descriptors asks for.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;
use std::{env, thread};

use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::worker::Task;

/// More than ten times what anything here takes.
const GUARD: Duration = Duration::from_secs(600);

/// A running process of clients, killed when dropped.
struct Worker {
    child: Child,
    orders: ChildStdin,
    answers: mpsc::Receiver<String>,
}

pub struct Crew(Vec<Worker>);

impl Crew {
    pub fn hire(tasks: &[Task]) -> io::Result<Self> {
        tasks
            .iter()
            .map(Worker::start)
            .collect::<io::Result<_>>()
            .map(Self)
    }

    /// Tells all what to do.
    pub fn tell(&mut self, order: &str) -> io::Result<()> {
        let mut all = self.0.iter_mut();
        all.try_for_each(|worker| writeln!(worker.orders, "{order}"))
    }

    /// The next answer of each, which begins with `word`, without it.
    pub async fn answers(&mut self, word: &str) -> io::Result<Vec<String>> {
        let mut answers = Vec::new();
        for worker in &mut self.0 {
            let answer = timeout(GUARD, worker.answers.recv()).await?;
            let answer = answer.ok_or_else(|| io::Error::other("clients are gone"))?;
            let answer = answer
                .strip_prefix(word)
                .ok_or_else(|| io::Error::other(format!("not {word:?} but {answer:?}")))?;
            answers.push(answer.trim().to_owned());
        }
        Ok(answers)
    }
}

impl Worker {
    fn start(task: &Task) -> io::Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .arg("worker")
            .arg(task.addr.to_string())
            .arg(task.from.to_string())
            .arg(task.clients.to_string())
            .arg(task.at_once.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let orders = child.stdin.take().ok_or_else(missing)?;
        let lines = BufReader::new(child.stdout.take().ok_or_else(missing)?).lines();
        let (sender, answers) = mpsc::channel(1024);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            child,
            orders,
            answers,
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
