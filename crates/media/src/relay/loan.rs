//! Streams that somebody else relays, below the process, as long as every packet is the one that comes next.
//!
//! The table lends a stream when it has been nothing but ordinary for [`ORDINARY_PACKETS`]: in the clear, passed on
//! unchanged, from the settled source, in order. Whoever has it counts and measures as [`Returned`] tells; what it does
//! not understand comes back to the table, and the stream first. So [`RelayTable`](super::RelayTable) always knows what it
//! would know had it seen each packet itself.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::SocketKey;

/// Packets in a row that were just the next one, before a stream is lent.
pub const ORDINARY_PACKETS: u16 = 10;

/// Ordinary packets before a stream is offered again that was not wanted.
pub(super) const PACKETS_AFTER_REFUSAL: u16 = 500;

/// How long a stream is lent at most. Then it is lent anew, by the way that leads to its receiver now, and what is
/// known of it is not older.
pub const LOAN_MAX: Duration = Duration::from_secs(10);

/// Bytes of the longest packet of a stream that is lent.
pub(super) const LENT_PACKET_BYTES_MAX: usize = 1_400;

/// A stream to be relayed by somebody else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Loan {
    /// The socket its packets would come up to.
    pub key: SocketKey,
    /// The only source.
    pub source: SocketAddr,
    /// The socket by whose address they leave.
    pub out: SocketKey,
    /// Where they go.
    pub to: SocketAddr,
    /// The only SSRC.
    pub ssrc: u32,
    /// The only payload type.
    pub payload_type: u8,
    /// The sequence number of the next packet.
    pub next_sequence: u16,
    /// When the relay was opened.
    pub opened_at: Instant,
    /// What is carried on from packet to packet.
    pub carried: Carried,
}

/// What is carried on from one packet of a stream to the next.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Carried {
    /// Ticks of its clock in a second.
    pub clock_rate_hz: u32,
    /// Arrival less timestamp of the last packet, in ticks, modulo 2^32 (RFC 3550 §A.8).
    pub transit: u32,
    /// Jitter in sixteenths of a tick (RFC 3550 §A.8).
    pub jitter_sixteenths: u32,
    /// Age of the relay at the last packet, in whole seconds.
    pub second: u64,
    /// Packets in that second.
    pub second_packets: u32,
}

/// What became of a stream that was lent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Returned {
    /// Packets relayed, each of them the next one.
    pub packets: u64,
    /// Their bytes, RTP headers included.
    pub bytes: u64,
    /// When the last one came.
    pub last_at: Option<Instant>,
    /// What was carried on.
    pub carried: Carried,
}

/// A stream that is lent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lent {
    /// What it is called by whoever has it.
    pub(super) number: u32,
    since: Instant,
}

impl Lent {
    pub(super) fn new(number: u32, since: Instant) -> Self {
        Self { number, since }
    }

    pub(super) fn is_overdue(self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= LOAN_MAX
    }
}
