//! Changes of identity within a session (RFC 4916): who we are towards the peer, and who the peer is.
//!
//! Where the layer above allows it, both are told by UPDATE, or by a re-INVITE that changes nothing else where the
//! peer takes no UPDATE. Who we are is written into From, if the peer has said that it can bear that
//! (`Supported: from-change`), and into whatever headers the layer above gives. The tags stay, so peers without that
//! RFC are not confused.

use std::time::{Duration, Instant};

use bytes::Bytes;
use keep::{Damaged, Keep, Reader, Writer};

use crate::arena::Key;
use crate::dialog::session::Phase;
use crate::endpoint::{Endpoint, Exchange, Outcome, Purpose};
use crate::event::SessionId;
use crate::message::{ByteStr, Headers, Message, Method, Name, NameAddr, RequestDraft};
use crate::transaction::timers::{Due, SessionTimer, TimerId};

/// The option tag.
const FROM_CHANGE: &str = "from-change";

/// How long a change waits that met another exchange of the session.
const RETRY: Duration = Duration::from_millis(500);

/// How often a change is told that meets refusals for no lasting reason; the next change begins anew.
const MAX_ATTEMPTS: u8 = 5;

/// What a session knows of changes of identity. Only sessions that allow them have it.
#[derive(Default)]
pub(crate) struct Identity {
    /// What the peer has yet to be told.
    pending: Option<Pending>,
    /// What the peer is being told.
    telling: Option<Telling>,
    attempts: u8,
    pub(crate) timer: Option<TimerId>,
    /// The description we gave last, for a re-INVITE that shall change nothing.
    pub(crate) description: Bytes,
}

impl Keep for Identity {
    fn keep(&self, out: &mut Writer) {
        let Self {
            pending,
            telling,
            attempts: _,
            timer: _,
            description,
        } = self;
        // What was being told is told once more: whoever has heard it hears nothing new.
        let telling = telling.as_ref().map(|telling| &telling.what);
        match pending.as_ref().or(telling) {
            Some(pending) => {
                out.byte(1);
                pending.keep(out);
            }
            None => out.byte(0),
        }
        description.keep(out);
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            pending: Option::kept(input)?,
            description: Bytes::kept(input)?,
            ..Self::default()
        })
    }
}

impl Identity {
    /// Whether there is nothing to tell.
    pub(crate) fn is_calm(&self) -> bool {
        self.pending.is_none() && self.telling.is_none() && self.attempts == 0
    }
}

struct Pending {
    /// Without a tag.
    from: ByteStr,
    headers: Headers,
}

keep::keep!(struct Pending { from, headers });

struct Telling {
    what: Pending,
    /// Who we were before, should it be refused.
    before: ByteStr,
}

/// Whether a message says that its sender bears a changed From; `None` when it does not speak of extensions.
pub(crate) fn bears_from_change(message: &Message) -> Option<bool> {
    message
        .header(Name::Supported)
        .map(|_| message.has_token(Name::Supported, FROM_CHANGE))
}

impl Endpoint {
    /// Allows changes of identity in a session that came in, and says so to its peer. One that goes out has it in
    /// its [`OutboundInvite`](crate::endpoint::OutboundInvite).
    pub fn allow_from_change(&mut self, session: SessionId) {
        if let Some(session) = self.sessions.get_mut(session.0) {
            session.identity.get_or_insert_default();
        }
    }

    /// Says in a request of ours that the session bears changes of identity, if it does.
    pub(crate) fn propose_from_change(&mut self, key: Key, draft: &mut RequestDraft) {
        let allowed = self
            .sessions
            .get_mut(key)
            .is_some_and(|session| session.identity.is_some());
        if allowed {
            self.add_common_headers(draft);
            draft.headers.push_name(Name::Supported, FROM_CHANGE);
        }
    }

    /// The same in a 2xx of ours to an INVITE.
    pub(crate) fn answer_from_change(&mut self, key: Key, headers: &mut Headers) {
        if self
            .sessions
            .get_mut(key)
            .is_some_and(|session| session.identity.is_some())
        {
            headers.push_name(Name::Supported, FROM_CHANGE);
        }
    }

    /// Takes note of who the peer says it is, in a re-INVITE or UPDATE that is accepted: where the session allows it,
    /// our own requests name it so from now on. True when the layer above may learn something from the request.
    pub(crate) fn note_identity(&mut self, key: Key, index: usize, request: &Message) -> bool {
        let Some(session) = self.sessions.get_mut(key) else {
            return false;
        };
        let allowed = session.identity.is_some();
        let renamed = session.dialogs.get_mut(index).is_some_and(|dialog| {
            let renamed = dialog.is_renamed(request);
            if renamed && allowed {
                dialog.rename(request);
            }
            renamed
        });
        let identities = [Name::PAssertedIdentity, Name::RemotePartyId, Name::Privacy];
        renamed
            || identities
                .iter()
                .any(|name| request.header(*name).is_some())
    }

    /// We are somebody else from now on, in a session that allows that: `from` for a From, without tag, and headers
    /// such as P-Asserted-Identity. The peer is told as soon as the session is confirmed and nothing else is under
    /// way. Of several changes that wait the last counts.
    pub fn identify(
        &mut self,
        now: Instant,
        session: SessionId,
        from: &NameAddr,
        headers: Headers,
    ) {
        let key = session.0;
        let Some(identity) = self
            .sessions
            .get_mut(key)
            .and_then(|session| session.identity.as_deref_mut())
        else {
            return;
        };
        identity.pending = Some(Pending {
            from: from.to_string().into(),
            headers,
        });
        identity.attempts = 0;
        self.tell_identity(now, key);
    }

    /// Tells the peer who we are, if there is news and nothing else is under way.
    pub(crate) fn tell_identity(&mut self, now: Instant, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.phase != Phase::Established || session.bye.is_some() {
            // On the way up, the confirmation brings us here again.
            return;
        }
        let busy = session.is_negotiating() || session.success.is_some();
        let dialog = session.dialogs.last();
        let (update, from_change) = dialog.map_or((false, false), |dialog| {
            (dialog.allows_update, dialog.bears_from_change)
        });
        let Some(identity) = session.identity.as_deref_mut() else {
            return;
        };
        if identity.pending.is_none() || identity.telling.is_some() {
            return;
        }
        if busy {
            self.tell_identity_later(now, key, RETRY);
            return;
        }
        let description = identity.description.clone();
        let Some(pending) = identity.pending.take() else {
            return;
        };
        // Nothing that this peer could be told; or no way to tell: a re-INVITE without a description would ask for a
        // new offer.
        let nothing = pending.headers.is_empty() && !from_change;
        if nothing || (!update && description.is_empty()) {
            return;
        }
        identity.attempts += 1;
        let headers = pending.headers.clone();
        let before = session.local.clone();
        if from_change {
            session.local = format!("{};tag={}", pending.from, session.tag).into();
        }
        identity.telling = Some(Telling {
            what: pending,
            before,
        });
        let description = (!update).then_some(description);
        self.repeat_offer(now, key, headers, description, Purpose::Identify(key));
    }

    /// Tells what an earlier process had no time to tell, or was telling.
    pub(crate) fn resume_identity(&mut self, now: Instant, key: Key) {
        let session = self.sessions.get_mut(key);
        let identity = session.and_then(|session| session.identity.as_deref());
        if identity.is_some_and(|identity| identity.pending.is_some()) {
            self.tell_identity_later(now, key, RETRY);
        }
    }

    fn tell_identity_later(&mut self, now: Instant, key: Key, after: Duration) {
        if let Some(identity) = self
            .sessions
            .get_mut(key)
            .and_then(|session| session.identity.as_deref_mut())
        {
            self.timers.cancel(&mut identity.timer);
            let due = Due::Session(key, SessionTimer::Identity);
            identity.timer = Some(self.timers.set(now + after, due));
        }
    }

    pub(crate) fn on_identity_timer(&mut self, now: Instant, key: Key) {
        if let Some(identity) = self
            .sessions
            .get_mut(key)
            .and_then(|session| session.identity.as_deref_mut())
        {
            identity.timer = None;
            self.tell_identity(now, key);
        }
    }

    /// The request that told has come to its end.
    pub(crate) fn on_identity_outcome(
        &mut self,
        now: Instant,
        key: Key,
        exchange: Exchange,
        outcome: Outcome,
    ) {
        let update = exchange.draft.method == Method::Update;
        let status = outcome.status();
        if self.settle_refresh(now, key, exchange, &outcome) {
            return;
        }
        let glare = self.glare_delay(SessionId(key));
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(identity) = session.identity.as_deref_mut() else {
            return;
        };
        let Some(Telling { what, before }) = identity.telling.take() else {
            return;
        };
        let after = match status {
            200..300 => Duration::ZERO,
            _ => {
                // Not taken, so we are who we were.
                session.local = before;
                match status {
                    491 => glare,
                    405 | 501 if update => Duration::ZERO,
                    500..600 => RETRY,
                    _ => {
                        identity.attempts = MAX_ATTEMPTS;
                        RETRY
                    }
                }
            }
        };
        if identity.pending.is_some() {
            // Something newer came meanwhile.
            identity.attempts = 0;
        } else if status >= 300 && identity.attempts < MAX_ATTEMPTS {
            identity.pending = Some(what);
        } else {
            return;
        }
        self.tell_identity_later(now, key, after);
    }
}
