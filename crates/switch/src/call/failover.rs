//! The connections that may get a call, tried one after the other.
//!
//! Which failures lead to the next one is said by [`crate::routing::routes::continuation`]; here the next one is
//! found, its place is taken, and it is called.

use super::hangup::{self, Release, Said};
use super::media::{Body, OfferOutcome};
use super::{Call, Leg, Stage, setup, terms};
use crate::core::Core;
use crate::directory::{Connection, Directory};
use crate::limits::{DomainPlace, Reservation};
use crate::pings;
use crate::plan::{Candidate, Plan, keep_connection, kept_connection};
use crate::quarantine::{ASIDE, FAILURES, WINDOW};
use crate::routing::routes::{self, Continuation, Failure};
use crate::trail::Trail;
use keep::{Damaged, Keep, Reader, Writer};
use model::cdr::CdrLeg;
use model::counters::CallDirection;
use sip::endpoint::Flow;
use sip::event::FailCause;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

/// The candidates of a call that were not tried yet, and what became of the others.
#[derive(Debug)]
pub(crate) struct Failover {
    left: VecDeque<Candidate>,
    /// Those of an emergency call whose peers look out of order: they are tried when all others have failed.
    last_resort: VecDeque<Candidate>,
    begun: bool,
    /// The connection the call came from, and where its INVITE came in: the media of each attempt needs both.
    source: Arc<Connection>,
    flow: Flow,
    /// The called side of this attempt has rung.
    pub(crate) rang: bool,
    /// The caller was given a description of the called side: it has heard somebody, and no other may follow.
    pub(crate) heard: bool,
    /// The last refusal that is worth passing on, should all fail.
    refusal: Option<(Release, Said)>,
    /// Why the last candidate was passed over without being called.
    passed_over: Cow<'static, str>,
}

impl Keep for Failover {
    fn keep(&self, out: &mut Writer) {
        let Self {
            left,
            last_resort,
            begun,
            source,
            flow,
            rang,
            heard,
            refusal,
            passed_over,
        } = self;
        left.keep(out);
        last_resort.keep(out);
        begun.keep(out);
        keep_connection(source, out);
        flow.keep(out);
        rang.keep(out);
        heard.keep(out);
        refusal.keep(out);
        passed_over.keep(out);
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            left: Keep::kept(input)?,
            last_resort: Keep::kept(input)?,
            begun: Keep::kept(input)?,
            source: kept_connection(input)?,
            flow: Keep::kept(input)?,
            rang: Keep::kept(input)?,
            heard: Keep::kept(input)?,
            refusal: Keep::kept(input)?,
            passed_over: Keep::kept(input)?,
        })
    }
}

impl Failover {
    /// Takes the records from the directory, after a restart. Those that are no more are not tried any more.
    pub(crate) fn look_up(&mut self, directory: &Directory) {
        if let Some(source) = directory.connection(&self.source.key()) {
            self.source = Arc::clone(source);
        }
        for candidates in [&mut self.left, &mut self.last_resort] {
            candidates.retain_mut(|candidate| candidate.look_up(directory));
        }
    }

    pub(crate) fn new(plan: Plan, source: Arc<Connection>, flow: Flow) -> Self {
        Self {
            left: plan.candidates.into(),
            last_resort: VecDeque::new(),
            begun: false,
            source,
            flow,
            rang: false,
            heard: false,
            refusal: None,
            passed_over: Cow::Borrowed("No connection left"),
        }
    }

    /// Whether the attempt that begins now is the call's first.
    pub(crate) fn begins(&mut self) -> bool {
        !std::mem::replace(&mut self.begun, true)
    }

    /// Nobody else will be tried.
    pub(crate) fn settle(&mut self) {
        self.left = VecDeque::new();
        self.last_resort = VecDeque::new();
        self.refusal = None;
        self.passed_over = Cow::Borrowed("");
    }

    /// Writes what is left after [`settle`](Self::settle), but for the connection.
    pub(crate) fn keep_settled(&self, out: &mut Writer) {
        let Self {
            left: _,
            last_resort: _,
            begun,
            source: _,
            flow,
            rang,
            heard,
            refusal: _,
            passed_over: _,
        } = self;
        begun.keep(out);
        flow.keep(out);
        rang.keep(out);
        heard.keep(out);
    }

    /// Reads what [`keep_settled`](Self::keep_settled) has written, of a call from this connection.
    pub(crate) fn kept_settled(
        source: Arc<Connection>,
        input: &mut Reader<'_>,
    ) -> Result<Self, Damaged> {
        Ok(Self {
            left: VecDeque::new(),
            last_resort: VecDeque::new(),
            begun: Keep::kept(input)?,
            source,
            flow: Keep::kept(input)?,
            rang: Keep::kept(input)?,
            heard: Keep::kept(input)?,
            refusal: None,
            passed_over: Cow::Borrowed(""),
        })
    }

    /// The next candidate that has a place for the call. Those in quarantine or over a limit are passed over; those that
    /// only look out of order get an emergency call all the same, after the others.
    pub(crate) fn next(
        &mut self,
        core: &mut Core,
        mut domain: Option<&mut DomainPlace>,
        trail: &mut Trail,
    ) -> Option<(Candidate, Reservation)> {
        loop {
            let (candidate, last_resort) = match self.left.pop_front() {
                Some(candidate) => (candidate, false),
                None => (self.last_resort.pop_front()?, true),
            };
            let target = &candidate.target;
            if !last_resort && let Some(doubt) = doubt(core, &candidate) {
                trail.step(doubt.stage, Some(target.label()), || {
                    format!("{} and {}", doubt.why, candidate.when_in_doubt())
                });
                if candidate.emergency {
                    self.last_resort.push_back(candidate);
                } else {
                    self.passed_over = Cow::Borrowed(doubt.release_text);
                }
                continue;
            }
            if let Some(full) = domain
                .as_deref_mut()
                .and_then(|place| place.turn_to(target).err())
            {
                trail.step("limits", Some(target.label()), || {
                    format!(
                        "it is outside, and {} of the domain is {}",
                        full.field, full.limit
                    )
                });
                self.passed_over = Cow::Borrowed(DOMAIN_LIMIT);
                continue;
            }
            match Reservation::take(
                target,
                CallDirection::Term,
                core.clock.unix_ms,
                candidate.emergency,
            ) {
                Ok(place) => return Some((candidate, place)),
                Err(full) => {
                    trail.step("limits", Some(target.label()), || {
                        format!("{} is {}", full.field, full.limit)
                    });
                    self.passed_over = Cow::Borrowed("Connection limit");
                }
            }
        }
    }

    /// Release text when every candidate was passed over.
    pub(crate) fn passed_over(&self) -> &str {
        &self.passed_over
    }

    /// The connection the call came from, and where its INVITE came in.
    pub(crate) fn origin(&self) -> (Arc<Connection>, Flow) {
        (Arc::clone(&self.source), self.flow)
    }
}

/// Why a candidate's peer is taken to be out of order.
struct Doubt {
    stage: &'static str,
    why: String,
    /// Release text where no other candidate is left.
    release_text: &'static str,
}

fn doubt(core: &Core, candidate: &Candidate) -> Option<Doubt> {
    if let Some(why) = pings::silence(&core.directory, candidate) {
        return Some(Doubt {
            stage: "options",
            why,
            release_text: "No connection answers OPTIONS",
        });
    }
    let aside = candidate.by_route
        && core
            .quarantine
            .holds(core.clock.now, &candidate.target.key());
    aside.then(|| Doubt {
        stage: "quarantine",
        why: format!("it failed {FAILURES} times within {} s", WINDOW.as_secs()),
        release_text: "All connections failed of late",
    })
}

/// Release text of a call that its domain has no place for.
pub(crate) const DOMAIN_LIMIT: &str = "Domain limit";

/// What the record says of the called side before it was called.
pub(crate) fn term_record(candidate: &Candidate) -> CdrLeg {
    let record = &candidate.target.record;
    CdrLeg {
        connection_domain: Some(record.domain.clone()),
        connection_orig_match_pattern: Some(record.connection_orig_match_pattern.clone()),
        billing_user: Some(terms::billing_user(&candidate.target)),
        transport: candidate.transport.as_str().to_owned(),
        from_uri: candidate.from.uri.as_str().to_owned(),
        from_name: candidate.from.display.as_ref().map(ToString::to_string),
        to_uri: candidate.to.uri.as_str().to_owned(),
        request_uri: candidate.request_uri.as_str().to_owned(),
        ..CdrLeg::default()
    }
}

/// Statuses by which a called side says that it cannot use what it was offered (RFC 3261 §21.4.26, §21.6.4).
const UNUSABLE_OFFER: [u16; 2] = [488, 606];

/// The called side may have none of the caller's codecs: it is asked once more, with those that we can convert to. False
/// when that is not it, or was tried before.
pub(crate) fn offers_more(core: &mut Core, call: &mut Call, status: u16, cause: FailCause) -> bool {
    let unusable = cause == FailCause::Response && UNUSABLE_OFFER.contains(&status);
    if !unusable
        || call.stage != Stage::Calling
        || call.failover.heard
        || !call.media.can_widen(core)
    {
        return false;
    }
    let target = Arc::clone(&call.plan.target);
    call.trail.step("media", Some(target.label()), || {
        format!("{status}: offered again, with codecs that we convert to")
    });
    call.b = Leg::new(None, term_record(&call.plan));
    call.stage = Stage::Preparing;
    let body = call.invite.as_deref().map(Body::of).unwrap_or_default();
    match call.media.widen(core, &body) {
        OfferOutcome::Ready(forward) => setup::call_out(core, call, forward),
        OfferOutcome::Waiting => {}
        OfferOutcome::Unusable(status, why) => {
            hangup::release(core, call, Release::by_switch(status, why), Said::Nothing);
        }
    }
    true
}

/// An attempt failed: the next connection is called, or the call is released.
pub(crate) fn on_attempt_failed(
    core: &mut Core,
    call: &mut Call,
    failure: Failure,
    release: Release,
    said: Said,
) {
    let now = core.clock.now;
    let target = Arc::clone(&call.plan.target);
    if routes::is_outage(failure) && core.quarantine.failed(now, &target.key()) {
        call.trail.step("quarantine", Some(target.label()), || {
            format!(
                "failure number {FAILURES} within {} s puts it aside for {} s",
                WINDOW.as_secs(),
                ASIDE.as_secs()
            )
        });
    }
    let on = routes::continuation(failure);
    let text = release.text.clone();
    let q850 = failure
        .q850
        .map(|cause| format!(", Q.850 cause {cause}"))
        .unwrap_or_default();
    call.trail
        .step("attempt", Some(target.label()), || match on {
            Continuation::Advance => format!("{text}{q850}: others may do better"),
            Continuation::Stop => format!("{text}{q850}: that is the answer"),
        });
    if on == Continuation::Stop || call.stage != Stage::Calling {
        hangup::release(core, call, release, said);
        return;
    }
    // 4xx and 6xx say something of the destination; a 503 of ours says nothing that the next one could not.
    let (release, said) = if matches!(release.status, 400..=499 | 600..=699) {
        call.failover.refusal = Some((release.clone(), said.clone()));
        (release, said)
    } else {
        call.failover.refusal.clone().unwrap_or((release, said))
    };
    let domain = call.places.domain.as_mut();
    match call.failover.next(core, domain, &mut call.trail) {
        Some((candidate, place)) => call_next(core, call, candidate, place),
        None => hangup::release(core, call, release, said),
    }
}

fn call_next(core: &mut Core, call: &mut Call, candidate: Candidate, place: Reservation) {
    call.places.target = Some(place);
    call.b = Leg::new(None, term_record(&candidate));
    call.plan = candidate;
    call.failover.rang = false;
    call.stage = Stage::Preparing;
    let body = call.invite.as_deref().map(Body::of).unwrap_or_default();
    let (source, flow) = call.failover.origin();
    match call.media.retarget(core, &source, &call.plan, flow, &body) {
        OfferOutcome::Ready(forward) => setup::call_out(core, call, forward),
        OfferOutcome::Waiting => {}
        OfferOutcome::Unusable(status, why) => {
            hangup::release(core, call, Release::by_switch(status, why), Said::Nothing);
        }
    }
}
