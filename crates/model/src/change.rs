//! What changed, as it travels on the bus. Whoever hears it reads the records anew.

use crate::connection::ConnectionKey;
use crate::domain::SYSTEM_DOMAIN;
use serde::{Deserialize, Serialize};

/// A committed change.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// A domain was made, changed or removed, with all it owns.
    Domain(String),
    /// A connection.
    Connection(ConnectionKey),
    /// A dial plan itself.
    DialPlan {
        /// The plan's domain, or `*`.
        domain: String,
        /// The plan's name.
        name: String,
    },
    /// A rule of a dial plan.
    DialRule {
        /// The plan's domain, or `*`.
        domain: String,
        /// The plan's name.
        plan: String,
    },
    /// A dial policy or one of its permissions.
    DialPolicy {
        /// The policy's domain, or `*`.
        domain: String,
        /// The policy's name.
        name: String,
    },
    /// A route or one of its connections, by the route's id.
    Route(String),
    /// Somebody set when the registration of a peer ends.
    RegistrationEnds {
        /// The connection whose peer is registered.
        connection: ConnectionKey,
        /// When, in milliseconds since the Unix epoch; a moment that is over ends it at once.
        unix_ms: i64,
    },
    /// An API key, by its key id.
    ApiKey(String),
    /// More than can be listed: read all again.
    Everything,
}

impl Change {
    /// The domain whose part of the directory is touched; `*` for what belongs to the system.
    pub fn domain(&self) -> &str {
        match self {
            Self::Domain(domain)
            | Self::DialPlan { domain, .. }
            | Self::DialRule { domain, .. }
            | Self::DialPolicy { domain, .. } => domain,
            Self::Connection(key)
            | Self::RegistrationEnds {
                connection: key, ..
            } => &key.domain,
            Self::Route(_) | Self::ApiKey(_) | Self::Everything => SYSTEM_DOMAIN,
        }
    }

    /// Whether calls are decided by the records behind this change.
    pub fn concerns_calls(&self) -> bool {
        !matches!(self, Self::ApiKey(_))
    }
}
