//! Starting and stopping everything.

use std::fmt;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ::media::dtls::Endpoint;
use ::media::ringing_tones::RingingTone;
use bus::{Bus, Health};
use model::Cdr;
use sip::auth::ALGORITHMS;
use sip::endpoint::Interface;
use sip::message::header::challenge::Algorithm;
use sip::transport::Transport;
use sockets::{MediaEngine, UdpSocket};
use store::{Store, StoreError};
use switch::{DirectoryChange, GuardConfig, Input, RestoreReport, ShardConfig, Switch};
use tracing::{error, info, warn};

use crate::answers::{Answers, Tasks};
use crate::cdr::{CdrCounts, CdrWriter};
use crate::certificate;
use crate::counters::{CounterBook, MaximaKeeper};
use crate::desk::MediaDesk;
use crate::dns::{Dns, DnsCounts, Hickory, NoDns};
use crate::feed::Feed;
use crate::flows::{Common, FlowCounts, FlowTable, Flows, Listener, StreamDoor};
use crate::inheritance::Inheritance;
use crate::interfaces::{self, Bound};
use crate::journal::{self, Journal, JournalConfig, JournalDesk, JournalError, Journals, Replayed};
use crate::mailbox::{self, Mailbox};
use crate::media::{self, MediaCounts, MediaFastPath, MediaWays};
use crate::metrics::Metrics;
use crate::ports::PortRange;
use crate::reachability::Herald;
use crate::recorder::{RECORDINGS_MAX, RecorderConfig, RecorderCounts, RecorderThread};
use crate::registrations::{Keeper, RegistrationCounts};
use crate::shard::{Outside, Remains, Shard, ShardCounts, clock};
use crate::shards::{MAILBOX_ITEMS, Mail, Shards};
use crate::tap::Tap;
use crate::tls::{Tls, TlsError, TlsFiles};

/// Shards at most; their number has to fit into our tags with room to spare.
pub const MAX_SHARDS: usize = 256;

/// Addresses to listen on at most: each is two interfaces, and an interface is numbered by one byte.
pub const MAX_ADDRESSES: usize = 64;

/// Descriptors that everything but media and recordings may need.
const OTHER_DESCRIPTORS: u64 = 8192;

/// How long carriers may take to answer when registrations are taken back at the end.
const FAREWELL: Duration = Duration::from_secs(2);

/// What tasks are called that accept streams.
const LISTENING: &str = "TCP listener";

/// How often is looked whether they have.
const FAREWELL_CHECK: Duration = Duration::from_millis(20);

/// How long the last registrations, and the last maxima of calls, may take into the store.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// What the driver has to know.
#[derive(Clone, Debug)]
pub struct DriverConfig {
    /// Addresses to listen on for SIP, each over UDP and TCP.
    pub sip: Vec<SocketAddr>,
    /// What peers are told instead of the addresses we listen on, in SIP and SDP.
    pub advertise: Option<IpAddr>,
    /// Addresses to listen on for SIP over TLS.
    pub sip_tls: Vec<SocketAddr>,
    /// The files of TLS; needed when there is an address for it.
    pub tls: Option<TlsFiles>,
    /// Second addresses, each over UDP and TCP, for the connections that ask for it.
    pub alternate_sip: Vec<SocketAddr>,
    /// What peers are told instead of the second addresses.
    pub alternate_advertise: Option<IpAddr>,
    /// How often the peers of connections are asked with OPTIONS, in seconds; 0 = never.
    pub options_ping_seconds: u32,
    /// What challenges offer to peers that have to authenticate, in this order.
    pub digest_algorithms: Vec<Algorithm>,
    /// Wrong passwords and unknown names in a row after which a source is ignored; 0 = never.
    pub ignore_after_failures: u32,
    /// How long it is ignored the first time, in seconds.
    pub ignore_seconds: u32,
    /// Ports for RTP and RTCP.
    pub rtp_ports: PortRange,
    /// Silence after which a relayed call is ended, in seconds; 0 = never.
    pub media_timeout_seconds: u32,
    /// Time a media port rests after a call, in seconds.
    pub port_quiet_seconds: u32,
    /// How media packets get into the process and out of it; `None` takes the best that works here.
    pub media_engine: Option<MediaEngine>,
    /// Whether the kernel relays ordinary media streams by itself.
    pub media_fast_path: MediaFastPath,
    /// Threads that switch calls; 0 = one per processor.
    pub shards: usize,
    /// Calls that one shard carries at most. A tenant lives on one shard, so that each shard has to be able to
    /// carry them all.
    pub max_calls: usize,
    /// Folder of recordings; without one no call is recorded.
    pub recordings: Option<PathBuf>,
    /// MiB of the disk that recordings leave to others: with less, none begins.
    pub recording_reserve_mib: u64,
    /// Calls whose audio one shard converts from one codec to another at one time.
    pub max_transcoded_calls: usize,
    /// Where calls are kept so that they outlive the process; without it they do not.
    pub journal: Option<JournalConfig>,
    /// The ringing tone that callers hear from us; `None` means silence.
    pub ringback: Option<&'static RingingTone>,
    /// Host name of this node, for routes that hold on one node only.
    pub hostname: String,
}

impl Default for DriverConfig {
    fn default() -> Self {
        Self {
            sip: vec![SocketAddr::from(([0, 0, 0, 0], 5060))],
            advertise: None,
            sip_tls: Vec::new(),
            tls: None,
            alternate_sip: Vec::new(),
            alternate_advertise: None,
            options_ping_seconds: 0,
            digest_algorithms: ALGORITHMS.to_vec(),
            ignore_after_failures: 20,
            ignore_seconds: 300,
            rtp_ports: PortRange {
                first: 20_000,
                last: 29_999,
            },
            media_timeout_seconds: 60,
            port_quiet_seconds: crate::PORT_QUIET_SECONDS as u32,
            media_engine: None,
            media_fast_path: MediaFastPath::Auto,
            shards: 0,
            max_calls: 10_000,
            recordings: None,
            recording_reserve_mib: 1024,
            max_transcoded_calls: 100,
            journal: None,
            ringback: None,
            hostname: "localhost".to_owned(),
        }
    }
}

impl DriverConfig {
    /// How many shards there will be. Each has a media thread beside it, so the usual number is one for two
    /// processors; more would only hand messages to each other.
    pub fn shard_count(&self) -> usize {
        let wanted = match self.shards {
            0 => std::thread::available_parallelism().map_or(1, usize::from) / 2,
            some => some,
        };
        wanted.clamp(1, MAX_SHARDS)
    }
}

/// Why the driver did not start.
#[derive(Debug)]
pub enum StartError {
    /// No address to listen on, or too many.
    Addresses(usize),
    /// An address cannot be listened on.
    Bind {
        /// Over which transport.
        transport: Transport,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// There is an address for TLS but no certificate.
    NoCertificate,
    /// A file of TLS cannot be used.
    Tls(TlsError),
    /// There are too few media ports for the number of shards.
    FewPorts {
        /// The configured range.
        range: PortRange,
        /// The number of shards.
        shards: usize,
    },
    /// The engine for media that is asked for does not work here.
    MediaEngine {
        /// The engine.
        engine: MediaEngine,
        /// What came of trying it.
        why: &'static str,
    },
    /// The kernel is to relay media and does not.
    MediaFastPath(io::Error),
    /// The records cannot be read.
    Store(StoreError),
    /// Calls cannot be kept.
    Journal(JournalError),
    /// The bus has no room for us.
    Bus(String),
    /// The system gives us no thread, queue or timer.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses(0) => f.write_str("no SIP address to listen on is configured"),
            Self::Addresses(count) => {
                write!(
                    f,
                    "{count} SIP addresses are configured, but {MAX_ADDRESSES} are the most"
                )
            }
            Self::Bind {
                transport,
                address,
                source,
            } => {
                write!(f, "cannot listen on {address} ({}): ", transport.as_str())?;
                match source.kind() {
                    io::ErrorKind::AddrInUse => {
                        f.write_str("the port is in use by another program")
                    }
                    io::ErrorKind::AddrNotAvailable => {
                        f.write_str("this machine does not have that address")
                    }
                    io::ErrorKind::PermissionDenied => {
                        f.write_str("ports below 1024 need a privilege")
                    }
                    _ => write!(f, "{source}"),
                }
            }
            Self::NoCertificate => {
                f.write_str("SIP over TLS needs a certificate and its key, and none is configured")
            }
            Self::Tls(error) => write!(f, "{error}"),
            Self::FewPorts { range, shards } => write!(
                f,
                "the media ports {}-{} are too few for {shards} shards: a call takes four ports of one shard",
                range.first, range.last
            ),
            Self::MediaEngine { engine, why } => write!(
                f,
                "media are to pass through {}, which does not work here: {why}",
                engine.name()
            ),
            Self::MediaFastPath(why) => {
                write!(
                    f,
                    "the kernel is to relay media, which does not work here: {why}"
                )
            }
            Self::Store(error) => write!(f, "cannot read the records: {error}"),
            Self::Journal(error) => write!(f, "{error}"),
            Self::Bus(why) => write!(f, "cannot join the bus: {why}"),
            Self::System(error) => {
                write!(f, "the system refuses a thread or a descriptor: {error}")
            }
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { source, .. } => Some(source),
            Self::Store(error) => Some(error),
            Self::System(error) | Self::MediaFastPath(error) => Some(error),
            Self::Tls(error) => Some(error),
            Self::Journal(error) => Some(error),
            Self::Addresses(_)
            | Self::NoCertificate
            | Self::FewPorts { .. }
            | Self::MediaEngine { .. }
            | Self::Bus(_) => None,
        }
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// A running switch. Dropping it leaves the threads running; [`Driver::stop`] ends them.
pub struct Driver {
    answers: Answers,
    interfaces: Arc<[Interface]>,
    rtp_ports: PortRange,
    flows: Flows,
    tls: Option<Arc<Tls>>,
    tap: Tap,
    threads: Vec<Threads>,
    /// More handles of the sockets that everybody comes to, for whoever comes after us.
    doors: Vec<OwnedFd>,
    /// Keeps other processes out of the journal.
    journal: Option<File>,
    recorder: RecorderThread,
    cdrs: CdrWriter,
    keeper: tokio::task::JoinHandle<()>,
    /// The keeper of monthly maxima, and what it runs for as long as.
    maxima: (tokio::sync::watch::Sender<()>, tokio::task::JoinHandle<()>),
}

/// What is made for a shard before any shard runs: they all have to know each other.
struct Seat {
    number: u16,
    mailbox: Mailbox<Mail>,
    sockets: Vec<Option<UdpSocket>>,
    counts: Arc<ShardCounts>,
    media_counts: Arc<MediaCounts>,
    media_ways: MediaWays,
    ports: PortRange,
    /// Who its media thread is in handshakes.
    endpoint: Endpoint,
    interfaces: Arc<[Interface]>,
    /// Its journal, and the calls that the last run left in it.
    journal: Option<(Journal, Replayed)>,
}

/// The threads of one shard.
struct Threads {
    shard: JoinHandle<Remains>,
    media: JoinHandle<media::Sockets>,
}

impl Driver {
    /// Binds the addresses, reads the records and begins to take calls. Has to be called within a tokio runtime, on
    /// which TCP, DNS and the directory feed then live.
    ///
    /// Calls that the journal has go on: what they need is bound, sent and counted when this returns.
    pub async fn start(config: DriverConfig, store: Store, bus: Bus) -> Result<Self, StartError> {
        Self::succeed(config, store, bus, Arc::default()).await
    }

    /// As [`start`](Self::start), with the sockets of an earlier process where there are any.
    pub async fn succeed(
        config: DriverConfig,
        store: Store,
        bus: Bus,
        inheritance: Arc<Inheritance>,
    ) -> Result<Self, StartError> {
        let started = Instant::now();
        let journals = open_journals(&config)?;
        let (journal, mut journals) = match journals {
            Some(Journals { lock, shards }) => (Some(lock), Some(shards)),
            None => (None, None),
        };
        let count = journals.as_ref().map_or(config.shard_count(), Vec::len);
        check(&config, count)?;
        let tls = certificates(&config)?;
        let media_ways = MediaWays::choose(&config)?;
        let bound = bind_all(&config, count, &inheritance)?;
        let places: Vec<_> = bound.iter().map(|bound| bound.place).collect();
        let interfaces: Arc<[Interface]> = interfaces::interfaces(&places).into();
        let (shards, mut seats, listeners) =
            seats(&config, count, bound, &interfaces, &media_ways)?;
        for (seat, journal) in seats
            .iter_mut()
            .zip(journals.iter_mut().flat_map(|all| all.drain(..)))
        {
            seat.journal = Some(journal);
        }
        let datagrams = seats.iter().flat_map(|seat| seat.sockets.iter().flatten());
        let datagrams = datagrams.map(|socket| socket.as_fd().try_clone_to_owned());
        let doors = datagrams.chain(listeners.iter().map(Listener::try_clone));
        let doors = doors.collect::<Result<_, _>>()?;

        let tap = Tap::default();
        let flow_counts = Arc::new(FlowCounts::default());
        let (flows, table) = FlowTable::new(Common {
            shards: Arc::clone(&shards),
            doors: streams_only(&interfaces),
            tls: tls.clone(),
            counts: Arc::clone(&flow_counts),
            tap: tap.clone(),
        });
        let dns_counts = Arc::new(DnsCounts::default());
        let dns = match Hickory::of_system() {
            Ok(hickory) => Dns::start(hickory, Arc::clone(&shards), Arc::clone(&dns_counts)),
            Err(why) => {
                warn!(
                    why,
                    "no name servers are configured: only numeric addresses can be called"
                );
                Dns::start(NoDns, Arc::clone(&shards), Arc::clone(&dns_counts))
            }
        };

        // Subscribed before reading, so that no change falls between the two.
        let subscription = bus
            .subscribe()
            .map_err(|error| StartError::Bus(error.to_string()))?;
        let questions = bus
            .answer_questions()
            .map_err(|error| StartError::Bus(error.to_string()))?;
        let maxima = store
            .read(|reader| reader.call_maxima())
            .await
            .map_err(StartError::Store)?;
        let counters = Arc::new(CounterBook::with(&maxima));
        let (running, stopped) = tokio::sync::watch::channel(());
        let maxima = MaximaKeeper::new(Arc::clone(&counters), store.clone(), maxima).run(stopped);
        let swaps = Arc::new(AtomicU64::new(0));
        let mut feed = Feed::new(
            store.clone(),
            Arc::clone(&shards),
            dns.clone(),
            Arc::clone(&counters),
            Arc::clone(&swaps),
            rand::random(),
        );
        let mut directory = feed.load().await.map_err(StartError::Store)?;
        directory.extend(bindings(&store).await.map_err(StartError::Store)?);
        let registration_counts = Arc::new(RegistrationCounts::default());
        let (registration_queue, keeper) = Keeper::new(
            store.clone(),
            bus.clone(),
            Arc::clone(&shards),
            Arc::clone(&registration_counts),
        );
        let pings_lost = Arc::new(AtomicU64::new(0));
        let (reachability_queue, herald) =
            Herald::new(Arc::clone(&shards), bus.clone(), Arc::clone(&pings_lost));

        let cdr_counts = Arc::new(CdrCounts::default());
        let (cdr_queue, cdrs) = CdrWriter::start(cdr_sink(store, bus), Arc::clone(&cdr_counts))?;
        let recorder_counts = Arc::new(RecorderCounts::default());
        let (recorder_queue, recorder) = RecorderThread::start(
            RecorderConfig {
                folder: config.recordings.clone(),
                reserve_mib: config.recording_reserve_mib,
            },
            (0..count as u16)
                .map(|shard| shards.mailbox(shard))
                .collect(),
            Arc::clone(&recorder_counts),
        )?;
        let metrics = Arc::new(Metrics {
            shards: seats.iter().map(|seat| Arc::clone(&seat.counts)).collect(),
            media: seats
                .iter()
                .map(|seat| Arc::clone(&seat.media_counts))
                .collect(),
            flows: flow_counts,
            tls: tls.clone(),
            dns: dns_counts,
            cdrs: cdr_counts,
            recorder: recorder_counts,
            registrations: registration_counts,
            pings_lost,
            swaps,
            mail: Arc::clone(&shards),
            tap: tap.clone(),
            journals: seats
                .iter()
                .filter_map(|seat| seat.journal.as_ref().map(|(journal, _)| journal.counts()))
                .collect(),
            media_engine: media_ways.engine,
        });

        let mut threads = Vec::with_capacity(count);
        let mut reports = Vec::with_capacity(count);
        for mut seat in seats {
            let (journal, left) = seat.journal.take().unzip();
            let cdr_queue = cdr_queue.of_another_shard();
            let outside = Outside {
                journal: JournalDesk::new(journal, cdr_queue.stored()),
                shards: Arc::clone(&shards),
                flows: flows.clone(),
                dns: dns.clone(),
                recorder: recorder_queue.clone(),
                cdrs: cdr_queue.clone(),
                registrations: registration_queue.clone(),
                reachability: reachability_queue.clone(),
                tap: tap.clone(),
            };
            let (shard, media) = seat.take(
                &config,
                count,
                &directory,
                outside,
                &inheritance,
                left.as_ref().map_or(0, Vec::len),
            )?;
            let (report, resumed) = tokio::sync::oneshot::channel();
            reports.push(resumed);
            let shard = shard.spawn(left.unwrap_or_default(), report)?;
            threads.push(Threads { shard, media });
        }
        // The task ends with the last of the shards' ends, after it has written what they said.
        drop(registration_queue);
        let keeper = tokio::spawn(keeper.run());
        tokio::spawn(herald.run());
        let maxima = (running, tokio::spawn(maxima));
        let tasks = Arc::new(Tasks::default());
        let streams = (0..)
            .zip(&*interfaces)
            .filter(|(_, it)| it.transport.is_reliable());
        for ((interface, _), listener) in streams.zip(listeners) {
            tasks.spawn(LISTENING, listener.run(interface, table.reports()));
        }
        tasks.spawn("table of TCP streams", table.run());
        tasks.spawn("directory feed", feed.run(subscription));
        let answers = Answers {
            shards,
            counters,
            metrics,
            interfaces: Arc::clone(&interfaces),
            hostname: config.hostname.as_str().into(),
            ringback: config.ringback,
            draining: Arc::new(AtomicBool::new(false)),
            tasks: Arc::clone(&tasks),
        };
        tasks.spawn("answering of questions", answers.clone().run(questions));
        for interface in &*interfaces {
            let transport = interface.transport.as_str();
            let (local, advertise) = (interface.local, &interface.advertise);
            info!(%local, %advertise, transport, alternate = interface.alternate, "listening for SIP");
        }
        warn_of_missing_alternate(&directory, &interfaces);
        resumed(reports, started).await;
        inheritance.discard_rest();
        Ok(Self {
            answers,
            interfaces,
            rtp_ports: config.rtp_ports,
            flows,
            tls,
            tap,
            threads,
            doors,
            journal,
            recorder,
            cdrs,
            keeper,
            maxima,
        })
    }

    /// The addresses we listen on, with their real ports and what peers are told; UDP and TCP share an address.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// The range of media ports.
    pub fn rtp_ports(&self) -> PortRange {
        self.rtp_ports
    }

    /// Whether calls are taken, and if not, why.
    pub async fn health(&self) -> Health {
        self.answers.health().await
    }

    /// The sockets that everybody comes to, once more: whoever keeps them open keeps what arrives when we are gone.
    pub fn doors(&self) -> Vec<OwnedFd> {
        // Without descriptors to spare there is nothing to keep.
        let doors = self.doors.iter().map(OwnedFd::try_clone);
        doors.flatten().collect()
    }

    /// All counters in Prometheus' text format.
    pub fn metrics(&self) -> String {
        self.answers.metrics.render()
    }

    /// Calls that are not over or whose record is not complete; at most a quarter of a second old.
    pub fn active_calls(&self) -> usize {
        self.answers.metrics.active_calls()
    }

    /// Reads the files of TLS again; new streams use them, those that are open stay. `false` when there is no TLS.
    pub fn reload_certificates(&self) -> Result<bool, TlsError> {
        match &self.tls {
            Some(tls) => tls.reload().map(|()| true),
            None => Ok(false),
        }
    }

    /// A look at every SIP message.
    pub fn tap(&self) -> &Tap {
        &self.tap
    }

    /// Takes no new calls from now on: they are answered 503 with this `Retry-After`. Calls that are up go on.
    pub async fn drain(&self, retry_after_seconds: u32) {
        self.answers.draining.store(true, Ordering::Relaxed);
        self.tell_all(|| Mail::Drain {
            retry_after_seconds,
        })
        .await;
    }

    /// Ends every call. [`Driver::active_calls`] comes to zero when all peers have been told and all records written
    /// out to the queue.
    pub async fn hang_up_all(&self) {
        self.tell_all(|| Mail::HangUpAll).await;
    }

    /// Ends everything: what is on its way is sent, call records are in the store when this returns. Calls that are
    /// still up are not ended: see [`Driver::hang_up_all`].
    pub async fn stop(self) {
        self.answers.draining.store(true, Ordering::Relaxed);
        self.carriers_answer().await;
        self.end().await;
    }

    /// Ends without a word to anybody and leaves everything to the process that comes next: calls are in the journal, and
    /// what arrives from now on waits in these sockets.
    pub async fn hand_over(self) -> Vec<OwnedFd> {
        // Whoever connects from now on waits to be accepted by the next.
        self.answers.tasks.abort_named(LISTENING);
        self.end().await
    }

    async fn end(self) -> Vec<OwnedFd> {
        self.tell_all(|| Mail::Stop).await;
        let (threads, recorder, cdrs) = (self.threads, self.recorder, self.cdrs);
        let mut sockets = self.doors;
        let ended = tokio::task::spawn_blocking(move || {
            let (mut sockets, mut journals) = (Vec::new(), Vec::new());
            for Threads { shard, media } in threads {
                let (Ok(remains), Ok(media)) = (shard.join(), media.join()) else {
                    warn!("a thread had panicked");
                    continue;
                };
                let held = |key: &u32| remains.held_pairs.contains(&(key & !1));
                let media = media.into_iter().filter(|(key, _)| held(key));
                sockets.extend(media.map(|(_, socket)| OwnedFd::from(socket)));
                journals.push(remains.journal);
            }
            // When nobody hands over packets any more.
            recorder.stop();
            // Last, when nobody makes records any more.
            cdrs.stop();
            // And now that they are stored, their calls can be forgotten.
            for mut journal in journals {
                journal.write(Instant::now());
            }
            sockets
        });
        match ended.await {
            Ok(left) => sockets.extend(left),
            Err(_) => warn!("stopping was cut short"),
        }
        if tokio::time::timeout(LAST_WRITE, self.keeper).await.is_err() {
            warn!("the last registrations could not be stored in time");
        }
        let (running, maxima) = self.maxima;
        drop(running);
        if tokio::time::timeout(LAST_WRITE, maxima).await.is_err() {
            warn!("the last maxima of calls could not be stored in time");
        }
        self.flows.stop().await;
        self.answers.tasks.abort();
        drop(self.journal);
        sockets
    }

    /// Waits a little for the answers of carriers with whom registrations are being taken back.
    async fn carriers_answer(&self) {
        let give_up = tokio::time::Instant::now() + FAREWELL;
        while self.answers.farewells().await > 0 && tokio::time::Instant::now() < give_up {
            tokio::time::sleep(FAREWELL_CHECK).await;
        }
    }

    async fn tell_all(&self, mail: impl Fn() -> Mail) {
        for shard in 0..self.answers.shards.count() {
            self.answers.shards.send(shard, mail()).await;
        }
    }
}

impl Seat {
    /// Starts the media thread, and makes the shard. There is room for the media of `left` calls of the last run, whatever
    /// ports they had.
    fn take(
        self,
        config: &DriverConfig,
        count: usize,
        directory: &[DirectoryChange],
        outside: Outside,
        inheritance: &Arc<Inheritance>,
        left: usize,
    ) -> Result<(Shard, JoinHandle<media::Sockets>), StartError> {
        let mut sip = sip::endpoint::Config::new(self.interfaces.to_vec(), self.number);
        // A call is two sessions.
        sip.max_sessions = config.max_calls.saturating_mul(2);
        let shard_config = ShardConfig {
            sip,
            shards: count as u16,
            media_timeout: Duration::from_secs(config.media_timeout_seconds.into()),
            transcoded_calls_max: config.max_transcoded_calls,
            ringback: config.ringback,
            hostname: config.hostname.clone(),
            options_ping: (config.options_ping_seconds > 0)
                .then(|| Duration::from_secs(config.options_ping_seconds.into())),
            digest_algorithms: config.digest_algorithms.clone(),
            guard: GuardConfig {
                failures: config.ignore_after_failures,
                ignored: Duration::from_secs(config.ignore_seconds.into()),
            },
            key_seed: ::media::srtp::KeySeed(rand::random()),
            dtls_fingerprint: self.endpoint.fingerprint(),
            rest_after: switch::REST_AFTER,
            keeps_calls: config.journal.is_some(),
        };
        let mut switch = Switch::new(shard_config, rand::random(), clock());
        for change in directory {
            switch.handle(clock(), Input::Directory(change.clone()));
        }
        let mailbox = outside.shards.mailbox(self.number);
        let pairs = self.ports.pairs() + 2 * left;
        let (commands, media) = media::start(
            self.number,
            self.media_ways,
            pairs,
            self.endpoint,
            mailbox,
            outside.recorder.clone(),
            self.media_counts,
        )?;
        let quiet = Duration::from_secs(config.port_quiet_seconds.into());
        let desk = MediaDesk::new(self.ports, quiet, commands, Arc::clone(inheritance));
        let shard = Shard::new(
            self.number,
            switch,
            self.mailbox,
            desk,
            self.sockets,
            outside,
            self.counts,
        )?;
        Ok((shard, media))
    }
}

/// Reads what the last run left.
fn open_journals(config: &DriverConfig) -> Result<Option<Journals>, StartError> {
    let Some(JournalConfig { folder, sync }) = &config.journal else {
        return Ok(None);
    };
    let node = journal::node(&config.hostname);
    let journals = Journals::open(folder, &node, config.shard_count(), *sync);
    journals.map(Some).map_err(StartError::Journal)
}

/// Waits until the calls of the last run are back, and says how many.
async fn resumed(reports: Vec<tokio::sync::oneshot::Receiver<RestoreReport>>, started: Instant) {
    let (mut resumed, mut ended) = (0, 0);
    for report in reports {
        let Ok(report) = report.await else {
            continue;
        };
        resumed += report.resumed;
        ended += report.ended;
        for (key, why) in &report.unreadable {
            error!(key, %why, "what was kept of a call cannot be read; the call is lost");
        }
        ended += report.unreadable.len();
    }
    if resumed + ended > 0 {
        let ms = started.elapsed().as_millis() as u64;
        info!(
            resumed,
            ended, ms, "resumed {resumed} calls of the last run, ended {ended}, in {ms} ms"
        );
    }
}

fn check(config: &DriverConfig, shards: usize) -> Result<(), StartError> {
    let addresses = config.sip.len() + config.alternate_sip.len() + config.sip_tls.len();
    if config.sip.is_empty() {
        return Err(StartError::Addresses(0));
    }
    if addresses > MAX_ADDRESSES {
        return Err(StartError::Addresses(addresses));
    }
    let range = config.rtp_ports;
    // Two pairs for one call, at least, on every shard.
    if range.pairs() / shards < 2 {
        return Err(StartError::FewPorts { range, shards });
    }
    let wanted = range.pairs() as u64 * 2 + RECORDINGS_MAX as u64 + OTHER_DESCRIPTORS;
    match sockets::raise_open_files() {
        Ok(limit) if limit < wanted => {
            warn!(
                limit,
                wanted, "the limit on open files is too low for all media ports"
            );
        }
        Ok(_) => {}
        Err(error) => warn!(%error, "the limit on open files cannot be raised"),
    }
    Ok(())
}

/// Our certificates, where there is an address that needs them.
fn certificates(config: &DriverConfig) -> Result<Option<Arc<Tls>>, StartError> {
    if config.sip_tls.is_empty() {
        return Ok(None);
    }
    let files = config.tls.clone().ok_or(StartError::NoCertificate)?;
    let tls = Tls::new(files).map_err(StartError::Tls)?;
    Ok(Some(Arc::new(tls)))
}

/// Says which connections ask for a second address that we do not have: they use the first.
fn warn_of_missing_alternate(directory: &[DirectoryChange], interfaces: &[Interface]) {
    if interfaces.iter().any(|interface| interface.alternate) {
        return;
    }
    let parts = directory.iter().filter_map(|change| match change {
        DirectoryChange::Swap(part) => Some(part),
        _ => None,
    });
    for connection in parts.flat_map(|part| &part.connections) {
        if connection
            .record
            .connection_bind_to_alternate_interface_enabled
        {
            let connection = connection.label();
            warn!(
                connection,
                "no second SIP address is configured; the first is used"
            );
        }
    }
}

fn bind_all(
    config: &DriverConfig,
    shards: usize,
    inheritance: &Inheritance,
) -> Result<Vec<Bound>, StartError> {
    let places = interfaces::places(config);
    places
        .into_iter()
        .map(|place| interfaces::bind(place, shards, inheritance))
        .collect()
}

/// The way to all shards, what each of them sits on, and the listeners in the order of their interfaces.
type Seats = (Arc<Shards>, Vec<Seat>, Vec<Listener>);

fn seats(
    config: &DriverConfig,
    count: usize,
    mut bound: Vec<Bound>,
    interfaces: &Arc<[Interface]>,
    media_ways: &MediaWays,
) -> Result<Seats, StartError> {
    let mut senders = Vec::with_capacity(count);
    let mut seats = Vec::with_capacity(count);
    let endpoint = certificate::endpoint()?;
    for number in 0..count {
        let (sender, mailbox) = mailbox::mailbox(MAILBOX_ITEMS)?;
        senders.push(sender);
        // By interface: a UDP socket is the shard's own, streams are nobody's.
        let sockets = bound
            .iter_mut()
            .flat_map(|bound| {
                let transports = bound.place.transports.iter();
                transports.map(|transport| match transport {
                    Transport::Udp => bound.datagrams.pop(),
                    Transport::Tcp | Transport::Tls => None,
                })
            })
            .collect();
        seats.push(Seat {
            number: number as u16,
            mailbox,
            sockets,
            counts: Arc::new(ShardCounts::default()),
            media_counts: Arc::new(MediaCounts::default()),
            media_ways: media_ways.clone(),
            ports: config.rtp_ports.slice(number, count),
            endpoint: endpoint.clone(),
            interfaces: Arc::clone(interfaces),
            journal: None,
        });
    }
    let listeners = bound.into_iter().map(|bound| bound.listener).collect();
    Ok((Arc::new(Shards::new(senders)), seats, listeners))
}

/// What leads to the stream interfaces.
fn streams_only(interfaces: &[Interface]) -> Vec<Option<StreamDoor>> {
    let stream = |interface: &Interface| {
        interface.transport.is_reliable().then_some(StreamDoor {
            local: interface.local,
            secure: interface.transport == Transport::Tls,
        })
    };
    interfaces.iter().map(stream).collect()
}

/// Where the peers are that were registered when the switch stopped, for the start.
async fn bindings(store: &Store) -> Result<Vec<DirectoryChange>, StoreError> {
    let now = clock().unix_ms;
    let kept = store
        .read(move |reader| reader.peers_registered(now))
        .await?;
    let bindings = kept.into_iter().map(|kept| DirectoryChange::Binding {
        connection: kept.connection,
        binding: kept.binding.map(Arc::new),
    });
    Ok(bindings.collect())
}

/// Where call records go: into the store, and then to whoever listens on the bus.
fn cdr_sink(
    store: Store,
    bus: Bus,
) -> impl FnMut(&[Arc<Cdr>]) -> Result<(), StoreError> + Send + 'static {
    move |batch| {
        store.append_cdrs_blocking(batch.to_vec())?;
        for cdr in batch {
            bus.emit(bus::Event::CallEnded(Arc::clone(cdr)));
        }
        Ok(())
    }
}
