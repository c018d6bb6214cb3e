//! What a side is sent while the other says nothing.

use super::codecs::is_audio;
use super::lines::Line;
use super::{CallMedia, index};
use crate::core::Core;
use ::media::g711::Law;
use ::media::relay::{Command, Noise, Side};
use ::media::sdp::{Codec, MediaLine, Session};

/// Payload type of comfort noise at 8 kHz (RFC 3551 §6).
const COMFORT_NOISE: u8 = 13;

/// Its clock; it can only go between packets that have the same.
const COMFORT_NOISE_CLOCK_HZ: u32 = 8_000;

impl CallMedia {
    /// The call is answered: from now on pauses are filled, and handshakes have to end.
    pub(crate) fn confirm(&mut self, core: &mut Core) {
        self.confirmed = true;
        self.stop_ringing(core);
        for slot in 0..self.lines.len() {
            for side in [Side::A, Side::B] {
                self.hurry(core, side, slot);
            }
        }
        for line in self.lines.iter().flatten() {
            line.fill_pauses(core);
        }
    }

    /// The caller has gone; the called side hears silence.
    pub(crate) fn silence_called_side(&mut self, core: &mut Core) {
        for line in self.lines.iter().flatten() {
            line.send_nothing_to_caller(core);
            core.media(Command::ComfortNoise {
                relay: line.relay,
                side: Side::B,
                noise: line.silence,
            });
        }
    }

    /// What each side is sent in pauses, by what it accepted and whether it listens.
    pub(super) fn plan_noise(
        &mut self,
        core: &mut Core,
        answerer: Side,
        said: &Session,
        offered: &Session,
        given: &Session,
    ) {
        let policies = [self.a.policy, self.b.policy];
        for (slot, line) in self.lines.iter_mut().enumerate() {
            let Some(line) = line else { continue };
            // What a side accepted, and the description in which it says whether it listens.
            let answering = (answerer, said, said);
            let offering = (answerer.other(), given, offered);
            for (side, accepted, own) in [answering, offering] {
                let listens = own.effective_direction(slot).receives();
                let noise = accepted.media.get(slot).and_then(noise_for);
                let noise = noise.filter(|_| listens);
                line.noise[index(side)] = noise.filter(|_| policies[index(side)].comfort_noise);
                if side == Side::B {
                    line.silence = noise;
                }
            }
            if self.confirmed && policies.iter().any(|policy| policy.comfort_noise) {
                line.fill_pauses(core);
            }
        }
    }
}

impl Line {
    /// Tells the relay what to send in pauses.
    fn fill_pauses(&self, core: &mut Core) {
        for (side, noise) in [Side::A, Side::B].into_iter().zip(self.noise) {
            let relay = self.relay;
            core.media(Command::ComfortNoise { relay, side, noise });
        }
    }
}

/// What a far end that accepted `line` can be sent in a pause.
fn noise_for(line: &MediaLine) -> Option<Noise> {
    if !is_audio(line) {
        return None;
    }
    let spoken = line.codecs().find(Codec::is_media);
    let clock = spoken.map(|codec| codec.clock_rate_hz);
    if line.has_format(COMFORT_NOISE) && clock == Some(COMFORT_NOISE_CLOCK_HZ) {
        return Some(Noise::Described);
    }
    let mut codecs = line.codecs();
    codecs
        .find_map(|codec| Law::of(codec.payload_type))
        .map(Noise::Silence)
}
