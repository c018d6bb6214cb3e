//! The media of a call: session descriptions rewritten on their way through, relays opened and told where
//! the two sides are.
//!
//! One relay serves one media line. A relay is opened when a line first appears in an offer and lives to the
//! end of the call, so hold and resume keep their ports. What an offer says about its sender counts at once
//! while the call is being set up (early media); within a call it counts when the offer is accepted.
//!
//! | file | opened for |
//! |---|---|
//! | `body.rs` | what is in a message's body |
//! | `path.rs` | whether media pass the relay |
//! | `policy.rs` | what a connection's record asks |
//! | `codecs.rs` | which codecs one side sees in the other's descriptions |
//! | `slots.rs` | media lines that the two sides do not have in common |
//! | `offer.rs`, `answer.rs` | descriptions on their way through |
//! | `secure.rs` | keys of SRTP |
//! | `face.rs` | our addresses towards a side |
//! | `lines.rs` | the life of relays |
//! | `orders.rs` | what relays are told when a description counts |
//! | `recorded.rs` | which relay a recording hears |
//! | `early.rs`, `pauses.rs` | who hears what before the answer, and when nobody speaks |
//! | `keeping.rs` | what outlives the process |
//! | `report.rs` | sums for the call's record |

mod answer;
mod body;
mod codecs;
mod early;
mod face;
mod keeping;
mod lines;
mod offer;
mod orders;
mod path;
mod pauses;
mod policy;
mod recorded;
mod report;
mod secure;
mod slots;

pub(crate) use body::Body;
pub(crate) use keeping::KeptMedia;
pub(crate) use policy::{may_be_relayed, note};
pub(crate) use recorded::Recorded;
pub(crate) use report::MediaReport;

use self::face::{Face, media_interface};
use self::lines::Line;
use self::path::Path;
use self::policy::Policy;
use self::secure::Secure;
use self::slots::Slots;
use super::CallKey;
use crate::core::Core;
use crate::directory::Connection;
use crate::plan::Candidate;
use ::media::relay::Side;
use ::media::sdp::Session;
use sip::endpoint::Flow;
use std::sync::Arc;
use std::time::Duration;

/// Media lines one call may have; an offer with more is refused with 488.
pub(crate) const MAX_LINES: usize = 8;

/// What became of an offer.
#[derive(Debug)]
pub(crate) enum OfferOutcome {
    /// Pass this on.
    Ready(Body),
    /// Relays are being opened; [`CallMedia::opened`] tells when to go on.
    Waiting,
    /// It cannot be used: status and reason.
    Unusable(u16, String),
}

/// An offer on the table, its lines by slot.
#[derive(Debug, Clone)]
struct Offered {
    side: Side,
    /// As its sender made it.
    said: Arc<Session>,
    /// As the other side gets it; the very same where nobody asks for another.
    given: Arc<Session>,
    /// It has an answer. Another one may follow as long as the call is not up.
    answered: bool,
}

keep::keep!(struct Offered { side, said, given, answered });

/// The media of one call.
#[derive(Debug)]
pub(crate) struct CallMedia {
    call: CallKey,
    /// As the two records ask; `path` is what became of it.
    asked: Path,
    path: Path,
    slots: Slots,
    secure: Secure,
    /// By slot.
    lines: Vec<Option<Line>>,
    /// Lines of an attempt that failed and that the next one could not use.
    spent: Vec<Line>,
    a: Face,
    b: Face,
    /// The offer on the table. Its answer tells what its lines mean.
    offered: Option<Offered>,
    /// What each side last said of its lines, by slot, once that was agreed to.
    heard: [Option<Arc<Session>>; 2],
    /// The called side refused the caller's codecs, and is offered those that we can convert to.
    widened: bool,
    /// Audio is converted, or was: the call has a place among those that may.
    transcoded: bool,
    /// The call was answered, so that pauses may be filled: before that, silence would drown ringing.
    confirmed: bool,
    /// The caller hears a ringing tone of ours while the called side sends nothing.
    rings: bool,
    /// An offer whose relays are still being opened.
    waiting: Option<Side>,
    recorded: Option<Recorded>,
    /// An answer the caller has from a response that nothing made reliable (RFC 3261 §13.2.1): the 2xx
    /// has to repeat it.
    early_answer: Option<Body>,
    timeout: Duration,
}

impl CallMedia {
    pub(crate) fn new(
        core: &mut Core,
        call: CallKey,
        source: &Arc<Connection>,
        plan: &Candidate,
        flow: Flow,
    ) -> Self {
        let path = Path::asked(&source.record, &plan.target.record);
        let policies = (Policy::of(&source.record), Policy::of(&plan.target.record));
        // Whatever address of ours the caller wrote to, its audio goes where its connection wants it.
        let home = media_interface(core, source, flow);
        let a = Face::new(core, home, Some(flow.remote.ip()), policies.0);
        let b = Face::new(core, plan.interface, plan.next_hop.ip, policies.1);
        let timeout = core.config.media_timeout;
        Self {
            call,
            asked: path,
            path,
            slots: Slots::new(!policies.0.block_video && !policies.1.block_video),
            secure: Secure::new(core.config.dtls_fingerprint),
            lines: Vec::new(),
            spent: Vec::new(),
            a,
            b,
            offered: None,
            heard: [None, None],
            widened: false,
            transcoded: false,
            confirmed: false,
            rings: false,
            waiting: None,
            recorded: None,
            early_answer: None,
            timeout,
        }
    }

    /// Another connection is called in place of the one that failed. Relays stay open with their ports, unless its
    /// media travel in another way or by another address of ours.
    pub(crate) fn retarget(
        &mut self,
        core: &mut Core,
        source: &Arc<Connection>,
        plan: &Candidate,
        flow: Flow,
        body: &Body,
    ) -> OfferOutcome {
        let fresh = Self::new(core, self.call, source, plan, flow);
        self.early_answer = None;
        if fresh.asked == self.asked && fresh.b.serves_like(&self.b) {
            self.b.signalling = fresh.b.signalling;
            self.widened = false;
            return self.offer_anew(core, body);
        }
        self.close(core);
        let mut spent = std::mem::take(&mut self.spent);
        spent.extend(std::mem::take(&mut self.lines).into_iter().flatten());
        let transcoded = self.transcoded;
        *self = Self {
            spent,
            transcoded,
            ..fresh
        };
        self.begin(core, body)
    }

    /// Whether the call has taken a place among those whose audio may be converted.
    pub(crate) fn is_transcoded(&self) -> bool {
        self.transcoded
    }

    fn may_transcode(&self, core: &Core) -> bool {
        self.transcoded || core.transcoded_calls < core.config.transcoded_calls_max
    }

    /// Whether the called side, which refused the codecs it was offered, can be offered others.
    pub(crate) fn can_widen(&self, core: &Core) -> bool {
        let offered = self
            .offered
            .as_ref()
            .filter(|offered| offered.side == Side::A);
        !self.widened
            && self.asked != Path::Direct
            && self.may_transcode(core)
            && offered.is_some_and(|offered| codecs::can_be_widened(&offered.given))
            && !self.b.policy.pcmu_only
    }

    /// The called side is offered the same again, and the codecs that we can convert to.
    pub(crate) fn widen(&mut self, core: &mut Core, body: &Body) -> OfferOutcome {
        self.widened = true;
        if self.path != Path::Relay {
            self.path = Path::Relay;
            return self.begin(core, body);
        }
        self.offer_anew(core, body)
    }

    /// The caller's offer for another dialog with the called side, by the relays that there are.
    fn offer_anew(&mut self, core: &mut Core, body: &Body) -> OfferOutcome {
        self.secure.forget(Side::B);
        self.heard[index(Side::B)] = None;
        let offered = self.offered.as_ref();
        let Some(offered) = offered.filter(|offered| offered.side == Side::A) else {
            // The caller leaves it to the called side to make an offer.
            self.offered = None;
            return OfferOutcome::Ready(body.clone());
        };
        let said = Arc::clone(&offered.said);
        match self.given_for(core, Side::A, &said, false) {
            Ok(given) => {
                let side = Side::A;
                self.offered = Some(Offered {
                    side,
                    said,
                    given,
                    answered: false,
                });
                OfferOutcome::Ready(self.offer_for_other(Side::A))
            }
            Err(why) => OfferOutcome::Unusable(488, why),
        }
    }

    /// The call is up: gives back what only its setup needed. Most calls never see another description.
    pub(crate) fn settle(&mut self) {
        // An offer in the answer of the called side still waits for the ACK.
        self.offered.take_if(|offered| offered.answered);
        self.early_answer = None;
        self.lines.shrink_to_fit();
    }

    fn face(&self, side: Side) -> &Face {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }
}

fn index(side: Side) -> usize {
    match side {
        Side::A => 0,
        Side::B => 1,
    }
}
