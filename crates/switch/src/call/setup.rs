//! The INVITE that came in: who is it, may it, where does it go; then call there.

use super::failover::{self, Failover};
use super::hangup::{Release, Said};
use super::media::{self, Body, CallMedia, OfferOutcome};
use super::{
    Call, CallTimer, CallWake, Leg, MAX_RING_SECONDS, Stage, Times, headers, ringing, terms,
};
use crate::challenge::Proof;
use crate::core::Core;
use crate::directory::Connection;
use crate::directory::SYSTEM;
use crate::limits::{DomainPlace, Places, Reservation};
use crate::plan::{self, PlanContext, Refusal, Routed};
use crate::routing::identity::{self, Claims};
use crate::routing::permissions;
use crate::source::{self, Attempt};
use crate::trail::Trail;
use ::media::relay::Side;
use model::cdr::{Cdr, CdrLeg, ReleaseSide};
use model::counters::CallDirection;
use sip::endpoint::{Flow, NextHop, OutboundInvite};
use sip::event::SessionId;
use sip::message::{Headers, Message, Method, Name, RequestDraft, ResponseDraft};
use sip::resolve::Target;
use sip::transport::Transport;
use std::sync::Arc;
use std::time::Duration;

impl Attempt {
    /// What an INVITE says of itself.
    pub fn of(request: &Message, flow: Option<Flow>) -> Option<Self> {
        Some(Self {
            from: request.from().clone(),
            to: request.to().clone(),
            request_uri: request.uri()?.clone(),
            contact: request.contact().map(|contact| contact.uri),
            claims: Claims::of(request),
            source_ip: flow.map(|flow| flow.remote.ip()),
        })
    }
}

/// Takes a new INVITE. Returns a call that has begun, or has dealt with the INVITE in full.
pub(crate) fn on_invite(
    core: &mut Core,
    session: SessionId,
    request: Message,
    flow: Flow,
) -> Option<Call> {
    let mut trail = Trail::brief();
    let mut orig = orig_record(core, &request, flow);
    let Some(attempt) = Attempt::of(&request, Some(flow)) else {
        refuse(
            core,
            session,
            orig,
            SYSTEM,
            None,
            trail,
            Refusal::new(416, "Request-URI is not a SIP URI"),
        );
        return None;
    };
    let identified = source::identify(&core.directory, &attempt);
    let Some(connection) = identified.connection.clone() else {
        let text = if identified.stopped_by_source() {
            "Source address is not the connection's"
        } else {
            "No connection matches the caller"
        };
        for (other, why) in &identified.others {
            trail.step("source", Some(other.label()), || why.to_string());
        }
        refuse(
            core,
            session,
            orig,
            SYSTEM,
            None,
            trail,
            Refusal::new(403, text),
        );
        core.distrust(flow);
        return None;
    };
    trail.step("source", Some(connection.label()), || {
        source::covered(&connection, &attempt)
    });
    terms::show_software(core, session, &connection);
    if super::identity::allowed(&connection) {
        core.endpoint.allow_from_change(session);
    }
    let trusted = connection.record.connection_is_carrier_trunk;
    let caller = identity::caller(trusted, &attempt.from, &attempt.claims);
    orig.from_uri = caller.id.uri.as_str().to_owned();
    orig.from_name = caller.id.display.map(|name| name.to_string());
    orig.billing_user = Some(terms::billing_user(&connection));
    orig.connection_domain = Some(connection.record.domain.clone());
    orig.connection_orig_match_pattern =
        Some(connection.record.connection_orig_match_pattern.clone());
    core.endpoint
        .reply_to(session, terms::replies_to(&connection));
    terms::note_responses(&connection, &mut trail);

    if connection
        .record
        .connection_require_sip_authentication_enabled
    {
        match core.gatekeeper.check(core.clock.now, &connection, &request) {
            Proof::Accepted => trail.step("authentication", Some(connection.label()), || {
                "digest accepted".to_owned()
            }),
            Proof::Challenge { draft, wrong } => {
                if wrong {
                    core.distrust(flow);
                }
                // Not an attempt yet: the peer comes back with credentials, or never meant to call.
                core.endpoint.turn_away(core.clock.now, session, *draft);
                core.stats.challenges += 1;
                return None;
            }
            Proof::Refused(why) => {
                core.distrust(flow);
                refuse(
                    core,
                    session,
                    orig,
                    &connection.record.domain,
                    None,
                    trail,
                    Refusal::new(403, why),
                );
                return None;
            }
        }
    }
    core.guard.succeeded(flow);
    let domain = connection.record.domain.clone();
    if let Err(refusal) = terms::accept_session_timer(core, session, &connection, &mut trail) {
        if refusal.status == 422 {
            // Part of agreeing on an interval (RFC 4028 §7.3): the peer comes back with a longer one, and that
            // is the attempt.
            let refusal = ResponseDraft::new(refusal.status);
            core.endpoint.turn_away(core.clock.now, session, refusal);
            return None;
        }
        refuse(core, session, orig, &domain, None, trail, refusal);
        return None;
    }
    let mut places = Places::default();
    let emergency = attempt
        .request_uri
        .user()
        .is_some_and(permissions::is_emergency);
    let now_ms = core.clock.unix_ms;
    match Reservation::take(&connection, CallDirection::Orig, now_ms, emergency) {
        Ok(place) => places.caller = Some(place),
        Err(full) => {
            trail.step("limits", Some(connection.label()), || {
                format!("{} is {}", full.field, full.limit)
            });
            refuse(
                core,
                session,
                orig,
                &domain,
                None,
                trail,
                Refusal::new(503, "Connection limit"),
            );
            return None;
        }
    }
    let routed = {
        let context = PlanContext {
            unix_ms: core.clock.unix_ms,
            interfaces: &core.config.sip.interfaces,
            ringback: core.config.ringback,
            hostname: &core.config.hostname,
            draw: core.random.next_u64(),
        };
        plan::route(&core.directory, &connection, &attempt, context, &mut trail)
    };
    let Routed {
        domain,
        dial_rule,
        result,
    } = routed;
    let plan = match result {
        Ok(plan) => plan,
        Err(refusal) => {
            refuse(core, session, orig, &domain, dial_rule, trail, refusal);
            return None;
        }
    };
    let emergency = emergency || plan.candidates.iter().any(|one| one.emergency);
    match domain_place(core, &domain, &connection, emergency, &mut trail) {
        Ok(place) => places.domain = place,
        Err(refusal) => {
            refuse(core, session, orig, &domain, dial_rule, trail, refusal);
            return None;
        }
    }
    let mut failover = Failover::new(plan, Arc::clone(&connection), flow);
    let next = failover.next(core, places.domain.as_mut(), &mut trail);
    let Some((plan, place)) = next else {
        let why = Refusal::new(503, failover.passed_over());
        refuse(core, session, orig, &domain, dial_rule, trail, why);
        return None;
    };
    places.target = Some(place);
    let term = failover::term_record(&plan);
    let key = core.next_key();
    media::note(&connection, &plan.target, &mut trail);
    ringing::note(&connection, &plan.target, core.config.ringback, &mut trail);
    terms::note(&connection, &plan.target, &mut trail);
    let media = CallMedia::new(core, key, &connection, &plan, flow);
    let mut call = Call {
        key,
        id: core.call_id(),
        stage: Stage::Preparing,
        plan,
        failover,
        domain,
        a: Leg::new(Some(session), orig),
        b: Leg::new(None, term),
        media,
        invite: Some(Box::new(request)),
        trail,
        dial_rule,
        places,
        times: Times {
            started: core.clock,
            ringing_ms: None,
            answered_ms: None,
        },
        release: None,
        recording: None,
        kept: None,
        leaving: Vec::new(),
        mark: super::kept::Mark::default(),
    };
    core.own(session, call.key, Side::A);
    prepare(core, &mut call);
    Some(call)
}

/// Takes the call's place in its domain.
fn domain_place(
    core: &Core,
    domain: &str,
    source: &Connection,
    emergency: bool,
    trail: &mut Trail,
) -> Result<Option<DomainPlace>, Refusal> {
    let Some(part) = core.directory.part(domain) else {
        return Ok(None);
    };
    DomainPlace::take(part, source, emergency).map_err(|full| {
        trail.step("limits", Some(part.label()), || {
            format!("{} is {}", full.field, full.limit)
        });
        Refusal::new(status_of_full_domain(source), failover::DOMAIN_LIMIT)
    })
}

/// What a call that its domain has no place for is answered. For a carrier the called party is busy: a 503 would say
/// that we are out of order, and may turn its calls to all other domains away. A PBX may have another way out.
pub(crate) fn status_of_full_domain(source: &Connection) -> u16 {
    if source.record.connection_is_carrier_trunk {
        486
    } else {
        503
    }
}

/// Opens relays for the offer of the INVITE, and goes on at once where none is needed.
fn prepare(core: &mut Core, call: &mut Call) {
    let body = call.invite.as_deref().map(Body::of).unwrap_or_default();
    match call.media.begin(core, &body) {
        OfferOutcome::Ready(forward) => call_out(core, call, forward),
        OfferOutcome::Waiting => {}
        OfferOutcome::Unusable(status, why) => {
            super::hangup::release(core, call, Release::by_switch(status, why), Said::Nothing);
        }
    }
}

/// Sends the INVITE to the target, now that media is settled.
pub(crate) fn call_out(core: &mut Core, call: &mut Call, body: Body) {
    let Some(invite) = call.invite.as_deref() else {
        return;
    };
    let plan = &call.plan;
    let mut out = Headers::new();
    if plan.hidden {
        headers::carry_of_hidden(invite, &mut out);
    } else {
        headers::carry(invite, &mut out);
    }
    for (name, value) in &plan.headers {
        out.push(name, value);
    }
    if call.caller_takes_reliable() {
        out.push_name(Name::Supported, "100rel");
    }
    let record = &plan.target.record;
    if record.connection_include_server_header_enabled {
        out.push_name(Name::UserAgent, crate::SOFTWARE);
    }
    let first = call.failover.begins();
    let call_id = core.endpoint.new_call_id();
    let draft = RequestDraft {
        method: Method::Invite,
        uri: plan.request_uri.clone(),
        max_forwards: invite.max_forwards().unwrap_or(70).saturating_sub(1),
        from: plan.from.to_text().into(),
        to: plan.to.to_text().into(),
        call_id: call_id.clone(),
        cseq: 0,
        routes: Vec::new(),
        contact: None,
        headers: out,
        content_type: body.content_type,
        body: body.bytes,
    };
    let credentials = record
        .connection_sip_authenticate_as_client_enabled
        .then(|| plan.target.credentials());
    let target = Target {
        host: plan.next_hop.host.clone(),
        port: plan.next_hop.port,
        transport: Some(plan.transport),
        secure: plan.transport == Transport::Tls,
    };
    let outbound = OutboundInvite {
        draft,
        target: plan.flow.map_or_else(|| target.into(), NextHop::Flow),
        credentials,
        interface: Some(plan.interface),
        fail_over_without_response: true,
        session_timer: terms::session_timer(&plan.target),
        from_change: super::identity::allowed(&plan.target),
    };
    let replies = terms::replies_to(&plan.target);
    let session = core.endpoint.invite(core.clock.now, outbound);
    terms::show_software(core, session, &plan.target);
    core.endpoint.reply_to(session, replies);
    if plan
        .flow
        .is_some_and(|flow| plan.request_uri.host_ip() != Some(flow.remote.ip()))
    {
        // Behind a NAT: the address it writes into its messages leads nowhere from here.
        core.endpoint.follow_source(session, true);
    }
    if let Some(ip) = plan.next_hop.ip {
        call.b.record.remote =
            Some(std::net::SocketAddr::new(ip, plan.next_hop.port.unwrap_or(5060)).to_string());
    }
    call.b.record.call_id = call_id.to_string();
    call.b.session = Some(session);
    call.stage = Stage::Calling;
    core.own(session, call.key, Side::B);
    ringing::on_called_out(core, call);
    if first {
        // All attempts share one time to ring.
        core.wake(CallWake {
            at: core.clock.now + Duration::from_secs(MAX_RING_SECONDS),
            call: call.key,
            timer: CallTimer::Ring,
        });
    }
}

fn orig_record(core: &Core, request: &Message, flow: Flow) -> CdrLeg {
    CdrLeg {
        call_id: request.call_id().to_string(),
        remote: Some(flow.remote.to_string()),
        transport: core
            .transport(flow)
            .map_or_else(String::new, |transport: Transport| {
                transport.as_str().to_owned()
            }),
        from_uri: request.from().uri.as_str().to_owned(),
        from_name: request.from().display.as_ref().map(ToString::to_string),
        to_uri: request.to().uri.as_str().to_owned(),
        request_uri: request.uri_text().to_owned(),
        ..CdrLeg::default()
    }
}

/// Refuses an INVITE before it became a call, and writes its record.
fn refuse(
    core: &mut Core,
    session: SessionId,
    mut orig: CdrLeg,
    domain: &str,
    dial_rule: Option<String>,
    trail: Trail,
    refusal: Refusal,
) {
    core.endpoint
        .turn_away(core.clock.now, session, ResponseDraft::new(refusal.status));
    core.stats.calls_refused += 1;
    terms::book(&mut orig, domain);
    let now = core.clock.unix_ms;
    let id = core.call_id();
    core.record(Cdr {
        id,
        domain: domain.to_owned(),
        started_ms: now,
        ringing_ms: None,
        answered_ms: None,
        ended_ms: now,
        orig,
        term: None,
        dial_rule,
        release_side: ReleaseSide::Switch,
        release_status: refusal.status,
        release_cause: super::hangup::q850_of(refusal.status),
        release_text: refusal.text,
        minimum_call_duration_seconds: 0,
        media: None,
        recording: None,
        decisions: trail.lines(),
    });
}
