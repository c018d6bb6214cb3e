//! The caller gives up while the callee rings.

use crate::common::{NOTHING, OFFER, Pair};
use sip::message::Headers;

#[test]
fn the_callee_hears_of_it_and_the_caller_gets_its_487() {
    let mut pair = Pair::new(1);
    let ours = pair.call(OFFER);
    let theirs = pair.right.session();
    pair.right
        .endpoint
        .progress(pair.now, theirs, 180, Headers::new(), NOTHING, false);
    pair.settle();
    pair.ladder();
    pair.left.endpoint.cancel(pair.now, ours, None);
    pair.settle();
    let tags: Vec<_> = pair
        .log
        .iter()
        .filter_map(|(_, it)| it.status().and(it.to().tag()).map(str::to_owned))
        .collect();
    assert!(tags.len() == 2 && tags[0] == tags[1], "{tags:?}");
    assert_eq!(
        pair.ladder(),
        ["> CANCEL", "< 200 CANCEL", "< 487 INVITE", "> ACK"]
    );
    assert_eq!(pair.left.heard(), ["Progress 180", "Failed 487 Cancelled"]);
    assert_eq!(pair.right.heard(), ["Invite", "Cancelled"]);
    // The layer above may not have heard yet: its answer comes to nothing.
    pair.right
        .endpoint
        .answer(pair.now, theirs, Headers::new(), OFFER);
    pair.run_out();
    assert!(pair.ladder().is_empty());
    pair.assert_empty();
}

#[test]
fn bye_before_the_answer_means_cancel_or_decline() {
    let mut pair = Pair::new(2);
    let ours = pair.call(OFFER);
    pair.left.endpoint.bye(pair.now, ours, Headers::new());
    pair.run_out();
    assert_eq!(pair.left.heard(), ["Failed 487 Cancelled"]);
    assert_eq!(pair.right.heard(), ["Invite", "Cancelled"]);

    pair.call(OFFER);
    let theirs = pair.right.session();
    pair.right.endpoint.bye(pair.now, theirs, Headers::new());
    pair.run_out();
    assert_eq!(pair.left.heard(), ["Failed 603 Response"]);
    pair.assert_empty();
}
