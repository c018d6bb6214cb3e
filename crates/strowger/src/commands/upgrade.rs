//! `strowger upgrade`: another binary takes over from a running switch, and nobody notices.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Failure;
use crate::config::RecordFlags;
use crate::control;
use crate::terminal::say;

/// Options of `strowger upgrade`.
#[derive(Args)]
pub(crate) struct Options {
    /// The binary that is to take over [default: the one that this command is]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    #[command(flatten)]
    records: RecordFlags,
}

/// Asks the running switch to be replaced, and says what came of it.
///
/// # Errors
/// There is none, or it could not be replaced; it runs on then.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let config = options.records.0.load()?;
    let binary = match &options.binary {
        Some(binary) => std::path::absolute(binary)?,
        None => std::env::current_exe()?,
    };
    say!("{}", control::ask_to_upgrade(&config.data, &binary)?);
    Ok(ExitCode::SUCCESS)
}
