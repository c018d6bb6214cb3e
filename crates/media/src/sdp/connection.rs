//! The `c=` line: where media go (RFC 8866 §5.7).

use std::fmt;
use std::net::IpAddr;

/// A host in a description.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Address<'a> {
    /// A literal.
    Ip(IpAddr),
    /// A name. Allowed by the grammar; nobody we relay for may make us look it up per call.
    Name(&'a str),
}

/// A parsed `c=` line; time-to-live and address counts of multicast are ignored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Connection<'a> {
    /// The host.
    pub address: Address<'a>,
}

impl<'a> Connection<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let [network, kind, address] = std::array::from_fn(|_| words.next());
        if !network?.eq_ignore_ascii_case("IN") {
            return None;
        }
        Address::parse(kind?, address?).map(|address| Self { address })
    }

    /// The literal, if it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.address {
            Address::Ip(ip) => Some(ip),
            Address::Name(_) => None,
        }
    }
}

impl<'a> Address<'a> {
    /// Reads `IP4`/`IP6` and a host. The literal's own family wins over a wrong word: a sender
    /// that writes `IP4 2001:db8::1` means the address.
    pub(super) fn parse(kind: &str, host: &'a str) -> Option<Self> {
        if !kind.eq_ignore_ascii_case("IP4") && !kind.eq_ignore_ascii_case("IP6") {
            return None;
        }
        let host = host.split('/').next().unwrap_or(host);
        Some(match host.parse() {
            Ok(ip) => Self::Ip(ip),
            Err(_) => Self::Name(host),
        })
    }
}

/// `IP4 192.0.2.1` or `IP6 2001:db8::1`, as `o=`, `c=` and `a=rtcp` write it.
pub(super) struct Typed(pub(super) IpAddr);

impl fmt::Display for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}",
            if self.0.is_ipv4() { "IP4" } else { "IP6" },
            self.0
        )
    }
}
