//! Registrations: of a peer with us, and of ours with a carrier (RFC 3261 §10).

use crate::connection::ConnectionKey;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;

/// Who registers with whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RegistrationDirection {
    /// The peer, a PBX say, with us.
    Inbound,
    /// We, with the carrier.
    Outbound,
}

impl RegistrationDirection {
    /// The word of metrics and of the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }

    /// The direction of a word.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Inbound, Self::Outbound]
            .into_iter()
            .find(|direction| direction.as_str() == word)
    }
}

/// Where a peer that registered can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Binding {
    /// URI of its Contact, as it wrote it.
    pub contact: String,
    /// Sent-by of its topmost Via: `host` or `host:port`.
    pub via: String,
    /// Transport it used: `UDP`, `TCP` or `TLS`.
    pub transport: String,
    /// Where its REGISTER came from.
    pub received: SocketAddr,
    /// Which of our addresses it came to, by index. A restart with other addresses may make this wrong, so
    /// whoever uses it compares the transport.
    pub interface: u8,
    /// The stream it came on, while that is open; never of a process that is gone.
    #[serde(skip)]
    pub stream: Option<u64>,
    /// Call-ID of the REGISTER, by which a repeated or late one is known.
    pub call_id: String,
    /// Number of its CSeq.
    pub cseq: u32,
    /// When the REGISTER was accepted, in milliseconds since the Unix epoch.
    pub registered_ms: i64,
    /// When it ends, in milliseconds since the Unix epoch.
    pub expires_ms: i64,
}

/// Something that happened to the registration of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The connection.
    pub connection: ConnectionKey,
    /// Who registers with whom.
    pub direction: RegistrationDirection,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// What.
    pub event: RegistrationEvent,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistrationEvent {
    /// It succeeded, for the first time or once more.
    Registered {
        /// When it ends unless it is refreshed, in milliseconds since the Unix epoch.
        expires_ms: i64,
        /// Where the peer is; inbound only.
        binding: Option<Binding>,
        /// Whether there was none before, or another.
        new: bool,
    },
    /// An attempt of ours failed; what was granted before holds until it ends.
    Failed {
        /// SIP status of the answer, or the one that stands for what happened.
        status: u16,
        /// In how many seconds the next attempt follows.
        retry_seconds: u64,
    },
    /// It is over.
    Ended(RegistrationEnd),
}

/// Why a registration is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistrationEnd {
    /// It was not refreshed in time.
    Expired,
    /// Whoever registered took it back.
    Withdrawn,
    /// The connection's record ended it.
    Record,
}

impl fmt::Display for RegistrationEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "not refreshed in time",
            Self::Withdrawn => "taken back",
            Self::Record => "ended by a change of the connection",
        })
    }
}

/// What the store keeps of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRegistration {
    /// The connection.
    pub connection: ConnectionKey,
    /// Who registers with whom.
    pub direction: RegistrationDirection,
    /// Last success, in milliseconds since the Unix epoch.
    pub registered_ms: i64,
    /// When it ends, in milliseconds since the Unix epoch; `None` once it is over.
    pub expires_ms: Option<i64>,
    /// Where the peer is; inbound only, while it holds.
    pub binding: Option<Binding>,
}
