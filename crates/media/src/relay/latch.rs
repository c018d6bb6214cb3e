//! Who may send to a socket of the relay, and where the answers go.
//!
//! # The rule
//!
//! Signalling announces an address. Behind a NAT it is not the address packets come from, so a
//! relay has to learn the real one from the packets themselves ("latching"), and whoever can learn
//! can be taught wrongly. This is what is believed, in order:
//!
//! 1. **No announced address, no packets.** Before the far end described itself, and after it
//!    refused the stream, everything is refused ([`Refusal::Unannounced`]).
//! 2. **Strict** sockets accept the announced address only.
//! 3. **While waiting** (nothing accepted since the address was announced) packets are sent to the
//!    announced address, and the first packet that is well formed for the line settles the latch:
//!    its source is where packets are sent from now on.
//! 4. **Once settled**, a packet from the settled source is always accepted; it may start new
//!    streams as it likes. A packet from anywhere else is refused ([`Refusal::Stranger`]), except:
//!    1. *Signalling outranks luck.* A source nearer to the announced address takes over from one
//!       that is further away: exactly the announced address before another port of the announced
//!       host, and that before any other host. So who races the far end to the first packet keeps
//!       the stream only until the far end's own first packet, and who knows our port later gets
//!       nothing.
//!    2. *The NAT changed the port.* The same stream (SSRC) from the same host moves at once.
//!    3. *The far end changed its network.* The same stream from another host moves when the
//!       settled source has been silent for [`SILENCE_BEFORE_MOVE`]. An SSRC is 32 random bits
//!       which only someone on the path has seen.
//!    4. Datagrams without SSRC (fax) move to another port of the same host after that silence.
//! 5. **A new announced address** makes the latch wait again. Packets of the former source are
//!    still passed on for [`FORMER_SOURCE_GRACE`], for they are on the way, but do not settle it; after
//!    that the former source counts like any other (its address may only have changed on paper).
//!    If the new address is the settled source itself, nothing changes. The same address again, as
//!    in a session refresh, changes nothing.
//! 6. **Latched once**: on a side of which that is asked, packets alone never move a settled source,
//!    rules 4.2 to 4.4 included; only signalling does, by 4.1 for exactly the announced address and by 5.
//! 7. The unspecified address (RFC 2543 hold) stops sending and leaves the latch as it is.
//! 8. **RTCP** follows its own latch under the same rule, but learns only from the host that RTP
//!    goes to; the announced RTCP address is always good. Where it shares the port of RTP, it comes from the source of
//!    RTP and teaches nothing.
//! 9. **A handshake** (DTLS) that proved who its far end is settles the latch at its source.
//!
//! The switch improves on rule 4.1 for far ends behind a NAT by announcing, in place of a private
//! address, the public one that the signalling came from.
//!
//! What this does not do: authenticate. Who can forge source addresses or read the packets on
//! their way needs SRTP to be kept out. And a far end that sends from one public address and wants
//! to receive on another is answered at the source, as NAT demands, unless the socket is strict.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// How long a settled source must be silent before its stream may continue from another host.
pub const SILENCE_BEFORE_MOVE: Duration = Duration::from_secs(2);

/// How long packets of the former source pass after signalling announced another address.
pub const FORMER_SOURCE_GRACE: Duration = Duration::from_secs(2);

/// Why a source is not believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// Signalling has not announced an address for this side.
    Unannounced,
    /// Not the source this side's packets come from.
    Stranger,
}

/// What an accepted packet did to the latch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Acceptance {
    /// Nothing: it came from where it was expected.
    Steady,
    /// The source was learned.
    Settled,
    /// The source moved.
    Moved,
}

/// The latch of one socket; the rule is the module's documentation.
#[derive(Clone, Debug, Default)]
pub struct Latch {
    announced: Option<SocketAddr>,
    strict: bool,
    /// Only signalling moves a settled source (rule 6).
    once: bool,
    /// Held by the unspecified address: accept, but send nothing.
    muted: bool,
    settled: Option<Settled>,
    /// Boxed, for it is seldom there and each call has four latches.
    former: Option<Box<Former>>,
}

#[derive(Clone, Copy, Debug)]
struct Settled {
    source: SocketAddr,
    ssrc: Option<u32>,
    heard_at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Former {
    source: SocketAddr,
    until: Instant,
}

/// How near a source is to what signalling said; greater is nearer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(super) enum Nearness {
    OtherHost,
    SameHost,
    Announced,
}

impl Latch {
    /// Where packets for this side go; `None` when there is nowhere to send.
    pub fn destination(&self) -> Option<SocketAddr> {
        if self.muted {
            return None;
        }
        self.settled
            .map(|settled| settled.source)
            .or(self.announced)
    }

    /// The source that packets are expected from, once one has settled.
    pub(super) fn settled_source(&self) -> Option<SocketAddr> {
        self.settled.map(|settled| settled.source)
    }

    /// Packets of the settled source came elsewhere, the last one then.
    pub(super) fn absorb(&mut self, last_at: Instant) {
        if let Some(settled) = &mut self.settled {
            settled.heard_at = last_at;
        }
    }

    /// The host this side's packets come from, as far as known; a hold does not change it.
    pub fn host(&self) -> Option<IpAddr> {
        let address = self
            .settled
            .map(|settled| settled.source)
            .or(self.announced);
        address.map(|address| address.ip())
    }

    /// Signalling described the far end (rules 1, 2, 5 and 7).
    pub fn announce(&mut self, now: Instant, address: Option<SocketAddr>, strict: bool) {
        self.strict = strict;
        self.muted = address.is_some_and(|address| address.ip().is_unspecified());
        if self.muted {
            return;
        }
        let settled_source = self.settled.map(|settled| settled.source);
        let unchanged = self.announced == address;
        self.announced = address;
        let stays = match (settled_source, address) {
            (_, None) => false,
            (source, Some(_)) if strict => source == address,
            (source, Some(_)) => unchanged || source == address,
        };
        if stays {
            return;
        }
        self.settled = None;
        self.former = match (settled_source, address) {
            (Some(source), Some(_)) if !strict => Some(Box::new(Former {
                source,
                until: now + FORMER_SOURCE_GRACE,
            })),
            _ => None,
        };
    }

    /// From now on only signalling moves a settled source (rule 6).
    pub fn settle_once(&mut self) {
        self.once = true;
    }

    /// Somebody proved to be the far end (rule 9).
    pub fn settle(&mut self, now: Instant, source: SocketAddr) {
        self.former = None;
        self.settled = Some(Settled {
            source,
            ssrc: None,
            heard_at: now,
        });
    }

    /// How near a source is that has proved nothing yet, and could settle or move the latch.
    pub(super) fn nearness(&self, source: SocketAddr) -> Result<Nearness, Refusal> {
        let announced = self.announced.ok_or(Refusal::Unannounced)?;
        let near = nearness(source, announced);
        let hears = match self.settled {
            _ if self.strict => near == Nearness::Announced,
            Some(settled) => settled.source == source || near > nearness(settled.source, announced),
            None => true,
        };
        hears.then_some(near).ok_or(Refusal::Stranger)
    }

    /// Judges a report that came on the port of RTP (rule 8).
    pub(super) fn admit_report(&self, source: SocketAddr) -> Result<(), Refusal> {
        let announced = self.announced.ok_or(Refusal::Unannounced)?;
        let expected = self.settled.map_or(announced, |settled| settled.source);
        match source == expected {
            true => Ok(()),
            false => Err(Refusal::Stranger),
        }
    }

    /// Forgets the source and waits for the next one.
    pub fn relatch(&mut self) {
        self.settled = None;
        self.former = None;
    }

    /// Judges a well-formed packet; `ssrc` is `None` for datagrams that have none.
    pub fn admit(
        &mut self,
        now: Instant,
        source: SocketAddr,
        ssrc: Option<u32>,
    ) -> Result<Acceptance, Refusal> {
        let Some(announced) = self.announced else {
            return Err(Refusal::Unannounced);
        };
        if self.strict && source != announced {
            return Err(Refusal::Stranger);
        }
        let Some(settled) = &mut self.settled else {
            return Ok(self.admit_first(now, source, ssrc));
        };
        if settled.source == source {
            settled.ssrc = ssrc;
            settled.heard_at = now;
            return Ok(Acceptance::Steady);
        }

        let same_stream = ssrc.is_some() && settled.ssrc == ssrc;
        let same_host = settled.source.ip() == source.ip();
        let silent = now.saturating_duration_since(settled.heard_at) > SILENCE_BEFORE_MOVE;
        let nearer = nearness(source, announced) > nearness(settled.source, announced);
        let moves = if self.once {
            source == announced
        } else {
            nearer || same_stream && (same_host || silent) || ssrc.is_none() && same_host && silent
        };
        if !moves {
            return Err(Refusal::Stranger);
        }
        *settled = Settled {
            source,
            ssrc,
            heard_at: now,
        };
        Ok(Acceptance::Moved)
    }

    /// Like [`Latch::admit`], but learns only from `host` (rule 8).
    pub fn admit_beside(
        &mut self,
        now: Instant,
        source: SocketAddr,
        ssrc: Option<u32>,
        host: Option<IpAddr>,
    ) -> Result<Acceptance, Refusal> {
        if self.announced.is_some() && self.announced != Some(source) && host != Some(source.ip()) {
            return Err(Refusal::Stranger);
        }
        self.admit(now, source, ssrc)
    }

    /// Rules 3 and 5.
    fn admit_first(&mut self, now: Instant, source: SocketAddr, ssrc: Option<u32>) -> Acceptance {
        let passing = self
            .former
            .as_ref()
            .is_some_and(|former| former.source == source && now < former.until);
        if passing {
            return Acceptance::Steady;
        }
        self.former = None;
        self.settled = Some(Settled {
            source,
            ssrc,
            heard_at: now,
        });
        Acceptance::Settled
    }
}

fn nearness(source: SocketAddr, announced: SocketAddr) -> Nearness {
    if source == announced {
        Nearness::Announced
    } else if source.ip() == announced.ip() {
        Nearness::SameHost
    } else {
        Nearness::OtherHost
    }
}

#[cfg(test)]
mod tests {
    use super::Acceptance::{Moved, Settled, Steady};
    use super::Refusal::{Stranger, Unannounced};
    use super::*;

    const PHONE: &str = "192.168.1.10:4000";
    const NAT: &str = "198.51.100.7:61000";
    const NAT_OTHER_PORT: &str = "198.51.100.7:62000";
    const ATTACKER: &str = "203.0.113.66:9999";
    const SSRC: u32 = 7;
    const OTHER_SSRC: u32 = 8;

    /// A latch and a clock, so that a test reads as a story: when, who, what happened.
    struct Story {
        latch: Latch,
        start: Instant,
    }

    impl Story {
        fn new(announced: &str) -> Self {
            let mut story = Self {
                latch: Latch::default(),
                start: Instant::now(),
            };
            story.announce(0, announced);
            story
        }

        fn announce(&mut self, at_ms: u64, address: &str) {
            self.latch
                .announce(self.at(at_ms), Some(addr(address)), false);
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        #[track_caller]
        fn hears(
            &mut self,
            at_ms: u64,
            source: &str,
            ssrc: u32,
            expected: Result<Acceptance, Refusal>,
        ) {
            assert_eq!(
                self.latch.admit(self.at(at_ms), addr(source), Some(ssrc)),
                expected
            );
        }

        #[track_caller]
        fn sends_to(&self, expected: &str) {
            assert_eq!(self.latch.destination(), Some(addr(expected)));
        }
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("test address")
    }

    #[test]
    fn nothing_passes_before_signalling() {
        let mut latch = Latch::default();
        assert_eq!(
            latch.admit(Instant::now(), addr(NAT), Some(SSRC)),
            Err(Unannounced)
        );
        assert_eq!(latch.destination(), None);
    }

    #[test]
    fn the_first_packet_behind_a_nat_settles() {
        let mut story = Story::new(PHONE);
        story.sends_to(PHONE);
        story.hears(0, NAT, SSRC, Ok(Settled));
        story.sends_to(NAT);
        story.hears(20, NAT, SSRC, Ok(Steady));
        story.hears(40, NAT, OTHER_SSRC, Ok(Steady));
    }

    #[test]
    fn an_attacker_after_the_latch_gets_nothing() {
        let mut story = Story::new(PHONE);
        story.hears(0, NAT, SSRC, Ok(Settled));
        story.hears(20, ATTACKER, OTHER_SSRC, Err(Stranger));
        story.hears(60_000, ATTACKER, OTHER_SSRC, Err(Stranger));
        story.sends_to(NAT);
    }

    #[test]
    fn an_attacker_before_the_latch_loses_it_to_the_announced_address() {
        let mut story = Story::new(NAT);
        story.hears(0, ATTACKER, OTHER_SSRC, Ok(Settled));
        story.sends_to(ATTACKER);
        story.hears(20, NAT, SSRC, Ok(Moved));
        story.sends_to(NAT);
        story.hears(40, ATTACKER, OTHER_SSRC, Err(Stranger));
        story.hears(40, ATTACKER, SSRC, Err(Stranger));
    }

    #[test]
    fn another_port_of_the_announced_host_outranks_a_stranger() {
        let mut story = Story::new(NAT);
        story.hears(0, ATTACKER, OTHER_SSRC, Ok(Settled));
        story.hears(20, NAT_OTHER_PORT, SSRC, Ok(Moved));
        story.hears(40, ATTACKER, OTHER_SSRC, Err(Stranger));
        story.hears(60, NAT, SSRC, Ok(Moved));
        story.hears(80, NAT_OTHER_PORT, OTHER_SSRC, Err(Stranger));
    }

    #[test]
    fn the_same_stream_from_another_port_moves_at_once() {
        let mut story = Story::new(PHONE);
        story.hears(0, NAT, SSRC, Ok(Settled));
        story.hears(20, NAT_OTHER_PORT, SSRC, Ok(Moved));
        story.sends_to(NAT_OTHER_PORT);
        story.hears(40, NAT, OTHER_SSRC, Err(Stranger));
    }

    #[test]
    fn the_same_stream_from_another_host_moves_after_silence() {
        let mut story = Story::new(PHONE);
        let mobile = "100.64.0.9:5000";
        story.hears(0, NAT, SSRC, Ok(Settled));
        story.hears(1_000, mobile, SSRC, Err(Stranger));
        story.hears(2_000, mobile, SSRC, Err(Stranger));
        story.hears(2_001, mobile, SSRC, Ok(Moved));
        story.sends_to(mobile);
        story.hears(9_000, ATTACKER, OTHER_SSRC, Err(Stranger));
    }

    #[test]
    fn refused_packets_do_not_keep_the_old_source_alive() {
        let mut story = Story::new(PHONE);
        story.hears(0, NAT, SSRC, Ok(Settled));
        for at_ms in (20..2_000).step_by(20) {
            story.hears(at_ms, "100.64.0.9:5000", SSRC, Err(Stranger));
        }
        story.hears(2_020, "100.64.0.9:5000", SSRC, Ok(Moved));
    }

    #[test]
    fn a_new_address_arms_again_and_the_former_source_does_not_settle() {
        let mut story = Story::new(NAT);
        story.hears(0, NAT, SSRC, Ok(Settled));
        let second = "203.0.113.20:4000";
        story.announce(1_000, second);
        story.sends_to(second);
        story.hears(1_010, NAT, SSRC, Ok(Steady));
        story.sends_to(second);
        story.hears(1_020, "203.0.113.20:4002", OTHER_SSRC, Ok(Settled));
        story.hears(1_030, NAT, SSRC, Err(Stranger));
    }

    #[test]
    fn an_address_that_changed_only_on_paper_settles_again_after_the_grace() {
        let mut story = Story::new(PHONE);
        story.hears(0, NAT, SSRC, Ok(Settled));
        story.announce(1_000, "192.168.1.10:4002");
        story.hears(2_999, NAT, SSRC, Ok(Steady));
        story.hears(3_000, NAT, SSRC, Ok(Settled));
        story.sends_to(NAT);
    }

    #[test]
    fn a_refresh_changes_nothing() {
        let mut story = Story::new(PHONE);
        story.hears(0, NAT, SSRC, Ok(Settled));
        story.announce(1_000, PHONE);
        story.sends_to(NAT);
        story.announce(2_000, NAT);
        story.sends_to(NAT);
        story.hears(2_010, ATTACKER, OTHER_SSRC, Err(Stranger));
    }

    #[test]
    fn hold_by_unspecified_address_mutes_and_keeps_the_latch() {
        let mut story = Story::new(PHONE);
        story.hears(0, NAT, SSRC, Ok(Settled));
        story.announce(1_000, "0.0.0.0:4000");
        assert_eq!(story.latch.destination(), None);
        assert_eq!(story.latch.host(), Some(addr(NAT).ip()));
        story.hears(1_020, NAT, SSRC, Ok(Steady));
        story.hears(1_040, ATTACKER, OTHER_SSRC, Err(Stranger));
        story.announce(5_000, PHONE);
        story.sends_to(NAT);
    }

    #[test]
    fn a_refused_stream_is_closed_to_all() {
        let mut story = Story::new(PHONE);
        story.hears(0, NAT, SSRC, Ok(Settled));
        story.latch.announce(story.at(10), None, false);
        story.hears(20, NAT, SSRC, Err(Unannounced));
        assert_eq!(story.latch.destination(), None);
    }

    #[test]
    fn strict_accepts_the_announced_address_only() {
        let mut story = Story::new(NAT);
        story.latch.announce(story.at(0), Some(addr(NAT)), true);
        story.hears(0, NAT_OTHER_PORT, SSRC, Err(Stranger));
        story.hears(20, NAT, SSRC, Ok(Settled));
        story.hears(9_000, NAT_OTHER_PORT, SSRC, Err(Stranger));
    }

    #[test]
    fn becoming_strict_forgets_a_source_that_was_learned() {
        let mut story = Story::new(PHONE);
        story.hears(0, NAT, SSRC, Ok(Settled));
        story.latch.announce(story.at(10), Some(addr(PHONE)), true);
        story.sends_to(PHONE);
        story.hears(20, NAT, SSRC, Err(Stranger));
    }

    #[test]
    fn relatch_learns_anew() {
        let mut story = Story::new(PHONE);
        story.hears(0, NAT, SSRC, Ok(Settled));
        story.latch.relatch();
        story.sends_to(PHONE);
        story.hears(20, "100.64.0.9:5000", OTHER_SSRC, Ok(Settled));
    }

    #[test]
    fn datagrams_move_within_their_host_after_silence() {
        let mut story = Story::new(PHONE);
        let start = story.start;
        let mut hears = |at_ms, source: &str| {
            story
                .latch
                .admit(start + Duration::from_millis(at_ms), addr(source), None)
        };
        assert_eq!(hears(0, NAT), Ok(Settled));
        assert_eq!(hears(1_000, NAT_OTHER_PORT), Err(Stranger));
        assert_eq!(hears(5_000, ATTACKER), Err(Stranger));
        assert_eq!(hears(5_000, NAT_OTHER_PORT), Ok(Moved));
    }

    #[test]
    fn reports_are_learned_from_the_host_of_the_media_only() {
        let mut story = Story::new("192.168.1.10:4001");
        let now = story.start;
        let host = Some(addr(NAT).ip());
        let mut hears = |source: &str| {
            story
                .latch
                .admit_beside(now, addr(source), Some(SSRC), host)
        };
        assert_eq!(hears(ATTACKER), Err(Stranger));
        assert_eq!(hears(NAT), Ok(Settled));
        assert_eq!(hears("192.168.1.10:4001"), Ok(Moved));
    }
}
