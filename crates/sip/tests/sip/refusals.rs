//! What the endpoint refuses by itself, so that the layer above never sees it.

use crate::common::{ANSWER, Lone, request, request_in, request_to};
use sip::message::{Headers, Name};

fn check(text: &str, status: &str, heard: &str) -> Lone {
    let mut lone = Lone::new();
    lone.receive(text);
    assert_eq!(lone.said(), [status], "{text}");
    assert_eq!(lone.heard(), [heard], "{text}");
    assert_eq!(lone.transactions(), 0);
    lone
}

#[test]
fn what_can_be_read_but_not_be_done() {
    check(
        &request("PUBLISH", "1", 1, "", ""),
        "405",
        "Misbehaved MethodNotAllowed",
    );
    check(
        &request("INVITE", "1", 1, "Require: gruu\r\n", ""),
        "420",
        "Misbehaved ExtensionRequired",
    );
    check(
        &request("INVITE", "1", 1, "", "").replace("Max-Forwards: 70", "Max-Forwards: 0"),
        "483",
        "Misbehaved TooManyHops",
    );
    check(
        &request("INVITE", "1", 1, "", "").replace("INVITE sip:", "INVITE sips:"),
        "416",
        "Misbehaved Scheme",
    );
    check(
        &request("INVITE", "1", 1, "", "")
            .replace("INVITE sip:alice@192.0.2.1", "INVITE http://alice"),
        "416",
        "Misbehaved Scheme",
    );
    check(
        &request("CANCEL", "1", 1, "", ""),
        "481",
        "Misbehaved UnknownTransaction",
    );
    for method in ["BYE", "INVITE", "UPDATE", "PRACK", "INFO", "NOTIFY"] {
        let lost = request_to(
            method,
            "sip:192.0.2.1",
            "<sip:alice@192.0.2.1>;tag=lost",
            "1",
            1,
            "",
            "",
        );
        check(&lost, "481", "Misbehaved UnknownDialog");
    }
    check(
        &request("BYE", "1", 1, "", ""),
        "481",
        "Misbehaved UnknownDialog",
    );
}

#[test]
fn refusals_say_what_would_do() {
    let mut lone = Lone::new();
    lone.receive(&request("PUBLISH", "1", 1, "", ""));
    assert!(lone.last().has_token(Name::Allow, "INVITE"));
    lone.receive(&request(
        "INVITE",
        "2",
        2,
        "Require: gruu, 100rel, path\r\n",
        "",
    ));
    assert_eq!(
        lone.last().header_by_text("Unsupported"),
        Some("gruu, path")
    );
    // The same request again gets the same tag, though nothing was kept.
    lone.receive(&request("INVITE", "2", 2, "Require: gruu\r\n", ""));
    let one = lone.last();
    lone.receive(&request("INVITE", "2", 2, "Require: gruu\r\n", ""));
    assert_eq!(one.to().tag(), lone.last().to().tag());
}

#[test]
fn options_are_answered_even_at_the_last_hop() {
    let mut lone = Lone::new();
    for hops in ["70", "0"] {
        let probe = request("OPTIONS", hops, 1, "", "")
            .replace("Max-Forwards: 70", &format!("Max-Forwards: {hops}"));
        lone.receive(&probe);
        let answer = lone.last();
        assert_eq!(answer.status(), Some(200));
        assert!(
            answer.has_token(Name::Allow, "UPDATE") && answer.has_token(Name::Supported, "100rel")
        );
        assert_eq!(answer.header(Name::Accept), Some("application/sdp"));
    }
    assert!(lone.heard().is_empty());
    assert_eq!(lone.transactions(), 0);
}

#[test]
fn the_same_call_by_another_way_gets_482() {
    let mut lone = Lone::new();
    lone.receive(&request("INVITE", "1", 1, "", "v=0\r\n"));
    lone.receive(&request("INVITE", "2", 1, "", "v=0\r\n"));
    assert_eq!(lone.said(), ["100", "482"]);
    assert_eq!(lone.heard(), ["Invite", "Misbehaved Merged"]);
}

#[test]
fn after_a_refusal_another_way_is_not_a_merge() {
    let mut lone = Lone::new();
    lone.receive(&request("INVITE", "1", 1, "", "v=0\r\n"));
    let session = lone.called();
    lone.endpoint
        .reject(lone.now, session, sip::message::ResponseDraft::new(503));
    lone.receive(&request("INVITE", "2", 1, "", "v=0\r\n"));
    assert_eq!(lone.said(), ["100", "503", "100"]);
    assert_eq!(lone.heard(), ["Invite", "Invite"]);
}

#[test]
fn within_a_dialog_numbers_must_not_fall_and_tags_must_fit() {
    let mut lone = Lone::new();
    lone.receive(&request("INVITE", "1", 10, "", "v=0\r\n"));
    let session = lone.called();
    lone.endpoint
        .answer(lone.now, session, Headers::new(), ANSWER);
    let ok = lone.last();
    lone.receive(&request_in(&ok, "ACK", "a", 10, "", ""));
    lone.receive(&request_in(&ok, "INFO", "2", 9, "", ""));
    assert_eq!(lone.said(), ["500"]);
    lone.receive(&request_in(&ok, "INFO", "3", 11, "", "").replace(";tag=peer", ";tag=other"));
    assert_eq!(lone.said(), ["481"]);
    lone.receive(&request_in(&ok, "INFO", "4", 11, "", "").replace("call-of-peer", "other-call"));
    assert_eq!(lone.said(), ["481"]);
    lone.receive(&request_in(&ok, "INFO", "5", 11, "", ""));
    assert_eq!(
        lone.heard().last().map(String::as_str),
        Some("Request INFO")
    );
}

#[test]
fn broken_messages_are_answered_or_dropped_and_strays_counted() {
    let mut lone = Lone::new();
    lone.receive("\r\n\r\n");
    assert!(lone.heard().is_empty());
    lone.receive(&request("INVITE", "1", 1, "", "").replace("CSeq: 1 INVITE", "CSeq: 1 BYE"));
    assert_eq!(lone.said(), ["400"]);
    assert_eq!(lone.heard(), ["Misbehaved CSeqMethod"]);
    lone.receive(&request_to(
        "ACK",
        "sip:192.0.2.1",
        "<sip:alice@192.0.2.1>;tag=x",
        "9",
        1,
        "",
        "",
    ));
    lone.receive(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKs0001000000000001abcdefgh\r\n\
         From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n",
    );
    assert!(lone.said().is_empty());
    assert_eq!(lone.endpoint.stats().strays, 2);
}
