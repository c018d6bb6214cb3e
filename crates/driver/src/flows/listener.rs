//! Accepts connections on one address.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tracing::warn;

use super::Told;

/// Connections that the kernel completes for us before we accept them.
const ACCEPT_BACKLOG: i32 = 512;

/// How long to wait when the system has no descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound, listening socket. Binding is a step of its own, so that a port in use is known before anything runs.
pub(crate) struct Listener {
    socket: std::net::TcpListener,
}

impl Listener {
    /// Binds `address`; an IPv6 address leaves IPv4 alone.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let kind = Type::STREAM.nonblocking();
        let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // After a restart, connections of the last run may still linger on the port.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(ACCEPT_BACKLOG)?;
        Ok(Self {
            socket: socket.into(),
        })
    }

    /// Takes over a socket that an earlier process bound.
    pub(crate) fn adopt(socket: std::net::TcpListener) -> Self {
        Self { socket }
    }

    /// Another handle of the socket, which keeps it open when this one is closed.
    pub(crate) fn try_clone(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone().map(OwnedFd::from)
    }

    /// The address with its real port.
    pub(crate) fn local(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Reports connections until nobody listens to the reports.
    pub(crate) async fn run(self, interface: u8, reports: mpsc::Sender<Told>) {
        let listener = match TcpListener::from_std(self.socket) {
            Ok(listener) => listener,
            Err(error) => {
                warn!(%error, "cannot listen for TCP connections");
                return;
            }
        };
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = reports.closed() => return,
            };
            let told = match accepted {
                Ok((stream, remote)) => Told::Accepted {
                    stream,
                    remote,
                    interface,
                },
                Err(error) => {
                    warn!(%error, "cannot accept a TCP connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            if reports.send(told).await.is_err() {
                return;
            }
        }
    }
}
