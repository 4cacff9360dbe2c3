//! Which client a proxy speaks for: `Forwarded` (RFC 7239) and `X-Forwarded-For`.
//!
//! Whom to trust is the caller's to say. A header that no proxy of his has written is the client's
//! own invention, so that just one of the two is believed, the one that his proxies write.

use std::net::IpAddr;

use http::HeaderName;
use http::header::{FORWARDED, HeaderMap, HeaderValue};

use super::grammar::{self, Host, Malformed};

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
            // The last element was added last.
            for told in self.elements(line).into_iter().rev() {
                match told {
                    Some(address) if trusted(client) => client = address,
                    _ => return client,
                }
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

    /// The addresses in one line; none for an element that has none, as if there were nothing
    /// before it.
    fn elements(self, line: &HeaderValue) -> Vec<Option<IpAddr>> {
        let Ok(line) = line.to_str() else {
            return vec![None];
        };
        match self {
            Self::XForwardedFor => line.split(',').map(address).collect(),
            Self::Standard => standard(line).unwrap_or_else(|_| vec![None]),
        }
    }
}

/// RFC 7239 §4: `Forwarded = 1#forwarded-element`, of which each is a list of pairs.
fn standard(line: &str) -> Result<Vec<Option<IpAddr>>, Malformed> {
    let elements = grammar::pairs(line)?.into_iter().map(|pairs| {
        // Each parameter MUST NOT occur more than once per field-value.
        let mut of = pairs
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("for"));
        match (of.next(), of.next()) {
            (Some((_, node)), None) => address(node),
            _ => None,
        }
    });
    Ok(elements.collect())
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
    use super::Forwarded::{Standard, XForwardedFor};
    use super::*;

    /// The client, where 10.0.0.0/8 is trusted.
    fn client(forwarded: Forwarded, lines: &[&'static str], peer: &str) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(forwarded.name(), HeaderValue::from_static(line));
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
