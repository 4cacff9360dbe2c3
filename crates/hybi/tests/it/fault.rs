//! Every test of the face again, with the first, second, third ... operation of each of its
//! transports short, pending once, or failing, until each has been hit.
//!
//! `#[each_fault]` stands where `#[tokio::test(start_paused = true)]` would, and the transports
//! come from [`script`], [`stream`] and its like, below the `server`, `pair` and `Peer` of
//! [`support`](crate::support). First the test runs undisturbed. An operation that is short or
//! pending once is nothing special: the test must pass just the same. One that fails is, and the
//! test's own assertions may fail after it; but the library must not panic, nobody who waits for it
//! may wait for ever, or be busy for ever, and no transport may be kept.
//!
//! `#[each_fault(counts)]` is for a test whose very point is when its operations come, how many, or
//! of how many bytes, and for one that sends without a driver and then looks at the peer, for what
//! the transport did not take at once leaves with the next call only. It may fail by its
//! assertions whatever the fault.
//!
//! Each repetition has a runtime and a paused clock of its own. Where all of them would take more
//! than [`WORK`], every second operation is hit, or every third, and so on. Tests on real sockets
//! and on threads stay out: what the system does cannot be hit. So do those that move many
//! megabytes, and proptest's, whose cases are drawn.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice, Write as _};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Once};
use std::task::{Context, Poll, ready};
use std::time::Duration;

pub(crate) use each_fault::each_fault;
use hybi::Stream;
use hybi::test::{Fault, Log, Script};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

const FAULTS: [Fault; 3] = [
    Fault::Short,
    Fault::Pending,
    Fault::Error(ErrorKind::ConnectionReset),
];

/// Whether a test must pass where an operation is short or pending.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judged {
    Strictly,
    Leniently,
}

/// Operation number `operation` of transport number `transport`, in the order they were made.
#[derive(Clone, Copy, Debug)]
struct Hit {
    fault: Fault,
    transport: usize,
    operation: usize,
}

/// One repetition, in the thread that runs it.
#[derive(Default)]
struct Run {
    /// Nothing, the first time.
    hit: Option<Hit>,
    transports: Vec<Transport>,
    panics: Vec<Panic>,
    /// What was done beside the transports; see [`costs`].
    beside: usize,
    /// The last of them has ended the test.
    failed: bool,
}

/// What is known of a transport that may be gone.
enum Transport {
    /// With how much there was to read.
    Script(Log, usize),
    Stream(Arc<Seen>),
}

#[derive(Debug, Default)]
struct Seen {
    operations: AtomicUsize,
    bytes: AtomicUsize,
    dropped: AtomicBool,
}

struct Panic {
    file: String,
    text: String,
}

thread_local! {
    static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
}

/// Repeats a test, as the module says.
pub(crate) fn each_fault(judged: Judged, test: impl AsyncFn()) {
    listen();
    let watch = watch();
    RUN.set(Some(Run::default()));
    block_on(&test);
    let undisturbed = RUN.take().unwrap_or_default();
    let operations = undisturbed.operations();
    let work = operations.len() as u64 * undisturbed.work() as u64;
    let stride = work.div_ceil(WORK).max(1) as usize;
    for fault in FAULTS {
        for &(transport, operation) in operations.iter().step_by(stride) {
            let hit = Hit {
                fault,
                transport,
                operation,
            };
            let _ = watch.send(hit);
            Run::of(hit, &test).judge(hit, judged);
        }
    }
}

/// What all repetitions of a test may do, for each fault: so many operations, or 64 times as many
/// bytes. To begin and to end takes as long as [`BEGIN`] of them.
const WORK: u64 = 1 << 16;
const BEGIN: usize = 256;

/// Runs to the end, in a runtime of its own, of which nothing is left then.
fn block_on(test: &impl AsyncFn()) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    let year = Duration::from_secs(365 * 24 * 3600);
    let ends = runtime.block_on(async { tokio::time::timeout(year, test()).await });
    ends.expect(HANGS);
}

/// What a guard says that waits for what does not come.
pub(crate) const HANGS: &str = "hangs: nothing will wake it";

impl Run {
    fn of(hit: Hit, test: &impl AsyncFn()) -> Self {
        RUN.set(Some(Self {
            hit: Some(hit),
            ..Self::default()
        }));
        let ended = panic::catch_unwind(AssertUnwindSafe(|| block_on(test)));
        let mut run = RUN.take().unwrap_or_default();
        run.failed = ended.is_err();
        run
    }

    /// What was done, in operations.
    fn work(&self) -> usize {
        let moved: usize = self.transports.iter().map(Transport::work).sum();
        BEGIN + moved + self.beside
    }

    /// The number of the transport and that of its operation, for each.
    fn operations(&self) -> Vec<(usize, usize)> {
        let transports = self.transports.iter().enumerate();
        let each = transports.map(|(n, seen)| (0..seen.operations()).map(move |at| (n, at)));
        each.flatten().collect()
    }

    fn judge(&self, hit: Hit, judged: Judged) {
        let fails = matches!(hit.fault, Fault::Error(_));
        let strictly = !fails && judged == Judged::Strictly;
        let told = |panic: &&Panic| panic.is_ours() || fails && panic.text.contains(HANGS);
        let why = self.panics.iter().find(told);
        let last = self.panics.last().filter(|_| strictly && self.failed);
        if let Some(Panic { file, text }) = why.or(last) {
            panic!("{hit:?}: {file}: {text}");
        }
        let kept = |transport: &Transport| !transport.is_dropped();
        if let Some(kept) = self.transports.iter().position(kept) {
            panic!("{hit:?}: transport {kept} is not dropped");
        }
    }
}

impl Panic {
    fn of(info: &PanicHookInfo<'_>) -> Self {
        let file = info.location().map_or("", |location| location.file());
        Self {
            file: file.to_owned(),
            text: info.to_string(),
        }
    }

    /// Whether it is the library's, or that of a crate it uses.
    fn is_ours(&self) -> bool {
        // A test's `map(Result::unwrap)` has no place of its own.
        !self.file.contains("tests/it/") && !self.file.ends_with("core/src/ops/function.rs")
    }
}

impl Transport {
    fn operations(&self) -> usize {
        match self {
            Self::Script(log, _) => log.operations(),
            Self::Stream(seen) => seen.operations.load(Ordering::Relaxed),
        }
    }

    fn work(&self) -> usize {
        let bytes = match self {
            Self::Script(log, unread) => log.written().len() + unread,
            Self::Stream(seen) => seen.bytes.load(Ordering::Relaxed),
        };
        self.operations() + bytes / 64
    }

    fn is_dropped(&self) -> bool {
        match self {
            Self::Script(log, _) => log.is_dropped(),
            Self::Stream(seen) => seen.dropped.load(Ordering::Relaxed),
        }
    }
}

/// Keeps the panics of threads that repeat a test, and shows all others as ever.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let show = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let kept = RUN.try_with(|run| {
                let mut run = run.borrow_mut();
                let run = run.as_mut().filter(|run| run.hit.is_some())?;
                run.panics.push(Panic::of(info));
                Some(())
            });
            if !matches!(kept, Ok(Some(()))) {
                show(info);
            }
        }));
    });
}

/// Says what was hit where a repetition does not even come to the next turn of its clock: ten
/// times as long as the slowest takes on a busy machine.
fn watch() -> mpsc::Sender<Hit> {
    let (tell, told) = mpsc::channel();
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    std::thread::spawn(move || {
        let mut hit = None;
        loop {
            match told.recv_timeout(Duration::from_secs(300)) {
                Ok(next) => hit = Some(next),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    // What a test prints is kept until it ends, and this one does not.
                    let _ = writeln!(io::stderr(), "{name}: {hit:?}: busy for ever");
                    std::process::abort();
                }
            }
        }
    });
    tell
}

/// What befalls this transport, which is the next one.
fn enter(transport: Transport) -> Option<(usize, Fault)> {
    RUN.with_borrow_mut(|run| {
        let run = run.as_mut()?;
        run.transports.push(transport);
        let hit = run.hit?;
        let this = hit.transport == run.transports.len() - 1;
        this.then_some((hit.operation, hit.fault))
    })
}

/// The test does what takes as long as so many operations.
pub(crate) fn costs(operations: usize) {
    RUN.with_borrow_mut(|run| {
        if let Some(run) = run {
            run.beside += operations;
        }
    });
}

/// The script, with the fault whose turn it is.
pub(crate) fn script(script: Script) -> Script {
    match enter(Transport::Script(script.log(), script.log().unread())) {
        Some((n, fault)) => script.fault_at(n, fault),
        None => script,
    }
}

/// The stream, with the fault whose turn it is.
pub(crate) fn stream<S>(inner: S) -> Faulty<S> {
    let seen = Arc::new(Seen::default());
    Faulty {
        inner,
        fault: enter(Transport::Stream(seen.clone())),
        broken: [None; 2],
        seen,
    }
}

/// As `tokio::io::duplex`; both ends may be hit.
pub(crate) fn both(buffer: usize) -> (Faulty<DuplexStream>, Faulty<DuplexStream>) {
    let (a, b) = tokio::io::duplex(buffer);
    (stream(a), stream(b))
}

/// As `tokio::io::duplex`; the first end, which is the library's, may be hit.
pub(crate) fn ours(buffer: usize) -> (Faulty<DuplexStream>, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(buffer);
    (stream(ours), theirs)
}

/// A stream of which one operation may be hit. Where it fails, the other end sees the end.
#[derive(Debug)]
pub(crate) struct Faulty<S> {
    inner: S,
    fault: Option<(usize, Fault)>,
    /// Why reading fails from now on, and why writing.
    broken: [Option<ErrorKind>; 2],
    seen: Arc<Seen>,
}

impl Seen {
    fn moved(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn wrote(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.moved(*bytes);
        }
    }
}

impl<S: hybi::Io + Sync> From<Faulty<S>> for Stream {
    fn from(stream: Faulty<S>) -> Self {
        Self::new(stream)
    }
}

impl<S> Drop for Faulty<S> {
    fn drop(&mut self) {
        self.seen.dropped.store(true, Ordering::Relaxed);
    }
}

impl<S: AsyncWrite + Unpin> Faulty<S> {
    /// Counts an operation; whether it is to be short.
    fn begin(&mut self, writes: bool, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let n = self.seen.operations.fetch_add(1, Ordering::Relaxed);
        let fault = self.fault.filter(|(at, _)| *at == n);
        match fault {
            Some((_, Fault::Pending)) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some((_, Fault::Error(kind))) => {
                self.broken[usize::from(writes)] = Some(kind);
                let _ = Pin::new(&mut self.inner).poll_shutdown(cx);
            }
            _ => {}
        }
        match self.broken[usize::from(writes)] {
            Some(kind) => Poll::Ready(Err(kind.into())),
            None => Poll::Ready(Ok(matches!(fault, Some((_, Fault::Short))))),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Faulty<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !ready!(self.begin(false, cx))? || buf.remaining() == 0 {
            let before = buf.filled().len();
            let read = Pin::new(&mut self.inner).poll_read(cx, buf);
            self.seen.moved(buf.filled().len() - before);
            return read;
        }
        let mut byte = [0];
        let mut short = ReadBuf::new(&mut byte);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut short))?;
        buf.put_slice(short.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Faulty<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let short = ready!(self.begin(true, cx))?;
        let buf = if short { &buf[..buf.len().min(1)] } else { buf };
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.seen.wrote(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !ready!(self.begin(true, cx))? {
            let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
            self.seen.wrote(&written);
            return written;
        }
        let first = bufs.iter().find_map(|buf| buf.get(..1)).unwrap_or_default();
        Pin::new(&mut self.inner).poll_write(cx, first)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.begin(true, cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.begin(true, cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
