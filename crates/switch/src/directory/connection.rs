//! A connection as the call path needs it: its record, its patterns compiled, its counters at hand.

use model::counters::ConnectionCounters;
use model::pattern::{Pattern, PatternError};
use sip::auth::{Credentials, Secret};
use std::net::IpAddr;
use std::sync::Arc;

/// A connection of the directory.
#[derive(Debug)]
pub struct Connection {
    /// The record as it was posted.
    pub record: model::Connection,
    /// `connection-orig-match-pattern`, compiled.
    pub orig: Pattern,
    /// `connection-term-match-pattern`, compiled; a copy of the orig pattern when the record has none.
    pub term: Pattern,
    /// `connection-address`, taken apart; `None` when empty.
    pub address: Option<Address>,
    /// Position in order of creation: the earlier wins among equals.
    pub ordinal: u64,
    /// Calls up. Shared by all shards, and by this connection's record before and after a change.
    pub counters: Arc<ConnectionCounters>,
}

/// `connection-address`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Host in lower case, IPv6 in brackets.
    pub host: String,
    /// The host, when it is a literal address.
    pub ip: Option<IpAddr>,
    /// Port, when written.
    pub port: Option<u16>,
}

impl Connection {
    /// Compiles a record.
    pub fn build(
        record: model::Connection,
        ordinal: u64,
        counters: Arc<ConnectionCounters>,
    ) -> Result<Self, PatternError> {
        let orig = Pattern::parse(&record.connection_orig_match_pattern)?;
        let term = Pattern::parse(record.effective_term_pattern())?;
        let address = Address::parse(&record.connection_address);
        Ok(Self {
            record,
            orig,
            term,
            address,
            ordinal,
            counters,
        })
    }

    /// Stands for a record that is no more, with what a record has that says nothing.
    pub(crate) fn gone(key: model::ConnectionKey) -> Result<Self, PatternError> {
        let record = model::Connection {
            domain: key.domain,
            connection_orig_match_pattern: key.connection_orig_match_pattern,
            ..model::Connection::default()
        };
        Self::build(record, u64::MAX, Arc::default())
    }

    /// The key of the record.
    pub fn key(&self) -> model::ConnectionKey {
        self.record.key()
    }

    /// The key as people read it.
    pub fn label(&self) -> String {
        format!(
            "connection {}/{}",
            self.record.domain, self.record.connection_orig_match_pattern
        )
    }

    /// The registration credentials, for challenges to us; an empty realm means any.
    pub fn credentials(&self) -> Arc<Credentials> {
        let record = &self.record;
        let realm = &record.connection_sip_registration_realm;
        Arc::new(Credentials {
            username: record.connection_sip_registration_username.clone(),
            password: Secret::new(record.connection_sip_registration_password.reveal()),
            realm: (!realm.is_empty()).then(|| realm.clone()),
        })
    }

    /// Realm of our digest challenges: the record's own, else the host of the orig pattern when that has no
    /// wildcard, else the domain.
    pub fn realm(&self) -> &str {
        match self.record.connection_sip_registration_realm.as_str() {
            "" => self.orig.literal_host().unwrap_or(&self.record.domain),
            own => own,
        }
    }
}

keep::keep!(struct Address { host, ip, port });

impl Address {
    /// Reads `host`, `host:port`, `[v6]`, `[v6]:port`, a bare IPv6 address, or a SIP URI, whose user and
    /// parameters do not matter here. Empty and unreadable texts give `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim();
        for scheme in ["sip:", "sips:"] {
            if let Some(head) = rest.get(..scheme.len())
                && head.eq_ignore_ascii_case(scheme)
            {
                rest = &rest[scheme.len()..];
                break;
            }
        }
        let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        let rest = rest.split([';', '?']).next().unwrap_or(rest);
        if let Ok(ip) = rest.parse::<IpAddr>() {
            let host = if ip.is_ipv6() {
                format!("[{ip}]")
            } else {
                ip.to_string()
            };
            return Some(Self {
                host,
                ip: Some(ip),
                port: None,
            });
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, Some(port.parse().ok()?))
            }
            _ => (rest, None),
        };
        if host.is_empty() || host.contains(char::is_whitespace) {
            return None;
        }
        let ip = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .ok();
        Some(Self {
            host: host.to_ascii_lowercase(),
            ip,
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_all_their_forms() {
        let check = |text: &str, host: &str, port: Option<u16>| {
            let address = Address::parse(text).unwrap_or_else(|| panic!("{text} is an address"));
            assert_eq!(
                (address.host.as_str(), address.port),
                (host, port),
                "{text}"
            );
        };
        check("192.0.2.20", "192.0.2.20", None);
        check("192.0.2.20:5070", "192.0.2.20", Some(5070));
        check("A.Carrier.Example", "a.carrier.example", None);
        check("sip:2485551212@aj", "aj", None);
        check("sip:aj:5080;transport=tcp", "aj", Some(5080));
        check("2001:db8::7", "[2001:db8::7]", None);
        check("[2001:db8::7]:5070", "[2001:db8::7]", Some(5070));
        assert_eq!(Address::parse(""), None);
        assert_eq!(Address::parse("host:port"), None);
    }
}
