//! UDP sockets: how they are bound.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

/// How a [`UdpSocket`] is bound.
#[derive(Clone, Copy, Debug, Default)]
pub struct UdpOptions {
    /// Several sockets share one address and the kernel spreads the senders over them (`SO_REUSEPORT`).
    pub reuse_port: bool,
    /// What the kernel may keep for us until we read, in bytes. The system's `net.core.rmem_max` caps it.
    pub receive_buffer_bytes: Option<usize>,
    /// What the kernel may keep for the wire, in bytes. The system's `net.core.wmem_max` caps it.
    pub send_buffer_bytes: Option<usize>,
    /// Differentiated services code point of what we send (RFC 2474): 46 for voice, 24 for signalling.
    pub dscp: Option<u8>,
    /// The kernel notes when each datagram arrived: see [`crate::Arrived::at`].
    pub arrival_times: bool,
}

/// A bound, non-blocking UDP socket. An IPv6 socket speaks IPv6 only, so that the IPv4 wildcard can be bound beside it
/// and no peer ever appears as an IPv4-mapped address.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Socket,
    local: SocketAddr,
}

impl UdpSocket {
    /// Binds to `address`; port 0 takes any free one.
    pub fn bind(address: SocketAddr, options: UdpOptions) -> io::Result<Self> {
        let domain = Domain::for_address(address);
        let kind = Type::DGRAM.nonblocking();
        let socket = Socket::new(domain, kind, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_port(options.reuse_port)?;
        // A smaller buffer than asked for is no reason to stop, so failures here are let pass.
        if let Some(bytes) = options.receive_buffer_bytes {
            let _ = socket.set_recv_buffer_size(bytes);
        }
        if let Some(bytes) = options.send_buffer_bytes {
            let _ = socket.set_send_buffer_size(bytes);
        }
        if let Some(dscp) = options.dscp {
            let field = u32::from(dscp) << 2;
            let _ = match address {
                SocketAddr::V4(_) => socket.set_tos_v4(field),
                SocketAddr::V6(_) => socket.set_tclass_v6(field),
            };
        }
        if options.arrival_times {
            note_arrival_times(&socket)?;
        }
        socket.bind(&address.into())?;
        let local = socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        Ok(Self { socket, local })
    }

    /// Takes over a socket that another process bound with [`UdpSocket::bind`]; what it was bound with stays.
    pub fn adopt(descriptor: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(descriptor);
        if socket.r#type()? != Type::DGRAM {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let local = socket.local_addr()?.as_socket();
        let local = local.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, local })
    }

    /// The address it is bound to, with the real port.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sends one datagram. Batches are cheaper: see [`crate::SendBatch`].
    pub fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.socket.send_to(bytes, &to.into())
    }

    pub(crate) fn raw(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl From<UdpSocket> for OwnedFd {
    fn from(socket: UdpSocket) -> Self {
        socket.socket.into()
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn note_arrival_times(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads one int, of the size that we say, during the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            std::mem::size_of_val(&on) as libc::socklen_t,
        )
    };
    match set {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The address from which this host would send to the rest of the world: what a wildcard bind has to advertise.
/// Connecting a UDP socket asks the routing table and sends nothing. `None` without a default route of that family.
pub fn outgoing_address(ipv6: bool) -> Option<std::net::IpAddr> {
    // Any public address does; these two belong to the documentation ranges (RFC 5737, RFC 3849).
    let (any, far): (SocketAddr, SocketAddr) = if ipv6 {
        let far = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
        ((Ipv6Addr::UNSPECIFIED, 0).into(), (far, 9).into())
    } else {
        let far = Ipv4Addr::new(203, 0, 113, 1);
        ((Ipv4Addr::UNSPECIFIED, 0).into(), (far, 9).into())
    };
    let socket = std::net::UdpSocket::bind(any).ok()?;
    socket.connect(far).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_an_error_and_reuse_port_shares_it() {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("test address");
        let first = UdpSocket::bind(any, UdpOptions::default()).expect("bind");
        let taken = UdpSocket::bind(first.local(), UdpOptions::default());
        assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AddrInUse);

        let shared = UdpOptions {
            reuse_port: true,
            ..UdpOptions::default()
        };
        let one = UdpSocket::bind(any, shared).expect("bind");
        let two = UdpSocket::bind(one.local(), shared).expect("second bind");
        assert_eq!(one.local(), two.local());
    }

    #[test]
    fn both_families_share_a_port() {
        let v4 = UdpSocket::bind(
            "0.0.0.0:0".parse().expect("test address"),
            UdpOptions::default(),
        )
        .expect("bind v4");
        let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, v4.local().port()));
        UdpSocket::bind(v6, UdpOptions::default()).expect("an IPv6 socket is IPv6 only");
    }
}
