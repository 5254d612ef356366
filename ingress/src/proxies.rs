//! Which address a request comes from, behind proxies.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The header in which proxies tell where a request comes from.
///
/// Only one is read: a proxy that writes one lets a client's own other one pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Header {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The proxies whose word is taken for where a request comes from. Nobody's, by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    networks: Vec<IpNet>,
    header: Header,
}

/// Not a list of networks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address and no network; write 10.0.0.7 or 10.0.0.0/8, with commas between several")]
pub struct NotNetworks(String);

impl FromStr for Proxies {
    type Err = NotNetworks;

    /// Addresses and networks in CIDR notation, with commas between them.
    fn from_str(list: &str) -> Result<Self, NotNetworks> {
        let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
        let network = |name: &str| {
            let network = name.parse::<IpNet>().or_else(|_| name.parse::<IpAddr>().map(IpNet::from));
            network.map_err(|_| NotNetworks(name.to_owned()))
        };
        let networks = names.map(network).collect::<Result<_, _>>()?;
        Ok(Self { networks, header: Header::default() })
    }
}

impl Proxies {
    /// The same proxies, which write this header.
    #[must_use]
    pub fn writing(self, header: Header) -> Self {
        Self { header, ..self }
    }

    /// Whether this is the address of such a proxy.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Where a request comes from that `peer` sent: the last hop that is no trusted proxy. What stands before it anybody can
    /// have written.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if self.networks.is_empty() || !self.trusts(peer) {
            return peer;
        }
        let name = match self.header {
            Header::XForwardedFor => X_FORWARDED_FOR,
            Header::Forwarded => header::FORWARDED,
        };
        let lines = headers.get_all(&name).iter().rev();
        // What cannot be read is a hop that is no address.
        let hops = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
        let mut client = peer;
        for hop in hops {
            let named = if name == header::FORWARDED { forwarded_for(hop) } else { Some(hop) };
            // A hop that hides itself, or is not readable, ends what is known.
            let Some(address) = named.and_then(address) else { break };
            client = address;
            if !self.trusts(address) {
                break;
            }
        }
        client
    }
}

/// The value of `for` in an element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value)
    })
}

/// An address, with or without a port, quotes and brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(peer: &str, lines: &[(&'static str, &str)]) -> String {
        client_by(Header::XForwardedFor, peer, lines)
    }

    fn client_by(header: Header, peer: &str, lines: &[(&'static str, &str)]) -> String {
        let proxies = "10.0.0.0/8, 192.0.2.1,2001:db8::/32".parse::<Proxies>().unwrap().writing(header);
        let name = |name| HeaderName::from_static(name);
        let headers = lines.iter().map(|(n, value)| (name(n), HeaderValue::from_str(value).unwrap()));
        proxies.client(peer.parse().unwrap(), &headers.collect()).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        const XFF: &str = "x-forwarded-for";
        assert_eq!(client("203.0.113.9", &[(XFF, "198.51.100.1")]), "203.0.113.9");
        assert_eq!(client("10.1.1.1", &[]), "10.1.1.1");
        assert_eq!(client("10.1.1.1", &[(XFF, "198.51.100.1")]), "198.51.100.1");
        assert_eq!(
            client("10.1.1.1", &[(XFF, "1.1.1.1, 198.51.100.1, 10.2.2.2")]),
            "198.51.100.1",
            "1.1.1.1 is forged"
        );
        assert_eq!(client("10.1.1.1", &[(XFF, "1.1.1.1"), (XFF, "198.51.100.1,192.0.2.1")]), "198.51.100.1");
        assert_eq!(client("10.1.1.1", &[(XFF, "10.3.3.3, 10.2.2.2")]), "10.3.3.3");
        assert_eq!(client("10.1.1.1", &[(XFF, "198.51.100.1, nonsense, 10.2.2.2")]), "10.2.2.2");
        assert_eq!(client("10.1.1.1", &[(XFF, "198.51.100.1:4711")]), "198.51.100.1");
        assert_eq!(client("10.1.1.1", &[(XFF, "::ffff:198.51.100.1")]), "198.51.100.1");
        let empty = Proxies::default();
        assert!(!empty.trusts("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn only_the_header_is_read_that_the_proxies_write() {
        let both = [("forwarded", "for=198.51.100.1;proto=https, For=\"10.2.2.2:80\""), ("x-forwarded-for", "1.1.1.1")];
        assert_eq!(client("10.1.1.1", &both), "1.1.1.1");
        let client = |peer: &str, lines: &[(&'static str, &str)]| client_by(Header::Forwarded, peer, lines);
        assert_eq!(client("10.1.1.1", &both), "198.51.100.1");
        assert_eq!(client("10.1.1.1", &both[1..]), "10.1.1.1");
        assert_eq!(client("2001:db8::7", &[("forwarded", "for=\"[2001:470::1]:4711\"")]), "2001:470::1");
        assert_eq!(client("10.1.1.1", &[("forwarded", "for=_hidden")]), "10.1.1.1");
        assert_eq!(client("10.1.1.1", &[("forwarded", "proto=http")]), "10.1.1.1");
    }

    #[test]
    fn what_is_no_network_is_named() {
        assert_eq!("10.0.0.0/8,example".parse::<Proxies>(), Err(NotNetworks("example".into())));
        assert_eq!(" ".parse::<Proxies>(), Ok(Proxies::default()));
    }
}
