//! Sessions that outlive the process: what is kept of one, and how another endpoint goes on with it.
//!
//! Kept is what the peer relies on: dialogs, numbers, the request of ours that has no outcome, the requests of the peer
//! that have no final response. Not kept is what repetitions bring back: how far a transaction has come with them, and
//! whatever only absorbs them. So a request of ours is simply sent again, with the branch it had, and a response of
//! ours too.
//!
//! What arrives afterwards bears tags and branches of the earlier process. They lead to slots that others have now, so
//! they are looked up here by their text: [`Inherited`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use keep::{Damaged, Keep, Reader, Writer};

use crate::arena::Key;
use crate::auth::Credentials;
use crate::dialog::session::{Cancelling, Phase, Session, Setup};
use crate::endpoint::{Endpoint, Exchange, Flow, Purpose, Running, User};
use crate::event::SessionId;
use crate::message::{ByteStr, Message, Method, ResponseDraft};
use crate::resolve::Resolution;
use crate::token;
use crate::transaction::Transaction;
use crate::transaction::invite_client::InviteClient;
use crate::transaction::invite_server::InviteServer;
use crate::transaction::request_client::RequestClient;
use crate::transaction::request_server::RequestServer;
use crate::transaction::timers::{Due, SessionTimer};

/// A session as it is read from what was kept of it.
pub struct Kept(Form);

enum Form {
    /// Nothing is left of it.
    Over,
    Session(Box<KeptSession>),
    /// An INVITE that was refused, and whose ACK has not come.
    Refused {
        server: KeptServer,
        status: u16,
        response: Bytes,
    },
}

keep::keep!(enum Form { 0 = Over, 1 = Session(session), 2 = Refused { server, status, response } });

struct KeptSession {
    session: Session,
    /// Our INVITE, re-INVITE, UPDATE or BYE.
    request: Option<KeptRequest>,
    /// The INVITE that opened the session.
    invite: Option<KeptServer>,
    /// A request of the peer with an offer.
    theirs: Option<(Method, KeptServer)>,
}

keep::keep!(struct KeptSession { session, request, invite, theirs });

impl KeptSession {
    /// Whether the parts fit together, which those of a session that lived always do.
    fn is_sound(&self) -> bool {
        let session = &self.session;
        let setup = session.setup.as_deref();
        let complete = match session.phase {
            Phase::Calling => matches!(setup, Some(Setup::Outbound(_))) && self.request.is_some(),
            Phase::Ringing => matches!(setup, Some(Setup::Inbound(_))) && self.invite.is_some(),
            Phase::Established | Phase::Closing => setup.is_none() && !session.dialogs.is_empty(),
        };
        let counted = match setup {
            Some(Setup::Inbound(inbound)) => inbound.provisionals.last_rseq() < NUMBERS,
            _ => true,
        };
        // Room for all numbers that a session can use up (RFC 3261 §8.1.1.5).
        complete && counted && session.cseq < NUMBERS
    }
}

/// Numbers of requests and of reliable provisionals begin below this.
const NUMBERS: u32 = 1 << 31;

struct KeptRequest {
    whose: Whose,
    exchange: Exchange,
    /// Where it went and with which branch; `None` while the way is looked up.
    sent: Option<(Flow, ByteStr)>,
}

keep::keep!(struct KeptRequest { whose, exchange, sent });

/// What a request is to its session.
#[derive(Copy, Clone)]
enum Whose {
    Invite,
    Offer,
    Refresh,
    Identify,
    Bye,
}

keep::keep!(enum Whose { 0 = Invite, 1 = Offer, 2 = Refresh, 3 = Identify, 4 = Bye });

struct KeptServer {
    request: Message,
    reply: Flow,
}

keep::keep!(struct KeptServer { request, reply });

/// What leads to sessions of an earlier process.
#[derive(Default)]
pub(crate) struct Inherited {
    tags: HashMap<ByteStr, Key>,
    branches: HashMap<ByteStr, Key>,
    /// Sessions that the peer began, by Call-ID.
    calls: HashMap<ByteStr, Key>,
    /// As long as a 2xx may be repeated that the earlier process had dealt with.
    until: Option<Instant>,
}

impl Inherited {
    pub(crate) fn session(&self, tag: &str) -> Option<Key> {
        self.tags.get(tag).copied()
    }

    pub(crate) fn transaction(&self, branch: &str) -> Option<Key> {
        self.branches.get(branch).copied()
    }

    pub(crate) fn forget_session(&mut self, session: &Session) {
        if self.tags.remove(&session.tag).is_some() {
            self.calls.remove(&session.call_id);
        }
    }

    pub(crate) fn forget_transaction(&mut self, machine: &Transaction) {
        if self.branches.is_empty() {
            return;
        }
        match machine {
            Transaction::InviteClient(machine) => self.branches.remove(machine.branch()),
            Transaction::RequestClient(machine) => self.branches.remove(machine.branch()),
            _ => None,
        };
    }
}

/// Sessions of which the layer above wants to know when there is something new to keep.
#[derive(Default)]
pub(crate) struct Watch {
    touched: Vec<SessionId>,
    over: Vec<SessionId>,
    /// Sessions that are over but for the ACK of a refusal, with its transaction.
    pub(crate) refused: HashMap<Key, Key>,
}

impl Kept {
    /// Whether nothing of the session is left to go on with.
    pub fn is_over(&self) -> bool {
        matches!(self.0, Form::Over)
    }

    /// The INVITE of a session that came in and is not answered.
    pub fn invite(&self) -> Option<&Message> {
        match &self.0 {
            Form::Session(kept) => Some(&kept.invite.as_ref()?.request),
            Form::Over | Form::Refused { .. } => None,
        }
    }

    /// The shard whose tags the session has; what the peer says goes there.
    pub fn owner(&self) -> Option<u16> {
        match &self.0 {
            Form::Session(kept) => token::lead(&kept.session.tag).map(|(owner, _)| owner),
            Form::Over | Form::Refused { .. } => None,
        }
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

impl Keep for Kept {
    fn keep(&self, out: &mut Writer) {
        self.0.keep(out);
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let form = Form::kept(input)?;
        if let Form::Session(kept) = &form
            && !kept.is_sound()
        {
            return Err(Damaged::Value("session"));
        }
        Ok(Self(form))
    }
}

impl Endpoint {
    /// From now on [`next_touched`](Self::next_touched) and [`next_over`](Self::next_over) speak of this session.
    pub fn watch(&mut self, session: SessionId) {
        if let Some(session) = self.sessions.get_mut(session.0) {
            session.watched = true;
        }
    }

    /// A watched session of which there may be something new to keep.
    pub fn next_touched(&mut self) -> Option<SessionId> {
        self.watch.touched.pop()
    }

    /// A watched session that nothing has to be kept of any more.
    pub fn next_over(&mut self) -> Option<SessionId> {
        self.watch.over.pop()
    }

    /// Whether nothing has to be kept of a session any more.
    pub fn is_over(&self, session: SessionId) -> bool {
        !self.sessions.contains(session.0) && !self.watch.refused.contains_key(&session.0)
    }

    pub(crate) fn touch(&mut self, key: Key) {
        if self.sessions.is_watched(key) {
            self.watch.touched.push(SessionId(key));
        }
    }

    /// A watched session has been forgotten; a refusal of its INVITE may have to be repeated yet.
    pub(crate) fn end_watch(&mut self, key: Key, invite: Option<Key>) {
        let refused = invite.filter(|id| {
            let machine = self.transactions.get(*id).map(|running| &running.machine);
            matches!(machine, Some(Transaction::InviteServer(machine)) if !machine.is_proceeding())
        });
        match refused {
            Some(transaction) => {
                self.watch.refused.insert(key, transaction);
            }
            None => self.watch.over.push(SessionId(key)),
        }
    }

    /// The transaction of a session has ended.
    pub(crate) fn end_refusal(&mut self, user: User) {
        if let User::Session(key) = user
            && self.watch.refused.remove(&key).is_some()
        {
            self.watch.over.push(SessionId(key));
        }
    }

    /// Lays a session to rest: it takes a fraction of the memory until something happens to it, and does whatever it
    /// did before. False when there is something under way in it.
    pub fn rest(&mut self, now: Instant, session: SessionId) -> bool {
        self.sessions.rest(now, session.0)
    }

    /// A session that was at rest and is not any more.
    pub fn next_woken(&mut self) -> Option<SessionId> {
        self.sessions.next_woken().map(SessionId)
    }

    /// Writes what has to outlive the process of a session.
    pub fn keep(&self, session: SessionId, out: &mut Writer) {
        let key = session.0;
        let there = self
            .sessions
            .inspect(key, |session| self.keep_session(session, out));
        if there.is_some() {
            return;
        }
        let refused = self.watch.refused.get(&key);
        match refused.and_then(|id| self.transactions.get(*id).map(|running| &running.machine)) {
            Some(Transaction::InviteServer(machine)) => machine.keep_refusal(out),
            _ => Form::Over.keep(out),
        }
    }

    fn keep_session(&self, session: &Session, out: &mut Writer) {
        out.byte(1);
        session.keep(out);
        let (invite, request) = match session.setup.as_deref() {
            Some(Setup::Outbound(outbound)) => (None, outbound.exchange),
            Some(Setup::Inbound(inbound)) => (Some(inbound.transaction), None),
            None => (None, None),
        };
        let request = request.or(session.ours.as_ref().map(|(_, exchange)| *exchange));
        match request.and_then(|id| self.exchanges.get(id)) {
            Some(exchange) => {
                out.byte(1);
                self.keep_request(exchange, out);
            }
            None => out.byte(0),
        }
        let keep_server = |(request, reply): (&Message, Flow), out: &mut Writer| {
            request.keep(out);
            reply.keep(out);
        };
        match invite.and_then(|id| self.asked(id)) {
            Some(asked) => {
                out.byte(1);
                keep_server(asked, out);
            }
            None => out.byte(0),
        }
        let theirs = session.theirs.as_ref();
        match theirs.and_then(|(method, id)| Some((method, self.asked(*id)?))) {
            Some((method, asked)) => {
                out.byte(1);
                method.keep(out);
                keep_server(asked, out);
            }
            None => out.byte(0),
        }
    }

    fn keep_request(&self, exchange: &Exchange, out: &mut Writer) {
        let whose = match exchange.purpose {
            Purpose::Invite(_) => Whose::Invite,
            Purpose::Refresh(_) => Whose::Refresh,
            Purpose::Identify(_) => Whose::Identify,
            Purpose::Bye(_) => Whose::Bye,
            _ => Whose::Offer,
        };
        whose.keep(out);
        exchange.keep(out);
        let transaction = exchange
            .transaction
            .and_then(|id| self.transactions.get(id));
        match transaction.map(|running| &running.machine) {
            Some(Transaction::InviteClient(machine)) => {
                out.byte(1);
                machine.flow().keep(out);
                machine.branch().keep(out);
            }
            Some(Transaction::RequestClient(machine)) => {
                out.byte(1);
                machine.flow().keep(out);
                machine.branch().keep(out);
            }
            _ => out.byte(0),
        }
    }

    /// Goes on with a session of an earlier process, and says again what may have been lost. `None` when there is
    /// nothing to go on with.
    pub fn adopt(
        &mut self,
        now: Instant,
        kept: Kept,
        credentials: Option<Arc<Credentials>>,
    ) -> Option<SessionId> {
        self.inherited.until = Some(now + self.config.timers.give_up());
        match kept.0 {
            Form::Over => None,
            Form::Session(kept) => Some(self.adopt_session(now, *kept, credentials)),
            Form::Refused {
                server,
                status,
                response,
            } => Some(self.adopt_refusal(now, server, status, response)),
        }
    }

    fn adopt_session(
        &mut self,
        now: Instant,
        kept: KeptSession,
        credentials: Option<Arc<Credentials>>,
    ) -> SessionId {
        let KeptSession {
            mut session,
            request,
            invite,
            theirs,
        } = kept;
        session.credentials = credentials;
        let (tag, call_id) = (session.tag.clone(), session.call_id.clone());
        let called = !session.owns_call_id;
        let key = self.sessions.insert(session);
        self.inherited.tags.insert(tag, key);
        if called {
            self.inherited.calls.insert(call_id, key);
        }
        if let Some(server) = invite {
            let transaction = self.resume_invite(server, User::Session(key));
            if let Some(inbound) = self.sessions.get_mut(key).and_then(Session::inbound) {
                inbound.transaction = transaction;
            }
        }
        if let Some((method, server)) = theirs {
            let transaction = match method {
                Method::Invite => self.resume_invite(server, User::Reinvite(key)),
                _ => self.resume_server(now, server, key),
            };
            if let Some(session) = self.sessions.get_mut(key) {
                session.theirs = Some((method, transaction));
            }
        }
        if let Some(request) = request {
            self.resume_request(now, key, request);
        }
        self.resume_session(now, key);
        SessionId(key)
    }

    /// What a session does of its own accord.
    fn resume_session(&mut self, now: Instant, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let (phase, under_way) = (session.phase, session.ours.is_some());
        if let Some(success) = session.success.as_deref_mut() {
            let due = Due::Session(key, SessionTimer::Success);
            success.timer = Some(self.timers.set(now, due));
        }
        let pracking = session.pracking.take();
        if phase == Phase::Closing && !under_way {
            let headers = session.bye.clone().unwrap_or_default();
            self.send_bye(now, key, headers);
            return;
        }
        if let Some(pracking) = pracking.filter(|_| phase == Phase::Calling) {
            self.send_prack(now, key, &pracking.tag, &pracking.rack, pracking.body);
        }
        self.send_provisional(now, key);
        if phase == Phase::Established {
            self.resume_timer(now, key);
            self.resume_identity(now, key);
        }
    }

    fn resume_request(&mut self, now: Instant, key: Key, request: KeptRequest) {
        let KeptRequest {
            whose,
            mut exchange,
            sent,
        } = request;
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let method = exchange.draft.method.clone();
        exchange.purpose = match (whose, &method) {
            (Whose::Invite, _) => Purpose::Invite(key),
            (Whose::Offer, Method::Invite) => Purpose::Reinvite(key),
            (Whose::Offer, _) => Purpose::Update(key),
            (Whose::Refresh, _) => Purpose::Refresh(key),
            (Whose::Identify, _) => Purpose::Identify(key),
            (Whose::Bye, _) => Purpose::Bye(key),
        };
        exchange.credentials = session.credentials.clone();
        // A peer that rings has the INVITE, and would take another one for a new call if it has answered meanwhile.
        let rings = matches!(whose, Whose::Invite) && !session.dialogs.is_empty();
        let cancel = session.outbound().and_then(|outbound| {
            outbound.exchange = Some(self.exchanges.next_key());
            match std::mem::replace(&mut outbound.cancel, Cancelling::No) {
                Cancelling::No => None,
                Cancelling::Wanted { reason } => Some(reason),
                Cancelling::Sent => Some(None),
            }
        });
        if !matches!(whose, Whose::Invite) {
            session.ours = Some((method, self.exchanges.next_key()));
        }
        let target = exchange.target.clone();
        let id = self.exchanges.insert(exchange);
        match (sent, target) {
            (Some((flow, branch)), _) => self.send_again(now, id, flow, branch, rings),
            (None, Some(target)) if self.has_no_hops(id) => {
                let (resolution, step) = Resolution::start(target, &mut self.random);
                if let Some(exchange) = self.exchanges.get_mut(id) {
                    exchange.resolution = Some(Box::new(resolution));
                }
                self.on_resolution(now, id, step);
            }
            (None, _) => self.try_next_hop(now, id),
        }
        if let Some(reason) = cancel {
            self.cancel(now, SessionId(key), reason);
        }
    }

    fn has_no_hops(&self, exchange: Key) -> bool {
        let exchange = self.exchanges.get(exchange);
        exchange.is_some_and(|exchange| exchange.flows.is_empty())
    }

    /// Sends a request once more on the transaction it had, or only waits for the response where that must come.
    fn send_again(&mut self, now: Instant, id: Key, flow: Flow, branch: ByteStr, rings: bool) {
        let Some(bytes) = self.print(id, flow, &branch) else {
            let outcome = crate::endpoint::Outcome::Transport;
            self.finish(now, id, outcome);
            return;
        };
        let reliable = self.transport(flow).is_reliable();
        let transaction = self.transactions.next_key();
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        exchange.transaction = Some(transaction);
        let no_response = exchange.fast || !exchange.flows.is_empty();
        let mut context = crate::transaction::Context {
            now,
            id: transaction,
            timing: &self.config.timers,
            timers: &mut self.timers,
            out: &mut self.out,
            peer: exchange.peer.clone(),
        };
        let cx = &mut context;
        let named = branch.clone();
        let machine = match exchange.draft.method {
            Method::Invite if rings => {
                Transaction::InviteClient(InviteClient::resume(flow, reliable, bytes, branch))
            }
            Method::Invite => {
                let fast = no_response && exchange.fast;
                let machine = InviteClient::start(cx, flow, reliable, bytes, branch, fast);
                Transaction::InviteClient(machine)
            }
            _ => {
                let machine = RequestClient::start(cx, flow, reliable, bytes, branch, no_response);
                Transaction::RequestClient(machine)
            }
        };
        self.transactions
            .insert(Running::client(machine, User::Exchange(id)));
        self.inherited.branches.insert(named, transaction);
    }

    fn resume_invite(&mut self, server: KeptServer, user: User) -> Key {
        let KeptServer { request, reply } = server;
        let reliable = self.transport(reply).is_reliable();
        // Repetitions of the INVITE hear that it is here; what was said before they have, or hear with the next word.
        let trying = ResponseDraft::new(100).print(&request);
        let machine = InviteServer::resume(reply, reliable, request.clone(), trying);
        let merges = matches!(user, User::Session(_));
        self.open(&request, Transaction::InviteServer(machine), user, merges)
    }

    fn resume_server(&mut self, now: Instant, server: KeptServer, session: Key) -> Key {
        let KeptServer { request, reply } = server;
        let reliable = self.transport(reply).is_reliable();
        let id = self.transactions.next_key();
        let mut context = crate::transaction::Context {
            now,
            id,
            timing: &self.config.timers,
            timers: &mut self.timers,
            out: &mut self.out,
            peer: None,
        };
        let machine = RequestServer::start(&mut context, reply, reliable, request.clone());
        let user = User::Request(Some(session));
        self.open(&request, Transaction::RequestServer(machine), user, false)
    }

    /// Repeats a refusal until its ACK comes.
    fn adopt_refusal(
        &mut self,
        now: Instant,
        server: KeptServer,
        status: u16,
        response: Bytes,
    ) -> SessionId {
        // A session that is there for a moment gives the name.
        let call_id = server.request.call_id().clone();
        let gone = Session::new(Phase::Ringing, ByteStr::EMPTY, call_id, ByteStr::EMPTY);
        let key = self.sessions.insert(gone);
        let transaction = self.resume_invite(server, User::Session(key));
        self.sessions.remove(key);
        self.watch.refused.insert(key, transaction);
        self.respond_bytes(now, transaction, status.max(300), response);
        SessionId(key)
    }

    /// A repeated INVITE of a call that an earlier process has answered: whoever sent it has the answer, or will hear it
    /// again.
    pub(crate) fn is_repeated(&mut self, request: &Message) -> bool {
        let key = self.inherited.calls.get(request.call_id());
        let session = key.and_then(|key| self.sessions.get_mut(*key));
        session.is_some_and(|session| {
            session.dialogs.iter().any(|dialog| {
                Some(&*dialog.remote_tag) == request.from().tag()
                    && dialog.remote_cseq >= Some(request.cseq().number)
            })
        })
    }

    /// A response without a transaction. Where an earlier process had the transaction, a 2xx still wants its ACK; and a
    /// call that nobody has any more is hung up.
    pub(crate) fn on_stray(&mut self, now: Instant, response: &Message, flow: Flow) {
        let recent = self.inherited.until.is_some_and(|until| now < until);
        let success = response
            .status()
            .is_some_and(|status| (200..300).contains(&status));
        let branch = response
            .via()
            .branch
            .as_deref()
            .and_then(token::lead_of_branch);
        let tag = response.from().tag().unwrap_or_default();
        let ours = [branch, token::lead(tag)]
            .into_iter()
            .all(|lead| lead.is_some_and(|(owner, _)| owner == self.config.owner));
        if !recent || !success || !ours || response.cseq().method != Method::Invite {
            return;
        }
        let Some(key) = self.inherited.session(tag) else {
            self.dismiss(now, None, response, flow);
            return;
        };
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let answered = matches!(session.phase, Phase::Established | Phase::Closing);
        match (
            session.dialog_of(response).is_some(),
            session.owed.is_some(),
        ) {
            // The layer above has yet to say what the ACK answers.
            (true, true) => {}
            (true, false) if answered => {
                let cseq = response.cseq().number;
                self.send_ack(now, key, None, cseq, None, Bytes::new());
            }
            _ => self.dismiss(now, None, response, flow),
        }
    }
}
