//! A call at rest: answered, and nothing happens to it.
//!
//! That is most of a call's life, and most of the calls that there are. What such a call is made of, dozens of texts that
//! only its record will need, is then one piece of bytes, in the form in which things outlive the process. Values that
//! lose something in that form, or that others have a part in, are put aside as they are.

use super::failover::Failover;
use super::identity::Speaker;
use super::kept::{self, Mark};
use super::media::{CallMedia, Recorded};
use super::recording::Recording;
use super::{Call, CallKey, Leg, Stage, Times};
use crate::core::Core;
use crate::directory::Connection;
use crate::limits::Places;
use crate::plan::Candidate;
use keep::{Base, Damaged, Keep, Reader, Writer};
use sip::event::SessionId;
use std::sync::Arc;

/// A call at rest.
#[derive(Debug)]
pub(crate) struct Resting {
    pub(crate) key: CallKey,
    form: Box<[u8]>,
    sessions: [SessionId; 2],
    /// The connections that it came from and went to, with the records of that time.
    source: Arc<Connection>,
    target: Arc<Connection>,
    places: Places,
    times: Times,
    recording: Option<Box<Recording>>,
    recorded: Option<Recorded>,
    speakers: [Option<Box<Speaker>>; 2],
    mark: Mark,
}

impl Call {
    /// Both sessions of a call that waits for nothing.
    fn sessions_at_rest(&self) -> Option<[SessionId; 2]> {
        let idle = self.stage == Stage::Answered
            && self.release.is_none()
            && self.kept.is_none()
            && self.leaving.is_empty()
            && self.invite.is_none()
            && self.a.offering.is_none()
            && self.b.offering.is_none()
            && self.media.may_rest();
        let sessions = self.a.session.zip(self.b.session);
        sessions.filter(|_| idle).map(|(a, b)| [a, b])
    }

    /// Lays the call and its sessions to rest. `None` when something is under way; then it stays as it is.
    pub(crate) fn rest(&mut self, core: &mut Core, out: &mut Writer) -> Option<Resting> {
        let sessions = self.sessions_at_rest()?;
        for session in sessions {
            if !core.endpoint.rest(core.clock.now, session) {
                return None;
            }
        }
        let Self {
            key,
            id,
            stage: _,
            plan,
            failover,
            domain,
            a,
            b,
            media,
            invite: _,
            trail,
            dial_rule,
            places,
            times,
            release: _,
            recording,
            kept: _,
            leaving: _,
            mark,
        } = self;
        out.clear();
        id.keep(out);
        domain.keep(out);
        kept::keep_record(&a.record, out);
        kept::keep_record(&b.record, out);
        dial_rule.keep(out);
        trail.keep(out);
        plan.keep_words(out);
        failover.keep_settled(out);
        let recorded = media.rest(core, out);
        Some(Resting {
            key: *key,
            form: out.bytes().into(),
            sessions,
            source: failover.origin().0,
            target: Arc::clone(&plan.target),
            places: std::mem::take(places),
            times: *times,
            recording: recording.take(),
            recorded,
            speakers: [a.speaker.take(), b.speaker.take()],
            mark: *mark,
        })
    }
}

impl Resting {
    /// The call as it was. Its sessions wake by themselves.
    pub(crate) fn wake(&mut self, core: &mut Core, base: Base) -> Result<Call, Damaged> {
        let Self {
            key,
            form,
            sessions: [a, b],
            source,
            target,
            places,
            times,
            recording,
            recorded,
            speakers: [speaker_a, speaker_b],
            mark,
        } = self;
        let input = &mut Reader::new(form, base);
        let id = Keep::kept(input)?;
        let domain = Keep::kept(input)?;
        let leg = |session: &SessionId, record, speaker: &mut Option<_>| Leg {
            session: Some(*session),
            record,
            offering: None,
            speaker: speaker.take(),
        };
        Ok(Call {
            key: *key,
            id,
            domain,
            a: leg(a, kept::kept_record(input)?, speaker_a),
            b: leg(b, kept::kept_record(input)?, speaker_b),
            dial_rule: Keep::kept(input)?,
            trail: Keep::kept(input)?,
            plan: Candidate::kept_words(Arc::clone(target), input)?,
            failover: Failover::kept_settled(Arc::clone(source), input)?,
            media: CallMedia::wake(input, core, *key, *recorded)?,
            stage: Stage::Answered,
            invite: None,
            places: std::mem::take(places),
            times: *times,
            release: None,
            recording: recording.take(),
            kept: None,
            leaving: Vec::new(),
            mark: *mark,
        })
    }
}
