//! Reliable provisional responses (RFC 3262), both sides.

use crate::common::{
    ANSWER, CONTACT, Lone, NOTHING, OFFER, Pair, Side, ms, request, request_in, response, secs,
};
use sip::message::{Headers, Name};

#[test]
fn a_reliable_183_is_acknowledged_at_once() {
    let mut pair = Pair::new(1);
    pair.call(OFFER);
    let theirs = pair.right.session();
    pair.right
        .endpoint
        .progress(pair.now, theirs, 183, Headers::new(), ANSWER, true);
    pair.settle();
    assert_eq!(
        pair.ladder(),
        [
            "> INVITE",
            "< 100 INVITE",
            "< 183 INVITE",
            "> PRACK",
            "< 200 PRACK"
        ]
    );
    assert_eq!(pair.left.heard(), ["Progress 183"]);
    assert_eq!(pair.right.heard(), ["Invite", "Pracked"]);
    // The answer is out: the 200 needs none.
    pair.right
        .endpoint
        .answer(pair.now, theirs, Headers::new(), NOTHING);
    pair.settle();
    assert_eq!(pair.left.heard(), ["Answered 200"]);
    pair.right.endpoint.bye(pair.now, theirs, Headers::new());
    pair.run_out();
    pair.assert_empty();
}

#[test]
fn later_ones_wait_for_the_prack_and_arrive_in_order() {
    let mut pair = Pair::new(2);
    pair.call(OFFER);
    let theirs = pair.right.session();
    pair.lose(Side::Left, "PRACK", 1);
    for status in [180, 181, 183] {
        pair.right
            .endpoint
            .progress(pair.now, theirs, status, Headers::new(), NOTHING, true);
    }
    pair.settle();
    assert_eq!(pair.left.heard(), ["Progress 180"]);
    pair.run(secs(3));
    assert_eq!(pair.left.heard(), ["Progress 181", "Progress 183"]);
    assert_eq!(
        pair.right.heard(),
        ["Invite", "Pracked", "Pracked", "Pracked"]
    );
}

#[test]
fn the_200_waits_for_the_prack_of_a_description() {
    let mut pair = Pair::new(3);
    pair.call(OFFER);
    let theirs = pair.right.session();
    pair.lose(Side::Right, "183", 1);
    pair.right
        .endpoint
        .progress(pair.now, theirs, 183, Headers::new(), ANSWER, true);
    pair.right
        .endpoint
        .answer(pair.now, theirs, Headers::new(), NOTHING);
    pair.settle();
    assert!(pair.left.heard().is_empty());
    pair.run(ms(600));
    assert_eq!(pair.left.heard(), ["Progress 183", "Answered 200"]);
    assert_eq!(pair.right.heard(), ["Invite", "Pracked", "Established"]);
}

#[test]
fn the_200_does_not_wait_for_the_prack_of_mere_ringing() {
    let mut pair = Pair::new(4);
    pair.call(OFFER);
    let theirs = pair.right.session();
    pair.lose(Side::Right, "180", 1);
    pair.right
        .endpoint
        .progress(pair.now, theirs, 180, Headers::new(), NOTHING, true);
    pair.right
        .endpoint
        .answer(pair.now, theirs, Headers::new(), ANSWER);
    pair.settle();
    assert_eq!(pair.left.heard(), ["Answered 200"]);
    pair.run(secs(40));
    assert!(pair.left.heard().is_empty());
    assert_eq!(pair.right.heard(), ["Invite", "Established"]);
}

#[test]
fn without_prack_it_is_repeated_with_doubled_pauses_and_the_call_fails() {
    let mut lone = Lone::new();
    lone.receive(&request(
        "INVITE",
        "1",
        1,
        "Supported: 100rel\r\n",
        "v=0\r\n",
    ));
    let session = lone.called();
    lone.take();
    lone.endpoint
        .progress(lone.now, session, 180, Headers::new(), NOTHING, true);
    lone.run(secs(32) - ms(1));
    assert_eq!(lone.times(), [0, 500, 1500, 3500, 7500, 15500, 31500]);
    lone.run(ms(1));
    assert_eq!(lone.said(), ["504"]);
    assert_eq!(lone.heard(), ["Invite", "Ended PrackTimeout"]);
    assert_eq!(lone.sessions(), 0);
}

#[test]
fn a_prack_that_the_200_overtook_is_taken() {
    let mut lone = Lone::new();
    lone.receive(&request(
        "INVITE",
        "1",
        1,
        "Supported: 100rel\r\n",
        "v=0\r\n",
    ));
    let session = lone.called();
    lone.endpoint
        .progress(lone.now, session, 180, Headers::new(), NOTHING, true);
    let ringing = lone.last();
    let rseq: u32 = ringing
        .header(Name::RSeq)
        .expect("an RSeq")
        .parse()
        .expect("a number");
    lone.endpoint
        .answer(lone.now, session, Headers::new(), ANSWER);
    lone.take();
    for (branch, cseq, rack, expected) in [
        ("2", 2, rseq + 1, "481"),
        ("3", 3, rseq, "200"),
        ("4", 4, rseq, "481"),
    ] {
        let rack = format!("RAck: {rack} 1 INVITE\r\n");
        lone.receive(&request_in(&ringing, "PRACK", branch, cseq, &rack, ""));
        assert_eq!(lone.said(), [expected], "{rack}");
    }
}

#[test]
fn a_prack_for_nothing_gets_481() {
    let mut lone = Lone::new();
    lone.receive(&request("INVITE", "1", 1, "Require: 100rel\r\n", "v=0\r\n"));
    let session = lone.called();
    // Required, so even a plain one is reliable.
    lone.endpoint
        .progress(lone.now, session, 180, Headers::new(), NOTHING, false);
    let ringing = lone.last();
    assert!(ringing.has_token(Name::Require, "100rel"));
    let rseq: u32 = ringing
        .header(Name::RSeq)
        .expect("an RSeq")
        .parse()
        .expect("a number");
    lone.receive(&request_in(
        &ringing,
        "PRACK",
        "2",
        2,
        &format!("RAck: {} 1 INVITE\r\n", rseq + 1),
        "",
    ));
    assert_eq!(lone.said(), ["481"]);
    lone.receive(&request_in(
        &ringing,
        "PRACK",
        "3",
        3,
        &format!("RAck: {rseq} 1 INVITE\r\n"),
        "",
    ));
    assert_eq!(lone.said(), ["200"]);
    assert_eq!(lone.heard(), ["Invite", "Pracked"]);
    lone.run(secs(10));
    assert!(lone.said().is_empty());
}

#[test]
fn peers_without_100rel_get_plain_provisionals() {
    let mut lone = Lone::new();
    lone.receive(&request("INVITE", "1", 1, "", "v=0\r\n"));
    let session = lone.called();
    lone.endpoint
        .progress(lone.now, session, 183, Headers::new(), ANSWER, true);
    let progress = lone.last();
    assert_eq!(progress.header(Name::RSeq), None);
    assert_eq!(progress.header(Name::Require), None);
}

#[test]
fn repeated_and_disordered_ones_are_not_seen() {
    let mut lone = Lone::new();
    lone.invite(OFFER);
    let invite = lone.last();
    let reliable = |rseq: u32| {
        response(
            &invite,
            183,
            "x",
            &format!("{CONTACT}Require: 100rel\r\nRSeq: {rseq}\r\n"),
            "",
        )
    };
    lone.receive(&reliable(70));
    lone.receive(&reliable(70));
    lone.receive(&reliable(72));
    assert_eq!(lone.heard(), ["Progress 183"]);
    let sent = lone.take();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].header(Name::RAck), Some("70 1 INVITE"));
    lone.receive(&reliable(71));
    assert_eq!(lone.last().header(Name::RAck), Some("71 1 INVITE"));
}

#[test]
fn a_prack_may_bring_a_new_offer_which_is_answered_before_the_call() {
    let mut lone = Lone::new();
    lone.receive(&request(
        "INVITE",
        "1",
        1,
        "Supported: 100rel\r\n",
        "v=0\r\n",
    ));
    let session = lone.called();
    lone.endpoint
        .progress(lone.now, session, 183, Headers::new(), ANSWER, true);
    let progress = lone.last();
    let rack = format!(
        "RAck: {} 1 INVITE\r\n",
        progress.header(Name::RSeq).expect("an RSeq")
    );
    lone.receive(&request_in(&progress, "PRACK", "2", 2, &rack, "v=0\r\n"));
    assert_eq!(lone.heard(), ["Invite", "Offer PRACK"]);
    lone.endpoint
        .answer(lone.now, session, Headers::new(), NOTHING);
    assert!(lone.said().is_empty());
    lone.endpoint
        .answer_offer(lone.now, session, Headers::new(), ANSWER);
    let sent = lone.take();
    assert_eq!(sent.len(), 2);
    assert_eq!((sent[0].cseq().number, sent[0].body()), (2, &ANSWER));
    assert_eq!((sent[1].cseq().number, sent[1].body()), (1, &NOTHING));
}

#[test]
fn an_early_dialog_can_be_updated_once_its_offer_is_answered() {
    let mut pair = Pair::new(9);
    let ours = pair.call(OFFER);
    let theirs = pair.right.session();
    pair.right
        .endpoint
        .progress(pair.now, theirs, 180, Headers::new(), NOTHING, true);
    pair.settle();
    let update = sip::message::Method::Update;
    let early = pair
        .left
        .endpoint
        .offer(pair.now, ours, update.clone(), Headers::new(), OFFER);
    assert_eq!(early, Err(sip::endpoint::OfferRefused::Pending));
    pair.right
        .endpoint
        .progress(pair.now, theirs, 183, Headers::new(), ANSWER, true);
    pair.settle();
    pair.left
        .endpoint
        .offer(pair.now, ours, update, Headers::new(), OFFER)
        .expect("the offer is answered");
    pair.settle();
    assert_eq!(
        pair.right.heard(),
        ["Invite", "Pracked", "Pracked", "Offer UPDATE"]
    );
    pair.right
        .endpoint
        .answer_offer(pair.now, theirs, Headers::new(), ANSWER);
    pair.right
        .endpoint
        .answer(pair.now, theirs, Headers::new(), NOTHING);
    pair.settle();
    assert_eq!(
        pair.left.heard(),
        [
            "Progress 180",
            "Progress 183",
            "OfferResult UPDATE 200",
            "Answered 200"
        ]
    );
    assert_eq!(pair.right.heard(), ["Established"]);
}
