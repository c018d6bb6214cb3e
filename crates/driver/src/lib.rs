//! The only crate with sockets and a clock: it performs what the switch decides.
//!
//! ```text
//!              ┌────────────── tokio ──────────────┐
//!   TCP, TLS  ─┤ flows: one task per stream        │
//!   DNS       ─┤ dns: one task, cached             ├─ mailbox ─┐
//!   store, bus ┤ feed: records to directory parts  │           ▼
//!              └───────────────────────────────────┘   ┌───────────────┐   commands   ┌──────────────┐
//!   UDP peers ────────────────────────────────────────►│ shard (thread)│─────────────►│ media thread │◄─► RTP
//!                                                      │  Switch       │◄─────────────│  RelayTable  │
//!                          store ◄── cdr (thread) ◄────┤               │    events    └──────────────┘
//!                                                      └───────────────┘
//! ```
//!
//! - [`shard`](self): a thread per shard runs [`switch::Switch`]: inputs in, outputs performed. It never waits for
//!   anything but its sockets and its mailbox.
//! - Media threads own the RTP sockets; packets never pass through a shard. Copies of those that are recorded go to one
//!   more thread, which writes files.
//! - What calls need to outlive the process is in the journal of their shard before the shard says what follows from it.
//! - What a shard sends elsewhere goes through bounded queues. What happens at the bound stands at each queue.
//! - Nothing here decides about calls. If a line in this crate reads like a decision, it is in the wrong crate.

mod answers;
mod cdr;
mod certificate;
mod counters;
mod desk;
mod dns;
mod driver;
mod feed;
mod flows;
mod inheritance;
mod interfaces;
mod journal;
mod mailbox;
mod media;
mod metrics;
mod misbehaviours;
mod offline;
mod pace;
mod ports;
mod reachability;
mod recorder;
mod registrations;
mod shard;
mod shards;
mod tap;
mod tls;
mod wire;

pub use driver::{Driver, DriverConfig, MAX_ADDRESSES, MAX_SHARDS, StartError};
pub use flows::{MAX_FLOWS, MAX_FLOWS_PER_ADDRESS};
pub use inheritance::Inheritance;
pub use journal::{JournalConfig, JournalError};
pub use media::MediaFastPath;
pub use offline::{OfflineError, explain_offline};
pub use ports::{PORT_QUIET_SECONDS, PortRange};
pub use sip::auth::ALGORITHMS as DIGEST_ALGORITHMS;
pub use sip::message::header::challenge::Algorithm as DigestAlgorithm;
pub use sip::transport::Transport;
pub use sockets::MediaEngine;
pub use switch::RECORDINGS_FOLDER;
pub use tap::{Tap, Traced};
pub use tls::{MAX_HANDSHAKES, TlsError, TlsFiles};
