//! Every way a call ends. There is one: [`release`]. It tells both sides, closes the media, gives the places
//! back, and leaves the record to be written when the relay has reported.

use super::media::MediaReport;
use super::{
    Call, CallTimer, CallWake, STATISTICS_WAIT_SECONDS, Stage, Times, headers, minimum_duration,
    opposite, recording, terms,
};
use crate::core::Core;
use crate::limits::Places;
use crate::trail::Trail;
use ::media::dtls::DtlsError;
use ::media::relay::Side;
use keep::{Damaged, Keep, Reader, Writer};
use model::cdr::{Cdr, CdrLeg, CdrMedia, CdrRecording, ReleaseSide};
use sip::event::EndCause;
use sip::message::{ByteStr, Headers, Message, Name, Reason, ResponseDraft};
use std::time::Duration;

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Release {
    pub(crate) side: ReleaseSide,
    /// Status the caller gets when the call was not answered.
    pub(crate) status: u16,
    /// Q.850 cause.
    pub(crate) cause: Option<u8>,
    pub(crate) text: String,
    ended_ms: i64,
}

impl Keep for Release {
    fn keep(&self, out: &mut Writer) {
        let Self {
            side,
            status,
            cause,
            text,
            ended_ms,
        } = self;
        out.byte(match side {
            ReleaseSide::Orig => 0,
            ReleaseSide::Term => 1,
            ReleaseSide::Switch => 2,
        });
        status.keep(out);
        cause.keep(out);
        text.keep(out);
        ended_ms.keep(out);
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            side: match input.byte()? {
                0 => ReleaseSide::Orig,
                1 => ReleaseSide::Term,
                2 => ReleaseSide::Switch,
                _ => return Err(Damaged::Value("side")),
            },
            status: Keep::kept(input)?,
            cause: Keep::kept(input)?,
            text: Keep::kept(input)?,
            ended_ms: Keep::kept(input)?,
        })
    }
}

impl Release {
    pub(crate) fn new(side: ReleaseSide, status: u16, text: impl Into<String>) -> Self {
        Self {
            side,
            status,
            cause: q850_of(status),
            text: text.into(),
            ended_ms: 0,
        }
    }

    pub(crate) fn by_switch(status: u16, text: impl Into<String>) -> Self {
        Self::new(ReleaseSide::Switch, status, text)
    }

    /// It is over at this moment.
    pub(crate) fn end(&mut self, unix_ms: i64, answered: bool) {
        if answered {
            self.status = 200;
        }
        self.ended_ms = unix_ms;
    }

    fn with_cause(mut self, cause: Option<u8>) -> Self {
        self.cause = cause.or(self.cause);
        self
    }
}

/// What the other side is told besides that it is over.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    /// A Reason made from the release.
    Nothing,
    /// These headers.
    Headers(Headers),
}

keep::keep!(enum Said { 0 = Nothing, 1 = Headers(headers) });

/// Ends a call. Whoever still has a session hears of it; a call that was released already stays as it is.
pub(crate) fn release(core: &mut Core, call: &mut Call, mut release: Release, said: Said) {
    if call.release.is_some() || minimum_duration::keep(core, call, &release, &said) {
        return;
    }
    let said = match minimum_duration::ended_with(call) {
        Some((first, said)) => {
            release = first;
            said
        }
        None => said,
    };
    let answered = call.times.answered_ms.is_some();
    let now = core.clock.now;
    let told = match said {
        Said::Headers(headers) if !headers.is_empty() => headers,
        _ => own_reason(&release),
    };
    if let Some(called) = call.let_go(Side::B) {
        core.disown(called);
        if answered {
            core.endpoint.bye(now, called, told.clone());
        } else {
            core.endpoint
                .cancel(now, called, told.get("Reason").map(ByteStr::copy));
        }
    }
    if let Some(caller) = call.let_go(Side::A) {
        core.disown(caller);
        if answered {
            core.endpoint.bye(now, caller, told);
        } else {
            let mut draft = ResponseDraft::new(release.status);
            draft.headers = told;
            core.endpoint.reject(now, caller, draft);
        }
    }
    release.end(call.times.at(core.clock), answered);
    call.release = Some(release);
    call.stage = Stage::Released;
    core.calls_released += 1;
    call.invite = None;
    call.places = Places::default();
    call.media.close(core);
    if !call.media.is_closed() || recording::is_open(call) {
        core.wake(CallWake {
            at: now + Duration::from_secs(STATISTICS_WAIT_SECONDS),
            call: call.key,
            timer: CallTimer::Statistics,
        });
    }
}

/// The caller gave up before the answer.
pub(crate) fn on_cancelled(core: &mut Core, call: &mut Call, request: &Message) {
    call.let_go(Side::A);
    let release =
        Release::new(ReleaseSide::Orig, 487, "Orig: Cancel").with_cause(q850_given(request));
    self::release(
        core,
        call,
        release,
        Said::Headers(headers::reason_of(request)),
    );
}

/// One side's session is over.
pub(crate) fn on_ended(core: &mut Core, call: &mut Call, side: Side, cause: &EndCause) {
    call.let_go(side);
    let (who, name) = match side {
        Side::A => (ReleaseSide::Orig, "Orig"),
        Side::B => (ReleaseSide::Term, "Term"),
    };
    let (release, said) = match cause {
        EndCause::PeerBye { request } => (
            Release::new(who, 487, format!("{name}: Bye"))
                .with_cause(q850_given(request).or(Some(NORMAL_CLEARING))),
            Said::Headers(headers::reason_of(request)),
        ),
        EndCause::AckTimeout => (
            Release::new(who, 408, format!("{name}: no ACK")),
            Said::Nothing,
        ),
        EndCause::PrackTimeout => (
            Release::new(who, 504, format!("{name}: no PRACK")),
            Said::Nothing,
        ),
        EndCause::RequestTimeout => (
            Release::new(who, 408, format!("{name}: no response")),
            Said::Nothing,
        ),
        EndCause::SessionExpired => (
            Release::new(who, 408, format!("{name}: session expired")),
            Said::Nothing,
        ),
        EndCause::Gone => (
            Release::new(who, 481, format!("{name}: dialog unknown")),
            Said::Nothing,
        ),
    };
    self::release(core, call, release, said);
}

/// Silence on the media for longer than allowed.
pub(crate) fn on_media_timeout(core: &mut Core, call: &mut Call) {
    let release = Release::by_switch(408, "Media timeout").with_cause(Some(RECOVERY_ON_TIMER));
    self::release(core, call, release, Said::Nothing);
}

/// One side's media cannot be sealed as was agreed, so nothing can be said on it.
pub(crate) fn on_handshake_failure(core: &mut Core, call: &mut Call, side: Side, why: &DtlsError) {
    let name = match side {
        Side::A => "Orig",
        Side::B => "Term",
    };
    let release = Release::by_switch(488, format!("{name}: DTLS: {why}"));
    self::release(core, call, release, Said::Nothing);
}

/// The called side rang for too long.
pub(crate) fn on_ring_timeout(core: &mut Core, call: &mut Call) {
    if call.stage != Stage::Released && call.times.answered_ms.is_none() {
        self::release(
            core,
            call,
            Release::by_switch(480, "No Answer"),
            Said::Nothing,
        );
    }
}

/// What a record is made of.
pub(crate) struct Ended {
    pub(crate) id: String,
    pub(crate) domain: String,
    pub(crate) times: Times,
    pub(crate) orig: CdrLeg,
    pub(crate) term: CdrLeg,
    pub(crate) dial_rule: Option<String>,
    pub(crate) trail: Trail,
    pub(crate) release: Release,
    pub(crate) minimum_seconds: u32,
    pub(crate) media: Option<CdrMedia>,
    pub(crate) recording: Option<CdrRecording>,
}

/// The record of a released call, once nothing more is to come.
pub(crate) fn cdr(call: Call) -> Cdr {
    let release = call
        .release
        .unwrap_or_else(|| Release::by_switch(500, "Lost"));
    let report: MediaReport = call.media.report();
    record(Ended {
        id: call.id,
        domain: call.domain,
        times: call.times,
        orig: call.a.record,
        term: call.b.record,
        dial_rule: call.dial_rule,
        trail: call.trail,
        release,
        minimum_seconds: call.plan.target.record.minimum_call_duration_seconds,
        media: report.into_cdr(),
        recording: call.recording.map(|recording| recording::cdr(*recording)),
    })
}

/// The record of a call.
pub(crate) fn record(mut ended: Ended) -> Cdr {
    terms::book(&mut ended.orig, &ended.domain);
    terms::book(&mut ended.term, &ended.domain);
    let release = ended.release;
    Cdr {
        id: ended.id,
        domain: ended.domain,
        started_ms: ended.times.started.unix_ms,
        ringing_ms: ended.times.ringing_ms,
        answered_ms: ended.times.answered_ms,
        ended_ms: release.ended_ms,
        orig: ended.orig,
        term: Some(ended.term),
        dial_rule: ended.dial_rule,
        release_side: release.side,
        release_status: release.status,
        release_cause: release.cause,
        release_text: release.text,
        minimum_call_duration_seconds: ended.minimum_seconds,
        media: ended.media,
        recording: ended.recording,
        decisions: ended.trail.lines(),
    }
}

const NORMAL_CLEARING: u8 = 16;
const RECOVERY_ON_TIMER: u8 = 102;

/// Q.850 cause that stands for a SIP status (RFC 3398 §8.2.6.1).
pub(crate) fn q850_of(status: u16) -> Option<u8> {
    Some(match status {
        400 | 401 | 402 | 403 | 407 | 603 => 21,
        404 | 485 | 604 => 1,
        405 => 63,
        406 | 415 | 488 | 606 => 79,
        408 | 504 => 102,
        410 => 22,
        413 | 414 | 416 | 420 | 421 | 423 | 505 | 513 => 127,
        480 => 18,
        481 | 500 | 503 => 41,
        482 | 483 => 25,
        484 => 28,
        486 | 600 => 17,
        487 => 16,
        501 => 79,
        502 => 38,
        _ => return None,
    })
}

/// The Q.850 cause a message gives in Reason.
pub(crate) fn q850_given(message: &Message) -> Option<u8> {
    message
        .headers(Name::Reason)
        .flat_map(Reason::parse_all)
        .find(|reason| reason.protocol.eq_ignore_ascii_case("Q.850"))
        .and_then(|reason| u8::try_from(reason.cause?).ok())
}

fn own_reason(release: &Release) -> Headers {
    let mut out = Headers::new();
    if let Some(cause) = release.cause {
        out.push_name(Name::Reason, Reason::q850(cause, &release.text));
    }
    out
}

/// Ends the other side's part of an exchange that lost its partner.
pub(crate) fn abandon_offer(core: &mut Core, call: &mut Call, side: Side) {
    if call.leg_mut(side).offering.take().is_some()
        && let Some(session) = call.session(side)
    {
        core.endpoint
            .reject_offer(core.clock.now, session, 500, Headers::new());
    }
    call.leg_mut(opposite(side)).offering = None;
}
