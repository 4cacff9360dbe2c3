//! `hybi connect`: lines of stdin out as text, messages in to stdout.
//!
//! One task owns the socket and waits for the three that can speak: the peer, stdin and the
//! user's wish to stop.

use std::io::{self, IsTerminal, Write};

use hybi::{CloseCode, Deflate, Error, HandshakeError, Message, Options, WebSocket};

use crate::args::Connect;
use crate::escape::{binary, escape};
use crate::lines;
use crate::report::{Status, complain, say};
use crate::stop::Stop;

/// Talks until one side closes.
pub(crate) async fn run(args: Connect) -> Status {
    let mut connect = hybi::connect(args.url.as_str());
    for (name, value) in args.header {
        connect = connect.header(name, value);
    }
    for protocol in args.protocol {
        connect = connect.protocol(protocol);
    }
    if let Some(origin) = args.origin {
        connect = connect.origin(origin);
    }
    let deflate = (!args.no_deflate).then(|| Deflate::from(&args.deflate_options));
    connect = connect.options(Options::new().deflate(deflate));
    // Until here Ctrl-C ends the process by itself: there is nothing to close yet.
    let mut ws = match connect.await {
        Ok(ws) => ws,
        Err(error) => {
            complain("not connected", &error);
            return match error {
                Error::Url(_) => Status::Usage,
                Error::Handshake(error) if is_usage(&error) => Status::Usage,
                _ => Status::NotConnected,
            };
        }
    };
    greet(&ws);
    match talk(&mut ws).await {
        Ok(unsent) => farewell(&ws, unsent),
        Err(End::Deaf) => Status::Done,
        Err(End::Impatient) => {
            say(format_args!("hybi: stopped without waiting for the close"));
            Status::Failed
        }
        Err(End::Lost(error)) => {
            complain("connection lost", &error);
            Status::Failed
        }
        Err(End::Local(what, error)) => {
            complain(what, &error);
            Status::Failed
        }
    }
}

/// Whether the request could not even be made from the arguments.
fn is_usage(error: &HandshakeError) -> bool {
    matches!(
        error,
        HandshakeError::Options(_) | HandshakeError::Header(_)
    )
}

/// An end that is no close.
enum End {
    /// Nobody reads stdout any more.
    Deaf,
    /// The user asked twice.
    Impatient,
    Lost(Error),
    /// This machine's fault.
    Local(&'static str, io::Error),
}

/// Talks until the connection is closed; tells whether a line was not sent.
async fn talk(ws: &mut WebSocket) -> Result<bool, End> {
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

fn greet(ws: &WebSocket) {
    let protocol = ws
        .protocol()
        .map(|name| format!(", subprotocol {}", escape(name)));
    let protocol = protocol.unwrap_or_default();
    let hint = if io::stdin().is_terminal() {
        "; Ctrl-D closes"
    } else {
        ""
    };
    let compressed = match ws.extensions().deflate() {
        Some(_) => ", compressed",
        None => "",
    };
    say(format_args!("connected{protocol}{compressed}{hint}"));
}

/// Says how the connection was closed.
fn farewell(ws: &WebSocket, unsent: bool) -> Status {
    let Some(info) = ws.close_info() else {
        say(format_args!("hybi: connection lost"));
        return Status::Failed;
    };
    let code = info.code.to_string();
    let how = if info.clean { "" } else { ", not cleanly" };
    let colon = if info.reason.is_empty() { "" } else { ": " };
    say(format_args!(
        "closed{how} with {}{colon}{}",
        escape(&code),
        escape(&info.reason)
    ));
    match (info.clean, unsent) {
        (false, _) => Status::Failed,
        (true, true) => Status::Unsent,
        (true, false) => Status::Done,
    }
}

fn print(message: &Message) -> Result<(), End> {
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
const MAX_LINE: usize = 16 << 20;
