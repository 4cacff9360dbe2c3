//! Bursts of peers against one process, and what is asserted of all of them.
//!
//! What is good goes on while a burst lasts and after it; the memory stays below the bound of the
//! row at every time; descriptors, memory and CPU come back; and later bursts add nothing to what
//! the first one took.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::peer::{Gate, Step};
use crate::process::{Held, Process};
use crate::{Outcome, guarded};

/// What is besieged: a process, and the good that it does.
pub(crate) trait Target: Send + Sync {
    fn process(&self) -> &Process;

    fn into_process(self) -> Process;

    /// The good goes on.
    fn serves(&self) -> impl Future<Output = Outcome> + Send;
}

/// One row of a table.
pub(crate) trait Row: Send + Sync + 'static {
    type Target: Target;

    fn name(&self) -> &'static str;

    /// Starts what is besieged.
    fn target(&self) -> impl Future<Output = Self::Target> + Send;

    /// The peers of a burst.
    fn peers(&self) -> usize;

    /// The most that one of them makes the process hold, in bytes.
    fn holds(&self) -> usize;

    /// What they do, all of them.
    fn steps(&self) -> impl Iterator<Item = &Step>;

    /// Lets the peers loose, and waits for their end.
    fn burst(
        &self,
        target: &Self::Target,
        gate: &Arc<Gate>,
    ) -> impl Future<Output = Outcome> + Send;
}

/// What each connection may hold by the limits when nothing waits: its task, its state, and the
/// page that a small allocation can keep from being given back.
const IDLE: usize = 4 << 10;

/// What may be there beside the connections: the runtime's own, a read buffer of 272 KiB, one
/// for frames of 64 KiB and those of large payloads for each thread, and what the allocator cannot
/// give back.
const SLACK: usize = 4 << 20;

/// What later bursts may add to the RSS after the first, for the allocator's choice of pages
/// differs from burst to burst. It is less than 200 connections that leak 2 KiB each, twice.
const DRIFT: usize = 512 << 10;

/// The third burst adds nothing to what the first one took. Where the peers of the first have
/// not come all at once, on a busy machine, it may; then the fifth adds nothing to the third. What
/// leaks, leaks each time.
const BURSTS: usize = 3;
const MOST_BURSTS: usize = 5;

/// Hundredths of a second of CPU in two idle seconds.
const IDLE_CPU: usize = 4;

/// The good is looked at so often while a burst goes on.
const BREATH: Duration = Duration::from_millis(50);

/// Sockets of this process that are open at once: 1,024 is what many systems allow.
const SOCKETS: usize = 800;
static FREE: Semaphore = Semaphore::const_new(SOCKETS);

/// Runs all rows of a table side by side; those that fail name themselves.
pub(crate) async fn lay<R: Row>(rows: Vec<R>) {
    let mut running = JoinSet::new();
    let count = rows.len();
    for row in rows {
        running.spawn(async move { (row.name(), judge(&row).await) });
    }
    let mut failed = Vec::new();
    while let Some(done) = running.join_next().await {
        let (name, outcome) = done.expect("a row does not panic");
        failed.extend(outcome.err().map(|why| format!("{name}: {why}")));
    }
    let list = failed.join("\n  ");
    assert!(
        failed.is_empty(),
        "{} of {count} rows failed:\n  {list}",
        failed.len()
    );
}

async fn judge<R: Row>(row: &R) -> Outcome {
    let target = row.target().await;
    // What is open before the first good one is what may be open after the last.
    let descriptors = target.process().held().descriptors;
    target.serves().await?;
    let before = target.process().settled(descriptors).await?;
    let bound = row.peers() * (row.holds() + IDLE) + SLACK;
    let mut after = Vec::new();
    for number in 1..=MOST_BURSTS {
        let told = |why| format!("burst {number}: {why}");
        let places = FREE.acquire_many(row.peers() as u32).await.unwrap();
        burst(row, &target, before, bound).await.map_err(told)?;
        drop(places);
        target.serves().await.map_err(told)?;
        let settled = target.process().settled(descriptors).await;
        after.push(settled.map_err(told)?.rss);
        let Some(first) = number.checked_sub(BURSTS) else {
            continue;
        };
        let added = at_most("the RSS", after[number - 1], after[first] + DRIFT);
        match added.map_err(told) {
            Ok(()) => break,
            Err(why) if number == MOST_BURSTS => return Err(why),
            Err(_) => {}
        }
    }
    let process = target.process();
    let peak = process.held().peak;
    // Shown if a row fails, and with --nocapture.
    let sizes = [&[before.rss][..], &after, &[peak, before.rss + bound]].concat();
    let sizes: Vec<_> = sizes.iter().map(|size| size >> 10).collect();
    eprintln!(
        "{}: KiB at rest, after each burst, at the peak, allowed: {sizes:?}",
        row.name()
    );
    at_most("the peak of the RSS", peak, before.rss + bound)?;
    at_most("idle CPU", process.cpu_of_two_seconds().await, IDLE_CPU)?;
    target.into_process().had_no_complaint()
}

async fn burst<R: Row>(row: &R, target: &R::Target, before: Held, bound: usize) -> Outcome {
    let gate = Gate::new(row.peers());
    let meanwhile = async {
        target.serves().await?;
        meet(row, target, before, bound, &gate).await?;
        loop {
            target.serves().await?;
            tokio::time::sleep(BREATH).await;
        }
    };
    guarded("the burst", async {
        tokio::select! {
            ended = row.burst(target, &gate) => ended,
            disturbed = meanwhile => disturbed,
        }
    })
    .await
}

/// Meets the peers where their script says so, and looks at the process.
async fn meet<R: Row>(
    row: &R,
    target: &R::Target,
    before: Held,
    bound: usize,
    gate: &Gate,
) -> Outcome {
    let process = target.process();
    if row.steps().any(|step| matches!(step, Step::Hold)) {
        gate.meet().await;
        target.serves().await?;
        let data = process.held().data;
        at_most("memory asked for", data, before.data + bound)?;
        at_most("idle CPU", process.cpu_of_two_seconds().await, IDLE_CPU)?;
        gate.meet().await;
    }
    if row.steps().any(|step| matches!(step, Step::Outlast)) {
        gate.meet().await;
        process.settled(before.descriptors).await?;
        gate.meet().await;
    }
    Ok(())
}

fn at_most(what: &str, found: usize, bound: usize) -> Outcome {
    match found <= bound {
        true => Ok(()),
        false => Err(format!("{what} is {found}, at most {bound} is allowed")),
    }
}
