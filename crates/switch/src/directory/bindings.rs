//! Where the peers are that registered with us, by connection.

use model::{Binding, ConnectionKey};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Connection, DomainPart};

/// The bindings of all connections, as one shard knows them: its own at once, those of other shards when they
/// tell.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    /// By domain, then by orig pattern: found without making a key.
    by_domain: HashMap<String, HashMap<String, Arc<Binding>>>,
    by_stream: HashMap<u64, ConnectionKey>,
}

impl Bindings {
    pub(super) fn of(&self, connection: &Connection) -> Option<&Arc<Binding>> {
        let record = &connection.record;
        self.get(&record.domain, &record.connection_orig_match_pattern)
    }

    pub(super) fn get(&self, domain: &str, orig_match_pattern: &str) -> Option<&Arc<Binding>> {
        self.by_domain.get(domain)?.get(orig_match_pattern)
    }

    pub(super) fn put(&mut self, key: &ConnectionKey, binding: Option<Arc<Binding>>) {
        let old = match &binding {
            Some(binding) => {
                if let Some(stream) = binding.stream {
                    self.by_stream.insert(stream, key.clone());
                }
                self.by_domain
                    .entry(key.domain.clone())
                    .or_default()
                    .insert(
                        key.connection_orig_match_pattern.clone(),
                        Arc::clone(binding),
                    )
            }
            None => {
                let of_domain = self.by_domain.get_mut(&key.domain);
                let old = of_domain.and_then(|of| of.remove(&key.connection_orig_match_pattern));
                if self
                    .by_domain
                    .get(&key.domain)
                    .is_some_and(HashMap::is_empty)
                {
                    self.by_domain.remove(&key.domain);
                }
                old
            }
        };
        let now = binding.and_then(|binding| binding.stream);
        if let Some(stream) = old
            .and_then(|old| old.stream)
            .filter(|old| Some(*old) != now)
        {
            self.by_stream.remove(&stream);
        }
    }

    /// The wall clock was set by so many milliseconds: every binding lasts as long as before.
    pub(super) fn shift(&mut self, step_ms: i64) {
        for binding in self.by_domain.values_mut().flat_map(HashMap::values_mut) {
            let binding = Arc::make_mut(binding);
            binding.registered_ms = binding.registered_ms.saturating_add(step_ms);
            binding.expires_ms = binding.expires_ms.saturating_add(step_ms);
        }
    }

    /// A stream is no more: its peer is reached by its Contact from now on.
    pub(super) fn stream_closed(&mut self, stream: u64) {
        let Some(key) = self.by_stream.remove(&stream) else {
            return;
        };
        let binding = self
            .by_domain
            .get_mut(&key.domain)
            .and_then(|of| of.get_mut(&key.connection_orig_match_pattern));
        if let Some(binding) = binding
            && binding.stream == Some(stream)
        {
            Arc::make_mut(binding).stream = None;
        }
    }

    /// Forgets what belongs to connections that a domain does not have any more.
    pub(super) fn keep(&mut self, domain: &str, part: Option<&DomainPart>) {
        let Some(of_domain) = self.by_domain.get(domain) else {
            return;
        };
        let left: HashSet<&str> = part
            .into_iter()
            .flat_map(|part| &part.connections)
            .map(|connection| connection.record.connection_orig_match_pattern.as_str())
            .collect();
        let gone: Vec<ConnectionKey> = of_domain
            .keys()
            .filter(|pattern| !left.contains(pattern.as_str()))
            .map(|pattern| ConnectionKey {
                domain: domain.to_owned(),
                connection_orig_match_pattern: pattern.clone(),
            })
            .collect();
        for key in gone {
            self.put(&key, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(pattern: &str) -> ConnectionKey {
        ConnectionKey {
            domain: "d1".into(),
            connection_orig_match_pattern: pattern.into(),
        }
    }

    fn binding(stream: Option<u64>) -> Option<Arc<Binding>> {
        Some(Arc::new(Binding {
            contact: "sip:x@10.0.0.5".into(),
            via: "10.0.0.5".into(),
            transport: "TCP".into(),
            received: "192.0.2.9:40000".parse().unwrap(),
            interface: 1,
            stream,
            call_id: "c".into(),
            cseq: 1,
            registered_ms: 0,
            expires_ms: 60_000,
        }))
    }

    #[test]
    fn a_stream_that_closes_leaves_the_binding_without_it() {
        let mut bindings = Bindings::default();
        bindings.put(&key("p"), binding(Some(7)));
        bindings.stream_closed(8);
        assert_eq!(bindings.get("d1", "p").unwrap().stream, Some(7));
        bindings.stream_closed(7);
        assert_eq!(bindings.get("d1", "p").unwrap().stream, None);
        assert!(bindings.by_stream.is_empty());
    }

    #[test]
    fn a_new_stream_replaces_the_old_one() {
        let mut bindings = Bindings::default();
        bindings.put(&key("p"), binding(Some(7)));
        bindings.put(&key("p"), binding(Some(9)));
        // The first stream closes late, when nobody depends on it any more.
        bindings.stream_closed(7);
        assert_eq!(bindings.get("d1", "p").unwrap().stream, Some(9));
        bindings.put(&key("p"), None);
        assert!(bindings.by_stream.is_empty() && bindings.by_domain.is_empty());
    }

    #[test]
    fn bindings_go_with_their_connections() {
        let mut bindings = Bindings::default();
        bindings.put(&key("p"), binding(Some(7)));
        bindings.keep("other", None);
        assert!(bindings.get("d1", "p").is_some());
        bindings.keep("d1", None);
        assert!(bindings.get("d1", "p").is_none() && bindings.by_stream.is_empty());
    }
}
