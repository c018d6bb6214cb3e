//! Sockets that an earlier process left: what arrived while nobody listened waits in them.
//!
//! They come from a switch that is replaced by this one, or from the service manager, and say by themselves what they are.
//! Whoever is about to bind an address asks here first. What nobody asked for is closed once the switch runs.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use socket2::{Socket, Type};
use sockets::UdpSocket;
use tracing::debug;

use crate::ports::PortRange;

/// Sockets that an earlier process left, by the address they are bound to.
#[derive(Debug, Default)]
pub struct Inheritance {
    /// For the start alone: nobody asks while calls run.
    left: Mutex<Left>,
}

#[derive(Debug, Default)]
struct Left {
    datagrams: HashMap<SocketAddr, Vec<UdpSocket>>,
    listeners: HashMap<SocketAddr, TcpListener>,
}

impl Inheritance {
    /// Finds out what the descriptors are; those that are of no use are closed.
    pub fn of(descriptors: impl IntoIterator<Item = OwnedFd>) -> Self {
        let mut left = Left::default();
        for descriptor in descriptors {
            let socket = Socket::from(descriptor);
            let Some(local) = socket.local_addr().ok().and_then(|local| local.as_socket()) else {
                continue;
            };
            if socket.r#type().is_ok_and(|kind| kind == Type::DGRAM) {
                if let Ok(socket) = UdpSocket::adopt(socket.into()) {
                    left.datagrams.entry(local).or_default().push(socket);
                }
            } else if socket.is_listener().is_ok_and(|listens| listens)
                && socket.set_nonblocking(true).is_ok()
            {
                left.listeners.insert(local, socket.into());
            }
        }
        Self {
            left: Mutex::new(left),
        }
    }

    /// The socket that listens for streams on an address.
    pub fn listener(&self, address: SocketAddr) -> Option<TcpListener> {
        self.left().listeners.remove(&address)
    }

    /// All datagram sockets of an address, in no order that means anything.
    pub(crate) fn datagrams(&self, address: SocketAddr) -> Vec<UdpSocket> {
        self.left().datagrams.remove(&address).unwrap_or_default()
    }

    /// One datagram socket of an address.
    pub(crate) fn datagram(&self, address: SocketAddr) -> Option<UdpSocket> {
        self.left().datagrams.get_mut(&address)?.pop()
    }

    /// Where there are datagram sockets left for both ports of a pair of `range`.
    pub(crate) fn datagrams_in(&self, range: PortRange) -> Vec<SocketAddr> {
        let left = self.left();
        let has = |address| {
            left.datagrams
                .get(&address)
                .is_some_and(|it| !it.is_empty())
        };
        let pairs = left.datagrams.keys().copied().filter(|address| {
            range.contains(address.port())
                && address.port().is_multiple_of(2)
                && has(*address)
                && has((address.ip(), address.port() + 1).into())
        });
        pairs.collect()
    }

    /// Closes what nobody asked for.
    pub(crate) fn discard_rest(&self) {
        let rest = std::mem::take(&mut *self.left());
        let datagrams: usize = rest.datagrams.values().map(Vec::len).sum();
        let sockets = datagrams + rest.listeners.len();
        if sockets > 0 {
            debug!(sockets, "sockets of the earlier process are not needed");
        }
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sockets::UdpOptions;

    #[test]
    fn sockets_say_by_themselves_what_they_are() {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("test address");
        let shared = UdpOptions {
            reuse_port: true,
            ..UdpOptions::default()
        };
        let one = UdpSocket::bind(any, shared).expect("bind");
        let two = UdpSocket::bind(one.local(), shared).expect("bind");
        let listener = TcpListener::bind(any).expect("bind");
        let (udp, tcp) = (one.local(), listener.local_addr().expect("address"));
        let (pipe, _other) = std::os::unix::net::UnixStream::pair().expect("pair");
        let all: [OwnedFd; 4] = [one.into(), listener.into(), pipe.into(), two.into()];
        let inheritance = Inheritance::of(all);
        assert_eq!(inheritance.datagrams(udp).len(), 2);
        assert!(inheritance.datagram(udp).is_none(), "each is had once");
        let listener = inheritance.listener(tcp).expect("left");
        assert_eq!(listener.local_addr().expect("address"), tcp);
        assert!(inheritance.listener(tcp).is_none());
        inheritance.discard_rest();
    }
}
