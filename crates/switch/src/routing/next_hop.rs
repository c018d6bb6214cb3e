//! Where a new request to a connection goes: its address, or where its peer registered from.
//!
//! | `connection-sip-get-new-dialog-destination-from` | with an address | without |
//! |---|---|---|
//! | `default-ip` | the address | where the REGISTER came from |
//! | `contact-header` | the Contact, else the address | the Contact |
//! | `via-header` | sent-by of the topmost Via, else the address | sent-by of the topmost Via |
//!
//! On a stream the peer is called over that stream while it is open: one behind a NAT can be reached no other
//! way. Once it is closed nobody listens at its far end any more, so the Contact counts instead of the source.

use crate::directory::{Address, Connection, Directory};
use crate::plan::pick_interface;
use model::{Binding, DestinationFrom, SipTransport};
use sip::endpoint::{Flow, Interface, StreamId};
use sip::message::{ByteStr, Uri};
use sip::transport::Transport;

/// The way to a connection's peer.
#[derive(Debug, Clone)]
pub struct Way {
    /// Host and port, as the resolver is asked.
    pub address: Address,
    /// Transport.
    pub transport: Transport,
    /// Index of the interface of ours it leaves by.
    pub interface: u8,
    /// Exactly there, without asking the resolver.
    pub flow: Option<Flow>,
    /// Whether it is the peer's registration that leads there.
    pub registered: bool,
    /// The Contact that a peer without an address registered: our Request-URI (RFC 3261 §16.6).
    pub contact: Option<Uri>,
}

/// Finds the way; the error is a sentence for the call record.
pub fn find(
    directory: &Directory,
    connection: &Connection,
    interfaces: &[Interface],
) -> Result<Way, String> {
    let binding = directory.binding(connection);
    let from = connection
        .record
        .connection_sip_get_new_dialog_destination_from;
    let registered = match (binding, &connection.address, from) {
        (None, _, _) | (Some(_), Some(_), DestinationFrom::DefaultIp) => None,
        (Some(binding), ..) => Some(binding),
    };
    match (registered, &connection.address) {
        (Some(binding), address) => {
            let mut way = to_registered(binding, from, interfaces, alternate(connection))?;
            if address.is_some() {
                way.contact = None;
            }
            Ok(way)
        }
        (None, Some(address)) => to_address(connection, address.clone(), interfaces),
        (None, None) => Err("The target connection has no address and is not registered".into()),
    }
}

fn to_address(
    connection: &Connection,
    address: Address,
    interfaces: &[Interface],
) -> Result<Way, String> {
    let transport = transport_of(connection);
    let interface = reach(interfaces, transport, &address, alternate(connection))?;
    Ok(Way {
        address,
        transport,
        interface,
        flow: None,
        registered: false,
        contact: None,
    })
}

/// `connection-sip-transport-protocol`, as the stack names it.
pub(crate) fn transport_of(connection: &Connection) -> Transport {
    match connection.record.connection_sip_transport_protocol {
        SipTransport::Udp => Transport::Udp,
        SipTransport::Tcp => Transport::Tcp,
        SipTransport::Tls => Transport::Tls,
    }
}

/// `connection-bind-to-alternate-interface-enabled`.
pub(crate) fn alternate(connection: &Connection) -> bool {
    connection
        .record
        .connection_bind_to_alternate_interface_enabled
}

/// The interface that reaches an address over a transport; an alternate one if that is wanted and there is one.
pub(crate) fn reach(
    interfaces: &[Interface],
    transport: Transport,
    address: &Address,
    alternate: bool,
) -> Result<u8, String> {
    let ipv6 = address.ip.is_some_and(|ip| ip.is_ipv6());
    pick_interface(interfaces, transport, ipv6, alternate).ok_or_else(|| {
        format!(
            "No {} address of ours reaches {}",
            transport.as_str(),
            address.host
        )
    })
}

fn to_registered(
    binding: &Binding,
    from: DestinationFrom,
    interfaces: &[Interface],
    alternate: bool,
) -> Result<Way, String> {
    let unusable = || {
        format!(
            "The registered Contact {:?} cannot be used",
            binding.contact
        )
    };
    let contact = Uri::parse(&ByteStr::copy(&binding.contact)).map_err(|_| unusable())?;
    let transport = [Transport::Udp, Transport::Tcp, Transport::Tls]
        .into_iter()
        .find(|transport| transport.as_str() == binding.transport)
        .unwrap_or(Transport::Udp);
    let source = Address {
        host: match binding.received {
            std::net::SocketAddr::V4(v4) => v4.ip().to_string(),
            std::net::SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
        },
        ip: Some(binding.received.ip()),
        port: Some(binding.received.port()),
    };
    // The address it registered at, if that is still one of ours: a NAT lets only that one back in.
    let same = interfaces
        .get(usize::from(binding.interface))
        .filter(|interface| {
            interface.transport == transport
                && interface.local.is_ipv6() == binding.received.is_ipv6()
        });
    let home = match same {
        Some(_) => binding.interface,
        None => reach(interfaces, transport, &source, alternate)?,
    };
    let stream = binding.stream.filter(|_| same.is_some()).map(StreamId);
    let source_works = stream.is_some() || !transport.is_reliable();
    if stream.is_some() || (from == DestinationFrom::DefaultIp && source_works) {
        let flow = Flow {
            interface: home,
            remote: binding.received,
            stream,
        };
        return Ok(Way {
            address: source,
            transport,
            interface: home,
            flow: Some(flow),
            registered: true,
            contact: Some(contact),
        });
    }
    let (address, transport) = match from {
        DestinationFrom::ViaHeader => {
            let sent_by = Address::parse(&binding.via)
                .ok_or_else(|| format!("The registered Via {:?} cannot be used", binding.via))?;
            (sent_by, transport)
        }
        DestinationFrom::DefaultIp | DestinationFrom::ContactHeader => {
            let target = sip::resolve::Target::of_uri(&contact).ok_or_else(unusable)?;
            let port = target
                .port
                .map(|port| format!(":{port}"))
                .unwrap_or_default();
            let address = Address::parse(&format!("{}{port}", target.host)).ok_or_else(unusable)?;
            (address, target.transport.unwrap_or(transport))
        }
    };
    let interface = match (address.ip, same) {
        (Some(ip), Some(same))
            if same.transport == transport && same.local.is_ipv6() == ip.is_ipv6() =>
        {
            home
        }
        _ => reach(interfaces, transport, &address, alternate)?,
    };
    Ok(Way {
        address,
        transport,
        interface,
        flow: None,
        registered: true,
        contact: Some(contact),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interfaces() -> Vec<Interface> {
        let interface = |transport, local: &str| Interface {
            transport,
            local: local.parse().unwrap(),
            advertise: "192.0.2.1".into(),
            port: 5060,
            alternate: false,
        };
        vec![
            interface(Transport::Udp, "192.0.2.1:5060"),
            interface(Transport::Tcp, "192.0.2.1:5060"),
            interface(Transport::Tcp, "192.0.2.2:5060"),
        ]
    }

    fn binding(transport: &str, interface: u8, stream: Option<u64>) -> Binding {
        Binding {
            contact: "sip:line1@10.0.0.5:5070;transport=tcp".into(),
            via: "10.0.0.6".into(),
            transport: transport.into(),
            received: "203.0.113.9:40000".parse().unwrap(),
            interface,
            stream,
            call_id: "c".into(),
            cseq: 1,
            registered_ms: 0,
            expires_ms: 60_000,
        }
    }

    fn way(binding: &Binding, from: DestinationFrom) -> Way {
        to_registered(binding, from, &interfaces(), false).unwrap()
    }

    #[test]
    fn an_open_stream_is_the_way_whatever_is_asked_for() {
        for from in [
            DestinationFrom::DefaultIp,
            DestinationFrom::ContactHeader,
            DestinationFrom::ViaHeader,
        ] {
            let way = way(&binding("TCP", 2, Some(7)), from);
            let flow = way.flow.unwrap();
            assert_eq!((flow.interface, flow.stream), (2, Some(StreamId(7))));
            assert_eq!(flow.remote.to_string(), "203.0.113.9:40000");
        }
    }

    #[test]
    fn without_its_stream_a_peer_is_called_at_its_contact() {
        let way = way(&binding("TCP", 2, None), DestinationFrom::DefaultIp);
        assert!(way.flow.is_none() && way.registered);
        assert_eq!(
            (way.address.host.as_str(), way.address.port),
            ("10.0.0.5", Some(5070))
        );
        assert_eq!((way.transport, way.interface), (Transport::Tcp, 2));
    }

    #[test]
    fn datagrams_go_back_where_they_came_from_or_to_the_via() {
        let flow = way(&binding("UDP", 0, None), DestinationFrom::DefaultIp).flow;
        assert_eq!(flow.unwrap().remote.to_string(), "203.0.113.9:40000");
        let way = way(&binding("UDP", 0, None), DestinationFrom::ViaHeader);
        assert_eq!(
            (way.address.host.as_str(), way.address.port),
            ("10.0.0.6", None)
        );
        assert_eq!(way.transport, Transport::Udp);
    }

    #[test]
    fn an_interface_that_a_restart_took_away_is_replaced() {
        // Number 1 was a datagram socket when the peer registered.
        let way = way(&binding("UDP", 1, None), DestinationFrom::DefaultIp);
        assert_eq!(way.interface, 0);
    }
}
