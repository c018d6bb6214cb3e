//! Opus (RFC 6716) and its RTP payload (RFC 7587).
//!
//! The RTP clock runs at 48 000 Hz whatever the sound is. Inside, encoder and decoder take the rate of the codec on
//! the other side, 8 000 or 16 000 Hz: Opus codes telephone speech at just these rates, so that converting to 48 000 Hz
//! first would cost time and add nothing.

use opus_rs::{Application, OpusDecoder as Inner, OpusEncoder as InnerEncoder};

use super::{CodecError, Decoder, Encoder};

/// Ticks per second of the timestamps.
pub const CLOCK_RATE_HZ: u32 = 48_000;

/// The most one packet may hold (RFC 6716 §3.2.5).
const PACKET_MS_MAX: usize = 120;

/// Work per frame on a scale of 0 to 10: the middle costs half as much as the top and is hard to tell from it on speech.
const COMPLEXITY: i32 = 5;

/// Bits per second, unless the receiver wants fewer. More than RFC 7587 §3.1.1 recommends for speech: at its 12 000 the
/// tones of a telephone network (ringing, announcements' bells, modems) come out blurred.
const BITS_PER_SECOND: i32 = 24_000;

/// Below this there is nothing to understand (RFC 7587 §6.1: 6000 is the lowest value that means anything).
const BITS_PER_SECOND_MIN: i32 = 6_000;

/// With correction of losses asked for, we assume some: it decides how many bits the copies get.
const ASSUMED_LOSS_PERCENT: i32 = 5;

/// What a receiver asks of us in its `a=fmtp` (RFC 7587 §6.1), as far as it concerns mono speech.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct OpusWishes {
    /// `maxaveragebitrate`, in bits per second.
    pub bits_per_second_max: Option<u32>,
    /// `cbr`: every packet of the same size.
    pub constant: bool,
    /// `useinbandfec`: packets may carry a coarse copy of the one before.
    pub correction: bool,
}

impl OpusWishes {
    /// Reads the value of `a=fmtp` behind the payload type. What it does not say, or not in order, is not wished.
    pub fn parse(parameters: &str) -> Self {
        let mut wishes = Self::default();
        for parameter in parameters.split(';') {
            let Some((name, value)) = parameter.split_once('=') else {
                continue;
            };
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "maxaveragebitrate" => wishes.bits_per_second_max = value.parse().ok(),
                "cbr" => wishes.constant = value == "1",
                "useinbandfec" => wishes.correction = value == "1",
                _ => {}
            }
        }
        wishes
    }
}

/// Encodes one stream.
pub struct OpusEncoder {
    inner: Box<InnerEncoder>,
    sample_rate_hz: u32,
}

impl OpusEncoder {
    /// An encoder for one of the rates of Opus.
    pub fn new(sample_rate_hz: u32, wishes: OpusWishes) -> Result<Self, CodecError> {
        let mut inner = InnerEncoder::new(sample_rate_hz as i32, 1, Application::Voip)
            .map_err(|_| CodecError::SampleRate)?;
        let allowed = wishes
            .bits_per_second_max
            .and_then(|most| i32::try_from(most).ok())
            .unwrap_or(BITS_PER_SECOND);
        inner.bitrate_bps = allowed.clamp(BITS_PER_SECOND_MIN, BITS_PER_SECOND);
        inner.complexity = COMPLEXITY;
        inner.use_cbr = wishes.constant;
        inner.use_inband_fec = wishes.correction;
        inner.packet_loss_perc = if wishes.correction {
            ASSUMED_LOSS_PERCENT
        } else {
            0
        };
        Ok(Self {
            inner: Box::new(inner),
            sample_rate_hz,
        })
    }
}

impl Encoder for OpusEncoder {
    fn sample_rate_hz(&self) -> u32 {
        self.sample_rate_hz
    }

    fn encode(&mut self, samples: &[i16], payload: &mut [u8]) -> Result<usize, CodecError> {
        let ten_ms = self.sample_rate_hz as usize / 100;
        let whole = samples.len().is_multiple_of(ten_ms);
        if !whole || !matches!(samples.len() / ten_ms, 1 | 2 | 4 | 6) {
            return Err(CodecError::FrameSize);
        }
        self.inner
            .encode_i16(samples, samples.len(), payload)
            .map_err(|_| CodecError::NoRoom)
    }
}

/// Decodes one stream, stereo mixed down to mono.
pub struct OpusDecoder {
    inner: Box<Inner>,
    sample_rate_hz: u32,
    /// What the library decodes into.
    scratch: Box<[f32]>,
}

impl OpusDecoder {
    /// A decoder for one of the rates of Opus.
    pub fn new(sample_rate_hz: u32) -> Result<Self, CodecError> {
        let inner = Inner::new(sample_rate_hz as i32, 1).map_err(|_| CodecError::SampleRate)?;
        let scratch = vec![0.0; sample_rate_hz as usize * PACKET_MS_MAX / 1000];
        Ok(Self {
            inner: Box::new(inner),
            sample_rate_hz,
            scratch: scratch.into(),
        })
    }

    /// Samples of a frame by the first byte of a packet (RFC 6716 §3.1).
    fn frame_samples(&self, first: u8) -> usize {
        let rate = self.sample_rate_hz as usize;
        let halves_of_5_ms = match first >> 3 {
            configuration @ 0..12 => [4, 8, 16, 24][usize::from(configuration & 3)],
            configuration @ 12..16 => [4, 8][usize::from(configuration & 1)],
            configuration => [1, 2, 4, 8][usize::from(configuration & 3)],
        };
        rate / 400 * halves_of_5_ms
    }
}

impl Decoder for OpusDecoder {
    fn sample_rate_hz(&self) -> u32 {
        self.sample_rate_hz
    }

    fn samples_in(&self, payload: &[u8]) -> Result<usize, CodecError> {
        let first = payload.first().ok_or(CodecError::Malformed)?;
        let frames = match first & 3 {
            0 => 1,
            1 | 2 => 2,
            _ => usize::from(payload.get(1).ok_or(CodecError::Malformed)? & 0x3f),
        };
        let samples = frames * self.frame_samples(*first);
        if frames == 0 || samples > self.scratch.len() {
            return Err(CodecError::Malformed);
        }
        Ok(samples)
    }

    fn decode(&mut self, payload: &[u8], samples: &mut [i16]) -> Result<usize, CodecError> {
        let count = self.samples_in(payload)?;
        let samples = samples.get_mut(..count).ok_or(CodecError::NoRoom)?;
        let scratch = &mut self.scratch[..count];
        let decoded = self
            .inner
            .decode(payload, count, scratch)
            .map_err(|_| CodecError::Malformed)?;
        to_pcm(&scratch[..decoded], samples);
        Ok(decoded)
    }

    fn conceal(&mut self, next: Option<&[u8]>, samples: &mut [i16]) {
        let longest = self.scratch.len();
        // Opus counts in pieces of 2.5 ms; what is left over of one stays silent.
        let piece = self.sample_rate_hz as usize / 400;
        let whole = samples.len() / piece * piece;
        samples[whole..].fill(0);
        let mut pieces = samples[..whole].chunks_mut(longest).peekable();
        while let Some(samples) = pieces.next() {
            let scratch = &mut self.scratch[..samples.len()];
            // The packet behind the loss may hold a copy of its last frame.
            let copied = next.filter(|_| pieces.peek().is_none());
            let concealed = match copied {
                Some(next) => self.inner.decode_fec(next, samples.len(), scratch),
                None => self.inner.decode(&[], samples.len(), scratch),
            };
            match concealed {
                Ok(count) => {
                    to_pcm(&scratch[..count], samples);
                    samples[count..].fill(0);
                }
                Err(_) => samples.fill(0),
            }
        }
    }
}

/// As the reference decoder rounds.
fn to_pcm(from: &[f32], to: &mut [i16]) {
    for (sample, value) in to.iter_mut().zip(from) {
        *sample = (value * 32_768.0).round_ties_even() as i16;
    }
}

impl std::fmt::Debug for OpusEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpusEncoder")
            .field("sample_rate_hz", &self.sample_rate_hz)
            .field("bits_per_second", &self.inner.bitrate_bps)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for OpusDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpusDecoder")
            .field("sample_rate_hz", &self.sample_rate_hz)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_read_and_nonsense_is_not() {
        let wishes = OpusWishes::parse("maxaveragebitrate=20000; useinbandfec=1;cbr=0;stereo");
        let expected = OpusWishes {
            bits_per_second_max: Some(20_000),
            constant: false,
            correction: true,
        };
        assert_eq!(wishes, expected);
        assert_eq!(
            OpusWishes::parse("maxaveragebitrate=-1;;=;x=y"),
            OpusWishes::default()
        );
        for most in [0, 20_000, u32::MAX] {
            let bits_per_second_max = Some(most);
            let wishes = OpusWishes {
                bits_per_second_max,
                ..wishes
            };
            let encoder = OpusEncoder::new(16_000, wishes).expect("a rate of Opus");
            assert!((6_000..=24_000).contains(&encoder.inner.bitrate_bps));
        }
    }

    #[test]
    fn the_first_bytes_tell_the_length() {
        let decoder = OpusDecoder::new(8_000).expect("a rate of Opus");
        // Configuration, frames, samples at 8 kHz.
        for (first, rest, samples) in [
            (0 << 3, None, Some(80)),
            (1 << 3 | 1, None, Some(320)),
            (3 << 3 | 2, None, Some(960)),
            (13 << 3, None, Some(160)),
            (16 << 3, None, Some(20)),
            (31 << 3 | 3, Some(6), Some(960)),
            (31 << 3 | 3, Some(7), None),
            (31 << 3 | 3, Some(0), None),
            (31 << 3 | 3, None, None),
        ] {
            let packet: Vec<u8> = std::iter::once(first).chain(rest).collect();
            assert_eq!(decoder.samples_in(&packet).ok(), samples, "{packet:?}");
        }
        assert_eq!(decoder.samples_in(&[]), Err(CodecError::Malformed));
    }

    #[test]
    fn rates_that_opus_has_not_are_refused() {
        assert_eq!(OpusDecoder::new(44_100).err(), Some(CodecError::SampleRate));
        let wishes = OpusWishes::default();
        assert_eq!(
            OpusEncoder::new(0, wishes).err(),
            Some(CodecError::SampleRate)
        );
    }
}
