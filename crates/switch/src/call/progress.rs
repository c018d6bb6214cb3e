//! The called side: it rings, sends early media, answers or refuses; the caller hears of it.

use super::failover;
use super::hangup::{self, Release, Said};
use super::media::Body;
use super::{Call, Stage, headers, identity, recording, ringing};
use crate::core::Core;
use crate::routing::routes::Failure;
use ::media::relay::Side;
use model::cdr::ReleaseSide;
use sip::endpoint::Flow;
use sip::event::FailCause;
use sip::message::{Headers, Message, Name};

/// 101–199 from the called side.
pub(crate) fn on_progress(core: &mut Core, call: &mut Call, response: &Message, flow: Flow) {
    let status = response.status().unwrap_or(180);
    call.b.record.remote = Some(flow.remote.to_string());
    call.failover.rang |= status >= 180;
    if call.times.ringing_ms.is_none() && status >= 180 {
        call.times.ringing_ms = Some(call.times.at(core.clock));
    }
    // A description nobody can use is no reason to end a call that only rings.
    let body = call
        .media
        .forward(core, Side::B, &Body::of(response))
        .unwrap_or_default();
    let reliable = response.has_token(Name::Require, "100rel");
    ringing::pass_on(core, call, status, &carried(response), body, reliable);
}

/// The called side answered.
pub(crate) fn on_answered(core: &mut Core, call: &mut Call, response: &Message, flow: Flow) {
    let Some(caller) = call.session(Side::A) else {
        return;
    };
    call.b.record.remote = Some(flow.remote.to_string());
    let body = match call.media.forward(core, Side::B, &Body::of(response)) {
        // Answered already, and reliably, on the called side; the caller has it only by hearsay.
        Ok(body) if body.sdp().is_none() => call.media.early_answer().unwrap_or(body),
        Ok(body) => body,
        Err(why) => {
            hangup::release(core, call, Release::by_switch(488, why), Said::Nothing);
            return;
        }
    };
    call.stage = Stage::Answered;
    call.times.answered_ms = Some(call.times.at(core.clock));
    call.media.confirm(core);
    recording::begin(core, call);
    ringing::on_answered(core, call);
    identity::on_answered(call, response);
    call.settle();
    core.stats.calls_answered += 1;
    core.endpoint
        .answer(core.clock.now, caller, carried(response), body.bytes);
}

/// ACK of the caller. Where the called side made the offer, it carries the answer.
pub(crate) fn on_established(core: &mut Core, call: &mut Call, ack: Option<&Message>) {
    let Some(ack) = ack.filter(|ack| !ack.body().is_empty()) else {
        return;
    };
    if let (Some(called), Ok(body)) = (
        call.session(Side::B),
        call.media.forward(core, Side::A, &Body::of(ack)),
    ) {
        core.endpoint.ack(core.clock.now, called, body.bytes);
    }
}

/// PRACK of the caller. Where a reliable response carried an offer, it carries the answer.
pub(crate) fn on_pracked(core: &mut Core, call: &mut Call, prack: &Message) {
    if prack.body().is_empty() {
        return;
    }
    if let (Some(called), Ok(body)) = (
        call.session(Side::B),
        call.media.forward(core, Side::A, &Body::of(prack)),
    ) {
        core.endpoint.prack(core.clock.now, called, body.bytes);
    }
}

/// The called side refused, or could not be reached.
pub(crate) fn on_failed(
    core: &mut Core,
    call: &mut Call,
    status: u16,
    response: Option<&Message>,
    cause: FailCause,
) {
    call.b.session = None;
    if failover::offers_more(core, call, status, cause) {
        return;
    }
    let (status_out, text) = match (cause, response) {
        (FailCause::Response, Some(response)) => (
            relayed_status(status),
            format!("Term: {}", response.reason()),
        ),
        (FailCause::Auth, _) => (
            403,
            format!("Term: {status} our credentials are not accepted"),
        ),
        (FailCause::Timeout, _) => (503, "Term: no response".to_owned()),
        (FailCause::Transport, _) => (503, "Term: not reachable".to_owned()),
        (FailCause::Resolve, _) => (
            503,
            format!("Term: {} cannot be resolved", call.plan.next_hop.host),
        ),
        (FailCause::Overload, _) => (503, "Too many calls".to_owned()),
        (FailCause::Cancelled, _) => (487, "Cancelled".to_owned()),
        (FailCause::Response, None) => (relayed_status(status), format!("Term: {status}")),
    };
    let side = if cause == FailCause::Overload {
        ReleaseSide::Switch
    } else {
        ReleaseSide::Term
    };
    let said = response.map_or(Said::Nothing, |response| Said::Headers(carried(response)));
    let mut release = Release::new(side, status_out, text);
    let q850 = response.and_then(hangup::q850_given);
    release.cause = q850.or(release.cause);
    let failure = Failure {
        cause,
        status,
        q850,
        rang: call.failover.rang,
        heard: call.failover.heard,
    };
    failover::on_attempt_failed(core, call, failure, release, said);
}

/// What a refusal of the called side becomes for the caller. A challenge is ours to answer and cannot be
/// passed on; a redirection names contacts that only we may follow; a server's fault is one of ours.
fn relayed_status(status: u16) -> u16 {
    match status {
        300..=399 => 480,
        401 | 407 => 403,
        500..=599 => 503,
        other => other,
    }
}

fn carried(message: &Message) -> Headers {
    let mut out = Headers::new();
    headers::carry(message, &mut out);
    out
}
