//! Requests in a dialog follow Record-Route and Contact (RFC 3261 §12), streams and NATs.

use crate::common::{ANSWER, CONTACT, Lone, OFFER, request, request_in, response, tcp, udp};
use sip::endpoint::{Input, StreamId};
use sip::message::{Headers, Message, Name};

fn routes(message: &Message) -> Vec<&str> {
    message.values(Name::Route).collect()
}

#[test]
fn the_caller_takes_record_route_backwards() {
    let mut lone = Lone::new();
    let session = lone.invite(OFFER);
    let invite = lone.last();
    let record = "Record-Route: <sip:192.0.2.32;lr>, <sip:192.0.2.31;lr>\r\n";
    lone.receive(&response(
        &invite,
        200,
        "x",
        &format!("{CONTACT}{record}"),
        "v=0\r\n",
    ));
    let (_, flow, ack) = lone.sent.pop().expect("an ACK");
    assert_eq!(routes(&ack), ["<sip:192.0.2.31;lr>", "<sip:192.0.2.32;lr>"]);
    assert_eq!(ack.uri_text(), "sip:bob@192.0.2.2:5060");
    assert_eq!(flow, udp("192.0.2.31:5060"));
    lone.endpoint.bye(lone.now, session, Headers::new());
    let bye = lone.last();
    assert_eq!(routes(&bye), routes(&ack));
    assert_eq!(bye.to().tag(), Some("x"));
}

#[test]
fn the_callee_takes_it_as_it_stands_and_strict_routers_get_the_request_uri() {
    let mut lone = Lone::new();
    let record = "Record-Route: <sip:192.0.2.31>, <sip:192.0.2.32;lr>\r\n";
    lone.receive(&request("INVITE", "1", 1, record, "v=0\r\n"));
    let session = lone.called();
    lone.endpoint
        .answer(lone.now, session, Headers::new(), ANSWER);
    let ok = lone.last();
    lone.receive(&request_in(&ok, "ACK", "a", 1, "", ""));
    lone.endpoint.bye(lone.now, session, Headers::new());
    lone.drain();
    let (_, flow, bye) = lone.sent.pop().expect("a BYE");
    assert_eq!(bye.uri_text(), "sip:192.0.2.31");
    assert_eq!(
        routes(&bye),
        ["<sip:192.0.2.32;lr>", "<sip:bob@192.0.2.2:5060>"]
    );
    assert_eq!(flow, udp("192.0.2.31:5060"));
    assert_eq!(bye.cseq().number, 1);
}

#[test]
fn a_named_contact_is_looked_up_before_the_ack_goes_out() {
    let mut lone = Lone::new();
    lone.invite(OFFER);
    let invite = lone.last();
    let ok = response(
        &invite,
        200,
        "x",
        "Contact: <sip:bob@host.example:5060>\r\n",
        "v=0\r\n",
    );
    lone.receive(&ok);
    assert!(lone.said().is_empty());
    let question = lone.lookups.pop().expect("a look-up");
    let result = Ok(vec![sip::resolve::Record::A([192, 0, 2, 9].into())]);
    lone.input(Input::Answer { question, result });
    while let Some(question) = lone.lookups.pop() {
        lone.input(Input::Answer {
            question,
            result: Err(sip::resolve::LookupError::NotFound),
        });
    }
    let (_, flow, ack) = lone.sent.pop().expect("an ACK");
    assert_eq!(flow, udp("192.0.2.9:5060"));
    // From now on the repeated 2xx finds it ready.
    lone.receive(&ok);
    assert_eq!(lone.last().as_bytes(), ack.as_bytes());
}

#[test]
fn a_dialog_stays_on_its_stream_while_that_is_open() {
    let mut lone = Lone::new();
    let stream = tcp("192.0.2.2:40000", 7);
    let over_tcp = |text: String| {
        text.replace("SIP/2.0/UDP", "SIP/2.0/TCP")
            .replace("5060>", "5060;transport=tcp>")
    };
    lone.receive_from(stream, &over_tcp(request("INVITE", "1", 1, "", "v=0\r\n")));
    let session = lone.called();
    lone.endpoint
        .answer(lone.now, session, Headers::new(), ANSWER);
    let ok = lone.last();
    assert_eq!(
        ok.header(Name::Contact),
        Some("<sip:192.0.2.1:5060;transport=tcp>")
    );
    lone.receive_from(stream, &over_tcp(request_in(&ok, "ACK", "a", 1, "", "")));
    lone.endpoint
        .offer(
            lone.now,
            session,
            sip::message::Method::Update,
            Headers::new(),
            OFFER,
        )
        .expect("nothing open");
    lone.drain();
    let (_, flow, update) = lone.sent.pop().expect("an UPDATE");
    assert_eq!(flow, stream);
    lone.receive_from(
        stream,
        &response(
            &update,
            200,
            "",
            "Contact: <sip:bob@192.0.2.2:5060;transport=tcp>\r\n",
            "v=0\r\n",
        ),
    );
    lone.input(Input::StreamClosed(StreamId(7)));
    lone.endpoint.bye(lone.now, session, Headers::new());
    lone.drain();
    let (_, flow, _) = lone.sent.pop().expect("a BYE");
    assert_eq!(
        (
            flow.remote.to_string().as_str(),
            flow.interface,
            flow.stream
        ),
        ("192.0.2.2:5060", 1, None)
    );
}

#[test]
fn a_peer_behind_a_nat_can_be_followed() {
    let mut lone = Lone::new();
    let source = udp("198.51.100.7:4711");
    let private = |text: String| text.replace("192.0.2.2:5060", "10.0.0.2:5060");
    lone.receive_from(source, &private(request("INVITE", "1", 1, "", "v=0\r\n")));
    let session = lone.called();
    lone.endpoint.follow_source(session, true);
    lone.endpoint
        .answer(lone.now, session, Headers::new(), ANSWER);
    let ok = lone.last();
    lone.receive_from(source, &private(request_in(&ok, "ACK", "a", 1, "", "")));
    lone.endpoint.bye(lone.now, session, Headers::new());
    lone.drain();
    let (_, flow, bye) = lone.sent.pop().expect("a BYE");
    assert_eq!(flow, source);
    assert_eq!(bye.uri_text(), "sip:bob@10.0.0.2:5060");
}
