//! The raw other end of a WebSocket.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::BUFFER;
use super::frame::Frame;
use crate::entropy;
use crate::options::Options;
use crate::socket::{Role, WebSocket};

/// The raw other end of a WebSocket, in memory: it sends any frames or bytes, and shows the
/// frames that come. It answers nothing by itself.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use hybi::test::{Frame, Peer};
///
/// let (mut peer, mut ws) = Peer::client();
/// peer.hex("81 85 00000000").await?; // a text of five bytes, of which nothing comes yet
/// peer.bytes(b"he").await?;
/// peer.bytes(b"llo").await?;
/// assert_eq!(ws.recv().await?, Some("hello".into()));
///
/// peer.send(Frame::close(999, "")).await?; // no frame may carry this code
/// assert!(ws.recv().await.is_err());
/// assert_eq!(peer.recv().await?, Some(Frame::close(1002, "")));
/// # hybi::Result::Ok(()) })?;
/// # hybi::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct Peer {
    stream: DuplexStream,
    role: Role,
    /// What came and was not looked at yet.
    unread: BytesMut,
}

impl Peer {
    /// A client, which masks its frames, and the server that it is connected to.
    #[must_use]
    pub fn client() -> (Self, WebSocket) {
        Self::of(Role::Server, &Options::new(), BUFFER)
    }

    /// A server, and the client that is connected to it.
    #[must_use]
    pub fn server() -> (Self, WebSocket) {
        Self::of(Role::Client, &Options::new(), BUFFER)
    }

    /// The peer of a WebSocket with this role and these options, over a transport that holds so
    /// many bytes in each direction.
    #[must_use]
    pub fn of(role: Role, options: &Options, buffer: usize) -> (Self, WebSocket) {
        let (ours, theirs) = tokio::io::duplex(buffer);
        let plays = match role {
            Role::Server => Role::Client,
            Role::Client => Role::Server,
        };
        let ws = WebSocket::from_stream(theirs.into(), role, options, &[]);
        (Self::over(ours, plays), ws)
    }

    /// A peer that plays this role over a stream, behind the opening handshake.
    #[must_use]
    pub fn over(stream: DuplexStream, plays: Role) -> Self {
        Self {
            stream,
            role: plays,
            unread: BytesMut::new(),
        }
    }

    /// Sends a frame; as a client, masked with a fresh key.
    ///
    /// # Errors
    ///
    /// The other end has gone.
    pub async fn send(&mut self, frame: Frame) -> io::Result<()> {
        let key = (self.role == Role::Client).then(entropy::mask_key);
        self.bytes(frame.encode(key)).await
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn bytes(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Sends bytes in hexadecimal, as they are; white space is left out.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`io::ErrorKind::InvalidInput`] for what is not hexadecimal.
    pub async fn hex(&mut self, hex: &str) -> io::Result<()> {
        let bytes = decode_hex(hex).ok_or(io::ErrorKind::InvalidInput)?;
        self.bytes(bytes).await
    }

    /// Waits for the next frame and unmasks it; `None` when the other end has shut down writing.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] if it did so in the middle of a frame.
    pub async fn recv(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some((frame, end)) = Frame::decode(&self.unread) {
                let _ = self.unread.split_to(end);
                return Ok(Some(frame));
            }
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return match self.unread.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }

    /// Waits until this many bytes have come, and takes them as they are.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] if the other end has shut down writing before.
    pub async fn take(&mut self, bytes: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < bytes {
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.unread.split_to(bytes).into())
    }

    /// Waits until the other end has shut down writing, and gives all the bytes that came before.
    ///
    /// # Errors
    ///
    /// None, in memory.
    pub async fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.stream.read_buf(&mut self.unread).await? > 0 {}
        Ok(std::mem::take(&mut self.unread).into())
    }

    /// Shuts down writing: the other end reads the end of the stream, and may still write.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }
}

fn decode_hex(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = hex
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16))
        .collect();
    let (pairs, odd) = digits.as_deref()?.as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| (high << 4 | low) as u8);
    odd.is_empty().then(|| bytes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_whole_bytes_of_hexadecimal_digits() {
        assert_eq!(decode_hex("81 0fF\n0"), Some(vec![0x81, 0x0f, 0xf0]));
        assert_eq!(decode_hex("8"), None);
        assert_eq!(decode_hex("8x"), None);
    }
}
