//! What can be wrong with a proxy: with its URL, which is the caller's, or with its answer.

use std::fmt;

use bytes::Bytes;
use http::{Response, StatusCode};
use hybi_proto::handshake::ResponseError;

/// Why there is no way through a proxy. A proxy that cannot be reached at all is an
/// [`Error::Io`](crate::Error::Io), as a server is.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProxyError {
    /// What was given is no URL with a host.
    Url,
    /// Another scheme than `http`, `https`, `socks4`, `socks4a`, `socks5` and `socks5h`.
    Scheme,
    /// A user name or a password that this kind of proxy cannot be told: any with SOCKS 4, one of
    /// more than 255 bytes with SOCKS 5.
    Credentials,
    /// The proxy answered CONNECT with another status than a 2xx, 407 for instance; with up to 64
    /// KiB of its body.
    Refused(Box<Response<Bytes>>),
    /// The proxy's answer to CONNECT is not HTTP.
    Answer(ResponseError),
    /// The proxy sent more than its answer although nobody had spoken yet.
    Early,
    /// Why the proxy did not open a way by SOCKS.
    Socks(String),
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url => f.write_str("a proxy is written as http://user:password@host:port"),
            Self::Scheme => f.write_str(
                "the URL of a proxy begins with http://, https://, socks4a://, socks5:// or \
                 socks5h://",
            ),
            Self::Credentials => f.write_str(
                "this proxy cannot be told such a user name or password: \
                 SOCKS 4 has none, SOCKS 5 has up to 255 bytes of each",
            ),
            Self::Refused(response) => {
                write!(f, "the proxy answered {}", response.status())?;
                match response.status() {
                    StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                        f.write_str("; its URL takes a user name and a password")
                    }
                    _ => f.write_str(", and opened no way to the server"),
                }
            }
            Self::Answer(ResponseError::Head(head)) => {
                write!(f, "the proxy's answer is not HTTP: {head}")
            }
            Self::Answer(_) => f.write_str("the proxy sends informational answers without end"),
            Self::Early => f.write_str("the proxy sent more than its answer"),
            Self::Socks(why) => write!(f, "the proxy opened no way to the server: {why}"),
        }
    }
}

impl std::error::Error for ProxyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Answer(error) => std::error::Error::source(error),
            _ => None,
        }
    }
}
