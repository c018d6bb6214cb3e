//! Answers, and offers where an answer was expected.

use super::body::parse;
use super::{Body, CallMedia, Path, codecs, index};
use crate::switch::Core;
use ::media::relay::Side;

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
        let relayed = self.path == Path::Relay;
        let given = codecs::answer_for_offerer(said.clone(), from, to, &offered.said, relayed);
        let keyed = match relayed {
            true => self.secure.take_answer(&mut core.keys, side, from, &said),
            false => Ok(()),
        };
        // Several answers may follow one offer, of several ends that rang (RFC 3261 §13.2.1).
        let on_the_table = self.offered.insert(offered);
        on_the_table.answered = true;
        let offered = on_the_table.clone();
        let mut given = given?;
        keyed?;
        if relayed {
            self.secure
                .write_answer(&mut core.keys, side.other(), &offered.said, &mut given);
        }
        self.accept_offer(core, side.other());
        self.slots.agree();
        self.lines
            .iter_mut()
            .flatten()
            .for_each(|line| line.traffic_before = None);
        if relayed {
            self.protect(core, side, false);
            self.describe(core, side, &said);
            self.name_payloads(core, side, &offered.given);
            self.name_payloads(core, side.other(), &given);
            self.convert(core, &offered, &said, &given);
            self.plan_noise(core, side, &said, &offered.said, &given);
            self.plan_ringback(core, &offered, &said, &given);
        }
        self.heard[index(side.other())] = offered.said.media;
        self.heard[index(side)] = said.media;
        Ok(self.rewritten(side, given, false))
    }
}
