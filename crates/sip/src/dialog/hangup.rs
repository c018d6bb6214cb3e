//! How sessions end: BYE both ways (RFC 3261 §15), and the forgetting.

use std::time::Instant;

use bytes::Bytes;

use crate::arena::Key;
use crate::dialog::session::{Inbound, Owed, Phase, Setup};
use crate::endpoint::{Endpoint, Purpose};
use crate::event::{EndCause, Event, SessionId};
use crate::message::{ByteStr, Headers, Message, Method, ResponseDraft};

impl Endpoint {
    /// Hangs up. Nothing more is heard of the session; what has to be said to the peer is said in its
    /// time. Before the answer this cancels (a session that calls) or declines (one that is called).
    pub fn bye(&mut self, now: Instant, session: SessionId, headers: Headers) {
        let key = session.0;
        let Some(state) = self.sessions.get_mut(key) else {
            return;
        };
        match state.phase {
            Phase::Calling => {
                let reason = headers.get("Reason").map(ByteStr::copy);
                self.cancel(now, session, reason);
            }
            Phase::Ringing => {
                self.reject(
                    now,
                    session,
                    ResponseDraft {
                        status: 603,
                        headers,
                        ..ResponseDraft::default()
                    },
                );
            }
            Phase::Established if state.success.is_some() => state.bye = Some(headers),
            Phase::Established => {
                if matches!(state.owed.as_deref(), Some(Owed::Ack { .. })) {
                    self.ack(now, session, Bytes::new());
                }
                self.send_bye(now, key, headers);
            }
            Phase::Closing => {}
        }
    }

    /// Sends the BYE of a confirmed dialog and waits for its answer.
    pub(crate) fn send_bye(&mut self, now: Instant, key: Key, headers: Headers) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        session.phase = Phase::Closing;
        session.bye = None;
        session.held = None;
        session.cancel_timers(&mut self.timers);
        let open = session.ours.take();
        let theirs = session.theirs.take();
        if let Some((_, exchange)) = open {
            self.drop_exchange(now, exchange);
        }
        if let Some((_, transaction)) = theirs {
            self.respond_status(now, transaction, 487);
        }
        match self.dialog_draft(key, 0, Method::Bye, None) {
            Some((mut draft, hop)) => {
                draft.headers = headers;
                if let Some(session) = self.sessions.get_mut(key) {
                    session.ours = Some((Method::Bye, self.exchanges.next_key()));
                }
                self.begin_in_session(now, key, Purpose::Bye(key), draft, hop);
            }
            None => self.remove_session(now, key),
        }
    }

    pub(crate) fn on_bye(&mut self, now: Instant, key: Key, request: Message, transaction: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.phase == Phase::Calling {
            // Only the caller may hang up an early dialog (RFC 3261 §15).
            self.respond_status(now, transaction, 481);
            return;
        }
        let silent = session.phase == Phase::Closing || session.bye.is_some();
        let ringing = session.inbound().is_some();
        self.respond_status(now, transaction, 200);
        if ringing {
            self.reject(now, SessionId(key), ResponseDraft::new(487));
        } else {
            self.remove_session(now, key);
        }
        if !silent {
            self.event(Event::Ended {
                session: SessionId(key),
                cause: EndCause::PeerBye { request },
            });
        }
    }

    /// Forgets a session and everything that only it needed.
    pub(crate) fn remove_session(&mut self, now: Instant, key: Key) {
        let Some(mut session) = self.sessions.remove(key) else {
            return;
        };
        self.inherited.forget_session(&session);
        if session.watched {
            let invite = session.inbound().map(|inbound| inbound.transaction);
            self.end_watch(key, invite);
        }
        if let Some(success) = session.success.as_deref_mut() {
            self.timers.cancel(&mut success.timer);
        }
        session.cancel_timers(&mut self.timers);
        match session.setup.as_deref_mut() {
            Some(Setup::Outbound(outbound)) => {
                if let Some(exchange) = outbound.exchange {
                    self.drop_exchange(now, exchange);
                }
            }
            Some(Setup::Inbound(Inbound { provisionals, .. })) => {
                self.timers.cancel(&mut provisionals.timer)
            }
            None => {}
        }
        if let Some((_, exchange)) = session.ours.take() {
            self.drop_exchange(now, exchange);
        }
        if let Some((_, transaction)) = session.theirs.take() {
            self.respond_draft(
                now,
                transaction,
                ResponseDraft {
                    to_tag: Some(session.tag.clone()),
                    ..ResponseDraft::new(487)
                },
            );
        }
    }
}
