//! Audio that we speak ourselves: G.711, G.722 and Opus, from samples to payloads and back.
//!
//! [`Format`] is the name of one of them; it makes an [`Encoder`] or a [`Decoder`] for one stream. All sound is mono,
//! in samples of 16 bits. Making one allocates; encoding and decoding do not.
//!
//! ```
//! # use media::codec::{Format, CodecError};
//! let mut encoder = Format::Pcma.encoder(8_000, None)?;
//! let mut decoder = Format::Pcma.decoder(8_000)?;
//! let (mut payload, mut samples) = ([0; 160], [0; 160]);
//! let bytes = encoder.encode(&[1_000; 160], &mut payload)?;
//! assert_eq!(decoder.decode(&payload[..bytes], &mut samples)?, 160);
//! # Ok::<(), CodecError>(())
//! ```

mod conceal;
pub mod g711;
pub mod g722;
pub mod opus;

#[cfg(test)]
mod tests;

use std::fmt;

use self::conceal::Concealer;
use crate::g711::Law;
use crate::sdp;

/// One of the formats that we speak.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum Format {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722 at 64 kbit/s.
    G722,
    /// Opus.
    Opus,
}

keep::keep!(enum Format { 0 = Pcmu, 1 = Pcma, 2 = G722, 3 = Opus });

impl Format {
    /// All of them, the ones that telephones like best first.
    pub const ALL: [Self; 4] = [Self::Pcmu, Self::Pcma, Self::G722, Self::Opus];

    /// The format that a description names, whatever its number; `None` when we do not speak it.
    pub fn of(codec: &sdp::Codec) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|format| format.described().same_encoding(codec))
    }

    /// How a description names it. Opus has no number of its own; this one is only usual.
    pub fn described(self) -> sdp::Codec {
        match self {
            Self::Pcmu => sdp::Codec::PCMU,
            Self::Pcma => sdp::Codec::PCMA,
            Self::G722 => sdp::Codec::G722,
            Self::Opus => sdp::Codec::opus(),
        }
    }

    /// Ticks per second of its RTP timestamps.
    pub fn clock_rate_hz(self) -> u32 {
        match self {
            // An old mistake that has become the standard: G.722 has twice as many samples (RFC 3551 §4.5.2).
            Self::Pcmu | Self::Pcma | Self::G722 => 8_000,
            Self::Opus => opus::CLOCK_RATE_HZ,
        }
    }

    /// Samples per second, where that is fixed. Opus takes the rate of whatever it is joined to.
    pub fn sample_rate_hz(self) -> Option<u32> {
        match self {
            Self::Pcmu | Self::Pcma => Some(crate::g711::SAMPLE_RATE_HZ),
            Self::G722 => Some(g722::SAMPLE_RATE_HZ),
            Self::Opus => None,
        }
    }

    /// A decoder of one stream. `sample_rate_hz` is granted by Opus only, whose rates are 8, 12, 16, 24 and 48 kHz;
    /// what the others give is said by [`Decoder::sample_rate_hz`].
    pub fn decoder(self, sample_rate_hz: u32) -> Result<Box<dyn Decoder>, CodecError> {
        Ok(match self {
            Self::Pcmu => Box::new(g711::G711Decoder::new(Law::Mu)),
            Self::Pcma => Box::new(g711::G711Decoder::new(Law::A)),
            Self::G722 => Box::new(g722::G722Decoder::default()),
            Self::Opus => Box::new(opus::OpusDecoder::new(sample_rate_hz)?),
        })
    }

    /// An encoder of one stream. `sample_rate_hz` as for a decoder; `parameters` are those the receiver gave in its
    /// `a=fmtp`.
    pub fn encoder(
        self,
        sample_rate_hz: u32,
        parameters: Option<&str>,
    ) -> Result<Box<dyn Encoder>, CodecError> {
        Ok(match self {
            Self::Pcmu => Box::new(g711::G711Encoder(Law::Mu)),
            Self::Pcma => Box::new(g711::G711Encoder(Law::A)),
            Self::G722 => Box::new(g722::G722Encoder::default()),
            Self::Opus => {
                let wishes = parameters.map(opus::OpusWishes::parse).unwrap_or_default();
                Box::new(opus::OpusEncoder::new(sample_rate_hz, wishes)?)
            }
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::Opus => "opus",
        })
    }
}

/// From payloads of one stream, in their order, to samples.
pub trait Decoder: fmt::Debug + Send {
    /// Samples per second that come out.
    fn sample_rate_hz(&self) -> u32;

    /// How many samples a payload holds.
    fn samples_in(&self, payload: &[u8]) -> Result<usize, CodecError>;

    /// Decodes a payload into the beginning of `samples` and says how many they are.
    fn decode(&mut self, payload: &[u8], samples: &mut [i16]) -> Result<usize, CodecError>;

    /// Fills `samples` in place of a payload that was lost. `next` is the payload behind the loss, where that is known:
    /// it may hold a copy. It is to be decoded afterwards all the same.
    fn conceal(&mut self, next: Option<&[u8]>, samples: &mut [i16]);
}

/// From samples to the payloads of one stream.
pub trait Encoder: fmt::Debug + Send {
    /// Samples per second that go in.
    fn sample_rate_hz(&self) -> u32;

    /// Encodes one frame into the beginning of `payload` and says how many bytes that took. A frame of 10, 20, 40 or
    /// 60 ms suits every format, one of any even number of samples all but Opus.
    fn encode(&mut self, samples: &[i16], payload: &mut [u8]) -> Result<usize, CodecError>;
}

/// Why nothing was encoded or decoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CodecError {
    /// The payload is not of this format.
    Malformed,
    /// The result is longer than the room for it.
    NoRoom,
    /// The format has no frames of this length.
    FrameSize,
    /// The format has no such sample rate.
    SampleRate,
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "payload is not of this format",
            Self::NoRoom => "no room for the result",
            Self::FrameSize => "no frames of this length in this format",
            Self::SampleRate => "no such sample rate in this format",
        })
    }
}

impl std::error::Error for CodecError {}
