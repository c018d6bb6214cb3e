//! What outlives the process: calls.
//!
//! A shard writes what its calls need to go on into files of its own, and writes it *before* it says what follows from
//! it: one `write` for everything that a turn changed, then the datagrams of that turn. Whatever a peer has been told is
//! therefore in the file. `kill -9` takes nothing of it, because the pages belong to the kernel; a power cut may take the
//! last half a minute, and takes every call's audio with it, so that flushing each turn to the disk (`journal_sync`)
//! costs milliseconds on every message and seldom saves a call.
//!
//! # The files
//!
//! A journal is a row of files ([`segment`]) of frames ([`frame`]), read back in their order. For each entry the last
//! frame counts. Damage ends a file: what stands before it counts, what stands behind it does not.
//!
//! # How large they get
//!
//! Only the last file is written to. When what is out of date in it outweighs what is true, and by [`SLACK_BYTES`], a new
//! one is begun, and with every turn some of what is still true is carried over from the old: twice as much as the turn
//! wrote, and [`CARRY_BYTES`] at least. An old file with nothing true in it is used up, oldest first, because a younger
//! one may say that an entry of an older one is over. One such file is emptied and kept for the next that is begun, for
//! room that a file has already is cheaper than new room; more are removed. All files together therefore take no more
//! than [`SIZE_FACTOR`] times what is true when a new file is begun, and `2 * SLACK_BYTES`.
//!
//! # When the disk is full
//!
//! Calls go on. What could not be written waits here, the latest state of each entry only, and is tried again every
//! second; the log and the metrics say that calls are not being kept. What the files say meanwhile is old: after a crash in
//! that time calls may come back that are over, and are ended by their own timers.

mod desk;
mod frame;
mod open;
mod segment;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use frame::{END, FRAME_HEAD_BYTES, FileHead, Found, PAYLOAD_BYTES_MAX, Said};
use segment::Segment;

pub(crate) use desk::JournalDesk;
pub use open::JournalError;
pub(crate) use open::{Journals, Replayed, node};

/// What may be out of date beyond what is true before a new file is begun.
const SLACK_BYTES: u64 = if cfg!(test) { 256 << 10 } else { 16 << 20 };

/// What a turn carries over from old files at least.
const CARRY_BYTES: u64 = 64 * 1024;

/// How long a shard with nothing else to do waits before it carries over more.
const CARRY_PAUSE: Duration = Duration::from_millis(5);

/// What all files take at most, as a multiple of what was true when the last was begun; the slack comes on top, twice.
#[cfg(test)]
const SIZE_FACTOR: u64 = 4;

/// What one attempt writes of what could not be written before: a shard must not stand still for it.
const CATCH_UP_BYTES: usize = 1 << 20;

/// How often a disk that was full is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How often the log repeats that calls are not being kept.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// Where calls are kept, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalConfig {
    /// A folder of its own.
    pub folder: PathBuf,
    /// Flush each change to the disk before anything is said that follows from it.
    pub sync: bool,
}

/// Counts for the metrics.
#[derive(Default)]
pub(crate) struct JournalCounts {
    /// Calls kept now.
    pub(crate) entries: AtomicUsize,
    /// Bytes of all files.
    pub(crate) bytes: AtomicU64,
    /// Writes that failed.
    pub(crate) failures: AtomicU64,
    /// Changes that are not in the files because writing fails.
    pub(crate) unkept: AtomicUsize,
}

/// Where an entry's last frame stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    serial: u64,
    at: u64,
    length: u32,
}

/// A frame of this turn, not written yet.
struct Staged {
    key: u64,
    /// Where in the buffer.
    at: usize,
    length: usize,
    kept: bool,
}

impl Staged {
    /// Appends a frame to a buffer.
    fn append(to: &mut Vec<u8>, key: u64, said: Said<'_>) -> Self {
        Self {
            key,
            at: to.len(),
            length: frame::append(to, key, said),
            kept: matches!(said, Said::Keep(_)),
        }
    }
}

/// The journal of one shard.
pub(crate) struct Journal {
    folder: PathBuf,
    shard: u16,
    node: String,
    sync: bool,
    /// The file that is written to; none before the first write, or where it could not be made.
    current: Option<Segment>,
    /// Those before it that still say something true, oldest first.
    old: VecDeque<Segment>,
    /// Emptied, for the next that is begun.
    spare: Option<Segment>,
    next_serial: u64,
    index: HashMap<u64, Place>,
    /// Entries that were in old files when the current one was begun.
    carry: VecDeque<u64>,
    buffer: Vec<u8>,
    /// A frame that is carried over.
    carried: Vec<u8>,
    staged: Vec<Staged>,
    /// What could not be written: the state of an key, or that it is over.
    unkept: HashMap<u64, Option<Vec<u8>>>,
    trouble: Option<Trouble>,
    counts: Arc<JournalCounts>,
}

/// Writing fails.
struct Trouble {
    try_again: Instant,
    complain_again: Instant,
}

impl Journal {
    /// The state of a call is now this.
    pub(crate) fn keep(&mut self, key: u64, state: &[u8]) {
        self.stage(key, Said::Keep(state));
    }

    /// Nothing is to be kept of a call any more.
    pub(crate) fn forget(&mut self, key: u64) {
        self.stage(key, Said::Forget);
    }

    /// How soon [`write`](Self::write) has something to do even if nothing changes.
    pub(crate) fn due_in(&self, now: Instant) -> Option<Duration> {
        if let Some(trouble) = &self.trouble {
            let waits = !self.unkept.is_empty();
            return waits.then(|| trouble.try_again.saturating_duration_since(now));
        }
        (!self.carry.is_empty()).then_some(CARRY_PAUSE)
    }

    fn stage(&mut self, key: u64, said: Said<'_>) {
        if let Said::Keep(state) = said
            && state.len() > PAYLOAD_BYTES_MAX
        {
            // The state that is there is out of date, and worse than none.
            error!(
                bytes = state.len(),
                "the state of a call is too long to be kept"
            );
            self.counts.failures.fetch_add(1, Ordering::Relaxed);
            return self.stage(key, Said::Forget);
        }
        if self.trouble.is_some() {
            self.put_aside(key, said);
            return;
        }
        self.staged
            .push(Staged::append(&mut self.buffer, key, said));
    }

    fn put_aside(&mut self, key: u64, said: Said<'_>) {
        match said {
            Said::Keep(state) => {
                self.unkept.insert(key, Some(state.to_vec()));
            }
            // What is in no file needs no word that it is over.
            Said::Forget if self.index.contains_key(&key) => {
                self.unkept.insert(key, None);
            }
            Said::Forget => {
                self.unkept.remove(&key);
            }
        }
        self.counts
            .unkept
            .store(self.unkept.len(), Ordering::Relaxed);
    }

    /// Writes what has changed since the last time. When this returns it is kept, or the log says that it is not.
    pub(crate) fn write(&mut self, now: Instant) {
        if self.trouble.is_some() && !self.catch_up(now) {
            return;
        }
        let changed = self.buffer.len() as u64;
        if changed == 0 && self.carry.is_empty() {
            return;
        }
        self.begin_anew();
        self.carry_over((changed * 2).max(CARRY_BYTES));
        self.append(now);
        self.remove_used_up();
        self.count();
    }

    /// Tries again what could not be written. `false` when it is too early, fails again, or more is left.
    fn catch_up(&mut self, now: Instant) -> bool {
        let due = self
            .trouble
            .as_ref()
            .is_none_or(|trouble| trouble.try_again <= now);
        // Without anything to write it would not be known whether there is room again.
        if !due || self.unkept.is_empty() {
            return false;
        }
        let mut some = Vec::new();
        let mut bytes = 0;
        for (key, state) in &self.unkept {
            if bytes >= CATCH_UP_BYTES {
                break;
            }
            bytes += state.as_ref().map_or(0, Vec::len);
            some.push(*key);
        }
        // Staged as if nothing were the matter; a failure puts it aside again.
        let trouble = self.trouble.take();
        for key in some {
            match self.unkept.remove(&key).flatten() {
                Some(state) => self.stage(key, Said::Keep(&state)),
                None => self.stage(key, Said::Forget),
            }
        }
        let left = !self.unkept.is_empty();
        self.trouble = trouble;
        if !self.append(now) {
            return false;
        }
        if left {
            // The disk has room again: no need to wait for the rest.
            if let Some(trouble) = &mut self.trouble {
                trouble.try_again = now;
            }
            self.count();
            return false;
        }
        self.trouble = None;
        info!(
            shard = self.shard,
            "calls are kept again: a restart would bring them back"
        );
        true
    }

    /// Begins a new file when too much of the current one is out of date.
    fn begin_anew(&mut self) {
        let Some(current) = &self.current else {
            return;
        };
        if !self.old.is_empty() || current.length <= current.live * 2 + SLACK_BYTES {
            return;
        }
        match self.create() {
            Ok(fresh) => {
                self.carry = self.index.keys().copied().collect();
                self.old.extend(self.current.replace(fresh));
            }
            // Then it grows for now; should there be no room at all, the next write says so.
            Err(error) => warn!(%error, "a new journal cannot be begun"),
        }
    }

    fn create(&mut self) -> io::Result<Segment> {
        let head = self.head(self.next_serial);
        self.next_serial += 1;
        let live = self.current.as_ref().map_or(0, |current| current.live);
        if let Some(spare) = self.spare.take() {
            let again = spare.begin_again(&self.folder, &head, live * 2 + SLACK_BYTES);
            match again {
                Ok(segment) => return Ok(segment),
                Err(error) => warn!(%error, "a journal that is used up cannot be used again"),
            }
        }
        Segment::create(&self.folder, &head)
    }

    fn head(&self, serial: u64) -> FileHead {
        FileHead {
            shard: self.shard,
            serial,
            node: self.node.clone(),
        }
    }

    /// Stages frames of old files that are still true, until there are so many bytes.
    fn carry_over(&mut self, bytes: u64) {
        let current = self.current.as_ref().map(|current| current.serial);
        let told = self.staged.len();
        let mut carried = 0;
        while carried < bytes && !self.old.is_empty() {
            let Some(key) = self.carry.pop_front() else {
                return;
            };
            let Some(place) = self.index.get(&key).copied() else {
                continue;
            };
            // What this turn says of it is newer.
            let told = &self.staged[..told];
            if Some(place.serial) == current || told.iter().any(|staged| staged.key == key) {
                continue;
            }
            let Some(old) = self.old.iter().find(|old| old.serial == place.serial) else {
                continue;
            };
            self.carried.resize(place.length as usize, 0);
            let read = old.file.read_exact_at(&mut self.carried, place.at);
            let said = match read.map(|()| frame::read(&self.carried, place.serial)) {
                Ok(Ok(Found::Frame(_, said, _))) => said,
                // It stays where it is, and with it the old file.
                Err(error) => {
                    error!(%error, file = %old.path.display(), "a journal cannot be read back");
                    continue;
                }
                Ok(_) => {
                    error!(at = place.at, file = %old.path.display(), "a journal was damaged while it was used");
                    continue;
                }
            };
            carried += u64::from(place.length);
            self.staged
                .push(Staged::append(&mut self.buffer, key, said));
        }
    }

    /// Writes what is staged. `false` when that fails: then it is put aside.
    fn append(&mut self, now: Instant) -> bool {
        if self.staged.is_empty() {
            return true;
        }
        let written = self.append_to_current();
        let is_written = written.is_ok();
        let staged = std::mem::take(&mut self.staged);
        let buffer = std::mem::take(&mut self.buffer);
        match written {
            Ok(at) => staged.iter().for_each(|frame| self.enter(frame, at)),
            Err(error) => {
                self.complain(now, &error);
                for frame in &staged {
                    let payload = &buffer[frame.at + FRAME_HEAD_BYTES..frame.at + frame.length];
                    let said = match frame.kept {
                        true => Said::Keep(payload),
                        false => Said::Forget,
                    };
                    self.put_aside(frame.key, said);
                }
            }
        }
        // Their memory serves the next turn, unless this one was unusual.
        if buffer.capacity() <= CATCH_UP_BYTES {
            self.buffer = buffer;
            self.buffer.clear();
        }
        self.staged = staged;
        self.staged.clear();
        self.count();
        is_written
    }

    /// Where in the current file the buffer stands now.
    fn append_to_current(&mut self) -> io::Result<u64> {
        if self.current.is_none() {
            self.current = Some(self.create()?);
        }
        let Some(current) = &mut self.current else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let at = current.length;
        for frame in &self.staged {
            let frame = &mut self.buffer[frame.at..frame.at + frame.length];
            frame::seal(frame, current.serial);
        }
        self.buffer.extend_from_slice(&END);
        let written = current.append(&self.buffer, self.sync);
        if current.spoilt {
            self.old.extend(self.current.take());
            self.carry = self.index.keys().copied().collect();
        }
        written.map(|()| at)
    }

    /// Notes that a frame is in the current file, whose part with it begins at `base`.
    fn enter(&mut self, frame: &Staged, base: u64) {
        let Some(current) = &mut self.current else {
            return;
        };
        let place = Place {
            serial: current.serial,
            at: base + frame.at as u64,
            length: frame.length as u32,
        };
        let before = if frame.kept {
            current.live += frame.length as u64;
            self.index.insert(frame.key, place)
        } else {
            self.index.remove(&frame.key)
        };
        let Some(before) = before else {
            return;
        };
        let holder = self.old.iter_mut().chain(&mut self.current);
        for segment in holder.filter(|segment| segment.serial == before.serial) {
            segment.live -= u64::from(before.length);
        }
    }

    /// Oldest first: see the module.
    fn remove_used_up(&mut self) {
        while let Some(mut used_up) = self.old.pop_front_if(|oldest| oldest.live == 0) {
            let head = self.head(used_up.serial);
            // Emptied at once: the younger files that overrule it may be gone before it is used again.
            let is_spare = self.spare.is_none() && used_up.begin(&head, self.sync).is_ok();
            match is_spare {
                true => self.spare = Some(used_up),
                false => used_up.remove(),
            }
        }
        if self.old.is_empty() {
            self.carry = VecDeque::new();
        }
    }

    fn complain(&mut self, now: Instant, error: &io::Error) {
        self.counts.failures.fetch_add(1, Ordering::Relaxed);
        let silent_until = self.trouble.as_ref().map(|trouble| trouble.complain_again);
        let complain_again = match silent_until {
            Some(until) if now < until => until,
            _ => {
                error!(
                    shard = self.shard, %error, folder = %self.folder.display(),
                    "calls are NOT being kept: the journal cannot be written, and a restart would lose them"
                );
                now + COMPLAIN_EVERY
            }
        };
        self.trouble = Some(Trouble {
            try_again: now + RETRY,
            complain_again,
        });
    }

    fn count(&self) {
        let files = self.old.iter().chain(&self.current).chain(&self.spare);
        let bytes = files.map(|segment| segment.size).sum();
        self.counts.bytes.store(bytes, Ordering::Relaxed);
        self.counts
            .entries
            .store(self.index.len(), Ordering::Relaxed);
        self.counts
            .unkept
            .store(self.unkept.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
