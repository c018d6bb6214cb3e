//! The engine that runs everywhere: readiness (epoll), and two system calls for every packet.

use std::io;
use std::time::Duration;

use super::{Clocks, MEDIA_PACKET_BYTES, Onward, Packet, Turn};
use crate::{Poller, Ready, ReceiveBatch, UdpSocket, Waker};

/// Sockets that one system call reports as ready.
const READY_SOCKETS: usize = 256;

/// The token of the waker; sockets have theirs from their key.
const WAKER: u64 = u64::MAX;

/// Waits for readiness, then takes one packet of each ready socket.
pub(super) struct Polled {
    poller: Poller,
    ready: Ready,
    packet: ReceiveBatch,
}

impl Polled {
    pub(super) fn new(waker: &Waker) -> io::Result<Self> {
        let poller = Poller::new()?;
        poller.add(waker, WAKER)?;
        Ok(Self {
            poller,
            ready: Ready::new(READY_SOCKETS),
            packet: ReceiveBatch::new(1, MEDIA_PACKET_BYTES),
        })
    }

    pub(super) fn add(&self, key: u32, socket: &UdpSocket) -> io::Result<()> {
        self.poller.add(socket, u64::from(key))
    }

    pub(super) fn remove(&self, socket: &UdpSocket) {
        // Fails only for a descriptor that is not in the set, and then nothing is left to do.
        let _ = self.poller.remove(socket);
    }

    /// Waits for packets, the waker or `timeout`.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.poller.wait(&mut self.ready, timeout)
    }

    /// The last wait found the waker used.
    pub(super) fn is_woken(&self) -> bool {
        self.ready.tokens().any(|token| token == WAKER)
    }

    /// The last wait found packets.
    pub(super) fn has_packets(&self) -> bool {
        self.ready.tokens().any(|token| token != WAKER)
    }

    /// Relays one packet of each socket that the last wait found ready: a socket that has another says so again, which
    /// is cheaper than asking every socket twice.
    pub(super) fn relay(
        &mut self,
        sockets: &[Option<UdpSocket>],
        turn: &mut Turn,
        decide: &mut impl FnMut(&mut Packet<'_>) -> Option<Onward>,
    ) {
        let clock = Clocks::now();
        for token in self.ready.tokens().filter(|token| *token != WAKER) {
            let key = token as u32;
            let Some(Some(socket)) = sockets.get(key as usize) else {
                continue;
            };
            // An error here is an earlier packet's, bounced by its receiver; the kernel has cleared it now.
            if self.packet.receive(socket).is_err() {
                continue;
            }
            self.packet.for_each(|arrived| {
                turn.received += 1;
                if arrived.truncated {
                    turn.oversized += 1;
                    return;
                }
                let mut packet = Packet {
                    socket: key,
                    source: arrived.source,
                    at: clock.instant(arrived.at),
                    length: arrived.length,
                    buffer: arrived.buffer,
                };
                let Some(onward) = decide(&mut packet) else {
                    return;
                };
                let out = sockets.get(onward.socket as usize).and_then(Option::as_ref);
                match out.map(|out| {
                    let bytes = &packet.buffer[..packet.length.min(packet.buffer.len())];
                    out.send_to(bytes, onward.to)
                }) {
                    Some(Ok(_)) => turn.sent += 1,
                    _ => turn.failed += 1,
                }
            });
        }
    }
}
