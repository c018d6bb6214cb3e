//! What a relay counted, per direction.

use super::Seal;

/// Media received from one side.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StreamStats {
    /// Datagrams accepted.
    pub packets: u64,
    /// Their bytes, RTP headers included, UDP and IP headers not.
    pub bytes: u64,
    /// Sequence numbers that never arrived, over all streams of this side.
    pub lost: u64,
    /// Interarrival jitter at the end (RFC 3550 §6.4.1), in microseconds.
    pub jitter_us: u32,
    /// Packets that arrived behind a later one.
    pub out_of_order: u64,
    /// Packets that arrived again.
    pub duplicates: u64,
    /// Datagrams refused because they came from a stranger.
    pub dropped_source: u64,
    /// Datagrams refused because they were not what the line carries.
    pub dropped_invalid: u64,
    /// Datagrams refused because they came faster than any stream does.
    pub dropped_rate: u64,
    /// Times the source of the media moved to another address after it had settled.
    pub source_changes: u32,
    /// Times the sender began a new stream: another SSRC, or sequence numbers from anew.
    pub restarts: u32,
    /// The last stream heard.
    pub ssrc: u32,
    /// The last payload type heard that was not a key press.
    pub payload_type: u8,
    /// First packet, in milliseconds since the relay was opened.
    pub first_at_ms: Option<u64>,
    /// Last packet, in milliseconds since the relay was opened.
    pub last_at_ms: Option<u64>,
    /// Key presses seen as telephone events (RFC 4733).
    pub digits: u32,
    /// Packets that were decoded and encoded anew for the other side.
    pub transcoded: u64,
}

/// RTCP received from one side, and what it says about the media we sent there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ReportStats {
    /// Datagrams accepted.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Datagrams refused because they came from a stranger.
    pub dropped_source: u64,
    /// Datagrams refused because they were not RTCP.
    pub dropped_invalid: u64,
    /// Report blocks read.
    pub reports: u64,
    /// Share of packets lost in the last interval reported, in 256ths.
    pub fraction_lost: u8,
    /// Packets the far end missed in all; negative when it received duplicates.
    pub lost: i32,
    /// Jitter the far end measured, in microseconds.
    pub jitter_us: u32,
    /// It said goodbye.
    pub goodbye: bool,
}

/// Everything a relay counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RelayStats {
    /// Media received from side A.
    pub a: StreamStats,
    /// Media received from side B.
    pub b: StreamStats,
    /// Reports received from side A.
    pub a_rtcp: ReportStats,
    /// Reports received from side B.
    pub b_rtcp: ReportStats,
    /// What the media of side A were sealed with last.
    pub a_seal: Option<Seal>,
    /// What the media of side B were sealed with last.
    pub b_seal: Option<Seal>,
}
