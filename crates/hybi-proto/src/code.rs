//! The numbers that say why a connection closes (RFC 6455 §7.4).
//!
//! Names them and says which of them may stand in a close frame. It reads and writes no frame:
//! [`close`](crate::close) does, and every error that ends a connection names one of these.

use std::fmt;

/// Why a connection was closed: a number and, where it is registered, its name.
///
/// Any number fits. Whether it may be sent is what [`is_allowed_on_wire`] says.
///
/// ```
/// use hybi_proto::code::CloseCode;
///
/// assert_eq!(CloseCode::new(1001), CloseCode::GOING_AWAY);
/// assert_eq!(CloseCode::GOING_AWAY.to_string(), "1001 GOING_AWAY");
/// assert_eq!(CloseCode::new(4000).to_string(), "4000");
/// ```
///
/// [`is_allowed_on_wire`]: CloseCode::is_allowed_on_wire
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: a server goes down, or a browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke a rule of the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// 1003: a kind of data that this endpoint does not take, binary for instance.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1005: the close frame carried no code. Never sent; it stands for the missing one.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: the connection ended without a close frame. Never sent.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: data that does not fit its type: a text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// 1008: a message that breaks the endpoint's policy, when no other code fits.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message larger than the endpoint takes.
    pub const TOO_BIG: Self = Self(1009);
    /// 1010: the client needs an extension that the server did not agree to.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: the endpoint met a condition that it did not expect.
    pub const INTERNAL: Self = Self(1011);
    /// 1012: the service restarts; connect again after a pause.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: the service is overloaded; connect again later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got an invalid answer from the server behind it.
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 1015: the TLS handshake failed. Never sent.
    pub const TLS_HANDSHAKE: Self = Self(1015);

    /// The code with this number, known or not.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number, as it stands in the first two bytes of a close frame's payload.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// Whether the code may stand in a close frame: 1000-1003, 1007-1014 and 3000-4999
    /// (RFC 6455 §7.4, and 1012-1014 from the IANA registry).
    #[must_use]
    pub const fn is_allowed_on_wire(self) -> bool {
        match self.0 {
            // §7.4.1: 1004 is reserved; 1005, 1006 and 1015 MUST NOT be set as a status code in
            // a Close control frame by an endpoint.
            1000..=1003 | 1007..=1014 => true,
            // §7.4.2: 3000-3999 are registered with IANA, 4000-4999 are for private use.
            3000..=4999 => true,
            _ => false,
        }
    }

    const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::NORMAL => "NORMAL",
            Self::GOING_AWAY => "GOING_AWAY",
            Self::PROTOCOL => "PROTOCOL",
            Self::UNSUPPORTED => "UNSUPPORTED",
            Self::NO_STATUS => "NO_STATUS",
            Self::ABNORMAL => "ABNORMAL",
            Self::INVALID_DATA => "INVALID_DATA",
            Self::POLICY => "POLICY",
            Self::TOO_BIG => "TOO_BIG",
            Self::MANDATORY_EXTENSION => "MANDATORY_EXTENSION",
            Self::INTERNAL => "INTERNAL",
            Self::SERVICE_RESTART => "SERVICE_RESTART",
            Self::TRY_AGAIN_LATER => "TRY_AGAIN_LATER",
            Self::BAD_GATEWAY => "BAD_GATEWAY",
            Self::TLS_HANDSHAKE => "TLS_HANDSHAKE",
            _ => return None,
        })
    }
}

impl From<u16> for CloseCode {
    fn from(number: u16) -> Self {
        Self(number)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} {name}", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_numbers_only_the_listed_ones_may_be_sent() {
        let mut listed = vec![1000, 1001, 1002, 1003];
        listed.extend([1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014]);
        listed.extend((0..2000).map(|private| 3000 + private));
        let allowed: Vec<u16> = (0..=65535)
            .filter(|&n| CloseCode::new(n).is_allowed_on_wire())
            .collect();
        assert_eq!(allowed, listed);
    }

    #[test]
    fn a_registered_code_shows_number_and_name_and_any_other_its_number() {
        assert_eq!(format!("{:?}", CloseCode::NORMAL), "1000 NORMAL");
        assert_eq!(
            format!("{}", CloseCode::TLS_HANDSHAKE),
            "1015 TLS_HANDSHAKE"
        );
        for unnamed in [0, 999, 1004, 1016, 3000, 4999, 65535] {
            assert_eq!(
                format!("{:?}", CloseCode::new(unnamed)),
                unnamed.to_string()
            );
        }
    }

    #[test]
    fn every_number_from_1000_to_1015_but_1004_has_a_name() {
        let named: Vec<u16> = (0..=65535)
            .filter(|&n| CloseCode::new(n).name().is_some())
            .collect();
        let expected: Vec<u16> = (1000..=1015).filter(|&n| n != 1004).collect();
        assert_eq!(named, expected);
    }
}
