//! A process of clients: it does what it is told on stdin, and tells on stdout what came of it.
//!
//! Each client is a connection by hand in a task of its own, which hears broadcasts and says so
//! when all have heard one.

use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hybi_soak::raw::{self, Raw, Way};
use tokio::runtime;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// So many clients have an address together: where most ports of one are taken, the kernel takes
/// long to find another.
const NEIGHBORS: usize = 500;

/// A single attempt to connect, and all attempts of one client.
const ATTEMPT: Duration = Duration::from_secs(60);
const ALL_ATTEMPTS: Duration = Duration::from_secs(300);
const BREATH: Duration = Duration::from_millis(50);

/// What the clients of this process have to do.
#[derive(Clone, Debug)]
pub struct Task {
    pub addr: SocketAddr,
    /// The first address of a network of the clients' own.
    pub from: Ipv4Addr,
    pub clients: usize,
    pub at_once: usize,
}

/// What the clients tell.
#[derive(Debug, Default)]
struct Told {
    /// Why an attempt failed, and how often.
    retries: Mutex<BTreeMap<String, usize>>,
    /// By broadcast: who has heard it, and when the first and the last of them.
    heard: Mutex<Vec<(usize, u64, u64)>>,
}

pub fn run(task: Task) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (sender, mut orders) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    runtime.block_on(async {
        while let Some(order) = orders.recv().await {
            if order == "connect" {
                burst(&task, &mut orders).await?;
            }
        }
        Ok(())
    })
}

/// All connect, hear what is broadcast until it is time to leave, and leave.
async fn burst(task: &Task, orders: &mut mpsc::Receiver<String>) -> io::Result<()> {
    let begin = Instant::now();
    let told = Arc::new(Told::default());
    let gate = Arc::new(Semaphore::new(task.at_once));
    let (leave, leaving) = watch::channel(false);
    let (arrived, mut arrivals) = mpsc::channel(task.clients);
    let mut clients = JoinSet::new();
    for client in 0..task.clients {
        let from = u32::from(task.from) + (client / NEIGHBORS) as u32;
        let way = Way {
            from: Some((Ipv4Addr::from(from), 0).into()),
            ..Way::default()
        };
        let (task, told, gate) = (task.clone(), told.clone(), gate.clone());
        let (arrived, leaving) = (arrived.clone(), leaving.clone());
        clients.spawn(async move {
            let place = gate.acquire_owned().await.map_err(io::Error::other)?;
            let raw = connect(way, task.addr, &told).await?;
            drop(place);
            arrived.send(()).await.map_err(io::Error::other)?;
            drop(arrived);
            hear(raw, task.clients, &told, leaving).await
        });
    }
    drop(arrived);
    let mut count = 0;
    while arrivals.recv().await.is_some() {
        count += 1;
    }
    let retries = format!(
        "{:?}",
        told.retries.lock().unwrap_or_else(PoisonError::into_inner)
    );
    println!(
        "connected {count} {:.3} {retries}",
        begin.elapsed().as_secs_f64()
    );
    while orders.recv().await.is_some_and(|order| order != "leave") {}
    let begin = Instant::now();
    leave.send_replace(true);
    let mut left = 0;
    while let Some(client) = clients.join_next().await {
        match client.map_err(io::Error::other).flatten() {
            Ok(()) => left += 1,
            Err(error) => println!("failed {error}"),
        }
    }
    println!("left {left} {:.3}", begin.elapsed().as_secs_f64());
    Ok(())
}

/// Connects, again if it has to, and is there when a ping was answered.
async fn connect(way: Way, addr: SocketAddr, told: &Told) -> io::Result<Raw> {
    let attempt = || async {
        let mut raw = way.open(addr, "/all").await?;
        raw.send(&raw::frame(true, raw::PING, [0; 4], b"?")).await?;
        match raw.next().await? {
            Some(frame) if frame.opcode == raw::PONG => Ok(raw),
            other => Err(io::Error::other(format!("not a pong but {other:?}"))),
        }
    };
    let begin = Instant::now();
    loop {
        let error = match timeout(ATTEMPT, attempt()).await {
            Ok(Ok(raw)) => return Ok(raw),
            Ok(Err(error)) => error,
            Err(late) => late.into(),
        };
        {
            let mut retries = told.retries.lock().unwrap_or_else(PoisonError::into_inner);
            *retries.entry(error.to_string()).or_default() += 1;
        }
        if begin.elapsed() > ALL_ATTEMPTS {
            return Err(error);
        }
        sleep(BREATH).await;
    }
}

/// Hears each broadcast once and in order, until it is time to leave.
async fn hear(
    mut raw: Raw,
    clients: usize,
    told: &Told,
    mut leaving: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut next = 0;
    loop {
        let frame = tokio::select! {
            frame = raw.next() => frame?,
            _ = leaving.wait_for(|&leaving| leaving) => break,
        };
        let frame = frame.ok_or(io::ErrorKind::UnexpectedEof)?;
        let number = frame.payload.get(..8).map(String::from_utf8_lossy);
        let number = number.and_then(|number| number.parse::<usize>().ok());
        if number != Some(next) {
            return Err(io::Error::other(format!(
                "not broadcast {next} but {number:?}"
            )));
        }
        hears(told, clients, next);
        next += 1;
    }
    raw.send(&raw::close(1000)).await?;
    match raw.next().await? {
        Some(frame) if frame.close_code() == Some(1000) => {}
        other => return Err(io::Error::other(format!("not a close but {other:?}"))),
    }
    match raw.next().await? {
        None => Ok(()),
        other => Err(io::Error::other(format!("behind the close came {other:?}"))),
    }
}

fn hears(told: &Told, clients: usize, number: usize) {
    let now = now();
    let mut heard = told.heard.lock().unwrap_or_else(PoisonError::into_inner);
    if heard.len() <= number {
        heard.resize(number + 1, (0, now, now));
    }
    let (count, first, last) = &mut heard[number];
    *count += 1;
    *last = now;
    if *count == clients {
        println!("heard {number} {first} {last}");
    }
}

/// A time that processes can compare, in nanoseconds.
pub fn now() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    time.unwrap_or_default().as_nanos() as u64
}
