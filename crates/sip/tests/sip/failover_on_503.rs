//! The next hop gets its chance when one refuses with 503, cannot be reached or says nothing
//! (RFC 3263 §4.3), and large requests find a stream (RFC 3261 §18.1.1).

use std::net::SocketAddr;

use crate::common::{CONTACT, Lone, NOTHING, OFFER, call_to, draft, ms, response, secs};
use bytes::Bytes;
use sip::endpoint::{Flow, Input, OutboundRequest};
use sip::message::{Message, Method};
use sip::resolve::{Kind, LookupError, Record};

/// Answers all look-ups: no NAPTR, two servers by SRV over UDP.
fn resolve(lone: &mut Lone) {
    while let Some(question) = lone.lookups.pop() {
        let srv = |priority, target: &str| Record::Srv {
            priority,
            weight: 0,
            port: 5060,
            target: target.into(),
        };
        let result = match (question.kind, question.name.as_str()) {
            (Kind::Srv, "_sip._udp.example.com") => {
                Ok(vec![srv(1, "one.example.com"), srv(2, "two.example.com")])
            }
            (Kind::A, "one.example.com") => Ok(vec![Record::A([192, 0, 2, 11].into())]),
            (Kind::A, "two.example.com") => Ok(vec![Record::A([192, 0, 2, 12].into())]),
            _ => Err(LookupError::NotFound),
        };
        lone.input(Input::Answer { question, result });
    }
}

fn calling() -> (Lone, Message) {
    let mut lone = Lone::new();
    lone.endpoint
        .invite(lone.now, call_to("sip:bob@example.com", OFFER));
    lone.drain();
    resolve(&mut lone);
    assert_eq!(last_remote(&lone), "192.0.2.11:5060");
    let invite = lone.last();
    (lone, invite)
}

fn last_remote(lone: &Lone) -> String {
    lone.sent
        .last()
        .map(|(_, flow, _)| flow.remote.to_string())
        .unwrap_or_default()
}

#[test]
fn a_503_moves_on_with_a_new_branch() {
    let (mut lone, first) = calling();
    lone.receive(&response(&first, 503, "x", "", ""));
    assert_eq!(last_remote(&lone), "192.0.2.12:5060");
    let second = lone.last();
    assert_ne!(first.via().branch, second.via().branch);
    assert_eq!(first.cseq(), second.cseq());
    assert_eq!(first.from().tag(), second.from().tag());
    assert!(lone.heard().is_empty());
    lone.receive(&response(&second, 503, "y", "", ""));
    assert_eq!(lone.heard(), ["Failed 503 Response"]);
}

#[test]
fn other_refusals_stay() {
    let (mut lone, first) = calling();
    lone.receive(&response(&first, 486, "x", "", ""));
    assert_eq!(lone.said(), ["ACK"]);
    assert_eq!(lone.heard(), ["Failed 486 Response"]);
}

#[test]
fn silence_moves_on_after_four_seconds_each() {
    let (mut lone, _) = calling();
    lone.run(secs(4) - ms(1));
    assert!(
        lone.sent
            .iter()
            .all(|(_, flow, _)| flow.remote.to_string() == "192.0.2.11:5060")
    );
    lone.run(ms(1));
    assert_eq!(last_remote(&lone), "192.0.2.12:5060");
    lone.run(secs(4));
    assert_eq!(lone.heard(), ["Failed 408 Timeout"]);
    lone.run(secs(40));
    assert_eq!((lone.transactions(), lone.sessions()), (0, 0));
}

#[test]
fn a_provisional_ends_the_impatience() {
    let (mut lone, first) = calling();
    lone.run(secs(3));
    lone.receive(&response(&first, 100, "", "", ""));
    lone.run(secs(100));
    assert!(lone.heard().is_empty());
}

#[test]
fn whoever_wakes_up_too_late_is_cancelled_or_hung_up() {
    let (mut lone, first) = calling();
    lone.run(secs(4));
    let second = lone.last();
    lone.receive(&response(&first, 180, "slow", CONTACT, ""));
    let cancel = lone.last();
    assert_eq!(cancel.method(), Some(&Method::Cancel));
    assert_eq!(cancel.via().branch, first.via().branch);
    assert!(lone.heard().is_empty());
    lone.receive(&response(&second, 200, "two", CONTACT, "v=0\r\n"));
    assert_eq!(lone.said(), ["ACK"]);
    lone.receive(&response(&first, 200, "slow", CONTACT, "v=0\r\n"));
    assert_eq!(lone.said(), ["ACK", "BYE"]);
    assert_eq!(lone.heard(), ["Answered 200"]);
}

#[test]
fn an_unreachable_hop_is_skipped_at_once() {
    let (mut lone, _) = calling();
    lone.input(Input::SendFailed {
        flow: crate::common::udp("192.0.2.11:5060"),
    });
    assert_eq!(last_remote(&lone), "192.0.2.12:5060");
    lone.input(Input::SendFailed {
        flow: crate::common::udp("192.0.2.12:5060"),
    });
    assert_eq!(lone.heard(), ["Failed 503 Transport"]);
    assert_eq!((lone.transactions(), lone.sessions()), (0, 0));
}

#[test]
fn a_name_that_leads_nowhere_or_takes_too_long() {
    for answer in [true, false] {
        let mut lone = Lone::new();
        lone.endpoint
            .invite(lone.now, call_to("sip:bob@nowhere.example", OFFER));
        lone.drain();
        if answer {
            while let Some(question) = lone.lookups.pop() {
                lone.input(Input::Answer {
                    question,
                    result: Err(LookupError::NotFound),
                });
            }
        } else {
            lone.run(secs(10));
        }
        assert_eq!(lone.heard(), ["Failed 503 Resolve"]);
        assert_eq!(lone.endpoint.stats(), sip::endpoint::Stats::default());
    }
}

#[test]
fn the_same_question_is_asked_once_at_a_time() {
    let mut lone = Lone::new();
    for _ in 0..3 {
        lone.endpoint
            .invite(lone.now, call_to("sip:bob@example.com", OFFER));
    }
    lone.drain();
    assert_eq!(lone.lookups.len(), 1);
    resolve(&mut lone);
    assert_eq!(lone.said(), ["INVITE", "INVITE", "INVITE"]);
}

#[test]
fn a_large_request_takes_a_stream_and_comes_back_when_there_is_none() {
    let mut lone = Lone::new();
    let large = Bytes::from("v=0\r\n".repeat(300));
    lone.endpoint
        .invite(lone.now, call_to("sip:bob@192.0.2.2", large));
    lone.drain();
    let (_, flow, invite) = lone.sent.pop().expect("an INVITE");
    assert_eq!((flow.interface, flow.stream), (1, None));
    assert_eq!(&*invite.via().transport, "TCP");
    lone.input(Input::SendFailed { flow });
    let (_, flow, invite) = lone.sent.pop().expect("an INVITE");
    assert_eq!(flow, crate::common::udp(crate::common::PEER));
    assert_eq!(&*invite.via().transport, "UDP");
    lone.receive(&response(&invite, 200, "x", CONTACT, "v=0\r\n"));
    assert_eq!(lone.heard(), ["Answered 200"]);
}

#[test]
fn a_peer_that_takes_no_stream_is_remembered_for_ten_minutes() {
    let mut lone = Lone::new();
    let large = Bytes::from("v=0\r\n".repeat(300));
    let mut transports = Vec::new();
    for pause in [0, 599, 2] {
        lone.run(secs(pause));
        lone.take();
        let call = call_to("sip:bob@192.0.2.2", large.clone());
        lone.endpoint.invite(lone.now, call);
        lone.drain();
        let (_, flow, mut invite) = lone.sent.pop().expect("an INVITE");
        transports.push(invite.via().transport.to_string());
        if flow.interface == 1 {
            lone.input(Input::SendFailed { flow });
            invite = lone.last();
        }
        lone.receive(&response(&invite, 486, "x", "", ""));
    }
    assert_eq!(transports, ["TCP", "UDP", "TCP"]);
}

#[test]
fn each_hop_is_tried_by_stream_and_then_by_datagram() {
    let mut lone = Lone::new();
    let large = Bytes::from("v=0\r\n".repeat(300));
    let mut call = call_to("sip:bob@example.com", large);
    call.target = sip::resolve::Target {
        transport: Some(sip::transport::Transport::Udp),
        ..sip::resolve::Target::host("example.com")
    }
    .into();
    lone.endpoint.invite(lone.now, call);
    lone.drain();
    resolve(&mut lone);
    let mut tried = Vec::new();
    for _ in 0..4 {
        lone.drain();
        let (_, flow, _) = lone.sent.pop().expect("an INVITE");
        tried.push((flow.remote.ip().to_string(), flow.interface));
        lone.input(Input::SendFailed { flow });
    }
    assert_eq!(lone.heard(), ["Failed 503 Transport"]);
    assert_eq!(
        tried.iter().map(|it| it.1).collect::<Vec<_>>(),
        [1, 0, 1, 0]
    );
    assert_eq!(tried[0].0, tried[1].0);
    assert_ne!(tried[1].0, tried[2].0);
}

#[test]
fn an_ack_stays_on_the_way_of_its_invite_however_large_it_is() {
    let mut lone = Lone::new();
    let call = call_to("sip:bob@192.0.2.2", Bytes::new());
    let session = lone.endpoint.invite(lone.now, call);
    let invite = lone.last();
    lone.receive(&response(&invite, 200, "x", CONTACT, "v=0\r\n"));
    lone.take();
    let large = Bytes::from("v=0\r\n".repeat(300));
    lone.endpoint.ack(lone.now, session, large);
    lone.drain();
    let (_, flow, ack) = lone.sent.pop().expect("an ACK");
    assert_eq!(ack.method(), Some(&Method::Ack));
    assert_eq!(flow, crate::common::udp(crate::common::PEER));
}

#[test]
fn what_a_hop_says_on_the_stream_counts() {
    let mut lone = Lone::new();
    let large = Bytes::from("v=0\r\n".repeat(300));
    lone.endpoint
        .invite(lone.now, call_to("sip:bob@192.0.2.2", large));
    let invite = lone.last();
    let refusal = response(&invite, 503, "x", "", "");
    lone.receive_from(crate::common::tcp(crate::common::PEER, 3), &refusal);
    assert_eq!(lone.said(), ["ACK"]);
    assert_eq!(lone.heard(), ["Failed 503 Response"]);
    assert_eq!(lone.transactions(), 0);
}

#[test]
fn a_stream_that_closes_before_any_response_counts_as_unreachable() {
    let mut lone = Lone::new();
    let stream = crate::common::tcp(crate::common::PEER, 3);
    lone.receive_from(stream, &crate::common::request("OPTIONS", "1", 1, "", ""));
    lone.take();
    let mut call = call_to("sip:bob@192.0.2.2", OFFER);
    call.target = stream.into();
    lone.endpoint.invite(lone.now, call);
    lone.input(Input::StreamClosed(sip::endpoint::StreamId(3)));
    assert_eq!(lone.heard(), ["Failed 503 Transport"]);
    assert_eq!(lone.transactions(), 0);
}

#[test]
fn a_fixed_flow_is_taken_as_it_is() {
    let mut lone = Lone::new();
    let remote: SocketAddr = "192.0.2.77:9999".parse().expect("an address");
    let flow = Flow {
        interface: 0,
        remote,
        stream: None,
    };
    let request = OutboundRequest::new(draft(Method::Options, "sip:example.com", NOTHING), flow);
    lone.endpoint.send(lone.now, request);
    lone.drain();
    assert_eq!(lone.sent[0].1, flow);
    assert!(lone.lookups.is_empty());
}
