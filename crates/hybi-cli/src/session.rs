//! `hybi connect --reconnect`: as without it, over as many connections as it takes.
//!
//! What is typed while there is no connection waits for the next one.

use hybi::session::Event;
use hybi::{CloseCode, Session};

use crate::escape::escape;
use crate::lines;
use crate::report::{causes, say};
use crate::stop::Stop;
use crate::talk::{End, MAX_LINE, print};

/// Talks until one side closes for good; tells whether a line was not sent.
pub(crate) async fn talk(session: &mut Session) -> Result<bool, End> {
    let mut stop = Stop::new().map_err(|error| End::Local("signals cannot be handled", error))?;
    let mut lines =
        lines::stdin(MAX_LINE).map_err(|error| End::Local("stdin cannot be read", error))?;
    let mut unsent = false;
    loop {
        let line = tokio::select! {
            event = session.recv_event() => {
                if !tell(event.map_err(End::Lost)?)? {
                    return Ok(unsent || session.queued() > 0);
                }
                continue;
            }
            line = lines.recv() => line,
            () = stop.wish() => break,
        };
        match line {
            // What ends the session meanwhile is told by `recv_event`.
            Some(Ok(line)) => tokio::select! {
                sent = session.send(line) => unsent |= sent.is_err(),
                () = stop.wish() => {
                    unsent = true;
                    break;
                }
            },
            Some(Err(why)) => {
                say(format_args!("hybi: not sent: {}", escape(&why.to_string())));
                unsent = true;
            }
            None => {
                // To be sure that all leaves, even if that takes another connection.
                tokio::select! {
                    flushed = session.flush() => unsent |= flushed.is_err(),
                    () = stop.wish() => {}
                }
                break;
            }
        }
    }
    unsent |= session.queued() > 0;
    let close = async {
        session
            .start_close(CloseCode::NORMAL, "")
            .map_err(End::Lost)?;
        while tell(session.recv_event().await.map_err(End::Lost)?)? {}
        Ok(unsent)
    };
    tokio::select! {
        closed = close => closed,
        () = stop.wish() => Err(End::Impatient),
    }
}

/// Tells what has happened; false at the end.
fn tell(event: Option<Event>) -> Result<bool, End> {
    match event {
        None => return Ok(false),
        Some(Event::Message(message)) => print(&message)?,
        Some(Event::Up { url, .. }) => say(format_args!("connected to {}", escape(&url))),
        Some(Event::Down { why, retry_in, .. }) => {
            let why = causes(&why);
            say(format_args!(
                "not connected: {}; again in {retry_in:.1?}",
                escape(&why)
            ));
        }
        Some(_) => {}
    }
    Ok(true)
}
