//! The counters as Prometheus text.

use std::fmt::{Display, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use model::ReachabilityState;
use sockets::MediaEngine;

use crate::cdr::CdrCounts;
use crate::dns::DnsCounts;
use crate::flows::FlowCounts;
use crate::journal::JournalCounts;
use crate::media::{DROP_REASONS, MediaCounts};
use crate::misbehaviours::MisbehaviourCounts;
use crate::recorder::RecorderCounts;
use crate::registrations::RegistrationCounts;
use crate::shard::ShardCounts;
use crate::shards::Shards;
use crate::tap::Tap;
use crate::tls::Tls;
use crate::wire::MessageCounts;

/// Everything that counts.
pub(crate) struct Metrics {
    pub(crate) shards: Vec<Arc<ShardCounts>>,
    pub(crate) media: Vec<Arc<MediaCounts>>,
    pub(crate) flows: Arc<FlowCounts>,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) dns: Arc<DnsCounts>,
    pub(crate) cdrs: Arc<CdrCounts>,
    pub(crate) recorder: Arc<RecorderCounts>,
    pub(crate) registrations: Arc<RegistrationCounts>,
    pub(crate) pings_lost: Arc<AtomicU64>,
    pub(crate) swaps: Arc<AtomicU64>,
    pub(crate) mail: Arc<Shards>,
    pub(crate) tap: Tap,
    /// One per shard, or none where calls are not kept.
    pub(crate) journals: Vec<Arc<JournalCounts>>,
    pub(crate) media_engine: MediaEngine,
}

impl Metrics {
    /// Calls that are not over; at most a quarter of a second old.
    pub(crate) fn active_calls(&self) -> usize {
        self.gauge(|shard| &shard.calls)
    }

    /// The whole page.
    pub(crate) fn render(&self) -> String {
        let mut page = Page::default();
        self.sip(&mut page);
        self.registrations(&mut page);
        self.pings(&mut page);
        self.calls(&mut page);
        self.media(&mut page);
        self.recordings(&mut page);
        if !self.journals.is_empty() {
            self.journal(&mut page);
        }
        self.rest(&mut page);
        page.text
    }

    fn sip(&self, page: &mut Page) {
        page.head(
            "sip_messages_total",
            "counter",
            "SIP messages by direction and by method or status class.",
        );
        MessageCounts::print(
            self.shards.iter().map(|shard| &shard.received),
            "in",
            &mut page.text,
        );
        MessageCounts::print(
            self.shards.iter().map(|shard| &shard.sent),
            "out",
            &mut page.text,
        );
        page.head(
            "sip_misbehaviour_total",
            "counter",
            "Messages that broke the rules, by kind.",
        );
        MisbehaviourCounts::print(
            self.shards.iter().map(|shard| &shard.misbehaved),
            &mut page.text,
        );
        let failures = self.counter(|shard| &shard.send_failures);
        page.counter(
            "sip_send_failures_total",
            "Messages that could not be sent.",
            failures,
        );
        page.gauge(
            "sip_transactions",
            "SIP transactions.",
            self.gauge(|shard| &shard.transactions),
        );
        page.gauge(
            "sip_sessions",
            "SIP sessions: dialogs that an INVITE began.",
            self.gauge(|shard| &shard.sessions),
        );
        let challenges = self.counter(|shard| &shard.challenges);
        page.counter(
            "sip_challenges_total",
            "Digest challenges sent.",
            challenges,
        );
        page.counter(
            "sip_strangers_total",
            "Requests with a wrong password or of an unknown name.",
            self.counter(|shard| &shard.strangers),
        );
        page.gauge(
            "sources_ignored",
            "Sources that tried too many names or passwords and are not answered.",
            self.gauge(|shard| &shard.sources_ignored),
        );
        page.counter(
            "messages_ignored_total",
            "Messages of such sources.",
            self.counter(|shard| &shard.messages_ignored),
        );

        let flows = &self.flows;
        page.gauge(
            "tcp_flows",
            "TCP connections open or opening.",
            load(&flows.open),
        );
        page.head(
            "tcp_flows_total",
            "counter",
            "TCP connections since the start, by who opened them.",
        );
        page.labelled("tcp_flows_total", "by", "peer", load64(&flows.accepted));
        page.labelled("tcp_flows_total", "by", "switch", load64(&flows.connected));
        page.head(
            "tcp_flows_ended_total",
            "counter",
            "TCP connections that we ended or turned away, by reason.",
        );
        page.labelled(
            "tcp_flows_ended_total",
            "reason",
            "too_many",
            load64(&flows.refused),
        );
        page.labelled(
            "tcp_flows_ended_total",
            "reason",
            "not_read",
            load64(&flows.overflowed),
        );
        page.labelled(
            "tcp_flows_ended_total",
            "reason",
            "not_sip",
            load64(&flows.unframed),
        );
        self.tls(page);
    }

    /// Nothing where TLS is not configured.
    fn tls(&self, page: &mut Page) {
        let Some(tls) = &self.tls else { return };
        let counts = &tls.counts;
        page.head(
            "tls_handshakes_total",
            "counter",
            "TLS handshakes, by who opened the connection and how they ended.",
        );
        for (by, outcome, count) in [
            ("peer", "done", &counts.accepted),
            ("peer", "failed", &counts.accept_failures),
            ("switch", "done", &counts.connected),
            ("switch", "failed", &counts.connect_failures),
        ] {
            let _ = writeln!(
                page.text,
                "strowger_tls_handshakes_total{{by=\"{by}\",outcome=\"{outcome}\"}} {}",
                load64(count)
            );
        }
        page.head(
            "tls_reloads_total",
            "counter",
            "Times the certificates were read again, by outcome.",
        );
        page.labelled(
            "tls_reloads_total",
            "outcome",
            "done",
            load64(&counts.reloads),
        );
        page.labelled(
            "tls_reloads_total",
            "outcome",
            "failed",
            load64(&counts.reload_failures),
        );
    }

    fn registrations(&self, page: &mut Page) {
        page.head(
            "registrations",
            "gauge",
            "Connections whose peer registers with us (inbound) or that we register with a carrier (outbound), by state.",
        );
        let states = [
            (
                "inbound",
                "registered",
                self.gauge(|shard| &shard.peers_registered),
            ),
            (
                "outbound",
                "registered",
                self.gauge(|shard| &shard.carriers_registered),
            ),
            (
                "outbound",
                "failed",
                self.gauge(|shard| &shard.carriers_failed),
            ),
            (
                "outbound",
                "trying",
                self.gauge(|shard| &shard.carriers_trying),
            ),
        ];
        for (direction, state, value) in states {
            let labels = format!("direction=\"{direction}\",state=\"{state}\"");
            let _ = writeln!(page.text, "strowger_registrations{{{labels}}} {value}");
        }
        page.counter(
            "registration_failures_total",
            "Attempts of ours to register that failed.",
            load64(&self.registrations.failed),
        );
        let refused = self.counter(|shard| &shard.registers_refused);
        page.counter(
            "registers_refused_total",
            "REGISTER requests of peers that were refused.",
            refused,
        );
        page.counter(
            "registration_reports_lost_total",
            "Reports about registrations that were lost because too many waited.",
            load64(&self.registrations.lost),
        );
    }

    fn pings(&self, page: &mut Page) {
        page.head(
            "connections_pinged",
            "gauge",
            "Connections whose peer is asked with OPTIONS, by whether it answers.",
        );
        for (index, state) in ReachabilityState::ALL.into_iter().enumerate() {
            let count: usize = self
                .shards
                .iter()
                .map(|shard| load(&shard.pinged[index]))
                .sum();
            page.labelled("connections_pinged", "state", state.as_str(), count);
        }
        page.counter(
            "options_pings_total",
            "Peers asked with OPTIONS.",
            self.counter(|shard| &shard.pings_sent),
        );
        page.counter(
            "options_pings_missed_total",
            "Of these, without a sign of life.",
            self.counter(|shard| &shard.pings_missed),
        );
        page.counter(
            "options_reports_lost_total",
            "Changes of who answers that were lost because too many waited.",
            load64(&self.pings_lost),
        );
    }

    fn calls(&self, page: &mut Page) {
        page.gauge(
            "calls_active",
            "Calls that are not over.",
            self.active_calls(),
        );
        page.gauge(
            "calls_at_rest",
            "Of these, calls to which nothing happens, packed up in a third of the memory.",
            self.gauge(|shard| &shard.calls_resting),
        );
        page.gauge(
            "transcoded_calls",
            "Calls whose audio is converted from one codec to another, of at most max_transcoded_calls a shard.",
            self.gauge(|shard| &shard.transcoded_calls),
        );
        page.counter(
            "calls_started_total",
            "Calls begun.",
            self.counter(|shard| &shard.calls_started),
        );
        page.counter(
            "calls_answered_total",
            "Calls answered.",
            self.counter(|shard| &shard.calls_answered),
        );
        let refused = self.counter(|shard| &shard.calls_refused);
        page.counter(
            "calls_refused_total",
            "Calls refused before anybody was called.",
            refused,
        );
        page.gauge(
            "cdr_queue_records",
            "Call records waiting to be stored.",
            load(&self.cdrs.waiting),
        );
        page.counter(
            "cdr_written_total",
            "Call records stored.",
            load64(&self.cdrs.written),
        );
        page.counter(
            "cdr_failures_total",
            "Failed attempts to store call records.",
            load64(&self.cdrs.failures),
        );
        let logged = load64(&self.cdrs.logged);
        page.counter(
            "cdr_logged_total",
            "Call records that only the log has, because the store failed.",
            logged,
        );
    }

    fn media(&self, page: &mut Page) {
        let sum = |of: fn(&MediaCounts) -> &AtomicU64| {
            self.media
                .iter()
                .map(|media| load64(of(media)))
                .sum::<u64>()
        };
        page.gauge(
            "relays",
            "Media relays open.",
            self.media
                .iter()
                .map(|media| load(&media.relays))
                .sum::<usize>(),
        );
        page.head(
            "media_engine",
            "gauge",
            "Always 1; the label says how media packets get into the process and out of it.",
        );
        page.labelled("media_engine", "engine", self.media_engine.name(), 1);
        page.gauge(
            "media_streams_in_kernel",
            "Media streams that the kernel relays by itself now, two for a call.",
            self.media
                .iter()
                .map(|media| load(&media.lent_streams))
                .sum::<usize>(),
        );
        page.counter(
            "media_kernel_packets_total",
            "Of the forwarded media packets those that the kernel relayed by itself; counted when a stream comes back, after ten seconds at most.",
            sum(|media| &media.kernel_packets),
        );
        page.head(
            "media_port_pairs",
            "gauge",
            "Pairs of media ports by state.",
        );
        page.labelled(
            "media_port_pairs",
            "state",
            "in_use",
            self.gauge(|shard| &shard.pairs_in_use),
        );
        page.labelled(
            "media_port_pairs",
            "state",
            "quiet",
            self.gauge(|shard| &shard.pairs_quiet),
        );
        page.labelled(
            "media_port_pairs",
            "state",
            "free",
            self.gauge(|shard| &shard.pairs_free),
        );
        page.counter(
            "media_packets_total",
            "Media packets forwarded.",
            sum(|media| &media.forwarded_packets),
        );
        page.counter(
            "media_bytes_total",
            "Bytes of the media packets forwarded.",
            sum(|media| &media.forwarded_bytes),
        );
        page.counter(
            "media_unsent_total",
            "Media packets that the network refused.",
            sum(|media| &media.unsent),
        );
        page.counter(
            "media_transcoded_total",
            "Packets decoded and encoded anew, for sides that have no codec in common.",
            sum(|media| &media.transcoded),
        );
        page.counter(
            "media_filled_total",
            "Packets of comfort noise, silence and ringing tones sent while a far source was silent.",
            sum(|media| &media.filled),
        );
        page.head(
            "media_handshakes_total",
            "counter",
            "DTLS handshakes on media ports, by what came of them.",
        );
        for (outcome, total) in [
            ("done", sum(|media| &media.handshakes_done)),
            ("failed", sum(|media| &media.handshakes_failed)),
        ] {
            page.labelled("media_handshakes_total", "outcome", outcome, total);
        }
        page.head(
            "media_dropped_total",
            "counter",
            "Media packets dropped, by reason.",
        );
        for (index, reason) in DROP_REASONS.iter().enumerate() {
            let total: u64 = self
                .media
                .iter()
                .map(|media| load64(&media.dropped[index]))
                .sum();
            page.labelled("media_dropped_total", "reason", reason, total);
        }
    }

    fn recordings(&self, page: &mut Page) {
        let counts = &self.recorder;
        page.gauge("recordings", "Recordings that run.", load(&counts.running));
        page.head(
            "recordings_total",
            "counter",
            "Recordings that ended: complete, cut (not all of the call is in the file), or failed (there is no file).",
        );
        for (outcome, count) in [
            ("complete", &counts.complete),
            ("cut", &counts.cut),
            ("failed", &counts.failed),
        ] {
            page.labelled("recordings_total", "outcome", outcome, load64(count));
        }
        page.counter(
            "recording_bytes_total",
            "Bytes of recordings written.",
            load64(&counts.bytes),
        );
        page.counter(
            "recording_packets_lost_total",
            "Packets that are missing in recordings because the recorder was behind.",
            load64(&counts.lost),
        );
    }

    fn journal(&self, page: &mut Page) {
        let sum =
            |of: fn(&JournalCounts) -> u64| self.journals.iter().map(|it| of(it)).sum::<u64>();
        page.gauge(
            "journal_calls",
            "Calls that would outlive the process.",
            sum(|it| load(&it.entries) as u64),
        );
        page.gauge(
            "journal_bytes",
            "Bytes of the files that calls are kept in.",
            sum(|it| load64(&it.bytes)),
        );
        page.gauge(
            "journal_unkept",
            "Changes of calls that are not kept because writing fails: a restart would lose these calls, or bring back old ones.",
            sum(|it| load(&it.unkept) as u64),
        );
        page.counter(
            "journal_failures_total",
            "Failed attempts to keep calls.",
            sum(|it| load64(&it.failures)),
        );
    }

    fn rest(&self, page: &mut Page) {
        page.head(
            "panics_total",
            "counter",
            "Panics that were caught, by thread.",
        );
        page.labelled(
            "panics_total",
            "thread",
            "shard",
            self.counter(|shard| &shard.panics),
        );
        let media: u64 = self.media.iter().map(|media| load64(&media.panics)).sum();
        page.labelled("panics_total", "thread", "media", media);
        let recorder = load64(&self.recorder.panics);
        page.labelled("panics_total", "thread", "recorder", recorder);
        page.gauge("shards", "Threads that switch calls.", self.shards.len());
        page.gauge(
            "shard_mail",
            "Items waiting for shards.",
            self.mail.waiting(),
        );
        page.counter(
            "shard_mail_lost_total",
            "Items lost because a shard was behind.",
            self.mail.lost(),
        );
        let handovers = self.counter(|shard| &shard.handovers);
        page.counter(
            "handovers_total",
            "Requests handed to the shard that owns them.",
            handovers,
        );
        page.counter(
            "directory_swaps_total",
            "Parts of the directory put in place.",
            load64(&self.swaps),
        );
        page.counter(
            "dns_lookups_total",
            "Questions sent to name servers.",
            load64(&self.dns.lookups),
        );
        page.counter(
            "dns_cache_hits_total",
            "Questions answered from the cache.",
            load64(&self.dns.hits),
        );
        page.counter(
            "dns_failures_total",
            "Questions that name servers did not answer.",
            load64(&self.dns.failures),
        );
        page.counter(
            "trace_lost_total",
            "Messages that a trace listener was too slow for.",
            self.tap.lost(),
        );
    }

    fn gauge(&self, of: fn(&ShardCounts) -> &AtomicUsize) -> usize {
        self.shards.iter().map(|shard| load(of(shard))).sum()
    }

    fn counter(&self, of: fn(&ShardCounts) -> &AtomicU64) -> u64 {
        self.shards.iter().map(|shard| load64(of(shard))).sum()
    }
}

/// Prometheus' text format, version 0.0.4.
#[derive(Default)]
struct Page {
    text: String,
}

// Writing to a String cannot fail.
impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(
            self.text,
            "# HELP strowger_{name} {help}\n# TYPE strowger_{name} {kind}"
        );
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "counter", help);
        let _ = writeln!(self.text, "strowger_{name} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        let _ = writeln!(self.text, "strowger_{name} {value}");
    }

    fn labelled(&mut self, name: &str, label: &str, label_value: &str, value: impl Display) {
        let _ = writeln!(
            self.text,
            "strowger_{name}{{{label}=\"{label_value}\"}} {value}"
        );
    }
}

fn load(gauge: &AtomicUsize) -> usize {
    gauge.load(Ordering::Relaxed)
}

fn load64(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
