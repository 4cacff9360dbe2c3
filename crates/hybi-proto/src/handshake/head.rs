//! The head of an HTTP/1 message: found, parsed, written.
//!
//! [`Scan`] finds the end of a head in bytes that arrive piece by piece and refuses at once what
//! can become none. The parsers then take exactly one whole head, the writers make one. Whether a
//! head is a handshake is decided by [`server`](super::server) and [`client`](super::client).

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Request, Response, StatusCode, Uri, Version};

use super::error::HeadError;
use super::grammar::is_tchar;

/// How large a head may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest head, in bytes from its first line to the empty line (default 16 KiB); a
    /// larger one is answered 431, or 414 if its request line alone is longer.
    pub bytes: usize,
    /// The most header fields (default 100); more are answered 431.
    pub headers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 16 * 1024,
            headers: 100,
        }
    }
}

/// The search for the end of a head; it remembers how far it came, so each byte is seen once.
#[derive(Debug, Clone)]
pub struct Scan {
    limits: Limits,
    side: Side,
    /// How many bytes have been seen.
    at: usize,
    /// Where the line begins in which `at` is.
    line: usize,
    /// How many lines are complete, the first one included.
    lines: usize,
    /// Whether the method is complete.
    method: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Request,
    Response,
}

impl Scan {
    /// A search for the head of a request.
    #[must_use]
    pub fn request(limits: Limits) -> Self {
        Self::new(limits, Side::Request)
    }

    /// A search for the head of a response.
    #[must_use]
    pub fn response(limits: Limits) -> Self {
        Self::new(limits, Side::Response)
    }

    fn new(limits: Limits, side: Side) -> Self {
        Self {
            limits,
            side,
            at: 0,
            line: 0,
            lines: 0,
            method: false,
        }
    }

    /// The length of the head at the front of `bytes`, its empty line included; `None` if it has
    /// not arrived as a whole.
    ///
    /// `bytes` is all that has arrived so far: what an earlier call was given, and more behind it.
    /// One empty line before the first one is part of the head and ignored (RFC 9112 §2.2).
    ///
    /// # Errors
    ///
    /// As soon as no byte that follows can make it a head within the limits. The verdict does not
    /// depend on how the bytes were cut, and stays; so does the length of a head once it is found.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadError> {
        while let Some(&b) = bytes.get(self.at) {
            if self.at >= self.limits.bytes {
                return Err(self.too_long());
            }
            match b {
                b'\n' => {
                    if self.at == self.line || bytes[self.at - 1] != b'\r' {
                        return Err(HeadError::LineEnding);
                    }
                    if self.end_of_line(&bytes[self.line..self.at - 1])? {
                        return Ok(Some(self.at + 1));
                    }
                    self.line = self.at + 1;
                }
                _ if self.at > self.line && bytes[self.at - 1] == b'\r' => {
                    return Err(HeadError::LineEnding);
                }
                b'\r' => {}
                _ if self.lines == 0 => self.first_line(b)?,
                // RFC 9112 §5.2: a server that receives an obs-fold in a request message MUST
                // either reject the message by sending a 400 or replace it.
                b' ' | b'\t' if self.at == self.line => return Err(HeadError::Folded),
                b'\t' => {}
                _ if b.is_ascii_control() => return Err(HeadError::Control),
                // Most of a head passes here: a run of bytes that need no further look.
                _ => {
                    let bound = bytes.len().min(self.limits.bytes);
                    let rest = bytes.get(self.at + 1..bound).unwrap_or_default();
                    let run = rest.iter().position(u8::is_ascii_control);
                    self.at += run.unwrap_or(rest.len());
                }
            }
            self.at += 1;
        }
        Ok(None)
    }

    /// One byte of the first line: refused if no HTTP/1 message has it there.
    fn first_line(&mut self, b: u8) -> Result<(), HeadError> {
        match self.side {
            Side::Request if !self.method => {
                self.method = b == b' ' && self.at > self.line;
                if self.method || is_tchar(b) {
                    Ok(())
                } else {
                    Err(HeadError::NotHttp)
                }
            }
            // A target and a version are visible ASCII.
            Side::Request if b == b' ' || b.is_ascii_graphic() => Ok(()),
            Side::Request => Err(HeadError::FirstLine),
            Side::Response => match PROTOCOL.get(self.at - self.line) {
                Some(&expected) if b != expected => Err(HeadError::NotHttp),
                None if b.is_ascii_control() && b != b'\t' => Err(HeadError::Control),
                _ => Ok(()),
            },
        }
    }

    /// A complete line, without its end; whether it ends the head.
    fn end_of_line(&mut self, line: &[u8]) -> Result<bool, HeadError> {
        if self.lines == 0 {
            if line.is_empty() {
                // RFC 9112 §2.2: a server SHOULD ignore at least one empty line received prior
                // to the request-line.
                let ignored = self.side == Side::Request && self.line == 0;
                return if ignored {
                    Ok(false)
                } else {
                    Err(HeadError::NotHttp)
                };
            }
            // What speaks another version need not be read to its end: `PRI * HTTP/2.0`.
            let version = line.rsplit(|&b| b == b' ').next().unwrap_or_default();
            if self.side == Side::Request && !matches!(version, b"HTTP/1.1" | b"HTTP/1.0") {
                let named = version.starts_with(b"HTTP/");
                return Err(if named {
                    HeadError::Version
                } else {
                    HeadError::FirstLine
                });
            }
        } else if line.is_empty() {
            return Ok(true);
        } else if self.headers() >= self.limits.headers {
            return Err(HeadError::TooManyHeaders);
        }
        self.lines += 1;
        Ok(false)
    }

    fn too_long(&self) -> HeadError {
        match (self.side, self.lines) {
            (Side::Request, 0) => HeadError::TargetTooLong,
            _ => HeadError::TooLarge,
        }
    }

    fn headers(&self) -> usize {
        self.lines.saturating_sub(1)
    }

    /// How many header fields a whole head has, when it has no end before its end.
    fn whole(mut self, head: &[u8]) -> Result<usize, HeadError> {
        match self.scan(head)? {
            Some(length) if length == head.len() => Ok(self.headers()),
            _ => Err(HeadError::Incomplete),
        }
    }
}

/// Parses the head of a request, which [`Scan::scan`] has measured.
///
/// The version is HTTP/1.1, or HTTP/1.0 for the sake of plain requests. The target is a path or an
/// absolute URL, which then is the `Uri`.
///
/// # Errors
///
/// Whatever [`Scan`] refuses save its limits, and illegal targets, header names and values.
pub fn parse_request(head: &[u8]) -> Result<Request<()>, HeadError> {
    let mut fields = vec![httparse::EMPTY_HEADER; Scan::request(UNLIMITED).whole(head)?];
    let mut parsed = httparse::Request::new(&mut fields);
    // The configuration of httparse is strict as it comes; a bare LF never gets this far.
    if parsed.parse(head)?.is_partial() {
        return Err(HeadError::Incomplete);
    }
    let method = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes());
    let mut request = Request::new(());
    *request.method_mut() = method.map_err(|_| HeadError::FirstLine)?;
    *request.uri_mut() = target(parsed.path.unwrap_or_default())?;
    *request.version_mut() = version(parsed.version)?;
    *request.headers_mut() = headers(parsed.headers)?;
    Ok(request)
}

/// Parses the head of a response, which [`Scan::scan`] has measured.
///
/// # Errors
///
/// Whatever [`Scan`] refuses save its limits, and illegal header names and values.
pub fn parse_response(head: &[u8]) -> Result<Response<()>, HeadError> {
    let mut fields = vec![httparse::EMPTY_HEADER; Scan::response(UNLIMITED).whole(head)?];
    let mut parsed = httparse::Response::new(&mut fields);
    if parsed.parse(head)?.is_partial() {
        return Err(HeadError::Incomplete);
    }
    let status = StatusCode::from_u16(parsed.code.unwrap_or_default());
    let mut response = Response::new(());
    *response.status_mut() = status.map_err(|_| HeadError::FirstLine)?;
    *response.version_mut() = version(parsed.version)?;
    *response.headers_mut() = headers(parsed.headers)?;
    Ok(response)
}

fn target(target: &str) -> Result<Uri, HeadError> {
    // `Uri` would drop a fragment in silence.
    if target.contains('#') {
        return Err(HeadError::Target);
    }
    if target.len() > MAX_TARGET {
        return Err(HeadError::TargetTooLong);
    }
    let uri: Uri = target.parse().map_err(|_| HeadError::Target)?;
    if target.starts_with('/') {
        return Ok(uri);
    }
    // RFC 9112 §3.2.2: a server MUST accept the absolute-form in requests. A user in it is to be
    // treated as an error (RFC 9110 §4.2.4).
    let scheme = uri.scheme_str().unwrap_or_default();
    let known = ["http", "https", "ws", "wss"]
        .iter()
        .any(|s| scheme.eq_ignore_ascii_case(s));
    match uri.authority() {
        Some(host) if known && !host.host().is_empty() && !host.as_str().contains('@') => Ok(uri),
        _ => Err(HeadError::Target),
    }
}

fn version(minor: Option<u8>) -> Result<Version, HeadError> {
    match minor {
        Some(1) => Ok(Version::HTTP_11),
        Some(0) => Ok(Version::HTTP_10),
        _ => Err(HeadError::Version),
    }
}

fn headers(fields: &[httparse::Header<'_>]) -> Result<HeaderMap, HeadError> {
    let mut map = HeaderMap::with_capacity(fields.len().min(Limits::default().headers));
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| HeadError::Header)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| HeadError::Header)?;
        map.try_append(name, value)
            .map_err(|_| HeadError::TooManyHeaders)?;
    }
    Ok(map)
}

impl From<httparse::Error> for HeadError {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::Version => Self::Version,
            httparse::Error::Token | httparse::Error::Status => Self::FirstLine,
            httparse::Error::NewLine => Self::LineEnding,
            httparse::Error::TooManyHeaders => Self::TooManyHeaders,
            _ => Self::Header,
        }
    }
}

/// Appends the head of a request: HTTP/1.1, with the target as the `Uri` has it.
///
/// Nothing can break out of its line: the types of `http` admit no line end, and a byte beyond
/// ASCII in the target is percent-encoded.
pub fn write_request(request: &Request<()>, out: &mut Vec<u8>) {
    out.extend_from_slice(request.method().as_str().as_bytes());
    out.push(b' ');
    for b in request.uri().to_string().bytes() {
        if b.is_ascii_graphic() {
            out.push(b);
        } else {
            out.extend_from_slice(format!("%{b:02X}").as_bytes());
        }
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_fields(request.headers().iter(), out);
    out.extend_from_slice(b"\r\n");
}

/// Appends a response: HTTP/1.1, with its body.
///
/// `Content-Length` is the length of the body, whatever the headers say; an informational answer
/// and a 204 have neither (RFC 9110 §8.6). For the answer to a HEAD request see
/// [`write_response_to_head`].
pub fn write_response<B: AsRef<[u8]>>(response: &Response<B>, out: &mut Vec<u8>) {
    write_response_to_head(response, out);
    if has_content(response.status()) {
        out.extend_from_slice(response.body().as_ref());
    }
}

/// Appends a response to a HEAD request: as [`write_response`], without the body. Its length is
/// told, as in the answer to GET (RFC 9110 §8.6).
pub fn write_response_to_head<B: AsRef<[u8]>>(response: &Response<B>, out: &mut Vec<u8>) {
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or_default();
    out.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).as_bytes());
    let framing = |name: &HeaderName| *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING;
    write_fields(
        response.headers().iter().filter(|(name, _)| !framing(name)),
        out,
    );
    if has_content(status) {
        let length = response.body().as_ref().len();
        out.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

fn has_content(status: StatusCode) -> bool {
    !status.is_informational() && status != StatusCode::NO_CONTENT
}

fn write_fields<'a>(
    fields: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>,
    out: &mut Vec<u8>,
) {
    for (name, value) in fields {
        write_name(name.as_str(), out);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes a name in its customary case, `Sec-WebSocket-Key`: some old peers compare the case.
fn write_name(name: &str, out: &mut Vec<u8>) {
    for (i, word) in name.split('-').enumerate() {
        if i > 0 {
            out.push(b'-');
        }
        match word {
            "websocket" => out.extend_from_slice(b"WebSocket"),
            "www" => out.extend_from_slice(b"WWW"),
            _ => {
                let start = out.len();
                out.extend_from_slice(word.as_bytes());
                if let Some(initial) = out.get_mut(start) {
                    initial.make_ascii_uppercase();
                }
            }
        }
    }
}

/// What every answer begins with that this crate can read.
const PROTOCOL: &[u8] = b"HTTP/1.";

/// The longest target that `http::Uri` holds, in bytes.
const MAX_TARGET: usize = u16::MAX as usize - 1;

const UNLIMITED: Limits = Limits {
    bytes: usize::MAX,
    headers: usize::MAX,
};
