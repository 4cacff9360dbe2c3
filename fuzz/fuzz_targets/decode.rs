//! Arbitrary bytes from the peer: no panic, no more memory than came, silence after a fault.
#![no_main]

use hybi_fuzz::{End, put, take, write};
use hybi_proto::connection::State;
use hybi_proto::error::SendError;
use hybi_proto::message::Event;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (End, &[u8])| {
    let (end, stream) = input;
    let mut conn = end.open();
    let mut events = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        rest = &rest[put(&mut conn, rest, usize::MAX)..];
        take(&mut conn, false, &mut events);
    }

    let payload: usize = events.iter().map(len).sum();
    // Two bits of DEFLATE repeat 258 bytes at the most.
    let most = if end.deflate.is_some() { 1032 } else { 1 };
    assert!(payload <= most * stream.len(), "what is delivered came");
    let room = conn.reclaim_inbox().capacity();
    assert!(room <= 2 * stream.len() + (64 << 10), "{room}");

    let failed = events.iter().position(Result::is_err);
    let closed = events
        .iter()
        .position(|event| matches!(event, Ok(Event::Close(_))));
    let Some(at) = failed.or(closed) else {
        assert_eq!(conn.state(), State::Open);
        return;
    };
    assert_eq!(at + 1, events.len(), "nothing follows the end");
    assert_eq!(conn.state(), State::Closed);
    let info = conn.close_info().cloned();
    let mut sent = Vec::new();
    write(&mut conn, usize::MAX, &mut sent);
    if let Some(Err(error)) = events.last() {
        let code = error.close_code().as_u16().to_be_bytes();
        if end.server {
            assert!(sent.ends_with(&[&[0x88, 2][..], &code].concat()));
        }
        assert_eq!(
            info.as_ref().map(|info| info.code),
            Some(error.close_code())
        );
    }

    let mut later = Vec::new();
    put(&mut conn, b"\x81\x01a\x89\x80\0\0\0\0\x88\0", usize::MAX);
    take(&mut conn, true, &mut later);
    assert_eq!(later, []);
    assert_eq!(conn.send("late".into()), Err(SendError::Closed));
    conn.close(None);
    assert_eq!(conn.buffered(), 0);
    assert_eq!(conn.close_info(), info.as_ref());
});

fn len(event: &Result<Event, hybi_proto::error::ProtocolError>) -> usize {
    match event {
        Ok(Event::Message(message)) => message.len(),
        Ok(Event::Ping(payload) | Event::Pong(payload)) => payload.len(),
        _ => 0,
    }
}
