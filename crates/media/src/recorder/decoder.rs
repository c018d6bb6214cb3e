//! Payloads to samples.

use std::fmt;

use crate::g711::{Law, PCMA, PCMU};
use crate::sdp::Codec;

/// Payload type of G.722 (RFC 3551 §6).
const G722: u8 = 9;

/// Payload type of comfort noise at 8 kHz.
const COMFORT_NOISE: u8 = 13;

/// What a payload is, as far as a recorder has to know.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Coding {
    /// G.711.
    G711(Law),
    /// G.722.
    G722,
    /// Opus (RFC 7587).
    Opus,
    /// A key press (RFC 4733).
    TelephoneEvent,
    /// What silence sounds like at the far end (RFC 3389).
    ComfortNoise,
    /// Anything else.
    #[default]
    Other,
}

/// What the payload type of a packet means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Meaning {
    /// What the payload is.
    pub coding: Coding,
    /// Ticks per second of its timestamps; not zero.
    pub clock_rate_hz: u32,
}

impl Coding {
    /// What a payload type means that nobody described (RFC 3551 §6).
    pub fn implied(payload_type: u8) -> Self {
        match payload_type {
            PCMU => Self::G711(Law::Mu),
            PCMA => Self::G711(Law::A),
            G722 => Self::G722,
            COMFORT_NOISE => Self::ComfortNoise,
            _ => Self::Other,
        }
    }

    /// What a codec of a session description is.
    pub fn of(codec: &Codec) -> Self {
        let is = |name: &str| codec.name.eq_ignore_ascii_case(name);
        let narrow = codec.clock_rate_hz == 8_000 && codec.channels == 1;
        if codec.is_telephone_event() {
            Self::TelephoneEvent
        } else if is("CN") {
            Self::ComfortNoise
        } else if is("opus") {
            Self::Opus
        } else if is("PCMU") && narrow {
            Self::G711(Law::Mu)
        } else if is("PCMA") && narrow {
            Self::G711(Law::A)
        } else if is("G722") && narrow {
            Self::G722
        } else {
            Self::Other
        }
    }

    /// Whether it carries sound. What does not leaves silence behind, on purpose.
    pub(super) fn is_sound(self) -> bool {
        !matches!(self, Self::TelephoneEvent | Self::ComfortNoise)
    }

    /// A decoder for a stream of this coding; `None` when there is none for it.
    pub(super) fn decoder(self) -> Option<Box<dyn Decoder>> {
        match self {
            Self::G711(law) => Some(Box::new(law)),
            Self::G722 | Self::Opus | Self::TelephoneEvent | Self::ComfortNoise | Self::Other => {
                None
            }
        }
    }
}

/// Decodes one stream, packet by packet in order. What was lost in between it is not told.
pub trait Decoder: fmt::Debug + Send {
    /// Appends the samples of a payload, at [`SAMPLE_RATE_HZ`](super::SAMPLE_RATE_HZ) and of one channel. A payload that
    /// makes no sense appends nothing.
    fn decode(&mut self, payload: &[u8], samples: &mut Vec<i16>);
}

impl Decoder for Law {
    fn decode(&mut self, payload: &[u8], samples: &mut Vec<i16>) {
        samples.extend(payload.iter().map(|code| Law::decode(*self, *code)));
    }
}
