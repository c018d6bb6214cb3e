//! SRTP and SRTCP (RFC 3711): RTP and its reports sealed and opened in place, without allocation.
//!
//! A [`Context`] seals or opens everything that goes one way under one master key. It follows each stream's rollover
//! counter, refuses what was received before, and knows the suites of SDES that are in use:
//!
//! | suite | cipher | tag of RTP, RTCP | |
//! |---|---|---|---|
//! | `AES_CM_128_HMAC_SHA1_80` | AES-128 counter mode | 10, 10 bytes | RFC 3711, RFC 4568 |
//! | `AES_CM_128_HMAC_SHA1_32` | AES-128 counter mode | 4, 10 | RFC 3711, RFC 4568 |
//! | `AES_256_CM_HMAC_SHA1_80` | AES-256 counter mode | 10, 10 | RFC 6188 |
//! | `AES_256_CM_HMAC_SHA1_32` | AES-256 counter mode | 4, 10 | RFC 6188 |
//! | `AEAD_AES_128_GCM` | AES-128 GCM | 16, 16 | RFC 7714 |
//! | `AEAD_AES_256_GCM` | AES-256 GCM | 16, 16 | RFC 7714 |
//!
//! Not here, because nobody uses them with SDES: master key identifiers, key derivation rates other than zero,
//! unencrypted or unauthenticated streams.

mod context;
mod derivation;
mod index;
mod key;
mod seal;
mod suite;

pub use context::{Context, PROGRESS_STEP, SrtpError};
pub use key::{KeySeed, KeySource, MasterKey, SideKeys};
pub use suite::Suite;

/// The most bytes that sealing adds to a packet: a tag of 16 bytes, and 4 of index on a report.
pub const OVERHEAD_BYTES_MAX: usize = 20;
