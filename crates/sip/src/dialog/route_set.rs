//! Route sets: what the requests of a dialog pass on their way (RFC 3261 §12.1, §12.2.1.1).

use std::net::SocketAddr;

use crate::message::{ByteStr, Message, Name, NameAddr, Uri};
use crate::resolve::Target;
use crate::transport::Transport;

/// The most elements of a route set that are kept. Whoever recorded more is in a loop.
const MAX_ROUTES: usize = 32;

/// The route set of the side that was called: Record-Route in its order.
pub(crate) fn from_request(request: &Message) -> Vec<ByteStr> {
    request
        .values_shared(Name::RecordRoute)
        .take(MAX_ROUTES)
        .collect()
}

/// The route set of the side that called: Record-Route backwards.
pub(crate) fn from_response(response: &Message) -> Vec<ByteStr> {
    let mut routes = from_request(response);
    routes.reverse();
    routes
}

/// What a request of a dialog carries, and the URI that says where it goes first.
pub(crate) struct Routed {
    pub(crate) uri: Uri,
    pub(crate) routes: Vec<ByteStr>,
    pub(crate) next: Uri,
}

/// Applies a route set to a request for `target`: a loose router gets the target in the Request-URI and
/// itself in Route, a strict one gets itself in the Request-URI and the target at the end of Route.
pub(crate) fn apply(target: &Uri, routes: &[ByteStr]) -> Routed {
    let first = routes
        .first()
        .and_then(|route| NameAddr::parse(route).ok())
        .map(|route| route.uri);
    match first {
        None => Routed {
            uri: target.clone(),
            routes: Vec::new(),
            next: target.clone(),
        },
        Some(first) if first.param("lr").is_some() => Routed {
            uri: target.clone(),
            routes: routes.to_vec(),
            next: first,
        },
        Some(first) => {
            let mut routes = routes[1..].to_vec();
            routes.push(format!("<{target}>").into());
            Routed {
                uri: without_method(&first),
                routes,
                next: first,
            }
        }
    }
}

/// A URI as it may stand in a request line: without a `method` parameter and without headers.
fn without_method(uri: &Uri) -> Uri {
    let bare = uri.without_param("method");
    if bare.headers().is_empty() {
        return bare;
    }
    let text = bare.as_str().split('?').next().unwrap_or("");
    Uri::parse(&ByteStr::copy(text)).unwrap_or(bare)
}

/// The transport that a URI asks for; `None` when it does not say.
pub(crate) fn transport_of(uri: &Uri) -> Option<Transport> {
    let named = match uri.param("transport").flatten() {
        Some(name) if name.eq_ignore_ascii_case("udp") => Some(Transport::Udp),
        Some(name) if name.eq_ignore_ascii_case("tcp") => Some(Transport::Tcp),
        Some(name) if name.eq_ignore_ascii_case("tls") => Some(Transport::Tls),
        _ => None,
    };
    match named {
        // sips over UDP does not exist, and sips over TCP means TLS (RFC 3261 §26.2.2).
        _ if uri.is_sips() => Some(Transport::Tls),
        other => other,
    }
}

/// Where a URI with a literal address leads; `None` when a look-up is needed.
pub(crate) fn literal(uri: &Uri) -> Option<(Transport, SocketAddr)> {
    let maddr = uri.param("maddr").flatten();
    let ip = match maddr {
        Some(maddr) => crate::message::uri::host_ip(maddr)?,
        None => uri.host_ip()?,
    };
    let transport = transport_of(uri).unwrap_or(Transport::Udp);
    Some((
        transport,
        SocketAddr::new(ip, uri.port().unwrap_or(transport.default_port())),
    ))
}

/// What to look up for a URI; a target that leads nowhere when no transport of ours fits it.
pub(crate) fn target_of(uri: &Uri) -> Target {
    Target::of_uri(uri).unwrap_or_else(|| Target::host(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &'static str) -> Uri {
        Uri::parse(&text.into()).expect("a valid URI")
    }

    #[test]
    fn a_loose_router_gets_itself_in_route() {
        let routed = apply(
            &uri("sip:b@192.0.2.9"),
            &["<sip:p1;lr>".into(), "<sip:p2;lr>".into()],
        );
        assert_eq!(routed.uri.as_str(), "sip:b@192.0.2.9");
        assert_eq!(routed.routes, ["<sip:p1;lr>", "<sip:p2;lr>"]);
        assert_eq!(routed.next.as_str(), "sip:p1;lr");
    }

    #[test]
    fn a_strict_router_gets_itself_in_the_request_uri() {
        let routed = apply(
            &uri("sip:b@192.0.2.9"),
            &["<sip:p1;method=X>".into(), "<sip:p2;lr>".into()],
        );
        assert_eq!(routed.uri.as_str(), "sip:p1");
        assert_eq!(routed.routes, ["<sip:p2;lr>", "<sip:b@192.0.2.9>"]);
        assert_eq!(routed.next.host(), "p1");
    }

    #[test]
    fn literal_addresses_need_no_lookup() {
        let cases = [
            ("sip:a@192.0.2.1", Some((Transport::Udp, "192.0.2.1:5060"))),
            (
                "sip:a@192.0.2.1:7;transport=TCP",
                Some((Transport::Tcp, "192.0.2.1:7")),
            ),
            (
                "sips:a@[2001:db8::1]",
                Some((Transport::Tls, "[2001:db8::1]:5061")),
            ),
            (
                "sip:a@example.com;maddr=192.0.2.7",
                Some((Transport::Udp, "192.0.2.7:5060")),
            ),
            ("sip:a@example.com", None),
        ];
        for (text, expected) in cases {
            let expected = expected
                .map(|(transport, address)| (transport, address.parse().expect("an address")));
            assert_eq!(literal(&uri(text)), expected, "{text}");
        }
    }
}
