//! "Are you there?": OPTIONS to the peer of a connection (RFC 3261 §11).

use crate::core::Core;
use crate::directory::Connection;
use crate::routing::next_hop;
use sip::endpoint::{NextHop, OutboundRequest};
use sip::event::RequestId;
use sip::message::{Headers, Method, Name, RequestDraft, Uri};
use sip::resolve::Target;
use sip::transport::Transport;

/// Asks where a call would go, by the same interface. `None` when there is no way there.
pub(crate) fn ask(core: &mut Core, connection: &Connection) -> Option<RequestId> {
    let interfaces = &core.config.sip.interfaces;
    let way = next_hop::find(&core.directory, connection, interfaces).ok()?;
    let own = interfaces.get(usize::from(way.interface))?;
    let uri = match &way.contact {
        Some(contact) => contact.clone(),
        None => Uri::build("sip", None, &way.address.host, way.address.port),
    };
    let mut headers = Headers::new();
    headers.push_name(Name::Accept, "application/sdp");
    if connection.record.connection_include_server_header_enabled {
        headers.push_name(Name::UserAgent, crate::SOFTWARE);
    }
    let draft = RequestDraft {
        method: Method::Options,
        max_forwards: 70,
        from: format!("<{}>", Uri::build("sip", None, &own.advertise, None)).into(),
        to: format!("<{uri}>").into(),
        uri,
        call_id: core.endpoint.new_call_id(),
        cseq: 1,
        routes: Vec::new(),
        contact: None,
        headers,
        content_type: None,
        body: bytes::Bytes::new(),
    };
    let target = match way.flow {
        Some(flow) => NextHop::Flow(flow),
        None => NextHop::Target(Target {
            host: way.address.host.clone(),
            port: way.address.port,
            transport: Some(way.transport),
            secure: way.transport == Transport::Tls,
        }),
    };
    let request = OutboundRequest {
        interface: Some(way.interface),
        impatient: true,
        ..OutboundRequest::new(draft, target)
    };
    Some(core.endpoint.send(core.clock.now, request))
}

/// Whether an answer says that the peer takes calls. Nearly every one does, a refusal of OPTIONS too: somebody is
/// there. 503 is the peer's own word that it is out of service; 408 and 504 are those of a proxy in front of it that
/// could not reach it. `came`: there was an answer, and the status is not only ours for silence.
pub(crate) fn is_life(status: u16, came: bool) -> bool {
    came && !matches!(status, 408 | 503 | 504)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_sign_of_life_and_an_outage_is_none() {
        for status in [200, 401, 403, 404, 405, 481, 486, 500, 501] {
            assert!(is_life(status, true), "{status}");
        }
        for status in [408, 503, 504] {
            assert!(!is_life(status, true), "{status}");
        }
        assert!(!is_life(200, false));
    }
}
