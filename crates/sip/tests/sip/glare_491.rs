//! Two offers at once: 491 for both, and delays that keep them apart (RFC 3261 §14).

use crate::common::{ANSWER, Lone, OFFER, Pair, ms, request, request_in, secs};
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

/// As through a proxy with several workers, which keeps no order between ACK and re-INVITE.
#[test]
fn a_reinvite_that_overtakes_the_ack_is_taken() {
    let mut lone = Lone::new();
    lone.receive(&request("INVITE", "1", 1, "", "v=0\r\n"));
    let session = lone.called();
    lone.endpoint
        .answer(lone.now, session, Headers::new(), ANSWER);
    let ok = lone.last();
    let mut expected = vec!["Invite"];
    for (cseq, confirmed) in [(2, "Established"), (3, "OfferAck")] {
        let branch = cseq.to_string();
        lone.receive(&request_in(&ok, "INVITE", &branch, cseq, "", "v=0\r\n"));
        expected.extend([confirmed, "Offer INVITE"]);
        // The ACK of the 2xx before comes last, and is not taken for the one of the next.
        lone.receive(&request_in(&ok, "ACK", "a", cseq - 1, "", ""));
        lone.endpoint
            .answer_offer(lone.now, session, Headers::new(), ANSWER);
        lone.receive(&request_in(&ok, "ACK", "a", cseq - 1, "", ""));
        assert_eq!(lone.said(), ["100", "200"]);
    }
    assert_eq!(lone.heard(), expected);
    // The one 2xx that is still open is repeated, and no other.
    lone.run(ms(500));
    assert_eq!(lone.said(), ["200"]);
    lone.receive(&request_in(&ok, "ACK", "b", 3, "", ""));
    assert_eq!(lone.heard(), ["OfferAck"]);
    lone.run(secs(40));
    assert!(lone.said().is_empty());
}

#[test]
fn a_reinvite_gets_491_while_the_ack_has_to_bring_the_answer() {
    let mut lone = Lone::new();
    lone.receive(&request("INVITE", "1", 1, "", ""));
    let session = lone.called();
    lone.endpoint
        .answer(lone.now, session, Headers::new(), OFFER);
    let ok = lone.last();
    lone.receive(&request_in(&ok, "INVITE", "2", 2, "", "v=0\r\n"));
    assert_eq!(lone.said(), ["100", "491"]);
    lone.receive(&request_in(&ok, "ACK", "a", 1, "", "v=0\r\n"));
    lone.receive(&request_in(&ok, "INVITE", "3", 3, "", "v=0\r\n"));
    assert_eq!(lone.heard(), ["Invite", "Established", "Offer INVITE"]);
}

#[test]
fn a_reinvite_gets_491_where_it_is_no_proof_of_the_2xx() {
    for hung_up in [false, true] {
        let mut lone = Lone::new();
        lone.receive(&request("INVITE", "1", 1, "", "v=0\r\n"));
        let session = lone.called();
        lone.endpoint
            .answer(lone.now, session, Headers::new(), ANSWER);
        let ok = lone.last();
        let cseq = if hung_up {
            lone.endpoint.bye(lone.now, session, Headers::new());
            2
        } else {
            // The first INVITE once more, by another way.
            1
        };
        lone.receive(&request_in(&ok, "INVITE", "2", cseq, "", "v=0\r\n"));
        assert_eq!(lone.said(), ["100", "491"]);
        assert_eq!(lone.heard(), ["Invite"]);
    }
}

/// The far end of a relayed call is quicker than the ACK of the near end.
#[test]
fn a_reinvite_of_ours_waits_for_the_ack() {
    let mut lone = Lone::new();
    lone.receive(&request("INVITE", "1", 1, "", "v=0\r\n"));
    let session = lone.called();
    lone.endpoint
        .answer(lone.now, session, Headers::new(), ANSWER);
    let ok = lone.last();
    let mut offer = || {
        lone.endpoint
            .offer(lone.now, session, Method::Invite, Headers::new(), OFFER)
    };
    assert_eq!(offer(), Ok(()));
    assert_eq!(offer(), Err(OfferRefused::Pending), "one is enough");
    assert!(lone.said().is_empty());
    // An offer of theirs meets ours, though it is not out yet.
    lone.receive(&request_in(&ok, "INVITE", "2", 2, "", "v=0\r\n"));
    lone.receive(&request_in(&ok, "UPDATE", "3", 3, "", "v=0\r\n"));
    assert_eq!(lone.said(), ["100", "491", "491"]);
    lone.receive(&request_in(&ok, "ACK", "a", 1, "", ""));
    assert_eq!(lone.said(), ["INVITE"]);
    assert_eq!(lone.heard(), ["Invite", "Established"]);
}

#[test]
fn a_reinvite_of_ours_that_waits_ends_with_the_call() {
    let mut lone = Lone::new();
    lone.receive(&request("INVITE", "1", 1, "", "v=0\r\n"));
    let session = lone.called();
    lone.endpoint
        .answer(lone.now, session, Headers::new(), ANSWER);
    let ok = lone.last();
    lone.endpoint
        .offer(lone.now, session, Method::Invite, Headers::new(), OFFER)
        .expect("nothing is open");
    lone.endpoint.bye(lone.now, session, Headers::new());
    lone.receive(&request_in(&ok, "ACK", "a", 1, "", ""));
    assert_eq!(lone.said(), ["BYE"]);
}

#[test]
fn a_reinvite_of_ours_does_not_wait_for_an_answer_in_the_ack() {
    let mut lone = Lone::new();
    lone.receive(&request("INVITE", "1", 1, "", ""));
    let session = lone.called();
    lone.endpoint
        .answer(lone.now, session, Headers::new(), OFFER);
    let pending = lone
        .endpoint
        .offer(lone.now, session, Method::Invite, Headers::new(), OFFER);
    assert_eq!(pending, Err(OfferRefused::Pending));
}
