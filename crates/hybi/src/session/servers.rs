//! The servers of a session, and which of them is tried next.
//!
//! They are tried in order; when none of a round is left, the session waits for the next one.

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

/// The servers, in order, and how far this round has come.
#[derive(Debug)]
pub(super) struct Servers {
    list: Vec<Server>,
    /// Where a round begins.
    first: usize,
    /// How many of the round are done with.
    done: usize,
}

struct Server {
    url: Arc<str>,
    /// The same without a user and a password.
    shown: Arc<str>,
    /// It is to be left alone until then.
    resting: Option<Instant>,
}

impl Server {
    fn rests(&self, now: Instant) -> bool {
        self.resting.is_some_and(|until| now < until)
    }
}

impl Servers {
    pub(super) fn new(url: &str) -> Self {
        let mut servers = Self {
            list: Vec::new(),
            first: 0,
            done: 0,
        };
        servers.push(url);
        servers
    }

    pub(super) fn push(&mut self, url: &str) {
        self.list.push(Server {
            url: url.into(),
            shown: without_user(url).into(),
            resting: None,
        });
    }

    /// The one that is tried now.
    fn at(&self) -> usize {
        // There is always one.
        (self.first + self.done) % self.list.len().max(1)
    }

    pub(super) fn url(&self) -> Arc<str> {
        self.list[self.at()].url.clone()
    }

    /// The same as it may be told.
    pub(super) fn shown(&self) -> Arc<str> {
        self.list[self.at()].shown.clone()
    }

    /// It has worked: the next round begins with it.
    pub(super) fn succeed(&mut self) {
        self.first = self.at();
        self.done = 0;
        self.list[self.first].resting = None;
    }

    /// The one that is tried now, or has worked, wants to be left alone until then.
    pub(super) fn rest(&mut self, until: Instant) {
        let at = self.at();
        self.list[at].resting = Some(until);
    }

    /// It has failed: whether another one of this round is to be tried at once.
    pub(super) fn fail(&mut self, now: Instant) -> bool {
        self.done += 1;
        self.seek(now)
    }

    /// A round is over: when the next one can begin, if it does not begin now.
    pub(super) fn next_round(&mut self, now: Instant) -> Option<Instant> {
        self.done = 0;
        let until = |server: &Server| server.rests(now).then_some(server.resting).flatten();
        // `None` is less than any moment: somebody does not rest.
        self.list.iter().map(until).min().flatten()
    }

    /// Skips who rests; whether there is somebody left in this round.
    pub(super) fn seek(&mut self, now: Instant) -> bool {
        while self.done < self.list.len() && self.list[self.at()].rests(now) {
            self.done += 1;
        }
        let found = self.done < self.list.len();
        if !found {
            self.done = 0;
        }
        found
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("url", &self.shown)
            .field("resting", &self.resting)
            .finish()
    }
}

/// A URL, or what was given as one, without its user information.
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let start = rest[..end].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}", &rest[start..])
}
