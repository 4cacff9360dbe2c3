//! tungstenite judges a stream as we do, hears what we say, and we hear what it says.
//!
//! Where it may judge otherwise, and what is compared then:
//! - it takes lengths that are not in their shortest form: what came before one;
//! - it judges a frame when all of it is here, but for its opcode and size: the rest is made up;
//! - it looks at the size of a frame first, we at what kind of frame it is: that both refuse it;
//! - it looks at a close's reason first, we at its code: that both refuse it;
//! - it takes 1002 for a close code that is not allowed: as a refusal;
//! - it knows no 1014, which the registry of IANA has: that it is a close;
//! - it also bounds control frames by the largest message: no limit is below 125 bytes;
//! - as a client it reads on behind a close: nothing behind it.
#![no_main]

use std::io::{self, Read, Write};

use arbitrary::Arbitrary;
use hybi_fuzz::frames::{self, Frame};
use hybi_fuzz::{End, Turn, put, run, take, write};
use hybi_proto::close::Close;
use hybi_proto::error::ProtocolError;
use hybi_proto::message::Event;
use libfuzzer_sys::fuzz_target;
use tungstenite::error::Error;
use tungstenite::protocol::frame::CloseFrame;
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    server: bool,
    limit: u16,
    frames: Vec<Frame<'a>>,
    rest: &'a [u8],
    turns: [Turn; 4],
    /// What one read of tungstenite's brings at the most.
    read: u16,
    says: Vec<Say<'a>>,
}

#[derive(Arbitrary, Debug)]
enum Say<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Large(u32),
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    Close(u16, &'a str),
}

/// Another's transport: reads what is here, and then would block.
struct Wire<'a> {
    input: &'a [u8],
    most: usize,
    output: Vec<u8>,
}

fuzz_target!(|input: Input<'_>| {
    let limit = 125 + usize::from(input.limit);
    let mut stream = frames::stream(input.server, &input.frames, 128 << 10);
    stream.extend(input.rest);
    let most = usize::from(input.read) + stream.len() / 256 + 1;
    judge(&input, &stream, limit, most);
    hear(&input.says, input.server, &input.turns[0], most);
});

fn end(server: bool, limit: usize) -> End {
    End {
        server,
        message: Some(limit as u32),
        fragments: None,
        deflate: None,
    }
}

fn judge(input: &Input<'_>, stream: &[u8], limit: usize, most: usize) {
    let scale = stream.len() / 1024 + 1;
    let ours = run(end(input.server, limit), stream, scale, &input.turns);
    let role = if input.server {
        Role::Server
    } else {
        Role::Client
    };
    let mut theirs = open(role, stream, limit, most);
    let (mut heard, mut verdict) = (Vec::new(), None);
    read(&mut theirs, &mut heard, &mut verdict);
    let fault = ours.events.last().and_then(|event| event.as_ref().err());
    let made_up = vec![0; limit + 14];
    let has_closed = matches!(heard.last(), Some(Event::Close(_)));
    if fault.is_some() && verdict.is_none() && !has_closed {
        theirs.get_mut().input = &made_up;
        read(&mut theirs, &mut heard, &mut verdict);
    }

    let events = ours.events.iter().flatten();
    let count = events.clone().count();
    if let Some(ProtocolError::LengthNotMinimal) = fault {
        heard.truncate(count);
        verdict = Some(Verdict::Protocol);
    }
    if let (Some(ProtocolError::CloseCode(_)), Some(Event::Close(Some(close)))) =
        (fault, heard.get(count))
        && *close == replaced()
    {
        heard.truncate(count);
        verdict = Some(Verdict::Protocol);
    }
    assert_eq!(heard.len(), count, "{ours:?}, {heard:?}, {verdict:?}");
    let mut unlike = false;
    for (our, their) in events.zip(&heard) {
        if our != their {
            let Event::Close(Some(close)) = our else {
                panic!("{our:?}, {their:?}");
            };
            assert_eq!(close.code().as_u16(), 1014);
            assert_eq!(*their, Event::Close(Some(replaced())));
            unlike = true;
        }
    }
    match (fault, &verdict) {
        (None, None) => {}
        (None, Some(_)) | (Some(_), None) => panic!("{fault:?}, but {verdict:?}"),
        (Some(fault), Some(verdict)) => assert!(verdict.is_like(*fault), "{fault:?}, {verdict:?}"),
    }

    // Both answer alike, but for the last word, which tungstenite leaves to its caller.
    let mut said = payloads(&ours.sent);
    let mut answers = payloads(&theirs.get_ref().output);
    if fault.is_some() {
        let (first, _) = said.pop().expect("who fails says so");
        assert_eq!(first, 0x88);
        answers.retain(|(first, _)| *first != 0x88);
    }
    if unlike {
        (said.pop(), answers.pop());
    }
    assert_eq!(said, answers);
}

/// What a client and a server of either library say, that of the other hears.
fn hear(says: &[Say<'_>], server: bool, turn: &Turn, most: usize) {
    let roles = if server {
        (Role::Server, Role::Client)
    } else {
        (Role::Client, Role::Server)
    };
    let mut ours = end(server, usize::MAX).open();
    let mut theirs = open(roles.0, &[], usize::MAX, most);
    let drain = usize::from(turn.write).max(1) * 1024;
    let (mut events, mut sent) = (Vec::new(), Vec::new());
    for say in says {
        while ours.is_full() {
            write(&mut ours, drain, &mut sent);
        }
        let event = say.event();
        let (our, their) = match &event {
            Event::Message(message) => {
                let their = match message.as_text() {
                    Some(text) => tungstenite::Message::text(text),
                    None => tungstenite::Message::binary(message.as_bytes().to_vec()),
                };
                (ours.send(message.clone()), their)
            }
            Event::Ping(payload) => {
                let their = tungstenite::Message::Ping(payload.clone());
                (ours.ping(payload), their)
            }
            Event::Pong(payload) => {
                let their = tungstenite::Message::Pong(payload.clone());
                (ours.pong(payload), their)
            }
            Event::Close(close) => {
                let frame = close.as_ref().map(|close| CloseFrame {
                    code: close.code().as_u16().into(),
                    reason: close.reason().as_str().into(),
                });
                ours.close(close.as_ref());
                (Ok(()), tungstenite::Message::Close(frame))
            }
            _ => return,
        };
        our.expect("there is room, and it is open");
        theirs.send(their).expect("it is open");
        events.push(event);
        if let Some(Event::Close(_)) = events.last() {
            break;
        }
    }

    while ours.buffered() > 0 {
        write(&mut ours, drain, &mut sent);
    }
    let (mut heard, mut verdict) = (Vec::new(), None);
    let mut ears = open(roles.1, &sent, usize::MAX, most + sent.len() / 256);
    read(&mut ears, &mut heard, &mut verdict);
    assert_eq!(verdict, None);
    assert_eq!(order(heard), order(events.clone()));

    let mut ears = end(!server, usize::MAX).open();
    let mut heard = Vec::new();
    let mut rest = &theirs.get_ref().output[..];
    while !rest.is_empty() {
        let most = usize::from(turn.read).max(1) + rest.len() / 256;
        rest = &rest[put(&mut ears, rest, most)..];
        take(&mut ears, turn.borrowed, &mut heard);
    }
    let heard: Result<Vec<_>, _> = heard.into_iter().collect();
    assert_eq!(heard, Ok(events));
}

/// Control frames pass what is not framed yet: messages and the close, then all else.
fn order(events: Vec<Event>) -> (Vec<Event>, Vec<Event>) {
    events
        .into_iter()
        .partition(|event| matches!(event, Event::Message(_) | Event::Close(_)))
}

impl Say<'_> {
    fn event(&self) -> Event {
        let control = |payload: &[u8]| payload[..payload.len().min(125)].to_vec().into();
        match *self {
            Self::Text(text) => Event::Message(text.into()),
            Self::Binary(bytes) => Event::Message(bytes.into()),
            Self::Large(len) => Event::Message(vec![len as u8; len as usize % 100_000].into()),
            Self::Ping(payload) => Event::Ping(control(payload)),
            Self::Pong(payload) => Event::Pong(control(payload)),
            Self::Close(code, reason) => {
                let close = Close::new(code.into(), reason);
                // tungstenite would send 1014 as it is, and not take it.
                Event::Close(close.ok().filter(|close| close.code().as_u16() != 1014))
            }
        }
    }
}

#[derive(Debug, PartialEq)]
enum Verdict {
    Protocol,
    Utf8,
    TooBig,
}

impl Verdict {
    fn is_like(&self, ours: ProtocolError) -> bool {
        match ours {
            ProtocolError::InvalidUtf8 => *self == Self::Utf8,
            ProtocolError::MessageTooBig { .. } => *self == Self::TooBig,
            ProtocolError::CloseCode(_) => *self != Self::TooBig,
            ProtocolError::LengthTopBit => *self == Self::TooBig || *self == Self::Protocol,
            _ => *self != Self::Utf8,
        }
    }
}

fn open(role: Role, input: &[u8], limit: usize, most: usize) -> WebSocket<Wire<'_>> {
    let config = WebSocketConfig::default()
        .read_buffer_size(most.min(4096))
        .write_buffer_size(0)
        .max_message_size(Some(limit))
        .max_frame_size(Some(limit));
    let wire = Wire {
        input,
        most,
        output: Vec::new(),
    };
    WebSocket::from_raw_socket(wire, role, Some(config))
}

/// Reads until nothing comes any more.
fn read(theirs: &mut WebSocket<Wire<'_>>, heard: &mut Vec<Event>, verdict: &mut Option<Verdict>) {
    loop {
        *verdict = Some(match theirs.read() {
            Ok(message) => {
                heard.push(event(message));
                if let Some(Event::Close(_)) = heard.last() {
                    // The answer leaves with the next call.
                    let _ = theirs.flush();
                    return;
                }
                continue;
            }
            Err(Error::Protocol(_)) => Verdict::Protocol,
            Err(Error::Utf8(_)) => Verdict::Utf8,
            Err(Error::Capacity(_)) => Verdict::TooBig,
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        });
        return;
    }
}

fn event(message: tungstenite::Message) -> Event {
    match message {
        tungstenite::Message::Text(text) => Event::Message(text.as_str().into()),
        tungstenite::Message::Binary(bytes) => Event::Message(bytes.into()),
        tungstenite::Message::Ping(payload) => Event::Ping(payload),
        tungstenite::Message::Pong(payload) => Event::Pong(payload),
        tungstenite::Message::Close(None) => Event::Close(None),
        tungstenite::Message::Close(Some(frame)) => {
            let close = Close::new(u16::from(frame.code).into(), frame.reason.as_str());
            Event::Close(Some(close.expect("it is allowed, or was replaced")))
        }
        tungstenite::Message::Frame(_) => panic!("a frame is not read"),
    }
}

/// What tungstenite takes for a code that is not allowed.
fn replaced() -> Close {
    Close::new(1002.into(), "Protocol violation").expect("it is allowed")
}

/// The first byte and the payload, unmasked, of each frame.
fn payloads(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        // All that is said here is a control frame.
        let (key, rest) = rest.split_at(if second & 0x80 == 0 { 0 } else { 4 });
        let (payload, rest) = rest.split_at(usize::from(second & 0x7f));
        let mut keys = key.iter().cycle();
        let unmask = |byte: &u8| byte ^ keys.next().copied().unwrap_or(0);
        frames.push((*first, payload.iter().map(unmask).collect()));
        bytes = rest;
    }
    frames
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let most = self.most.min(buffer.len());
        self.input.read(&mut buffer[..most])
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
