//! The relay: packets of one stream between the two legs of a call.
//!
//! One relay carries one media line. It has four sockets: RTP and RTCP (the next port up) towards
//! side A, the leg that called in, and towards side B, the leg we called. What arrives on a socket
//! of one side leaves from the socket of the same kind on the other, byte for byte: stream
//! identifiers, sequence numbers and telephone events are the far ends' own. Only where call control
//! asks for it are packets converted to a codec that their receiver understands, pauses filled with comfort
//! noise, and a ringing tone played to who would otherwise hear nothing.
//!
//! [`RelayTable`] decides and counts for all relays of one media thread. It owns no socket. The
//! thread binds four, tells the table what it calls them ([`SocketKey`]), and asks about every
//! packet:
//!
//! ```
//! # use std::time::{Duration, Instant};
//! # use media::relay::*;
//! # let now = Instant::now();
//! # let (marker, payload_type, sequence, timestamp, ssrc) = (false, 0, 1, 0, 7);
//! # let header = media::rtp::Header { marker, payload_type, sequence, timestamp, ssrc };
//! # let mut packet = header.packet(&[0; 160]);
//! let mut table = RelayTable::new(1_000, 4_000);
//! let relay = RelayId(1);
//! let [a_rtp, a_rtcp, b_rtp, b_rtcp] = [0, 1, 2, 3].map(SocketKey);
//! let sockets = Sockets { a_rtp, a_rtcp, b_rtp, b_rtcp };
//! let local = "192.0.2.1".parse()?;
//! let timeout = Duration::from_secs(300);
//! table.open(now, relay, Opening { a: local, b: local, timeout, traffic: Traffic::Rtp, sockets })?;
//! for (side, address) in [(Side::A, "198.51.100.1:4000"), (Side::B, "203.0.113.1:5000")] {
//!     let (rtp, rtcp) = (Some(address.parse()?), None);
//!     let (expect_media, strict) = (true, false);
//!     table.handle(now, Command::Remote { relay, side, rtp, rtcp, expect_media, strict })?;
//! }
//!
//! let mut datagram = Datagram::whole(&mut packet);
//! let verdict = table.handle_packet(now, a_rtp, "198.51.100.1:4000".parse()?, &mut datagram);
//! assert_eq!(verdict, Verdict::Forward { out: b_rtp, to: "203.0.113.1:5000".parse()? });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Who may send to a socket, and where the answer goes, is the subject of [`latch`].

mod command;
mod conversion;
mod cover;
mod datagram;
pub mod latch;
mod loan;
mod outbound;
mod outbox;
mod payloads;
mod reception;
mod ringback;
mod shake;
mod stats;
mod stream;
mod table;
mod told;
mod transcoder;

pub use command::{
    Command, CommandError, Event, Exchange, Heard, Opening, Protection, RelayId, Seal, Side,
    Silent, SocketKey, Sockets, Terms, Traffic,
};
pub use conversion::Conversion;
pub use datagram::Datagram;
pub use loan::{Carried, LOAN_MAX, Loan, ORDINARY_PACKETS, Returned};
pub use outbound::{COMFORT_NOISE_AFTER, FRAME, Noise};
pub use payloads::Payloads;
pub use ringback::{RINGBACK_AFTER, RINGBACK_RETURNS_AFTER, Ringback};
pub use stats::{RelayStats, ReportStats, StreamStats};
pub use table::{DropReason, RelayTable, Verdict};
pub use told::Told;

pub use crate::srtp::SideKeys;
