//! Changes of identity within a session (RFC 4916): what the peer is told, when, and what we learn of it.

use crate::common::{
    ANSWER, CONTACT, Lone, OFFER, Pair, call_to, config, ms, request, request_in, response, secs,
};
use sip::endpoint::SessionInterval;
use sip::event::SessionId;
use sip::message::{ByteStr, Headers, Message, Method, Name, NameAddr};

const BEARS: &str = "Supported: from-change\r\nAllow: INVITE, ACK, BYE, CANCEL, UPDATE\r\n";
const NO_UPDATE: &str = "Supported: from-change\r\nAllow: INVITE, ACK, BYE, CANCEL\r\n";

fn carol() -> NameAddr {
    NameAddr::parse(&ByteStr::from("\"Carol\" <sip:carol@left.example>")).expect("an address")
}

fn asserted() -> Headers {
    let mut headers = Headers::new();
    headers.push_name(Name::PAssertedIdentity, carol());
    headers
}

/// The endpoint has called, and the peer answers with these lines.
fn calling(extra: &str) -> (Lone, SessionId, Message) {
    let mut lone = Lone::with(config("192.0.2.1", 1));
    let mut call = call_to("sip:bob@192.0.2.2", OFFER);
    call.from_change = true;
    let session = lone.endpoint.invite(lone.now, call);
    let invite = lone.last();
    let extra = format!("{CONTACT}{extra}");
    lone.receive(&response(&invite, 200, "peer", &extra, "v=0\r\n"));
    lone.heard();
    (lone, session, invite)
}

fn tell(lone: &mut Lone, session: SessionId) -> Message {
    lone.endpoint
        .identify(lone.now, session, &carol(), asserted());
    lone.last()
}

fn ok(request: &Message) -> String {
    response(request, 200, "", CONTACT, "")
}

#[test]
fn the_invite_says_that_identities_may_change_and_its_answer_too() {
    let (_, _, invite) = calling(BEARS);
    assert!(invite.has_token(Name::Supported, "from-change"));
    assert!(invite.has_token(Name::Supported, "100rel"));

    for allowed in [false, true] {
        let mut lone = Lone::with(config("192.0.2.1", 1));
        lone.receive(&request("INVITE", "1", 1, "", "v=0\r\n"));
        let session = lone.called();
        if allowed {
            lone.endpoint.allow_from_change(session);
        }
        lone.endpoint
            .answer(lone.now, session, Headers::new(), ANSWER);
        let ok = lone.last();
        assert_eq!(ok.has_token(Name::Supported, "from-change"), allowed);
    }
}

#[test]
fn an_update_tells_who_we_are_and_our_next_requests_say_so_too() {
    let (mut lone, session, invite) = calling(BEARS);
    let update = tell(&mut lone, session);
    assert_eq!(update.method(), Some(&Method::Update));
    assert_eq!(update.from().uri.as_str(), "sip:carol@left.example");
    assert_eq!(update.from().tag(), invite.from().tag(), "the same dialog");
    assert!(update.body().is_empty());
    assert_eq!(
        update.header(Name::PAssertedIdentity),
        Some("\"Carol\" <sip:carol@left.example>")
    );
    lone.receive(&ok(&update));
    assert!(lone.heard().is_empty(), "our own affair");
    lone.endpoint.bye(lone.now, session, Headers::new());
    assert_eq!(lone.last().from().uri.as_str(), "sip:carol@left.example");
}

#[test]
fn a_peer_that_cannot_bear_it_gets_the_headers_and_keeps_our_from() {
    let allow = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE\r\n";
    let (mut lone, session, invite) = calling(allow);
    let update = tell(&mut lone, session);
    assert_eq!(update.header(Name::From), invite.header(Name::From));
    assert!(update.header(Name::PAssertedIdentity).is_some());
    lone.receive(&ok(&update));

    let before = lone.sent.len();
    lone.endpoint
        .identify(lone.now, session, &carol(), Headers::new());
    lone.run(secs(10));
    assert_eq!(lone.sent.len(), before, "nothing that it could be told");
}

#[test]
fn without_update_a_reinvite_repeats_what_we_said_last() {
    let (mut lone, session, invite) = calling(NO_UPDATE);
    let reinvite = tell(&mut lone, session);
    assert_eq!(reinvite.method(), Some(&Method::Invite));
    assert_eq!(reinvite.body(), invite.body());
    assert_eq!(reinvite.from().uri.as_str(), "sip:carol@left.example");
    lone.receive(&response(&reinvite, 200, "", CONTACT, "v=0\r\n"));
    let ack = lone.last();
    assert_eq!(ack.method(), Some(&Method::Ack));
    assert_eq!(ack.cseq().number, reinvite.cseq().number);
    assert!(lone.heard().is_empty());
}

#[test]
fn a_peer_that_lists_update_and_refuses_it_gets_a_reinvite() {
    let (mut lone, session, _) = calling(BEARS);
    let update = tell(&mut lone, session);
    lone.receive(&response(&update, 501, "", "", ""));
    lone.run(ms(1));
    assert_eq!(lone.last().method(), Some(&Method::Invite));
}

#[test]
fn a_refusal_leaves_us_who_we_were() {
    let (mut lone, session, invite) = calling(BEARS);
    let update = tell(&mut lone, session);
    lone.receive(&response(&update, 403, "", "", ""));
    lone.run(secs(60));
    lone.endpoint.bye(lone.now, session, Headers::new());
    let bye = lone.last();
    assert_eq!(bye.method(), Some(&Method::Bye));
    assert_eq!(bye.header(Name::From), invite.header(Name::From));
}

#[test]
fn a_refusal_that_passes_is_tried_again_but_not_for_ever() {
    let (mut lone, session, _) = calling(BEARS);
    let mut update = tell(&mut lone, session);
    for attempt in 1..=5 {
        lone.receive(&response(&update, 500, "", "", ""));
        lone.run(secs(10));
        match lone.take().pop() {
            Some(again) => update = again,
            None => assert_eq!(attempt, 5, "given up too soon"),
        }
        assert_eq!(update.method(), Some(&Method::Update));
    }
    assert!(lone.take().is_empty());
    assert_eq!(lone.transactions(), 0);
}

#[test]
fn news_waits_for_the_ack_and_the_last_counts() {
    let mut lone = Lone::with(config("192.0.2.1", 1));
    lone.receive(&request("INVITE", "1", 1, BEARS, "v=0\r\n"));
    let session = lone.called();
    lone.endpoint.allow_from_change(session);
    let dave = NameAddr::parse(&ByteStr::from("<sip:dave@left.example>")).expect("an address");
    lone.endpoint
        .identify(lone.now, session, &dave, Headers::new());
    lone.endpoint
        .answer(lone.now, session, Headers::new(), ANSWER);
    lone.endpoint
        .identify(lone.now, session, &carol(), asserted());
    let ok_to_invite = lone.last();
    assert_eq!(ok_to_invite.status(), Some(200));
    lone.receive(&request_in(&ok_to_invite, "ACK", "a", 1, "", ""));
    let update = lone.last();
    assert_eq!(update.method(), Some(&Method::Update));
    assert_eq!(update.from().uri.as_str(), "sip:carol@left.example");
}

#[test]
fn news_that_meets_an_offer_waits_for_its_answer() {
    let (mut lone, session, _) = calling(BEARS);
    lone.endpoint
        .offer(lone.now, session, Method::Invite, Headers::new(), OFFER)
        .expect("idle");
    let offer = lone.last();
    lone.endpoint
        .identify(lone.now, session, &carol(), asserted());
    lone.run(ms(400));
    assert!(lone.take().is_empty());
    lone.receive(&response(&offer, 200, "", CONTACT, "v=0\r\n"));
    lone.run(secs(1));
    assert_eq!(lone.last().method(), Some(&Method::Update));
}

#[test]
fn an_update_that_tells_refreshes_the_session_too() {
    let mut lone = Lone::with(config("192.0.2.1", 1));
    let mut call = call_to("sip:bob@192.0.2.2", OFFER);
    call.from_change = true;
    call.session_timer = Some(SessionInterval::default());
    let session = lone.endpoint.invite(lone.now, call);
    let invite = lone.last();
    let extra = format!("{CONTACT}{BEARS}Session-Expires: 1800;refresher=uac\r\n");
    lone.receive(&response(&invite, 200, "peer", &extra, "v=0\r\n"));
    let update = tell(&mut lone, session);
    // A request without it would switch the timer off (RFC 4028 §7.1).
    assert_eq!(
        update.header(Name::SessionExpires),
        Some("1800;refresher=uac")
    );
}

#[test]
fn the_peers_new_name_is_used_where_changes_are_allowed_and_told_in_any_case() {
    for allowed in [true, false] {
        let mut lone = Lone::with(config("192.0.2.1", 1));
        lone.receive(&request("INVITE", "1", 1, BEARS, "v=0\r\n"));
        let session = lone.called();
        if allowed {
            lone.endpoint.allow_from_change(session);
        }
        lone.endpoint
            .answer(lone.now, session, Headers::new(), ANSWER);
        let ok = lone.last();
        lone.receive(&request_in(&ok, "ACK", "a", 1, "", ""));
        lone.heard();
        // Nothing new: a refresh, say.
        lone.receive(&request_in(&ok, "UPDATE", "u1", 2, "", ""));
        assert!(lone.heard().is_empty());
        let renamed = request_in(&ok, "UPDATE", "u2", 3, "", "");
        let old = ok.from().uri.as_str().to_owned();
        lone.receive(&renamed.replace(&format!("From: <{old}>"), "From: <sip:carol@peer>"));
        assert_eq!(lone.heard(), ["Updated"]);
        lone.endpoint.bye(lone.now, session, Headers::new());
        let to = lone.last().to().uri.as_str().to_owned();
        assert_eq!(
            to,
            if allowed {
                "sip:carol@peer"
            } else {
                old.as_str()
            }
        );
    }
}

#[test]
fn two_of_us_tell_each_other_at_once() {
    let mut pair = Pair::new(4);
    let mut call = call_to("sip:bob@192.0.2.2", OFFER);
    call.from_change = true;
    let ours = pair.left.endpoint.invite(pair.now, call);
    pair.settle();
    let theirs = pair.right.session();
    pair.right.endpoint.allow_from_change(theirs);
    pair.right
        .endpoint
        .answer(pair.now, theirs, Headers::new(), ANSWER);
    pair.settle();
    pair.log.clear();
    pair.left
        .endpoint
        .identify(pair.now, ours, &carol(), asserted());
    pair.right
        .endpoint
        .identify(pair.now, theirs, &carol(), asserted());
    pair.run(secs(30));
    let mut ladder = pair.ladder();
    ladder.sort_unstable();
    assert_eq!(
        ladder,
        ["< 200 UPDATE", "< UPDATE", "> 200 UPDATE", "> UPDATE"]
    );
    pair.left.endpoint.bye(pair.now, ours, Headers::new());
    pair.run_out();
    pair.assert_empty();
}
