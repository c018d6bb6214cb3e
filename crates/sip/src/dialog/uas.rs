//! The side that is called: from the INVITE to the ACK (RFC 3261 §13.3), with reliable provisionals
//! (RFC 3262).

use std::time::Instant;

use bytes::Bytes;

use crate::arena::Key;
use crate::dialog::Dialog;
use crate::dialog::negotiation::Negotiation;
use crate::dialog::reliable::{Provisional, Queue};
use crate::dialog::session::{Inbound, Overtaken, Phase, Session, Setup, Success};
use crate::dialog::uac::SDP;
use crate::endpoint::{Endpoint, Flow, User, has_sdp, next_interval};
use crate::event::{EndCause, Event, SessionId};
use crate::message::header::rack::RAck;
use crate::message::{Headers, Message, Method, Name, ResponseDraft};
use crate::token;
use crate::transaction::Transaction;
use crate::transaction::timers::{Due, SessionTimer};

impl Endpoint {
    /// A new call that has passed all checks.
    pub(crate) fn on_call(&mut self, now: Instant, request: Message, flow: Flow) {
        let key = self.sessions.next_key();
        let tag = token::tag(self.config.owner, key, &mut self.random);
        let to = request.header(Name::To).unwrap_or_default();
        let local = [to, ";tag=", &tag].concat().into();
        let mut session = Session::new(Phase::Ringing, tag, request.call_id().clone(), local);
        let offered = has_sdp(&request);
        // Exactly one: this lives as long as the call.
        session.dialogs = vec![Dialog::from_request(
            &request,
            flow,
            Negotiation::after_their_invite(offered),
        )];
        let transaction = self.open_invite(now, &request, flow, User::Session(key), true);
        let requires_100rel = request.has_token(Name::Require, "100rel");
        session.setup = Some(Box::new(Setup::Inbound(Inbound {
            transaction,
            cseq: request.cseq().number,
            supports_100rel: requires_100rel || request.has_token(Name::Supported, "100rel"),
            requires_100rel,
            provisionals: Queue::default(),
            deferred: None,
        })));
        let inserted = self.sessions.insert(session);
        debug_assert_eq!(inserted, key);
        self.event(Event::Invite {
            session: SessionId(key),
            request,
            flow,
        });
    }

    /// Sends 101 to 199 for a call that came in. With `reliable`, or when the caller requires it, it is
    /// repeated until its PRACK comes, if the caller can do that; meanwhile further reliable ones wait.
    /// `body` is a description, or empty.
    pub fn progress(
        &mut self,
        now: Instant,
        session: SessionId,
        status: u16,
        headers: Headers,
        body: Bytes,
        reliable: bool,
    ) {
        let key = session.0;
        let start = self.random.next_u64() as u32;
        let Some(state) = self.sessions.get_mut(key) else {
            return;
        };
        let tag = state.tag.clone();
        state.note_description(&body);
        let Some(inbound) = state.inbound() else {
            return;
        };
        if !(101..200).contains(&status) || inbound.deferred.is_some() {
            return;
        }
        let transaction = inbound.transaction;
        let reliable = inbound.supports_100rel && (reliable || inbound.requires_100rel);
        let mut headers = headers;
        let mut rseq = 0;
        if reliable {
            if !inbound.provisionals.has_room() {
                return;
            }
            rseq = inbound.provisionals.next_rseq(start);
            headers.push_name(Name::Require, "100rel");
            headers.push_name(Name::RSeq, rseq);
        }
        let with_sdp = !body.is_empty();
        let draft = ResponseDraft {
            status,
            to_tag: Some(tag),
            headers,
            content_type: with_sdp.then_some(SDP),
            body,
            ..ResponseDraft::default()
        };
        let Some(bytes) = self.print_for(transaction, draft) else {
            return;
        };
        if !reliable {
            self.respond_bytes(now, transaction, status, bytes);
            return;
        }
        let Some(state) = self.sessions.get_mut(key) else {
            return;
        };
        if with_sdp && let Some(dialog) = state.current() {
            dialog.negotiation.send();
        }
        let Some(inbound) = state.inbound() else {
            return;
        };
        if inbound.provisionals.push(Provisional {
            rseq,
            status,
            bytes,
            with_sdp,
        }) {
            self.send_provisional(now, key);
        }
    }

    /// Puts the first reliable provisional that waits on the wire.
    pub(crate) fn send_provisional(&mut self, now: Instant, key: Key) {
        let (t1, give_up) = (self.config.timers.t1, self.config.timers.give_up());
        let Some(inbound) = self.sessions.get_mut(key).and_then(Session::inbound) else {
            return;
        };
        let Some(first) = inbound.provisionals.first() else {
            return;
        };
        let (transaction, status, bytes) = (inbound.transaction, first.status, first.bytes.clone());
        let queue = &mut inbound.provisionals;
        queue.interval = t1;
        queue.deadline = Some(now + give_up);
        self.timers.cancel(&mut queue.timer);
        queue.timer = Some(
            self.timers
                .set(now + t1, Due::Session(key, SessionTimer::Provisional)),
        );
        self.respond_bytes(now, transaction, status, bytes);
    }

    fn on_provisional_timer(&mut self, now: Instant, key: Key) {
        let Some(inbound) = self.sessions.get_mut(key).and_then(Session::inbound) else {
            return;
        };
        let transaction = inbound.transaction;
        let queue = &mut inbound.provisionals;
        queue.timer = None;
        let (Some(first), Some(deadline)) = (queue.first(), queue.deadline) else {
            return;
        };
        let (status, bytes) = (first.status, first.bytes.clone());
        if now < deadline {
            queue.interval = next_interval(queue.interval, None);
            let at = (now + queue.interval).min(deadline);
            queue.timer = Some(
                self.timers
                    .set(at, Due::Session(key, SessionTimer::Provisional)),
            );
            self.respond_bytes(now, transaction, status, bytes);
            return;
        }
        self.reject(now, SessionId(key), ResponseDraft::new(504));
        self.event(Event::Ended {
            session: SessionId(key),
            cause: EndCause::PrackTimeout,
        });
    }

    /// A PRACK of the caller.
    pub(crate) fn on_prack(
        &mut self,
        now: Instant,
        key: Key,
        index: usize,
        request: Message,
        transaction: Key,
    ) {
        let rack = request
            .header_shared(Name::RAck)
            .and_then(|rack| RAck::parse(&rack));
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let rack = rack.filter(|rack| rack.cseq.method == Method::Invite);
        let matched = match (session.inbound(), rack) {
            (Some(inbound), Some(rack)) => {
                rack.cseq.number == inbound.cseq && inbound.provisionals.acknowledge(rack.rseq)
            }
            (None, Some(rack)) => {
                let named = Overtaken {
                    cseq: rack.cseq.number,
                    rseq: rack.rseq,
                };
                session.overtaken.take_if(|late| *late == named).is_some()
            }
            (_, None) => false,
        };
        if !matched {
            self.respond_status(now, transaction, 481);
            return;
        }
        if let Some(inbound) = session.inbound() {
            self.timers.cancel(&mut inbound.provisionals.timer);
        }
        let Some(dialog) = session.dialogs.get_mut(index) else {
            return;
        };
        let answer_was_due = dialog.negotiation == Negotiation::Ours;
        if has_sdp(&request) && dialog.negotiation.receive() {
            session.theirs = Some((Method::Prack, transaction));
            self.event(Event::Offer {
                session: SessionId(key),
                method: Method::Prack,
                request,
            });
        } else {
            if answer_was_due {
                // With or without the answer: nothing is gained by waiting for another PRACK.
                dialog.negotiation.settle();
            }
            self.respond_status(now, transaction, 200);
            self.event(Event::Pracked {
                session: SessionId(key),
                request,
            });
        }
        self.send_provisional(now, key);
        self.send_deferred(now, key);
    }

    /// Answers a call that came in with 200. It is repeated until the ACK comes, and waits for the PRACK
    /// of a description that is still on its way. `body` is a description, or empty when the answer went
    /// out in a reliable provisional.
    pub fn answer(&mut self, now: Instant, session: SessionId, headers: Headers, body: Bytes) {
        let key = session.0;
        let Some(inbound) = self.sessions.get_mut(key).and_then(Session::inbound) else {
            return;
        };
        if inbound.deferred.is_none() {
            inbound.deferred = Some((headers, body));
            self.send_deferred(now, key);
        }
    }

    /// Sends the 2xx if nothing holds it back.
    pub(crate) fn send_deferred(&mut self, now: Instant, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        // An offer in a PRACK is answered before the INVITE is, or the two answers would be confused.
        let prack_open = matches!(session.theirs, Some((Method::Prack, _)));
        let Some(inbound) = session.inbound() else {
            return;
        };
        if prack_open || inbound.provisionals.holds_sdp() {
            return;
        }
        let Some((headers, body)) = inbound.deferred.take() else {
            return;
        };
        let transaction = inbound.transaction;
        let overtaken = inbound.provisionals.first().map(|first| Overtaken {
            cseq: inbound.cseq,
            rseq: first.rseq,
        });
        inbound.provisionals.clear();
        self.timers.cancel(&mut inbound.provisionals.timer);
        session.setup = None;
        session.overtaken = overtaken;
        session.phase = Phase::Established;
        self.send_success(now, key, transaction, headers, body, false);
    }

    /// Sends a 2xx to an INVITE or re-INVITE and keeps repeating it.
    pub(crate) fn send_success(
        &mut self,
        now: Instant,
        key: Key,
        transaction: Key,
        mut headers: Headers,
        body: Bytes,
        reinvite: bool,
    ) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let tag = session.tag.clone();
        if let Some(dialog) = session.current() {
            // A description in a 2xx is the answer, or the offer if none was made. One that repeats the
            // answer of a reliable provisional changes nothing.
            match dialog.negotiation {
                Negotiation::Theirs | Negotiation::Fresh if !body.is_empty() => {
                    dialog.negotiation.send()
                }
                Negotiation::Ours => {}
                _ => dialog.negotiation.settle(),
            }
        }
        session.note_description(&body);
        if !headers.contains("Allow") && !headers.contains("Supported") {
            headers.extend(&self.capabilities);
        }
        let Some(request) = self.server_request(transaction).cloned() else {
            return;
        };
        let cseq = request.cseq().number;
        self.answer_from_change(key, &mut headers);
        self.answer_timer(now, key, &request, &mut headers);
        let draft = ResponseDraft {
            status: 200,
            to_tag: Some(tag),
            headers,
            content_type: (!body.is_empty()).then_some(SDP),
            body,
            ..ResponseDraft::default()
        };
        let Some(bytes) = self.print_for(transaction, draft) else {
            return;
        };
        self.set_user(Some(transaction), User::Session(key));
        let Some(flow) = self.respond_bytes(now, transaction, 200, bytes.clone()) else {
            return;
        };
        let interval = self.config.timers.t1;
        let timer = Some(
            self.timers
                .set(now + interval, Due::Session(key, SessionTimer::Success)),
        );
        let deadline = Some(now + self.config.timers.give_up());
        if let Some(session) = self.sessions.get_mut(key) {
            session.success = Some(Box::new(Success {
                bytes,
                flow,
                cseq,
                interval,
                deadline,
                timer,
                reinvite,
            }));
        }
    }

    pub(crate) fn on_session_timer(
        &mut self,
        now: Instant,
        session: SessionId,
        timer: SessionTimer,
    ) {
        match timer {
            SessionTimer::Success => self.on_success_timer(now, session.0),
            SessionTimer::Provisional => self.on_provisional_timer(now, session.0),
            SessionTimer::Refresh => self.on_refresh_timer(now, session.0),
            SessionTimer::Identity => self.on_identity_timer(now, session.0),
        }
    }

    fn on_success_timer(&mut self, now: Instant, key: Key) {
        let timers = &self.config.timers;
        let (t1, t2, give_up) = (timers.t1, timers.t2, timers.give_up());
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(success) = session.success.as_deref_mut() else {
            return;
        };
        success.timer = None;
        let deadline = *success.deadline.get_or_insert(now + give_up);
        if now < deadline {
            success.interval = next_interval(success.interval, Some(t2)).max(t1);
            let at = (now + success.interval).min(deadline);
            success.timer = Some(
                self.timers
                    .set(at, Due::Session(key, SessionTimer::Success)),
            );
            let (flow, bytes) = (success.flow, success.bytes.clone());
            let flow = self.live_flow(flow);
            self.out.push_back(crate::endpoint::Output::Transmit {
                flow,
                bytes,
                peer: None,
            });
            return;
        }
        session.success = None;
        match session.bye.take() {
            // The layer above has hung up already and wants to hear no more.
            Some(headers) => self.send_bye(now, key, headers),
            None => {
                self.send_bye(now, key, Headers::new());
                self.event(Event::Ended {
                    session: SessionId(key),
                    cause: EndCause::AckTimeout,
                });
            }
        }
    }

    /// An ACK within a dialog.
    pub(crate) fn on_ack(&mut self, now: Instant, key: Key, index: usize, ack: Message) {
        self.touch(key);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session
            .success
            .as_deref()
            .is_none_or(|success| success.cseq != ack.cseq().number)
        {
            return;
        }
        if let Some(dialog) = session.dialogs.get_mut(index) {
            dialog.negotiation.settle();
        }
        match session.bye.take() {
            Some(headers) => {
                self.forget_success(key);
                self.send_bye(now, key, headers);
            }
            None => self.confirm_success(key, Some(ack)),
        }
        self.send_held(now, key);
        self.tell_identity(now, key);
    }

    /// Our 2xx has reached the peer, as its ACK says, or a request that it could not have made otherwise.
    pub(crate) fn confirm_success(&mut self, key: Key, ack: Option<Message>) {
        let session = SessionId(key);
        match self.forget_success(key) {
            Some(success) if success.reinvite => self.event(Event::OfferAck { session, ack }),
            Some(_) => {
                if let Some(state) = self.sessions.get_mut(key) {
                    state.detach();
                }
                self.event(Event::Established { session, ack });
            }
            None => {}
        }
    }

    /// Repeats our 2xx no more.
    fn forget_success(&mut self, key: Key) -> Option<Box<Success>> {
        let mut success = self.sessions.get_mut(key)?.success.take()?;
        self.timers.cancel(&mut success.timer);
        Some(success)
    }

    /// Refuses a call that came in with 300 to 699. The session is over.
    pub fn reject(&mut self, now: Instant, session: SessionId, mut draft: ResponseDraft) {
        let key = session.0;
        let Some(state) = self.sessions.get_mut(key) else {
            return;
        };
        let tag = state.tag.clone();
        let Some(inbound) = state.inbound() else {
            return;
        };
        let transaction = inbound.transaction;
        if draft.status < 300 {
            draft.status = 500;
        }
        draft.to_tag = Some(tag);
        self.explain_timer_refusal(key, &mut draft);
        self.respond_draft(now, transaction, draft);
        self.remove_session(now, key);
    }

    /// Refuses a call that never began: its caller may not call, or has yet to show that he may. The same
    /// as [`reject`](Self::reject) while there is room; under a flood nothing is kept until the ACK
    /// (RFC 3261 §8.2.7), so that those who cannot call do not take the place of those who can. A refusal
    /// that is lost is then not repeated, and an INVITE that is repeated counts as new.
    pub fn turn_away(&mut self, now: Instant, session: SessionId, draft: ResponseDraft) {
        let transaction = self
            .sessions
            .get_mut(session.0)
            .and_then(Session::inbound)
            .map(|inbound| inbound.transaction);
        self.reject(now, session, draft);
        if self.is_crowded()
            && let Some(transaction) = transaction
        {
            self.with_transaction(now, transaction, |cx, machine| {
                if let Transaction::InviteServer(machine) = machine {
                    machine.forget(cx);
                }
            });
        }
    }

    /// A CANCEL that found its INVITE.
    pub(crate) fn on_cancel(
        &mut self,
        now: Instant,
        transaction: Key,
        user: User,
        cancel: Message,
    ) {
        match user {
            User::Session(key)
                if self
                    .sessions
                    .get_mut(key)
                    .is_some_and(|it| it.inbound().is_some()) =>
            {
                self.reject(now, SessionId(key), ResponseDraft::new(487));
                self.event(Event::Cancelled {
                    session: SessionId(key),
                    request: cancel,
                });
            }
            User::Reinvite(key) => {
                self.respond_status(now, transaction, 487);
                self.withdraw_offer(key, cancel);
            }
            _ => {}
        }
    }
}
