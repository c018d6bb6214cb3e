//! Streams, TCP or TLS over it: who is connected, and what is written to whom.
//!
//! One task, the *table*, knows every stream and is told everything through one queue, so nothing is locked and no
//! two streams to one peer are opened by accident. Each stream is a task of its own ([`stream`]): it frames what
//! comes in and writes what is queued. A shard names a stream by its [`StreamId`] (RFC 5626's *flow*), or leaves it
//! open and names an address: then a stream to that address is used, or opened. Over TLS it may name whom it expects
//! there too: then only a stream will do that we opened and whose peer has proven that name.
//!
//! Everything a peer can make us keep is bounded: streams altogether and per address, bytes and messages waiting to
//! be written, a message that never ends, a connection that says nothing. At each bound the stream is closed; the
//! shards hear of it and go on without.

mod listener;
mod stream;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use sip::endpoint::{Flow, StreamId};
use sip::message::ByteStr;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tracing::{debug, error};

use crate::shards::Shards;
use crate::tap::{Tap, Traced};
use crate::tls::Tls;

pub(crate) use listener::Listener;

/// Streams at one time.
pub const MAX_FLOWS: usize = 4096;

/// Streams of one far address at one time: a large proxy opens dozens, a flood opens thousands.
pub const MAX_FLOWS_PER_ADDRESS: usize = 256;

/// Messages waiting to be written to one stream.
const BACKLOG_MESSAGES: usize = 256;

/// Bytes waiting to be written to one stream. A peer that leaves more unread is closed: its calls are better off on
/// a new stream than behind a wall.
const BACKLOG_BYTES: usize = 1 << 20;

/// Commands and reports waiting for the table.
const TABLE_QUEUE: usize = 8192;

/// What the table is told.
pub(crate) enum Told {
    /// A shard has a message for a peer.
    Send {
        flow: Flow,
        /// The name that the far end has to have proven.
        peer: Option<ByteStr>,
        bytes: Bytes,
        shard: u16,
    },
    /// A peer has connected.
    Accepted {
        stream: TcpStream,
        remote: SocketAddr,
        interface: u8,
    },
    /// A stream is over; what it had not written comes back.
    Closed {
        id: StreamId,
        unwritten: Vec<Written>,
    },
    /// Close everything and end.
    Stop,
}

/// A message on its way to a stream.
pub(crate) struct Written {
    pub(crate) bytes: Bytes,
    /// Whom to tell when it could not be written.
    pub(crate) shard: u16,
    pub(crate) flow: Flow,
}

/// Counts for the metrics.
#[derive(Default)]
pub(crate) struct FlowCounts {
    /// Streams open or opening now.
    pub(crate) open: AtomicUsize,
    /// Streams opened by peers since the start.
    pub(crate) accepted: AtomicU64,
    /// Streams opened by us since the start.
    pub(crate) connected: AtomicU64,
    /// Connections turned away at a bound.
    pub(crate) refused: AtomicU64,
    /// Streams closed because their peer did not read.
    pub(crate) overflowed: AtomicU64,
    /// Streams closed because what came was no SIP.
    pub(crate) unframed: AtomicU64,
}

/// The sending side of the table, for shards.
#[derive(Clone)]
pub(crate) struct Flows {
    table: mpsc::Sender<Told>,
}

impl Flows {
    /// Passes a message on. `false` when the table is hopelessly behind: the message is lost.
    pub(crate) fn send(&self, flow: Flow, peer: Option<ByteStr>, bytes: Bytes, shard: u16) -> bool {
        let told = Told::Send {
            flow,
            peer,
            bytes,
            shard,
        };
        self.table.try_send(told).is_ok()
    }

    /// Closes every stream and ends the table.
    pub(crate) async fn stop(&self) {
        // Refused only when the table has already gone.
        let _ = self.table.send(Told::Stop).await;
    }
}

/// One address that streams come to and leave by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamDoor {
    pub(crate) local: SocketAddr,
    /// TLS runs on it.
    pub(crate) secure: bool,
}

/// What all streams share.
pub(crate) struct Common {
    pub(crate) shards: Arc<Shards>,
    /// By interface, streams only; datagram interfaces are `None`.
    pub(crate) doors: Vec<Option<StreamDoor>>,
    /// Certificates; there whenever a door is secure.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) counts: Arc<FlowCounts>,
    pub(crate) tap: Tap,
}

/// The table itself; see [`FlowTable::run`].
pub(crate) struct FlowTable {
    told: mpsc::Receiver<Told>,
    /// For the tasks it starts.
    reports: mpsc::Sender<Told>,
    common: Arc<Common>,
    streams: HashMap<StreamId, Handle>,
    /// Oldest first.
    by_remote: HashMap<(u8, SocketAddr), Vec<StreamId>>,
    per_address: HashMap<IpAddr, usize>,
    next_id: u64,
}

/// The table's end of a stream task. Dropping it ends the task.
struct Handle {
    queue: mpsc::Sender<Written>,
    /// Bytes queued and not yet written.
    backlog: Arc<AtomicUsize>,
    interface: u8,
    remote: SocketAddr,
    /// What the far end had to prove when we opened it.
    peer: Option<ByteStr>,
}

impl FlowTable {
    /// An empty table, and how to reach it.
    pub(crate) fn new(common: Common) -> (Flows, Self) {
        let (reports, told) = mpsc::channel(TABLE_QUEUE);
        let flows = Flows {
            table: reports.clone(),
        };
        let table = Self {
            told,
            reports,
            common: Arc::new(common),
            streams: HashMap::new(),
            by_remote: HashMap::new(),
            per_address: HashMap::new(),
            next_id: 1,
        };
        (flows, table)
    }

    /// Where listeners report connections.
    pub(crate) fn reports(&self) -> mpsc::Sender<Told> {
        self.reports.clone()
    }

    /// Serves until told to stop.
    pub(crate) async fn run(mut self) {
        while let Some(told) = self.told.recv().await {
            match told {
                Told::Send {
                    flow,
                    peer,
                    bytes,
                    shard,
                } => self.send(Written { bytes, shard, flow }, peer),
                Told::Accepted {
                    stream,
                    remote,
                    interface,
                } => self.accepted(stream, remote, interface),
                Told::Closed { id, unwritten } => self.closed(id, unwritten).await,
                Told::Stop => break,
            }
        }
    }

    fn send(&mut self, message: Written, peer: Option<ByteStr>) {
        let flow = message.flow;
        let id = match flow.stream {
            Some(id) => Some(id),
            None => self
                .stream_to(flow, peer.as_ref())
                .or_else(|| self.connect(flow, peer)),
        };
        let Some((id, handle)) = id.and_then(|id| Some((id, self.streams.get(&id)?))) else {
            self.common.shards.send_failed(message.shard, flow);
            return;
        };
        let waiting = handle
            .backlog
            .fetch_add(message.bytes.len(), Ordering::Relaxed);
        let shard = message.shard;
        if waiting > BACKLOG_BYTES || handle.queue.try_send(message).is_err() {
            debug!(remote = %handle.remote, "the peer does not read; stream closed");
            self.common
                .counts
                .overflowed
                .fetch_add(1, Ordering::Relaxed);
            self.common.shards.send_failed(shard, flow);
            self.forget(id);
        }
    }

    /// The latest stream to an address; with a name, the latest that has proven it or is about to.
    fn stream_to(&self, flow: Flow, peer: Option<&ByteStr>) -> Option<StreamId> {
        let known = self.by_remote.get(&(flow.interface, flow.remote))?;
        let fits = |id: &&StreamId| {
            peer.is_none()
                || self
                    .streams
                    .get(id)
                    .is_some_and(|handle| handle.peer.as_ref() == peer)
        };
        known.iter().rev().find(fits).copied()
    }

    /// Starts to open a stream; messages queue up meanwhile.
    fn connect(&mut self, flow: Flow, peer: Option<ByteStr>) -> Option<StreamId> {
        let (id, task) = self.enter(flow.interface, flow.remote, peer)?;
        self.common.counts.connected.fetch_add(1, Ordering::Relaxed);
        self.spawn(id, task.open());
        Some(id)
    }

    fn accepted(&mut self, stream: TcpStream, remote: SocketAddr, interface: u8) {
        let Some((id, task)) = self.enter(interface, remote, None) else {
            debug!(%remote, "too many streams; connection turned away");
            self.common.counts.refused.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.common.counts.accepted.fetch_add(1, Ordering::Relaxed);
        self.spawn(id, task.accept(stream));
    }

    /// Runs a stream's task. Should it panic, the stream is over like any other.
    fn spawn(&self, id: StreamId, task: impl Future<Output = ()> + Send + 'static) {
        let reports = self.reports.clone();
        tokio::spawn(async move {
            if let Err(error) = tokio::spawn(task).await {
                error!(%error, "the task of a stream ended badly");
                let unwritten = Vec::new();
                // Nobody to tell when the table has ended first.
                let _ = reports.send(Told::Closed { id, unwritten }).await;
            }
        });
    }

    /// Makes room for a stream; `None` at a bound.
    fn enter(
        &mut self,
        interface: u8,
        remote: SocketAddr,
        peer: Option<ByteStr>,
    ) -> Option<(StreamId, stream::Task)> {
        let door = (*self.common.doors.get(usize::from(interface))?)?;
        let of_address = self.per_address.entry(remote.ip()).or_default();
        if self.streams.len() >= MAX_FLOWS || *of_address >= MAX_FLOWS_PER_ADDRESS {
            return None;
        }
        *of_address += 1;
        let id = StreamId(self.next_id);
        self.next_id += 1;
        let (queue, messages) = mpsc::channel(BACKLOG_MESSAGES);
        let backlog = Arc::new(AtomicUsize::new(0));
        let handle = Handle {
            queue,
            backlog: Arc::clone(&backlog),
            interface,
            remote,
            peer: peer.clone(),
        };
        self.streams.insert(id, handle);
        let known = self.by_remote.entry((interface, remote)).or_default();
        known.push(id);
        self.common
            .counts
            .open
            .store(self.streams.len(), Ordering::Relaxed);
        let task = stream::Task {
            id,
            interface,
            door,
            remote,
            peer,
            messages,
            backlog,
            common: Arc::clone(&self.common),
            reports: self.reports.clone(),
        };
        Some((id, task))
    }

    async fn closed(&mut self, id: StreamId, unwritten: Vec<Written>) {
        self.forget(id);
        for message in unwritten {
            self.common.shards.send_failed(message.shard, message.flow);
        }
        self.common.shards.stream_closed(id).await;
    }

    /// Takes a stream out of the table; its task ends when it notices.
    fn forget(&mut self, id: StreamId) {
        let Some(handle) = self.streams.remove(&id) else {
            return;
        };
        let key = (handle.interface, handle.remote);
        if let Some(known) = self.by_remote.get_mut(&key) {
            known.retain(|other| *other != id);
            if known.is_empty() {
                self.by_remote.remove(&key);
            }
        }
        if let Some(count) = self.per_address.get_mut(&handle.remote.ip()) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&handle.remote.ip());
            }
        }
        self.common
            .counts
            .open
            .store(self.streams.len(), Ordering::Relaxed);
    }
}

impl Common {
    fn trace(&self, received: bool, local: SocketAddr, remote: SocketAddr, bytes: &Bytes) {
        self.tap.offer(|| Traced {
            at: std::time::Instant::now(),
            received,
            local,
            remote,
            stream: true,
            bytes: bytes.clone(),
        });
    }
}

#[cfg(test)]
mod tests;
