//! A whole switch in one process: store, bus, driver and API, started and stopped in the right order.
//!
//! `serve` and `demo` both start one of these, so the demo shows what runs in earnest.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::{ApiConfig, ApiState};
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use bus::Bus;
use driver::{Driver, DriverConfig, Inheritance, JournalConfig, TlsFiles, Traced, Transport};
use store::Store;
use tokio::sync::{RwLock, mpsc};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::commands::Failure;
use crate::control::Door;
use crate::data_folder::DataFolder;
use crate::first_key::{self, FirstKey};
use crate::health::Health;
use crate::http::{HttpDoor, HttpServer};
use crate::records;
use crate::settings::Config;

/// What a caller is told to wait before it tries a switch that is stopping.
const RETRY_AFTER_SECONDS: u32 = 30;
/// How often the calls are counted while they end.
const CHECK_EVERY: Duration = Duration::from_millis(100);
/// The count of calls is at most a quarter of a second old; a zero is believed once it is older than that.
const COUNT_IS_TRUE_AFTER: Duration = Duration::from_millis(400);
/// Between two lines in the log about calls that still run.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// How long calls that were hung up may take to say goodbye: a BYE and its answer, retransmitted a few times.
const GOODBYE: Duration = Duration::from_secs(5);
/// How often the demo looks for its record.
const RECORD_CHECK_EVERY: Duration = Duration::from_millis(20);
/// Name of the folder inside the data folder in which calls are kept.
const JOURNAL_FOLDER: &str = "journal";
/// Media type of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A switch that runs.
pub(crate) struct Node {
    data: PathBuf,
    key_path: Option<PathBuf>,
    first: FirstKey,
    sip: Vec<SocketAddr>,
    sip_tls: Vec<SocketAddr>,
    advertised: String,
    rtp_ports: (u16, u16),
    store: Store,
    watch: Watch,
    http: HttpServer,
    door: Option<Door>,
}

/// What `/healthz` and `/metrics` look at. The driver is taken out of it when it ends.
#[derive(Clone)]
struct Watch {
    driver: Arc<RwLock<Option<Driver>>>,
    store: Store,
}

impl Node {
    /// Starts everything; calls are taken when this returns.
    ///
    /// # Errors
    /// One sentence about the first part that could not start. Nothing is left running.
    pub(crate) async fn start(config: &Config) -> Result<Self, Failure> {
        Self::succeed(config, Inheritance::default()).await
    }

    /// As [`start`](Self::start), with the sockets that an earlier process left.
    ///
    /// # Errors
    /// As for a start.
    pub(crate) async fn succeed(
        config: &Config,
        inheritance: Inheritance,
    ) -> Result<Self, Failure> {
        let inheritance = Arc::new(inheritance);
        // The ports first: a second switch beside a first should not touch any file.
        let door = HttpDoor::bind(config.http, &inheritance).await?;
        let folder = DataFolder::open_or_create(&config.data)?;
        let store = records::open(config, &folder)?;
        let first =
            first_key::ensure(&folder, &store, jiff::Timestamp::now().as_millisecond()).await?;
        // The database is ours alone, and so is this.
        let door_for_commands = Door::open(&config.data);
        if !config.journal {
            // Its calls are over with this start: they must not come back with the next.
            let _ = std::fs::remove_dir_all(config.data.join(JOURNAL_FOLDER));
        }
        let bus = Bus::local();
        let driver = Driver::succeed(
            driver_config(config),
            store.clone(),
            bus.clone(),
            inheritance,
        )
        .await?;

        // TCP shares address and port with UDP; TLS has its own and nothing to do with those two.
        let udp = || {
            let interfaces = driver.interfaces().iter();
            interfaces.filter(|interface| interface.transport == Transport::Udp)
        };
        let tls = driver.interfaces().iter();
        let sip_tls = tls
            .filter(|interface| interface.transport == Transport::Tls)
            .map(|interface| interface.local)
            .collect();
        let sip = udp().map(|interface| interface.local).collect();
        let advertised = udp()
            .map(|interface| format!("{}:{}", interface.advertise, interface.port))
            .collect::<Vec<_>>()
            .join(", ");
        let rtp_ports = (driver.rtp_ports().first, driver.rtp_ports().last);

        let watch = Watch {
            driver: Arc::new(RwLock::new(Some(driver))),
            store: store.clone(),
        };
        let api = ApiState::new(store.clone(), bus, api_config(config));
        let http = door.serve(api::router(api).merge(watch.clone().router()));
        Ok(Self {
            data: config.data.clone(),
            key_path: first.key.is_some().then(|| folder.key_path()),
            first,
            sip,
            sip_tls,
            advertised,
            rtp_ports,
            store,
            watch,
            http,
            door: Some(door_for_commands),
        })
    }

    /// Where commands of this machine are heard; to be taken once.
    pub(crate) fn take_door(&mut self) -> Option<Door> {
        self.door.take()
    }

    /// How each part is.
    pub(crate) async fn health(&self) -> Health {
        let mut health = self.watch.health().await;
        health.http = self.http.alive();
        health
    }

    /// Refuses new calls, waits up to `drain` for running ones to end, hangs up the rest, and writes out what is left.
    ///
    /// # Errors
    /// Something did not end as it should; everything else has ended all the same.
    pub(crate) async fn stop(self, drain: Duration) -> Result<(), Failure> {
        let driver = self.watch.driver.read().await;
        if let Some(driver) = driver.as_ref() {
            driver.drain(RETRY_AFTER_SECONDS).await;
            if !calls_end(driver, drain).await {
                info!(
                    calls = driver.active_calls(),
                    "hanging up the calls that are left"
                );
                driver.hang_up_all().await;
                if !calls_end(driver, GOODBYE).await {
                    warn!(
                        calls = driver.active_calls(),
                        "not all peers have answered our goodbye"
                    );
                }
            }
        }
        drop(driver);
        let driver = self.watch.driver.write().await.take();
        if let Some(driver) = driver {
            driver.stop().await;
        }
        self.http.stop().await;
        close(self.store).await
    }

    /// Ends at once and without a word to anybody; calls and what arrives from now on are for the process that is given
    /// these sockets.
    ///
    /// # Errors
    /// Something did not end as it should; everything else has ended all the same.
    pub(crate) async fn hand_over(self) -> Result<Vec<OwnedFd>, Failure> {
        // The API first, which asks the switch.
        let mut sockets = vec![self.http.hand_over().await];
        let driver = self.watch.driver.write().await.take();
        if let Some(driver) = driver {
            sockets.extend(driver.hand_over().await);
        }
        close(self.store).await?;
        Ok(sockets)
    }

    /// The sockets that everybody comes to, once more, for whoever keeps them beyond our end.
    pub(crate) async fn doors(&self) -> Vec<OwnedFd> {
        let driver = self.watch.driver.read().await;
        let mut sockets = driver.as_ref().map(Driver::doors).unwrap_or_default();
        sockets.extend(self.http.socket());
        sockets
    }

    /// Where HTTP is answered.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http.address()
    }

    /// Where SIP is answered, over UDP and TCP.
    pub(crate) fn sip(&self) -> &[SocketAddr] {
        &self.sip
    }

    /// Where SIP is answered over TLS.
    pub(crate) fn sip_tls(&self) -> &[SocketAddr] {
        &self.sip_tls
    }

    /// Reads the certificates again and says in the log how that went.
    pub(crate) async fn reload_certificates(&self) {
        let driver = self.watch.driver.read().await;
        match driver.as_ref().map(Driver::reload_certificates) {
            Some(Ok(true)) => info!("certificates read again; new streams use them"),
            Some(Ok(false)) | None => {
                info!("told to read certificates again, but TLS is not configured")
            }
            Some(Err(error)) => warn!(%error, "the certificates stay as they were"),
        }
    }

    /// What peers are told, in words.
    pub(crate) fn advertised(&self) -> &str {
        &self.advertised
    }

    /// First and last port of the media range.
    pub(crate) fn rtp_ports(&self) -> (u16, u16) {
        self.rtp_ports
    }

    /// The data folder as it was named.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// The file with the first key, if it is still there.
    pub(crate) fn key_path(&self) -> Option<&Path> {
        self.key_path.as_deref()
    }

    /// The first key, if its file is still there.
    pub(crate) fn first_key(&self) -> Option<&str> {
        self.first.key.as_deref()
    }

    /// Whether nobody has used the first key yet.
    pub(crate) fn is_new(&self) -> bool {
        self.first.unused
    }

    /// Every SIP message from now on, as it passes.
    ///
    /// # Errors
    /// Too many listen already, or the switch has ended.
    pub(crate) async fn trace(&self) -> Result<mpsc::Receiver<Traced>, Failure> {
        let driver = self.watch.driver.read().await;
        let listener = driver.as_ref().and_then(|driver| driver.tap().listen());
        listener.ok_or_else(|| Failure::new("SIP messages cannot be listened to"))
    }

    /// The first call record, once it is written.
    ///
    /// # Errors
    /// It is not written in time, or the store cannot be read.
    pub(crate) async fn first_record(&self, patience: Duration) -> Result<model::Cdr, Failure> {
        let give_up = Instant::now() + patience;
        while Instant::now() < give_up {
            let records = self.store.read(|reader| reader.tail_cdrs(0, 1)).await?;
            if let Some((_, record)) = records.into_iter().next() {
                return Ok(record);
            }
            sleep(RECORD_CHECK_EVERY).await;
        }
        Err(Failure::new("No call record was written in time."))
    }
}

impl Watch {
    fn router(self) -> Router {
        let (health, metrics) = (self.clone(), self);
        Router::new()
            .route("/healthz", get(async move || health.answer_health().await))
            .route(
                "/metrics",
                get(async move || metrics.answer_metrics().await),
            )
    }

    async fn health(&self) -> Health {
        let (sip, active_calls) = match self.driver.read().await.as_ref() {
            Some(driver) => {
                let health = driver.health().await;
                (
                    if health.ready {
                        Ok(())
                    } else {
                        Err(health.detail)
                    },
                    health.active_calls,
                )
            }
            None => (Err("ended".into()), 0),
        };
        // Whoever asks over HTTP has proof that it is answered.
        Health {
            sip,
            http: true,
            store: self.store.ready().await,
            active_calls,
        }
    }

    async fn answer_health(&self) -> impl IntoResponse + use<> {
        let health = self.health().await;
        let status = if health.is_ready() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        (status, axum::Json(health.json()))
    }

    async fn answer_metrics(&self) -> impl IntoResponse + use<> {
        let mut text = self
            .driver
            .read()
            .await
            .as_ref()
            .map(Driver::metrics)
            .unwrap_or_default();
        text.push_str(
            "# HELP strowger_build_info The version that runs.\n# TYPE strowger_build_info gauge\n",
        );
        text.push_str(concat!(
            "strowger_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\"} 1\n"
        ));
        ([(header::CONTENT_TYPE, METRICS_TYPE)], text)
    }
}

async fn close(store: Store) -> Result<(), Failure> {
    tokio::task::spawn_blocking(move || store.close())
        .await
        .map_err(|_| Failure::new("the store could not be closed"))
}

/// Waits until no call is left; `false` when the time is over first.
async fn calls_end(driver: &Driver, patience: Duration) -> bool {
    let started = Instant::now();
    let mut reported = started;
    loop {
        let (calls, waited) = (driver.active_calls(), started.elapsed());
        if calls == 0 && waited >= COUNT_IS_TRUE_AFTER {
            return true;
        }
        if waited >= patience.max(COUNT_IS_TRUE_AFTER) {
            return false;
        }
        if reported.elapsed() >= REPORT_EVERY {
            reported = Instant::now();
            info!(calls, "waiting for calls to end");
        }
        sleep(CHECK_EVERY).await;
    }
}

/// The part of the settings that the driver obeys.
pub(crate) fn driver_config(config: &Config) -> DriverConfig {
    DriverConfig {
        sip: config.sip.clone(),
        advertise: config.advertise,
        sip_tls: config.sip_tls.clone(),
        tls: tls_files(config),
        alternate_sip: config.alternate_sip.clone(),
        alternate_advertise: config.alternate_advertise,
        options_ping_seconds: config.options_ping_seconds,
        digest_algorithms: config.digest_algorithms.clone(),
        ignore_after_failures: config.ignore_after_failures,
        ignore_seconds: config.ignore_seconds,
        rtp_ports: config.rtp_ports,
        media_timeout_seconds: config.media_timeout_seconds,
        port_quiet_seconds: config.port_quiet_seconds,
        media_engine: config.media_engine,
        media_fast_path: config.media_fast_path,
        shards: config.shards,
        max_calls: config.max_calls,
        recordings: Some(config.data.join(driver::RECORDINGS_FOLDER)),
        recording_reserve_mib: config.recording_reserve_mib,
        max_transcoded_calls: config.max_transcoded_calls,
        journal: config.journal.then(|| JournalConfig {
            folder: config.data.join(JOURNAL_FOLDER),
            sync: config.journal_sync,
        }),
        ringback: config.ringback,
        hostname: hostname(),
    }
}

/// The files of TLS, once both halves of a certificate of our own are named.
fn tls_files(config: &Config) -> Option<TlsFiles> {
    if config.tls_certificate.is_empty() || config.tls_key.is_empty() {
        return None;
    }
    Some(TlsFiles {
        certificates: config.tls_certificate.clone(),
        keys: config.tls_key.clone(),
        client_ca: config.tls_client_ca.clone(),
        trust: config.tls_trust.clone(),
    })
}

fn api_config(config: &Config) -> ApiConfig {
    ApiConfig {
        requests_per_second: config.api_requests_per_second,
        request_burst: config.api_request_burst,
        has_alternate_interface: !config.alternate_sip.is_empty(),
        ..ApiConfig::new(hostname())
    }
}

/// What the kernel calls this machine.
fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}
