//! Media as pure logic: session descriptions, RTP and RTCP, and the decisions of the relay.
//!
//! Nothing here owns a socket, reads a clock or waits. A media thread receives a packet, asks
//! [`relay::RelayTable::handle_packet`] where it goes, and sends it; call control reads and
//! rewrites session descriptions with [`sdp`].
//!
//! | module | what it knows |
//! |---|---|
//! | [`sdp`] | session descriptions (RFC 8866), offer and answer (RFC 3264), anchoring at our relay |
//! | [`relay`] | which packet goes where, from whom it is accepted, what was lost, who fell silent |
//! | [`srtp`] | sealing and opening of packets (RFC 3711), keys of descriptions (RFC 4568) |
//! | [`dtls`] | keys from a handshake on the media port (RFC 5764) |
//! | [`rtp`], [`rtcp`] | packet headers and reports (RFC 3550) |
//! | [`codec`] | G.711, G.722 and Opus, from samples to payloads and back |
//! | [`resample`] | between the two sample rates of telephone speech |
//! | [`dtmf`] | telephone events (RFC 4733) |
//! | [`recorder`] | one stereo stream of the packets of both sides |
//! | [`ringing_tones`] | what callers hear while it rings, by country |
//! | [`g711`], [`tone`] | what an end point of our own needs to speak and to recognise a tone |

pub mod codec;
pub mod dtls;
pub mod dtmf;
pub mod g711;
pub mod recorder;
pub mod relay;
pub mod resample;
pub mod ringing_tones;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod srtp;
pub mod tone;
