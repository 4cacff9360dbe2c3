//! A client and a server that talk to each other in memory.

use std::io::IoSlice;

use bytes::BufMut;
use hybi_proto::connection::{Connection, Role};
use hybi_proto::limits::Limits;

use super::hex::{KEY, Seen, joined};

/// Two connections and nothing between them.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) client: Connection,
    pub(crate) server: Connection,
}

impl Pair {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            client: Connection::new(Role::Client(|| KEY), limits.clone()),
            server: Connection::new(Role::Server, limits.clone()),
        }
    }

    /// Carries bytes both ways until none are left; what the client saw, and the server.
    pub(crate) fn run(&mut self) -> [Vec<Seen<String>>; 2] {
        let mut seen = [Vec::new(), Vec::new()];
        while self.client.buffered() + self.server.buffered() > 0 {
            carry(&mut self.client, &mut self.server, &mut seen[1]);
            carry(&mut self.server, &mut self.client, &mut seen[0]);
        }
        seen
    }
}

fn carry(from: &mut Connection, to: &mut Connection, seen: &mut Vec<Seen<String>>) {
    let mut slices = [IoSlice::new(&[]); 4];
    let count = from.outbox().slices(&mut slices);
    let sent = joined(&slices[..count]);
    let mut rest = &sent[..];
    while !rest.is_empty() {
        let mut inbox = to.inbox();
        let n = rest.len().min(inbox.remaining_mut());
        inbox.put_slice(&rest[..n]);
        rest = &rest[n..];
        loop {
            match to.next_owned() {
                Ok(None) => break,
                Ok(Some(event)) => seen.push(event.into()),
                Err(error) => seen.push(Seen::Error(error)),
            }
        }
    }
    from.sent(sent.len());
}
