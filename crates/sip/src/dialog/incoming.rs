//! Requests of the peer within a dialog: their order, and which part of the session they concern
//! (RFC 3261 §12.2.2).

use std::time::Instant;

use crate::arena::Key;
use crate::dialog::session::Phase;
use crate::endpoint::{Endpoint, Flow, User};
use crate::event::{Event, ServerRequestId, SessionId};
use crate::message::{Message, Method};

impl Endpoint {
    /// A request with a known To tag, not an ACK or CANCEL. `index` is its dialog.
    pub(crate) fn on_request_in_dialog(
        &mut self,
        now: Instant,
        key: Key,
        index: usize,
        request: Message,
        flow: Flow,
    ) {
        self.touch(key);
        let method = request.method().cloned().unwrap_or(Method::Info);
        let transaction = if method == Method::Invite {
            self.open_invite(now, &request, flow, User::Reinvite(key), false)
        } else {
            self.open_request(now, &request, flow, Some(key))
        };
        if let Some(to) = self.sessions.get_mut(key).map(|session| session.replies_to) {
            self.redirect_replies(transaction, to);
        }
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(dialog) = session.dialogs.get_mut(index) else {
            return;
        };
        let number = request.cseq().number;
        if dialog.remote_cseq.is_some_and(|last| number < last) {
            self.respond_status(now, transaction, 500);
            return;
        }
        dialog.remote_cseq = Some(number);
        dialog.flow = flow;
        dialog.note_abilities(&request);
        if session.phase == Phase::Closing && method != Method::Bye {
            self.respond_status(now, transaction, 481);
            return;
        }
        match method {
            Method::Bye => self.on_bye(now, key, request, transaction),
            Method::Invite => self.on_reinvite(now, key, index, request, transaction),
            Method::Update => self.on_update(now, key, index, request, transaction),
            Method::Prack => self.on_prack(now, key, index, request, transaction),
            _ => {
                let id = ServerRequestId(transaction);
                self.event(Event::Request {
                    id,
                    session: Some(SessionId(key)),
                    request,
                    flow,
                });
            }
        }
    }

    /// The layer above has not answered a request in time.
    pub(crate) fn on_unanswered(&mut self, now: Instant, transaction: Key, session: Option<Key>) {
        if let Some(state) = session.and_then(|key| self.sessions.get_mut(key))
            && state
                .theirs
                .as_ref()
                .is_some_and(|(_, theirs)| *theirs == transaction)
        {
            state.theirs = None;
            if let Some(dialog) = state.current() {
                dialog.negotiation.settle();
            }
        }
        self.respond_status(now, transaction, 500);
        if let Some(key) = session {
            self.send_deferred(now, key);
        }
    }
}
