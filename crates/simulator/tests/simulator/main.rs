//! Calls in a simulated world, in one binary: one link instead of two dozen. A file, a subject.

mod addresses;
mod calls;
mod clocks;
mod dtls;
mod failover;
mod identity;
mod injection;
mod limits;
mod media_fields;
mod mid_call_identity;
mod minimum_duration;
mod ownership;
mod pings;
mod recording;
mod records;
mod registration;
mod restart;
mod ringing;
mod seeds;
mod session_timer;
mod transcoding;
mod translations;
mod wire;
