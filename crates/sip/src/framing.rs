//! Messages out of a byte stream (RFC 3261 §18.3, keep-alives of RFC 5626 §4.4.1).

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use crate::message::Name;
use crate::message::content_length_bytes;
use crate::message::index::head_length;

/// The largest head that is waited for, in bytes.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;

/// What a stream yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// One message, head and body.
    Message(Bytes),
    /// A double CRLF between messages: the peer wants to hear a single one (RFC 5626 §3.5.1).
    KeepAlive,
}

/// Why a stream can no longer be read. Where the next message begins is unknown: close it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// No end of the head within [`HEAD_BYTES_MAX`].
    HeadTooLarge,
    /// Head and body are larger than the limit.
    MessageTooLarge,
    /// No Content-Length, which a stream needs (RFC 3261 §18.3).
    NoContentLength,
    /// A Content-Length that is no number, or two that differ.
    BadContentLength,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HeadTooLarge => "head larger than the limit",
            Self::MessageTooLarge => "message larger than the limit",
            Self::NoContentLength => "message on a stream without Content-Length",
            Self::BadContentLength => "unusable Content-Length on a stream",
        })
    }
}

impl std::error::Error for FrameError {}

/// Cuts one stream into frames. It holds at most one incomplete message beside what was pushed
/// last, so callers push what they read and then drain [`Framer::next`].
#[derive(Debug)]
pub struct Framer {
    buffer: BytesMut,
    max_message_bytes: usize,
    /// No empty line ends before here: where to look on when more has come.
    searched: usize,
    /// The length of head and body, once the head is complete.
    awaited: Option<usize>,
    /// Line ends in front of the next message that might yet become a keep-alive.
    line_ends: u8,
    failed: Option<FrameError>,
}

impl Framer {
    /// A framer for a new stream.
    pub fn new(max_message_bytes: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            max_message_bytes,
            searched: 0,
            awaited: None,
            line_ends: 0,
            failed: None,
        }
    }

    /// Takes bytes that have come. After an error they are dropped.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next frame; `None` until more has come. An error is final and is returned each time.
    #[expect(
        clippy::should_implement_trait,
        reason = "not an end of iteration but a need for input"
    )]
    pub fn next(&mut self) -> Option<Result<Frame, FrameError>> {
        if let Some(error) = self.failed {
            return Some(Err(error));
        }
        match self.read() {
            Ok(frame) => frame.map(Ok),
            Err(error) => {
                self.failed = Some(error);
                self.buffer = BytesMut::new();
                Some(Err(error))
            }
        }
    }

    /// How many bytes wait for the rest of their message.
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    fn read(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.awaited.is_none() && self.skip_line_ends() {
            return Ok(Some(Frame::KeepAlive));
        }
        let length = match self.awaited {
            Some(length) => length,
            None => match self.read_head()? {
                Some(length) => length,
                None => return Ok(None),
            },
        };
        if self.buffer.len() < length {
            self.awaited = Some(length);
            return Ok(None);
        }
        self.awaited = None;
        self.searched = 0;
        Ok(Some(Frame::Message(self.buffer.split_to(length).freeze())))
    }

    /// Drops line ends in front of a message; true when two in a row are a keep-alive.
    fn skip_line_ends(&mut self) -> bool {
        loop {
            match self.buffer[..] {
                [b'\r', b'\n', ..] => self.buffer.advance(2),
                [b'\n', ..] => self.buffer.advance(1),
                [b'\r'] | [] => return false,
                _ => {
                    self.line_ends = 0;
                    return false;
                }
            }
            self.line_ends += 1;
            if self.line_ends == 2 {
                self.line_ends = 0;
                return true;
            }
        }
    }

    /// The length of head and body, once the head is complete.
    fn read_head(&mut self) -> Result<Option<usize>, FrameError> {
        let Some(found) = head_length(&self.buffer[self.searched..]) else {
            if self.buffer.len() > HEAD_BYTES_MAX.min(self.max_message_bytes) {
                return Err(FrameError::HeadTooLarge);
            }
            // The empty line may begin in the last three bytes, CR LF CR.
            self.searched = self.buffer.len().saturating_sub(3);
            return Ok(None);
        };
        let head = self.searched + found;
        if head > HEAD_BYTES_MAX {
            return Err(FrameError::HeadTooLarge);
        }
        let body = content_length(&self.buffer[..head])?;
        match usize::try_from(body)
            .ok()
            .and_then(|body| body.checked_add(head))
        {
            Some(length) if length <= self.max_message_bytes => Ok(Some(length)),
            _ => Err(FrameError::MessageTooLarge),
        }
    }
}

/// The Content-Length of a head. It is looked for in the raw lines: the head may be one that
/// cannot be parsed, and must be framed all the same to be refused.
fn content_length(head: &[u8]) -> Result<u64, FrameError> {
    let mut found = None;
    let mut rest = head;
    let mut first = true;
    while let Some(end) = memchr(b'\n', rest) {
        let mut length = end + 1;
        // A folded line belongs to the one before.
        while matches!(rest.get(length), Some(b' ' | b'\t')) {
            length += memchr(b'\n', &rest[length..]).map_or(rest.len() - length, |more| more + 1);
        }
        let (line, after) = rest.split_at(length);
        rest = after;
        if std::mem::take(&mut first) {
            continue;
        }
        let Some(colon) = memchr(b':', line) else {
            continue;
        };
        if Name::of_bytes(line[..colon].trim_ascii_end()) != Name::ContentLength {
            continue;
        }
        let value = std::str::from_utf8(line[colon + 1..].trim_ascii()).unwrap_or_default();
        let bytes = content_length_bytes(value).ok_or(FrameError::BadContentLength)?;
        if found.is_some_and(|other| other != bytes) {
            return Err(FrameError::BadContentLength);
        }
        found = Some(bytes);
    }
    found.ok_or(FrameError::NoContentLength)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 4096;

    fn message(length: &str, body: &str) -> String {
        format!("OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/TCP h\r\n{length}\r\n{body}")
    }

    /// Frames of `text`, pushed in pieces of `size` bytes.
    fn frames(text: &str, size: usize) -> Vec<Result<Frame, FrameError>> {
        let mut framer = Framer::new(LIMIT);
        let mut frames = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            framer.push(piece);
            while let Some(frame) = framer.next() {
                let failed = frame.is_err();
                frames.push(frame);
                if failed {
                    return frames;
                }
            }
        }
        frames
    }

    #[track_caller]
    fn check(text: &str, expected: &[Result<Frame, FrameError>]) {
        for size in [1, 2, 3, 7, 64, text.len().max(1)] {
            assert_eq!(frames(text, size), expected, "pieces of {size} bytes");
        }
    }

    fn whole(text: &str) -> Result<Frame, FrameError> {
        Ok(Frame::Message(Bytes::copy_from_slice(text.as_bytes())))
    }

    #[test]
    fn messages_and_keep_alives_are_told_apart() {
        let one = message("Content-Length: 5\r\n", "hello");
        let two = message("l : \r\n 0\r\n", "");
        let text = format!("\r\n\r\n{one}\r\n\r\n\r\n{two}\r\n{two}\r\n\r\n");
        check(
            &text,
            &[
                Ok(Frame::KeepAlive),
                whole(&one),
                Ok(Frame::KeepAlive),
                whole(&two),
                whole(&two),
                Ok(Frame::KeepAlive),
            ],
        );
    }

    #[test]
    fn a_body_with_empty_lines_stays_whole() {
        let text = message("Content-Length: 8\r\nL: 8\r\n", "\r\n\r\nab\r\n");
        check(&text, &[whole(&text)]);
        let bare = "MESSAGE sip:h SIP/2.0\nContent-Length: 2\n\nhi";
        check(bare, &[whole(bare)]);
    }

    #[test]
    fn an_unusable_length_ends_the_stream() {
        for (length, error) in [
            ("", FrameError::NoContentLength),
            ("Content-Length: -1\r\n", FrameError::BadContentLength),
            ("Content-Length: x\r\n", FrameError::BadContentLength),
            ("Content-Length: \r\n", FrameError::BadContentLength),
            (
                "Content-Length: 1\r\nl: 2\r\n",
                FrameError::BadContentLength,
            ),
            (
                "Content-Length: 99999999999999999999\r\n",
                FrameError::BadContentLength,
            ),
            (
                "Content-Length: 18446744073709551615\r\n",
                FrameError::MessageTooLarge,
            ),
            ("Content-Length: 4096\r\n", FrameError::MessageTooLarge),
        ] {
            check(&message(length, ""), &[Err(error)]);
        }
    }

    #[test]
    fn a_head_without_end_is_bounded() {
        let endless = "X: y\r\n".repeat(HEAD_BYTES_MAX);
        let mut framer = Framer::new(1 << 20);
        framer.push(endless.as_bytes());
        assert_eq!(framer.next(), Some(Err(FrameError::HeadTooLarge)));
        assert_eq!(framer.buffered_bytes(), 0);
        framer.push(b"more");
        assert_eq!(
            (framer.next(), framer.buffered_bytes()),
            (Some(Err(FrameError::HeadTooLarge)), 0)
        );
    }

    #[test]
    fn what_is_incomplete_waits() {
        let text = message("Content-Length: 5\r\n", "hell");
        assert_eq!(frames(&text, 10), []);
    }
}
