//! What a peer says may not steer the terminal: whatever it answers or sends, the command prints no
//! control character of it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use hybi::test::Frame;
use hybi_proto::handshake::Key;

use super::Hybi;

/// Sets the title, clears the screen, goes back over the line, and reorders it.
const STEERS: &str = "\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}2J\r\u{8}\u{202e}\u{7f}";

/// A server that answers once, with this; `{accept}` stands for the value that accepts the client.
fn answering(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("hybi connects");
        let mut head = BufReader::new(stream.try_clone().expect("a second handle"));
        let (mut line, mut accept) = (String::new(), String::new());
        while head.read_line(&mut line).is_ok_and(|n| n > 2) {
            if let Some(key) = line.trim_end().strip_prefix("Sec-WebSocket-Key: ") {
                let key = Key::parse(key.as_bytes()).expect("a key").accept();
                accept = key.to_str().expect("ASCII").to_owned();
            }
            line.clear();
        }
        let mark = b"{accept}";
        let at = answer.windows(mark.len()).position(|window| window == mark);
        let answer = match at {
            Some(at) => [&answer[..at], accept.as_bytes(), &answer[at + mark.len()..]].concat(),
            None => answer,
        };
        let _ = stream.write_all(&answer);
    });
    address.to_string()
}

fn accepted(lines: &str, frames: &[Frame]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {{accept}}\r\n{lines}\r\n"
    );
    let frames = frames.iter().flat_map(|frame| frame.encode(None));
    head.into_bytes().into_iter().chain(frames).collect()
}

#[test]
fn whatever_a_server_says_no_control_character_is_printed() {
    let refused = |lines: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 403 Forbidden\r\n{lines}Content-Length: {length}\r\n\r\n{body}")
            .into_bytes()
    };
    let redirect = |to: &str| {
        format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into_bytes()
    };
    let close = Frame::close(4000, STEERS);
    // In a header there can be none of those that ASCII has.
    let high = "\u{9b}2J\u{202e}";
    let mut failed = Vec::new();
    for (name, answer) in [
        ("a body", refused("", STEERS)),
        (
            "a body in lines",
            refused("", &format!("{STEERS}\r\n{STEERS}\n\0")),
        ),
        ("a header", refused(&format!("X: {high}\r\n"), "no")),
        (
            "an authentication",
            refused(&format!("WWW-Authenticate: Basic realm=\"{high}\"\r\n"), ""),
        ),
        (
            "a reason",
            format!("HTTP/1.1 403 {high}\r\nContent-Length: 0\r\n\r\n").into_bytes(),
        ),
        (
            "a reason with a control byte",
            format!("HTTP/1.1 403 {STEERS}\r\n\r\n").into_bytes(),
        ),
        ("no HTTP", format!("{STEERS}\r\n\r\n").into_bytes()),
        ("a redirect to nowhere", redirect(&format!("ws://{high}/"))),
        (
            "a redirect to what is no URL",
            redirect(&format!("ftp://a/{high}")),
        ),
        (
            "a redirect to a place",
            redirect(&format!("ws://127.0.0.1:1/{high}")),
        ),
        (
            "a redirect with a user",
            redirect("ws://%1b]0;x%07:%9b@127.0.0.1:1/%1b[2J"),
        ),
        (
            "a subprotocol",
            accepted(&format!("Sec-WebSocket-Protocol: {high}\r\n"), &[]),
        ),
        (
            "an extension",
            accepted(&format!("Sec-WebSocket-Extensions: {high}\r\n"), &[]),
        ),
        ("text", accepted("", &[Frame::text(STEERS), close.clone()])),
        (
            "text in lines",
            accepted(
                "",
                &[
                    Frame::text(format!("{STEERS}\n\r\n{STEERS}\0")),
                    close.clone(),
                ],
            ),
        ),
        (
            "binary",
            accepted("", &[Frame::binary(STEERS), close.clone()]),
        ),
        (
            "a ping",
            accepted("", &[Frame::ping(STEERS), close.clone()]),
        ),
        ("a reason to close", accepted("", &[close])),
        (
            "a reason that is no text",
            accepted(
                "",
                &[Frame::new(
                    hybi::test::Opcode::Close,
                    b"\x03\xe8\x1b[2J\xff",
                )],
            ),
        ),
        ("nothing more", accepted("", &[])),
    ] {
        let ways: [&[&str]; 2] = [&[], &["--follow"]];
        for way in ways {
            let url = format!("ws://{}/", answering(answer.clone()));
            let ended = Hybi::start(&[&["connect", &*url], way].concat()).wait();
            let said = [&ended.stdout.join("\n"), "\n", &ended.stderr].concat();
            let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            if said.contains(steers) || ended.status.is_none() {
                failed.push(format!("{name} {way:?}: {ended:?}"));
            }
        }
        // And as a proxy.
        let proxy = format!("http://{}", answering(answer));
        let ended = Hybi::start(&["connect", "ws://example.com/", "--proxy", &proxy]).wait();
        if ended.stderr.contains(|c: char| c.is_control() && c != '\n') {
            failed.push(format!("{name}, by a proxy: {ended:?}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
