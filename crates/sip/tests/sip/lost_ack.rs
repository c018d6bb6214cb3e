//! The ACK does not come: the 2xx is repeated, and after 64*T1 the call is hung up
//! (RFC 3261 §13.3.1.4).

use crate::common::{ANSWER, Lone, NOTHING, OFFER, Pair, Side, request, request_in, secs};
use sip::message::Headers;

#[test]
fn a_lost_ack_is_asked_for_again() {
    let mut pair = Pair::new(1);
    pair.call(OFFER);
    let theirs = pair.right.session();
    pair.lose(Side::Left, "ACK", 3);
    pair.right
        .endpoint
        .answer(pair.now, theirs, Headers::new(), ANSWER);
    pair.run(secs(5));
    assert_eq!(pair.left.heard(), ["Answered 200"]);
    assert_eq!(pair.right.heard(), ["Invite", "Established"]);
}

#[test]
fn a_caller_that_is_gone_is_hung_up() {
    let mut pair = Pair::new(2);
    pair.call(OFFER);
    let theirs = pair.right.session();
    pair.lose(Side::Left, "ACK", usize::MAX);
    pair.right
        .endpoint
        .answer(pair.now, theirs, Headers::new(), ANSWER);
    pair.run(secs(33));
    assert_eq!(pair.right.heard(), ["Invite", "Ended AckTimeout"]);
    assert_eq!(pair.left.heard(), ["Answered 200", "Ended PeerBye"]);
    pair.run_out();
    pair.assert_empty();
}

#[test]
fn hanging_up_waits_for_the_ack() {
    let mut lone = Lone::new();
    lone.receive(&request("INVITE", "1", 1, "", "v=0\r\n"));
    let session = lone.called();
    lone.endpoint
        .answer(lone.now, session, Headers::new(), ANSWER);
    let ok = lone.last();
    lone.endpoint.bye(lone.now, session, Headers::new());
    assert!(lone.said().is_empty());
    let ack = request_in(&ok, "ACK", "a", 1, "", "");
    lone.receive(&ack);
    assert_eq!(lone.said(), ["BYE"]);
    assert_eq!(lone.heard(), ["Invite"]);
    // A second ACK means nothing.
    lone.receive(&ack);
    assert!(lone.said().is_empty());
}

#[test]
fn hanging_up_does_not_wait_for_ever() {
    let mut lone = Lone::new();
    lone.receive(&request("INVITE", "1", 1, "", "v=0\r\n"));
    let session = lone.called();
    lone.endpoint
        .answer(lone.now, session, Headers::new(), ANSWER);
    lone.endpoint.bye(lone.now, session, Headers::new());
    lone.run(secs(32));
    assert!(lone.said().contains(&"BYE".to_owned()));
    assert_eq!(lone.heard(), ["Invite"]);
    lone.run(secs(32));
    assert_eq!((lone.transactions(), lone.sessions()), (0, 0));
}

#[test]
fn a_bye_instead_of_the_ack_ends_the_call() {
    let mut lone = Lone::new();
    lone.receive(&request("INVITE", "1", 1, "", "v=0\r\n"));
    let session = lone.called();
    lone.endpoint
        .answer(lone.now, session, Headers::new(), ANSWER);
    let ok = lone.last();
    lone.receive(&request_in(&ok, "BYE", "b", 2, "", ""));
    assert_eq!(lone.said(), ["200"]);
    assert_eq!(lone.heard(), ["Invite", "Ended PeerBye"]);
    lone.run(secs(10));
    assert!(lone.said().is_empty());
    lone.endpoint.request(
        lone.now,
        session,
        sip::message::Method::Info,
        Headers::new(),
        None,
        NOTHING,
    );
    assert_eq!(lone.heard(), ["Response 481"]);
}
