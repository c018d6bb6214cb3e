//! What outlives the process of a call: the record that is due for it, the two sessions, and what their joining needs.
//!
//! An entry of the journal has the record in front, so that a call whose entry is damaged further on, or of a form that
//! is not known any more, still has one.

use super::failover::Failover;
use super::hangup::{self, Release, Said};
use super::identity::Speaker;
use super::media::KeptMedia;
use super::minimum_duration::{self, Kept as LeftAlone};
use super::offers::Offering;
use super::recording::{self, Recording};
use super::{Call, CallKey, CallTimer, CallWake, Leg, MAX_RING_SECONDS, Stage, Times};
use crate::core::Core;
use crate::limits::Places;
use crate::plan::Candidate;
use crate::trail::Trail;
use ::media::dtls::Fingerprint;
use ::media::relay::{RelayId, Side};
use keep::{Damaged, Keep, Reader, Writer};
use model::cdr::CdrLeg;
use sip::auth::Credentials;
use sip::endpoint::Kept as KeptSession;
use std::sync::Arc;
use std::time::Duration;

/// The form of entries. One of another form is not read; see [`Unreadable`].
const VERSION: u8 = 1;

/// What the journal has of a call.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mark {
    /// Of the entry that was written last; zero while there is none.
    fingerprint: u64,
    /// That entry says that the call is over, which no later one changes.
    over: bool,
}

impl Mark {
    /// Whether the journal knows the call.
    pub(crate) fn is_kept(self) -> bool {
        self.fingerprint != 0
    }
}

impl Call {
    /// Writes the call, if the journal does not have it like this already. False when nothing has to be written.
    pub(crate) fn note(&mut self, core: &Core, out: &mut Writer) -> bool {
        // A relay that is being opened is open before anything is sent.
        if self.mark.over || self.stage == Stage::Preparing || self.media.is_waiting() {
            return false;
        }
        out.clear();
        self.keep(core, out);
        let fingerprint = fingerprint(out.bytes());
        self.mark.over = self.stage == Stage::Released;
        std::mem::replace(&mut self.mark.fingerprint, fingerprint) != fingerprint
    }

    fn keep(&self, core: &Core, out: &mut Writer) {
        let Self {
            key: _,
            id,
            stage,
            plan,
            failover,
            domain,
            a,
            b,
            media,
            // Of the session that it opened.
            invite: _,
            trail,
            dial_rule,
            // Taken anew.
            places: _,
            times,
            release,
            recording,
            kept,
            leaving,
            mark: _,
        } = self;
        out.byte(VERSION);
        id.keep(out);
        domain.keep(out);
        times.keep(out);
        keep_record(&a.record, out);
        keep_record(&b.record, out);
        dial_rule.keep(out);
        trail.keep(out);
        release.keep(out);
        plan.target.record.minimum_call_duration_seconds.keep(out);
        recording.keep(out);
        out.number(leaving.len() as u64);
        for session in leaving {
            core.endpoint.keep(*session, out);
        }
        stage.keep(out);
        if *stage == Stage::Released {
            return;
        }
        media.ends_with_process().keep(out);
        plan.keep(out);
        failover.keep(out);
        kept.keep(out);
        for leg in [a, b] {
            leg.keep(core, out);
        }
        media.keep(core, out);
    }
}

impl Leg {
    fn keep(&self, core: &Core, out: &mut Writer) {
        let Self {
            session,
            record: _,
            offering,
            speaker,
        } = self;
        match session {
            Some(session) => {
                out.byte(1);
                core.endpoint.keep(*session, out);
            }
            None => out.byte(0),
        }
        offering.keep(out);
        speaker.keep(out);
    }
}

/// A call as it is read from its entry.
pub(crate) struct KeptCall {
    record: Record,
    leaving: Vec<KeptSession>,
    /// `None` when the call was over.
    living: Option<Box<Living>>,
}

/// What the record of a call needs.
pub(crate) struct Record {
    id: String,
    domain: String,
    times: Times,
    legs: [CdrLeg; 2],
    dial_rule: Option<String>,
    trail: Trail,
    release: Option<Release>,
    minimum_seconds: u32,
    recording: Option<Box<Recording>>,
}

/// A call that was not over.
struct Living {
    stage: Stage,
    /// Why it ends now, if it does.
    doomed: Option<&'static str>,
    plan: Candidate,
    failover: Failover,
    kept: Option<LeftAlone>,
    legs: [KeptLeg; 2],
    media: KeptMedia,
}

struct KeptLeg {
    session: Option<KeptSession>,
    offering: Option<Offering>,
    speaker: Option<Box<Speaker>>,
}

keep::keep!(struct KeptLeg { session, offering, speaker });

/// An entry that cannot be read in full.
pub(crate) struct Unreadable {
    /// Why.
    pub(crate) why: Damaged,
    /// What can be.
    pub(crate) record: Option<Box<Record>>,
}

impl KeptCall {
    /// Reads an entry; `ours` names our certificate.
    pub(crate) fn read(
        input: &mut Reader<'_>,
        key: CallKey,
        ours: Fingerprint,
    ) -> Result<Self, Unreadable> {
        let without = |why| Unreadable { why, record: None };
        match input.byte().map_err(without)? {
            VERSION => {}
            _ => return Err(without(Damaged::Value("version"))),
        }
        let record = Record::read(input).map_err(without)?;
        match Self::read_rest(input, key, ours) {
            Ok((leaving, living)) => Ok(Self {
                record,
                leaving,
                living,
            }),
            Err(why) => Err(Unreadable {
                why,
                record: Some(Box::new(record)),
            }),
        }
    }

    fn read_rest(
        input: &mut Reader<'_>,
        key: CallKey,
        ours: Fingerprint,
    ) -> Result<(Vec<KeptSession>, Option<Box<Living>>), Damaged> {
        let leaving = Vec::kept(input)?;
        let stage = Stage::kept(input)?;
        if stage == Stage::Released {
            return Ok((leaving, None));
        }
        let doomed = bool::kept(input)?;
        let living = Living {
            stage,
            doomed: doomed.then_some("media sealed by DTLS-SRTP end with the process"),
            plan: Keep::kept(input)?,
            failover: Keep::kept(input)?,
            kept: Keep::kept(input)?,
            legs: Keep::kept(input)?,
            media: KeptMedia::kept(input, key, ours)?,
        };
        Ok((leaving, Some(Box::new(living))))
    }

    /// Relays that it had.
    pub(crate) fn relays(&self) -> impl Iterator<Item = RelayId> {
        let living = self.living.as_deref();
        living.into_iter().flat_map(|living| living.media.relays())
    }

    /// Goes on with the call, or ends it. True when it goes on.
    pub(crate) fn resume(self, core: &mut Core, key: CallKey) -> (Option<Call>, Option<Ended>) {
        let Self {
            record,
            leaving,
            living,
        } = self;
        let now = core.clock.now;
        let leaving: Vec<_> = leaving
            .into_iter()
            .filter_map(|kept| core.endpoint.adopt(now, kept, None))
            .collect();
        match living {
            None => (None, Some(Ended { record, leaving })),
            Some(living) => {
                let call = living.resume(core, key, record, leaving);
                (Some(call), None)
            }
        }
    }
}

/// A call that was over, and may not have been heard to be.
pub(crate) struct Ended {
    pub(crate) record: Record,
    pub(crate) leaving: Vec<sip::event::SessionId>,
}

impl Living {
    fn resume(
        self,
        core: &mut Core,
        key: CallKey,
        record: Record,
        leaving: Vec<sip::event::SessionId>,
    ) -> Call {
        let Self {
            stage,
            mut doomed,
            mut plan,
            mut failover,
            kept,
            legs,
            media,
        } = self;
        plan.look_up(&core.directory);
        failover.look_up(&core.directory);
        let (source, _) = failover.origin();
        let own = core.config.sip.owner;
        let sessions = legs.iter().filter_map(|leg| leg.session.as_ref());
        if sessions.filter_map(KeptSession::owner).any(|it| it != own) {
            doomed = Some("its shard is no more");
        }
        let needs_caller = kept.is_none();
        let present = legs.each_ref().map(|leg| leg.session.is_some());
        if !present[1] || (needs_caller && !present[0]) {
            doomed = Some("a side of it was lost");
        }
        let [a, b] = legs;
        let invite = a.session.as_ref().and_then(|kept| kept.invite().cloned());
        let record_of_target = &plan.target.record;
        let credentials = record_of_target
            .connection_sip_authenticate_as_client_enabled
            .then(|| plan.target.credentials());
        let [orig, term] = record.legs;
        let mut call = Call {
            key,
            id: record.id,
            stage,
            a: a.resume(core, key, Side::A, orig, None),
            b: b.resume(core, key, Side::B, term, credentials),
            media: match doomed {
                Some(_) => media.without_relays(),
                None => media.resume(core),
            },
            invite: invite.filter(|_| stage == Stage::Calling).map(Box::new),
            domain: record.domain,
            trail: record.trail,
            dial_rule: record.dial_rule,
            places: Places::default(),
            times: record.times,
            release: None,
            recording: record.recording,
            kept,
            leaving,
            mark: Mark::default(),
            plan,
            failover,
        };
        // The journal knows it, whatever becomes of it.
        call.mark.fingerprint = 1;
        call.count(core, &source);
        call.trail.step("restart", None, || match doomed {
            Some(why) => format!("the call cannot go on: {why}"),
            None => "the call went on".to_owned(),
        });
        match doomed {
            Some(why) => {
                recording::break_off(&mut call);
                let release = Release::by_switch(503, format!("Restart: {why}"));
                hangup::release(core, &mut call, release, Said::Nothing);
            }
            None => call.go_on(core),
        }
        call
    }
}

impl KeptLeg {
    fn resume(
        self,
        core: &mut Core,
        key: CallKey,
        side: Side,
        record: CdrLeg,
        credentials: Option<Arc<Credentials>>,
    ) -> Leg {
        let now = core.clock.now;
        let kept = self.session;
        let session = kept.and_then(|kept| core.endpoint.adopt(now, kept, credentials));
        if let Some(session) = session {
            core.own(session, key, side);
        }
        Leg {
            session,
            record,
            offering: self.offering,
            speaker: self.speaker,
        }
    }
}

impl Call {
    /// Takes its places again, whatever the limits are now.
    fn count(&mut self, core: &Core, source: &Arc<crate::directory::Connection>) {
        let part = core.directory.part(&self.domain);
        self.places = Places::resume(
            self.kept.is_none().then_some(source),
            part.map(|part| (part.as_ref(), source.as_ref())),
            &self.plan.target,
            core.clock.unix_ms,
            self.plan.emergency,
        );
    }

    fn go_on(&mut self, core: &mut Core) {
        recording::resume(core, self);
        minimum_duration::resume(core, self);
        if self.stage == Stage::Calling {
            let rung = core
                .clock
                .now
                .saturating_duration_since(self.times.started.now);
            core.wake(CallWake {
                at: core.clock.now + Duration::from_secs(MAX_RING_SECONDS).saturating_sub(rung),
                call: self.key,
                timer: CallTimer::Ring,
            });
        }
    }
}

impl Record {
    fn read(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            id: Keep::kept(input)?,
            domain: Keep::kept(input)?,
            times: Keep::kept(input)?,
            legs: [kept_record(input)?, kept_record(input)?],
            dial_rule: Keep::kept(input)?,
            trail: Keep::kept(input)?,
            release: Keep::kept(input)?,
            minimum_seconds: Keep::kept(input)?,
            recording: Keep::kept(input)?,
        })
    }

    /// The call record of a call of which nothing else is left.
    pub(crate) fn into_cdr(self, unix_ms: i64) -> model::Cdr {
        let Self {
            id,
            domain,
            times,
            legs: [orig, term],
            dial_rule,
            trail,
            release,
            minimum_seconds,
            recording,
        } = self;
        let recording = recording.map(|mut recording| {
            recording.break_off();
            recording::cdr(*recording)
        });
        let release = release.unwrap_or_else(|| {
            let mut lost = Release::by_switch(500, "Restart: the journal of the call is damaged");
            lost.end(unix_ms, times.answered_ms.is_some());
            lost
        });
        hangup::record(hangup::Ended {
            id,
            domain,
            times,
            orig,
            term,
            dial_rule,
            trail,
            release,
            minimum_seconds,
            media: None,
            recording,
        })
    }
}

pub(super) fn keep_record(record: &CdrLeg, out: &mut Writer) {
    let CdrLeg {
        connection_domain,
        connection_orig_match_pattern,
        billing_user,
        call_id,
        remote,
        transport,
        from_uri,
        from_name,
        to_uri,
        request_uri,
    } = record;
    connection_domain.keep(out);
    connection_orig_match_pattern.keep(out);
    billing_user.keep(out);
    call_id.keep(out);
    remote.keep(out);
    transport.keep(out);
    from_uri.keep(out);
    from_name.keep(out);
    to_uri.keep(out);
    request_uri.keep(out);
}

pub(super) fn kept_record(input: &mut Reader<'_>) -> Result<CdrLeg, Damaged> {
    Ok(CdrLeg {
        connection_domain: Keep::kept(input)?,
        connection_orig_match_pattern: Keep::kept(input)?,
        billing_user: Keep::kept(input)?,
        call_id: Keep::kept(input)?,
        remote: Keep::kept(input)?,
        transport: Keep::kept(input)?,
        from_uri: Keep::kept(input)?,
        from_name: Keep::kept(input)?,
        to_uri: Keep::kept(input)?,
        request_uri: Keep::kept(input)?,
    })
}

/// Tells entries apart; never zero. Two that differ have the same one as good as never.
fn fingerprint(bytes: &[u8]) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let fold = |state: u64, word: u64| {
        let product = u128::from(state ^ word) * u128::from(MIX);
        (product as u64) ^ ((product >> 64) as u64)
    };
    // Each word waits for the one before it, so four rows are folded beside each other.
    let mut rows = [0, 1, 2, 3].map(|row| fold(MIX ^ bytes.len() as u64, row));
    let (words, last) = bytes.as_chunks::<8>();
    let (blocks, rest) = words.as_chunks::<4>();
    for block in blocks {
        let [a, b, c, d] = block.map(u64::from_le_bytes);
        let [row_a, row_b, row_c, row_d] = rows;
        rows = [
            fold(row_a, a),
            fold(row_b, b),
            fold(row_c, c),
            fold(row_d, d),
        ];
    }
    let mut padded = [0; 8];
    padded[..last.len()].copy_from_slice(last);
    let rest = rest
        .iter()
        .chain([&padded])
        .map(|word| u64::from_le_bytes(*word));
    rows.into_iter().chain(rest).fold(MIX, fold).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_one_length_are_told_apart_by_each_byte() {
        let entry = vec![7_u8; 125];
        let of_entry = fingerprint(&entry);
        for at in 0..entry.len() {
            let mut other = entry.clone();
            other[at] ^= 1;
            assert_ne!(fingerprint(&other), of_entry, "byte {at}");
        }
        assert_ne!(fingerprint(&entry[1..]), of_entry);
    }
}
