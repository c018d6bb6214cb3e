//! Finding the next hop (RFC 3263) as a pure machine: it says which record it needs, is told the
//! answer, and ends with a list of addresses to try in order.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::message::Uri;
use crate::message::uri::host_ip;
use crate::random::Random;
use crate::transport::Transport;

/// The most addresses a resolution yields.
pub const HOPS_MAX: usize = 16;

/// The most questions a resolution asks.
pub const LOOKUPS_MAX: usize = 40;

/// The most records of one answer that are looked at.
const RECORDS_MAX: usize = 64;

/// Where a request should go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A name or an address, IPv6 with or without brackets.
    pub host: String,
    /// The port; with one, only addresses are looked up.
    pub port: Option<u16>,
    /// The transport, when it is decided.
    pub transport: Option<Transport>,
    /// Whether only TLS will do (`sips:`).
    pub secure: bool,
}

keep::keep!(struct Target { host, port, transport, secure });

impl Target {
    /// A host with everything else left open.
    pub fn host(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port: None,
            transport: None,
            secure: false,
        }
    }

    /// Where a request to `uri` goes: `maddr` and `transport` count. `None` for other schemes and
    /// for transports we do not have.
    pub fn of_uri(uri: &Uri) -> Option<Self> {
        if !uri.is_sip() {
            return None;
        }
        let transport = match uri.param("transport").flatten() {
            None => None,
            Some(text) => Some(
                [Transport::Udp, Transport::Tcp, Transport::Tls]
                    .into_iter()
                    .find(|transport| transport.as_str().eq_ignore_ascii_case(text))?,
            ),
        };
        let transport = match (uri.is_sips(), transport) {
            (true, Some(Transport::Udp)) => return None,
            (true, _) => Some(Transport::Tls),
            (false, transport) => transport,
        };
        Some(Self {
            host: uri
                .param("maddr")
                .flatten()
                .unwrap_or(uri.host())
                .to_owned(),
            port: uri.port(),
            transport,
            secure: uri.is_sips(),
        })
    }
}

/// The kinds of records that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Which transports a domain prefers (RFC 3403).
    Naptr,
    /// Hosts and ports of a service (RFC 2782).
    Srv,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
}

/// A look-up that the driver performs, CNAMEs followed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// The kind of record.
    pub kind: Kind,
    /// The name, without a dot at its end.
    pub name: String,
}

/// A record in the answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A NAPTR record; the regular expression, which SIP does not use, left out.
    Naptr {
        /// Lower ones are tried first, and higher ones not at all once one fits.
        order: u16,
        /// Lower ones are preferred within an order.
        preference: u16,
        /// `s`: the replacement is to be asked for SRV records.
        flags: String,
        /// `SIP+D2U`, `SIP+D2T`, `SIPS+D2T` …
        service: String,
        /// The next name to ask for.
        replacement: String,
    },
    /// An SRV record.
    Srv {
        /// Lower ones are tried first.
        priority: u16,
        /// Share among those of equal priority.
        weight: u16,
        /// The port.
        port: u16,
        /// The host; `.` says that there is no such service.
        target: String,
    },
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
}

/// Why a look-up gave no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupError {
    /// The name does not exist, or not with records of this kind.
    NotFound,
    /// The server failed or refused.
    ServerFailure,
    /// Nobody answered in time.
    Timeout,
}

/// One address to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hop {
    /// How to send.
    pub transport: Transport,
    /// Where to send.
    pub addr: SocketAddr,
}

/// What a resolution needs or yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Look this up and call [`Resolution::answer`].
    Lookup(Question),
    /// Done: try these in order. At least one, at most [`HOPS_MAX`].
    Done(Vec<Hop>),
    /// There is no way to this target.
    Failed(ResolveError),
}

/// Why a target leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolveError {
    /// The host is empty or has characters that no host name has.
    Host,
    /// The names exist not, or have no addresses.
    NoAddress,
    /// The domain says that it offers no SIP.
    NotOffered,
    /// A server failed or did not answer, and nothing else led to an address.
    LookupFailed,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "not a host name",
            Self::NoAddress => "no address found",
            Self::NotOffered => "the domain offers no SIP",
            Self::LookupFailed => "name look-up failed",
        })
    }
}

impl std::error::Error for ResolveError {}

/// One resolution in progress.
#[derive(Clone, Debug)]
pub struct Resolution {
    target: Target,
    random: Random,
    /// The question whose answer is awaited.
    awaited: Option<Question>,
    /// SRV names still to ask, best first.
    services: VecDeque<(Transport, String)>,
    /// Hosts still to ask for addresses, best first.
    servers: VecDeque<Server>,
    /// Addresses of hosts that were asked, since SRV records often repeat a host.
    known: Vec<(String, Vec<IpAddr>)>,
    hops: Vec<Hop>,
    lookups: usize,
    any_failure: bool,
    any_refusal: bool,
}

#[derive(Clone, Debug)]
struct Server {
    transport: Transport,
    host: String,
    port: u16,
    /// IPv4 addresses, once they are known.
    ipv4: Option<Vec<IpAddr>>,
}

impl Resolution {
    /// Begins. The order among SRV records of equal priority comes from `random`.
    pub fn start(target: Target, random: &mut Random) -> (Self, Step) {
        let mut resolution = Self {
            random: Random::new(random.next_u64()),
            awaited: None,
            services: VecDeque::new(),
            servers: VecDeque::new(),
            known: Vec::new(),
            hops: Vec::new(),
            lookups: 0,
            any_failure: false,
            any_refusal: false,
            target,
        };
        let step = resolution.first_step();
        (resolution, step)
    }

    /// Takes the answer to the question asked last. An answer to another question changes nothing.
    pub fn answer(
        &mut self,
        question: &Question,
        result: Result<Vec<Record>, LookupError>,
    ) -> Step {
        match self.awaited.take() {
            Some(awaited) if awaited == *question => {}
            Some(awaited) => {
                self.awaited = Some(awaited.clone());
                return Step::Lookup(awaited);
            }
            None => return self.next_step(),
        }
        let mut records = result.unwrap_or_else(|error| {
            self.any_failure |= error != LookupError::NotFound;
            Vec::new()
        });
        records.truncate(RECORDS_MAX);
        match question.kind {
            Kind::Naptr => self.on_naptr(records),
            Kind::Srv => self.on_srv(records),
            Kind::A => self.on_a(&records),
            Kind::Aaaa => self.on_aaaa(&records),
        }
        self.next_step()
    }

    fn first_step(&mut self) -> Step {
        let host = self.target.host.trim_end_matches('.').to_ascii_lowercase();
        let transport = self.transport_or_default();
        if let Some(address) = host_ip(&host) {
            let port = self.target.port.unwrap_or(transport.default_port());
            let addr = SocketAddr::new(address, port);
            return Step::Done(vec![Hop { transport, addr }]);
        }
        if !crate::message::scan::host(&host) {
            return Step::Failed(ResolveError::Host);
        }
        self.target.host = host;
        if let Some(port) = self.target.port {
            self.ask_addresses(transport, port);
        } else if let Some(transport) = self.decided_transport() {
            self.services
                .push_back((transport, self.service_name(transport)));
        } else {
            return self.ask(Kind::Naptr, self.target.host.clone());
        }
        self.next_step()
    }

    /// The best records of the lowest order that has one we can use, each leading to SRV records.
    /// Without any, all transports are tried in turn (RFC 3263 §4.1).
    fn on_naptr(&mut self, records: Vec<Record>) {
        let mut usable: Vec<_> = records.into_iter().filter_map(usable_naptr).collect();
        usable.sort_by_key(|(rank, ..)| *rank);
        self.services = usable
            .into_iter()
            .map(|(_, transport, name)| (transport, name))
            .collect();
        if self.services.is_empty() {
            self.services = [Transport::Udp, Transport::Tcp, Transport::Tls]
                .map(|transport| (transport, self.service_name(transport)))
                .into();
        }
    }

    fn on_srv(&mut self, records: Vec<Record>) {
        let Some((transport, _)) = self.services.pop_front() else {
            return;
        };
        for (host, port) in by_priority_and_weight(records, &mut self.random) {
            if host.is_empty() {
                self.any_refusal = true;
            } else if self.servers.len() < HOPS_MAX {
                self.servers.push_back(Server {
                    transport,
                    host,
                    port,
                    ipv4: None,
                });
            }
        }
        // No SRV record under any name: the host itself is the server (RFC 3263 §4.2).
        if self.services.is_empty() && self.servers.is_empty() && !self.any_refusal {
            let transport = self.transport_or_default();
            self.ask_addresses(transport, transport.default_port());
        }
    }

    fn on_a(&mut self, records: &[Record]) {
        if let Some(server) = self.servers.front_mut() {
            let ipv4 = |record: &Record| match record {
                Record::A(address) => Some(IpAddr::V4(*address)),
                _ => None,
            };
            server.ipv4 = Some(records.iter().filter_map(ipv4).collect());
        }
    }

    fn on_aaaa(&mut self, records: &[Record]) {
        let Some(server) = self.servers.pop_front() else {
            return;
        };
        let mut addresses = server.ipv4.clone().unwrap_or_default();
        addresses.extend(records.iter().filter_map(|record| match record {
            Record::Aaaa(address) => Some(IpAddr::V6(*address)),
            _ => None,
        }));
        self.add_hops(&server, &addresses);
        self.known.push((server.host, addresses));
    }

    /// Asks the next question, or ends. Every way out of here either uses up one of
    /// [`LOOKUPS_MAX`] questions or ends.
    fn next_step(&mut self) -> Step {
        if self.lookups < LOOKUPS_MAX && self.hops.len() < HOPS_MAX {
            if let Some((_, name)) = self.services.front() {
                let name = name.clone();
                return self.ask(Kind::Srv, name);
            }
            while let Some(server) = self.servers.front() {
                let literal = host_ip(&server.host).map(|address| vec![address]);
                let known = self.known.iter().find(|(host, _)| *host == server.host);
                let Some(addresses) =
                    literal.or_else(|| known.map(|(_, addresses)| addresses.clone()))
                else {
                    let kind = if server.ipv4.is_none() {
                        Kind::A
                    } else {
                        Kind::Aaaa
                    };
                    let host = server.host.clone();
                    return self.ask(kind, host);
                };
                let server = server.clone();
                self.servers.pop_front();
                self.add_hops(&server, &addresses);
            }
        }
        if !self.hops.is_empty() {
            return Step::Done(std::mem::take(&mut self.hops));
        }
        Step::Failed(match (self.any_refusal, self.any_failure) {
            (true, _) => ResolveError::NotOffered,
            (false, true) => ResolveError::LookupFailed,
            (false, false) => ResolveError::NoAddress,
        })
    }

    fn ask(&mut self, kind: Kind, name: String) -> Step {
        self.lookups += 1;
        let question = Question { kind, name };
        self.awaited = Some(question.clone());
        Step::Lookup(question)
    }

    fn ask_addresses(&mut self, transport: Transport, port: u16) {
        self.servers.push_back(Server {
            transport,
            host: self.target.host.clone(),
            port,
            ipv4: None,
        });
    }

    fn add_hops(&mut self, server: &Server, addresses: &[IpAddr]) {
        for address in addresses {
            let hop = Hop {
                transport: server.transport,
                addr: SocketAddr::new(*address, server.port),
            };
            if self.hops.len() < HOPS_MAX && !self.hops.contains(&hop) {
                self.hops.push(hop);
            }
        }
    }

    fn decided_transport(&self) -> Option<Transport> {
        if self.target.secure {
            Some(Transport::Tls)
        } else {
            self.target.transport
        }
    }

    /// UDP when nothing decides otherwise (RFC 3263 §4.1).
    fn transport_or_default(&self) -> Transport {
        self.decided_transport().unwrap_or(Transport::Udp)
    }

    fn service_name(&self, transport: Transport) -> String {
        let service = match transport {
            Transport::Udp => "_sip._udp",
            Transport::Tcp => "_sip._tcp",
            Transport::Tls => "_sips._tcp",
        };
        format!("{service}.{}", self.target.host)
    }
}

/// Rank, transport and next name of a NAPTR record that leads to SRV records of SIP.
fn usable_naptr(record: Record) -> Option<((u16, u16), Transport, String)> {
    let Record::Naptr {
        order,
        preference,
        flags,
        service,
        replacement,
    } = record
    else {
        return None;
    };
    let transport = match service.to_ascii_uppercase().as_str() {
        "SIP+D2U" => Transport::Udp,
        "SIP+D2T" => Transport::Tcp,
        "SIPS+D2T" => Transport::Tls,
        _ => return None,
    };
    let name = replacement.trim_end_matches('.').to_ascii_lowercase();
    let usable = flags.eq_ignore_ascii_case("s") && crate::message::scan::host(&name);
    usable.then_some(((order, preference), transport, name))
}

/// Hosts and ports in the order to try them (RFC 2782): by priority, and among equals at random in
/// proportion to their weights. A host that is empty stands for "no such service".
fn by_priority_and_weight(records: Vec<Record>, random: &mut Random) -> Vec<(String, u16)> {
    let mut left: Vec<_> = records
        .into_iter()
        .filter_map(|record| match record {
            Record::Srv {
                priority,
                weight,
                port,
                target,
            } => Some((
                priority,
                weight,
                port,
                target.trim_end_matches('.').to_ascii_lowercase(),
            )),
            _ => None,
        })
        .collect();
    // Weightless ones first, so that they are drawn only when the draw is zero.
    left.sort_by_key(|&(priority, weight, ..)| (priority, weight != 0));
    let mut ordered = Vec::with_capacity(left.len());
    while let Some(&(priority, ..)) = left.first() {
        let equals = left
            .iter()
            .take_while(|(other, ..)| *other == priority)
            .count();
        let total: u64 = left[..equals]
            .iter()
            .map(|(_, weight, ..)| u64::from(*weight))
            .sum();
        let draw = random.below(total + 1);
        let mut sum = 0;
        let chosen = left[..equals].iter().position(|(_, weight, ..)| {
            sum += u64::from(*weight);
            sum >= draw
        });
        let (_, _, port, host) = left.remove(chosen.unwrap_or(0));
        ordered.push((host, port));
    }
    ordered
}

#[cfg(test)]
mod tests;
