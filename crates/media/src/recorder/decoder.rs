//! Payloads to samples of the recording's rate.

use super::SAMPLE_RATE_HZ;
use crate::codec::{Decoder, Format};
use crate::resample::Resampler;

/// Samples of one packet at most, before they are narrowed: a datagram full of G.722. Every packet of Opus, 120 ms at
/// the most, fits as well.
const PACKET_SAMPLES_MAX: usize = 3_072;

/// Decodes one stream.
#[derive(Debug)]
pub(super) struct Narrow {
    format: Format,
    decoder: Box<dyn Decoder>,
    resampler: Resampler,
    /// As they come out of the decoder, and as they are recorded.
    samples: Box<[[i16; PACKET_SAMPLES_MAX]; 2]>,
}

impl Narrow {
    /// A decoder for a stream of this format.
    pub(super) fn new(format: Format) -> Option<Self> {
        let decoder = format.decoder(SAMPLE_RATE_HZ).ok()?;
        let resampler = Resampler::new(decoder.sample_rate_hz(), SAMPLE_RATE_HZ)?;
        Some(Self {
            format,
            decoder,
            resampler,
            samples: Box::new([[0; PACKET_SAMPLES_MAX]; 2]),
        })
    }

    /// What it decodes.
    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// The samples of a payload; none when it makes no sense.
    pub(super) fn decode(&mut self, payload: &[u8]) -> &[i16] {
        let [decoded, narrow] = &mut *self.samples;
        let count = self.decoder.decode(payload, decoded).unwrap_or(0);
        let count = self.resampler.convert(&decoded[..count], narrow);
        &narrow[..count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone::{Sine, tone_share};

    #[test]
    fn every_format_becomes_eight_thousand_samples_a_second() {
        for format in Format::ALL {
            let mut encoder = format.encoder(16_000, None).expect("an encoder");
            let rate = encoder.sample_rate_hz();
            let mut narrow = Narrow::new(format).expect("a decoder");
            let tone: Vec<i16> = Sine::new(1_000.0, rate, 0.5).take(rate as usize).collect();
            let mut heard = Vec::new();
            for frame in tone.chunks(rate as usize / 50) {
                let mut payload = [0; 1_500];
                let bytes = encoder.encode(frame, &mut payload).expect("encoded");
                heard.extend_from_slice(narrow.decode(&payload[..bytes]));
            }
            assert_eq!(heard.len(), 8_000, "{format}");
            let share = tone_share(&heard[1_000..], 1_000.0, SAMPLE_RATE_HZ);
            assert!(share > 0.98, "{format}: {share}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_no_sound() {
        let mut narrow = Narrow::new(Format::Opus).expect("a decoder");
        assert!(narrow.decode(&[]).is_empty());
        assert!(narrow.decode(&[0xff; 3]).is_empty());
        let mut narrow = Narrow::new(Format::Pcmu).expect("a decoder");
        assert!(narrow.decode(&[0; 60_000]).is_empty());
    }
}
