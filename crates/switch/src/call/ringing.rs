//! What a caller hears before the answer.
//!
//! Three fields decide it, of the connection that is called and, towards itself, of the one that calls:
//!
//! | field | effect |
//! |---|---|
//! | `connection-hide-post-dial-delay-with-ringback-enabled` | 180 goes to the caller with our INVITE, not with the called side's ringing |
//! | `connection-remote-ringback-handling` | the called side's 18x pass, pass without early media, or do not pass |
//! | `connection-block-media-in-sip-180-ringing` | a 180 carries no description; one that must not be lost moves to a 183 |
//!
//! A description that the caller is not given is kept for the 200. Media are withheld in the relay too, so that a
//! called side that plays something cannot be heard before its time.
//!
//! A caller that has no description makes its own tone when it is told 180. One that has is listening to us, and may hear
//! nothing: the called side rings on without media after it had some, or it promised media that are long in coming. Such
//! a caller hears a ringing tone of ours wherever the called side is silent:
//!
//! | the caller has a description, and | tone of ours |
//! |---|---|
//! | the called side answers 180 without one | yes: it says that it rings, and that it plays nothing |
//! | `connection-hide-post-dial-delay-with-ringback-enabled` | yes: between the INVITE and the answer nobody hears silence |
//! | neither | no: who answers 183, or 180 with a description, plays what is to be heard |
//!
//! Never is a description sent for the tone's sake. It would bind the caller to codecs that the called side may not have,
//! for an answer in a provisional response cannot be taken back in the 200 (RFC 3261 §13.2.1), and it would end the search
//! for a connection that works: a caller that listens is not moved to another.

use super::Call;
use super::media::{self, Body};
use crate::core::Core;
use crate::directory::Connection;
use crate::trail::Trail;
use ::media::relay::Side;
use ::media::ringing_tones::RingingTone;
use bytes::Bytes;
use model::RemoteRingback;
use sip::message::Headers;

/// What two records make of ringing, taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    /// 180 at once.
    ring_at_once: bool,
    handling: RemoteRingback,
    /// No description in a 180.
    bare_180: bool,
}

/// A provisional response for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Provisional {
    status: u16,
    with_media: bool,
}

impl Rules {
    fn of(source: &Connection, target: &Connection) -> Self {
        let (source, target) = (&source.record, &target.record);
        let handlings = [
            source.connection_remote_ringback_handling,
            target.connection_remote_ringback_handling,
        ];
        let strictest = [RemoteRingback::NoRingback, RemoteRingback::LocalOnly]
            .into_iter()
            .find(|handling| handlings.contains(handling));
        Self {
            ring_at_once: source.connection_hide_post_dial_delay_with_ringback_enabled
                || target.connection_hide_post_dial_delay_with_ringback_enabled,
            handling: strictest.unwrap_or(RemoteRingback::Allowed),
            bare_180: source.connection_block_media_in_sip_180_ringing
                || target.connection_block_media_in_sip_180_ringing,
        }
    }

    fn of_call(call: &Call) -> Self {
        Self::of(&call.failover.origin().0, &call.plan.target)
    }

    /// Whether nothing of the called side may be heard before the answer.
    fn withholds(self) -> bool {
        self.handling != RemoteRingback::Allowed
    }

    /// Whether a caller that has a description is to hear a tone of ours, now that the called side answered this.
    fn wants_tone(self, status: u16, has_media: bool) -> bool {
        self.handling == RemoteRingback::Allowed
            && (self.ring_at_once || status == 180 && !has_media)
    }

    /// What the caller gets for a provisional response. `needed`: its description must reach the caller, for it is
    /// an offer that a PRACK has to answer. `reliable`: the called side insists on 100rel.
    fn shape(self, status: u16, has_media: bool, needed: bool, reliable: bool) -> Vec<Provisional> {
        let provisional = |status, with_media| Provisional { status, with_media };
        if needed {
            let status = if self.bare_180 || self.withholds() {
                183
            } else {
                status
            };
            return vec![provisional(status, true)];
        }
        match self.handling {
            RemoteRingback::NoRingback => Vec::new(),
            // Progress without media tells nobody anything: the caller's own tone needs a 180.
            RemoteRingback::LocalOnly if has_media => vec![provisional(180, false)],
            RemoteRingback::Allowed if self.bare_180 && status == 180 && has_media => {
                if reliable {
                    vec![provisional(183, true), provisional(180, false)]
                } else {
                    vec![provisional(180, false)]
                }
            }
            _ => vec![provisional(status, has_media)],
        }
    }
}

/// Our INVITE is out.
pub(super) fn on_called_out(core: &mut Core, call: &mut Call) {
    let rules = Rules::of_call(call);
    if rules.withholds() {
        call.media.withhold_early_media(core);
    }
    if rules.ring_at_once
        && rules.handling != RemoteRingback::NoRingback
        && let Some(caller) = call.session(Side::A)
    {
        let now = core.clock.now;
        core.endpoint
            .progress(now, caller, 180, Headers::new(), Bytes::new(), false);
    }
}

/// Passes a provisional response of the called side on, as far as it may be. `body` is what the caller would get.
pub(super) fn pass_on(
    core: &mut Core,
    call: &mut Call,
    status: u16,
    headers: &Headers,
    body: Body,
    reliable: bool,
) {
    let Some(caller) = call.session(Side::A) else {
        return;
    };
    let rules = Rules::of_call(call);
    let has_media = body.sdp().is_some();
    let caller_offered = call
        .invite
        .as_deref()
        .is_none_or(|invite| Body::of(invite).sdp().is_some());
    let needed = has_media && reliable && !caller_offered;
    let shaped = rules.shape(status, has_media, needed, reliable);
    let told = shaped.iter().any(|provisional| provisional.with_media);
    if rules.withholds() && !needed {
        // Passing the answer to the relay let it send to the caller again.
        call.media.withhold_early_media(core);
    }
    let acknowledged = told && reliable && call.caller_takes_reliable();
    call.media.note_early_answer(&body, acknowledged);
    call.failover.heard |= told;
    for Provisional { status, with_media } in shaped {
        let bytes = if with_media {
            body.bytes.clone()
        } else {
            Bytes::new()
        };
        let now = core.clock.now;
        core.endpoint
            .progress(now, caller, status, headers.clone(), bytes, reliable);
    }
    if call.failover.heard && rules.wants_tone(status, has_media) && call.media.ring(core) {
        let tone = core.config.ringback.map(ToString::to_string);
        call.trail.step("ringing", None, || {
            let tone = tone.unwrap_or_default();
            format!("the caller hears our tone ({tone}) where the called side is silent")
        });
    }
}

/// The called side answered: what was withheld is heard from now on.
pub(super) fn on_answered(core: &mut Core, call: &mut Call) {
    if Rules::of_call(call).withholds() {
        call.media.admit_caller(core);
    }
}

/// Notes in the trail what the caller is going to hear. Calls between records that ask for nothing say it in explanations
/// only.
pub(crate) fn note(
    source: &Connection,
    target: &Connection,
    tone: Option<&RingingTone>,
    trail: &mut Trail,
) {
    let rules = Rules::of(source, target);
    let mut words = Vec::new();
    if rules.ring_at_once && rules.handling != RemoteRingback::NoRingback {
        words.push("180 goes back at once".to_owned());
    }
    let asks_nothing = rules.handling == RemoteRingback::Allowed && !rules.ring_at_once;
    match rules.handling {
        RemoteRingback::Allowed if asks_nothing && !trail.with_losers() => {}
        RemoteRingback::Allowed => {
            words.push("early media are heard".to_owned());
            let tone = tone.map(|tone| format!("our tone ({tone})"));
            words.push(match tone {
                None => "no tone of ours, for ringback_country is off".to_owned(),
                Some(_) if !media::may_be_relayed(source, target) => {
                    "no tone of ours, for media never pass the relay".to_owned()
                }
                Some(tone) if rules.ring_at_once => format!("{tone} wherever they are silent"),
                Some(tone) => format!("{tone} where a 180 without media follows them"),
            });
        }
        RemoteRingback::LocalOnly => {
            words.push("early media are withheld, the caller makes its tone".to_owned());
        }
        RemoteRingback::NoRingback => {
            words.push("nothing is passed on before the answer".to_owned())
        }
    }
    if rules.bare_180 {
        words.push("a 180 carries no description".to_owned());
    }
    if !words.is_empty() {
        trail.step("ringing", None, || words.join("; "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_for_who_would_hear_silence() {
        let wants = |ring_at_once, handling, status, media| {
            let rules = Rules {
                ring_at_once,
                handling,
                bare_180: false,
            };
            rules.wants_tone(status, media)
        };
        let allowed = RemoteRingback::Allowed;
        assert!(wants(false, allowed, 180, false));
        assert!(!wants(false, allowed, 180, true));
        assert!(!wants(false, allowed, 183, false));
        assert!(!wants(false, allowed, 183, true));
        assert!(wants(true, allowed, 183, true));
        for handling in [RemoteRingback::LocalOnly, RemoteRingback::NoRingback] {
            assert!(!wants(true, handling, 180, false));
        }
    }

    #[test]
    fn provisionals_are_shaped_as_the_table_says() {
        let rules = |handling, bare_180| Rules {
            ring_at_once: false,
            handling,
            bare_180,
        };
        let shaped = |rules: Rules, status, media, needed, reliable| -> Vec<(u16, bool)> {
            rules
                .shape(status, media, needed, reliable)
                .into_iter()
                .map(|one| (one.status, one.with_media))
                .collect()
        };
        let allowed = rules(RemoteRingback::Allowed, false);
        assert_eq!(shaped(allowed, 180, true, false, false), [(180, true)]);
        assert_eq!(shaped(allowed, 183, true, false, false), [(183, true)]);
        let bare = rules(RemoteRingback::Allowed, true);
        assert_eq!(shaped(bare, 180, true, false, false), [(180, false)]);
        assert_eq!(shaped(bare, 183, true, false, false), [(183, true)]);
        let moved = [(183, true), (180, false)];
        assert_eq!(shaped(bare, 180, true, false, true), moved);
        let local = rules(RemoteRingback::LocalOnly, false);
        assert_eq!(shaped(local, 183, true, false, false), [(180, false)]);
        assert_eq!(shaped(local, 181, false, false, false), [(181, false)]);
        assert_eq!(shaped(local, 183, true, true, true), [(183, true)]);
        let none = rules(RemoteRingback::NoRingback, true);
        assert_eq!(shaped(none, 180, false, false, false), []);
        assert_eq!(shaped(none, 180, true, true, true), [(183, true)]);
    }
}
