//! Between call control and the media thread: gives each relay its ports, and takes them back.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::relay::{Command, Event, Opening, RelayId, SocketKey, Sockets};
use sockets::UdpSocket;

use crate::inheritance::Inheritance;
use crate::mailbox::{Refused, Sender};
use crate::media::{self as media_thread, MediaMail, NewPair};
use crate::ports::{Lease, PairId, PortCounts, PortPool, PortRange};

/// Commands kept while the media thread is behind. Beyond this, new relays are refused; commands for those that are
/// open are always kept, a few per call at most.
const BACKLOG_COMMANDS: usize = 4096;

/// How long the media thread is left alone while calls of the last run come back.
const CATCH_UP_PAUSE: Duration = Duration::from_micros(200);

type Bind = Box<dyn FnMut(SocketAddr) -> io::Result<UdpSocket> + Send>;

/// The media desk of one shard.
pub(crate) struct MediaDesk {
    pool: PortPool<Bind>,
    thread: Sender<MediaMail>,
    backlog: VecDeque<MediaMail>,
    range: PortRange,
    inheritance: Arc<Inheritance>,
    /// Sockets of relays that come back. The media thread gets them when it has been told everything about those relays:
    /// packets may wait in them, and would find nobody who knows where they go.
    held_back: Vec<NewPair>,
    /// Relays that hold ports.
    open: HashMap<RelayId, (PairId, PairId)>,
}

impl MediaDesk {
    /// Deals ports of `range`, resting for `quiet` after use, and talks to `thread`.
    pub(crate) fn new(
        range: PortRange,
        quiet: Duration,
        thread: Sender<MediaMail>,
        inheritance: Arc<Inheritance>,
    ) -> Self {
        let left = Arc::clone(&inheritance);
        let bind: Bind = Box::new(move |address| match left.datagram(address) {
            Some(left) => Ok(left),
            None => media_thread::bind(address),
        });
        Self {
            pool: PortPool::new(range, quiet, bind),
            range,
            inheritance,
            held_back: Vec::new(),
            thread,
            backlog: VecDeque::new(),
            open: HashMap::new(),
        }
    }

    /// Obeys; opening is answered at once.
    pub(crate) fn command(&mut self, now: Instant, command: Command) -> Option<Event> {
        let (relay, pairs, timeout, traffic) = match command {
            Command::Open {
                relay,
                a,
                b,
                timeout,
                traffic,
            } => (relay, self.lease_both(now, a, b), timeout, traffic),
            Command::Reopen {
                relay,
                a,
                b,
                timeout,
                traffic,
            } => (relay, self.both(now, [a, b], Self::claim), timeout, traffic),
            other => {
                self.pass(MediaMail::Command(other));
                return None;
            }
        };
        let (a, b) = match pairs {
            Ok(pairs) => pairs,
            Err(why) => return Some(Event::OpenFailed { relay, why }),
        };
        let opening = Opening {
            a: a.address,
            b: b.address,
            timeout,
            traffic,
            sockets: Sockets {
                a_rtp: SocketKey(a.rtp_key),
                a_rtcp: SocketKey(a.rtp_key + 1),
                b_rtp: SocketKey(b.rtp_key),
                b_rtcp: SocketKey(b.rtp_key + 1),
            },
        };
        self.open.insert(relay, (a, b));
        self.pass(MediaMail::Open { relay, opening });
        Some(Event::Opened {
            relay,
            a_port: a.rtp_port,
            b_port: b.rtp_port,
        })
    }

    /// Hears what the media thread says, before call control does: ports of a relay that is gone begin to rest.
    pub(crate) fn heard(&mut self, now: Instant, event: &Event) {
        if let Event::Closed { relay, .. } | Event::OpenFailed { relay, .. } = event
            && let Some((a, b)) = self.open.remove(relay)
        {
            self.pool.release(now, a);
            self.pool.release(now, b);
        }
    }

    /// Says that all relays that come back have been told of. Ports that an earlier process left beyond those were resting
    /// after a call, and rest on.
    pub(crate) fn all_are_back(&mut self, now: Instant) {
        for left in self.inheritance.datagrams_in(self.range) {
            if let Ok(pair) = self.claim(now, left) {
                self.pool.release(now, pair);
            }
        }
        if !self.held_back.is_empty() {
            let back = std::mem::take(&mut self.held_back);
            self.pass(MediaMail::AdoptAll(back));
        }
    }

    /// The keys of the pairs that are in use or rest. Whoever comes after us is to have their sockets; the others are as
    /// good as ports that were never bound.
    pub(crate) fn held(&mut self, now: Instant) -> HashSet<u32> {
        let in_use = self.open.values().flat_map(|(a, b)| [*a, *b]);
        let held = in_use.chain(self.pool.resting(now));
        held.map(|pair| pair.rtp_key).collect()
    }

    /// Waits while the media thread is behind. At the start only, when calls of the last run come back all at once: while
    /// calls run a shard never waits.
    pub(crate) fn catch_up(&mut self) {
        while self.backlog.len() >= BACKLOG_COMMANDS / 2 && !self.flush() {
            std::thread::sleep(CATCH_UP_PAUSE);
        }
    }

    /// Passes on what could not be before. `false` while some of it still waits.
    pub(crate) fn flush(&mut self) -> bool {
        while let Some(mail) = self.backlog.pop_front() {
            if let Err(Refused::Full(mail)) = self.thread.try_send(mail) {
                self.backlog.push_front(mail);
                return false;
            }
        }
        true
    }

    /// How the ports stand.
    pub(crate) fn counts(&mut self, now: Instant) -> PortCounts {
        let counts = self.pool.counts(now);
        while let Some(pair) = self.pool.given_up() {
            let rtp_key = pair.rtp_key;
            self.pass(MediaMail::Release { rtp_key });
        }
        counts
    }

    /// Ends the media thread once it has done what it was told before.
    pub(crate) fn stop(&mut self) {
        self.pass(MediaMail::Stop);
        while !self.flush() {
            std::thread::yield_now();
        }
    }

    /// Two pairs of ports that are free.
    fn lease_both(
        &mut self,
        now: Instant,
        a: IpAddr,
        b: IpAddr,
    ) -> Result<(PairId, PairId), String> {
        if self.backlog.len() >= BACKLOG_COMMANDS {
            return Err("the media thread is behind".into());
        }
        self.both(now, [a, b], Self::lease)
    }

    /// What `one` gives for each place, or nothing: where the second fails, the first is given back.
    fn both<P>(
        &mut self,
        now: Instant,
        [a, b]: [P; 2],
        one: fn(&mut Self, Instant, P) -> Result<PairId, String>,
    ) -> Result<(PairId, PairId), String> {
        let a = one(self, now, a)?;
        let b = one(self, now, b).inspect_err(|_| self.pool.release(now, a))?;
        Ok((a, b))
    }

    /// A pair that is free; new sockets go to the media thread at once.
    fn lease(&mut self, now: Instant, address: IpAddr) -> Result<PairId, String> {
        let lease = self.pool.lease(now, address);
        let (pair, new) = opened(lease.map_err(|error| error.to_string())?);
        if let Some(new) = new {
            self.pass(MediaMail::Adopt(new));
        }
        Ok(pair)
    }

    /// The very ports that a relay of an earlier process had.
    fn claim(&mut self, now: Instant, port: SocketAddr) -> Result<PairId, String> {
        let lease = self.pool.claim(now, port);
        let (pair, new) = opened(lease.map_err(|error| format!("{port}: {error}"))?);
        self.held_back.extend(new);
        Ok(pair)
    }

    /// Sends in order: nothing overtakes what waits.
    fn pass(&mut self, mail: MediaMail) {
        self.backlog.push_back(mail);
        self.flush();
    }
}

/// The pair of a lease, and its sockets where they are new.
fn opened(lease: Lease) -> (PairId, Option<NewPair>) {
    let Lease { pair, fresh } = lease;
    let rtp_key = pair.rtp_key;
    let new = fresh.map(|(rtp, rtcp)| NewPair { rtp_key, rtp, rtcp });
    (pair, new)
}
