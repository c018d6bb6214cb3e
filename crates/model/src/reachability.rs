//! Whether the peers of connections answer when they are asked.

use crate::connection::ConnectionKey;
use std::fmt;

/// The answer to "are you there?" changed for a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reachability {
    /// The connection.
    pub connection: ConnectionKey,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// What it is now.
    pub state: ReachabilityState,
    /// Status of the answer that decided; `None` when none came.
    pub status: Option<u16>,
}

/// Whether the peer of a connection can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReachabilityState {
    /// It has not answered yet, or there is no way to ask it: nothing speaks against it.
    Unknown,
    /// It answers.
    Up,
    /// It used to answer and does not any more.
    Down,
}

impl ReachabilityState {
    /// All of them, in the order of metrics.
    pub const ALL: [Self; 3] = [Self::Unknown, Self::Up, Self::Down];

    /// The word of metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

impl fmt::Display for ReachabilityState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
