//! Descriptors that go from one process to the next: over a Unix socket, or by being there when it starts.

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Descriptors that one message carries at most; the kernel takes 253.
pub const DESCRIPTORS_PER_MESSAGE: usize = 200;

/// Room for the control data of one message.
const CONTROL_BYTES: usize = 1024;

/// The first descriptor that a service manager leaves to a process it starts: see sd_listen_fds(3).
const FIRST_LEFT: RawFd = 3;

/// Control data, aligned as the kernel wants it.
#[repr(C, align(8))]
struct Control([MaybeUninit<u8>; CONTROL_BYTES]);

/// Sends `bytes`, at least one of them, and copies of the descriptors with it (`SCM_RIGHTS`). How many of the bytes were
/// sent; the descriptors go with the first.
pub fn send_descriptors(
    socket: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    if bytes.is_empty() || descriptors.len() > DESCRIPTORS_PER_MESSAGE {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut piece = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut control = Control([MaybeUninit::zeroed(); CONTROL_BYTES]);
    let payload = mem::size_of_val(descriptors) as libc::c_uint;
    // SAFETY: plain data for which all zeros means "no name, no pieces, no control data".
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    if !descriptors.is_empty() {
        message.msg_control = (&raw mut control).cast();
        // SAFETY: arithmetic on a length; the bound above keeps it far below the buffer's.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(payload) } as _;
        // SAFETY: the header lies at the beginning of a buffer that is aligned for it, and has room for as many
        // descriptors as the bound above allows; a borrowed descriptor is one integer.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(payload) as _;
            let data = libc::CMSG_DATA(header).cast::<RawFd>();
            for (place, descriptor) in descriptors.iter().enumerate() {
                data.add(place).write_unaligned(descriptor.as_raw_fd());
            }
        }
    }
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the message points at one piece, borrowed for the call and only read, and at control data of ours.
    let sent = unsafe { libc::sendmsg(socket, &raw const message, libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Receives up to `bytes` and the descriptors that came with them. None of them survives an `exec`.
pub fn receive_descriptors(
    socket: impl AsFd,
    bytes: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut piece = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    let mut control = Control([MaybeUninit::zeroed(); CONTROL_BYTES]);
    // SAFETY: plain data for which all zeros means "no name, no pieces, no control data".
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = CONTROL_BYTES as _;
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the message points at one piece and a buffer for control data, both ours for the length of the call.
    let received = unsafe { libc::recvmsg(socket, &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    let mut descriptors = Vec::new();
    // SAFETY: the kernel has filled in the message; the macros walk the control data that it wrote, inside our buffer.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !header.is_null() {
        // SAFETY: a header that the macros found is a whole one. Descriptors in it were made for us by this very call
        // and belong to nobody else; their number follows from the length that the kernel wrote.
        unsafe {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let length = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(header).cast::<RawFd>();
                for place in 0..length / mem::size_of::<RawFd>() {
                    let descriptor = data.add(place).read_unaligned();
                    descriptors.push(OwnedFd::from_raw_fd(descriptor));
                }
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    Ok((received, descriptors))
}

/// Takes `count` descriptors that a service manager has left to this process, beginning with number 3. To be called once
/// and before the process opens anything itself; descriptors that are not open are left out.
pub fn take_left_descriptors(count: usize) -> Vec<OwnedFd> {
    static TAKEN: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    if TAKEN.swap(true, std::sync::atomic::Ordering::SeqCst) {
        return Vec::new();
    }
    let last = FIRST_LEFT.saturating_add(i32::try_from(count).unwrap_or_default());
    let open = (FIRST_LEFT..last).filter(|descriptor| {
        // SAFETY: sets a flag of a descriptor, or fails when there is none of that number.
        unsafe { libc::fcntl(*descriptor, libc::F_SETFD, libc::FD_CLOEXEC) == 0 }
    });
    // SAFETY: the descriptor is open, the service manager left it to us and nobody else, and it is taken once.
    open.map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{UdpOptions, UdpSocket};
    use std::os::unix::net::UnixStream;

    fn udp() -> UdpSocket {
        let any = "127.0.0.1:0".parse().expect("test address");
        UdpSocket::bind(any, UdpOptions::default()).expect("bind")
    }

    #[test]
    fn a_socket_that_was_handed_over_still_has_what_arrived_before() {
        let (from, to) = UnixStream::pair().expect("pair");
        let (left, alice) = (udp(), udp());
        alice.send_to(b"early", left.local()).expect("send");
        let address = left.local();
        send_descriptors(&from, b"x", &[left.as_fd()]).expect("sent");
        drop(left);
        alice.send_to(b"meanwhile", address).expect("send");
        let mut bytes = [0; 8];
        let (count, mut descriptors) = receive_descriptors(&to, &mut bytes).expect("received");
        assert_eq!((&bytes[..count], descriptors.len()), (&b"x"[..], 1));
        let heir = UdpSocket::adopt(descriptors.remove(0)).expect("a UDP socket");
        assert_eq!(heir.local(), address);
        let mut batch = crate::ReceiveBatch::new(4, 64);
        assert_eq!(batch.receive(&heir).expect("receive"), 2);
    }

    #[test]
    fn as_many_as_fit_go_with_one_message() {
        let (from, to) = UnixStream::pair().expect("pair");
        let sockets: Vec<_> = (0..DESCRIPTORS_PER_MESSAGE).map(|_| udp()).collect();
        let descriptors: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
        send_descriptors(&from, b"all", &descriptors).expect("sent");
        let (_, received) = receive_descriptors(&to, &mut [0; 8]).expect("received");
        assert_eq!(received.len(), DESCRIPTORS_PER_MESSAGE);
        let mut too_many = descriptors.clone();
        too_many.push(from.as_fd());
        assert!(send_descriptors(&from, b"all", &too_many).is_err());
        assert!(send_descriptors(&from, b"", &descriptors).is_err());
        drop(from);
        let (count, none) = receive_descriptors(&to, &mut [0; 8]).expect("the end");
        assert_eq!((count, none.len()), (0, 0));
    }

    #[test]
    fn what_is_no_udp_socket_is_not_adopted() {
        let (stream, _other) = UnixStream::pair().expect("pair");
        assert!(UdpSocket::adopt(stream.into()).is_err());
    }
}
