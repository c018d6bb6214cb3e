//! A wall clock that somebody sets while calls are up.

use crate::wire::{CARRIER, Wire};

const YEAR_MS: i64 = 365 * 86_400 * 1_000;

#[test]
fn a_clock_that_is_set_changes_no_duration() {
    for step_ms in [YEAR_MS, -YEAR_MS, 3_600_000, -3_600_000] {
        let mut wire = Wire::new(|_, _| {});
        let (_, ok) = wire.talk("", "");
        wire.wait(2_000);
        wire.world.set_clock(step_ms);
        wire.wait(3_000);
        wire.ask(&ok, "BYE", "");
        let bye = wire.got(CARRIER, "BYE").remove(0);
        wire.answer(&bye, 200, "", false);
        wire.wait(6_000);
        let cdr = wire.cdr();
        assert!(
            (5_000..5_500).contains(&cdr.talk_ms()),
            "{step_ms}: {}",
            cdr.talk_ms()
        );
        assert!((5_000..6_500).contains(&(cdr.ended_ms - cdr.started_ms)));
    }
}

#[test]
fn a_clock_that_is_set_does_not_shorten_or_lengthen_a_minimum_duration() {
    for step_ms in [YEAR_MS, -YEAR_MS] {
        let mut wire = Wire::new(|_, carrier| {
            carrier.connection_enforce_minimum_duration_enabled = true;
            carrier.minimum_call_duration_seconds = 10;
        });
        let (_, ok) = wire.talk("", "");
        wire.wait(2_000);
        wire.world.set_clock(step_ms);
        wire.ask(&ok, "BYE", "");
        wire.wait(6_000);
        assert!(wire.got(CARRIER, "BYE").is_empty(), "{step_ms}");
        wire.wait(3_000);
        assert_eq!(wire.got(CARRIER, "BYE").len(), 1, "{step_ms}");
    }
}
