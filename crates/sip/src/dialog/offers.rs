//! Offers in an established session, both ways: re-INVITE (RFC 3261 §14), UPDATE (RFC 3311), and the
//! collisions between them.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::arena::Key;
use crate::dialog::Dialog;
use crate::dialog::negotiation::Negotiation;
use crate::dialog::session::{Owed, Phase, Session};
use crate::dialog::uac::SDP;
use crate::endpoint::{Endpoint, Exchange, Outcome, Purpose, User, has_sdp};
use crate::event::{Event, SessionId};
use crate::message::{Headers, Message, Method, Name, ResponseDraft};

/// The longest `Retry-After` of a 500 that says "your other offer is not answered yet"
/// (RFC 3261 §14.2, RFC 3311 §5.2).
const RETRY_OFFER_SECONDS: u64 = 10;

/// Why an offer could not be made.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum OfferRefused {
    /// The session is over, or has no dialog that could carry the request.
    NoDialog,
    /// Another offer, or the ACK of one, is still open on either side. Try again when it is not.
    Pending,
}

impl std::fmt::Display for OfferRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoDialog => "the session has no dialog for an offer",
            Self::Pending => "another offer is still open",
        })
    }
}

impl std::error::Error for OfferRefused {}

impl Endpoint {
    /// Makes an offer within a session, by re-INVITE or UPDATE. An empty `body` in a re-INVITE asks the
    /// peer for its offer. The outcome comes as `OfferResult`. A re-INVITE waits for the ACK of our 2xx, if that is all
    /// that is missing: the ACK is on its way, and may have been overtaken by what made us ask.
    pub fn offer(
        &mut self,
        now: Instant,
        session: SessionId,
        method: Method,
        headers: Headers,
        body: Bytes,
    ) -> Result<(), OfferRefused> {
        let key = session.0;
        let state = self.sessions.get_mut(key).ok_or(OfferRefused::NoDialog)?;
        let reinvite = method == Method::Invite;
        let fits = match state.phase {
            Phase::Established => true,
            Phase::Calling | Phase::Ringing => !reinvite,
            Phase::Closing => false,
        };
        if !fits || !(reinvite || method == Method::Update) {
            return Err(OfferRefused::NoDialog);
        }
        let busy = state.bye.is_some() || state.is_negotiating();
        let unacknowledged = state.success.is_some();
        let dialog = state.current().ok_or(OfferRefused::NoDialog)?;
        if busy {
            return Err(OfferRefused::Pending);
        }
        if reinvite && unacknowledged {
            state.held = Some(Box::new((headers, body)));
            return Ok(());
        }
        if !body.is_empty() {
            dialog.negotiation.send();
        } else if reinvite {
            dialog.negotiation = Negotiation::Fresh;
        }
        let index = state.dialogs.len() - 1;
        let (mut draft, hop) = self
            .dialog_draft(key, index, method.clone(), None)
            .ok_or(OfferRefused::NoDialog)?;
        draft.headers = headers;
        if !body.is_empty() {
            draft.content_type = Some(SDP);
            draft.body = body;
        }
        self.propose_timer(key, &mut draft);
        self.propose_from_change(key, &mut draft);
        let purpose = if reinvite {
            Purpose::Reinvite(key)
        } else {
            Purpose::Update(key)
        };
        // Known before it begins, for it may fail at once.
        if let Some(state) = self.sessions.get_mut(key) {
            state.ours = Some((method, self.exchanges.next_key()));
        }
        self.begin_in_session(now, key, purpose, draft, hop);
        Ok(())
    }

    /// Sends a request within the session that leaves the media as they are: a re-INVITE that repeats our description,
    /// or without one an UPDATE.
    pub(crate) fn repeat_offer(
        &mut self,
        now: Instant,
        key: Key,
        headers: Headers,
        description: Option<Bytes>,
        purpose: Purpose,
    ) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let method = match description {
            Some(_) => Method::Invite,
            None => Method::Update,
        };
        let Some(index) = session.dialogs.len().checked_sub(1) else {
            return;
        };
        let Some((mut draft, hop)) = self.dialog_draft(key, index, method.clone(), None) else {
            return;
        };
        draft.headers = headers;
        if let Some(description) = description {
            draft.content_type = Some(SDP);
            draft.body = description;
            if let Some(session) = self.sessions.get_mut(key) {
                session.ours = Some((method, self.exchanges.next_key()));
                if let Some(dialog) = session.current() {
                    dialog.negotiation.send();
                }
            }
        }
        self.propose_timer(key, &mut draft);
        self.propose_from_change(key, &mut draft);
        self.begin_in_session(now, key, purpose, draft, hop);
    }

    /// Sends the re-INVITE that waited for the ACK of our 2xx.
    pub(crate) fn send_held(&mut self, now: Instant, key: Key) {
        let held = self.sessions.get_mut(key).and_then(|it| it.held.take());
        let Some((headers, body)) = held.map(|held| *held) else {
            return;
        };
        let session = SessionId(key);
        if self
            .offer(now, session, Method::Invite, headers, body)
            .is_err()
        {
            self.event(Event::OfferResult {
                session,
                method: Method::Invite,
                status: 491,
                response: None,
            });
        }
    }

    /// Our re-INVITE or UPDATE has come to its end.
    pub(crate) fn on_offer_outcome(
        &mut self,
        now: Instant,
        key: Key,
        exchange: Exchange,
        outcome: Outcome,
    ) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let method = exchange.draft.method.clone();
        let reinvite = method == Method::Invite;
        session.ours = None;
        let tag = match &outcome {
            Outcome::Response(response, _) => response.to().tag().unwrap_or("").to_owned(),
            _ => String::new(),
        };
        let status = outcome.status();
        let mut acknowledge = false;
        let index = session
            .dialogs
            .iter()
            .position(|dialog| *dialog.remote_tag == *tag);
        let index = index.or(session.dialogs.len().checked_sub(1));
        if let Some(dialog) = index.and_then(|index| session.dialogs.get_mut(index)) {
            match &outcome {
                Outcome::Response(response, flow) if (200..300).contains(&status) => {
                    dialog.refresh_target(response);
                    dialog.flow = *flow;
                    let offered =
                        reinvite && dialog.negotiation == Negotiation::Fresh && has_sdp(response);
                    if offered {
                        dialog.negotiation.receive();
                        session.owed = Some(Box::new(Owed::Ack {
                            invite: exchange.transaction,
                            cseq: exchange.draft.cseq,
                            authorization: exchange.authorization.clone(),
                        }));
                    } else {
                        dialog.negotiation.settle();
                        acknowledge = reinvite;
                    }
                }
                _ => dialog.negotiation.settle(),
            }
        }
        if reinvite && (200..300).contains(&status) {
            self.set_user(exchange.transaction, User::Session(key));
        }
        if acknowledge {
            self.send_ack(
                now,
                key,
                exchange.transaction,
                exchange.draft.cseq,
                exchange.authorization,
                Bytes::new(),
            );
        }
        if self.on_dialog_outcome(now, key, &outcome) {
            return;
        }
        if let Outcome::Response(response, _) = &outcome
            && (200..300).contains(&status)
        {
            self.take_timer(now, key, response);
        }
        let response = outcome.into_response();
        self.event(Event::OfferResult {
            session: SessionId(key),
            method,
            status,
            response,
        });
    }

    pub(crate) fn on_reinvite(
        &mut self,
        now: Instant,
        key: Key,
        index: usize,
        request: Message,
        transaction: Key,
    ) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let unacknowledged = session.success.is_some() && !session.proves_success(index, &request);
        let status = match session {
            Session {
                phase: Phase::Calling | Phase::Ringing,
                ..
            }
            | Session {
                theirs: Some(_), ..
            } => 500,
            Session { ours: Some(_), .. }
            | Session { owed: Some(_), .. }
            | Session { held: Some(_), .. } => 491,
            _ if unacknowledged => 491,
            _ => 0,
        };
        if status != 0 {
            self.refuse_offer(now, transaction, status);
            return;
        }
        if self.refuse_short_interval(now, key, &request, transaction) {
            return;
        }
        self.confirm_success(key, None);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        session.theirs = Some((Method::Invite, transaction));
        if let Some(dialog) = session.dialogs.get_mut(index) {
            dialog.negotiation = Negotiation::after_their_invite(has_sdp(&request));
        }
        self.note_identity(key, index, &request);
        self.event(Event::Offer {
            session: SessionId(key),
            method: Method::Invite,
            request,
        });
    }

    pub(crate) fn on_update(
        &mut self,
        now: Instant,
        key: Key,
        index: usize,
        request: Message,
        transaction: Key,
    ) {
        if self.refuse_short_interval(now, key, &request, transaction) {
            return;
        }
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(dialog) = session.dialogs.get_mut(index) else {
            return;
        };
        if !has_sdp(&request) {
            dialog.refresh_target(&request);
            let mut draft = ResponseDraft::new(200);
            self.answer_timer(now, key, &request, &mut draft.headers);
            self.respond_draft(now, transaction, draft);
            if self.note_identity(key, index, &request) {
                self.event(Event::Updated {
                    session: SessionId(key),
                    request,
                });
            }
            return;
        }
        let ours = session.ours.is_some() || session.owed.is_some() || session.held.is_some();
        let status = match dialog.negotiation {
            _ if session.theirs.is_some() => 500,
            Negotiation::Theirs => 500,
            Negotiation::Ours | Negotiation::Fresh => 491,
            Negotiation::Settled if ours => 491,
            Negotiation::Settled => 0,
        };
        if status != 0 {
            self.refuse_offer(now, transaction, status);
            return;
        }
        dialog.negotiation.receive();
        session.theirs = Some((Method::Update, transaction));
        self.note_identity(key, index, &request);
        self.event(Event::Offer {
            session: SessionId(key),
            method: Method::Update,
            request,
        });
    }

    fn refuse_offer(&mut self, now: Instant, transaction: Key, status: u16) {
        let mut draft = ResponseDraft::new(status);
        if status == 500 {
            let seconds = self.random.below(RETRY_OFFER_SECONDS + 1);
            draft.headers.push_name(Name::RetryAfter, seconds);
        }
        self.respond_draft(now, transaction, draft);
    }

    /// Answers an offer of the peer with 200 and `body`. For a re-INVITE without offer, `body` is ours.
    pub fn answer_offer(
        &mut self,
        now: Instant,
        session: SessionId,
        headers: Headers,
        body: Bytes,
    ) {
        let key = session.0;
        let Some(state) = self.sessions.get_mut(key) else {
            return;
        };
        let Some((method, transaction)) = state.theirs.take() else {
            return;
        };
        let request = self.server_request(transaction).cloned();
        if let Some(request) = &request
            && method != Method::Prack
            && let Some(dialog) = self.dialog_of_request(key, request)
        {
            dialog.refresh_target(request);
        }
        if method == Method::Invite {
            self.send_success(now, key, transaction, headers, body, true);
            return;
        }
        if let Some(request) = &request
            && let Some(dialog) = self.dialog_of_request(key, request)
        {
            dialog.negotiation.settle();
        }
        let mut headers = headers;
        if let Some(session) = self.sessions.get_mut(key) {
            session.note_description(&body);
        }
        if let Some(request) = request.filter(|_| method == Method::Update) {
            self.answer_timer(now, key, &request, &mut headers);
        }
        let draft = ResponseDraft {
            status: 200,
            headers,
            content_type: Some(SDP),
            body,
            ..ResponseDraft::default()
        };
        self.respond_draft(now, transaction, draft);
        self.send_deferred(now, key);
    }

    /// Refuses an offer of the peer. The session goes on as it was.
    pub fn reject_offer(
        &mut self,
        now: Instant,
        session: SessionId,
        status: u16,
        headers: Headers,
    ) {
        let key = session.0;
        let Some(state) = self.sessions.get_mut(key) else {
            return;
        };
        let Some((_, transaction)) = state.theirs.take() else {
            return;
        };
        if let Some(request) = self.server_request(transaction).cloned()
            && let Some(dialog) = self.dialog_of_request(key, &request)
        {
            dialog.negotiation.settle();
        }
        let status = if status < 300 { 488 } else { status };
        let draft = ResponseDraft {
            status,
            headers,
            ..ResponseDraft::default()
        };
        self.respond_draft(now, transaction, draft);
        self.send_deferred(now, key);
    }

    /// The peer took its re-INVITE back; its transaction has got 487.
    pub(crate) fn withdraw_offer(&mut self, key: Key, request: Message) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        session.theirs = None;
        if let Some(dialog) = session.current() {
            dialog.negotiation.settle();
        }
        self.event(Event::OfferWithdrawn {
            session: SessionId(key),
            request,
        });
    }

    /// Whether the peer has said that it takes an UPDATE. If not, an offer goes by re-INVITE.
    pub fn allows_update(&self, session: SessionId) -> bool {
        let allows = |session: &Session| {
            let dialog = session.dialogs.last();
            dialog.is_some_and(|dialog| dialog.allows_update)
        };
        self.sessions.inspect(session.0, allows).unwrap_or(false)
    }

    /// How long to wait before an offer that met a 491 is made again (RFC 3261 §14.1).
    pub fn glare_delay(&mut self, session: SessionId) -> Duration {
        // In steps of 10 ms: the side that made the Call-ID waits longer, so the two do not meet again.
        let owner = self
            .sessions
            .get_mut(session.0)
            .is_some_and(|session| session.owns_call_id);
        let steps = if owner {
            210 + self.random.below(191)
        } else {
            self.random.below(201)
        };
        Duration::from_millis(10 * steps)
    }

    pub(crate) fn dialog_of_request(&mut self, key: Key, request: &Message) -> Option<&mut Dialog> {
        let tag = request.from().tag().unwrap_or("");
        self.sessions
            .get_mut(key)?
            .dialogs
            .iter_mut()
            .find(|dialog| *dialog.remote_tag == *tag)
    }
}
