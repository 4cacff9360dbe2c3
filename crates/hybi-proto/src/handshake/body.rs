//! The body of a refusal: found among the bytes behind its head, up to a limit.
//!
//! It is for a person who wants to know why; what is malformed is not an error, it only ends the
//! body. Compressed bodies stay compressed.

use http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::{Response, StatusCode};
use httparse::Status;

use super::grammar::only;

/// The body of one response, as far as it has come.
#[derive(Debug)]
pub struct Body {
    bytes: Vec<u8>,
    limit: usize,
    rest: Rest,
    /// What has come of the line that tells the size of a chunk.
    line: Vec<u8>,
}

/// What still belongs to the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// So many bytes.
    Length(u64),
    /// Everything that comes before the end of the connection.
    Connection,
    /// The line that tells the size of the next chunk.
    ChunkSize,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// So many bytes of the line end behind a chunk.
    ChunkEnd(u64),
    /// Nothing.
    Nothing,
}

impl Body {
    /// The body of this response, which keeps at most `limit` bytes.
    #[must_use]
    pub fn new<T>(response: &Response<T>, limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            rest: framing(response.status(), response.headers()),
            line: Vec::new(),
        }
    }

    /// Takes the next bytes behind the head.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.is_done() {
            let taken = match &mut self.rest {
                Rest::Nothing => break,
                Rest::Connection => self.keep(bytes),
                Rest::Length(left) => {
                    let here = at_most(bytes, *left);
                    *left -= here.len() as u64;
                    self.keep(here)
                }
                Rest::Chunk(left) => {
                    let here = at_most(bytes, *left);
                    *left -= here.len() as u64;
                    if *left == 0 {
                        self.rest = Rest::ChunkEnd(2);
                    }
                    self.keep(here)
                }
                Rest::ChunkEnd(left) => {
                    let here = at_most(bytes, *left);
                    *left -= here.len() as u64;
                    if *left == 0 {
                        self.rest = Rest::ChunkSize;
                    }
                    here.len()
                }
                Rest::ChunkSize => self.chunk_size(bytes),
            };
            bytes = &bytes[taken..];
        }
    }

    /// Whether the body is complete, or as large as it may be.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.bytes.len() == self.limit || matches!(self.rest, Rest::Nothing | Rest::Length(0))
    }

    /// What has come of the body.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn keep(&mut self, bytes: &[u8]) -> usize {
        let room = self.limit - self.bytes.len();
        self.bytes
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        bytes.len()
    }

    fn chunk_size(&mut self, bytes: &[u8]) -> usize {
        let before = self.line.len();
        self.line.extend_from_slice(at_most(bytes, MAX_LINE));
        match httparse::parse_chunk_size(&self.line) {
            // RFC 9112 §7.1: the chunked coding is complete when a chunk with a chunk-size of
            // zero is received. What may follow it are headers, and those came too late.
            Ok(Status::Complete((_, 0))) | Err(_) => {
                self.rest = Rest::Nothing;
                bytes.len()
            }
            Ok(Status::Complete((length, size))) => {
                self.rest = Rest::Chunk(size);
                self.line.clear();
                length - before
            }
            Ok(Status::Partial) if self.line.len() as u64 >= MAX_LINE => {
                self.rest = Rest::Nothing;
                bytes.len()
            }
            Ok(Status::Partial) => bytes.len(),
        }
    }
}

/// The longest line that tells the size of a chunk, extensions included.
const MAX_LINE: u64 = 256;

fn at_most(bytes: &[u8], most: u64) -> &[u8] {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    &bytes[..bytes.len().min(most)]
}

/// How long the body is (RFC 9112 §6.3).
fn framing(status: StatusCode, headers: &HeaderMap) -> Rest {
    // Any response with a 1xx, 204 or 304 status code is always terminated by the first empty
    // line after the header fields.
    if status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    {
        return Rest::Nothing;
    }
    if let Some(coding) = headers.get_all(TRANSFER_ENCODING).iter().next_back() {
        // If chunked is the final encoding, the length is determined by reading and decoding the
        // chunked data; if it is not, by reading until the connection is closed.
        let last = coding.as_bytes().rsplit(|&b| b == b',').next();
        let last = last.unwrap_or_default().trim_ascii();
        return if last.eq_ignore_ascii_case(b"chunked") {
            Rest::ChunkSize
        } else {
            Rest::Connection
        };
    }
    let length = only(headers, &CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    match length.and_then(|length| length.parse().ok()) {
        Some(length) => Rest::Length(length),
        // Otherwise, the length is determined by the number of octets received prior to the
        // server closing the connection.
        None => Rest::Connection,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 20;

    fn response(status: u16, headers: &[(&'static str, &'static str)]) -> Response<()> {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(()).unwrap()
    }

    /// The body in `bytes`, and whether it is done, the same whole and byte by byte.
    fn body(response: &Response<()>, bytes: &[u8]) -> (String, bool) {
        let mut whole = Body::new(response, LIMIT);
        whole.push(bytes);
        let mut cut = Body::new(response, LIMIT);
        for byte in bytes.chunks(1) {
            cut.push(byte);
        }
        assert_eq!(whole.bytes, cut.bytes);
        assert_eq!(whole.is_done(), cut.is_done());
        let done = whole.is_done();
        (String::from_utf8(whole.into_bytes()).unwrap(), done)
    }

    fn chunked(bytes: &str) -> (String, bool) {
        let response = response(403, &[("transfer-encoding", "gzip, Chunked")]);
        body(&response, bytes.as_bytes())
    }

    fn is(text: &str, done: bool) -> (String, bool) {
        (text.to_owned(), done)
    }

    #[test]
    fn a_length_ends_the_body() {
        let response = response(403, &[("content-length", "2")]);
        assert_eq!(body(&response, b"n"), is("n", false));
        assert_eq!(body(&response, b"no, and more"), is("no", true));
    }

    #[test]
    fn a_length_of_zero_and_a_status_without_a_body_need_nothing() {
        assert_eq!(
            body(&response(403, &[("content-length", "0")]), b"x"),
            is("", true)
        );
        assert_eq!(body(&response(204, &[]), b"x"), is("", true));
        assert_eq!(
            body(&response(304, &[("content-length", "9")]), b"x"),
            is("", true)
        );
    }

    #[test]
    fn without_a_length_the_connection_ends_the_body() {
        assert_eq!(body(&response(403, &[]), b"no"), is("no", false));
        let twice = response(403, &[("content-length", "1"), ("content-length", "2")]);
        assert_eq!(body(&twice, b"no"), is("no", false));
        let gzip = response(
            403,
            &[("transfer-encoding", "gzip"), ("content-length", "1")],
        );
        assert_eq!(body(&gzip, b"no"), is("no", false));
    }

    #[test]
    fn chunks_are_joined() {
        assert_eq!(chunked("2\r\nno\r\n"), is("no", false));
        assert_eq!(
            chunked("2\r\nno\r\nA;x=y\r\n, and more\r\n0\r\n\r\n"),
            is("no, and more", true)
        );
        assert_eq!(chunked("0\r\nTrailer: x\r\n\r\n"), is("", true));
    }

    #[test]
    fn a_malformed_chunk_ends_the_body() {
        assert_eq!(chunked("2\r\nno\r\nx\r\n"), is("no", true));
        assert_eq!(chunked("fffffffffffffffff\r\n"), is("", true));
        let line = format!("2\r\nno\r\n1;{}", "x".repeat(300));
        assert_eq!(chunked(&line), is("no", true));
    }

    #[test]
    fn the_limit_ends_the_body() {
        let long = "x".repeat(LIMIT + 5);
        let kept = is(&long[..LIMIT], true);
        assert_eq!(body(&response(403, &[]), long.as_bytes()), kept);
        assert_eq!(chunked(&format!("{:x}\r\n{long}", long.len())), kept);
        assert_eq!(chunked(&"1\r\nx\r\n".repeat(LIMIT)), kept);
        assert_eq!(chunked(&format!("ffffffffffffffff\r\n{long}")), kept);
    }
}
