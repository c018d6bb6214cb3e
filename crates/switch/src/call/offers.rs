//! Within an established call: offers of one side put to the other (hold, resume, codec changes), and other
//! requests that the two ends say to each other.
//!
//! An offer is passed on as an offer, and its outcome comes back as the answer: nothing is agreed with one
//! side that the other has not agreed to. Two offers at once are glare; the endpoint answers it with 491
//! (RFC 3261 §14.2), and so do we when the other leg is busy with one of its own.

use super::media::{Body, OfferOutcome};
use super::{Call, identity, opposite};
use crate::core::Core;
use ::media::relay::Side;
use sip::event::{RequestId, ServerRequestId};
use sip::message::{ByteStr, Headers, Message, Method, Name, ResponseDraft};

/// An offer (or, from a re-INVITE without body, a request for one) on its way to the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offering {
    pub(crate) method: Method,
    /// The other side is to make the offer.
    pub(crate) asks: bool,
}

keep::keep!(struct Offering { method, asks });

/// A re-INVITE, UPDATE or PRACK with an offer, or a re-INVITE that asks for one.
pub(crate) fn on_offer(
    core: &mut Core,
    call: &mut Call,
    side: Side,
    method: Method,
    request: &Message,
) {
    let Some(session) = call.session(side) else {
        return;
    };
    identity::on_request(call, side, request);
    if call.leg(opposite(side)).offering.is_some() {
        core.endpoint
            .reject_offer(core.clock.now, session, 491, Headers::new());
        return;
    }
    let body = Body::of(request);
    call.leg_mut(side).offering = Some(Offering {
        method,
        asks: body.sdp().is_none(),
    });
    match call.media.reoffer(core, side, &body) {
        OfferOutcome::Ready(forward) => put_offer(core, call, side, forward),
        OfferOutcome::Waiting => {}
        OfferOutcome::Unusable(status, _) => {
            call.leg_mut(side).offering = None;
            core.endpoint
                .reject_offer(core.clock.now, session, status, Headers::new());
        }
    }
}

/// Puts an offer of `side` to the other side.
pub(crate) fn put_offer(core: &mut Core, call: &mut Call, side: Side, body: Body) {
    let Some(offering) = call.leg(side).offering.clone() else {
        return;
    };
    let Some(session) = call.session(side) else {
        return;
    };
    // An UPDATE is passed on as one; what came in a PRACK has no counterpart on the other leg.
    let method = if offering.method == Method::Prack {
        Method::Update
    } else {
        offering.method
    };
    let put = call.session(opposite(side)).map(|other| {
        core.endpoint
            .offer(core.clock.now, other, method, Headers::new(), body.bytes)
    });
    if !matches!(put, Some(Ok(()))) {
        call.leg_mut(side).offering = None;
        call.media.forget_offer(core);
        core.endpoint
            .reject_offer(core.clock.now, session, 491, Headers::new());
    }
}

/// The other side's word on an offer we passed to it. `side` is the one that was asked.
pub(crate) fn on_offer_result(
    core: &mut Core,
    call: &mut Call,
    side: Side,
    status: u16,
    response: Option<&Message>,
) {
    let offerer = opposite(side);
    let (Some(_), Some(session)) = (&call.leg(offerer).offering, call.session(offerer)) else {
        return;
    };
    let now = core.clock.now;
    let body = response.map(Body::of).unwrap_or_default();
    if !(200..300).contains(&status) {
        call.leg_mut(offerer).offering = None;
        call.media.forget_offer(core);
        core.endpoint
            .reject_offer(now, session, status.max(400), Headers::new());
        return;
    }
    let asked = call
        .leg(offerer)
        .offering
        .as_ref()
        .is_some_and(|offering| offering.asks);
    match call.media.forward(core, side, &body) {
        Ok(body) => {
            if !asked {
                // Where the other side was asked for an offer, the exchange ends with the ACK.
                call.leg_mut(offerer).offering = None;
            }
            core.endpoint
                .answer_offer(now, session, Headers::new(), body.bytes);
        }
        Err(_) => {
            call.leg_mut(offerer).offering = None;
            core.endpoint
                .reject_offer(now, session, 488, Headers::new());
        }
    }
}

/// ACK to a 2xx of ours in which we passed on the other side's offer: it carries the answer.
pub(crate) fn on_offer_ack(core: &mut Core, call: &mut Call, side: Side, ack: Option<&Message>) {
    let asked = call
        .leg_mut(side)
        .offering
        .take()
        .is_some_and(|offering| offering.asks);
    let Some(ack) = ack.filter(|_| asked) else {
        return;
    };
    if let (Some(other), Ok(body)) = (
        call.session(opposite(side)),
        call.media.forward(core, side, &Body::of(ack)),
    ) {
        core.endpoint.ack(core.clock.now, other, body.bytes);
    }
}

/// A side took its own offer back.
pub(crate) fn on_offer_withdrawn(core: &mut Core, call: &mut Call, side: Side) {
    call.leg_mut(side).offering = None;
    call.media.forget_offer(core);
}

/// A request that is between the two ends: INFO, MESSAGE, NOTIFY. Others are not served within a call.
pub(crate) fn on_request(
    core: &mut Core,
    call: &mut Call,
    side: Side,
    id: ServerRequestId,
    request: &Message,
) {
    let now = core.clock.now;
    let method = request.method().cloned().unwrap_or(Method::Info);
    let other = call.session(opposite(side));
    match (method, other) {
        (Method::Options, _) => core.endpoint.respond(now, id, ResponseDraft::new(200)),
        (method @ (Method::Info | Method::Message | Method::Notify), Some(other)) => {
            let mut out = Headers::new();
            if side == Side::A && call.plan.hidden {
                super::headers::carry_of_hidden(request, &mut out);
            } else {
                super::headers::carry(request, &mut out);
            }
            for name in [Name::Event, Name::SubscriptionState] {
                for value in request.headers(name) {
                    out.push_name(name, value);
                }
            }
            for package in request
                .all_headers()
                .filter(|(text, ..)| text.eq_ignore_ascii_case("Info-Package"))
            {
                if !out.contains("Info-Package") {
                    out.push("Info-Package", package.2);
                }
            }
            let content_type = request.content_type().map(ByteStr::copy);
            let asked = core.endpoint.request(
                now,
                other,
                method,
                out,
                content_type,
                request.body().clone(),
            );
            core.await_response(asked, id);
        }
        (_, Some(_)) => core.endpoint.respond(now, id, ResponseDraft::new(501)),
        (_, None) => core.endpoint.respond(now, id, ResponseDraft::new(481)),
    }
}

/// The other end's answer to a request we passed on.
pub(crate) fn on_response(core: &mut Core, id: RequestId, status: u16, response: Option<&Message>) {
    let Some(waiting) = core.awaited(id) else {
        return;
    };
    let mut draft = ResponseDraft::new(status);
    if let Some(response) = response {
        super::headers::carry(response, &mut draft.headers);
        draft.content_type = response.content_type().map(ByteStr::copy);
        draft.body = response.body().clone();
    }
    core.endpoint.respond(core.clock.now, waiting, draft);
}
