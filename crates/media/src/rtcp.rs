//! RTCP (RFC 3550 §6) as far as a relay and a call record care: is this RTCP, what does the far
//! end say about loss and jitter, is it leaving.

use std::fmt;

/// Packet types this switch gives a meaning to (RFC 3550 §12.1).
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const GOODBYE: u8 = 203;

/// Types that may stand at the beginning: reports, and with reduced-size RTCP (RFC 5506) also
/// feedback and extended reports.
const KNOWN_TYPES: std::ops::RangeInclusive<u8> = 192..=223;

/// One receiver's judgement of one stream it hears (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReportBlock {
    /// The stream that is judged.
    pub ssrc: u32,
    /// Share of packets lost since the previous report, in 256ths.
    pub fraction_lost: u8,
    /// Packets lost since the beginning; negative when duplicates outnumber losses.
    pub cumulative_lost: i32,
    /// Highest sequence number received, with the count of wraps above it.
    pub highest_sequence: u32,
    /// Interarrival jitter in ticks of the stream's clock.
    pub jitter_ticks: u32,
}

/// One packet of a compound.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Packet<'a> {
    /// A sender or a receiver report.
    Report {
        /// Who reports.
        ssrc: u32,
        /// The blocks, 24 bytes each; see [`report_blocks`].
        blocks: &'a [u8],
    },
    /// Somebody leaves the session.
    Goodbye,
    /// Source descriptions, feedback, application-defined: forwarded unread.
    Other,
}

/// Why bytes are not RTCP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RtcpError {
    /// Shorter than a header, or than its length fields say.
    Truncated,
    /// Not version 2.
    Version,
    /// Not an RTCP packet type.
    Type,
}

impl fmt::Display for RtcpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "packet ends before its stated length",
            Self::Version => "not RTCP version 2",
            Self::Type => "not an RTCP packet type",
        })
    }
}

impl std::error::Error for RtcpError {}

/// Checks the first packet of a compound and returns its sender.
///
/// Only the first header and SSRC are in the clear under SRTCP, so only they are read.
pub fn sender(compound: &[u8]) -> Result<u32, RtcpError> {
    let Some((head, _)) = compound.split_first_chunk::<8>() else {
        return Err(RtcpError::Truncated);
    };
    if head[0] >> 6 != 2 {
        return Err(RtcpError::Version);
    }
    if !KNOWN_TYPES.contains(&head[1]) {
        return Err(RtcpError::Type);
    }
    Ok(u32::from_be_bytes([head[4], head[5], head[6], head[7]]))
}

/// Whether a packet on a port that RTP and RTCP share is RTCP (RFC 5761 §4).
pub fn is_rtcp(packet: &[u8]) -> bool {
    packet.get(1).is_some_and(|kind| KNOWN_TYPES.contains(kind))
}

/// The packets of a compound in the clear, in order; ends at the first that does not fit.
pub fn packets(compound: &[u8]) -> Packets<'_> {
    Packets { rest: compound }
}

/// See [`packets`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Packets<'a> {
    type Item = Packet<'a>;

    // Each turn consumes at least one 4-byte header, so the loop over a datagram is bounded.
    fn next(&mut self) -> Option<Packet<'a>> {
        let (head, _) = self.rest.split_first_chunk::<4>()?;
        if head[0] >> 6 != 2 {
            return None;
        }
        let length_bytes = (usize::from(u16::from_be_bytes([head[2], head[3]])) + 1) * 4;
        let (packet, rest) = self.rest.split_at_checked(length_bytes)?;
        self.rest = rest;

        let count = usize::from(head[0] & 0x1f);
        let blocks_at = match head[1] {
            SENDER_REPORT => 28,
            RECEIVER_REPORT => 8,
            GOODBYE => return Some(Packet::Goodbye),
            _ => return Some(Packet::Other),
        };
        let blocks = packet.get(blocks_at..blocks_at + count * BLOCK_BYTES)?;
        let ssrc = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        Some(Packet::Report { ssrc, blocks })
    }
}

const BLOCK_BYTES: usize = 24;

/// Reads the blocks of a [`Packet::Report`].
pub fn report_blocks(blocks: &[u8]) -> impl Iterator<Item = ReportBlock> + '_ {
    blocks.chunks_exact(BLOCK_BYTES).map(|block| {
        let word = |at: usize| {
            u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
        };
        // 24 bits, signed: shifted to the top so that the sign comes along on the way back.
        let cumulative_lost = ((word(4) << 8) as i32) >> 8;
        ReportBlock {
            ssrc: word(0),
            fraction_lost: block[4],
            cumulative_lost,
            highest_sequence: word(8),
            jitter_ticks: word(12),
        }
    })
}

/// What a sender says of its own stream in a sender report (RFC 3550 §6.4.1), its wall clock left out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SenderInfo {
    /// The moment of the report on the clock of its media.
    pub timestamp: u32,
    /// Packets sent so far.
    pub packets: u32,
    /// Payload bytes sent so far.
    pub bytes: u32,
}

/// Has every sender of a compound in the clear say something else of itself; where `change` gives `None` it is left.
pub fn rewrite_senders(compound: &mut [u8], change: impl Fn(SenderInfo) -> Option<SenderInfo>) {
    each_report(compound, |packet, kind, _| {
        if kind != SENDER_REPORT {
            return;
        }
        let word = |at: usize| {
            u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]])
        };
        let said = SenderInfo {
            timestamp: word(16),
            packets: word(20),
            bytes: word(24),
        };
        if let Some(changed) = change(said) {
            packet[16..20].copy_from_slice(&changed.timestamp.to_be_bytes());
            packet[20..24].copy_from_slice(&changed.packets.to_be_bytes());
            packet[24..28].copy_from_slice(&changed.bytes.to_be_bytes());
        }
    });
}

/// Changes every judgement of a compound in the clear.
pub fn rewrite_blocks(compound: &mut [u8], change: impl Fn(ReportBlock) -> ReportBlock) {
    each_report(compound, |packet, _, blocks_at| {
        for bytes in packet[blocks_at..].chunks_exact_mut(BLOCK_BYTES) {
            let block = report_blocks(bytes).next();
            if let Some(block) = block {
                change(block).write(bytes);
            }
        }
    });
}

/// Hands over every report of a compound up to the end of its blocks, with its type and where its blocks begin.
fn each_report(compound: &mut [u8], mut each: impl FnMut(&mut [u8], u8, usize)) {
    let mut rest = compound;
    // As in `packets`: each turn consumes at least four bytes.
    while let Some((head, _)) = rest.split_first_chunk::<4>() {
        let (first, kind) = (head[0], head[1]);
        let length_bytes = (usize::from(u16::from_be_bytes([head[2], head[3]])) + 1) * 4;
        if first >> 6 != 2 {
            return;
        }
        let Some((packet, behind)) = rest.split_at_mut_checked(length_bytes) else {
            return;
        };
        let blocks_at = match kind {
            SENDER_REPORT => Some(28),
            RECEIVER_REPORT => Some(8),
            _ => None,
        };
        if let Some(blocks_at) = blocks_at {
            let end = blocks_at + usize::from(first & 0x1f) * BLOCK_BYTES;
            let Some(report) = packet.get_mut(..end) else {
                return;
            };
            each(report, kind, blocks_at);
        }
        rest = behind;
    }
}

impl ReportBlock {
    fn write(&self, bytes: &mut [u8]) {
        bytes[..4].copy_from_slice(&self.ssrc.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.cumulative_lost.to_be_bytes());
        bytes[4] = self.fraction_lost;
        bytes[8..12].copy_from_slice(&self.highest_sequence.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.jitter_ticks.to_be_bytes());
    }
}

/// A receiver report with one block, as an end point of our own sends it.
pub fn receiver_report(reporter: u32, block: ReportBlock) -> [u8; 32] {
    let mut packet = [0; 32];
    packet[0] = 2 << 6 | 1;
    packet[1] = RECEIVER_REPORT;
    packet[3] = 7;
    packet[4..8].copy_from_slice(&reporter.to_be_bytes());
    block.write(&mut packet[8..]);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: ReportBlock = ReportBlock {
        ssrc: 77,
        fraction_lost: 12,
        cumulative_lost: -3,
        highest_sequence: 0x0001_0005,
        jitter_ticks: 160,
    };

    #[test]
    fn a_report_reads_back() {
        let packet = receiver_report(5, BLOCK);
        assert_eq!(sender(&packet), Ok(5));
        let Some(Packet::Report { ssrc: 5, blocks }) = packets(&packet).next() else {
            panic!("no report");
        };
        assert_eq!(report_blocks(blocks).collect::<Vec<_>>(), [BLOCK]);
    }

    #[test]
    fn reports_are_rewritten_where_they_stand() {
        // A sender report with one block, then a receiver report, then a description.
        let mut compound = vec![0x81, SENDER_REPORT, 0, 12, 0, 0, 0, 5];
        compound.extend_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        for word in [160_u32, 2, 320] {
            compound.extend_from_slice(&word.to_be_bytes());
        }
        let report = receiver_report(5, BLOCK);
        compound.extend_from_slice(&report[8..]);
        compound.extend_from_slice(&report);
        compound.extend_from_slice(&[0x81, 202, 0, 2, 0, 0, 0, 5, 1, 0, 0, 0]);
        let before = compound.clone();
        rewrite_senders(&mut compound, |_| None);
        rewrite_blocks(&mut compound, |block| block);
        assert_eq!(compound, before);

        rewrite_senders(&mut compound, |said| {
            let SenderInfo {
                timestamp,
                packets,
                bytes,
            } = said;
            assert_eq!((timestamp, packets, bytes), (160, 2, 320));
            let timestamp = timestamp * 6;
            Some(SenderInfo { timestamp, ..said })
        });
        assert_eq!(compound[16..20], 960_u32.to_be_bytes());
        rewrite_blocks(&mut compound, |block| ReportBlock {
            jitter_ticks: block.jitter_ticks * 6,
            ..block
        });
        let expected = ReportBlock {
            jitter_ticks: 960,
            ..BLOCK
        };
        for packet in packets(&compound).take(2) {
            let Packet::Report { blocks, .. } = packet else {
                panic!("no report");
            };
            assert_eq!(report_blocks(blocks).collect::<Vec<_>>(), [expected]);
        }
        let untouched = |bytes: &[u8]| bytes[before.len() - 12..].to_vec();
        assert_eq!(untouched(&compound), untouched(&before));
        for length in 0..before.len() {
            rewrite_senders(&mut before[..length].to_vec(), Some);
            rewrite_blocks(&mut before[..length].to_vec(), |block| block);
        }
    }

    #[test]
    fn a_compound_is_walked_to_its_end() {
        let mut compound = receiver_report(5, BLOCK).to_vec();
        compound.extend_from_slice(&[0x81, 202, 0, 2, 0, 0, 0, 5, 1, 0, 0, 0]);
        compound.extend_from_slice(&[0x81, 203, 0, 1, 0, 0, 0, 5]);
        let kinds: Vec<_> = packets(&compound).skip(1).collect();
        assert_eq!(kinds, [Packet::Other, Packet::Goodbye]);
    }

    #[test]
    fn lies_about_length_and_count_end_the_walk() {
        let mut long = receiver_report(5, BLOCK);
        long[3] = 200;
        assert_eq!(packets(&long).next(), None);
        let mut many = receiver_report(5, BLOCK);
        many[0] = 2 << 6 | 31;
        assert_eq!(packets(&many).next(), None);
        assert_eq!(sender(&[0x80, 200]), Err(RtcpError::Truncated));
        assert_eq!(sender(&[0x80, 0, 0, 1, 0, 0, 0, 0]), Err(RtcpError::Type));
        assert_eq!(sender(&[0; 8]), Err(RtcpError::Version));
    }
}
