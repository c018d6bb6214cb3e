//! What a switch does to a description on its way from one leg to the other.
//!
//! When it relays the media ([`anchored`]) the far end must see our addresses and nothing that
//! leads around them: connection and ports become ours, and everything that negotiates a path or a
//! handshake between the two ends (ICE, DTLS, bundling, multiplexing of RTCP) is taken out.
//! Codecs, directions, telephone events and attributes we do not know stay as they are. When it
//! does not relay ([`passthrough`]) only the origin becomes ours.
//!
//! Either way each leg sees one describing party from beginning to end, whichever end points
//! change behind us: one session identifier, and a version that grows by one exactly when the
//! description changes (RFC 3264 §8). [`OriginState`] remembers both, one per leg.

use std::fmt::Write;
use std::hash::{DefaultHasher, Hasher};
use std::net::IpAddr;

use super::connection::Typed;
use super::{Attribute, Direction, Line, MediaLine, Security, Session, Setup};
use crate::dtls::Fingerprint;

/// What descriptions usually come to, and an origin line at most.
const PRINTED_BYTES: usize = 512;
const ORIGIN_BYTES: usize = 96;

/// The relay's end of one media line, towards the leg that gets the description.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LocalMedia {
    /// Our address.
    pub address: IpAddr,
    /// Our RTP port; RTCP is one above.
    pub rtp_port: u16,
    /// The handshake by which the line is sealed, if it is.
    pub dtls: Option<LocalDtls>,
    /// RTCP shares the port of RTP.
    pub multiplexed: bool,
}

/// What a description of ours says about a handshake (RFC 8842).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LocalDtls {
    /// Of our certificate.
    pub fingerprint: Fingerprint,
    /// Who begins, as we see it.
    pub setup: Setup,
    /// Names the association; only towards ends that name it as well.
    pub tls_id: Option<u128>,
}

impl LocalMedia {
    /// Our end of a line that is not sealed by a handshake.
    pub fn new(address: IpAddr, rtp_port: u16) -> Self {
        Self {
            address,
            rtp_port,
            dtls: None,
            multiplexed: false,
        }
    }
}

impl LocalDtls {
    fn lines(&self) -> impl Iterator<Item = Line> {
        let fingerprint = self.fingerprint.to_string();
        let tls_id = self.tls_id.map(|id| format!("{id:032x}"));
        [
            ("setup", Some(self.setup.name().to_owned())),
            ("fingerprint", Some(fingerprint)),
            ("tls-id", tls_id),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some(Line::attribute(name, Some(&value?))))
    }
}

/// Who we are in the `o=` line towards one leg.
#[derive(Clone, Debug)]
pub struct OriginState {
    session_id: u64,
    address: IpAddr,
    version: u64,
    /// Of everything printed last time but the version.
    last_body: Option<u64>,
}

keep::keep!(struct OriginState { session_id, address, version, last_body });

impl OriginState {
    /// A new session: `session_id` should be random, `address` is where we are (it identifies,
    /// nothing is sent there).
    pub fn new(session_id: u64, address: IpAddr) -> Self {
        // The top bit is cleared for the many who read session identifiers into a signed number.
        Self {
            session_id: session_id & (u64::MAX >> 1),
            address,
            version: 1,
            last_body: None,
        }
    }

    /// Version of the description printed last, 1 for the first.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Prints a description with our origin in place of the one it has, if it has one.
    pub(super) fn print(&mut self, session: &Session) -> Vec<u8> {
        let Session { lines, media } = session;
        // Everything but the origin first: whether that has changed decides what the origin says.
        let mut rest = Vec::with_capacity(PRINTED_BYTES);
        let at = lines.iter().position(|line| line.letter() == b'o');
        let (before, after) = match at {
            Some(at) => (&lines[..at], &lines[at + 1..]),
            None => lines.split_at(lines.len().min(1)),
        };
        before.iter().for_each(|line| line.print(&mut rest));
        let origin_at = rest.len();
        after.iter().for_each(|line| line.print(&mut rest));
        media.iter().for_each(|line| line.print(&mut rest));
        let mut hasher = DefaultHasher::new();
        hasher.write(&rest);
        let body = hasher.finish();
        match self.last_body.replace(body) {
            Some(last) if last != body => self.version += 1,
            _ => {}
        }

        let mut origin = String::with_capacity(ORIGIN_BYTES);
        // Writing to a `String` does not fail.
        let _ = write!(
            origin,
            "o=- {} {} IN {}\r\n",
            self.session_id,
            self.version,
            Typed(self.address)
        );
        // As long as the text and no longer: descriptions are kept for as long as a call lasts.
        let mut out = Vec::with_capacity(rest.len() + origin.len());
        out.extend_from_slice(&rest[..origin_at]);
        out.extend_from_slice(origin.as_bytes());
        out.extend_from_slice(&rest[origin_at..]);
        out
    }
}

/// The description for the other leg when the media pass through our relay.
///
/// `local` holds our end of each media line by index. A line is refused (port zero) when it has
/// none there, when it was refused already, and when its profile asks for DTLS and we have no part
/// in it: that handshake would be between the two ends, and we took its fingerprints away.
pub fn anchored(sdp: &Session, local: &[Option<LocalMedia>], origin: &mut OriginState) -> Vec<u8> {
    let session_address = local
        .iter()
        .flatten()
        .next()
        .map_or(origin.address, |local| local.address);
    let lines = sdp
        .lines
        .iter()
        .filter(|line| line.letter() != b'c' && !leads_around_us(line));
    let mut lines: Vec<_> = lines.cloned().collect();
    insert_connection(&mut lines, session_address);

    let media = sdp.media.iter().enumerate().map(|(index, media)| {
        let ours = local
            .get(index)
            .copied()
            .flatten()
            .filter(|ours| media.security() != Security::Dtls || ours.dtls.is_some())
            .filter(|_| media.is_active());
        let stated = sdp.direction(index);
        let effective = sdp.effective_direction(index);
        // Hold by unspecified address becomes hold by attribute: our own address is a real one.
        let restated = (media.is_active() && effective != stated).then_some(effective);
        anchored_line(media, ours, session_address, restated)
    });
    let media = media.collect();
    origin.print(&Session { lines, media })
}

/// The description for the other leg when the media do not pass through us: only the origin
/// becomes ours.
pub fn passthrough(sdp: &Session, origin: &mut OriginState) -> Vec<u8> {
    origin.print(sdp)
}

fn anchored_line(
    media: &MediaLine,
    ours: Option<LocalMedia>,
    session_address: IpAddr,
    restated: Option<Direction>,
) -> MediaLine {
    let had_rtcp = media.attribute("rtcp").is_some();
    let lines = media
        .lines
        .iter()
        .filter(|line| line.letter() != b'c' && !leads_around_us(line));
    let mut anchored = MediaLine {
        port: 0,
        port_count: None,
        lines: lines.cloned().collect(),
        ..media.clone()
    };

    if let Some(direction) = restated {
        anchored.lines.retain(|line| !is_direction(line));
        anchored.lines.push(Line::attribute(direction.name(), None));
    }
    let Some(ours) = ours else { return anchored };
    anchored.port = ours.rtp_port;
    if ours.address != session_address {
        insert_connection(&mut anchored.lines, ours.address);
    }
    anchored
        .lines
        .extend(ours.dtls.iter().flat_map(LocalDtls::lines));
    if ours.multiplexed {
        anchored.lines.push(Line::attribute("rtcp-mux", None));
        return anchored;
    }
    // Who wrote the attribute reads it; for all others the port above goes without saying.
    if let (true, Some(rtcp_port)) = (had_rtcp, ours.rtp_port.checked_add(1)) {
        let value = format!("{rtcp_port} IN {}", Typed(ours.address));
        anchored.lines.push(Line::attribute("rtcp", Some(&value)));
    }
    anchored
}

/// Puts `c=` where RFC 8866 §5 wants it: before bandwidth, time, keys and attributes.
pub(super) fn insert_connection(lines: &mut Vec<Line>, address: IpAddr) {
    let at = lines
        .iter()
        .position(|line| b"btrzka".contains(&line.letter()))
        .unwrap_or(lines.len());
    lines.insert(at, Line::new(b'c', format!("IN {}", Typed(address))));
}

fn is_direction(line: &Line) -> bool {
    let attribute = line
        .as_attribute()
        .filter(|attribute| attribute.value.is_none());
    attribute.is_some_and(|attribute| Direction::from_name(attribute.name).is_some())
}

/// Whether a line would have the far ends find, or shake hands with, each other without us.
///
/// Keys of SDES (`crypto`) stay as they are: whoever opens and seals SRTP puts its own in their place before, with
/// [`MediaLine::set_crypto`], and whoever does not passes packets on as they are sealed.
fn leads_around_us(line: &Line) -> bool {
    if line.letter() == b'k' {
        return true;
    }
    let Some(Attribute { name, value }) = line.as_attribute() else {
        return false;
    };
    match name {
        // ICE: RFC 8839, RFC 8838.
        "candidate" | "remote-candidates" | "end-of-candidates" => true,
        name if name.starts_with("ice-") || name == "ice2" => true,
        // DTLS and other keys: RFC 8842, RFC 8122, RFC 4145, RFC 4567, RFC 6189.
        "fingerprint" | "setup" | "tls-id" | "connection" | "key-mgmt" | "zrtp-hash" => true,
        // One port for several things: RFC 5761, RFC 8858, RFC 9143.
        "rtcp-mux" | "rtcp-mux-only" | "bundle-only" => true,
        "group" => value.is_some_and(|value| value.starts_with("BUNDLE")),
        // Addresses: RFC 3605 (ours is written anew), RFC 4570.
        "rtcp" | "source-filter" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUR_V4: &str = "198.51.100.1";
    const OUR_V6: &str = "2001:db8::1";

    fn parse(text: &str) -> Session {
        Session::parse(text.as_bytes()).expect("a description in order")
    }

    fn state() -> OriginState {
        OriginState::new(42, OUR_V4.parse().expect("literal"))
    }

    fn local(address: &str, rtp_port: u16) -> Option<LocalMedia> {
        let address = address.parse().expect("literal");
        Some(LocalMedia::new(address, rtp_port))
    }

    /// What stands below the session's own lines after anchoring at 30000, 30002 …
    #[track_caller]
    fn check(media: &str, local: &[Option<LocalMedia>], expected: &str) {
        let text =
            format!("v=0\no=bob 7 7 IN IP4 10.0.0.9\ns=call\nc=IN IP4 10.0.0.9\nt=0 0\n{media}");
        let anchored = anchored(&parse(&text), local, &mut state());
        let anchored = String::from_utf8(anchored)
            .expect("text")
            .replace("\r\n", "\n");
        let head = "v=0\no=- 42 1 IN IP4 198.51.100.1\ns=call\nc=IN IP4 198.51.100.1\nt=0 0\n";
        assert_eq!(anchored.strip_prefix(head).unwrap_or(&anchored), expected);
        assert!(
            !anchored.contains("10.0.0.9"),
            "nothing leads to the far end itself"
        );
    }

    #[test]
    fn audio_goes_through_us_and_keeps_its_codecs() {
        check(
            "m=audio 4000 RTP/AVP 0 101\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\na=x-what:ever\na=sendonly\n",
            &[local(OUR_V4, 30_000)],
            "m=audio 30000 RTP/AVP 0 101\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\na=x-what:ever\na=sendonly\n",
        );
    }

    #[test]
    fn every_line_has_its_own_ports() {
        check(
            "m=audio 4000 RTP/AVP 0\nm=video 4002/2 RTP/AVP 99\nb=AS:512\na=rtpmap:99 H264/90000\nm=image 4004 udptl t38\na=T38FaxVersion:0\n",
            &[
                local(OUR_V4, 30_000),
                local(OUR_V6, 30_002),
                local(OUR_V4, 30_004),
            ],
            "m=audio 30000 RTP/AVP 0\nm=video 30002 RTP/AVP 99\nc=IN IP6 2001:db8::1\nb=AS:512\na=rtpmap:99 H264/90000\nm=image 30004 udptl t38\na=T38FaxVersion:0\n",
        );
    }

    #[test]
    fn refused_lines_stay_and_are_refused() {
        check(
            "m=audio 4000 RTP/AVP 0\nm=video 4002 RTP/AVP 31\nm=audio 0 RTP/AVP 0\nm=application 9 UDP/DTLS/SCTP webrtc\n",
            &[
                local(OUR_V4, 30_000),
                None,
                local(OUR_V4, 30_004),
                local(OUR_V4, 30_006),
            ],
            "m=audio 30000 RTP/AVP 0\nm=video 0 RTP/AVP 31\nm=audio 0 RTP/AVP 0\nm=application 0 UDP/DTLS/SCTP webrtc\n",
        );
        check("m=audio 4000 RTP/AVP 0\n", &[], "m=audio 0 RTP/AVP 0\n");
    }

    #[test]
    fn nothing_leads_around_us() {
        check(
            "a=group:BUNDLE a\na=group:LS a\na=ice-lite\na=fingerprint:sha-256 AA\n\
             m=audio 4000 RTP/AVP 0\nc=IN IP4 10.0.0.9\nk=clear:x\na=mid:a\na=ice-ufrag:u\na=ice-pwd:p\n\
             a=candidate:1 1 UDP 1 10.0.0.9 4000 typ host\na=end-of-candidates\na=rtcp-mux\na=rtcp:4001 IN IP4 10.0.0.9\n\
             a=setup:actpass\na=source-filter:incl IN IP4 * 10.0.0.9\n",
            &[local(OUR_V4, 30_000)],
            "a=group:LS a\nm=audio 30000 RTP/AVP 0\na=mid:a\na=rtcp:30001 IN IP4 198.51.100.1\n",
        );
    }

    #[test]
    fn keys_stay_where_the_profile_demands_them() {
        check(
            "m=audio 4000 RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\n",
            &[local(OUR_V4, 30_000)],
            "m=audio 30000 RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\n",
        );
        check(
            "m=audio 4000 UDP/TLS/RTP/SAVPF 0\na=fingerprint:sha-256 AA\n",
            &[local(OUR_V4, 30_000)],
            "m=audio 0 UDP/TLS/RTP/SAVPF 0\n",
        );
    }

    #[test]
    fn a_handshake_of_ours_is_described() {
        let fingerprint = Fingerprint::of(crate::dtls::HashFunction::Sha1, b"ours");
        let sealed = LocalMedia {
            dtls: Some(LocalDtls {
                fingerprint,
                setup: Setup::Passive,
                tls_id: Some(0xab),
            }),
            multiplexed: true,
            ..local(OUR_V4, 30_000).expect("ours")
        };
        check(
            "m=audio 4000 UDP/TLS/RTP/SAVPF 0\na=fingerprint:sha-256 AA\na=setup:active\na=rtcp:4001\na=rtcp-mux\n",
            &[Some(sealed)],
            &format!(
                "m=audio 30000 UDP/TLS/RTP/SAVPF 0\na=setup:passive\na=fingerprint:{fingerprint}\n\
                 a=tls-id:000000000000000000000000000000ab\na=rtcp-mux\n"
            ),
        );
    }

    #[test]
    fn hold_by_address_becomes_hold_by_attribute() {
        check(
            "m=audio 4000 RTP/AVP 0\nc=IN IP4 0.0.0.0\na=sendrecv\n",
            &[local(OUR_V4, 30_000)],
            "m=audio 30000 RTP/AVP 0\na=sendonly\n",
        );
        check(
            "m=audio 4000 RTP/AVP 0\nc=IN IP4 0.0.0.0\na=recvonly\n",
            &[local(OUR_V4, 30_000)],
            "m=audio 30000 RTP/AVP 0\na=inactive\n",
        );
    }

    #[test]
    fn an_ipv6_description_becomes_ours() {
        let text = "v=0\no=- 1 1 IN IP6 2001:db8::9\ns=-\nc=IN IP6 2001:db8::9\nt=0 0\nm=audio 4000 RTP/AVP 0\n";
        let mut state = OriginState::new(u64::MAX, OUR_V6.parse().expect("literal"));
        let printed = anchored(&parse(text), &[local(OUR_V6, 30_000)], &mut state);
        let expected = "v=0\r\no=- 9223372036854775807 1 IN IP6 2001:db8::1\r\ns=-\r\nc=IN IP6 2001:db8::1\r\nt=0 0\r\nm=audio 30000 RTP/AVP 0\r\n";
        assert_eq!(String::from_utf8(printed).as_deref(), Ok(expected));
    }

    #[test]
    fn the_version_grows_only_with_the_body() {
        let active =
            parse("v=0\no=a 1 1 IN IP4 10.0.0.9\ns=-\nc=IN IP4 10.0.0.9\nm=audio 4000 RTP/AVP 0\n");
        let refreshed =
            parse("v=0\no=a 1 2 IN IP4 10.0.0.9\ns=-\nc=IN IP4 10.0.0.9\nm=audio 4444 RTP/AVP 0\n");
        let held = parse(
            "v=0\no=a 1 3 IN IP4 10.0.0.9\ns=-\nc=IN IP4 10.0.0.9\nm=audio 4000 RTP/AVP 0\na=sendonly\n",
        );
        let mut state = state();
        let ports = [local(OUR_V4, 30_000)];
        let mut version_after = |sdp: &Session| {
            anchored(sdp, &ports, &mut state);
            state.version()
        };
        assert_eq!(
            [&active, &refreshed, &held, &held, &active].map(&mut version_after),
            [1, 1, 2, 2, 3]
        );
    }

    #[test]
    fn without_a_relay_only_the_origin_is_ours() {
        let text = "v=0\r\no=a 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=ice-ufrag:u\r\n";
        let printed = String::from_utf8(passthrough(&parse(text), &mut state())).expect("text");
        assert_eq!(
            printed,
            text.replace("o=a 1 1 IN IP4 10.0.0.9", "o=- 42 1 IN IP4 198.51.100.1")
        );
    }
}
