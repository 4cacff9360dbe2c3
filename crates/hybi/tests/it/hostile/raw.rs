//! A peer that sends any bytes, and shows which came back.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::guarded;

/// The example of RFC 6455 §1.3: a key, and the value that accepts it.
pub(super) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The head of a request, line by line.
#[derive(Clone)]
pub(super) struct Head {
    line: String,
    fields: Vec<String>,
}

impl Head {
    /// A handshake in which nothing is wrong.
    pub(super) fn handshake() -> Self {
        Self::of(
            "GET /chat HTTP/1.1",
            &[
                "Host: example.com",
                "Upgrade: websocket",
                "Connection: Upgrade",
                &format!("Sec-WebSocket-Key: {KEY}"),
                "Sec-WebSocket-Version: 13",
            ],
        )
    }

    pub(super) fn of(line: &str, fields: &[&str]) -> Self {
        Self {
            line: line.into(),
            fields: fields.iter().map(ToString::to_string).collect(),
        }
    }

    /// The same with another request line.
    pub(super) fn line(mut self, line: &str) -> Self {
        self.line = line.into();
        self
    }

    /// The same with one more line.
    pub(super) fn with(mut self, field: &str) -> Self {
        self.fields.push(field.into());
        self
    }

    /// The same without a header.
    pub(super) fn without(mut self, name: &str) -> Self {
        let before = self.fields.len();
        let is = |field: &String| field.split(':').next() == Some(name);
        self.fields.retain(|field| !is(field));
        assert_eq!(self.fields.len() + 1, before, "{name}");
        self
    }

    /// The same with another value for a header.
    pub(super) fn value(self, name: &str, value: &str) -> Self {
        self.without(name).with(&format!("{name}: {value}"))
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{}\r\n", self.line);
        for field in &self.fields {
            head.push_str(field);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

/// How bytes are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// As they are, and then nothing.
    Whole,
    /// One write for each.
    Bytes,
    /// As they are, and then the end.
    Fin,
    /// Over and over.
    Endless,
}

/// How a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Eof,
    Reset,
}

/// What came on a connection until it ended.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) bytes: Vec<u8>,
    pub(super) end: End,
}

/// Sends to a server, and listens to it until it ends the connection.
pub(super) async fn talk(addr: SocketAddr, sent: &[u8], pace: Pace) -> Result<Heard, String> {
    guarded(async {
        let tcp = TcpStream::connect(addr).await.map_err(|e| e.to_string())?;
        tcp.set_nodelay(true).map_err(|e| e.to_string())?;
        let (mut read, mut write) = tcp.into_split();
        let ((), mut heard) = tokio::join!(send(&mut write, sent, pace), listen(&mut read));
        // Behind the end of what is read a reset shows only to the one who writes.
        if pace != Pace::Fin && write.write_all(b"x").await.is_err() {
            heard.end = End::Reset;
        }
        Ok(heard)
    })
    .await?
}

/// Sends as long as the peer takes it.
pub(super) async fn send(write: &mut (impl AsyncWrite + Unpin), sent: &[u8], pace: Pace) {
    let all = async {
        match pace {
            Pace::Whole => write.write_all(sent).await?,
            Pace::Fin => {
                write.write_all(sent).await?;
                write.shutdown().await?;
            }
            Pace::Bytes => {
                for byte in sent.chunks(1) {
                    write.write_all(byte).await?;
                    tokio::task::yield_now().await;
                }
            }
            Pace::Endless => loop {
                write.write_all(sent).await?;
            },
        }
        Ok::<_, io::Error>(())
    };
    // That the peer does not take it all is for the row to judge, by what comes back.
    let _ = all.await;
}

pub(super) async fn listen(read: &mut (impl AsyncRead + Unpin)) -> Heard {
    let mut bytes = Vec::new();
    let end = match read.read_to_end(&mut bytes).await {
        Ok(_) => End::Eof,
        Err(_) => End::Reset,
    };
    Heard { bytes, end }
}

/// The head of an answer, and what came behind it.
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) fields: Vec<(String, &'a str)>,
    pub(super) rest: &'a [u8],
}

impl<'a> Answer<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n");
        let end = end.ok_or_else(|| format!("no answer but {:?}", bytes.escape_ascii()))?;
        let head = std::str::from_utf8(&bytes[..end]).map_err(|e| e.to_string())?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|status| status.parse().ok());
        let fields = lines.filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_ascii_lowercase(), value))
        });
        Ok(Self {
            status: status.ok_or("no status")?,
            fields: fields.collect(),
            rest: &bytes[end + 4..],
        })
    }

    pub(super) fn field(&self, name: &str) -> Option<&'a str> {
        let mut fields = self.fields.iter();
        fields.find_map(|(n, value)| (n == name).then_some(*value))
    }
}

pub(super) const FIN: u8 = 0x80;
pub(super) const CONTINUATION: u8 = 0;
pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The header of a masked frame: its first byte, and the length that it claims.
pub(super) fn header(first: u8, length: u64) -> Vec<u8> {
    let mut frame = vec![first];
    match length {
        0..126 => frame.push(0x80 | length as u8),
        126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&length.to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame
}

/// A payload, masked from its first byte on.
pub(super) fn masked(payload: &[u8]) -> Vec<u8> {
    payload
        .iter()
        .zip(MASK.iter().cycle())
        .map(|(a, b)| a ^ b)
        .collect()
}

/// A masked frame.
pub(super) fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut frame = header(first, payload.len() as u64);
    frame.extend(masked(payload));
    frame
}

/// A masked close frame with a code.
pub(super) fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, [&code.to_be_bytes(), reason].concat())
}

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    /// The code, or `None` for an empty payload.
    Close(Option<u16>),
}

/// The frames of a server, none of them masked or fragmented.
pub(super) fn frames(mut bytes: &[u8]) -> Result<Vec<Seen>, String> {
    let mut seen = Vec::new();
    while let Some((frame, rest)) = next_frame(bytes)? {
        bytes = rest;
        if frame.mask.is_some() {
            return Err("a masked frame from a server".into());
        }
        seen.push(frame.seen()?);
    }
    if bytes.is_empty() {
        Ok(seen)
    } else {
        Err(format!(
            "after {seen:?} half a frame: {}",
            bytes.escape_ascii()
        ))
    }
}

/// A frame, unmasked.
pub(super) struct Frame {
    first: u8,
    pub(super) mask: Option<[u8; 4]>,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// Its first byte.
    pub(super) fn first(&self) -> u8 {
        self.first
    }

    pub(super) fn seen(self) -> Result<Seen, String> {
        let Self { first, payload, .. } = self;
        let code = || Some(u16::from_be_bytes([*payload.first()?, *payload.get(1)?]));
        match first ^ FIN {
            TEXT => Ok(Seen::Text(
                String::from_utf8(payload).map_err(|e| e.to_string())?,
            )),
            BINARY => Ok(Seen::Binary(payload)),
            PONG => Ok(Seen::Pong(payload)),
            CLOSE => Ok(Seen::Close(code())),
            _ => Err(format!("a frame that begins with {first:#x}")),
        }
    }
}

/// The frame at the front of `bytes`, and what follows it.
pub(super) fn next_frame(bytes: &[u8]) -> Result<Option<(Frame, &[u8])>, String> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    let (length, mut rest) = match second & 0x7f {
        126 => match rest.split_at_checked(2) {
            Some((length, rest)) => (length.iter().fold(0, |n, &b| n << 8 | usize::from(b)), rest),
            None => return Ok(None),
        },
        127 => match rest.split_at_checked(8) {
            Some((length, rest)) => (length.iter().fold(0, |n, &b| n << 8 | usize::from(b)), rest),
            None => return Ok(None),
        },
        length => (usize::from(length), rest),
    };
    let mut mask = None;
    if second & 0x80 != 0 {
        let Some((key, behind)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        (mask, rest) = (Some(*key), behind);
    }
    let Some((payload, rest)) = rest.split_at_checked(length) else {
        return Ok(None);
    };
    let key = mask.unwrap_or_default();
    let payload = payload.iter().zip(key.iter().cycle()).map(|(a, b)| a ^ b);
    let frame = Frame {
        first: *first,
        mask,
        payload: payload.collect(),
    };
    Ok(Some((frame, rest)))
}
