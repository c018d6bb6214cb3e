//! Our requests within a dialog: how they are made, where they go first, and what their outcome says
//! about the dialog (RFC 3261 §12.2.1).

use std::time::Instant;

use bytes::Bytes;

use crate::arena::Key;
use crate::dialog::Dialog;
use crate::dialog::route_set;
use crate::dialog::session::Phase;
use crate::dialog::uac::SDP;
use crate::endpoint::{Endpoint, Exchange, Flow, NextHop, Outcome, Purpose};
use crate::event::{EndCause, Event, RequestId, SessionId};
use crate::message::{ByteStr, Headers, Method, Name, RequestDraft, Uri};

impl Endpoint {
    /// Sends a request of another kind within a session: INFO, REFER, NOTIFY, MESSAGE, OPTIONS. The
    /// outcome comes as `Response`.
    pub fn request(
        &mut self,
        now: Instant,
        session: SessionId,
        method: Method,
        headers: Headers,
        content_type: Option<ByteStr>,
        body: Bytes,
    ) -> RequestId {
        let key = session.0;
        let id = self.exchanges.next_key();
        let index = self
            .sessions
            .get_mut(key)
            .filter(|state| state.phase != Phase::Closing)
            .and_then(|state| state.dialogs.len().checked_sub(1));
        let Some((mut draft, hop)) =
            index.and_then(|index| self.dialog_draft(key, index, method, None))
        else {
            self.event(Event::Response {
                id: RequestId(id),
                status: 481,
                response: None,
            });
            return RequestId(id);
        };
        draft.headers = headers;
        draft.content_type = content_type;
        draft.body = body;
        let id = self.begin_in_session(now, key, Purpose::Request(Some(key)), draft, hop);
        RequestId(id)
    }

    /// Starts a request of a session, with the session's credentials and interface.
    pub(crate) fn begin_in_session(
        &mut self,
        now: Instant,
        key: Key,
        purpose: Purpose,
        mut draft: RequestDraft,
        hop: NextHop,
    ) -> Key {
        self.touch(key);
        if let Some(software) = self
            .sessions
            .get_mut(key)
            .and_then(|session| session.software.as_ref())
            && !draft.headers.contains("User-Agent")
        {
            draft.headers.push_name(Name::UserAgent, software);
        }
        let mut exchange = Exchange::new(purpose, draft);
        if let Some(session) = self.sessions.get_mut(key) {
            exchange.credentials = session.credentials.clone();
            exchange.interface = session.current().map(|dialog| dialog.flow.interface);
        }
        self.begin(now, exchange, hop)
    }

    /// A request of ours within a dialog, and where it goes first (RFC 3261 §12.2.1.1). `cseq` is given
    /// for an ACK, which has the number of its INVITE.
    pub(crate) fn dialog_draft(
        &mut self,
        key: Key,
        index: usize,
        method: Method,
        cseq: Option<u32>,
    ) -> Option<(RequestDraft, NextHop)> {
        let session = self.sessions.get_mut(key)?;
        let cseq = cseq.unwrap_or_else(|| session.next_cseq());
        let dialog = session.dialogs.get(index)?;
        let routed = route_set::apply(&dialog.target, &dialog.routes);
        let with_contact = matches!(
            method,
            Method::Invite | Method::Update | Method::Refer | Method::Notify
        );
        let draft = RequestDraft {
            method,
            uri: routed.uri,
            max_forwards: 70,
            from: session.local.clone(),
            to: dialog.remote.clone(),
            call_id: session.call_id.clone(),
            cseq,
            routes: routed.routes,
            contact: session.contact.clone().filter(|_| with_contact),
            headers: Headers::new(),
            content_type: None,
            body: Bytes::new(),
        };
        let hop = self.sessions.inspect(key, |session| {
            let dialog = session.dialogs.get(index)?;
            Some(self.next_hop(dialog, &routed.next, session.follows_source))
        });
        Some((draft, hop.flatten()?))
    }

    /// Where the requests of a dialog go first: along the open stream, back to the source if the
    /// session is so told, else where the URI leads.
    pub(crate) fn next_hop(&self, dialog: &Dialog, next: &Uri, follows_source: bool) -> NextHop {
        let live = dialog
            .flow
            .stream
            .is_some_and(|stream| self.streams.contains(&stream));
        if live {
            return NextHop::Flow(dialog.flow);
        }
        if follows_source && !self.transport(dialog.flow).is_reliable() {
            return NextHop::Flow(dialog.flow);
        }
        if let Some((transport, remote)) = route_set::literal(next)
            && let Some(interface) =
                self.interface_for(transport, remote.is_ipv4(), Some(dialog.flow.interface))
        {
            return NextHop::Flow(Flow {
                interface,
                remote,
                stream: None,
            });
        }
        NextHop::Target(route_set::target_of(next))
    }

    pub(crate) fn send_ack(
        &mut self,
        now: Instant,
        key: Key,
        invite: Option<Key>,
        cseq: u32,
        authorization: Option<(Name, String)>,
        body: Bytes,
    ) {
        let Some(index) = self
            .sessions
            .get_mut(key)
            .and_then(|session| session.dialogs.len().checked_sub(1))
        else {
            return;
        };
        let Some((mut draft, hop)) = self.dialog_draft(key, index, Method::Ack, Some(cseq)) else {
            return;
        };
        if let Some((name, value)) = authorization {
            draft.headers.push_name(name, value);
        }
        if !body.is_empty() {
            draft.content_type = Some(SDP);
            draft.body = body;
        }
        let tag = self
            .sessions
            .get_mut(key)
            .map(|session| session.dialogs[index].remote_tag.clone())
            .unwrap_or_default();
        let interface = self
            .sessions
            .get_mut(key)
            .map(|session| session.dialogs[index].flow.interface);
        let mut exchange = Exchange::new(Purpose::Ack { invite, tag }, draft);
        exchange.interface = interface;
        self.begin(now, exchange, hop);
    }

    /// What the outcome of a request within a dialog says about the dialog itself (RFC 3261 §12.2.1.2).
    /// True when the session has ended.
    pub(crate) fn on_dialog_outcome(&mut self, now: Instant, key: Key, outcome: &Outcome) -> bool {
        let Some(session) = self.sessions.get_mut(key) else {
            return false;
        };
        if session.phase != Phase::Established {
            // While the INVITE is open its own outcome decides.
            return false;
        }
        let cause = match (outcome.status(), outcome) {
            (481, _) => EndCause::Gone,
            (408, _) => EndCause::RequestTimeout,
            _ => return false,
        };
        match cause {
            EndCause::Gone => self.remove_session(now, key),
            _ => self.send_bye(now, key, Headers::new()),
        }
        self.event(Event::Ended {
            session: SessionId(key),
            cause,
        });
        true
    }

    /// What `User-Agent` and `Server` tell the peer of a session from now on. `None` leaves the endpoint's
    /// own text, if it has one. An INVITE that is out already said what its draft did.
    pub fn show_software(&mut self, session: SessionId, software: Option<ByteStr>) {
        if let Some(session) = self.sessions.get_mut(session.0) {
            session.software = software;
        }
    }

    /// Sends the requests of a session to where the peer's messages come from, whatever its Contact
    /// says: for peers behind a NAT that announce their private address.
    pub fn follow_source(&mut self, session: SessionId, follow: bool) {
        if let Some(session) = self.sessions.get_mut(session.0) {
            session.follows_source = follow;
        }
    }
}
