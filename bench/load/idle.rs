//! What an idle connection costs the server: the growth of its memory from few to many.
//!
//! First after the handshake alone, then, on a fresh server, after one echo of 1 KiB on each
//! connection. The memory is what the server has resident; what the kernel holds for a socket is
//! not in it. With compression the echo is compressed, both ways.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use crate::args::{Args, Server};
use crate::client::{self, Kind};
use crate::deflate;
use crate::feed::Feed;
use crate::process::Process;
use crate::table;

const PAGE: u64 = 4096;

/// Between how many connections the memory grows.
pub struct Task {
    pub few: usize,
    pub many: usize,
    pub deflate: bool,
}

pub fn print(args: &Args, task: &Task) {
    let (what, echo) = if task.deflate {
        ("what a connection holds that compresses", "compressed echo")
    } else {
        ("memory of an idle connection", "echo")
    };
    let Task { few, many, .. } = task;
    table::title(args, what);
    println!("Bytes by which the server grows with each connection between {few} and {many}:\n");
    println!("| server | after the handshake | after one {echo} of 1 KiB | that is more by |");
    println!("|---|---|---|---|");
    for server in &args.servers {
        let line =
            |[before, after]: [f64; 2]| format!("{before:.0} | {after:.0} | {:.0}", after - before);
        let both = slope(server, task, false).and_then(|a| Ok([a, slope(server, task, true)?]));
        let line = both.map_or_else(|error| format!("cannot do it: {error} | |"), line);
        println!("| {} | {line} |", server.name);
        eprintln!("idle: {}", server.name);
    }
}

fn slope(server: &Server, task: &Task, echo: bool) -> io::Result<f64> {
    let process = Process::start(server, &[])?;
    let mut connections = Vec::with_capacity(task.many);
    let mut feed = None;
    let mut open = |count| -> io::Result<u64> {
        while connections.len() < count {
            let tcp = if task.deflate {
                let (mut tcp, agreed) = client::connect_deflate(process.port)?;
                let feed = match &mut feed {
                    Some(feed) => feed,
                    None => feed.insert(Feed::new(agreed)?),
                };
                if echo {
                    exchange_compressed(&mut tcp, connections.len(), feed)?;
                }
                tcp
            } else {
                let mut tcp = client::connect(process.port)?;
                if echo {
                    exchange(&mut tcp, server.raw)?;
                }
                tcp
            };
            connections.push(tcp);
        }
        settled(process.id())
    };
    let (at_few, at_many) = (open(task.few)?, open(task.many)?);
    for tcp in &mut connections {
        stayed_idle(tcp)?;
    }
    process.end()?;
    Ok((at_many as f64 - at_few as f64) / (task.many - task.few) as f64)
}

/// One message there and back.
fn exchange(tcp: &mut TcpStream, raw: bool) -> io::Result<()> {
    let payload = [b'.'; 1024];
    let sent = client::from_client(Kind::Binary, &payload);
    let expected = if raw {
        sent.clone()
    } else {
        client::from_server(Kind::Binary, &payload)
    };
    tcp.write_all(&sent)?;
    let mut back = vec![0; expected.len()];
    tcp.read_exact(&mut back)?;
    if back != expected {
        return Err(io::Error::other("something else came back"));
    }
    Ok(())
}

/// One message there and back, compressed: the first of that connection.
fn exchange_compressed(tcp: &mut TcpStream, n: usize, feed: &mut Feed) -> io::Result<()> {
    tcp.write_all(feed.frame(n, 0))?;
    let mut frame = Vec::new();
    loop {
        let mut room = [0; 4096];
        let len = tcp.read(&mut room)?;
        if len == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        frame.extend_from_slice(&room[..len]);
        if let Some(payload) = deflate::payload(&frame)? {
            return feed.check(n, 0, payload);
        }
    }
}

/// What is resident once it has stood still for a while.
fn settled(pid: u32) -> io::Result<u64> {
    let mut last = resident(pid)?;
    for _ in 0..20 {
        sleep(Duration::from_millis(300));
        let now = resident(pid)?;
        if now == last {
            break;
        }
        last = now;
    }
    Ok(last)
}

fn resident(pid: u32) -> io::Result<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages = statm.split_whitespace().nth(1);
    let pages: Option<u64> = pages.and_then(|pages| pages.parse().ok());
    Ok(pages.ok_or(ErrorKind::InvalidData)? * PAGE)
}

fn stayed_idle(tcp: &mut TcpStream) -> io::Result<()> {
    tcp.set_nonblocking(true)?;
    match tcp.read(&mut [0]) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::other(
            "an idle connection was written to, or ended",
        )),
    }
}
