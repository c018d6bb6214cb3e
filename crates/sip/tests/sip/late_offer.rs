//! An INVITE without offer: the offer comes in the response, the answer in ACK or PRACK.

use crate::common::{ANSWER, NOTHING, OFFER, Pair, Side, message_of, ms, secs};
use sip::message::{Headers, Method};

#[test]
fn the_ack_carries_the_answer_when_the_layer_above_has_it() {
    let mut pair = Pair::new(1);
    let ours = pair.call(NOTHING);
    let theirs = pair.right.session();
    pair.right
        .endpoint
        .answer(pair.now, theirs, Headers::new(), OFFER);
    pair.settle();
    assert_eq!(pair.left.heard(), ["Answered 200"]);
    // The 200 comes again meanwhile and waits with the first.
    pair.run(ms(700));
    assert!(pair.left.heard().is_empty());
    pair.left.endpoint.ack(pair.now, ours, ANSWER);
    pair.settle();
    let ack = pair.right.events.pop().expect("an ACK");
    assert_eq!(crate::common::describe(&ack), "Established");
    assert_eq!(message_of(&ack).expect("an ACK").body(), &ANSWER);
    pair.left.endpoint.bye(pair.now, ours, Headers::new());
    pair.run_out();
    pair.assert_empty();
}

#[test]
fn a_lost_ack_is_repeated_with_its_answer() {
    let mut pair = Pair::new(2);
    let ours = pair.call(NOTHING);
    let theirs = pair.right.session();
    pair.lose(Side::Left, "ACK", 2);
    pair.right
        .endpoint
        .answer(pair.now, theirs, Headers::new(), OFFER);
    pair.settle();
    pair.left.endpoint.ack(pair.now, ours, ANSWER);
    pair.run(secs(5));
    let ack = pair.right.events.pop().expect("an ACK");
    assert_eq!(message_of(&ack).expect("an ACK").body(), &ANSWER);
    assert_eq!(pair.left.heard(), ["Answered 200"]);
}

#[test]
fn an_offer_in_a_reliable_183_is_answered_in_the_prack() {
    let mut pair = Pair::new(3);
    let ours = pair.call(NOTHING);
    let theirs = pair.right.session();
    pair.right
        .endpoint
        .progress(pair.now, theirs, 183, Headers::new(), OFFER, true);
    pair.settle();
    assert_eq!(pair.left.heard(), ["Progress 183"]);
    assert!(!pair.ladder().contains(&"> PRACK".to_owned()));
    pair.left.endpoint.prack(pair.now, ours, ANSWER);
    pair.settle();
    let prack = pair.right.events.pop().expect("a PRACK");
    assert_eq!(crate::common::describe(&prack), "Pracked");
    assert_eq!(message_of(&prack).expect("a PRACK").body(), &ANSWER);
    pair.right
        .endpoint
        .answer(pair.now, theirs, Headers::new(), NOTHING);
    pair.settle();
    assert_eq!(pair.left.heard(), ["Answered 200"]);
    assert!(pair.ladder().contains(&"> ACK".to_owned()));
}

#[test]
fn hanging_up_before_the_answer_acknowledges_first() {
    let mut pair = Pair::new(4);
    let ours = pair.call(NOTHING);
    let theirs = pair.right.session();
    pair.right
        .endpoint
        .answer(pair.now, theirs, Headers::new(), OFFER);
    pair.settle();
    pair.ladder();
    pair.left.endpoint.bye(pair.now, ours, Headers::new());
    pair.settle();
    assert_eq!(pair.ladder(), ["> ACK", "> BYE", "< 200 BYE"]);
    pair.run_out();
    pair.assert_empty();
}

#[test]
fn a_reinvite_may_ask_for_an_offer_too() {
    let mut pair = Pair::new(5);
    let (ours, theirs) = pair.established();
    pair.left
        .endpoint
        .offer(pair.now, ours, Method::Invite, Headers::new(), NOTHING)
        .expect("nothing is open");
    pair.settle();
    assert_eq!(pair.right.heard(), ["Offer INVITE"]);
    pair.right
        .endpoint
        .answer_offer(pair.now, theirs, Headers::new(), OFFER);
    pair.settle();
    assert_eq!(pair.left.heard(), ["OfferResult INVITE 200"]);
    assert!(pair.right.heard().is_empty());
    pair.left.endpoint.ack(pair.now, ours, ANSWER);
    pair.settle();
    let ack = pair.right.events.pop().expect("an ACK");
    assert_eq!(crate::common::describe(&ack), "OfferAck");
    assert_eq!(message_of(&ack).expect("an ACK").body(), &ANSWER);
}
