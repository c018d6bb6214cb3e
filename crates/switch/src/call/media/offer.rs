//! Offers: from the one side's words to what the other side is offered.

use super::body::parse;
use super::codecs::{self, Reach};
use super::{Body, CallMedia, MAX_LINES, OfferOutcome, Offered, Path, index};
use crate::core::Core;
use ::media::relay::{Command, Side, Traffic};
use ::media::sdp::anchor::{LocalMedia, anchored, passthrough};
use ::media::sdp::{MediaLine, Session};
use model::EncryptedAudio;
use std::sync::Arc;

impl CallMedia {
    /// The offer of the first INVITE, which counts at once; or, without one, a relay for the audio that
    /// the called side is going to offer: its answer cannot wait for ports then.
    pub(crate) fn begin(&mut self, core: &mut Core, body: &Body) -> OfferOutcome {
        if body.sdp().is_none() && self.path == Path::Relay {
            self.lines.push(None);
            self.open_line(core, 0, Traffic::Rtp);
            self.waiting = Some(Side::A);
            return OfferOutcome::Waiting;
        }
        self.offer(core, Side::A, body)
    }

    /// An offer while the call is being set up. What it says counts at once.
    fn offer(&mut self, core: &mut Core, side: Side, body: &Body) -> OfferOutcome {
        let outcome = self.reoffer(core, side, body);
        if matches!(outcome, OfferOutcome::Ready(_)) {
            self.accept_offer(core, side);
        }
        outcome
    }

    /// An offer within the call. What it says of its sender counts when it is answered.
    pub(crate) fn reoffer(&mut self, core: &mut Core, side: Side, body: &Body) -> OfferOutcome {
        let Some(bytes) = body.sdp() else {
            // The next description makes the offer.
            self.offered = None;
            return OfferOutcome::Ready(body.clone());
        };
        let session = match parse(bytes) {
            Ok(session) => session,
            Err(why) => return OfferOutcome::Unusable(488, why),
        };
        self.settle_path(side, &session);
        let offered = match self.offered_by(core, side, session, false) {
            Ok(offered) => offered,
            Err(why) => return OfferOutcome::Unusable(488, why),
        };
        let opening = self.path == Path::Relay && self.open_lines(core, &offered.said);
        self.offered = Some(offered);
        if opening {
            self.waiting = Some(side);
            return OfferOutcome::Waiting;
        }
        OfferOutcome::Ready(self.offer_for_other(side))
    }

    /// Drops an offer that was refused: everything is as it was before.
    pub(crate) fn forget_offer(&mut self, core: &mut Core) {
        self.offered = None;
        self.waiting = None;
        self.slots.disagree();
        for line in self.lines.iter_mut().flatten() {
            if let Some(traffic) = line.traffic_before.take() {
                line.traffic = traffic;
                core.media(Command::Traffic {
                    relay: line.relay,
                    traffic,
                });
            }
        }
    }

    /// An offer of `side` by slot, and what becomes of it for the other side. `once`: it cannot be repeated in other
    /// words, for it stands in a response.
    pub(super) fn offered_by(
        &mut self,
        core: &mut Core,
        side: Side,
        session: Session,
        once: bool,
    ) -> Result<Offered, String> {
        let said = Arc::new(self.slots.by_slot(side, session, true));
        if self.slots.len() > MAX_LINES {
            self.slots.disagree();
            return Err("Too many media lines".to_owned());
        }
        match self.given_for(core, side, &said, once) {
            Ok(given) => Ok(Offered {
                side,
                said,
                given,
                answered: false,
            }),
            Err(why) => {
                self.slots.disagree();
                Err(why)
            }
        }
    }

    /// What becomes of an offer of `side` for the other side.
    pub(super) fn given_for(
        &mut self,
        core: &mut Core,
        side: Side,
        said: &Arc<Session>,
        once: bool,
    ) -> Result<Arc<Session>, String> {
        let (from, to) = (self.face(side).policy, self.face(side.other()).policy);
        let relayed = self.path == Path::Relay;
        if !relayed {
            // Keys pass from end to end here: what either record demands, the offer has or nobody will.
            for policy in [from, to] {
                if policy.encryption == EncryptedAudio::Yes {
                    self.secure.take_offer(side, policy, said)?;
                }
            }
            if !from.pcmu_only && !to.pcmu_only {
                return Ok(Arc::clone(said));
            }
            let said = Session::clone(said);
            return codecs::offer_for_other(said, from, to, |_, _| Reach::Direct).map(Arc::new);
        }
        self.secure.take_offer(side, from, said)?;
        let heard = self.heard[index(side.other())].as_deref();
        let widens = self.widened || once;
        let may_transcode = self.may_transcode(core);
        let reach = |slot: usize, line: &MediaLine| {
            if !may_transcode {
                return codecs::without_transcoding(line);
            }
            let lacks = match heard.and_then(|heard| heard.media.get(slot)) {
                Some(said) => !codecs::may_have_one_of(Some(said), line),
                None => widens,
            };
            if lacks { Reach::Widened } else { Reach::Own }
        };
        let mut given = codecs::offer_for_other(Session::clone(said), from, to, reach)?;
        self.secure
            .write_offer(&mut core.keys, side.other(), to, &mut given);
        Ok(Arc::new(given))
    }

    /// Lets what the offer on the table says of its sender count.
    pub(super) fn accept_offer(&mut self, core: &mut Core, side: Side) {
        if self.path != Path::Relay {
            return;
        }
        if let Some(offered) = self.offered.take() {
            if offered.side == side {
                self.protect(core, side, true);
                self.describe(core, side, &offered.said);
                self.name_payloads(core, side.other(), &offered.given);
            }
            self.offered = Some(offered);
        }
    }

    pub(super) fn offer_for_other(&mut self, side: Side) -> Body {
        match &self.offered {
            Some(offered) => self.rewritten(side, Arc::clone(&offered.given), true),
            None => Body::default(),
        }
    }

    /// A description of `side`, by slot and narrowed to what suits both, as the other side gets it.
    pub(super) fn rewritten(&mut self, side: Side, session: Arc<Session>, offers: bool) -> Body {
        let (session, order) = self.slots.for_side(side.other(), session, offers);
        let (face, towards_b) = match side {
            Side::A => (&mut self.b, true),
            Side::B => (&mut self.a, false),
        };
        if self.path != Path::Relay {
            return Body::of_sdp(passthrough(&session, &mut face.origin));
        }
        let secure = &self.secure;
        let local: Vec<Option<LocalMedia>> = order
            .iter()
            .map(|slot| {
                let line = self.lines.get(*slot)?.as_ref()?;
                let rtp_port = if towards_b { line.b_port } else { line.a_port };
                (rtp_port != 0).then_some(LocalMedia {
                    address: face.advertise,
                    rtp_port,
                    dtls: secure.described(side.other(), *slot),
                    multiplexed: secure.multiplexed(side.other(), *slot),
                })
            })
            .collect();
        Body::of_sdp(anchored(&session, &local, &mut face.origin))
    }
}
