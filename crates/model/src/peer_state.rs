//! How the switch stands with the peer of a connection at this moment: registrations both ways, and whether it answers.

use crate::reachability::ReachabilityState;
use crate::registration::Binding;

/// What the shard that looks after a connection knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerState {
    /// Our registration with the peer; `None` when we do not register.
    pub outbound: Option<OutboundState>,
    /// Where the peer is that registered with us.
    pub inbound: Option<Binding>,
    /// Whether the peer answers OPTIONS; `None` when it is not asked.
    pub options: Option<OptionsState>,
}

/// Our registration with a carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundState {
    /// Until when we are registered, in milliseconds since the Unix epoch; `None` when we are not.
    pub expires_ms: Option<i64>,
    /// What became of the last attempt; `None` before the first is over.
    pub last: Option<RegistrationOutcome>,
    /// Attempts that failed since the last success.
    pub failures: u32,
    /// When the next attempt is made, in milliseconds since the Unix epoch; `None` while one is under way, waits for its
    /// turn, or cannot be made.
    pub next_ms: Option<i64>,
}

impl OutboundState {
    /// `registered` while what was granted holds, even if refreshing it fails; else `failed` after a failure, else
    /// `registering`.
    pub const fn word(&self) -> &'static str {
        match (self.expires_ms, self.failures) {
            (Some(_), _) => "registered",
            (None, 0) => "registering",
            (None, _) => "failed",
        }
    }
}

/// The outcome of one attempt to register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationOutcome {
    /// SIP status of the answer, or the one that stands for what happened.
    pub status: u16,
    /// The reason phrase of the answer, or what happened instead.
    pub reason: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// Whether a peer answers OPTIONS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionsState {
    /// What it is now.
    pub state: ReachabilityState,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_ms: i64,
    /// Status of the last answer; `None` when the last question had none, or none was asked yet.
    pub status: Option<u16>,
}
