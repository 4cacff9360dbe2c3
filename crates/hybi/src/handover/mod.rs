//! The hand-over between senders, receiver and driver, checked with shuttle: the code that runs
//! on a socket runs here over bytes in memory, on schedules that are drawn (`scripts/shuttle.sh`).
//!
//! A wake-up that is lost is a deadlock, which shuttle reports; what arrived is what a peer reads.
//! A schedule that failed is printed, and SHUTTLE_SCHEDULE runs it again.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod pipe;
mod sending;
mod halves;
mod ending;
mod parts;

use std::env;
use std::future::{Ready, ready};
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use shuttle::future::{JoinHandle, block_on, spawn};
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, Runner};

use crate::driver::{Drive, drive};
use crate::error::Result;
use crate::options::Options;
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::socket::{Role, WebSocket};
use pipe::{End, Peer, pipe};

/// Who sees to the transport, and where the receiver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Who calls; the receiver is in a task of its own.
    Undriven,
    /// A driver, whose handler has given the socket away; the receiver is in a task of its own.
    GivenAway,
    /// A driver, and its handler receives.
    Handler,
    /// A driver, whose handler has given the socket away; the receiver is in the same task.
    Beside,
}

impl Mode {
    fn any() -> Self {
        [Self::Undriven, Self::GivenAway, Self::Handler, Self::Beside][draw(4)]
    }

    fn driven() -> Self {
        [Self::GivenAway, Self::Handler, Self::Beside][draw(3)]
    }
}

/// So many priorities change in a schedule of the second half.
const DEPTH: usize = 3;

/// Runs a scenario on many schedules: half of them drawn step by step, and half with priorities
/// that seldom change, so that one task is left far behind.
fn check(scenario: impl Fn() + Send + Sync + 'static) {
    // A connection that ends sets a timer, which has to be somebody's; it never runs out.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    // A run that failed leaves timers behind, and a runtime that ends would wake them.
    let runtime = ManuallyDrop::new(runtime);
    let _entered = runtime.enter();
    let scenario = Arc::new(scenario);
    let run = |scheduler: Box<dyn Scheduler + Send>| {
        let mut config = Config::new();
        config.stack_size = 256 << 10;
        let scenario = scenario.clone();
        Runner::new(scheduler, config).run(move || scenario());
    };
    if let Ok(schedule) = env::var("SHUTTLE_SCHEDULE") {
        return run(Box::new(ReplayScheduler::new_from_encoded(&schedule)));
    }
    let iterations = env::var("SHUTTLE_ITERATIONS").map_or(6000, |n| n.parse().unwrap());
    run(Box::new(RandomScheduler::new(iterations)));
    run(Box::new(PctScheduler::new(DEPTH, iterations)));
}

/// A number below this one, drawn with the schedule.
fn draw(below: usize) -> usize {
    thread_rng().gen_range(0..below)
}

/// A server with a backlog of so many bytes, and its peer behind a transport that holds a few.
fn server(backlog: usize) -> (WebSocket<End>, Peer) {
    server_behind(1 + draw(6), backlog)
}

/// As [`server`], behind a transport that holds so many bytes in each direction.
///
/// There are no deadlines, for to set a timer is to wake somebody, which hides what was lost.
fn server_behind(room: usize, backlog: usize) -> (WebSocket<End>, Peer) {
    let options = Options::new()
        .backlog(backlog)
        .close_timeout(None)
        .write_timeout(None)
        .message_timeout(None);
    let (ours, theirs) = pipe(room);
    let ws = WebSocket::from_stream(ours.watched(), Role::Server, &options, &[]);
    (ws, Peer::new(theirs))
}

type Halves = (Sender<End>, Receiver<End>);

/// The halves of a socket, and the task that drives it.
fn split(ws: WebSocket<End>, driven: bool) -> (Sender<End>, Receiver<End>, JoinHandle<Result<()>>) {
    if driven {
        let ((sender, receiver), driver) = split_driven(ws);
        (sender, receiver, task(driver))
    } else {
        let (sender, receiver) = ws.split();
        (sender, receiver, task(ready(Ok(()))))
    }
}

fn split_driven(ws: WebSocket<End>) -> (Halves, Drive<End, Ready<Result<()>>>) {
    let mut halves = None;
    let driver = drive(ws, |ws| {
        halves = Some(ws.split());
        ready(Ok(()))
    });
    (halves.unwrap(), driver)
}

/// Lets somebody receive, in the place that the mode says; gives the sender, who drives, and who
/// receives.
fn open<Fut: Future<Output = Result<()>> + Send + 'static>(
    ws: WebSocket<End>,
    mode: Mode,
    receive: impl FnOnce(Receiver<End>) -> Fut,
) -> (Sender<End>, [JoinHandle<Result<()>>; 2]) {
    match mode {
        Mode::Undriven | Mode::GivenAway => {
            let (sender, receiver, driver) = split(ws, mode == Mode::GivenAway);
            (sender, [driver, task(receive(receiver))])
        }
        Mode::Handler => {
            let sender = ws.sender();
            let driver = drive(ws, |ws| receive(ws.split().1));
            (sender, [task(driver), task(ready(Ok(())))])
        }
        Mode::Beside => {
            let ((sender, receiver), driver) = split_driven(ws);
            let receive = receive(receiver);
            let both = async {
                let (driver, receive) = tokio::join!(driver, receive);
                driver.and(receive)
            };
            (sender, [task(both), task(ready(Ok(())))])
        }
    }
}

/// Waits for all of these tasks.
fn join<T>(tasks: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    let tasks = tasks.into_iter();
    tasks.map(|task| wait(task).unwrap()).collect()
}

/// Waits for a future here.
fn wait<F: Future>(future: F) -> F::Output {
    block_on(Task::new(future))
}

fn task<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    spawn(Task::new(future))
}

/// A future that is polled when it was woken, and only then.
///
/// To shuttle a task that waited for a lock was woken: it polls it once more, which hides a
/// wake-up that was lost, and can lose one of its own. So we keep our own record.
struct Task<F> {
    future: Pin<Box<F>>,
    woken: Arc<Woken>,
}

struct Woken {
    is: AtomicBool,
    shuttle: Mutex<Option<Waker>>,
}

impl<F> Task<F> {
    fn new(future: F) -> Self {
        Self {
            future: Box::pin(future),
            woken: Arc::new(Woken {
                is: AtomicBool::new(true),
                shuttle: Mutex::new(None),
            }),
        }
    }
}

impl<F: Future> Future for Task<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        *self.woken.shuttle.lock().unwrap() = Some(cx.waker().clone());
        let waker = self.woken.clone().into();
        while self.woken.is.swap(false, Ordering::Relaxed) {
            let output = self.future.as_mut().poll(&mut Context::from_waker(&waker));
            if output.is_ready() {
                return output;
            }
        }
        Poll::Pending
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.is.store(true, Ordering::Relaxed);
        if let Some(waker) = &*self.shuttle.lock().unwrap() {
            waker.wake_by_ref();
        }
    }
}
