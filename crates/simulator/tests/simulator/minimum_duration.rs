//! Called legs that outlast their caller.

use crate::wire::{CARRIER, PBX, Wire};
use model::ReleaseSide;

#[test]
fn a_short_call_keeps_its_called_leg_until_the_minimum() {
    let mut wire = Wire::new(|_, carrier| {
        carrier.connection_enforce_minimum_duration_enabled = true;
        carrier.minimum_call_duration_seconds = 10;
        carrier.limits_max_active_calls_term = 1;
    });
    let (invite, ok) = wire.talk("", "");
    wire.wait(1_000);
    wire.ask(&ok, "BYE", "");
    assert_eq!(
        wire.got(PBX, "200").len(),
        2,
        "the caller's BYE is answered at once"
    );
    wire.wait(6_000);
    assert!(wire.got(CARRIER, "BYE").is_empty());
    assert_eq!(
        wire.world.stats()[0].calls,
        1,
        "and its place is still taken"
    );
    wire.wait(4_000);
    let bye = wire.got(CARRIER, "BYE").remove(0);
    assert_eq!(bye.call_id(), invite.call_id());
    wire.answer(&bye, 200, "", false);
    wire.wait(6_000);
    let cdr = wire.cdr();
    assert_eq!(
        (cdr.release_side, cdr.release_text.as_str()),
        (ReleaseSide::Orig, "Orig: Bye")
    );
    assert!(
        (9_900..10_500).contains(&cdr.talk_ms()),
        "{}",
        cdr.talk_ms()
    );
}

#[test]
fn the_called_side_may_leave_when_it_likes() {
    let mut wire =
        Wire::new(|_, carrier| carrier.connection_enforce_minimum_duration_enabled = true);
    let (invite, ok) = wire.talk("", "");
    wire.ask(&ok, "BYE", "");
    wire.wait(1_000);
    wire.carrier_asks(&invite, "BYE", 1);
    wire.wait(6_000);
    assert!(wire.got(CARRIER, "BYE").is_empty());
    assert_eq!(wire.cdr().release_text, "Orig: Bye");

    let mut wire =
        Wire::new(|_, carrier| carrier.connection_enforce_minimum_duration_enabled = true);
    let (invite, _) = wire.talk("", "");
    wire.carrier_asks(&invite, "BYE", 1);
    assert_eq!(
        wire.got(PBX, "BYE").len(),
        1,
        "nothing is held for a peer that left"
    );
}

#[test]
fn six_seconds_where_no_number_says_otherwise_and_none_where_it_is_off() {
    let mut wire =
        Wire::new(|_, carrier| carrier.connection_enforce_minimum_duration_enabled = true);
    let (_, ok) = wire.talk("", "");
    wire.ask(&ok, "BYE", "");
    wire.wait(4_500);
    assert!(wire.got(CARRIER, "BYE").is_empty());
    wire.wait(1_500);
    assert_eq!(wire.got(CARRIER, "BYE").len(), 1);

    let mut wire = Wire::new(|_, carrier| carrier.minimum_call_duration_seconds = 30);
    let (_, ok) = wire.talk("", "");
    wire.ask(&ok, "BYE", "");
    assert_eq!(wire.got(CARRIER, "BYE").len(), 1);
    let bye = wire.got(CARRIER, "BYE").remove(0);
    wire.answer(&bye, 200, "", false);
    wire.wait(6_000);
    assert_eq!(wire.cdr().billable_ms(), 30_000, "it is only billed");
}
