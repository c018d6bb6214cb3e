//! A CANCEL must not go out before anything was heard (RFC 3261 §9.1).

use crate::common::{CONTACT, Lone, OFFER, call_to, response, secs};

#[test]
fn it_waits_for_the_first_provisional() {
    let mut lone = Lone::new();
    let session = lone.invite(OFFER);
    let invite = lone.last();
    lone.endpoint
        .cancel(lone.now, session, Some("SIP;cause=200".into()));
    assert!(lone.said().is_empty());
    lone.receive(&response(&invite, 100, "", "", ""));
    let cancel = lone.last();
    assert_eq!(
        cancel.method().map(sip::message::Method::as_str),
        Some("CANCEL")
    );
    assert_eq!(cancel.via().branch, invite.via().branch);
    assert_eq!(cancel.uri_text(), invite.uri_text());
    assert_eq!(
        cancel.header(sip::message::Name::Reason),
        Some("SIP;cause=200")
    );
    lone.receive(&response(&cancel, 200, "x", "", ""));
    lone.receive(&response(&invite, 487, "x", "", ""));
    assert_eq!(lone.said(), ["ACK"]);
    assert_eq!(lone.heard(), ["Failed 487 Cancelled"]);
    lone.run(secs(40));
    assert_eq!((lone.transactions(), lone.sessions()), (0, 0));
}

#[test]
fn silence_ends_it_too() {
    let mut lone = Lone::new();
    let session = lone.invite(OFFER);
    lone.endpoint.cancel(lone.now, session, None);
    lone.run(secs(4));
    assert_eq!(lone.heard(), ["Failed 487 Cancelled"]);
    assert!(!lone.said().contains(&"CANCEL".to_owned()));
    lone.run(secs(40));
    assert_eq!((lone.transactions(), lone.sessions()), (0, 0));
}

#[test]
fn during_the_lookup_there_is_nothing_to_cancel() {
    let mut lone = Lone::new();
    let session = lone
        .endpoint
        .invite(lone.now, call_to("sip:bob@example.com", OFFER));
    lone.drain();
    assert_eq!(lone.lookups.len(), 1);
    lone.endpoint.cancel(lone.now, session, None);
    assert_eq!(lone.heard(), ["Failed 487 Cancelled"]);
    lone.run(secs(40));
    assert!(lone.said().is_empty());
    assert_eq!(lone.endpoint.stats(), sip::endpoint::Stats::default());
}

#[test]
fn a_peer_that_ignores_the_cancel_is_given_up_after_64_t1() {
    let mut lone = Lone::new();
    let session = lone.invite(OFFER);
    let invite = lone.last();
    lone.receive(&response(&invite, 180, "x", CONTACT, ""));
    lone.endpoint.cancel(lone.now, session, None);
    assert_eq!(lone.heard(), ["Progress 180"]);
    lone.run(secs(32));
    assert_eq!(lone.heard(), ["Failed 487 Cancelled"]);
    assert_eq!((lone.transactions(), lone.sessions()), (0, 0));
}

#[test]
fn a_cancelled_call_is_not_tried_again_elsewhere() {
    let mut lone = Lone::new();
    let session = lone.invite(OFFER);
    let invite = lone.last();
    lone.endpoint.cancel(lone.now, session, None);
    lone.receive(&response(&invite, 503, "x", "", ""));
    assert_eq!(lone.heard(), ["Failed 503 Cancelled"]);
    assert_eq!(lone.said(), ["ACK"]);
}
