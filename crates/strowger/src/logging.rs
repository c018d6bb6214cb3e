//! Where log lines go and how they look: standard error, for a person or for a machine.

use std::io::IsTerminal;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::{Config, LogFormat};

/// Starts logging as the settings say. A second call changes nothing.
pub(crate) fn start(config: &Config) {
    // The settings table has parsed the filter once already, so the default is never reached.
    let filter = config.log_level.parse::<Targets>().unwrap_or_default();
    let registry = tracing_subscriber::registry().with(filter);
    // A subscriber that is there already, from a test perhaps, stays.
    let _ = match config.log_format {
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal();
            registry
                .with(
                    tracing_subscriber::fmt::layer()
                        .with_writer(std::io::stderr)
                        .with_ansi(colour)
                        .with_target(false),
                )
                .try_init()
        }
        LogFormat::Json => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_writer(std::io::stderr),
            )
            .try_init(),
    };
}
