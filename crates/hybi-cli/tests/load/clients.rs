//! Clients in a process of their own: the program of these tests again, which then runs one of them
//! alone.
//!
//! It is told on stdin how many clients are to go where and what they do there, and says on stdout
//! how that has ended for each.

use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hybi::{CloseCode, Error, HandshakeError, Options, WebSocket};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::judge::Target;
use crate::process::Process;
use crate::{Outcome, guarded};

/// The largest message of these clients.
pub(crate) const LARGEST: usize = 1 << 20;

/// How long they take part in an opening handshake, and how long in a close, in a message that has
/// begun, and in writing to who does not read.
const HANDSHAKE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(1);

/// What a client does once it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Receives until the end.
    Listen,
    /// Closes, and waits for the end.
    Close,
    /// Sends, receives nothing.
    Talk,
    /// Has something echoed, and closes, with all the time that there is.
    Echo,
}

const WAYS: [Way; 4] = [Way::Listen, Way::Close, Way::Talk, Way::Echo];

/// The process.
pub(crate) struct Clients {
    process: Process,
    stdin: Mutex<ChildStdin>,
    asked: Arc<Mutex<Asked>>,
    /// How often was asked. No number comes again: who has given up may still be answered.
    questions: AtomicUsize,
    honest: Honest,
}

/// Who waits for the answer to which question: how it has ended for each client.
type Asked = HashMap<usize, mpsc::UnboundedSender<(usize, String)>>;

/// A server that is as it should be.
struct Honest {
    url: String,
    task: JoinHandle<()>,
}

impl Drop for Honest {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Honest {
    async fn start() -> Self {
        let server = hybi::Server::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", server.local_addr().unwrap());
        let task = tokio::spawn(async move {
            let echo = |mut ws: WebSocket, _| async move {
                while let Some(message) = ws.recv().await? {
                    ws.send(message).await?;
                }
                Ok(())
            };
            let _ = server.serve(echo).await;
        });
        Self { url, task }
    }
}

/// Says that this process is the one of the clients, and marks what they say.
const CLIENTS: &str = "HYBI_LOAD_CLIENTS";
const MARK: &str = "> ";
const READY: &str = "ready\n";

impl Clients {
    pub(crate) async fn start() -> Self {
        let test = format!("{}::clients_of_another_process", module_path!());
        let test = test.split_once("::").unwrap().1;
        let (mut process, mut stdout) = Process::start(
            Command::new(std::env::current_exe().unwrap())
                .args([test, "--exact", "--ignored", "--nocapture"])
                .args(["--test-threads", "1"])
                .env(CLIENTS, "1")
                .stdin(Stdio::piped()),
        );
        let stdin = process.stdin().unwrap();
        // What comes before it is of the program that runs tests.
        let mut line = String::new();
        while !line.ends_with(READY) {
            line.clear();
            assert!(stdout.read_line(&mut line).unwrap() > 0);
        }
        let asked: Arc<Mutex<Asked>> = Arc::default();
        std::thread::spawn({
            let asked = asked.clone();
            move || {
                for line in stdout.lines().map_while(Result::ok) {
                    let Some((_, told)) = line.split_once(MARK) else {
                        continue;
                    };
                    let mut told = told.splitn(3, ' ');
                    let mut number = || told.next().unwrap().parse().unwrap();
                    let (question, client) = (number(), number());
                    let told = told.next().unwrap().to_owned();
                    if let Some(asker) = asked.lock().unwrap().get(&question) {
                        let _ = asker.send((client, told));
                    }
                }
                // Who waits still, waits in vain.
                asked.lock().unwrap().clear();
            }
        });
        Self {
            process,
            stdin: Mutex::new(stdin),
            asked,
            questions: AtomicUsize::new(0),
            honest: Honest::start().await,
        }
    }

    /// Sends so many clients to the paths `/0`, `/1` and so on of a URL, and tells how it has ended
    /// for each.
    pub(crate) async fn go(&self, count: usize, way: Way, url: &str) -> Outcome<Vec<String>> {
        let (asker, mut told) = mpsc::unbounded_channel();
        let question = {
            let mut stdin = self.stdin.lock().unwrap();
            let mut asked = self.asked.lock().unwrap();
            asked.retain(|_, asker| !asker.is_closed());
            let question = self.questions.fetch_add(1, Ordering::Relaxed);
            asked.insert(question, asker);
            let line = format!("{question} {count} {way:?} {url}\n");
            stdin
                .write_all(line.as_bytes())
                .map_err(|e| e.to_string())?;
            question
        };
        let mut ends = vec![String::new(); count];
        for _ in 0..count {
            let (client, end) = told.recv().await.ok_or("the clients have died")?;
            ends[client] = end;
        }
        self.asked.lock().unwrap().remove(&question);
        Ok(ends)
    }
}

impl Target for Clients {
    fn process(&self) -> &Process {
        &self.process
    }

    fn into_process(self) -> Process {
        self.process
    }

    /// A client of the same process is served by a server that is as it should be.
    async fn serves(&self) -> Outcome {
        guarded("a fresh client", async {
            match &self.go(1, Way::Echo, &self.honest.url).await?[..] {
                [end] if end == "closed 1000" => Ok(()),
                other => Err(format!("a fresh client ends with {other:?}")),
            }
        })
        .await
    }
}

#[test]
#[ignore = "the other tests run it, as a process of its own"]
fn clients_of_another_process() {
    if std::env::var_os(CLIENTS).is_none() {
        return;
    }
    let (questions, mut asked) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let _ = questions.send(line);
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(async {
        write!(io::stdout(), "{READY}").unwrap();
        while let Some(line) = asked.recv().await {
            let mut words = line.splitn(4, ' ');
            let mut next = || words.next().unwrap();
            let (question, count, way, url) = (next(), next(), next(), next());
            let way = *WAYS.iter().find(|w| format!("{w:?}") == way).unwrap();
            for client in 0..count.parse().unwrap() {
                let url = format!("{url}/{client}");
                let question = question.to_owned();
                tokio::spawn(async move {
                    let end = match go(url, way).await {
                        Ok(code) => format!("closed {}", code.as_u16()),
                        Err(error) => named(&error),
                    };
                    // Whoever asked may have gone.
                    let _ = writeln!(io::stdout(), "{MARK}{question} {client} {end}");
                });
            }
        }
    });
}

/// Goes there, and tells the code of the close.
async fn go(url: String, way: Way) -> hybi::Result<CloseCode> {
    let options = match way {
        Way::Echo => Options::new().handshake_timeout(None).close_timeout(None),
        _ => Options::new()
            .max_message(LARGEST)
            .handshake_timeout(HANDSHAKE)
            .close_timeout(PATIENCE)
            .message_timeout(PATIENCE)
            .write_timeout(PATIENCE),
    };
    let mut ws = hybi::connect(url).options(options).await?;
    match way {
        Way::Listen => while ws.recv().await?.is_some() {},
        Way::Close => return Ok(ws.close(CloseCode::NORMAL, "").await?.code),
        Way::Talk => {
            while ws.send(&[7; 1000]).await.is_ok() {}
            // Who receives is told why.
            ws.recv().await?;
        }
        Way::Echo => {
            ws.send("fresh").await?;
            assert_eq!(ws.recv().await?, Some("fresh".into()));
            return Ok(ws.close(CloseCode::NORMAL, "").await?.code);
        }
    }
    Ok(ws.close_info().expect("it has ended").code)
}

/// The name of an error, without what a peer has put into it.
fn named(error: &Error) -> String {
    match error {
        Error::Handshake(error) => match &**error {
            HandshakeError::Response { error, .. } => format!("{error:?}"),
            other => format!("{other:?}"),
        },
        Error::Protocol(error) => format!("{error:?}"),
        Error::Timeout(which) => format!("Timeout::{which:?}"),
        Error::Io(error) => format!("{:?}", error.kind()),
        other => format!("{other:?}"),
    }
}
