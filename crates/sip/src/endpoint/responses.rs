//! Responses: those that come in find their transaction, ours find their way back.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use crate::arena::Key;
use crate::endpoint::{Endpoint, Flow, Output, ReplyTo, Running, Transport, User};
use crate::event::{ServerRequestId, SessionId};
use crate::message::{ByteStr, Message, Method, Name, ResponseDraft, Via};
use crate::token;
use crate::transaction::invite_server::InviteServer;
use crate::transaction::key::{MergeKey, ServerKey, stateless_tag};
use crate::transaction::request_server::RequestServer;
use crate::transaction::{Context, Heard, Transaction};

impl Endpoint {
    /// A response came: its branch is one of ours and names the transaction.
    pub(crate) fn handle_response(&mut self, now: Instant, response: Message, flow: Flow) {
        let Some(id) = self.find_client(&response) else {
            self.strays += 1;
            self.on_stray(now, &response, flow);
            return;
        };
        let Some(user) = self.transactions.get(id).map(|running| running.user) else {
            return;
        };
        let heard = self.with_transaction(now, id, |cx, machine| match machine {
            Transaction::InviteClient(machine) => machine.receive(cx, &response),
            Transaction::RequestClient(machine) => machine.receive(cx, &response),
            _ => Heard::Nothing,
        });
        let Some(heard) = heard.filter(|heard| *heard != Heard::Nothing) else {
            return;
        };
        match user {
            User::Exchange(exchange) => {
                self.on_exchange_response(now, exchange, id, heard, response, flow)
            }
            user => self.on_late_response(now, id, user, heard, &response, flow),
        }
    }

    /// The client transaction of a response (RFC 3261 §17.1.3): same branch, same method.
    fn find_client(&self, response: &Message) -> Option<Key> {
        if response.headers(Name::Via).count() > 1 {
            // It has more hops to go, so it is not for us (§8.1.3.3).
            return None;
        }
        let branch = response.via().branch.as_deref()?;
        let (owner, lead) = token::lead_of_branch(branch)?;
        if owner != self.config.owner {
            return None;
        }
        let method = &response.cseq().method;
        let at = self.transactions.at(lead.index);
        at.and_then(|(id, running)| Self::hears(id, running, branch, method))
            .or_else(|| {
                // The slot is another's now, for an earlier process made the branch.
                let id = self.inherited.transaction(branch)?;
                Self::hears(id, self.transactions.get(id)?, branch, method)
            })
    }

    /// The transaction that a response is for, if it is this one or its CANCEL.
    fn hears(id: Key, running: &Running, branch: &str, method: &Method) -> Option<Key> {
        match &running.machine {
            Transaction::InviteClient(machine) if **machine.branch() == *branch => match method {
                Method::Invite => Some(id),
                Method::Cancel => running.cancel,
                _ => None,
            },
            Transaction::RequestClient(machine) if **machine.branch() == *branch => Some(id),
            _ => None,
        }
    }

    /// Where responses to a request go (RFC 3261 §18.2.2, RFC 3581 §4): along the stream, or to the
    /// source address and, unless `rport` was asked for, to the port of sent-by.
    pub(crate) fn reply_flow(&self, via: &Via, flow: Flow) -> Flow {
        let open = flow
            .stream
            .is_some_and(|stream| self.streams.contains(&stream));
        if open || (flow.stream.is_none() && via.rport.is_some()) {
            return flow;
        }
        let transport = self.transport(flow);
        let port = via.port.unwrap_or(transport.default_port());
        Flow {
            interface: flow.interface,
            remote: SocketAddr::new(flow.remote.ip(), port),
            stream: None,
        }
    }

    /// Sends the responses to a session's requests elsewhere than to their source. The 100 of its INVITE is out by
    /// then; everything later obeys.
    pub fn reply_to(&mut self, session: SessionId, to: ReplyTo) {
        let Some(entry) = self.sessions.get_mut(session.0) else {
            return;
        };
        entry.replies_to = to;
        if let Some(transaction) = entry.inbound().map(|inbound| inbound.transaction) {
            self.redirect_replies(transaction, to);
        }
    }

    /// Moves the replies of one server transaction to where its session wants them.
    pub(crate) fn redirect_replies(&mut self, transaction: Key, to: ReplyTo) {
        let Some((request, reply)) = self.asked(transaction) else {
            return;
        };
        if self.transport(reply).is_reliable() {
            return;
        }
        let Some(remote) = literal_reply(request, to) else {
            return;
        };
        if remote.is_ipv4() != reply.remote.is_ipv4() {
            return;
        }
        let reply = Flow { remote, ..reply };
        let running = self.transactions.get_mut(transaction);
        match running.map(|running| &mut running.machine) {
            Some(Transaction::InviteServer(machine)) => machine.set_reply(reply),
            Some(Transaction::RequestServer(machine)) => machine.set_reply(reply),
            _ => {}
        }
    }

    /// Opens the server transaction of an INVITE; 100 goes out at once.
    pub(crate) fn open_invite(
        &mut self,
        now: Instant,
        request: &Message,
        flow: Flow,
        user: User,
        merges: bool,
    ) -> Key {
        let trying = ResponseDraft::new(100).print(request);
        let reply = self.reply_flow(request.via(), flow);
        let reliable = self.transport(reply).is_reliable();
        let id = self.transactions.next_key();
        let mut context = Context {
            now,
            id,
            timing: &self.config.timers,
            timers: &mut self.timers,
            out: &mut self.out,
            peer: None,
        };
        let machine = InviteServer::start(&mut context, reply, reliable, request.clone(), trying);
        self.open(request, Transaction::InviteServer(machine), user, merges)
    }

    /// Opens the server transaction of another request.
    pub(crate) fn open_request(
        &mut self,
        now: Instant,
        request: &Message,
        flow: Flow,
        session: Option<Key>,
    ) -> Key {
        let reply = self.reply_flow(request.via(), flow);
        let reliable = self.transport(reply).is_reliable();
        let id = self.transactions.next_key();
        let mut context = Context {
            now,
            id,
            timing: &self.config.timers,
            timers: &mut self.timers,
            out: &mut self.out,
            peer: None,
        };
        let machine = RequestServer::start(&mut context, reply, reliable, request.clone());
        self.open(
            request,
            Transaction::RequestServer(machine),
            User::Request(session),
            session.is_none(),
        )
    }

    pub(super) fn open(
        &mut self,
        request: &Message,
        machine: Transaction,
        user: User,
        merges: bool,
    ) -> Key {
        let server_key = ServerKey::of(self.secret, request);
        let merge_key = merges.then(|| MergeKey::of(self.secret, request));
        // Responses repeat most of the request, and one is kept beside it.
        let held_bytes = 2 * request.as_bytes().len();
        self.held_bytes += held_bytes;
        let id = self.transactions.insert(Box::new(Running {
            machine,
            user,
            cancel: None,
            server_key: Some(server_key),
            merge_key,
            held_bytes,
        }));
        self.server_keys.insert(server_key, id);
        if let Some(merge_key) = merge_key {
            self.merge_keys.insert(merge_key, id);
        }
        id
    }

    /// Answers a request that came as `Event::Request`. A final response ends it; later ones are ignored.
    pub fn respond(&mut self, now: Instant, id: ServerRequestId, draft: ResponseDraft) {
        if matches!(
            self.transactions.get(id.0).map(|it| (&it.machine, it.user)),
            Some((Transaction::RequestServer(_), User::Request(_)))
        ) {
            self.respond_draft(now, id.0, draft);
        }
    }

    /// Sends a response of ours on a server transaction, with our tag, Contact and name.
    pub(crate) fn respond_draft(&mut self, now: Instant, transaction: Key, draft: ResponseDraft) {
        let status = draft.status;
        if let Some(bytes) = self.print_for(transaction, draft) {
            self.respond_bytes(now, transaction, status, bytes);
        }
    }

    /// A response to the request of a transaction.
    pub(crate) fn print_for(
        &mut self,
        transaction: Key,
        mut draft: ResponseDraft,
    ) -> Option<Bytes> {
        let running = self.transactions.get(transaction)?;
        let (request, reply) = running.machine.asked()?;
        let interface = reply.interface;
        let method = request.method();
        let forms_dialog = matches!(
            method,
            Some(
                Method::Invite
                    | Method::Update
                    | Method::Refer
                    | Method::Subscribe
                    | Method::Notify
            )
        );
        if draft.contact.is_none() && forms_dialog && (101..300).contains(&draft.status) {
            draft.contact = Some(self.contact(interface));
        }
        if draft.to_tag.is_none() && request.to().tag().is_none() && draft.status > 100 {
            draft.to_tag = Some(stateless_tag(self.secret, request).into());
        }
        let session = match running.user {
            User::Session(key) | User::Reinvite(key) | User::Request(Some(key)) => {
                self.sessions.get_mut(key)
            }
            _ => None,
        };
        let software = session
            .and_then(|session| session.software.as_ref())
            .or(self.config.software.as_ref());
        if let Some(software) = software
            && !draft.headers.contains("Server")
        {
            draft.headers.push_name(Name::Server, software);
        }
        Some(draft.print(request))
    }

    /// Sends a printed response on a server transaction; tells along which flow.
    pub(crate) fn respond_bytes(
        &mut self,
        now: Instant,
        transaction: Key,
        status: u16,
        bytes: Bytes,
    ) -> Option<Flow> {
        let (request, reply) = self.asked(transaction)?;
        // The stream may have closed meanwhile: then the response opens one to sent-by.
        let reply = if reply.stream.is_some() {
            self.reply_flow(request.via(), reply)
        } else {
            reply
        };
        self.with_transaction(now, transaction, |cx, machine| match machine {
            Transaction::InviteServer(machine) => {
                machine.set_reply(reply);
                machine.respond(cx, status, bytes);
            }
            Transaction::RequestServer(machine) => {
                machine.set_reply(reply);
                machine.respond(cx, status, bytes);
            }
            _ => {}
        })?;
        if let Some(running) = self.transactions.get_mut(transaction) {
            if status >= 300
                && let Some(key) = running.merge_key.take()
            {
                // Only a request that is still wanted can come twice; after a refusal the peer may try
                // another way in earnest.
                self.merge_keys.remove(&key);
            }
            let holds = running.machine.held_bytes();
            self.held_bytes = self.held_bytes + holds - running.held_bytes;
            running.held_bytes = holds;
        }
        Some(reply)
    }

    /// Answers a request without keeping anything (RFC 3261 §8.2.7).
    pub(crate) fn refuse(&mut self, request: &Message, flow: Flow, mut draft: ResponseDraft) {
        if request.to().tag().is_none() && draft.to_tag.is_none() {
            draft.to_tag = Some(ByteStr::from(stateless_tag(self.secret, request)));
        }
        if let Some(software) = &self.config.software {
            draft.headers.push_name(Name::Server, software);
        }
        let bytes = draft.print(request);
        let flow = self.reply_flow(request.via(), flow);
        self.out.push_back(Output::Transmit {
            flow,
            bytes,
            peer: None,
        });
    }

    /// A response with only a status.
    pub(crate) fn respond_status(&mut self, now: Instant, transaction: Key, status: u16) {
        self.respond_draft(now, transaction, ResponseDraft::new(status));
    }

    /// The request that opened a transaction and where its responses go, while one may have to be written for it.
    pub(crate) fn asked(&self, transaction: Key) -> Option<(&Message, Flow)> {
        self.transactions.get(transaction)?.machine.asked()
    }

    /// The request alone.
    pub(crate) fn server_request(&self, transaction: Key) -> Option<&Message> {
        self.asked(transaction).map(|(request, _)| request)
    }

    pub(crate) fn set_user(&mut self, transaction: Option<Key>, user: User) {
        if let Some(running) = transaction.and_then(|id| self.transactions.get_mut(id)) {
            running.user = user;
        }
    }
}

/// The literal address that a request names for its responses; `None` for its source, or when it names a host.
fn literal_reply(request: &Message, to: ReplyTo) -> Option<SocketAddr> {
    let default = Transport::Udp.default_port();
    match to {
        ReplyTo::Source => None,
        ReplyTo::Contact => {
            let contact = request.contact()?;
            let port = contact.uri.port().unwrap_or(default);
            Some(SocketAddr::new(contact.uri.host_ip()?, port))
        }
        ReplyTo::Via => {
            let via = request.via();
            let ip = crate::message::uri::host_ip(&via.host)?;
            Some(SocketAddr::new(ip, via.port.unwrap_or(default)))
        }
    }
}
