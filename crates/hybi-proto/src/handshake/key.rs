//! `Sec-WebSocket-Key`, and `Sec-WebSocket-Accept`, the proof that it was understood.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use sha1::{Digest as _, Sha1};

/// The key of one handshake: the base64 of 16 bytes (RFC 6455 §4.1).
///
/// It is no secret. It proves that the server speaks WebSocket and that no cache has answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; LEN]);

impl Key {
    /// The key of a client that has drawn these 16 random bytes.
    #[must_use]
    pub fn from_nonce(nonce: [u8; 16]) -> Self {
        Self(base64(&nonce))
    }

    /// The key of a header value: 22 base64 digits and `==`; none if it is anything else.
    ///
    /// The four bits of the last digit that belong to no byte may be set. RFC 6455 §4.1 does so
    /// in its own example, and `ws` accepts it.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let key: [u8; LEN] = value.try_into().ok()?;
        let digits = key.strip_suffix(b"==")?;
        let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
        digits.iter().all(digit).then_some(Self(key))
    }

    /// The key as it stands in the header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Both constructors admit ASCII only.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The value of `Sec-WebSocket-Accept` that answers this key (RFC 6455 §4.2.2, 5.4).
    #[must_use]
    pub fn accept(&self) -> HeaderValue {
        let digest: [u8; 20] = Sha1::new()
            .chain_update(self.0)
            .chain_update(GUID)
            .finalize()
            .into();
        header(&base64::<ACCEPT_LEN>(&digest))
    }

    /// The key as the value of `Sec-WebSocket-Key`.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        header(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.as_str()).finish()
    }
}

/// The base64 of bytes whose encoding is exactly `N` long.
fn base64<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut text = [b'='; N];
    let written = STANDARD.encode_slice(bytes, &mut text);
    debug_assert_eq!(written, Ok(N));
    text
}

/// Base64 as a header value; every digit of it may stand there.
fn header(base64: &[u8]) -> HeaderValue {
    let value = HeaderValue::from_bytes(base64);
    debug_assert!(value.is_ok());
    value.unwrap_or(HeaderValue::from_static(""))
}

const LEN: usize = 24;
const ACCEPT_LEN: usize = 28;

/// RFC 6455 §1.3: unlikely to be used by endpoints that do not understand the protocol.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
