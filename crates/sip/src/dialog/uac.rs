//! The side that calls: from `invite` to the first 2xx or the failure (RFC 3261 §13.2).

use std::time::Instant;

use bytes::Bytes;

use crate::arena::Key;
use crate::dialog::Dialog;
use crate::dialog::negotiation::Negotiation;
use crate::dialog::route_set;
use crate::dialog::session::{Cancelling, Outbound, Owed, Phase, Pracking, Session, Setup};
use crate::dialog::session_timer::Timing;
use crate::endpoint::{
    Endpoint, Exchange, Flow, OutboundInvite, Outcome, Purpose, Running, User, has_sdp,
};
use crate::event::{Event, FailCause, SessionId};
use crate::message::header::rack::RAck;
use crate::message::{ByteStr, Headers, Message, Method, Name, RequestDraft};
use crate::token;
use crate::transaction::request_client::RequestClient;
use crate::transaction::{Context, Heard, Transaction, from_invite};

/// The most early dialogs of one INVITE; further forks are not told apart until they answer.
const MAX_EARLY_DIALOGS: usize = 16;
/// The type of the bodies that sessions are made of.
pub(crate) const SDP: ByteStr = ByteStr::literal("application/sdp");

impl Endpoint {
    /// Calls. The session reports with `Progress`, then `Answered` or `Failed`.
    pub fn invite(&mut self, now: Instant, invite: OutboundInvite) -> SessionId {
        let key = self.sessions.next_key();
        let tag = token::tag(self.config.owner, key, &mut self.random);
        let mut draft = invite.draft;
        if draft.call_id.is_empty() {
            draft.call_id = self.new_call_id();
        }
        draft.method = Method::Invite;
        draft.from = [&*draft.from, ";tag=", &tag].concat().into();
        let offered = !draft.body.is_empty();
        if offered && draft.content_type.is_none() {
            draft.content_type = Some(SDP);
        }
        let mut session = Session::new(
            Phase::Calling,
            tag,
            draft.call_id.clone(),
            draft.from.clone(),
        );
        draft.cseq = session.next_cseq();
        session.contact = draft.contact.clone();
        session.credentials = invite.credentials.clone();
        session.setup = Some(Box::new(Setup::Outbound(Outbound {
            exchange: None,
            cancel: Cancelling::No,
            offered,
            uri: draft.uri.clone(),
        })));
        let full = self.sessions.len() >= self.config.max_sessions
            || self.transactions.len() >= self.config.max_transactions;
        let id = SessionId(self.sessions.insert(session));
        debug_assert_eq!(id.0, key);
        if full {
            self.overloads += 1;
            self.fail(now, key, 503, None, FailCause::Overload);
            return id;
        }
        if let Some(interval) = invite.session_timer
            && let Some(session) = self.sessions.get_mut(key)
        {
            session.timing = Some(Box::new(Timing::new(Some(interval))));
            self.propose_timer(key, &mut draft);
        }
        if invite.from_change {
            if let Some(session) = self.sessions.get_mut(key) {
                session.identity = Some(Box::default());
                session.note_description(&draft.body);
            }
            self.propose_from_change(key, &mut draft);
        }
        let mut exchange = Exchange::new(Purpose::Invite(key), draft);
        exchange.credentials = invite.credentials;
        exchange.interface = invite.interface;
        exchange.fast = invite.fail_over_without_response;
        let exchange = self.begin(now, exchange, invite.target);
        if self.exchanges.get(exchange).is_some()
            && let Some(outbound) = self.sessions.get_mut(key).and_then(Session::outbound)
        {
            outbound.exchange = Some(exchange);
        }
        id
    }

    /// Gives a call up. While nothing has been heard the CANCEL waits; when a 2xx crosses it, the call
    /// is hung up. Every session that calls and is cancelled ends with one `Failed`.
    pub fn cancel(&mut self, now: Instant, session: SessionId, reason: Option<ByteStr>) {
        let key = session.0;
        let Some(state) = self.sessions.get_mut(key) else {
            return;
        };
        match state.phase {
            Phase::Calling => {}
            Phase::Established | Phase::Ringing => {
                // The 2xx came while the command was on its way.
                let called = state.owns_call_id;
                let mut headers = Headers::new();
                if let Some(reason) = reason {
                    headers.push_name(Name::Reason, reason);
                }
                self.bye(now, session, headers);
                if called {
                    self.event(Event::Failed {
                        session,
                        status: 487,
                        response: None,
                        cause: FailCause::Cancelled,
                    });
                }
                return;
            }
            Phase::Closing => return,
        }
        let Some(outbound) = state.outbound() else {
            return;
        };
        if outbound.cancel != Cancelling::No {
            return;
        }
        outbound.cancel = Cancelling::Wanted { reason };
        let exchange = outbound.exchange.and_then(|id| self.exchanges.get(id));
        match exchange.and_then(|exchange| exchange.transaction) {
            None => self.fail(now, key, 487, None, FailCause::Cancelled),
            Some(transaction) => {
                let calling = matches!(
                    self.transactions.get(transaction).map(|running| &running.machine),
                    Some(Transaction::InviteClient(machine)) if machine.is_calling()
                );
                if !calling {
                    self.cancel_if_wanted(now, key, transaction);
                }
            }
        }
    }

    /// Sends the CANCEL that could not be sent before anything was heard.
    fn cancel_if_wanted(&mut self, now: Instant, key: Key, transaction: Key) {
        let Some(outbound) = self.sessions.get_mut(key).and_then(Session::outbound) else {
            return;
        };
        if !matches!(outbound.cancel, Cancelling::Wanted { .. }) {
            return;
        }
        let Cancelling::Wanted { reason } =
            std::mem::replace(&mut outbound.cancel, Cancelling::Sent)
        else {
            return;
        };
        self.send_cancel(now, transaction, reason.as_deref());
    }

    /// Sends the CANCEL of an INVITE transaction that has heard something (RFC 3261 §9.1).
    pub(crate) fn send_cancel(&mut self, now: Instant, invite: Key, reason: Option<&str>) {
        let Some(running) = self.transactions.get_mut(invite) else {
            return;
        };
        let Transaction::InviteClient(machine) = &running.machine else {
            return;
        };
        if running.cancel.is_some() || !machine.is_pending() {
            return;
        }
        let bytes = from_invite(machine.request(), &Method::Cancel, None, reason);
        let (flow, branch) = (machine.flow(), machine.branch().clone());
        if let Some(bytes) = bytes {
            let cancel = self.start_cancel(now, flow, bytes, branch);
            if let Some(running) = self.transactions.get_mut(invite) {
                running.cancel = Some(cancel);
            }
        }
        self.with_transaction(now, invite, |cx, machine| {
            if let Transaction::InviteClient(machine) = machine {
                machine.expect_end(cx);
            }
        });
    }

    /// The transaction of a CANCEL: it goes where the INVITE went, with the INVITE's branch.
    fn start_cancel(&mut self, now: Instant, flow: Flow, bytes: Bytes, branch: ByteStr) -> Key {
        let flow = self.live_flow(flow);
        let reliable = self.transport(flow).is_reliable();
        let id = self.transactions.next_key();
        let mut context = Context {
            now,
            id,
            timing: &self.config.timers,
            timers: &mut self.timers,
            out: &mut self.out,
            peer: None,
        };
        let machine = RequestClient::start(&mut context, flow, reliable, bytes, branch, false);
        let machine = Transaction::RequestClient(machine);
        self.transactions
            .insert(Running::client(machine, User::Nobody))
    }

    /// Whether the layer above has given up the call that an exchange is for.
    pub(crate) fn is_cancelled(&self, purpose: &Purpose) -> bool {
        let Purpose::Invite(session) = purpose else {
            return false;
        };
        let cancelled = |session: &Session| match session.setup.as_deref() {
            Some(Setup::Outbound(outbound)) => outbound.cancel != Cancelling::No,
            _ => false,
        };
        self.sessions
            .inspect(*session, cancelled)
            .unwrap_or_default()
    }

    /// A provisional response to the INVITE of a session.
    pub(crate) fn on_invite_progress(
        &mut self,
        now: Instant,
        key: Key,
        transaction: Key,
        response: Message,
        flow: Flow,
    ) {
        self.cancel_if_wanted(now, key, transaction);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(outbound) = session.outbound() else {
            return;
        };
        if response.status() == Some(100) || outbound.cancel != Cancelling::No {
            return;
        }
        if response.to().tag().is_some() {
            let (offered, uri) = (outbound.offered, outbound.uri.clone());
            match session
                .dialogs
                .iter()
                .position(|it| Some(&*it.remote_tag) == response.to().tag())
            {
                Some(known) => {
                    // The latest to speak is the one that commands mean.
                    let dialog = session.dialogs.remove(known);
                    session.dialogs.push(dialog);
                }
                None if session.dialogs.len() < MAX_EARLY_DIALOGS => {
                    let negotiation = Negotiation::after_our_invite(offered);
                    session
                        .dialogs
                        .push(Dialog::from_response(&response, flow, &uri, negotiation));
                }
                None => {}
            }
            if !self.accept_reliable(now, key, &response) {
                return;
            }
        }
        self.event(Event::Progress {
            session: SessionId(key),
            response,
            flow,
        });
    }

    /// Acknowledges a reliable provisional (RFC 3262 §4). False when it is a repetition or out of order
    /// and must not be seen.
    fn accept_reliable(&mut self, now: Instant, key: Key, response: &Message) -> bool {
        if !response.has_token(Name::Require, "100rel") {
            return true;
        }
        let Some(rseq) = response
            .header(Name::RSeq)
            .and_then(|rseq| rseq.trim().parse::<u32>().ok())
        else {
            return true;
        };
        let Some(session) = self.sessions.get_mut(key) else {
            return false;
        };
        let Some(dialog) = session.dialog_of(response) else {
            return true;
        };
        if dialog
            .rseq
            .is_some_and(|last| last.checked_add(1) != Some(rseq))
        {
            return false;
        }
        dialog.rseq = Some(rseq);
        dialog.refresh_target(response);
        let offered = has_sdp(response)
            && dialog.negotiation != Negotiation::Settled
            && dialog.negotiation.receive();
        let tag = dialog.remote_tag.clone();
        let rack = RAck {
            rseq,
            cseq: response.cseq().clone(),
        }
        .to_string();
        if offered {
            session.owed = Some(Box::new(Owed::Prack { rack, tag }));
        } else {
            self.send_prack(now, key, &tag, &rack, Bytes::new());
        }
        true
    }

    pub(crate) fn send_prack(
        &mut self,
        now: Instant,
        key: Key,
        tag: &str,
        rack: &str,
        body: Bytes,
    ) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(index) = session
            .dialogs
            .iter()
            .position(|dialog| *dialog.remote_tag == *tag)
        else {
            return;
        };
        let Some((mut draft, hop)) = self.dialog_draft(key, index, Method::Prack, None) else {
            return;
        };
        draft.headers.push_name(Name::RAck, rack);
        if !body.is_empty() {
            draft.content_type = Some(SDP);
            draft.body = body;
        }
        let body = draft.body.clone();
        let exchange = self.exchanges.next_key();
        if let Some(session) = self.sessions.get_mut(key) {
            session.pracking = Some(Box::new(Pracking {
                exchange,
                rack: rack.to_owned(),
                tag: ByteStr::copy(tag),
                body,
            }));
        }
        self.begin_in_session(now, key, Purpose::Prack(key), draft, hop);
    }

    /// Answers the offer of a reliable provisional: the PRACK carries `body`.
    pub fn prack(&mut self, now: Instant, session: SessionId, body: Bytes) {
        let Some(state) = self.sessions.get_mut(session.0) else {
            return;
        };
        let owed = match state.owed.as_deref() {
            Some(Owed::Prack { rack, tag }) => (rack.clone(), tag.clone()),
            _ => return,
        };
        state.owed = None;
        state.note_description(&body);
        if let Some(dialog) = state
            .dialogs
            .iter_mut()
            .find(|dialog| dialog.remote_tag == owed.1)
        {
            dialog.negotiation.settle();
        }
        self.send_prack(now, session.0, &owed.1, &owed.0, body);
    }

    /// The INVITE of a session has come to its end, one way or the other.
    pub(crate) fn on_invite_outcome(
        &mut self,
        now: Instant,
        key: Key,
        exchange: Exchange,
        outcome: Outcome,
    ) {
        let cancelled = self.is_cancelled(&exchange.purpose);
        if let Some(outbound) = self.sessions.get_mut(key).and_then(Session::outbound) {
            outbound.exchange = None;
        }
        let status = outcome.status();
        match outcome {
            Outcome::Response(response, flow) if (200..300).contains(&status) => {
                if cancelled {
                    self.set_user(exchange.transaction, User::Nobody);
                    self.dismiss(now, exchange.transaction, &response, flow);
                    self.fail(now, key, 487, None, FailCause::Cancelled);
                } else {
                    self.set_user(exchange.transaction, User::Session(key));
                    self.on_answered(now, key, exchange, response, flow);
                }
            }
            Outcome::Response(response, _) => {
                let cause = match status {
                    _ if cancelled => FailCause::Cancelled,
                    401 | 407 if exchange.credentials.is_some() => FailCause::Auth,
                    _ => FailCause::Response,
                };
                self.fail(now, key, status, Some(response), cause);
            }
            _ if cancelled => self.fail(now, key, 487, None, FailCause::Cancelled),
            Outcome::Timeout => self.fail(now, key, status, None, FailCause::Timeout),
            Outcome::Transport => self.fail(now, key, status, None, FailCause::Transport),
            Outcome::Resolve => self.fail(now, key, status, None, FailCause::Resolve),
        }
    }

    /// The first 2xx: its dialog is confirmed, the other early ones are forgotten.
    fn on_answered(
        &mut self,
        now: Instant,
        key: Key,
        exchange: Exchange,
        response: Message,
        flow: Flow,
    ) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(outbound) = session.outbound() else {
            return;
        };
        let fresh = Negotiation::after_our_invite(outbound.offered);
        let uri = outbound.uri.clone();
        // The route set is computed anew from the 2xx (§13.2.2.4); what the early dialog knows stays.
        let mut dialog = Dialog::from_response(&response, flow, &uri, fresh);
        if let Some(early) = session.dialog_of(&response) {
            dialog.negotiation = early.negotiation;
            dialog.remote_cseq = early.remote_cseq;
            dialog.rseq = early.rseq;
            dialog.allows_update |= early.allows_update && response.header(Name::Allow).is_none();
            dialog.bears_from_change |=
                early.bears_from_change && response.header(Name::Supported).is_none();
            if response.contact().is_none() {
                dialog.target = early.target.clone();
            }
        }
        let offered = dialog.negotiation == Negotiation::Fresh && has_sdp(&response);
        if offered {
            dialog.negotiation.receive();
        } else if dialog.negotiation != Negotiation::Theirs {
            dialog.negotiation.settle();
        }
        dialog.detach();
        session.dialogs = vec![dialog];
        session.phase = Phase::Established;
        session.setup = None;
        // An update of this very dialog may still be under way; one of another fork is void.
        let cseq = exchange.draft.cseq;
        let keep_owed = matches!(session.owed.as_deref(), Some(Owed::Prack { tag, .. })
            if Some(&**tag) == response.to().tag());
        if !keep_owed {
            session.owed = None;
        }
        if offered {
            session.owed = Some(Box::new(Owed::Ack {
                invite: exchange.transaction,
                cseq,
                authorization: exchange.authorization,
            }));
        } else {
            self.send_ack(
                now,
                key,
                exchange.transaction,
                cseq,
                exchange.authorization,
                Bytes::new(),
            );
        }
        self.take_timer(now, key, &response);
        self.event(Event::Answered {
            session: SessionId(key),
            response,
            flow,
        });
        self.tell_identity(now, key);
    }

    /// Acknowledges a 2xx that carried an offer: the ACK carries the answer in `body`.
    pub fn ack(&mut self, now: Instant, session: SessionId, body: Bytes) {
        let Some(state) = self.sessions.get_mut(session.0) else {
            return;
        };
        if !matches!(state.owed.as_deref(), Some(Owed::Ack { .. })) {
            return;
        }
        let Some(Owed::Ack {
            invite,
            cseq,
            authorization,
        }) = state.owed.take().map(|owed| *owed)
        else {
            return;
        };
        state.note_description(&body);
        if let Some(dialog) = state.current() {
            dialog.negotiation.settle();
        }
        self.send_ack(now, session.0, invite, cseq, authorization, body);
    }

    /// A response to an INVITE whose exchange is over: a further 2xx, or anything at a hop that was
    /// given up.
    pub(crate) fn on_late_response(
        &mut self,
        now: Instant,
        transaction: Key,
        user: User,
        heard: Heard,
        response: &Message,
        flow: Flow,
    ) {
        if response.cseq().method != Method::Invite {
            // The answer to a CANCEL, or to a request that was given up.
            return;
        }
        match (heard, user) {
            (Heard::Provisional, User::Nobody) => self.send_cancel(now, transaction, None),
            (Heard::Success, User::Session(key)) => {
                // Repetitions of the 2xx that the layer above has not acknowledged yet wait with it.
                let known = self.sessions.get_mut(key).is_some_and(|it| {
                    it.dialogs
                        .iter()
                        .any(|it| Some(&*it.remote_tag) == response.to().tag())
                });
                if !known {
                    self.dismiss(now, Some(transaction), response, flow);
                }
            }
            (Heard::Success, User::Nobody) => self.dismiss(now, Some(transaction), response, flow),
            _ => {}
        }
    }

    /// Acknowledges a 2xx that nobody wants and hangs up (RFC 3261 §13.2.2.4). Everything needed stands
    /// in the response.
    pub(crate) fn dismiss(
        &mut self,
        now: Instant,
        invite: Option<Key>,
        response: &Message,
        flow: Flow,
    ) {
        let dialog =
            Dialog::from_response(response, flow, &response.to().uri, Negotiation::Settled);
        let routed = route_set::apply(&dialog.target, &dialog.routes);
        let hop = self.next_hop(&dialog, &routed.next, false);
        let cseq = response.cseq().number;
        let draft = |method: Method, cseq: u32| RequestDraft {
            method,
            uri: routed.uri.clone(),
            max_forwards: 70,
            from: response.header_shared(Name::From).unwrap_or_default(),
            to: dialog.remote.clone(),
            call_id: response.call_id().clone(),
            cseq,
            routes: routed.routes.clone(),
            contact: None,
            headers: Headers::new(),
            content_type: None,
            body: Bytes::new(),
        };
        let ack = Purpose::Ack {
            invite,
            tag: dialog.remote_tag.clone(),
        };
        self.begin(
            now,
            Exchange::new(ack, draft(Method::Ack, cseq)),
            hop.clone(),
        );
        self.begin(
            now,
            Exchange::new(Purpose::Nobody, draft(Method::Bye, cseq + 1)),
            hop,
        );
    }

    /// Ends a session that called and tells why.
    fn fail(
        &mut self,
        now: Instant,
        key: Key,
        status: u16,
        response: Option<Message>,
        cause: FailCause,
    ) {
        self.remove_session(now, key);
        self.event(Event::Failed {
            session: SessionId(key),
            status,
            response,
            cause,
        });
    }
}
