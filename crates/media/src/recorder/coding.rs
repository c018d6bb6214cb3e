//! What the payload of a packet is.

use crate::codec::Format;
use crate::sdp::Codec;

/// Payload type of comfort noise at 8 kHz (RFC 3551 §6).
const COMFORT_NOISE: u8 = 13;

/// What a payload is, as far as a recorder has to know.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Coding {
    /// Sound in a format that we speak.
    Sound(Format),
    /// A key press (RFC 4733).
    TelephoneEvent,
    /// What silence sounds like at the far end (RFC 3389).
    ComfortNoise,
    /// Anything else.
    #[default]
    Other,
}

keep::keep!(enum Coding { 0 = Sound(format), 1 = TelephoneEvent, 2 = ComfortNoise, 3 = Other });

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
        if payload_type == COMFORT_NOISE {
            return Self::ComfortNoise;
        }
        // Opus has no number of its own.
        let fixed = [Format::Pcmu, Format::Pcma, Format::G722];
        fixed
            .into_iter()
            .find(|format| format.described().payload_type == payload_type)
            .map_or(Self::Other, Self::Sound)
    }

    /// What a codec of a session description is.
    pub fn of(codec: &Codec) -> Self {
        if codec.is_telephone_event() {
            Self::TelephoneEvent
        } else if !codec.is_media() {
            Self::ComfortNoise
        } else {
            Format::of(codec).map_or(Self::Other, Self::Sound)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_without_a_name() {
        let cases = [
            (0, Coding::Sound(Format::Pcmu)),
            (8, Coding::Sound(Format::Pcma)),
            (9, Coding::Sound(Format::G722)),
            (13, Coding::ComfortNoise),
            (18, Coding::Other),
            (96, Coding::Other),
        ];
        for (payload_type, coding) in cases {
            assert_eq!(Coding::implied(payload_type), coding, "{payload_type}");
        }
    }
}
