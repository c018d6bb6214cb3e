//! `strowger serve`: the switch, from the first line of its banner to an orderly end.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use driver::Inheritance;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior};
use tracing::{error, info, warn};

use super::Failure;
use crate::banner::Banner;
use crate::config::SettingFlags;
use crate::control::{Door, UpgradeWanted};
use crate::logging;
use crate::node::Node;
use crate::notify::{self, ServiceManager};
use crate::settings::Config;
use crate::succession::{Predecessor, Successor};
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
    /// Take over from the process at standard input; only `strowger upgrade` says so
    #[arg(long, hide = true)]
    succeed: bool,
}

/// Runs a switch until it is told to stop.
///
/// # Errors
/// It could not start, or broke while running.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    // Before anything is opened: what the service manager kept has numbers of its own.
    let kept = notify::kept_sockets();
    let config = options.settings.load()?;
    logging::start(&config);
    let predecessor = options.succeed.then(Predecessor::on_standard_input);
    let predecessor = predecessor.transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("control")
        .build()?;
    let ended = runtime.block_on(serve(&config, predecessor, kept));
    // Work that is still queued belongs to requests whose clients are gone.
    runtime.shutdown_background();
    ended
}

async fn serve(
    config: &Config,
    mut predecessor: Option<Predecessor>,
    kept: Vec<OwnedFd>,
) -> Result<ExitCode, Failure> {
    let manager = ServiceManager::from_environment();
    // Listened to from the start: a signal while starting is not lost, and does not leave half a switch behind.
    let mut signals = Signals::new()?;
    // Means "read the certificates again", and must not end a switch without any.
    let mut reload = signal(SignalKind::hangup())?;
    let sockets = match &mut predecessor {
        // Nothing else runs yet that would have to wait meanwhile.
        Some(predecessor) => predecessor.sockets()?,
        None => kept,
    };
    let mut node = tokio::select! {
        biased;
        name = signals.next() => {
            info!(signal = name, "told to stop before the start was complete");
            return Ok(ExitCode::SUCCESS);
        }
        node = Node::succeed(config, Inheritance::of(sockets)) => node?,
    };
    let mut door = node.take_door();
    if let Some(predecessor) = predecessor {
        predecessor.ready();
    }
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
    manager.keep(&node.doors().await);

    let name = match watch(&node, &manager, &mut signals, &mut reload, &mut door).await? {
        Ending::Signal(name) => name,
        Ending::Upgrade(successor, wanted) => {
            return hand_over(node, &manager, *successor, wanted).await;
        }
    };
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

/// Why a switch ends.
enum Ending {
    /// It was told to, by the signal of this name.
    Signal(&'static str),
    /// Another process is about to take over, because somebody wants that.
    Upgrade(Box<Successor>, UpgradeWanted),
}

/// Gives everything to the successor, or to another process of this binary if that does not take it.
async fn hand_over(
    node: Node,
    manager: &ServiceManager,
    mut successor: Successor,
    wanted: UpgradeWanted,
) -> Result<ExitCode, Failure> {
    info!(process = successor.process(), "another process takes over");
    let began = Instant::now();
    let sockets = node.hand_over().await?;
    let ended = began.elapsed();
    let taken = successor.hand_over(&sockets);
    let outcome = match taken {
        Ok(()) => Ok(()),
        Err(why) => {
            error!(%why, "an upgrade has failed; this binary is started again");
            // The file may have been replaced meanwhile, but the kernel still has what we are.
            successor = Successor::prepare(Path::new("/proc/self/exe"))?;
            successor.hand_over(&sockets)?;
            Err(format!(
                "{why} The former binary runs on, in process {}.",
                successor.process()
            ))
        }
    };
    let away = began.elapsed();
    let (ended_ms, away_ms) = (ended.as_millis() as u64, away.as_millis() as u64);
    let process = successor.process();
    info!(process, ended_ms, away_ms, "handed over");
    manager.succeeded_by(process);
    successor.go();
    let outcome = outcome.map(|()| {
        format!("Process {process} is the switch now. Nobody switched calls for {away_ms} ms.")
    });
    wanted.answer(outcome).await;
    Ok(ExitCode::SUCCESS)
}

/// Gives signs of life until the first signal, or fails with the switch.
async fn watch(
    node: &Node,
    manager: &ServiceManager,
    signals: &mut Signals,
    reload: &mut Signal,
    door: &mut Option<Door>,
) -> Result<Ending, Failure> {
    let mut pulse = pulse(manager);
    loop {
        tokio::select! {
            name = signals.next() => return Ok(Ending::Signal(name)),
            wanted = next_wish(door) => {
                let binary = wanted.binary.clone();
                let prepared = tokio::task::spawn_blocking(move || Successor::prepare(&binary));
                match prepared.await.map_err(Failure::from).flatten() {
                    Ok(successor) => return Ok(Ending::Upgrade(Box::new(successor), wanted)),
                    Err(why) => {
                        warn!(%why, "there is no upgrade; nothing has changed");
                        wanted.answer(Err(why.to_string())).await;
                    }
                }
            }
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

async fn next_wish(door: &mut Option<Door>) -> UpgradeWanted {
    match door {
        Some(door) => door.next().await,
        None => std::future::pending().await,
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
