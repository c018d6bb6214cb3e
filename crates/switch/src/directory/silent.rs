//! Connections whose peers do not answer OPTIONS any more, and since when.

use super::{Connection, DomainPart};
use model::ConnectionKey;
use std::collections::{HashMap, HashSet};

/// What one shard knows of them: its own at once, those of other shards when they tell.
#[derive(Debug, Default)]
pub(super) struct Silent {
    /// By domain, then by orig pattern: milliseconds since the Unix epoch.
    by_domain: HashMap<String, HashMap<String, i64>>,
}

impl Silent {
    pub(super) fn since_ms(&self, connection: &Connection) -> Option<i64> {
        if self.by_domain.is_empty() {
            return None;
        }
        let record = &connection.record;
        let of_domain = self.by_domain.get(&record.domain)?;
        of_domain
            .get(&record.connection_orig_match_pattern)
            .copied()
    }

    pub(super) fn put(&mut self, key: &ConnectionKey, since_ms: Option<i64>) {
        match since_ms {
            Some(since_ms) => {
                self.by_domain
                    .entry(key.domain.clone())
                    .or_default()
                    .insert(key.connection_orig_match_pattern.clone(), since_ms);
            }
            None => {
                if let Some(of_domain) = self.by_domain.get_mut(&key.domain) {
                    of_domain.remove(&key.connection_orig_match_pattern);
                    if of_domain.is_empty() {
                        self.by_domain.remove(&key.domain);
                    }
                }
            }
        }
    }

    /// Forgets what belongs to connections that a domain does not have any more.
    pub(super) fn keep(&mut self, domain: &str, part: Option<&DomainPart>) {
        let Some(of_domain) = self.by_domain.get_mut(domain) else {
            return;
        };
        let left: HashSet<&str> = part
            .into_iter()
            .flat_map(|part| &part.connections)
            .map(|connection| connection.record.connection_orig_match_pattern.as_str())
            .collect();
        of_domain.retain(|pattern, _| left.contains(pattern.as_str()));
        if of_domain.is_empty() {
            self.by_domain.remove(domain);
        }
    }
}
