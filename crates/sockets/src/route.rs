//! Asks the kernel by which interface a packet would leave: `RTM_GETROUTE` over netlink, see rtnetlink(7).

use std::io;
use std::mem;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const HEADER_BYTES: usize = mem::size_of::<libc::nlmsghdr>();
/// `struct rtmsg`.
const ROUTE_BYTES: usize = 12;
const ATTRIBUTE_BYTES: usize = 4;
const REQUEST_BYTES: usize = HEADER_BYTES + ROUTE_BYTES + 2 * (ATTRIBUTE_BYTES + 4);
const ANSWER_BYTES: usize = 1024;

/// The interface by which a packet between these addresses would leave, by its index.
pub(crate) fn interface_towards(from: Ipv4Addr, to: Ipv4Addr) -> io::Result<u32> {
    // SAFETY: no pointers are involved.
    let raw = unsafe {
        libc::socket(
            libc::AF_NETLINK,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            libc::NETLINK_ROUTE,
        )
    };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    let request = request(from, to);
    // SAFETY: the buffer is borrowed for the call and only read. The kernel answers before this returns.
    let sent = unsafe {
        libc::send(
            socket.as_raw_fd(),
            request.as_ptr().cast(),
            request.len(),
            0,
        )
    };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut answer = [0; ANSWER_BYTES];
    // SAFETY: the buffer is ours and as long as is said.
    let received = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            answer.as_mut_ptr().cast(),
            answer.len(),
            libc::MSG_DONTWAIT,
        )
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    read(&answer[..received])
}

fn request(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(REQUEST_BYTES);
    bytes.extend((REQUEST_BYTES as u32).to_ne_bytes());
    bytes.extend(libc::RTM_GETROUTE.to_ne_bytes());
    bytes.extend((libc::NLM_F_REQUEST as u16).to_ne_bytes());
    // Number of the request, and who asks: there is one of each.
    bytes.extend([0; 8]);
    // Family, lengths of the two addresses; the rest is for the kernel to find.
    bytes.extend([libc::AF_INET as u8, 32, 32]);
    bytes.resize(HEADER_BYTES + ROUTE_BYTES, 0);
    for (kind, address) in [(libc::RTA_DST, to), (libc::RTA_SRC, from)] {
        bytes.extend((ATTRIBUTE_BYTES as u16 + 4).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(address.octets());
    }
    bytes
}

fn read(answer: &[u8]) -> io::Result<u32> {
    let two = |at: usize| Some(u16::from_ne_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    let four = |at: usize| Some(u32::from_ne_bytes(answer.get(at..at + 4)?.try_into().ok()?));
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    match two(4).ok_or_else(damaged)? {
        kind if kind == libc::NLMSG_ERROR as u16 => {
            let code = four(HEADER_BYTES).ok_or_else(damaged)?.cast_signed();
            return Err(io::Error::from_raw_os_error(code.wrapping_neg()));
        }
        libc::RTM_NEWROUTE => {}
        _ => return Err(damaged()),
    }
    let mut at = HEADER_BYTES + ROUTE_BYTES;
    while let (Some(length), Some(kind)) = (two(at), two(at + 2)) {
        if kind == libc::RTA_OIF {
            return four(at + ATTRIBUTE_BYTES).ok_or_else(damaged);
        }
        // Attributes begin at multiples of four.
        at += usize::from(length).max(ATTRIBUTE_BYTES).next_multiple_of(4);
    }
    Err(damaged())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_reached_by_loopback_and_no_host_by_no_interface() {
        let host = Ipv4Addr::LOCALHOST;
        let index = std::fs::read_to_string("/sys/class/net/lo/ifindex").expect("an index");
        let found = interface_towards(host, Ipv4Addr::new(127, 0, 0, 2)).expect("a route");
        assert_eq!(found.to_string(), index.trim());
        assert!(interface_towards(host, Ipv4Addr::new(255, 255, 255, 254)).is_err());
    }

    #[test]
    fn no_answer_is_too_odd() {
        assert!(read(&[]).is_err());
        assert!(read(&[0; 20]).is_err());
        let mut endless = vec![0; 64];
        endless[4..6].copy_from_slice(&libc::RTM_NEWROUTE.to_ne_bytes());
        assert!(read(&endless).is_err());
    }
}
