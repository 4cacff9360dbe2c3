//! What one end says the other end hears, whatever the sizes of reads and writes.
#![no_main]

use arbitrary::Arbitrary;
use hybi_fuzz::{Deflating, End, put, take, write};
use hybi_proto::close::Close;
use hybi_proto::connection::{Connection, State};
use hybi_proto::error::ProtocolError;
use hybi_proto::message::{Event, Kind, Message, MessageRef};
use hybi_proto::queue::Overflow;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Say<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    /// So many bytes.
    Large(u32),
    Ping(&'a [u8]),
    /// Under a policy that may drop it.
    Offer(&'a [u8], Policy),
    Begin {
        text: bool,
    },
    Part(&'a [u8]),
    LargePart(u32),
    Finish,
    Abandon,
    Close(Option<(u16, &'a str)>),
}

#[derive(Arbitrary, Debug)]
enum Policy {
    Wait,
    Newest,
    Oldest,
    Conflate(bool),
    Close,
}

impl Policy {
    fn overflow(&self) -> Overflow {
        match self {
            Self::Wait => Overflow::Wait,
            Self::Newest => Overflow::DropNewest,
            Self::Oldest => Overflow::DropOldest,
            Self::Conflate(key) => Overflow::Conflate(key.to_string().into()),
            Self::Close => Overflow::Close,
        }
    }
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
    /// What was sent of a message in parts.
    open: Option<(Kind, Vec<u8>)>,
    /// Messages may be dropped, or pass a ping or be passed: what is heard is a part of what was
    /// said, and only that is known.
    loose: bool,
}

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    deflate: Option<Deflating>,
    steps: Vec<Step<'a>>,
}

fuzz_target!(|input: Input<'_>| {
    let Input { deflate, steps } = input;
    let [mut server, mut client] = [true, false].map(|server| Side {
        conn: End {
            server,
            message: None,
            fragments: None,
            deflate,
        }
        .open(),
        said: Vec::new(),
        heard: Vec::new(),
        open: None,
        loose: false,
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
    for side in [&mut client, &mut server] {
        side.loose |= side.conn.is_unfinished();
        side.conn.abandon();
        assert!(!side.conn.is_unfinished());
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
    let waits = side.conn.buffered() > side.conn.outbox().len();
    side.loose |= match say {
        Say::Begin { .. } | Say::Part(_) | Say::LargePart(_) | Say::Finish => false,
        // It passes what is not framed.
        Say::Ping(_) => waits,
        _ => side.conn.is_unfinished(),
    };
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
        Say::Offer(payload, ref policy) => {
            side.loose = true;
            let message = Message::from(payload);
            if conn
                .offer(message.clone(), &policy.overflow(), false)
                .is_ok()
            {
                side.said.push(Event::Message(message));
            }
            return;
        }
        Say::Begin { text } => {
            let kind = if text { Kind::Text } else { Kind::Binary };
            if conn.begin(kind).is_ok() {
                assert!(conn.is_unfinished());
                side.open = Some((kind, Vec::new()));
            }
            return;
        }
        Say::Part(bytes) => return send_part(side, bytes.to_vec()),
        Say::LargePart(len) => return send_part(side, vec![b'x'; len as usize % 3_000_000]),
        Say::Finish => {
            if conn.finish().is_ok() {
                let (kind, bytes) = side.open.take().expect("it was begun");
                side.said.push(Event::Message(match kind {
                    Kind::Text => String::from_utf8(bytes).expect("it was checked").into(),
                    Kind::Binary => bytes.into(),
                }));
            }
            return;
        }
        Say::Abandon => {
            side.loose = true;
            return conn.abandon();
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

fn send_part(side: &mut Side, bytes: Vec<u8>) {
    if side.conn.send_part(bytes.clone().into()).is_ok() {
        let (_, open) = side.open.as_mut().expect("it was begun");
        open.extend(bytes);
    }
}

fn pass(from: &mut Side, to: &mut Side, most: usize, read: usize, borrowed: bool) {
    let mut sent = Vec::new();
    write(&mut from.conn, most, &mut sent);
    while let Some(job) = from.conn.take_job() {
        from.conn.finish_job(job.run());
        write(&mut from.conn, most, &mut sent);
    }
    let mut rest = &sent[..];
    while !rest.is_empty() {
        rest = &rest[put(&mut to.conn, rest, read.max(1))..];
        take(&mut to.conn, borrowed, &mut to.heard);
    }
}

/// All that was said was heard, in order; pongs and an echoed close come by themselves.
fn compare(from: &Side, to: &Side) {
    if from.loose || to.loose {
        for heard in &to.heard {
            match heard {
                Ok(event @ Event::Message(_)) => assert!(from.said.contains(event)),
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let heard = to.heard.iter().flatten();
        let heard = heard.filter(|event| matches!(event, Event::Message(_)));
        assert_eq!(heard.count() as u64, from.conn.messages_sent());
        return;
    }
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
