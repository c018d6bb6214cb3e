//! Answers, and offers where an answer was expected.

use super::body::parse;
use super::{Body, CallMedia, Offered, Path, codecs, index};
use crate::core::Core;
use ::media::relay::Side;
use std::sync::Arc;

impl CallMedia {
    /// A description that answers an offer, or makes one where none was made: passed on in our own words.
    pub(crate) fn forward(
        &mut self,
        core: &mut Core,
        side: Side,
        body: &Body,
    ) -> Result<Body, String> {
        let Some(bytes) = body.sdp() else {
            return Ok(body.clone());
        };
        let session = parse(bytes)?;
        let offered = self.offered.take_if(|offered| offered.side != side);
        let Some(offered) = offered else {
            // An offer in a response cannot wait for ports: lines that have none are refused (port 0).
            self.settle_path(side, &session);
            self.offered = Some(self.offered_by(core, side, session, true)?);
            self.accept_offer(core, side);
            return Ok(self.offer_for_other(side));
        };
        let said = self.slots.by_slot(side, session, false);
        let (from, to) = (self.face(side).policy, self.face(side.other()).policy);
        if self.path != Path::Relay {
            // The two ends see to the rest themselves.
            let given = codecs::answer_for_offerer(said, from, to, &offered.said, false);
            self.keep_offer(offered);
            let given = given?;
            self.slots.agree();
            return Ok(self.rewritten(side, Arc::new(given), false));
        }
        let given = codecs::answer_for_offerer(said.clone(), from, to, &offered.said, true);
        let keyed = self.secure.take_answer(&mut core.keys, side, from, &said);
        // Back on the table, for what looks there below.
        let offered = self.offered.insert(offered).clone();
        let mut given = given?;
        keyed?;
        self.secure
            .write_answer(&mut core.keys, side.other(), &offered.said, &mut given);
        self.accept_offer(core, side.other());
        self.slots.agree();
        self.lines
            .iter_mut()
            .flatten()
            .for_each(|line| line.traffic_before = None);
        self.protect(core, side, false);
        self.describe(core, side, &said);
        self.name_payloads(core, side, &offered.given);
        self.name_payloads(core, side.other(), &given);
        self.convert(core, &offered, &said, &given);
        self.plan_noise(core, side, &said, &offered.said, &given);
        self.plan_ringback(core, &offered, &said, &given);
        self.heard[index(side.other())] = Some(Arc::clone(&offered.said));
        self.heard[index(side)] = Some(Arc::new(said));
        self.keep_offer(offered);
        Ok(self.rewritten(side, Arc::new(given), false))
    }

    /// Several answers may follow one offer, of several ends that rang (RFC 3261 §13.2.1); once the call is up there
    /// is one.
    fn keep_offer(&mut self, offered: Offered) {
        self.offered = (!self.confirmed).then_some(Offered {
            answered: true,
            ..offered
        });
    }
}
