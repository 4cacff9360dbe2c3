//! The grammar of the handshake's header values: tokens, lists, extensions, hosts, versions.
//!
//! Every parser is one pass over its input and borrows from it. What a value means is decided by
//! [`server`](super::server) and [`client`](super::client).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv6Addr;

use http::header::{HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_EXTENSIONS};

/// A version of the protocol, as `Sec-WebSocket-Version` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Version {
    /// RFC 6455.
    #[default]
    V13,
    /// The drafts hybi-08 to hybi-12: as 13, but the origin is in `Sec-WebSocket-Origin`.
    V8,
}

impl Version {
    /// The version with exactly this number; `013` is no number of a version.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        match value {
            b"13" => Some(Self::V13),
            b"8" => Some(Self::V8),
            _ => None,
        }
    }

    /// The number, as it stands in the header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V13 => "13",
            Self::V8 => "8",
        }
    }
}

/// One extension of a `Sec-WebSocket-Extensions` list (RFC 6455 §9.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension<'a> {
    /// The name: a token.
    pub name: &'a str,
    /// The parameters in their order, repeated ones included; a value is a token, unquoted.
    pub params: Vec<(&'a str, Option<Cow<'a, str>>)>,
}

/// A header value that breaks its grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the header value is malformed")
    }
}

impl std::error::Error for Malformed {}

/// Whether this is a token of RFC 9110 §5.6.2: at least one byte, and no separator among them.
#[must_use]
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&b| is_tchar(b))
}

pub(super) fn is_tchar(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// Whether a comma-separated list, over all lines of this header, has this element in any case.
///
/// RFC 9110 §5.6.1.2: a recipient MUST parse and ignore a reasonable number of empty elements.
#[must_use]
pub fn list_has(headers: &HeaderMap, name: &HeaderName, element: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&b| b == b','))
        .any(|item| trim(item).eq_ignore_ascii_case(element.as_bytes()))
}

/// All tokens of a list over several lines, none empty and none twice (RFC 6455 §4.1).
///
/// # Errors
///
/// [`Malformed`] if an element is empty, is not a token or is repeated.
pub fn unique_tokens<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Vec<&'a str>, Malformed> {
    let mut tokens = Vec::new();
    for line in headers.get_all(name) {
        for item in text(line)?.split(',') {
            let item = item.trim_matches(BLANK);
            if !is_token(item.as_bytes()) {
                return Err(Malformed);
            }
            tokens.push(item);
        }
    }
    let unique: BTreeSet<&str> = tokens.iter().copied().collect();
    if unique.len() < tokens.len() {
        return Err(Malformed);
    }
    Ok(tokens)
}

/// The extensions of all `Sec-WebSocket-Extensions` lines, in their order.
///
/// # Errors
///
/// [`Malformed`] if a line is not an `extension-list` of RFC 6455 §9.1.
pub fn extensions(headers: &HeaderMap) -> Result<Vec<Extension<'_>>, Malformed> {
    let mut list = Vec::new();
    for line in headers.get_all(SEC_WEBSOCKET_EXTENSIONS) {
        parse_extensions(text(line)?, &mut list)?;
    }
    Ok(list)
}

/// Appends the extensions of one line to the list.
///
/// # Errors
///
/// [`Malformed`] if the line is not an `extension-list`; the list then holds what came before.
pub fn parse_extensions<'a>(line: &'a str, list: &mut Vec<Extension<'a>>) -> Result<(), Malformed> {
    let mut rest = Cursor(line);
    loop {
        let mut extension = Extension {
            name: rest.token()?,
            params: Vec::new(),
        };
        while rest.skip(';') {
            let name = rest.token()?;
            let value = if rest.skip('=') {
                Some(rest.value()?)
            } else {
                None
            };
            extension.params.push((name, value));
        }
        list.push(extension);
        if !rest.skip(',') {
            break;
        }
    }
    if rest.0.is_empty() {
        Ok(())
    } else {
        Err(Malformed)
    }
}

/// A name and its value.
type Pair<'a> = (&'a str, Cow<'a, str>);

/// The pairs of one element of `Forwarded` (RFC 7239 §4).
pub(super) fn pairs(element: &str) -> Result<Vec<Pair<'_>>, Malformed> {
    let mut rest = Cursor(element);
    let mut pairs = Vec::new();
    loop {
        let name = rest.token()?;
        if !rest.skip('=') {
            return Err(Malformed);
        }
        pairs.push((name, rest.quoted()?));
        if !rest.skip(';') {
            break;
        }
    }
    if rest.0.is_empty() {
        Ok(pairs)
    } else {
        Err(Malformed)
    }
}

/// Percent-decodes; a `%` without two hex digits behind it stands for itself.
#[must_use]
pub fn percent_decode(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().iter();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(&b) = bytes.next() {
        let escaped = match bytes.as_slice() {
            [high, low, ..] if b == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                decoded.push(high << 4 | low);
                bytes.nth(1);
            }
            None => decoded.push(b),
        }
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// What is still to be parsed; every step takes from its front, so that no byte is seen twice.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn blank(&mut self) {
        self.0 = self.0.trim_start_matches(BLANK);
    }

    fn skip(&mut self, separator: char) -> bool {
        self.blank();
        match self.0.strip_prefix(separator) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn token(&mut self) -> Result<&'a str, Malformed> {
        self.blank();
        let end = self
            .0
            .bytes()
            .position(|b| !is_tchar(b))
            .unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        if token.is_empty() {
            Err(Malformed)
        } else {
            Ok(token)
        }
    }

    fn value(&mut self) -> Result<Cow<'a, str>, Malformed> {
        let value = self.quoted()?;
        // RFC 6455 §9.1: when using the quoted-string syntax variant, the value after
        // quoted-string unescaping MUST conform to the 'token' ABNF.
        if is_token(value.as_bytes()) {
            Ok(value)
        } else {
            Err(Malformed)
        }
    }

    /// A token or a quoted string.
    fn quoted(&mut self) -> Result<Cow<'a, str>, Malformed> {
        if !self.skip('"') {
            return self.token().map(Cow::Borrowed);
        }
        let end = quote(self.0).ok_or(Malformed)?;
        let quoted = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Ok(if quoted.contains('\\') {
            let mut escaped = false;
            let keep = |&c: &char| {
                escaped = c == '\\' && !escaped;
                !escaped
            };
            Cow::Owned(quoted.chars().filter(keep).collect())
        } else {
            Cow::Borrowed(quoted)
        })
    }
}

/// Where the quote is that ends a quoted string.
fn quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|b| {
        let end = b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        end
    })
}

/// A host and an optional port, as `Host`, an authority or an origin names them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Host<'a> {
    name: &'a str,
    port: Option<u16>,
}

impl<'a> Host<'a> {
    /// RFC 9110 §7.2: `uri-host [ ":" port ]`, and the host not empty (§4.2.1).
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let bracket = text.strip_prefix('[').and_then(|rest| rest.find(']'));
        let (name, port) = match bracket {
            Some(end) => {
                text[1..=end].parse::<Ipv6Addr>().ok()?;
                text.split_at(end + 2)
            }
            None => {
                let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                if name.is_empty() || !name.bytes().all(is_reg_name) {
                    return None;
                }
                (name, port)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            // RFC 3986 §3.2.3: `*DIGIT`; none means the default port.
            Some("") => None,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            _ => return None,
        };
        Some(Self { name, port })
    }

    /// The host; an address of version 6 has its brackets.
    pub(super) fn name(self) -> &'a str {
        self.name
    }

    /// Whether both name the same host and port, if a port that is left out is this one.
    pub(super) fn is(self, other: Host<'_>, port: Option<u16>) -> bool {
        self.name.eq_ignore_ascii_case(other.name) && self.port.or(port) == other.port.or(port)
    }
}

/// RFC 3986 §3.2.2: `reg-name = *( unreserved / pct-encoded / sub-delims )`.
fn is_reg_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&b)
}

/// The only value of a header; none if it is missing or repeated.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    lines.next().is_none().then_some(first)
}

fn text(value: &HeaderValue) -> Result<&str, Malformed> {
    value.to_str().map_err(|_| Malformed)
}

fn trim(item: &[u8]) -> &[u8] {
    let blank = |b: &u8| BLANK.contains(&char::from(*b));
    let start = item.iter().position(|b| !blank(b)).unwrap_or(item.len());
    let end = item
        .iter()
        .rposition(|b| !blank(b))
        .map_or(start, |last| last + 1);
    &item[start..end]
}

/// RFC 9110 §5.6.3: `OWS = *( SP / HTAB )`.
const BLANK: &[char] = &[' ', '\t'];

/// Where drafts before RFC 6455 put the origin.
pub(super) const SEC_WEBSOCKET_ORIGIN: HeaderName = HeaderName::from_static("sec-websocket-origin");
