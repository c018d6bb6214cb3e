//! Between the table of relays and the kernel's fast path: lends ordinary streams and takes them back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use media::relay::{Carried, Loan, RelayTable, Returned, SocketKey};
use sockets::{FastPath, Lent, LentState, MediaIo};

use super::MediaCounts;

/// Lends the streams of one media thread.
pub(super) struct Lender {
    fast_path: Arc<FastPath>,
    counts: Arc<MediaCounts>,
}

impl Lender {
    pub(super) fn new(fast_path: Arc<FastPath>, counts: Arc<MediaCounts>) -> Self {
        Self { fast_path, counts }
    }

    /// Lends what has become fit for it.
    pub(super) fn lend(&self, table: &mut RelayTable, io: &MediaIo) {
        table.lend(Instant::now(), |loan| {
            let stream = stream(loan, io)?;
            let lent = self.fast_path.lend(&stream);
            lent.then(|| u32::from(stream.local.port()))
        });
        self.count(table);
    }

    fn count(&self, table: &RelayTable) {
        let lent = &self.counts.lent_streams;
        lent.store(table.loans(), Ordering::Relaxed);
    }

    /// Takes the stream that arrives on this socket back, if it is lent. From then on its packets come up.
    pub(super) fn take_back(&self, table: &mut RelayTable, key: SocketKey) {
        let Some(port) = table.lent_by(key).and_then(|port| u16::try_from(port).ok()) else {
            return;
        };
        let Some(returned) = self.fast_path.take_back(port) else {
            return;
        };
        let counts = &self.counts;
        for counter in [&counts.forwarded_packets, &counts.kernel_packets] {
            counter.fetch_add(returned.packets, Ordering::Relaxed);
        }
        counts
            .forwarded_bytes
            .fetch_add(returned.bytes, Ordering::Relaxed);
        let LentState {
            clock_rate_hz,
            transit,
            jitter_sixteenths,
            second,
            second_packets,
        } = returned.state;
        let returned = Returned {
            packets: returned.packets,
            bytes: returned.bytes,
            last_at: returned.last_at,
            carried: Carried {
                clock_rate_hz,
                transit,
                jitter_sixteenths,
                second,
                second_packets,
            },
        };
        table.give_back(key, &returned);
        self.count(table);
    }

    /// Takes back what has been lent for long, or may be silent.
    pub(super) fn take_back_overdue(&self, table: &mut RelayTable, now: Instant) {
        for key in table.overdue(now) {
            self.take_back(table, key);
        }
    }

    /// Takes back what would go where nobody is any more.
    pub(super) fn take_back_stale(&self, table: &mut RelayTable) {
        while let Some(key) = table.next_stale() {
            self.take_back(table, key);
        }
    }

    /// Takes everything back.
    pub(super) fn take_back_all(&self, table: &mut RelayTable) {
        let lent: Vec<_> = table.all_lent().collect();
        for key in lent {
            self.take_back(table, key);
        }
    }
}

/// A loan as the kernel needs it; `None` when it is not over IPv4.
fn stream(loan: &Loan, io: &MediaIo) -> Option<Lent> {
    let v4 = |address: SocketAddr| match address {
        SocketAddr::V4(address) => Some(address),
        SocketAddr::V6(_) => None,
    };
    let Carried {
        clock_rate_hz,
        transit,
        jitter_sixteenths,
        second,
        second_packets,
    } = loan.carried;
    Some(Lent {
        source: v4(loan.source)?,
        local: v4(io.local(loan.key.0)?)?,
        from: v4(io.local(loan.out.0)?)?,
        to: v4(loan.to)?,
        ssrc: loan.ssrc,
        payload_type: loan.payload_type,
        next_sequence: loan.next_sequence,
        opened_at: loan.opened_at,
        state: LentState {
            clock_rate_hz,
            transit,
            jitter_sixteenths,
            second,
            second_packets,
        },
    })
}
