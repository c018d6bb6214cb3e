//! What passed through the relays of a call, for its record.

use super::CallMedia;
use ::media::relay::{Exchange, RelayStats, Seal, StreamStats};
use model::cdr::{CdrMedia, CdrStream};

impl CallMedia {
    /// What passed through all relays.
    pub(crate) fn report(&self) -> MediaReport {
        let mut codecs = [None, None];
        for line in self.all_lines() {
            for (codec, spoken) in codecs.iter_mut().zip(&line.codecs) {
                if codec.is_none() {
                    codec.clone_from(spoken);
                }
            }
        }
        let stats = self.all_lines();
        MediaReport {
            stats: stats
                .filter_map(|line| line.stats.as_deref().cloned())
                .collect(),
            codecs,
        }
    }
}

/// Statistics of all relays of a call.
#[derive(Debug, Default)]
pub(crate) struct MediaReport {
    stats: Vec<RelayStats>,
    /// Of the caller and of the called side.
    codecs: [Option<String>; 2],
}

impl MediaReport {
    /// Sums for the record; `None` when nothing was relayed.
    pub(crate) fn into_cdr(self) -> Option<CdrMedia> {
        if self.stats.is_empty() {
            return None;
        }
        let mut out = CdrMedia::default();
        for stats in &self.stats {
            add(&mut out.from_orig, &stats.a, stats.a_seal);
            add(&mut out.from_term, &stats.b, stats.b_seal);
        }
        [out.from_orig.codec, out.from_term.codec] = self.codecs;
        Some(out)
    }
}

fn add(sum: &mut CdrStream, stream: &StreamStats, seal: Option<Seal>) {
    sum.packets += stream.packets;
    sum.bytes += stream.bytes;
    sum.lost += stream.lost;
    sum.transcoded += stream.transcoded;
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
