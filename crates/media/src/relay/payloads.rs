//! What the payload types of one sender mean, as far as measuring needs it.

use crate::recorder::{Coding, Meaning};
use crate::rtp;
use crate::sdp::MediaLine;
use keep::{Damaged, Keep, Reader, Writer};
use std::sync::LazyLock;

/// No payload type, so that a list of them can end with it.
const NO_MORE: u8 = 0xff;

/// Clock when nothing better is known: that of every telephony codec.
const DEFAULT_CLOCK_RATE_HZ: u32 = 8_000;

/// Clock rates and codings by payload type, and which types are key presses.
#[derive(Clone, Eq, PartialEq)]
pub struct Payloads {
    clock_rate_hz: [u32; 128],
    codings: [Coding; 128],
    /// One bit per payload type.
    telephone_events: u128,
}

/// What everybody knows, worked out once.
static USUAL: LazyLock<Payloads> = LazyLock::new(Payloads::worked_out);

impl std::fmt::Debug for Payloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let events: Vec<_> = (0..128_u8)
            .filter(|kind| self.is_telephone_event(*kind))
            .collect();
        f.debug_struct("Payloads")
            .field("telephone_events", &events)
            .finish_non_exhaustive()
    }
}

impl Default for Payloads {
    fn default() -> Self {
        USUAL.clone()
    }
}

impl Payloads {
    fn worked_out() -> Self {
        let mut payloads = Self {
            clock_rate_hz: [DEFAULT_CLOCK_RATE_HZ; 128],
            codings: [Coding::Other; 128],
            telephone_events: 0,
        };
        for payload_type in 0..128_u8 {
            let at = usize::from(payload_type);
            payloads.clock_rate_hz[at] =
                rtp::static_clock_rate(payload_type).unwrap_or(DEFAULT_CLOCK_RATE_HZ);
            payloads.codings[at] = Coding::implied(payload_type);
        }
        payloads
    }
}

// Those that somebody described; of the others everybody knows.
impl Keep for Payloads {
    fn keep(&self, out: &mut Writer) {
        let Self {
            clock_rate_hz,
            codings,
            telephone_events,
        } = self;
        let usual = &*USUAL;
        telephone_events.keep(out);
        for at in 0..128 {
            if clock_rate_hz[at] != usual.clock_rate_hz[at] || codings[at] != usual.codings[at] {
                out.byte(at as u8);
                clock_rate_hz[at].keep(out);
                codings[at].keep(out);
            }
        }
        out.byte(NO_MORE);
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut payloads = Self {
            telephone_events: u128::kept(input)?,
            ..Self::default()
        };
        loop {
            let at = usize::from(input.byte()?);
            if at >= 128 {
                return Ok(payloads);
            }
            payloads.clock_rate_hz[at] = u32::kept(input)?.max(1);
            payloads.codings[at] = Coding::kept(input)?;
        }
    }
}

impl Payloads {
    /// Reads the codecs of a media line.
    pub fn of(line: &MediaLine) -> Self {
        let mut payloads = Self::default();
        for codec in line.codecs() {
            let at = usize::from(codec.payload_type & 0x7f);
            // RFC 3551 §4.5.2: a clock rate is never zero, and dividing by it is our business.
            payloads.clock_rate_hz[at] = codec.clock_rate_hz.max(1);
            payloads.codings[at] = Coding::of(&codec);
            if codec.is_telephone_event() {
                payloads.telephone_events |= 1 << at;
            }
        }
        payloads
    }

    /// Ticks per second of the timestamps of a payload type.
    pub fn clock_rate_hz(&self, payload_type: u8) -> u32 {
        self.clock_rate_hz[usize::from(payload_type & 0x7f)]
    }

    /// What a recorder has to know of a payload type.
    pub fn meaning(&self, payload_type: u8) -> Meaning {
        Meaning {
            coding: self.codings[usize::from(payload_type & 0x7f)],
            clock_rate_hz: self.clock_rate_hz(payload_type),
        }
    }

    /// Whether packets of this type are key presses (RFC 4733).
    pub fn is_telephone_event(&self, payload_type: u8) -> bool {
        self.telephone_events >> (payload_type & 0x7f) & 1 == 1
    }
}
