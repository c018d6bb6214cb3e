//! Peers are asked again and again whether they are there, so that calls need not find out.
//!
//! | state | when | what follows |
//! |---|---|---|
//! | unknown | it has never answered, or there is no way to it | nothing: many peers ignore OPTIONS and take calls |
//! | up | it answered | the next question follows in an interval, a tenth sooner or later |
//! | down | it had answered, and then missed [`MISSES`] questions | routes pass it over, emergency calls try it last; it is asked more often |
//!
//! Only the shard that a connection's key hashes to asks; it tells the others. Nothing is asked unless the operator
//! wants it: no field of a connection says so, peers that nobody agreed it with may take it amiss, and other switches
//! (Kamailio's dispatcher, Asterisk's qualify, FreeSWITCH's ping) ask nobody by default either. What calls find out by
//! themselves is the [quarantine](crate::quarantine)'s.

use crate::agenda::Agenda;
use crate::core::Core;
use crate::directory::{Connection, Directory, DirectoryChange};
use crate::options;
use crate::plan::Candidate;
use crate::switch::Output;
use model::datetime::format_utc;
use model::{ConnectionKey, OptionsState, Reachability, ReachabilityState};
use sip::event::RequestId;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Questions in a row without a sign of life that make a peer count as down. Each is sent four times in four seconds,
/// so two of them outlast lost datagrams and the restart of a small PBX.
pub(crate) const MISSES: u32 = 2;

/// The pause after a first miss.
const RETRY: Duration = Duration::from_secs(5);

/// How often a peer that is down is asked, where the interval is longer.
const DOWN_INTERVAL: Duration = Duration::from_secs(10);

/// Questions that one shard begins in a second. Where that is too few for the interval, the interval gets longer.
pub const PINGS_PER_SECOND: u32 = 200;

/// Connections that one shard asks; those beyond stay unknown.
pub(crate) const MAX_PINGED: usize = 50_000;

/// How much an interval is shorter or longer by chance, in percent, so that trunks do not fall into step.
const JITTER_PERCENT: u64 = 10;

/// The connections that this shard asks.
#[derive(Debug)]
pub(crate) struct Pings {
    /// `None`: nobody is asked.
    interval: Option<Duration>,
    entries: Agenda<Pinged>,
    requests: HashMap<RequestId, usize>,
    /// By state, in the order of [`ReachabilityState::ALL`].
    counts: [usize; 3],
    sent: u64,
    missed: u64,
}

#[derive(Debug)]
struct Pinged {
    connection: Arc<Connection>,
    state: ReachabilityState,
    /// Since when, in milliseconds since the Unix epoch.
    since_ms: i64,
    /// Status of the last answer; `None` when the last question had none.
    status: Option<u16>,
    misses: u32,
    request: Option<RequestId>,
}

/// Numbers for the metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PingStats {
    /// By state, in the order of [`ReachabilityState::ALL`].
    pub(crate) by_state: [usize; 3],
    pub(crate) sent: u64,
    pub(crate) missed: u64,
}

/// Why a candidate's peer is taken to be down. One that no route led to is tried all the same, for there is no other.
pub(crate) fn silence(directory: &Directory, candidate: &Candidate) -> Option<String> {
    if !candidate.by_route {
        return None;
    }
    let since_ms = directory.silent_since_ms(&candidate.target)?;
    Some(format!(
        "it has not answered OPTIONS since {} UTC",
        format_utc(since_ms)
    ))
}

/// Whether we ever call the peer of this connection.
fn wanted(connection: &Connection) -> bool {
    connection.record.connection_term_enabled
}

/// Whether a new version of a record leads to the same peer.
fn same_way(one: &Connection, other: &Connection) -> bool {
    let way = |connection: &Connection| {
        let record = &connection.record;
        (
            record.connection_address.clone(),
            record.connection_sip_transport_protocol,
            record.connection_bind_to_alternate_interface_enabled,
            record.connection_sip_get_new_dialog_destination_from,
        )
    };
    way(one) == way(other)
}

impl Pings {
    pub(crate) fn new(now: Instant, interval: Option<Duration>) -> Self {
        Self {
            interval: interval.filter(|interval| !interval.is_zero()),
            entries: Agenda::new(now, PINGS_PER_SECOND),
            requests: HashMap::new(),
            counts: [0; 3],
            sent: 0,
            missed: 0,
        }
    }

    /// When [`on_time`](Self::on_time) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.entries.poll_timeout()
    }

    pub(crate) fn stats(&self) -> PingStats {
        PingStats {
            by_state: self.counts,
            sent: self.sent,
            missed: self.missed,
        }
    }

    /// How it stands with one connection, which is this shard's; `None` where nobody asks.
    pub(crate) fn state_of(&self, key: &ConnectionKey) -> Option<OptionsState> {
        self.interval?;
        let pinged = self.entries.of(key)?;
        Some(OptionsState {
            state: pinged.state,
            since_ms: pinged.since_ms,
            status: pinged.status,
        })
    }

    /// Hears what the directory has just taken over.
    pub(crate) fn on_change(&mut self, core: &mut Core, change: &DirectoryChange) {
        let Some(interval) = self.interval else {
            return;
        };
        let (domain, part) = match change {
            DirectoryChange::Swap(part) => (&part.name, Some(part)),
            DirectoryChange::Remove(domain) => (domain, None),
            _ => return,
        };
        let mut new: HashMap<&str, &Arc<Connection>> = part
            .iter()
            .flat_map(|part| &part.connections)
            .filter(|connection| wanted(connection) && core.is_mine(&connection.record.key()))
            .map(|connection| {
                let pattern = connection.record.connection_orig_match_pattern.as_str();
                (pattern, connection)
            })
            .collect();
        for slot in self.entries.slots_of(domain) {
            let Some((key, pinged)) = self.entries.get_mut(slot) else {
                continue;
            };
            let Some(connection) = new.remove(key.connection_orig_match_pattern.as_str()) else {
                self.leave(core, slot);
                continue;
            };
            let same = same_way(&pinged.connection, connection);
            pinged.connection = Arc::clone(connection);
            if !same {
                // Nothing is known of the new one.
                self.forget_request(slot);
                self.turn(core, slot, ReachabilityState::Unknown, None);
                self.entries.wake_at(slot, core.clock.now);
            }
        }
        // In the order of the records, so that a start is the same every time.
        for connection in part.iter().flat_map(|part| &part.connections) {
            let pattern = connection.record.connection_orig_match_pattern.as_str();
            if new.contains_key(pattern) && self.entries.len() < MAX_PINGED {
                let pinged = Pinged {
                    connection: Arc::clone(connection),
                    state: ReachabilityState::Unknown,
                    since_ms: core.clock.unix_ms,
                    status: None,
                    misses: 0,
                    request: None,
                };
                let slot = self.entries.insert(connection.record.key(), pinged);
                self.counts[ReachabilityState::Unknown as usize] += 1;
                let spread = interval.as_millis() as u64;
                let first = Duration::from_millis(core.random.below(spread.max(1)));
                self.entries.wake_at(slot, core.clock.now + first);
            }
        }
    }

    /// Asks nobody any more: the switch stops.
    pub(crate) fn stop(&mut self) {
        self.interval = None;
        self.entries.forget_times();
    }

    /// Asks whoever is due.
    pub(crate) fn on_time(&mut self, core: &mut Core) {
        let Some(interval) = self.interval else {
            return;
        };
        while let Some(slot) = self.entries.next_due(core.clock.now) {
            if !self.entries.take_turn(slot, core.clock.now) {
                continue;
            }
            let Some((_, pinged)) = self.entries.get_mut(slot) else {
                continue;
            };
            let connection = Arc::clone(&pinged.connection);
            match options::ask(core, &connection) {
                Some(request) => {
                    self.sent += 1;
                    self.requests.insert(request, slot);
                    if let Some((_, pinged)) = self.entries.get_mut(slot) {
                        pinged.request = Some(request);
                    }
                }
                None => {
                    self.turn(core, slot, ReachabilityState::Unknown, None);
                    self.entries.wake_at(slot, core.clock.now + interval);
                }
            }
        }
    }

    /// Takes the outcome of a request. False when it was none of ours.
    pub(crate) fn on_response(
        &mut self,
        core: &mut Core,
        request: RequestId,
        status: u16,
        came: bool,
    ) -> bool {
        let Some(slot) = self.requests.remove(&request) else {
            return false;
        };
        let Some((_, pinged)) = self.entries.get_mut(slot) else {
            return true;
        };
        pinged.request = None;
        pinged.status = came.then_some(status);
        let Some(interval) = self.interval else {
            return true;
        };
        let (state, wait) = if options::is_life(status, came) {
            pinged.misses = 0;
            (ReachabilityState::Up, interval)
        } else {
            self.missed += 1;
            pinged.misses = pinged.misses.saturating_add(1);
            match pinged.state {
                ReachabilityState::Unknown => (ReachabilityState::Unknown, interval),
                ReachabilityState::Up if pinged.misses < MISSES => {
                    (ReachabilityState::Up, RETRY.min(interval))
                }
                _ => (ReachabilityState::Down, DOWN_INTERVAL.min(interval)),
            }
        };
        self.turn(core, slot, state, came.then_some(status));
        let percent = 100 - JITTER_PERCENT + core.random.below(2 * JITTER_PERCENT + 1);
        let wait = Duration::from_millis(wait.as_millis() as u64 * percent / 100);
        self.entries.wake_at(slot, core.clock.now + wait);
        true
    }

    /// A connection has this state from now on.
    fn turn(
        &mut self,
        core: &mut Core,
        slot: usize,
        state: ReachabilityState,
        status: Option<u16>,
    ) {
        let Some((key, pinged)) = self.entries.get_mut(slot) else {
            return;
        };
        let before = std::mem::replace(&mut pinged.state, state);
        if state == ReachabilityState::Unknown {
            pinged.misses = 0;
        }
        if before == state {
            return;
        }
        pinged.since_ms = core.clock.unix_ms;
        self.counts[before as usize] -= 1;
        self.counts[state as usize] += 1;
        tell(core, key, state, status);
    }

    fn leave(&mut self, core: &mut Core, slot: usize) {
        self.forget_request(slot);
        let Some((key, pinged)) = self.entries.remove(slot) else {
            return;
        };
        self.counts[pinged.state as usize] -= 1;
        if pinged.state == ReachabilityState::Down {
            // It may be there still, for calls from it alone.
            tell(core, &key, ReachabilityState::Unknown, None);
        }
    }

    fn forget_request(&mut self, slot: usize) {
        let request = self
            .entries
            .get_mut(slot)
            .and_then(|(_, pinged)| pinged.request.take());
        if let Some(request) = request {
            self.requests.remove(&request);
        }
    }
}

/// Tells our own directory at once, and the world.
fn tell(core: &mut Core, key: &ConnectionKey, state: ReachabilityState, status: Option<u16>) {
    let at_ms = core.clock.unix_ms;
    core.directory.apply(DirectoryChange::Silent {
        connection: key.clone(),
        since_ms: (state == ReachabilityState::Down).then_some(at_ms),
    });
    core.push(Output::Reachability(Box::new(Reachability {
        connection: key.clone(),
        at_ms,
        state,
        status,
    })));
}
