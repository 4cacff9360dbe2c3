//! What a server has agreed to (RFC 7692 §7.1), from the head of its answer.

use std::fmt;
use std::io;

/// How both sides compress.
#[derive(Clone, Copy, PartialEq)]
pub struct Agreed {
    pub server: Half,
    pub client: Half,
}

/// How one side compresses.
#[derive(Clone, Copy, PartialEq)]
pub struct Half {
    /// The window has two to the power of this many bytes.
    pub bits: u8,
    /// It goes on from one message to the next.
    pub takeover: bool,
}

impl Agreed {
    pub fn from_head(head: &str) -> io::Result<Self> {
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        let field = lines.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-extensions"));
        let (_, value) = field.ok_or_else(|| io::Error::other("it does not compress"))?;
        let unknown = || io::Error::other(format!("it has agreed to '{}'", value.trim()));
        let mut parameters = value.split(';').map(str::trim);
        if parameters.next() != Some("permessage-deflate") {
            return Err(unknown());
        }
        let all = Half {
            bits: 15,
            takeover: true,
        };
        let mut agreed = Self {
            server: all,
            client: all,
        };
        for parameter in parameters {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match name {
                "server_no_context_takeover" => agreed.server.takeover = false,
                "client_no_context_takeover" => agreed.client.takeover = false,
                "server_max_window_bits" => agreed.server.bits = bits(value).ok_or_else(unknown)?,
                "client_max_window_bits" => agreed.client.bits = bits(value).ok_or_else(unknown)?,
                _ => return Err(unknown()),
            }
        }
        Ok(agreed)
    }
}

impl Half {
    pub fn window(self) -> usize {
        1 << self.bits
    }
}

/// A window of 8 bits, which no compressor makes, is read as one of 9.
fn bits(value: &str) -> Option<u8> {
    let bits: u8 = value.trim_matches('"').parse().ok()?;
    (8..=15).contains(&bits).then_some(bits.max(9))
}

impl fmt::Display for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let half = |half: Half| match half.takeover {
            true => format!("{}", half.bits),
            false => format!("{}, none", half.bits),
        };
        write!(f, "{} / {}", half(self.server), half(self.client))
    }
}
