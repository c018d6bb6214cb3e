//! Sessions at rest. The endpoints of all these tests lay their sessions to rest whenever they can; here is what only rest
//! has to show.

use crate::common::{ANSWER, Lone, Pair, Side, request, request_in, secs, tcp};
use sip::event::SessionId;
use sip::message::{Headers, Message};

/// The endpoint is called and answers; its 200.
fn called(lone: &mut Lone) -> (SessionId, Message) {
    lone.receive(&request("INVITE", "1", 1, "", "v=0\r\n"));
    let session = lone.called();
    lone.endpoint
        .answer(lone.now, session, Headers::new(), ANSWER);
    (session, lone.last())
}

#[test]
fn a_session_that_waits_for_something_is_not_laid_to_rest() {
    let mut lone = Lone::new();
    let (session, ok) = called(&mut lone);
    assert!(!lone.endpoint.rest(lone.now, session), "the ACK is due");
    lone.receive(&request_in(&ok, "ACK", "a", 1, "", ""));
    assert!(lone.endpoint.rest(lone.now, session));
    lone.receive(&request_in(&ok, "INVITE", "2", 2, "", "v=0\r\n"));
    assert!(!lone.endpoint.rest(lone.now, session), "an offer is open");
}

#[test]
fn an_answered_call_is_at_rest_on_both_sides() {
    let mut pair = Pair::new(1);
    let (ours, theirs) = pair.established();
    pair.run(secs(60));
    for (side, session) in [(Side::Left, ours), (Side::Right, theirs)] {
        let now = pair.now;
        let node = pair.node(side);
        assert!(node.resting.rests > 0);
        assert!(node.endpoint.rest(now, session));
        assert_eq!(node.endpoint.next_woken(), None, "it was at rest already");
    }
}

#[test]
fn a_guessed_tag_wakes_nobody() {
    let mut lone = Lone::new();
    let (session, ok) = called(&mut lone);
    lone.receive(&request_in(&ok, "ACK", "a", 1, "", ""));
    lone.heard();
    let stranger = request_in(&ok, "BYE", "b", 2, "", "").replace("Call-ID: ", "Call-ID: x");
    lone.endpoint.handle(
        lone.now,
        sip::endpoint::Input::Received {
            flow: tcp("198.51.100.9:5060", 7),
            bytes: stranger.into(),
        },
    );
    assert_eq!(lone.endpoint.next_woken(), None);
    let bye = request_in(&ok, "BYE", "c", 2, "", "");
    lone.endpoint.handle(
        lone.now,
        sip::endpoint::Input::Received {
            flow: tcp("192.0.2.2:5060", 8),
            bytes: bye.into(),
        },
    );
    assert_eq!(lone.endpoint.next_woken(), Some(session));
}
