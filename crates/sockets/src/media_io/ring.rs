//! The engine that makes few system calls: io_uring.
//!
//! Every socket has one standing order, a *multishot* receive: the kernel puts whatever comes into the next free buffer
//! of a common pool and says so in the completion queue. What is to be sent is written into the submission queue, and
//! one system call hands over all of it and brings the next completions. So the price of entering the kernel is shared by
//! all packets of a look.
//!
//! Nobody is woken for a packet: the work that a packet makes for us waits in the kernel (`DEFER_TASKRUN`) until the
//! thread enters it again. That needs Linux 6.1. Where this engine does not work, be it for an older kernel or because
//! a container forbids it, [`Polled`](super::polled::Polled) does the same more slowly.

use std::alloc::{self, Layout};
use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use io_uring::types::{BufRingEntry, Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};

use super::{Clocks, MEDIA_PACKET_BYTES, Onward, Packet, Turn};
use crate::{UdpSocket, Waker, address};

/// Packets that may lie in buffers at one time. When there are more, the rest stays with its sockets until the first
/// have been sent on. A power of two.
const BUFFERS: u16 = 1024;

/// Requests that one system call hands over at most.
const REQUESTS: u32 = 512;

/// Answers that the kernel may owe us before it has to allocate: a packet in each buffer, and some.
const COMPLETIONS: u32 = 4096;

/// In front of each packet: what `struct io_uring_recvmsg_out` says of it, four words of 32 bits.
const OUT_BYTES: usize = 16;
/// Then who sent it: room for an IPv6 address with all that belongs to it.
const NAME_BYTES: usize = mem::size_of::<libc::sockaddr_in6>();
/// Then when it came: a control message, which is a `cmsghdr` and a `timespec`.
const CONTROL_BYTES: usize = 36;
const PACKET_AT: usize = OUT_BYTES + NAME_BYTES + CONTROL_BYTES;

/// Bytes from one buffer to the next. What is not for the packet tells a long one from one that fits.
const BUFFER_BYTES: usize = 2048;

const _: () = assert!(BUFFERS.is_power_of_two());
const _: () = assert!(
    CONTROL_BYTES >= mem::size_of::<libc::cmsghdr>() + mem::size_of::<libc::timespec>()
        && PACKET_AT + MEDIA_PACKET_BYTES < BUFFER_BYTES
);

/// The pool of buffers, as the ring knows it.
const POOL: u16 = 0;

/// Names of requests. A receive is named by its socket's key, with the number of its order above it, for a key may come
/// to name another socket.
const WAKER: u64 = 1 << 32;
const SEND: u64 = 2 << 32;
const CANCEL: u64 = 3 << 32;
const ORDER_BIT: u32 = 34;

/// An answer of the kernel.
#[derive(Clone, Copy)]
struct Completion {
    name: u64,
    result: i32,
    flags: u32,
}

/// One ring with its buffers.
pub(super) struct Ring {
    // Before the memory that the kernel may write to for as long as the ring is open.
    ring: IoUring,
    pool: Pool,
    /// What a receive is to bring besides the packet. The kernel reads it when it is told to receive.
    wanted: Box<libc::msghdr>,
    /// Where the packets go that are queued; the kernel reads them when they are handed over.
    destinations: Box<[libc::sockaddr_storage]>,
    queued: usize,
    /// Buffers whose packets are queued or done with. They return to the pool once nothing is queued.
    used: Vec<u16>,
    /// Sockets that have no standing order, and their descriptors.
    idle: VecDeque<(u32, Fd)>,
    /// By key: which of its orders stands.
    orders: Vec<u64>,
    /// Packets that came and were not looked at yet.
    arrived: VecDeque<Completion>,
    failed: u64,
    waker: Waker,
    waker_watched: bool,
    woken: bool,
}

impl Ring {
    pub(super) fn new(waker: Waker) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .build(REQUESTS)?;
        let pool = Pool::new();
        // SAFETY: the memory is as large as the kernel is told, aligned to a page, and outlives the ring: it is freed
        // after the ring was closed, being the later field.
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(pool.address(), BUFFERS, POOL, 0)?;
        }
        Ok(Self {
            ring,
            pool,
            wanted: Box::new(wanted()),
            destinations: vec![address::empty(); REQUESTS as usize].into_boxed_slice(),
            queued: 0,
            used: Vec::with_capacity(BUFFERS.into()),
            idle: VecDeque::new(),
            orders: Vec::new(),
            arrived: VecDeque::with_capacity(BUFFERS.into()),
            failed: 0,
            waker,
            waker_watched: false,
            woken: false,
        })
    }

    /// Receives from `socket` from the next wait on. It has to stay open until it is removed.
    pub(super) fn add(&mut self, key: u32, socket: &UdpSocket) {
        let index = key as usize;
        if self.orders.len() <= index {
            self.orders.resize(index + 1, 0);
        }
        self.orders[index] += 1;
        self.idle.push_back((key, Fd(socket.raw())));
    }

    /// Receives no more from the socket `key`, which is not among `sockets` any more. What came from it before is
    /// forgotten.
    pub(super) fn remove(&mut self, key: u32, sockets: &[Option<UdpSocket>]) {
        self.idle.retain(|(idle, _)| *idle != key);
        let cancel = opcode::AsyncCancel::new(self.name(key))
            .build()
            .user_data(CANCEL);
        while !self.push(&cancel) {
            if self.enter(sockets, Some(Duration::ZERO)).is_err() {
                return;
            }
        }
        // At once, for as long as the order stands the kernel keeps the socket, and with it the port.
        let _ = self.enter(sockets, Some(Duration::ZERO));
    }

    fn name(&self, key: u32) -> u64 {
        let order = self.orders.get(key as usize).copied().unwrap_or_default();
        order << ORDER_BIT | u64::from(key)
    }

    /// Hands over what is queued and waits for packets, the waker or `timeout`.
    pub(super) fn wait(
        &mut self,
        sockets: &[Option<UdpSocket>],
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        if !self.idle.is_empty() {
            // First free the buffers that lack them.
            self.flush(sockets);
        }
        // As many as there is room for, each once: an order that finds no free buffer ends at once, and there is none as
        // long as what arrived was not relayed.
        for _ in 0..self.idle.len() {
            let Some((key, descriptor)) = self.idle.pop_front() else {
                break;
            };
            let receive = opcode::RecvMsgMulti::new(descriptor, &raw const *self.wanted, POOL);
            let name = self.name(key);
            if !self.push(&receive.build().user_data(name)) {
                self.idle.push_front((key, descriptor));
                break;
            }
        }
        if !self.waker_watched {
            let waker = Fd(self.waker.as_fd().as_raw_fd());
            let watch = opcode::PollAdd::new(waker, libc::POLLIN as u32);
            self.waker_watched = self.push(&watch.build().user_data(WAKER));
        }
        let timeout = match self.arrived.is_empty() && self.idle.is_empty() {
            true => timeout,
            false => Some(Duration::ZERO),
        };
        self.enter(sockets, timeout)?;
        // Asked, not left to the answers: the kernel may bring a packet first that came after the wake-up.
        self.woken = self.waker.wait(Duration::ZERO)?;
        Ok(())
    }

    /// The last wait found the waker used.
    pub(super) fn is_woken(&self) -> bool {
        self.woken
    }

    /// Packets came that were not relayed yet.
    pub(super) fn has_packets(&self) -> bool {
        !self.arrived.is_empty()
    }

    /// Relays what came. The packets leave with the next wait or [`Ring::flush`].
    pub(super) fn relay(
        &mut self,
        sockets: &[Option<UdpSocket>],
        turn: &mut Turn,
        decide: &mut impl FnMut(&mut Packet<'_>) -> Option<Onward>,
    ) {
        let clock = Clocks::now();
        // Those alone that wait now: handing over may bring more, and a flood must not keep commands waiting.
        for _ in 0..self.arrived.len() {
            if self.is_full() {
                self.flush(sockets);
                if self.is_full() {
                    return;
                }
            }
            let Some(Completion {
                name,
                result,
                flags,
            }) = self.arrived.pop_front()
            else {
                return;
            };
            let Some(buffer) = cqueue::buffer_select(flags) else {
                continue;
            };
            // Noted first: whatever happens below, the buffer goes back. That is when requests are handed over, which
            // happens nowhere below.
            self.used.push(buffer);
            let filled = usize::try_from(result).unwrap_or_default();
            // SAFETY: the kernel gave us this buffer and has it back only after `used` is emptied, which needs `self`
            // as a whole; nobody else refers to it, for each completion names another buffer.
            let bytes = unsafe { self.pool.bytes_mut(buffer) };
            let key = name as u32;
            if name != self.name(key) || !matches!(sockets.get(key as usize), Some(Some(_))) {
                continue;
            }
            turn.received += 1;
            let Some(arrived) = Arrived::read(bytes, filled) else {
                turn.oversized += 1;
                continue;
            };
            let mut packet = Packet {
                socket: key,
                source: arrived.source,
                at: clock.instant(arrived.at),
                length: arrived.length,
                buffer: &mut bytes[PACKET_AT..PACKET_AT + MEDIA_PACKET_BYTES],
            };
            let Some(onward) = decide(&mut packet) else {
                continue;
            };
            let packet = &packet.buffer[..packet.length.min(MEDIA_PACKET_BYTES)];
            let (start, length) = (packet.as_ptr(), packet.len() as u32);
            let out = sockets.get(onward.socket as usize).and_then(Option::as_ref);
            let Some(out) = out else {
                turn.failed += 1;
                continue;
            };
            let destination = &mut self.destinations[self.queued];
            let destination_bytes = address::store(&onward.to, destination);
            let destination = (&raw const *destination).cast();
            self.queued += 1;
            // Not waiting, a packet is with the network or refused by the time the system call returns.
            let send = opcode::Send::new(Fd(out.raw()), start, length)
                .flags(libc::MSG_DONTWAIT)
                .dest_addr(destination)
                .dest_addr_len(destination_bytes)
                .build()
                .user_data(SEND)
                .flags(squeue::Flags::SKIP_SUCCESS);
            match self.push(&send) {
                true => turn.sent += 1,
                false => turn.failed += 1,
            }
        }
    }

    /// Hands over what is queued, and nothing more: what comes meanwhile stays with its sockets.
    pub(super) fn flush(&mut self, sockets: &[Option<UdpSocket>]) {
        if self.queued > 0 || !self.used.is_empty() {
            // Should it fail, the next wait hands over the same and says so.
            let _ = self.ring.submit();
            self.collect(sockets);
            self.reuse();
        }
    }

    /// Packets of this turn that were queued and then refused by the network.
    pub(super) fn take_failed(&mut self) -> u64 {
        mem::take(&mut self.failed)
    }

    /// Whether there is no room for another packet to be sent.
    fn is_full(&mut self) -> bool {
        self.queued == self.destinations.len() || self.ring.submission().is_full()
    }

    /// Queues a request; false when there is no room for it.
    fn push(&mut self, request: &squeue::Entry) -> bool {
        // SAFETY: what requests point to lives as long as the ring (`wanted`) or until it was handed over
        // (`destinations` and buffers, which are not used again before the queue was empty).
        unsafe { self.ring.submission().push(request) }.is_ok()
    }

    /// The system call: hands over, lets the kernel do what packets left to do, and waits if it may.
    fn enter(
        &mut self,
        sockets: &[Option<UdpSocket>],
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let requests = self.ring.submission().len() as u32;
        let limit = timeout.map(|timeout| {
            Timespec::new()
                .sec(timeout.as_secs())
                .nsec(timeout.subsec_nanos())
        });
        let mut args = SubmitArgs::new();
        if let Some(limit) = &limit {
            args = args.timespec(limit);
        }
        let answers = u32::from(timeout != Some(Duration::ZERO));
        let flags = (EnterFlags::GETEVENTS | EnterFlags::EXT_ARG).bits();
        // SAFETY: as many requests as are in the queue, and arguments of the kind that the flag announces, which live
        // until the call returns.
        let entered = unsafe {
            self.ring
                .submitter()
                .enter(requests, answers, flags, Some(&args))
        };
        self.collect(sockets);
        self.reuse();
        match entered {
            Ok(_) => Ok(()),
            // The time is over; a signal came; answers have to be taken first, which was done now.
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Once everything was handed over, what it stood in is free.
    fn reuse(&mut self) {
        if self.ring.submission().is_empty() {
            self.queued = 0;
            self.pool.put(&mut self.used);
        }
    }

    /// Takes what the kernel answered.
    fn collect(&mut self, sockets: &[Option<UdpSocket>]) {
        for entry in self.ring.completion() {
            let completion = Completion {
                name: entry.user_data(),
                result: entry.result(),
                flags: entry.flags(),
            };
            match completion.name {
                WAKER => self.waker_watched = false,
                // Success is not answered.
                SEND => self.failed += 1,
                CANCEL => {}
                name => {
                    let key = name as u32;
                    if cqueue::buffer_select(completion.flags).is_some() {
                        self.arrived.push_back(completion);
                    }
                    // The order has ended: no buffer was free, or an earlier packet bounced.
                    let order = self.orders.get(key as usize).copied();
                    if !cqueue::more(completion.flags)
                        && order == Some(name >> ORDER_BIT)
                        && let Some(Some(socket)) = sockets.get(key as usize)
                    {
                        self.idle.push_back((key, Fd(socket.raw())));
                    }
                }
            }
        }
    }
}

/// How much room there is in front of a packet. It has sizes and no addresses: the buffer is the kernel's choice.
fn wanted() -> libc::msghdr {
    // SAFETY: plain data for which all zeros means "nothing is wanted".
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_namelen = NAME_BYTES as libc::socklen_t;
    header.msg_controllen = CONTROL_BYTES as _;
    header
}

/// A packet in its buffer.
struct Arrived {
    source: std::net::SocketAddr,
    at: Option<std::time::SystemTime>,
    length: usize,
}

impl Arrived {
    /// Reads what stands in front of a packet; `None` when it is too long or not from an IP address.
    fn read(bytes: &[u8], filled: usize) -> Option<Self> {
        let word = |at: usize| {
            let bytes = bytes.get(at..at + 4)?;
            Some(u32::from_ne_bytes(bytes.try_into().ok()?))
        };
        let (name, control, flags) = (word(0)?, word(4)?, word(12)?);
        let length = filled.checked_sub(PACKET_AT)?;
        if length > MEDIA_PACKET_BYTES || flags & libc::MSG_TRUNC as u32 != 0 {
            return None;
        }
        let name = bytes[OUT_BYTES..][..NAME_BYTES].get(..name as usize)?;
        let control = bytes[OUT_BYTES + NAME_BYTES..][..CONTROL_BYTES].get(..control as usize);
        Some(Self {
            source: address::read(name)?,
            at: control.and_then(arrival),
            length,
        })
    }
}

/// Reads the time out of a control message.
fn arrival(control: &[u8]) -> Option<std::time::SystemTime> {
    const HEADER: usize = mem::size_of::<libc::cmsghdr>();
    let word = |at: usize| {
        Some(i32::from_ne_bytes(
            control.get(at..at + 4)?.try_into().ok()?,
        ))
    };
    let level = word(mem::offset_of!(libc::cmsghdr, cmsg_level))?;
    let kind = word(mem::offset_of!(libc::cmsghdr, cmsg_type))?;
    if level != libc::SOL_SOCKET || kind != libc::SCM_TIMESTAMPNS {
        return None;
    }
    let time = control.get(HEADER..HEADER + mem::size_of::<libc::timespec>())?;
    // SAFETY: as many bytes as a timespec has, read without asking for alignment; plain data, valid with any bits.
    let time = unsafe { time.as_ptr().cast::<libc::timespec>().read_unaligned() };
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanoseconds = u32::try_from(time.tv_nsec).ok()?;
    Some(UNIX_EPOCH + Duration::new(seconds, nanoseconds))
}

/// Buffers, and the ring in which the kernel is told which of them are free.
struct Pool {
    memory: NonNull<u8>,
    tail: u16,
}

impl Pool {
    const RING_BYTES: usize = BUFFERS as usize * mem::size_of::<BufRingEntry>();

    /// The ring in front, which has to begin at a page, and the buffers behind it.
    const LAYOUT: Layout =
        match Layout::from_size_align(Self::RING_BYTES + BUFFERS as usize * BUFFER_BYTES, 4096) {
            Ok(layout) => layout,
            Err(_) => panic!("a size that cannot be"),
        };

    fn new() -> Self {
        // SAFETY: the layout is not empty.
        let memory = unsafe { alloc::alloc_zeroed(Self::LAYOUT) };
        let Some(memory) = NonNull::new(memory) else {
            alloc::handle_alloc_error(Self::LAYOUT);
        };
        let mut pool = Self { memory, tail: 0 };
        let mut all = (0..BUFFERS).collect();
        pool.put(&mut all);
        pool
    }

    fn address(&self) -> u64 {
        self.memory.as_ptr() as u64
    }

    fn start(&self, buffer: u16) -> *mut u8 {
        let at = Self::RING_BYTES + usize::from(buffer % BUFFERS) * BUFFER_BYTES;
        // SAFETY: within the memory, whatever the number.
        unsafe { self.memory.as_ptr().add(at) }
    }

    /// The bytes of a buffer.
    ///
    /// # Safety
    ///
    /// The kernel has handed it to us, and nobody else has a reference to it.
    unsafe fn bytes_mut<'a>(&self, buffer: u16) -> &'a mut [u8] {
        // SAFETY: within the memory, which was zeroed at first; the rest is up to the caller.
        unsafe { std::slice::from_raw_parts_mut(self.start(buffer), BUFFER_BYTES) }
    }

    /// Gives buffers to the kernel, and empties the list.
    fn put(&mut self, buffers: &mut Vec<u16>) {
        if buffers.is_empty() {
            return;
        }
        let entries = self.memory.as_ptr().cast::<BufRingEntry>();
        for buffer in buffers.drain(..) {
            let place = usize::from(self.tail % BUFFERS);
            // SAFETY: a place of the ring, which is memory of ours; the kernel reads no place that lies beyond the
            // tail, and the number of buffers is that of the places.
            let entry = unsafe { &mut *entries.add(place) };
            entry.set_addr(self.start(buffer) as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
        }
        // SAFETY: the tail lies in the first entry of the ring, and both sides use it as an atomic.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(entries).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout.
        unsafe { alloc::dealloc(self.memory.as_ptr(), Self::LAYOUT) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_without_a_time_or_an_address_is_read_for_what_it_is() {
        let mut bytes = [0; BUFFER_BYTES];
        assert!(Arrived::read(&bytes, PACKET_AT - 1).is_none());
        // No name: not from an IP address.
        assert!(Arrived::read(&bytes, PACKET_AT + 5).is_none());

        let name = [
            &(libc::AF_INET as u16).to_ne_bytes()[..],
            &[0x13, 0xc4, 192, 0, 2, 1],
        ];
        bytes[OUT_BYTES..OUT_BYTES + 8].copy_from_slice(&name.concat());
        bytes[..4].copy_from_slice(&16u32.to_ne_bytes());
        let arrived = Arrived::read(&bytes, PACKET_AT + 5).expect("a packet");
        assert_eq!(arrived.source, "192.0.2.1:5060".parse().expect("address"));
        assert_eq!((arrived.at, arrived.length), (None, 5));

        assert!(Arrived::read(&bytes, PACKET_AT + MEDIA_PACKET_BYTES + 1).is_none());
        bytes[12..16].copy_from_slice(&(libc::MSG_TRUNC as u32).to_ne_bytes());
        assert!(Arrived::read(&bytes, PACKET_AT + 5).is_none());
    }
}
