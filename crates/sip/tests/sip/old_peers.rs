//! Peers of RFC 2543: no magic cookie in the branch, no tags.

use crate::common::{ANSWER, Lone, request, request_in};
use sip::message::{Headers, Message, ResponseDraft};

fn old(text: String) -> String {
    text.replace(";branch=z9hG4bK1", "")
        .replace(";tag=peer", "")
}

fn called() -> (Lone, sip::event::SessionId, String) {
    let mut lone = Lone::new();
    let invite = old(request("INVITE", "1", 1, "", "v=0\r\n"));
    lone.receive(&invite);
    assert_eq!(lone.said(), ["100"]);
    let session = lone.called();
    (lone, session, invite)
}

fn request_of_old(response: &Message, method: &str, cseq: u32) -> String {
    old(request_in(response, method, "1", cseq, "", "")).replace(
        &format!("{method} sip:192.0.2.1:5060"),
        &format!("{method} sip:alice@192.0.2.1"),
    )
}

#[test]
fn repetitions_and_the_ack_of_a_failure_are_recognised() {
    let (mut lone, session, invite) = called();
    lone.receive(&invite);
    assert_eq!(lone.said(), ["100"]);
    lone.endpoint
        .reject(lone.now, session, ResponseDraft::new(486));
    let busy = lone.last();
    lone.receive(&request_of_old(&busy, "ACK", 1));
    lone.run(crate::common::secs(4));
    assert!(lone.said().is_empty());
    lone.run(crate::common::secs(2));
    assert_eq!(lone.transactions(), 0);
}

#[test]
fn a_call_can_be_answered_and_ended() {
    let (mut lone, session, _) = called();
    lone.endpoint
        .answer(lone.now, session, Headers::new(), ANSWER);
    let ok = lone.last();
    lone.receive(&request_of_old(&ok, "ACK", 1));
    assert_eq!(lone.heard(), ["Invite", "Established"]);
    lone.receive(&request_of_old(&ok, "BYE", 2));
    assert_eq!(lone.said(), ["200"]);
    assert_eq!(lone.heard(), ["Ended PeerBye"]);
}

#[test]
fn a_cancel_is_recognised() {
    let (mut lone, _, invite) = called();
    lone.receive(&invite.replace("INVITE", "CANCEL"));
    assert_eq!(lone.said(), ["200", "487"]);
    assert_eq!(lone.heard(), ["Invite", "Cancelled"]);
}
