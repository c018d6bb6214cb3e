//! Requests that come in: repetitions find their transaction, broken and surplus ones are refused
//! without leaving anything behind, and the rest goes to its session or to the layer above.

use std::time::Instant;

use bytes::Bytes;

use crate::dialog::id;
use crate::endpoint::{Endpoint, Flow, Output, Running, Transport, User};
use crate::event::{Event, ServerRequestId};
use crate::message::{Message, Method, Name, ResponseDraft};
use crate::misbehaviour::Misbehaviour;
use crate::transaction::Transaction;
use crate::transaction::key::{MergeKey, ServerKey};

impl Endpoint {
    pub(crate) fn handle_received(&mut self, now: Instant, flow: Flow, bytes: Bytes) {
        if let Some(stream) = flow.stream {
            self.streams.insert(stream);
        }
        match Message::parse(bytes) {
            Ok(message) if message.is_request() => {
                self.handle_request(now, message.with_source(flow.remote), flow);
            }
            Ok(message) => self.handle_response(now, message, flow),
            // Line ends keep a NAT pinhole open and mean nothing else (RFC 5626 §3.5.1).
            Err(rejected) if rejected.why == Misbehaviour::Empty => {}
            Err(rejected) => {
                let rejected = rejected.with_source(flow.remote);
                if let (Some(bytes), Some(answerable)) = (rejected.response(), &rejected.answerable)
                {
                    let flow = self.reply_flow(&answerable.via, flow);
                    self.out.push_back(Output::Transmit {
                        flow,
                        bytes,
                        peer: None,
                    });
                }
                self.event(Event::Misbehaved {
                    flow,
                    why: rejected.why,
                });
            }
        }
    }

    fn handle_request(&mut self, now: Instant, request: Message, flow: Flow) {
        let Some(method) = request.method().cloned() else {
            return;
        };
        let key = ServerKey::of(self.secret, &request);
        let known = self.server_keys.get(&key).copied();
        if method == Method::Ack {
            self.handle_ack(now, known, request);
            return;
        }
        if let Some(id) = known {
            // The peer may have opened another stream to repeat it; the answer follows it there.
            self.with_transaction(now, id, |cx, machine| match machine {
                Transaction::InviteServer(machine) => machine.receive_again(cx),
                Transaction::RequestServer(machine) => machine.receive_again(cx),
                _ => {}
            });
            return;
        }
        if method == Method::Cancel {
            self.handle_cancel(now, request, flow);
            return;
        }
        let inside = request.to().tag().is_some();
        if let Some(draft) = self.refusal_at_bounds(&method, inside) {
            self.overloads += 1;
            self.refuse(&request, flow, draft);
            return;
        }
        if let Err(why) = self.check(&method, &request, flow) {
            self.refuse_because(&request, flow, why);
            return;
        }
        if inside {
            match id::find(
                &mut self.sessions,
                &self.inherited,
                self.config.owner,
                &request,
            ) {
                Some((session, dialog)) => {
                    self.on_request_in_dialog(now, session, dialog, request, flow)
                }
                None => self.refuse_because(&request, flow, Misbehaviour::UnknownDialog),
            }
            return;
        }
        if self
            .merge_keys
            .contains_key(&MergeKey::of(self.secret, &request))
        {
            self.refuse_because(&request, flow, Misbehaviour::Merged);
            return;
        }
        if method == Method::Invite && self.is_repeated(&request) {
            return;
        }
        match method {
            Method::Invite => self.on_call(now, request, flow),
            Method::Options => self.answer_options(&request, flow),
            Method::Bye | Method::Prack | Method::Update | Method::Info => {
                self.refuse_because(&request, flow, Misbehaviour::UnknownDialog);
            }
            _ => {
                let id = ServerRequestId(self.open_request(now, &request, flow, None));
                self.event(Event::Request {
                    id,
                    session: None,
                    request,
                    flow,
                });
            }
        }
    }

    /// An ACK never gets an answer. It acknowledges a failure (its branch is that of the INVITE) or a
    /// 2xx (its tags are those of the dialog), or it is late.
    fn handle_ack(&mut self, now: Instant, known: Option<crate::arena::Key>, ack: Message) {
        let of_failure = known.and_then(|id| self.transactions.get(id)).is_some_and(|running| {
            matches!(&running.machine, Transaction::InviteServer(machine) if !machine.is_proceeding())
        });
        // A peer of RFC 2543 gives the ACK of a 2xx the key of the INVITE too, so both are tried.
        if of_failure && let Some(id) = known {
            self.with_transaction(now, id, |cx, machine| {
                if let Transaction::InviteServer(machine) = machine {
                    machine.receive_ack(cx);
                }
            });
        }
        match id::find(&mut self.sessions, &self.inherited, self.config.owner, &ack) {
            Some((session, dialog)) => self.on_ack(now, session, dialog, ack),
            None if !of_failure => self.strays += 1,
            None => {}
        }
    }

    /// A CANCEL is answered at once (RFC 3261 §9.2), and repeated answers cost nothing, so it gets no
    /// transaction of its own.
    fn handle_cancel(&mut self, now: Instant, cancel: Message, flow: Flow) {
        let key = ServerKey::of_cancelled(self.secret, &cancel);
        let found = self.server_keys.get(&key).and_then(|id| {
            let running: &Running = self.transactions.get(*id)?;
            matches!(running.machine, Transaction::InviteServer(_)).then_some((*id, running.user))
        });
        let Some((id, user)) = found else {
            self.refuse_because(&cancel, flow, Misbehaviour::UnknownTransaction);
            return;
        };
        // With the tag that the INVITE's responses have, if there is one already (§9.2).
        let mut ok = ResponseDraft::new(200);
        if let User::Session(session) | User::Reinvite(session) = user {
            ok.to_tag = self
                .sessions
                .get_mut(session)
                .map(|session| session.tag.clone());
        }
        self.refuse(&cancel, flow, ok);
        let pending = matches!(
            self.transactions.get(id).map(|running| &running.machine),
            Some(Transaction::InviteServer(machine)) if machine.is_proceeding()
        );
        if pending {
            self.on_cancel(now, id, user, cancel);
        }
    }

    /// 503 when our tables are full or we are draining. Requests within sessions are let in a little
    /// longer, for many of them end something.
    fn refusal_at_bounds(&self, method: &Method, inside: bool) -> Option<ResponseDraft> {
        let most = |bound: usize| if inside { bound + bound / 4 } else { bound };
        let full = self.transactions.len() >= most(self.config.max_transactions)
            || self.held_bytes >= most(self.config.max_held_bytes);
        let new_call = !inside && *method == Method::Invite;
        let seconds = match self.draining {
            Some(seconds) if new_call || (!inside && *method == Method::Options) => Some(seconds),
            _ if full => Some(self.config.retry_after_seconds),
            _ if new_call && self.sessions.len() >= self.config.max_sessions => {
                Some(self.config.retry_after_seconds)
            }
            _ => None,
        }?;
        let mut draft = ResponseDraft::new(503);
        draft.headers.push_name(Name::RetryAfter, seconds);
        Some(draft)
    }

    /// Whether half of what transactions may take is taken: no time to remember strangers.
    pub(crate) fn is_crowded(&self) -> bool {
        self.transactions.len() >= self.config.max_transactions / 2
            || self.held_bytes >= self.config.max_held_bytes / 2
    }

    /// What every request is checked for (RFC 3261 §8.2).
    fn check(&self, method: &Method, request: &Message, flow: Flow) -> Result<(), Misbehaviour> {
        if !self.config.allow.contains(method) {
            return Err(Misbehaviour::MethodNotAllowed);
        }
        let reachable = request.uri().is_some_and(|uri| match uri.scheme() {
            "sip" | "tel" => true,
            "sips" => self.transport(flow) == Transport::Tls,
            _ => false,
        });
        if !reachable {
            return Err(Misbehaviour::Scheme);
        }
        // A probe with Max-Forwards 0 asks for our answer, not for the next hop's (§11).
        if request.max_forwards() == Some(0) && *method != Method::Options {
            return Err(Misbehaviour::TooManyHops);
        }
        if request
            .values(Name::Require)
            .any(|option| !self.supports(option))
        {
            return Err(Misbehaviour::ExtensionRequired);
        }
        Ok(())
    }

    fn supports(&self, option: &str) -> bool {
        self.config
            .supported
            .iter()
            .any(|supported| supported.eq_ignore_ascii_case(option.trim()))
    }

    fn refuse_because(&mut self, request: &Message, flow: Flow, why: Misbehaviour) {
        if let Some(status) = why.status() {
            let mut draft = ResponseDraft::new(status);
            match why {
                Misbehaviour::MethodNotAllowed => draft.headers.extend(&self.capabilities),
                Misbehaviour::ExtensionRequired => {
                    let unknown: Vec<&str> = request
                        .values(Name::Require)
                        .filter(|option| !self.supports(option))
                        .collect();
                    draft.headers.push("Unsupported", unknown.join(", "));
                }
                _ => {}
            }
            self.refuse(request, flow, draft);
        }
        self.event(Event::Misbehaved { flow, why });
    }

    /// OPTIONS outside of sessions: are you there, and what can you do? (RFC 3261 §11.2)
    fn answer_options(&mut self, request: &Message, flow: Flow) {
        let mut draft = ResponseDraft::new(200);
        draft.contact = Some(self.contact(flow.interface));
        draft.headers.extend(&self.capabilities);
        draft.headers.push_name(Name::Accept, "application/sdp");
        self.refuse(request, flow, draft);
    }
}
