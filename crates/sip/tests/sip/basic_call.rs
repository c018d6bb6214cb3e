//! A call from INVITE to BYE, over datagrams and over a stream, hung up by either side.

use crate::common::{ANSWER, NOTHING, OFFER, Pair, Side, call_to, headers, secs};
use sip::message::{Headers, Name};

#[test]
fn ring_answer_talk_and_the_caller_hangs_up() {
    let mut pair = Pair::new(1);
    let ours = pair.call(OFFER);
    let theirs = pair.right.session();
    pair.right
        .endpoint
        .progress(pair.now, theirs, 180, Headers::new(), NOTHING, false);
    pair.settle();
    assert_eq!(pair.left.heard(), ["Progress 180"]);
    pair.right
        .endpoint
        .answer(pair.now, theirs, Headers::new(), ANSWER);
    pair.settle();
    assert_eq!(pair.left.heard(), ["Answered 200"]);
    assert_eq!(pair.right.heard(), ["Invite", "Established"]);
    pair.run(secs(60));
    pair.left
        .endpoint
        .bye(pair.now, ours, headers(&[("Reason", "Q.850;cause=16")]));
    pair.settle();
    assert_eq!(
        pair.ladder(),
        [
            "> INVITE",
            "< 100 INVITE",
            "< 180 INVITE",
            "< 200 INVITE",
            "> ACK",
            "> BYE",
            "< 200 BYE"
        ]
    );
    assert_eq!(pair.right.heard(), ["Ended PeerBye"]);
    assert!(pair.left.heard().is_empty());
    pair.run_out();
    pair.assert_empty();
}

#[test]
fn what_was_answered_holds_no_more_than_may_have_to_be_repeated() {
    let mut pair = Pair::new(5);
    let (ours, _) = pair.established();
    let held = |pair: &Pair| pair.right.endpoint.stats().held_bytes;
    assert_eq!(pair.right.endpoint.stats().transactions, 1);
    assert_eq!(held(&pair), 0, "the session repeats its 2xx itself");
    pair.left.endpoint.bye(pair.now, ours, Headers::new());
    pair.settle();
    let ok = pair.log.last().expect("the 200 of the BYE");
    assert_eq!(held(&pair), ok.1.as_bytes().len());
    pair.run_out();
    assert_eq!(held(&pair), 0);
    pair.assert_empty();
}

#[test]
fn the_callee_hangs_up() {
    let mut pair = Pair::new(2);
    let (_, theirs) = pair.established();
    pair.right.endpoint.bye(pair.now, theirs, Headers::new());
    pair.settle();
    assert_eq!(pair.left.heard(), ["Ended PeerBye"]);
    assert!(pair.right.heard().is_empty());
    pair.run_out();
    pair.assert_empty();
}

#[test]
fn both_hang_up_at_once() {
    let mut pair = Pair::new(3);
    let (ours, theirs) = pair.established();
    pair.left.endpoint.bye(pair.now, ours, Headers::new());
    pair.right.endpoint.bye(pair.now, theirs, Headers::new());
    pair.run_out();
    assert!(pair.left.heard().is_empty());
    assert!(pair.right.heard().is_empty());
    assert!(pair.ladder().iter().all(|line| !line.contains("481")));
    pair.assert_empty();
}

#[test]
fn over_a_stream_nothing_is_repeated_and_nothing_stays() {
    let mut pair = Pair::new(4);
    let ours = pair
        .left
        .endpoint
        .invite(pair.now, call_to("sip:bob@192.0.2.2;transport=tcp", OFFER));
    pair.settle();
    let theirs = pair.right.session();
    pair.right
        .endpoint
        .answer(pair.now, theirs, Headers::new(), ANSWER);
    pair.settle();
    pair.run(secs(40));
    pair.right.endpoint.bye(pair.now, theirs, Headers::new());
    pair.settle();
    assert_eq!(
        pair.ladder(),
        [
            "> INVITE",
            "< 100 INVITE",
            "< 200 INVITE",
            "> ACK",
            "< BYE",
            "> 200 BYE"
        ]
    );
    assert_eq!(pair.left.heard(), ["Answered 200", "Ended PeerBye"]);
    pair.assert_empty();
    // The session is over: commands for it do nothing.
    pair.left.endpoint.bye(pair.now, ours, Headers::new());
    pair.settle();
    assert!(pair.ladder().is_empty());
}

#[test]
fn a_refusal_is_acknowledged_and_forgotten() {
    let mut pair = Pair::new(5);
    pair.call(OFFER);
    let theirs = pair.right.session();
    pair.right
        .endpoint
        .reject(pair.now, theirs, sip::message::ResponseDraft::new(486));
    pair.settle();
    assert_eq!(
        pair.ladder(),
        ["> INVITE", "< 100 INVITE", "< 486 INVITE", "> ACK"]
    );
    assert_eq!(pair.left.heard(), ["Failed 486 Response"]);
    pair.run_out();
    pair.assert_empty();
}

#[test]
fn tags_and_branches_carry_the_owner() {
    let mut pair = Pair::new(6);
    pair.established();
    for (side, message) in &pair.log {
        let owner = sip::owner_of(message.as_bytes());
        let expected = match (side, message.status(), message.to().tag()) {
            (_, Some(_), _) => Some(if *side == Side::Left { 2 } else { 1 }),
            (Side::Left, None, Some(_)) => Some(2),
            _ => None,
        };
        assert_eq!(
            owner,
            expected,
            "{}",
            String::from_utf8_lossy(message.as_bytes())
        );
    }
    let (_, invite) = &pair.log[0];
    assert!(invite.has_token(Name::Supported, "100rel"));
    assert!(invite.has_token(Name::Allow, "UPDATE"));
    assert_eq!(invite.header(Name::Contact), Some("<sip:192.0.2.1:5060>"));
}
