//! The file of one recording: it grows, and is a whole one at any moment.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Component, Path};
use std::time::Duration;

use media::recorder::{SAMPLE_RATE_HZ, wav};

const MIB: u64 = 1024 * 1024;

/// Why there is no file, or why it is not all of the call.
#[derive(Debug)]
pub(super) enum Cut {
    /// This process has no folder for recordings.
    NoFolder,
    /// As many recordings run as may.
    TooMany,
    /// The disk has less room than is to be left to others.
    Reserve {
        /// What is left.
        free_mib: u64,
        /// What should be.
        reserve_mib: u64,
    },
    /// The path leads out of the folder of recordings.
    Path,
    /// The system refuses.
    Io(io::Error),
    /// The longest recording there may be.
    TooLong,
    /// A bug of ours that one of its packets uncovered.
    Panicked,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFolder => f.write_str("there is no folder for recordings"),
            Self::TooMany => f.write_str("too many recordings at the same time"),
            Self::Reserve {
                free_mib,
                reserve_mib,
            } => write!(
                f,
                "{free_mib} MiB are free, and {reserve_mib} are to be left (recording_reserve_mib)"
            ),
            Self::Path => f.write_str("the path leads out of the folder of recordings"),
            Self::Io(error) => match error.kind() {
                io::ErrorKind::StorageFull => f.write_str("the disk is full"),
                io::ErrorKind::QuotaExceeded => f.write_str("the disk quota is used up"),
                _ => write!(f, "{error}"),
            },
            Self::TooLong => f.write_str("the longest recording there may be"),
            Self::Panicked => f.write_str("the recorder failed at a packet"),
        }
    }
}

impl From<io::Error> for Cut {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A file that grows.
#[derive(Debug)]
pub(super) struct RecordingFile {
    file: File,
    frames: u64,
    /// What is written next, kept for its memory.
    bytes: Vec<u8>,
}

impl RecordingFile {
    /// Makes the file, and the folders that lead to it, for our own eyes.
    pub(super) fn create(folder: &Path, path: &str, reserve_mib: u64) -> Result<Self, Cut> {
        let relative = Path::new(path);
        let mut components = relative.components();
        if !components.all(|component| matches!(component, Component::Normal(_))) {
            return Err(Cut::Path);
        }
        let path = folder.join(relative);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path.parent().unwrap_or(folder))?;
        let free_mib = sockets::free_bytes(folder)? / MIB;
        if free_mib < reserve_mib {
            return Err(Cut::Reserve {
                free_mib,
                reserve_mib,
            });
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        if let Err(error) = file.write_all_at(&wav::header(0), 0) {
            // An empty file tells nobody anything.
            let _ = std::fs::remove_file(&path);
            return Err(error.into());
        }
        Ok(Self {
            file,
            frames: 0,
            bytes: Vec::new(),
        })
    }

    /// Appends frames and then says so in the header. Returns how many bytes were written. What did not fit is given up
    /// frame by frame: the file ends with the last whole one.
    pub(super) fn append(&mut self, frames: &[[i16; 2]]) -> io::Result<u64> {
        if frames.is_empty() {
            return Ok(0);
        }
        self.bytes.clear();
        wav::append(frames, &mut self.bytes);
        let end = wav::HEADER_BYTES as u64 + self.frames * wav::FRAME_BYTES as u64;
        let (written, result) = write_at(&self.file, &self.bytes, end);
        self.frames += (written / wav::FRAME_BYTES) as u64;
        self.file.write_all_at(&wav::header(self.frames), 0)?;
        if result.is_err() {
            let whole = wav::HEADER_BYTES as u64 + self.frames * wav::FRAME_BYTES as u64;
            self.file.set_len(whole)?;
        }
        result.map(|()| written as u64)
    }

    /// How much is in it.
    pub(super) fn duration(&self) -> Duration {
        Duration::from_millis(self.frames * 1_000 / u64::from(SAMPLE_RATE_HZ))
    }
}

/// Writes as much as can be: how much that was, and why not all.
fn write_at(file: &File, bytes: &[u8], at: u64) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match file.write_at(&bytes[written..], at + written as u64) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}
