//! What becomes of the packets of one side on their way to the other, by the numbers they come with.
//!
//! A sender uses the payload types of the description it was *given*, a receiver understands those of the description
//! it *made*. Mostly these are the same formats under the same numbers, and packets pass as they are. Where we offered a
//! format that the receiver does not have, they have to be converted.

use crate::codec::Format;
use crate::g711::Law;
use crate::sdp::{Codec, MediaLine};

/// Milliseconds of audio in a packet of ours, where the receiver does not say.
const FRAME_MS: u32 = 20;

/// Longest packet we make. More would be a delay that is heard.
const FRAME_MS_MAX: u32 = 60;

/// Everything that packets of one side need in order to be understood by the other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Conversion {
    /// What is encoded for the receiver.
    pub(super) target: Target,
    /// By payload type of the sender. What is not named passes as it is.
    pub(super) rules: Vec<(u8, Rule)>,
}

/// The format that a receiver is sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Target {
    pub(super) format: Format,
    pub(super) payload_type: u8,
    /// Milliseconds in a packet: 10, 20, 40 or 60 for Opus, any multiple of ten up to 60 for others.
    pub(super) frame_ms: u32,
    /// What the receiver wants of the format.
    pub(super) parameters: Option<String>,
}

/// What becomes of one payload type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rule {
    /// The receiver understands it.
    Pass {
        /// Under this number.
        payload_type: u8,
        /// Clock of its timestamps.
        clock_hz: u32,
    },
    /// It is decoded, and encoded as the target.
    Transcode(Format),
    /// A key press.
    Event {
        /// The receiver's number for it.
        payload_type: u8,
        /// Clock of the sender's timestamps and durations, and of the receiver's.
        from_hz: u32,
        to_hz: u32,
    },
    /// Nothing the receiver has could say the same.
    Drop,
}

keep::keep!(enum Rule {
    0 = Pass { payload_type, clock_hz }, 1 = Transcode(format), 2 = Event { payload_type, from_hz, to_hz }, 3 = Drop,
});

impl keep::Keep for Target {
    fn keep(&self, out: &mut keep::Writer) {
        let Self {
            format,
            payload_type,
            frame_ms,
            parameters,
        } = self;
        format.keep(out);
        payload_type.keep(out);
        frame_ms.keep(out);
        parameters.keep(out);
    }

    fn kept(input: &mut keep::Reader<'_>) -> Result<Self, keep::Damaged> {
        let target = Self {
            format: keep::Keep::kept(input)?,
            payload_type: keep::Keep::kept(input)?,
            frame_ms: keep::Keep::kept(input)?,
            parameters: keep::Keep::kept(input)?,
        };
        // Packets are divided by it.
        match target.frame_ms {
            10..=FRAME_MS_MAX => Ok(target),
            _ => Err(keep::Damaged::Value("frame")),
        }
    }
}

impl keep::Keep for Conversion {
    fn keep(&self, out: &mut keep::Writer) {
        let Self { target, rules } = self;
        target.keep(out);
        rules.keep(out);
    }

    fn kept(input: &mut keep::Reader<'_>) -> Result<Self, keep::Damaged> {
        let (target, rules) = (Target::kept(input)?, Vec::<(u8, Rule)>::kept(input)?);
        // Packets are divided by these.
        let ticks = rules.iter().all(|(_, rule)| match rule {
            Rule::Pass { clock_hz, .. } => *clock_hz > 0,
            Rule::Event { from_hz, to_hz, .. } => *from_hz > 0 && *to_hz > 0,
            Rule::Transcode(_) | Rule::Drop => true,
        });
        if !ticks {
            return Err(keep::Damaged::Value("conversion"));
        }
        Ok(Self { target, rules })
    }
}

impl Conversion {
    /// What has to be done between a sender that was given `sent`, and itself said `own` where it did already, and a
    /// receiver that said `understood`. `None` when packets can pass as they are, or when nothing can be done about it.
    pub fn between(
        sent: &MediaLine,
        own: Option<&MediaLine>,
        understood: &MediaLine,
    ) -> Option<Self> {
        if [sent, understood].iter().any(|line| !line.is_active()) {
            return None;
        }
        let known: Vec<Codec> = understood.codecs().collect();
        let target = Target::of(understood, &known)?;
        let own: Vec<Codec> = own.map(|own| own.codecs().collect()).unwrap_or_default();
        let mut rules: Vec<(u8, Rule)> = Vec::new();
        for codec in sent.codecs() {
            let mine = own.iter().find(|mine| mine.same_encoding(&codec));
            // What it did not take up it is not going to send.
            if !own.is_empty() && mine.is_none() {
                continue;
            }
            let rule = Rule::of(&codec, &known, &target);
            rules.push((codec.payload_type, rule));
            // Some use their own number for what they send, against RFC 3264 §5.1.
            if let Some(mine) = mine
                && !sent.has_format(mine.payload_type)
            {
                rules.push((mine.payload_type, rule));
            }
        }
        rules
            .iter()
            .any(|(number, rule)| !rule.leaves(*number) && *rule != Rule::Drop)
            .then_some(Self { target, rules })
    }

    /// Whether samples have to be computed anew, not only looked up.
    pub fn transcodes(&self) -> bool {
        self.law().is_none()
    }

    /// The law of G.711 that the receiver understands, when the other law is all that has to be converted. That changes
    /// nothing but the bytes of the payload.
    pub(super) fn law(&self) -> Option<Law> {
        let law = law(self.target.format)?;
        let only_laws = self.rules.iter().all(|(number, rule)| match rule {
            Rule::Transcode(format) => law_of_rule(*format, *number),
            Rule::Pass { .. } | Rule::Event { .. } => rule.leaves(*number),
            Rule::Drop => true,
        });
        (only_laws && self.target.payload_type == law.payload_type()).then_some(law)
    }

    /// The same without any conversion: packets pass, but are still numbered by us.
    pub(super) fn passing(&self) -> Self {
        Self {
            target: self.target.clone(),
            rules: Vec::new(),
        }
    }

    pub(super) fn rule(&self, payload_type: u8) -> Rule {
        let rule = self
            .rules
            .iter()
            .find(|(number, _)| *number == payload_type);
        let as_it_is = Rule::Pass {
            payload_type,
            clock_hz: self.target.format.clock_rate_hz(),
        };
        rule.map_or(as_it_is, |(_, rule)| *rule)
    }
}

/// Whether a format is one of the laws under the number that everybody knows.
fn law_of_rule(format: Format, number: u8) -> bool {
    law(format).is_some_and(|law| law.payload_type() == number)
}

fn law(format: Format) -> Option<Law> {
    match format {
        Format::Pcmu => Some(Law::Mu),
        Format::Pcma => Some(Law::A),
        Format::G722 | Format::Opus => None,
    }
}

impl Target {
    /// The first of the receiver's formats that we speak.
    pub(super) fn of(line: &MediaLine, known: &[Codec]) -> Option<Self> {
        let mut formats = known
            .iter()
            .filter_map(|codec| Some((Format::of(codec)?, codec)));
        let (format, codec) = formats.next()?;
        let wanted = line.packet_time_ms().unwrap_or(FRAME_MS);
        let whole = (wanted / 10 * 10).clamp(10, FRAME_MS_MAX);
        let frame_ms = match (format, whole) {
            (Format::Opus, 30) => 20,
            (Format::Opus, 50) => 40,
            (_, whole) => whole,
        };
        Some(Self {
            format,
            payload_type: codec.payload_type,
            frame_ms,
            parameters: codec.parameters.clone(),
        })
    }
}

impl Rule {
    fn of(codec: &Codec, known: &[Codec], target: &Target) -> Self {
        if codec.is_telephone_event() {
            let clock = target.format.clock_rate_hz();
            let mut events = known.iter().filter(|codec| codec.is_telephone_event());
            // Its clock is that of the audio, where the receiver has it (RFC 4733 §2.1).
            let event = events
                .clone()
                .find(|event| event.clock_rate_hz == clock)
                .or_else(|| events.next());
            return event.map_or(Self::Drop, |event| Self::Event {
                payload_type: event.payload_type,
                from_hz: codec.clock_rate_hz.max(1),
                to_hz: event.clock_rate_hz,
            });
        }
        let pass = |payload_type| Self::Pass {
            payload_type,
            clock_hz: codec.clock_rate_hz.max(1),
        };
        let same = known.iter().find(|known| known.same_encoding(codec));
        match (same, Format::of(codec)) {
            // Comfort noise is of the audio around it, so of the same clock (RFC 3389 §4).
            (Some(same), _)
                if codec.is_media() || codec.clock_rate_hz == target.format.clock_rate_hz() =>
            {
                pass(same.payload_type)
            }
            (None, Some(format)) => Self::Transcode(format),
            (None, None) if codec.is_media() => pass(codec.payload_type),
            _ => Self::Drop,
        }
    }

    /// Whether it leaves packets of this number as they are.
    fn leaves(&self, number: u8) -> bool {
        match self {
            Self::Pass { payload_type, .. } => *payload_type == number,
            Self::Event {
                payload_type,
                from_hz,
                to_hz,
            } => *payload_type == number && from_hz == to_hz,
            Self::Transcode(_) | Self::Drop => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::Session;

    fn line(text: &str) -> MediaLine {
        let head = "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\n";
        let session = Session::parse(format!("{head}m=audio {text}\n").as_bytes());
        session.expect("in order").media[0].clone()
    }

    fn pass(payload_type: u8) -> Rule {
        let clock_hz = 8_000;
        Rule::Pass {
            payload_type,
            clock_hz,
        }
    }

    const OPUS: &str = "4000 RTP/AVP 96 101\na=rtpmap:96 opus/48000/2\na=fmtp:96 cbr=1\na=rtpmap:101 telephone-event/8000\na=ptime:30";
    const BOTH_LAWS: &str = "4000 RTP/AVP 0 8 101\na=rtpmap:101 telephone-event/8000";
    const A_LAW: &str = "4000 RTP/AVP 8 101\na=rtpmap:101 telephone-event/8000";

    #[test]
    fn what_is_understood_passes() {
        let laws = line(BOTH_LAWS);
        assert_eq!(Conversion::between(&laws, None, &laws), None);
        assert_eq!(Conversion::between(&line(A_LAW), None, &laws), None);
        let g729 = line("4000 RTP/AVP 18");
        assert_eq!(Conversion::between(&g729, None, &laws), None);
        assert_eq!(
            Conversion::between(&laws, None, &g729),
            None,
            "we do not speak it"
        );
        let refused = line("0 RTP/AVP 8");
        assert_eq!(Conversion::between(&laws, None, &refused), None);
    }

    #[test]
    fn laws_alone_are_recoded() {
        let conversion = Conversion::between(&line(BOTH_LAWS), None, &line(A_LAW)).expect("needed");
        assert_eq!(conversion.law(), Some(Law::A));
        assert_eq!(conversion.rule(0), Rule::Transcode(Format::Pcmu));
        assert_eq!(conversion.rule(8), pass(8));
        // Unless their sender took up the other one alone.
        let taken = line(A_LAW);
        assert_eq!(
            Conversion::between(&line(BOTH_LAWS), Some(&taken), &line(A_LAW)),
            None
        );
    }

    #[test]
    fn other_formats_and_numbers_are_converted() {
        let conversion = Conversion::between(&line(A_LAW), None, &line(OPUS)).expect("needed");
        assert_eq!(conversion.law(), None);
        assert_eq!(conversion.rule(8), Rule::Transcode(Format::Pcma));
        let event = Rule::Event {
            payload_type: 101,
            from_hz: 8_000,
            to_hz: 8_000,
        };
        assert_eq!(conversion.rule(101), event);
        let target = &conversion.target;
        assert_eq!(
            (target.format, target.payload_type, target.frame_ms),
            (Format::Opus, 96, 20)
        );
        assert_eq!(target.parameters.as_deref(), Some("cbr=1"));

        let back = Conversion::between(&line(OPUS), None, &line(A_LAW)).expect("needed");
        assert_eq!(back.rule(96), Rule::Transcode(Format::Opus));
        assert_eq!(
            (back.target.format, back.target.frame_ms),
            (Format::Pcma, 20)
        );
    }

    #[test]
    fn key_presses_find_the_clock_of_the_audio() {
        let fast = "4000 RTP/AVP 96 110 126\na=rtpmap:96 opus/48000/2\na=rtpmap:110 telephone-event/48000\n\
                    a=rtpmap:126 telephone-event/8000";
        let conversion = Conversion::between(&line(A_LAW), None, &line(fast)).expect("needed");
        let expected = Rule::Event {
            payload_type: 110,
            from_hz: 8_000,
            to_hz: 48_000,
        };
        assert_eq!(conversion.rule(101), expected);
        let back = Conversion::between(&line(fast), None, &line(A_LAW)).expect("needed");
        let expected = Rule::Event {
            payload_type: 101,
            from_hz: 48_000,
            to_hz: 8_000,
        };
        assert_eq!(back.rule(110), expected);
        let none = Conversion::between(&line(fast), None, &line("4000 RTP/AVP 0")).expect("needed");
        assert_eq!(none.rule(110), Rule::Drop);
    }

    #[test]
    fn a_sender_that_uses_its_own_numbers_is_understood() {
        let given = line(OPUS);
        let own = line("4000 RTP/AVP 111\na=rtpmap:111 opus/48000/2");
        let conversion = Conversion::between(&given, Some(&own), &line(A_LAW)).expect("needed");
        assert_eq!(conversion.rule(96), Rule::Transcode(Format::Opus));
        assert_eq!(conversion.rule(111), Rule::Transcode(Format::Opus));
    }
}
