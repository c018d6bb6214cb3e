//! The nouns of the switch: one plain record per file, every field named as on the wire.
//!
//! A field is its wire name in snake case, so one search finds all its places. Records read and write
//! the contract's JSON: reading is generous (see [`wire`]), writing has one form. Closed sets of words
//! are enums with a word table ([`Words`]), and [`Secret`] keeps passwords out of logs.
//!
//! Nothing here knows storage, HTTP or SIP messages. See each module for its contract group.

pub mod api_key;
pub mod audit;
pub mod cdr;
pub mod change;
pub mod connection;
pub mod counters;
pub mod datetime;
pub mod dial_plan;
pub mod dial_policy;
pub mod dial_rule;
pub mod dial_rule_application;
pub mod domain;
pub mod explain;
pub mod header_line;
pub mod pattern;
pub mod peer_state;
pub mod reachability;
pub mod registration;
pub mod route;
mod rule_id;
pub mod schedule;
pub mod scope;
pub mod secret;
pub mod wire;
pub mod words;

pub use api_key::{AllowedModels, ApiKey};
pub use audit::{Actor, Audit, AuditVerb};
pub use cdr::{Cdr, CdrLeg, CdrMedia, CdrRecording, CdrStream, ReleaseSide};
pub use change::Change;
pub use connection::{
    AudioRelay, Connection, ConnectionKey, DestinationFrom, EncryptedAudio, MatchingHeader,
    RemoteRingback, SipTransport, SystemSwitch,
};
pub use counters::{
    CallDirection, CallLimits, CallMaxima, ConnectionCounters, CountersNow, DomainCalls,
    DomainCounters, DomainLimits, LimitReached,
};
pub use dial_plan::{DialPlan, DialPlanKey, NUMBER_PLAN};
pub use dial_policy::{
    DialPolicy, DialPolicyKey, PERMIT_ALL, Permission, PermissionKey, PermissionMode,
};
pub use dial_rule::{DialRule, DialRuleKey, RuleMatching, SchemeTranslation};
pub use dial_rule_application::DialRuleApplication;
pub use domain::{Domain, DomainType, RecordingConfiguration, SYSTEM_DOMAIN, TranscriptionVendor};
pub use explain::{ExplainRequest, ExplainedLoser, ExplainedStep, Explanation};
pub use peer_state::{OptionsState, OutboundState, PeerState, RegistrationOutcome};
pub use reachability::{Reachability, ReachabilityState};
pub use registration::{
    Binding, KeptRegistration, Registration, RegistrationDirection, RegistrationEnd,
    RegistrationEvent,
};
pub use route::{Route, RouteConnection, RouteConnectionKey, RouteMatching, RouteMethod};
pub use scope::Scope;
pub use secret::Secret;
pub use words::Words;
