//! ITU-T G.722 at 64 kbit/s: speech of 7 kHz in 8 000 bytes a second.
//!
//! A quadrature mirror filter splits 16 000 samples a second into two bands of 8 000. Each band is coded by what an
//! adaptive predictor did not foresee: six bits for the low one, two for the high one, which make one byte per pair of
//! samples. All arithmetic is that of the Recommendation, 16-bit with saturation, so that a decoder elsewhere follows
//! our encoder bit by bit. The names in brackets are those of its blocks (clause 6.2).
//!
//! In RTP the clock of G.722 runs at 8 000 Hz although there are 16 000 samples (RFC 3551 §4.5.2): one tick is one byte.

use super::{CodecError, Concealer, Decoder, Encoder};

/// Samples per second.
pub const SAMPLE_RATE_HZ: u32 = 16_000;

/// Encodes one stream.
#[derive(Debug, Default)]
pub struct G722Encoder {
    /// The last 24 samples.
    history: History,
    low: Band<Low>,
    high: Band<High>,
}

/// Decodes one stream.
#[derive(Debug)]
pub struct G722Decoder {
    /// Sums and differences of the two bands.
    history: History,
    low: Band<Low>,
    high: Band<High>,
    concealer: Concealer,
}

impl Default for G722Decoder {
    fn default() -> Self {
        Self {
            history: History::default(),
            low: Band::default(),
            high: Band::default(),
            concealer: Concealer::new(SAMPLE_RATE_HZ),
        }
    }
}

impl Encoder for G722Encoder {
    fn sample_rate_hz(&self) -> u32 {
        SAMPLE_RATE_HZ
    }

    fn encode(&mut self, samples: &[i16], payload: &mut [u8]) -> Result<usize, CodecError> {
        let pairs = samples.as_chunks::<2>();
        if !pairs.1.is_empty() {
            return Err(CodecError::FrameSize);
        }
        let payload = payload.get_mut(..pairs.0.len()).ok_or(CodecError::NoRoom)?;
        for (pair, code) in pairs.0.iter().zip(payload) {
            let (even, odd) = self.history.push(pair.map(i32::from));
            let (low, high) = ((even + odd) >> 14, (even - odd) >> 14);
            *code = self.high.encode(high) << 6 | self.low.encode(low);
        }
        Ok(pairs.0.len())
    }
}

impl Decoder for G722Decoder {
    fn sample_rate_hz(&self) -> u32 {
        SAMPLE_RATE_HZ
    }

    fn samples_in(&self, payload: &[u8]) -> Result<usize, CodecError> {
        Ok(payload.len() * 2)
    }

    fn decode(&mut self, payload: &[u8], samples: &mut [i16]) -> Result<usize, CodecError> {
        let count = payload.len() * 2;
        let samples = samples.get_mut(..count).ok_or(CodecError::NoRoom)?;
        for (code, pair) in payload.iter().zip(samples.as_chunks_mut().0) {
            let low = self.low.decode(code & 0x3f);
            let high = self.high.decode(code >> 6);
            let (even, odd) = self.history.push([low + high, low - high]);
            *pair = [even >> 11, odd >> 11].map(|sample| saturate(sample) as i16);
        }
        self.concealer.heard(samples);
        Ok(count)
    }

    fn conceal(&mut self, _next: Option<&[u8]>, samples: &mut [i16]) {
        self.concealer.invent(samples);
    }
}

/// The delay line of the mirror filter [QMF].
///
/// It is kept twice in a row, so that the last 24 values always lie side by side.
#[derive(Debug)]
struct History {
    values: [i32; 2 * TAPS],
    at: usize,
}

const TAPS: usize = 24;

/// Every other coefficient of the filter; the rest are the same in reverse.
const FILTER: [i32; TAPS / 2] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

impl Default for History {
    fn default() -> Self {
        Self {
            values: [0; 2 * TAPS],
            at: 0,
        }
    }
}

impl History {
    /// Takes two values in and gives the filtered sums of the values at odd and at even places.
    fn push(&mut self, pair: [i32; 2]) -> (i32, i32) {
        for start in [self.at, self.at + TAPS] {
            self.values[start..start + 2].copy_from_slice(&pair);
        }
        self.at = (self.at + 2) % TAPS;
        let line = &self.values[self.at..self.at + TAPS];
        let (mut even, mut odd) = (0, 0);
        for (index, pair) in line.as_chunks::<2>().0.iter().enumerate() {
            odd += pair[0] * FILTER[index];
            even += pair[1] * FILTER[TAPS / 2 - 1 - index];
        }
        (even, odd)
    }
}

/// One band: its quantizer's scale and its predictor.
#[derive(Debug)]
struct Band<Q> {
    quantizer: std::marker::PhantomData<Q>,
    /// Logarithm of the scale [NBL, NBH].
    log_scale: i32,
    /// The scale [DETL, DETH].
    scale: i32,
    predictor: Predictor,
}

/// What the two bands do differently.
trait Quantizer {
    /// Scale before the first sample.
    const SCALE: i32;
    /// Largest logarithm of the scale.
    const LOG_SCALE_MAX: i32;
    /// Shift between logarithm and scale.
    const SHIFT: i32;

    /// The code of a difference.
    fn code(difference: i32, scale: i32) -> u8;
    /// The finest value of a code, which is what is heard.
    fn fine(code: u8) -> i32;
    /// The value of a code that predictor and scale use; coarser, so that a decoder that gets fewer bits keeps step.
    fn coarse(code: u8) -> i32;
    /// What a code adds to the logarithm of the scale.
    fn growth(code: u8) -> i32;
}

#[derive(Debug)]
struct Low;
#[derive(Debug)]
struct High;

impl<Q: Quantizer> Default for Band<Q> {
    fn default() -> Self {
        Self {
            quantizer: std::marker::PhantomData,
            log_scale: 0,
            scale: Q::SCALE,
            predictor: Predictor::default(),
        }
    }
}

impl<Q: Quantizer> Band<Q> {
    fn encode(&mut self, sample: i32) -> u8 {
        let code = Q::code(saturate(sample - self.predictor.foreseen), self.scale);
        self.follow(code);
        code
    }

    fn decode(&mut self, code: u8) -> i32 {
        let heard = self.predictor.foreseen + q15(self.scale, Q::fine(code));
        self.follow(code);
        // [LIMIT]
        heard.clamp(-16_384, 16_383)
    }

    /// What encoder and decoder do alike after each code [INVQAL, LOGSCL, SCALEL and their twins].
    fn follow(&mut self, code: u8) {
        let difference = q15(self.scale, Q::coarse(code));
        self.log_scale =
            (((self.log_scale * 127) >> 7) + Q::growth(code)).clamp(0, Q::LOG_SCALE_MAX);
        let mantissa = ANTILOG[(self.log_scale >> 6 & 31) as usize];
        let shift = Q::SHIFT - (self.log_scale >> 11);
        self.scale = if shift < 0 {
            mantissa << -shift
        } else {
            mantissa >> shift
        } << 2;
        self.predictor.learn(difference);
    }
}

/// [ILB]
const ANTILOG: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

impl Quantizer for Low {
    const SCALE: i32 = 32;
    const LOG_SCALE_MAX: i32 = 18_432;
    const SHIFT: i32 = 8;

    fn code(difference: i32, scale: i32) -> u8 {
        // [QUANTL]
        let magnitude = if difference < 0 {
            !difference
        } else {
            difference
        };
        let level = LOW_LEVELS.partition_point(|level| magnitude >= (level * scale) >> 12) as u8;
        match (difference < 0, level) {
            (false, level) => 61 - level,
            (true, level @ 0..2) => 63 - level,
            (true, level) => 33 - level,
        }
    }

    fn fine(code: u8) -> i32 {
        LOW_FINE[usize::from(code)]
    }

    fn coarse(code: u8) -> i32 {
        LOW_COARSE[usize::from(code >> 2)]
    }

    fn growth(code: u8) -> i32 {
        LOW_GROWTH[usize::from(code >> 2)]
    }
}

/// [Q6] without its first, which is zero.
const LOW_LEVELS: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023,
    1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];

/// [WL], by [RL42]
const LOW_GROWTH: [i32; 16] = [
    -60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60,
];

/// [QM4]
const LOW_COARSE: [i32; 16] = [
    0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584,
    1200, 0,
];

/// [QM6]
const LOW_FINE: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232,
    -9360, -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776,
    -2400, -2032, -1688, -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280,
    11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776,
    2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
];

impl Quantizer for High {
    const SCALE: i32 = 8;
    const LOG_SCALE_MAX: i32 = 22_528;
    const SHIFT: i32 = 10;

    fn code(difference: i32, scale: i32) -> u8 {
        // [QUANTH]
        let magnitude = if difference < 0 {
            !difference
        } else {
            difference
        };
        match (difference < 0, magnitude >= (564 * scale) >> 12) {
            (false, false) => 3,
            (false, true) => 2,
            (true, false) => 1,
            (true, true) => 0,
        }
    }

    fn fine(code: u8) -> i32 {
        // [QM2]
        [-7408, -1616, 7408, 1616][usize::from(code)]
    }

    fn coarse(code: u8) -> i32 {
        Self::fine(code)
    }

    fn growth(code: u8) -> i32 {
        // [RH2, WH]
        [798, -214, 798, -214][usize::from(code)]
    }
}

/// Foresees the next sample from the last two that were reconstructed and the last six differences [block 4].
#[derive(Debug, Default)]
struct Predictor {
    /// [SL, SH]
    foreseen: i32,
    /// What the zeroes foresee [SZ].
    foreseen_by_zeroes: i32,
    /// Reconstructed samples, the latest first [RLT].
    reconstructed: [i32; 2],
    /// Partly reconstructed samples [PLT].
    partial: [i32; 2],
    /// Differences [DLT].
    differences: [i32; 6],
    /// Weights of `reconstructed` [AL].
    poles: [i32; 2],
    /// Weights of `differences` [BL].
    zeroes: [i32; 6],
}

impl Predictor {
    fn learn(&mut self, difference: i32) {
        // [RECONS, PARREC]
        let reconstructed = saturate(self.foreseen + difference);
        let partial = saturate(self.foreseen_by_zeroes + difference);
        self.adapt_poles(partial);
        self.adapt_zeroes(difference);
        // [DELAYA]
        self.reconstructed = [reconstructed, self.reconstructed[0]];
        self.partial = [partial, self.partial[0]];
        self.differences.copy_within(..5, 1);
        self.differences[0] = difference;
        // [FILTEP, FILTEZ, PREDIC]
        let weigh = |weight: &i32, value: &i32| q15(*weight, saturate(value << 1));
        let by_poles: i32 = std::iter::zip(&self.poles, &self.reconstructed)
            .map(|(weight, value)| weigh(weight, value))
            .sum();
        let by_zeroes: i32 = std::iter::zip(&self.zeroes, &self.differences)
            .map(|(weight, value)| weigh(weight, value))
            .sum();
        self.foreseen_by_zeroes = saturate(by_zeroes);
        self.foreseen = saturate(saturate(by_poles) + self.foreseen_by_zeroes);
    }

    fn adapt_poles(&mut self, partial: i32) {
        let alike = self.partial.map(|before| (before < 0) == (partial < 0));
        // [UPPOL2]
        let first = saturate(self.poles[0] << 2);
        let pull = if alike[0] {
            (-first).min(32_767)
        } else {
            first
        };
        let push = if alike[1] { 128 } else { -128 };
        let second = ((pull >> 7) + push + q15(self.poles[1], 32_512)).clamp(-12_288, 12_288);
        // [UPPOL1]
        let push = if alike[0] { 192 } else { -192 };
        let limit = 15_360 - second;
        let first = (push + q15(self.poles[0], 32_640)).clamp(-limit, limit);
        self.poles = [first, second];
    }

    fn adapt_zeroes(&mut self, difference: i32) {
        // [UPZERO]
        let step = if difference == 0 { 0 } else { 128 };
        for (zero, before) in self.zeroes.iter_mut().zip(&self.differences) {
            let alike = (*before < 0) == (difference < 0);
            let push = if alike { step } else { -step };
            *zero = saturate(push + q15(*zero, 32_640));
        }
    }
}

fn saturate(value: i32) -> i32 {
    value.clamp(i32::from(i16::MIN), i32::from(i16::MAX))
}

/// The product of a value and a weight, of which 32 768 is one.
fn q15(value: i32, weight: i32) -> i32 {
    (value * weight) >> 15
}
