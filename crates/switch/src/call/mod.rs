//! A call: two legs that we joined, from the INVITE that came in to the record that is written.
//!
//! | file | what it does |
//! |---|---|
//! | `setup` | the INVITE that came in: who is it, where does it go, call there |
//! | `failover` | the candidates of a call, tried one after the other |
//! | `progress` | ringing, early media, answer, refusal of the called side |
//! | `ringing` | what the caller hears before the answer |
//! | `minimum_duration` | called legs that outlast their caller |
//! | `identity` | who speaks on either side, when that changes within the call |
//! | `offers` | re-INVITE, UPDATE and other requests within the call |
//! | `hangup` | every way a call ends, and what each side is told |
//! | `recording` | calls that a connection wants recorded |
//! | `media` | bodies rewritten, relays opened and fed with addresses |
//! | `terms` | session timers and software names, as the records ask |
//! | `kept` | what outlives the process |
//! | `rest` | calls that nothing happens to, in little memory |
//! | `headers` | which headers of one leg appear on the other |
//!
//! A leg keeps no SIP state: it has the key of its session and asks the endpoint.

pub(crate) mod failover;
pub(crate) mod hangup;
mod headers;
pub(crate) mod identity;
pub(crate) mod kept;
pub(crate) mod media;
pub(crate) mod minimum_duration;
pub(crate) mod offers;
pub(crate) mod progress;
pub(crate) mod recording;
pub(crate) mod rest;
pub(crate) mod ringing;
pub(crate) mod setup;
pub(crate) mod terms;

use crate::limits::Places;
use crate::plan::Candidate;
use crate::switch::Clock;
use crate::trail::Trail;
use ::media::relay::Side;
use model::cdr::CdrLeg;
use sip::event::SessionId;
use sip::message::{Message, Name};
use std::time::Instant;

/// Seconds a called side may ring before we give up, where nothing shorter is asked for (Timer C of
/// RFC 3261 §16.6 is the same three minutes).
pub const MAX_RING_SECONDS: u64 = 180;

/// Seconds we wait for the relay's last statistics before a record is written without them.
pub const STATISTICS_WAIT_SECONDS: u64 = 5;

/// Key of a call in its shard. A call that is over is not found by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallKey {
    pub(crate) slot: usize,
    pub(crate) serial: u64,
}

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The INVITE is in, nobody was called yet: the relay is being opened.
    Preparing,
    /// The called side has its INVITE.
    Calling,
    /// The called side answered.
    Answered,
    /// Both sides were told that it is over; statistics are awaited.
    Released,
}

keep::keep!(enum Stage { 0 = Preparing, 1 = Calling, 2 = Answered, 3 = Released });

/// A call of this shard.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) key: CallKey,
    /// Our identifier of the call, in its record.
    pub(crate) id: String,
    pub(crate) stage: Stage,
    /// The candidate that is being called, or carries the call.
    pub(crate) plan: Candidate,
    /// Who is tried after it.
    pub(crate) failover: failover::Failover,
    pub(crate) domain: String,
    pub(crate) a: Leg,
    pub(crate) b: Leg,
    pub(crate) media: media::CallMedia,
    /// The INVITE that came in; given up when the call is answered.
    pub(crate) invite: Option<Box<Message>>,
    pub(crate) trail: Trail,
    pub(crate) dial_rule: Option<String>,
    /// Places on the connections and in the domain, given back when the call is released.
    pub(crate) places: Places,
    pub(crate) times: Times,
    pub(crate) release: Option<hangup::Release>,
    /// Its recording, from the answer on, where a connection asks for one.
    pub(crate) recording: Option<Box<recording::Recording>>,
    /// The caller has left, and the called leg is kept for its minimum duration.
    pub(crate) kept: Option<minimum_duration::Kept>,
    /// Sessions that it has parted with, and whose last words may not have been heard.
    pub(crate) leaving: Vec<SessionId>,
    /// What the journal has of it.
    pub(crate) mark: kept::Mark,
}

/// One side of a call.
#[derive(Debug)]
pub(crate) struct Leg {
    /// The SIP side of it; `None` while it does not exist yet and after it is over.
    pub(crate) session: Option<SessionId>,
    /// What the record will say.
    pub(crate) record: CdrLeg,
    /// An offer of this side that the other is being asked about.
    pub(crate) offering: Option<offers::Offering>,
    /// Who speaks there; known where the other side is to be told of changes.
    pub(crate) speaker: Option<Box<identity::Speaker>>,
}

impl Leg {
    pub(crate) fn new(session: Option<SessionId>, record: CdrLeg) -> Self {
        Self {
            session,
            record,
            offering: None,
            speaker: None,
        }
    }
}

/// Milestones in milliseconds since the Unix epoch. All but the first are counted from the first, by the clock that
/// nobody sets: what lies between them is how long it took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) started: Clock,
    pub(crate) ringing_ms: Option<i64>,
    pub(crate) answered_ms: Option<i64>,
}

keep::keep!(struct Times { started, ringing_ms, answered_ms });

impl Times {
    /// The moment that a clock shows, in milliseconds since the Unix epoch.
    pub(crate) fn at(&self, clock: Clock) -> i64 {
        self.started.later(clock.now)
    }
}

/// Something a call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CallTimer {
    /// When the called side has rung for [`MAX_RING_SECONDS`].
    Ring,
    /// When the relay has not reported for [`STATISTICS_WAIT_SECONDS`].
    Statistics,
    /// When a leg that outlasts its caller has lasted long enough.
    MinimumDuration,
}

/// A timer and the call it belongs to; calls that are over make it void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallWake {
    pub(crate) at: Instant,
    pub(crate) call: CallKey,
    pub(crate) timer: CallTimer,
}

impl Call {
    pub(crate) fn leg(&self, side: Side) -> &Leg {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    pub(crate) fn leg_mut(&mut self, side: Side) -> &mut Leg {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }

    /// The call is up, for minutes or hours: gives back what only its setup needed.
    pub(crate) fn settle(&mut self) {
        self.invite = None;
        self.trail.shrink();
        self.failover.settle();
        self.media.settle();
    }

    /// Whether the caller said it can acknowledge provisional responses (RFC 3262).
    pub(crate) fn caller_takes_reliable(&self) -> bool {
        self.invite.as_deref().is_some_and(|invite| {
            invite.has_token(Name::Supported, "100rel") || invite.has_token(Name::Require, "100rel")
        })
    }

    /// Parts with the session of a side.
    pub(crate) fn let_go(&mut self, side: Side) -> Option<SessionId> {
        let session = self.leg_mut(side).session.take()?;
        self.leaving.push(session);
        Some(session)
    }

    /// The session of a side that still has one.
    pub(crate) fn session(&self, side: Side) -> Option<SessionId> {
        self.leg(side).session
    }
}

/// The other side.
pub(crate) fn opposite(side: Side) -> Side {
    match side {
        Side::A => Side::B,
        Side::B => Side::A,
    }
}
