//! `hybi serve --broadcast`: who gets what is sent, and what becomes of who does not read it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{Hybi, PATIENCE};

/// A client at a path, which is in its room: what it says has come back.
fn member(address: SocketAddr, path: &str) -> Hybi {
    let mut hybi = Hybi::start(&["connect", &format!("ws://{address}{path}")]);
    hybi.write("here\n");
    assert_eq!(hybi.line(), "here");
    hybi
}

#[test]
fn what_is_sent_to_a_broadcast_path_goes_to_all_who_are_there_and_to_nobody_else() {
    let (_server, address) = Hybi::serve(&["--broadcast", "/chat", "--broadcast", "/rooms/{name}"]);
    let mut ann = member(address, "/chat");
    let mut bob = member(address, "/chat?name=bob");
    assert_eq!(ann.line(), "here");
    let mut red = member(address, "/rooms/red");
    let mut blue = member(address, "/rooms/blue");
    let mut elsewhere = member(address, "/other");
    ann.write("I am Ann\n");
    assert_eq!([ann.line(), bob.line()], ["I am Ann", "I am Ann"]);
    bob.write("I am Bob\n");
    assert_eq!([ann.line(), bob.line()], ["I am Bob", "I am Bob"]);
    // In order of what each was sent: nothing else has come before.
    for (text, room) in [
        ("red\n", &mut red),
        ("blue\n", &mut blue),
        ("-\n", &mut elsewhere),
    ] {
        room.write(text);
        assert_eq!(room.line(), text.trim_end());
    }
    for client in [ann, bob, red, blue, elsewhere] {
        let ended = client.end();
        assert_eq!(ended.status, Some(0), "{}", ended.stderr);
        assert_eq!(ended.stdout, [""; 0]);
    }
}

#[test]
fn a_broadcast_path_that_cannot_be_served_is_told_and_nobody_is_invited() {
    for (paths, told) in [
        (
            ["/chat", "/rooms/{name"],
            "the route \"/rooms/{name\" cannot be added",
        ),
        (["/chat", "/chat"], "the route \"/chat\" cannot be added"),
    ] {
        let broadcasts = paths.map(|path| format!("--broadcast={path}"));
        let ended = Hybi::start(&["serve", "--port=0", &broadcasts[0], &broadcasts[1]]).end();
        assert_eq!(ended.status, Some(1), "{ended:?}");
        assert!(ended.stderr.contains(told), "{ended:?}");
        assert_eq!(ended.stdout, [""; 0]);
    }
}

#[test]
fn who_does_not_read_a_broadcast_is_closed_with_1013_and_the_others_are_not_held_up() {
    let (_server, address) = Hybi::serve(&["--broadcast", "/chat", "--write-timeout", "0"]);
    let mut reader = member(address, "/chat");
    let mut stuck = TcpStream::connect(address).expect("the server listens");
    stuck
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout can be set");
    write!(
        stuck,
        "GET /chat HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .expect("the server reads");
    // An empty text, masked by zeros: when it has come, the stuck one is in the room.
    stuck.write_all(b"\x81\x80\0\0\0\0").expect("it still does");
    assert_eq!(reader.line(), "");
    // More than the sockets and the backlog hold.
    let line = format!("{}\n", "x".repeat(1 << 20));
    for _ in 0..32 {
        reader.write(&line);
        assert_eq!(reader.line().len(), 1 << 20);
    }
    // It answers the close that it has not read.
    stuck
        .write_all(b"\x88\x80\0\0\0\0")
        .expect("the server is there");
    let mut came = Vec::new();
    let mut room = vec![0; 1 << 16];
    while let Ok(len @ 1..) = stuck.read(&mut room) {
        came.extend_from_slice(&room[..len]);
        if came.len() >= 32 << 20 {
            panic!("who has not read has got all");
        }
    }
    let close = came
        .windows(4)
        .rposition(|bytes| bytes[0] == 0x88 && bytes[2..] == [0x03, 0xf5]);
    let behind = close.map(|at| came.len() - at - 2);
    // The close frame is the last: its length is what is behind it.
    assert_eq!(behind, close.map(|at| usize::from(came[at + 1])));
    assert!(
        close.is_some(),
        "no close with 1013 in {} bytes",
        came.len()
    );
    assert_eq!(reader.end().status, Some(0));
}
