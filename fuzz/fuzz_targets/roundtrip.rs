//! What one end says the other end hears, whatever the sizes of reads and writes.
#![no_main]

use arbitrary::Arbitrary;
use hybi_fuzz::{End, put, take, write};
use hybi_proto::close::Close;
use hybi_proto::connection::{Connection, State};
use hybi_proto::error::ProtocolError;
use hybi_proto::message::{Event, Message, MessageRef};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Say<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    /// So many bytes.
    Large(u32),
    Ping(&'a [u8]),
    Close(Option<(u16, &'a str)>),
}

#[derive(Arbitrary, Debug)]
struct Step<'a> {
    client: bool,
    borrowed: bool,
    say: Say<'a>,
    /// What then passes: bytes written, bytes in a read; each way.
    pass: Option<[u16; 4]>,
}

/// A side: its end, what it said and what it heard.
struct Side {
    conn: Connection,
    said: Vec<Event>,
    heard: Vec<Result<Event, ProtocolError>>,
}

fuzz_target!(|steps: Vec<Step<'_>>| {
    let [mut server, mut client] = [true, false].map(|server| Side {
        conn: End {
            server,
            message: None,
            fragments: None,
        }
        .open(),
        said: Vec::new(),
        heard: Vec::new(),
    });
    for step in &steps {
        let side = if step.client {
            &mut client
        } else {
            &mut server
        };
        say(side, &step.say, step.borrowed);
        if let Some([a, b, c, d]) = step.pass {
            pass(&mut client, &mut server, a.into(), b.into(), step.borrowed);
            pass(&mut server, &mut client, c.into(), d.into(), step.borrowed);
        }
    }
    while client.conn.buffered() + server.conn.buffered() > 0 {
        pass(&mut client, &mut server, usize::MAX, usize::MAX, false);
        pass(&mut server, &mut client, usize::MAX, usize::MAX, true);
    }
    compare(&client, &server);
    compare(&server, &client);
    assert_eq!(client.conn.state(), server.conn.state());
    if client.conn.state() != State::Open {
        assert_eq!(client.conn.state(), State::Closed);
        assert!(client.conn.close_info().is_some_and(|info| info.clean));
        assert!(server.conn.close_info().is_some_and(|info| info.clean));
    }
});

fn say(side: &mut Side, say: &Say<'_>, borrowed: bool) {
    let conn = &mut side.conn;
    let message = match *say {
        Say::Text(text) => Message::from(text),
        Say::Binary(bytes) => Message::from(bytes),
        Say::Large(len) => Message::from(vec![len as u8; len as usize % 300_000]),
        Say::Ping(payload) => {
            if conn.ping(payload).is_ok() {
                side.said.push(Event::Ping(payload.to_vec().into()));
            }
            return;
        }
        Say::Close(close) => {
            let close = match close.map(|(code, reason)| Close::new(code.into(), reason)) {
                None => None,
                Some(Ok(close)) => Some(close),
                Some(Err(_)) => return,
            };
            if conn.state() == State::Open {
                side.said.push(Event::Close(close.clone()));
            }
            return conn.close(close.as_ref());
        }
    };
    let sent = match (&message, borrowed) {
        (Message::Text(text), true) => conn.send_ref(MessageRef::Text(text.as_str())),
        (Message::Binary(bytes), true) => conn.send_ref(MessageRef::Binary(bytes)),
        _ => conn.send(message.clone()),
    };
    if sent.is_ok() {
        side.said.push(Event::Message(message));
    }
}

fn pass(from: &mut Side, to: &mut Side, most: usize, read: usize, borrowed: bool) {
    let mut sent = Vec::new();
    write(&mut from.conn, most, &mut sent);
    let mut rest = &sent[..];
    while !rest.is_empty() {
        rest = &rest[put(&mut to.conn, rest, read.max(1))..];
        take(&mut to.conn, borrowed, &mut to.heard);
    }
}

/// All that was said was heard, in order; pongs and an echoed close come by themselves.
fn compare(from: &Side, to: &Side) {
    let mut said = from.said.iter();
    for heard in &to.heard {
        match heard {
            Ok(Event::Pong(_)) => {}
            Ok(Event::Close(close)) => match said.next() {
                Some(said) => assert_eq!(said, &Event::Close(close.clone())),
                None => assert!(to.said.contains(&Event::Close(close.clone()))),
            },
            Ok(event) => assert_eq!(said.next(), Some(event)),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(said.next(), None, "all arrives");
    let pings = |event: &&Event| matches!(event, Event::Ping(_));
    let pongs = from.heard.iter().flatten();
    let pongs = pongs.filter(|event| matches!(event, Event::Pong(_)));
    assert!(pongs.count() <= from.said.iter().filter(pings).count());
}
