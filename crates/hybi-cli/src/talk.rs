//! What `hybi connect` does while it is connected: lines out, messages in.
//!
//! One task owns the socket and waits for the three that can speak: the peer, stdin and the
//! user's wish to stop.

use std::io::{self, Write};

use hybi::{CloseCode, Error, Message, WebSocket};

use crate::escape::{binary, escape};
use crate::lines;
use crate::report::{complain, say};
use crate::stop::Stop;

/// An end that is no close.
pub(crate) enum End {
    /// Nobody reads stdout any more.
    Deaf,
    /// The user asked twice.
    Impatient,
    Lost(Error),
    /// This machine's fault.
    Local(&'static str, io::Error),
}

/// Talks until the connection is closed; tells whether a line was not sent.
pub(crate) async fn talk(ws: &mut WebSocket) -> Result<bool, End> {
    let mut stop = Stop::new().map_err(|error| End::Local("signals cannot be handled", error))?;
    let mut lines =
        lines::stdin(MAX_LINE).map_err(|error| End::Local("stdin cannot be read", error))?;
    let mut unsent = false;
    let sender = ws.sender();
    let mut waiting: Option<String> = None;
    loop {
        // One waits for room while the other receives, so that two ends that both talk never wait
        // for each other.
        let line = tokio::select! {
            message = ws.recv() => match message.map_err(End::Lost)? {
                Some(message) => {
                    print(&message)?;
                    continue;
                }
                None => return Ok(unsent || waiting.is_some()),
            },
            permit = sender.reserve(), if waiting.is_some() => {
                match (permit, waiting.take()) {
                    (Ok(permit), Some(line)) => permit.commit(line),
                    (Ok(_), None) => {}
                    // A connection that is gone says so to `recv`, with what came before.
                    (Err(error), _) => {
                        complain("line not sent", &error);
                        unsent = true;
                    }
                }
                continue;
            }
            line = lines.recv(), if waiting.is_none() => line,
            () = stop.wish() => break,
        };
        match line {
            Some(Ok(line)) => waiting = Some(line),
            Some(Err(why)) => {
                say(format_args!("hybi: not sent: {}", escape(&why.to_string())));
                unsent = true;
            }
            None => break,
        }
    }
    unsent |= waiting.is_some();
    tokio::select! {
        closed = close(ws) => closed.map(|()| unsent),
        () = stop.wish() => Err(End::Impatient),
    }
}

/// Sends the close, and prints what the peer sent before it answers.
async fn close(ws: &mut WebSocket) -> Result<(), End> {
    ws.start_close(CloseCode::NORMAL, "").map_err(End::Lost)?;
    while let Some(message) = ws.recv().await.map_err(End::Lost)? {
        print(&message)?;
    }
    Ok(())
}

pub(crate) fn print(message: &Message) -> Result<(), End> {
    let mut out = io::stdout().lock();
    let printed = match message {
        Message::Text(text) => writeln!(out, "{}", escape(text)),
        Message::Binary(bytes) => writeln!(out, "{}", binary(bytes)),
    };
    printed
        .and_then(|()| out.flush())
        .map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => End::Deaf,
            _ => End::Local("stdout cannot be written", error),
        })
}

/// The longest line that is sent: a peer of this library takes no larger message by default.
pub(crate) const MAX_LINE: usize = 16 << 20;
