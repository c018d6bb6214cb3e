//! Carriers charge extra for calls that end too soon: `connection-enforce-minimum-duration-enabled` keeps the
//! answered leg to them up to `minimum-call-duration-seconds`.
//!
//! The caller's BYE is answered at once and its place is free. The called side hears silence and gets its BYE when
//! the time is full; its place stays taken until then. Whoever ends the leg earlier, ends it: the called side, a
//! shutdown, a dead session.

use super::hangup::{self, Release, Said};
use super::{Call, CallTimer, CallWake};
use crate::core::Core;
use crate::directory::Connection;
use crate::trail::Trail;
use model::cdr::ReleaseSide;
use std::time::Duration;

/// Seconds a leg is kept where the record asks for it without saying how long.
const USUAL_SECONDS: u32 = 6;

/// Seconds a leg is kept at the most, whatever the record says.
const MAX_SECONDS: u32 = 60;

/// A call whose caller has left: how it will have ended.
#[derive(Debug)]
pub(crate) struct Kept {
    release: Release,
    said: Said,
}

keep::keep!(struct Kept { release, said });

/// How long legs to this connection last at least, if that is enforced.
fn least_seconds(target: &Connection) -> Option<u32> {
    let record = &target.record;
    record.connection_enforce_minimum_duration_enabled.then(|| {
        match record.minimum_call_duration_seconds {
            0 => USUAL_SECONDS,
            seconds => seconds.min(MAX_SECONDS),
        }
    })
}

/// Keeps the called leg of a call that its caller ended too early. True when it is kept: then the call is not
/// released yet.
pub(super) fn keep(core: &mut Core, call: &mut Call, release: &Release, said: &Said) -> bool {
    let (Some(seconds), Some(answered_ms), None) = (
        least_seconds(&call.plan.target),
        call.times.answered_ms,
        &call.kept,
    ) else {
        return false;
    };
    let missing_ms = answered_ms + i64::from(seconds) * 1000 - call.times.at(core.clock);
    let Some(missing_ms) = u64::try_from(missing_ms).ok().filter(|ms| *ms > 0) else {
        return false;
    };
    if release.side != ReleaseSide::Orig || call.b.session.is_none() || call.a.session.is_some() {
        return false;
    }
    call.trail
        .step("minimum duration", Some(call.plan.target.label()), || {
            format!("the called leg is kept until second {seconds}")
        });
    call.kept = Some(Kept {
        release: release.clone(),
        said: said.clone(),
    });
    call.places.caller = None;
    call.media.silence_called_side(core);
    core.wake(CallWake {
        at: core.clock.now + Duration::from_millis(missing_ms),
        call: call.key,
        timer: CallTimer::MinimumDuration,
    });
    true
}

/// Goes on with a leg that an earlier process has kept.
pub(crate) fn resume(core: &mut Core, call: &Call) {
    if call.kept.is_none() {
        return;
    }
    let seconds = least_seconds(&call.plan.target).unwrap_or(USUAL_SECONDS);
    let full_ms = call.times.answered_ms.unwrap_or_default() + i64::from(seconds) * 1000;
    let missing_ms = u64::try_from(full_ms - call.times.at(core.clock)).unwrap_or_default();
    let missing_ms = missing_ms.min(u64::from(seconds) * 1000);
    core.wake(CallWake {
        at: core.clock.now + Duration::from_millis(missing_ms),
        call: call.key,
        timer: CallTimer::MinimumDuration,
    });
}

/// What a kept call ended with, once it ends for good.
pub(super) fn ended_with(call: &mut Call) -> Option<(Release, Said)> {
    call.kept.take().map(|kept| (kept.release, kept.said))
}

/// The time is full.
pub(crate) fn on_full(core: &mut Core, call: &mut Call) {
    if call.kept.is_some() {
        let release = Release::by_switch(487, "Minimum duration");
        hangup::release(core, call, release, Said::Nothing);
    }
}

/// Notes in the trail what the record asks.
pub(super) fn note(target: &Connection, trail: &mut Trail) {
    let billed = target.record.minimum_call_duration_seconds;
    let text = match least_seconds(target) {
        Some(seconds) => format!("an answered leg is kept for at least {seconds} s"),
        None if billed > 0 => format!("an answered leg is billed for at least {billed} s"),
        None => return,
    };
    trail.step("minimum duration", Some(target.label()), || text);
}
