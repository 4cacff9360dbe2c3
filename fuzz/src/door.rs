//! A transport whose other end has already answered the opening handshake. What follows is a
//! script's.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hybi::test::Script;
use hybi_proto::deflate::Deflate;
use hybi_proto::handshake::client::{self, request};
use hybi_proto::handshake::head::{parse_request, write_request, write_response};
use hybi_proto::handshake::server::{self, Via, accept};
use hybi_proto::handshake::{Key, Target};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The handshake, and the script behind it.
pub struct Door {
    script: Script,
    deflate: Option<Deflate>,
    /// What is written until the handshake is over.
    head: Vec<u8>,
    over: bool,
    /// What is read before the script is.
    answer: Vec<u8>,
}

impl Door {
    /// For a server: its client asks for the same compression.
    pub fn of_server(script: Script, deflate: Option<Deflate>) -> Self {
        let key = Key::parse(b"dGhlIHNhbXBsZSBub25jZQ==").expect("the key of RFC 6455 §1.3");
        let target = Target::parse("ws://localhost/").expect("it is a URL");
        let options = client::Options::new().deflate(deflate);
        let request = request(&target, Some(&key), &options).expect("it can be sent");
        let mut door = Self::of_client(script, deflate);
        write_request(&request, &mut door.answer);
        door
    }

    /// For a client: its server agrees to the same compression.
    pub fn of_client(script: Script, deflate: Option<Deflate>) -> Self {
        Self {
            script,
            deflate,
            head: Vec::new(),
            over: false,
            answer: Vec::new(),
        }
    }

    /// Takes the front of what is written, up to the end of the head.
    fn take(&mut self, bytes: &[u8]) -> usize {
        for (at, byte) in bytes.iter().enumerate() {
            self.head.push(*byte);
            if self.head.ends_with(b"\r\n\r\n") {
                self.over = true;
                // A server's own answer cannot be parsed as a request.
                if let Ok(request) = parse_request(&self.head) {
                    let options = server::Options::new().deflate(self.deflate);
                    let accepted = accept(&request, &options, Via::Http1);
                    let response = accepted.expect("our own request holds").response();
                    write_response(&response.map(|()| ""), &mut self.answer);
                }
                return at + 1;
            }
        }
        bytes.len()
    }
}

impl AsyncRead for Door {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.answer.is_empty() {
            return Pin::new(&mut self.script).poll_read(cx, buffer);
        }
        let n = self.answer.len().min(buffer.remaining());
        buffer.put_slice(&self.answer[..n]);
        self.answer.drain(..n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Door {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.over {
            return Poll::Ready(Ok(self.take(bytes)));
        }
        Pin::new(&mut self.script).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.over {
            let slice = slices.iter().find(|slice| !slice.is_empty());
            let taken = slice.map_or(0, |slice| self.take(slice));
            return Poll::Ready(Ok(taken));
        }
        Pin::new(&mut self.script).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.script).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.script).poll_shutdown(cx)
    }
}
