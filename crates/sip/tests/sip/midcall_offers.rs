//! Re-INVITE and UPDATE in both directions: hold, refusal, withdrawal, target refresh, lost dialogs.

use crate::common::{
    ANSWER, Lone, NOTHING, OFFER, Pair, Side, request, request_in, request_to, response, secs,
};
use sip::message::{Headers, Method, Name};

#[test]
fn hold_and_resume_by_reinvite_and_update() {
    let mut pair = Pair::new(1);
    let (ours, theirs) = pair.established();
    for method in [Method::Invite, Method::Update] {
        pair.right
            .endpoint
            .offer(pair.now, theirs, method.clone(), Headers::new(), OFFER)
            .expect("nothing is open");
        pair.settle();
        assert_eq!(pair.left.heard(), [format!("Offer {method}")]);
        pair.left
            .endpoint
            .answer_offer(pair.now, ours, Headers::new(), ANSWER);
        pair.settle();
        assert_eq!(pair.right.heard(), [format!("OfferResult {method} 200")]);
        let expected: &[&str] = if method == Method::Invite {
            &["OfferAck"]
        } else {
            &[]
        };
        assert_eq!(pair.left.heard(), expected);
    }
    pair.left.endpoint.bye(pair.now, ours, Headers::new());
    pair.run_out();
    pair.assert_empty();
}

#[test]
fn a_refused_offer_leaves_the_call_as_it_was() {
    let mut pair = Pair::new(2);
    let (ours, theirs) = pair.established();
    for method in [Method::Invite, Method::Update] {
        pair.left
            .endpoint
            .offer(pair.now, ours, method.clone(), Headers::new(), OFFER)
            .expect("nothing is open");
        pair.settle();
        pair.right
            .endpoint
            .reject_offer(pair.now, theirs, 488, Headers::new());
        pair.settle();
        assert_eq!(pair.left.heard(), [format!("OfferResult {method} 488")]);
        assert_eq!(pair.right.heard(), [format!("Offer {method}")]);
    }
    assert_eq!(pair.left.endpoint.stats().sessions, 1);
}

#[test]
fn the_2xx_to_a_reinvite_is_repeated_until_its_ack() {
    let mut pair = Pair::new(3);
    let (ours, theirs) = pair.established();
    pair.lose(Side::Left, "ACK", 2);
    pair.left
        .endpoint
        .offer(pair.now, ours, Method::Invite, Headers::new(), OFFER)
        .expect("nothing is open");
    pair.settle();
    pair.right
        .endpoint
        .answer_offer(pair.now, theirs, Headers::new(), ANSWER);
    pair.run(secs(3));
    assert_eq!(pair.right.heard(), ["Offer INVITE", "OfferAck"]);
    assert_eq!(pair.left.heard(), ["OfferResult INVITE 200"]);
}

#[test]
fn a_reinvite_can_be_withdrawn() {
    let mut lone = Lone::new();
    lone.receive(&request("INVITE", "1", 1, "", "v=0\r\n"));
    let session = lone.called();
    lone.endpoint
        .answer(lone.now, session, Headers::new(), ANSWER);
    let ok = lone.last();
    lone.receive(&request_in(&ok, "ACK", "a", 1, "", ""));
    lone.receive(&request_in(&ok, "INVITE", "2", 2, "", "v=0\r\n"));
    lone.receive(&request_in(&ok, "CANCEL", "2", 2, "", ""));
    assert_eq!(lone.said(), ["100", "200", "487"]);
    assert_eq!(
        lone.heard(),
        ["Invite", "Established", "Offer INVITE", "OfferWithdrawn"]
    );
    // And the session goes on.
    lone.endpoint
        .offer(lone.now, session, Method::Update, Headers::new(), OFFER)
        .expect("nothing is open");
    assert_eq!(lone.said(), ["UPDATE"]);
}

#[test]
fn an_update_without_offer_refreshes_the_target_without_the_layer_above() {
    let mut lone = Lone::new();
    lone.receive(&request("INVITE", "1", 1, "", "v=0\r\n"));
    let session = lone.called();
    lone.endpoint
        .answer(lone.now, session, Headers::new(), ANSWER);
    let ok = lone.last();
    lone.receive(&request_in(&ok, "ACK", "a", 1, "", ""));
    let to = ok.header(Name::To).expect("a To").to_owned();
    let update = request_to("UPDATE", "sip:192.0.2.1", &to, "2", 2, "", "");
    lone.receive(&update.replace("sip:bob@192.0.2.2:5060", "sip:moved@192.0.2.2:5070"));
    assert_eq!(lone.said(), ["200"]);
    assert_eq!(lone.heard(), ["Invite", "Established"]);
    lone.endpoint.bye(lone.now, session, Headers::new());
    let (_, flow, bye) = lone.sent.pop().unwrap_or_else(|| {
        lone.drain();
        lone.sent.pop().expect("a BYE")
    });
    assert_eq!(bye.uri_text(), "sip:moved@192.0.2.2:5070");
    assert_eq!(flow.remote.port(), 5070);
}

#[test]
fn a_dialog_that_the_peer_has_forgotten_ends() {
    for (status, expected, said) in [(481, "Ended Gone", 0), (408, "Ended RequestTimeout", 1)] {
        let mut lone = Lone::new();
        let session = lone.invite(OFFER);
        let invite = lone.last();
        lone.receive(&response(
            &invite,
            200,
            "x",
            crate::common::CONTACT,
            "v=0\r\n",
        ));
        lone.take();
        lone.heard();
        lone.endpoint.request(
            lone.now,
            session,
            Method::Info,
            Headers::new(),
            None,
            NOTHING,
        );
        let info = lone.last();
        lone.receive(&response(&info, status, "x", "", ""));
        assert_eq!(
            lone.heard(),
            [expected.to_owned(), format!("Response {status}")]
        );
        assert_eq!(lone.said().len(), said);
        lone.run(secs(40));
        assert_eq!((lone.transactions(), lone.sessions()), (0, 0));
    }
}

#[test]
fn a_bye_ends_open_offers_on_both_sides() {
    let mut pair = Pair::new(4);
    let (ours, theirs) = pair.established();
    pair.left
        .endpoint
        .offer(pair.now, ours, Method::Invite, Headers::new(), OFFER)
        .expect("nothing is open");
    pair.settle();
    pair.right.endpoint.bye(pair.now, theirs, Headers::new());
    pair.run_out();
    assert_eq!(
        pair.left.heard(),
        ["OfferResult INVITE 487", "Ended PeerBye"]
    );
    assert_eq!(pair.right.heard(), ["Offer INVITE"]);
    pair.assert_empty();
}

#[test]
fn whether_the_peer_takes_an_update_is_known() {
    let mut lone = Lone::new();
    let session = lone.invite(OFFER);
    let invite = lone.last();
    let allow = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE\r\n";
    lone.receive(&response(
        &invite,
        183,
        "x",
        &format!("{}{allow}", crate::common::CONTACT),
        "",
    ));
    assert!(lone.endpoint.allows_update(session));
    // A 2xx that says nothing changes nothing.
    lone.receive(&response(
        &invite,
        200,
        "x",
        crate::common::CONTACT,
        "v=0\r\n",
    ));
    assert!(lone.endpoint.allows_update(session));
    let session = lone.invite(OFFER);
    let invite = lone.last();
    lone.receive(&response(
        &invite,
        200,
        "y",
        crate::common::CONTACT,
        "v=0\r\n",
    ));
    assert!(!lone.endpoint.allows_update(session));
}
