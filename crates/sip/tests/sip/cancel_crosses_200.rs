//! A CANCEL that meets the 2xx on its way: the call is acknowledged and hung up (RFC 3261 §9.1).

use crate::common::{ANSWER, NOTHING, OFFER, Pair};
use sip::message::Headers;

#[test]
fn the_answer_is_acknowledged_and_hung_up() {
    let mut pair = Pair::new(1);
    let ours = pair.call(OFFER);
    let theirs = pair.right.session();
    pair.right
        .endpoint
        .progress(pair.now, theirs, 180, Headers::new(), NOTHING, false);
    pair.settle();
    pair.ladder();
    // Both at the same instant.
    pair.left.endpoint.cancel(pair.now, ours, None);
    pair.right
        .endpoint
        .answer(pair.now, theirs, Headers::new(), ANSWER);
    pair.settle();
    let ladder = pair.ladder();
    assert!(ladder.contains(&"> ACK".to_owned()), "{ladder:?}");
    assert!(ladder.contains(&"> BYE".to_owned()), "{ladder:?}");
    assert_eq!(pair.left.heard(), ["Progress 180", "Failed 487 Cancelled"]);
    assert_eq!(
        pair.right.heard(),
        ["Invite", "Established", "Ended PeerBye"]
    );
    pair.run_out();
    pair.assert_empty();
}

#[test]
fn the_command_may_come_after_the_answer_was_heard() {
    let mut pair = Pair::new(2);
    let (ours, _) = pair.established();
    pair.left.endpoint.cancel(pair.now, ours, None);
    pair.settle();
    assert_eq!(pair.left.heard(), ["Failed 487 Cancelled"]);
    assert_eq!(pair.right.heard(), ["Ended PeerBye"]);
    pair.run_out();
    pair.assert_empty();
}

#[test]
fn lost_messages_change_nothing_about_the_end() {
    for (side, text) in [
        (crate::common::Side::Left, "CANCEL"),
        (crate::common::Side::Left, "ACK"),
        (crate::common::Side::Left, "BYE"),
        (crate::common::Side::Right, "200"),
    ] {
        let mut pair = Pair::new(3);
        let ours = pair.call(OFFER);
        let theirs = pair.right.session();
        pair.right
            .endpoint
            .progress(pair.now, theirs, 180, Headers::new(), NOTHING, false);
        pair.settle();
        pair.lose(side, text, 2);
        pair.left.endpoint.cancel(pair.now, ours, None);
        pair.right
            .endpoint
            .answer(pair.now, theirs, Headers::new(), ANSWER);
        pair.run_out();
        assert_eq!(
            pair.left.heard(),
            ["Progress 180", "Failed 487 Cancelled"],
            "{text}"
        );
        assert!(
            pair.right.heard().contains(&"Ended PeerBye".to_owned()),
            "{text}"
        );
        pair.assert_empty();
    }
}
