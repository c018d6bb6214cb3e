//! Session timers (RFC 4028) as either side sees them: the terms, the refreshes, and the end of a session
//! that nobody refreshes.

use crate::common::{
    ANSWER, CONTACT, Lone, OFFER, Pair, Side, call_to, config, request, request_in, response, secs,
};
use sip::endpoint::SessionInterval;
use sip::event::SessionId;
use sip::message::{Headers, Message, Name};

const TERMS: SessionInterval = SessionInterval {
    seconds: 180,
    minimum_seconds: 90,
};

fn lone() -> Lone {
    let mut config = config("192.0.2.1", 1);
    config.supported.push("timer".into());
    Lone::with(config)
}

/// The endpoint calls on these terms.
fn invite(lone: &mut Lone) -> (SessionId, Message) {
    let mut call = call_to("sip:bob@192.0.2.2", OFFER);
    call.session_timer = Some(TERMS);
    let session = lone.endpoint.invite(lone.now, call);
    (session, lone.last())
}

fn ok(request: &Message, extra: &str) -> String {
    let extra = format!("{CONTACT}{extra}");
    response(request, 200, "peer", &extra, "v=0\r\n")
}

/// The endpoint is called with these lines, on these terms; its 200.
fn called(lone: &mut Lone, extra: &str, terms: Option<SessionInterval>) -> (SessionId, Message) {
    lone.receive(&request("INVITE", "1", 1, extra, "v=0\r\n"));
    let session = lone.called();
    lone.endpoint
        .accept_session_timer(session, terms)
        .expect("good terms");
    lone.endpoint
        .answer(lone.now, session, Headers::new(), ANSWER);
    let ok = lone.last();
    lone.receive(&request_in(&ok, "ACK", "a", 1, "", ""));
    lone.heard();
    (session, ok)
}

#[test]
fn two_of_us_refresh_with_updates_as_long_as_both_live() {
    let mut pair = Pair::new(1);
    let mut call = call_to("sip:bob@192.0.2.2", OFFER);
    call.session_timer = Some(TERMS);
    let ours = pair.left.endpoint.invite(pair.now, call);
    pair.settle();
    let theirs = pair.right.session();
    pair.right
        .endpoint
        .accept_session_timer(theirs, Some(TERMS))
        .expect("good terms");
    pair.right
        .endpoint
        .answer(pair.now, theirs, Headers::new(), ANSWER);
    pair.settle();
    pair.log.clear();
    pair.run(secs(400));
    let mut refresh = vec!["> UPDATE", "< 200 UPDATE"];
    refresh.extend(refresh.clone().repeat(3));
    assert_eq!(pair.ladder(), refresh);
    assert_eq!(
        pair.left.heard(),
        ["Answered 200"],
        "the layer above hears nothing of it"
    );
    assert_eq!(pair.right.heard(), ["Invite", "Established"]);
    // The left one dies: whoever waits for its refreshes hangs up before the interval is over.
    pair.lose(Side::Left, "", usize::MAX);
    pair.run(secs(200));
    assert_eq!(pair.right.heard(), ["Ended SessionExpired"]);
    pair.left.endpoint.bye(pair.now, ours, Headers::new());
    pair.run_out();
    pair.assert_empty();
}

#[test]
fn an_invite_proposes_and_names_us_as_refresher() {
    let mut lone = lone();
    let (_, invite) = invite(&mut lone);
    assert_eq!(
        invite.header(Name::SessionExpires),
        Some("180;refresher=uac")
    );
    assert_eq!(invite.header(Name::MinSe), Some("90"));
    assert!(invite.has_token(Name::Supported, "timer"));
    assert!(
        invite.has_token(Name::Supported, "100rel"),
        "and nothing is forgotten over it"
    );
}

#[test]
fn a_peer_without_update_gets_a_reinvite_that_changes_nothing() {
    let mut lone = lone();
    let (_, invite) = invite(&mut lone);
    lone.receive(&ok(
        &invite,
        "Session-Expires: 180;refresher=uac\r\nAllow: INVITE, ACK, BYE, CANCEL\r\n",
    ));
    lone.take();
    lone.heard();
    lone.run(secs(89));
    assert!(lone.take().is_empty());
    lone.run(secs(2));
    let refresh = lone.last();
    assert_eq!(refresh.body(), &OFFER);
    assert_eq!(
        refresh.header(Name::SessionExpires),
        Some("180;refresher=uac")
    );
    lone.receive(&ok(&refresh, "Session-Expires: 180;refresher=uac\r\n"));
    assert_eq!(lone.said(), ["ACK"]);
    assert!(lone.heard().is_empty());
    lone.run(secs(95));
    assert_eq!(lone.said()[0], "INVITE", "and again");
}

#[test]
fn an_update_that_is_not_taken_is_repeated_as_a_reinvite() {
    let mut lone = lone();
    let (_, invite) = invite(&mut lone);
    lone.receive(&ok(
        &invite,
        "Session-Expires: 180;refresher=uac\r\nAllow: INVITE, UPDATE\r\n",
    ));
    lone.take();
    lone.run(secs(91));
    let update = lone.last();
    assert!(update.body().is_empty());
    lone.receive(&response(&update, 501, "peer", "", ""));
    assert_eq!(lone.said(), ["INVITE"]);
}

#[test]
fn a_422_is_answered_with_a_longer_interval() {
    let mut lone = lone();
    let (_, first) = invite(&mut lone);
    lone.receive(&response(&first, 422, "no", "Min-SE: 300\r\n", ""));
    let sent = lone.take();
    let second = sent.last().expect("another INVITE");
    assert_eq!(
        second.header(Name::SessionExpires),
        Some("300;refresher=uac")
    );
    assert_eq!(second.header(Name::MinSe), Some("300"));
    assert_eq!(second.headers(Name::SessionExpires).count(), 1);
    assert_eq!(second.cseq().number, 2);
    assert_eq!(second.call_id(), first.call_id());
    lone.receive(&ok(second, "Session-Expires: 300;refresher=uac\r\n"));
    assert_eq!(lone.heard(), ["Answered 200"]);
    // A peer that is never content is told no more.
    let (_, mut again) = invite(&mut lone);
    for round in 0..4 {
        let extra = format!("Min-SE: {}\r\n", 400 + round);
        lone.receive(&response(&again, 422, "no", &extra, ""));
        again = lone.last();
    }
    assert_eq!(lone.heard(), ["Failed 422 Response"]);
}

#[test]
fn a_peer_that_knows_no_timers_is_refreshed_all_the_same() {
    let mut lone = lone();
    let (_, invite) = invite(&mut lone);
    lone.receive(&ok(&invite, "Allow: INVITE, UPDATE\r\n"));
    lone.take();
    lone.heard();
    lone.run(secs(91));
    assert_eq!(lone.said()[0], "UPDATE");
    // It has died: the update is repeated, then the call is over.
    lone.run(secs(33));
    assert_eq!(lone.heard(), ["Ended RequestTimeout"]);
    assert_eq!(lone.said().last().map(String::as_str), Some("BYE"));
}

#[test]
fn a_caller_that_promised_to_refresh_and_does_not_is_hung_up() {
    let mut lone = lone();
    let (_, ok) = called(
        &mut lone,
        "Supported: timer\r\nSession-Expires: 120;refresher=uac\r\n",
        Some(TERMS),
    );
    assert_eq!(ok.header(Name::SessionExpires), Some("120;refresher=uac"));
    assert_eq!(ok.header(Name::Require), Some("timer"));
    lone.run(secs(80));
    // One refresh is in time.
    let terms = "Supported: timer\r\nSession-Expires: 120;refresher=uac\r\n";
    lone.receive(&request_in(&ok, "UPDATE", "2", 2, terms, ""));
    assert_eq!(
        lone.last().header(Name::SessionExpires),
        Some("120;refresher=uac")
    );
    lone.run(secs(80));
    assert!(lone.heard().is_empty());
    lone.run(secs(9));
    assert_eq!(lone.heard(), ["Ended SessionExpired"]);
    let bye = lone.take().remove(0);
    assert!(
        bye.header(Name::Reason)
            .is_some_and(|reason| reason.contains("408"))
    );
}

#[test]
fn we_refresh_calls_that_came_in_unless_the_caller_wants_to() {
    for (asked, agreed) in [
        (
            "Supported: timer\r\nSession-Expires: 600\r\n",
            "180;refresher=uas",
        ),
        (
            "Supported: timer\r\nSession-Expires: 100;refresher=uas\r\n",
            "100;refresher=uas",
        ),
        (
            "Supported: timer\r\nSession-Expires: 600\r\nMin-SE: 400\r\n",
            "400;refresher=uas",
        ),
        ("Allow: INVITE\r\n", "180;refresher=uas"),
    ] {
        let mut lone = lone();
        let (_, ok) = called(&mut lone, asked, Some(TERMS));
        assert_eq!(ok.header(Name::SessionExpires), Some(agreed), "{asked}");
        assert_eq!(ok.header(Name::Require), None);
        lone.run(secs(205));
        assert_eq!(
            lone.said()[0],
            "INVITE",
            "no UPDATE is known to be taken: {asked}"
        );
    }
}

#[test]
fn too_short_an_interval_is_a_422() {
    let mut lone = lone();
    let short = "Supported: timer\r\nSession-Expires: 60\r\n";
    lone.receive(&request("INVITE", "1", 1, short, "v=0\r\n"));
    let session = lone.called();
    let refused = lone.endpoint.accept_session_timer(session, Some(TERMS));
    assert_eq!(refused, Err(422));
    lone.endpoint
        .reject(lone.now, session, sip::message::ResponseDraft::new(422));
    assert_eq!(lone.last().header(Name::MinSe), Some("90"));

    let mut lone = self::lone();
    let (_, ok) = called(&mut lone, "Supported: timer\r\n", Some(TERMS));
    for (number, method, body) in [(2, "UPDATE", ""), (3, "INVITE", "v=0\r\n")] {
        let branch = number.to_string();
        lone.receive(&request_in(&ok, method, &branch, number, short, body));
        assert_eq!(lone.last().status(), Some(422), "{method}");
    }
    assert!(lone.heard().is_empty());
}

#[test]
fn without_terms_of_ours_only_a_promise_of_the_peer_counts() {
    let mut lone = lone();
    let (_, ok) = called(
        &mut lone,
        "Supported: timer\r\nSession-Expires: 120\r\n",
        None,
    );
    assert_eq!(ok.header(Name::SessionExpires), None);
    assert!(!ok.has_token(Name::Supported, "timer"));
    lone.run(secs(1000));
    assert!(lone.take().is_empty());

    let mut lone = self::lone();
    let (_, ok) = called(
        &mut lone,
        "Supported: timer\r\nSession-Expires: 120;refresher=uac\r\n",
        None,
    );
    assert_eq!(ok.header(Name::SessionExpires), Some("120;refresher=uac"));
    lone.run(secs(89));
    assert_eq!(lone.heard(), ["Ended SessionExpired"]);

    let mut lone = self::lone();
    lone.receive(&request("INVITE", "1", 1, "Require: timer\r\n", "v=0\r\n"));
    let session = lone.called();
    assert_eq!(lone.endpoint.accept_session_timer(session, None), Err(420));
    lone.endpoint
        .reject(lone.now, session, sip::message::ResponseDraft::new(420));
    assert_eq!(lone.last().header(Name::Unsupported), Some("timer"));
}

#[test]
fn a_refresh_waits_for_an_offer_and_survives_glare() {
    let mut lone = lone();
    let (session, invite) = invite(&mut lone);
    lone.receive(&ok(&invite, "Session-Expires: 180;refresher=uac\r\n"));
    lone.take();
    lone.run(secs(89));
    lone.endpoint
        .offer(
            lone.now,
            session,
            sip::message::Method::Invite,
            Headers::new(),
            OFFER,
        )
        .expect("nothing is open");
    let offer = lone.last();
    assert_eq!(
        offer.header(Name::SessionExpires),
        Some("180;refresher=uac"),
        "an offer refreshes too"
    );
    lone.run(secs(2));
    assert!(
        lone.said().iter().all(|word| word == "INVITE"),
        "repetitions of the offer only"
    );
    lone.receive(&ok(&offer, "Session-Expires: 180;refresher=uac\r\n"));
    lone.take();
    lone.run(secs(91));
    let refresh = lone.last();
    lone.receive(&response(&refresh, 491, "peer", "", ""));
    lone.take();
    lone.run(secs(5));
    assert_eq!(lone.said()[0], "INVITE", "once more after a while");
    assert!(
        !lone
            .heard()
            .iter()
            .any(|event| event.starts_with("OfferResult INVITE 491")),
        "the layer above made no offer"
    );
}
