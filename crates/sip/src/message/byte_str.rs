//! Shared text: slices of one received message that outlive the borrow.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// Immutable text that is cheap to clone and to slice, because every slice shares one allocation.
///
/// A message copies its head once; all header values, tags and URIs taken from it are slices
/// of that copy. Literals cost no allocation at all.
#[derive(Clone)]
pub struct ByteStr {
    text: Text,
    // Half the size of `usize`: a message holds dozens of these.
    start: u32,
    end: u32,
}

#[derive(Clone)]
enum Text {
    Literal(&'static str),
    Shared(Arc<str>),
}

impl ByteStr {
    /// Empty text.
    pub const EMPTY: Self = Self::literal("");

    /// Text from the program itself; allocates nothing.
    pub const fn literal(text: &'static str) -> Self {
        Self {
            text: Text::Literal(text),
            start: 0,
            end: bounded(text.len()),
        }
    }

    /// Copies borrowed text into an allocation of its own.
    pub fn copy(text: &str) -> Self {
        Self::from(Arc::<str>::from(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        let whole: &str = match &self.text {
            Text::Literal(text) => text,
            Text::Shared(text) => text,
        };
        &whole[self.start as usize..self.end as usize]
    }

    /// The part of this text that `part` borrows, sharing the allocation.
    ///
    /// `part` normally comes from slicing `self`; text from elsewhere is copied, so the result
    /// always equals `part`.
    pub fn slice_of(&self, part: &str) -> Self {
        if part.is_empty() {
            return Self::EMPTY;
        }
        let own = self.as_str();
        let offset = (part.as_ptr() as usize).wrapping_sub(own.as_ptr() as usize);
        match offset.checked_add(part.len()) {
            Some(end) if end <= own.len() => Self {
                text: self.text.clone(),
                // Within `own`, whose offsets fit.
                start: self.start + offset as u32,
                end: self.start + end as u32,
            },
            _ => Self::copy(part),
        }
    }
}

/// A length as an offset. Text of 4 GiB has no place in signalling: it is a bug in the caller.
const fn bounded(length: usize) -> u32 {
    assert!(length <= u32::MAX as usize, "text of 4 GiB or more");
    length as u32
}

impl keep::Keep for ByteStr {
    fn keep(&self, out: &mut keep::Writer) {
        out.text(self);
    }

    fn kept(input: &mut keep::Reader<'_>) -> Result<Self, keep::Damaged> {
        Ok(match input.text()? {
            "" => Self::EMPTY,
            text => Self::copy(text),
        })
    }
}

impl Deref for ByteStr {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for ByteStr {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<str> for ByteStr {
    fn borrow(&self) -> &str {
        self
    }
}

impl Default for ByteStr {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl From<Arc<str>> for ByteStr {
    fn from(text: Arc<str>) -> Self {
        Self {
            start: 0,
            end: bounded(text.len()),
            text: Text::Shared(text),
        }
    }
}

impl From<String> for ByteStr {
    fn from(text: String) -> Self {
        Self::from(Arc::<str>::from(text))
    }
}

impl From<&'static str> for ByteStr {
    fn from(text: &'static str) -> Self {
        Self::literal(text)
    }
}

impl fmt::Display for ByteStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for ByteStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl PartialEq for ByteStr {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for ByteStr {}

impl PartialEq<str> for ByteStr {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for ByteStr {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialOrd for ByteStr {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByteStr {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for ByteStr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_share_the_allocation() {
        let whole = ByteStr::from(String::from("sip:alice@example.com"));
        let user = whole.slice_of(&whole[4..9]);
        assert_eq!(user, "alice");
        assert_eq!(user.as_ptr(), whole[4..].as_ptr());
        assert_eq!(user.slice_of(&user[1..3]), "li");
    }

    #[test]
    fn foreign_text_is_copied() {
        let whole = ByteStr::literal("abc");
        assert_eq!(
            whole.slice_of("elsewhere, and longer"),
            "elsewhere, and longer"
        );
        // Text of the same allocation but outside of the slice counts as foreign too.
        let shared = ByteStr::from(String::from("left right"));
        let left = shared.slice_of(&shared[..4]);
        assert_eq!(left.slice_of(&shared[5..]), "right");
    }
}
