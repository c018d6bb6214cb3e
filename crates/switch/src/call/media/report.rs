//! What passed through the relays of a call, for its record.

use super::CallMedia;
use ::media::relay::{Exchange, RelayStats, Seal, StreamStats};
use model::cdr::{CdrMedia, CdrStream};

impl CallMedia {
    /// What passed through all relays.
    pub(crate) fn report(&self) -> MediaReport {
        MediaReport(
            self.all_lines()
                .filter_map(|line| line.stats.as_deref().cloned())
                .collect(),
        )
    }
}

/// Statistics of all relays of a call.
#[derive(Debug, Default)]
pub(crate) struct MediaReport(Vec<RelayStats>);

impl MediaReport {
    /// Sums for the record; `None` when nothing was relayed.
    pub(crate) fn into_cdr(self) -> Option<CdrMedia> {
        if self.0.is_empty() {
            return None;
        }
        let mut out = CdrMedia::default();
        for stats in &self.0 {
            add(&mut out.from_orig, &stats.a, stats.a_seal);
            add(&mut out.from_term, &stats.b, stats.b_seal);
        }
        Some(out)
    }
}

fn add(sum: &mut CdrStream, stream: &StreamStats, seal: Option<Seal>) {
    sum.packets += stream.packets;
    sum.bytes += stream.bytes;
    sum.lost += stream.lost;
    sum.refused += stream.dropped_source;
    // Jitter does not add up; the worst line is the one that was heard.
    sum.jitter_us = sum.jitter_us.max(stream.jitter_us);
    // The first line is the audio.
    if let (None, Some(seal)) = (&sum.encryption, seal) {
        let exchange = match seal.exchange {
            Exchange::Sdes => "SDES",
            Exchange::Dtls => "DTLS",
        };
        sum.encryption = Some(format!("{exchange} {}", seal.suite.name()));
    }
}
