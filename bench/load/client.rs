//! A client by hand: the request, and the frames of both sides (RFC 6455 §4.1 and §5.2).

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::agreed::Agreed;

/// How long a server may take to listen; under valgrind it is slow.
const START: Duration = Duration::from_secs(20);

/// What is offered, as browsers do (RFC 7692 §7.1).
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

/// Opens a connection, and waits for a server that does not listen yet.
pub fn connect(port: u16) -> io::Result<TcpStream> {
    Ok(open(port, "")?.0)
}

/// Opens a connection that compresses, and says what was agreed.
pub fn connect_deflate(port: u16) -> io::Result<(TcpStream, Agreed)> {
    let (tcp, head) = open(port, OFFER)?;
    Ok((tcp, Agreed::from_head(&head)?))
}

/// The connection and the server's answer, which is a good one.
fn open(port: u16, fields: &str) -> io::Result<(TcpStream, String)> {
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
         Sec-WebSocket-Version: 13\r\n\
         {fields}\r\n"
    );
    tcp.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tcp.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    if !head.starts_with("HTTP/1.1 101 ") {
        return Err(io::Error::other(format!("the server answered {head}")));
    }
    Ok((tcp, head))
}

/// What a message holds.
#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Text = 1,
    Binary = 2,
}

/// The bit of a compressed message (RFC 7692 §6).
pub const RSV1: u8 = 0x40;

/// A message as a server sends it.
pub fn from_server(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(kind, payload.len(), 0);
    frame.extend_from_slice(payload);
    frame
}

/// A text as a client sends it, of which `payload` is what a compressor made.
pub fn compressed(payload: &[u8]) -> Vec<u8> {
    let mut frame = from_client(Kind::Text, payload);
    frame[0] |= RSV1;
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
