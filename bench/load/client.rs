//! A client by hand: the request, and the frames of both sides (RFC 6455 §4.1 and §5.2).

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a server may take to listen; under valgrind it is slow.
const START: Duration = Duration::from_secs(20);

/// Opens a connection, and waits for a server that does not listen yet.
pub fn connect(port: u16) -> io::Result<TcpStream> {
    let begin = Instant::now();
    let mut tcp = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused && begin.elapsed() < START =>
            {
                sleep(Duration::from_millis(20));
            }
            tcp => break tcp?,
        }
    };
    tcp.set_nodelay(true)?;
    // In one piece: some servers trip over a request that comes in several.
    let request = format!(
        "GET / HTTP/1.1\r\n\
         Host: 127.0.0.1:{port}\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n\r\n"
    );
    tcp.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tcp.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    if !head.starts_with(b"HTTP/1.1 101 ") {
        let head = String::from_utf8_lossy(&head);
        return Err(io::Error::other(format!("the server answered {head}")));
    }
    Ok(tcp)
}

/// What a message holds.
#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Text = 1,
    Binary = 2,
}

/// A message as a server sends it.
pub fn from_server(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(kind, payload.len(), 0);
    frame.extend_from_slice(payload);
    frame
}

/// A message as a client sends it. The mask need not be a secret here.
pub fn from_client(kind: Kind, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = header(kind, payload.len(), 0x80);
    frame.extend_from_slice(&MASK);
    let masked = payload.iter().zip(MASK.iter().cycle());
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    frame
}

fn header(kind: Kind, len: usize, masked: u8) -> Vec<u8> {
    let mut header = vec![0x80 | kind as u8];
    match len {
        0..=125 => header.push(masked | len as u8),
        126..=0xffff => {
            header.push(masked | 126);
            header.extend((len as u16).to_be_bytes());
        }
        _ => {
            header.push(masked | 127);
            header.extend((len as u64).to_be_bytes());
        }
    }
    header
}
