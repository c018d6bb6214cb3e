//! G.711 as a codec; the two laws themselves are in [`crate::g711`].

use super::{CodecError, Concealer, Decoder, Encoder};
use crate::g711::{self, Law, SAMPLE_RATE_HZ};

/// Encodes one stream.
#[derive(Debug)]
pub struct G711Encoder(pub Law);

/// Decodes one stream.
#[derive(Debug)]
pub struct G711Decoder {
    law: Law,
    concealer: Concealer,
}

impl G711Decoder {
    /// A decoder of one law.
    pub fn new(law: Law) -> Self {
        Self {
            law,
            concealer: Concealer::new(SAMPLE_RATE_HZ),
        }
    }
}

impl Encoder for G711Encoder {
    fn sample_rate_hz(&self) -> u32 {
        SAMPLE_RATE_HZ
    }

    fn encode(&mut self, samples: &[i16], payload: &mut [u8]) -> Result<usize, CodecError> {
        let payload = payload.get_mut(..samples.len()).ok_or(CodecError::NoRoom)?;
        let encode = match self.0 {
            Law::Mu => g711::encode_mu,
            Law::A => g711::encode_a,
        };
        for (code, sample) in payload.iter_mut().zip(samples) {
            *code = encode(*sample);
        }
        Ok(samples.len())
    }
}

impl Decoder for G711Decoder {
    fn sample_rate_hz(&self) -> u32 {
        SAMPLE_RATE_HZ
    }

    fn samples_in(&self, payload: &[u8]) -> Result<usize, CodecError> {
        Ok(payload.len())
    }

    fn decode(&mut self, payload: &[u8], samples: &mut [i16]) -> Result<usize, CodecError> {
        let samples = samples.get_mut(..payload.len()).ok_or(CodecError::NoRoom)?;
        for (sample, code) in samples.iter_mut().zip(payload) {
            *sample = self.law.decode(*code);
        }
        self.concealer.heard(samples);
        Ok(samples.len())
    }

    fn conceal(&mut self, _next: Option<&[u8]>, samples: &mut [i16]) {
        self.concealer.invent(samples);
    }
}
