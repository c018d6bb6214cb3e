//! `Via` (RFC 3261 §20.42): the path of a request, and the way back for its responses.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::message::ByteStr;
use crate::message::headers::push_decimal;
use crate::message::scan::{Params, token, trim, well_formed_param};
use crate::message::uri::{host_end, host_ip};

/// The start of every branch that obeys RFC 3261; what follows makes it unique.
pub const BRANCH_COOKIE: &str = "z9hG4bK";

/// One Via value: `SIP/2.0/UDP host:port;branch=…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// Transport as written: `UDP`, `TCP`, `TLS` …
    pub transport: ByteStr,
    /// The host of sent-by; IPv6 keeps its brackets.
    pub host: ByteStr,
    /// The port of sent-by, when written.
    pub port: Option<u16>,
    /// The branch parameter.
    pub branch: Option<ByteStr>,
    /// The address the request really came from.
    pub received: Option<IpAddr>,
    /// `rport` (RFC 3581): `Some(None)` asks for the source port, `Some(Some(port))` tells it.
    pub rport: Option<Option<u16>>,
    params: ByteStr,
}

impl Via {
    /// Reads one value, not a list.
    pub fn parse(value: &ByteStr) -> Option<Self> {
        Self::parse_in(value, value)
    }

    /// The same for a part of `whole`.
    pub(crate) fn parse_in(whole: &ByteStr, value: &str) -> Option<Self> {
        Self::read(whole, value).and_then(|(via, sound)| sound.then_some(via))
    }

    /// Reads transport and sent-by of any version, and parameters as far as they can be read.
    /// Enough to answer a request whose Via is otherwise broken.
    pub(crate) fn parse_leniently(value: &ByteStr) -> Option<Self> {
        Self::read(value, value).map(|(via, _)| via)
    }

    /// The Via, and whether version and parameters are in order.
    fn read(whole: &ByteStr, value: &str) -> Option<(Self, bool)> {
        let text = trim(value);
        let (mut sound, rest) = match text.strip_prefix("SIP/2.0/") {
            Some(rest) => (true, trim(rest)),
            None => after_protocol(text)?,
        };
        let (transport, rest) = rest.split_once([' ', '\t'])?;
        let transport = shared_transport(whole, transport)?;
        let rest = trim(rest);
        let end = host_end(rest, 0)?;
        let host = &rest[..end];
        let mut rest = trim(&rest[end..]);
        let mut port = None;
        if let Some(after) = rest.strip_prefix(':') {
            let after = trim(after);
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            port = Some(after[..digits].parse().ok()?);
            rest = trim(&after[digits..]);
        }
        if !(rest.is_empty() || rest.starts_with(';')) {
            return None;
        }
        let mut via = Self {
            transport,
            host: whole.slice_of(host),
            port,
            branch: None,
            received: None,
            rport: None,
            params: whole.slice_of(rest),
        };
        sound &= !rest.ends_with(';');
        for (name, param) in Params::new(rest) {
            sound &= well_formed_param(name, param);
            via.take_param(whole, name, param);
        }
        Some((via, sound))
    }

    fn take_param(&mut self, whole: &ByteStr, name: &str, param: Option<&str>) {
        if name.eq_ignore_ascii_case("branch") {
            self.branch = param
                .filter(|branch| !branch.is_empty())
                .map(|branch| whole.slice_of(branch));
        } else if name.eq_ignore_ascii_case("rport") {
            self.rport = Some(param.and_then(|port| port.parse().ok()));
        } else if name.eq_ignore_ascii_case("received") {
            self.received = param.and_then(host_ip);
        }
    }

    /// The part of the branch that identifies the transaction, when the sender obeys RFC 3261:
    /// the cookie with something behind it.
    pub fn unique_branch(&self) -> Option<&str> {
        let branch = self.branch.as_deref()?;
        let cookie = branch.get(..BRANCH_COOKIE.len())?;
        (cookie.eq_ignore_ascii_case(BRANCH_COOKIE) && branch.len() > BRANCH_COOKIE.len())
            .then_some(branch)
    }

    /// A parameter by its name in any case: outer `None` when absent, inner `None` when it has no
    /// value.
    pub fn param(&self, name: &str) -> Option<Option<&str>> {
        Params::get(&self.params, name)
    }

    /// Whether the transport keeps order and delivers (TCP, TLS, SCTP, WS …).
    pub fn is_reliable(&self) -> bool {
        !self.transport.eq_ignore_ascii_case("UDP")
    }

    /// Writes down where the request came from (RFC 3261 §18.2.1, RFC 3581 §4): `rport` gets the
    /// source port when the sender asked for it, and `received` the address when sent-by says
    /// something else or `rport` is used.
    pub fn stamp(&mut self, source: SocketAddr) {
        let asked = self.rport.is_some();
        if asked {
            self.rport = Some(Some(source.port()));
        }
        let sent_by = host_ip(&self.host);
        self.received = (asked || sent_by != Some(source.ip())).then_some(source.ip());
    }
}

impl Via {
    /// Appends the value as it is sent.
    pub(crate) fn print(&self, text: &mut String) {
        text.push_str("SIP/2.0/");
        text.push_str(&self.transport);
        text.push(' ');
        text.push_str(&self.host);
        if let Some(port) = self.port {
            text.push(':');
            push_decimal(text, port.into());
        }
        let mut rport = self.rport;
        for (name, value) in Params::new(&self.params) {
            if name.eq_ignore_ascii_case("received") {
                continue;
            }
            if name.eq_ignore_ascii_case("rport") {
                push_rport(text, rport.take());
                continue;
            }
            text.push(';');
            text.push_str(name);
            if let Some(value) = value {
                text.push('=');
                text.push_str(value);
            }
        }
        push_rport(text, rport);
        if let Some(received) = self.received {
            text.push_str(";received=");
            push_ip(text, received);
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(VIA_BYTES);
        self.print(&mut text);
        f.write_str(&text)
    }
}

/// How long a Via usually is.
const VIA_BYTES: usize = 128;

/// What follows protocol and version when they are not written in the usual way, and whether the
/// version is ours.
fn after_protocol(text: &str) -> Option<(bool, &str)> {
    let (name, rest) = text.split_once('/')?;
    let (version, rest) = rest.split_once('/')?;
    let is_sip = trim(name).eq_ignore_ascii_case("SIP");
    is_sip.then_some((trim(version) == "2.0", trim(rest)))
}

/// The transport as text; the usual ones cost no reference to the message.
fn shared_transport(whole: &ByteStr, transport: &str) -> Option<ByteStr> {
    Some(match transport {
        "UDP" => ByteStr::literal("UDP"),
        "TCP" => ByteStr::literal("TCP"),
        "TLS" => ByteStr::literal("TLS"),
        other if token(other) => whole.slice_of(other),
        _ => return None,
    })
}

fn push_rport(text: &mut String, rport: Option<Option<u16>>) {
    let Some(port) = rport else { return };
    text.push_str(";rport");
    if let Some(port) = port {
        text.push('=');
        push_decimal(text, port.into());
    }
}

fn push_ip(text: &mut String, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (position, octet) in address.octets().into_iter().enumerate() {
                if position > 0 {
                    text.push('.');
                }
                push_decimal(text, octet.into());
            }
        }
        IpAddr::V6(address) => text.push_str(&address.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Via> {
        Via::parse(&ByteStr::copy(text))
    }

    #[test]
    fn reads_spread_out_and_dense_forms() {
        let via = read("SIP  /   2.0\t/UDP\t    192.0.2.2;rport;branch=390skdjuw").unwrap();
        assert_eq!(
            (&*via.transport, &*via.host, via.port),
            ("UDP", "192.0.2.2", None)
        );
        assert_eq!(via.rport, Some(None));
        assert_eq!(
            (via.branch.as_deref(), via.unique_branch()),
            (Some("390skdjuw"), None)
        );

        let via =
            read("SIP/2.0/TLS [2001:db8::9:1] : 5061 ; received=192.0.2.1;branch=z9hG4bKx;rport=7")
                .unwrap();
        assert_eq!((&*via.host, via.port), ("[2001:db8::9:1]", Some(5061)));
        assert_eq!(via.received, "192.0.2.1".parse().ok());
        assert_eq!(
            (via.unique_branch(), via.rport),
            (Some("z9hG4bKx"), Some(Some(7)))
        );
        assert!(via.is_reliable());
        assert_eq!(
            read("SIP/2.0/UDP h;branch=z9hG4bK")
                .unwrap()
                .unique_branch(),
            None
        );
        // RFC 5118 §4.5: brackets around a received address are tolerated.
        assert_eq!(
            read("SIP/2.0/UDP h;received=[2001:db8::9]")
                .unwrap()
                .received,
            "2001:db8::9".parse().ok()
        );
    }

    #[test]
    fn refuses_malformed_ones() {
        for bad in [
            "",
            "SIP/2.0/UDP",
            "SIP/3.0/UDP h",
            "HTTP/2.0/UDP h",
            "SIP/2.0/UDP h;;",
            "SIP/2.0/UDP h x",
            "SIP/2.0/UDP h:70000",
            "SIP/2.0/UDP h:",
            "SIP/2.0/UDP [::1",
            "SIP/2.0/UDP h;a=\"x",
            "SIP/2.0 h",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert!(Via::parse_leniently(&"SIP/2.0/UDP 192.0.2.15;;".into()).is_some());
    }

    #[test]
    fn stamping_records_the_source() {
        let source = "198.51.100.7:4711".parse().unwrap();
        let mut asked = read("SIP/2.0/UDP 10.0.0.1:5060;rport;branch=z9hG4bKa").unwrap();
        asked.stamp(source);
        assert_eq!(
            asked.to_string(),
            "SIP/2.0/UDP 10.0.0.1:5060;rport=4711;branch=z9hG4bKa;received=198.51.100.7"
        );

        let mut silent = read("SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKa;received=1.2.3.4").unwrap();
        silent.stamp(source);
        assert_eq!(
            silent.to_string(),
            "SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKa"
        );

        let mut named = read("SIP/2.0/UDP pc.example.com;branch=z9hG4bKa").unwrap();
        named.stamp(source);
        assert_eq!(
            named.to_string(),
            "SIP/2.0/UDP pc.example.com;branch=z9hG4bKa;received=198.51.100.7"
        );
    }
}
