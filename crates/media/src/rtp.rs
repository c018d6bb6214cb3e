//! The RTP packet header (RFC 3550 §5.1), read in place and written in place.

use std::fmt;

/// Bytes of the fixed header, before contributing sources and extension.
pub const HEADER_BYTES: usize = 12;

/// The fields of the fixed header that anyone but a mixer looks at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Set on the first packet of a talk spurt or the last of a video frame.
    pub marker: bool,
    /// What the payload is, 0..=127; the session description gives it a meaning.
    pub payload_type: u8,
    /// Counts packets, modulo 2^16.
    pub sequence: u16,
    /// Sampling instant in units of the payload's clock, modulo 2^32.
    pub timestamp: u32,
    /// Who sends this stream.
    pub ssrc: u32,
}

/// Why bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RtpError {
    /// Shorter than its own header, contributing sources and extension say.
    Truncated,
    /// The first two bits are not version 2: STUN, DTLS, ZRTP or noise.
    Version,
    /// The payload type lies where RTCP packet types lie (RFC 5761 §4).
    Rtcp,
    /// The padding length is zero or larger than the payload.
    Padding,
}

impl fmt::Display for RtpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "packet ends inside its header",
            Self::Version => "not RTP version 2",
            Self::Rtcp => "RTCP where RTP belongs",
            Self::Padding => "impossible padding length",
        })
    }
}

impl std::error::Error for RtpError {}

impl Header {
    /// Reads the fixed header and checks that what it announces fits into the packet.
    ///
    /// The payload is not looked at, so this also serves SRTP, whose padding is encrypted.
    pub fn parse(packet: &[u8]) -> Result<Self, RtpError> {
        split(packet).map(|(header, _)| header)
    }

    /// As [`Header::parse`], with the number of bytes that contributing sources and extension bring the whole header
    /// to: where the payload begins.
    pub fn parse_with_payload(packet: &[u8]) -> Result<(Self, usize), RtpError> {
        split(packet).map(|(header, payload)| (header, packet.len() - payload.len()))
    }

    /// Writes the fixed header: no padding, no extension, no contributing sources.
    pub fn write(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = 2 << 6;
        bytes[1] = u8::from(self.marker) << 7 | self.payload_type & 0x7f;
        bytes[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        bytes
    }

    /// A whole packet: this header followed by `payload`.
    pub fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let mut packet = Vec::with_capacity(HEADER_BYTES + payload.len());
        packet.extend_from_slice(&self.write());
        packet.extend_from_slice(payload);
        packet
    }

    /// Replaces the fixed header of `packet` and leaves everything else in place: its version,
    /// padding and extension bits, its contributing sources, its payload.
    ///
    /// Returns false, and changes nothing, when `packet` is not RTP.
    #[must_use]
    pub fn rewrite(&self, packet: &mut [u8]) -> bool {
        if split(packet).is_err() {
            return false;
        }
        packet[1..HEADER_BYTES].copy_from_slice(&self.write()[1..]);
        true
    }
}

/// A packet whose parts can be borrowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Packet<'a> {
    /// The fixed header.
    pub header: Header,
    /// What is carried, without padding.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a packet in the clear, padding included.
    pub fn parse(packet: &'a [u8]) -> Result<Self, RtpError> {
        let (header, mut payload) = split(packet)?;
        let padded = packet[0] & 0x20 != 0;
        if padded {
            let padding = payload.last().copied().map_or(0, usize::from);
            if padding == 0 || padding > payload.len() {
                return Err(RtpError::Padding);
            }
            payload = &payload[..payload.len() - padding];
        }
        Ok(Self { header, payload })
    }
}

/// Header and everything behind contributing sources and extension.
fn split(packet: &[u8]) -> Result<(Header, &[u8]), RtpError> {
    let Some((fixed, rest)) = packet.split_first_chunk::<HEADER_BYTES>() else {
        return Err(RtpError::Truncated);
    };
    if fixed[0] >> 6 != 2 {
        return Err(RtpError::Version);
    }
    if (192..=223).contains(&fixed[1]) {
        return Err(RtpError::Rtcp);
    }
    let sources_bytes = usize::from(fixed[0] & 0x0f) * 4;
    let mut payload = rest.get(sources_bytes..).ok_or(RtpError::Truncated)?;
    let extended = fixed[0] & 0x10 != 0;
    if extended {
        let (head, body) = payload
            .split_first_chunk::<4>()
            .ok_or(RtpError::Truncated)?;
        let extension_bytes = usize::from(u16::from_be_bytes([head[2], head[3]])) * 4;
        payload = body.get(extension_bytes..).ok_or(RtpError::Truncated)?;
    }
    let header = Header {
        marker: fixed[1] & 0x80 != 0,
        payload_type: fixed[1] & 0x7f,
        sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
        timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
        ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
    };
    Ok((header, payload))
}

/// Ticks per second of a payload type that RFC 3551 §6 fixed once and for all; `None` when only
/// a session description can tell.
pub fn static_clock_rate(payload_type: u8) -> Option<u32> {
    Some(match payload_type {
        0 | 3 | 4 | 5 | 7 | 8 | 9 | 12 | 13 | 15 | 18 => 8_000,
        6 => 16_000,
        10 | 11 => 44_100,
        14 | 25 | 26 | 28 | 31..=34 => 90_000,
        16 => 11_025,
        17 => 22_050,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        marker: true,
        payload_type: 101,
        sequence: 65_535,
        timestamp: 7,
        ssrc: 0xdead_beef,
    };

    #[test]
    fn a_written_packet_reads_back() {
        let packet = HEADER.packet(b"abc");
        assert_eq!(
            Packet::parse(&packet),
            Ok(Packet {
                header: HEADER,
                payload: b"abc"
            })
        );
    }

    #[test]
    fn sources_extension_and_padding_are_stepped_over() {
        let mut packet = vec![0x80 | 0x20 | 0x10 | 1];
        packet.extend_from_slice(&HEADER.write()[1..]);
        packet.extend_from_slice(&[9; 4]);
        packet.extend_from_slice(&[0xbe, 0xde, 0, 1, 1, 2, 3, 4]);
        packet.extend_from_slice(&[b'x', b'y', 0, 2]);
        assert_eq!(
            Packet::parse(&packet),
            Ok(Packet {
                header: HEADER,
                payload: b"xy"
            })
        );
    }

    #[test]
    fn what_is_not_rtp_is_named() {
        assert_eq!(Header::parse(b""), Err(RtpError::Truncated));
        assert_eq!(Header::parse(&[0; 20]), Err(RtpError::Version));
        let mut rtcp = HEADER.packet(&[]);
        rtcp[1] = 200;
        assert_eq!(Header::parse(&rtcp), Err(RtpError::Rtcp));
        let mut sources_missing = HEADER.packet(&[]);
        sources_missing[0] |= 3;
        assert_eq!(Header::parse(&sources_missing), Err(RtpError::Truncated));
        let mut padded = HEADER.packet(&[200]);
        padded[0] |= 0x20;
        assert_eq!(Packet::parse(&padded), Err(RtpError::Padding));
        assert!(
            Header::parse(&padded).is_ok(),
            "an encrypted payload is not looked at"
        );
    }

    #[test]
    fn rewriting_leaves_the_rest_alone() {
        let mut packet = HEADER.packet(b"abc");
        let other = Header {
            ssrc: 1,
            sequence: 2,
            ..HEADER
        };
        assert!(other.rewrite(&mut packet));
        assert_eq!(
            Packet::parse(&packet),
            Ok(Packet {
                header: other,
                payload: b"abc"
            })
        );
        assert!(!other.rewrite(&mut [0; 4]));
    }
}
