//! Packets to try the program on: what a stream sends us, and what has to become of it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

use super::{Lent, LentState};

/// A stream over loopback, where every host has a way from and to.
pub(super) struct Trial {
    pub(super) stream: Lent,
}

const ETHERNET_BYTES: usize = 14;
const IP_BYTES: usize = 20;
const UDP_BYTES: usize = 8;

/// What arrives has been marked by nobody and has gone some way.
const ARRIVING: (u8, u8) = (0, 61);
const LEAVING: (u8, u8) = (46 << 2, 64);

impl Trial {
    /// A stream that arrives on this port.
    pub(super) fn new(port: u16) -> Self {
        let at = |last: u8, port: u16| SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), port);
        Self {
            stream: Lent {
                source: at(2, 40_000),
                local: at(1, port),
                from: at(1, port.wrapping_add(2)),
                to: at(3, 50_000),
                ssrc: 0xfeed_0001,
                payload_type: 8,
                next_sequence: 700,
                opened_at: Instant::now(),
                state: LentState {
                    clock_rate_hz: 8_000,
                    ..LentState::default()
                },
            },
        }
    }

    /// RTP of the stream, a frame of 20 ms.
    pub(super) fn rtp(&self, sequence: u16) -> Vec<u8> {
        let mut rtp = vec![0x80, self.stream.payload_type];
        rtp.extend(sequence.to_be_bytes());
        rtp.extend((u32::from(sequence) * 160).to_be_bytes());
        rtp.extend(self.stream.ssrc.to_be_bytes());
        rtp.extend([0x55; 160]);
        rtp
    }

    /// The packet with this number, as it arrives.
    pub(super) fn packet(&self, sequence: u16) -> Vec<u8> {
        let rtp = self.rtp(sequence);
        frame(self.stream.source, self.stream.local, ARRIVING, &rtp)
    }

    /// The same as it leaves.
    pub(super) fn relayed(&self, sequence: u16) -> Vec<u8> {
        frame(
            self.stream.from,
            self.stream.to,
            LEAVING,
            &self.rtp(sequence),
        )
    }
}

/// A datagram in its Ethernet frame, with checksums; `marks` are traffic class and hops.
pub(super) fn frame(
    from: SocketAddrV4,
    to: SocketAddrV4,
    (class, hops): (u8, u8),
    payload: &[u8],
) -> Vec<u8> {
    let udp_bytes = (UDP_BYTES + payload.len()) as u16;
    let mut udp = Vec::new();
    udp.extend(from.port().to_be_bytes());
    udp.extend(to.port().to_be_bytes());
    udp.extend(udp_bytes.to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(payload);
    let mut pseudo = Vec::new();
    pseudo.extend(from.ip().octets());
    pseudo.extend(to.ip().octets());
    pseudo.extend([0, libc::IPPROTO_UDP as u8]);
    pseudo.extend(udp_bytes.to_be_bytes());
    let sum = match checksum(&[&pseudo[..], &udp[..]].concat()) {
        // Zero would say that there is none.
        0 => 0xffff,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());

    let mut ip = vec![0x45, class];
    ip.extend((IP_BYTES as u16 + udp_bytes).to_be_bytes());
    // No number, not to be fragmented.
    ip.extend([0, 0, 0x40, 0, hops, libc::IPPROTO_UDP as u8, 0, 0]);
    ip.extend(from.ip().octets());
    ip.extend(to.ip().octets());
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());

    let mut frame = vec![0; ETHERNET_BYTES - 2];
    frame.extend((libc::ETH_P_IP as u16).to_be_bytes());
    frame.extend(ip);
    frame.extend(udp);
    frame
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        let word = [pair[0], pair.get(1).copied().unwrap_or(0)];
        sum += u32::from(u16::from_be_bytes(word));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
