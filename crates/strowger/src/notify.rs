//! Telling the service manager how it goes: the notification protocol of sd_notify(3).
//!
//! A datagram with lines of `NAME=value` to the Unix socket that `NOTIFY_SOCKET` names. Where no service manager
//! listens, nothing is sent and nothing fails.

use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// What our sockets are called where the manager keeps them.
const STORE_NAME: &str = "strowger";

/// Sockets that the service manager kept from an earlier process of this service. To be asked once, before this process
/// opens anything.
pub(crate) fn kept_sockets() -> Vec<OwnedFd> {
    let number = |name| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse::<usize>().ok())
    };
    // A process that inherited these variables from another is not meant.
    if number("LISTEN_PID") != Some(std::process::id() as usize) {
        return Vec::new();
    }
    sockets::take_left_descriptors(number("LISTEN_FDS").unwrap_or_default())
}

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub(crate) struct ServiceManager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Looks into the environment that the service manager left for us.
    pub(crate) fn from_environment() -> Self {
        let socket = std::env::var("NOTIFY_SOCKET")
            .ok()
            .and_then(|name| connect(&name).ok());
        let ours =
            std::env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        let watchdog = std::env::var("WATCHDOG_USEC")
            .ok()
            .filter(|_| ours && socket.is_some())
            .and_then(|text| text.parse().ok());
        Self {
            socket,
            watchdog: watchdog
                .filter(|micros| *micros > 0)
                .map(Duration::from_micros),
        }
    }

    /// How often [`alive`](Self::alive) is expected: half of the time after which the manager would step in.
    pub(crate) fn sign_of_life_every(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// All doors are open.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// The end has begun; `status` says what is waited for.
    pub(crate) fn stopping(&self, status: &str) {
        self.send(&format!("STOPPING=1\nSTATUS={status}"));
    }

    /// Another process is the switch now.
    pub(crate) fn succeeded_by(&self, process: u32) {
        self.send(&format!("MAINPID={process}"));
    }

    /// Asks the manager to keep sockets for whoever is started after us, in place of those that it has.
    pub(crate) fn keep(&self, sockets: &[OwnedFd]) {
        let Some(manager) = &self.socket else {
            return;
        };
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={STORE_NAME}"));
        let message = format!("FDSTORE=1\nFDNAME={STORE_NAME}");
        for some in sockets.chunks(sockets::DESCRIPTORS_PER_MESSAGE) {
            let some: Vec<_> = some.iter().map(AsFd::as_fd).collect();
            // It may have no store, or no room in it: then they are made anew at the next start.
            let _ = sockets::send_descriptors(manager, message.as_bytes(), &some);
        }
    }

    /// A sign of life.
    pub(crate) fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        if let Some(socket) = &self.socket {
            // A manager that went away is no reason to stop switching calls.
            let _ = socket.send(message.as_bytes());
        }
    }
}

/// `@name` is an abstract address, everything else a path.
fn connect(name: &str) -> std::io::Result<UnixDatagram> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_hears_each_line() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("bind");
        let notify = ServiceManager {
            socket: connect(path.to_str().expect("UTF-8")).ok(),
            watchdog: Some(Duration::from_secs(20)),
        };
        assert_eq!(notify.sign_of_life_every(), Some(Duration::from_secs(10)));
        notify.ready("answering");
        let mut buffer = [0; 64];
        let length = manager.recv(&mut buffer).expect("a datagram");
        assert_eq!(&buffer[..length], b"READY=1\nSTATUS=answering");
    }

    #[test]
    fn the_manager_is_given_sockets_to_keep() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("bind");
        let notify = ServiceManager {
            socket: connect(path.to_str().expect("UTF-8")).ok(),
            watchdog: None,
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        notify.keep(&[listener.into()]);
        let mut buffer = [0; 64];
        let length = manager.recv(&mut buffer).expect("a datagram");
        assert_eq!(&buffer[..length], b"FDSTOREREMOVE=1\nFDNAME=strowger");
        let (length, kept) =
            sockets::receive_descriptors(&manager, &mut buffer).expect("a datagram");
        assert_eq!(&buffer[..length], b"FDSTORE=1\nFDNAME=strowger");
        assert_eq!(kept.len(), 1);
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        let notify = ServiceManager::default();
        notify.stopping("bye");
        assert_eq!(notify.sign_of_life_every(), None);
    }
}
