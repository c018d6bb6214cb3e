//! `strowger check`: is this configuration file right, and what would it change?

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Failure;
use crate::terminal::say;
use crate::{config, settings};

/// Options of `strowger check`.
#[derive(Args)]
pub(crate) struct Options {
    /// The file to read
    #[arg(long, value_name = "FILE", required_unless_present = "example")]
    config: Option<PathBuf>,
    /// Print a file with every setting, its default and what it does
    #[arg(long)]
    example: bool,
}

/// Prints the example, or the verdict on a file.
///
/// # Errors
/// The first thing that is wrong with the file.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    if options.example {
        say!("{}", settings::example_toml().trim_end());
    } else if let Some(path) = &options.config {
        config::check_file(path)?;
        say!("{} is valid.", path.display());
    }
    Ok(ExitCode::SUCCESS)
}
