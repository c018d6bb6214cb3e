//! What the payload types of one sender mean, as far as measuring needs it.

use crate::recorder::{Coding, Meaning};
use crate::rtp;
use crate::sdp::MediaLine;
use keep::{Damaged, Keep, Reader, Writer};

/// No payload type, so that a list of them can end with it.
const NO_MORE: u8 = 0xff;

/// How many payload types there are; the bit above them is the marker.
const TYPES: u8 = 128;
const LAST_TYPE: u8 = TYPES - 1;

/// Clock when nothing better is known: that of every telephony codec.
const DEFAULT_CLOCK_RATE_HZ: u32 = 8_000;

/// What the payload types of one sender mean. What everybody knows of a type is not kept: of a usual description one
/// or two types are left, and every stream of every call has a list.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Payloads {
    /// Those that mean something of their own, by number, each once.
    described: Box<[Described]>,
}

/// A payload type that means something else than everybody knows.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Described {
    clock_rate_hz: u32,
    payload_type: u8,
    coding: Coding,
}

impl std::fmt::Debug for Payloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let events: Vec<_> = self.telephone_events().collect();
        f.debug_struct("Payloads")
            .field("telephone_events", &events)
            .finish_non_exhaustive()
    }
}

// In front, one bit for each type that is a key press: who reads it knows that from the codings too, but the form is
// older than the list.
impl Keep for Payloads {
    fn keep(&self, out: &mut Writer) {
        let Self { described } = self;
        let events = self
            .telephone_events()
            .fold(0_u128, |bits, event| bits | 1 << event);
        events.keep(out);
        for Described {
            clock_rate_hz,
            payload_type,
            coding,
        } in described
        {
            out.byte(*payload_type);
            clock_rate_hz.keep(out);
            coding.keep(out);
        }
        out.byte(NO_MORE);
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        u128::kept(input)?;
        let mut described = Vec::new();
        loop {
            let payload_type = input.byte()?;
            if payload_type >= TYPES {
                return Ok(Self::from_described(described));
            }
            let clock_rate_hz = u32::kept(input)?.max(1);
            let coding = Coding::kept(input)?;
            describe(&mut described, payload_type, clock_rate_hz, coding);
        }
    }
}

impl Payloads {
    /// Reads the codecs of a media line.
    pub fn of(line: &MediaLine) -> Self {
        let mut described = Vec::new();
        for codec in line.codecs() {
            describe(
                &mut described,
                codec.payload_type & LAST_TYPE,
                // RFC 3551 §4.5.2: a clock rate is never zero, and dividing by it is our business.
                codec.clock_rate_hz.max(1),
                Coding::of(&codec),
            );
        }
        Self::from_described(described)
    }

    /// Ticks per second of the timestamps of a payload type.
    pub fn clock_rate_hz(&self, payload_type: u8) -> u32 {
        self.meaning(payload_type).clock_rate_hz
    }

    /// What a recorder has to know of a payload type.
    pub fn meaning(&self, payload_type: u8) -> Meaning {
        let payload_type = payload_type & LAST_TYPE;
        let described = self
            .described
            .iter()
            .find(|described| described.payload_type == payload_type);
        described.map_or_else(
            || implied(payload_type),
            |described| Meaning {
                coding: described.coding,
                clock_rate_hz: described.clock_rate_hz,
            },
        )
    }

    /// Whether packets of this type are key presses (RFC 4733).
    pub fn is_telephone_event(&self, payload_type: u8) -> bool {
        self.meaning(payload_type).coding == Coding::TelephoneEvent
    }

    fn telephone_events(&self) -> impl Iterator<Item = u8> {
        let events = self.described.iter();
        let events = events.filter(|described| described.coding == Coding::TelephoneEvent);
        events.map(|described| described.payload_type)
    }

    fn from_described(mut described: Vec<Described>) -> Self {
        described.retain(|described| {
            let usual = implied(described.payload_type);
            (described.coding, described.clock_rate_hz) != (usual.coding, usual.clock_rate_hz)
        });
        described.sort_by_key(|described| described.payload_type);
        Self {
            described: described.into_boxed_slice(),
        }
    }
}

/// Notes what a type means. Of a type that is described twice, the last word counts.
fn describe(described: &mut Vec<Described>, payload_type: u8, clock_rate_hz: u32, coding: Coding) {
    described.retain(|before| before.payload_type != payload_type);
    described.push(Described {
        clock_rate_hz,
        payload_type,
        coding,
    });
}

/// What a type means that nobody described.
fn implied(payload_type: u8) -> Meaning {
    Meaning {
        coding: Coding::implied(payload_type),
        clock_rate_hz: rtp::static_clock_rate(payload_type).unwrap_or(DEFAULT_CLOCK_RATE_HZ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Format;
    use crate::sdp::Session;
    use keep::Base;
    use std::time::Instant;

    fn payloads(formats: &str, lines: &str) -> Payloads {
        let text = format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP {formats}\r\n{lines}"
        );
        let session = Session::parse(text.as_bytes()).expect("a description in order");
        Payloads::of(&session.media[0])
    }

    #[test]
    fn what_everybody_knows_is_not_kept() {
        let usual = payloads("0 8 9 13", "a=rtpmap:0 PCMU/8000\r\n");
        assert_eq!(usual, Payloads::default());
        assert!(usual.described.is_empty());
        for payload_type in 0..TYPES {
            assert_eq!(usual.meaning(payload_type), implied(payload_type));
        }
    }

    #[test]
    fn what_was_described_counts_with_and_without_the_marker() {
        let payloads = payloads(
            "96 8 101",
            "a=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n",
        );
        assert_eq!(payloads.described.len(), 2);
        for marker in [0, 0x80] {
            assert_eq!(payloads.clock_rate_hz(96 | marker), 48_000);
            let opus = Coding::Sound(Format::Opus);
            assert_eq!(payloads.meaning(96 | marker).coding, opus);
            assert!(payloads.is_telephone_event(101 | marker));
            assert!(!payloads.is_telephone_event(8 | marker));
        }
    }

    #[test]
    fn a_type_that_is_described_twice_is_what_was_said_last() {
        let mut described = Vec::new();
        describe(&mut described, 101, 48_000, Coding::TelephoneEvent);
        describe(&mut described, 96, 16_000, Coding::Other);
        describe(&mut described, 101, 8_000, Coding::Other);
        let payloads = Payloads::from_described(described);
        assert!(!payloads.is_telephone_event(101));
        // The same as nobody has to say.
        assert_eq!(payloads.described.len(), 1);
    }

    #[test]
    fn the_saved_form_begins_with_the_key_presses() {
        let base = Base {
            now: Instant::now(),
            unix_ms: 0,
        };
        let payloads = payloads("101", "a=rtpmap:101 telephone-event/16000\r\n");
        let mut out = Writer::over(Vec::new(), base);
        payloads.keep(&mut out);
        let bytes = out.into_bytes();
        let mut input = Reader::new(&bytes, base);
        assert_eq!(u128::kept(&mut input), Ok(1 << 101));
        assert_eq!(Payloads::kept(&mut Reader::new(&bytes, base)), Ok(payloads));
    }
}
