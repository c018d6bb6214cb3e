//! Relaying below the process: packets of ordinary streams never come up to their sockets.
//!
//! A small program at the door of the interfaces (eBPF at the TCX hook, Linux 6.6) relays what a stream has **lent** to
//! it, and only the packet that comes next in that stream: from the known source, of the known SSRC and payload type,
//! with the sequence number that is due. Such a packet it counts, measures, gives its new addresses and sends on. For
//! every other one it gives the stream back and lets the packet pass to its socket, where the relay finds out
//! what it means. So no rule of the relay is written twice but that of the packet in which nothing happens, and the relay
//! can tell from a number of packets what it would know had it seen them all.
//!
//! Each stream has a [`Cell`] in memory that program and process share. Whoever takes it out of the state "lent" has it for
//! himself: the program for the time of one packet, the relay to take it back. Neither lending nor taking back enters
//! the kernel, but for the question by which interface the packets leave.
//!
//! The program is held by this process alone. When it ends, however it ends, the kernel lets every packet
//! pass to its socket again.
//!
//! What the program does not do: IPv6, packets with IP options, in fragments or in a VLAN, RTP with extensions or
//! contributing sources. Packets it relays are not seen by the host's packet filter.

mod program;
mod trial;

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::bpf::{Program, Shared, SharedArray};
use crate::route;
use program::{COUNTING, LENT, OURS, PASS, REDIRECT};
use trial::Trial;

/// Types of interfaces in `/sys/class/net/*/type` (`ARPHRD_*`) whose packets begin with an Ethernet header.
const ETHERNET: &str = "1";
const LOOPBACK: &str = "772";

/// The state of a lent stream, in memory that the kernel's program writes too. Addresses and ports are in the order of
/// the network, all other numbers in that of this machine.
#[repr(C, align(128))]
#[derive(Default)]
struct Cell {
    state: AtomicU32,
    source_ip: AtomicU32,
    source_port: AtomicU32,
    local_ip: AtomicU32,
    ssrc: AtomicU32,
    payload_type: AtomicU32,
    next_sequence: AtomicU32,
    clock_rate_hz: AtomicU32,
    transit: AtomicU32,
    jitter_sixteenths: AtomicU32,
    out_source_ip: AtomicU32,
    out_ip: AtomicU32,
    /// Both ports, as they stand in the header: source, destination.
    out_ports: AtomicU32,
    out_interface: AtomicU32,
    second_packets: AtomicU32,
    second: AtomicU64,
    opened_ns: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
    last_ns: AtomicU64,
}

// SAFETY: it consists of atomics, zeroes are valid, and its size is 128.
unsafe impl Shared for Cell {}

const _: () = assert!(size_of::<Cell>() == 128);

/// A stream that the kernel is to relay from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lent {
    /// Where its packets come from.
    pub source: SocketAddrV4,
    /// Where they arrive: the address of the socket that they would come up to.
    pub local: SocketAddrV4,
    /// From where they leave.
    pub from: SocketAddrV4,
    /// Where they go.
    pub to: SocketAddrV4,
    /// The only SSRC.
    pub ssrc: u32,
    /// The only payload type.
    pub payload_type: u8,
    /// The sequence number that is due.
    pub next_sequence: u16,
    /// When the relay was opened: what ages count from.
    pub opened_at: Instant,
    /// What the program carries on.
    pub state: LentState,
}

/// What the program carries on from packet to packet, beside their number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LentState {
    /// Ticks of the timestamp in a second.
    pub clock_rate_hz: u32,
    /// Arrival less timestamp of the last packet, in ticks, modulo 2^32 (RFC 3550 §A.8).
    pub transit: u32,
    /// Jitter in sixteenths of a tick (RFC 3550 §A.8).
    pub jitter_sixteenths: u32,
    /// The second in the age of the relay that is being counted in.
    pub second: u64,
    /// Packets in it.
    pub second_packets: u32,
}

/// What became of a lent stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returned {
    /// Packets that were relayed, each the next one.
    pub packets: u64,
    /// Their bytes, RTP headers included.
    pub bytes: u64,
    /// When the last came, if one did.
    pub last_at: Option<Instant>,
    /// What was carried on.
    pub state: LentState,
}

/// The program, and the cells of all streams it may relay.
pub struct FastPath {
    cells: SharedArray<Cell>,
    ports: RangeInclusive<u16>,
    program: Program,
    /// By their end the program ends.
    attached: Vec<OwnedFd>,
    interfaces: Vec<String>,
    clock: Clock,
}

/// The same moment by our clock and by the kernel's.
#[derive(Clone, Copy)]
struct Clock {
    instant: Instant,
    kernel_ns: u64,
}

impl FastPath {
    /// Loads the program for the even ones of `ports`, tries it, and shows it the packets of all Ethernet interfaces there
    /// are; of loopback too, if `loopback` is wanted.
    ///
    /// # Errors
    /// When the kernel is too old, or the process may not (`CAP_BPF` and `CAP_NET_ADMIN`), or the program fails its trial.
    pub fn start(ports: RangeInclusive<u16>, loopback: bool) -> io::Result<Self> {
        let mut fast_path = Self::load(ports)?;
        fast_path.try_out()?;
        for (name, index) in interfaces(loopback)? {
            let attached = fast_path.program.attach(index);
            fast_path.attached.push(attached.map_err(|error| {
                io::Error::new(error.kind(), format!("interface {name}: {error}"))
            })?);
            fast_path.interfaces.push(name);
        }
        match fast_path.interfaces.is_empty() {
            true => Err(io::Error::other("there is no Ethernet interface")),
            false => Ok(fast_path),
        }
    }

    fn load(ports: RangeInclusive<u16>) -> io::Result<Self> {
        // Media have even ports.
        let ports = ports.start().next_multiple_of(2)..=*ports.end();
        let count = usize::from(ports.end().saturating_sub(*ports.start())) / 2 + 1;
        let cells = SharedArray::new(count)?;
        let program = Program::load(&program::program(&ports, cells.descriptor()))?;
        Ok(Self {
            cells,
            ports,
            program,
            attached: Vec::new(),
            interfaces: Vec::new(),
            clock: Clock::now(),
        })
    }

    /// The interfaces whose packets the program sees.
    pub fn interfaces(&self) -> &[String] {
        &self.interfaces
    }

    /// Lends a stream to the kernel. False when it cannot be: its port is not one of ours, its cell is in use, or nobody
    /// knows the way.
    pub fn lend(&self, stream: &Lent) -> bool {
        let Some(cell) = self.cell(stream.local.port()) else {
            return false;
        };
        let way = route::interface_towards(*stream.from.ip(), *stream.to.ip());
        let (Ok(interface), false) = (way, stream.local.ip().is_unspecified()) else {
            return false;
        };
        if cell.state.load(Ordering::Acquire) != OURS {
            return false;
        }
        let ([a, b], [c, d]) = (
            stream.from.port().to_be_bytes(),
            stream.to.port().to_be_bytes(),
        );
        for (field, value) in [
            (&cell.source_ip, network_order(*stream.source.ip())),
            (&cell.source_port, u32::from(stream.source.port().to_be())),
            (&cell.local_ip, network_order(*stream.local.ip())),
            (&cell.ssrc, stream.ssrc.to_be()),
            (&cell.payload_type, u32::from(stream.payload_type)),
            (&cell.next_sequence, u32::from(stream.next_sequence)),
            (&cell.clock_rate_hz, stream.state.clock_rate_hz),
            (&cell.transit, stream.state.transit),
            (&cell.jitter_sixteenths, stream.state.jitter_sixteenths),
            (&cell.out_source_ip, network_order(*stream.from.ip())),
            (&cell.out_ip, network_order(*stream.to.ip())),
            (&cell.out_ports, u32::from_ne_bytes([a, b, c, d])),
            (&cell.out_interface, interface),
            (&cell.second_packets, stream.state.second_packets),
        ] {
            field.store(value, Ordering::Relaxed);
        }
        for (field, value) in [
            (&cell.second, stream.state.second),
            (&cell.opened_ns, self.clock.kernel_ns(stream.opened_at)),
            (&cell.packets, 0),
            (&cell.bytes, 0),
            (&cell.last_ns, 0),
        ] {
            field.store(value, Ordering::Relaxed);
        }
        cell.state.store(LENT, Ordering::Release);
        true
    }

    /// Takes the stream back that arrives on this port of ours, to be asked once after each time it was lent. From now on
    /// its packets come up to their socket.
    pub fn take_back(&self, port: u16) -> Option<Returned> {
        let cell = self.cell(port)?;
        // The program has a cell for the time of one packet, and is not interrupted.
        while let Err(COUNTING) =
            cell.state
                .compare_exchange(LENT, OURS, Ordering::Acquire, Ordering::Acquire)
        {
            std::hint::spin_loop();
        }
        let packets = cell.packets.load(Ordering::Relaxed);
        let last_ns = cell.last_ns.load(Ordering::Relaxed);
        Some(Returned {
            packets,
            bytes: cell.bytes.load(Ordering::Relaxed),
            last_at: (packets > 0).then(|| self.clock.instant(last_ns)),
            state: LentState {
                clock_rate_hz: cell.clock_rate_hz.load(Ordering::Relaxed),
                transit: cell.transit.load(Ordering::Relaxed),
                jitter_sixteenths: cell.jitter_sixteenths.load(Ordering::Relaxed),
                second: cell.second.load(Ordering::Relaxed),
                second_packets: cell.second_packets.load(Ordering::Relaxed),
            },
        })
    }

    fn cell(&self, port: u16) -> Option<&Cell> {
        if !self.ports.contains(&port) || !port.is_multiple_of(2) {
            return None;
        }
        self.cells.get(usize::from(port - self.ports.start()) / 2)
    }

    /// Runs the program on packets of our own, before anybody else's get to see it.
    fn try_out(&self) -> io::Result<()> {
        let trial = Trial::new(*self.ports.start());
        let failed = |what: &str| io::Error::other(format!("the program failed its trial: {what}"));
        if !self.lend(&trial.stream) {
            return Err(failed("a stream could not be lent"));
        }
        let next = trial.stream.next_sequence;
        let (verdict, packet) = self.program.test_run(&trial.packet(next))?;
        if verdict != REDIRECT || packet != trial.relayed(next) {
            return Err(failed("a packet was not relayed as it should be"));
        }
        let gap = trial.packet(next + 2);
        let (verdict, packet) = self.program.test_run(&gap)?;
        if verdict != PASS || packet != gap {
            return Err(failed("a packet was relayed that should not be"));
        }
        let returned = self.take_back(trial.stream.local.port());
        match returned.is_some_and(|returned| returned.packets == 1) {
            true => Ok(()),
            false => Err(failed("packets were counted wrongly")),
        }
    }
}

impl Clock {
    fn now() -> Self {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let instant = Instant::now();
        // SAFETY: the kernel writes one timespec to a place that is ours. It cannot fail for this clock.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
        Self {
            instant,
            kernel_ns: time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64,
        }
    }

    fn kernel_ns(self, at: Instant) -> u64 {
        let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        match at.checked_duration_since(self.instant) {
            Some(after) => self.kernel_ns.saturating_add(ns(after)),
            None => self.kernel_ns.saturating_sub(ns(self.instant - at)),
        }
    }

    fn instant(self, kernel_ns: u64) -> Instant {
        let after = Duration::from_nanos(kernel_ns.saturating_sub(self.kernel_ns));
        let before = Duration::from_nanos(self.kernel_ns.saturating_sub(kernel_ns));
        let instant = self.instant.checked_add(after).unwrap_or(self.instant);
        instant.checked_sub(before).unwrap_or(self.instant)
    }
}

fn network_order(ip: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(ip.octets())
}

/// Names and indexes of the interfaces whose packets the program understands.
fn interfaces(loopback: bool) -> io::Result<Vec<(String, u32)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/class/net")? {
        let folder = entry?.path();
        // One that is gone by now is none.
        let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default();
        let wanted = match read("type").trim() {
            ETHERNET => true,
            LOOPBACK => loopback,
            _ => false,
        };
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        if let (true, Ok(index)) = (wanted, read("ifindex").trim().parse()) {
            found.push((name.into_owned(), index));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests;
