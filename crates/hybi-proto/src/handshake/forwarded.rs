//! Which client a proxy speaks for: `Forwarded` (RFC 7239) and `X-Forwarded-For`.
//!
//! Whom to trust is the caller's to say. A header that no proxy of his has written is the client's
//! own invention, so that just one of the two is believed, the one that his proxies write.

use std::net::IpAddr;

use http::HeaderName;
use http::header::{FORWARDED, HeaderMap};

use super::grammar::{self, Host};

/// The header in which proxies tell for whom they speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Forwarded {
    /// `Forwarded: for=192.0.2.60;proto=https` (RFC 7239).
    Standard,
    /// `X-Forwarded-For: 192.0.2.60, 198.51.100.7`, as most proxies do.
    XForwardedFor,
}

impl Forwarded {
    /// The address of the client, if `peer` has sent these headers: the first one from the end,
    /// `peer` included, that is not trusted. Where a trusted proxy tells no address (`unknown`, a
    /// name, something malformed, nothing at all), its own.
    #[must_use]
    pub fn client(
        self,
        headers: &HeaderMap,
        peer: IpAddr,
        trusted: impl Fn(IpAddr) -> bool,
    ) -> IpAddr {
        let mut client = peer.to_canonical();
        for line in headers.get_all(self.name()).iter().rev() {
            let mut rest = Some(line.as_bytes());
            while let Some(line) = rest {
                let (before, last) = self.split_last(line);
                match self.told(last) {
                    Some(address) if trusted(client) => client = address,
                    _ => return client,
                }
                rest = before;
            }
        }
        client
    }

    fn name(self) -> HeaderName {
        match self {
            Self::Standard => FORWARDED,
            Self::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
        }
    }

    /// The last element of a line, which was added last, and what is before it, the client's own
    /// inventions perhaps: nothing in there changes where the last one begins.
    fn split_last(self, line: &[u8]) -> (Option<&[u8]>, &[u8]) {
        let comma = match self {
            Self::XForwardedFor => line.iter().rposition(|&b| b == b','),
            Self::Standard => last_comma(line),
        };
        match comma {
            Some(at) => (Some(&line[..at]), &line[at + 1..]),
            None => (None, line),
        }
    }

    /// The address that an element tells, if it does.
    fn told(self, element: &[u8]) -> Option<IpAddr> {
        let element = std::str::from_utf8(element).ok()?;
        match self {
            Self::XForwardedFor => address(element),
            Self::Standard => standard(element),
        }
    }
}

/// Where the last comma is that is in no quoted string, seen from the end.
fn last_comma(line: &[u8]) -> Option<usize> {
    let mut quoted = false;
    for (at, &b) in line.iter().enumerate().rev() {
        match b {
            b'"' if !is_escaped(&line[..at]) => quoted = !quoted,
            b',' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Whether what follows is part of a `quoted-pair` (RFC 9110 §5.6.4).
fn is_escaped(before: &[u8]) -> bool {
    let backslashes = before.iter().rev().take_while(|&&b| b == b'\\');
    backslashes.count() % 2 == 1
}

/// RFC 7239 §4: a `forwarded-element` is a list of pairs.
fn standard(element: &str) -> Option<IpAddr> {
    let pairs = grammar::pairs(element).ok()?;
    // Each parameter MUST NOT occur more than once per field-value.
    let mut of = pairs
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("for"));
    match (of.next(), of.next()) {
        (Some((_, node)), None) => address(node),
        _ => None,
    }
}

/// An address, perhaps with a port; one of version 6 may stand in brackets.
fn address(node: &str) -> Option<IpAddr> {
    let node = node.trim_matches([' ', '\t']);
    let address = node.parse().or_else(|_| {
        let name = Host::parse(node).map_or(node, Host::name);
        name.trim_matches(['[', ']']).parse::<IpAddr>()
    });
    Some(address.ok()?.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::Forwarded::{Standard, XForwardedFor};
    use super::*;

    /// The client, where 10.0.0.0/8 is trusted.
    fn client(forwarded: Forwarded, lines: &[&'static str], peer: &str) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            let line = HeaderValue::from_bytes(line.as_bytes());
            headers.append(forwarded.name(), line.unwrap());
        }
        let trusted = |address: IpAddr| address.to_string().starts_with("10.");
        let peer = peer.parse().unwrap();
        forwarded.client(&headers, peer, trusted).to_string()
    }

    #[test]
    fn the_first_address_from_the_end_that_is_not_trusted_is_the_client() {
        let x = |lines: &[&'static str]| client(XForwardedFor, lines, "10.0.0.1");
        assert_eq!(x(&["192.0.2.1"]), "192.0.2.1");
        assert_eq!(x(&["198.51.100.1, 192.0.2.1"]), "192.0.2.1");
        assert_eq!(x(&["192.0.2.1 ,\t10.0.0.2"]), "192.0.2.1");
        assert_eq!(
            x(&["198.51.100.1", "192.0.2.1", "10.0.0.3,10.0.0.2"]),
            "192.0.2.1"
        );
        assert_eq!(x(&["10.0.0.9"]), "10.0.0.9");
        assert_eq!(x(&[]), "10.0.0.1");
    }

    #[test]
    fn a_peer_that_is_not_trusted_speaks_for_itself() {
        for forwarded in [Standard, XForwardedFor] {
            let lines = ["for=10.0.0.2", "10.0.0.2"];
            assert_eq!(client(forwarded, &lines, "192.0.2.7"), "192.0.2.7");
        }
    }

    #[test]
    fn ports_brackets_and_quotes_are_understood() {
        for (line, address) in [
            ("for=192.0.2.1", "192.0.2.1"),
            (
                "For=\"192.0.2.1:47011\";proto=https;by=203.0.113.43",
                "192.0.2.1",
            ),
            ("proto=http; for=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("for=\"[2001:db8::1]\"", "2001:db8::1"),
            ("for=\"[::ffff:192.0.2.1]\"", "192.0.2.1"),
            ("for=1.2.3.4, for=\"192.0.2.1\", for=10.0.0.2", "192.0.2.1"),
        ] {
            assert_eq!(client(Standard, &[line], "10.0.0.1"), address, "{line}");
        }
        for (line, address) in [
            ("192.0.2.1:47011", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]:1", "2001:db8::1"),
        ] {
            assert_eq!(
                client(XForwardedFor, &[line], "::ffff:10.0.0.1"),
                address,
                "{line}"
            );
        }
    }

    #[test]
    fn what_a_client_made_up_hides_nothing_that_a_proxy_has_put_behind_it() {
        for line in [
            "for=\"192.0.2.1, for=192.0.2.7",
            "for=\"a\\\", for=192.0.2.7",
            "\", for=\"192.0.2.7:1\";proto=https",
            "\u{fc}, for=192.0.2.7",
            "a b;;=, for=192.0.2.7, for=10.0.0.3",
            "for=192.0.2.1;, for=192.0.2.7",
            "for=\"\\\", for=192.0.2.1, for=\"192.0.2.7\"",
        ] {
            assert_eq!(client(Standard, &[line], "10.0.0.1"), "192.0.2.7", "{line}");
        }
        for line in ["\u{fc}, 192.0.2.7", "192.0.2.1\u{fc},192.0.2.7, 10.0.0.3"] {
            let found = client(XForwardedFor, &[line], "10.0.0.1");
            assert_eq!(found, "192.0.2.7", "{line}");
        }
    }

    #[test]
    fn where_a_proxy_tells_no_address_it_is_the_client() {
        for line in [
            "for=unknown",
            "for=_hidden",
            "proto=https",
            "for=192.0.2.1;for=192.0.2.2",
            "for=\"192.0.2.1",
            "for=192.0.2.1;;",
            "",
            "for=192.0.2.1, for=unknown",
        ] {
            assert_eq!(client(Standard, &[line], "10.0.0.1"), "10.0.0.1", "{line}");
        }
        for line in [
            "unknown",
            "",
            ",",
            "192.0.2.1,",
            "192.0.2.256",
            "example.com",
        ] {
            assert_eq!(
                client(XForwardedFor, &[line], "10.0.0.1"),
                "10.0.0.1",
                "{line}"
            );
        }
    }
}
