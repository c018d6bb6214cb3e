//! ITU-T G.711: 16-bit samples to and from the two logarithmic codes of the telephone network.
//!
//! Decoding is a look-up; the tables are computed by the compiler from the segment rule, and
//! encoding is the same rule backwards.

use std::sync::LazyLock;

/// RTP payload type of µ-law at 8 kHz (RFC 3551 §6).
pub const PCMU: u8 = 0;
/// RTP payload type of A-law at 8 kHz.
pub const PCMA: u8 = 8;
/// Samples per second of both.
pub const SAMPLE_RATE_HZ: u32 = 8_000;

/// The two codes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum Law {
    /// µ-law, of America and Japan.
    Mu,
    /// A-law, of the rest of the world.
    A,
}

keep::keep!(enum Law { 0 = Mu, 1 = A });

impl Law {
    /// The law of a payload type.
    pub fn of(payload_type: u8) -> Option<Self> {
        match payload_type {
            PCMU => Some(Self::Mu),
            PCMA => Some(Self::A),
            _ => None,
        }
    }

    /// Its payload type.
    pub fn payload_type(self) -> u8 {
        match self {
            Self::Mu => PCMU,
            Self::A => PCMA,
        }
    }

    /// One code to a sample.
    pub fn decode(self, code: u8) -> i16 {
        match self {
            Self::Mu => decode_mu(code),
            Self::A => decode_a(code),
        }
    }

    /// The code of silence.
    pub fn silence(self) -> u8 {
        match self {
            Self::Mu => 0xff,
            Self::A => 0xd5,
        }
    }

    /// Turns codes of the other law into codes of this one, in place. Both have 8000 of them a second, so nothing else
    /// about a packet changes.
    pub fn recode(self, codes: &mut [u8]) {
        let table = match self {
            Self::Mu => &MU_OF_A,
            Self::A => &A_OF_MU,
        };
        for code in codes {
            *code = table[usize::from(*code)];
        }
    }
}

/// µ-law codes by A-law code, and the other way round.
static MU_OF_A: LazyLock<[u8; 256]> =
    LazyLock::new(|| std::array::from_fn(|code| encode_mu(decode_a(code as u8))));
static A_OF_MU: LazyLock<[u8; 256]> =
    LazyLock::new(|| std::array::from_fn(|code| encode_a(decode_mu(code as u8))));

/// What µ-law adds so that segment boundaries fall on powers of two.
const MU_BIAS: i32 = 0x84;
const MU_CLIP: i32 = 32_635;

const MU_DECODED: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let bits = !(code as i32);
        let segment = bits >> 4 & 7;
        let magnitude = ((((bits & 15) << 3) + MU_BIAS) << segment) - MU_BIAS;
        table[code] = if bits & 0x80 != 0 {
            -magnitude
        } else {
            magnitude
        } as i16;
        code += 1;
    }
    table
};

const A_DECODED: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let bits = (code as i32) ^ 0x55;
        let segment = bits >> 4 & 7;
        let step = ((bits & 15) << 4) + 8;
        let magnitude = if segment == 0 {
            step
        } else {
            (step + 0x100) << (segment - 1)
        };
        table[code] = if bits & 0x80 != 0 {
            magnitude
        } else {
            -magnitude
        } as i16;
        code += 1;
    }
    table
};

/// One sample to µ-law.
pub fn encode_mu(sample: i16) -> u8 {
    let magnitude = i32::from(sample).abs().min(MU_CLIP) + MU_BIAS;
    // The bias puts the leading one at bit 7 or above, so this is 0..=7.
    let segment = 24 - magnitude.leading_zeros();
    let step = magnitude >> (segment + 3) & 15;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (segment as u8) << 4 | step as u8)
}

/// One sample from µ-law.
pub fn decode_mu(code: u8) -> i16 {
    MU_DECODED[usize::from(code)]
}

/// One sample to A-law.
pub fn encode_a(sample: i16) -> u8 {
    let positive = sample >= 0;
    // One's complement, as the standard has it, so that -1 and 0 are neighbours on either side.
    let magnitude = i32::from(if positive { sample } else { !sample });
    let segment = (24 - (magnitude | 0xff).leading_zeros()) as i32;
    let step = if segment == 0 {
        magnitude >> 4
    } else {
        magnitude >> (segment + 3)
    } & 15;
    let sign = if positive { 0x80 } else { 0 };
    (sign | (segment as u8) << 4 | step as u8) ^ 0x55
}

/// One sample from A-law.
pub fn decode_a(code: u8) -> i16 {
    A_DECODED[usize::from(code)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_points_of_the_curves() {
        assert_eq!((decode_mu(0xff), decode_mu(0x7f)), (0, 0));
        assert_eq!((decode_mu(0x80), decode_mu(0x00)), (32_124, -32_124));
        assert_eq!((decode_a(0xd5), decode_a(0x55)), (8, -8));
        assert_eq!((decode_a(0xaa), decode_a(0x2a)), (32_256, -32_256));
        assert_eq!(encode_mu(0), 0xff);
        assert_eq!(encode_a(0), 0xd5);
    }

    #[test]
    fn a_code_survives_the_round_trip() {
        for code in 0..=255_u8 {
            assert_eq!(encode_a(decode_a(code)), code, "A-law {code:#x}");
            // µ-law has two zeroes; the negative one comes back as the positive one.
            let expected = if code == 0x7f { 0xff } else { code };
            assert_eq!(encode_mu(decode_mu(code)), expected, "µ-law {code:#x}");
        }
    }

    #[test]
    fn the_error_stays_within_a_step() {
        for sample in (i16::MIN..=i16::MAX).step_by(7) {
            let magnitude = i32::from(sample).abs();
            let allowed = magnitude / 16 + 16;
            for decoded in [decode_mu(encode_mu(sample)), decode_a(encode_a(sample))] {
                let error = (i32::from(decoded) - i32::from(sample)).abs();
                assert!(error <= allowed, "{sample} came back as {decoded}");
            }
        }
    }
}
