//! A client by hand (RFC 6455 §4.1 and §5.2), which can do what no library lets it do.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// How to connect.
#[derive(Clone, Copy, Debug, Default)]
pub struct Way {
    /// From which address.
    pub from: Option<SocketAddr>,
    /// With room for so many bytes that have come and are not read.
    pub room: Option<u32>,
}

/// A connection.
#[derive(Debug)]
pub struct Raw {
    pub tcp: TcpStream,
    inbox: Inbox,
}

/// What has come and is not decoded.
#[derive(Debug, Default)]
pub struct Inbox(Vec<u8>);

/// What a server sends.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub fin: bool,
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl Way {
    /// The TCP connection alone.
    pub async fn tcp(self, to: SocketAddr) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if let Some(room) = self.room {
            socket.set_recv_buffer_size(room)?;
        }
        if let Some(from) = self.from {
            socket.bind(from)?;
        }
        let tcp = socket.connect(to).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }

    /// A WebSocket at `path`.
    pub async fn open(self, to: SocketAddr, path: &str) -> io::Result<Raw> {
        let mut tcp = self.tcp(to).await?;
        tcp.write_all(request(to, path).as_bytes()).await?;
        let (status, inbox) = answer(&mut tcp).await?;
        if status != 101 {
            return Err(io::Error::other(format!("the server answered {status}")));
        }
        Ok(Raw { tcp, inbox })
    }
}

impl Raw {
    pub async fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.tcp.write_all(frame).await
    }

    /// The next frame; none where the server has ended the connection between two.
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.inbox.take()? {
                return Ok(Some(frame));
            }
            if !self.inbox.fill(&mut self.tcp).await? {
                return match self.inbox.0.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }

    /// The two directions, to be used at once.
    pub fn into_parts(self) -> (TcpStream, Inbox) {
        (self.tcp, self.inbox)
    }
}

impl Inbox {
    /// Takes what has come to a stream; whether anything did before its end.
    pub async fn fill(&mut self, from: &mut (impl AsyncReadExt + Unpin)) -> io::Result<bool> {
        // Not in the future, which would be as large.
        let mut room = vec![0; 16 << 10];
        let len = from.read(&mut room).await?;
        self.0.extend_from_slice(&room[..len]);
        Ok(len > 0)
    }

    /// Takes a frame, if one is there.
    pub fn take(&mut self) -> io::Result<Option<Frame>> {
        let Some((&[first, second], rest)) = self.0.split_first_chunk() else {
            return Ok(None);
        };
        let (len, header) = match second {
            ..126 => (usize::from(second), 2),
            126 => match rest.first_chunk() {
                Some(&len) => (usize::from(u16::from_be_bytes(len)), 4),
                None => return Ok(None),
            },
            127 => match rest.first_chunk() {
                Some(&len) => (u64::from_be_bytes(len) as usize, 10),
                None => return Ok(None),
            },
            _ => return Err(io::Error::other("the server masks")),
        };
        if first & 0x70 != 0 {
            return Err(io::Error::other("the server sets a reserved bit"));
        }
        let Some(payload) = self.0.get(header..header + len) else {
            return Ok(None);
        };
        let frame = Frame {
            fin: first & 0x80 != 0,
            opcode: first & 0x0f,
            payload: payload.to_vec(),
        };
        self.0.drain(..header + len);
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        Ok(Some(frame))
    }
}

impl Frame {
    /// The code of a close frame.
    pub fn close_code(&self) -> Option<u16> {
        let code = self.payload.first_chunk()?;
        (self.opcode == CLOSE).then(|| u16::from_be_bytes(*code))
    }
}

pub fn request(host: SocketAddr, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\n\
         Host: {host}\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n\
         \r\n"
    )
}

/// The status of an answer, and what came behind its head.
pub async fn answer(tcp: &mut TcpStream) -> io::Result<(u16, Inbox)> {
    let mut head = Inbox::default();
    loop {
        if let Some(end) = head.0.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let status = head.0.get(9..12).map(String::from_utf8_lossy);
            let status = status.and_then(|status| status.parse().ok());
            let status = status.ok_or_else(|| io::Error::other("no status in the answer"))?;
            head.0.drain(..end + 4);
            return Ok((status, head));
        }
        if !head.fill(tcp).await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// A frame as a client sends it.
pub fn frame(fin: bool, opcode: u8, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![u8::from(fin) << 7 | opcode];
    match payload.len() {
        len @ ..126 => frame.push(0x80 | len as u8),
        len @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
    frame
}

/// The close frame of a client with this code.
pub fn close(code: u16) -> Vec<u8> {
    frame(true, CLOSE, [1, 2, 3, 4], &code.to_be_bytes())
}
