//! A whole description: lines of the session, then media lines.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use super::media_line::{connection, direction};
use super::{
    Address, Attribute, Connection, Direction, LINES_MAX, Line, MEDIA_LINES_MAX, MediaLine, Origin,
    SESSION_BYTES_MAX,
};

/// How many lines are expected above the first `m=`, so that their list rarely grows.
const LINES_USUAL: usize = 6;

/// A session description, kept line by line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Session {
    /// Everything above the first `m=`, in order, `v=` and `o=` included.
    pub lines: Vec<Line>,
    /// The media lines.
    pub media: Vec<MediaLine>,
}

keep::keep!(struct Session { lines, media });

/// Why bytes are not a session description.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SdpError {
    /// Nothing there.
    Empty,
    /// Longer than [`SESSION_BYTES_MAX`].
    TooLong,
    /// More lines than [`LINES_MAX`].
    TooManyLines,
    /// More media lines than [`MEDIA_LINES_MAX`].
    TooManyMedia,
    /// More formats on a media line than [`super::FORMATS_MAX`].
    TooManyFormats,
    /// A line, counted from 1, is not a letter, an equals sign and a value without NUL.
    NotALine(u16),
    /// The first line is not `v=0`.
    BadVersion,
    /// There is no `o=` line, or it is malformed.
    BadOrigin,
    /// A `c=` line is malformed.
    BadConnection,
    /// An `m=` line is malformed.
    BadMedia,
}

impl fmt::Display for SdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty session description"),
            Self::TooLong => write!(f, "session description over {SESSION_BYTES_MAX} bytes"),
            Self::TooManyLines => write!(f, "more than {LINES_MAX} lines"),
            Self::TooManyMedia => write!(f, "more than {MEDIA_LINES_MAX} media lines"),
            Self::TooManyFormats => f.write_str("too many formats on a media line"),
            Self::NotALine(number) => write!(f, "line {number} is not of the form letter=value"),
            Self::BadVersion => f.write_str("does not begin with v=0"),
            Self::BadOrigin => f.write_str("origin line missing or malformed"),
            Self::BadConnection => f.write_str("malformed connection line"),
            Self::BadMedia => f.write_str("malformed media line"),
        }
    }
}

impl std::error::Error for SdpError {}

impl Session {
    /// Reads a description from borrowed bytes, which are copied once.
    pub fn parse(bytes: &[u8]) -> Result<Self, SdpError> {
        if bytes.len() > SESSION_BYTES_MAX {
            return Err(SdpError::TooLong);
        }
        Self::parse_bytes(&Bytes::copy_from_slice(bytes))
    }

    /// Reads a description without copying: the lines share `bytes`.
    ///
    /// Lines may end in CRLF, LF or CR, the last one in nothing; empty lines are skipped, and so
    /// are NULs at the very end, which some senders count into the body. Order beyond "session
    /// before media" is not checked.
    pub fn parse_bytes(bytes: &Bytes) -> Result<Self, SdpError> {
        if bytes.len() > SESSION_BYTES_MAX {
            return Err(SdpError::TooLong);
        }
        let text_bytes = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        let bytes = &bytes.slice(..text_bytes);
        let mut session = Self {
            lines: Vec::with_capacity(LINES_USUAL),
            media: Vec::with_capacity(1),
        };
        let mut count = 0;
        let mut start = 0;
        while start < bytes.len() {
            let length =
                memchr::memchr2(b'\r', b'\n', &bytes[start..]).unwrap_or(bytes.len() - start);
            let raw = bytes.slice(start..start + length);
            start += length + 1;
            if raw.is_empty() {
                continue;
            }
            count += 1;
            if count > LINES_MAX {
                return Err(SdpError::TooManyLines);
            }
            let line = Line::received(&raw).ok_or(SdpError::NotALine(count as u16))?;
            session.append(line)?;
        }
        session.check()?;
        Ok(session)
    }

    /// Prints the description, every line ended by CRLF.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1_024);
        for line in &self.lines {
            line.print(&mut out);
        }
        for media in &self.media {
            media.print(&mut out);
        }
        out
    }

    /// The `o=` line; `None` only after somebody took it out of [`Session::lines`].
    pub fn origin(&self) -> Option<Origin<'_>> {
        self.lines
            .iter()
            .find(|line| line.letter() == b'o')
            .and_then(|line| Origin::parse(line.text()))
    }

    /// The `c=` line of the session.
    pub fn connection(&self) -> Option<Connection<'_>> {
        connection(&self.lines)
    }

    /// The attributes of the session.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'_>> {
        self.lines.iter().filter_map(Line::as_attribute)
    }

    /// Where the describing end wants the RTP of a media line. `None` when there is no such line,
    /// its port is zero, or its host is a name.
    pub fn rtp_address(&self, index: usize) -> Option<SocketAddr> {
        let media = self.media.get(index).filter(|media| media.is_active())?;
        Some(SocketAddr::new(self.media_ip(media)?, media.port))
    }

    /// Where it wants the RTCP: `a=rtcp` (RFC 3605), or the port above. `None` when the RTP has no
    /// address, and when the attribute is unreadable.
    pub fn rtcp_address(&self, index: usize) -> Option<SocketAddr> {
        let rtp = self.rtp_address(index)?;
        let media = self.media.get(index)?;
        let Some(value) = media
            .attribute("rtcp")
            .and_then(|attribute| attribute.value)
        else {
            return Some(SocketAddr::new(rtp.ip(), rtp.port().checked_add(1)?));
        };
        let mut words = value.split_ascii_whitespace();
        let port = words.next()?.parse().ok().filter(|port| *port != 0)?;
        let [_network, kind, host] = std::array::from_fn(|_| words.next());
        let ip = match (kind, host) {
            (Some(kind), Some(host)) => match Address::parse(kind, host)? {
                Address::Ip(ip) => ip,
                Address::Name(_) => return None,
            },
            _ => rtp.ip(),
        };
        Some(SocketAddr::new(ip, port))
    }

    /// The direction of a media line as the attributes say, from line or session.
    pub fn direction(&self, index: usize) -> Direction {
        let own = self.media.get(index).and_then(MediaLine::own_direction);
        own.or_else(|| direction(&self.lines)).unwrap_or_default()
    }

    /// The direction that counts: an unspecified address (RFC 2543 hold) means the describing end
    /// does not listen, whatever its attributes say, and a port of zero ends everything.
    pub fn effective_direction(&self, index: usize) -> Direction {
        let stated = self.direction(index);
        match self.media.get(index) {
            Some(media) if media.is_active() => match self.media_ip(media) {
                Some(ip) if ip.is_unspecified() => Direction::new(stated.sends(), false),
                _ => stated,
            },
            _ => Direction::Inactive,
        }
    }

    /// Whether the describing end holds the other on this line: it does not listen.
    pub fn is_held(&self, index: usize) -> bool {
        !self.effective_direction(index).receives()
    }

    fn media_ip(&self, media: &MediaLine) -> Option<IpAddr> {
        media.connection().or_else(|| self.connection())?.ip()
    }

    fn append(&mut self, line: Line) -> Result<(), SdpError> {
        if line.letter() == b'm' {
            if self.media.len() == MEDIA_LINES_MAX {
                return Err(SdpError::TooManyMedia);
            }
            self.media.push(MediaLine::parse(line.text())?);
            return Ok(());
        }
        if line.letter() == b'c' && Connection::parse(line.text()).is_none() {
            return Err(SdpError::BadConnection);
        }
        match self.media.last_mut() {
            Some(media) => media.lines.push(line),
            None => self.lines.push(line),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), SdpError> {
        let first = self.lines.first();
        match first {
            None if self.media.is_empty() => return Err(SdpError::Empty),
            Some(first) if first.letter() == b'v' && first.text().trim() == "0" => {}
            _ => return Err(SdpError::BadVersion),
        }
        self.origin().map(|_| ()).ok_or(SdpError::BadOrigin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::{Codec, FORMATS_MAX};

    const PHONE: &str = "v=0\r\no=alice 2890844526 2890844526 IN IP4 host.example\r\ns=-\r\n\
        c=IN IP4 192.0.2.1\r\nb=AS:64\r\nt=0 0\r\nx=unknown: letter\r\na=sendonly\r\n\
        m=audio 49170 RTP/AVP 0 8 97 101\r\na=rtpmap:97 iLBC/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
        a=fmtp:101 0-15\r\na=ptime:20\r\na=x-vendor:keep me\r\n\
        m=video 51372/2 RTP/AVP 31\r\nc=IN IP6 2001:db8::5\r\na=rtcp:53020\r\na=recvonly\r\n\
        m=image 0 udptl t38\r\n";

    fn parse(text: &str) -> Session {
        Session::parse(text.as_bytes()).expect("a description in order")
    }

    #[test]
    fn a_description_passes_unchanged() {
        assert_eq!(
            String::from_utf8(parse(PHONE).to_bytes()).as_deref(),
            Ok(PHONE)
        );
    }

    #[test]
    fn line_ends_may_be_sloppy() {
        let expected = parse(PHONE);
        assert_eq!(parse(&PHONE.replace("\r\n", "\n")), expected);
        assert_eq!(parse(&PHONE.replace("\r\n", "\r")), expected);
        assert_eq!(parse(PHONE.trim_end()), expected);
        assert_eq!(parse(&format!("{PHONE}\r\n\r\n")), expected);
        assert_eq!(parse(&format!("{PHONE}\0")), expected);
    }

    #[test]
    fn bytes_that_are_no_text_survive() {
        let latin = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=Caf\xe9 bar\r\nt=0 0\r\n";
        let session = Session::parse(latin).expect("tolerated");
        assert_eq!(session.to_bytes(), latin);
        assert_eq!(session.lines[2].text(), "Caf");
    }

    #[test]
    fn addresses_come_from_line_or_session() {
        let session = parse(PHONE);
        let addr = |text: &str| text.parse::<SocketAddr>().ok();
        assert_eq!(session.rtp_address(0), addr("192.0.2.1:49170"));
        assert_eq!(session.rtcp_address(0), addr("192.0.2.1:49171"));
        assert_eq!(session.rtp_address(1), addr("[2001:db8::5]:51372"));
        assert_eq!(session.rtcp_address(1), addr("[2001:db8::5]:53020"));
        assert_eq!(
            session.rtp_address(2),
            None,
            "a refused line has no address"
        );
        assert_eq!(session.rtp_address(3), None, "there is no such line");
    }

    #[test]
    fn rtcp_may_have_an_address_of_its_own() {
        let session = parse(&PHONE.replace("a=rtcp:53020", "a=rtcp:53020 IN IP4 192.0.2.77"));
        assert_eq!(session.rtcp_address(1), "192.0.2.77:53020".parse().ok());
    }

    #[test]
    fn rtcp_without_a_port_has_no_address() {
        for wrong in [
            "a=rtcp:0",
            "a=rtcp:",
            "a=rtcp:70000",
            "a=rtcp:x IN IP4 192.0.2.77",
        ] {
            assert_eq!(
                parse(&PHONE.replace("a=rtcp:53020", wrong)).rtcp_address(1),
                None,
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_host_name_is_no_address() {
        let session = parse(&PHONE.replace("c=IN IP4 192.0.2.1", "c=IN IP4 media.example"));
        assert_eq!(
            session.connection(),
            Some(Connection {
                address: Address::Name("media.example")
            })
        );
        assert_eq!(session.rtp_address(0), None);
    }

    #[test]
    fn directions_come_from_line_or_session() {
        let session = parse(PHONE);
        assert_eq!(
            [0, 1].map(|index| session.direction(index)),
            [Direction::SendOnly, Direction::RecvOnly]
        );
        assert_eq!(
            [0, 1, 2].map(|index| session.is_held(index)),
            [true, false, true]
        );
    }

    #[test]
    fn an_unspecified_address_is_hold() {
        let session = parse(
            &PHONE
                .replace("192.0.2.1", "0.0.0.0")
                .replace("a=sendonly\r\n", ""),
        );
        assert_eq!(session.direction(0), Direction::SendRecv);
        assert_eq!(session.effective_direction(0), Direction::SendOnly);
    }

    #[test]
    fn codecs_are_mapped_or_implied() {
        let session = parse(PHONE);
        let codecs: Vec<_> = session.media[0].codecs().collect();
        assert_eq!(codecs[..2], [Codec::PCMU, Codec::PCMA]);
        assert_eq!(
            (codecs[2].name.as_ref(), codecs[2].clock_rate_hz),
            ("iLBC", 8_000)
        );
        assert_eq!(codecs[3], Codec::telephone_event());
        assert_eq!(session.media[0].packet_time_ms(), Some(20));
    }

    #[test]
    fn formats_leave_with_what_described_them() {
        let mut session = parse(PHONE);
        session.media[0]
            .retain_codecs(|codec| codec.same_encoding(&Codec::PCMU) || codec.is_telephone_event());
        let text = String::from_utf8(session.to_bytes()).expect("text");
        assert!(text.contains(
            "m=audio 49170 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101"
        ));
        assert!(!text.contains("iLBC"));
    }

    #[test]
    fn the_origin_is_read() {
        let session = parse(PHONE);
        let origin = session.origin().expect("checked by parse");
        assert_eq!(
            (origin.username, origin.session_id),
            ("alice", "2890844526")
        );
        assert_eq!(
            (origin.address_type, origin.address),
            ("IP4", "host.example")
        );
    }

    #[test]
    fn every_way_to_be_wrong_has_a_name() {
        let check = |text: &str, expected| {
            assert_eq!(Session::parse(text.as_bytes()), Err(expected), "{text}")
        };
        let head = "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\n";
        check("", SdpError::Empty);
        check("\r\n\r\n", SdpError::Empty);
        check("hello", SdpError::NotALine(1));
        check("v=0\n o=x", SdpError::NotALine(2));
        check("v=0\nm=imag\0e 5 udptl t38\n", SdpError::NotALine(2));
        check("v=1\n", SdpError::BadVersion);
        check("m=audio 1 RTP/AVP 0\n", SdpError::BadVersion);
        check("v=0\ns=-\n", SdpError::BadOrigin);
        check("v=0\no=- 1 1 192.0.2.1\n", SdpError::BadOrigin);
        check(&format!("{head}c=IN\n"), SdpError::BadConnection);
        check(&format!("{head}c=ATM NSAP 47\n"), SdpError::BadConnection);
        check(&format!("{head}m=audio\n"), SdpError::BadMedia);
        check(
            &format!("{head}m=audio 70000 RTP/AVP 0\n"),
            SdpError::BadMedia,
        );
        check(
            &format!("{head}m=audio 5/x RTP/AVP 0\n"),
            SdpError::BadMedia,
        );
        check(
            &format!("{head}m=audio 5 RTP/AVP{}\n", " 0".repeat(FORMATS_MAX + 1)),
            SdpError::TooManyFormats,
        );
        check(
            &format!(
                "{head}{}",
                "m=audio 5 RTP/AVP 0\n".repeat(MEDIA_LINES_MAX + 1)
            ),
            SdpError::TooManyMedia,
        );
        check(
            &format!("{head}{}", "a=x\n".repeat(LINES_MAX)),
            SdpError::TooManyLines,
        );
        check(&"a".repeat(SESSION_BYTES_MAX + 1), SdpError::TooLong);
    }
}
