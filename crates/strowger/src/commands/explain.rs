//! `strowger explain`: the decision path of a call, without placing it.
//!
//! It reads the records of the data folder and asks the same code that a running switch asks, so it needs no running
//! switch and disturbs none. What only a running switch knows, such as how many calls are up, is taken as zero.

use std::process::ExitCode;

use clap::Args;
use model::explain::ExplainRequest;

use super::{Failure, explain_text};
use crate::config::SettingFlags;
use crate::terminal::{Paint, say};
use crate::{ladder, records};

/// Options of `strowger explain`.
#[derive(Args)]
pub(crate) struct Options {
    /// The caller, as it would stand in From: sip:12125550111@carrier-a
    #[arg(long, value_name = "SIP-URI")]
    from: String,
    /// Whom the caller dials, as it would stand in the request line: sip:13105550100@switch
    #[arg(long, value_name = "SIP-URI")]
    to: String,
    /// Assume the call comes in by the connection with this orig match pattern
    #[arg(long, value_name = "PATTERN")]
    connection: Option<String>,
    /// The address the call would come from; without it source addresses are not checked
    #[arg(long, value_name = "IP")]
    source: Option<std::net::IpAddr>,
    /// The explanation as JSON, complete
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingFlags,
}

/// Prints the path.
///
/// # Errors
/// There is no database, or the question is not one: a URI that is none, a connection that does not exist.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let config = options.settings.load()?;
    let store = records::open_to_read(&config)?;
    let request = ExplainRequest {
        from: options.from.clone(),
        to: options.to.clone(),
        connection: options.connection.clone(),
        source_ip: options.source.map(|address| address.to_string()),
    };
    let explanation =
        driver::explain_offline(&store, &crate::node::driver_config(&config), &request)?;
    match options.json {
        true => say!("{}", serde_json::to_string_pretty(&explanation)?),
        false => say!(
            "{}",
            explain_text::render(&explanation, Paint::for_stdout(), ladder::WIDTH).trim_end()
        ),
    }
    Ok(ExitCode::SUCCESS)
}
