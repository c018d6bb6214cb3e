//! Call control as pure logic: records in, decisions out.
//!
//! A [`Switch`] is one shard. It never waits, reads no clock, touches no socket, file or database:
//!
//! ```text
//! loop {
//!     switch.handle(clock, input);                     // one input …
//!     while let Some(output) = switch.poll() { … }     // … then everything that follows from it
//!     sleep until switch.poll_timeout(), then Input::Timeout
//! }
//! ```
//!
//! | module | what it knows |
//! |---|---|
//! | [`directory`] | records, compiled and indexed, one part per domain |
//! | [`source`] | which connection is calling |
//! | [`plan`] | THE order of decisions |
//! | [`routing`] | the functions that the plan calls |
//! | `call` | legs, media, release |
//! | `registrar` | peers that register with us |
//! | `outbound_registration` | our registrations with carriers |
//! | `journal` | what of calls outlives the process |
//! | `agenda` | what is done for connections again and again, each at its time |
//! | `pings` | peers asked with OPTIONS whether they are there |
//! | `quarantine` | connections that failed of late |
//! | `guard` | sources that try names and passwords, and are ignored for a while |
//! | `door` | which shard owns a message |
//! | [`mod@explain`] | the same decisions, told to a reader |

mod agenda;
mod call;
mod calls;
mod challenge;
mod core;
pub mod directory;
mod door;
pub mod explain;
mod guard;
mod journal;
mod limits;
mod options;
mod outbound_registration;
mod pings;
pub mod plan;
mod quarantine;
mod registrar;
pub mod routing;
pub mod source;
mod switch;
pub mod trail;

pub use call::recording::FOLDER as RECORDINGS_FOLDER;
pub use call::{CallKey, MAX_RING_SECONDS, STATISTICS_WAIT_SECONDS};
pub use calls::REST_AFTER;
pub use directory::{Directory, DirectoryChange, DomainPart};
pub use explain::explain;
pub use guard::{GuardConfig, Ignored};
pub use journal::RestoreReport;
pub use keep::Damaged;
pub use outbound_registration::REGISTERS_PER_SECOND;
pub use pings::PINGS_PER_SECOND;
pub use registrar::{MAX_EXPIRES_SECONDS, MIN_EXPIRES_SECONDS};
pub use switch::{Clock, Input, Output, ShardConfig, Stats, Switch};

/// What we call ourselves in `User-Agent` and `Server`, where a connection wants that shown.
pub const SOFTWARE: &str = concat!("Strowger/", env!("CARGO_PKG_VERSION"));
