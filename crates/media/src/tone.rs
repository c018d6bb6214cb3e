//! A sine that end points of our own play, and the detector that recognises it at the far end.

use std::f32::consts::TAU;

/// A sine generator of fixed frequency; every sample continues where the last one ended.
#[derive(Clone, Debug)]
pub struct Sine {
    phase: f32,
    step: f32,
    amplitude: f32,
}

impl Sine {
    /// A tone of `frequency_hz`, at `amplitude` of 0.0..=1.0 of full scale.
    pub fn new(frequency_hz: f32, sample_rate_hz: u32, amplitude: f32) -> Self {
        Self {
            phase: 0.0,
            step: TAU * frequency_hz / sample_rate_hz as f32,
            amplitude: amplitude.clamp(0.0, 1.0) * f32::from(i16::MAX),
        }
    }

    /// Changes the pitch without a click: the phase carries over.
    pub fn retune(&mut self, frequency_hz: f32, sample_rate_hz: u32) {
        self.step = TAU * frequency_hz / sample_rate_hz as f32;
    }

    /// Fills `samples` with what comes next.
    pub fn fill(&mut self, samples: &mut [i16]) {
        for (slot, sample) in samples.iter_mut().zip(self) {
            *slot = sample;
        }
    }
}

impl Iterator for Sine {
    type Item = i16;

    fn next(&mut self) -> Option<i16> {
        let sample = (self.phase.sin() * self.amplitude) as i16;
        self.phase = (self.phase + self.step) % TAU;
        Some(sample)
    }
}

/// The share of a signal's power that lies at `frequency_hz`, 0.0..=1.0 (Goertzel's algorithm).
///
/// Near 1.0 for a pure tone of that pitch, near 0.0 for silence, noise or another pitch. The
/// longer the signal, the narrower the band: about `sample_rate_hz / samples.len()`.
pub fn tone_share(samples: &[i16], frequency_hz: f32, sample_rate_hz: u32) -> f32 {
    let coefficient =
        2.0 * (f64::from(TAU) * f64::from(frequency_hz) / f64::from(sample_rate_hz)).cos();
    let (mut before, mut last, mut energy) = (0.0_f64, 0.0_f64, 0.0_f64);
    for sample in samples {
        let sample = f64::from(*sample);
        (before, last) = (last, sample + coefficient * last - before);
        energy += sample * sample;
    }
    if energy == 0.0 {
        return 0.0;
    }
    let power = last * last + before * before - coefficient * last * before;
    (2.0 * power / (energy * samples.len() as f64)).min(1.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::g711;

    #[test]
    fn a_tone_is_found_and_others_are_not() {
        let samples: Vec<_> = Sine::new(440.0, 8_000, 0.5).take(1_600).collect();
        assert!(tone_share(&samples, 440.0, 8_000) > 0.95);
        assert!(tone_share(&samples, 480.0, 8_000) < 0.05);
        assert_eq!(tone_share(&[0; 160], 440.0, 8_000), 0.0);
        assert_eq!(tone_share(&[], 440.0, 8_000), 0.0);
    }

    #[test]
    fn a_tone_survives_the_telephone_network() {
        let heard: Vec<_> = Sine::new(1_000.0, 8_000, 0.3)
            .take(800)
            .map(|sample| g711::decode_a(g711::encode_a(g711::decode_mu(g711::encode_mu(sample)))))
            .collect();
        assert!(tone_share(&heard, 1_000.0, 8_000) > 0.95);
    }

    #[test]
    fn pieces_join_without_a_seam() {
        let whole: Vec<_> = Sine::new(300.0, 8_000, 0.9).take(320).collect();
        let mut sine = Sine::new(300.0, 8_000, 0.9);
        let mut pieces = vec![0; 320];
        let (first, second) = pieces.split_at_mut(160);
        sine.fill(first);
        sine.fill(second);
        assert_eq!(whole, pieces);
    }
}
