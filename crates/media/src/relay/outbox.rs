//! Packets beyond the one that answers a packet: a long frame becomes two short ones.
//!
//! A relay decides about a packet where it lies, and what goes out lies there too. What is more waits here until the
//! media thread takes it, at the end of the same turn.

use std::net::SocketAddr;

use super::SocketKey;

/// Packets that may wait. A turn of the media thread makes one or two for a packet, and twice or three times that many
/// after a loss; what does not fit is lost.
const PACKETS: usize = 256;

/// Bytes of the longest packet: that of a far end which passes behind some of ours, as long as an Ethernet frame takes.
const PACKET_BYTES: usize = 1_600;

/// Packets on their way out.
#[derive(Debug)]
pub(super) struct Outbox {
    /// Never longer than its first capacity.
    parcels: Vec<Parcel>,
}

#[derive(Debug)]
struct Parcel {
    out: SocketKey,
    to: SocketAddr,
    length: usize,
    bytes: [u8; PACKET_BYTES],
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            parcels: Vec::with_capacity(PACKETS),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }

    /// Keeps a packet; false when there is no room.
    pub(super) fn push(&mut self, out: SocketKey, to: SocketAddr, packet: &[u8]) -> bool {
        if self.parcels.len() == PACKETS || packet.len() > PACKET_BYTES {
            return false;
        }
        let mut bytes = [0; PACKET_BYTES];
        bytes[..packet.len()].copy_from_slice(packet);
        let length = packet.len();
        self.parcels.push(Parcel {
            out,
            to,
            length,
            bytes,
        });
        true
    }

    /// Hands all packets over, in their order.
    pub(super) fn empty(&mut self, mut send: impl FnMut(SocketKey, SocketAddr, &[u8])) {
        for parcel in self.parcels.drain(..) {
            send(parcel.out, parcel.to, &parcel.bytes[..parcel.length]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_out_as_they_went_in_and_no_more_than_fit() {
        let mut outbox = Outbox::new();
        let to = "192.0.2.1:4000".parse().expect("an address");
        assert!(outbox.is_empty());
        assert!(!outbox.push(SocketKey(1), to, &[0; PACKET_BYTES + 1]));
        for number in 0..PACKETS {
            assert!(outbox.push(SocketKey(number as u32), to, &[number as u8; 3]));
        }
        assert!(!outbox.push(SocketKey(1), to, b"more"));
        let mut next = 0;
        outbox.empty(|key, address, packet| {
            assert_eq!((key, address), (SocketKey(next), to));
            assert_eq!(packet, [next as u8; 3]);
            next += 1;
        });
        assert_eq!(next as usize, PACKETS);
        assert!(outbox.is_empty());
    }
}
