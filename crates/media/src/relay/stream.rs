//! One side of a relay: its two latches, what it sent, whether it is silent.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::cover::Cover;
use super::latch::{Acceptance, Latch, Nearness, Refusal};
use super::loan::{
    Carried, LENT_PACKET_BYTES_MAX, Lent, ORDINARY_PACKETS, PACKETS_AFTER_REFUSAL, Returned,
};
use super::outbound::Outbound;
use super::reception::{Arrival, Reception, ticks_to_us};
use super::table::{Carries, DropReason};
use super::{Datagram, Payloads, ReportStats, StreamStats, Traffic};
use crate::recorder::{Coding, Meaning};
use crate::{dtmf, rtcp, rtp};

/// Most packets per second that one side may send, reports included: several times what video in
/// high definition needs. The bound is for those who describe our own ports as theirs, so that
/// relays send to each other in a circle: the circle turns no faster than this.
pub(super) const PACKETS_PER_SECOND_MAX: u32 = 5_000;

/// The state of one side, in the order in which it lies in memory: what every packet asks for is together in front, for
/// at ten thousand calls memory is what a packet waits for.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Stream {
    reception: Reception,
    pub(super) rtp: Latch,
    /// Opens what this side sends and seals what it is sent.
    pub(super) cover: Cover,
    /// What is done to packets that go to this side.
    pub(super) outbound: Outbound,
    watch: Option<Watch>,
    pace: Pace,
    /// What `payloads` says about the type heard last: a steady stream need not search.
    last_payload: Option<Payload>,
    /// Ordinary packets to come until it may be lent.
    until_lent: u16,
    /// Reports of this side share the port of its media.
    pub(super) multiplexed: bool,
    /// The last payload type heard that was not a key press.
    payload_type: u8,
    counts: Counts,
    /// Somebody else relays what this side sends.
    pub(super) lent: Option<Lent>,
    /// What the payload types mean that this side sends.
    payloads: Payloads,
    presses: dtmf::PressDetector,
    pub(super) rtcp: Latch,
    reports: ReportStats,
}

/// What a payload type means.
#[derive(Clone, Copy, Debug)]
struct Payload {
    payload_type: u8,
    clock_rate_hz: u32,
    is_event: bool,
}

/// Of [`StreamStats`] what is counted here, as close together as it goes; what every packet changes is in front.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Counts {
    packets: u64,
    bytes: u64,
    /// Both mean something once there was a packet.
    last_at_ms: u64,
    first_at_ms: u64,
    ssrc: u32,
    digits: u32,
    source_changes: u32,
    restarts: u32,
    out_of_order: u64,
    duplicates: u64,
    dropped_source: u64,
    dropped_invalid: u64,
    dropped_rate: u64,
    transcoded: u64,
}

/// Accepted packets in the current second since the relay was opened.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    second: u32,
    packets: u32,
}

/// Silence is measured while media are expected.
#[derive(Clone, Copy, Debug)]
struct Watch {
    since: Instant,
    reported: bool,
}

impl Stream {
    pub(super) fn new() -> Self {
        Self {
            rtp: Latch::default(),
            rtcp: Latch::default(),
            cover: Cover::default(),
            multiplexed: false,
            outbound: Outbound::default(),
            payloads: Payloads::default(),
            last_payload: None,
            reception: Reception::default(),
            presses: dtmf::PressDetector::default(),
            counts: Counts::default(),
            payload_type: 0,
            reports: ReportStats::default(),
            watch: None,
            pace: Pace::default(),
            lent: None,
            until_lent: ORDINARY_PACKETS,
        }
    }

    /// Learns what the payload types mean that this side sends.
    pub(super) fn set_payloads(&mut self, payloads: Payloads) {
        self.payloads = payloads;
        self.last_payload = None;
    }

    /// Opens a packet of this side. Before anything else is done with it: who has no key teaches us no address.
    pub(super) fn open(&mut self, datagram: &mut Datagram<'_>) -> Result<(), DropReason> {
        let opened = self.cover.open(datagram);
        opened.inspect_err(|_| self.counts.dropped_invalid += 1)
    }

    /// Opens reports of this side that came on this port.
    pub(super) fn open_report(
        &mut self,
        on: Carries,
        datagram: &mut Datagram<'_>,
    ) -> Result<(), DropReason> {
        let opened = self.cover.open_report(on, datagram);
        opened.inspect_err(|_| self.reports.dropped_invalid += 1)
    }

    /// The port that carries reports of this side.
    pub(super) fn report_port(&self) -> Carries {
        match self.multiplexed {
            true => Carries::Media,
            false => Carries::Reports,
        }
    }

    /// Where reports for this side go.
    pub(super) fn report_destination(&self) -> Option<SocketAddr> {
        match self.multiplexed {
            true => self.rtp.destination(),
            false => self.rtcp.destination(),
        }
    }

    /// How near to what was announced a source is that wants to shake hands on a port.
    pub(super) fn nearness(&self, on: Carries, source: SocketAddr) -> Result<Nearness, DropReason> {
        let near = match on {
            Carries::Media => self.rtp.nearness(source)?,
            Carries::Reports => self.rtcp.nearness(source)?,
        };
        let stranger = matches!(on, Carries::Reports)
            && near != Nearness::Announced
            && self.rtp.host() != Some(source.ip());
        match stranger {
            true => Err(DropReason::Stranger),
            false => Ok(near),
        }
    }

    /// Begins or ends the watch for silence. A description that says again what was said before
    /// does not give a silent side more time, unless its silence was already reported.
    pub(super) fn expect(&mut self, now: Instant, expected: bool) {
        self.watch = match (expected, self.watch) {
            (false, _) => None,
            (true, Some(watch)) if !watch.reported => Some(watch),
            (true, _) => Some(Watch {
                since: now,
                reported: false,
            }),
        };
    }

    /// Whether this side has been silent for `timeout`.
    pub(super) fn is_silent(&self, now: Instant, timeout: Duration) -> bool {
        self.watch
            .is_some_and(|watch| now.saturating_duration_since(watch.since) >= timeout)
    }

    /// Notes that silence is being reported; false if it was before.
    pub(super) fn report_silence(&mut self) -> bool {
        self.watch
            .as_mut()
            .is_some_and(|watch| !std::mem::replace(&mut watch.reported, true))
    }

    /// Judges and counts a media packet; what it did to the latch.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        opened_at: Instant,
        source: SocketAddr,
        packet: &[u8],
        traffic: Traffic,
    ) -> Result<Acceptance, DropReason> {
        let header = match traffic {
            Traffic::Datagrams => None,
            Traffic::Rtp | Traffic::Srtp => match rtp::Header::parse(packet) {
                Ok(header) => Some(header),
                Err(why) => {
                    self.counts.dropped_invalid += 1;
                    return Err(DropReason::NotRtp(why));
                }
            },
        };
        let acceptance = match self
            .rtp
            .admit(now, source, header.map(|header| header.ssrc))
        {
            Ok(acceptance) => acceptance,
            Err(refusal) => {
                self.counts.dropped_source += 1;
                return Err(refusal.into());
            }
        };
        if acceptance == Acceptance::Moved {
            self.counts.source_changes += 1;
        }

        let age = now.saturating_duration_since(opened_at);
        if !self.pace.allows(age) {
            self.counts.dropped_rate += 1;
            return Err(DropReason::TooFast);
        }
        let age_ms = age.as_millis() as u64;
        if self.counts.packets == 0 {
            self.counts.first_at_ms = age_ms;
        }
        self.counts.packets += 1;
        self.counts.bytes += packet.len() as u64;
        self.counts.last_at_ms = age_ms;
        self.heard(now);
        if let Some(header) = header {
            let is_next = acceptance == Acceptance::Steady && self.reception.is_next(&header);
            let is_event = self.measure(age.as_micros() as u64, &header, packet, traffic);
            let is_ordinary = is_next
                && !is_event
                && has_plain_header(packet)
                && packet.len() <= LENT_PACKET_BYTES_MAX;
            self.until_lent = match is_ordinary {
                true => self.until_lent.saturating_sub(1),
                false => self.until_lent.max(ORDINARY_PACKETS),
            };
        }
        Ok(acceptance)
    }

    /// Whether what this side sends has been ordinary for long enough to be lent.
    pub(super) fn may_be_lent(&self) -> bool {
        self.until_lent == 0 && self.lent.is_none()
    }

    /// SSRC, payload type and number of the next packet, and what goes on with it, if that can be somebody else's.
    pub(super) fn next(&self) -> Option<(u32, u8, u16, Carried)> {
        let payload = self.last_payload.filter(|payload| !payload.is_event)?;
        let (ssrc, sequence, carried) = self.reception.next()?;
        // The estimate of another clock says nothing yet of this one.
        let measured = carried.clock_rate_hz == payload.clock_rate_hz;
        let carried = Carried {
            second: self.pace.second.into(),
            second_packets: self.pace.packets,
            ..carried
        };
        measured.then_some((ssrc, payload.payload_type, sequence, carried))
    }

    /// Nobody wants to relay what this side sends.
    pub(super) fn is_refused(&mut self) {
        self.until_lent = PACKETS_AFTER_REFUSAL;
    }

    /// What kept it from being lent may be over.
    pub(super) fn reconsider(&mut self) {
        self.until_lent = ORDINARY_PACKETS;
    }

    /// What came while somebody else relayed this side counts as if it had come here.
    pub(super) fn absorb(&mut self, opened_at: Instant, returned: &Returned) {
        self.lent = None;
        let Some(last_at) = returned.last_at else {
            // What brought it back was most likely on its way already, and the next packet: then it is lent again at once.
            self.until_lent = 1;
            return;
        };
        self.until_lent = ORDINARY_PACKETS;
        let Carried {
            second,
            second_packets,
            ..
        } = returned.carried;
        self.rtp.absorb(last_at);
        self.pace = Pace {
            second: second as u32,
            packets: second_packets,
        };
        let age = last_at.saturating_duration_since(opened_at);
        self.counts.packets += returned.packets;
        self.counts.bytes += returned.bytes;
        self.counts.last_at_ms = age.as_millis() as u64;
        self.reception.absorb(returned.packets, &returned.carried);
        self.heard(last_at);
    }

    /// What the payload of an RTP packet of this side means.
    pub(super) fn meaning(&self, packet: &[u8]) -> Meaning {
        self.payloads
            .meaning(packet.get(1).copied().unwrap_or_default())
    }

    /// Judges and counts a report about a stream of the given clock rate.
    pub(super) fn receive_report(
        &mut self,
        now: Instant,
        opened_at: Instant,
        source: SocketAddr,
        packet: &[u8],
        traffic: Traffic,
        judged_clock_rate_hz: u32,
    ) -> Result<(), DropReason> {
        let ssrc = match rtcp::sender(packet) {
            Ok(ssrc) => ssrc,
            Err(why) => {
                self.reports.dropped_invalid += 1;
                return Err(DropReason::NotRtcp(why));
            }
        };
        let admitted = match self.multiplexed {
            true => self.rtp.admit_report(source),
            false => self
                .rtcp
                .admit_beside(now, source, Some(ssrc), self.rtp.host())
                .map(|_| ()),
        };
        if let Err(refusal) = admitted {
            self.reports.dropped_source += 1;
            return Err(refusal.into());
        }
        if !self.pace.allows(now.saturating_duration_since(opened_at)) {
            return Err(DropReason::TooFast);
        }
        self.reports.packets += 1;
        self.reports.bytes += packet.len() as u64;
        // A side that suppresses silence says nothing for minutes but still reports: it is alive.
        self.heard(now);
        if traffic == Traffic::Rtp {
            self.read_reports(packet, judged_clock_rate_hz);
        }
        Ok(())
    }

    /// A packet of this side is converted to another codec.
    pub(super) fn count_transcoded(&mut self) {
        self.counts.transcoded += 1;
    }

    /// What was counted so far.
    pub(super) fn stats(&self) -> (StreamStats, ReportStats) {
        let Counts {
            packets,
            bytes,
            first_at_ms,
            last_at_ms,
            out_of_order,
            duplicates,
            dropped_source,
            dropped_invalid,
            dropped_rate,
            transcoded,
            source_changes,
            restarts,
            ssrc,
            digits,
        } = self.counts;
        let heard = packets > 0;
        let stats = StreamStats {
            packets,
            bytes,
            lost: self.reception.lost(),
            jitter_us: self.reception.jitter_us(),
            out_of_order,
            duplicates,
            dropped_source,
            dropped_invalid,
            dropped_rate,
            source_changes,
            restarts,
            ssrc,
            payload_type: self.payload_type,
            first_at_ms: heard.then_some(first_at_ms),
            last_at_ms: heard.then_some(last_at_ms),
            digits,
            transcoded,
        };
        (stats, self.reports)
    }

    /// Clock rate of what this side sends at the moment.
    pub(super) fn clock_rate_hz(&self) -> u32 {
        self.payloads.clock_rate_hz(self.payload_type)
    }

    fn heard(&mut self, now: Instant) {
        if let Some(watch) = &mut self.watch {
            *watch = Watch {
                since: now,
                reported: false,
            };
        }
    }

    /// Whether the packet is about a key press.
    fn measure(
        &mut self,
        at_us: u64,
        header: &rtp::Header,
        packet: &[u8],
        traffic: Traffic,
    ) -> bool {
        let Payload {
            clock_rate_hz,
            is_event,
            ..
        } = self.payload(header.payload_type);
        let clock_rate_hz = (!is_event).then_some(clock_rate_hz);
        match self.reception.observe(at_us, header, clock_rate_hz) {
            Arrival::InOrder | Arrival::Suspect => {}
            Arrival::OutOfOrder => self.counts.out_of_order += 1,
            Arrival::Duplicate => self.counts.duplicates += 1,
            Arrival::Restart => self.counts.restarts += 1,
        }
        self.counts.ssrc = header.ssrc;
        if !is_event {
            self.payload_type = header.payload_type;
        } else if traffic == Traffic::Rtp {
            self.count_press(header, packet);
        }
        is_event
    }

    fn payload(&mut self, payload_type: u8) -> Payload {
        if let Some(payload) = self
            .last_payload
            .filter(|last| last.payload_type == payload_type)
        {
            return payload;
        }
        let meaning = self.payloads.meaning(payload_type);
        *self.last_payload.insert(Payload {
            payload_type,
            clock_rate_hz: meaning.clock_rate_hz,
            is_event: meaning.coding == Coding::TelephoneEvent,
        })
    }

    fn count_press(&mut self, header: &rtp::Header, packet: &[u8]) {
        let event = rtp::Packet::parse(packet)
            .ok()
            .and_then(|packet| dtmf::Event::parse(packet.payload));
        let Some(event) = event else { return };
        if self
            .presses
            .observe(header.ssrc, header.timestamp, event)
            .is_some()
        {
            self.counts.digits += 1;
        }
    }

    fn read_reports(&mut self, compound: &[u8], judged_clock_rate_hz: u32) {
        for packet in rtcp::packets(compound) {
            match packet {
                rtcp::Packet::Report { blocks, .. } => {
                    for block in rtcp::report_blocks(blocks) {
                        self.reports.reports += 1;
                        self.reports.fraction_lost = block.fraction_lost;
                        self.reports.lost = block.cumulative_lost;
                        self.reports.jitter_us =
                            ticks_to_us(block.jitter_ticks, judged_clock_rate_hz);
                    }
                }
                rtcp::Packet::Goodbye => self.reports.goodbye = true,
                rtcp::Packet::Other => {}
            }
        }
    }
}

/// Neither an extension nor contributing sources.
fn has_plain_header(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first & 0x1f == 0)
}

impl Pace {
    fn allows(&mut self, age: Duration) -> bool {
        let second = age.as_secs() as u32;
        if self.second != second {
            *self = Self { second, packets: 0 };
        }
        self.packets += 1;
        self.packets <= PACKETS_PER_SECOND_MAX
    }
}

impl From<Refusal> for DropReason {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unannounced => Self::Unannounced,
            Refusal::Stranger => Self::Stranger,
        }
    }
}
