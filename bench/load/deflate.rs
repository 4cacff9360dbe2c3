//! Each connection has one compressed message on its way, and must get it back, compressed.
//!
//! What comes is inflated and compared, byte for byte, and the bytes that the server has sent are
//! counted, with the heads of its frames.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::client::{self, Kind, RSV1};
use crate::feed::Feed;
use crate::row::{Load, STUCK, Sent, Until};

/// What is measured in one table.
#[derive(Clone, Copy)]
pub struct Row {
    pub connections: usize,
}

/// The connections to one server.
pub struct Deflated {
    connections: Vec<Connection>,
    feed: Feed,
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    received: u64,
}

struct Connection {
    tcp: mio::net::TcpStream,
    /// Messages that have come back.
    back: u64,
    /// The front of the next one.
    held: Vec<u8>,
}

impl Deflated {
    pub fn open(port: u16, row: &Row) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut connections = Vec::new();
        let mut feed = None;
        for n in 0..row.connections {
            let (tcp, agreed) = client::connect_deflate(port)?;
            let feed = match &feed {
                Some(feed) => feed,
                None => feed.insert(Feed::new(agreed)?),
            };
            if feed.agreed != agreed {
                return Err(io::Error::other("each connection agrees to something else"));
            }
            tcp.set_nonblocking(true)?;
            let mut tcp = mio::net::TcpStream::from_std(tcp);
            poll.registry()
                .register(&mut tcp, Token(n), Interest::READABLE)?;
            connections.push(Connection {
                tcp,
                back: 0,
                held: Vec::new(),
            });
        }
        Ok(Self {
            connections,
            feed: feed.ok_or(ErrorKind::InvalidInput)?,
            poll,
            events: Events::with_capacity(row.connections),
            buffer: vec![0; 16 << 10],
            received: 0,
        })
    }
}

impl Load for Deflated {
    fn run(&mut self, until: Until) -> io::Result<u64> {
        let begin = Instant::now();
        let (time, mut left) = match until {
            Until::Elapsed(time) => (time, u64::MAX),
            Until::Sent(count) => (Duration::MAX, count),
        };
        let (mut on_their_way, mut done) = (0, 0);
        for (n, connection) in self.connections.iter_mut().enumerate() {
            if left > 0 {
                connection.send(n, &self.feed)?;
                left -= 1;
                on_their_way += 1;
            }
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
                let n = event.token().0;
                let connection = &mut self.connections[n];
                let bytes = connection.receive(n, &mut self.feed, &mut self.buffer)?;
                let Some(bytes) = bytes else { continue };
                self.received += bytes as u64;
                done += 1;
                on_their_way -= 1;
                if left > 0 {
                    connection.send(n, &self.feed)?;
                    left -= 1;
                    on_their_way += 1;
                }
            }
            if !self.events.is_empty() {
                last = now;
            } else if now - last > STUCK {
                return Err(io::Error::other("a message has not come back"));
            }
        }
        Ok(done)
    }

    fn sent_by_server(&self) -> Option<Sent> {
        Some(Sent {
            bytes: self.received,
            agreed: self.feed.agreed,
        })
    }
}

impl Connection {
    /// Sends the next message, for which an empty socket has room.
    fn send(&mut self, n: usize, feed: &Feed) -> io::Result<()> {
        self.tcp.write_all(feed.frame(n, self.back))
    }

    /// Reads what has come; if that is all of the message, checks it and says how many bytes it had.
    fn receive(
        &mut self,
        n: usize,
        feed: &mut Feed,
        buffer: &mut [u8],
    ) -> io::Result<Option<usize>> {
        let len = match self.tcp.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        let came = &buffer[..len];
        let joined;
        let frame = if self.held.is_empty() {
            came
        } else {
            joined = [&self.held, came].concat();
            &joined
        };
        let Some(payload) = payload(frame)? else {
            self.held = frame.to_vec();
            return Ok(None);
        };
        feed.check(n, self.back, payload)?;
        let bytes = frame.len();
        self.held.clear();
        self.back += 1;
        Ok(Some(bytes))
    }
}

/// What a server's frame holds, if it is all there: one text, compressed.
pub fn payload(frame: &[u8]) -> io::Result<Option<&[u8]>> {
    let [first, len, rest @ ..] = frame else {
        return Ok(None);
    };
    if *first != 0x80 | RSV1 | Kind::Text as u8 {
        let why = "what came back is no compressed text in one frame";
        return Err(io::Error::other(why));
    }
    let (len, payload) = match (len, rest) {
        (0..=125, rest) => (usize::from(*len), rest),
        (126, [a, b, rest @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), rest),
        (126, _) => return Ok(None),
        _ => return Err(io::Error::other("what came back is too long, or masked")),
    };
    if payload.len() > len {
        return Err(io::Error::other("more came back than was sent"));
    }
    Ok((payload.len() == len).then_some(payload))
}
