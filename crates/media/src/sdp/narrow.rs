//! Taking formats out of a media line and putting others in; refusing a line.

use super::{Codec, Line, MediaLine};

/// Attributes whose value begins with the payload type they speak of.
const OF_A_FORMAT: [&str; 4] = ["rtpmap", "fmtp", "rtcp-fb", "framesize"];

/// Numbers that stand for what a description says (RFC 3551 §6).
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;

impl MediaLine {
    /// Keeps the formats that `keep` wants, and what is said about them. Words that are no payload type go.
    pub fn retain_formats(&mut self, mut keep: impl FnMut(&Codec) -> bool) {
        let kept: Vec<u8> = self
            .codecs()
            .filter(|codec| keep(codec))
            .map(|codec| codec.payload_type)
            .collect();
        let is_kept = |word: &str| word.parse().is_ok_and(|number| kept.contains(&number));
        self.formats.retain(|format| is_kept(format));
        self.lines.retain(|line| match subject(line) {
            Some(format) => format == "*" || is_kept(format),
            None => true,
        });
    }

    /// Offers `codec`, one with a number of its own (RFC 3551 §6), in front of what stands at `at`. Nothing happens
    /// if the line has it.
    pub fn insert_format(&mut self, at: usize, codec: &Codec) {
        let number = codec.payload_type.to_string();
        if self.formats.contains(&number) {
            return;
        }
        self.formats.insert(at.min(self.formats.len()), number);
        let mapping = format!(
            "{} {}/{}",
            codec.payload_type, codec.name, codec.clock_rate_hz
        );
        let before = self
            .lines
            .iter()
            .position(|line| line.letter() == b'a')
            .unwrap_or(self.lines.len());
        self.lines
            .insert(before, Line::attribute("rtpmap", Some(&mapping)));
    }

    /// Offers `codec` behind all others, under its own number or, where that is taken, under a free one. Nothing happens
    /// if the line has the encoding, or has no number left.
    pub fn append_format(&mut self, codec: &Codec) {
        if self.codecs().any(|known| known.same_encoding(codec)) {
            return;
        }
        let Some(payload_type) = std::iter::once(codec.payload_type)
            .chain(DYNAMIC)
            .find(|number| !self.has_format(*number))
        else {
            return;
        };
        let codec = Codec {
            payload_type,
            ..codec.clone()
        };
        self.formats.push(payload_type.to_string());
        self.lines
            .push(Line::attribute("rtpmap", Some(&codec.mapping())));
        if let Some(parameters) = &codec.parameters {
            let text = format!("{payload_type} {parameters}");
            self.lines.push(Line::attribute("fmtp", Some(&text)));
        }
    }

    /// Whether a payload type is among the formats.
    pub fn has_format(&self, payload_type: u8) -> bool {
        self.codecs()
            .any(|codec| codec.payload_type == payload_type)
    }

    /// The same line refused or ended: port zero and nothing below (RFC 3264 §6).
    pub fn refused(&self) -> Self {
        Self {
            port: 0,
            port_count: None,
            lines: Vec::new(),
            ..self.clone()
        }
    }
}

/// The format an attribute speaks of.
fn subject(line: &Line) -> Option<&str> {
    let attribute = line.as_attribute()?;
    OF_A_FORMAT
        .contains(&attribute.name)
        .then(|| attribute.value?.split_ascii_whitespace().next())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::Session;

    fn line(media: &str) -> MediaLine {
        let text =
            format!("v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\n{media}");
        let session = Session::parse(text.as_bytes()).expect("a description in order");
        session.media[0].clone()
    }

    fn print(line: &MediaLine) -> String {
        let mut out = Vec::new();
        line.print(&mut out);
        String::from_utf8(out).expect("text").replace("\r\n", "\n")
    }

    #[test]
    fn a_format_goes_with_all_that_is_said_about_it() {
        let mut line = line(
            "m=audio 4000 RTP/AVP 8 96 0 101\na=rtpmap:8 PCMA/8000\na=rtpmap:96 opus/48000/2\na=fmtp:96 useinbandfec=1\n\
             a=rtcp-fb:* nack\na=rtcp-fb:96 nack\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\na=ptime:20\n",
        );
        line.retain_formats(|codec| codec.payload_type == 0 || codec.is_telephone_event());
        assert_eq!(
            print(&line),
            "m=audio 4000 RTP/AVP 0 101\na=rtcp-fb:* nack\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\na=ptime:20\n"
        );
    }

    #[test]
    fn a_format_comes_in_once() {
        let mut line = line("m=audio 4000 RTP/AVP 0 101\na=rtpmap:101 telephone-event/8000\n");
        line.insert_format(1, &Codec::PCMA);
        line.insert_format(0, &Codec::PCMA);
        assert_eq!(
            print(&line),
            "m=audio 4000 RTP/AVP 0 8 101\na=rtpmap:8 PCMA/8000\na=rtpmap:101 telephone-event/8000\n"
        );
        assert!(line.has_format(8) && !line.has_format(9));
    }

    #[test]
    fn a_format_comes_in_at_the_end_under_a_number_that_is_free() {
        let mut line = line("m=audio 4000 RTP/AVP 0 111\na=rtpmap:111 iLBC/8000\na=ptime:20\n");
        line.append_format(&Codec::PCMU);
        line.append_format(&Codec::opus());
        line.append_format(&Codec::opus());
        line.append_format(&Codec::telephone_event());
        assert_eq!(
            print(&line),
            "m=audio 4000 RTP/AVP 0 111 96 101\na=rtpmap:111 iLBC/8000\na=ptime:20\na=rtpmap:96 opus/48000/2\n\
             a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\n"
        );
        for number in 96..=127 {
            line.append_format(&Codec {
                name: format!("x{number}").into(),
                ..Codec::opus()
            });
        }
        let full = line.formats.len();
        line.append_format(&Codec {
            name: "y".into(),
            ..Codec::opus()
        });
        assert_eq!(line.formats.len(), full);
    }

    #[test]
    fn a_refused_line_says_nothing_more() {
        let refused = line("m=video 4002/2 RTP/AVP 96\na=rtpmap:96 VP8/90000\n").refused();
        assert_eq!(print(&refused), "m=video 0 RTP/AVP 96\n");
    }
}
