//! What to play in place of samples that never arrived.
//!
//! Speech goes on for a few hundredths of a second as it was: the last period of its pitch is repeated and faded out.
//! G.711 and G.722 have no such means of their own; Opus has.

/// How far back the repeated piece may begin: one period of the lowest voices, 66 Hz.
const PERIOD_MS_MAX: f32 = 15.0;
/// One period of the highest, 400 Hz.
const PERIOD_MS_MIN: f32 = 2.5;
/// How much of the signal is compared to find its period.
const COMPARED_MS: f32 = 10.0;
/// For so long it is repeated as it was.
const HOLD_MS: f32 = 10.0;
/// Then it fades; after so long in all nothing is left. Whatever was said, it is not said any more.
const FADE_MS: f32 = 60.0;
/// How long what was invented goes on beneath what is heard again, so that nothing clicks.
const BLEND_MS: f32 = 2.5;

/// Repeats the end of what was heard.
#[derive(Debug)]
pub(super) struct Concealer {
    /// The end of what was heard.
    history: Box<[i16]>,
    /// Samples in a millisecond.
    per_ms: f32,
    /// Length of the repeated piece.
    period: usize,
    /// Samples invented since something was heard.
    invented: usize,
}

impl Concealer {
    pub(super) fn new(sample_rate_hz: u32) -> Self {
        let per_ms = sample_rate_hz as f32 / 1000.0;
        let length = (PERIOD_MS_MAX + COMPARED_MS) * per_ms;
        Self {
            history: vec![0; length as usize].into(),
            per_ms,
            period: 1,
            invented: 0,
        }
    }

    /// These samples arrived. Behind a loss their beginning is blended with what was invented.
    pub(super) fn heard(&mut self, samples: &mut [i16]) {
        if self.invented > 0 {
            let blend = (self.samples(BLEND_MS)).min(samples.len());
            for (at, sample) in samples[..blend].iter_mut().enumerate() {
                let share = (at + 1) as f32 / (blend + 1) as f32;
                let invented = f32::from(self.next());
                *sample = (f32::from(*sample) * share + invented * (1.0 - share)) as i16;
            }
            self.invented = 0;
        }
        let length = self.history.len();
        match samples.len().checked_sub(length) {
            Some(skipped) => self.history.copy_from_slice(&samples[skipped..]),
            None => {
                self.history.copy_within(samples.len().., 0);
                self.history[length - samples.len()..].copy_from_slice(samples);
            }
        }
    }

    /// Fills `samples` with what might have been there.
    pub(super) fn invent(&mut self, samples: &mut [i16]) {
        if self.invented == 0 {
            self.period = self.find_period();
        }
        for sample in samples {
            *sample = self.next();
        }
    }

    fn next(&mut self) -> i16 {
        let start = self.history.len() - self.period;
        let sample = self.history[start + self.invented % self.period];
        let (hold, fade) = (HOLD_MS * self.per_ms, FADE_MS * self.per_ms);
        let left = ((fade - self.invented as f32) / (fade - hold)).clamp(0.0, 1.0);
        self.invented = self.invented.saturating_add(1);
        (f32::from(sample) * left) as i16
    }

    /// The shift under which the end of what was heard looks most like itself.
    fn find_period(&self) -> usize {
        let compared = self.samples(COMPARED_MS);
        let length = self.history.len();
        let end = &self.history[length - compared..];
        let mut best = (self.samples(PERIOD_MS_MAX), 0.0_f32);
        for period in self.samples(PERIOD_MS_MIN)..=length - compared {
            let before = &self.history[length - compared - period..length - period];
            let (mut product, mut energy) = (0.0_f32, 1.0_f32);
            for (now, then) in end.iter().zip(before) {
                let (now, then) = (f32::from(*now), f32::from(*then));
                product += now * then;
                energy += then * then;
            }
            let likeness = product.max(0.0).powi(2) / energy;
            // A multiple of the period fits as well; the period itself is what we want.
            if likeness > best.1 * 1.02 {
                best = (period, likeness);
            }
        }
        best.0.max(1)
    }

    fn samples(&self, ms: f32) -> usize {
        (ms * self.per_ms) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone::{Sine, tone_share};

    #[test]
    fn a_tone_goes_on_and_fades() {
        for rate in [8_000, 16_000] {
            let frame = rate as usize / 50;
            let mut concealer = Concealer::new(rate);
            let mut samples: Vec<_> = Sine::new(440.0, rate, 0.5).take(frame * 4).collect();
            concealer.heard(&mut samples);
            let mut invented = vec![0; frame];
            concealer.invent(&mut invented);
            let both: Vec<_> = samples[frame * 3..]
                .iter()
                .chain(&invented)
                .copied()
                .collect();
            let share = tone_share(&both, 440.0, rate);
            assert!(share > 0.8, "{share} at {rate} Hz");
            let level = |samples: &[i16]| samples.iter().map(|s| s.unsigned_abs()).max();
            let mut later = vec![0; frame];
            concealer.invent(&mut later);
            assert!(level(&later) < level(&invented));
            concealer.invent(&mut later);
            concealer.invent(&mut later);
            assert_eq!(level(&later), Some(0));
        }
    }

    #[test]
    fn the_return_does_not_click() {
        let mut concealer = Concealer::new(8_000);
        let mut loud: Vec<_> = Sine::new(200.0, 8_000, 0.5).take(400).collect();
        concealer.heard(&mut loud);
        let mut invented = [0; 160];
        concealer.invent(&mut invented);
        let mut silence = [0; 160];
        concealer.heard(&mut silence);
        let steps = invented[150..].iter().chain(&silence).collect::<Vec<_>>();
        let largest = steps.windows(2).map(|pair| (pair[1] - pair[0]).abs()).max();
        assert!(largest < Some(4_000), "{largest:?}");
        assert_eq!(silence[159], 0);
    }

    #[test]
    fn silence_and_nothing_stay_silent() {
        let mut concealer = Concealer::new(8_000);
        let mut invented = [7; 160];
        concealer.invent(&mut invented);
        assert_eq!(invented, [0; 160]);
        concealer.heard(&mut []);
        concealer.heard(&mut [0; 1_000]);
        concealer.invent(&mut invented);
        assert_eq!(invented, [0; 160]);
    }
}
