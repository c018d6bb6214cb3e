//! A challenge is answered once, again when only the nonce was stale, and not for ever (RFC 3261 §22).

use std::sync::Arc;

use crate::common::{CONTACT, Lone, NOTHING, OFFER, call_to, draft, response};
use sip::auth::{Credentials, Secret};
use sip::endpoint::OutboundRequest;
use sip::message::{Headers, Message, Method, Name};

fn credentials() -> Option<Arc<Credentials>> {
    Some(Arc::new(Credentials {
        username: "alice".into(),
        password: Secret::new("wonderland"),
        realm: None,
    }))
}

fn challenge(status: u16, nonce: &str, stale: bool) -> String {
    let name = if status == 401 {
        "WWW-Authenticate"
    } else {
        "Proxy-Authenticate"
    };
    let stale = if stale { ", stale=true" } else { "" };
    format!(
        "{name}: Digest realm=\"there\", nonce=\"{nonce}\", algorithm=MD5, qop=\"auth\"{stale}\r\n"
    )
}

fn challenged(status: u16) -> (Lone, sip::event::SessionId, Message, Message) {
    let mut lone = Lone::new();
    let mut call = call_to("sip:bob@192.0.2.2", OFFER);
    call.credentials = credentials();
    let session = lone.endpoint.invite(lone.now, call);
    let first = lone.last();
    lone.receive(&response(
        &first,
        status,
        "c",
        &challenge(status, "n1", false),
        "",
    ));
    let mut sent = lone.take();
    let second = sent.pop().expect("an INVITE");
    assert_eq!(
        sent.pop().map(|ack| crate::common::first_word(&ack)),
        Some("ACK".into())
    );
    (lone, session, first, second)
}

#[test]
fn the_second_try_has_the_answer_and_the_next_number() {
    for (status, header) in [(401, Name::Authorization), (407, Name::ProxyAuthorization)] {
        let (mut lone, _, first, second) = challenged(status);
        assert_eq!(second.cseq().number, first.cseq().number + 1);
        assert_eq!(second.call_id(), first.call_id());
        assert_eq!(second.from().tag(), first.from().tag());
        assert_eq!(second.to().tag(), None);
        assert_ne!(second.via().branch, first.via().branch);
        let answer = second.header(header).expect("an answer").to_owned();
        assert!(
            answer.contains("username=\"alice\"") && answer.contains("nonce=\"n1\""),
            "{answer}"
        );
        lone.receive(&response(&second, 200, "x", CONTACT, "v=0\r\n"));
        // The ACK of the 2xx carries the same credentials (§22.1).
        let ack = lone.last();
        assert_eq!(ack.header(header), Some(answer.as_str()));
        assert_eq!(ack.cseq().number, second.cseq().number);
        assert_eq!(lone.heard(), ["Answered 200"]);
    }
}

#[test]
fn wrong_credentials_are_not_tried_twice() {
    let (mut lone, _, _, second) = challenged(401);
    lone.receive(&response(
        &second,
        401,
        "d",
        &challenge(401, "n2", false),
        "",
    ));
    assert_eq!(lone.said(), ["ACK"]);
    assert_eq!(lone.heard(), ["Failed 401 Auth"]);
}

#[test]
fn a_stale_nonce_is_replaced_but_not_for_ever() {
    let (mut lone, _, _, mut last) = challenged(401);
    for round in 2..=3 {
        lone.receive(&response(
            &last,
            401,
            "d",
            &challenge(401, &format!("n{round}"), true),
            "",
        ));
        last = lone.last();
        assert_eq!(last.method(), Some(&Method::Invite));
        assert_eq!(last.headers(Name::Authorization).count(), 1);
        assert!(
            last.header(Name::Authorization)
                .expect("an answer")
                .contains(&format!("nonce=\"n{round}\""))
        );
    }
    lone.receive(&response(&last, 401, "d", &challenge(401, "n4", true), ""));
    assert_eq!(lone.heard(), ["Failed 401 Auth"]);
}

#[test]
fn without_credentials_a_challenge_is_a_refusal() {
    let mut lone = Lone::new();
    lone.invite(OFFER);
    let first = lone.last();
    lone.receive(&response(
        &first,
        407,
        "c",
        &challenge(407, "n1", false),
        "",
    ));
    assert_eq!(lone.heard(), ["Failed 407 Response"]);
}

#[test]
fn requests_of_the_session_and_outside_are_answered_for_too() {
    let (mut lone, session, _, second) = challenged(401);
    lone.receive(&response(&second, 200, "x", CONTACT, "v=0\r\n"));
    lone.take();
    lone.endpoint.bye(lone.now, session, Headers::new());
    let bye = lone.last();
    assert_eq!(bye.cseq().number, second.cseq().number + 1);
    lone.receive(&response(&bye, 401, "", &challenge(401, "n5", false), ""));
    let again = lone.last();
    assert_eq!(again.method(), Some(&Method::Bye));
    assert_eq!(again.cseq().number, bye.cseq().number + 1);
    assert!(again.header(Name::Authorization).is_some());
    lone.receive(&response(&again, 200, "", "", ""));
    assert_eq!(lone.sessions(), 0);

    let hop = crate::common::udp(crate::common::PEER);
    lone.heard();
    let request = OutboundRequest {
        credentials: credentials(),
        ..OutboundRequest::new(draft(Method::Register, "sip:192.0.2.2", NOTHING), hop)
    };
    lone.endpoint.send(lone.now, request);
    let register = lone.last();
    lone.receive(&response(
        &register,
        401,
        "c",
        &challenge(401, "n1", false),
        "",
    ));
    let again = lone.last();
    assert_eq!(again.cseq().number, register.cseq().number + 1);
    assert_eq!(again.call_id(), register.call_id());
    lone.receive(&response(&again, 200, "c", "", ""));
    assert_eq!(lone.heard(), ["Response 200"]);
}
