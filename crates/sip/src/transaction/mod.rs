//! The four transaction machines of RFC 3261 §17, one per file.
//!
//! A machine is a plain value: it hears a message or a timer, sends what the figure says, and tells
//! its caller in one word what the layer above should know. Clock, timers and outbox come in through
//! [`Context`]; nothing here knows about dialogs.

pub(crate) mod invite_client;
pub(crate) mod invite_server;
pub(crate) mod key;
pub(crate) mod request_client;
pub(crate) mod request_server;
pub(crate) mod timers;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::arena::Key;
use crate::endpoint::{Flow, Output};
use crate::message::{ByteStr, Message, Method, Name};
use invite_client::InviteClient;
use invite_server::InviteServer;
use request_client::RequestClient;
use request_server::RequestServer;
use timers::{Due, Letter, TimerId, TimerTable, Timers};

/// What a machine may touch while it handles one thing.
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    /// The transaction that runs.
    pub(crate) id: Key,
    pub(crate) timing: &'a Timers,
    pub(crate) timers: &'a mut TimerTable,
    pub(crate) out: &'a mut VecDeque<Output>,
    /// What the peer of a first request has to prove; see [`Output::Transmit`].
    pub(crate) peer: Option<ByteStr>,
}

impl Context<'_> {
    pub(crate) fn transmit(&mut self, flow: Flow, bytes: Bytes) {
        let peer = self.peer.clone();
        self.out.push_back(Output::Transmit { flow, bytes, peer });
    }

    pub(crate) fn start(&mut self, letter: Letter, after: Duration) -> TimerId {
        self.timers
            .set(self.now + after, Due::Transaction(self.id, letter))
    }

    pub(crate) fn stop(&mut self, timer: &mut Option<TimerId>) {
        self.timers.cancel(timer);
    }
}

/// What a response means to the layer above a client transaction.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    /// Nothing: absorbed.
    Nothing,
    /// 1xx.
    Provisional,
    /// 2xx; for an INVITE possibly a further one, of another fork or not yet acknowledged.
    Success,
    /// 3xx to 6xx, already acknowledged if it was an INVITE.
    Failure,
}

/// What a timer means to the layer above a transaction.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fired {
    /// Nothing: the machine has dealt with it.
    Nothing,
    /// The hop has said nothing at all so far; another may be tried.
    NoResponse,
    /// No final response in time.
    TimedOut,
}

/// Any running transaction.
pub(crate) enum Transaction {
    InviteClient(InviteClient),
    InviteServer(InviteServer),
    RequestClient(RequestClient),
    RequestServer(RequestServer),
}

impl Transaction {
    pub(crate) fn is_terminated(&self) -> bool {
        match self {
            Self::InviteClient(machine) => machine.is_terminated(),
            Self::InviteServer(machine) => machine.is_terminated(),
            Self::RequestClient(machine) => machine.is_terminated(),
            Self::RequestServer(machine) => machine.is_terminated(),
        }
    }

    /// The request that a peer made and where its responses go, while one may have to be written for it.
    pub(crate) fn asked(&self) -> Option<(&Message, Flow)> {
        match self {
            Self::InviteServer(machine) => Some((machine.request()?, machine.reply())),
            Self::RequestServer(machine) => Some((machine.request()?, machine.reply())),
            Self::InviteClient(_) | Self::RequestClient(_) => None,
        }
    }

    /// Bytes of messages that a peer made it hold.
    pub(crate) fn held_bytes(&self) -> usize {
        let (request, last) = match self {
            Self::InviteServer(machine) => (machine.request(), machine.last()),
            Self::RequestServer(machine) => (machine.request(), machine.last()),
            Self::InviteClient(_) | Self::RequestClient(_) => (None, None),
        };
        request.map_or(0, |request| request.as_bytes().len()) + last.map_or(0, Bytes::len)
    }

    pub(crate) fn fire(&mut self, cx: &mut Context<'_>, letter: Letter) -> Fired {
        match self {
            Self::InviteClient(machine) => machine.fire(cx, letter),
            Self::InviteServer(machine) => {
                machine.fire(cx, letter);
                Fired::Nothing
            }
            Self::RequestClient(machine) => machine.fire(cx, letter),
            Self::RequestServer(machine) => machine.fire(letter),
        }
    }
}

/// Builds the ACK for a failure (RFC 3261 §17.1.1.3) or the CANCEL (§9.1) of an INVITE of ours: same
/// Request-URI, Via, From, Call-ID, CSeq number and Route as the INVITE, and its To unless another is given.
///
/// Both are rare, so the INVITE is read back from its own bytes instead of being kept in parts. `None`
/// when the layer above made it of parts that nobody can read.
pub(crate) fn from_invite(
    invite: &Bytes,
    method: &Method,
    to: Option<&str>,
    reason: Option<&str>,
) -> Option<Bytes> {
    let invite = Message::parse(invite.clone()).ok()?;
    let mut text = String::with_capacity(400);
    let _ = write!(text, "{method} {} SIP/2.0\r\n", invite.uri_text());
    for name in [Name::Via, Name::Route] {
        for value in invite.headers(name) {
            let _ = write!(text, "{}: {value}\r\n", name.as_str());
        }
    }
    let to = to.or(invite.header(Name::To)).unwrap_or_default();
    let _ = write!(
        text,
        "Max-Forwards: 70\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {} {method}\r\n",
        invite.header(Name::From).unwrap_or_default(),
        invite.call_id(),
        invite.cseq().number,
    );
    if let Some(reason) = reason {
        let reason = reason.replace(['\r', '\n'], " ");
        let _ = write!(text, "Reason: {reason}\r\n");
    }
    text.push_str("Content-Length: 0\r\n\r\n");
    Some(Bytes::from(text))
}
