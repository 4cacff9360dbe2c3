//! The face for tokio over a scripted transport: calls are polled so many times and dropped, tasks
//! send beside them, and in the end all ends, what came was told once and in order, and what was
//! admitted has left once and in order.
//!
//! The clock stands still until everything waits, so that a wake-up that is lost is a deadline that
//! passes.
#![no_main]

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

use arbitrary::Arbitrary;
use hybi::test::{Fault, Log, Script};
use hybi::{CloseCode, Error, Extensions, Options, Overflow, SendError, Sender, WebSocket};
use hybi_fuzz::door::Door;
use hybi_fuzz::frames::Frame;
use hybi_fuzz::heard::{Heard, Told};
use hybi_fuzz::said::{Ears, Said};
use hybi_fuzz::{Deflating, key, put, take, write};
use hybi_proto::close::Close;
use hybi_proto::connection::{Connection, Role};
use hybi_proto::limits::Limits;
use hybi_proto::message::{Event, Kind, Message};
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{sleep, timeout};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    server: bool,
    driven: bool,
    deflate: Option<Deflating>,
    limit: Option<u16>,
    backlog: u16,
    comes: Vec<Come<'a>>,
    reads: Vec<Read>,
    ends: Ends,
    writes: Vec<Write>,
    trickles: bool,
    fault: Option<(u8, Befalls)>,
    acts: Vec<Act>,
    finish: Finish,
    /// After so many polls its driver is dropped.
    drop: Option<u8>,
}

/// What the peer sends.
#[derive(Arbitrary, Debug)]
enum Come<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Large(u16),
    Parts(bool, [u8; 3]),
    Ping(&'a [u8]),
    Close(Option<u16>),
    Frame(Frame<'a>),
}

/// How it comes.
#[derive(Arbitrary, Debug)]
enum Read {
    Bytes(u16),
    Pending,
}

#[derive(Arbitrary, Debug)]
enum Ends {
    Open,
    Eof,
    Error,
}

#[derive(Arbitrary, Debug)]
enum Write {
    Take(u16),
    Pending,
    Error,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Befalls {
    Error,
    Short,
    Pending,
}

/// How long a call is waited for: an eighth as many polls, with a turn for others in between or not;
/// or, one in four, as long as it takes.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Patience(u8);

#[derive(Arbitrary, Clone, Copy, Debug)]
struct What {
    text: bool,
    len: u16,
    fill: u8,
}

#[derive(Arbitrary, Debug)]
enum Act {
    Recv(Patience),
    Event(Patience),
    Read(Patience, Vec<Patience>),
    Send(What, Patience),
    Feed(What),
    Flush(Patience),
    Reserve(Patience, Option<What>),
    Write(What, Patience, Vec<(u8, Patience)>, bool),
    Ping(u8),
    /// A task of its own sends.
    Spawn(What, Policy),
    StartClose(u16),
    Close(Patience),
    Yield,
    Sleep(u8),
    Abort,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Policy {
    Wait,
    Newest,
    Oldest,
    Conflate(bool),
    Close,
}

#[derive(Arbitrary, Debug)]
enum Finish {
    Recv,
    Events,
    Close,
    Drop,
    Io(bool, What),
    /// A task of its own sends, and closes or not.
    Split(What, bool),
    Fails,
}

/// All that one run knows.
struct Scene {
    heard: Mutex<Heard>,
    said: Mutex<Said>,
    ears: Mutex<Ears>,
    log: Log,
    backlog: usize,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

type Ws = WebSocket<Door>;

/// More than all deadlines of one call together.
const LONG: Duration = Duration::from_secs(1000);

/// No script has so many operations.
const POLLS: usize = 1_000_000;

fuzz_target!(|input: Input<'_>| {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let runtime = runtime.expect("it does no I/O");
    runtime.block_on(async {
        let mut run = pin!(timeout(10_000 * LONG, play(&input)));
        let mut polls = 0;
        let bounded = poll_fn(|cx| {
            polls += 1;
            assert!(polls < POLLS, "it spins");
            run.as_mut().poll(cx)
        });
        bounded.await.expect("it ends");
    });
});

async fn play(input: &Input<'_>) {
    let deflate = input.deflate.map(Deflating::deflate);
    let agreed = Extensions::between(deflate.as_ref(), deflate.as_ref()).deflate();
    let machine = |server, limit| {
        let mut limits = Limits::default();
        limits.message = limit;
        let role = if server {
            Role::Server
        } else {
            Role::Client(key)
        };
        let mut conn = Connection::new(role, limits);
        if let (Some(deflate), Some(agreed)) = (&deflate, agreed) {
            conn.set_deflate(deflate, agreed);
        }
        conn
    };
    let limit = input.limit.map(usize::from);
    let stream = stream(&input.comes, machine(!input.server, None), input.server);
    let mut heard = Heard::new(meaning(machine(input.server, limit), &stream));
    let script = script(input, &stream, &mut heard);
    let log = script.log();
    let backlog = usize::from(input.backlog) % 4096;
    let scene = Arc::new(Scene {
        heard: Mutex::new(heard),
        said: Mutex::default(),
        ears: Mutex::new(Ears::new(machine(!input.server, None), log.clone())),
        log,
        backlog,
        tasks: Mutex::default(),
    });

    let options = Options::new()
        .max_message(limit)
        .backlog(backlog)
        .deflate(deflate)
        .deflate_offload(None);
    let opened = if input.server {
        let door = Door::of_server(script, deflate);
        hybi::accept(door).options(options).await
    } else {
        let door = Door::of_client(script, deflate);
        let connect = hybi::connect("ws://localhost/").mask_source(key);
        connect.options(options).over(door).await
    };
    let Ok(ws) = opened else {
        // It is flushed, and that fails.
        let excuses = &lock(&scene.heard).excuses;
        assert!(excuses.writes || excuses.reads);
        return;
    };
    assert_eq!(ws.extensions().deflate(), agreed);

    let hands = scene.clone();
    if input.driven {
        let driven = hybi::drive(ws, async |ws| hands.act(ws, input).await);
        match input.drop {
            None => {
                let result = timeout(1000 * LONG, driven).await.expect("it ends");
                assert_eq!(result.is_err(), matches!(input.finish, Finish::Fails));
            }
            Some(polls) => {
                let dropped = Patience(polls & !6).wait(driven).await.is_none();
                lock(&scene.said).closed |= dropped;
            }
        }
        assert!(scene.log.is_dropped(), "the transport goes with the driver");
    } else {
        let _ = hands.act(ws, input).await;
    }
    scene.settle(input).await;
}

/// What the peer sends, and what that means.
fn stream(comes: &[Come<'_>], mut peer: Connection, server: bool) -> Vec<u8> {
    let mut stream = Vec::new();
    for come in comes {
        // It may have closed.
        let _ = match *come {
            Come::Text(text) => peer.send(text.into()),
            Come::Binary(bytes) => peer.send(bytes.into()),
            Come::Large(len) => peer.send(vec![len as u8; len.into()].into()),
            Come::Parts(text, lens) => {
                let kind = if text { Kind::Text } else { Kind::Binary };
                let part = |len: u8| vec![b'p'; len.into()].into();
                let sent = |peer: &mut Connection| {
                    peer.begin(kind)?;
                    lens.into_iter()
                        .try_for_each(|len| peer.send_part(part(len)))?;
                    peer.finish()
                };
                sent(&mut peer)
            }
            Come::Ping(payload) => peer.ping(&payload[..payload.len().min(125)]),
            Come::Close(code) => {
                let close = code.and_then(|code| Close::new(code.into(), "bye").ok());
                peer.close(close.as_ref());
                Ok(())
            }
            Come::Frame(ref frame) => {
                frame.encode(server, &mut stream);
                Ok(())
            }
        };
        write(&mut peer, usize::MAX, &mut stream);
        if stream.len() > 64 << 10 {
            break;
        }
    }
    stream
}

fn meaning(
    mut conn: Connection,
    stream: &[u8],
) -> Vec<Result<Event, hybi_proto::error::ProtocolError>> {
    let (mut events, mut rest) = (Vec::new(), stream);
    while !rest.is_empty() {
        rest = &rest[put(&mut conn, rest, usize::MAX)..];
        take(&mut conn, false, &mut events);
    }
    events
}

fn script(input: &Input<'_>, stream: &[u8], heard: &mut Heard) -> Script {
    let mut script = Script::new();
    let mut rest = stream;
    if input.trickles {
        // A byte at a time, each after a wait; then as it is said.
        let (bytes, others) = rest.split_at(rest.len().min(500));
        for byte in bytes {
            script = script.read_pending().read(vec![*byte]);
        }
        rest = others;
        for _ in 0..500 {
            script = script.write_pending().write(1);
        }
    }
    for read in &input.reads {
        script = match *read {
            Read::Bytes(len) if !rest.is_empty() => {
                let (bytes, others) = rest.split_at(rest.len().min(usize::from(len).max(1)));
                rest = others;
                script.read(bytes.to_vec())
            }
            Read::Bytes(_) => script,
            Read::Pending => script.read_pending(),
        };
    }
    if !rest.is_empty() {
        script = script.read(rest.to_vec());
    }
    script = match input.ends {
        Ends::Open => script,
        Ends::Eof => script.eof(),
        Ends::Error => script.read_error(ErrorKind::ConnectionReset),
    };
    for write in &input.writes {
        script = match *write {
            Write::Take(len) => script.write(usize::from(len).max(1)),
            Write::Pending => script.write_pending(),
            Write::Error => {
                heard.excuses.writes = true;
                script.write_error(ErrorKind::BrokenPipe)
            }
        };
    }
    if let Some((at, befalls)) = input.fault {
        let fault = match befalls {
            Befalls::Error => Fault::Error(ErrorKind::TimedOut),
            Befalls::Short => Fault::Short,
            Befalls::Pending => Fault::Pending,
        };
        heard.excuses.writes |= matches!(befalls, Befalls::Error);
        heard.excuses.reads |= matches!(befalls, Befalls::Error);
        script = script.fault_at(at.into(), fault);
    }
    script
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing has panicked")
}

impl Patience {
    fn is_endless(self) -> bool {
        self.0 & 6 == 6
    }

    /// Waits so long, and drops the call.
    async fn wait<T>(self, future: impl Future<Output = T>) -> Option<T> {
        if self.is_endless() {
            return Some(timeout(LONG, future).await.expect("it ends"));
        }
        self.poll(pin!(future)).await
    }

    /// As [`wait`](Self::wait), for what need not end.
    async fn await_event<T>(self, scene: &Scene, future: impl Future<Output = T>) -> Option<T> {
        if !self.is_endless() {
            return self.poll(pin!(future)).await;
        }
        let event = timeout(LONG, future).await.ok();
        if event.is_none() {
            // Nothing else comes.
            assert_eq!(scene.log.unread(), 0);
        }
        event
    }

    async fn poll<T>(self, mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        for _ in 0..self.0 / 8 {
            let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
            if let Poll::Ready(output) = polled {
                return Some(output);
            }
            if self.0 & 1 == 1 {
                yield_now().await;
            }
        }
        None
    }
}

impl What {
    fn compose(self, said: &Mutex<Said>) -> Message {
        lock(said).compose(self.text, usize::from(self.len) % 8192, self.fill)
    }
}

impl Scene {
    async fn act(self: &Arc<Self>, mut ws: Ws, input: &Input<'_>) -> hybi::Result<()> {
        for act in &input.acts {
            self.one(&mut ws, act).await;
            let bound = 2 * (self.backlog + lock(&self.said).largest) + (16 << 10);
            assert!(ws.buffered() <= bound, "{}", ws.buffered());
        }
        self.finish(ws, &input.finish).await
    }

    async fn one(self: &Arc<Self>, ws: &mut Ws, act: &Act) {
        match act {
            Act::Recv(patience) => {
                lock(&self.heard).passes_by();
                let received = patience.await_event(self, ws.recv()).await;
                self.received(received, patience.is_endless());
            }
            Act::Event(patience) => {
                let received = patience.await_event(self, ws.recv_event()).await;
                self.told(received);
            }
            Act::Read(patience, parts) => self.read(ws, *patience, parts).await,
            Act::Send(what, patience) => {
                let message = what.compose(&self.said);
                let sent = patience.wait(ws.send(message.clone())).await;
                self.sent(sent, message);
            }
            Act::Feed(what) => {
                let message = what.compose(&self.said);
                let fed = ws.feed(message.clone());
                if !matches!(fed, Err(Error::Send(SendError::Full))) {
                    self.sent(Some(fed), message);
                }
            }
            Act::Flush(patience) => {
                if let Some(Ok(())) = patience.wait(ws.flush()).await {
                    let said = lock(&self.said);
                    if !said.broken {
                        assert_eq!(ws.buffered(), 0);
                    }
                    lock(&self.ears).check(&said, !said.broken);
                }
            }
            Act::Reserve(patience, what) => {
                if let Some(Ok(permit)) = patience.wait(ws.reserve()).await
                    && let Some(what) = what
                {
                    let message = what.compose(&self.said);
                    permit.commit(message.clone());
                    lock(&self.said).admitted(message);
                }
            }
            Act::Write(what, patience, parts, finish) => {
                self.write(ws, *what, *patience, parts, *finish).await;
            }
            Act::Ping(fill) => {
                let payload = [*fill; 3];
                if ws.ping(payload).is_ok() {
                    lock(&self.said).pinged(&payload);
                }
            }
            Act::Spawn(what, policy) => self.spawn(ws.sender(), *what, *policy, false),
            Act::StartClose(code) => {
                if ws.start_close(CloseCode::new(*code), "why").is_ok() {
                    lock(&self.said).closed = true;
                }
            }
            Act::Close(patience) => {
                lock(&self.heard).discards();
                lock(&self.said).closed |= patience.is_endless() || patience.0 >= 8;
                let close = ws.close(CloseCode::NORMAL, "");
                if let Some(closed) = patience.wait(close).await {
                    lock(&self.heard).end(closed.as_ref().map(drop));
                }
            }
            Act::Yield => yield_now().await,
            Act::Sleep(seconds) => sleep(Duration::from_secs((*seconds).into())).await,
            Act::Abort => {
                lock(&self.heard).excuses.aborted = true;
                lock(&self.said).broken = true;
                ws.abort();
            }
        }
    }

    fn received(&self, received: Option<hybi::Result<Option<Message>>>, waited: bool) {
        let mut heard = lock(&self.heard);
        match received {
            None if waited => heard.is_all(),
            None => {}
            Some(Ok(Some(message))) => heard.message(&message),
            Some(Ok(None)) => heard.end(Ok(())),
            Some(Err(error)) => heard.end(Err(&error)),
        }
    }

    fn told(&self, received: Option<hybi::Result<Option<Event>>>) {
        let mut heard = lock(&self.heard);
        match received {
            None => {}
            Some(Ok(Some(event))) => heard.event(&event),
            Some(Ok(None)) => heard.end(Ok(())),
            Some(Err(error)) => heard.end(Err(&error)),
        }
    }

    /// What became of a message under [`Overflow::Wait`].
    fn sent(&self, sent: Option<hybi::Result<()>>, message: Message) {
        match sent {
            None | Some(Err(Error::Closed | Error::Io(_))) => {}
            Some(Ok(())) => lock(&self.said).admitted(message),
            Some(Err(error)) => panic!("{error}"),
        }
    }

    async fn read(&self, ws: &mut Ws, patience: Patience, parts: &[Patience]) {
        lock(&self.heard).passes_by();
        let mut reader = match patience.await_event(self, ws.recv_reader()).await {
            Some(Ok(Some(reader))) => reader,
            Some(Ok(None)) => return lock(&self.heard).end(Ok(())),
            Some(Err(error)) => return lock(&self.heard).end(Err(&error)),
            None => return,
        };
        let expected = lock(&self.heard).begin();
        let (mut bytes, mut over) = (Vec::new(), false);
        for patience in parts {
            match patience.await_event(self, reader.next()).await {
                None => {}
                Some(Ok(Some(part))) => {
                    if reader.kind() == Kind::Text {
                        std::str::from_utf8(&part).expect("text is cut between two characters");
                    }
                    bytes.extend_from_slice(&part);
                }
                Some(Ok(None)) => over = true,
                // It may also say that the peer has closed in the middle of it.
                Some(Err(Error::Closed)) => break,
                Some(Err(error)) => {
                    lock(&self.heard).end(Err(&error));
                    break;
                }
            }
        }
        lock(&self.heard).parts(expected.as_ref(), &bytes, over);
    }

    async fn write(
        &self,
        ws: &mut Ws,
        what: What,
        patience: Patience,
        parts: &[(u8, Patience)],
        finish: bool,
    ) {
        let message = what.compose(&self.said);
        let (mut content, mut rest) = (Vec::new(), message.as_bytes());
        let Some(Ok(mut writer)) = patience.wait(ws.message(message.kind())).await else {
            return;
        };
        // It is in the way of whatever ends the connection meanwhile.
        let was_broken = std::mem::replace(&mut lock(&self.said).broken, true);
        // The number leaves first, so that the message can be told from others.
        let all = [(0, Patience(u8::MAX))];
        for (len, patience) in all.iter().chain(parts) {
            let least = if content.is_empty() { 11 } else { 0 };
            let len = (usize::from(*len) * 16).max(least).min(rest.len());
            let (part, others) = rest.split_at(len);
            match patience.wait(writer.write(part.to_vec())).await {
                None => {}
                Some(Ok(())) => {
                    content.extend_from_slice(part);
                    rest = others;
                }
                Some(Err(Error::Closed | Error::Io(_))) => return,
                Some(Err(error)) => panic!("{error}"),
            }
        }
        if finish && writer.finish().is_ok() {
            let mut said = lock(&self.said);
            said.broken = was_broken;
            said.admitted(match message.kind() {
                Kind::Text => String::from_utf8(content).expect("it was checked").into(),
                Kind::Binary => content.into(),
            });
        } else {
            lock(&self.said).closed = true;
        }
    }

    fn spawn(self: &Arc<Self>, sender: Sender<Door>, what: What, policy: Policy, closes: bool) {
        let message = what.compose(&self.said);
        let overflow = match policy {
            Policy::Wait => Overflow::Wait,
            Policy::Newest => Overflow::DropNewest,
            Policy::Oldest => Overflow::DropOldest,
            Policy::Conflate(key) => Overflow::Conflate(key.to_string().into()),
            Policy::Close => Overflow::Close,
        };
        let strict = overflow == Overflow::Wait;
        if !strict {
            let mut said = lock(&self.said);
            said.offered(message.clone());
            // It takes along what waits unframed.
            said.broken |= overflow == Overflow::Close;
            said.closed |= overflow == Overflow::Close;
        }
        let scene = self.clone();
        let task = tokio::spawn(async move {
            let sender = sender.overflow(overflow);
            let sent = sender.send(message.clone()).await;
            if strict {
                scene.sent(Some(sent), message);
            }
            if closes {
                let closed = sender.start_close(CloseCode::GOING_AWAY, "");
                assert!(matches!(closed, Ok(()) | Err(Error::Io(_))));
            }
        });
        lock(&self.tasks).push(task);
    }

    async fn finish(self: &Arc<Self>, mut ws: Ws, finish: &Finish) -> hybi::Result<()> {
        if !matches!(
            finish,
            Finish::Drop | Finish::Fails | Finish::Split(_, true)
        ) {
            self.log.eof();
        }
        match finish {
            Finish::Recv => {
                lock(&self.heard).passes_by();
                for _ in 0..3 {
                    self.drain(&mut ws).await;
                }
            }
            Finish::Events => loop {
                let event = timeout(LONG, ws.recv_event()).await.expect("it ends");
                let over = !matches!(event, Ok(Some(_)));
                self.told(Some(event));
                if over {
                    break;
                }
            },
            Finish::Close => {
                lock(&self.heard).discards();
                lock(&self.said).closed = true;
                let close = ws.close(CloseCode::NORMAL, "");
                let closed = timeout(LONG, close).await.expect("it ends");
                lock(&self.heard).end(closed.as_ref().map(drop));
            }
            Finish::Drop => {
                lock(&self.said).closed = true;
            }
            Finish::Io(shut, what) => self.finish_io(ws, *shut, *what).await,
            Finish::Split(what, closes) => {
                lock(&self.heard).passes_by();
                lock(&self.said).closed |= closes;
                let (sender, mut receiver) = ws.split();
                self.spawn(sender, *what, Policy::Wait, *closes);
                loop {
                    let received = timeout(LONG, receiver.recv()).await.expect("it ends");
                    let over = !matches!(received, Ok(Some(_)));
                    self.received(Some(received), false);
                    if over {
                        break;
                    }
                }
            }
            Finish::Fails => {
                lock(&self.said).closed = true;
                return Err(Error::other("it fails"));
            }
        }
        Ok(())
    }

    /// Receives until the connection has ended.
    async fn drain(&self, ws: &mut Ws) {
        loop {
            let received = timeout(LONG, ws.recv()).await.expect("it ends");
            let over = !matches!(received, Ok(Some(_)));
            self.received(Some(received), false);
            if over {
                return;
            }
        }
    }

    async fn finish_io(&self, ws: Ws, shut: bool, what: What) {
        let mut io = ws.into_io();
        let message = What {
            text: false,
            ..what
        }
        .compose(&self.said);
        let bytes = &message.as_bytes()[..message.len().min(64 << 10)];
        let written = timeout(LONG, io.write(bytes)).await.expect("it ends");
        if let Ok(n) = written {
            assert_eq!(n, bytes.len());
            lock(&self.said).admitted(bytes.to_vec().into());
        }
        if shut {
            lock(&self.said).closed = true;
            // It fails if the connection does; reading says so, too.
            let _ = timeout(LONG, io.shutdown()).await.expect("it ends");
        }
        let mut read = Vec::new();
        let end = timeout(LONG, io.read_to_end(&mut read)).await;
        let end = end.expect("it ends");
        if let Some(rest) = lock(&self.heard).rest() {
            let n = read.len().min(rest.len());
            assert_eq!(read[..n], rest[..n]);
            assert!(end.is_err() || read.len() == rest.len());
        }
    }

    /// All tasks end, and what was sent is judged.
    async fn settle(&self, input: &Input<'_>) {
        for task in std::mem::take(&mut *lock(&self.tasks)) {
            let ended = timeout(LONG, task).await.expect("it ends");
            ended.expect("nothing panics");
        }
        assert!(
            self.log.is_dropped(),
            "the transport goes with the last handle"
        );
        let (said, heard) = (lock(&self.said), lock(&self.heard));
        let writes = !heard.excuses.writes;
        let all = heard.told() == Some(Told::Clean) && writes && !said.broken;
        let mut ears = lock(&self.ears);
        ears.check(&said, all && input.drop.is_none());
        let close = ears.close();
        let own = said.closed || said.broken || heard.excuses.aborted || input.drop.is_some();
        if let Some(error) = heard.told_error()
            && !own
            && writes
        {
            assert_eq!(close, Some(error.close_code().as_u16()));
        }
        let mut pings = heard.pings();
        for pong in ears.pongs() {
            assert!(pings.any(|ping| ping == pong), "it answers one");
        }
    }
}
