//! Session timers (RFC 4028): a call whose far end has died without a word ends after a while.
//!
//! Both ends agree on an interval and on who refreshes. The refresher sends an UPDATE, or a re-INVITE with
//! what it said last where the peer takes no UPDATE, when half of the interval is over. Whoever sees no
//! refresh succeed until shortly before its end hangs up. All of it is done here: the layer above sets the
//! terms of each session and hears at most that it is over.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::arena::Key;
use crate::dialog::negotiation::Negotiation;
use crate::dialog::session::{Phase, Session};
use crate::endpoint::{Endpoint, Exchange, Flow, Outcome, Purpose, User};
use crate::event::{EndCause, Event, SessionId};
use crate::message::{Headers, Message, Method, Name, RequestDraft, ResponseDraft};
use crate::transaction::timers::{Due, SessionTimer, TimerId};

/// The shortest interval there is, in seconds (RFC 4028 §4), where no terms of ours say otherwise.
const SHORTEST_SECONDS: u32 = 90;

/// The longest interval that we let a peer demand, in seconds: a day.
const LONGEST_SECONDS: u32 = 86_400;

/// A session is ended this long before the end of its interval, or a third of it if that is less (§10).
const HANG_UP_EARLY: Duration = Duration::from_secs(32);

/// How long a refresh waits that met another exchange, or was refused for no reason that lasts.
const RETRY_REFRESH: Duration = Duration::from_secs(2);

/// How often one request of ours is sent again with a longer interval because of a 422.
const MAX_INTERVAL_ROUNDS: u8 = 3;

/// The terms on which we time a session.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct SessionInterval {
    /// The interval that we propose, and the longest that we accept: seconds of `Session-Expires`.
    pub seconds: u32,
    /// The shortest that we accept: seconds of `Min-SE`.
    pub minimum_seconds: u32,
}

keep::keep!(struct SessionInterval { seconds, minimum_seconds });

impl Default for SessionInterval {
    /// Half an hour, and no less than RFC 4028 allows.
    fn default() -> Self {
        Self {
            seconds: 1800,
            minimum_seconds: SHORTEST_SECONDS,
        }
    }
}

/// Who refreshes, seen from one request.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Refresher {
    Uac,
    Uas,
}

impl Refresher {
    fn as_str(self) -> &'static str {
        match self {
            Self::Uac => "uac",
            Self::Uas => "uas",
        }
    }
}

/// The value of `Session-Expires`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
struct Terms {
    seconds: u32,
    refresher: Option<Refresher>,
}

impl Terms {
    fn of(message: &Message) -> Option<Self> {
        Self::parse(message.header(Name::SessionExpires)?)
    }

    fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split(';').map(str::trim);
        let seconds = parts.next()?.parse().ok()?;
        let refresher = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            if !name.trim().eq_ignore_ascii_case("refresher") {
                return None;
            }
            match value.trim() {
                word if word.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
                word if word.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
                _ => None,
            }
        });
        Some(Self { seconds, refresher })
    }
}

fn minimum_of(message: &Message) -> Option<u32> {
    let value = message.header(Name::MinSe)?;
    value.split(';').next()?.trim().parse().ok()
}

fn supports_timer(request: &Message) -> bool {
    request.has_token(Name::Supported, "timer") || request.has_token(Name::Require, "timer")
}

/// What a request of the peer leads to: the seconds agreed, and who refreshes.
fn agree(interval: Option<SessionInterval>, request: &Message) -> Option<(u32, Refresher)> {
    let asked = Terms::of(request);
    let supported = supports_timer(request);
    let Some(own) = interval else {
        // We time nothing ourselves, but a peer that promises to refresh is held to it.
        let asked = asked.filter(|terms| supported && terms.refresher == Some(Refresher::Uac))?;
        return (asked.seconds >= SHORTEST_SECONDS).then_some((asked.seconds, Refresher::Uac));
    };
    let least = minimum_of(request).unwrap_or(0).max(own.minimum_seconds);
    let seconds = asked
        .map_or(own.seconds, |terms| terms.seconds.min(own.seconds))
        .max(least.min(LONGEST_SECONDS));
    let refresher = match asked.and_then(|terms| terms.refresher) {
        Some(refresher) if supported => refresher,
        _ => Refresher::Uas,
    };
    Some((seconds, refresher))
}

/// Whether the peer's interval is too short: the shortest that we take.
fn too_short(interval: Option<SessionInterval>, request: &Message) -> Option<u32> {
    let asked = Terms::of(request)?;
    let least = match interval {
        Some(own) => own.minimum_seconds,
        None if asked.refresher == Some(Refresher::Uac) => SHORTEST_SECONDS,
        None => return None,
    };
    (supports_timer(request) && asked.seconds < least).then_some(least)
}

/// The timer of one session.
pub(crate) struct Timing {
    /// Our terms; `None` where we only honour the peer's.
    interval: Option<SessionInterval>,
    /// What is agreed, in seconds; zero while nothing is.
    agreed_seconds: u32,
    /// Whether we refresh.
    ours: bool,
    /// When the session is given up.
    pub(crate) deadline: Option<Instant>,
    pub(crate) timer: Option<TimerId>,
    /// The description we gave last, for a re-INVITE that shall change nothing.
    description: Bytes,
    /// The shortest interval to name in a 422 of ours.
    least_seconds: u32,
}

keep::keep!(struct Timing {
    interval, agreed_seconds, ours, deadline, description, least_seconds; timer: None,
});

impl Timing {
    pub(crate) fn new(interval: Option<SessionInterval>) -> Self {
        Self {
            interval: interval.map(|interval| SessionInterval {
                minimum_seconds: interval.minimum_seconds.max(1),
                seconds: interval.seconds.max(interval.minimum_seconds.max(1)),
            }),
            agreed_seconds: 0,
            ours: false,
            deadline: None,
            timer: None,
            description: Bytes::new(),
            least_seconds: SHORTEST_SECONDS,
        }
    }

    /// The lines of a request that proposes or refreshes.
    fn propose(&self, headers: &mut Headers) {
        let Some(own) = self.interval else { return };
        let (seconds, ours) = match self.agreed_seconds {
            0 => (own.seconds, true),
            seconds => (seconds.max(own.minimum_seconds), self.ours),
        };
        let refresher = if ours { Refresher::Uac } else { Refresher::Uas };
        headers.push_name(Name::Supported, "timer");
        headers.push_name(
            Name::SessionExpires,
            format_args!("{seconds};refresher={}", refresher.as_str()),
        );
        headers.push_name(Name::MinSe, own.minimum_seconds);
    }
}

impl Session {
    /// Remembers what we described last, where a request that changes nothing may have to repeat it.
    pub(crate) fn note_description(&mut self, body: &Bytes) {
        if body.is_empty() {
            return;
        }
        if let Some(timing) = self.timing.as_deref_mut() {
            timing.description = body.clone();
        }
        if let Some(identity) = self.identity.as_deref_mut() {
            identity.description = body.clone();
        }
    }
}

impl Endpoint {
    /// Sets the terms on which a call that came in is timed; `None` times it only when its caller promises
    /// to refresh. To be called before the call is answered. `Err` is the status to refuse the call with:
    /// 420 when the caller insists on timers that we do not keep, 422 when its interval is too short.
    /// [`reject`](Self::reject) adds the headers that these need.
    pub fn accept_session_timer(
        &mut self,
        session: SessionId,
        interval: Option<SessionInterval>,
    ) -> Result<(), u16> {
        let Some(state) = self.sessions.get_mut(session.0) else {
            return Ok(());
        };
        let mut timing = Box::new(Timing::new(interval));
        let transaction = state.inbound().map(|inbound| inbound.transaction);
        let verdict = match transaction.and_then(|it| self.server_request(it)) {
            Some(request) if interval.is_none() && request.has_token(Name::Require, "timer") => {
                Err(420)
            }
            Some(request) => match too_short(timing.interval, request) {
                Some(least) => {
                    timing.least_seconds = least;
                    Err(422)
                }
                None => Ok(()),
            },
            None => Ok(()),
        };
        if let Some(state) = self.sessions.get_mut(session.0) {
            state.timing = Some(timing);
        }
        verdict
    }

    /// The headers without which a refusal for the sake of the timer says too little.
    pub(crate) fn explain_timer_refusal(&mut self, key: Key, draft: &mut ResponseDraft) {
        let session = self.sessions.get_mut(key);
        let Some(timing) = session.and_then(|session| session.timing.as_deref()) else {
            return;
        };
        match draft.status {
            420 if !draft.headers.contains("Unsupported") => {
                draft.headers.push_name(Name::Unsupported, "timer")
            }
            422 if !draft.headers.contains("Min-SE") => {
                draft.headers.push_name(Name::MinSe, timing.least_seconds)
            }
            _ => {}
        }
    }

    /// Adds the terms of a session to a request of ours that can refresh it.
    pub(crate) fn propose_timer(&mut self, key: Key, draft: &mut RequestDraft) {
        let timed = self
            .sessions
            .get_mut(key)
            .is_some_and(|session| session.timing.is_some());
        if !timed {
            return;
        }
        self.add_common_headers(draft);
        if let Some(session) = self.sessions.get_mut(key) {
            session.note_description(&draft.body);
            if let Some(timing) = session.timing.as_deref() {
                timing.propose(&mut draft.headers);
            }
        }
    }

    /// Refuses a re-INVITE or UPDATE whose interval is too short. True when that was done.
    pub(crate) fn refuse_short_interval(
        &mut self,
        now: Instant,
        key: Key,
        request: &Message,
        transaction: Key,
    ) -> bool {
        let interval = self
            .sessions
            .get_mut(key)
            .and_then(|session| session.timing.as_deref())
            .and_then(|timing| timing.interval);
        let Some(least) = too_short(interval, request) else {
            return false;
        };
        let mut draft = ResponseDraft::new(422);
        draft.headers.push_name(Name::MinSe, least);
        self.respond_draft(now, transaction, draft);
        true
    }

    /// Our 2xx to an INVITE, re-INVITE or UPDATE of the peer: what is agreed stands in it, and counts.
    pub(crate) fn answer_timer(
        &mut self,
        now: Instant,
        key: Key,
        request: &Message,
        headers: &mut Headers,
    ) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.phase != Phase::Established {
            return;
        }
        let interval = session.timing.as_deref().and_then(|timing| timing.interval);
        let agreed = agree(interval, request);
        if session.timing.is_none() && agreed.is_none() {
            return;
        }
        session
            .timing
            .get_or_insert_with(|| Box::new(Timing::new(None)));
        if interval.is_some() {
            headers.push_name(Name::Supported, "timer");
        }
        if let Some((seconds, refresher)) = agreed {
            if refresher == Refresher::Uac {
                headers.push_name(Name::Require, "timer");
            }
            headers.push_name(
                Name::SessionExpires,
                format_args!("{seconds};refresher={}", refresher.as_str()),
            );
        }
        let agreed = agreed.map(|(seconds, refresher)| (seconds, refresher == Refresher::Uas));
        self.run_timer(now, key, agreed);
    }

    /// The peer's 2xx to an INVITE, re-INVITE or UPDATE of ours.
    pub(crate) fn take_timer(&mut self, now: Instant, key: Key, response: &Message) {
        let Some(timing) = self
            .sessions
            .get_mut(key)
            .and_then(|session| session.timing.as_deref())
        else {
            return;
        };
        let agreed = timing.interval.map(|own| match Terms::of(response) {
            Some(terms) => (
                terms
                    .seconds
                    .clamp(own.minimum_seconds, LONGEST_SECONDS.max(own.seconds)),
                terms.refresher != Some(Refresher::Uas),
            ),
            // A peer without timers still answers refreshes, so we learn when it is gone.
            None => (own.seconds, true),
        });
        self.run_timer(now, key, agreed);
    }

    /// Starts anew, or stops. `agreed`: seconds, and whether we refresh.
    fn run_timer(&mut self, now: Instant, key: Key, agreed: Option<(u32, bool)>) {
        let Some(timing) = self
            .sessions
            .get_mut(key)
            .and_then(|session| session.timing.as_deref_mut())
        else {
            return;
        };
        self.timers.cancel(&mut timing.timer);
        let Some((seconds, ours)) = agreed else {
            (timing.agreed_seconds, timing.deadline) = (0, None);
            return;
        };
        (timing.agreed_seconds, timing.ours) = (seconds, ours);
        let interval = Duration::from_secs(u64::from(seconds));
        let deadline = now + interval - HANG_UP_EARLY.min(interval / 3);
        timing.deadline = Some(deadline);
        let at = if ours { now + interval / 2 } else { deadline };
        timing.timer = Some(
            self.timers
                .set(at, Due::Session(key, SessionTimer::Refresh)),
        );
    }

    /// Goes on with the timer of a session that an earlier process agreed on.
    pub(crate) fn resume_timer(&mut self, now: Instant, key: Key) {
        let Some(timing) = self
            .sessions
            .get_mut(key)
            .and_then(|session| session.timing.as_deref_mut())
        else {
            return;
        };
        let Some(deadline) = timing.deadline else {
            return;
        };
        let interval = Duration::from_secs(u64::from(timing.agreed_seconds));
        let half = interval / 2 - HANG_UP_EARLY.min(interval / 3).min(interval / 2);
        // A refresh that was due meanwhile has time for an answer, whatever the clock says.
        let deadline = deadline.max(now + RETRY_REFRESH * 4);
        timing.deadline = Some(deadline);
        let refresh = deadline.checked_sub(half).unwrap_or(now);
        let at = match timing.ours {
            true => refresh.max(now + RETRY_REFRESH).min(deadline),
            false => deadline,
        };
        let due = Due::Session(key, SessionTimer::Refresh);
        timing.timer = Some(self.timers.set(at, due));
    }

    /// Half of the interval is over, or nearly all of it.
    pub(crate) fn on_refresh_timer(&mut self, now: Instant, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let established = session.phase == Phase::Established && session.bye.is_none();
        let Some(timing) = session.timing.as_deref_mut() else {
            return;
        };
        timing.timer = None;
        let Some(deadline) = timing.deadline.filter(|_| established) else {
            return;
        };
        if now >= deadline {
            self.expire(now, key);
        } else {
            self.refresh(now, key);
        }
    }

    fn expire(&mut self, now: Instant, key: Key) {
        let mut reason = Headers::new();
        reason.push_name(Name::Reason, "SIP;cause=408;text=\"Session timer expired\"");
        self.bye(now, SessionId(key), reason);
        self.event(Event::Ended {
            session: SessionId(key),
            cause: EndCause::SessionExpired,
        });
    }

    /// Sends a refresh, if nothing else is under way, and wakes again when the session is to be given up.
    fn refresh(&mut self, now: Instant, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let update = session
            .dialogs
            .last()
            .is_some_and(|dialog| dialog.allows_update);
        let busy = session.is_negotiating() || session.success.is_some();
        if busy {
            self.refresh_again(now, key, RETRY_REFRESH);
            return;
        }
        let description = session
            .timing
            .as_deref()
            .map(|timing| timing.description.clone())
            .unwrap_or_default();
        if !update && description.is_empty() {
            // A re-INVITE without a description would ask the peer for a new offer.
            self.refresh_again(now, key, RETRY_REFRESH);
            return;
        }
        self.wake_at_deadline(key);
        let description = (!update).then_some(description);
        self.repeat_offer(
            now,
            key,
            Headers::default(),
            description,
            Purpose::Refresh(key),
        );
    }

    fn wake_at_deadline(&mut self, key: Key) {
        if let Some(timing) = self
            .sessions
            .get_mut(key)
            .and_then(|session| session.timing.as_deref_mut())
            && let Some(deadline) = timing.deadline
        {
            self.timers.cancel(&mut timing.timer);
            timing.timer = Some(
                self.timers
                    .set(deadline, Due::Session(key, SessionTimer::Refresh)),
            );
        }
    }

    fn refresh_again(&mut self, now: Instant, key: Key, after: Duration) {
        if let Some(timing) = self
            .sessions
            .get_mut(key)
            .and_then(|session| session.timing.as_deref_mut())
            && let Some(deadline) = timing.deadline
        {
            self.timers.cancel(&mut timing.timer);
            timing.timer = Some(self.timers.set(
                (now + after).min(deadline),
                Due::Session(key, SessionTimer::Refresh),
            ));
        }
    }

    /// A refresh of ours has come to its end.
    pub(crate) fn on_refresh_outcome(
        &mut self,
        now: Instant,
        key: Key,
        exchange: Exchange,
        outcome: Outcome,
    ) {
        let reinvite = exchange.draft.method == Method::Invite;
        let status = outcome.status();
        if self.settle_refresh(now, key, exchange, &outcome) {
            return;
        }
        match status {
            200..300 => {}
            405 | 501 if !reinvite => self.refresh(now, key),
            491 => {
                let after = self.glare_delay(SessionId(key));
                self.refresh_again(now, key, after);
            }
            _ => self.refresh_again(now, key, RETRY_REFRESH),
        }
    }

    /// What the outcome of a request of ours that changes nothing means for the session. True when it has ended.
    pub(crate) fn settle_refresh(
        &mut self,
        now: Instant,
        key: Key,
        exchange: Exchange,
        outcome: &Outcome,
    ) -> bool {
        let reinvite = exchange.draft.method == Method::Invite;
        let status = outcome.status();
        let success = (200..300).contains(&status);
        let Some(session) = self.sessions.get_mut(key) else {
            return true;
        };
        if reinvite {
            session.ours = None;
        }
        if let Some(dialog) = session.current() {
            if reinvite {
                dialog.negotiation = Negotiation::Settled;
            }
            if let Outcome::Response(response, flow) = outcome
                && success
            {
                dialog.refresh_target(response);
                dialog.flow = *flow;
                dialog.note_abilities(response);
            } else if !reinvite && matches!(status, 405 | 501) {
                dialog.allows_update = false;
            }
        }
        if reinvite && success {
            self.set_user(exchange.transaction, User::Session(key));
            self.send_ack(
                now,
                key,
                exchange.transaction,
                exchange.draft.cseq,
                exchange.authorization,
                Bytes::new(),
            );
        }
        if self.on_dialog_outcome(now, key, outcome) {
            return true;
        }
        if let Outcome::Response(response, _) = outcome
            && success
        {
            self.take_timer(now, key, response);
        }
        false
    }

    /// A 422 to a request of ours: the peer wants a longer interval. True when the request is out again
    /// with one.
    pub(crate) fn lengthen_interval(
        &mut self,
        now: Instant,
        id: Key,
        response: &Message,
        flow: Flow,
    ) -> bool {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return false;
        };
        let session = match exchange.purpose {
            Purpose::Invite(session)
            | Purpose::Reinvite(session)
            | Purpose::Update(session)
            | Purpose::Refresh(session)
            | Purpose::Identify(session) => session,
            _ => return false,
        };
        let (Some(least), true) = (
            minimum_of(response).filter(|seconds| *seconds <= LONGEST_SECONDS),
            exchange.interval_rounds < MAX_INTERVAL_ROUNDS,
        ) else {
            return false;
        };
        let Some(state) = self.sessions.get_mut(session) else {
            return false;
        };
        let Some(timing) = state.timing.as_deref_mut() else {
            return false;
        };
        let Some(own) = timing.interval.as_mut() else {
            return false;
        };
        own.minimum_seconds = own.minimum_seconds.max(least);
        own.seconds = own.seconds.max(own.minimum_seconds);
        if timing.agreed_seconds != 0 {
            timing.agreed_seconds = timing.agreed_seconds.max(own.minimum_seconds);
        }
        exchange.interval_rounds += 1;
        // An answer to a challenge counts once (RFC 7616 §3.4); the peer may ask again.
        let mut headers = exchange
            .plain
            .take()
            .unwrap_or_else(|| exchange.draft.headers.clone());
        exchange.auth_rounds = 0;
        headers.remove("Session-Expires");
        headers.remove("Min-SE");
        headers.remove_line("Supported", "timer");
        timing.propose(&mut headers);
        exchange.draft.headers = headers;
        exchange.draft.cseq = state.next_cseq();
        self.send_to(now, id, flow);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read_in_any_dress() {
        let terms = |text| Terms::parse(text);
        assert_eq!(
            terms("1800 ; Refresher = UAS;x"),
            Some(Terms {
                seconds: 1800,
                refresher: Some(Refresher::Uas)
            })
        );
        assert_eq!(
            terms("90"),
            Some(Terms {
                seconds: 90,
                refresher: None
            })
        );
        assert_eq!(terms("90;refresher=both").unwrap().refresher, None);
        assert_eq!(terms("soon"), None);
        assert_eq!(terms("-1"), None);
    }
}
