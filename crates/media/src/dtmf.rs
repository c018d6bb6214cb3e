//! Key presses as telephone events (RFC 4733).
//!
//! One press is a run of packets that share an RTP timestamp: updates while the key is down, then
//! the end, sent three times because the last packet is the one that must not be lost.

use std::fmt;

/// Times the packet that ends a press is sent (RFC 4733 §2.5.1.4).
pub const END_REPEATS: usize = 3;

/// Bytes of an event payload.
pub const EVENT_BYTES: usize = 4;

/// A DTMF key: event codes 0 to 15.
#[derive(Clone, Copy, Eq, PartialEq, Hash)]
pub struct Digit(u8);

const KEYS: &[u8; 16] = b"0123456789*#ABCD";

impl Digit {
    /// The digit of a character: `0`–`9`, `*`, `#`, `A`–`D` in either case.
    pub fn from_char(key: char) -> Option<Self> {
        let key = u8::try_from(key).ok()?.to_ascii_uppercase();
        KEYS.iter()
            .position(|known| *known == key)
            .map(|code| Self(code as u8))
    }

    /// The character on the key.
    pub fn as_char(self) -> char {
        char::from(KEYS[usize::from(self.0)])
    }

    /// The event code on the wire.
    pub fn code(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Digit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_char())
    }
}

impl fmt::Debug for Digit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digit({})", self.as_char())
    }
}

/// The payload of one telephone-event packet (RFC 4733 §2.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Event {
    /// Which event; 0–15 are digits, 16 is a hook flash, others are tones and signals.
    pub code: u8,
    /// The key is up again.
    pub end: bool,
    /// Power below full scale in dB, 0..=63.
    pub volume_db: u8,
    /// How long the event has lasted so far, in ticks of the RTP clock.
    pub duration_ticks: u16,
}

impl Event {
    /// Reads the first event of a payload.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (event, _) = payload.split_first_chunk::<EVENT_BYTES>()?;
        Some(Self {
            code: event[0],
            end: event[1] & 0x80 != 0,
            volume_db: event[1] & 0x3f,
            duration_ticks: u16::from_be_bytes([event[2], event[3]]),
        })
    }

    /// The payload of this event.
    pub fn write(&self) -> [u8; EVENT_BYTES] {
        let [high, low] = self.duration_ticks.to_be_bytes();
        [
            self.code,
            u8::from(self.end) << 7 | self.volume_db & 0x3f,
            high,
            low,
        ]
    }

    /// The same event for a clock of another rate. One that has lasted longer than the other clock can say, 1.3 s at
    /// 48 kHz, is said to have lasted as long as that.
    pub fn on_clock(self, from_hz: u32, to_hz: u32) -> Self {
        let ticks = u64::from(self.duration_ticks) * u64::from(to_hz) / u64::from(from_hz.max(1));
        Self {
            duration_ticks: u16::try_from(ticks).unwrap_or(u16::MAX),
            ..self
        }
    }

    /// The digit, if the event is one.
    pub fn digit(&self) -> Option<Digit> {
        (usize::from(self.code) < KEYS.len()).then_some(Digit(self.code))
    }
}

/// The payloads of one press, to be sent one per packet interval under one timestamp.
///
/// `interval_ticks` is what a packet covers (160 for 20 ms at 8 kHz). A press is at least one
/// interval long and at most as long as one event can say, about 8 s.
pub fn press(
    digit: Digit,
    duration_ticks: u16,
    interval_ticks: u16,
) -> impl Iterator<Item = Event> {
    let interval_ticks = interval_ticks.max(1);
    let duration_ticks = duration_ticks.max(interval_ticks);
    let at = move |duration_ticks, end| Event {
        code: digit.0,
        end,
        volume_db: 10,
        duration_ticks,
    };
    (1..duration_ticks.div_ceil(interval_ticks))
        .map(move |step| at(step * interval_ticks, false))
        .chain(std::iter::repeat_n(at(duration_ticks, true), END_REPEATS))
}

/// Recognises where one press ends and the next begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct PressDetector {
    current: Option<(u32, u32, u8)>,
}

impl PressDetector {
    /// The digit of a press not seen before, whichever of its packets arrived first.
    ///
    /// A press is known by its stream, timestamp and key; the repeated and the reordered packets
    /// of the current one give nothing.
    pub fn observe(&mut self, ssrc: u32, timestamp: u32, event: Event) -> Option<Digit> {
        let press = (ssrc, timestamp, event.code);
        if self.current == Some(press) {
            return None;
        }
        // A late packet of the press before the current one is not a new press.
        let late = self.current.is_some_and(|(stream, latest, _)| {
            stream == ssrc && (timestamp.wrapping_sub(latest) as i32) < 0
        });
        if late {
            return None;
        }
        self.current = Some(press);
        event.digit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_one_code() {
        for (code, key) in "0123456789*#ABCD".chars().enumerate() {
            let digit = Digit::from_char(key).expect("known key");
            assert_eq!((usize::from(digit.code()), digit.as_char()), (code, key));
        }
        assert_eq!(Digit::from_char('a'), Digit::from_char('A'));
        assert_eq!(Digit::from_char('E'), None);
        assert_eq!(Digit::from_char('é'), None);
    }

    #[test]
    fn an_event_reads_back() {
        let event = Event {
            code: 11,
            end: true,
            volume_db: 63,
            duration_ticks: 1600,
        };
        assert_eq!(Event::parse(&event.write()), Some(event));
        assert_eq!(Event::parse(&[1, 2, 3]), None);
    }

    #[test]
    fn an_event_lasts_as_long_on_another_clock() {
        let event = Event::parse(&[5, 10, 0x06, 0x40]).expect("an event");
        assert_eq!(event.on_clock(8_000, 48_000).duration_ticks, 9_600);
        assert_eq!(event.on_clock(48_000, 8_000).duration_ticks, 266);
        assert_eq!(event.on_clock(8_000, 8_000), event);
        assert_eq!(event.on_clock(100, 48_000).duration_ticks, u16::MAX);
        assert_eq!(event.on_clock(0, 1).duration_ticks, 1600);
    }

    #[test]
    fn a_press_grows_and_ends_three_times() {
        let digit = Digit::from_char('5').expect("known key");
        let durations: Vec<_> = press(digit, 400, 160)
            .map(|event| (event.duration_ticks, event.end))
            .collect();
        assert_eq!(
            durations,
            [
                (160, false),
                (320, false),
                (400, true),
                (400, true),
                (400, true)
            ]
        );
        assert_eq!(press(digit, 0, 160).count(), END_REPEATS);
        assert_eq!(
            press(digit, u16::MAX, 1).count(),
            usize::from(u16::MAX) - 1 + END_REPEATS
        );
    }

    #[test]
    fn a_press_is_counted_once() {
        let mut detector = PressDetector::default();
        let digit = Digit::from_char('5').expect("known key");
        let heard = |detector: &mut PressDetector, timestamp| {
            press(digit, 480, 160)
                .filter_map(|event| detector.observe(9, timestamp, event))
                .count()
        };
        assert_eq!(heard(&mut detector, 1000), 1);
        assert_eq!(heard(&mut detector, 2000), 1, "the same key again");
        assert_eq!(
            heard(&mut detector, 1000),
            0,
            "stragglers of the first press"
        );
    }
}
