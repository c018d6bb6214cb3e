//! Records by the digits that their patterns begin with: a table of ten thousand number ranges is asked with a
//! handful of look-ups.

use model::pattern::{Pattern, Subject};
use std::collections::HashMap;
use std::sync::Arc;

/// Records, found by the beginning of a user.
#[derive(Debug)]
pub(super) struct PrefixIndex<T> {
    by_prefix: HashMap<String, Vec<Arc<T>>>,
    /// Length of the longest prefix, in bytes: no longer one needs to be looked up.
    longest: usize,
    count: usize,
}

impl<T> Default for PrefixIndex<T> {
    fn default() -> Self {
        Self {
            by_prefix: HashMap::new(),
            longest: 0,
            count: 0,
        }
    }
}

impl<T> PrefixIndex<T> {
    pub(super) fn insert(&mut self, pattern: &Pattern, record: T) {
        let prefix = pattern.user_prefix();
        self.longest = self.longest.max(prefix.len());
        self.count += 1;
        self.by_prefix
            .entry(prefix.to_owned())
            .or_default()
            .push(Arc::new(record));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All records whose pattern could cover the subject, in no order.
    pub(super) fn candidates<'a>(
        &'a self,
        subject: &'a Subject,
    ) -> impl Iterator<Item = &'a Arc<T>> {
        let user = subject.user();
        let of = |user: &'a str| {
            let most = user.len().min(self.longest);
            (1..=most)
                .filter(|end| user.is_char_boundary(*end))
                .filter_map(|end| self.by_prefix.get(&user[..end]))
                .flatten()
        };
        // A pattern that does not ask for a `+` covers a number with one too.
        let bare = user.strip_prefix('+').unwrap_or("");
        let everywhere = self.by_prefix.get("").into_iter().flatten();
        everywhere.chain(of(user)).chain(of(bare))
    }
}
