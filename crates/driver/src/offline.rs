//! The decision path of a call without a running switch: the records are read, nothing is listened on.

use std::fmt;
use std::sync::Arc;

use model::{ExplainRequest, Explanation};
use store::{Store, StoreError};
use switch::directory::SYSTEM;
use switch::explain::ExplainError;
use switch::plan::PlanContext;
use switch::{Directory, DirectoryChange};

use crate::DriverConfig;
use crate::counters::CounterBook;
use crate::feed::build;
use crate::{interfaces, shard};

/// Why there is no explanation.
#[derive(Debug)]
pub enum OfflineError {
    /// The records cannot be read.
    Store(StoreError),
    /// The question is none.
    Question(ExplainError),
}

impl fmt::Display for OfflineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => write!(f, "cannot read the records: {error}"),
            Self::Question(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for OfflineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::Question(error) => Some(error),
        }
    }
}

/// Explains a call by the records in `store`, as a switch with this configuration would decide it now if it carried
/// no other call. Peers are where the store says they registered; their host names are not looked up. Not for use within an async runtime.
pub fn explain_offline(
    store: &Store,
    config: &DriverConfig,
    request: &ExplainRequest,
) -> Result<Explanation, OfflineError> {
    let now_ms = shard::clock().unix_ms;
    let (records, peers) = store
        .read_blocking(move |reader| {
            let mut domains = reader.all_domains()?;
            domains.push(SYSTEM.to_owned());
            let records = domains
                .into_iter()
                .map(|domain| Ok((reader.domain_part(&domain)?, domain)));
            let records = records.collect::<store::Result<Vec<_>>>()?;
            Ok((records, reader.peers_registered(now_ms)?))
        })
        .map_err(OfflineError::Store)?;
    let counters = CounterBook::default();
    let mut directory = Directory::default();
    for (records, domain) in records {
        directory.apply(build(&domain, records, &counters));
    }
    for peer in peers {
        directory.apply(DirectoryChange::Binding {
            connection: peer.connection,
            binding: peer.binding.map(Arc::new),
        });
    }
    let interfaces = interfaces::interfaces(&interfaces::places(config));
    let context = PlanContext {
        unix_ms: now_ms,
        interfaces: &interfaces,
        ringback: config.ringback,
        hostname: &config.hostname,
        draw: 0,
    };
    switch::explain(&directory, request, context).map_err(OfflineError::Question)
}
