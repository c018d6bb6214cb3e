//! Counting the ways in which peers break the rules.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sip::Misbehaviour;

/// Kinds that are told apart. There are fewer; the bound only keeps a mistake here from growing without end.
const KINDS_MAX: usize = 128;

/// Counts by kind. Only broken messages come here, and only one shard writes.
#[derive(Default)]
pub(crate) struct MisbehaviourCounts {
    kinds: Mutex<BTreeMap<String, u64>>,
}

impl MisbehaviourCounts {
    /// Counts one.
    pub(crate) fn count(&self, why: &Misbehaviour) {
        // The variant's name without its values: `Missing(CallId)` counts as `Missing`.
        let text = format!("{why:?}");
        let kind = text
            .split(|c: char| !c.is_ascii_alphanumeric())
            .next()
            .unwrap_or_default();
        let mut kinds = self.kinds();
        if let Some(count) = kinds.get_mut(kind) {
            *count += 1;
        } else if kinds.len() < KINDS_MAX {
            kinds.insert(kind.to_owned(), 1);
        }
    }

    /// Adds up several shards' counts and prints them.
    pub(crate) fn print<'a>(all: impl Iterator<Item = &'a Self>, out: &mut String) {
        let mut totals = BTreeMap::<String, u64>::new();
        for counts in all {
            for (kind, count) in counts.kinds().iter() {
                *totals.entry(kind.clone()).or_default() += count;
            }
        }
        for (kind, total) in totals {
            let _ = writeln!(
                out,
                "strowger_sip_misbehaviour_total{{kind=\"{kind}\"}} {total}"
            );
        }
    }

    fn kinds(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip::message::Name;

    #[test]
    fn kinds_are_counted_without_their_values() {
        let counts = MisbehaviourCounts::default();
        counts.count(&Misbehaviour::Missing(Name::CallId));
        counts.count(&Misbehaviour::Missing(Name::From));
        counts.count(&Misbehaviour::TooLarge);
        let mut text = String::new();
        MisbehaviourCounts::print([&counts].into_iter(), &mut text);
        assert_eq!(
            text,
            "strowger_sip_misbehaviour_total{kind=\"Missing\"} 2\nstrowger_sip_misbehaviour_total{kind=\"TooLarge\"} 1\n"
        );
    }
}
