//! The media ports of one shard.
//!
//! RTP takes an even port and RTCP the odd one above it (RFC 3550 §11), so ports are dealt in pairs. A pair is bound
//! when it is first needed and stays bound for good. When a call is over its far end may go on sending for a while:
//! the pair then rests for the *quiet time*, and whatever arrives meanwhile is read and thrown away, so that no call
//! ever hears the end of another. A port that another program holds is passed over and tried again later.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use sockets::UdpSocket;

/// How long a pair rests when the configuration says nothing. A far end that never hears our BYE stops after its own
/// media time-out, far later; these seconds cover packets on the way and a far end that is slow to hang up.
pub const PORT_QUIET_SECONDS: u64 = 5;

/// How long the ports of a process that is gone may still be its own, from the first of them on: the kernel lets go of
/// sockets that io_uring received from some time after the process has ended, tens of milliseconds where it is busy.
const HELD_ON_MAX: Duration = Duration::from_secs(1);

/// How often such a port is tried.
const HELD_ON_CHECK: Duration = Duration::from_millis(5);

/// Local addresses that one shard may carry media on.
const MAX_ADDRESSES: usize = 64;

/// Pairs that one request tries before it gives up: other programs seldom hold more ports in a row.
const BIND_ATTEMPTS: usize = 64;

/// An inclusive range of UDP ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest port; an odd one is skipped.
    pub first: u16,
    /// The highest port; an even one is skipped.
    pub last: u16,
}

impl PortRange {
    /// How many pairs fit.
    pub fn pairs(self) -> usize {
        let first = usize::from(self.first).div_ceil(2);
        let end = usize::from(self.last).div_ceil(2);
        end.saturating_sub(first)
    }

    /// Whether the pair with this RTP port is one of the range.
    pub(crate) fn contains(self, rtp_port: u16) -> bool {
        let pair = usize::from(rtp_port) / 2;
        let first = usize::from(self.first).div_ceil(2);
        (first..first + self.pairs()).contains(&pair)
    }

    /// Part `index` of `count` nearly equal parts; together they are the whole range.
    pub fn slice(self, index: usize, count: usize) -> PortRange {
        let start = usize::from(self.first).div_ceil(2);
        let pairs = self.pairs();
        let from = start + pairs * index / count;
        let upto = start + pairs * (index + 1) / count;
        PortRange {
            first: (from * 2) as u16,
            // An empty slice is a range whose last port lies below the first.
            last: (upto * 2).saturating_sub(1) as u16,
        }
    }
}

/// Identifies a pair while it is leased and afterwards. Its sockets are known to the media thread by the numbers
/// `rtp_key` and `rtp_key + 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PairId {
    pub(crate) address: IpAddr,
    pub(crate) rtp_port: u16,
    pub(crate) rtp_key: u32,
}

/// A pair for a call.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) pair: PairId,
    /// Its sockets, RTP and RTCP, when it was bound just now: the media thread does not have them yet.
    pub(crate) fresh: Option<(UdpSocket, UdpSocket)>,
}

/// Why there is no pair.
#[derive(Debug)]
pub(crate) enum NoPort {
    /// Every pair is in use, resting, or held by other programs.
    Exhausted,
    /// The system refused for another reason: no such address, too many open files.
    System(io::Error),
}

impl std::fmt::Display for NoPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoPort::Exhausted => f.write_str("no media port is free"),
            NoPort::System(error) => write!(f, "cannot bind a media port: {error}"),
        }
    }
}

/// How many pairs are in which state, all addresses together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PortCounts {
    pub(crate) in_use: usize,
    pub(crate) quiet: usize,
    pub(crate) free: usize,
}

/// Deals pairs and takes them back.
pub(crate) struct PortPool<B> {
    range: PortRange,
    quiet: Duration,
    bind: B,
    addresses: HashMap<IpAddr, Pairs>,
    /// Pairs outside of the range that have rested: nobody needs them any more.
    given_up: Vec<PairId>,
    /// Until when ports of an earlier process are waited for.
    held_on_until: Option<Instant>,
    next_key: u32,
}

/// The pairs on one local address. Every pair is in exactly one of these, or leased.
struct Pairs {
    /// Never bound, or found busy: in the order in which they are tried.
    unbound: VecDeque<u16>,
    /// Bound and rested; the longest rested first.
    free: VecDeque<PairId>,
    /// Bound and resting until the given time; the first to be free again first.
    quiet: VecDeque<(Instant, PairId)>,
    in_use: usize,
}

impl<B: FnMut(SocketAddr) -> io::Result<UdpSocket>> PortPool<B> {
    /// Ports of `range`, which rest for `quiet` after use; `bind` makes the sockets.
    pub(crate) fn new(range: PortRange, quiet: Duration, bind: B) -> Self {
        Self {
            range,
            quiet,
            bind,
            addresses: HashMap::new(),
            given_up: Vec::new(),
            held_on_until: None,
            next_key: 0,
        }
    }

    /// A pair on `address`, rested if it was in use before.
    pub(crate) fn lease(&mut self, now: Instant, address: IpAddr) -> Result<Lease, NoPort> {
        if self.addresses.len() >= MAX_ADDRESSES && !self.addresses.contains_key(&address) {
            return Err(NoPort::Exhausted);
        }
        let range = self.range;
        let pairs = self
            .addresses
            .entry(address)
            .or_insert_with(|| Pairs::new(range));
        pairs.rest(now, range, &mut self.given_up);
        if let Some(pair) = pairs.free.pop_front() {
            pairs.in_use += 1;
            return Ok(Lease { pair, fresh: None });
        }
        for _ in 0..BIND_ATTEMPTS.min(pairs.unbound.len()) {
            let Some(rtp_port) = pairs.unbound.pop_front() else {
                break;
            };
            match bind_pair(&mut self.bind, address, rtp_port) {
                Ok(sockets) => {
                    return Ok(pairs.bound(address, rtp_port, sockets, &mut self.next_key));
                }
                Err(error) => {
                    pairs.unbound.push_back(rtp_port);
                    if error.kind() != io::ErrorKind::AddrInUse {
                        return Err(NoPort::System(error));
                    }
                }
            }
        }
        Err(NoPort::Exhausted)
    }

    /// The very pair whose RTP port is `port`, of a call of an earlier process. It need not lie in our range: the
    /// configuration may have changed, but the far end of that call sends where it was told to.
    pub(crate) fn claim(&mut self, now: Instant, port: SocketAddr) -> Result<Lease, NoPort> {
        let (address, rtp_port) = (port.ip(), port.port());
        if self.addresses.len() >= MAX_ADDRESSES && !self.addresses.contains_key(&address) {
            return Err(NoPort::Exhausted);
        }
        // An odd port was none of ours, and the highest has none above it.
        if !rtp_port.is_multiple_of(2) {
            return Err(NoPort::System(io::ErrorKind::InvalidInput.into()));
        }
        let range = self.range;
        let pairs = self
            .addresses
            .entry(address)
            .or_insert_with(|| Pairs::new(range));
        pairs.rest(now, range, &mut self.given_up);
        if let Some(place) = pairs.free.iter().position(|pair| pair.rtp_port == rtp_port)
            && let Some(pair) = pairs.free.remove(place)
        {
            pairs.in_use += 1;
            return Ok(Lease { pair, fresh: None });
        }
        let until = *self.held_on_until.get_or_insert(now + HELD_ON_MAX);
        let sockets = loop {
            match bind_pair(&mut self.bind, address, rtp_port) {
                Ok(sockets) => break sockets,
                Err(error)
                    if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < until =>
                {
                    thread::sleep(HELD_ON_CHECK);
                }
                Err(error) => return Err(NoPort::System(error)),
            }
        };
        pairs.unbound.retain(|unbound| *unbound != rtp_port);
        Ok(pairs.bound(address, rtp_port, sockets, &mut self.next_key))
    }

    /// The pairs that rest after use.
    pub(crate) fn resting(&mut self, now: Instant) -> impl Iterator<Item = PairId> {
        for pairs in self.addresses.values_mut() {
            pairs.rest(now, self.range, &mut self.given_up);
        }
        let quiet = self.addresses.values().flat_map(|pairs| &pairs.quiet);
        quiet.map(|(_, pair)| *pair)
    }

    /// A pair outside of the range that is needed no more: its sockets can be closed.
    pub(crate) fn given_up(&mut self) -> Option<PairId> {
        self.given_up.pop()
    }

    /// Takes a leased pair back; it rests from `now` on.
    pub(crate) fn release(&mut self, now: Instant, pair: PairId) {
        let Some(pairs) = self.addresses.get_mut(&pair.address) else {
            return;
        };
        pairs.in_use = pairs.in_use.saturating_sub(1);
        pairs.quiet.push_back((now + self.quiet, pair));
    }

    /// How the pairs stand.
    pub(crate) fn counts(&mut self, now: Instant) -> PortCounts {
        let mut counts = PortCounts::default();
        for pairs in self.addresses.values_mut() {
            pairs.rest(now, self.range, &mut self.given_up);
            counts.in_use += pairs.in_use;
            counts.quiet += pairs.quiet.len();
            counts.free += pairs.free.len() + pairs.unbound.len();
        }
        if self.addresses.is_empty() {
            counts.free = self.range.pairs();
        }
        counts
    }
}

impl Pairs {
    fn new(range: PortRange) -> Self {
        let first = range.first.next_multiple_of(2);
        let unbound = (0..range.pairs()).map(|pair| first + 2 * pair as u16);
        Self {
            unbound: unbound.collect(),
            free: VecDeque::new(),
            quiet: VecDeque::new(),
            in_use: 0,
        }
    }

    /// A lease of a pair that was bound just now.
    fn bound(
        &mut self,
        address: IpAddr,
        rtp_port: u16,
        sockets: (UdpSocket, UdpSocket),
        next_key: &mut u32,
    ) -> Lease {
        let rtp_key = *next_key;
        *next_key += 2;
        self.in_use += 1;
        Lease {
            pair: PairId {
                address,
                rtp_port,
                rtp_key,
            },
            fresh: Some(sockets),
        }
    }

    /// Frees the pairs that have rested long enough, and gives those up that are not of the range.
    fn rest(&mut self, now: Instant, range: PortRange, given_up: &mut Vec<PairId>) {
        while let Some((_, pair)) = self.quiet.pop_front_if(|(until, _)| *until <= now) {
            if range.contains(pair.rtp_port) {
                self.free.push_back(pair);
            } else {
                given_up.push(pair);
            }
        }
    }
}

fn bind_pair(
    bind: &mut impl FnMut(SocketAddr) -> io::Result<UdpSocket>,
    address: IpAddr,
    rtp_port: u16,
) -> io::Result<(UdpSocket, UdpSocket)> {
    let rtp = bind((address, rtp_port).into())?;
    let rtcp = bind((address, rtp_port + 1).into())?;
    Ok((rtp, rtcp))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sockets::UdpOptions;
    use std::net::Ipv4Addr;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const QUIET: Duration = Duration::from_secs(5);

    fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
        UdpSocket::bind(address, UdpOptions::default())
    }

    /// `pairs` neighbouring pairs of ports that nobody holds right now.
    fn free_range(pairs: u16) -> PortRange {
        let any = SocketAddr::from((LOCAL, 0));
        loop {
            let first = bind(any).expect("bind").local().port().next_multiple_of(2);
            let Some(last) = first.checked_add(pairs * 2 - 1) else {
                continue;
            };
            if (first..=last).all(|port| bind((LOCAL, port).into()).is_ok()) {
                return PortRange { first, last };
            }
        }
    }

    #[test]
    fn a_range_counts_whole_pairs_and_slices_are_the_range() {
        let range = PortRange {
            first: 10_001,
            last: 10_008,
        };
        assert_eq!(range.pairs(), 3);
        let whole = PortRange {
            first: 10_000,
            last: 10_019,
        };
        let slices: Vec<_> = (0..3).map(|n| whole.slice(n, 3)).collect();
        assert_eq!(
            slices[0],
            PortRange {
                first: 10_000,
                last: 10_005
            }
        );
        assert_eq!(
            slices[1],
            PortRange {
                first: 10_006,
                last: 10_011
            }
        );
        assert_eq!(
            slices[2],
            PortRange {
                first: 10_012,
                last: 10_019
            }
        );
        let top = PortRange {
            first: 65_534,
            last: 65_535,
        };
        assert_eq!((top.pairs(), top.slice(0, 1)), (1, top));
        assert_eq!(top.slice(0, 2).pairs(), 0);
    }

    #[test]
    fn a_pair_rests_before_it_is_dealt_again_and_keeps_its_sockets() {
        let now = Instant::now();
        let mut pool = PortPool::new(free_range(1), QUIET, bind);
        let lease = pool.lease(now, LOCAL).expect("a pair");
        let sockets = lease.fresh.expect("bound on first use");
        assert_eq!(sockets.0.local().port() % 2, 0);
        assert_eq!(sockets.1.local().port(), sockets.0.local().port() + 1);
        assert!(matches!(pool.lease(now, LOCAL), Err(NoPort::Exhausted)));

        pool.release(now, lease.pair);
        let just_before = now + QUIET - Duration::from_millis(1);
        assert!(matches!(
            pool.lease(just_before, LOCAL),
            Err(NoPort::Exhausted)
        ));
        let again = pool.lease(now + QUIET, LOCAL).expect("rested");
        assert_eq!(again.pair, lease.pair);
        assert!(again.fresh.is_none(), "the sockets were kept");
    }

    #[test]
    fn a_port_of_another_program_is_passed_over_and_tried_again() {
        let now = Instant::now();
        let range = free_range(2);
        let busy = bind((LOCAL, range.first + 1).into()).expect("bind");
        let mut pool = PortPool::new(range, QUIET, bind);
        let first = pool.lease(now, LOCAL).expect("the second pair");
        assert_eq!(first.pair.rtp_port, range.first + 2);
        assert!(matches!(pool.lease(now, LOCAL), Err(NoPort::Exhausted)));
        drop(busy);
        let second = pool.lease(now, LOCAL).expect("the first pair, free by now");
        assert_eq!(second.pair.rtp_port, range.first);
        assert_ne!(second.pair.rtp_key, first.pair.rtp_key);
    }

    #[test]
    fn a_pair_of_the_last_run_is_had_again_and_dealt_to_nobody_else() {
        let now = Instant::now();
        let range = free_range(4);
        let dealt = PortRange {
            first: range.first,
            last: range.first + 3,
        };
        let mut pool = PortPool::new(dealt, QUIET, bind);
        let port = |port| SocketAddr::from((LOCAL, port));
        let claimed = pool.claim(now, port(range.first + 2)).expect("free");
        assert_eq!(claimed.pair.rtp_port, range.first + 2);
        assert!(claimed.fresh.is_some());
        assert!(pool.claim(now, port(range.first + 2)).is_err(), "taken");
        assert!(pool.claim(now, port(range.first + 1)).is_err(), "odd");
        let other = pool.lease(now, LOCAL).expect("the other pair");
        assert_eq!(other.pair.rtp_port, range.first);
        assert!(matches!(pool.lease(now, LOCAL), Err(NoPort::Exhausted)));
        // One that a former configuration had: it is not dealt again.
        let former = pool.claim(now, port(range.first + 6)).expect("free");
        assert_eq!(pool.counts(now).in_use, 3);
        pool.release(now, former.pair);
        pool.release(now, claimed.pair);
        assert_eq!(pool.counts(now + QUIET).free, 1);
        assert_eq!(pool.given_up(), Some(former.pair));
        assert_eq!(pool.given_up(), None);
        let again = pool
            .claim(now + QUIET, port(range.first + 2))
            .expect("rested");
        assert_eq!((again.pair, again.fresh.is_none()), (claimed.pair, true));
    }

    #[test]
    fn an_address_that_is_not_ours_is_an_error_of_the_system() {
        let mut pool = PortPool::new(
            PortRange {
                first: 20_000,
                last: 20_009,
            },
            QUIET,
            bind,
        );
        let foreign = "203.0.113.7".parse().expect("test address");
        assert!(matches!(
            pool.lease(Instant::now(), foreign),
            Err(NoPort::System(_))
        ));
    }

    #[test]
    fn counts_follow_the_pairs() {
        let now = Instant::now();
        let mut pool = PortPool::new(free_range(3), QUIET, bind);
        let lease = pool.lease(now, LOCAL).expect("a pair");
        let _held = pool.lease(now, LOCAL).expect("a pair");
        pool.release(now, lease.pair);
        let counts = pool.counts(now);
        assert_eq!((counts.in_use, counts.quiet, counts.free), (1, 1, 1));
        let counts = pool.counts(now + QUIET);
        assert_eq!((counts.in_use, counts.quiet, counts.free), (1, 0, 2));
    }
    #[test]
    fn a_port_that_a_process_which_is_gone_still_holds_is_waited_for() {
        let range = free_range(2);
        let mut refusals = 3;
        let mut pool = PortPool::new(range, QUIET, |address| {
            if refusals > 0 {
                refusals -= 1;
                return Err(io::ErrorKind::AddrInUse.into());
            }
            bind(address)
        });
        let claimed = pool.claim(Instant::now(), (LOCAL, range.first).into());
        assert_eq!(claimed.expect("free by then").pair.rtp_port, range.first);
    }
}
