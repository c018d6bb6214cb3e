//! One request of ours until its outcome.
//!
//! An exchange outlives transactions: it finds the hops (RFC 3263), tries them one after the other
//! (§4.3 there), moves large datagrams to TCP and back (RFC 3261 §18.1.1), and answers a challenge once
//! with credentials (§22.2). What comes out at the end goes to the [`Purpose`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::arena::Key;
use crate::auth::Credentials;
use crate::endpoint::{
    Endpoint, Flow, NextHop, OutboundRequest, Output, Running, StreamId, Transport, User,
};
use crate::event::{Event, RequestId};
use crate::message::{ByteStr, Headers, Message, Method, Name, RequestDraft};
use crate::resolve::{Resolution, Target};
use crate::token;
use crate::transaction::invite_client::InviteClient;
use crate::transaction::request_client::RequestClient;
use crate::transaction::timers::TimerId;
use crate::transaction::{Heard, Transaction};

/// The largest request that goes by datagram when a stream is possible (RFC 3261 §18.1.1).
const MAX_DATAGRAM_BYTES: usize = 1300;

/// Whom the outcome of an exchange is for.
#[derive(Clone, Debug)]
pub(crate) enum Purpose {
    /// The INVITE of a session.
    Invite(Key),
    Reinvite(Key),
    Update(Key),
    Prack(Key),
    Bye(Key),
    /// A re-INVITE or UPDATE that only keeps the session alive.
    Refresh(Key),
    /// A re-INVITE or UPDATE that says who we are now.
    Identify(Key),
    /// A request of the layer above, in a session or not.
    Request(Option<Key>),
    /// The ACK for a 2xx: no outcome, but the INVITE transaction wants to repeat it.
    Ack {
        invite: Option<Key>,
        tag: ByteStr,
    },
    /// Nobody cares, but it must be tried properly: the BYE for a fork that answered too late.
    Nobody,
}

impl Purpose {
    pub(crate) fn session(&self) -> Option<Key> {
        match self {
            Self::Invite(session)
            | Self::Reinvite(session)
            | Self::Update(session)
            | Self::Prack(session)
            | Self::Bye(session)
            | Self::Refresh(session)
            | Self::Identify(session) => Some(*session),
            Self::Request(session) => *session,
            Self::Ack { .. } | Self::Nobody => None,
        }
    }
}

/// How an exchange ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// With a final response.
    Response(Message, Flow),
    /// With silence.
    Timeout,
    /// No hop could be reached.
    Transport,
    /// No hop could be found.
    Resolve,
}

impl Outcome {
    /// The status that a response has, or that stands for the outcome (RFC 3261 §8.1.3.1).
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Response(response, _) => response.status().unwrap_or(500),
            Self::Timeout => 408,
            Self::Transport | Self::Resolve => 503,
        }
    }

    pub(crate) fn into_response(self) -> Option<Message> {
        match self {
            Self::Response(response, _) => Some(response),
            _ => None,
        }
    }
}

/// A request of ours that is under way.
pub(crate) struct Exchange {
    pub(crate) purpose: Purpose,
    pub(crate) draft: RequestDraft,
    pub(crate) credentials: Option<Arc<Credentials>>,
    /// The header that answered the challenge; an ACK has to repeat it.
    pub(crate) authorization: Option<(Name, String)>,
    /// The transaction towards the present hop.
    pub(crate) transaction: Option<Key>,
    /// The interface to prefer.
    pub(crate) interface: Option<u8>,
    /// The name that led to the hops, which each of them has to prove over TLS.
    pub(super) peer: Option<ByteStr>,
    /// What leads to the hops, where that has to be looked up.
    pub(super) target: Option<Target>,
    /// Whether silence moves on to the next hop.
    pub(crate) fast: bool,
    pub(super) resolution: Option<Box<Resolution>>,
    /// The hops not tried yet.
    pub(super) flows: VecDeque<Flow>,
    pub(super) lookup_timer: Option<TimerId>,
    /// The headers before any answer to a challenge was added.
    pub(crate) plain: Option<Headers>,
    /// The Contact is ours to write, for each hop anew.
    own_contact: bool,
    /// The request was large and went to a stream instead of the hop's datagram flow, which now stands first
    /// among the hops.
    fallback: bool,
    /// The present hop is such a datagram flow: its stream has been tried.
    stream_tried: bool,
    pub(crate) auth_rounds: u8,
    /// How often a 422 made the session interval longer.
    pub(crate) interval_rounds: u8,
    /// What the hops tried so far came to.
    last: Option<Outcome>,
}

// Looking up begins anew; whose it is, the session knows.
keep::keep!(struct Exchange {
    draft, authorization, interface, peer, target, fast, flows, plain, own_contact, fallback, stream_tried,
    auth_rounds, interval_rounds;
    purpose: Purpose::Nobody, credentials: None, transaction: None, resolution: None, lookup_timer: None, last: None,
});

impl Exchange {
    pub(crate) fn new(purpose: Purpose, draft: RequestDraft) -> Self {
        let own_contact = draft.contact.is_none()
            && !matches!(
                draft.method,
                Method::Ack
                    | Method::Bye
                    | Method::Cancel
                    | Method::Prack
                    | Method::Info
                    | Method::Message
                    | Method::Register
            );
        Self {
            purpose,
            draft,
            credentials: None,
            authorization: None,
            transaction: None,
            interface: None,
            peer: None,
            target: None,
            fast: false,
            resolution: None,
            flows: VecDeque::new(),
            lookup_timer: None,
            plain: None,
            own_contact,
            fallback: false,
            stream_tried: false,
            auth_rounds: 0,
            interval_rounds: 0,
            last: None,
        }
    }
}

impl Endpoint {
    /// Sends a request outside of any session. The outcome comes as `Response`.
    pub fn send(&mut self, now: Instant, request: OutboundRequest) -> RequestId {
        let mut draft = request.draft;
        if draft.call_id.is_empty() {
            draft.call_id = self.new_call_id();
        }
        let tag = token::anonymous(self.config.owner, &mut self.random);
        draft.from = format!("{};tag={tag}", draft.from).into();
        let mut exchange = Exchange::new(Purpose::Request(None), draft);
        exchange.credentials = request.credentials;
        exchange.interface = request.interface;
        exchange.fast = request.impatient;
        RequestId(self.begin(now, exchange, request.target))
    }

    /// Starts an exchange. Its outcome may already be among the outputs when this returns.
    pub(crate) fn begin(&mut self, now: Instant, mut exchange: Exchange, to: NextHop) -> Key {
        self.add_common_headers(&mut exchange.draft);
        match to {
            NextHop::Flow(flow) => {
                let flow = self.live_flow(flow);
                exchange.flows.push_back(flow);
                let id = self.exchanges.insert(exchange);
                self.try_next_hop(now, id);
                id
            }
            NextHop::Target(target) => {
                exchange.peer = Some(ByteStr::copy(&target.host));
                exchange.target = Some(target.clone());
                let (resolution, step) = Resolution::start(target, &mut self.random);
                exchange.resolution = Some(Box::new(resolution));
                let id = self.exchanges.insert(exchange);
                self.on_resolution(now, id, step);
                id
            }
        }
    }

    pub(crate) fn add_common_headers(&self, draft: &mut RequestDraft) {
        let headers = &mut draft.headers;
        if matches!(
            draft.method,
            Method::Invite | Method::Update | Method::Options
        ) {
            // Each only where the layer above has not said something else.
            for (name, value) in self.capabilities.iter() {
                if !headers.contains(name) {
                    headers.push_text(name, value);
                }
            }
        }
        if draft.method != Method::Ack
            && let Some(software) = &self.config.software
            && !headers.contains("User-Agent")
        {
            headers.push("User-Agent", software);
        }
    }

    /// Sends the request to the next hop, or ends the exchange when there is none.
    pub(super) fn try_next_hop(&mut self, now: Instant, id: Key) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        exchange.stream_tried = std::mem::take(&mut exchange.fallback);
        let unreachable =
            exchange.stream_tried && matches!(exchange.last, Some(Outcome::Transport));
        match exchange.flows.pop_front() {
            Some(flow) => {
                if unreachable {
                    self.streamless.note(now, flow.remote);
                }
                self.send_to(now, id, flow);
            }
            None => {
                let outcome = exchange.last.take().unwrap_or(Outcome::Transport);
                self.finish(now, id, outcome);
            }
        }
    }

    pub(crate) fn send_to(&mut self, now: Instant, id: Key, mut flow: Flow) {
        let transaction = self.transactions.next_key();
        let branch = token::branch(self.config.owner, transaction, &mut self.random);
        let Some(mut bytes) = self.print(id, flow, &branch) else {
            return;
        };
        if bytes.len() > MAX_DATAGRAM_BYTES
            && self.transport(flow) == Transport::Udp
            && !self.streamless.has(now, flow.remote)
            // An ACK cannot be tried twice, and has come so far that it fits the way of its INVITE.
            && self.exchanges.get(id).is_some_and(|exchange| {
                !exchange.stream_tried && exchange.draft.method != Method::Ack
            })
            && let Some(interface) =
                self.interface_for(Transport::Tcp, flow.remote.is_ipv4(), Some(flow.interface))
        {
            if let Some(exchange) = self.exchanges.get_mut(id) {
                exchange.fallback = true;
                exchange.flows.push_front(flow);
            }
            flow = Flow {
                interface,
                remote: flow.remote,
                stream: None,
            };
            let Some(again) = self.print(id, flow, &branch) else {
                return;
            };
            bytes = again;
        }
        let transport = self.transport(flow);
        let reliable = transport.is_reliable();
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        let opens = transport == Transport::Tls && flow.stream.is_none();
        let peer = exchange.peer.clone().filter(|_| opens);
        if exchange.draft.method == Method::Ack {
            self.out.push_back(Output::Transmit {
                flow,
                bytes: bytes.clone(),
                peer,
            });
            if let Some(Exchange {
                purpose:
                    Purpose::Ack {
                        invite: Some(invite),
                        tag,
                    },
                ..
            }) = self.exchanges.remove(id)
            {
                self.with_transaction(now, invite, |_, machine| {
                    if let Transaction::InviteClient(machine) = machine {
                        machine.acknowledged(tag, flow, bytes);
                    }
                });
            }
            return;
        }
        exchange.transaction = Some(transaction);
        let no_response = exchange.fast || !exchange.flows.is_empty();
        let invite = exchange.draft.method == Method::Invite;
        let mut context = crate::transaction::Context {
            now,
            id: transaction,
            timing: &self.config.timers,
            timers: &mut self.timers,
            out: &mut self.out,
            peer,
        };
        let machine = if invite {
            let machine = InviteClient::start(
                &mut context,
                flow,
                reliable,
                bytes,
                branch,
                no_response && exchange.fast,
            );
            Transaction::InviteClient(machine)
        } else {
            Transaction::RequestClient(RequestClient::start(
                &mut context,
                flow,
                reliable,
                bytes,
                branch,
                no_response,
            ))
        };
        let running = Running::client(machine, User::Exchange(id));
        let inserted = self.transactions.insert(running);
        debug_assert_eq!(inserted, transaction);
    }

    /// The request as it goes over `flow`.
    pub(super) fn print(&mut self, id: Key, flow: Flow, branch: &str) -> Option<bytes::Bytes> {
        let face = self.faces.get(usize::from(flow.interface))?;
        let via = [face.via.as_str(), branch].concat();
        let exchange = self.exchanges.get_mut(id)?;
        if exchange.own_contact {
            exchange.draft.contact = Some(face.contact.clone());
        }
        Some(exchange.draft.print(&via))
    }

    /// A response for an exchange came.
    pub(crate) fn on_exchange_response(
        &mut self,
        now: Instant,
        id: Key,
        transaction: Key,
        heard: Heard,
        response: Message,
        flow: Flow,
    ) {
        let Some(exchange) = self.exchanges.get(id) else {
            return;
        };
        if response.status() != Some(100)
            && let Some(session) = exchange.purpose.session()
        {
            self.touch(session);
        }
        let Some(exchange) = self.exchanges.get(id) else {
            return;
        };
        match heard {
            Heard::Nothing => {}
            Heard::Provisional => {
                if let Purpose::Invite(session) = exchange.purpose {
                    self.on_invite_progress(now, session, transaction, response, flow);
                }
            }
            Heard::Success => self.finish(now, id, Outcome::Response(response, flow)),
            Heard::Failure => {
                if let Some(exchange) = self.exchanges.get_mut(id)
                    && std::mem::take(&mut exchange.fallback)
                {
                    // The stream works, so what the hop says there it would say everywhere.
                    exchange.flows.pop_front();
                }
                let Some(exchange) = self.exchanges.get(id) else {
                    return;
                };
                let status = response.status().unwrap_or(0);
                let wanted = !self.is_cancelled(&exchange.purpose);
                if wanted
                    && matches!(status, 401 | 407)
                    && self.answer_challenge(now, id, &response, flow)
                {
                    return;
                }
                if wanted && status == 422 && self.lengthen_interval(now, id, &response, flow) {
                    return;
                }
                let Some(exchange) = self.exchanges.get_mut(id) else {
                    return;
                };
                if wanted && status == 503 && !exchange.flows.is_empty() {
                    exchange.last = Some(Outcome::Response(response, flow));
                    self.try_next_hop(now, id);
                    return;
                }
                self.finish(now, id, Outcome::Response(response, flow));
            }
        }
    }

    /// Silence on one hop: the next gets its chance.
    pub(crate) fn on_no_response(&mut self, now: Instant, transaction: Key, user: User) {
        let User::Exchange(id) = user else { return };
        self.abandon(now, transaction);
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        exchange.transaction = None;
        exchange.last = Some(Outcome::Timeout);
        self.next_hop_if_wanted(now, id);
    }

    /// Lets a transaction go on without a listener; whoever still answers there is turned away.
    pub(crate) fn abandon(&mut self, now: Instant, transaction: Key) {
        if let Some(running) = self.transactions.get_mut(transaction) {
            running.user = User::Nobody;
        }
        self.with_transaction(now, transaction, |cx, machine| {
            if let Transaction::InviteClient(machine) = machine {
                machine.abandon(cx);
            }
        });
        let proceeding = matches!(
            self.transactions.get(transaction).map(|running| &running.machine),
            Some(Transaction::InviteClient(machine)) if machine.is_pending() && !machine.is_calling()
        );
        if proceeding {
            self.send_cancel(now, transaction, None);
        }
    }

    pub(crate) fn on_exchange_timeout(&mut self, now: Instant, id: Key) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        exchange.transaction = None;
        exchange.last = Some(Outcome::Timeout);
        self.next_hop_if_wanted(now, id);
    }

    fn next_hop_if_wanted(&mut self, now: Instant, id: Key) {
        let Some(exchange) = self.exchanges.get(id) else {
            return;
        };
        let purpose = exchange.purpose.clone();
        if self.is_cancelled(&purpose) {
            self.finish(now, id, Outcome::Timeout);
        } else {
            self.try_next_hop(now, id);
        }
    }

    pub(crate) fn handle_send_failed(&mut self, now: Instant, flow: Flow) {
        self.fail_transactions(now, |other| {
            other.interface == flow.interface
                && other.remote == flow.remote
                && other.stream == flow.stream
        });
    }

    pub(crate) fn handle_stream_closed(&mut self, now: Instant, stream: StreamId) {
        if self.streams.remove(&stream) {
            self.fail_transactions(now, |flow| flow.stream == Some(stream));
        }
    }

    /// Moves every request on that went over a flow that failed and has heard nothing yet. What has
    /// heard something waits: the response may come over another stream (RFC 3261 §18.2.2).
    fn fail_transactions(&mut self, now: Instant, matches: impl Fn(Flow) -> bool) {
        let failed: Vec<(Key, User)> = self
            .transactions
            .iter()
            .filter(|(_, running)| match &running.machine {
                Transaction::InviteClient(machine) => {
                    machine.is_calling() && matches(machine.flow())
                }
                Transaction::RequestClient(machine) => {
                    machine.is_trying() && matches(machine.flow())
                }
                _ => false,
            })
            .map(|(id, running)| (id, running.user))
            .collect();
        for (transaction, user) in failed {
            self.with_transaction(now, transaction, |cx, machine| match machine {
                Transaction::InviteClient(machine) => machine.terminate(cx),
                Transaction::RequestClient(machine) => machine.terminate(cx),
                _ => {}
            });
            if let User::Exchange(id) = user
                && let Some(exchange) = self.exchanges.get_mut(id)
            {
                exchange.transaction = None;
                exchange.last = Some(Outcome::Transport);
                self.next_hop_if_wanted(now, id);
            }
        }
    }

    /// Ends an exchange and tells whom it was for.
    pub(crate) fn finish(&mut self, now: Instant, id: Key, outcome: Outcome) {
        let Some(mut exchange) = self.exchanges.remove(id) else {
            return;
        };
        self.timers.cancel(&mut exchange.lookup_timer);
        if let Some(session) = exchange.purpose.session() {
            self.touch(session);
        }
        match exchange.purpose {
            Purpose::Invite(session) => self.on_invite_outcome(now, session, exchange, outcome),
            Purpose::Reinvite(session) | Purpose::Update(session) => {
                self.on_offer_outcome(now, session, exchange, outcome);
            }
            Purpose::Refresh(session) => self.on_refresh_outcome(now, session, exchange, outcome),
            Purpose::Identify(session) => {
                self.on_identity_outcome(now, session, exchange, outcome);
            }
            Purpose::Bye(session) => self.remove_session(now, session),
            Purpose::Prack(session) => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.pracking.take_if(|pracking| pracking.exchange == id);
                }
                self.on_dialog_outcome(now, session, &outcome);
            }
            Purpose::Request(session) => {
                if let Some(session) = session {
                    self.on_dialog_outcome(now, session, &outcome);
                }
                let status = outcome.status();
                self.event(Event::Response {
                    id: RequestId(id),
                    status,
                    response: outcome.into_response(),
                });
            }
            Purpose::Ack { .. } | Purpose::Nobody => {}
        }
    }

    /// Drops an exchange that nobody wants any more. Its transaction, if any, goes on alone.
    pub(crate) fn drop_exchange(&mut self, now: Instant, id: Key) -> Option<Exchange> {
        let mut exchange = self.exchanges.remove(id)?;
        if exchange.lookup_timer.is_some() {
            self.timers.cancel(&mut exchange.lookup_timer);
            self.forget_lookups(id);
        }
        if let Some(transaction) = exchange.transaction {
            self.abandon(now, transaction);
        }
        Some(exchange)
    }
}
