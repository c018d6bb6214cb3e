//! The state of one session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use keep::{Damaged, Keep, Reader, Writer};

use crate::arena::Key;
use crate::auth::Credentials;
use crate::dialog::Dialog;
use crate::dialog::identity::Identity;
use crate::dialog::reliable::Queue;
use crate::dialog::session_timer::Timing;
use crate::endpoint::{Flow, ReplyTo};
use crate::message::{ByteStr, Headers, Message, Method, Name};
use crate::transaction::timers::{TimerId, TimerTable};

/// How far a session is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Our INVITE has no final response.
    Calling,
    /// Their INVITE has no final response.
    Ringing,
    /// There is a confirmed dialog. Our 2xx may still wait for its ACK.
    Established,
    /// Our BYE is out.
    Closing,
}

keep::keep!(enum Phase { 0 = Calling, 1 = Ringing, 2 = Established, 3 = Closing });

/// What the layer above wants with a call that has no answer yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Cancelling {
    /// It shall go on.
    No,
    /// It shall end as soon as the peer can understand a CANCEL (RFC 3261 §9.1).
    Wanted { reason: Option<ByteStr> },
    /// The CANCEL is out.
    Sent,
}

keep::keep!(enum Cancelling { 0 = No, 1 = Wanted { reason }, 2 = Sent });

/// What an INVITE of ours needs until its final response.
pub(crate) struct Outbound {
    pub(crate) exchange: Option<Key>,
    pub(crate) cancel: Cancelling,
    /// The INVITE carries an offer.
    pub(crate) offered: bool,
    /// Its Request-URI, the target of peers that send no Contact.
    pub(crate) uri: crate::message::Uri,
}

// Its exchange is kept beside the session, and knows it again.
keep::keep!(struct Outbound { cancel, offered, uri; exchange: None });

/// What an INVITE of the peer needs until its final response.
pub(crate) struct Inbound {
    pub(crate) transaction: Key,
    pub(crate) cseq: u32,
    pub(crate) supports_100rel: bool,
    pub(crate) requires_100rel: bool,
    pub(crate) provisionals: Queue,
    /// A 2xx that has to wait for the PRACK of a description.
    pub(crate) deferred: Option<(Headers, Bytes)>,
}

// Its transaction is kept beside the session.
keep::keep!(struct Inbound {
    cseq, supports_100rel, requires_100rel, provisionals, deferred; transaction: Key::NOWHERE,
});

/// The part of a session that only its setup needs.
pub(crate) enum Setup {
    Outbound(Outbound),
    Inbound(Inbound),
}

keep::keep!(enum Setup { 0 = Outbound(outbound), 1 = Inbound(inbound) });

/// A 2xx of ours that waits for its ACK.
pub(crate) struct Success {
    pub(crate) bytes: Bytes,
    pub(crate) flow: Flow,
    pub(crate) cseq: u32,
    pub(crate) interval: Duration,
    /// `None` until it was sent by this process.
    pub(crate) deadline: Option<Instant>,
    pub(crate) timer: Option<TimerId>,
    /// It answers a re-INVITE, not the first INVITE.
    pub(crate) reinvite: bool,
}

// It is sent again at once, and waited for as long as ever.
keep::keep!(struct Success {
    bytes, flow, cseq, reinvite; interval: Duration::ZERO, deadline: None, timer: None,
});

/// A reliable provisional without a description whose PRACK had not come when the 2xx went out. The PRACK is on its
/// way by then, and has to be taken all the same (RFC 3262 §3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overtaken {
    /// Of the INVITE.
    pub(crate) cseq: u32,
    pub(crate) rseq: u32,
}

keep::keep!(struct Overtaken { cseq, rseq });

/// What the layer above owes the peer: the answer to an offer that came late.
pub(crate) enum Owed {
    /// In the ACK of a 2xx.
    Ack {
        invite: Option<Key>,
        cseq: u32,
        authorization: Option<(Name, String)>,
    },
    /// In the PRACK of a reliable provisional, for the dialog with this tag.
    Prack { rack: String, tag: ByteStr },
}

// The ACK of a repeated 2xx finds its way by the dialog.
impl Keep for Owed {
    fn keep(&self, out: &mut Writer) {
        match self {
            Self::Ack {
                invite: _,
                cseq,
                authorization,
            } => {
                out.byte(0);
                cseq.keep(out);
                authorization.keep(out);
            }
            Self::Prack { rack, tag } => {
                out.byte(1);
                rack.keep(out);
                tag.keep(out);
            }
        }
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(match input.byte()? {
            0 => Self::Ack {
                invite: None,
                cseq: u32::kept(input)?,
                authorization: Option::kept(input)?,
            },
            1 => Self::Prack {
                rack: String::kept(input)?,
                tag: ByteStr::kept(input)?,
            },
            _ => return Err(Damaged::Value("Owed")),
        })
    }
}

/// A PRACK of ours that has no answer yet.
pub(crate) struct Pracking {
    pub(crate) exchange: Key,
    pub(crate) rack: String,
    pub(crate) tag: ByteStr,
    pub(crate) body: Bytes,
}

// It is sent anew.
keep::keep!(struct Pracking { rack, tag, body; exchange: Key::NOWHERE });

/// One INVITE usage.
pub(crate) struct Session {
    pub(crate) phase: Phase,
    /// Our tag; it names the slot of this session.
    pub(crate) tag: ByteStr,
    pub(crate) call_id: ByteStr,
    /// We as it stands in From or To, with our tag.
    pub(crate) local: ByteStr,
    /// The Contact that the layer above chose, if it did.
    pub(crate) contact: Option<ByteStr>,
    pub(crate) credentials: Option<Arc<Credentials>>,
    /// We made the Call-ID; decides who waits longer after a glare.
    pub(crate) owns_call_id: bool,
    /// Requests go where the peer's messages come from, whatever its Contact says.
    pub(crate) follows_source: bool,
    /// Where responses to its requests go.
    pub(crate) replies_to: ReplyTo,
    /// The number of our last request.
    pub(crate) cseq: u32,
    /// Early dialogs, the latest last; once established the confirmed one alone.
    pub(crate) dialogs: Vec<Dialog>,
    pub(crate) setup: Option<Box<Setup>>,
    pub(crate) success: Option<Box<Success>>,
    /// The reliable provisional that our 2xx overtook, while its PRACK may still come.
    pub(crate) overtaken: Option<Overtaken>,
    /// Our re-INVITE or UPDATE that is under way, with its exchange.
    pub(crate) ours: Option<(Method, Key)>,
    /// A re-INVITE of ours, its header lines and its body, that goes out when the ACK of our 2xx has come: while that
    /// INVITE is under way none may begin (RFC 3261 §14.1).
    pub(crate) held: Option<Box<(Headers, Bytes)>>,
    /// Their re-INVITE, UPDATE or PRACK whose offer the layer above has to answer, with its transaction.
    pub(crate) theirs: Option<(Method, Key)>,
    pub(crate) owed: Option<Box<Owed>>,
    /// A BYE that has to wait for the ACK of our 2xx (RFC 3261 §15).
    pub(crate) bye: Option<Headers>,
    /// The session timer, where there are terms for one.
    pub(crate) timing: Option<Box<Timing>>,
    /// What `User-Agent` and `Server` tell this peer, where the endpoint's own text does not stand.
    pub(crate) software: Option<ByteStr>,
    /// Changes of identity, where they are allowed.
    pub(crate) identity: Option<Box<Identity>>,
    /// The last PRACK, until it is answered.
    pub(crate) pracking: Option<Box<Pracking>>,
    /// The layer above wants to hear of everything that changes here; see [`Endpoint::watch`].
    ///
    /// [`Endpoint::watch`]: crate::endpoint::Endpoint::watch
    pub(crate) watched: bool,
}

// Requests under way and transactions are kept beside the session; credentials are the layer above's to know. What a
// request within the dialog is known by stands in front, for `sessions.rs` to read alone.
keep::keep!(struct Session {
    phase, tag, call_id, local, contact, owns_call_id, follows_source, replies_to, cseq, dialogs, setup, success,
    overtaken, owed, bye, held, timing, software, identity, pracking;
    credentials: None, ours: None, theirs: None, watched: true,
});

impl Session {
    pub(crate) fn new(phase: Phase, tag: ByteStr, call_id: ByteStr, local: ByteStr) -> Self {
        Self {
            phase,
            tag,
            call_id,
            local,
            contact: None,
            credentials: None,
            owns_call_id: phase == Phase::Calling,
            follows_source: false,
            replies_to: ReplyTo::Source,
            cseq: 0,
            dialogs: Vec::new(),
            setup: None,
            success: None,
            overtaken: None,
            ours: None,
            held: None,
            theirs: None,
            owed: None,
            bye: None,
            timing: None,
            software: None,
            identity: None,
            pracking: None,
            watched: false,
        }
    }

    /// Whether nothing is under way, so that the session is all in what is kept of it, but for what `sessions.rs` puts
    /// aside.
    pub(crate) fn may_rest(&self) -> bool {
        let Self {
            phase,
            dialogs,
            setup,
            success,
            ours,
            held,
            theirs,
            owed,
            bye,
            identity,
            pracking,
            ..
        } = self;
        *phase == Phase::Established
            && dialogs.len() == 1
            && ours.is_none()
            && theirs.is_none()
            && setup.is_none()
            && success.is_none()
            && held.is_none()
            && owed.is_none()
            && bye.is_none()
            && pracking.is_none()
            && identity.as_deref().is_none_or(Identity::is_calm)
    }

    /// Stops what repeats for as long as the session lives.
    pub(crate) fn cancel_timers(&mut self, timers: &mut TimerTable) {
        if let Some(timing) = self.timing.as_deref_mut() {
            timers.cancel(&mut timing.timer);
        }
        if let Some(identity) = self.identity.as_deref_mut() {
            timers.cancel(&mut identity.timer);
        }
    }

    /// The call is up: lets go of the messages that its texts are slices of.
    pub(crate) fn detach(&mut self) {
        self.call_id = ByteStr::copy(&self.call_id);
        self.dialogs.iter_mut().for_each(Dialog::detach);
    }

    /// The number for our next request.
    pub(crate) fn next_cseq(&mut self) -> u32 {
        self.cseq += 1;
        self.cseq
    }

    pub(crate) fn outbound(&mut self) -> Option<&mut Outbound> {
        match self.setup.as_deref_mut() {
            Some(Setup::Outbound(outbound)) => Some(outbound),
            _ => None,
        }
    }

    pub(crate) fn inbound(&mut self) -> Option<&mut Inbound> {
        match self.setup.as_deref_mut() {
            Some(Setup::Inbound(inbound)) => Some(inbound),
            _ => None,
        }
    }

    /// Whether a re-INVITE shows that our 2xx has arrived though its ACK has not. ACK and re-INVITE are different
    /// transactions, and a proxy with several workers lets the one overtake the other; a peer begins no re-INVITE
    /// before it has the answer to the INVITE before (RFC 3261 §14.1), so nothing is open between us and it is taken
    /// (RFC 5407 §3.1.4). Not so where the ACK has to bring the answer to an offer in our 2xx (RFC 5407 §3.1.5), and
    /// where a BYE of ours waits for nothing but the ACK (RFC 3261 §15).
    pub(crate) fn proves_success(&self, index: usize, reinvite: &Message) -> bool {
        let settled = self
            .dialogs
            .get(index)
            .is_some_and(|dialog| dialog.negotiation.is_settled());
        let later = self
            .success
            .as_deref()
            .is_some_and(|success| success.cseq < reinvite.cseq().number);
        settled && later && self.bye.is_none()
    }

    /// Whether an offer is open, or about to be: another of ours has to wait.
    pub(crate) fn is_negotiating(&self) -> bool {
        self.ours.is_some()
            || self.theirs.is_some()
            || self.owed.is_some()
            || self.held.is_some()
            || self
                .dialogs
                .last()
                .is_none_or(|dialog| !dialog.negotiation.is_settled())
    }

    /// The dialog that commands mean: the confirmed one, or the latest early one.
    pub(crate) fn current(&mut self) -> Option<&mut Dialog> {
        self.dialogs.last_mut()
    }

    /// The dialog with the tag that a response carries in To.
    pub(crate) fn dialog_of(&mut self, response: &Message) -> Option<&mut Dialog> {
        let tag = response.to().tag().unwrap_or("");
        self.dialogs
            .iter_mut()
            .find(|dialog| *dialog.remote_tag == *tag)
    }
}
