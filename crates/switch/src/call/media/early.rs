//! Media before the answer: what the caller may hear of it, and what it was told.

use super::lines::Line;
use super::{Body, CallMedia};
use crate::switch::Core;
use ::media::relay::{Command, Side};

impl CallMedia {
    /// Nothing is sent to the caller until [`admit_caller`](Self::admit_caller).
    pub(crate) fn withhold_early_media(&mut self, core: &mut Core) {
        for line in self.lines.iter().flatten() {
            line.send_nothing_to_caller(core);
        }
    }

    /// The caller gets media where its offer asked for them.
    pub(crate) fn admit_caller(&mut self, core: &mut Core) {
        self.accept_offer(core, Side::A);
    }

    /// Keeps what a provisional response told the caller, unless the caller acknowledges it.
    pub(crate) fn note_early_answer(&mut self, body: &Body, acknowledged: bool) {
        if body.sdp().is_some() {
            self.early_answer = (!acknowledged).then(|| body.clone());
        }
    }

    /// What the caller was told but never acknowledged.
    pub(crate) fn early_answer(&mut self) -> Option<Body> {
        self.early_answer.take()
    }
}

impl Line {
    pub(super) fn send_nothing_to_caller(&self, core: &mut Core) {
        core.media(Command::Remote {
            relay: self.relay,
            side: Side::A,
            rtp: None,
            rtcp: None,
            expect_media: false,
            strict: false,
        });
    }
}
