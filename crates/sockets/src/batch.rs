//! Many datagrams, one system call: `recvmmsg` and `sendmmsg` on buffers that are allocated once.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{mem, ptr};

use crate::UdpSocket;
use crate::address;

/// A datagram in a [`ReceiveBatch`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub source: SocketAddr,
    /// Its payload; at most as long as the batch's `datagram_bytes`.
    pub bytes: &'a [u8],
    /// It was longer, and the rest is lost.
    pub truncated: bool,
}

/// Buffers for receiving. One may serve any number of sockets in turn.
pub struct ReceiveBatch {
    buffers: Box<[u8]>,
    datagram_bytes: usize,
    names: Box<[libc::sockaddr_storage]>,
    pieces: Box<[libc::iovec]>,
    controls: Box<[Control]>,
    headers: Box<[libc::mmsghdr]>,
    filled: usize,
}

/// Room for one control message with a time, aligned as such messages are.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// Header and timespec, rounded up.
const CONTROL_BYTES: usize = 64;

// SAFETY: the raw pointers in `pieces` and `headers` point into boxes owned by the same value, are rewritten before
// every use, and are never followed outside `receive`, which takes `&mut self`.
unsafe impl Send for ReceiveBatch {}

impl ReceiveBatch {
    /// Room for `capacity` datagrams of `datagram_bytes` each.
    pub fn new(capacity: usize, datagram_bytes: usize) -> Self {
        Self {
            buffers: vec![0; capacity * datagram_bytes].into_boxed_slice(),
            datagram_bytes,
            names: vec![address::empty(); capacity].into_boxed_slice(),
            pieces: vec![empty_piece(); capacity].into_boxed_slice(),
            controls: vec![Control([0; CONTROL_BYTES]); capacity].into_boxed_slice(),
            headers: vec![empty_header(); capacity].into_boxed_slice(),
            filled: 0,
        }
    }

    /// Takes what waits on `socket`, up to the capacity, and says how many datagrams that were; 0 = nothing waits.
    /// What an earlier call received is gone.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.filled = 0;
        let buffers = self.buffers.chunks_exact_mut(self.datagram_bytes);
        let slots = buffers
            .zip(&mut self.names)
            .zip(&mut self.pieces)
            .zip(&mut self.controls)
            .zip(&mut self.headers);
        for ((((buffer, name), piece), control), header) in slots {
            *piece = libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            };
            *header = empty_header();
            header.msg_hdr.msg_name = (&raw mut *name).cast();
            header.msg_hdr.msg_namelen =
                mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_iov = piece;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL_BYTES as _;
        }
        // SAFETY: every header points to one piece, name and control of this batch, each piece to its own
        // `datagram_bytes` of `buffers`; all of them outlive the call and nobody else refers to them meanwhile.
        let received = unsafe {
            libc::recvmmsg(
                socket.raw(),
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        if received < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                _ => Err(error),
            };
        }
        self.filled = received as usize;
        Ok(self.filled)
    }

    /// What the last [`ReceiveBatch::receive`] brought, in order of arrival. A datagram from an address that is not
    /// IP is left out.
    pub fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        (0..self.filled).filter_map(|index| {
            let header = &self.headers[index];
            let source = address::load(&self.names[index], header.msg_hdr.msg_namelen)?;
            let start = index * self.datagram_bytes;
            let length = (header.msg_len as usize).min(self.datagram_bytes);
            Some(Datagram {
                source,
                bytes: &self.buffers[start..start + length],
                truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            })
        })
    }
}

impl ReceiveBatch {
    /// As [`ReceiveBatch::datagrams`], but lets each datagram be rewritten in its buffer.
    pub fn for_each(&mut self, mut handle: impl FnMut(Arrived<'_>)) {
        let buffers = self.buffers.chunks_exact_mut(self.datagram_bytes);
        let slots = buffers
            .zip(&self.names)
            .zip(&self.controls)
            .zip(&self.headers);
        for (((buffer, name), control), header) in slots.take(self.filled) {
            let Some(source) = address::load(name, header.msg_hdr.msg_namelen) else {
                continue;
            };
            let length = (header.msg_len as usize).min(buffer.len());
            #[allow(
                clippy::unnecessary_cast,
                reason = "a usize with glibc, an unsigned int with musl"
            )]
            let control_bytes = header.msg_hdr.msg_controllen as usize;
            handle(Arrived {
                source,
                at: arrival(control, control_bytes),
                truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
                length,
                buffer,
            });
        }
    }
}

/// A datagram whose bytes may be rewritten.
#[derive(Debug)]
pub struct Arrived<'a> {
    /// Who sent it.
    pub source: SocketAddr,
    /// When the kernel had it, by the wall clock; `None` unless the socket was bound with
    /// [`crate::UdpOptions::arrival_times`].
    pub at: Option<SystemTime>,
    /// It was longer, and the rest is lost.
    pub truncated: bool,
    /// Its payload in the buffer it came into; what lies behind `length` is free.
    pub buffer: &'a mut [u8],
    /// Bytes of the payload.
    pub length: usize,
}

/// Reads the time out of a control message. Such a message is a `cmsghdr` and, aligned, a `timespec`.
fn arrival(control: &Control, filled: usize) -> Option<SystemTime> {
    const HEADER: usize = mem::size_of::<libc::cmsghdr>();
    if filled < HEADER + mem::size_of::<libc::timespec>() {
        return None;
    }
    // SAFETY: `control` is aligned for a cmsghdr and longer than one; plain data, valid with any bits.
    let header = unsafe { control.0.as_ptr().cast::<libc::cmsghdr>().read() };
    if header.cmsg_level != libc::SOL_SOCKET || header.cmsg_type != libc::SCM_TIMESTAMPNS {
        return None;
    }
    // SAFETY: the kernel wrote a timespec behind the header, whose size keeps the alignment; checked to lie within
    // what it wrote, and that within `control`.
    let time = unsafe {
        control
            .0
            .as_ptr()
            .add(HEADER)
            .cast::<libc::timespec>()
            .read()
    };
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanoseconds = u32::try_from(time.tv_nsec).ok()?;
    Some(UNIX_EPOCH + Duration::new(seconds, nanoseconds))
}

/// Headers for sending. The payloads stay where they are.
pub struct SendBatch {
    names: Box<[libc::sockaddr_storage]>,
    pieces: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

// SAFETY: as for `ReceiveBatch`: the pointers are written in `send` and never followed after it returns.
unsafe impl Send for SendBatch {}

impl SendBatch {
    /// Sends up to `capacity` datagrams per system call.
    pub fn new(capacity: usize) -> Self {
        Self {
            names: vec![address::empty(); capacity].into_boxed_slice(),
            pieces: vec![empty_piece(); capacity].into_boxed_slice(),
            headers: vec![empty_header(); capacity].into_boxed_slice(),
        }
    }

    /// Sends all of `datagrams`, in order, and tells `failed` the index of each that could not be sent and why; the
    /// others go out all the same. A full socket buffer counts as a failure: UDP promises nothing, and waiting here
    /// would stop everything else.
    pub fn send<B: AsRef<[u8]>>(
        &mut self,
        socket: &UdpSocket,
        datagrams: &[(SocketAddr, B)],
        mut failed: impl FnMut(usize, io::Error),
    ) {
        let mut next = 0;
        while next < datagrams.len() {
            let upto = datagrams.len().min(next + self.headers.len());
            match self.send_some(socket, &datagrams[next..upto]) {
                Ok(sent) => next += sent,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The error belongs to the first datagram of this call: sendmmsg reports how many went out when
                // any did.
                Err(error) => {
                    failed(next, error);
                    next += 1;
                }
            }
        }
    }

    fn send_some<B: AsRef<[u8]>>(
        &mut self,
        socket: &UdpSocket,
        datagrams: &[(SocketAddr, B)],
    ) -> io::Result<usize> {
        let slots = datagrams
            .iter()
            .zip(&mut self.names)
            .zip(&mut self.pieces)
            .zip(&mut self.headers);
        for ((((to, bytes), name), piece), header) in slots {
            let bytes = bytes.as_ref();
            let name_bytes = address::store(to, name);
            *piece = libc::iovec {
                iov_base: bytes.as_ptr().cast_mut().cast(),
                iov_len: bytes.len(),
            };
            *header = empty_header();
            header.msg_hdr.msg_name = (&raw mut *name).cast();
            header.msg_hdr.msg_namelen = name_bytes;
            header.msg_hdr.msg_iov = piece;
            header.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: the first `datagrams.len()` headers, no more than the batch has, were just pointed at names and
        // pieces of this batch and at payloads borrowed for the length of the call; the kernel only reads the
        // payloads.
        let sent = unsafe {
            libc::sendmmsg(
                socket.raw(),
                self.headers.as_mut_ptr(),
                datagrams.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
            )
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(sent as usize)
    }
}

fn empty_piece() -> libc::iovec {
    libc::iovec {
        iov_base: ptr::null_mut(),
        iov_len: 0,
    }
}

fn empty_header() -> libc::mmsghdr {
    // SAFETY: plain data for which all zeros means "no name, no pieces, no control data".
    unsafe { mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Poller, UdpOptions};

    fn socket() -> UdpSocket {
        let any = "127.0.0.1:0".parse().expect("test address");
        UdpSocket::bind(any, UdpOptions::default()).expect("bind")
    }

    #[test]
    fn a_batch_larger_than_the_capacity_arrives_in_order() {
        let (from, to) = (socket(), socket());
        let datagrams: Vec<_> = (0..10u8).map(|n| (to.local(), vec![n; 3])).collect();
        let mut failures = 0;
        SendBatch::new(4).send(&from, &datagrams, |_, _| failures += 1);
        assert_eq!(failures, 0);

        let mut batch = ReceiveBatch::new(4, 64);
        let mut seen = Vec::new();
        while batch.receive(&to).expect("receive") > 0 {
            seen.extend(batch.datagrams().map(|d| {
                assert_eq!(d.source, from.local());
                d.bytes[0]
            }));
        }
        assert_eq!(seen, (0..10).collect::<Vec<u8>>());
    }

    #[test]
    fn one_bad_destination_does_not_stop_the_others() {
        let (from, to) = (socket(), socket());
        let nowhere: SocketAddr = "[::1]:9".parse().expect("test address");
        let datagrams = [(to.local(), b"a"), (nowhere, b"b"), (to.local(), b"c")];
        let mut failures = Vec::new();
        SendBatch::new(8).send(&from, &datagrams, |index, _| failures.push(index));
        assert_eq!(failures, [1]);

        let mut batch = ReceiveBatch::new(8, 64);
        assert_eq!(batch.receive(&to).expect("receive"), 2);
    }

    #[test]
    fn arrival_times_are_those_of_the_kernel() {
        let any = "127.0.0.1:0".parse().expect("test address");
        let options = UdpOptions {
            arrival_times: true,
            ..UdpOptions::default()
        };
        let (from, to) = (socket(), UdpSocket::bind(any, options).expect("bind"));
        let before = SystemTime::now();
        for _ in 0..2 {
            from.send_to(b"a", to.local()).expect("send");
        }
        let mut batch = ReceiveBatch::new(4, 8);
        assert_eq!(batch.receive(&to).expect("receive"), 2);
        // Not before the look: what arrives while the kernel has not yet begun to note times gets that of the look.
        let after = SystemTime::now();
        // The kernel's clock may be read more coarsely than ours.
        let slack = Duration::from_millis(20);
        batch.for_each(|arrived| {
            let at = arrived.at.expect("a time");
            assert!(
                before - slack <= at && at <= after + slack,
                "{at:?} is not between {before:?} and {after:?}"
            );
        });

        to.send_to(b"a", from.local()).expect("send");
        assert_eq!(batch.receive(&from).expect("receive"), 1);
        batch.for_each(|arrived| assert_eq!(arrived.at, None));
    }

    #[test]
    fn a_long_datagram_says_that_it_was_cut() {
        let (from, to) = (socket(), socket());
        from.send_to(&[7; 20], to.local()).expect("send");
        let poller = Poller::new().expect("poller");
        poller.add(&to, 0).expect("add");
        let mut batch = ReceiveBatch::new(1, 8);
        assert_eq!(batch.receive(&to).expect("receive"), 1);
        let datagram = batch.datagrams().next().expect("one datagram");
        assert!(datagram.truncated);
        assert_eq!(datagram.bytes.len(), 8);
    }
}
