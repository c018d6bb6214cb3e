//! Who speaks on either side, when that changes within the call (RFC 4916): a PBX has transferred the call on its
//! side, or another than the one that was called has answered.
//!
//! `connection-allow-mid-call-uri-updates-enabled` of the connection that would be told decides. `no`: identities stay
//! as they were when the call was set up. `yes`: its peer gets an UPDATE, or a re-INVITE where it takes none, with
//! what its formats and translations make of the new identity, and with a new From where it has said that it bears
//! one.
//!
//! A peer is believed as it is when it calls (RFC 3325 §5): a carrier trunk by its P-Asserted-Identity, else
//! Remote-Party-ID, else From; any other by its From alone. What a dial rule wrote of the caller stays written.

use super::{Call, opposite};
use crate::core::Core;
use crate::directory::Connection;
use crate::plan::{self, CallerRules, PlanContext, Renamed, rename};
use crate::routing::identity::{Caller, Claims, caller};
use crate::trail::Trail;
use ::media::relay::Side;
use sip::message::{Headers, Message, NameAddr, Uri};
use std::sync::Arc;

/// Who speaks on a side, as far as we have heard.
#[derive(Debug)]
pub(crate) struct Speaker {
    caller: Caller,
    /// What its From said last: only a change of it counts.
    from: Uri,
    /// The other side has not been told yet.
    news: bool,
    /// What the other side reads of it.
    told: String,
}

keep::keep!(struct Speaker { caller, from, news, told });

impl Speaker {
    fn is(caller: Caller, from: &Uri) -> Option<Box<Self>> {
        Some(Box::new(Self {
            caller,
            from: from.clone(),
            news: false,
            told: String::new(),
        }))
    }

    fn hear(&mut self, now: Caller) {
        if !is_same(&self.caller, &now) {
            self.caller = now;
            self.news = true;
        }
    }
}

/// Whether identities may change on the legs of this connection.
pub(crate) fn allowed(connection: &Connection) -> bool {
    connection
        .record
        .connection_allow_mid_call_uri_updates_enabled
}

/// Notes in the trail where a change would be passed on.
pub(crate) fn note(source: &Connection, target: &Connection, trail: &mut Trail) {
    for connection in [source, target] {
        if allowed(connection) {
            trail.step("mid-call identity", Some(connection.label()), || {
                "is told when somebody else speaks on the other side".to_owned()
            });
        }
    }
}

/// The called side has answered: from now on changes count. Its answer may say already that another than the one
/// that was called is there.
pub(crate) fn on_answered(call: &mut Call, answer: &Message) {
    let (source, target) = (call.failover.origin().0, Arc::clone(&call.plan.target));
    if let Some(invite) = call.invite.as_deref().filter(|_| allowed(&target)) {
        let trusted = source.record.connection_is_carrier_trunk;
        let from = invite.from();
        let caller = caller(trusted, from, &Claims::of(invite));
        call.a.speaker = Speaker::is(caller, &from.uri);
        if let Some(speaker) = call.a.speaker.as_deref_mut() {
            speaker.told = read(&call.plan.from, &call.plan.headers);
        }
    }
    if allowed(&source) {
        let called = NameAddr::new(None, call.plan.to.uri.clone());
        let nobody_else = caller(false, &called, &Claims::default());
        call.b.speaker = Speaker::is(nobody_else, &called.uri);
        let claims = Claims::within(answer);
        if let Some(speaker) = call.b.speaker.as_deref_mut()
            && target.record.connection_is_carrier_trunk
            && claims.identifies()
        {
            speaker.hear(caller(true, &called, &claims));
        }
    }
}

/// A request of a side within the call that may say who speaks there now.
pub(crate) fn on_request(call: &mut Call, side: Side, request: &Message) {
    let trusted = connection(call, side).record.connection_is_carrier_trunk;
    let Some(speaker) = call.leg_mut(side).speaker.as_deref_mut() else {
        return;
    };
    let claims = Claims::within(request);
    let from = request.from();
    let renamed = from.uri != speaker.from;
    if renamed {
        speaker.from = from.uri.clone();
    }
    // A From that is as ever says nothing: a carrier that asserted a caller in its INVITE need not repeat it.
    if renamed || (trusted && claims.identifies()) {
        speaker.hear(caller(trusted, from, &claims));
    }
}

fn connection(call: &Call, side: Side) -> Arc<Connection> {
    match side {
        Side::A => call.failover.origin().0,
        Side::B => Arc::clone(&call.plan.target),
    }
}

/// Tells each side what is new of the other, once no offer is between them: a re-INVITE of ours would be in its way.
pub(crate) fn tell(core: &mut Core, call: &mut Call) {
    for side in [Side::A, Side::B] {
        let has_news = call.leg(side).speaker.as_deref().is_some_and(|it| it.news);
        if has_news && call.a.offering.is_none() && call.b.offering.is_none() {
            tell_of(core, call, side);
        }
    }
}

fn tell_of(core: &mut Core, call: &mut Call, side: Side) {
    let (source, target) = (connection(call, side), connection(call, opposite(side)));
    let (Some(session), Some(speaker)) = (
        call.session(opposite(side)),
        call.leg_mut(side).speaker.as_deref_mut(),
    ) else {
        return;
    };
    speaker.news = false;
    let caller = speaker.caller.clone();
    let (rules, interface, called) = match side {
        Side::A => (
            call.plan.rules,
            call.plan.interface,
            call.plan.to.uri.user().unwrap_or_default(),
        ),
        Side::B => (
            CallerRules::default(),
            call.failover.origin().1.interface,
            "",
        ),
    };
    let written = if rules.chosen {
        Err("a dial rule chose what is shown".to_owned())
    } else {
        let renamed = Renamed {
            source: &source,
            caller: &caller,
            target: &target,
            interface,
            domain: &call.domain,
            called,
            blocked: rules.blocked,
        };
        let context = PlanContext {
            unix_ms: core.clock.unix_ms,
            interfaces: &core.config.sip.interfaces,
            ringback: None,
            hostname: &core.config.hostname,
            draw: 0,
        };
        rename(&core.directory, renamed, context, &mut call.trail).map_err(|refusal| refusal.text)
    };
    if let (Ok(written), Some(speaker)) = (&written, call.leg_mut(side).speaker.as_deref_mut()) {
        let told = read(&written.from, &written.headers);
        if std::mem::replace(&mut speaker.told, told) == speaker.told {
            // Another extension behind the same number, say.
            return;
        }
    }
    call.trail.step(
        "mid-call identity",
        Some(target.label()),
        || match &written {
            Ok(written) => format!("another speaks: From {}", written.from),
            Err(why) => format!("another speaks, and it is not said: {why}"),
        },
    );
    if let Ok(written) = written {
        if side == Side::A {
            call.plan.hidden = written.hidden;
        }
        let mut headers = Headers::new();
        for (name, value) in &written.headers {
            headers.push(name, value);
        }
        core.endpoint
            .identify(core.clock.now, session, &written.from, headers);
    }
}

/// What a peer reads of who speaks: From and the headers of identity.
fn read(from: &NameAddr, headers: &[(String, String)]) -> String {
    let mut text = from.to_string();
    for (name, value) in headers {
        if plan::is_of_identity(name) {
            text += &format!("\n{name}: {value}");
        }
    }
    text
}

/// Whether two identities are one to whoever reads them. A carrier may write a plus once and not the other time.
fn is_same(one: &Caller, other: &Caller) -> bool {
    let number = |caller: &Caller| {
        let user = caller.id.uri.user().unwrap_or_default();
        user.strip_prefix('+').unwrap_or(user).to_owned()
    };
    let names = |caller: &Caller| caller.id.display.clone();
    one.private == other.private
        && number(one) == number(other)
        // That nothing is said of a name does not take it away.
        && (other.id.display.is_none() || names(one) == names(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip::message::ByteStr;

    fn who(text: &str, private: bool) -> Caller {
        Caller {
            id: NameAddr::parse(&ByteStr::copy(text)).unwrap(),
            header: "From",
            private,
        }
    }

    #[test]
    fn number_name_and_privacy_tell_people_apart_and_hosts_do_not() {
        let ann = who("\"Ann\" <sip:+12125550111@a.example>", false);
        assert!(is_same(
            &ann,
            &who("\"Ann\" <sip:12125550111@b.example>", false)
        ));
        assert!(is_same(&ann, &who("<sip:12125550111@a.example>", false)));
        for other in [
            who("\"Ann\" <sip:12125550112@a.example>", false),
            who("\"Bob\" <sip:12125550111@a.example>", false),
            who("\"Ann\" <sip:12125550111@a.example>", true),
        ] {
            assert!(!is_same(&ann, &other));
        }
    }
}
