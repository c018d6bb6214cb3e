//! Media before the answer: what the caller may hear of it, and what it was told.

use super::lines::Line;
use super::{Body, CallMedia, Offered, codecs};
use crate::core::Core;
use ::media::relay::{Command, Ringback, Side};
use ::media::sdp::Session;

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

    /// Lets the caller hear a ringing tone while the called side sends nothing, up to the answer. True where that begins
    /// now: it needs a relay, and a caller that listens and was told which codec to listen for.
    pub(crate) fn ring(&mut self, core: &mut Core) -> bool {
        if self.confirmed || self.rings {
            return false;
        }
        self.rings = true;
        self.tell_ringback(core)
    }

    /// The caller hears no tone of ours any more.
    pub(super) fn stop_ringing(&mut self, core: &mut Core) {
        if !std::mem::take(&mut self.rings) {
            return;
        }
        for line in self.lines.iter().flatten() {
            line.play(core, None);
        }
    }

    /// A ringing tone as the caller understands it. `said` is the answer to an offer, `given` what became of it for the
    /// side that offered.
    pub(super) fn plan_ringback(
        &mut self,
        core: &mut Core,
        offered: &Offered,
        said: &Session,
        given: &Session,
    ) {
        let Some(tone) = core.config.ringback.filter(|_| !self.confirmed) else {
            return;
        };
        // What the caller says of itself, and what it was told of us.
        let (own, told) = match offered.side {
            Side::A => (&*offered.said, given),
            Side::B => (said, &*offered.given),
        };
        for (slot, line) in self.lines.iter_mut().enumerate() {
            let (Some(line), Some(mine), Some(theirs)) =
                (line, own.media.get(slot), told.media.get(slot))
            else {
                continue;
            };
            let listens = codecs::is_audio(mine)
                && theirs.is_active()
                && own.effective_direction(slot).receives();
            let understood = || codecs::agreed(mine, theirs);
            line.ringback = listens
                .then(|| Ringback::new(tone, &understood()))
                .flatten();
        }
        if self.rings {
            self.tell_ringback(core);
        }
    }

    /// The first line that can carries the tone. False when there is none.
    fn tell_ringback(&self, core: &mut Core) -> bool {
        let mut lines = self.lines.iter().flatten();
        let line = lines.find(|line| line.ringback.is_some());
        if let Some(line) = line {
            line.play(core, line.ringback.clone());
        }
        line.is_some()
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

    fn play(&self, core: &mut Core, ringback: Option<Ringback>) {
        core.media(Command::Ringback {
            relay: self.relay,
            side: Side::A,
            ringback: ringback.map(Box::new),
        });
    }
}
