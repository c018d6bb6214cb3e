//! The whole crate from outside, in one binary: one link instead of two dozen. A file, a subject.

mod basic_call;
mod cancel_after_180;
mod cancel_before_1xx;
mod cancel_crosses_200;
mod common;
mod connected_identity;
mod digest_retry;
mod failover_on_503;
mod forked_early_dialogs;
mod glare_491;
mod hostile_peer;
mod late_offer;
mod lossy_wire;
mod lost_ack;
mod midcall_offers;
mod old_peers;
mod overload_503;
mod prack;
mod properties;
mod refusals;
mod response_routing;
mod retransmission_timers;
mod route_sets;
mod session_timer;
mod torture;
mod torture_endpoint;
