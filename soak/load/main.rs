//! The load: as many connections as the limits allow, to one `hybi serve` or to several that share
//! a port, made as fast as they come, and messages to all of them.
//!
//! The clients are in processes of their own, with addresses of their own: a process may have so
//! many descriptors, and an address so many ports. Each connection must hear each broadcast once;
//! what the servers held before the first client they must hold after the last, and a second burst
//! must add nothing to what the first has taken. What it took is printed. Linux with glibc only.

mod args;
mod kernel;
mod worker;
mod crew;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Instant;

use hybi_soak::process::{Held, Process};
use hybi_soak::raw::{self, Raw, Way};
use tokio::runtime;

use args::Args;
use crew::Crew;
use worker::{Task, now};

/// The clients of a process: less than the limit of descriptors.
const CREW: usize = 17_000;

/// What a later burst may add, in bytes: to what is live after the first, and to the most that was
/// resident. What is resident afterwards is the allocator's choice.
const LIVE: i64 = 256 << 10;
const PEAK: i64 = 8 << 20;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let ended = match words.get(1).map(String::as_str) {
        Some("worker") => match task(&words[2..]) {
            Some(task) => worker::run(task),
            None => Err(io::Error::other("worker: what is to be done?")),
        },
        _ => match Args::parse() {
            Ok(args) => run(&args),
            Err(usage) => {
                eprintln!("{usage}");
                return ExitCode::from(2);
            }
        },
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("load: failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn task(words: &[String]) -> Option<Task> {
    let [addr, from, clients, at_once] = words else {
        return None;
    };
    Some(Task {
        addr: addr.parse().ok()?,
        from: from.parse().ok()?,
        clients: clients.parse().ok()?,
        at_once: at_once.parse().ok()?,
    })
}

fn run(args: &Args) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let servers = start(args)?;
        let begin = Instant::now();
        let mut crew = Crew::hire(&tasks(args, servers[0].addr))?;
        let mut first: Option<Vec<Held>> = None;
        for burst in 1..=args.bursts {
            println!("burst {burst}");
            let after = lay(args, &servers, &mut crew).await?;
            match &first {
                None => first = Some(after),
                Some(first) => compare(first, &after)?,
            }
        }
        drop(crew);
        for server in servers {
            server.end()?;
        }
        println!(
            "load: {} connections to {} servers, {} bursts in {} s: passed",
            args.connections,
            args.servers,
            args.bursts,
            begin.elapsed().as_secs()
        );
        Ok(())
    })
}

fn start(args: &Args) -> io::Result<Vec<Process>> {
    let mut servers: Vec<Process> = Vec::new();
    let options = ["--broadcast", "/all", "--reuse-port"];
    for _ in 0..args.servers {
        let port = servers.first().map_or(0, |first| first.addr.port());
        servers.push(Process::serve(&args.server, port, &options)?);
    }
    Ok(servers)
}

fn tasks(args: &Args, addr: SocketAddr) -> Vec<Task> {
    let crews = args.connections.div_ceil(CREW);
    let task = |crew| Task {
        addr,
        from: Ipv4Addr::new(127, 1, crew as u8, 1),
        // The first ones have one more where it does not come out even.
        clients: (args.connections + crews - 1 - crew) / crews,
        at_once: args.at_once.div_ceil(crews),
    };
    (0..crews).map(task).collect()
}

/// One burst, from the first connection to the last descriptor; what is held then.
async fn lay(args: &Args, servers: &[Process], crew: &mut Crew) -> io::Result<Vec<Held>> {
    let before = held(servers)?;
    let overflows = kernel::listen_overflows()?;
    let begin = Instant::now();
    crew.tell("connect")?;
    let mut connected = 0;
    for answer in crew.answers("connected").await? {
        println!("  clients: connected {answer}");
        let count = answer
            .split(' ')
            .next()
            .and_then(|count| count.parse().ok());
        connected += count.unwrap_or(0);
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "  {connected} connected in {seconds:.2} s, {:.0} a second; the queue was full {} times; \
         sockets: {}",
        connected as f64 / seconds,
        kernel::listen_overflows()? - overflows,
        kernel::tcp_sockets()?,
    );
    if connected != args.connections {
        return Err(io::Error::other("not all have connected"));
    }
    let mut there = Vec::new();
    for (server, before) in servers.iter().zip(&before) {
        let now = server.at_rest(usize::MAX, usize::MAX).await?;
        tell_connected(server, before, &now);
        there.push(now);
    }
    broadcast(args, servers, crew).await?;
    let spoken = held(servers)?;
    let ticks = |held: &[Held]| -> u64 { held.iter().map(|held| held.user + held.system).sum() };
    let deliveries = args.connections * args.broadcasts;
    println!(
        "  {deliveries} deliveries took the servers {:.2} s of CPU, {:.1} us each",
        (ticks(&spoken) - ticks(&there)) as f64 / 100.0,
        (ticks(&spoken) - ticks(&there)) as f64 * 1e4 / deliveries as f64
    );
    crew.tell("leave")?;
    let begin = Instant::now();
    for answer in crew.answers("left").await? {
        println!("  clients: left {answer}");
    }
    let mut after = Vec::new();
    for server in servers {
        let (descriptors, threads) = (server.fresh.descriptors, usize::MAX);
        let now = server.at_rest(descriptors, threads).await?;
        println!(
            "  server {}: {} descriptors as before, live {} B in {} blocks ({} in {} before the \
             first), RSS {} KiB ({}), peak {} KiB",
            server.id(),
            now.descriptors,
            now.live,
            now.blocks,
            server.fresh.live,
            server.fresh.blocks,
            now.rss >> 10,
            server.fresh.rss >> 10,
            now.peak >> 10,
        );
        after.push(now);
    }
    println!("  all gone after {:.2} s", begin.elapsed().as_secs_f64());
    Ok(after)
}

fn held(servers: &[Process]) -> io::Result<Vec<Held>> {
    servers.iter().map(Process::held).collect()
}

fn tell_connected(server: &Process, before: &Held, now: &Held) {
    let count = now.descriptors - server.fresh.descriptors;
    let each = |bytes: i64| bytes as f64 / count.max(1) as f64;
    println!(
        "  server {}: {count} connections; of each {:.0} B resident, {:.0} B live in {:.1} blocks; \
         CPU {:.2} s user, {:.2} s system",
        server.id(),
        each(now.rss as i64 - server.fresh.rss as i64),
        each(now.live - server.fresh.live),
        each(now.blocks - server.fresh.blocks),
        (now.user - before.user) as f64 / 100.0,
        (now.system - before.system) as f64 / 100.0,
    );
}

/// Messages to all, one after the other: in each server one client says them.
async fn broadcast(args: &Args, servers: &[Process], crew: &mut Crew) -> io::Result<()> {
    let mut speakers = speakers(servers).await?;
    for number in 0..args.broadcasts {
        let mut text = format!("{number:08} ").into_bytes();
        text.resize(args.bytes.max(text.len()), b'.');
        let frame = raw::frame(true, raw::TEXT, [1, 2, 3, 4], &text);
        let begin = now();
        for speaker in &mut speakers {
            speaker.send(&frame).await?;
        }
        let (mut first, mut last) = (u64::MAX, 0);
        for answer in crew.answers(&format!("heard {number}")).await? {
            let mut times = answer.split(' ').map_while(|time| time.parse().ok());
            let mut time = || times.next().ok_or(io::ErrorKind::InvalidData);
            first = first.min(time()?);
            last = last.max(time()?);
        }
        let ms = |time: u64| time.saturating_sub(begin) as f64 / 1e6;
        println!(
            "  broadcast {number}: heard by the first after {:.1} ms, by the last after {:.1} ms",
            ms(first),
            ms(last)
        );
    }
    for mut speaker in speakers {
        speaker.send(&raw::close(1000)).await?;
        while speaker.next().await?.is_some() {}
    }
    Ok(())
}

/// A client in the room of each server. Which one has taken a connection, it does not say: its
/// descriptors do.
async fn speakers(servers: &[Process]) -> io::Result<Vec<Raw>> {
    let mut speakers: Vec<Option<Raw>> = servers.iter().map(|_| None).collect();
    while speakers.iter().any(Option::is_none) {
        let before = held(servers)?;
        let mut raw = Way::default().open(servers[0].addr, "/all").await?;
        raw.send(&raw::frame(true, raw::PING, [0; 4], b"")).await?;
        raw.next().await?;
        let grown = held(servers)?
            .iter()
            .zip(&before)
            .position(|(now, before)| now.descriptors > before.descriptors);
        match grown {
            Some(server) if speakers[server].is_none() => speakers[server] = Some(raw),
            _ => {
                raw.send(&raw::close(1000)).await?;
                while raw.next().await?.is_some() {}
                // It is no descriptor any more when the next is counted.
                for (server, before) in servers.iter().zip(&before) {
                    server.at_rest(before.descriptors, usize::MAX).await?;
                }
            }
        }
    }
    Ok(speakers.into_iter().flatten().collect())
}

fn compare(first: &[Held], now: &[Held]) -> io::Result<()> {
    for (first, now) in first.iter().zip(now) {
        let (live, peak) = (now.live - first.live, now.peak as i64 - first.peak as i64);
        if live > LIVE || peak > PEAK {
            return Err(io::Error::other(format!(
                "the burst has added {live} live bytes, and {peak} bytes to the peak of the RSS"
            )));
        }
    }
    Ok(())
}
