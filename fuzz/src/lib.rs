//! What each target does with the bytes it gets. Apart from libFuzzer, so that the tests of the workspace compile and run
//! all of it over the seeds (`crates/strowger/tests/fuzz_targets.rs`) without a nightly compiler.

pub mod body;
pub mod digest;
pub mod dtls;
pub mod recorder;
pub mod relay;
pub mod sdp;
pub mod sip_framing;
pub mod sip_message;
pub mod sip_uri;
