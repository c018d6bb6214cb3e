//! `strowger serve`: the switch, from the first line of its banner to an orderly end.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior};
use tracing::{info, warn};

use super::Failure;
use crate::banner::Banner;
use crate::config::SettingFlags;
use crate::logging;
use crate::node::Node;
use crate::notify::ServiceManager;
use crate::settings::Config;
use crate::terminal::{Paint, say};

/// Exit status of a process that a signal ended at once: 128 and the number of SIGINT.
const ENDED_AT_ONCE: u8 = 130;
/// How often a switch that no service manager watches looks after itself.
const SELF_CHECK_EVERY: Duration = Duration::from_secs(10);

/// Options of `strowger serve`.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    settings: SettingFlags,
}

/// Runs a switch until it is told to stop.
///
/// # Errors
/// It could not start, or broke while running.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let config = options.settings.load()?;
    logging::start(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("control")
        .build()?;
    let ended = runtime.block_on(serve(&config));
    // Work that is still queued belongs to requests whose clients are gone.
    runtime.shutdown_background();
    ended
}

async fn serve(config: &Config) -> Result<ExitCode, Failure> {
    let manager = ServiceManager::from_environment();
    // Listened to from the start: a signal while starting is not lost, and does not leave half a switch behind.
    let mut signals = Signals::new()?;
    // Means "read the certificates again", and must not end a switch without any.
    let mut reload = signal(SignalKind::hangup())?;
    let node = tokio::select! {
        biased;
        name = signals.next() => {
            info!(signal = name, "told to stop before the start was complete");
            return Ok(ExitCode::SUCCESS);
        }
        node = Node::start(config) => node?,
    };
    say!(
        "{}",
        banner(&node)
            .text(Paint::for_stdout())
            .trim_end_matches('\n')
    );
    if !node.http().ip().is_loopback() {
        warn!(http = %node.http(), "keys travel in clear text over HTTP: put a proxy with TLS in front of this address");
    }
    info!(version = env!("CARGO_PKG_VERSION"), http = %node.http(), "ready");
    manager.ready("taking calls");

    let name = watch(&node, &manager, &mut signals, &mut reload).await?;
    let drain = Duration::from_secs(config.drain_seconds.into());
    info!(
        signal = name,
        drain_seconds = config.drain_seconds,
        "stopping: new calls are refused, running ones may end"
    );
    manager.stopping("new calls are refused, running ones may end");
    let mut pulse = pulse(&manager);
    let mut stopping = std::pin::pin!(node.stop(drain));
    loop {
        tokio::select! {
            biased;
            name = signals.next() => {
                warn!(signal = name, "told twice: ending at once");
                // Not a return: that would wait for what a second signal is meant not to wait for.
                std::process::exit(ENDED_AT_ONCE.into());
            }
            stopped = &mut stopping => break stopped?,
            // Draining may take longer than the service manager's patience.
            _ = pulse.tick() => manager.alive(),
        }
    }
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Gives signs of life until the first signal, or fails with the switch.
async fn watch(
    node: &Node,
    manager: &ServiceManager,
    signals: &mut Signals,
    reload: &mut Signal,
) -> Result<&'static str, Failure> {
    let mut pulse = pulse(manager);
    loop {
        tokio::select! {
            name = signals.next() => return Ok(name),
            _ = reload.recv() => node.reload_certificates().await,
            _ = pulse.tick() => {
                let health = node.health().await;
                if !health.is_ready() {
                    warn!(missing = %health.missing(), "not ready");
                }
                // A full disk is no reason to cut calls: only shards that stand still are, and a new start helps them.
                if health.sip.is_ok() {
                    manager.alive();
                }
            }
        }
    }
}

fn pulse(manager: &ServiceManager) -> Interval {
    let mut pulse = tokio::time::interval(manager.sign_of_life_every().unwrap_or(SELF_CHECK_EVERY));
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pulse
}

fn banner(node: &Node) -> Banner<'_> {
    Banner {
        http: node.http(),
        sip: node.sip(),
        sip_tls: node.sip_tls(),
        advertise: node.advertised(),
        rtp_ports: node.rtp_ports(),
        data: node.data(),
        key: node.key_path(),
        newcomer: node.is_new(),
    }
}

/// The signals that mean "stop".
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The name of the next one.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
