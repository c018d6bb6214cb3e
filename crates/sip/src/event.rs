//! What the layer above hears from an [`Endpoint`](crate::endpoint::Endpoint).

use crate::arena::Key;
use crate::endpoint::Flow;
use crate::message::{Message, Method};
use crate::misbehaviour::Misbehaviour;

/// One call leg: an INVITE of ours or of the peer with every dialog that comes of it, from the INVITE
/// to the answer to the BYE. A key of a session that is over finds nothing, and a command for it does
/// nothing: races between the wire and the layer above need no special case.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SessionId(pub(crate) Key);

/// One request of ours other than those that the session runs by itself.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RequestId(pub(crate) Key);

/// One request of a peer that the layer above has to answer.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ServerRequestId(pub(crate) Key);

/// Something the layer above should know.
#[derive(Clone, Debug)]
pub enum Event {
    /// A new call. `100 Trying` is already out. Goes on with `progress`, `answer` or `reject`.
    Invite {
        /// The new session.
        session: SessionId,
        /// The INVITE.
        request: Message,
        /// Where it came from.
        flow: Flow,
    },
    /// A request that is not part of call setup (REGISTER, INFO, MESSAGE, REFER, NOTIFY, OPTIONS in a
    /// session …). Answer it with `respond`; what stays unanswered for 64*T1 gets a 500.
    Request {
        /// The key for `respond`.
        id: ServerRequestId,
        /// The session in whose dialog it came, if any.
        session: Option<SessionId>,
        /// The request.
        request: Message,
        /// Where it came from.
        flow: Flow,
    },
    /// 101 to 199 for an INVITE of ours, of any of its early dialogs. A reliable one has already got
    /// its PRACK, unless it carries an offer (our INVITE had none): then answer it with `prack`.
    Progress {
        /// The session that calls.
        session: SessionId,
        /// The provisional response.
        response: Message,
        /// Where it came from.
        flow: Flow,
    },
    /// The first 2xx for an INVITE of ours. It has been acknowledged, unless it carries an offer (our
    /// INVITE had none): then answer it with `ack`. 2xx of other forks are hung up without an event.
    Answered {
        /// The session that calls.
        session: SessionId,
        /// The 2xx.
        response: Message,
        /// Where it came from.
        flow: Flow,
    },
    /// An INVITE of ours came to nothing. The session is over.
    Failed {
        /// The session that called.
        session: SessionId,
        /// The status of the response, or the one that stands for the cause (RFC 3261 §8.1.3.1).
        status: u16,
        /// The response, when there was one.
        response: Option<Message>,
        /// What happened.
        cause: FailCause,
    },
    /// The caller gave up: CANCEL. 200 and 487 are already out; the session is over.
    Cancelled {
        /// The session that was called.
        session: SessionId,
        /// The CANCEL.
        request: Message,
    },
    /// The ACK for our 2xx. It may carry the answer to an offer in the 2xx.
    Established {
        /// The session that was called.
        session: SessionId,
        /// The ACK, unless a re-INVITE that came before it showed that the 2xx has arrived.
        ack: Option<Message>,
    },
    /// A PRACK for a reliable provisional response of ours; 200 is already out. It may carry the answer
    /// to an offer in that response.
    Pracked {
        /// The session that was called.
        session: SessionId,
        /// The PRACK.
        request: Message,
    },
    /// An offer within the session, or a re-INVITE that asks for one by having no body. Answer with
    /// `answer_offer` or `reject_offer`.
    Offer {
        /// The session.
        session: SessionId,
        /// INVITE, UPDATE or PRACK.
        method: Method,
        /// The request with the offer.
        request: Message,
    },
    /// An UPDATE without an offer came that says who the peer is now; 200 is already out. One that only refreshes the
    /// session goes unheard.
    Updated {
        /// The session.
        session: SessionId,
        /// The UPDATE.
        request: Message,
    },
    /// The peer took its re-INVITE back (CANCEL, or a BYE in between). 487 is already out.
    OfferWithdrawn {
        /// The session.
        session: SessionId,
        /// The CANCEL or BYE.
        request: Message,
    },
    /// Our own re-INVITE or UPDATE has got its final response. A 2xx to a re-INVITE has been
    /// acknowledged, unless the re-INVITE had no offer: then answer with `ack`.
    OfferResult {
        /// The session.
        session: SessionId,
        /// INVITE or UPDATE.
        method: Method,
        /// The status, or the one that stands for what happened.
        status: u16,
        /// The response, when there was one.
        response: Option<Message>,
    },
    /// The ACK for our 2xx to a re-INVITE. It may carry the answer to an offer in the 2xx.
    OfferAck {
        /// The session.
        session: SessionId,
        /// The ACK, unless the next re-INVITE came before it.
        ack: Option<Message>,
    },
    /// The final response to a request sent with `request` or `send`.
    Response {
        /// The key that `request` or `send` returned.
        id: RequestId,
        /// The status, or 408 and 503 standing for a timeout and for an unreachable peer.
        status: u16,
        /// The response, when there was one.
        response: Option<Message>,
    },
    /// The session is over. Whatever had to be said to the peer has been.
    Ended {
        /// The session.
        session: SessionId,
        /// Why.
        cause: EndCause,
    },
    /// A peer broke the rules; what had to be answered has been. For logs and counters.
    Misbehaved {
        /// Where the message came from.
        flow: Flow,
        /// Which rule.
        why: Misbehaviour,
    },
}

/// Why an INVITE of ours failed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum FailCause {
    /// The peer refused.
    Response,
    /// Nobody answered in time; status 408.
    Timeout,
    /// No hop could be reached; status 503.
    Transport,
    /// The name of the next hop leads nowhere; status 503.
    Resolve,
    /// The layer above cancelled; status 487.
    Cancelled,
    /// The peer does not accept our credentials; status 401 or 407.
    Auth,
    /// Our own tables are full; status 503.
    Overload,
}

/// Why a session ended.
#[derive(Clone, Debug)]
pub enum EndCause {
    /// The peer hung up.
    PeerBye {
        /// Its BYE.
        request: Message,
    },
    /// Our 2xx was never acknowledged (RFC 3261 §13.3.1.4); BYE is out.
    AckTimeout,
    /// Our reliable provisional response was never acknowledged (RFC 3262 §3); 504 is out.
    PrackTimeout,
    /// A request of ours within the session got no response or a 408 (RFC 3261 §12.2.1.2); BYE is out.
    RequestTimeout,
    /// The peer does not know the dialog any more: 481 to a request of ours.
    Gone,
    /// The session was not refreshed in time (RFC 4028 §10); BYE is out.
    SessionExpired,
}
