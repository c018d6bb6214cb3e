//! How media pass: which engine brings packets into the process, and whether the kernel relays some below it.

use std::sync::Arc;

use sockets::{FastPath, MediaEngine};
use tracing::info;

use crate::driver::{DriverConfig, StartError};

/// Whether ordinary streams are relayed by the kernel; see [`sockets::FastPath`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MediaFastPath {
    /// Never.
    Off,
    /// Where it works, for what comes over Ethernet.
    #[default]
    Auto,
    /// Over loopback too; where it does not work, nothing starts.
    On,
}

/// What was found to work at the start.
#[derive(Clone)]
pub(crate) struct MediaWays {
    pub(crate) engine: MediaEngine,
    /// Shared by all media threads, whose ports differ.
    pub(crate) fast_path: Option<Arc<FastPath>>,
}

impl MediaWays {
    /// What is asked for, or the best that works. The log says which, and why nothing better.
    pub(crate) fn choose(config: &DriverConfig) -> Result<Self, StartError> {
        Ok(Self {
            engine: engine(config)?,
            fast_path: fast_path(config)?.map(Arc::new),
        })
    }
}

fn engine(config: &DriverConfig) -> Result<MediaEngine, StartError> {
    let engine = match config.media_engine {
        Some(MediaEngine::Polled) => MediaEngine::Polled,
        asked => match (asked, MediaEngine::ring_works()) {
            (_, Ok(())) => MediaEngine::Ring,
            (Some(engine), Err(why)) => return Err(StartError::MediaEngine { engine, why }),
            (None, Err(why)) => {
                info!(why, "io_uring does not work here: media packets cost more");
                MediaEngine::Polled
            }
        },
    };
    info!(engine = engine.name(), "relaying media");
    Ok(engine)
}

fn fast_path(config: &DriverConfig) -> Result<Option<FastPath>, StartError> {
    let loopback = match config.media_fast_path {
        MediaFastPath::Off => return Ok(None),
        MediaFastPath::Auto => false,
        MediaFastPath::On => true,
    };
    let range = config.rtp_ports;
    match FastPath::start(range.first..=range.last, loopback) {
        Ok(fast_path) => {
            let interfaces = fast_path.interfaces().join(", ");
            info!(
                interfaces,
                "ordinary media streams are relayed by the kernel"
            );
            Ok(Some(fast_path))
        }
        Err(why) if loopback => Err(StartError::MediaFastPath(why)),
        Err(why) => {
            info!(%why, "the kernel relays no media here: all packets pass the process");
            Ok(None)
        }
    }
}
