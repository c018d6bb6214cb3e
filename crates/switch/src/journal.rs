//! The journal: what is written of calls while they run, and how another process goes on with them.
//!
//! At the end of each turn, every call that may have changed is written in its saved form (`call/kept.rs`). Where that is
//! what the journal has already, nothing is told; so nobody has to say which changes last, and repetitions cost no entry.
//! An entry is told before what is sent, and the driver writes before it sends: nothing is said that is not kept. What
//! happens to a call within one turn costs one entry.
//!
//! A call is forgotten when its record has been handed out and its last words have been heard: a BYE answered, a refusal
//! acknowledged.

use crate::call::kept::{Ended, KeptCall, Unreadable};
use crate::call::{Call, CallKey};
use crate::core::Core;
use crate::switch::{Clock, Output, Switch};
use keep::{Base, Damaged, Reader, Writer};
use sip::event::SessionId;
use std::collections::HashMap;

/// How far the wall clock may be set before moments are converted by its new time.
const DRIFT_MS: u64 = 1_000;

/// Of the name of a relay, the part that counts within its shard.
const RELAY_SERIAL_BITS: u32 = 48;

/// What became of the calls of an earlier process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Calls that go on.
    pub resumed: usize,
    /// Calls that were over but for the last words, or cannot go on: both sides are told, and the record is written.
    pub ended: usize,
    /// Entries that could not be read in full, by their keys. If the part with the record could, that is written. All are
    /// told to be forgotten.
    pub unreadable: Vec<(u64, Damaged)>,
}

/// What a shard needs to write its journal.
pub(crate) struct Journal {
    writer: Writer,
    /// Last entries of calls that were over before the turn was.
    parted: Vec<(u64, Vec<u8>)>,
    /// Sessions of calls that are over, whose last words may not have been heard.
    leaving: HashMap<SessionId, u64>,
    /// How many of them each call has.
    left: HashMap<u64, usize>,
}

/// A call that is over, and what is still to be heard.
pub(crate) struct Parting {
    key: u64,
    is_kept: bool,
    leaving: Vec<SessionId>,
}

impl Journal {
    pub(crate) fn new(base: Base) -> Self {
        Self {
            writer: Writer::new(base),
            parted: Vec::new(),
            leaving: HashMap::new(),
            left: HashMap::new(),
        }
    }

    /// The record of a call has been handed out.
    pub(crate) fn take_leave(&mut self, core: &mut Core, parting: Parting) {
        let Parting {
            key,
            is_kept,
            leaving,
        } = parting;
        if leaving.is_empty() {
            if is_kept {
                core.out.push_back(Output::Forget { key });
            }
            return;
        }
        self.left.insert(key, leaving.len());
        for session in leaving {
            self.leaving.insert(session, key);
        }
    }

    /// The last words to a session have been heard, or never will be.
    fn on_over(&mut self, core: &mut Core, session: SessionId) {
        let Some(key) = self.leaving.remove(&session) else {
            return;
        };
        let left = self.left.get_mut(&key);
        if left.is_some_and(|left| {
            *left -= 1;
            *left == 0
        }) {
            self.left.remove(&key);
            core.out.push_back(Output::Forget { key });
        }
    }
}

impl Switch {
    /// Takes over the calls of an earlier process, by the entries of its journal: the last that was given under each
    /// key. To be called once, after the records ([`Input::Directory`](crate::Input::Directory)) and before anything else
    /// is handled; then [`poll`](Self::poll) has relays to open again, records of calls that could not go on, and
    /// messages.
    ///
    /// The entries are those of the shard of the same number. What another shard has kept cannot go on here, for its
    /// peers speak to that one: such calls are ended.
    pub fn restore<'a>(
        &mut self,
        clock: Clock,
        entries: impl IntoIterator<Item = (u64, &'a [u8])>,
    ) -> RestoreReport {
        self.core.clock = clock;
        self.core.keep_time();
        let mut report = RestoreReport::default();
        for (key, entry) in entries {
            // Calls that begin from now on get other keys.
            self.core.serial = self.core.serial.max(key);
            self.restore_call(key, entry, &mut report);
        }
        self.pump();
        report
    }

    fn restore_call(&mut self, key: u64, entry: &[u8], report: &mut RestoreReport) {
        let core = &mut self.core;
        let call_key = CallKey {
            slot: self.calls.vacant_key(),
            serial: key,
        };
        let mut input = Reader::new(entry, core.base);
        let ours = core.config.dtls_fingerprint;
        let kept = match KeptCall::read(&mut input, call_key, ours) {
            Ok(kept) => kept,
            Err(Unreadable { why, record }) => {
                report.unreadable.push((key, why));
                if let Some(record) = record {
                    core.record(record.into_cdr(core.clock.unix_ms));
                }
                core.out.push_back(Output::Forget { key });
                return;
            }
        };
        for relay in kept.relays() {
            let serial = relay.0 & ((1 << RELAY_SERIAL_BITS) - 1);
            core.relay_serial = core.relay_serial.max(serial);
        }
        match kept.resume(core, call_key) {
            (Some(call), _) => {
                match call.release {
                    Some(_) => report.ended += 1,
                    None => report.resumed += 1,
                }
                self.calls.insert(core.clock.now, call);
                self.core.touch(call_key);
                self.retire(call_key);
            }
            (None, Some(Ended { record, leaving })) => {
                report.ended += 1;
                core.record(record.into_cdr(core.clock.unix_ms));
                let is_kept = true;
                let parting = Parting {
                    key,
                    is_kept,
                    leaving,
                };
                self.journal.take_leave(core, parting);
            }
            (None, None) => {}
        }
    }

    /// Gives what is new of the calls that this turn concerned.
    pub(crate) fn keep_calls(&mut self, keep: &mut impl FnMut(u64, &[u8])) {
        for (key, state) in self.journal.parted.drain(..) {
            keep(key, &state);
        }
        while let Some(session) = self.core.endpoint.next_touched() {
            if let Some((key, _)) = self.core.sessions.get(&session).copied() {
                self.core.touch(key);
            }
        }
        let mut touched = std::mem::take(&mut self.core.touched);
        touched.sort_unstable();
        touched.dedup();
        for key in touched.drain(..) {
            if let Some(call) = self.calls.get(&mut self.core, key)
                && let Some(state) = self.journal.note(&self.core, call)
            {
                keep(key.serial, state);
            }
        }
        self.core.touched = touched;
        while let Some(session) = self.core.endpoint.next_over() {
            self.journal.on_over(&mut self.core, session);
        }
    }

    /// A call is over, and is about to be dropped: whatever its peers have not heard yet is kept.
    pub(crate) fn part_with(&mut self, call: &mut Call) -> Parting {
        let core = &mut self.core;
        let key = call.key.serial;
        if !core.config.keeps_calls {
            return Parting {
                key,
                is_kept: false,
                leaving: Vec::new(),
            };
        }
        let sessions = [call.a.session, call.b.session].into_iter().flatten();
        call.leaving.extend(sessions);
        call.leaving.sort_unstable();
        call.leaving.dedup();
        let endpoint = &core.endpoint;
        call.leaving.retain(|session| !endpoint.is_over(*session));
        if !call.leaving.is_empty()
            && let Some(state) = self.journal.note(core, call)
        {
            let state = state.to_vec();
            self.journal.parted.push((key, state));
        }
        Parting {
            key,
            is_kept: call.mark.is_kept(),
            leaving: std::mem::take(&mut call.leaving),
        }
    }
}

impl Journal {
    /// The entry of a call, where that is news.
    fn note(&mut self, core: &Core, call: &mut Call) -> Option<&[u8]> {
        self.writer.set_base(core.base);
        let news = call.note(core, &mut self.writer);
        news.then(|| self.writer.bytes())
    }
}

impl Core {
    /// Notices that the wall clock was set. Otherwise a moment stays the same number, and an entry the same entry.
    pub(crate) fn keep_time(&mut self) {
        let expected = self.base.unix_ms_of(self.clock.now);
        if expected.abs_diff(self.clock.unix_ms) > DRIFT_MS {
            self.base = Base {
                now: self.clock.now,
                unix_ms: self.clock.unix_ms,
            };
        }
    }
}
