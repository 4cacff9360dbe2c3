//! One client sends, and all others must get each message once and in order.
//!
//! The next message is sent when so few are on their way that it may be: with one in flight, when
//! everybody has the last.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::client::{self, Kind};
use crate::row::{Load, STUCK, Until};

/// What is measured in one table.
pub struct Row {
    /// Who get each message, besides the one who sends it.
    pub clients: usize,
    pub bytes: usize,
    pub in_flight: usize,
    /// The load sleeps while it waits.
    pub sleep: bool,
}

/// The connections to one server.
pub struct Broadcast {
    publisher: TcpStream,
    clients: Vec<Client>,
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    payload: Vec<u8>,
    most: usize,
    sleep: bool,
    /// Messages that everybody has.
    done: u64,
    /// Messages behind those, which are on their way.
    in_flight: VecDeque<Sent>,
}

struct Client {
    tcp: mio::net::TcpStream,
    /// Messages that have come.
    got: u64,
    /// The front of the next one.
    held: Vec<u8>,
}

struct Sent {
    /// What each client must get.
    frame: Vec<u8>,
    /// How many have it.
    got: usize,
}

impl Broadcast {
    pub fn open(port: u16, row: &Row) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut clients = Vec::new();
        for n in 0..row.clients {
            let tcp = client::connect(port)?;
            tcp.set_nonblocking(true)?;
            let mut tcp = mio::net::TcpStream::from_std(tcp);
            poll.registry()
                .register(&mut tcp, Token(n), Interest::READABLE)?;
            clients.push(Client {
                tcp,
                got: 0,
                held: Vec::new(),
            });
        }
        let publisher = client::connect(port)?;
        // A server may answer a handshake before it has entered the client in its list.
        sleep(Duration::from_millis(100));
        Ok(Self {
            publisher,
            clients,
            poll,
            events: Events::with_capacity(row.clients),
            buffer: vec![0; 64 << 10],
            payload: vec![b'.'; row.bytes],
            most: row.in_flight,
            sleep: row.sleep,
            done: 0,
            in_flight: VecDeque::new(),
        })
    }

    fn goes_on(&self, until: Until, first: u64, elapsed: Duration) -> bool {
        match until {
            Until::Elapsed(time) => elapsed < time,
            Until::Sent(count) => self.sent() < first + count,
        }
    }

    fn sent(&self) -> u64 {
        self.done + self.in_flight.len() as u64
    }

    fn publish(&mut self) -> io::Result<()> {
        let number = self.sent();
        write!(&mut self.payload[..20], "{number:020}")?;
        self.publisher
            .write_all(&client::from_client(Kind::Text, &self.payload))?;
        self.in_flight.push_back(Sent {
            frame: client::from_server(Kind::Text, &self.payload),
            got: 0,
        });
        Ok(())
    }

    /// Reads what has come; false if nothing had.
    fn receive(&mut self) -> io::Result<bool> {
        // A load that sleeps is woken by the server's write, in the time of the server.
        let wait = if self.sleep { STUCK } else { Duration::ZERO };
        self.poll.poll(&mut self.events, Some(wait))?;
        for event in &self.events {
            let client = &mut self.clients[event.token().0];
            loop {
                match client.tcp.read(&mut self.buffer) {
                    Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                    Ok(n) => {
                        client.take(&self.buffer[..n], self.done, &mut self.in_flight)?;
                        // A short read has emptied the socket.
                        if n < self.buffer.len() {
                            break;
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        while self
            .in_flight
            .front()
            .is_some_and(|sent| sent.got == self.clients.len())
        {
            self.in_flight.pop_front();
            self.done += 1;
        }
        Ok(!self.events.is_empty())
    }
}

impl Load for Broadcast {
    /// Sends, and waits until everybody has everything; says how many messages were delivered.
    fn run(&mut self, until: Until) -> io::Result<u64> {
        let (begin, first) = (Instant::now(), self.done);
        let mut last = begin;
        loop {
            let now = Instant::now();
            while self.in_flight.len() < self.most && self.goes_on(until, first, now - begin) {
                self.publish()?;
            }
            if self.in_flight.is_empty() {
                return Ok((self.done - first) * self.clients.len() as u64);
            }
            if self.receive()? {
                last = now;
            } else if now - last > STUCK {
                return Err(io::Error::other("a message has not come"));
            }
        }
    }
}

impl Client {
    /// Takes note of what has come, which must be the messages on their way, in order.
    fn take(
        &mut self,
        mut bytes: &[u8],
        done: u64,
        in_flight: &mut VecDeque<Sent>,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = in_flight
                .get_mut((self.got - done) as usize)
                .ok_or_else(|| io::Error::other("a client got more than was sent"))?;
            let left = &sent.frame[self.held.len()..];
            let (piece, rest) = bytes.split_at(bytes.len().min(left.len()));
            if piece != &left[..piece.len()] {
                return Err(io::Error::other("a client got something else"));
            }
            if piece.len() == left.len() {
                self.held.clear();
                self.got += 1;
                sent.got += 1;
            } else {
                self.held.extend_from_slice(piece);
            }
            bytes = rest;
        }
        Ok(())
    }
}
