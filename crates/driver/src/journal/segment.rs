//! One file of a journal.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::frame::{self, END, FILE_HEAD_BYTES_MAX, FileHead, Found, Said};

/// Bytes read at once when a file is read back.
const READ_BYTES: usize = 256 * 1024;

/// A file that is written to, or was.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) serial: u64,
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// Bytes that are whole frames, the head included.
    pub(super) length: u64,
    /// Bytes of the file. What is behind the frames is of an earlier life of it.
    pub(super) size: u64,
    /// Bytes of frames that are still true.
    pub(super) live: u64,
    /// What a failed write left behind could not be taken back: nothing must be written behind it.
    pub(super) spoilt: bool,
}

impl Segment {
    /// Makes a new file with nothing but its head.
    pub(super) fn create(folder: &Path, head: &FileHead) -> io::Result<Self> {
        let path = folder.join(file_name(head.shard, head.serial));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        let mut segment = Self {
            serial: head.serial,
            path,
            file,
            length: 0,
            size: 0,
            live: 0,
            spoilt: false,
        };
        if let Err(error) = segment.begin(head, false) {
            // A file without a head would be taken for damage at the next start.
            let _ = std::fs::remove_file(&segment.path);
            return Err(error);
        }
        Ok(segment)
    }

    /// Writes the head, and that nothing stands behind it.
    pub(super) fn begin(&mut self, head: &FileHead, sync: bool) -> io::Result<()> {
        let mut bytes = head.bytes();
        let length = bytes.len() as u64;
        bytes.extend_from_slice(&END);
        self.file.write_all_at(&bytes, 0)?;
        if sync {
            self.file.sync_data()?;
        }
        self.serial = head.serial;
        self.length = length;
        self.size = self.size.max(bytes.len() as u64);
        self.live = 0;
        self.spoilt = false;
        Ok(())
    }

    /// Begins a new life under another number, with at most so many bytes of room. Room that is there already costs a
    /// third of what the file system asks for new one.
    pub(super) fn begin_again(
        mut self,
        folder: &Path,
        head: &FileHead,
        room: u64,
    ) -> io::Result<Self> {
        if self.size > room {
            self.file.set_len(room)?;
            self.size = room;
        }
        // In this order: a file under another name than its head says has nothing in it.
        self.begin(head, false)?;
        let path = folder.join(file_name(head.shard, head.serial));
        std::fs::rename(&self.path, &path)?;
        self.path = path;
        Ok(self)
    }

    /// Appends whole frames, with [`END`] behind them; at once on the disk with `sync`. After a failure the file is as it
    /// was before.
    pub(super) fn append(&mut self, frames: &[u8], sync: bool) -> io::Result<()> {
        let written = self
            .file
            .write_all_at(frames, self.length)
            .and_then(|()| if sync { self.file.sync_data() } else { Ok(()) });
        let end = self.length + frames.len() as u64;
        match written {
            Ok(()) => {
                self.length = end - END.len() as u64;
                self.size = self.size.max(end);
            }
            // What is left of a write that failed half-way must not come to stand behind the next one.
            Err(_) => {
                self.spoilt = self.file.set_len(self.length).is_err();
                self.size = self.length;
            }
        }
        written
    }

    /// Removes the file. Its pages are given back aside of whoever is in a hurry: for a large file that takes its time.
    pub(super) fn remove(self) {
        let Self { path, file, .. } = self;
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(file = %path.display(), %error, "a journal that is used up cannot be removed");
        }
        let thread = std::thread::Builder::new().name("journal".into());
        // Without a thread it is done here.
        let _ = thread.spawn(move || drop(file));
    }
}

/// Where damage begins, and how much lies behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) at: u64,
    pub(super) bytes: u64,
}

/// A file that is read back.
pub(super) struct Reader {
    pub(super) head: FileHead,
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    /// Where in the buffer the next frame begins.
    start: usize,
}

impl Reader {
    /// Reads the head; `None` when it is not that of a journal.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut buffer = Vec::with_capacity(READ_BYTES * 2);
        more(&mut file, &mut buffer, FILE_HEAD_BYTES_MAX)?;
        Ok(FileHead::read(&buffer).map(|(head, start)| Self {
            head,
            path: path.to_path_buf(),
            file,
            buffer,
            start,
        }))
    }

    /// Gives each frame with its place and length to `take`, up to the end or the first damage.
    pub(super) fn frames(
        mut self,
        mut take: impl FnMut(u64, Said<'_>, u64, u32),
    ) -> io::Result<(Segment, Option<Cut>)> {
        let size = self.file.metadata()?.len();
        let mut place = self.start as u64;
        let mut is_whole = false;
        loop {
            match frame::read(&self.buffer[self.start..], self.head.serial) {
                Ok(Found::Frame(key, said, length)) => {
                    take(key, said, place, length as u32);
                    self.start += length;
                    place += length as u64;
                }
                Ok(Found::End) => {
                    is_whole = true;
                    break;
                }
                Ok(Found::Part) => {
                    self.buffer.drain(..self.start);
                    self.start = 0;
                    if more(&mut self.file, &mut self.buffer, READ_BYTES)? == 0 {
                        break;
                    }
                }
                Err(frame::Damaged) => break,
            }
        }
        let cut = (place < size && !is_whole).then(|| Cut {
            at: place,
            bytes: size - place,
        });
        let segment = Segment {
            serial: self.head.serial,
            path: self.path,
            file: self.file,
            length: place,
            size,
            live: 0,
            spoilt: false,
        };
        Ok((segment, cut))
    }
}

fn more(file: &mut File, buffer: &mut Vec<u8>, bytes: usize) -> io::Result<usize> {
    file.by_ref().take(bytes as u64).read_to_end(buffer)
}

/// `shard-3-000017.journal`
pub(super) fn file_name(shard: u16, serial: u64) -> String {
    format!("shard-{shard}-{serial:06}.journal")
}

/// Shard and serial of a file of ours.
pub(super) fn parse_name(name: &str) -> Option<(u16, u64)> {
    let (shard, serial) = name
        .strip_prefix("shard-")?
        .strip_suffix(".journal")?
        .split_once('-')?;
    Some((shard.parse().ok()?, serial.parse().ok()?))
}
