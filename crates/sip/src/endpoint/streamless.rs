//! Peers that take no stream, for a while: a large request need not find that out each time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long a peer that could not be reached by a stream is left alone with them. A firewall that drops the attempt
/// costs every large request three seconds otherwise; a peer that has learned to listen is believed soon enough.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Peers remembered; beyond that a further one is tried by stream each time.
const MAX_REMEMBERED: usize = 1024;

/// The peers and until when each is remembered.
#[derive(Debug, Default)]
pub(crate) struct Streamless {
    until: HashMap<SocketAddr, Instant>,
}

impl Streamless {
    /// A stream to this address could not be opened.
    pub(crate) fn note(&mut self, now: Instant, remote: SocketAddr) {
        if self.until.len() >= MAX_REMEMBERED {
            self.until.retain(|_, until| *until > now);
        }
        if self.until.len() < MAX_REMEMBERED {
            self.until.insert(remote, now + REMEMBERED);
        }
    }

    /// Whether that was so of late.
    pub(crate) fn has(&self, now: Instant, remote: SocketAddr) -> bool {
        self.until.get(&remote).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_has_an_end_and_a_bound() {
        let now = Instant::now();
        let peer = |number: usize| SocketAddr::from(([192, 0, 2, 1], number as u16));
        let mut peers = Streamless::default();
        for number in 0..=MAX_REMEMBERED {
            peers.note(now, peer(number));
        }
        assert!(peers.has(now, peer(0)) && !peers.has(now, peer(MAX_REMEMBERED)));
        let later = now + REMEMBERED;
        assert!(!peers.has(later, peer(0)));
        peers.note(later, peer(MAX_REMEMBERED));
        assert_eq!(peers.until.len(), 1, "the others have had their time");
    }
}
