//! A payload type and what it stands for.

use std::borrow::Cow;

/// One format of an RTP media line, with its `rtpmap` and `fmtp`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Codec {
    /// Number on the wire, 0..=127.
    pub payload_type: u8,
    /// Encoding name as written; compared without regard to case. Empty for a dynamic type that
    /// nobody described.
    pub name: Cow<'static, str>,
    /// Ticks per second of its timestamps.
    pub clock_rate_hz: u32,
    /// Audio channels.
    pub channels: u8,
    /// Parameters of `a=fmtp`, as written.
    pub parameters: Option<String>,
}

impl Codec {
    /// G.711 µ-law.
    pub const PCMU: Self = Self::fixed(0, "PCMU");
    /// G.711 A-law.
    pub const PCMA: Self = Self::fixed(8, "PCMA");

    /// G.722, whose clock rate is half its sample rate (RFC 3551 §4.5.2).
    pub const G722: Self = Self::fixed(9, "G722");

    /// Opus under the number that most give it. It always says two channels, whatever is sent (RFC 7587 §7).
    pub fn opus() -> Self {
        Self {
            clock_rate_hz: 48_000,
            channels: 2,
            ..Self::fixed(111, "opus")
        }
    }

    /// Key presses and other telephone events at 8 kHz under the usual number, events 0–15.
    pub fn telephone_event() -> Self {
        Self {
            parameters: Some("0-15".to_owned()),
            ..Self::fixed(101, "telephone-event")
        }
    }

    const fn fixed(payload_type: u8, name: &'static str) -> Self {
        Self {
            payload_type,
            name: Cow::Borrowed(name),
            clock_rate_hz: 8_000,
            channels: 1,
            parameters: None,
        }
    }

    /// What a number without `rtpmap` stands for (RFC 3551 §6).
    pub(super) fn implied(payload_type: u8) -> Self {
        let (name, clock_rate_hz, channels) = match payload_type {
            0 => ("PCMU", 8_000, 1),
            3 => ("GSM", 8_000, 1),
            4 => ("G723", 8_000, 1),
            5 => ("DVI4", 8_000, 1),
            6 => ("DVI4", 16_000, 1),
            7 => ("LPC", 8_000, 1),
            8 => ("PCMA", 8_000, 1),
            9 => ("G722", 8_000, 1),
            10 => ("L16", 44_100, 2),
            11 => ("L16", 44_100, 1),
            12 => ("QCELP", 8_000, 1),
            13 => ("CN", 8_000, 1),
            14 => ("MPA", 90_000, 1),
            15 => ("G728", 8_000, 1),
            18 => ("G729", 8_000, 1),
            26 => ("JPEG", 90_000, 1),
            31 => ("H261", 90_000, 1),
            32 => ("MPV", 90_000, 1),
            33 => ("MP2T", 90_000, 1),
            34 => ("H263", 90_000, 1),
            _ => ("", 8_000, 1),
        };
        Self {
            clock_rate_hz,
            channels,
            ..Self::fixed(payload_type, name)
        }
    }

    /// Reads the part of an `rtpmap` behind the payload type: `name/rate[/channels]`.
    pub(super) fn mapped(payload_type: u8, mapping: &str) -> Option<Self> {
        let mut parts = mapping.trim().split('/');
        let name = parts.next().filter(|name| !name.is_empty())?.to_owned();
        let clock_rate_hz = parts.next()?.trim().parse().ok().filter(|rate| *rate > 0)?;
        let channels = parts
            .next()
            .and_then(|channels| channels.trim().parse().ok())
            .unwrap_or(1);
        Some(Self {
            payload_type,
            name: Cow::Owned(name),
            clock_rate_hz,
            channels,
            parameters: None,
        })
    }

    /// Whether this is RFC 4733.
    pub fn is_telephone_event(&self) -> bool {
        self.name.eq_ignore_ascii_case("telephone-event")
    }

    /// Whether this carries sound or pictures by itself, which key presses and comfort noise do
    /// not.
    pub fn is_media(&self) -> bool {
        !self.is_telephone_event() && !self.name.eq_ignore_ascii_case("CN")
    }

    /// Whether both are the same encoding, whatever number it has. Parameters are not compared.
    pub fn same_encoding(&self, other: &Self) -> bool {
        self.name.eq_ignore_ascii_case(&other.name)
            && self.clock_rate_hz == other.clock_rate_hz
            && self.channels == other.channels
            && (!self.name.is_empty() || self.payload_type == other.payload_type)
    }

    /// The value of `a=rtpmap`.
    pub(super) fn mapping(&self) -> String {
        let Self {
            payload_type,
            name,
            clock_rate_hz,
            channels,
            ..
        } = self;
        match channels {
            0 | 1 => format!("{payload_type} {name}/{clock_rate_hz}"),
            _ => format!("{payload_type} {name}/{clock_rate_hz}/{channels}"),
        }
    }
}
