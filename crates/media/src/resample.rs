//! From 8 000 samples a second to 16 000 and back: the two rates of telephone speech.
//!
//! A half-band filter of fixed length does both. Every other of its coefficients is zero, so that one direction computes
//! only every other output and the other needs only every other input. It passes 3.4 kHz, the band of the telephone,
//! unchanged and keeps everything from 4.6 kHz on 70 dB down; in between lies what would alias onto itself. Delay is
//! [`DELAY_SAMPLES`] at 16 kHz, 1.8 ms.
//!
//! No other rate is needed: G.711 has 8 000, G.722 has 16 000, and Opus takes either.

use std::f64::consts::PI;
use std::sync::LazyLock;

/// The lower rate.
pub const LOW_HZ: u32 = 8_000;
/// The upper rate.
pub const HIGH_HZ: u32 = 16_000;

/// Coefficients, zeroes included. Of the form 4n + 3, or the filter would begin and end with a zero.
const TAPS: usize = 59;

/// How much later a sample comes out, in samples of the upper rate.
pub const DELAY_SAMPLES: usize = TAPS / 2;

/// Coefficients beside the middle one that are not zero.
const SIDES: usize = DELAY_SAMPLES + 1;

/// Shape of Kaiser's window for 70 dB: 0.1102 (70 - 8.7).
const KAISER_BETA: f64 = 6.755;

/// The coefficients beside the middle one, which is a half; they are those of even index.
static COEFFICIENTS: LazyLock<[f32; SIDES]> = LazyLock::new(|| {
    std::array::from_fn(|index| {
        // Odd, so never zero.
        let offset = (2 * index) as f64 - DELAY_SAMPLES as f64;
        let sinc = (PI * offset / 2.0).sin() / (PI * offset);
        let place = offset / (DELAY_SAMPLES as f64 + 1.0);
        let window = bessel(KAISER_BETA * (1.0 - place * place).sqrt()) / bessel(KAISER_BETA);
        (sinc * window) as f32
    })
});

/// The modified Bessel function of the first kind and order zero, of which Kaiser made his window.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..32 {
        term *= (x / 2.0 / f64::from(k)).powi(2);
        sum += term;
    }
    sum
}

/// Converts one stream from one rate to another.
#[derive(Debug)]
pub struct Resampler(Way);

#[derive(Debug)]
enum Way {
    Same,
    Up(Box<DelayLine>),
    Down {
        /// The samples at odd places, which the filter works on.
        odd: Box<DelayLine>,
        /// Those at even places, of which it sees one.
        even: Box<DelayLine>,
    },
}

impl Resampler {
    /// A converter between [`LOW_HZ`] and [`HIGH_HZ`], or from a rate to itself; `None` for anything else.
    pub fn new(from_hz: u32, to_hz: u32) -> Option<Self> {
        Some(Self(match (from_hz, to_hz) {
            (LOW_HZ, HIGH_HZ) => Way::Up(Box::default()),
            (HIGH_HZ, LOW_HZ) => Way::Down {
                odd: Box::default(),
                even: Box::default(),
            },
            (from, to) if from == to => Way::Same,
            _ => return None,
        }))
    }

    /// How many samples come out for so many that go in.
    pub fn output_len(&self, input_len: usize) -> usize {
        match self.0 {
            Way::Same => input_len,
            Way::Up(_) => input_len * 2,
            Way::Down { .. } => input_len / 2,
        }
    }

    /// Converts the next piece of the stream, which has an even number of samples at the upper rate, into the beginning
    /// of `output`. Gives how many they are: what fits, if that is less than it should be.
    pub fn convert(&mut self, input: &[i16], output: &mut [i16]) -> usize {
        let count = self.output_len(input.len()).min(output.len());
        let output = &mut output[..count];
        match &mut self.0 {
            Way::Same => output.copy_from_slice(&input[..count]),
            Way::Up(line) => {
                for (pair, sample) in output.as_chunks_mut().0.iter_mut().zip(input) {
                    let recent = line.push(f32::from(*sample));
                    *pair = [round(2.0 * weigh(recent)), recent[SIDES / 2] as i16];
                }
            }
            Way::Down { odd, even } => {
                for (sample, pair) in output.iter_mut().zip(input.as_chunks::<2>().0) {
                    let middle = even.push(f32::from(pair[0]))[SIDES / 2];
                    let sides = weigh(odd.push(f32::from(pair[1])));
                    *sample = round(sides + middle / 2.0);
                }
            }
        }
        count
    }
}

fn weigh(recent: &[f32; SIDES]) -> f32 {
    let products = recent.iter().zip(&*COEFFICIENTS);
    products.map(|(sample, weight)| sample * weight).sum()
}

/// To the nearest; a conversion from floating point saturates.
fn round(value: f32) -> i16 {
    value.round_ties_even() as i16
}

/// The last samples, the oldest first. They are kept twice in a row, so that they always lie side by side.
#[derive(Debug)]
struct DelayLine {
    samples: [f32; 2 * SIDES],
    at: usize,
}

impl Default for DelayLine {
    fn default() -> Self {
        Self {
            samples: [0.0; 2 * SIDES],
            at: 0,
        }
    }
}

impl DelayLine {
    fn push(&mut self, sample: f32) -> &[f32; SIDES] {
        self.samples[self.at] = sample;
        self.samples[self.at + SIDES] = sample;
        self.at = (self.at + 1) % SIDES;
        // `at` is below SIDES, so there are as many behind it.
        self.samples[self.at..]
            .first_chunk()
            .expect("the line is twice as long")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone::{Sine, tone_share};

    /// Gain in dB of a tone that goes through; and the share of the output that is the tone at `heard_hz`.
    fn gain(from: u32, to: u32, frequency_hz: f32, heard_hz: f32) -> (f64, f32) {
        let mut resampler = Resampler::new(from, to).expect("known rates");
        let input: Vec<i16> = Sine::new(frequency_hz, from, 0.9)
            .take(from as usize)
            .collect();
        let mut output = vec![0; to as usize];
        assert_eq!(resampler.convert(&input, &mut output), output.len());
        let power = |samples: &[i16]| {
            let squares: f64 = samples
                .iter()
                .map(|sample| f64::from(*sample).powi(2))
                .sum();
            squares / samples.len() as f64
        };
        let settled = &output[200..];
        let gain = 10.0 * (power(settled).max(1e-9) / power(&input)).log10();
        (gain, tone_share(settled, heard_hz, to))
    }

    #[test]
    fn the_band_of_the_telephone_passes() {
        for (from, to) in [(8_000, 16_000), (16_000, 8_000)] {
            for frequency in [100.0, 440.0, 1_000.0, 2_000.0, 3_000.0, 3_400.0] {
                let (gain, share) = gain(from, to, frequency, frequency);
                assert!(gain.abs() < 0.1, "{frequency} Hz from {from}: {gain} dB");
                assert!(share > 0.999, "{frequency} Hz from {from}: {share}");
            }
        }
    }

    #[test]
    fn what_would_alias_does_not_pass() {
        for frequency in [4_600.0, 5_000.0, 6_000.0, 7_000.0, 7_900.0] {
            let (gain, _) = gain(16_000, 8_000, frequency, 8_000.0 - frequency);
            assert!(gain < -65.0, "{frequency} Hz: {gain} dB");
        }
    }

    #[test]
    fn the_image_above_the_band_is_not_heard() {
        // The image of f is 8 kHz - f: all of the output but a millionth is the tone itself.
        for frequency in [440.0, 1_000.0, 3_400.0] {
            let (_, image) = gain(8_000, 16_000, frequency, 8_000.0 - frequency);
            assert!(image < 1e-6, "{frequency} Hz: {image}");
        }
    }

    #[test]
    fn pieces_join_without_a_seam() {
        let input: Vec<i16> = Sine::new(1_000.0, 16_000, 0.5).take(3_200).collect();
        let (mut whole, mut pieces) = (vec![0; 1_600], vec![0; 1_600]);
        let at_once = |from: &[i16], to: &mut [i16]| {
            Resampler::new(16_000, 8_000)
                .expect("known")
                .convert(from, to)
        };
        at_once(&input, &mut whole);
        let mut resampler = Resampler::new(16_000, 8_000).expect("known");
        for (from, to) in input.chunks(320).zip(pieces.chunks_mut(160)) {
            resampler.convert(from, to);
        }
        assert_eq!(whole, pieces);
    }

    #[test]
    fn full_scale_does_not_wrap_and_other_rates_are_unknown() {
        let mut up = Resampler::new(8_000, 16_000).expect("known");
        let square: Vec<i16> = (0..400)
            .map(|at| if at / 20 % 2 == 0 { i16::MAX } else { i16::MIN })
            .collect();
        let mut output = vec![0; 800];
        up.convert(&square, &mut output);
        let delayed = &output[DELAY_SAMPLES..];
        for (at, sample) in square
            .iter()
            .enumerate()
            .take(380)
            .filter(|(at, _)| at % 20 == 10)
        {
            assert!((i32::from(delayed[2 * at]) - i32::from(*sample)).abs() < 4_000);
        }
        assert!(Resampler::new(44_100, 8_000).is_none());
        let mut same = Resampler::new(48_000, 48_000).expect("nothing to do");
        assert_eq!(same.convert(&[1, 2, 3], &mut output), 3);
    }
}
