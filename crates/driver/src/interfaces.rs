//! The addresses we listen on, and what peers are told they are.
//!
//! Every address of `sip` and `alternate_sip` is two interfaces, UDP and TCP; every address of `sip_tls` is one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sip::endpoint::Interface;
use sip::transport::Transport;
use sockets::{UdpOptions, UdpSocket, outgoing_address};

use crate::flows::Listener;
use crate::inheritance::Inheritance;
use crate::{DriverConfig, StartError};

/// What the kernel keeps of signalling while a shard is busy.
const SIP_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Differentiated services code point of signalling: class selector 3 (RFC 4594 §3.3).
const SIP_DSCP: u8 = 24;

/// How often another free port is looked for when port 0 was asked for and TCP does not have UDP's.
const PORT_ATTEMPTS: usize = 16;

/// One configured address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) local: SocketAddr,
    /// What peers are told instead.
    advertise: Option<IpAddr>,
    alternate: bool,
    /// Each is an interface, in this order.
    pub(crate) transports: &'static [Transport],
}

/// The addresses of a configuration, in the order of their interfaces.
pub(crate) fn places(config: &DriverConfig) -> Vec<Place> {
    let place = |local: &SocketAddr| Place {
        local: *local,
        advertise: config.advertise,
        alternate: false,
        transports: &[Transport::Udp, Transport::Tcp],
    };
    let main = config.sip.iter().map(place);
    let alternate = config.alternate_sip.iter().map(|local| Place {
        advertise: config.alternate_advertise,
        alternate: true,
        ..place(local)
    });
    let secure = config.sip_tls.iter().map(|local| Place {
        transports: &[Transport::Tls],
        ..place(local)
    });
    main.chain(alternate).chain(secure).collect()
}

/// The sockets of one configured address.
pub(crate) struct Bound {
    /// The address with its real port.
    pub(crate) place: Place,
    /// One per shard; none for TLS.
    pub(crate) datagrams: Vec<UdpSocket>,
    pub(crate) listener: Listener,
}

/// Binds a place for `shards` shards, or takes the sockets that an earlier process left.
pub(crate) fn bind(
    place: Place,
    shards: usize,
    inheritance: &Inheritance,
) -> Result<Bound, StartError> {
    let mut attempt = 1;
    loop {
        match bind_once(place, shards, inheritance) {
            Err(StartError::Bind { source, .. })
                if place.local.port() == 0
                    && source.kind() == io::ErrorKind::AddrInUse
                    && attempt < PORT_ATTEMPTS =>
            {
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

fn bind_once(place: Place, shards: usize, inheritance: &Inheritance) -> Result<Bound, StartError> {
    let address = place.local;
    let failed = |transport| {
        move |source| StartError::Bind {
            transport,
            address,
            source,
        }
    };
    let options = |reuse_port| UdpOptions {
        reuse_port,
        receive_buffer_bytes: Some(SIP_BUFFER_BYTES),
        send_buffer_bytes: Some(SIP_BUFFER_BYTES),
        dscp: Some(SIP_DSCP),
        arrival_times: false,
    };
    if !place.transports.contains(&Transport::Udp) {
        let listener = listener(address, inheritance).map_err(failed(Transport::Tls))?;
        let local = listener.local().map_err(failed(Transport::Tls))?;
        return Ok(Bound {
            place: Place { local, ..place },
            datagrams: Vec::new(),
            listener,
        });
    }
    // Another number of them is of no use: a packet goes to any socket of a group, so each has to be read, and one that was
    // bound alone shares with nobody. All are closed then, and what waits in them is lost.
    let left = inheritance.datagrams(address);
    if !left.is_empty() && left.len() == shards {
        let listener = listener(address, inheritance).map_err(failed(Transport::Tcp))?;
        return Ok(Bound {
            place,
            datagrams: left,
            listener,
        });
    }
    drop(left);
    // Sharing would let a second switch of the same user take half of our calls without a word: the first bind is
    // made alone, so that it fails when anybody has the port.
    let probe = UdpSocket::bind(address, options(false)).map_err(failed(Transport::Udp))?;
    let local = probe.local();
    let datagrams = if shards == 1 {
        vec![probe]
    } else {
        drop(probe);
        let bound = (0..shards).map(|_| UdpSocket::bind(local, options(true)));
        bound
            .collect::<Result<_, _>>()
            .map_err(failed(Transport::Udp))?
    };
    let listener = listener(local, inheritance).map_err(failed(Transport::Tcp))?;
    Ok(Bound {
        place: Place { local, ..place },
        datagrams,
        listener,
    })
}

fn listener(address: SocketAddr, inheritance: &Inheritance) -> io::Result<Listener> {
    match inheritance.listener(address) {
        Some(left) => Ok(Listener::adopt(left)),
        None => Listener::bind(address),
    }
}

/// The interfaces of bound addresses, in the order of their numbers.
pub(crate) fn interfaces(places: &[Place]) -> Vec<Interface> {
    let mut interfaces = Vec::with_capacity(places.len() * 2);
    for place in places {
        let host = match advertised(place.local, place.advertise) {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        for &transport in place.transports {
            interfaces.push(Interface {
                transport,
                local: place.local,
                advertise: host.clone().into(),
                port: place.local.port(),
                alternate: place.alternate,
            });
        }
    }
    interfaces
}

/// What peers are told: what the configuration says, if it is of the right family; the address itself; for a wildcard
/// the address of the default route; without one the loopback address, where at least this machine reaches us.
pub(crate) fn advertised(local: SocketAddr, configured: Option<IpAddr>) -> IpAddr {
    if let Some(ip) = configured.filter(|ip| ip.is_ipv4() == local.is_ipv4()) {
        return ip;
    }
    if !local.ip().is_unspecified() {
        return local.ip();
    }
    let loopback = match local {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    outgoing_address(local.is_ipv6()).unwrap_or(loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("test address")
    }

    #[test]
    fn what_is_advertised_fits_the_family() {
        let public: IpAddr = "198.51.100.7".parse().expect("test address");
        let local = address("10.0.0.1:5060");
        assert_eq!(advertised(local, Some(public)), public);
        assert_eq!(advertised(local, None), local.ip());
        let v6 = address("[::1]:5060");
        assert_eq!(advertised(v6, Some(public)), v6.ip());
        assert!(!advertised(address("0.0.0.0:5060"), None).is_unspecified());

        let config = DriverConfig {
            sip: vec![local, v6],
            advertise: Some(public),
            alternate_sip: vec![address("10.0.0.2:5070")],
            sip_tls: vec![address("10.0.0.1:5061")],
            ..DriverConfig::default()
        };
        let interfaces = interfaces(&places(&config));
        let alternates: Vec<_> = interfaces.iter().map(|i| i.alternate).collect();
        assert_eq!(alternates, [false, false, false, false, true, true, false]);
        let told: Vec<_> = interfaces
            .iter()
            .map(|i| (i.transport, i.advertise.to_string(), i.port))
            .collect();
        assert_eq!(
            told,
            [
                (Transport::Udp, "198.51.100.7".into(), 5060),
                (Transport::Tcp, "198.51.100.7".into(), 5060),
                (Transport::Udp, "[::1]".into(), 5060),
                (Transport::Tcp, "[::1]".into(), 5060),
                (Transport::Udp, "10.0.0.2".into(), 5070),
                (Transport::Tcp, "10.0.0.2".into(), 5070),
                (Transport::Tls, "198.51.100.7".into(), 5061),
            ]
        );
    }

    #[test]
    fn a_port_in_use_is_one_clear_sentence() {
        let config = DriverConfig {
            sip: vec![address("127.0.0.1:0")],
            ..DriverConfig::default()
        };
        let nothing = Inheritance::default();
        let first = bind(places(&config)[0], 2, &nothing).expect("bind");
        assert_eq!(first.datagrams.len(), 2);
        std::net::TcpStream::connect(first.place.local).expect("TCP has the same port");
        let Err(error) = bind(first.place, 1, &nothing) else {
            panic!("the port was bound twice");
        };
        let expected = format!(
            "cannot listen on {} (UDP): the port is in use by another program",
            first.place.local
        );
        assert_eq!(error.to_string(), expected);
    }
}
