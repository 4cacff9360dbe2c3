//! The event door: what a handler is called with, in which order, and how each end is told.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hybi::events::{self, Handler};
use hybi::test::{Fault, Frame, Log, Script};
use hybi::{
    CloseCode, CloseInfo, Error, Heartbeat, Initiator, MessageRef, Options, Request, Result, Role,
    Sender, Server, ServerHandle, State, Stream, WebSocket,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::fault::{self, each_fault};
use crate::support::{Peer, ends, masked, numbers, own_waker, settle, unmasked};

/// What a handler is asked to do in the middle of a connection.
pub(crate) enum Call<'a> {
    Message(MessageRef<'a>),
    Ping(&'a [u8]),
    Pong,
    Drain,
}

/// The calls of a handler, in words.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<Vec<String>>>);

/// The state of one connection: it notes that it was dropped.
pub(crate) struct Kept {
    pub(crate) calls: Calls,
    pub(crate) count: usize,
}

type Opens = dyn Fn(&mut events::Peer<'_>) -> Result<()> + Send + Sync;
type Does = dyn Fn(&mut events::Peer<'_, Kept>, Call<'_>) -> Result<()> + Send + Sync;
type Ends = dyn Fn(&mut events::Peer<'_, Kept>) + Send + Sync;

/// A handler that notes its calls, and does in them what the test says.
pub(crate) struct Noted {
    pub(crate) calls: Calls,
    opens: Box<Opens>,
    does: Box<Does>,
    ends: Box<Ends>,
}

impl Calls {
    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().expect("no panic")
    }

    fn note(&self, line: impl Into<String>) {
        self.lines().push(line.into());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.lines().clone()
    }

    pub(crate) fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|known| *known == line).count()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.calls.note("drop");
    }
}

impl Noted {
    pub(crate) fn new(
        does: impl Fn(&mut events::Peer<'_, Kept>, Call<'_>) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self {
            calls: Calls::default(),
            opens: Box::new(|_| Ok(())),
            does: Box::new(does),
            ends: Box::new(|_| ()),
        }
    }

    pub(crate) fn echo() -> Self {
        Self::new(|peer, call| match call {
            Call::Message(message) => peer.send(message),
            _ => Ok(()),
        })
    }

    pub(crate) fn opens(
        mut self,
        opens: impl Fn(&mut events::Peer<'_>) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.opens = Box::new(opens);
        self
    }

    fn ends(mut self, ends: impl Fn(&mut events::Peer<'_, Kept>) + Send + Sync + 'static) -> Self {
        self.ends = Box::new(ends);
        self
    }

    /// Serves this connection in a task.
    pub(crate) fn serve(self, ws: WebSocket) -> (JoinHandle<Result<()>>, Calls) {
        let calls = self.calls.clone();
        let drive = events::drive(ws, Request::new(()), Arc::new(self));
        (tokio::spawn(drive), calls)
    }
}

impl Handler for Noted {
    type State = Kept;

    fn on_open(&self, peer: &mut events::Peer<'_>, _: Request<()>) -> Result<Kept> {
        self.calls.note("open");
        (self.opens)(peer)?;
        let calls = self.calls.clone();
        Ok(Kept { calls, count: 0 })
    }

    fn on_message(&self, peer: &mut events::Peer<'_, Kept>, message: MessageRef<'_>) -> Result<()> {
        peer.state.count += 1;
        self.calls.note(match message {
            MessageRef::Text(text) if text.len() < 20 => format!("message {text}"),
            message => format!("message of {}", message.as_bytes().len()),
        });
        (self.does)(peer, Call::Message(message))
    }

    fn on_ping(&self, peer: &mut events::Peer<'_, Kept>, payload: &[u8]) -> Result<()> {
        let text = String::from_utf8_lossy(payload);
        self.calls.note(format!("ping {text}"));
        (self.does)(peer, Call::Ping(payload))
    }

    fn on_pong(&self, peer: &mut events::Peer<'_, Kept>, payload: &[u8]) -> Result<()> {
        let text = String::from_utf8_lossy(payload);
        self.calls.note(format!("pong {text}"));
        (self.does)(peer, Call::Pong)
    }

    fn on_drain(&self, peer: &mut events::Peer<'_, Kept>) -> Result<()> {
        self.calls.note("drain");
        (self.does)(peer, Call::Drain)
    }

    fn on_error(&self, _: &mut events::Peer<'_, Kept>, error: Error) {
        self.calls.note(match error {
            Error::Protocol(error) => format!("error {}", error.close_code().as_u16()),
            Error::Io(error) => format!("error {:?}", error.kind()),
            Error::Timeout(timeout) => format!("error {timeout:?}"),
            error => format!("error {error}"),
        });
    }

    fn on_close(&self, peer: &mut events::Peer<'_, Kept>, info: &CloseInfo) {
        let code = info.code.as_u16();
        let clean = if info.clean { "clean" } else { "unclean" };
        let by = match info.initiator {
            Initiator::Local => "us",
            _ => "peer",
        };
        self.calls.note(format!("close {code} {clean} by {by}"));
        (self.ends)(peer);
    }
}

/// A server over a script, and the script's log.
pub(crate) fn scripted(script: Script, options: &Options) -> (WebSocket, Log) {
    let log = script.log();
    let stream = Stream::new(fault::script(script));
    let ws = WebSocket::from_stream(stream, Role::Server, options, &[]);
    (ws, log)
}

/// A place for a sender that a handler gives away.
#[derive(Clone, Default)]
pub(crate) struct Given(Arc<Mutex<Option<Sender>>>);

impl Given {
    pub(crate) fn give(&self, sender: &Sender) {
        *self.0.lock().expect("no panic") = Some(sender.clone());
    }

    pub(crate) fn take(&self) -> Sender {
        let given = self.0.lock().expect("no panic").take();
        given.expect("the handler was called")
    }
}

/// What the peer sees of an end: all frames, until the transport ends.
async fn seen_by(mut peer: Peer) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(frame) = ends(peer.recv()).await.unwrap() {
        if let Some((code, _)) = frame.close_reason() {
            peer.send(Frame::close(code, "")).await.unwrap();
        }
        frames.push(frame);
    }
    frames
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[each_fault(counts)]
async fn a_read_that_brings_32_frames_leads_to_exactly_one_write() {
    let (ws, log) = scripted(Script::new().read(masked(&numbers(0..32))), &Options::new());
    let (task, calls) = Noted::echo().serve(ws);
    settle().await;
    assert_eq!(log.writes().len(), 1);
    assert_eq!(log.written(), unmasked(&numbers(0..32)));
    log.read(masked(&numbers(32..64)));
    settle().await;
    assert_eq!(log.writes().len(), 2);
    assert_eq!(log.written(), unmasked(&numbers(0..64)));
    assert_eq!(calls.all().len(), 1 + 64);
    task.abort();
}

#[each_fault(counts)]
async fn large_messages_of_one_read_leave_in_one_write() {
    let frames = [1, 2, 3].map(|n| Frame::binary(vec![n; 64 << 10]));
    for owned in [false, true] {
        let (ws, log) = scripted(Script::new().read(masked(&frames)), &Options::new());
        let user = Noted::new(move |peer, call| match call {
            Call::Message(message) if owned => peer.send_owned(message.to_message()),
            Call::Message(message) => peer.send(message),
            _ => Ok(()),
        });
        let (task, _) = user.serve(ws);
        settle().await;
        assert_eq!(log.writes().len(), 1);
        // What is given away is not copied into one piece.
        assert_eq!(log.writes()[0].slices > 1, owned);
        assert_eq!(log.written(), unmasked(&frames));
        task.abort();
    }
}

#[each_fault]
async fn what_is_queued_when_the_connection_opens_is_the_first_that_leaves() {
    let (ws, log) = scripted(Script::new().read(masked(&numbers(0..2))), &Options::new());
    let user = Noted::echo().opens(|peer| peer.send("welcome"));
    let (task, calls) = user.serve(ws);
    settle().await;
    let frames = [&[Frame::text("welcome")], &numbers(0..2)[..]].concat();
    assert_eq!(log.written(), unmasked(&frames));
    assert_eq!(calls.all(), ["open", "message 0", "message 1"]);
    task.abort();
}

#[each_fault]
async fn what_was_read_behind_the_handshake_is_shown_at_once() {
    let stream = Stream::new(Script::new());
    let ahead = masked(&numbers(0..3));
    let ws = WebSocket::from_stream(stream, Role::Server, &Options::new(), &ahead);
    let (task, calls) = Noted::echo().serve(ws);
    settle().await;
    let expected = ["open", "message 0", "message 1", "message 2"];
    assert_eq!(calls.all(), expected);
    task.abort();
}

#[each_fault]
async fn each_connection_has_a_state_of_its_own() {
    let user = || {
        Noted::new(|peer, call| match call {
            Call::Message(_) => peer.send(&peer.state.count.to_string()),
            _ => Ok(()),
        })
    };
    let (mut first, one) = Peer::client();
    let (mut second, two) = Peer::client();
    let (one, two) = (user().serve(one), user().serve(two));
    for n in 1..5 {
        for peer in [&mut first, &mut second] {
            peer.send(Frame::text("?")).await.unwrap();
            let answer = ends(peer.recv()).await.unwrap();
            assert_eq!(answer, Some(Frame::text(n.to_string())));
        }
    }
    one.0.abort();
    two.0.abort();
}

#[each_fault]
async fn messages_that_come_byte_by_byte_are_shown_whole() {
    let frames = [
        Frame::text("first"),
        Frame::text("sec").unfinished(),
        Frame::ping("p"),
        Frame::continuation("ond"),
        Frame::pong("q"),
        Frame::text("third"),
        Frame::close(1000, ""),
    ];
    for rests in [false, true] {
        let script = masked(&frames)
            .into_iter()
            .fold(Script::new(), |script, byte| {
                let script = script.read(vec![byte]).write(1);
                if rests {
                    script.read_pending().write_pending()
                } else {
                    script
                }
            });
        let (ws, log) = scripted(script.eof(), &Options::new());
        let (task, calls) = Noted::echo().serve(ws);
        ends(task).await.unwrap().unwrap();
        let expected = [
            "open",
            "message first",
            "ping p",
            "message second",
            "pong q",
            "message third",
            "close 1000 clean by peer",
            "drop",
        ];
        assert_eq!(calls.all(), expected);
        let answers = [
            Frame::text("first"),
            Frame::pong("p"),
            Frame::text("second"),
            Frame::text("third"),
            Frame::close(1000, ""),
        ];
        assert_eq!(log.written(), unmasked(&answers));
    }
}

#[each_fault]
async fn a_large_message_that_is_cut_anywhere_is_shown_once() {
    let frames = [Frame::binary(vec![7; 300_000]), Frame::text("end")];
    let bytes = masked(&frames);
    for size in [1000, 65_536, 100_001, 299_999] {
        let script = bytes
            .chunks(size)
            .fold(Script::new(), |script, part| script.read(part.to_vec()));
        let (ws, log) = scripted(script, &Options::new());
        let (task, calls) = Noted::echo().serve(ws);
        settle().await;
        assert_eq!(calls.count("message of 300000"), 1);
        assert_eq!(calls.all().last().unwrap(), "message end");
        assert_eq!(log.written(), unmasked(&frames));
        task.abort();
    }
}

#[each_fault]
async fn a_ping_that_is_not_answered_by_itself_is_answered_by_the_handler() {
    let frames = [Frame::text("a"), Frame::ping("p"), Frame::text("b")];
    let options = Options::new().auto_pong(false);
    let (ws, log) = scripted(Script::new().read(masked(&frames)), &options);
    let user = Noted::new(|peer, call| match call {
        Call::Message(message) => peer.send(message),
        Call::Ping(payload) => peer.pong([payload, b"!"].concat()),
        _ => Ok(()),
    });
    let (task, _) = user.serve(ws);
    settle().await;
    let answers = [Frame::text("a"), Frame::pong("p!"), Frame::text("b")];
    assert_eq!(log.written(), unmasked(&answers));
    task.abort();
}

#[each_fault]
async fn a_round_trip_that_was_asked_for_is_told() {
    let (mut peer, ws) = Peer::client();
    let (tell, mut told) = mpsc::unbounded_channel();
    let user = Noted::echo().opens(move |peer| {
        let (round_trip, tell) = (peer.ping("when")?, tell.clone());
        tokio::spawn(async move { tell.send(round_trip.await) });
        Ok(())
    });
    let (task, calls) = user.serve(ws);
    assert_eq!(ends(peer.recv()).await.unwrap(), Some(Frame::ping("when")));
    tokio::time::sleep(Duration::from_millis(42)).await;
    peer.send(Frame::pong("when")).await.unwrap();
    let time = ends(told.recv()).await.unwrap().unwrap();
    assert_eq!(time, Duration::from_millis(42));
    assert_eq!(calls.all(), ["open", "pong when"]);
    task.abort();
}

#[each_fault]
async fn a_peer_that_closes_is_answered_and_its_close_is_told_once_and_last() {
    let mut frames = numbers(0..2);
    frames.extend([Frame::close(4000, "bye"), Frame::text("too late")]);
    let (ws, log) = scripted(Script::new().read(masked(&frames)).eof(), &Options::new());
    let (task, calls) = Noted::echo().serve(ws);
    ends(task).await.unwrap().unwrap();
    let expected = [
        "open",
        "message 0",
        "message 1",
        "close 4000 clean by peer",
        "drop",
    ];
    assert_eq!(calls.all(), expected);
    assert_eq!(log.written(), unmasked(&frames[..3]));
    assert!(log.is_dropped());
}

#[each_fault]
async fn a_handler_closes_from_wherever_it_is_called() {
    let close = |peer: &mut events::Peer<'_, Kept>| {
        peer.send("last")?;
        peer.close(CloseCode::new(4001), "enough")?;
        // A second call changes nothing.
        peer.close(CloseCode::NORMAL, "")
    };
    let expected = [Frame::text("last"), Frame::close(4001, "enough")];
    let from = [
        (Frame::text("m"), "message m"),
        (Frame::ping("p"), "ping p"),
        (Frame::pong("p"), "pong p"),
    ];
    for (frame, call) in from {
        let (mut peer, ws) = Peer::of(Role::Server, &Options::new().auto_pong(false), 1 << 16);
        let (task, calls) = Noted::new(move |peer, _| close(peer)).serve(ws);
        peer.send(frame).await.unwrap();
        assert_eq!(seen_by(peer).await, expected);
        ends(task).await.unwrap().unwrap();
        let expected = ["open", call, "close 4001 clean by us", "drop"];
        assert_eq!(calls.all(), expected);
    }

    let (peer, ws) = Peer::client();
    let user = Noted::echo().opens(|peer| {
        peer.send("last")?;
        peer.close(CloseCode::new(4001), "enough")
    });
    let (task, calls) = user.serve(ws);
    assert_eq!(seen_by(peer).await, expected);
    ends(task).await.unwrap().unwrap();
    assert_eq!(calls.all(), ["open", "close 4001 clean by us", "drop"]);
}

#[each_fault]
async fn in_on_close_nothing_can_be_sent_and_a_close_changes_nothing() {
    let (mut peer, ws) = Peer::client();
    let user = Noted::echo().ends(|peer| {
        assert_eq!(peer.sender().state(), State::Closed);
        assert!(matches!(peer.send("late"), Err(Error::Closed)));
        assert!(matches!(peer.send_owned("late"), Err(Error::Closed)));
        assert!(matches!(peer.ping("late"), Err(Error::Closed)));
        peer.close(CloseCode::NORMAL, "late").unwrap();
        peer.abort();
    });
    let (task, calls) = user.serve(ws);
    peer.send(Frame::close(1000, "")).await.unwrap();
    // The abort has dropped what was to leave; nothing else may have left.
    let rest = ends(peer.rest()).await.unwrap();
    assert!(rest.is_empty() || rest == unmasked(&[Frame::close(1000, "")]));
    ends(task).await.unwrap().unwrap();
    assert_eq!(calls.all(), ["open", "close 1000 clean by peer", "drop"]);
}

#[each_fault]
async fn messages_between_our_close_and_the_peers_are_shown_until_the_handler_wants_to_send() {
    for sends in [false, true] {
        let frames = [
            &[Frame::text("stop")],
            &numbers(0..3)[..],
            &[Frame::close(1000, "")],
        ];
        let (ws, log) = scripted(
            Script::new().read(masked(&frames.concat())).eof(),
            &Options::new(),
        );
        let user = Noted::new(move |peer, call| match call {
            Call::Message(MessageRef::Text("stop")) => peer.close(CloseCode::NORMAL, ""),
            Call::Message(message) if sends => peer.send(message),
            _ => Ok(()),
        });
        let (task, calls) = user.serve(ws);
        // To hear that the connection is closed is no failure of the handler's.
        ends(task).await.unwrap().unwrap();
        let shown = ["message stop", "message 0", "message 1", "message 2"];
        let shown = &shown[..if sends { 2 } else { 4 }];
        let expected = [&["open"], shown, &["close 1000 clean by us", "drop"]].concat();
        assert_eq!(calls.all(), expected);
        assert_eq!(log.written(), unmasked(&[Frame::close(1000, "")]));
    }
}

#[each_fault]
async fn a_violation_is_answered_behind_what_came_before_it_and_told() {
    let cases: [(&[u8], u16); 3] = [
        // An opcode that is none, text that is no UTF-8, a frame that is not masked.
        (&[0x83, 0x80, 0, 0, 0, 0], 1002),
        (&[0x81, 0x81, 0, 0, 0, 0, 0xff], 1007),
        (&[0x81, 0x01, 0x61], 1002),
    ];
    for (wrong, code) in cases {
        let bytes = [&masked(&numbers(0..3)), wrong, &masked(&numbers(3..5))].concat();
        let (ws, log) = scripted(Script::new().read(bytes).eof(), &Options::new());
        let (task, calls) = Noted::echo().serve(ws);
        ends(task).await.unwrap().unwrap();
        let expected = [
            "open".into(),
            "message 0".into(),
            "message 1".into(),
            "message 2".into(),
            format!("error {code}"),
            format!("close {code} unclean by us"),
            "drop".into(),
        ];
        assert_eq!(calls.all(), expected);
        let frames = [&numbers(0..3)[..], &[Frame::close(code, "")]].concat();
        assert_eq!(log.written(), unmasked(&frames));
    }
}

#[each_fault]
async fn a_transport_that_fails_or_ends_is_told_as_the_error_that_it_is() {
    let script = || Script::new().read(masked(&numbers(0..1)));
    let scripts = [
        (
            script().read_error(ErrorKind::ConnectionReset),
            "error ConnectionReset",
        ),
        (script().eof(), "error UnexpectedEof"),
    ];
    for (script, error) in scripts {
        let (ws, log) = scripted(script, &Options::new());
        let (task, calls) = Noted::echo().serve(ws);
        ends(task).await.unwrap().unwrap();
        let expected = ["open", "message 0", error, "close 1006 unclean by peer"];
        assert_eq!(calls.all(), [&expected[..], &["drop"]].concat());
        assert!(log.is_dropped());
    }
}

#[each_fault(counts)]
async fn a_transport_that_cannot_be_written_is_told_though_the_handler_did_not_wait_for_it() {
    let script = Script::new()
        .read(masked(&numbers(0..1)))
        .write_error(ErrorKind::BrokenPipe);
    let (ws, log) = scripted(script, &Options::new());
    let (task, calls) = stubborn(1).serve(ws);
    ends(task).await.unwrap().unwrap();
    let expected = ["open", "message 0", "error BrokenPipe"];
    assert_eq!(calls.all()[..3], expected.map(String::from));
    assert_eq!(calls.all()[3..], ["close 1006 unclean by peer", "drop"]);
    assert!(log.is_dropped());
}

#[each_fault]
async fn half_a_message_that_stalls_is_closed_with_1008() {
    let (mut peer, ws) = Peer::client();
    let (task, calls) = Noted::echo().serve(ws);
    peer.send(Frame::text("one")).await.unwrap();
    let half = masked(&[Frame::text("two")]);
    peer.bytes(&half[..7]).await.unwrap();
    let begin = Instant::now();
    assert_eq!(ends(peer.recv()).await.unwrap(), Some(Frame::text("one")));
    let close = ends(peer.recv()).await.unwrap().unwrap();
    assert_eq!(close.close_reason().unwrap().0, CloseCode::POLICY);
    assert!(begin.elapsed() >= secs(60));
    drop(peer);
    ends(task).await.unwrap().unwrap();
    let expected = [
        "open",
        "message one",
        "error 1008",
        "close 1008 unclean by us",
        "drop",
    ];
    assert_eq!(calls.all(), expected);
}

#[each_fault]
async fn a_peer_that_never_answers_a_close_is_given_up() {
    let (mut peer, ws) = Peer::client();
    let user = Noted::new(|peer, _| peer.close(CloseCode::NORMAL, ""));
    let (task, calls) = user.serve(ws);
    peer.send(Frame::text("stop")).await.unwrap();
    let begin = Instant::now();
    ends(task).await.unwrap().unwrap();
    assert!(begin.elapsed() >= secs(30));
    let expected = [
        "open",
        "message stop",
        "error Close",
        "close 1006 unclean by us",
        "drop",
    ];
    assert_eq!(calls.all(), expected);
}

#[each_fault]
async fn a_peer_that_never_reads_is_given_up() {
    // Less and more than what keeps the connection from being read.
    for size in [1000, 200_000] {
        let (mut peer, ws) = Peer::of(Role::Server, &Options::new(), 64);
        let user = Noted::new(move |peer, _| peer.send(&vec![0; size]));
        let (task, calls) = user.serve(ws);
        peer.send(Frame::text("much")).await.unwrap();
        let begin = Instant::now();
        ends(task).await.unwrap().unwrap();
        assert!(begin.elapsed() >= secs(60));
        let expected = ["open", "message much", "error Write"];
        assert_eq!(calls.all()[..3], expected.map(String::from));
        assert_eq!(calls.all()[3..], ["close 1006 unclean by peer", "drop"]);
    }
}

#[each_fault]
async fn after_an_abort_of_the_handler_nothing_is_shown_but_the_end() {
    let (ws, log) = scripted(Script::new().read(masked(&numbers(0..10))), &Options::new());
    let user = Noted::new(|peer, call| {
        if matches!(call, Call::Message(MessageRef::Text("3"))) {
            peer.abort();
        }
        Ok(())
    });
    let (task, calls) = user.serve(ws);
    ends(task).await.unwrap().unwrap();
    let expected = ["open", "message 0", "message 1", "message 2", "message 3"];
    assert_eq!(calls.all()[..5], expected.map(String::from));
    assert_eq!(calls.all()[5..], ["close 1006 unclean by peer", "drop"]);
    assert_eq!(log.written(), b"");
    assert!(log.is_dropped());

    let (ws, log) = scripted(Script::new().read(masked(&numbers(0..10))), &Options::new());
    let user = Noted::echo().opens(|peer| {
        peer.abort();
        Ok(())
    });
    let (task, calls) = user.serve(ws);
    ends(task).await.unwrap().unwrap();
    let expected = ["open", "close 1006 unclean by peer", "drop"];
    assert_eq!(calls.all(), expected);
    assert!(log.is_dropped());
}

#[each_fault]
async fn an_abort_or_a_close_from_another_task_is_told_to_the_handler() {
    for abort in [false, true] {
        let (mut peer, ws) = Peer::client();
        let given = Given::default();
        let give = given.clone();
        let user = Noted::echo().opens(move |peer| {
            give.give(peer.sender());
            Ok(())
        });
        let (task, calls) = user.serve(ws);
        peer.send(Frame::text("here")).await.unwrap();
        assert_eq!(ends(peer.recv()).await.unwrap(), Some(Frame::text("here")));
        settle().await;
        let sender = given.take();
        if abort {
            sender.abort();
            assert_eq!(seen_by(peer).await, []);
        } else {
            sender.start_close(CloseCode::GOING_AWAY, "").unwrap();
            assert_eq!(seen_by(peer).await, [Frame::close(1001, "")]);
        }
        ends(task).await.unwrap().unwrap();
        drop(sender);
        let end = match abort {
            true => "close 1006 unclean by peer",
            false => "close 1001 clean by us",
        };
        assert_eq!(calls.all(), ["open", "message here", end, "drop"]);
    }
}

#[each_fault]
async fn a_handler_that_fails_closes_with_1011_and_is_shown_nothing_more() {
    let asks = [
        (Frame::text("m"), "message m"),
        (Frame::ping("p"), "ping p"),
        (Frame::pong("p"), "pong p"),
    ];
    for (frame, call) in asks {
        let (mut peer, ws) = Peer::of(Role::Server, &Options::new().auto_pong(false), 1 << 16);
        let user = Noted::new(|peer, _| {
            peer.send("last words")?;
            Err(Error::other("out of paper"))
        });
        let (task, calls) = user.serve(ws);
        let more = [Frame::text("more"), Frame::ping("more")];
        peer.bytes(masked(&[&[frame], &more[..]].concat()))
            .await
            .unwrap();
        let seen = seen_by(peer).await;
        assert_eq!(seen, [Frame::text("last words"), Frame::close(1011, "")]);
        let error = ends(task).await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "out of paper");
        let expected = ["open", call, "close 1011 clean by us", "drop"];
        assert_eq!(calls.all(), expected);
    }
}

#[each_fault]
async fn a_handler_that_fails_in_on_drain_closes_with_1011() {
    let (mut peer, ws) = Peer::client();
    let user = Noted::new(|peer, call| match call {
        Call::Drain => Err(Error::other("out of paper")),
        _ => peer.send(&vec![7; 300_000]),
    });
    let (task, calls) = user.serve(ws);
    peer.send(Frame::text("m")).await.unwrap();
    let seen = seen_by(peer).await;
    let expected = [Frame::binary(vec![7; 300_000]), Frame::close(1011, "")];
    assert_eq!(seen, expected);
    ends(task).await.unwrap().unwrap_err();
    let expected = ["open", "message m", "drain", "close 1011 clean by us"];
    assert_eq!(calls.all(), [&expected[..], &["drop"]].concat());
}

#[each_fault]
async fn a_handler_that_fails_in_on_open_closes_with_1011_and_is_not_called_again() {
    let (mut peer, ws) = Peer::client();
    peer.send(Frame::text("m")).await.unwrap();
    let user = Noted::echo().opens(|peer| {
        peer.send("last words")?;
        Err(Error::other("out of paper"))
    });
    let (task, calls) = user.serve(ws);
    let seen = seen_by(peer).await;
    assert_eq!(seen, [Frame::text("last words"), Frame::close(1011, "")]);
    let error = ends(task).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "out of paper");
    assert_eq!(calls.all(), ["open"]);
}

#[each_fault]
async fn a_failure_is_returned_although_the_handler_has_closed_before() {
    let (mut peer, ws) = Peer::client();
    let user = Noted::new(|peer, _| {
        peer.close(CloseCode::NORMAL, "")?;
        Err(Error::other("out of paper"))
    });
    let (task, _) = user.serve(ws);
    peer.send(Frame::text("m")).await.unwrap();
    assert_eq!(seen_by(peer).await, [Frame::close(1000, "")]);
    let error = ends(task).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "out of paper");
}

#[each_fault]
async fn a_handler_that_panics_closes_with_1011_and_the_others_go_on() {
    let (mut peer, ws) = Peer::client();
    let (mut other, beside) = Peer::client();
    let user = Arc::new(Noted::new(|peer, call| match call {
        Call::Message(MessageRef::Text("panic")) => panic!("as expected by the test"),
        Call::Message(message) => peer.send(message),
        _ => Ok(()),
    }));
    let calls = user.calls.clone();
    let task = tokio::spawn(events::drive(ws, Request::new(()), user.clone()));
    let beside = tokio::spawn(events::drive(beside, Request::new(()), user));
    settle().await;
    let frames = [Frame::text("good"), Frame::text("panic"), Frame::text("m")];
    peer.bytes(masked(&frames)).await.unwrap();
    let expected = [Frame::text("good"), Frame::close(1011, "")];
    assert_eq!(seen_by(peer).await, expected);
    let panic = ends(task).await.unwrap_err().into_panic();
    assert_eq!(
        panic.downcast_ref::<&str>(),
        Some(&"as expected by the test")
    );
    other.send(Frame::text("here")).await.unwrap();
    assert_eq!(ends(other.recv()).await.unwrap(), Some(Frame::text("here")));
    let expected = [
        "open",
        "open",
        "message good",
        "message panic",
        "drop",
        "message here",
    ];
    assert_eq!(calls.all(), expected);
    beside.abort();
}

#[each_fault]
async fn a_handler_that_panics_while_much_is_queued_ends_as_soon_as_the_peer_reads() {
    let (mut peer, ws) = Peer::client();
    let given = Given::default();
    let give = given.clone();
    let user = Noted::new(move |peer, _| {
        // The connection is not abandoned.
        give.give(peer.sender());
        peer.send(&vec![7; 300_000])?;
        panic!("as expected by the test")
    });
    let (task, _) = user.serve(ws);
    peer.bytes(masked(&numbers(0..3))).await.unwrap();
    settle().await;
    let begin = Instant::now();
    let expected = [Frame::binary(vec![7; 300_000]), Frame::close(1011, "")];
    assert_eq!(seen_by(peer).await, expected);
    assert!(ends(task).await.unwrap_err().is_panic());
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[each_fault]
async fn to_hear_that_another_connection_is_closed_is_a_failure() {
    let (peer, gone) = Peer::client();
    let other = gone.sender();
    drop((peer, gone));
    other.abort();
    let (mut peer, ws) = Peer::client();
    let user = Noted::new(move |_, _| other.feed("to nobody"));
    let (task, calls) = user.serve(ws);
    peer.send(Frame::text("m")).await.unwrap();
    assert_eq!(seen_by(peer).await, [Frame::close(1011, "")]);
    let result = ends(task).await.unwrap();
    assert!(matches!(result, Err(Error::Closed)), "{result:?}");
    let expected = ["open", "message m", "close 1011 clean by us", "drop"];
    assert_eq!(calls.all(), expected);
}

#[each_fault(counts)]
async fn a_driver_that_is_dropped_tries_one_write_of_1001_aborts_and_drops_the_state() {
    let (ws, log) = scripted(Script::new().read(masked(&numbers(0..1))), &Options::new());
    let (task, calls) = Noted::echo().serve(ws);
    settle().await;
    task.abort();
    settle().await;
    let frames = [Frame::text("0"), Frame::close(1001, "")];
    assert_eq!(log.written(), unmasked(&frames));
    assert!(log.is_dropped());
    assert_eq!(calls.all(), ["open", "message 0", "drop"]);
}

#[each_fault(counts)]
async fn a_driver_that_was_never_polled_has_opened_nothing() {
    let (ws, log) = scripted(Script::new(), &Options::new());
    let user = Noted::echo();
    let calls = user.calls.clone();
    drop(events::drive(ws, Request::new(()), Arc::new(user)));
    assert_eq!(calls.all(), [""; 0]);
    assert_eq!(log.written(), unmasked(&[Frame::close(1001, "")]));
    assert!(log.is_dropped());
}

/// An echo that does not mind that its transport has failed, so that all that came is shown.
fn stubborn(answer: usize) -> Noted {
    Noted::new(move |peer, call| {
        if let Call::Message(message) = call {
            let _ = peer.send(message);
            let _ = peer.send(&vec![0; answer]);
        }
        Ok(())
    })
}

fn conversation() -> Script {
    let mut frames = numbers(0..5);
    frames.push(Frame::ping("p"));
    frames.push(Frame::binary(vec![1; 10_000]));
    frames.push(Frame::close(1000, ""));
    Script::new()
        .read(masked(&frames[..3]))
        .read_pending()
        .read(masked(&frames[3..]))
        .eof()
}

#[each_fault]
async fn whatever_befalls_its_transport_a_handler_hears_of_the_end_once() {
    // Small answers, and such that have to leave before more is shown.
    for answer in [1, 70_000] {
        let run = async |script: Script| {
            let (ws, log) = scripted(script, &Options::new());
            let (task, calls) = stubborn(answer).serve(ws);
            ends(task).await.unwrap().unwrap();
            let mut calls = calls.all();
            // How often it drains is up to the transport.
            calls.retain(|call| call != "drain");
            (calls, log)
        };
        let (undisturbed, log) = run(conversation()).await;
        assert_eq!(undisturbed.len(), 1 + 5 + 1 + 1 + 2);
        let written = log.written();
        for fault in [
            Fault::Short,
            Fault::Pending,
            Fault::Error(ErrorKind::ConnectionReset),
        ] {
            for n in 0.. {
                let (calls, log) = run(conversation().fault_at(n, fault)).await;
                assert!(log.is_dropped(), "{fault:?} at {n}");
                if matches!(fault, Fault::Error(_)) {
                    let (shown, end) = calls.split_at(calls.len() - 2);
                    assert!(end[0].starts_with("close ") && end[1] == "drop");
                    let is_end = |line: &&String| line.starts_with("close") || *line == "drop";
                    assert_eq!(shown.iter().find(is_end), None);
                    let errors = shown.iter().filter(|line| line.starts_with("error"));
                    let errors: Vec<_> = errors.collect();
                    // What could not be written is told although the peer has closed cleanly.
                    let clean = end[0].contains(" clean ");
                    assert!(errors.len() <= 1 && (clean || errors.len() == 1));
                    assert!(errors.iter().all(|error| *error == "error ConnectionReset"));
                    assert!(written.starts_with(&log.written()));
                } else {
                    assert_eq!(calls, undisturbed, "{fault:?} at {n}");
                    assert_eq!(log.written(), written, "{fault:?} at {n}");
                }
                if log.operations() <= n {
                    assert!(n > 3, "only {n} operations");
                    break;
                }
            }
        }
    }
}

#[each_fault]
async fn a_silent_peer_is_pinged_and_then_given_up() {
    let heartbeat = Heartbeat::every(secs(20)).timeout(secs(5));
    let (mut peer, ws) = Peer::of(Role::Server, &Options::new().heartbeat(heartbeat), 1024);
    let (task, calls) = Noted::echo().serve(ws);
    assert_eq!(ends(peer.recv()).await.unwrap(), Some(Frame::ping("")));
    peer.send(Frame::pong("")).await.unwrap();
    assert_eq!(ends(peer.recv()).await.unwrap(), Some(Frame::ping("")));
    ends(task).await.unwrap().unwrap();
    let expected = [
        "open",
        "pong ",
        "error Heartbeat",
        "close 1006 unclean by peer",
        "drop",
    ];
    assert_eq!(calls.all(), expected);
}

#[each_fault]
async fn a_peer_that_is_silent_for_too_long_or_here_for_too_long_is_given_up() {
    let (mut peer, ws) = Peer::of(Role::Server, &Options::new().idle_timeout(secs(20)), 1024);
    let (task, calls) = Noted::echo().serve(ws);
    for _ in 0..5 {
        tokio::time::sleep(secs(19)).await;
        peer.send(Frame::ping("")).await.unwrap();
    }
    ends(task).await.unwrap().unwrap();
    assert_eq!(calls.count("ping "), 5);
    let end = ["error Idle", "close 1006 unclean by peer", "drop"];
    assert_eq!(calls.all()[6..], end);

    let options = Options::new().max_lifetime(secs(100));
    let (peer, ws) = Peer::of(Role::Server, &options, 1024);
    let (task, calls) = Noted::echo().serve(ws);
    let reason = "the connection has reached its maximum lifetime";
    assert_eq!(seen_by(peer).await, [Frame::close(1001, reason)]);
    ends(task).await.unwrap().unwrap();
    assert_eq!(calls.all(), ["open", "close 1001 clean by us", "drop"]);
}

#[each_fault]
async fn a_client_may_be_driven_by_a_handler_too() {
    let (mut peer, ws) = Peer::server();
    let (task, calls) = Noted::echo().opens(|peer| peer.send("hello")).serve(ws);
    assert_eq!(ends(peer.recv()).await.unwrap(), Some(Frame::text("hello")));
    peer.send(Frame::text("one")).await.unwrap();
    assert_eq!(ends(peer.recv()).await.unwrap(), Some(Frame::text("one")));
    peer.send(Frame::close(1000, "")).await.unwrap();
    assert_eq!(
        ends(peer.recv()).await.unwrap(),
        Some(Frame::close(1000, ""))
    );
    drop(peer);
    ends(task).await.unwrap().unwrap();
    let expected = ["open", "message one", "close 1000 clean by peer", "drop"];
    assert_eq!(calls.all(), expected);
}

#[each_fault]
async fn a_handler_is_called_whatever_polls_its_driver() {
    let events = |ws| events::drive(ws, Request::new(()), Arc::new(Noted::echo()));
    for nested in [false, true] {
        let (mut peer, ws) = Peer::client();
        let task = tokio::spawn(async move {
            let idle = own_waker(std::future::pending::<Result<()>>());
            if nested {
                // As a handler of `Server::serve` does that wants both.
                hybi::drive(ws, events).await
            } else {
                tokio::select! {
                    result = own_waker(events(ws)) => result,
                    result = idle => result,
                }
            }
        });
        for n in numbers(0..20) {
            settle().await;
            peer.send(n.clone()).await.unwrap();
            assert_eq!(ends(peer.recv()).await.unwrap(), Some(n));
        }
        let large = Frame::binary(vec![7; 500_000]);
        let (mut read, expected) = (Vec::new(), large.encode(None));
        for piece in masked(&[large]).chunks(30_000) {
            peer.bytes(piece).await.unwrap();
        }
        read.extend(ends(peer.take(expected.len())).await.unwrap());
        assert!(read == expected);
        peer.send(Frame::close(1001, "")).await.unwrap();
        assert_eq!(seen_by(peer).await, [Frame::close(1001, "")]);
        ends(task).await.unwrap().unwrap();
    }
}

#[each_fault]
async fn what_a_connection_has_done_is_counted() {
    let (mut peer, ws) = Peer::client();
    let given = Given::default();
    let give = given.clone();
    let user = Noted::echo().opens(move |peer| {
        give.give(peer.sender());
        Ok(())
    });
    let (task, _) = user.serve(ws);
    peer.bytes(masked(&[Frame::text("hello"), Frame::ping("")]))
        .await
        .unwrap();
    settle().await;
    let sender = given.take();
    let stats = sender.stats();
    assert_eq!((stats.messages_received, stats.messages_sent), (1, 1));
    assert_eq!(stats.bytes_received, (6 + 5) + 6);
    assert_eq!((stats.bytes_sent, stats.buffered), ((2 + 5) + 2, 0));
    drop(sender.ping("when").unwrap());
    let expected = [Frame::text("hello"), Frame::pong(""), Frame::ping("when")];
    for frame in expected {
        assert_eq!(ends(peer.recv()).await.unwrap(), Some(frame));
    }
    tokio::time::sleep(Duration::from_millis(42)).await;
    peer.bytes(masked(&[Frame::pong("when"), Frame::binary([0; 200])]))
        .await
        .unwrap();
    settle().await;
    let stats = sender.stats();
    assert_eq!(stats.messages_received, 2);
    assert_eq!(stats.round_trip, Some(Duration::from_millis(42)));
    task.abort();
}

/// A server of this handler, and its URL.
async fn listen(user: Noted, options: Options) -> (ServerHandle, String) {
    let server = Server::bind("127.0.0.1:0").await.unwrap().options(options);
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let handle = server.handle();
    tokio::spawn(server.serve_events(user));
    (handle, url)
}

#[tokio::test]
async fn a_server_that_shuts_down_tells_its_handler_of_each_connection() {
    let user = Noted::echo();
    let calls = user.calls.clone();
    let (handle, url) = listen(user, Options::new()).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut ws = ends(hybi::connect(&*url)).await.unwrap();
        ends(ws.send("here")).await.unwrap();
        assert_eq!(ends(ws.recv()).await.unwrap(), Some("here".into()));
        clients.push(ws);
    }
    let gone = clients.into_iter().map(|mut ws| async move {
        assert_eq!(ends(ws.recv()).await.unwrap(), None);
        ws.close_info().unwrap()
    });
    let gone: Vec<_> = gone.map(tokio::spawn).collect();
    let report = ends(handle.shutdown(())).await.unwrap();
    assert_eq!((report.closed, report.aborted), (3, 0));
    for info in gone {
        let info = ends(info).await.unwrap();
        assert_eq!((info.code, info.clean), (CloseCode::GOING_AWAY, true));
    }
    assert_eq!(calls.count("close 1001 clean by us"), 3);
    assert_eq!(calls.count("drop"), 3);
}

#[tokio::test]
async fn a_server_pings_those_whose_events_go_to_a_handler_tracked_or_not() {
    let heartbeat = Heartbeat::every(Duration::from_millis(50)).timeout(secs(60));
    for track in [false, true] {
        let server = Server::bind("127.0.0.1:0").await.unwrap().track(track);
        let server = server.options(Options::new().heartbeat(heartbeat));
        let url = format!("ws://{}/", server.local_addr().unwrap());
        tokio::spawn(server.serve_events(Noted::echo()));
        let mut ws = ends(hybi::connect(&*url)).await.unwrap();
        let event = ends(ws.recv_event()).await;
        assert_eq!(event.unwrap(), Some(hybi::Event::Ping("".into())));
    }
}

#[tokio::test]
async fn a_server_closes_who_is_here_for_too_long_tracked_or_not() {
    for track in [false, true] {
        let server = Server::bind("127.0.0.1:0").await.unwrap().track(track);
        let server = server.options(Options::new().max_lifetime(Duration::from_millis(50)));
        let url = format!("ws://{}/", server.local_addr().unwrap());
        tokio::spawn(server.serve_events(Noted::echo()));
        let mut ws = ends(hybi::connect(&*url)).await.unwrap();
        assert_eq!(ends(ws.recv()).await.unwrap(), None);
        let info = ws.close_info().unwrap();
        assert_eq!((info.code, info.clean), (CloseCode::GOING_AWAY, true));
    }
}
