//! What a session does while it is polled: attempts, connections, and what comes between them.

use std::io;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hybi_proto::close::Initiator;
use hybi_proto::code::CloseCode;
use hybi_proto::connection;
use hybi_proto::message;
use tokio::time::{Instant, sleep};

use super::line::{self, Line};
use super::{Event, Hook, Session, State};
use crate::client::Connect;
use crate::entropy;
use crate::error::{Error, Result};
use crate::exchange::Deadline;
use crate::link::Link;
use crate::socket::WebSocket;

impl Session {
    /// Goes on until there is something to tell.
    pub(super) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                self.ahead -= cost(&event);
                return Poll::Ready(Ok(Some(event)));
            }
            self.pump();
            match &mut self.state {
                State::Away(_) | State::Opening(_) => ready!(self.poll_open(cx)),
                State::Up(line) => match line.receiver.poll_event(cx, Link::next) {
                    Poll::Ready(Ok(Some(message::Event::Message(message)))) => {
                        return Poll::Ready(Ok(Some(Event::Message(message))));
                    }
                    Poll::Ready(Ok(Some(_))) => {}
                    Poll::Ready(Ok(None)) => self.lose(None),
                    Poll::Ready(Err(error)) => self.lose(Some(error)),
                    // What was handed over now has a deadline, too.
                    Poll::Pending if self.pump() => {}
                    Poll::Pending => return Poll::Pending,
                },
                State::Ended(fault) => {
                    let told = fault
                        .as_mut()
                        .map(|fault| mem::replace(fault, Error::Closed));
                    return Poll::Ready(told.map_or(Ok(None), Err));
                }
            }
        }
    }

    /// Goes on without receiving; ready whenever something has changed.
    pub(super) fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let State::Up(line) = &mut self.state else {
            return self.poll_open(cx);
        };
        if line.sender.state() == connection::State::Open {
            let flushed = ready!(pin!(line.sender.flush()).poll(cx));
            if flushed.is_ok() {
                return Poll::Ready(());
            }
        }
        self.poll_rest(cx)
    }

    /// Brings a connection that takes nothing any more to its end, and keeps what it still gives.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let State::Up(line) = &mut self.state {
            match ready!(line.receiver.poll_event(cx, Link::next)) {
                Ok(Some(message::Event::Message(message))) => {
                    let event = Event::Message(message);
                    self.ahead += cost(&event);
                    self.events.push_back(event);
                    if self.ahead > AHEAD {
                        let kind = io::ErrorKind::ConnectionAborted;
                        let error = io::Error::new(kind, "the peer takes nothing, and sends on");
                        self.lose(Some(error.into()));
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => self.lose(None),
                Err(error) => self.lose(Some(error)),
            }
        }
        Poll::Ready(())
    }

    /// Hands over what is queued, if there is a connection; whether anything came of it.
    pub(super) fn pump(&mut self) -> bool {
        let State::Up(line) = &self.state else {
            return false;
        };
        let moved = line.pump(&mut self.queue, &mut self.leaving);
        if let Some(close) = &self.farewell {
            line.close(close, &self.queue, &self.leaving);
        }
        moved
    }

    /// Waits for the next attempt, or for its outcome.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.state {
            State::Up(_) | State::Ended(_) => {}
            _ if self.farewell.is_some() => self.end(None),
            State::Away(wait) => {
                if let Some(wait) = wait {
                    ready!(wait.as_mut().poll(cx));
                }
                self.begin();
            }
            State::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                Ok(ws) => {
                    self.state = State::Up(Line::new(ws));
                    self.tell(Event::Up {
                        url: self.servers.shown(),
                        attempt: self.attempts,
                    });
                }
                Err(error) => self.retry(error, false),
            },
        }
        Poll::Ready(())
    }

    /// Begins an attempt.
    fn begin(&mut self) {
        self.servers.seek(Instant::now());
        self.attempts = self.attempts.saturating_add(1);
        let (connect, hook) = (self.connect.clone(), self.hook.clone());
        self.state = State::Opening(Box::pin(open(connect, hook, self.servers.url())));
    }

    /// The connection has ended, cleanly if there is no error.
    fn lose(&mut self, error: Option<Error>) {
        let State::Up(line) = &self.state else {
            return;
        };
        let why = line.why(error);
        line.recall(&mut self.leaving);
        self.close_info = line.sender.close_info();
        let lasted = line.since.elapsed() >= self.backoff.reset_after;
        if lasted {
            (self.attempts, self.rounds) = (0, 0);
        }
        match why {
            why if self.farewell.is_none() => self.retry(why, lasted),
            Error::ClosedWith(_) => self.end(None),
            why => self.end(Some(why)),
        }
    }

    /// There is no connection; `lasted` if there was one for some time. Decides when to try again.
    fn retry(&mut self, why: Error, lasted: bool) {
        let worth = match &self.retry_if {
            Some(decide) => decide(&why),
            None => why.is_retryable(),
        };
        let most = self.backoff.max_attempts.map(|most| most.max(1));
        if !worth && is_done(&why) {
            return self.end(None);
        }
        if !worth || most.is_some_and(|most| self.attempts >= most) {
            return self.end(Some(why));
        }
        let now = Instant::now();
        if lasted {
            self.servers.succeed();
        }
        if let Some(pause) = self.backoff.pause(&why, entropy::fraction()) {
            self.servers.rest(now + pause);
        }
        let at_once = !lasted && self.servers.fail(now);
        let retry_in = if at_once {
            Duration::ZERO
        } else {
            let delay = self.backoff.delay(self.rounds, entropy::fraction());
            self.rounds = self.rounds.saturating_add(1);
            let rest = self.servers.next_round(now);
            rest.map_or(delay, |until| delay.max(until - now))
        };
        self.state = State::Away((!at_once).then(|| Box::pin(sleep(retry_in))));
        self.tell(Event::Down { why, retry_in });
    }

    /// Ends the session for good.
    fn end(&mut self, fault: Option<Error>) {
        self.state = State::Ended(fault);
        self.queue.clear();
        self.leaving = None;
    }

    /// Keeps an event until somebody receives. Of coming and going that nobody has seen, only how
    /// it stands now is kept, so that it takes no room.
    fn tell(&mut self, event: Event) {
        let mut seen = self.events.iter().rev().take(2);
        let (last, before) = (seen.next(), seen.next());
        let passes = |event: Option<&Event>| !matches!(event, None | Some(Event::Message(_)));
        let stale = match (&event, last) {
            (Event::Down { .. }, Some(Event::Down { .. })) => 1,
            _ if passes(last) && passes(before) => 2,
            _ => 0,
        };
        self.events.truncate(self.events.len() - stale);
        self.events.push_back(event);
    }
}

/// How much is received while sending from a connection that takes nothing any more: more than it
/// can have read before.
const AHEAD: usize = 512 << 10;

/// What it takes to hold an event.
const HOLD: usize = 128;

fn cost(event: &Event) -> usize {
    match event {
        Event::Message(message) => HOLD + message.len(),
        _ => 0,
    }
}

/// Whether the peer has said that all is done.
fn is_done(why: &Error) -> bool {
    let done = [CloseCode::NORMAL, CloseCode::NO_STATUS];
    matches!(why, Error::ClosedWith(info)
        if info.initiator == Initiator::Peer && done.contains(&info.code))
}

/// One attempt: the opening handshake, and the hook.
async fn open(connect: Arc<Connect>, hook: Option<Hook>, url: Arc<str>) -> Result<WebSocket> {
    let (ws, _) = connect.open(&url).await?;
    let Some(hook) = hook else {
        return Ok(ws);
    };
    let sender = ws.sender();
    let deadline = Deadline::after(connect.options.get().handshake_timeout);
    let hooked = deadline.run(hook(ws)).await;
    hooked.map_err(|error| line::why(&sender, error))
}
