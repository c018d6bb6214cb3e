//! Where responses go (RFC 3261 §18.2.2, RFC 3581).

use crate::common::{Lone, NOTHING, request, tcp, udp};
use sip::endpoint::{Input, StreamId};
use sip::message::Headers;

fn last_flow(lone: &mut Lone) -> sip::endpoint::Flow {
    lone.drain();
    lone.sent.last().expect("something was sent").1
}

#[test]
fn with_rport_back_to_the_source_port() {
    let mut lone = Lone::new();
    let text = request("OPTIONS", "1", 1, "", "").replace(";branch", ";rport;branch");
    lone.receive_from(udp("198.51.100.7:4711"), &text);
    assert_eq!(last_flow(&mut lone), udp("198.51.100.7:4711"));
    let via = lone.last().via().clone();
    assert_eq!(via.rport, Some(Some(4711)));
    assert_eq!(via.received, "198.51.100.7".parse().ok());
}

#[test]
fn without_rport_to_the_source_address_and_the_port_of_sent_by() {
    let mut lone = Lone::new();
    let text = request("OPTIONS", "1", 1, "", "")
        .replace("192.0.2.2:5060;branch", "pc.example.com:5080;branch");
    lone.receive_from(udp("198.51.100.7:4711"), &text);
    assert_eq!(last_flow(&mut lone), udp("198.51.100.7:5080"));
    assert_eq!(lone.last().via().received, "198.51.100.7".parse().ok());
    let text = request("OPTIONS", "2", 1, "", "")
        .replace("192.0.2.2:5060;branch", "pc.example.com;branch");
    lone.receive_from(udp("198.51.100.7:4711"), &text);
    assert_eq!(last_flow(&mut lone), udp("198.51.100.7:5060"));
}

#[test]
fn along_the_stream_while_it_is_open_and_to_sent_by_after() {
    let mut lone = Lone::new();
    let text = request("INVITE", "1", 1, "", "")
        .replace("SIP/2.0/UDP 192.0.2.2:5060", "SIP/2.0/TCP 192.0.2.2:5066");
    let stream = tcp("192.0.2.2:40000", 7);
    lone.receive_from(stream, &text);
    assert_eq!(last_flow(&mut lone), stream);
    let session = lone.called();
    lone.input(Input::StreamClosed(StreamId(7)));
    lone.endpoint
        .progress(lone.now, session, 180, Headers::new(), NOTHING, false);
    let reopened = last_flow(&mut lone);
    assert_eq!((reopened.interface, reopened.stream), (1, None));
    assert_eq!(reopened.remote.to_string(), "192.0.2.2:5066");
}

#[test]
fn all_vias_and_record_routes_come_back_in_order() {
    let mut lone = Lone::new();
    let extra = "Via: SIP/2.0/UDP one.example;branch=z9hG4bKb, SIP/2.0/UDP two.example;branch=z9hG4bKc\r\n\
                 Record-Route: <sip:p2;lr>, <sip:p1;lr>\r\n";
    lone.receive(&request("INVITE", "1", 1, extra, "v=0\r\n"));
    let session = lone.called();
    lone.endpoint
        .progress(lone.now, session, 180, Headers::new(), NOTHING, false);
    let ringing = lone.last();
    let vias: Vec<&str> = ringing.values(sip::message::Name::Via).collect();
    assert_eq!(vias.len(), 3);
    assert!(vias[1].contains("one.example") && vias[2].contains("two.example"));
    let routes: Vec<&str> = ringing.values(sip::message::Name::RecordRoute).collect();
    assert_eq!(routes, ["<sip:p2;lr>", "<sip:p1;lr>"]);
}
