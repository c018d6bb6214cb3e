//! How entries are written: frames one after the other, each with its own check.
//!
//! ```text
//! 0        4        8      9         17
//! │ length │ CRC-32 │ kind │ key     │ payload …
//! ```
//!
//! Numbers are little-endian. The check covers everything but itself, and the number of the file, so that neither a torn
//! write nor what a file said in an earlier life passes for a frame. A head of zeroes is the end of a file. A file begins
//! with a head that says whose it is.

/// What a frame says about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said<'a> {
    /// This is its state now.
    Keep(&'a [u8]),
    /// There is nothing to keep of it any more.
    Forget,
}

/// Bytes in front of a payload.
pub(super) const FRAME_HEAD_BYTES: usize = 17;

/// What stands behind the last frame.
pub(super) const END: [u8; FRAME_HEAD_BYTES] = [0; FRAME_HEAD_BYTES];

/// The longest payload. A call whose messages are all as long as they may be stays below; a length beyond it is
/// damage, and nothing is allocated for it.
pub(super) const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// The kinds of frames.
const KEEP: u8 = 1;
const FORGET: u8 = 2;

/// How a file begins, and the version of what follows.
const MAGIC: &[u8; 8] = b"strowJNL";
const VERSION: u16 = 2;

/// Longest name of a node; the name of a host has 64 bytes at most, the rest is ours.
pub(super) const NODE_BYTES_MAX: usize = 256;

/// Bytes of the head of a file in front of the node's name, and the check behind it.
const HEAD_BYTES: usize = 8 + 2 + 2 + 8 + 2;
const CHECK_BYTES: usize = 4;

/// Bytes that the head of a file takes at most.
pub(super) const FILE_HEAD_BYTES_MAX: usize = HEAD_BYTES + NODE_BYTES_MAX + CHECK_BYTES;

/// Whose a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileHead {
    pub(super) shard: u16,
    pub(super) serial: u64,
    pub(super) node: String,
}

impl FileHead {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let node = self.node.as_bytes();
        let node = &node[..node.len().min(NODE_BYTES_MAX)];
        let mut bytes = Vec::with_capacity(FILE_HEAD_BYTES_MAX);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.shard.to_le_bytes());
        bytes.extend_from_slice(&self.serial.to_le_bytes());
        bytes.extend_from_slice(&(node.len() as u16).to_le_bytes());
        bytes.extend_from_slice(node);
        let check = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&check.to_le_bytes());
        bytes
    }

    /// The head at the beginning of `bytes` and its length; `None` when there is no whole one of our version.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let fixed = bytes.get(..HEAD_BYTES)?;
        if fixed[..8] != MAGIC[..] || u16_at(fixed, 8) != VERSION {
            return None;
        }
        let end = HEAD_BYTES + usize::from(u16_at(fixed, 20));
        let check = bytes.get(end..end + CHECK_BYTES)?;
        if crc32fast::hash(&bytes[..end]).to_le_bytes() != check {
            return None;
        }
        let head = Self {
            shard: u16_at(fixed, 10),
            serial: u64_at(fixed, 12),
            node: String::from_utf8(bytes[HEAD_BYTES..end].to_vec()).ok()?,
        };
        Some((head, end + CHECK_BYTES))
    }
}

/// Appends a frame without its check; its length.
pub(super) fn append(to: &mut Vec<u8>, key: u64, said: Said<'_>) -> usize {
    let (kind, payload) = match said {
        Said::Keep(payload) => (KEEP, payload),
        Said::Forget => (FORGET, &[][..]),
    };
    let mut head = [0; FRAME_HEAD_BYTES];
    head[..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    head[8] = kind;
    head[9..].copy_from_slice(&key.to_le_bytes());
    to.extend_from_slice(&head);
    to.extend_from_slice(payload);
    head.len() + payload.len()
}

/// Writes the check of a frame, for the file of this number.
pub(super) fn seal(frame: &mut [u8], serial: u64) {
    if let Some((head, payload)) = frame.split_first_chunk_mut::<FRAME_HEAD_BYTES>() {
        let check = check(serial, head, payload);
        head[4..8].copy_from_slice(&check.to_le_bytes());
    }
}

/// What stands at a place of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A frame: of which entry, what it says, its length.
    Frame(u64, Said<'a>, usize),
    /// Nothing any more, whatever stands behind it.
    End,
    /// A frame that is not whole: with more bytes it may be.
    Part,
}

/// What stands at the beginning of `bytes`, in the file of this number.
pub(super) fn read(bytes: &[u8], serial: u64) -> Result<Found<'_>, Damaged> {
    let Some(head) = bytes.first_chunk::<FRAME_HEAD_BYTES>() else {
        return Ok(Found::Part);
    };
    if *head == END {
        return Ok(Found::End);
    }
    let length = u32_at(head, 0) as usize;
    if length > PAYLOAD_BYTES_MAX {
        return Err(Damaged);
    }
    let end = FRAME_HEAD_BYTES + length;
    let Some(payload) = bytes.get(FRAME_HEAD_BYTES..end) else {
        return Ok(Found::Part);
    };
    if check(serial, head, payload) != u32_at(head, 4) {
        return Err(Damaged);
    }
    let said = match head[8] {
        KEEP => Said::Keep(payload),
        FORGET => Said::Forget,
        _ => return Err(Damaged),
    };
    Ok(Found::Frame(u64_at(head, 9), said, end))
}

/// What stands here is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

fn check(serial: u64, head: &[u8; FRAME_HEAD_BYTES], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&serial.to_le_bytes());
    hasher.update(&head[..4]);
    hasher.update(&head[8..]);
    hasher.update(payload);
    hasher.finalize()
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(std::array::from_fn(|n| bytes[at + n]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|n| bytes[at + n]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|n| bytes[at + n]))
}
