//! Between `std::net::SocketAddr` and the kernel's `sockaddr_storage`.

use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Writes `address` into `storage` and returns how many bytes of it the kernel has to read.
pub(crate) fn store(address: &SocketAddr, storage: &mut libc::sockaddr_storage) -> libc::socklen_t {
    match address {
        SocketAddr::V4(v4) => {
            let raw = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from_ne_bytes(v4.ip().octets()),
                },
                sin_zero: [0; 8],
            };
            // SAFETY: `sockaddr_storage` is at least as large and as aligned as every other socket address, by
            // its definition (POSIX <sys/socket.h>); both are plain data, and we hold the only reference.
            unsafe { (&raw mut *storage).cast::<libc::sockaddr_in>().write(raw) };
            mem::size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(v6) => {
            let raw = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr {
                    s6_addr: v6.ip().octets(),
                },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: as above.
            unsafe { (&raw mut *storage).cast::<libc::sockaddr_in6>().write(raw) };
            mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

/// Reads what the kernel wrote; `None` for a family that is not IP or a name that was cut short.
pub(crate) fn load(storage: &libc::sockaddr_storage, bytes: libc::socklen_t) -> Option<SocketAddr> {
    let bytes = bytes as usize;
    match i32::from(storage.ss_family) {
        libc::AF_INET if bytes >= mem::size_of::<libc::sockaddr_in>() => {
            // SAFETY: the family says that the kernel wrote a `sockaddr_in`, which fits into the storage; plain
            // data of which every bit pattern is valid.
            let raw = unsafe { (&raw const *storage).cast::<libc::sockaddr_in>().read() };
            let ip = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(raw.sin_port)).into())
        }
        libc::AF_INET6 if bytes >= mem::size_of::<libc::sockaddr_in6>() => {
            // SAFETY: as above, with `sockaddr_in6`.
            let raw = unsafe { (&raw const *storage).cast::<libc::sockaddr_in6>().read() };
            let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
            let port = u16::from_be(raw.sin6_port);
            Some(SocketAddrV6::new(ip, port, raw.sin6_flowinfo, raw.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// As [`load`], out of bytes that may lie anywhere.
pub(crate) fn read(bytes: &[u8]) -> Option<SocketAddr> {
    let mut storage = empty();
    let length = bytes.len().min(mem::size_of_val(&storage));
    // SAFETY: `length` bytes are there to be read and fit where they are written; the storage is plain data.
    unsafe {
        (&raw mut storage)
            .cast::<u8>()
            .copy_from_nonoverlapping(bytes.as_ptr(), length);
    }
    load(&storage, length as libc::socklen_t)
}

/// An address of no family, to be overwritten.
pub(crate) fn empty() -> libc::sockaddr_storage {
    // SAFETY: `sockaddr_storage` is plain data for which all zeros is valid (family AF_UNSPEC).
    unsafe { mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_round_trip() {
        for text in ["127.0.0.2:5060", "[::1]:5060", "[fe80::1%3]:9"] {
            let address: SocketAddr = text.parse().expect("test address");
            let mut storage = empty();
            let bytes = store(&address, &mut storage);
            assert_eq!(load(&storage, bytes), Some(address));
        }
    }

    #[test]
    fn other_families_and_cut_names_are_refused() {
        let mut storage = empty();
        assert_eq!(load(&storage, 128), None);
        let bytes = store(&"10.0.0.1:1".parse().expect("test address"), &mut storage);
        assert_eq!(load(&storage, bytes - 1), None);
    }
}
