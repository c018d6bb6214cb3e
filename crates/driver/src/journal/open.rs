//! Finding the journals of the last run.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{info, warn};

use super::frame::Said;
use super::segment::{self, Reader};
use super::{Journal, JournalCounts, Place};
use crate::MAX_SHARDS;

/// Held by the switch that writes the journals.
const LOCK_FILE: &str = "lock";

/// What is put behind the name of a file that is not ours to read.
const STRANGE: &str = "strange";

/// Why there are no journals.
#[derive(Debug)]
pub enum JournalError {
    /// Another process writes them.
    InUse(PathBuf),
    /// The folder cannot be used.
    Io {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(folder) => write!(
                f,
                "the journal {} is in use by another switch",
                folder.display()
            ),
            Self::Io { folder, source } => {
                write!(
                    f,
                    "the journal {} cannot be used: {source}",
                    folder.display()
                )
            }
        }
    }
}

impl std::error::Error for JournalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::InUse(_) => None,
        }
    }
}

/// What the last run left to a shard: the states of its calls, by key.
pub(crate) type Replayed = Vec<(u64, Vec<u8>)>;

/// Names this node so that no other takes its calls for its own: by its host name, and by the identity that the system
/// was given when it was installed, where it has one.
pub(crate) fn node(hostname: &str) -> String {
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    format!("{hostname} {}", machine.trim())
}

/// The journals of all shards, and the right to write them.
pub(crate) struct Journals {
    /// By shard.
    pub(crate) shards: Vec<(Journal, Replayed)>,
    /// Released when it is dropped.
    pub(crate) lock: File,
}

impl Journals {
    /// Opens `folder`, or makes it, and reads what the last run of `node` left. There are as many journals as `shards`,
    /// or more: a call belongs to its shard for good, since its peers send the number back to us in tags and branches.
    pub(crate) fn open(
        folder: &Path,
        node: &str,
        shards: usize,
        sync: bool,
    ) -> Result<Self, JournalError> {
        let problem = |source| JournalError::Io {
            folder: folder.to_path_buf(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(problem)?;
        let lock = lock(folder)?;
        let mut files: BTreeMap<u16, BTreeMap<u64, PathBuf>> = BTreeMap::new();
        for file in std::fs::read_dir(folder).map_err(problem)? {
            let path = file.map_err(problem)?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some((shard, serial)) = name.and_then(segment::parse_name) else {
                continue;
            };
            if usize::from(shard) < MAX_SHARDS {
                files.entry(shard).or_default().insert(serial, path);
            }
        }
        let mut found = BTreeMap::new();
        for (shard, files) in files {
            let opened = replay(folder, shard, node, sync, files).map_err(problem)?;
            found.insert(shard, opened);
        }
        let held = found
            .iter()
            .filter(|(_, (_, replayed))| !replayed.is_empty())
            .map(|(shard, _)| usize::from(*shard) + 1);
        let count = held.max().unwrap_or_default().max(shards);
        if count > shards {
            info!(
                shards = count,
                configured = shards,
                "as many shards as in the last run, for its calls; a start without calls takes the new number"
            );
        }
        let shards = (0..count as u16).map(|shard| {
            let opened = found.remove(&shard);
            opened.unwrap_or_else(|| {
                let journal = Journal::empty(folder, shard, node, sync);
                (journal, Replayed::default())
            })
        });
        let shards = shards.collect();
        Ok(Self { shards, lock })
    }
}

impl Journal {
    pub(super) fn empty(folder: &Path, shard: u16, node: &str, sync: bool) -> Self {
        Self {
            folder: folder.to_path_buf(),
            shard,
            node: node.to_owned(),
            sync,
            current: None,
            old: Default::default(),
            spare: None,
            next_serial: 1,
            index: HashMap::new(),
            carry: Default::default(),
            buffer: Vec::new(),
            carried: Vec::new(),
            staged: Vec::new(),
            unkept: HashMap::new(),
            trouble: None,
            counts: Arc::new(JournalCounts::default()),
        }
    }

    /// For the metrics.
    pub(crate) fn counts(&self) -> Arc<JournalCounts> {
        Arc::clone(&self.counts)
    }
}

/// Reads the files of one shard, in the order in which they were written.
fn replay(
    folder: &Path,
    shard: u16,
    node: &str,
    sync: bool,
    files: BTreeMap<u64, PathBuf>,
) -> io::Result<(Journal, Replayed)> {
    let mut journal = Journal::empty(folder, shard, node, sync);
    let mut states: HashMap<u64, Vec<u8>> = HashMap::new();
    for (serial, path) in files {
        journal.next_serial = serial + 1;
        let Some(reader) = Reader::open(&path)? else {
            // Made when there was no room for a head, or not by us. Nothing of ours can stand behind it.
            warn!(file = %path.display(), "not a journal that this version can read; set aside");
            set_aside(&path)?;
            continue;
        };
        let head = &reader.head;
        if head.node != node || head.shard != shard {
            warn!(
                file = %path.display(), written_by = head.node, we_are = node,
                "a journal of another switch; set aside, its calls are not ours"
            );
            set_aside(&path)?;
            continue;
        }
        if head.serial != serial {
            // It was about to be used again: there is nothing in it.
            std::fs::remove_file(&path)?;
            continue;
        }
        let index = &mut journal.index;
        let (segment, cut) = reader.frames(|key, said, at, length| match said {
            Said::Keep(state) => {
                index.insert(key, Place { serial, at, length });
                states.insert(key, state.to_vec());
            }
            Said::Forget => {
                index.remove(&key);
                states.remove(&key);
            }
        })?;
        if let Some(cut) = cut {
            warn!(
                file = %path.display(), at = cut.at, bytes = cut.bytes,
                "the end of a journal is damaged, as after a crash while it was written; cut off"
            );
        }
        journal.old.push_back(segment);
    }
    for place in journal.index.values() {
        for segment in &mut journal.old {
            if segment.serial == place.serial {
                segment.live += u64::from(place.length);
            }
        }
    }
    let mut carry: Vec<_> = journal.index.iter().collect();
    carry.sort_by_key(|(_, place)| (place.serial, place.at));
    journal.carry = carry.into_iter().map(|(key, _)| *key).collect();
    journal.remove_used_up();
    journal.count();
    let mut replayed: Vec<_> = states.into_iter().collect();
    // In the order of their keys, so that a start can be told from another by what was kept alone.
    replayed.sort_unstable_by_key(|(key, _)| *key);
    Ok((journal, replayed))
}

/// Keeps a file for whoever wants to look at it, out of our way. One of each name: the next takes its place.
fn set_aside(path: &Path) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(STRANGE);
    std::fs::rename(path, PathBuf::from(name))
}

fn lock(folder: &Path) -> Result<File, JournalError> {
    let problem = |source| JournalError::Io {
        folder: folder.to_path_buf(),
        source,
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(folder.join(LOCK_FILE))
        .map_err(problem)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse(folder.to_path_buf())),
        Err(TryLockError::Error(source)) => Err(problem(source)),
    }
}
