//! A look at every SIP message that passes, for ladders and traces.
//!
//! Nobody listens most of the time, and then the tap is one relaxed load. A listener that cannot keep up loses
//! messages, and a counter says how many: watching must never slow the calls down.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;

/// Messages that one listener may have waiting.
const LISTENER_MESSAGES: usize = 4096;

/// Listeners at one time.
const MAX_LISTENERS: usize = 16;

/// One SIP message, as it was on the wire.
#[derive(Clone, Debug)]
pub struct Traced {
    /// When it was read or about to be written.
    pub at: Instant,
    /// It came in; otherwise it went out.
    pub received: bool,
    /// Our end.
    pub local: SocketAddr,
    /// The far end.
    pub remote: SocketAddr,
    /// `true` on TCP or TLS.
    pub stream: bool,
    /// The message.
    pub bytes: Bytes,
}

/// Where messages are offered. Clones are the same tap.
#[derive(Clone, Default)]
pub struct Tap {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Whether there is any listener; what the threads look at.
    open: AtomicBool,
    lost: AtomicU64,
    listeners: Mutex<Vec<mpsc::Sender<Traced>>>,
}

impl Tap {
    /// Messages from now on, until the receiver is dropped. `None` when too many listen already.
    pub fn listen(&self) -> Option<mpsc::Receiver<Traced>> {
        let (sender, receiver) = mpsc::channel(LISTENER_MESSAGES);
        let mut listeners = self.listeners();
        listeners.retain(|listener| !listener.is_closed());
        if listeners.len() >= MAX_LISTENERS {
            return None;
        }
        listeners.push(sender);
        self.shared.open.store(true, Ordering::Relaxed);
        Some(receiver)
    }

    /// Messages that a listener was too slow for.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Offers the message that `traced` makes, if anybody listens.
    pub(crate) fn offer(&self, traced: impl FnOnce() -> Traced) {
        if self.shared.open.load(Ordering::Relaxed) {
            self.hand_out(traced());
        }
    }

    #[cold]
    fn hand_out(&self, traced: Traced) {
        let mut listeners = self.listeners();
        listeners.retain(|listener| match listener.try_send(traced.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.shared.lost.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        });
        self.shared
            .open
            .store(!listeners.is_empty(), Ordering::Relaxed);
    }

    fn listeners(&self) -> std::sync::MutexGuard<'_, Vec<mpsc::Sender<Traced>>> {
        // The list is whole after every statement, so a panic elsewhere does not spoil it.
        self.shared
            .listeners
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Traced {
        let any = "127.0.0.1:5060".parse().expect("test address");
        Traced {
            at: Instant::now(),
            received: true,
            local: any,
            remote: any,
            stream: false,
            bytes: Bytes::from_static(b"OPTIONS"),
        }
    }

    #[test]
    fn nothing_is_made_when_nobody_listens() {
        let tap = Tap::default();
        tap.offer(|| panic!("nobody asked for this"));
        drop(tap.listen());
        tap.offer(message);
        tap.offer(|| panic!("the listener has gone"));
    }

    #[test]
    fn a_slow_listener_loses_messages_and_the_loss_is_counted() {
        let tap = Tap::default();
        let mut listener = tap.listen().expect("room for one");
        for _ in 0..LISTENER_MESSAGES + 3 {
            tap.offer(message);
        }
        assert_eq!(tap.lost(), 3);
        assert_eq!(listener.try_recv().expect("a message").bytes, "OPTIONS");
    }
}
