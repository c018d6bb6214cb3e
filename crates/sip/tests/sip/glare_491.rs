//! Two offers at once: 491 for both, and delays that keep them apart (RFC 3261 §14).

use crate::common::{ANSWER, Lone, OFFER, Pair, ms, request, request_in};
use sip::endpoint::OfferRefused;
use sip::message::{Headers, Method, Name};

#[test]
fn crossing_reinvites_both_get_491() {
    let mut pair = Pair::new(1);
    let (ours, theirs) = pair.established();
    pair.left
        .endpoint
        .offer(pair.now, ours, Method::Invite, Headers::new(), OFFER)
        .expect("nothing is open");
    pair.right
        .endpoint
        .offer(pair.now, theirs, Method::Invite, Headers::new(), OFFER)
        .expect("nothing is open");
    pair.settle();
    assert_eq!(pair.left.heard(), ["OfferResult INVITE 491"]);
    assert_eq!(pair.right.heard(), ["OfferResult INVITE 491"]);
    for _ in 0..20 {
        // The caller made the Call-ID: it waits longer.
        let long = pair.left.endpoint.glare_delay(ours);
        let short = pair.right.endpoint.glare_delay(theirs);
        assert!((ms(2100)..=ms(4000)).contains(&long), "{long:?}");
        assert!(short <= ms(2000), "{short:?}");
    }
    // Once the dust has settled, either may try again.
    pair.right
        .endpoint
        .offer(pair.now, theirs, Method::Invite, Headers::new(), OFFER)
        .expect("nothing is open");
    pair.settle();
    assert_eq!(pair.left.heard(), ["Offer INVITE"]);
    pair.left
        .endpoint
        .answer_offer(pair.now, ours, Headers::new(), ANSWER);
    pair.settle();
    assert_eq!(pair.left.heard(), ["OfferAck"]);
    assert_eq!(pair.right.heard(), ["OfferResult INVITE 200"]);
}

#[test]
fn a_reinvite_meets_an_update() {
    let mut pair = Pair::new(2);
    let (ours, theirs) = pair.established();
    pair.left
        .endpoint
        .offer(pair.now, ours, Method::Update, Headers::new(), OFFER)
        .expect("nothing is open");
    pair.right
        .endpoint
        .offer(pair.now, theirs, Method::Invite, Headers::new(), OFFER)
        .expect("nothing is open");
    pair.settle();
    assert_eq!(pair.left.heard(), ["OfferResult UPDATE 491"]);
    assert_eq!(pair.right.heard(), ["OfferResult INVITE 491"]);
}

#[test]
fn our_own_second_offer_is_refused_at_home() {
    let mut pair = Pair::new(3);
    let (ours, theirs) = pair.established();
    pair.left
        .endpoint
        .offer(pair.now, ours, Method::Invite, Headers::new(), OFFER)
        .expect("nothing is open");
    let again = pair
        .left
        .endpoint
        .offer(pair.now, ours, Method::Update, Headers::new(), OFFER);
    assert_eq!(again, Err(OfferRefused::Pending));
    pair.settle();
    // They have ours to answer first.
    let crossing =
        pair.right
            .endpoint
            .offer(pair.now, theirs, Method::Invite, Headers::new(), OFFER);
    assert_eq!(crossing, Err(OfferRefused::Pending));
}

#[test]
fn a_second_offer_before_the_answer_gets_500_with_retry_after() {
    let mut lone = Lone::new();
    lone.receive(&request("INVITE", "1", 1, "", "v=0\r\n"));
    let session = lone.called();
    lone.endpoint
        .answer(lone.now, session, Headers::new(), ANSWER);
    let ok = lone.last();
    lone.receive(&request_in(&ok, "ACK", "a", 1, "", ""));
    lone.receive(&request_in(&ok, "UPDATE", "2", 2, "", "v=0\r\n"));
    lone.receive(&request_in(&ok, "UPDATE", "3", 3, "", "v=0\r\n"));
    let refusal = lone.last();
    assert_eq!(refusal.status(), Some(500));
    let seconds: u64 = refusal
        .header(Name::RetryAfter)
        .expect("a Retry-After")
        .parse()
        .expect("seconds");
    assert!(seconds <= 10);
    assert_eq!(lone.heard(), ["Invite", "Established", "Offer UPDATE"]);
    lone.endpoint
        .answer_offer(lone.now, session, Headers::new(), ANSWER);
    assert_eq!(lone.said(), ["200"]);
}

#[test]
fn a_reinvite_before_our_ack_came_gets_491() {
    let mut lone = Lone::new();
    lone.receive(&request("INVITE", "1", 1, "", "v=0\r\n"));
    let session = lone.called();
    lone.endpoint
        .answer(lone.now, session, Headers::new(), ANSWER);
    let ok = lone.last();
    lone.receive(&request_in(&ok, "INVITE", "2", 2, "", "v=0\r\n"));
    assert_eq!(lone.said(), ["100", "491"]);
}
