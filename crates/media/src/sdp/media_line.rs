//! An `m=` line and what belongs to it.

use super::{Attribute, Codec, Connection, Direction, FORMATS_MAX, Line, SdpError};

/// How many lines are expected below an `m=` line, so that their list rarely grows.
const LINES_USUAL: usize = 8;

/// One media description (RFC 8866 §5.14): the `m=` line and the lines below it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MediaLine {
    /// `audio`, `video`, `image` …
    pub media: String,
    /// Port; zero refuses or ends the stream.
    pub port: u16,
    /// How many ports in a row, where the line says so (`5004/2`).
    pub port_count: Option<u16>,
    /// `RTP/AVP`, `udptl` … as written.
    pub proto: String,
    /// Payload types, or what else the protocol calls its formats.
    pub formats: Vec<String>,
    /// Everything below, in order.
    pub lines: Vec<Line>,
}

keep::keep!(struct MediaLine { media, port, port_count, proto, formats, lines });

/// What travels under a media line, as far as a relay has to know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    /// RTP over UDP, in the clear or not.
    Rtp,
    /// Other datagrams over UDP: fax (T.38), plain `udp`.
    Datagrams,
    /// Not UDP, or not known.
    Other,
}

/// How RTP is protected, by the profile of the line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Security {
    /// Not at all.
    None,
    /// SRTP with keys in the description (RFC 4568).
    Sdes,
    /// SRTP with keys from a DTLS handshake on the media path (RFC 5764).
    Dtls,
}

impl MediaLine {
    /// Reads the value of an `m=` line.
    pub(super) fn parse(text: &str) -> Result<Self, SdpError> {
        let mut words = text.split_ascii_whitespace();
        let [media, port, proto] = std::array::from_fn(|_| words.next());
        let (Some(media), Some(port), Some(proto)) = (media, port, proto) else {
            return Err(SdpError::BadMedia);
        };
        let (port, port_count) = match port.split_once('/') {
            Some((port, count)) => (port, Some(count.parse().map_err(|_| SdpError::BadMedia)?)),
            None => (port, None),
        };
        let formats: Vec<_> = words
            .by_ref()
            .take(FORMATS_MAX)
            .map(str::to_owned)
            .collect();
        if words.next().is_some() {
            return Err(SdpError::TooManyFormats);
        }
        Ok(Self {
            media: media.to_owned(),
            port: port.parse().map_err(|_| SdpError::BadMedia)?,
            port_count,
            proto: proto.to_owned(),
            formats,
            lines: Vec::with_capacity(LINES_USUAL),
        })
    }

    pub(super) fn print(&self, out: &mut Vec<u8>) {
        let mut digits = DecimalBuffer::default();
        out.extend_from_slice(b"m=");
        push_word(out, &self.media);
        out.push(b' ');
        out.extend_from_slice(digits.write(self.port));
        if let Some(count) = self.port_count {
            out.push(b'/');
            out.extend_from_slice(digits.write(count));
        }
        for word in std::iter::once(&self.proto).chain(&self.formats) {
            out.push(b' ');
            push_word(out, word);
        }
        out.extend_from_slice(b"\r\n");
        for line in &self.lines {
            line.print(out);
        }
    }

    /// Whether the stream is offered or accepted: its port is not zero.
    pub fn is_active(&self) -> bool {
        self.port != 0
    }

    /// Its attributes, in order.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'_>> {
        self.lines.iter().filter_map(Line::as_attribute)
    }

    /// The first attribute of that name.
    pub fn attribute(&self, name: &str) -> Option<Attribute<'_>> {
        self.attributes().find(|attribute| attribute.name == name)
    }

    /// Its own `c=` line; without one the session's counts.
    pub fn connection(&self) -> Option<Connection<'_>> {
        connection(&self.lines)
    }

    /// Its own direction; without one the session's counts.
    pub fn own_direction(&self) -> Option<Direction> {
        direction(&self.lines)
    }

    /// Milliseconds of media per packet the describing end wants (`a=ptime`).
    pub fn packet_time_ms(&self) -> Option<u32> {
        self.attribute("ptime")?.value?.trim().parse().ok()
    }

    /// What travels under this line.
    pub fn transport(&self) -> Transport {
        let proto = self.proto.as_str();
        let mut parts = proto.split('/');
        let begins_with_tcp = |part: &str| {
            let start = part.get(..3);
            start.is_some_and(|start| start.eq_ignore_ascii_case("TCP"))
        };
        if parts.clone().any(begins_with_tcp) {
            Transport::Other
        } else if parts.any(|part| part.eq_ignore_ascii_case("RTP")) {
            Transport::Rtp
        } else if ["UDPTL", "UDP"]
            .iter()
            .any(|name| proto.eq_ignore_ascii_case(name))
        {
            Transport::Datagrams
        } else {
            Transport::Other
        }
    }

    /// How it is protected.
    pub fn security(&self) -> Security {
        let contains = |name: &[u8]| {
            let mut windows = self.proto.as_bytes().windows(name.len());
            windows.any(|window| window.eq_ignore_ascii_case(name))
        };
        if contains(b"TLS") {
            Security::Dtls
        } else if contains(b"SAVP") {
            // SAVP without the TLS prefix but with a fingerprint is how DTLS-SRTP was first done.
            let keyed = self.attribute("crypto").is_some();
            let fingerprint = self.attribute("fingerprint").is_some();
            if fingerprint && !keyed {
                Security::Dtls
            } else {
                Security::Sdes
            }
        } else {
            Security::None
        }
    }

    /// The formats of an RTP line in order of preference; words that are no payload type are left
    /// out.
    pub fn codecs(&self) -> impl Iterator<Item = Codec> + '_ {
        self.formats.iter().filter_map(|format| {
            let payload_type = format.parse().ok().filter(|number| *number < 128)?;
            Some(self.codec(payload_type))
        })
    }

    /// What a payload type stands for on this line.
    pub fn codec(&self, payload_type: u8) -> Codec {
        let mapping = self.of_format("rtpmap", payload_type);
        let mut codec = mapping
            .and_then(|mapping| Codec::mapped(payload_type, mapping))
            .unwrap_or_else(|| Codec::implied(payload_type));
        codec.parameters = self
            .of_format("fmtp", payload_type)
            .map(|text| text.trim().to_owned());
        codec
    }

    /// Keeps the formats that `keep` wants, and drops what described the others. An RTP line that
    /// would lose all keeps none: the caller refuses the stream then.
    pub fn retain_codecs(&mut self, mut keep: impl FnMut(&Codec) -> bool) {
        let kept: Vec<String> = self
            .codecs()
            .filter(|codec| keep(codec))
            .map(|codec| codec.payload_type.to_string())
            .collect();
        self.formats.retain(|format| kept.contains(format));
        self.lines.retain(|line| {
            let Some(Attribute {
                name: "rtpmap" | "fmtp" | "rtcp-fb",
                value: Some(value),
            }) = line.as_attribute()
            else {
                return true;
            };
            let format = value.split_ascii_whitespace().next().unwrap_or_default();
            format == "*" || kept.iter().any(|kept| kept == format)
        });
    }

    /// The value of `a=name:<payload type> …`, behind the payload type.
    fn of_format(&self, name: &str, payload_type: u8) -> Option<&str> {
        self.attributes()
            .filter(|attribute| attribute.name == name)
            .find_map(|attribute| {
                let (format, rest) = attribute.value?.trim_start().split_once(' ')?;
                (format.parse() == Ok(payload_type)).then_some(rest)
            })
    }
}

/// Appends a word of an `m=` line. Anything that would end the line early becomes a space, as in [`Line::new`].
fn push_word(out: &mut Vec<u8>, word: &str) {
    let plain = |byte: u8| match byte {
        b'\r' | b'\n' | 0 => b' ',
        byte => byte,
    };
    out.extend(word.bytes().map(plain));
}

/// Room for the digits of a port.
#[derive(Default)]
struct DecimalBuffer([u8; 5]);

impl DecimalBuffer {
    fn write(&mut self, mut number: u16) -> &[u8] {
        let mut at = self.0.len();
        loop {
            at -= 1;
            self.0[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return &self.0[at..];
            }
        }
    }
}

/// The first readable `c=` of a block of lines.
pub(super) fn connection(lines: &[Line]) -> Option<Connection<'_>> {
    lines
        .iter()
        .filter(|line| line.letter() == b'c')
        .find_map(|line| Connection::parse(line.text()))
}

/// The last direction of a block of lines: who writes two means the later.
pub(super) fn direction(lines: &[Line]) -> Option<Direction> {
    let attributes = lines.iter().rev().filter_map(Line::as_attribute);
    attributes
        .filter(|attribute| attribute.value.is_none())
        .find_map(|attribute| Direction::from_name(attribute.name))
}
