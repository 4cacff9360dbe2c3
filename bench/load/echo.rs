//! Each connection keeps so many messages on their way, and must get each back, whole and in order.
//!
//! The messages of a connection follow each other in a circle of one more than may be on their way,
//! each with its number in it. So what is sent and what must come are prepared once, and one
//! comparison of memory tells a lost message, a wrong order, opcode, length or byte.

use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::client::{self, Kind};
use crate::row::{Load, STUCK, Until};

/// What is measured in one table.
pub struct Row {
    pub connections: usize,
    pub in_flight: usize,
    pub bytes: usize,
    pub kind: Kind,
}

/// The connections to one server.
pub struct Echo {
    connections: Vec<Connection>,
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    in_flight: u64,
}

struct Connection {
    tcp: mio::net::TcpStream,
    out: Circle,
    back: Circle,
    /// Messages that were handed to the socket, or wait for room in it.
    sent: u64,
}

/// The bytes of one direction, again and again.
struct Circle {
    /// The circle, and its beginning once more, so that what is on its way lies in one piece.
    frames: Rc<[u8]>,
    frame: usize,
    circle: usize,
    /// Where in the circle it is.
    at: usize,
    /// Messages that are behind it.
    whole: u64,
    /// Bytes behind the last of those.
    part: usize,
}

impl Echo {
    /// A raw server sends the bytes back as they are: masked.
    pub fn open(port: u16, row: &Row, raw: bool) -> io::Result<Self> {
        let (sent, answered) = frames(row);
        let sent: Rc<[u8]> = sent.into();
        let expected = if raw { sent.clone() } else { answered.into() };
        let poll = Poll::new()?;
        let mut connections = Vec::new();
        for n in 0..row.connections {
            let tcp = client::connect(port)?;
            tcp.set_nonblocking(true)?;
            let mut tcp = mio::net::TcpStream::from_std(tcp);
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut tcp, Token(n), both)?;
            connections.push(Connection {
                tcp,
                out: Circle::new(&sent, row),
                back: Circle::new(&expected, row),
                sent: 0,
            });
        }
        Ok(Self {
            connections,
            poll,
            events: Events::with_capacity(row.connections),
            buffer: vec![0; 256 << 10],
            in_flight: row.in_flight as u64,
        })
    }
}

impl Load for Echo {
    fn run(&mut self, until: Until) -> io::Result<u64> {
        let begin = Instant::now();
        let (time, mut left) = match until {
            Until::Elapsed(time) => (time, u64::MAX),
            Until::Sent(count) => (Duration::MAX, count),
        };
        let mut on_their_way = 0;
        let mut done = 0;
        for connection in &mut self.connections {
            let due = self.in_flight.min(left);
            left -= due;
            on_their_way += due;
            connection.send(due)?;
        }
        let mut last = begin;
        while on_their_way > 0 {
            // It never sleeps, or the server would pay for waking it.
            self.poll.poll(&mut self.events, Some(Duration::ZERO))?;
            let now = Instant::now();
            if now - begin >= time {
                left = 0;
            }
            for event in &self.events {
                let connection = &mut self.connections[event.token().0];
                let back = connection.receive(&mut self.buffer)?;
                let due = back.min(left);
                left -= due;
                on_their_way = on_their_way + due - back;
                done += back;
                connection.send(due)?;
            }
            if !self.events.is_empty() {
                last = now;
            } else if now - last > STUCK {
                return Err(io::Error::other("a message has not come back"));
            }
        }
        Ok(done)
    }
}

impl Connection {
    /// Sends so many more, or as much of them as the socket takes.
    fn send(&mut self, more: u64) -> io::Result<()> {
        self.sent += more;
        loop {
            let due = self.out.due(self.sent);
            if due.is_empty() {
                return Ok(());
            }
            match self.tcp.write(due) {
                Ok(n) => self.out.advance(n),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads what has come; says how many messages are now whole.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<u64> {
        let before = self.back.whole;
        loop {
            match self.tcp.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    self.take(&buffer[..n])?;
                    // A short read has emptied the socket.
                    if n < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(self.back.whole - before)
    }

    fn take(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let due = self.back.due(self.sent);
            if due.is_empty() {
                return Err(io::Error::other("more came back than was sent"));
            }
            let (piece, rest) = bytes.split_at(bytes.len().min(due.len()));
            if piece != &due[..piece.len()] {
                return Err(io::Error::other("something else came back"));
            }
            self.back.advance(piece.len());
            bytes = rest;
        }
        Ok(())
    }
}

impl Circle {
    fn new(frames: &Rc<[u8]>, row: &Row) -> Self {
        let frame = frames.len() / (period(row) + row.in_flight);
        Self {
            frames: frames.clone(),
            frame,
            circle: period(row) * frame,
            at: 0,
            whole: 0,
            part: 0,
        }
    }

    /// What is still to come of so many messages.
    fn due(&self, messages: u64) -> &[u8] {
        let len = (messages - self.whole) as usize * self.frame - self.part;
        &self.frames[self.at..self.at + len]
    }

    fn advance(&mut self, bytes: usize) {
        self.at = (self.at + bytes) % self.circle;
        self.part += bytes;
        self.whole += (self.part / self.frame) as u64;
        self.part %= self.frame;
    }
}

/// The messages of a circle. One more than may be on their way, so that none is mistaken for the
/// one that comes in its place when it is lost.
fn period(row: &Row) -> usize {
    row.in_flight + 1
}

/// What is sent, and what a server answers.
fn frames(row: &Row) -> (Vec<u8>, Vec<u8>) {
    let (mut sent, mut answered) = (Vec::new(), Vec::new());
    for n in 0..period(row) + row.in_flight {
        let payload = payload(n % period(row), row);
        sent.extend(client::from_client(row.kind, &payload));
        answered.extend(client::from_server(row.kind, &payload));
    }
    (sent, answered)
}

/// Letters and a number; of a binary message, bytes that are no UTF-8.
fn payload(number: usize, row: &Row) -> Vec<u8> {
    let first = match row.kind {
        Kind::Text => b'a',
        Kind::Binary => 0xe0,
    };
    let mut payload: Vec<u8> = (0..row.bytes).map(|at| first + (at % 26) as u8).collect();
    let digits = format!("{number:06}");
    payload[..6].copy_from_slice(digits.as_bytes());
    payload
}
