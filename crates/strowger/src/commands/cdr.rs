//! `strowger cdr`: call records, straight from the store.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use model::Cdr;

use super::{Failure, cdr_text};
use crate::config::RecordFlags;
use crate::records;
use crate::terminal::Paint;

/// Pause between two looks for new records.
const POLL_PAUSE: Duration = Duration::from_millis(250);
/// Records read at once.
const BATCH: u32 = 500;

/// What to do with call records.
#[derive(Subcommand)]
pub(crate) enum Action {
    /// Show the last records and then each new one as it is written
    Tail(Tail),
}

/// Options of `strowger cdr tail`.
#[derive(Args)]
pub(crate) struct Tail {
    /// How many of the last records to begin with
    #[arg(short = 'n', long, value_name = "RECORDS", default_value_t = 10)]
    lines: u32,
    /// Begin with the oldest record instead
    #[arg(long, conflicts_with = "lines")]
    all: bool,
    /// Stop at the newest record instead of waiting for more
    #[arg(long)]
    no_follow: bool,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    records: RecordFlags,
}

/// Runs the action.
///
/// # Errors
/// There is no database, or it cannot be read.
pub(crate) fn run(action: &Action) -> Result<ExitCode, Failure> {
    match action {
        Action::Tail(options) => tail(options),
    }
}

fn tail(options: &Tail) -> Result<ExitCode, Failure> {
    let store = records::open_to_read(&options.records.0.load()?)?;
    let paint = Paint::for_stdout();
    let mut position = match options.all {
        true => 0,
        // Positions have no gaps, as records are never deleted one by one.
        false => {
            store.read_blocking(|reader| reader.last_cdr_position())? - i64::from(options.lines)
        }
    };
    loop {
        let after = position.max(0);
        let batch = store.read_blocking(move |reader| reader.tail_cdrs(after, BATCH))?;
        let more = batch.len() == BATCH as usize;
        let mut out = std::io::stdout().lock();
        for (at, cdr) in batch {
            if print(&mut out, &cdr, options.json, paint).is_err() {
                // Whoever read our output has had enough, like `head`.
                return Ok(ExitCode::SUCCESS);
            }
            position = at;
        }
        out.flush()?;
        drop(out);
        match (more, options.no_follow) {
            (true, _) => {}
            (false, true) => return Ok(ExitCode::SUCCESS),
            (false, false) => std::thread::sleep(POLL_PAUSE),
        }
    }
}

fn print(out: &mut impl Write, cdr: &Cdr, json: bool, paint: Paint) -> std::io::Result<()> {
    match json {
        true => writeln!(out, "{}", serde_json::to_string(cdr)?),
        false => writeln!(out, "{}", cdr_text::render(cdr, paint)),
    }
}
