//! At its bounds an endpoint refuses without remembering, and lets calls end.

use crate::common::{ANSWER, Lone, OFFER, config, request, request_in};
use sip::message::{Headers, Name, ResponseDraft};

#[test]
fn too_many_sessions() {
    let mut config = config("192.0.2.1", 1);
    config.max_sessions = 1;
    config.retry_after_seconds = 7;
    let mut lone = Lone::with(config);
    lone.receive(&request("INVITE", "1", 1, "", "v=0\r\n"));
    let session = lone.called();
    lone.endpoint
        .answer(lone.now, session, Headers::new(), ANSWER);
    let ok = lone.last();
    let before = lone.endpoint.stats();
    for branch in ["2", "3", "4"] {
        lone.receive(
            &request("INVITE", branch, 9, "", "v=0\r\n").replace("call-of-peer", "another"),
        );
        let refusal = lone.last();
        assert_eq!(refusal.status(), Some(503));
        assert_eq!(refusal.header(Name::RetryAfter), Some("7"));
    }
    let after = lone.endpoint.stats();
    assert_eq!(
        (before.transactions, before.timers),
        (after.transactions, after.timers)
    );
    assert_eq!(after.overloads, 3);
    assert_eq!(lone.heard(), ["Invite"]);
    // Our own calls find no room either, and what is there goes on.
    lone.invite(OFFER);
    assert_eq!(lone.heard(), ["Failed 503 Overload"]);
    lone.receive(&request_in(&ok, "BYE", "b", 2, "", ""));
    assert_eq!(lone.said(), ["200"]);
}

#[test]
fn too_many_transactions() {
    let mut config = config("192.0.2.1", 1);
    config.max_transactions = 4;
    let mut lone = Lone::with(config);
    lone.receive(&request("INVITE", "1", 1, "", "v=0\r\n"));
    let session = lone.called();
    lone.endpoint
        .answer(lone.now, session, Headers::new(), ANSWER);
    let ok = lone.last();
    for branch in 2..5 {
        lone.receive(&request("MESSAGE", &branch.to_string(), branch, "", ""));
    }
    assert!(lone.said().is_empty());
    lone.receive(&request("MESSAGE", "9", 9, "", ""));
    assert_eq!(lone.said(), ["503"]);
    // Within the session there is a little more room.
    lone.receive(&request_in(&ok, "BYE", "b", 2, "", ""));
    assert_eq!(lone.said(), ["200"]);
}

#[test]
fn draining_refuses_what_is_new() {
    let mut lone = Lone::new();
    lone.receive(&request("INVITE", "1", 1, "", "v=0\r\n"));
    let session = lone.called();
    lone.endpoint
        .answer(lone.now, session, Headers::new(), ANSWER);
    let ok = lone.last();
    lone.endpoint.drain(Some(30));
    lone.receive(&request("INVITE", "2", 2, "", "").replace("call-of-peer", "another"));
    assert_eq!(lone.last().header(Name::RetryAfter), Some("30"));
    lone.receive(&request("OPTIONS", "3", 3, "", ""));
    assert_eq!(lone.said(), ["503"]);
    lone.receive(&request_in(&ok, "ACK", "a", 1, "", ""));
    lone.receive(&request_in(&ok, "INVITE", "4", 4, "", "v=0\r\n"));
    assert_eq!(lone.heard(), ["Invite", "Established", "Offer INVITE"]);
    lone.endpoint.drain(None);
    lone.take();
    lone.receive(&request("OPTIONS", "5", 5, "", ""));
    assert_eq!(lone.said(), ["200"]);
}

#[test]
fn long_messages_count_by_their_length() {
    let mut config = config("192.0.2.1", 1);
    config.max_held_bytes = 300_000;
    let mut lone = Lone::with(config);
    let long = format!("Subject: {}\r\n", "x".repeat(30_000));
    for branch in 2..7 {
        lone.receive(&request("MESSAGE", &branch.to_string(), branch, &long, ""));
    }
    assert!(lone.said().is_empty());
    lone.receive(&request("MESSAGE", "9", 9, "", ""));
    assert_eq!(lone.said(), ["503"]);
    // Nobody answered: after half a minute all is forgotten, and the room is there again.
    lone.run(crate::common::secs(100));
    lone.take();
    lone.receive(&request("MESSAGE", "10", 10, "", ""));
    assert!(lone.said().is_empty());
    assert_eq!(lone.endpoint.stats().transactions, 1);
}

#[test]
fn strangers_leave_nothing_when_it_is_crowded() {
    let mut config = config("192.0.2.1", 1);
    config.max_transactions = 8;
    let mut lone = Lone::with(config);
    for call in 0..20_u32 {
        let invite = request("INVITE", &call.to_string(), 1, "", "v=0\r\n");
        lone.receive(&invite.replace("call-of-peer", &format!("call-{call}")));
        let session = lone.called();
        lone.endpoint
            .turn_away(lone.now, session, ResponseDraft::new(403));
        assert_eq!(lone.said(), ["100", "403"], "call {call}");
        // The first few are kept until their ACK, as long as there is room.
        let kept = lone.endpoint.stats().transactions as u32;
        assert_eq!(kept, (call + 1).min(3), "call {call}");
    }
    // Whoever may call finds room.
    lone.receive(&request("INVITE", "friend", 1, "", "v=0\r\n"));
    assert_eq!(lone.said(), ["100"]);
    let friend = lone.called();
    lone.endpoint
        .answer(lone.now, friend, Headers::new(), ANSWER);
    assert_eq!(lone.said(), ["200"]);
    lone.endpoint.bye(lone.now, friend, Headers::new());
    lone.run(crate::common::secs(200));
    let stats = lone.endpoint.stats();
    assert_eq!(
        (stats.transactions, stats.sessions, stats.timers),
        (0, 0, 0)
    );
}
