//! What a connection's record asks of the SIP side of its legs: whether sessions are timed (RFC 4028), and
//! whether the peer is told which software this is.

use crate::SOFTWARE;
use crate::core::Core;
use crate::directory::{Connection, SYSTEM};
use crate::plan::Refusal;
use crate::trail::Trail;
use model::cdr::CdrLeg;
use model::{DestinationFrom, SystemSwitch};
use sip::endpoint::{ReplyTo, SessionInterval};
use sip::event::SessionId;
use sip::message::ByteStr;

/// What `system-default` and `yes` mean: half an hour, not less than 90 seconds, refreshed by us where we may
/// choose. `None` proposes no timer and only holds a peer to its own promise.
pub(crate) fn session_timer(connection: &Connection) -> Option<SessionInterval> {
    match connection.record.connection_sip_session_timer_enabled {
        SystemSwitch::Yes | SystemSwitch::SystemDefault => Some(SessionInterval::default()),
        SystemSwitch::No => None,
    }
}

/// `User-Agent` and `Server` on the legs of this connection from now on.
pub(crate) fn show_software(core: &mut Core, session: SessionId, connection: &Connection) {
    let shown = connection
        .record
        .connection_include_server_header_enabled
        .then(|| ByteStr::literal(SOFTWARE));
    core.endpoint.show_software(session, shown);
}

/// Times a call that came in, or says why its caller's terms cannot be kept.
pub(crate) fn accept_session_timer(
    core: &mut Core,
    session: SessionId,
    connection: &Connection,
    trail: &mut Trail,
) -> Result<(), Refusal> {
    let interval = session_timer(connection);
    core.endpoint
        .accept_session_timer(session, interval)
        .map_err(|status| {
            let text = match status {
                420 => "Session timers are required, and off",
                _ => "Session interval too small",
            };
            trail.step("session timer", Some(connection.label()), || {
                text.to_owned()
            });
            Refusal::new(status, text)
        })
}

/// `connection-sip-get-response-destination-from`: where responses to the peer go.
pub(crate) fn replies_to(connection: &Connection) -> ReplyTo {
    match connection
        .record
        .connection_sip_get_response_destination_from
    {
        DestinationFrom::DefaultIp => ReplyTo::Source,
        DestinationFrom::ContactHeader => ReplyTo::Contact,
        DestinationFrom::ViaHeader => ReplyTo::Via,
    }
}

/// Notes where responses to the peer go, if not where its requests come from.
pub(crate) fn note_responses(connection: &Connection, trail: &mut Trail) {
    let place = match replies_to(connection) {
        ReplyTo::Source => return,
        ReplyTo::Contact => "Contact",
        ReplyTo::Via => "sent-by of the topmost Via",
    };
    trail.step("responses", Some(connection.label()), || {
        format!("go to the {place} of its requests")
    });
}

/// Notes in the trail what two connections ask of a call between them, besides media.
pub(crate) fn note(source: &Connection, target: &Connection, trail: &mut Trail) {
    for connection in [source, target] {
        let timed = match connection.record.connection_sip_session_timer_enabled {
            SystemSwitch::SystemDefault => None,
            SystemSwitch::Yes => Some("on"),
            SystemSwitch::No => Some("off; a peer that promises to refresh is held to it"),
        };
        if let Some(timed) = timed {
            trail.step("session timer", Some(connection.label()), || {
                timed.to_owned()
            });
        }
        if connection.record.connection_include_server_header_enabled {
            trail.step("software", Some(connection.label()), || {
                format!("{SOFTWARE} is named in User-Agent and Server")
            });
        }
    }
    for connection in [source, target] {
        let user = &connection.record.connection_linked_billing_user;
        if !matches!(user.as_str(), "" | "domain") {
            trail.step("billing", Some(connection.label()), || {
                format!("its leg is booked to {user}")
            });
        }
    }
    note_responses(target, trail);
    if target.record.connection_sip_authenticate_as_client_enabled {
        trail.step("credentials", Some(target.label()), || {
            let user = &target.record.connection_sip_registration_username;
            match target.record.connection_sip_registration_realm.as_str() {
                "" => format!("a challenge is answered as {user}"),
                realm => format!("a challenge for realm {realm:?} is answered as {user}"),
            }
        });
    }
    super::minimum_duration::note(target, trail);
    super::identity::note(source, target, trail);
    super::recording::note(source, target, trail);
}

/// Whom a leg of this connection is booked to, as `user@domain`. A system-wide connection's `domain` is that of the
/// party at home, which [`book`] fills in.
pub(crate) fn billing_user(connection: &Connection) -> String {
    let user = connection.record.effective_billing_user();
    if user.contains('@') {
        user.to_owned()
    } else {
        format!("{user}@{}", connection.record.domain)
    }
}

/// Completes the billing user of a leg, now that the domain of its call is known.
pub(crate) fn book(leg: &mut CdrLeg, domain: &str) {
    leg.billing_user = booked(leg, domain);
}

/// Whom a leg is booked to, in a call of that domain.
pub(crate) fn booked(leg: &CdrLeg, domain: &str) -> Option<String> {
    let user = leg.billing_user.as_deref()?;
    let system = user
        .strip_suffix(SYSTEM)
        .and_then(|user| user.strip_suffix('@'));
    Some(system.map_or_else(|| user.to_owned(), |user| format!("{user}@{domain}")))
}
